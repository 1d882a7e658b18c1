"""The bounded queue of frames for one connection whose transport is over its mark."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator


class Outbox:
    """Frames in order, bounded in bytes. A run of frames (a snapshot) waits as its iterator and counts when pulled.

    An empty outbox takes one frame of any size, so that no bound makes a document undeliverable.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._entries: deque[bytes | Iterator[bytes]] = deque()

    def __bool__(self) -> bool:
        return bool(self._entries)

    def put(self, frame: bytes) -> bool:
        """Queue a frame; False when that would go over the bound, and then it is not queued."""
        if self._entries and self.size + len(frame) > self.limit:
            return False
        self._entries.append(frame)
        self.size += len(frame)
        return True

    def put_run(self, frames: Iterator[bytes]) -> None:
        """Queue frames that are made as the transport drains."""
        self._entries.append(frames)

    def pull(self) -> bytes | None:
        """The next frame, or None when there is none."""
        while self._entries:
            entry = self._entries[0]
            if isinstance(entry, bytes):
                self._entries.popleft()
                self.size -= len(entry)
                return entry
            frame = next(entry, None)
            if frame is not None:
                return frame
            self._entries.popleft()
        return None

    def clear(self) -> None:
        """Forget everything that waits."""
        self._entries.clear()
        self.size = 0
