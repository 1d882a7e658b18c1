"""Some of what is sorted: `$sort`, `$skip`, `$limit`. All of it is held, and what comes in or goes out is handed on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sortedcontainers import SortedList

from realtime.core.mql.pipelines.pipeline import Document, Top
from realtime.core.mql.sorting import SortKey

ITEM_BYTES = 300
"""What an item takes in memory beside its payload."""


@dataclass(frozen=True, slots=True)
class Item:
    """A document or a row at its place. `size`: bytes that it alone is held by."""

    name: str
    place: SortKey
    payload: bytes | Document
    size: int


class Slice:
    """Items by name, in order; from `skip` on, `limit` of them are inside.

    A step costs O(log n) comparisons, handing on one more for each that crosses an end.
    """

    def __init__(self, top: Top) -> None:
        self.sort = top.sort
        self.size = 0
        self._skip = top.skip
        self._limit = top.limit
        self._held: dict[str, Item] = {}
        self._order: Any = SortedList()
        self._inside: set[str] = set()
        self._touched: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def pending(self) -> bool:
        """Whether what is inside may be another than was handed on."""
        return bool(self._touched)

    def get(self, name: str) -> Item | None:
        """The item of this name."""
        return self._held.get(name)

    def put(self, item: Item) -> None:
        """Hold an item, in place of the one of its name."""
        held = self._held.get(item.name)
        if held is None or held.place != item.place:
            if held is not None:
                self._order.remove((held.place, held.name))
            self._order.add((item.place, item.name))
        self.size += item.size + ITEM_BYTES - (0 if held is None else held.size + ITEM_BYTES)
        self._held[item.name] = item
        self._touched[item.name] = None

    def drop(self, name: str) -> None:
        """Hold it no longer."""
        held = self._held.pop(name, None)
        if held is not None:
            self._order.remove((held.place, name))
            self.size -= held.size + ITEM_BYTES
            self._touched[name] = None

    def changed(self) -> Iterator[tuple[str, Item | None]]:
        """What was put and is inside, and what others pushed in; None for what is outside. Each of them once."""
        touched, self._touched = self._touched, {}
        end = len(self._order) if self._limit is None else self._skip + self._limit
        for name in touched:
            item = self._held.get(name)
            inside = item is not None and self._skip <= self._order.bisect_left((item.place, name)) < end
            yield self._told(name, item if inside else None)
        if sum(name in self._held for name in touched) < len(self._held):
            yield from self._crossed(touched, end)

    def _told(self, name: str, item: Item | None) -> tuple[str, Item | None]:
        if item is None:
            self._inside.discard(name)
        else:
            self._inside.add(name)
        return name, item

    def _crossed(self, touched: dict[str, None], end: int) -> Iterator[tuple[str, Item | None]]:
        """Those that nobody touched and others pushed across an end: no further than there are others."""
        begin, size, most = min(self._skip, len(self._order)), len(self._order), len(touched)
        end = min(end, size)
        for index in {*range(begin, min(begin + most, end)), *range(max(end - most, begin), end)}:
            name = self._order[index][1]
            if name not in touched and name not in self._inside:
                yield self._told(name, self._held[name])
        for index in (*range(max(begin - most, 0), begin), *range(end, min(end + most, size))):
            name = self._order[index][1]
            if name not in touched and name in self._inside:
                yield self._told(name, None)
