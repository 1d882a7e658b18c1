"""From a frame to the socket without a task: uvicorn's WebSocket protocol with a sink that writes ready bytes.

A live frame is the same object for every subscriber, so its WebSocket header is put in front once and the result is
written to each transport. Over the transport's mark frames wait in the outbox, which drains when the transport does.
Once accepted, every data frame of a connection takes this path, so none overtakes another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request
from websockets.server import ServerProtocol

from realtime import metrics
from realtime.core.connection.outbox import Outbox, Part
from realtime.core.wire.protocol import CLOSE_SLOW_CONSUMER, Closing
from realtime.ports import Listener

EXTENSION = "realtime.transport"
"""Key in the ASGI scope's extensions under which the protocol offers itself."""
CLOSE_SECONDS = 5.0
"""Time for the peer to take what was sent and to answer the close; then the transport is aborted."""
HIGH_WATER = 256 * 1024
STUCK_SECONDS = 25.0
"""A peer whose transport has not taken one byte for this long is gone, whatever it answers to pings."""
_TEXT_FINAL = 0x81
_WANTS_RETRY = range(4000, 4500)
MAX_REASON = 40
_INVALID_DATA = 1007
_CODE_WORDS = {1002: "protocol_error", _INVALID_DATA: "invalid_utf8", 1009: "too_large", 1011: "no_pong"}


def text_frame(payload: bytes) -> bytes:
    """An unfragmented, unmasked WebSocket text frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((_TEXT_FINAL, size)) + payload
    if size < 1 << 16:
        return bytes((_TEXT_FINAL, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_TEXT_FINAL, 127)) + size.to_bytes(8, "big") + payload


def _is_utf8(parts: list[bytes]) -> bool:
    try:
        b"".join(parts).decode()
    except UnicodeDecodeError:
        return False
    return True


class _Framer:
    """Remembers the last payload by identity: a dispatch hands the same object to one connection after another."""

    def __init__(self) -> None:
        self._payload: bytes | None = None
        self._frame = b""

    def __call__(self, payload: bytes) -> bytes:
        if payload is not self._payload:
            self._frame = text_frame(payload)
            self._payload = payload
        return self._frame


_framed = _Framer()


class CodeWordProtocol(ServerProtocol):
    """Closes with a code word as its reason, as the protocol has it, and not with a sentence."""

    def fail(self, code: int, reason: str = "") -> None:
        super().fail(code, _CODE_WORDS.get(code, reason[:MAX_REASON]))


class FrameProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, which also lets a sink write frames to its transport."""

    sink: TransportSink | None = None

    def __init__(self, config: uvicorn.Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        # Without extensions: deflate is state per connection and forbids shared bytes.
        self.conn = CodeWordProtocol(max_size=config.ws_max_size, logger=logging.getLogger("uvicorn.error"))

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        scope: Any = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][EXTENSION] = self

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not _is_utf8(self.frames):
            # uvicorn would write a traceback for what any client can send.
            self.frames = []
            self.finish(_INVALID_DATA, _CODE_WORDS[_INVALID_DATA])
            return
        super().send_receive_event_to_app()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.sink is not None:
            self.sink.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.sink is not None:
            self.sink.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.sink is not None:
            self.sink.lost()

    def leave(self, code: int, reason: str) -> None:
        """End the connection after what was sent."""
        if self.sink is not None:
            self.sink.close(code, reason)

    def finish(self, code: int, reason: str) -> None:
        """Send a close frame now and give the peer `CLOSE_SECONDS`; a flushing close would wait without end."""
        if self.close_sent or self.transport.is_closing():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        try:
            self.conn.send_close(code, reason)
        except InvalidState:
            # The peer's own close is under way; uvicorn answers it.
            return
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)


class TransportSink:
    """A `Sink` on a transport: plain writes while it takes them, a bounded outbox while it does not."""

    def __init__(self, protocol: FrameProtocol, outbox_bytes: int, listener: Listener) -> None:
        self._protocol = protocol
        self._listener = listener
        self._outbox = Outbox(outbox_bytes, listener.lapsed)
        self._open = True
        self._stuck: asyncio.TimerHandle | None = None
        protocol.sink = self
        protocol.transport.set_write_buffer_limits(high=HIGH_WATER)
        self._paused = False
        if not protocol.writable.is_set():
            self.pause()

    @property
    def waiting(self) -> int:
        """Bytes that the peer has not taken yet, the transport's own included."""
        return self._outbox.size + (self._protocol.transport.get_write_buffer_size() if self._paused else 0)

    def send(self, frame: bytes, part: Part | None = None) -> None:
        """Write the frame, or let it wait; over the bound a channel lapses, else `closing` and 4001."""
        if not self._open:
            return
        if not self._paused and not self._outbox:
            self._protocol.transport.write(_framed(frame))
        elif not self._outbox.put(frame, part):
            metrics.SLOW_CONSUMERS.inc()
            self.close(CLOSE_SLOW_CONSUMER, "slow_consumer")

    def send_run(self, frames: Iterator[bytes]) -> None:
        """Write frames as the transport takes them."""
        if self._open:
            self._outbox.put_run(frames)
            self._drain()

    def close(self, code: int, reason: str) -> None:
        """End the connection after what was sent; a slow consumer's without what waits."""
        if not self._open:
            return
        self._open = False
        if code == CLOSE_SLOW_CONSUMER:
            self._outbox.clear()
        while (frame := self._outbox.pull()) is not None:
            self._protocol.transport.write(_framed(frame))
        if code in _WANTS_RETRY:
            self._protocol.transport.write(_framed(Closing(code=code, message=reason, retry_after=1).encode()))
        self._protocol.finish(code, reason)

    def pause(self) -> None:
        """The transport is over its mark."""
        self._paused = True
        self._watch(self._protocol.transport.get_write_buffer_size())

    def resume(self) -> None:
        """The transport takes more."""
        self._paused = False
        self._unwatch()
        self._drain()

    def lost(self) -> None:
        """The connection is gone."""
        self._open = False
        self._unwatch()
        self._outbox.clear()

    def _drain(self) -> None:
        """Write what waits, as much as the transport takes; when all is out, channels that lapsed may go on."""
        while self._open and not self._paused:
            frame = self._outbox.pull()
            if frame is not None:
                self._protocol.transport.write(_framed(frame))
                continue
            lapsed = self._outbox.take_lapsed()
            if not lapsed:
                return
            self._listener.drained(lapsed)

    # --------------------------------------------------------------------------------------------------- a stuck peer

    def _watch(self, size: int) -> None:
        self._unwatch()
        self._stuck = self._protocol.loop.call_later(STUCK_SECONDS, self._look, size)

    def _unwatch(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _look(self, size: int) -> None:
        now = self._protocol.transport.get_write_buffer_size()
        if now < size:
            self._watch(now)
            return
        metrics.SLOW_CONSUMERS.inc()
        self.lost()
        self._protocol.transport.abort()
