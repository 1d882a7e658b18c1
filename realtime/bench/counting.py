"""What one subscription was told, against what is right. Pure.

`take` gets each entry of `changes` and `events`, `shown` each document of a snapshot that came instead. What `take`
returns is the microsecond at which the document was written, where the entry is a delivery, else None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from realtime.bench.plan import WINDOW, Query, key_of

Entry = Mapping[str, Any]


class Counter(Protocol):
    """Of one subscription."""

    repeated: int

    def take(self, entry: Entry) -> int | None: ...

    def restart(self) -> None:
        """The view is void: a snapshot follows."""

    def shown(self, document: Entry) -> None: ...

    def lost(self, total: int) -> int:
        """How many documents of so many written were not told, or, of a view, are wrong in it."""


class Arrivals:
    """Of a filter or of events: every document exactly once, in whatever order it was written."""

    __slots__ = ("_first", "_missing", "_next", "_step", "_word", "repeated")

    def __init__(self, query: Query) -> None:
        self._first = self._next = query.index
        self._step = query.of
        self._word = "insert" if query.kind == "events" else "enter"
        self._missing: set[int] = set()
        self.repeated = 0

    def take(self, entry: Entry) -> int | None:
        if entry["op"] != self._word:
            return None
        document = entry["document"]
        if not self._arrived(document["n"]):
            self.repeated += 1
        at: int = document["at"]
        return at

    def _arrived(self, n: int) -> bool:
        """Whether it is the first of that number. What is skipped is missing until it comes."""
        if n == self._next:
            self._next += self._step
            return True
        if n > self._next:
            self._missing.update(range(self._next, n, self._step))
            self._next = n + self._step
            return True
        if n in self._missing:
            self._missing.remove(n)
            return True
        return False

    def restart(self) -> None:
        """What was told before counts."""

    def shown(self, document: Entry) -> None:
        self._arrived(document["n"])

    def lost(self, total: int) -> int:
        return len(self._missing) + len(range(self._next, total, self._step))


class Window:
    """Of a window: at the end it shows the newest. What came and went in one moment need not be told."""

    __slots__ = ("_of", "_view", "repeated")

    def __init__(self, query: Query) -> None:
        self._of = query
        self._view: set[str] = set()
        self.repeated = 0

    def take(self, entry: Entry) -> int | None:
        key, op = entry["key"], entry["op"]
        if op == "leave":
            self._view.discard(key)
            return None
        if op != "enter":
            return None
        if key in self._view:
            self.repeated += 1
        self._view.add(key)
        at: int = entry["document"]["at"]
        return at

    def restart(self) -> None:
        self._view.clear()

    def shown(self, document: Entry) -> None:
        self._view.add(document["_id"])

    def lost(self, total: int) -> int:
        right = range(self._of.index, total, self._of.of)[-WINDOW:]
        return len(self._view ^ {key_of(n) for n in right})


class Rows:
    """Of a group or a pipeline: at the end its one row counts every document, several of them by one change perhaps."""

    __slots__ = ("_count", "_query", "repeated")

    def __init__(self, query: Query) -> None:
        self._query = query
        self._count = self.repeated = 0

    def take(self, entry: Entry) -> int | None:
        if entry["op"] == "leave":
            self._count = 0
            return None
        row = entry["document"]
        self._count = row["count"]
        at: int = row["at"] if self._query.kind == "pipelines" else row["max"]["at"]
        return at

    def restart(self) -> None:
        self._count = 0

    def shown(self, document: Entry) -> None:
        self._count = document["count"]

    def lost(self, total: int) -> int:
        return abs(self._query.documents(total) - self._count)


def counter_of(query: Query) -> Counter:
    """The counter for a query of its kind."""
    if query.kind == "windows":
        return Window(query)
    return Rows(query) if query.kind in {"groups", "pipelines"} else Arrivals(query)
