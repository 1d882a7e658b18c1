"""Real nats-servers for as long as a block takes: one, or three that are a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from realtime.nats import stream
from realtime.nats.access import Access
from realtime.nats.connection import AwayError, close, connect
from realtime.nats.stream import ApiError, UnansweredError
from tests.nats_server import NatsServer
from tests.ports import free_ports

LEADER_SECONDS = 60.0


@asynccontextmanager
async def one(folder: Path, config: str = "") -> AsyncIterator[NatsServer]:
    """A server with JetStream."""
    async with _running([NatsServer(folder, config)]) as (server,):
        yield server


@asynccontextmanager
async def three(
    folder: Path, config: str = "", prefixes: Sequence[Sequence[str]] = ((), (), ())
) -> AsyncIterator[Sequence[NatsServer]]:
    """Three that are a cluster. Whether it has a leader yet is for whoever asks JetStream for something."""
    ports = free_ports(3)
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    servers = [
        NatsServer(
            folder / f"n{number}",
            f'server_name: n{number}\ncluster {{ name: c1, listen: "127.0.0.1:{port}", routes: [{routes}] }}\n{config}',
            prefix=prefix,
        )
        for number, (port, prefix) in enumerate(zip(ports, prefixes, strict=True), 1)
    ]
    async with _running(servers):
        yield servers


async def leader_of(access: Access, servers: Sequence[NatsServer], name: str) -> NatsServer:
    """The server of `three` that leads a stream, once there is one."""
    async with asyncio.timeout(LEADER_SECONDS):
        while True:
            with suppress(AwayError, UnansweredError, ApiError):
                client = await connect(access, "tests")
                try:
                    info: Any = await stream.ask(client, f"STREAM.INFO.{name}")
                    if leader := info["cluster"].get("leader"):
                        return next(server for server in servers if server.directory.name == leader)
                finally:
                    await close(client)
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _running(servers: Sequence[NatsServer]) -> AsyncIterator[Sequence[NatsServer]]:
    async with AsyncExitStack() as stack:
        for server in servers:
            stack.push_async_callback(asyncio.to_thread, server.kill)
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        yield servers
