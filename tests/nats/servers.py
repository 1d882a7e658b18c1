"""Real nats-servers for as long as a block takes: one, or three that are a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.nats_server import NatsServer, free_port


@asynccontextmanager
async def one(folder: Path, config: str = "") -> AsyncIterator[NatsServer]:
    """A server with JetStream."""
    async with _running([NatsServer(folder, config)]) as (server,):
        yield server


@asynccontextmanager
async def three(folder: Path, config: str = "") -> AsyncIterator[Sequence[NatsServer]]:
    """Three that are a cluster. Whether it has a leader yet is for whoever asks JetStream for something."""
    ports = [free_port() for _ in range(3)]
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    servers = [
        NatsServer(
            folder / f"n{number}",
            f'server_name: n{number}\ncluster {{ name: c1, listen: "127.0.0.1:{port}", routes: [{routes}] }}\n{config}',
        )
        for number, port in enumerate(ports, 1)
    ]
    async with _running(servers):
        yield servers


@asynccontextmanager
async def _running(servers: Sequence[NatsServer]) -> AsyncIterator[Sequence[NatsServer]]:
    async with AsyncExitStack() as stack:
        for server in servers:
            stack.push_async_callback(asyncio.to_thread, server.kill)
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        yield servers
