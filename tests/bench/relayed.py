"""What nodes cost MongoDB, each with a change stream of its own and all behind one relay, as figures.

    python -m tests.bench.relayed [--nodes 1 10] [--seconds 10] [--rate 200] [--together] [--relayed]

200 events a second, half of them updates; each node has 20 live queries, windows and groups among them. Of mongod:
processor time, with the writer's share, and reads; and every command a second that is not the writer's, by its name.
With `--together` all nodes are in this process: for more than the machine has room for, and for commands alone.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pymongo import AsyncMongoClient

from realtime.mongo import embedded as embedded_mongo
from realtime.nats import embedded as embedded_nats
from tests.relay.processes import RelayProcess
from tests.replica_set import ReplicaSet
from tests.serving import process, serving
from tests.wire import View, Wire, wired

EVENTS_A_SECOND = 200
READS = ("find", "getMore", "aggregate")
OF_THIS = frozenset({"insert", "update", "serverStatus"})
"""What the writer and who counts ask for."""
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
    """Of mongod while `events` were told: seconds of its processor, commands that were not the writer's.

    `asked`: all of them by name. They took `seconds`; `connections` were open at the end.
    """

    nodes: int
    relay: bool
    events: int
    processor: float
    seconds: float
    asked: dict[str, int]
    connections: int

    @property
    def commands(self) -> int:
        """Reads and looks into change streams, without what drivers ask for themselves."""
        return sum(self.asked.get(name, 0) for name in READS)

    def __str__(self) -> str:
        each = ", ".join(f"{name} {count / self.seconds:.2f}" for name, count in sorted(self.asked.items()))
        by = "by a relay" if self.relay else "alone"
        return (
            f"{self.nodes} nodes {by}: {self.events} events in {self.seconds:.1f} s, mongod {self.processor:.2f} s, "
            f"{self.commands} reads, {self.connections} connections; a second: {each}"
        )


async def figure(
    folder: Path, nodes: int, *, relay: bool, seconds: float, rate: float = EVENTS_A_SECOND, together: bool = False
) -> Figure:
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
            url = await stack.enter_async_context(_node(folder, given, together=together))
            wires.append(await stack.enter_async_context(wired(url)))
            for number, query in enumerate(QUERIES):
                await wires[-1].subscribe("docs", id=f"q{number}", **query)
        # Each asks once how MongoDB decides, before it tells of anything: that is of a start.
        await docs.insert_one({"_id": 500_000, "kind": 7, "value": 500_000})
        await _all_told(wires, 500_000)
        server = psutil.Process(mongo.pid)
        loop = asyncio.get_running_loop()
        before, (asked, _), began = _seconds(server), await _commands(client), loop.time()
        events = await _written(docs, seconds, rate)
        # Everything was told: the last document is the first of a window of each node.
        await _all_told(wires, 999_999 + events // 2)
        took, (now, connections) = loop.time() - began, await _commands(client)
        counted = {name: count - asked.get(name, 0) for name, count in now.items()}
        counted = {name: count for name, count in counted.items() if count and name not in OF_THIS}
        return Figure(nodes, relay, events, _seconds(server) - before, took, counted, connections)


@asynccontextmanager
async def _node(folder: Path, given: Mapping[str, str], *, together: bool) -> AsyncIterator[str]:
    """Its address; a process of its own, or in this one."""
    if not together:
        async with process("serve", "--port", "0", home=folder, **given) as node:
            yield node.url
        return
    own = ReplicaSet(uri=given["REALTIME_MONGODB_URI"], lane="embedded", can_fail_commands=False)
    async with serving(own, database=DATABASE, keep=True, nats=given.get("REALTIME_NATS"), feed_await_ms=1000) as node:
        yield node.url


async def _all_told(wires: Sequence[Wire], key: int) -> None:
    for wire in wires:
        await wire.when(functools.partial(_told, wire.views["q8"], str(key)), seconds=60)


def _told(view: View, key: str) -> bool:
    return key in view.documents


def _seconds(server: psutil.Process) -> float:
    times = server.cpu_times()
    return float(times.user + times.system)


async def _commands(client: AsyncMongoClient[dict[str, Any]]) -> tuple[dict[str, int], int]:
    """How often each command was asked so far, and how many connections there are."""
    found = await client.admin.command("serverStatus")
    commands = found["metrics"]["commands"]
    return {
        name: int(each["total"]) for name, each in commands.items() if isinstance(each, dict) and "total" in each
    }, int(found["connections"]["current"])


async def _written(docs: Any, seconds: float, rate: float) -> int:
    """Inserts and updates in turn, evenly; how many."""
    loop, count = asyncio.get_running_loop(), int(seconds * rate) // 2 * 2
    began = loop.time()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
        if number % 2:
            await docs.update_one({"_id": number % 200}, {"$set": {"value": number, "kind": number // 2 % 8}})
        else:
            key = 1_000_000 + number // 2
            await docs.insert_one({"_id": key, "kind": key % 8, "value": key})
    return count


async def figures(
    counts: Sequence[int],
    seconds: float,
    relays: Sequence[bool] = (False, True),
    *,
    rate: float = EVENTS_A_SECOND,
    together: bool = False,
) -> list[Figure]:
    """One for each number of nodes, without and with a relay."""
    found = []
    for relay in relays:
        for nodes in counts:
            with tempfile.TemporaryDirectory() as folder:
                one = await figure(Path(folder), nodes, relay=relay, seconds=seconds, rate=rate, together=together)
                found.append(one)
                sys.stdout.write(f"{found[-1]}\n")
                sys.stdout.flush()
    return found


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=EVENTS_A_SECOND)
    parser.add_argument("--together", action="store_true", help="all nodes in this process")
    parser.add_argument("--relayed", action="store_true", help="with a relay alone")
    asked = parser.parse_args()
    relays = (True,) if asked.relayed else (False, True)
    asyncio.run(figures(asked.nodes, asked.seconds, relays, rate=asked.rate, together=asked.together))


if __name__ == "__main__":
    main()
