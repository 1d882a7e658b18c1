"""Thousands of clients in one process: the least of a WebSocket that tells what came back."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from typing import Any
from urllib.parse import urlsplit

import orjson

from tests.checker import Frame


class Bird(asyncio.Protocol):
    """Connects, sends one subscription as soon as it may, and collects text frames until `live` or an error.

    `token`: what it shows with its handshake.
    """

    def __init__(self, url: str, request: dict[str, Any], token: str | None = None) -> None:
        address = urlsplit(url)
        self.host, self.port = str(address.hostname), int(address.port or 80)
        self.request = orjson.dumps(request)
        self._shown = "" if token is None else f"Authorization: Bearer {token}\r\n"
        self.frames: list[Frame] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._open = False
        self.came_at = 0.0

    async def fly(self) -> None:
        """Connect and wait until it is live."""
        await asyncio.get_running_loop().create_connection(lambda: self, self.host, self.port)
        await self.done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET /v1/ws HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{self._shown}\r\n"
        )
        transport.write(lines.encode())
        self.came_at = asyncio.get_running_loop().time()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open:
            head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not found:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._open, self._buffer = True, bytearray(rest)
            self._send(self.request)
        while (frame := self._next()) is not None:
            self.frames.append(frame)
            if frame["type"] in {"live", "error"} and not self.done.done():
                self.done.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(AssertionError(f"closed after {self.frames}"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _send(self, payload: bytes) -> None:
        assert self._transport is not None
        assert len(payload) < 1 << 16
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else bytes([0xFE]) + struct.pack(">H", len(payload))
        # The masking key is four zeros: allowed, and nobody is between us.
        self._transport.write(b"\x81" + length + bytes(4) + payload)

    def _next(self) -> Frame | None:
        """The next whole text frame. A ping is answered."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(buffer[2:4]), 4
        elif length == 127:
            length, start = int.from_bytes(buffer[2:10]), 10
        if len(buffer) < start + length:
            return None
        opcode, payload = buffer[0] & 0x0F, bytes(buffer[start : start + length])
        del buffer[: start + length]
        if opcode == 9 and self._transport is not None:
            self._transport.write(bytes([0x8A, 0x80 | len(payload)]) + bytes(4) + payload)
        if opcode != 1:
            return self._next()
        frame: Frame = orjson.loads(payload)
        return frame
