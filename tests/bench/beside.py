"""`make bench`: the service beside its peers, on one mongod, with one client. `python -m tests.bench.beside --help`.

A delivery is one change that was received, parsed and counted by one client. A run in which somebody who reads got
anything but exactly what was written is void; what was lost and repeated is in its row. Everybody runs in turn, so that
what grows with time meets all alike, and ratios are of one round each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pymongo

from realtime.bench.latencies import Latencies
from realtime.mongo import embedded
from tests.bench import tables
from tests.bench.listener import Orders
from tests.bench.standing import OURS, ROOT, STANDING, MissingError, Peer, Program, patience

PAYLOAD = 200
OUR_OWN = (OURS, "realtime, ruled")
HEARD_SECONDS = 300.0
"""For the clients to say that they are live, or what came."""
SETTLE_SECONDS = 1.0
"""Between two phases: what one left to be done is not counted with the next."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Connections, documents a second, at a time and in all; 0 documents: who connects is measured alone."""

    name: str
    text: str
    connections: int
    rate: float = 0.0
    batch: int = 1
    documents: int = 0
    slow: int = 0
    filters: int = 0
    each: int = 1
    resume: bool = False
    payload: int = PAYLOAD
    only: tuple[str, ...] = ()

    def smaller(self, share: float) -> Scenario:
        """The same, of that share: to see that everything works."""
        if share >= 1:
            return self

        def part(number: int, least: int) -> int:
            return max(round(number * share), min(least, number))

        return replace(
            self,
            text=f"{self.text}; of all this {share:g}",
            connections=part(self.connections, 10),
            documents=part(self.documents, 20),
            batch=part(self.batch, 10),
            slow=part(self.slow, 2),
            filters=part(self.filters, 20),
        )


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("steady", "500 connections, 400 documents/s", 500, 400, documents=4000),
    Scenario("burst", "500 connections, 4,000 documents by one `insert_many`", 500, 4000, batch=4000, documents=4000),
    Scenario("wide", "5,000 connections, 20 documents/s", 5000, 20, documents=200),
    Scenario("widest", "18,000 connections, 20 documents/s", 18_000, 20, documents=200, only=OUR_OWN),
    Scenario("isolated", "one connection, 100 documents/s", 1, 100, documents=1000),
    Scenario("latency", "100 connections, 50 documents/s", 100, 50, documents=500),
    Scenario("connect", "2,000 connections at once", 2000),
    Scenario(
        "filters", "100 connections of 100 different filters each, 50 documents/s", 100, 50, documents=500,
        filters=10_000, each=100,
    ),
    Scenario(
        "slow", "200 connections, of which 20 read nothing until all is written; 20 documents/s of 16 KB", 200, 20,
        documents=400, slow=20, payload=16_000,
    ),
    Scenario(
        "resume", "2,000 connections come back by position after a restart, and get what was written meanwhile", 2000,
        100, documents=100, resume=True, only=OUR_OWN,
    ),
)  # fmt: skip


@contextmanager
def listening(orders: Orders) -> Iterator[subprocess.Popen[bytes]]:
    """The clients, not connected yet."""
    command = [sys.executable, "-m", "tests.bench.listener"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert child.stdin is not None
        child.stdin.write(orders.as_line())
        child.stdin.flush()
        yield child
    finally:
        child.kill()
        child.communicate()


def heard(child: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The next line of the clients'."""
    assert child.stdout is not None
    with patience(child, HEARD_SECONDS):
        line = child.stdout.readline()
    assert line, "the clients ended before their time"
    told: dict[str, Any] = json.loads(line)
    return told


def documents(scenario: Scenario, program: Program, since: int = 0, until: int | None = None) -> Iterator[int]:
    """Writes them, batch by batch when each is due, stamped just before; the number of the first of each."""
    began, last = time.monotonic(), scenario.documents if until is None else until
    for first in range(since, last, scenario.batch):
        time.sleep(max(began + (first - since) / scenario.rate - time.monotonic(), 0))
        at, numbers = time.monotonic_ns() // 1000, range(first, min(first + scenario.batch, last))
        program.write(
            [
                {
                    "_id": f"n{n}",
                    "n": n,
                    "at": at,
                    "open": True,
                    "f": n % (scenario.filters or 1),
                    "text": "x" * scenario.payload,
                }
                for n in numbers
            ]
        )
        yield first


def consumed(some: Iterator[int]) -> None:
    """All of them."""
    assert list(some)


def measured(peer: Peer, scenario: Scenario, uri: str) -> dict[str, Any]:
    """One run of one of them. `MissingError` where it cannot be had."""
    database = f"bench_{uuid.uuid4().hex[:12]}"
    with pymongo.MongoClient[dict[str, Any]](uri) as client, ExitStack() as stack:
        stack.callback(client.drop_database, database)
        client[database].create_collection("orders")
        return _measured(peer.start(uri, database, stack), peer, scenario)


def _measured(program: Program, peer: Peer, scenario: Scenario) -> dict[str, Any]:
    orders = Orders(
        peer.dialect, program.port, scenario.connections, scenario.slow, scenario.filters, scenario.each, program.tokens
    )
    time.sleep(SETTLE_SECONDS)
    memory, spent = program.memory(), program.cpu()
    with listening(orders) as clients:
        live = heard(clients)
        connected = program.cpu() - spent
        time.sleep(SETTLE_SECONDS)
        found: dict[str, Any] = {
            "connect_ms": connected / scenario.connections * 1000,
            "connect_seconds": live["seconds"],
            "kb_each": (program.memory() - memory) / scenario.connections / 1024,
        }
        if not scenario.documents:
            return {**found, "void": None}
        spent, began = program.cpu(), time.monotonic()
        if scenario.resume:
            consumed(documents(scenario, program, until=scenario.documents // 2))
            assert program.again is not None
            program.again(lambda: consumed(documents(scenario, program, since=scenario.documents // 2)))
            spent, began = program.cpu(), time.monotonic()
            _tell(clients, {"again": True})
            found["resume_seconds"] = heard(clients)["seconds"]
            found["resume_ms"] = (program.cpu() - spent) / scenario.connections * 1000
        else:
            consumed(documents(scenario, program))
        _tell(clients, {"total": scenario.documents})
        told = heard(clients)
        return {**found, **figures_of(scenario, told, program.cpu() - spent, began)}


def _tell(clients: subprocess.Popen[bytes], told: dict[str, Any]) -> None:
    assert clients.stdin is not None
    clients.stdin.write(json.dumps(told).encode() + b"\n")
    clients.stdin.flush()


def figures_of(scenario: Scenario, told: dict[str, Any], spent: float, began: float) -> dict[str, Any]:
    each = scenario.documents // scenario.filters * scenario.each if scenario.filters else scenario.documents
    expected = (scenario.connections - scenario.slow) * each
    latencies = Latencies((bucket, count) for bucket, count in told["latencies"])
    wrong = [f"{told[name]} {name}" for name in ("lost", "repeated") if told[name]]
    return {
        "cpu_us": spent / max(told["deliveries"], 1) * 1e6,
        "deliveries": told["deliveries"],
        "expected": expected if not scenario.filters else None,
        "rate": told["deliveries"] / max(told["done"] - began, 1e-9),
        "p50_ms": (latencies.percentile(0.5) or 0) / 1000,
        "p99_ms": (latencies.percentile(0.99) or 0) / 1000,
        "lost": told["lost"],
        "repeated": told["repeated"],
        "slow_lost": told["slow_lost"],
        "client_busy": told["busy"],
        "errors": told["errors"],
        "void": ", ".join(wrong) or None,
    }


def rounds(uri: str, peers: list[Peer], scenarios: Iterable[Scenario], runs: int) -> dict[str, Any]:
    """Everything, by scenario and peer a list of runs; and who was left out, and why."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    missing: dict[str, str] = {}
    for scenario in scenarios:
        for run in range(runs):
            for peer in peers if run % 2 == 0 else reversed(peers):
                if peer.name in missing or _unfit(peer, scenario):
                    continue
                try:
                    told = measured(peer, scenario, uri)
                except MissingError as error:
                    missing[peer.name] = str(error)
                    sys.stderr.write(f"{peer.name}: left out, for want of {error}\n")
                    continue
                except (AssertionError, OSError, RuntimeError) as error:
                    told = {"void": f"failed: {' '.join(str(error).split())[:200]}"}
                found.setdefault(scenario.name, {}).setdefault(peer.name, []).append(told)
                sys.stderr.write(f"{scenario.name:9} {peer.name:24} {tables.brief(told)}\n")
    return {"figures": found, "missing": missing}


def _unfit(peer: Peer, scenario: Scenario) -> bool:
    """Whether a scenario is none for it: it has no filters, or the scenario is for others."""
    return bool((scenario.filters and not peer.filters) or (scenario.only and peer.name not in scenario.only))


def chosen(names: list[str], all_of: Iterable[Any], what: str) -> list[Any]:
    """Those of these names; all where there are none."""
    known = {one.name: one for one in all_of}
    if wrong := [name for name in names if name not in known]:
        raise SystemExit(f"{what} {wrong[0]!r}: one of {', '.join(known)}")
    return [known[name] for name in names] or list(known.values())


async def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.beside", description="The service beside its peers.")
    parser.add_argument("--scenario", action="append", default=[], metavar="NAME")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each, one after the other (default 3)")
    parser.add_argument(
        "--share", type=float, default=1.0, metavar="X", help="of every size: 0.05 to see that it works"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="every figure of every run, as JSON")
    parser.add_argument("--page", action="store_true", help="write tables and pictures into docs/performance.md")
    given = parser.parse_args()
    if given.page and given.share < 1:
        raise SystemExit("--page is for whole runs, without --share")
    scenarios = [one.smaller(given.share) for one in chosen(given.scenario, SCENARIOS, "--scenario")]
    peers = chosen(given.peer, STANDING, "--peer")
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as home:
        async with embedded.running(Path(home)) as mongo:
            told = await asyncio.to_thread(rounds, mongo.uri, peers, scenarios, given.runs)
            told |= {"machine": tables.machine(mongo.uri), "runs": given.runs}
    told["scenarios"] = {one.name: one.text for one in scenarios}
    told["how"] = {one.name: one.how for one in peers}
    if given.out:
        given.out.write_text(json.dumps(told, indent=1))
    text = tables.page(told)
    if given.page:
        tables.write(told, ROOT / "docs" / "performance.md")
    sys.stdout.write(text)
    void = any(run["void"] for some in told["figures"].values() for runs in some.values() for run in runs)
    return 1 if void else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
