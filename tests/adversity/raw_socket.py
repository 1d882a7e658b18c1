"""A WebSocket client that sends whatever it is told to, allowed or not."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
PATIENCE = 20.0
Frame = dict[str, Any]


class ClosedError(Exception):
    """The service ended the connection; with a close code, or 1006 where it said none."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


def header(opcode: int, length: int, *, fin: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """The head of a frame; its masking key is four zeros, so that the payload is sent as it is."""
    first, mask = (0x80 if fin else 0) | reserved | opcode, 0x80 if masked else 0
    if length < 126:
        head = bytes([first, mask | length])
    elif length < 1 << 16:
        head = bytes([first, mask | 126]) + struct.pack(">H", length)
    else:
        head = bytes([first, mask | 127]) + struct.pack(">Q", length)
    return head + bytes(4) if masked else head


def framed(opcode: int, payload: bytes, **bits: Any) -> bytes:
    """A whole frame."""
    return header(opcode, len(payload), **bits) + payload


class RawSocket:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Bytes as they are. A peer that hung up meanwhile is found out by `receive`."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            pass

    async def receive(self) -> Frame:
        """The next text frame; `ClosedError` where there is none any more."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    first, second = await self._reader.readexactly(2)
                    length = second & 0x7F
                    if length > 125:
                        length = int.from_bytes(await self._reader.readexactly(2 if length == 126 else 8))
                    payload = await self._reader.readexactly(length)
                except asyncio.IncompleteReadError:
                    raise ClosedError(1006) from None
                except ConnectionError:
                    raise ClosedError(self._last_words()) from None
                opcode = first & 0x0F
                if opcode == CLOSE:
                    raise ClosedError(int.from_bytes(payload[:2]) if payload else 1005)
                if opcode == PING:
                    await self.send(framed(PONG, payload))
                elif opcode == TEXT:
                    frame: Frame = orjson.loads(payload)
                    return frame

    def _last_words(self) -> int:
        """Of a peer that closed before it had read everything: its close frame came, then a reset. asyncio's reader
        hides what it holds once there was a reset.
        """
        rest = bytes(self._reader._buffer)  # type: ignore[attr-defined]  # reason: there is no other way to it
        found = rest.rfind(bytes([0x80 | CLOSE]))
        return int.from_bytes(rest[found + 2 : found + 4]) if 0 <= found < len(rest) - 3 else 1006

    def abort(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def raw_socket(url: str) -> AsyncIterator[RawSocket]:
    """A connection to the service at `url`, its welcome received."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1 << 22)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET /v1/ws HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    socket = RawSocket(reader, writer)
    try:
        writer.write(lines.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        assert (await socket.receive())["type"] == "welcome"
        yield socket
    finally:
        socket.abort()
