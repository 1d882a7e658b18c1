"""The cutting proxy cuts, in each way, after as many bytes as it says, and stops when it is told to heal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.cutting_proxy import WAYS, cutting_proxy

SENT = b"0123456789" * 1000


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that sends everything back."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def through(port: int) -> bytes:
    """What comes back through the proxy before the connection ends, at most what was sent."""
    got = b""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(SENT)
            while len(got) < len(SENT) and (data := await reader.read(4096)):
                got += data
        finally:
            writer.close()
    except ConnectionError:
        pass
    return got


async def test_each_connection_is_cut_somewhere_and_what_came_is_a_part_of_what_was_sent() -> None:
    async with echo() as port, cutting_proxy(port, seed=1, bytes=(1, 9_000), stall=0.01) as proxy:
        came = [await through(proxy.port) for _ in range(60)]
        await proxy.until(60)
        assert proxy.cuts == 60
        assert all(proxy.ways[way] >= 5 for way in WAYS), proxy.ways
    assert all(SENT.startswith(part) and len(part) <= 9_000 for part in came)
    assert len({len(part) for part in came}) > 10


async def test_a_healed_proxy_cuts_nothing() -> None:
    async with echo() as port, cutting_proxy(port, seed=1, bytes=(1, 10)) as proxy:
        proxy.heal()
        assert [await through(proxy.port) for _ in range(5)] == [SENT] * 5
        assert proxy.cuts == 0


async def test_a_target_that_is_away_is_no_cut() -> None:
    async with cutting_proxy(1, seed=1, bytes=(1, 10)) as proxy:
        assert await through(proxy.port) == b""
        assert proxy.cuts == 0
