"""What this build costs beside another: `python -m tests.bench.paired --old TREE [--pairs 15]`.

    git worktree add --detach /tmp/before COMMIT
    python -m tests.bench.paired --old /tmp/before

Two figures, each the service's CPU: an event that comes alone and is told to one, and a delivery of one that is told to
many. Both builds run at once on one database, so that what else the machine does meets both alike; who is started first
alternates. A pair is both orders, its ratio their geometric mean; beside them stand pairs of this build and itself, for
what chance alone makes of it.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
import tempfile
from pathlib import Path

from realtime.mongo import embedded
from tests.bench.scenarios import Scenario
from tests.bench.slowed import at_once
from tests.bench.standing import ROOT

SCENARIOS = {
    "an isolated event": Scenario("isolated", "1 connection, 50 documents/s", 1, 50, documents=250),
    "a delivery": Scenario("delivery", "200 connections, 50 documents/s", 200, 50, documents=250),
}


def ratio(uri: str, other: Path, scenario: Scenario) -> tuple[float, float]:
    """This tree's service to that tree's, and what this one's took: microseconds of CPU a delivery."""
    ours, old = at_once(uri, [ROOT, other], scenario)
    old_first, ours_second = at_once(uri, [other, ROOT], scenario)
    return math.sqrt(ours / old * ours_second / old_first), (ours + ours_second) / 2


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.paired", description="This build beside another.")
    parser.add_argument("--old", type=Path, required=True, metavar="TREE", help="a checkout of the other build")
    parser.add_argument("--pairs", type=int, default=15, metavar="N")
    parser.add_argument("--alike", type=int, default=3, metavar="N", help="pairs of this build and itself (default 3)")
    given = parser.parse_args()
    if not (given.old / "realtime" / "__main__.py").is_file():
        parser.error(f"{given.old} is no checkout of this project: git worktree add --detach {given.old} COMMIT")
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as home, asyncio.Runner() as runner:
        mongo = runner.run(embedded.start(Path(home)))
        try:
            for name, scenario in SCENARIOS.items():
                alike = [ratio(mongo.uri, ROOT, scenario)[0] for _ in range(given.alike)]
                found = []
                for number in range(given.pairs):
                    one, cost = ratio(mongo.uri, given.old.resolve(), scenario)
                    found.append(one)
                    sys.stdout.write(f"{name}, pair {number + 1}: {one:.3f} ({cost:.0f} us)\n")
                    sys.stdout.flush()
                sys.stdout.write(
                    f"{name}: median {statistics.median(found):.3f}, {min(found):.3f} to {max(found):.3f}; "
                    f"this build and itself {', '.join(f'{one:.3f}' for one in alike)}\n"
                )
        finally:
            runner.run(mongo.stop())
    return 0


if __name__ == "__main__":
    sys.exit(main())
