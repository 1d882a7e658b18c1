"""Keeps an embedded server, as mongod, for exactly as long as its service lives. A program of its own:

    python -I -S guard.py DIRECTORY PID LOG

PID is the service's, LOG the name of the server's log in DIRECTORY. What goes over the two pipes, which only the
service holds:

    stdin    one line of JSON, mongod's command; one more line when the service has seen that it takes writes: from
             then on a mongod that ends is started again. The end of file says that the service stops, or is gone
             (`kill -9`)
    stdout   lines of JSON: {"waiting": holder}, then {"held": holder} or {"locked": true},
             then {"started": pid}, then {"ended": exit code}, which is the last unless {"again": seconds} follows and
             after them {"started": pid}; {"failed": text} at any point is the last

A holder is {"pid", "birth", "what"} of a service, or null while one comes or goes. DIRECTORY/lock stays locked until
mongod is gone, even when this process is killed. Standard library only, one thread only: PR_SET_PDEATHSIG fires when
the *thread* that started the child ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOCK_SECONDS = 20
"""Longest wait for a lock whose service is gone: its mongod may need `STOP_SECONDS` to end."""
STOP_SECONDS = 10
"""Time for mongod's clean shutdown (1.0 s measured); SIGKILL after that."""
STEADY_SECONDS = 10
"""A mongod that ends sooner after it was started again waits longer for its next start, up to `MOST_SECONDS`."""
MOST_SECONDS = 30
LOG_BYTES = 4 * 1024 * 1024
LOCK = "lock"

STDIN, STDOUT = 0, 1
PR_SET_PDEATHSIG = 1


class Log:
    """A file that never grows far past `LOG_BYTES`; the one before it is kept as `.old`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn()

    def _turn(self) -> None:
        if self._path.exists():
            self._path.replace(f"{self._path}.old")
        self._file = self._path.open("wb", buffering=0)

    def write(self, data: bytes) -> None:
        try:
            self._file.write(data)
            if self._file.tell() > LOG_BYTES:
                self._file.close()
                self._turn()
        except (OSError, ValueError):
            return  # a full disk must not end the guard, which would take mongod along

    def close(self) -> None:
        self._file.close()


def report(**words: Any) -> None:
    """One line to the service, if it is still there."""
    try:
        os.write(STDOUT, json.dumps(words).encode() + b"\n")
    except OSError:
        return


def birth(pid: int) -> str | None:
    """When a process was started, in the kernel's ticks, so that a reused pid is told apart; None: gone, or a zombie.

    Without a /proc nobody seems alive, so a second start waits `LOCK_SECONDS` before it says who holds the lock.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def describe(pid: int) -> dict[str, Any]:
    """The holder that this service is for others."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        command = ""
    return {"pid": pid, "birth": birth(pid), "what": " ".join(command.replace("\0", " ").split())[:200]}


def holder(lock: int) -> dict[str, Any] | None:
    """Who wrote itself into the lock file; None: nobody, or not all of it yet."""
    try:
        found = json.loads(os.pread(lock, 4096, 0))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def lives(found: dict[str, Any] | None) -> bool:
    return found is not None and found["birth"] is not None and birth(found["pid"]) == found["birth"]


def write_holder(lock: int, found: dict[str, Any] | None) -> None:
    os.ftruncate(lock, 0)
    if found is not None:
        os.pwrite(lock, json.dumps(found).encode(), 0)


def is_locked_by_us(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def acquire(directory: Path, service: int) -> int | None:
    """The locked descriptor; None when another service holds it (reported), or when ours is gone meanwhile."""
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_SECONDS
    stdin = select.poll()
    stdin.register(STDIN, select.POLLIN)
    told = False
    while not is_locked_by_us(lock):
        found = holder(lock)
        if lives(found) or time.monotonic() > deadline:
            report(held=found)
            return None
        if not told:
            report(waiting=found)
            told = True
        if stdin.poll(50):  # nothing is sent before the lock is ours, so this is the end
            return None
    write_holder(lock, describe(service))
    return lock


def read_command() -> list[str] | None:
    """mongod's command; None: the service is gone before it said one."""
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(STDIN, 65536)
        if not data:
            return None
        line += data
    return [str(word) for word in json.loads(line)]


def die_with(parent: int) -> Callable[[], None] | None:
    """What a child calls first so that `kill -9` of its parent takes it along; only Linux can."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was killed before we asked
            os._exit(1)

    return ask


def launch(command: list[str], lock: int) -> subprocess.Popen[bytes]:
    """Start mongod. It inherits the lock, which is thus free only when both are gone.

    A group of its own, so that the signals of `keep` reach mongod behind a wrapper script too.
    """
    return subprocess.Popen(  # noqa: S603 - what to run is the service's word
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        pass_fds=(lock,),
        process_group=0,
        preexec_fn=die_with(os.getpid()),  # noqa: PLW1509 - safe here: there is one thread
    )


class Service:
    """What stdin said so far: whether mongod was seen to serve, and whether it is to end."""

    serving = False
    over = False

    def hear(self) -> None:
        """Something is there to be read."""
        if os.read(STDIN, 65536):
            self.serving = True
        else:
            self.over = True


def keep(mongod: subprocess.Popen[bytes], lock: int, log: Log, service: Service) -> int:
    """Log what mongod says until it has ended, stop it when the service is gone; its exit code."""
    output = mongod.stdout.fileno() if mongod.stdout else -1

    def send(signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(mongod.pid, signum)

    def stop(*_: object) -> None:
        service.over = True
        write_holder(lock, None)  # whoever finds it locked waits from now on
        send(signal.SIGTERM)
        send(signal.SIGCONT)  # a frozen one would sleep through it
        signal.alarm(STOP_SECONDS)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGALRM, lambda *_: send(signal.SIGKILL))
    poller = select.poll()
    poller.register(STDIN, select.POLLIN)
    poller.register(output, select.POLLIN)
    while True:
        for ready, _ in poller.poll():
            if ready == STDIN:
                service.hear()
                if service.over:
                    poller.unregister(STDIN)
                    stop()
                continue
            data = os.read(output, 65536)
            if not data:
                return mongod.wait()
            log.write(data)


def pause(seconds: int, service: Service) -> None:
    """Wait, or as long as the service lives."""
    poller = select.poll()
    poller.register(STDIN, select.POLLIN)
    deadline = time.monotonic() + seconds
    while not service.over and (left := deadline - time.monotonic()) > 0:
        if poller.poll(left * 1000):
            service.hear()


def serve(command: list[str], lock: int, log: Log) -> None:
    """mongod for as long as the service wants it. One that ends by itself is started again, once it has served."""
    service, failures = Service(), 0
    while True:
        began = time.monotonic()
        mongod = launch(command, lock)
        report(started=mongod.pid)
        code = keep(mongod, lock, log, service)
        if service.over or not service.serving:
            write_holder(lock, None)
            report(ended=code)
            return
        report(ended=code)
        failures = 0 if time.monotonic() - began > STEADY_SECONDS else failures + 1
        seconds = min(MOST_SECONDS, 2**failures - 1)
        report(again=seconds)
        pause(seconds, service)
        if service.over:
            write_holder(lock, None)
            return


def main() -> None:
    directory, service, log = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    sys.excepthook = lambda kind, error, _: report(failed=f"{kind.__name__}: {error}")
    lock = acquire(directory, service)
    if lock is None:
        return
    report(locked=True)
    command = read_command()
    if command is None:
        return
    serve(command, lock, Log(directory / log))


if __name__ == "__main__":
    main()
