"""A TCP proxy between the service and MongoDB that stalls, cuts and halves when it is told to."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CHUNK = 65_536
Writer = asyncio.StreamWriter


class Connection:
    """One, with what is to become of it."""

    def __init__(self, near: Writer, far: Writer) -> None:
        self.ends = (near, far)
        self.halve = False
        self.deaf = False

    def cut(self) -> None:
        """Reset both ends."""
        for end in self.ends:
            sock: socket.socket = end.get_extra_info("socket")
            if not end.is_closing():
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()


class UpstreamProxy:
    """`done` counts the connections that each fault hit."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, 0
        self.done: Counter[str] = Counter()
        self.connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._passes = asyncio.Event()
        self._passes.set()

    def cut(self) -> None:
        """Every connection ends now, whatever is on its way."""
        for connection in list(self.connections):
            self.done["cut"] += 1
            connection.cut()

    def halve(self) -> None:
        """Of the next answer on each connection half comes, and then its end: a message breaks in the middle."""
        for connection in self.connections:
            connection.halve = True

    def deafen(self) -> None:
        """Half-open: on each connection of now no answer comes any more, and no end either."""
        for connection in self.connections:
            self.done["half-open"] += 1
            connection.deaf = True

    async def stall(self, seconds: float) -> None:
        """Nothing passes, either way; then everything goes on where it was."""
        self.done["stall"] += len(self.connections)
        self._passes.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._passes.set()

    async def take(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        """One connection from its start to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._passes.wait()
            source, sink = await asyncio.open_connection("127.0.0.1", self.target)
            connection = Connection(writer, sink)
            self.connections.add(connection)
            try:
                pumps = [self._pump(reader, sink, connection, down=False)]
                pumps += [self._pump(source, writer, connection, down=True)]
                await asyncio.gather(*pumps)
            finally:
                self.connections.discard(connection)
                connection.cut()
        except OSError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _pump(self, source: asyncio.StreamReader, sink: Writer, connection: Connection, *, down: bool) -> None:
        try:
            while data := await source.read(CHUNK):
                await self._passes.wait()
                if down and connection.deaf:
                    continue
                if down and connection.halve and len(data) > 1:
                    self.done["halve"] += 1
                    sink.write(data[: len(data) // 2])
                    await sink.drain()
                    break
                sink.write(data)
                await sink.drain()
        finally:
            connection.cut()

    async def end(self) -> None:
        """Close what is open."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def upstream_proxy(target: int) -> AsyncIterator[UpstreamProxy]:
    """In front of 127.0.0.1:`target`."""
    proxy = UpstreamProxy(target)
    server = await asyncio.start_server(proxy.take, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
        await server.wait_closed()
