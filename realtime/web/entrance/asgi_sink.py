"""Sinks for any ASGI server: a task per connection sends what waits. Slower than `frames`, and the same to see."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from realtime.core.connection.outbox import Claim, Outbox, Part
from realtime.core.wire.closing import AT_ONCE, OVER, announced
from realtime.core.wire.protocol import Closing
from realtime.ports import Listener

OVER_SECONDS = 1.0
"""Time for a peer that may have no more to take what was on its way."""
_GONE = 1006


class _Nobody:
    """Whoever hears from a sink that has ended."""

    def lapsed(self, channel: int) -> None: ...

    def drained(self, lapsed: Mapping[int, int]) -> None: ...


NOBODY: Listener = _Nobody()
"""In place of a listener that would hold its sink, and be held by it, after the end."""


class WaitingSink:
    """Queues frames in a bounded outbox; `run` hands them to `write`, and in the end calls `finish`."""

    def __init__(self, outbox_bytes: int, listener: Listener, max_frame: int | None = None) -> None:
        self.max_frame = max_frame
        self._listener = listener
        self._outbox = Outbox(outbox_bytes, listener.lapsed)
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closing: tuple[int, str] | None = None
        self.over = False
        """Whether the end was handed to the server, or nobody waits for that any more: nothing else will come of it."""
        self._running: asyncio.Task[Any] | None = None

    @property
    def waiting(self) -> int:
        """Bytes that were not sent yet."""
        return self._outbox.size

    @property
    def crowded(self) -> bool:
        """Whether nothing more is to be taken from the peer until it has taken answers."""
        return self._outbox.crowded

    async def room(self) -> None:
        """Until there is room for more answers, or none will be sent any more."""
        await self._room.wait()

    def send(self, frame: bytes, part: Part | Claim | None = None) -> None:
        """Let the frame wait for its turn; over the bound a channel lapses."""
        if self._closing is None:
            self._outbox.put(frame, part)
            self._weigh()
        self._wake.set()

    def owe(self, answers: int) -> None:
        """So many more answers (fewer, where negative) are to come when what they wait for has happened."""
        self._outbox.owe(answers)
        self._weigh()

    def lapse(self, channel: int, after: int) -> None:
        """Drop what waits of a channel, which was told up to `after`."""
        if self._closing is None:
            self._outbox.lapse(channel, after)

    def withholds(self, channel: int) -> bool:
        """Whether the channel has lapsed."""
        return self._outbox.withholds(channel)

    def forget(self, channel: int) -> int | None:
        """Drop what waits of a channel for good; the time up to which it was told, if not everything was."""
        return self._outbox.forget(channel)

    def _weigh(self) -> None:
        if self._outbox.crowded and self._closing is None:
            self._room.clear()
        else:
            self._room.set()

    def send_run(self, frames: Iterator[bytes]) -> None:
        """Let the frames wait for their turn."""
        if self._closing is None:
            self._outbox.put_run(frames)
        self._wake.set()

    def close(self, code: int, reason: str) -> None:
        """End the connection after what was sent; a slow consumer's without what waits."""
        if self._closing is None:
            if code in AT_ONCE:
                self._outbox.clear()
            if announced(code):
                self._outbox.put(Closing.of(code, reason).encode())
            self._closing = (code, reason)
            self._room.set()
            if code in OVER:
                asyncio.get_running_loop().call_later(OVER_SECONDS, self._cut)
        self._wake.set()

    def lost(self) -> None:
        """The connection is gone: nothing is kept, and nobody is held."""
        self._closing = self._closing or (_GONE, "")
        self._outbox, self._listener = Outbox(0), NOBODY
        self._room.set()

    def _cut(self) -> None:
        """Who may have no more does not take what is on its way: it is not waited for."""
        self.over = True
        if self._running is not None:
            self._running.cancel()

    async def run(self) -> None:
        """Send until closed, or cancelled: by the connection that owns this, or because it takes too long to end."""
        self._running = asyncio.current_task()
        try:
            await self._run()
        finally:
            self._running = None

    async def _run(self) -> None:
        while True:
            while (frame := self._outbox.pull()) is not None:
                self._weigh()
                await self.write(frame)
            if self._closing is not None:
                await self.finish(*self._closing)
                self.over = True
                return
            if lapsed := self._outbox.take_lapsed():
                self._listener.drained(lapsed)
                continue
            self._wake.clear()
            await self._wake.wait()

    async def write(self, frame: bytes) -> None:
        """Send one frame; waits while the peer takes nothing."""
        raise NotImplementedError

    async def finish(self, code: int, reason: str) -> None:
        """End the connection."""
        raise NotImplementedError


class AsgiSink(WaitingSink):
    """A WebSocket's."""

    def __init__(
        self, websocket: WebSocket, outbox_bytes: int, listener: Listener, max_frame: int | None = None
    ) -> None:
        super().__init__(outbox_bytes, listener, max_frame)
        self._websocket = websocket

    async def write(self, frame: bytes) -> None:
        """Send one text frame."""
        await self._websocket.send_text(frame.decode())

    async def finish(self, code: int, reason: str) -> None:
        """Close the socket."""
        await self._websocket.close(code, reason)

    async def run(self) -> None:
        """Send until closed or cancelled by the connection that owns this."""
        try:
            await super().run()
        except (WebSocketDisconnect, RuntimeError):
            # The peer is gone; the connection's own loop hears of it and ends.
            self._outbox.clear()
            self._room.set()


async def until_over(sink: AsgiSink, sender: asyncio.Task[None], receiving: Coroutine[Any, Any, None]) -> None:
    """`receiving`, until the peer was sent away by the sink, which `sender` runs: a server notices that when the peer
    answers the close, and of one that takes nothing never.
    """

    def ended(_: asyncio.Task[None]) -> None:
        with contextlib.suppress(RuntimeError):  # the peer was gone in the same turn
            if sink.over:
                patience.reschedule(0.0)

    try:
        async with asyncio.timeout(None) as patience:
            sender.add_done_callback(ended)
            await receiving
    except TimeoutError:
        if not patience.expired():
            raise
