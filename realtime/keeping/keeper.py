"""The service's end of a guard, which keeps an embedded server running for as long as the service does."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import signal
import subprocess
import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from realtime.errors import ConfigurationError
from realtime.keeping import guard

STOP_SECONDS = guard.STOP_SECONDS + 5.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept, for messages: its name, its log in the directory, and what to do where it cannot be started."""

    name: str
    log: str
    mend: str


class Keeper:
    """The service's end of a guard process: see guard.py for what goes over its pipes."""

    def __init__(self, directory: Path, kept: Kept) -> None:
        """`OSError` where the process cannot be started."""
        self._directory, self._kept = directory, kept
        self._process = subprocess.Popen(  # noqa: S603 - our own file, run by our own interpreter
            [sys.executable, "-I", "-S", guard.__file__, str(directory), str(os.getpid()), kept.log],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=directory,
            bufsize=0,
            start_new_session=True,  # Ctrl-C goes to the terminal's foreground group
        )
        self.pid = self._process.pid
        self._stdin = cast(IO[bytes], self._process.stdin)
        self._stdout = cast(IO[bytes], self._process.stdout)
        self._ended = ""
        self._readable = select.poll()
        self._readable.register(self._stdout, select.POLLIN)
        _guards.add(self)

    def report(self, seconds: float) -> dict[str, Any]:
        """What it says next, empty when that is nothing within `seconds`. Raises when it failed, or ended."""
        if not self._readable.poll(seconds * 1000):
            return {}
        line = self._stdout.readline()
        said: dict[str, Any] = json.loads(line) if line else {"failed": "its guard process was killed"}
        if "failed" in said:
            raise ConfigurationError(
                f"the embedded {self._kept.name} cannot be started: {said['failed']}; {self._kept.mend}"
            )
        return said

    def await_lock(self, log: logging.Logger) -> None:
        """Until the guard has the directory's lock; it keeps the deadline. Raises when another service holds it."""
        while "locked" not in (said := self.report(guard.LOCK_SECONDS + 10.0)):
            if "waiting" not in said:
                raise ConfigurationError(
                    f"the data directory {self._directory} is held by {_who(said.get('held'))}: stop that, or choose "
                    "another directory with --data-dir DIR"
                )
            log.info(
                "waiting for the embedded %s of %s on %s to end",
                self._kept.name,
                _who(said["waiting"]),
                self._directory,
            )

    @property
    def output(self) -> int:
        """The descriptor on which it says something; while it is open."""
        return self._stdout.fileno()

    def log_report(self, loop: asyncio.AbstractEventLoop, log: logging.Logger) -> None:
        """It said something: the server died, or is there again."""
        line = self._stdout.readline()
        if not line:
            loop.remove_reader(self.output)
            log.critical(
                "the embedded %s's guard was killed, and it with its guard: start the service again", self._kept.name
            )
            return
        said: dict[str, Any] = json.loads(line)
        if "ended" in said:
            self._ended = cause(int(said["ended"]))
        elif "again" in said:
            log.error("the embedded %s ended (%s): started again in %d s", self._kept.name, self._ended, said["again"])
        elif "started" in said:
            log.info("the embedded %s is started again (process %d)", self._kept.name, said["started"])

    def confirm(self) -> None:
        """It takes writes: from now on a server that ends is started again."""
        self._stdin.write(b"serving\n")

    def command(self, words: Sequence[str]) -> None:
        """Have it start the server."""
        self._stdin.write(json.dumps(list(words)).encode() + b"\n")

    def release(self) -> None:
        """Close the pipe, without waiting: the guard now ends the server and itself."""
        self._stdin.close()

    def close(self) -> None:
        """Release, and wait until the server and the guard have ended. Not while another thread is in `report`."""
        self.release()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()  # the server goes with it
            self._process.wait()
        self._stdout.close()


_guards: weakref.WeakSet[Keeper] = weakref.WeakSet()


def _let_go() -> None:
    for keeper in list(_guards):
        keeper.release()


# A child forked without exec (multiprocessing) would hold the pipe as well, and the server could outlive the service.
os.register_at_fork(after_in_child=_let_go)


def _who(holder: dict[str, Any] | None) -> str:
    return f"process {holder['pid']} ({holder['what']})" if holder else "a service that is coming or going"


def cause(code: int) -> str:
    """Why a process ended, by its exit code as `subprocess` has it."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
