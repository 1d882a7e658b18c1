"""A `Sink` for any ASGI server: a task per connection sends what waits. Slower than `frames`, and the same to see."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.websockets import WebSocket, WebSocketDisconnect

from realtime import metrics
from realtime.core.outbox import Outbox, Part
from realtime.core.protocol import CLOSE_SLOW_CONSUMER, Closing
from realtime.ports import Listener


class AsgiSink:
    """Queues frames in a bounded outbox; `run` sends them until `stop`."""

    def __init__(self, websocket: WebSocket, outbox_bytes: int, listener: Listener) -> None:
        self._websocket = websocket
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
        try:
            while True:
                while (frame := self._outbox.pull()) is not None:
                    await self._websocket.send_text(frame.decode())
                if self._closing is not None:
                    await self._websocket.close(*self._closing)
                    return
                if lapsed := self._outbox.take_lapsed():
                    self._listener.drained(lapsed)
                    continue
                self._wake.clear()
                await self._wake.wait()
        except (WebSocketDisconnect, RuntimeError):
            # The peer is gone; the connection's own loop hears of it and ends.
            self._outbox.clear()
