"""A `Sink` on a connection's transport: plain writes while it takes them, a bounded outbox while it does not.

A live frame is the same object for every subscriber, so its WebSocket header is put in front once and the result is
written to each transport. Every data frame of a connection takes this path, so none overtakes another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from realtime import metrics
from realtime.bugs import break_off
from realtime.core.connection.frames import text_frame
from realtime.core.connection.outbox import Claim, Outbox, Part
from realtime.core.wire.closing import AT_ONCE, CLOSE_SLOW_CONSUMER, OVER, announced
from realtime.core.wire.protocol import Closing
from realtime.ports import Listener
from realtime.web.entrance.asgi_sink import NOBODY
from realtime.web.socket.line import LEAST_BYTES, Line

HIGH_WATER = 256 * 1024
STUCK_SECONDS = 25.0
"""A peer that takes less than `LEAST_BYTES` in this time, while more waits, is gone, whatever it answers to pings."""
OVER_SECONDS = 1.0
"""Time for a peer that may have no more to take what was on its way, and its close."""


def _cut(transport: asyncio.Transport) -> None:
    """What was on its way to who may have no more had its time."""
    if transport.get_write_buffer_size():
        transport.abort()


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


class TransportSink:
    """A `Sink` on a connection. What waits has room made for it when something does."""

    __slots__ = ("_line", "_listener", "_open", "_outbox", "_outbox_bytes", "_paused", "_stuck", "max_frame")

    def __init__(self, line: Line, outbox_bytes: int, listener: Listener, max_frame: int | None = None) -> None:
        self.max_frame = max_frame
        self._line = line
        self._listener = listener
        self._outbox_bytes = outbox_bytes
        self._outbox: Outbox | None = None
        self._open = True
        self._paused = False
        self._stuck: asyncio.TimerHandle | None = None
        line.sink = self
        line.transport.set_write_buffer_limits(high=HIGH_WATER)
        if line.paused:
            self.pause()

    @property
    def waiting(self) -> int:
        """Bytes that the peer has not taken yet, the transport's own included."""
        waiting = 0 if self._outbox is None else self._outbox.size
        return waiting + (self._line.transport.get_write_buffer_size() if self._paused else 0)

    @property
    def crowded(self) -> bool:
        """Whether nothing more is to be taken from the peer until it has taken answers."""
        return self._outbox is not None and self._outbox.crowded

    def send(self, frame: bytes, part: Part | Claim | None = None) -> None:
        """Write the frame, or let it wait; over the bound a channel lapses."""
        if not self._open:
            return
        if not self._paused and not self._outbox:
            self._line.write(_framed(frame))
            return
        self._made().put(frame, part)

    def take_up_to(self, largest: int) -> None:
        """Bytes of the largest message that is taken from the peer, from its next frame on."""
        self._line.take_up_to(largest)

    def owe(self, answers: int) -> None:
        """So many more answers (fewer, where negative) are to come when what they wait for has happened."""
        if self._open:
            self._made().owe(answers)
            self._tidy()

    def lapse(self, channel: int, after: int) -> None:
        """Drop what waits of a channel, which was told up to `after`."""
        if self._open:
            self._made().lapse(channel, after)

    def withholds(self, channel: int) -> bool:
        """Whether the channel has lapsed."""
        return self._outbox is not None and self._outbox.withholds(channel)

    def forget(self, channel: int) -> int | None:
        """Drop what waits of a channel for good; the time up to which it was told, if not everything was."""
        return None if self._outbox is None else self._outbox.forget(channel)

    def send_run(self, frames: Iterator[bytes]) -> None:
        """Write frames as the transport takes them."""
        if self._open:
            self._made().put_run(frames)
            self._drain()
            self._tidy()

    def close(self, code: int, reason: str) -> None:
        """End the connection after what was sent; a slow consumer's without what waits."""
        if not self._open:
            return
        self._open = False
        outbox = self._made()
        if code in AT_ONCE:
            outbox.clear()
        while (frame := outbox.pull()) is not None:
            self._line.write(_framed(frame))
        if announced(code):
            self._line.write(_framed(Closing.of(code, reason).encode()))
        transport = self._line.transport
        self._line.finish(code, reason)
        if code in OVER and transport.get_write_buffer_size():
            self._line.lines.loop.call_later(OVER_SECONDS, _cut, transport)

    def pause(self) -> None:
        """The transport is over its mark."""
        self._paused = True
        self._watch()

    def resume(self) -> None:
        """The transport takes more."""
        self._paused = False
        self._unwatch()
        try:
            self._drain()
            self._tidy()
        except Exception as error:
            # Nobody else would notice: the rest would wait for ever.
            if self._outbox is not None:
                self._outbox.clear()
            break_off(self, error)

    def lost(self) -> None:
        """The connection is gone: nothing is kept, and nobody is held."""
        self._open = False
        self._unwatch()
        self._outbox, self._listener = None, NOBODY

    def _made(self) -> Outbox:
        if self._outbox is None:
            self._outbox = Outbox(self._outbox_bytes, self._listener.lapsed)
        return self._outbox

    def _tidy(self) -> None:
        """Let go of what waited for nothing, and read on where there is room for answers again."""
        outbox = self._outbox
        if outbox is not None and not outbox.crowded:
            if outbox.idle:
                self._outbox = None
            self._line.roomy()

    def _drain(self) -> None:
        """Write what waits, as much as the transport takes; when all is out, channels that lapsed may go on."""
        while self._open and not self._paused and (outbox := self._outbox) is not None:
            frame = outbox.pull()
            if frame is not None:
                self._line.write(_framed(frame))
                continue
            lapsed = outbox.take_lapsed()
            if not lapsed:
                return
            self._listener.drained(lapsed)

    # --------------------------------------------------------------------------------------------------- a stuck peer

    def _watch(self) -> None:
        self._unwatch()
        self._stuck = self._line.lines.loop.call_later(STUCK_SECONDS, self._look, self._line.taken())

    def _unwatch(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _look(self, taken: int) -> None:
        if self._line.taken() - taken >= LEAST_BYTES:
            self._watch()
            return
        metrics.SLOW_CONSUMERS.inc()
        self.close(CLOSE_SLOW_CONSUMER, "slow_consumer")
