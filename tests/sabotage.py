"""`make sabotage`: one-line changes of the source, each of which must turn a named test red.

Each is applied in a temporary copy of the tree; a test that stays green there proves nothing here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.adversity.sabotages import FAULTS
from tests.adversity.sabotages_operations import OPERATIONS
from tests.client.sabotages import CLIENTS
from tests.exact.sabotages import SHOWN
from tests.exact.sabotages_exact import EXACT
from tests.hub.sabotages import GROUPS, WINDOWS
from tests.mongo.sabotages import FILTERS
from tests.web.sabotages import HTTP

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 240


@dataclass(frozen=True, slots=True)
class Sabotage:
    """One line of one file, what stands there instead, and the test that must notice."""

    name: str
    file: str
    line: str
    instead: str
    test: str


ROWS = (OPERATIONS, EXACT, CLIENTS, HTTP, FILTERS, WINDOWS, SHOWN, GROUPS, FAULTS)
TABLE = [Sabotage(*row) for rows in ROWS for row in rows]


def main(arguments: Sequence[str]) -> int:
    """Apply each (or those whose name contains an argument); 1 when one survives or cannot be applied."""
    chosen = [one for one in TABLE if not arguments or any(part in one.name for part in arguments)]
    survived = 0
    write(f"{'sabotage':48} {'seconds':>7}  result")
    for one in chosen:
        began = time.monotonic()
        result = outcome(one)
        survived += not result.startswith("red")
        write(f"{one.name:48} {time.monotonic() - began:7.1f}  {result}  {one.file}  {one.test.rpartition('/')[2]}")
    write(f"{len(chosen) - survived} of {len(chosen)} turned their test red")
    return 1 if survived or not chosen else 0


def outcome(sabotage: Sabotage) -> str:
    """`red`, or what happened instead."""
    with tempfile.TemporaryDirectory(prefix="realtime-sabotage-") as directory:
        copy = Path(directory)
        for part in ("realtime", "tests", "docs", "docker"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        source = copy / sabotage.file
        text = source.read_text()
        if text.count(sabotage.line) != 1:
            return f"NOT APPLIED: the line is there {text.count(sabotage.line)} times"
        source.write_text(text.replace(sabotage.line, sabotage.instead))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=short"]
        command += ["--timeout=60", f"--basetemp={copy / 'tmp'}", sabotage.test]
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            ended = subprocess.run(
                command, cwd=copy, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return "red (it hung)"
        if ended.returncode == 1:
            return f"red ({_reason(ended.stdout)})"
        return "SURVIVED" if ended.returncode == 0 else f"NO TEST: {ended.stdout[-300:]}"


def _reason(output: str) -> str:
    """What the checker named, or the assertion that failed."""
    names = sorted(set(re.findall(r"Violation\(name='(\w+)'", output)))
    line = re.search(r"^E\s+(.{1,90})", output, re.MULTILINE)
    return ", ".join(names) or (line[1] if line else "?")


def write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
