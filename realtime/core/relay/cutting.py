"""What the feed hands over, gathered for a moment and cut into what becomes one message each: whole moments, bounded.

Cut before images are read, since those are of the end of a message: one that was cut later would have images of a time
that is not its own.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from realtime.core.live.events import Batch, ChangeEvent
from realtime.core.live.moments import cut

MOST_EVENTS: Final = 256
MOST_BYTES: Final = 512 * 1024
"""Of the events of one message; one moment may have more."""
GATHERED_SECONDS: Final = 0.02
"""After a message what comes is gathered for so long; what comes after a silence goes at once."""
POSITION_SECONDS: Final = 0.2
"""The same where nothing came but that time went on."""
WAITING_BYTES: Final = 8 * 1024 * 1024
WAITING_BATCHES: Final = 256


class Waiting:
    """Batches in order, that wait to become messages."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._events = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def has_room(self) -> bool:
        """Whether another one may be added; else the feed has to wait."""
        return self._bytes < WAITING_BYTES and len(self._batches) < WAITING_BATCHES

    def add(self, batch: Batch) -> None:
        """The next batch of the feed."""
        self._batches.append(batch)
        self._count(batch, 1)

    def due(self, since: float) -> float | None:
        """In how many seconds the next message is due, so long after the last one; None: nothing waits."""
        if not self._batches:
            return None
        if self._events >= MOST_EVENTS or self._bytes >= MOST_BYTES or any(batch.lost for batch in self._batches):
            return 0.0
        return max(0.0, (GATHERED_SECONDS if self._events else POSITION_SECONDS) - since)

    def take(self) -> Batch:
        """What the next message is of. What lost a moment is a message of its own, and stays as it is."""
        first = self._pop()
        if first.lost:
            return first
        events, time = list(first.events), first.time
        size = _size(first)
        while self._batches and not self._batches[0].lost and len(events) < MOST_EVENTS and size < MOST_BYTES:
            following = self._pop()
            events += following.events
            size += _size(following)
            time = following.time
        batch, rest = cut(Batch(tuple(events), time), _fitting(events))
        if rest is not None:
            self._batches.appendleft(rest)
            self._count(rest, 1)
        return batch

    def _pop(self) -> Batch:
        batch = self._batches.popleft()
        self._count(batch, -1)
        return batch

    def _count(self, batch: Batch, sign: int) -> None:
        self._events += sign * len(batch.events)
        self._bytes += sign * _size(batch)


def _size(batch: Batch) -> int:
    return sum(event.size for event in batch.events)


def _fitting(events: list[ChangeEvent]) -> int:
    """How many of the first events have room in one message; one at least."""
    size = 0
    for count, event in enumerate(events):
        size += event.size
        if count and (size > MOST_BYTES or count == MOST_EVENTS):
            return count
    return max(1, len(events))
