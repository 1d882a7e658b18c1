"""What a node that follows a relay asks MongoDB, beside one with a change stream of its own: mongod's own log says."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pymongo
import pytest

from realtime.mongo import client as clients
from realtime.mongo import embedded
from realtime.settings import load
from tests.nats_server import NatsServer
from tests.relays import relaying
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import Wire, wired

pytestmark = pytest.mark.timeout(120)

DATABASE = "cost"
SECONDS = 5.0
QUERIES: dict[str, dict[str, Any]] = {
    "plain": {"filter": {"kind": 1}},
    "window": {"sort": {"value": -1}, "limit": 5},
    "group": {"group": {"by": ["kind"], "count": True, "sum": ["value"]}},
}
LOG = {"setParameter": 1, "logComponentVerbosity": {"command": {"verbosity": 1}}}


@asynccontextmanager
async def asks(uri: str, name: str, **settings: Any) -> AsyncIterator[tuple[Service, Wire]]:
    """A node whose connections have this name, with its live queries."""
    own = ReplicaSet(uri=f"{uri}&appName={name}", lane="embedded", can_fail_commands=False)
    async with (
        serving(own, database=DATABASE, keep=True, feed_await_ms=1000, **settings) as node,
        wired(node.url) as wire,
    ):
        for query, what in QUERIES.items():
            await wire.subscribe("docs", id=query, **what)
        yield node, wire


def write(docs: Any, first: int) -> int:
    """An insert and an update."""
    docs.insert_one({"_id": first, "kind": first % 4, "value": first})
    docs.update_one({"_id": first - 1}, {"$inc": {"value": 1}})
    return first + 1


async def told(wire: Wire, key: int) -> None:
    """Until it knows of this one, the first of its window by now."""
    await wire.when(lambda: str(key) in wire.views["window"].documents, seconds=30)


class Log:
    """What mongod logs of commands."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._from = path.stat().st_size

    def commands(self) -> dict[str, Counter[str]]:
        """How many of each since this was made, by the name of the connection."""
        found: dict[str, Counter[str]] = {}
        with self._path.open("rb") as file:
            file.seek(self._from)
            # The last one may be half written.
            lines = file.read().split(b"\n")[:-1]
        for line in map(json.loads, lines):
            command = line.get("attr", {}).get("command")
            if line["c"] == "COMMAND" and isinstance(command, dict):
                name = line["attr"].get("appName", "")
                found.setdefault(name, Counter())[next(iter(command))] += 1
        return found


@pytest.mark.alone("counts what mongod is asked within seconds")
async def test_a_node_behind_a_relay_asks_mongodb_for_nothing_while_it_follows(
    tmp_path: Path, nats: NatsServer
) -> None:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        mongo = await stack.enter_async_context(embedded.running(tmp_path / "mongo"))
        settings = load(mongodb_uri=f"{mongo.uri}&appName=relay", database=DATABASE, nats=nats.url)
        await stack.enter_async_context(relaying(settings))
        client = stack.enter_context(pymongo.MongoClient[dict[str, Any]](mongo.uri))
        docs = client[DATABASE]["docs"]
        last = write(docs, 1)
        # Started with the relay: what was before is not in the stream, and is read from the oplog once.
        behind = [await stack.enter_async_context(asks(mongo.uri, f"behind{n}", nats=nats.url)) for n in range(2)]
        # A service of the tests' lane follows a relay as well where it is not told otherwise.
        alone = await stack.enter_async_context(asks(mongo.uri, "alone", nats=None))
        # The first may come with what they began with; with the next batch each asks once how MongoDB decides.
        for _ in range(2):
            last = write(docs, last)
            for _, wire in (*behind, alone):
                await told(wire, last - 1)
        client.admin.command(LOG)
        log, began = Log(tmp_path / "mongo" / "mongod.log"), loop.time()
        while loop.time() - began < SECONDS:
            last = await asyncio.to_thread(write, docs, last)
            await asyncio.sleep(0.05)
        for _, wire in (*behind, alone):
            await told(wire, last - 1)
        asked, seconds = log.commands(), loop.time() - began
        standings = [node.realtime.live().standing for node, _ in behind]
    assert asked["relay"]["getMore"] >= 30
    assert asked["relay"]["ping"] >= 2, "it asks for the time, for all"
    assert asked["alone"]["getMore"] >= 30
    assert asked["alone"]["ping"] >= 2
    assert asked["alone"]["hello"] >= SECONDS
    assert asked["alone"]["find"] >= 30
    assert last >= 30
    # Heartbeats of one client with two connections, each 10 s apart.
    most = 2 * (1 + int(seconds / 10))
    for name in ("behind0", "behind1"):
        found = asked.get(name, Counter())
        assert found.total() == found["hello"] + found["find"], asked
        assert found["hello"] <= most, asked
        # What the relay did not read in its time a node does.
        assert found["find"] <= 3, asked
    # They know nevertheless how they stand.
    assert all(standing.window is not None and standing.lag <= 1 for standing in standings)
    assert all(standing.stream for standing in standings)


async def test_the_far_client_of_a_node_is_gone_with_the_read_it_was_for(replica_set: ReplicaSet) -> None:
    """One that stays has a heartbeat each second for ever."""
    with pymongo.MongoClient[dict[str, Any]](replica_set.uri) as client:

        def connections() -> int:
            stages: list[dict[str, Any]] = [
                {"$currentOp": {"allUsers": True, "idleConnections": True}},
                {"$match": {"appName": "far-one"}},
            ]
            with client.admin.aggregate(stages) as found:
                return len(list(found))

        async with clients.far_database(f"{replica_set.uri}&appName=far-one", DATABASE) as database:
            await database.command("ping")
            assert connections() >= 2, "the monitor's and that of the command"
        async with asyncio.timeout(20):
            while connections():
                await asyncio.sleep(0.05)
