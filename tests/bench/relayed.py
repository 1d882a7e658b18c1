"""What nodes cost MongoDB, each with a change stream of its own and all behind one relay, as figures.

    python -m tests.bench.relayed [--nodes 1 10] [--seconds 10]

200 events a second, half of them updates; each node has 20 live queries, windows and groups among them. Of mongod:
processor time, with the writer's share, and reads.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pymongo import AsyncMongoClient

from realtime.mongo import embedded as embedded_mongo
from realtime.nats import embedded as embedded_nats
from tests.relay.processes import RelayProcess
from tests.serving import process
from tests.wire import View, wired

EVENTS_A_SECOND = 200
DATABASE = "relayed"
PLAIN: list[dict[str, Any]] = [{"filter": {"kind": number}} for number in range(8)]
WINDOWS: list[dict[str, Any]] = [
    {"filter": {"kind": {"$gte": number}}, "sort": {"value": -1}, "limit": 10} for number in range(6)
]
GROUPS: list[dict[str, Any]] = [
    {"group": {"by": ["kind"], "count": True, "sum": ["value"]}, "filter": {"kind": {"$gte": number}}}
    for number in range(6)
]
QUERIES = [*PLAIN, *WINDOWS, *GROUPS]


@dataclass(frozen=True, slots=True)
class Figure:
    """Of mongod while `events` were told: seconds of its processor, commands that were not the writer's."""

    nodes: int
    relay: bool
    events: int
    processor: float
    commands: int


async def figure(folder: Path, nodes: int, *, relay: bool, seconds: float) -> Figure:
    """Everything anew, and nothing of it left."""
    folder.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        mongo = await stack.enter_async_context(embedded_mongo.running(folder / "mongo"))
        given = {"REALTIME_MONGODB_URI": mongo.uri, "REALTIME_DATABASE": DATABASE, "REALTIME_LOG_LEVEL": "warning"}
        if relay:
            nats = await stack.enter_async_context(embedded_nats.running(folder))
            given["REALTIME_NATS"] = nats.url
            one = RelayProcess(folder / "relay.log", mongo.uri, DATABASE, nats.url)
            stack.callback(one.end)
            await one.says("publishing")
        client: AsyncMongoClient[dict[str, Any]] = await stack.enter_async_context(AsyncMongoClient(mongo.uri))
        docs = client[DATABASE].docs
        await docs.insert_many([{"_id": number, "kind": number % 8, "value": number} for number in range(200)])
        wires = []
        for _ in range(nodes):
            node = await stack.enter_async_context(process("serve", "--port", "0", home=folder, **given))
            wires.append(await stack.enter_async_context(wired(node.url)))
            for number, query in enumerate(QUERIES):
                await wires[-1].subscribe("docs", id=f"q{number}", **query)
        server = psutil.Process(mongo.pid)
        before, asked = _seconds(server), await _commands(client)
        events = await _written(docs, seconds)
        # Everything was told: the last document is the first of a window of each node.
        for wire in wires:
            view = wire.views["q8"]
            await wire.when(functools.partial(_told, view, str(999_999 + events // 2)), seconds=60)
        return Figure(nodes, relay, events, _seconds(server) - before, await _commands(client) - asked)


def _told(view: View, key: str) -> bool:
    return key in view.documents


def _seconds(server: psutil.Process) -> float:
    times = server.cpu_times()
    return float(times.user + times.system)


async def _commands(client: AsyncMongoClient[dict[str, Any]]) -> int:
    """Reads and looks into change streams: neither writes, nor what drivers ask for themselves, nor this."""
    found = (await client.admin.command("serverStatus"))["metrics"]["commands"]
    counted = [found[name]["total"] for name in ("find", "getMore", "aggregate")]
    return int(sum(counted))


async def _written(docs: Any, seconds: float) -> int:
    """Inserts and updates in turn, evenly; how many."""
    loop, count = asyncio.get_running_loop(), int(seconds * EVENTS_A_SECOND) // 2 * 2
    began = loop.time()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / EVENTS_A_SECOND - loop.time()))
        if number % 2:
            await docs.update_one({"_id": number % 200}, {"$set": {"value": number, "kind": number // 2 % 8}})
        else:
            key = 1_000_000 + number // 2
            await docs.insert_one({"_id": key, "kind": key % 8, "value": key})
    return count


async def figures(counts: Sequence[int], seconds: float, relays: Sequence[bool] = (False, True)) -> list[Figure]:
    """One for each number of nodes, without and with a relay."""
    found = []
    for relay in relays:
        for nodes in counts:
            with tempfile.TemporaryDirectory() as folder:
                found.append(await figure(Path(folder), nodes, relay=relay, seconds=seconds))
                sys.stdout.write(f"{found[-1]}\n")
                sys.stdout.flush()
    return found


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--seconds", type=float, default=10)
    asked = parser.parse_args()
    asyncio.run(figures(asked.nodes, asked.seconds))


if __name__ == "__main__":
    main()
