"""Whether a slow-down is seen: the service beside a copy of itself whose fan-out does so much more for each frame.

    python -m tests.bench.slowed [--more 0.2] [--pairs 5]

The copy is of the source, as `make sabotage` makes them: the product has no switch for it. The two run at once, on one
database, so that what else the machine does meets both alike, and then again the other way round, since who is started
first has a few per cent more to do; what is told is the mean of the two ratios. Before them it is that of two alike.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pymongo

from realtime.mongo import embedded
from tests.bench.beside import SETTLE_SECONDS, documents, figures_of, heard, listening, tell
from tests.bench.listener import Orders
from tests.bench.scenarios import Scenario
from tests.bench.standing import ROOT, started
from tests.sabotaged import copied

FILE = "realtime/web/socket/uvicorn_sink.py"
LINE = "            self._line.write(_framed(frame))\n            return\n"
"""One frame to one socket that is not behind: what a delivery ends in."""
SEEN = 1.1
"""A ratio that is more is a slow-down."""
SCENARIO = Scenario("slowed", "200 connections, 50 documents/s", 200, 50, documents=250)
LOOPS, TURNS = 20_000, 64
"""Turns are as few as in the copy: larger numbers would have to be made."""


def loop_us() -> float:
    """Microseconds of this processor for one turn of an empty loop, as the copy makes them."""
    began = time.thread_time()
    for _ in range(LOOPS):
        for _ in range(TURNS):
            pass
    return (time.thread_time() - began) / LOOPS / TURNS * 1e6


def slower(tree: Path, turns: int) -> None:
    """That tree's service makes so many empty turns for each frame and socket."""
    path = tree / FILE
    text = path.read_text()
    assert text.count(LINE) == 1, f"{FILE} sends otherwise"
    write, _, rest = LINE.partition("\n")
    path.write_text(text.replace(LINE, f"{write}\n            for _ in range({turns}):\n                pass\n{rest}"))


def at_once(uri: str, trees: list[Path], scenario: Scenario = SCENARIO) -> list[float]:
    """Microseconds of CPU a delivery of the service from each of these trees, all told of the same documents."""
    database = f"bench_{uuid.uuid4().hex[:12]}"
    with pymongo.MongoClient[dict[str, Any]](uri) as client, ExitStack() as stack:
        stack.callback(client.drop_database, database)
        client[database].create_collection("orders")
        programs = [started(uri, database, stack, tree) for tree in trees]
        crowds = [
            stack.enter_context(listening(Orders("realtime", one.port, scenario.connections))) for one in programs
        ]
        for one in crowds:
            heard(one)
        time.sleep(SETTLE_SECONDS)
        spent, began = [one.cpu() for one in programs], time.monotonic()
        assert list(documents(scenario, programs[0]))
        for one in crowds:
            tell(one, {"total": scenario.documents})
        told = [heard(one) for one in crowds]
        used = [one.cpu() - before for one, before in zip(programs, spent, strict=True)]
    figures = [figures_of(scenario, one, cpu, began) for one, cpu in zip(told, used, strict=True)]
    assert not any(one["void"] for one in figures), figures
    return [float(one["cpu_us"]) for one in figures]


def ratio(uri: str, tree: Path) -> tuple[float, float]:
    """The service from that tree to this one's, and what this one's took: microseconds of CPU a delivery."""
    plain, other = at_once(uri, [ROOT, tree])
    other_first, plain_second = at_once(uri, [tree, ROOT])
    return math.sqrt(other / plain * other_first / plain_second), (plain + plain_second) / 2


def pairs(uri: str, more: float, count: int) -> Iterator[float]:
    """The ratio of two that are alike, and then so many of the copy to the service."""
    alike, cost = ratio(uri, ROOT)
    yield alike
    for _ in range(count):
        with copied(ROOT) as tree:
            slower(tree, round(cost * more / loop_us()))
            found, cost = ratio(uri, tree)
        yield found


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.slowed", description="Whether a slow-down is seen.")
    parser.add_argument("--more", type=float, default=0.2, metavar="X", help="of what a delivery takes (default 0.2)")
    parser.add_argument("--pairs", type=int, default=5, metavar="N")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as home, asyncio.Runner() as runner:
        mongo = runner.run(embedded.start(Path(home)))
        try:
            found = pairs(mongo.uri, given.more, given.pairs)
            sys.stdout.write(f"two that are alike {next(found):.3f}\n")
            seen = 0
            for one in found:
                seen += one > SEEN
                sys.stdout.write(f"slowed {one:.3f} times\n")
                sys.stdout.flush()
        finally:
            runner.run(mongo.stop())
    sys.stdout.write(f"seen in {seen} of {given.pairs}\n")
    return 0 if seen == given.pairs else 1


if __name__ == "__main__":
    sys.exit(main())
