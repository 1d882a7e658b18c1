"""The client of the load generator: frames however they are cut, refusals in words, nothing after the end."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from realtime.bench.sockets import Address, HandshakeError, address_of, opened
from tests.chance import fresh_seed

PATIENCE = 20.0


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("http://h:8000", Address("h", 8000, False, "")),
        ("https://h/live/", Address("h", 443, True, "/live")),
        ("ws://[::1]:9/v1/ws", Address("::1", 9, False, "")),
    ],
)
def test_an_address_is_read_from_a_url(url: str, right: Address) -> None:
    assert address_of(url) == right


@pytest.mark.parametrize("url", ["h:8000", "ftp://h", "http://", "http://u:p@h", "http://h/?a=1", "http://h:99999"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|[Pp]ort"):
        address_of(url)


def test_a_host_header_has_brackets_and_no_default_port() -> None:
    assert address_of("http://[::1]:80").shown == "[::1]"
    assert address_of("https://h:8443").shown == "h:8443"


@asynccontextmanager
async def server(handler: Any) -> AsyncIterator[Address]:
    async with serve(handler, "127.0.0.1", 0, compression=None, max_size=None) as running:
        yield Address("127.0.0.1", running.sockets[0].getsockname()[1], False, "")


async def test_every_message_comes_whole_however_long_it_is_and_pings_are_answered() -> None:
    chance = random.Random(fresh_seed())
    sizes = [0, 1, 125, 126, 65_535, 65_536, 300_000, *(chance.randrange(70_000) for _ in range(30))]
    told: list[bytes] = []
    heard: list[str | bytes] = []
    ended = asyncio.Event()

    async def handler(peer: ServerConnection) -> None:
        heard.append(await peer.recv())
        await (await peer.ping())
        for size in sizes:
            await peer.send("x" * size)
        await peer.send(["one ", "in ", "parts"])

    async with server(handler) as address:
        made = await opened(address, None, told.append, ended.set, None)
        made.send({"hello": "y" * 70_000})
        await asyncio.wait_for(ended.wait(), PATIENCE)
    assert [len(text) for text in told] == [*sizes, len("one in parts")]
    assert told[-1] == b"one in parts"
    assert len(heard) == 1
    assert len(heard[0]) > 70_000
    assert made.code == 1000


async def test_a_service_that_refuses_is_quoted_and_one_that_is_none_is_told() -> None:
    async def answer(status: bytes, body: bytes) -> str:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 " + status + b"\r\n\r\n" + body)
            writer.close()

        listening = await asyncio.start_server(handle, "127.0.0.1", 0)
        address = Address("127.0.0.1", listening.sockets[0].getsockname()[1], False, "")
        async with listening:
            with pytest.raises(HandshakeError) as refused:
                await asyncio.wait_for(opened(address, None, lambda _: None, lambda: None, None), PATIENCE)
        return f"{refused.value} {refused.value.again}"

    assert await answer(b"403 Forbidden", b'{"code":"forbidden","detail":"not here"}') == "forbidden: not here False"
    assert "no service of this kind" in await answer(b"404 Not Found", b"")
    assert (await answer(b"429 Too Many", b'{"code":"rate_limited","detail":"later"}')).endswith("True")
    assert "no WebSocket server" in await answer(b"101 Switching Protocols", b"")
    assert (await answer(b"", b"")).endswith("False")


async def test_the_end_is_told_once_with_its_code() -> None:
    ends: list[int | None] = []
    ended = asyncio.Event()

    async def handler(peer: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await peer.close(4000)

    def end() -> None:
        ends.append(1)
        ended.set()

    async with server(handler) as address:
        made = await opened(address, "token", lambda _: None, end, None)
        await asyncio.wait_for(ended.wait(), PATIENCE)
    assert (ends, made.code) == ([1], 4000)
