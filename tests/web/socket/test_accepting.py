"""With TLS an address over its limits is let go before a handshake, and whoever fails at one counts no more."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from realtime.settings import load
from realtime.web.server import bind
from realtime.web.socket import accepting
from realtime.web.socket.accepting import Accepting
from realtime.web.socket.gate import Gate
from tests.replica_set import ReplicaSet
from tests.web.socket.test_gate import limited
from tests.web.test_server import certificate, running

ROOMY: dict[str, Any] = {"connects_per_second": 1_000_000}


async def knock(port: int, say: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection without TLS."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(say)
    return reader, writer


async def is_let_in(port: int, trusted: ssl.SSLContext) -> bool:
    """Whether a request on a new connection is answered."""
    try:
        reader, writer = await asyncio.open_connection("localhost", port, ssl=trusted, family=socket.AF_INET)
    except OSError:
        return False
    with contextlib.closing(writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return (await reader.read()).startswith(b"HTTP/1.1 200")


async def until_let_in(port: int, trusted: ssl.SSLContext) -> None:
    while not await is_let_in(port, trusted):
        await asyncio.sleep(0.02)


async def test_over_its_limit_an_address_gets_no_handshake(replica_set: ReplicaSet, tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    trusted = ssl.create_default_context(cafile=str(chain))
    limits: dict[str, Any] = {**ROOMY, "connections_per_address": 2}
    async with running(replica_set, tls_cert=chain, tls_key=key, **limits) as ports, asyncio.timeout(15):
        port, before = int(ports.public.rpartition(":")[2]), limited("connections_per_address")
        _, silent = await knock(port)
        async with connect(f"wss://localhost:{port}/v1/ws", ssl=trusted) as line:
            await line.recv()
            refused, third = await knock(port)
            # Not a byte, before one was sent.
            assert await refused.read() == b""
            third.close()
            assert limited("connections_per_address") == before + 1
            assert not await is_let_in(port, trusted)
        await until_let_in(port, trusted)
        silent.close()


async def test_whoever_fails_at_the_handshake_counts_no_more(replica_set: ReplicaSet, tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    trusted = ssl.create_default_context(cafile=str(chain))
    limits: dict[str, Any] = {**ROOMY, "connections_per_address": 1}
    async with running(replica_set, tls_cert=chain, tls_key=key, **limits) as ports, asyncio.timeout(15):
        port = int(ports.public.rpartition(":")[2])
        for say in (b"GET / HTTP/1.1\r\n\r\n", b""):
            _, rude = await knock(port, say)
            rude.close()
            await until_let_in(port, trusted)


class Poor(socket.socket):
    """A listening socket in a process that has no files left, for a moment."""

    left = 2

    def accept(self) -> tuple[socket.socket, Any]:
        if self.left:
            self.left -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


class Greeting(asyncio.Protocol):
    """Says a word, and ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"welcome")
        transport.close()


async def test_without_files_nobody_is_accepted_for_a_moment_and_then_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accepting, "PAUSE_SECONDS", 0.05)
    chain, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    bound = bind(load(port=0))
    poor = Poor(fileno=bound.detach())
    door = Accepting(poor, Gate(lambda: None), lambda _: Greeting(), context=context, handshake_seconds=10)
    door.begin(10)
    try:
        async with asyncio.timeout(15):
            trusted = ssl.create_default_context(cafile=str(chain))
            port = poor.getsockname()[1]
            reader, writer = await asyncio.open_connection("localhost", port, ssl=trusted, family=socket.AF_INET)
            assert await reader.read() == b"welcome"
            writer.close()
    finally:
        door.close()
        poor.close()
    assert [one.getMessage() for one in caplog.records] == [
        "no connection is accepted for 0.05 s: Too many open files"
    ] * 2
