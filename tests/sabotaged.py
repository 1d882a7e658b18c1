"""One sabotage in a copy of the tree of its own, and what its test made of it.

Red is a test that failed. No proof are: a fixture that fails without the sabotage too (there was no mongod, say), a
run that was only slow, a run that pytest itself gave up.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import psutil

PARTS = ("realtime", "tests", "docs", "docker", "pyproject.toml")
"""What a test needs of the tree."""
MARK = "REALTIME_TEST_SABOTAGED_TREE"
"""A variable that all processes of a run inherit, so that what a run leaves behind can be found and ended."""
LEAVE_SECONDS = 15.0
"""For a guard, which stops its mongod within 10 s when the test process is gone."""
LOOK_SECONDS = 0.5
TIMED_OUT = "from pytest-timeout"
SURVIVED, AT_SETUP = "SURVIVED", "at setup"


@dataclass(frozen=True, slots=True)
class Sabotage:
    """One line of one file, what stands there instead, and the test that must notice."""

    name: str
    file: str
    line: str
    instead: str
    test: str


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: for one test, and at most for one whose mark gives it more, both by pytest-timeout; for what even that
    cannot end; and for the whole of pytest."""

    test: float = 60
    marked: float = 180
    grace: float = 15
    run: float = 300


@dataclass(frozen=True, slots=True)
class Result:
    """`verdict` is red, SURVIVED, NOT APPLIED, NO TEST, NOT GREEN, TOO LONG or BROKEN; red alone proves something."""

    verdict: str
    reason: str
    seconds: float = 0.0

    @property
    def red(self) -> bool:
        return self.verdict == "red"

    def __str__(self) -> str:
        return f"{self.verdict} ({self.reason})" if self.reason else self.verdict


@dataclass(frozen=True, slots=True)
class Run:
    """What one pytest came to. `code` is None where it had to be ended; `ended` is when, in seconds since 1970."""

    code: int | None
    ended: float
    output: str
    lines: tuple[dict[str, Any], ...]

    def failed(self, *when: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("when") in when and line["outcome"] == "failed"]


@dataclass
class Runs:
    """Every pytest that is under way; each has a session of its own, and is ended with all its children."""

    patience: Patience = Patience()
    _running: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: bool = False

    def end_all(self) -> None:
        """At once; what is started from now on ends at once, too."""
        with self._lock:
            self._over = True
            for pid in self._running:
                _kill(pid)

    def pytest(self, tree: Path, *arguments: str) -> Run:
        """Run it in that tree. Output goes to a file: a pipe is open for as long as any child of a child holds it."""
        record, output = tree / "record.jsonl", tree / "output.txt"
        record.write_text("")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=short", "-p", "no:cacheprovider"]
        command += ["-p", "tests.pytest_record", f"--record={record}", f"--timeout={self.patience.test}"]
        command += [f"--timeout-at-most={self.patience.marked}", f"--basetemp={tree / 'tmp'}", *arguments]
        with output.open("wb") as said, self._started(command, tree, said) as process:
            in_time, ended = self._wait(process.pid, record), time.time()
        code = process.returncode if in_time else None
        return Run(code, ended, output.read_text(errors="replace"), _lines(record))

    def _wait(self, pid: int, record: Path) -> bool:
        """Whether it ended in time. It is not reaped, so that its number stays its own."""
        until = time.monotonic() + self.patience.run
        descriptor = os.pidfd_open(pid)
        try:
            while time.monotonic() < until:
                if select.select([descriptor], [], [], LOOK_SECONDS)[0]:
                    return True
                test = _last_test(_lines(record))
                if test.limit and time.time() - test.began > test.limit + self.patience.grace:
                    return False
            return False
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _started(self, command: list[str], tree: Path, said: BinaryIO) -> Iterator[subprocess.Popen[bytes]]:
        given = _environment(tree)
        with self._lock:
            process = subprocess.Popen(
                command, cwd=tree, env=given, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
            self._running.add(process.pid)
            if self._over:
                _kill(process.pid)
        try:
            yield process
        finally:
            # All that is left of the group; its number is still its own.
            with self._lock:
                self._running.discard(process.pid)
                _kill(process.pid)
            process.wait()
            _end_what_is_left(tree)


def _environment(tree: Path) -> dict[str, str]:
    """What a pytest whose test this is has set is not meant for the one in here; bytecode stays in the copy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
        kept.pop(name, None)
    return {**kept, "PYTHONPATH": str(tree), MARK: str(tree)}


@dataclass(frozen=True, slots=True)
class Begun:
    """The test that a run is at: when it began, in seconds since 1970, and how many seconds it may take; 0: any.

    Between tests, and while pytest itself starts and ends, it is at none.
    """

    test: str = "no test"
    began: float = float("inf")
    limit: float = 0.0


def _lines(record: Path) -> tuple[dict[str, Any], ...]:
    """What is whole: the process may be ended amid a line, or still be writing it."""
    whole, _, _ = record.read_text().rpartition("\n")
    return tuple(json.loads(line) for line in whole.splitlines())


def _last_test(lines: Sequence[dict[str, Any]]) -> Begun:
    begun = next((line for line in reversed(lines) if {"started", "finished"} & line.keys()), None)
    if begun and "finished" in begun:
        return Begun()
    return Begun(begun["started"], begun["at"], begun["limit"]) if begun else Begun()


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _end_what_is_left(tree: Path) -> None:
    """Processes of the run in sessions of their own: they have some time to leave by themselves."""
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == str(tree):
                left.append(process)
    for process in psutil.wait_procs(left, LEAVE_SECONDS)[1]:
        with contextlib.suppress(psutil.Error):
            process.kill()


@contextlib.contextmanager
def copied(root: Path) -> Iterator[Path]:
    """A copy of what a test needs. No hard links: a test that writes a file in place would write into the tree."""
    # A process that is just being ended may still write.
    with tempfile.TemporaryDirectory(prefix="realtime-sabotage-", ignore_cleanup_errors=True) as directory:
        copy = Path(directory).resolve()
        for part in PARTS:
            if (root / part).is_dir():
                shutil.copytree(root / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            elif (root / part).exists():
                shutil.copy2(root / part, copy / part)
        yield copy


def unfit(sabotage: Sabotage, root: Path) -> str:
    """Why it cannot be applied to this tree; empty: it can. Reads its two files and runs nothing."""
    source = root / sabotage.file
    if not source.is_file():
        return f"there is no {sabotage.file}"
    times = source.read_text().count(sabotage.line) if sabotage.line else 0
    if times != 1:
        return f"its line is there {times} times in {sabotage.file}"
    if sabotage.line == sabotage.instead:
        return "it changes nothing"
    file, *names = sabotage.test.partition("[")[0].split("::")
    if not (root / file).is_file():
        return f"there is no {file}"
    text = (root / file).read_text()
    missing = [name for name in names if not re.search(rf"^\s*(async )?(def|class) {name}\b", text, re.MULTILINE)]
    return f"{file} has no {missing[0]}" if missing else ""


def sabotaged(sabotage: Sabotage, root: Path, runs: Runs) -> Result:
    """Apply it in a copy of `root` and run its test there."""
    began = time.monotonic()
    with copied(root) as tree:
        source = tree / sabotage.file
        source.write_text(source.read_text().replace(sabotage.line, sabotage.instead))
        result = judged(runs.pytest(tree, sabotage.test), runs.patience)
        if result.verdict == AT_SETUP:
            # The sabotage's doing, if it does not happen without.
            shutil.copy2(root / sabotage.file, source)
            result = untouched(sabotage.test, tree, runs) or Result("red", f"at setup: {result.reason}")
    return replace(result, seconds=time.monotonic() - began)


def untouched(test: str, tree: Path, runs: Runs) -> Result | None:
    """None: green without any sabotage."""
    result = judged(runs.pytest(tree, test), runs.patience)
    return None if result.verdict == SURVIVED else Result("NOT GREEN", f"without it: {result}")


def judged(run: Run, patience: Patience) -> Result:
    """A verdict, or `AT_SETUP` where only fixtures failed."""
    if run.code is None and not run.failed("call"):
        return _ended(run, patience)
    if run.code == 0:
        passed = any(line.get("when") == "call" and line["outcome"] == "passed" for line in run.lines)
        return Result(SURVIVED, "") if passed else Result("NO TEST", "all skipped")
    if run.code in {1, None} and (failed := run.failed("call") or run.failed("setup", "teardown")):
        hung = TIMED_OUT in failed[0]["reason"]
        reason = (
            f"hung: {short(failed[0]['test'])} after {failed[0]['limit']:g} s"
            if hung
            else _reason(run.output, failed[0]["reason"])
        )
        return Result("red" if failed[0]["when"] == "call" else AT_SETUP, reason)
    said = " ".join(run.output.split())[-200:]
    return Result("NO TEST", f"pytest ended with {run.code}: {said}")


def _ended(run: Run, patience: Patience) -> Result:
    """It was still running. A hang is one test over its time, not many that are slow."""
    last = _last_test(run.lines)
    seconds = max(run.ended - last.began, 0.0)
    if seconds <= (last.limit or patience.run / 2):
        return Result("TOO LONG", f"{patience.run:g} s were up {seconds:.0f} s into {short(last.test)}")
    passed = [line["when"] for line in run.lines if line.get("test") == last.test]
    verdict = "red" if passed == ["setup"] else AT_SETUP
    return Result(verdict, f"hung: {short(last.test)}, ended with pytest after {seconds:.0f} s")


def _reason(output: str, error: str) -> str:
    """What the checker named, or the error that the test ended with."""
    names = sorted(set(re.findall(r"Violation\(name='(\w+)'", output)))
    return ", ".join(names) or error[:90] or "?"


def short(test: str) -> str:
    """A test's id without its folders."""
    return test.rpartition("/")[2] if "[" not in test else re.sub(r"^[^[]*/", "", test)


class CollectError(Exception):
    """pytest could not read the tests of a tree; with what it said."""


def alone(root: Path, tests: Iterable[str], runs: Runs) -> dict[str, bool]:
    """Of each of these that pytest finds: whether nothing may run beside it."""
    wanted = set(tests)
    with copied(root) as tree:
        run = runs.pytest(tree, "--collect-only", *sorted({test.partition("::")[0] for test in wanted}))
    if run.code != 0:
        raise CollectError(run.output[-2000:])
    found: dict[str, bool] = {}
    for line in run.lines:
        name = line.get("collected", "")
        for test in wanted & {name, name.partition("[")[0], name.partition("::")[0]}:
            found[test] = found.get(test, False) or bool(line["alone"])
    return found
