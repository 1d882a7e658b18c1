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
from pathlib import Path
from typing import Any

import pymongo

from realtime.bench.latencies import Latencies
from realtime.mongo import embedded
from tests.bench import tables
from tests.bench.listener import Orders
from tests.bench.rounds import Rounds, say, together
from tests.bench.scenarios import PART, SCENARIOS, Scenario
from tests.bench.standing import ROOT, STANDING, Peer, Program, patience

HEARD_SECONDS = 300.0
"""For the clients to say that they are live, or what came."""
SETTLE_SECONDS = 0.5
"""Between two phases: what one left to be done is not counted with the next."""
INTERRUPTED = 130
WHOLE = "--page is for whole runs, without --share"


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


def measured(peer: Peer, scenario: Scenario, uri: str, handicap: int = 0) -> dict[str, Any]:
    """One run of one of them. `MissingError` where it cannot be had. `handicap` is the clients', see `Orders`."""
    database = f"bench_{uuid.uuid4().hex[:12]}"
    with pymongo.MongoClient[dict[str, Any]](uri) as client, ExitStack() as stack:
        stack.callback(client.drop_database, database)
        client[database].create_collection("orders")
        return _measured(peer.start(uri, database, stack), peer, scenario, handicap)


def _measured(program: Program, peer: Peer, scenario: Scenario, handicap: int) -> dict[str, Any]:
    orders = Orders(
        peer.dialect, program.port, scenario.connections, scenario.slow, scenario.filters, scenario.each,
        program.tokens, handicap,
    )  # fmt: skip
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
            tell(clients, {"again": True})
            found["resume_seconds"] = heard(clients)["seconds"]
            found["resume_ms"] = (program.cpu() - spent) / scenario.connections * 1000
        else:
            consumed(documents(scenario, program))
        tell(clients, {"total": scenario.documents})
        told = heard(clients)
        return {**found, **figures_of(scenario, told, program.cpu() - spent, began)}


def tell(clients: subprocess.Popen[bytes], told: dict[str, Any]) -> None:
    """A line to the clients."""
    assert clients.stdin is not None
    clients.stdin.write(json.dumps(told).encode() + b"\n")
    clients.stdin.flush()


def figures_of(scenario: Scenario, told: dict[str, Any], spent: float, began: float) -> dict[str, Any]:
    latencies = Latencies((bucket, count) for bucket, count in told["latencies"])
    lost = "not there yet when it took too long" if told["late"] else "lost"
    wrong = [f"{told[name]:,} {word}" for name, word in (("lost", lost), ("repeated", "repeated")) if told[name]]
    return {
        "cpu_us": spent / max(told["deliveries"], 1) * 1e6,
        "deliveries": told["deliveries"],
        "expected": None if scenario.filters else (scenario.connections - scenario.slow) * scenario.documents,
        "rate": told["deliveries"] / max(told["done"] - began, 1e-9),
        "p50_ms": (latencies.percentile(0.5) or 0) / 1000,
        "p99_ms": (latencies.percentile(0.99) or 0) / 1000,
        "lost": told["lost"],
        "repeated": told["repeated"],
        "slow_lost": told["slow_lost"],
        "client_busy": told["busy"],
        "errors": told["errors"],
        "retried": told["retried"],
        "void": ", ".join(wrong) or None,
    }


def chosen(names: list[str], all_of: Iterable[Any], what: str) -> list[Any]:
    """Those of these names; all where there are none."""
    known = {one.name: one for one in all_of}
    if wrong := [name for name in names if name not in known]:
        raise SystemExit(f"{what} {wrong[0]!r}: one of {', '.join(known)}")
    return [known[name] for name in names] or list(known.values())


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="tests.bench.beside", description="The service beside its peers.")
    made.add_argument("--scenario", action="append", default=[], metavar="NAME")
    made.add_argument("--peer", action="append", default=[], metavar="NAME")
    made.add_argument("--runs", type=int, default=3, metavar="N", help="of each, round after round (default 3)")
    made.add_argument(
        "--minutes", type=float, default=45, metavar="N", help="no run is begun that would end later (default 45)"
    )
    made.add_argument("--share", type=float, default=1.0, metavar="X", help="of every size: 0.05 to see that it works")
    made.add_argument("--out", type=Path, metavar="FILE", help="every figure of every run, after each of them, as JSON")
    made.add_argument("--page", action="store_true", help="write tables and pictures into docs and README.md")
    made.add_argument(
        "--saved", action="append", default=[], type=Path, metavar="FILE",
        help="measure nothing: put together what runs have kept, all files together",
    )  # fmt: skip
    return made


def new_runs(given: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """Everything that was asked for, and whether it came to its end."""
    scenarios = [one.smaller(given.share) for one in chosen(given.scenario, SCENARIOS, "--scenario")]
    peers = chosen(given.peer, STANDING, "--peer")
    kept = given.out or ROOT / "build" / time.strftime("bench-%Y%m%d-%H%M%S.json")
    say(f"every run is kept in {kept}")
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as home, asyncio.Runner() as runner:
        mongo = runner.run(embedded.start(Path(home)))
        try:
            made = Rounds(lambda peer, scenario: measured(peer, scenario, mongo.uri), peers, scenarios, kept)
            made.told["machine"] = tables.machine(mongo.uri)
            try:
                made.run(given.runs, given.minutes)
            except KeyboardInterrupt:
                say("interrupted")
                return made.told, False
            return made.told, True
        finally:
            runner.run(mongo.stop())


def main() -> int:
    given = parser().parse_args()
    if given.saved:
        try:
            told, whole = together(json.loads(path.read_text()) for path in given.saved), True
        except ValueError as error:
            raise SystemExit(f"--saved: {error}") from None
        if given.page and any(PART in text for text in told["scenarios"].values()):
            raise SystemExit(WHOLE)
    else:
        if given.page and given.share < 1:
            raise SystemExit(WHOLE)
        told, whole = new_runs(given)
    sys.stdout.write(tables.page(told))
    if not whole:
        return INTERRUPTED
    if given.page:
        tables.write(told, ROOT)
    void = any(run["void"] for some in told["figures"].values() for runs in some.values() for run in runs)
    return 1 if void else 0


if __name__ == "__main__":
    sys.exit(main())
