"""`python -m tests.adversity.report`: runs the fault tests at full length and writes docs/adversity.md.

`REALTIME_TEST_ADVERSITY=short` runs the short forms, as CI does; the page says which it was for each test.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.adversity.scale import BESIDE, ROWS, TABLE, VARIABLE, Shown

ROOT = Path(__file__).parents[2]
PAGE, PLOT = ROOT / "docs" / "adversity.md", ROOT / "docs" / "img" / "adversity-soak.svg"
PANELS = {"memory": "MiB of memory", "descriptors": "descriptors", "tasks": "tasks", "cursors": "cursors at MongoDB"}
WIDTH, HEIGHT, LEFT = 760, 110, 60

HEAD = """# What production does to it, and what came out

`make adversity` writes this page: every fault test of the programme at full length, with the figures that it
saw. CI runs the same tests with the same assertions; only repetitions, clients and durations shrink
(`tests/adversity/scale.py`). "Judged" means that `tests/checker.py` has compared every frame of every subscriber with
what MongoDB's oplog says.
"""


@dataclass(frozen=True, slots=True)
class Result:
    """Of one test, or of one of its variants."""

    name: str
    size: str
    seconds: float
    outcome: str
    figures: str
    samples: str | None = None


def results(junit: Path, size: str) -> list[Result]:
    """What pytest wrote."""
    found = []
    for case in ElementTree.parse(junit).iter("testcase"):
        told = {str(one.get("name")): str(one.get("value")) for one in case.iter("property")}
        outcome = "failed" if {"failure", "error"} & {part.tag for part in case} else "passed"
        name, seconds = str(case.get("name")), float(case.get("time") or 0)
        found.append(Result(name, size, seconds, outcome, told.get("figures", ""), told.get("samples")))
    return found


def page(found: Sequence[Result], when: str, machine: str) -> str:
    """The document."""
    lines = [HEAD, f"Written {when} on {machine}.\n"]
    for title, row in [*((f"{n}", row) for n, row in ROWS.items()), *BESIDE.items()]:
        lines += [f"## {title}: {row.must}\n", *_tests(row, found), ""]
        if title == "19" and any(one.samples for one in found):
            lines += ["![memory, descriptors, tasks and cursors over time](img/adversity-soak.svg)\n"]
    return "\n".join(lines).rstrip() + "\n"


def _tests(row: Shown, found: Sequence[Result]) -> Iterable[str]:
    for test in row.tests:
        path, _, name = test.partition("::")
        mine = [one for one in found if one.name.partition("[")[0] == name]
        yield f"* `{name}` ({path})" + ("" if mine else ": not run for this page")
        for one in mine:
            size = f", {one.size}" if name in TABLE else ""
            variant = f"`{one.name.partition('[')[2].rstrip(']')}` " if "[" in one.name else ""
            figures = f": {one.figures}" if one.figures else ""
            if len(mine) <= 4 or one.outcome != "passed":
                yield f"  * {variant}{one.outcome} in {one.seconds:.1f} s{size}{figures}"
        if len(mine) > 4:
            yield f"  * {sum(one.outcome == 'passed' for one in mine)} of {len(mine)} variants passed"


def plot(samples: list[dict[str, float]], faults: list[tuple[float, str]]) -> str:
    """Four curves over time, a line at each fault."""
    end = max(sample["at"] for sample in samples)
    parts = []
    for row, (name, label) in enumerate(PANELS.items()):
        points = [(sample["at"], sample[name]) for sample in samples if name in sample]
        most = max(value for _, value in points)
        top, base = most * 1.15, row * HEIGHT + HEIGHT - 22
        drawn = " ".join(_at(at / end, base - value / top * (HEIGHT - 40)) for at, value in points)
        parts += [
            f'<text x="{LEFT}" y="{base - HEIGHT + 36}">{label}, at most {most:.0f}</text>',
            f'<polyline fill="none" stroke="#16794c" stroke-width="1.5" points="{drawn}"/>',
            f'<line x1="{LEFT}" x2="{WIDTH}" y1="{base}" y2="{base}" stroke="#888"/>',
            f'<text x="{LEFT - 6}" y="{base}" text-anchor="end">0</text>',
        ]
    high = HEIGHT * len(PANELS)
    for at, name in faults:
        x = LEFT + at / end * (WIDTH - LEFT)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{high}" stroke="#c33" stroke-dasharray="2 4"/>')
        parts.append(f'<text transform="translate({x:.1f} {high + 4}) rotate(40)">{name}, {at:.0f} s</text>')
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 90} {high + 90}" font-family="sans-serif" '
        f'font-size="10"><rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _at(share: float, y: float) -> str:
    return f"{LEFT + share * (WIDTH - LEFT):.1f},{y:.1f}"


def write(found: Sequence[Result]) -> None:
    """The page, and the plot where a soak was run."""
    samples = next((one.samples for one in found if one.samples), None)
    if samples is not None:
        held: dict[str, Any] = json.loads(samples)
        PLOT.write_text(plot(held["samples"], held["faults"]))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    machine = f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}"
    PAGE.write_text(page(found, f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC", machine))


def main() -> int:
    """All of them; pytest's exit code."""
    size = os.environ.get(VARIABLE) or "full"
    tests = [test for row in [*ROWS.values(), *BESIDE.values()] for test in row.tests]
    with tempfile.TemporaryDirectory(prefix="realtime-adversity-") as directory:
        junit = Path(directory) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", f"--basetemp={directory}/tmp"]
        command += [f"--junitxml={junit}", "-o", "junit_family=xunit1", *tests]
        ended = subprocess.run(command, cwd=ROOT, env={**os.environ, VARIABLE: size}, check=False)
        if junit.exists():
            write(results(junit, size))
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
