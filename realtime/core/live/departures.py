"""When documents of a group leave because time goes on, and which have: of a query that time moves.

A document that matches has the second in which it leaves; the group lets it go when its own time comes there. What it
let go it remembers for a while: whoever comes back from a position is told of those as of what changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from heapq import heapify, heappop, heappush
from typing import Any

from realtime.core.live.result import Result
from realtime.core.mql.filters import Filter
from realtime.core.mql.moving import FOREVER

MOST = 10_000
"""Of the departures that a group remembers."""
_UNHELD = 64
"""Documents that may be expected to leave and are not held, beside as many as are."""


class Departures:
    """Of one group. Times are of the cluster, seconds theirs."""

    __slots__ = ("_expected", "_gone", "_heap", "_since")

    def __init__(self) -> None:
        self._expected: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._gone: deque[tuple[int, str]] = deque()
        self._since = 0

    def __len__(self) -> int:
        """Entries, some of which stand for nothing any more."""
        return len(self._heap)

    @property
    def first(self) -> int | None:
        """The second in which somebody may leave next, None where nobody will."""
        return self._heap[0][0] if self._heap else None

    def clear(self) -> None:
        """Nothing is held, and nothing known of what was let go."""
        self._expected.clear()
        self._heap.clear()
        self._gone.clear()

    def begin(self, time: int) -> None:
        """What is let go after this time is known from here on."""
        self._since = time >> 32

    def admits(self, selection: Filter, name: str, document: dict[str, Any], time: int) -> bool:
        """Whether the document matches at a time; if so it is noted when it leaves."""
        if not self.stays(selection, name, document, time):
            return False
        if selection.matches(document):
            return True
        self._expected.pop(name, None)
        return False

    def stays(self, selection: Filter, name: str, document: dict[str, Any], time: int) -> bool:
        """Of a document that matches but for the time: whether it has not left yet, and it is noted when it does.

        Where it has left it is not looked at further, and what else is asked of it cannot fail.
        """
        second = FOREVER if selection.moving is None else selection.moving.leaves(document)
        if second <= time >> 32:
            self._expected.pop(name, None)
            return False
        if second == FOREVER:
            self._expected.pop(name, None)
        elif self._expected.get(name) != second:
            self._expected[name] = second
            heappush(self._heap, (second, name))
        return True

    def let_go(self, selection: Filter, result: Result, time: int) -> None:
        """Drop what has left by this time. `ServiceError` where that cannot be known."""
        second = time >> 32
        if selection.moving is not None and second >= selection.moving.last:
            raise selection.moving.unknown()
        held = result.names()
        while self._heap and self._heap[0][0] <= second:
            left, name = heappop(self._heap)
            if self._expected.get(name) == left:
                del self._expected[name]
                if name in held:
                    result.drop(name)
                    self._gone.append((left, name))
        while len(self._gone) > MOST:
            self._since = max(self._since, self._gone.popleft()[0])
        self._tidy(held)

    def _tidy(self, held: Collection[str]) -> None:
        """Forget what is held no longer, or leaves in another second, where that is more than the rest."""
        if len(self._heap) > 2 * len(held) + _UNHELD:  # there are no fewer of these than of those expected
            self._expected = {name: second for name, second in self._expected.items() if name in held}
            self._heap = [(second, name) for name, second in self._expected.items()]
            heapify(self._heap)

    def trim(self, time: int) -> None:
        """Nobody is told any more what happened up to this time."""
        self._since = max(self._since, time >> 32)
        while self._gone and self._gone[0][0] <= self._since:
            self._gone.popleft()

    def since(self, time: int) -> dict[str, None] | None:
        """What was let go after this time, by identity; None: that is not known."""
        second = time >> 32
        if second < self._since:
            return None
        return {name: None for left, name in self._gone if left > second}
