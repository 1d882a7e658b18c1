"""Which of many filters a document may match, without trying them all.

A filter is put where it is cheapest to find: under the values that one of its paths must be equal to, else under the
interval that one of its paths must lie in, else among the rest, which every document is a candidate for. What is found
is a superset of what matches; nothing that matches is missed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from realtime.core.bson.values import Order

Item = TypeVar("Item", bound=Hashable)
Probe = Callable[[Mapping[str, Any], str], Iterable[Order]]
"""The order keys of all values that MongoDB looks at for a path of a document, `MISSING` among them."""

CROWDED = 8
"""An interval is preferred to an equality that so many filters share already."""


@dataclass(frozen=True, slots=True)
class Interval:
    """What a path's value must lie in, both ends included; a bracket's open end is a shorter or fractional key."""

    low: Order | tuple[float]
    high: Order | tuple[float]


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be true of a document that matches: by path, one of its values is in the set, or in the interval."""

    equal: Mapping[str, frozenset[Order]] = field(default_factory=dict)
    within: Mapping[str, Interval] = field(default_factory=dict)


class PredicateIndex(Generic[Item]):
    """Items by what their filters need."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._equal: dict[str, dict[Order, Item | _Several[Item]]] = {}
        self._within: dict[str, Intervals[Item]] = {}
        self._rest: dict[Item, None] = {}
        self._places: dict[Item, tuple[str, tuple[Order, ...] | None]] = {}

    def __len__(self) -> int:
        return len(self._places) + len(self._rest)

    def add(self, item: Item, needs: Needs) -> None:
        """Find `item` from now on."""
        path, size = self._least_crowded(needs)
        if path is not None and (size < CROWDED or not needs.within):
            values = needs.equal[path]
            for value in values:  # none of them, as `$in: []` has it: nothing matches, and it stands nowhere
                _put(self._equal.setdefault(path, {}), value, item)
            self._places[item] = (path, tuple(values))
        elif needs.within:
            path, interval = next(iter(needs.within.items()))
            self._within.setdefault(path, Intervals()).add(item, interval)
            self._places[item] = (path, None)
        else:
            self._rest[item] = None

    def remove(self, item: Item) -> None:
        """No longer find it."""
        if item in self._rest:
            del self._rest[item]
            return
        path, values = self._places.pop(item)
        if values is None:
            self._within[path].remove(item)
            if not self._within[path]:
                del self._within[path]
            return
        for value in values:
            table = self._equal[path]
            items = table[value]
            if isinstance(items, _Several):
                del items[item]
            if not isinstance(items, _Several) or not items:
                del table[value]
            if not table:
                del self._equal[path]

    def candidates(self, document: Mapping[str, Any]) -> dict[Item, None]:
        """Every item whose filter may match the document."""
        found = dict(self._rest)
        for path, table in self._equal.items():
            for value in self._probe(document, path):
                items = table.get(value)
                if isinstance(items, _Several):
                    found.update(items)
                elif items is not None:
                    found[items] = None
        for path, intervals in self._within.items():
            values = list(self._probe(document, path))
            if values:  # a path into an array of scalars leads to nothing
                found.update(dict.fromkeys(intervals.overlapping(min(values), max(values))))
        return found

    def _least_crowded(self, needs: Needs) -> tuple[str | None, int]:
        """The path under whose values the fewest items are, and how many."""
        best, least = None, 0
        for path, values in needs.equal.items():
            table = self._equal.get(path, {})
            size = max((_size(table.get(value)) for value in values), default=0)
            if best is None or size < least:
                best, least = path, size
        return best, least


class _Several(dict[Item, None]):
    """Items that share a value. Most values have one item, and no dictionary is made for that."""


def _put(table: dict[Order, Item | _Several[Item]], value: Order, item: Item) -> None:
    items = table.get(value)
    if items is None:
        table[value] = item
    elif isinstance(items, _Several):
        items[item] = None
    else:
        table[value] = _Several({items: None, item: None})


def _size(items: object) -> int:
    return len(items) if isinstance(items, _Several) else int(items is not None)


# ------------------------------------------------------------------------------------------------------- intervals


@dataclass(slots=True)
class _Level(Generic[Item]):
    """Intervals that do not change, by their lower ends, with a tree of the greatest upper end of each part."""

    entries: list[tuple[Interval, Item]]
    lows: list[Any]
    width: int
    greatest: list[Any]

    @classmethod
    def of(cls, entries: list[tuple[Interval, Item]]) -> _Level[Item]:
        entries.sort(key=lambda entry: entry[0].low)
        width = 1 << max(len(entries) - 1, 0).bit_length()
        greatest: list[Any] = [()] * (2 * width)
        for place, (interval, _) in enumerate(entries):
            greatest[width + place] = interval.high
        for node in range(width - 1, 0, -1):
            greatest[node] = max(greatest[2 * node], greatest[2 * node + 1])
        return cls(entries, [interval.low for interval, _ in entries], width, greatest)

    def overlapping(self, low: Any, high: Any) -> list[Item]:
        end = bisect_right(self.lows, high)
        found = []
        open_nodes = [(1, 0, self.width)]
        while open_nodes:
            node, start, width = open_nodes.pop()
            if start >= end or self.greatest[node] < low:
                continue
            if width == 1:
                found.append(self.entries[start][1])
            else:
                half = width // 2
                open_nodes += ((2 * node, start, half), (2 * node + 1, start + half, half))
        return found


class Intervals(Generic[Item]):
    """Intervals, each with its item; adding and removing cost O(log² n), finding k of them O(k log² n), amortised.

    Levels of doubling size that are only ever built whole (Bentley and Saxe's logarithmic method). What was removed
    stays in its level, unseen, until half of all is like that.
    """

    def __init__(self) -> None:
        self._levels: list[_Level[Item]] = []
        self._current: dict[Item, Interval] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._current)

    def add(self, item: Item, interval: Interval) -> None:
        """Take an item that is not in yet."""
        self._current[item] = interval
        self._size += 1
        entries = [(interval, item)]
        while self._levels and len(self._levels[-1].entries) <= len(entries):
            entries += self._levels.pop().entries
        self._levels.append(_Level.of(entries))

    def remove(self, item: Item) -> None:
        """Forget an item."""
        del self._current[item]
        if self._size > 2 * len(self._current):
            self._size = len(self._current)
            entries = [(interval, one) for one, interval in self._current.items()]
            self._levels = [_Level.of(entries)] if entries else []

    def overlapping(self, low: Order, high: Order) -> list[Item]:
        """The items whose intervals have something in common with `low` to `high`."""
        current = self._current
        return [item for level in self._levels for item in level.overlapping(low, high) if item in current]
