"""A WebSocket client that costs its process as little as can be: bytes in, the texts of frames out, no task.

Nothing is negotiated; what a server sends is not masked. What breaks the rules ends the connection.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MOST_HEAD, _MOST_FRAME = 64 * 1024, 128 * 1024 * 1024
_CONTINUATION, _TEXT, _CLOSE, _PING = 0, 1, 8, 9
_NO_MASK = bytes(4)
SCHEMES = {"http": 80, "ws": 80, "https": 443, "wss": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service is. `prefix` is its path, without a slash at the end; `door` where it takes WebSockets."""

    host: str
    port: int
    tls: bool
    prefix: str
    door: str = "/v1/ws"

    @property
    def shown(self) -> str:
        """As it stands in `Host`, where no default port is named: gateways and `Host` checks may go by the text."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def address_of(url: str) -> Address:
    """Of a URL. `ValueError` where it is none of a service."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no address of a service: write it as http://host:port/prefix")
    prefix = parts.path.rstrip("/").removesuffix("/v1/ws").rstrip("/")
    tls = parts.scheme in {"https", "wss"}
    return Address(parts.hostname, parts.port or SCHEMES[parts.scheme], tls, prefix)


class HandshakeError(Exception):
    """No WebSocket was opened, and the text says why. `again`: the same may succeed later."""

    def __init__(self, text: str, *, again: bool) -> None:
        super().__init__(text)
        self.again = again


class Connection(asyncio.Protocol):
    """One WebSocket. `opened` is done when the handshake is; `on_text` gets each message, `on_end` the end, once."""

    __slots__ = (
        "_address", "_key", "_on_end", "_on_text", "_parts", "_rest", "_token", "code", "opened", "received",
        "transport",
    )  # fmt: skip

    def __init__(
        self,
        address: Address,
        token: str | None,
        on_text: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        self._address, self._token = address, token
        self._on_text, self._on_end = on_text, on_end
        self._key = base64.b64encode(os.urandom(16))
        self._rest, self._parts = b"", b""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.code: int | None = None
        self.received = 0
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        # Of uvloop's own kind, which is no `asyncio.Transport`.
        self.transport = transport
        bearer = f"Authorization: Bearer {self._token}\r\n" if self._token else ""
        transport.write(
            f"GET {self._address.prefix}{self._address.door} HTTP/1.1\r\n"
            f"Host: {self._address.shown}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {self._key.decode()}\r\n"
            f"User-Agent: realtime-bench\r\n{bearer}\r\n".encode()
        )

    def send(self, frame: dict[str, Any]) -> None:
        """A text frame of JSON."""
        self.send_text(json.dumps(frame, separators=(",", ":")).encode())

    def send_text(self, text: bytes) -> None:
        """A text frame."""
        self._write(0x80 | _TEXT, text)

    def _write(self, first: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = bytes((first, 0x80 | size))
        elif size < 65_536:
            head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
        else:
            head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
        if self.transport is not None and not self.transport.is_closing():
            # A mask of zeros hides nothing, and there is nothing to hide: it is the proxies of browsers that need one.
            self.transport.write(head + _NO_MASK + payload)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if not self.opened.done():
            data = self._handshake(data)
        self._frames(data)

    def _handshake(self, data: bytes) -> bytes:
        """What follows the head, once that is whole."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            self._rest = data
            if len(data) > _MOST_HEAD:
                self._fail(HandshakeError("the answer to the handshake has no end", again=False))
            return b""
        status = head.split(b" ", 2)[1:2]
        if status != [b"101"]:
            self._fail(_refusal(head, rest))
            return b""
        accept = base64.b64encode(hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest())
        if accept not in head:
            self._fail(HandshakeError("what answered is no WebSocket server", again=False))
            return b""
        self.opened.set_result(None)
        return rest

    def _frames(self, data: bytes) -> None:
        at, size = 0, len(data)
        while size - at >= 2:
            length, begin = data[at + 1], at + 2
            if length > 125:
                if length > 127:
                    return self._break()
                begin = at + (4 if length == 126 else 10)
                length = int.from_bytes(data[at + 2 : begin], "big") if begin <= size else size
                if length > _MOST_FRAME:
                    return self._break()
            if begin + length > size:
                break
            self._frame(data[at], data[begin : begin + length])
            at = begin + length
        if at < size:
            self._rest = data[at:]
        return None

    def _frame(self, first: int, payload: bytes) -> None:
        if first == 0x80 | _TEXT:
            self._on_text(payload)
            return
        opcode = first & 0x0F
        if opcode == _PING:
            self._write(0x8A, payload)
        elif opcode == _CLOSE:
            self.code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            self._write(0x80 | _CLOSE, payload[:2])
            if self.transport is not None:
                self.transport.close()
        elif opcode in {_TEXT, _CONTINUATION}:
            self._parts += payload
            if first & 0x80:
                whole, self._parts = self._parts, b""
                self._on_text(whole)

    def _break(self) -> None:
        self.code = 1002
        self.close()

    def _fail(self, error: HandshakeError) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
        self.close()

    def close(self) -> None:
        """Leave without a word: nobody waits for it."""
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(HandshakeError("it was closed before it was open", again=True))
        else:
            self._on_end()


def _refusal(head: bytes, body: bytes) -> HandshakeError:
    line = head.split(b"\r\n", 1)[0].decode("latin-1")[:200]
    try:
        told = json.loads(body)
        text = f"{told['code']}: {told['detail']}"
    except (ValueError, KeyError, TypeError):
        text = f"what answers is no service of this kind ({line})"
    return HandshakeError(text, again=line.split(" ")[1:2] in (["429"], ["503"]))


async def opened(
    address: Address,
    token: str | None,
    on_text: Callable[[bytes], None],
    on_end: Callable[[], None],
    context: ssl.SSLContext | None,
) -> Connection:
    """A WebSocket after its handshake. `HandshakeError`, or what the network says as `OSError`."""
    loop = asyncio.get_running_loop()
    _, made = await loop.create_connection(
        lambda: Connection(address, token, on_text, on_end), address.host, address.port, ssl=context
    )
    try:
        await made.opened
    except BaseException:
        made.close()
        raise
    return made
