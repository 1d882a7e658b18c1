"""A TCP proxy on loopback that cuts every connection after a random number of bytes, in a random direction and way.

    async with cutting_proxy(service_port, seed=7, bytes=(1, 20_000)) as proxy:
        ...                         # a client talks to 127.0.0.1:{proxy.port}
        await proxy.until(500)      # cuts
        proxy.heal()                # from here on connections live

What was read up to the cut is delivered, the rest never is: a handshake, a frame or a UTF-8 character breaks anywhere.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

Way = Literal["fin", "reset", "stall"]
WAYS: tuple[Way, ...] = ("fin", "reset", "stall")
CHUNK = 65_536
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Fate:
    """What will become of one connection: `left` bytes more in one direction (0 up, 1 down), then the end."""

    direction: int
    left: int
    way: Way
    over: asyncio.Event = field(default_factory=asyncio.Event)


class CuttingProxy:
    """`cuts` counts the connections that were cut, `ways` how each was; those that ended by themselves are neither."""

    def __init__(self, target: int, chance: random.Random, span: tuple[int, int], stall: float) -> None:
        self.target = target
        self.port = 0
        self.ways: Counter[Way] = Counter()
        self.stall = stall
        self._chance = chance
        self._low, self._high = span
        self._healed = False
        self._open: dict[asyncio.Task[None], Fate] = {}
        self._news = asyncio.Condition()

    @property
    def cuts(self) -> int:
        """Connections cut so far."""
        return self.ways.total()

    async def until(self, cuts: int) -> None:
        """Until so many connections have been cut."""
        async with self._news:
            await self._news.wait_for(lambda: self.cuts >= cuts)

    def heal(self) -> None:
        """Cut nothing from here on; what is open stays."""
        self._healed = True

    def cut(self) -> None:
        """Cut every connection that is open, wherever it is."""
        for fate in self._open.values():
            fate.over.set()

    def _fate(self) -> Fate:
        # By magnitude: as many connections end in their first hundred bytes as between one and ten thousand.
        ratio = self._high / self._low
        left = round(self._low * ratio ** self._chance.random())
        return Fate(self._chance.randrange(2), left, self._chance.choice(WAYS))

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its start to its end."""
        task = asyncio.current_task()
        assert task is not None
        fate = self._open[task] = self._fate()
        try:
            far = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            await _end(writer, reset=True)
            del self._open[task]
            return
        try:
            await self._between((reader, writer), far, fate)
        finally:
            del self._open[task]

    async def _between(self, near: Pair, far: Pair, fate: Fate) -> None:
        pumps = [
            asyncio.create_task(self._pump(near[0], far[1], fate, 0)),
            asyncio.create_task(self._pump(far[0], near[1], fate, 1)),
        ]
        cut = asyncio.create_task(fate.over.wait())
        try:
            await asyncio.wait([*pumps, cut], return_when=asyncio.FIRST_COMPLETED)
            if fate.over.is_set():
                for pump in pumps:
                    pump.cancel()
                if fate.way == "stall":
                    await asyncio.sleep(self.stall)
        finally:
            for task in [*pumps, cut]:
                task.cancel()
            await asyncio.gather(*pumps, cut, return_exceptions=True)
            reset = fate.over.is_set() and fate.way != "fin"
            await asyncio.gather(_end(near[1], reset=reset), _end(far[1], reset=reset))
        if fate.over.is_set():
            self.ways[fate.way] += 1
            async with self._news:
                self._news.notify_all()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, fate: Fate, direction: int) -> None:
        try:
            while data := await source.read(CHUNK):
                if not self._healed and fate.direction == direction:
                    data = data[: fate.left]
                    fate.left -= len(data)
                sink.write(data)
                if fate.left <= 0 and not self._healed:
                    fate.over.set()
                    return
                await sink.drain()
        except ConnectionError:
            return

    async def end(self) -> None:
        """Close what is open."""
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
    try:
        # A peer that reads nothing would hold up a graceful end for ever.
        async with asyncio.timeout(1):
            await writer.wait_closed()
    except (ConnectionError, TimeoutError):
        writer.transport.abort()


@asynccontextmanager
async def cutting_proxy(
    target_port: int,
    *,
    seed: int,
    bytes: tuple[int, int],  # noqa: A002 - what the two numbers count
    stall: float = 0.1,
) -> AsyncIterator[CuttingProxy]:
    """In front of 127.0.0.1:`target_port`. Each connection lives for between `bytes[0]` (at least 1) and `bytes[1]`
    bytes in the one direction that is counted, evenly by magnitude. A stall is `stall` seconds of silence and a reset.
    """
    proxy = CuttingProxy(target_port, random.Random(seed), bytes, stall)
    server = await asyncio.start_server(proxy.take, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
        await server.wait_closed()
