"""Floods, each as a process of its own: `python -m tests.adversity.flood connects|tokens HOST:PORT RATE FILE`.

    connects    connections from 64 addresses of loopback, which send half a line and go as soon as they are told to
    tokens      bad tokens from one address, by handshakes, by frames and by requests in turn

RATE is of a second, kept as long as the process runs. `FILE` has a token a line: the bad ones. What came of it is
written to stdout as JSON when stdin ends.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import socket
import struct
import sys
import time
from collections import Counter
from pathlib import Path

ADDRESSES = [f"127.0.0.{last}" for last in range(10, 74)]
SLICE_SECONDS = 0.01
MOST_OPEN = 2000
RESET = struct.pack("ii", 1, 0)
"""Whoever goes leaves nothing behind: 5,000 a second would use up the ports."""
LIST = "/v1/collections/docs/documents"


class Knocker:
    """Connects and waits to be closed."""

    def __init__(self, host: str, port: int) -> None:
        self.peer = (host, port)
        self.told: Counter[str] = Counter()
        self._open: dict[socket.socket, None] = {}
        self._loop = asyncio.get_running_loop()
        self._from = itertools.cycle(ADDRESSES)

    def one(self) -> None:
        plain = socket.socket()
        plain.setblocking(False)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        try:
            plain.bind((next(self._from), 0))
            plain.connect_ex(self.peer)
        except OSError as error:
            self.told[f"no connection: {error.strerror}"] += 1
            plain.close()
            return
        self.told["begun"] += 1
        self._open[plain] = None
        self._loop.add_reader(plain.fileno(), self._hear, plain)
        if len(self._open) > MOST_OPEN:
            self._end(next(iter(self._open)), "given up")

    def _hear(self, plain: socket.socket) -> None:
        try:
            said = plain.recv(1000)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        self._end(plain, "answered" if said else "closed unread")

    def _end(self, plain: socket.socket, how: str) -> None:
        self.told[how] += 1
        self._loop.remove_reader(plain.fileno())
        del self._open[plain]
        plain.close()

    def over(self) -> None:
        for plain in list(self._open):
            self._end(plain, "given up")


class Forger:
    """Shows a bad token and notes what it was told."""

    def __init__(self, host: str, port: int, tokens: list[str]) -> None:
        self.host, self.port = host, port
        self.told: Counter[str] = Counter()
        self._tokens = itertools.cycle(tokens)
        self._ways = itertools.cycle([self._by_header, self._by_frame, self._by_request])
        self._tasks: set[asyncio.Task[None]] = set()

    def one(self) -> None:
        task = asyncio.create_task(self._try())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self) -> None:
        way, token = next(self._ways), next(self._tokens)
        self.told["begun"] += 1
        try:
            async with asyncio.timeout(20):
                reader, writer = await asyncio.open_connection(self.host, self.port)
                try:
                    self.told[await way(reader, writer, token)] += 1
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self.told[type(error).__name__] += 1

    async def _by_header(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> str:
        await self._shake(reader, writer, f"Authorization: Bearer {token}\r\n")
        return await _closed(reader)

    async def _by_frame(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> str:
        await self._shake(reader, writer, "")
        text = json.dumps({"type": "auth", "id": "a", "token": token}).encode()
        writer.write(b"\x81\xfe" + struct.pack(">H", len(text)) + bytes(4) + text)
        return await _closed(reader)

    async def _by_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> str:
        head = f"GET {LIST} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        return (await reader.read()).split(b" ", 2)[1].decode()

    async def _shake(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, more: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET /v1/ws HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")

    def over(self) -> None:
        for task in self._tasks:
            task.cancel()


async def _closed(reader: asyncio.StreamReader) -> str:
    """The close code, once it comes."""
    while True:
        first, second = await reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(await reader.readexactly(2))
        payload = await reader.readexactly(length)
        if first & 0x0F == 8:
            return str(int.from_bytes(payload[:2]))


async def main(kind: str, address: str, rate: float, file: str) -> None:
    """Until stdin ends."""
    host, _, port = address.partition(":")
    tokens = Path(file).read_text().split()
    source = Knocker(host, int(port)) if kind == "connects" else Forger(host, int(port), tokens)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    began, done = time.monotonic(), 0
    while not ended.done():
        # What was due is made up for, so that the rate is what it is said to be; not all at once.
        due = int((time.monotonic() - began) * rate)
        for _ in range(min(due - done, int(rate * SLICE_SECONDS * 3) + 1)):
            source.one()
            done += 1
        await asyncio.sleep(SLICE_SECONDS)
    seconds = time.monotonic() - began
    source.over()
    sys.stdout.write(json.dumps({"seconds": seconds, **source.told}))


if __name__ == "__main__":
    kind, address, rate, file = sys.argv[1:]
    asyncio.run(main(kind, address, float(rate), file))
