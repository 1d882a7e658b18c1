"""Sinks for any ASGI server: a task per connection sends what waits. Slower than `frames`, and the same to see."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.websockets import WebSocket, WebSocketDisconnect

from realtime import metrics
from realtime.core.connection.outbox import Outbox, Part
from realtime.core.wire.protocol import CLOSE_SLOW_CONSUMER, Closing
from realtime.ports import Listener


class WaitingSink:
    """Queues frames in a bounded outbox; `run` hands them to `write`, and in the end calls `finish`."""

    def __init__(self, outbox_bytes: int, listener: Listener) -> None:
        self._listener = listener
        self._outbox = Outbox(outbox_bytes, listener.lapsed)
        self._wake = asyncio.Event()
        self._closing: tuple[int, str] | None = None

    @property
    def waiting(self) -> int:
        """Bytes that were not sent yet."""
        return self._outbox.size

    def send(self, frame: bytes, part: Part | None = None) -> None:
        """Let the frame wait for its turn; over the bound a channel lapses, else `closing` and 4001."""
        if self._closing is None and not self._outbox.put(frame, part):
            metrics.SLOW_CONSUMERS.inc()
            self.close(CLOSE_SLOW_CONSUMER, "slow_consumer")
        self._wake.set()

    def send_run(self, frames: Iterator[bytes]) -> None:
        """Let the frames wait for their turn."""
        if self._closing is None:
            self._outbox.put_run(frames)
        self._wake.set()

    def close(self, code: int, reason: str) -> None:
        """End the connection after what was sent; a slow consumer's without what waits."""
        if self._closing is None:
            if code == CLOSE_SLOW_CONSUMER:
                self._outbox.clear()
            if 4000 <= code < 4500:
                self._outbox.put(Closing(code=code, message=reason, retry_after=1).encode())
            self._closing = (code, reason)
        self._wake.set()

    async def run(self) -> None:
        """Send until closed or cancelled by the connection that owns this."""
        while True:
            while (frame := self._outbox.pull()) is not None:
                await self.write(frame)
            if self._closing is not None:
                await self.finish(*self._closing)
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

    def __init__(self, websocket: WebSocket, outbox_bytes: int, listener: Listener) -> None:
        super().__init__(outbox_bytes, listener)
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
