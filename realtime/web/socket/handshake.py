"""uvicorn's part of a WebSocket: the handshake, by its own protocol class, and the end of the ASGI task behind it.

A route that takes the connection over (`FrameProtocol.hand_over`) has a `Line` from then on, and nothing of the
handshake is kept: no scope, no headers, no queue. Other routes of the application never notice.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any, ClassVar, cast
from weakref import WeakKeyDictionary

import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.websockets import WebSocket
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol

from realtime.web.entrance.problems import problem
from realtime.web.entrance.streaming import ABORT
from realtime.web.socket.doors import Door
from realtime.web.socket.gate import Gate, left, moved
from realtime.web.socket.line import Line, Lines
from realtime.web.socket.turns import HANDSHAKE_SECONDS

HEAD_SECONDS = 30.0
"""Time for a request's head to come whole, from the connection or from its first byte; nginx gives 60 s."""
LONGEST_HEAD = 64 * 1024
"""Bytes of a request's head that may follow the piece it began in, which the loop bounds."""
LONGEST_HEADER = 8000
"""Bytes of a header's name and value together, a token's among them, in a handshake."""
EXTENSION = "realtime.transport"
"""Key in the ASGI scope's extensions under which the protocol offers itself."""

_MOST_HEADERS, _LONGEST_VALUE = 100, 8000
_OF_A_BODY = frozenset({b"content-length", b"transfer-encoding"})
_OF_A_HANDSHAKE = frozenset({b"connection", b"upgrade", b"origin"})

_lines: WeakKeyDictionary[ServerState, Lines] = WeakKeyDictionary()


class _OfPeers(logging.Logger):
    """uvicorn's logger, which warns of each request that is no HTTP, or whose body ends as none: a peer's own doing."""

    def warning(self, msg: object, *args: object, **_: Any) -> None:
        self.debug(msg, *args)

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the library's name
        return _uvicorns.isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        _uvicorns.handle(record)


_uvicorns = logging.getLogger("uvicorn.error")
_of_peers = _OfPeers(_uvicorns.name, logging.DEBUG)


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's, which hands a request for a WebSocket on as it was read, and goes then: it and its parser hold each
    other. uvicorn's own way is to write the request out again and have it read a second time.
    """

    gate: ClassVar[Gate | None] = None
    knocked: socket.socket | None = None
    """By which the connection was counted already, before TLS."""
    _head_due: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _refusal: Response | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # reason: as uvicorn's
        super().connection_made(transport)
        self.logger = _of_peers
        if self.knocked is not None:
            moved(self.knocked, transport)
            self._await_head()
        elif self.gate is None or self.gate.admits(transport):
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        left(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As uvicorn's, which keeps a head of any size, for any time."""
        begun = self._head_bytes
        super().data_received(data)
        if begun and self._head_bytes:
            self._head_bytes += len(data)
            if self._head_bytes > LONGEST_HEAD and not self.transport.is_closing():
                self._head_came()
                self.send_400_response(f"a request's head has at most {LONGEST_HEAD} bytes")

    def on_headers_complete(self) -> None:
        self._head_came()
        over = None if self.gate is None else self.gate.forwards(self.transport, self.headers)
        self._refusal = None if over is None else problem(over.error())
        app = self.app
        if self._refusal is not None:
            self.app = self._refusal
        try:
            super().on_headers_complete()
        finally:
            self.app = app

    def _await_head(self) -> None:
        if self._head_due is None:
            self._head_due = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_due = None
        before: RequestResponseCycle | None = self.cycle
        if before is not None and not before.response_complete:
            self._await_head()  # nothing is read while the request before it is answered
        else:
            self.transport.close()

    def _head_came(self) -> None:
        self._head_bytes = 0
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 1
        self._await_head()
        # Event streams of who may have no more are cut, and do not wait for a peer that takes nothing.
        scope: Any = self.scope
        scope["extensions"] = {ABORT: self.transport.abort}

    def handle_websocket_upgrade(self) -> None:
        if self._refusal is not None:
            self._send(self._refusal)
            return
        if any(len(name) + len(value) > LONGEST_HEADER for name, value in self.headers):
            # `websockets` would read no further, and nobody would ever hear of it.
            self.send_400_response(f"a header of a handshake has at most {LONGEST_HEADER} bytes")
            return
        request = self._request() if self.ws_protocol_class is FrameProtocol else None
        if request is None:
            super().handle_websocket_upgrade()
        else:
            self.connections.discard(self)
            protocol = FrameProtocol(config=self.config, server_state=self.server_state, app_state=self.app_state)
            protocol.connection_made(self.transport)
            protocol.requested(request, self.headers)
            self.transport.set_protocol(protocol)
        self.parser = None  # type: ignore[assignment]  # reason: uvicorn's own end of a connection says the same

    def _send(self, response: Response) -> None:
        """In place of a handshake: the connection is not for anything else."""
        headers = b"".join(name + b": " + value + b"\r\n" for name, value in response.raw_headers)
        status = HTTPStatus(response.status_code)
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nconnection: close\r\n".encode()
        self.transport.write(head + headers + b"\r\n" + bytes(response.body))
        self.transport.close()

    def _request(self) -> Request | None:
        """The request, where there is nothing in it that `websockets` might refuse to read.

        Of its headers it has those that `websockets` looks at: each costs it a dozen calls.
        """
        if self.scope["method"] != "GET" or self.scope["http_version"] != "1.1" or len(self.headers) > _MOST_HEADERS:
            return None
        headers = Headers()
        for name, value in self.headers:
            if not value.isascii() or len(value) > _LONGEST_VALUE or name in _OF_A_BODY:
                return None
            if name in _OF_A_HANDSHAKE or name.startswith(b"sec-websocket-"):
                headers[name.decode("ascii")] = value.decode("ascii")
        return Request(self.url.decode("ascii"), headers) if self.url.isascii() else None


class _Nowhere(asyncio.Transport):
    """In place of a transport that belongs to somebody else by now: what uvicorn ends is ended already."""

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        return

    def write(self, data: Any) -> None:
        return


class _Held(asyncio.Transport):
    """A transport whose writes are held for the rest of a turn."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self.transport = transport
        self._held = b""

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def write(self, data: Any) -> None:
        self._held += data

    def taken(self) -> bytes:
        """What is held; it is somebody else's to write from now on."""
        held, self._held = self._held, b""
        return held

    def flush(self) -> None:
        """Write what is held."""
        if held := self.taken():
            self.transport.write(held)


class FrameProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol for WebSockets, whose connection a route may take over once it has accepted."""

    def __init__(
        self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(config, server_state, app_state, *args, **kwargs)
        if config.ws_per_message_deflate:
            # Without extensions: deflate is state per connection and forbids shared bytes.
            self.conn = ServerProtocol(max_size=config.ws_max_size, logger=logging.getLogger("uvicorn.error"))
        # Whatever is logged: it would write out every header, and tokens are among them.
        self.conn.debug = False
        self._answer: _Held | None = None
        self._asked = False
        self._early = b""
        self._unread: Request | None = None
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._lines = _shared(config, server_state, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        left(self.transport)
        super().connection_lost(exc)

    def requested(self, request: Request, headers: list[tuple[bytes, bytes]]) -> None:
        """The request was read already; `headers`: all that it has."""
        self._unread, self._headers = request, headers
        self.handle_connect(request)

    def handle_connect(self, event: Request) -> None:
        """The request is there: it goes its way through the application when there is room in a turn of the loop."""
        self._asked = True
        if self._lines.turns.left:
            self._begin(event)
        else:
            self._lines.turns.later(lambda: self._begin(event))

    def _begin(self, event: Request) -> None:
        if self.disconnected or self.transport.is_closing():
            return
        self._lines.turns.spend(HANDSHAKE_SECONDS)
        super().handle_connect(event)
        scope: Any = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][EXTENSION] = self
            if self._headers is not None:
                scope["headers"], self._headers = self._headers, None

    def data_received(self, data: bytes) -> None:
        if self._asked and not self.handshake_complete:
            # Frames before they are welcome: they are kept, and no more are read.
            self._early += data
            self.transport.pause_reading()
            return
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        if self._unread is not None:
            # A route that does not take over reads by `websockets`, which begins with the request.
            self.conn.receive_data(self._unread.serialize())
            self.conn.events_received()
            self._unread = None
        super().data_received(data)

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.accept" and not self.transport.is_closing():
            # It goes out with the first frame of whoever takes over, which is in this turn, or else by itself.
            answer = self._answer = _Held(self.transport)
            self.loop.call_soon(answer.flush)
            self.transport = answer
            try:
                await super().send(message)
            finally:
                self.transport = answer.transport
        else:
            await super().send(message)
            if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
                # It is refused, which is an end of the handshake too; uvicorn would log that the application forgot it.
                self.handshake_complete, self._early = True, b""

    async def receive(self) -> Any:
        if self._early and self.handshake_complete:
            self._take_early()
        return await super().receive()

    def _take_early(self) -> None:
        """A route that has accepted, and does not take over, asks for what came."""
        early, self._early = self._early, b""
        self.transport.resume_reading()
        self._feed(early)

    def hand_over(self) -> tuple[Line, bytes]:
        """The accepted connection as a `Line`, and bytes that came already. The ASGI task may end without ending it."""
        self.stop_keepalive()
        self.connections.discard(self)
        line = Line(self._lines, self.transport, paused=not self.writable.is_set())
        line.hold(b"" if self._answer is None else self._answer.taken())
        self.transport.set_protocol(line)
        if self._early:
            self.transport.resume_reading()
        self.transport = _Nowhere()
        # The parser and what it parses for hold each other.
        self.conn.parser.close()
        self.scope["extensions"].clear()
        self._unread = None
        return line, self._early


def _shared(config: uvicorn.Config, state: ServerState, loop: asyncio.AbstractEventLoop) -> Lines:
    found = _lines.get(state)
    if found is None:
        found = _lines[state] = Lines(
            loop,
            limit=config.ws_max_size,
            connections=state.connections,
            tasks=state.tasks,
            interval=config.ws_ping_interval,
            timeout=config.ws_ping_timeout,
        )
    return found


def protocol_of(websocket: WebSocket) -> FrameProtocol | None:
    """uvicorn's protocol behind an ASGI connection, where it is ours."""
    found = websocket.scope.get("extensions", {}).get(EXTENSION)
    return found if isinstance(found, FrameProtocol) else None


def keeps_task(websocket: WebSocket, application: Any) -> bool:
    """Whether something of the application's waits for its route to return: a dependency with `yield`, or middleware.

    `application`: what the server calls. Middleware that cannot be seen from here, around an application that ours
    is mounted in, counts as there.
    """
    stacks = [one for one in websocket.scope.values() if isinstance(one, AsyncExitStack)]
    if any(getattr(stack, "_exit_callbacks", True) for stack in stacks):
        return True
    while type(application).__module__.startswith("uvicorn.middleware."):
        application = application.app
    while isinstance(application, Door):
        application = application.chosen(websocket.scope)
    here = websocket.scope.get("app")
    return application is not here or bool(cast(Starlette, here).user_middleware)
