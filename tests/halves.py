"""`make test-core`: the pure tests by as many plain pytests as there are cores, each with files of its own.

    python -m tests.halves [DIRECTORY|FILE ...] [pytest's arguments]

These tests take two thousandths of a second each: pytest-xdist, which tells one process of every test of the others and
has each of them collect all, takes as long as they do. So the files are dealt out beforehand, by what they take, and
each pytest says its own once it is done. What names a single test runs by itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.parts import NOTHING_SELECTED, ROOT, environment, worst

PURE = "tests/core"
A_SECOND = 180_000
"""Bytes of source: a second of the usual test file."""
SLOW: dict[str, float] = {
    "tests/core/live/test_window.py": 0.9,
    "tests/core/connection/test_frames_vectors.py": 0.6,
    "tests/core/live/test_judging.py": 0.6,
    "tests/core/connection/test_frames.py": 0.3,
    "tests/core/live/pipelines/test_accumulators.py": 0.3,
    "tests/core/live/pipelines/test_flow.py": 0.3,
    "tests/core/live/test_ruled.py": 0.3,
    "tests/core/mql/expressions/test_compiling.py": 0.3,
    "tests/core/mql/schemas/test_compiling.py": 0.3,
    "tests/core/connection/test_frames_fuzz.py": 0.2,
    "tests/core/mql/test_demands.py": 0.2,
}
"""Seconds beyond what their length says: random tests, and tables of many cases."""


def main(arguments: Sequence[str]) -> int:
    """The worst exit code; a half for which nothing was selected says nothing, unless all are such."""
    paths = [one for one in arguments if not one.startswith("-") and (ROOT / one).exists()]
    options = [one for one in arguments if one not in paths]
    if any("::" in one for one in arguments):
        return subprocess.run(command(arguments), cwd=ROOT, env=environment(os.environ), check=False).returncode
    found = sorted({file for path in paths or [PURE] for file in files(ROOT / path)})
    shares = [share for share in dealt(found, os.cpu_count() or 1) if share]
    codes = _ran([command([*options, *share]) for share in shares])
    return worst(codes) if codes else NOTHING_SELECTED


def files(path: Path) -> list[str]:
    """Test files at or below a path, as pytest finds them."""
    found = path.rglob("test_*.py") if path.is_dir() else [path]
    return [str(file.resolve().relative_to(ROOT)) for file in found]


def dealt(found: Iterable[str], hands: int) -> list[list[str]]:
    """Every file to one hand, so that all take about as long: the longest first, to who has least."""
    shares: list[list[str]] = [[] for _ in range(hands)]
    held = [0.0] * hands
    for seconds, file in sorted(((_seconds(file), file) for file in found), reverse=True):
        least = held.index(min(held))
        shares[least].append(file)
        held[least] += seconds
    return [sorted(share) for share in shares]


def command(arguments: Sequence[str]) -> list[str]:
    """A plain pytest: without a loop, without workers."""
    return [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:asyncio",
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
        *arguments,
    ]


def _seconds(file: str) -> float:
    return (ROOT / file).stat().st_size / A_SECOND + SLOW.get(file, 0.0)


def _ran(commands: Sequence[Sequence[str]]) -> list[int]:
    """Exit codes. The first writes where we do, the others when they are done."""
    with tempfile.TemporaryDirectory(prefix="realtime-halves-") as directory:
        given = environment(os.environ)
        running = []
        for number, words in enumerate(commands):
            said = Path(directory, str(number)).open("w+b")  # noqa: SIM115 - closed below, after its process
            # They would sweep each other's directories away.
            own = [*words, f"--basetemp={directory}/pytest-{number}"]
            running.append((subprocess.Popen(own, cwd=ROOT, env=given, stdout=said, stderr=subprocess.STDOUT), said))
        codes = []
        for process, said in running:
            codes.append(process.wait())
            said.seek(0)
            sys.stdout.write(said.read().decode(errors="replace"))
            said.close()
        return codes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
