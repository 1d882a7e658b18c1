"""When each of many is due, in one heap: one timer serves all connections."""

from __future__ import annotations

import heapq
from itertools import count
from typing import Any


class Deadlines:
    """For each key, which can be hashed, at most one moment at which it is due, in whatever unit and from any zero.

    What is set anew or taken back stays in the heap until its time or until half of the heap is of that kind.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Any]] = []
        self._current: dict[Any, int] = {}
        self._serial = count()

    def __len__(self) -> int:
        return len(self._current)

    def set(self, key: Any, at: float | None) -> None:
        """From now on it is due then; None: never."""
        self._current.pop(key, None)
        if at is not None:
            serial = next(self._serial)
            self._current[key] = serial
            heapq.heappush(self._heap, (at, serial, key))
        if len(self._heap) > 2 * len(self._current) + 64:
            self._heap = [one for one in self._heap if self._current.get(one[2]) == one[1]]
            heapq.heapify(self._heap)

    @property
    def next(self) -> float | None:
        """When the first is due; None: nothing is."""
        while self._heap and self._current.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[Any]:
        """Everything whose time has come, the first first, which is forgotten with that."""
        found: list[Any] = []
        while (at := self.next) is not None and at <= now:
            _, _, key = heapq.heappop(self._heap)
            del self._current[key]
            found.append(key)
        return found
