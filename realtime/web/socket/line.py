"""One WebSocket after its handshake: bytes from the transport straight to whoever owns it, without a task.

It reads a little in each turn of the loop and no further than there is room for answers. It answers pings, asks for
pongs, and ends the connection with a close frame, a time for the peer to answer it, and an end that waits for nobody.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Protocol

from realtime.core.access.limits import Rate
from realtime.core.connection.frames import (
    Binary,
    Broken,
    Closed,
    Fragment,
    FrameReader,
    Incoming,
    Ping,
    Pong,
    Text,
    close_frame,
    closing_frame,
    ping_frame,
    pong_frame,
)
from realtime.web.socket import kernel
from realtime.web.socket.gate import left
from realtime.web.socket.pulse import Pulse
from realtime.web.socket.turns import FRAMES, SECONDS, Turns, clock

if TYPE_CHECKING:
    from realtime.web.socket.uvicorn_sink import TransportSink

CLOSE_SECONDS = 5.0
"""Time for the peer to take what was sent and to answer the close; then the transport is aborted."""
TOGETHER_BYTES = 16 * 1024
"""What is said while frames are taken goes out in one write, up to so much: a write is a call of the kernel's."""
LEAST_BYTES = 1024
"""Whoever takes as much as this reads, whatever it answers to pings."""
REST_SECONDS = 0.05
"""A connection over its rate of frames is read no further for as long, at least: many short rests cost more."""
NO_PONG = 1011
GOING_AWAY = 1012
_CODE_WORDS = {1002: "protocol_error", 1007: "invalid_utf8", 1009: "too_large", NO_PONG: "no_pong"}


class Owner(Protocol):
    """Who a connection is for."""

    def receive(self, text: str) -> None:
        """A text message has come."""

    def receive_binary(self) -> None:
        """A binary message has come."""

    def ended(self) -> None:
        """Nothing more will come, and nothing more is sent."""


class Lines:
    """What the connections of one server share. `limit`: bytes of the largest message."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        limit: int,
        connections: set[Any],
        tasks: set[asyncio.Task[None]],
        interval: float | None,
        timeout: float | None,
    ) -> None:
        self.loop = loop
        self.limit = limit
        self.connections = connections
        self.tasks = tasks
        self.turns = Turns(loop)
        self.pulse = Pulse(loop, interval, timeout)


class Line(asyncio.Protocol):
    """uvicorn's connection from the handshake on. `paused`: the transport is over its mark."""

    __slots__ = (
        "__weakref__",
        "_closer",
        "_halted",
        "_held",
        "_late_pong",
        "_owner",
        "_payload",
        "_queued",
        "_rate",
        "_reader",
        "_rest",
        "_taken_at_ping",
        "closing",
        "lines",
        "paused",
        "sink",
        "transport",
    )

    def __init__(self, lines: Lines, transport: asyncio.Transport, *, paused: bool = False) -> None:
        self.lines = lines
        self.transport = transport
        self.paused = paused
        self.closing = False
        self.sink: TransportSink | None = None
        self._owner: Owner | None = None
        self._reader = FrameReader(lines.limit)
        self._halted = False
        self._held: bytearray | None = None
        self._queued = False
        self._rate: Rate | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._late_pong = b""
        self._payload = b""
        self._taken_at_ping = 0
        self._closer: asyncio.TimerHandle | None = None
        lines.connections.add(self)

    def start(self, owner: Owner, early: bytes = b"", rate: Rate | None = None) -> None:
        """From now on `owner` gets what comes; its sink is there. `early`: what has come already.

        `rate`: of frames. Whole messages are for the owner to take from it, or to refuse.
        """
        self._owner = owner
        self._rate = rate
        self.flush()
        self.lines.pulse.add(self)
        kernel.wait_for_slow_readers(self.transport)
        if early:
            self.data_received(early)

    # ------------------------------------------------------------------------------------------------ what goes out

    def write(self, data: bytes) -> None:
        """Write bytes after those before them: now, or with what else is held."""
        held = self._held
        if held is None:
            self.transport.write(data)
        elif len(held) + len(data) <= TOGETHER_BYTES:
            held += data
        else:
            self._let_go(held)
            self.transport.write(data)

    def hold(self, data: bytes = b"") -> None:
        """From now on what is written is held, until `flush`."""
        self._held = bytearray(data)

    def flush(self) -> None:
        """Write what was held, and hold nothing any more."""
        held, self._held = self._held, None
        if held:
            self._let_go(held)

    def _let_go(self, held: bytearray) -> None:
        if held:
            self.transport.write(bytes(held))
            held.clear()

    # ------------------------------------------------------------------------------------------------- what comes in

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        self._reader.feed(data)
        if self._halted:
            return
        if self.lines.turns.left:
            self._work()
        else:
            self._wait_for_a_turn()

    def take_up_to(self, largest: int) -> None:
        """Bytes of the largest message from the next frame on: not less than before where one has begun."""
        self._reader.limit = largest

    def _work(self) -> None:
        """Take as many frames as one connection may in a turn; read on where there are no more."""
        began = clock()
        spent, more = 0.0, False
        self.hold()
        for _ in range(FRAMES):
            incoming = self._reader.pull()
            more = incoming is not None
            if incoming is None:
                break
            self._take(incoming)
            spent = clock() - began
            if spent >= SECONDS or self._crowded:
                break
        self.flush()
        self.lines.turns.spend(spent)
        if self._crowded:
            self._halt()
        elif (wait := self._over()) > 0:
            self._rest_for(wait)
        elif more:
            self._wait_for_a_turn()
        else:
            self._read_on()

    def _over(self) -> float:
        """Seconds until its rate allows another frame."""
        return 0.0 if self._rate is None or self.closing else self._rate.wait(self.lines.loop.time())

    def _charge(self) -> None:
        """Frames that nobody can refuse, pings among them, count as all do: there are fewer when it has rested."""
        if self._rate is not None:
            self._rate.charge(self.lines.loop.time())

    def _rest_for(self, seconds: float) -> None:
        self._halt()
        if not self._queued:
            self._queued = True
            self._rest = self.lines.loop.call_later(max(seconds, REST_SECONDS), self._rested)

    def _rested(self) -> None:
        self._rest = None
        self._queued = False
        self._wait_for_a_turn()

    @property
    def _crowded(self) -> bool:
        return self.sink is not None and self.sink.crowded

    def _halt(self) -> None:
        if not self._halted and not self.transport.is_closing():
            self._halted = True
            self.transport.pause_reading()

    def _read_on(self) -> None:
        if self._halted and not self.transport.is_closing():
            self._halted = False
            self.transport.resume_reading()

    def _wait_for_a_turn(self) -> None:
        self._halt()
        if not self._queued:
            self._queued = True
            self.lines.turns.later(self._go_on)

    def _go_on(self) -> None:
        self._queued = False
        # Else `roomy` comes, or nothing more is to be taken.
        if not self._crowded and not self.transport.is_closing():
            self._work()

    def roomy(self) -> None:
        """There is room for answers again."""
        if self._halted:
            self._wait_for_a_turn()

    def _take(self, incoming: Incoming) -> None:
        match incoming:
            case Closed():
                self._answer_close(incoming.payload)
            case Broken():
                self._fail(incoming.code)
            case _ if self.closing:
                pass  # what the peer sent before it heard of the end
            case Text():
                if self._owner is not None:
                    self._owner.receive(incoming.text)
            case Binary():
                if self._owner is not None:
                    self._owner.receive_binary()
            case Fragment():
                self._charge()
            case Ping():
                self._charge()
                self._pong(incoming.payload)
            case Pong():
                self._charge()
                if self._payload and incoming.payload == self._payload:
                    self._payload = b""
                    self.lines.pulse.answered(self)

    def _pong(self, payload: bytes) -> None:
        if self.paused:
            # Who pings and reads nothing costs no memory: the last one is answered, which RFC 6455, 5.5.3 allows.
            self._late_pong = pong_frame(payload)
        else:
            self.write(pong_frame(payload))

    # ------------------------------------------------------------------------------------------------- the transport

    def pause_writing(self) -> None:
        """The transport is over its mark."""
        self.paused = True
        if self.sink is not None:
            self.sink.pause()

    def resume_writing(self) -> None:
        """The transport takes more."""
        self.paused = False
        if self._late_pong:
            pong, self._late_pong = self._late_pong, b""
            self.transport.write(pong)
        if self.sink is not None:
            self.sink.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever brought it about. From here on nothing holds the connection any more."""
        left(self.transport)
        self.lines.connections.discard(self)
        self.lines.pulse.remove(self)
        for timer in (self._closer, self._rest):
            if timer is not None:
                timer.cancel()
        self._closer = self._rest = None
        self.closing = True
        self._cut_sink()
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.ended()

    def taken(self) -> int:
        """Bytes that the peer's machine has acknowledged; where that is not to be known, what left this process."""
        return kernel.taken(self.transport)

    # ------------------------------------------------------------------------------------------------------------ pings

    def ping(self) -> None:
        """Send a ping."""
        self._taken_at_ping = self.taken()
        self._payload = random.randbytes(4)  # noqa: S311 - it tells pongs apart
        self.write(ping_frame(self._payload))

    def unanswered(self) -> bool:
        """The last ping was not answered in time: whether to go on all the same."""
        self._payload = b""
        if self._halted or self.taken() - self._taken_at_ping >= LEAST_BYTES:
            # It may have answered, and nobody here reads for now; or it reads, and has not come to the ping yet.
            return True
        self._fail(NO_PONG)
        return False

    # ---------------------------------------------------------------------------------------------------------- the end

    def leave(self, code: int, reason: str) -> None:
        """End the connection after what was sent."""
        if self.sink is not None:
            self.sink.close(code, reason)

    def shutdown(self) -> None:
        """uvicorn stops, by its own way of doing so."""
        self.finish(GOING_AWAY, "")

    def finish(self, code: int, reason: str) -> None:
        """Send a close frame now and give the peer `CLOSE_SECONDS`; a flushing close would wait without end."""
        if not self.closing and not self.transport.is_closing():
            self._last_words(closing_frame(code, reason))
            self.roomy()

    def _answer_close(self, payload: bytes) -> None:
        if not self.closing:
            self._last_words(close_frame(payload))
        self.transport.close()

    def _fail(self, code: int) -> None:
        """The peer broke a rule, or is not there. What it still sends is read and forgotten, or it would never see why:
        its machine takes an end with unread bytes for a reset.
        """
        if self.closing:
            self.transport.close()
            return
        self._last_words(closing_frame(code, _CODE_WORDS[code]))
        self._read_on()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _last_words(self, frame: bytes) -> None:
        self.closing = True
        self._late_pong = b""
        self.lines.pulse.remove(self)
        self.write(frame)
        self.flush()
        self._closer = self.lines.loop.call_later(CLOSE_SECONDS, self.transport.abort)
        self._cut_sink()
        # Soon, and not now: this may be in the middle of what is told to many.
        owner, self._owner = self._owner, None
        if owner is not None:
            self.lines.loop.call_soon(owner.ended)

    def _cut_sink(self) -> None:
        if self.sink is not None:
            self.sink.lost()
            self.sink = None
