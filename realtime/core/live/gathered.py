"""What was read back of the past: batches up to a number of bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from realtime.core.live.events import Batch


@dataclass(frozen=True, slots=True)
class Past:
    """Every event after a cluster time, up to the last batch's."""

    after: int
    batches: Sequence[Batch]


class Gathered:
    """Batches up to a number of bytes, the newest ones where there are more; what is after `until` does not count."""

    def __init__(self, after: int, until: int, most: int) -> None:
        self._after = after
        self._until = until
        self._most = most
        self._size = 0
        self._batches: deque[Batch] = deque()

    def take(self, batch: Batch) -> bool:
        """Whether everything is still there."""
        if batch.lost:
            self._after, self._size = batch.time, 0
            self._batches.clear()
            return False
        self._batches.append(batch)
        self._size += self._weight(batch)
        whole = True
        while self._size > self._most and self._batches:
            oldest = self._batches.popleft()
            self._after, self._size, whole = oldest.time, self._size - self._weight(oldest), False
        return whole

    def _weight(self, batch: Batch) -> int:
        return sum(event.size for event in batch.events if event.time <= self._until)

    @property
    def past(self) -> Past:
        return Past(self._after, tuple(self._batches))
