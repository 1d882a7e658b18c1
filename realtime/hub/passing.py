"""The groups from which time takes documents, by when it next does: nobody else is looked at when a second passes.

There is no timer. Time is the cluster's, and comes with the batches, empty ones too.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count

from realtime.core.live.event_group import Group
from realtime.core.live.query import QueryGroup

_FORGOTTEN = 64
"""Entries that stand for nothing any more, beside as many as stand for groups."""


class Passing:
    """One heap over all groups."""

    def __init__(self) -> None:
        self._next: dict[Group, tuple[int, int]] = {}
        self._groups: dict[int, QueryGroup] = {}
        self._heap: list[tuple[int, int]] = []
        self._numbers = count()
        self._visited: dict[QueryGroup, None] = {}

    def __len__(self) -> int:
        return len(self._heap)

    def note(self, group: QueryGroup) -> None:
        """Take in when the next document of a live group leaves."""
        first = None if group.departures is None else group.departures.first
        noted = self._next.get(group)
        if first is None or noted is None or noted[0] != first:
            self.forget(group)
        if first is not None and group not in self._next:
            entry = first, next(self._numbers)
            self._next[group], self._groups[entry[1]] = entry, group
            heappush(self._heap, entry)

    def forget(self, group: Group) -> None:
        """The group is gone, or nothing of it leaves."""
        noted = self._next.pop(group, None)
        if noted is not None:
            del self._groups[noted[1]]
            if len(self._heap) > 2 * len(self._next) + _FORGOTTEN:
                self._heap = sorted(self._next.values())

    def due(self, time: int) -> Iterator[QueryGroup]:
        """The groups that have something to let go by this time, each once; they are noted again when they have."""
        while self._heap and self._heap[0][0] <= time >> 32:
            group = self._groups.pop(heappop(self._heap)[1], None)
            if group is not None:
                del self._next[group]
                self._visited[group] = None
                yield group

    def trim(self, time: int) -> None:
        """Nobody can go on any more from this time, or from before it."""
        for group in self._visited:
            if group.departures is not None:
                group.departures.trim(time)
        self._visited.clear()
