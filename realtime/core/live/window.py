"""A sorted view of a query: the first `limit` documents by the sort, or all of them, and spares beyond the window.

Documents up to the edge are all held; beyond it nothing is known, unless there is no edge. A document that goes past
the edge is let go, one that turns up there is not taken in. When documents leave, spares move up; only when those have
run out is the window short, and has to be read again.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection
from typing import Any

from realtime.core.live.result import Encode, Watch
from realtime.core.mql.ordering import Sort
from realtime.core.mql.projection import Projection
from realtime.core.mql.sorting import SortKey
from realtime.core.wire import protocol

SPARES = 20
"""The least number of documents kept beyond a window; a larger window keeps as many as it shows."""

Spot = tuple[SortKey, str]
"""A document's place, and its identity: no two are equal."""


class Window:
    """Documents in order. Every step costs O(log n) comparisons, and one more for each that crosses the window's end.

    `limit` None: everything is shown, and there is no edge.
    """

    def __init__(self, sort: Sort, limit: int | None, projection: Projection) -> None:
        self.limit = limit
        self.room = None if limit is None else limit + max(limit, SPARES)
        self.documents: dict[str, bytes] = {}
        self.size = 0
        self.watch: Watch | None = None
        self._sort = sort
        self._projection = projection
        self._spots: dict[str, Spot] = {}
        self._order: list[Spot] = []
        self._edge: Spot | None = None
        self._shown: set[str] = set()
        self._was: dict[str, tuple[Spot, bytes] | None] = {}

    @property
    def count(self) -> int:
        """Documents held, spares among them."""
        return len(self._order)

    @property
    def pending(self) -> bool:
        """Whether a change has not been told."""
        return bool(self._was)

    @property
    def short(self) -> bool:
        """Whether spares have run out: documents beyond the edge belong into the window."""
        return self._edge is not None and self.limit is not None and len(self._order) < self.limit

    # ----------------------------------------------------------------------------------------------------- holding

    def names(self) -> Collection[str]:
        """Those held, spares among them."""
        return self._spots

    def put(self, name: str, document: dict[str, Any], encode: Encode) -> None:
        """Hold the document where it belongs now, unless that is beyond the edge."""
        spot = (self._sort.place(document), name)
        if self._edge is not None and spot > self._edge:
            self.drop(name)
            return
        self.hold(spot, encode(document))

    def hold(self, spot: Spot, encoded: bytes) -> None:
        """Hold what is shown of a document, at its place within the edge."""
        name = spot[1]
        held = self._spots.get(name)
        if held == spot and self.documents[name] == encoded:
            return
        self._note(name)
        if held is not None:
            self._take_out(name, held)
        elif self.watch is not None:
            self.watch.hold(name)
        insort(self._order, spot)
        self._spots[name] = spot
        self.documents[name] = encoded
        self.size += len(encoded)
        if self.room is not None and len(self._order) > self.room:
            self._edge = self._order[-2]
            self.drop(self._order[-1][1])

    def drop(self, name: str) -> None:
        """Hold it no longer."""
        spot = self._spots.get(name)
        if spot is None:
            return
        self._note(name)
        self._take_out(name, spot)
        if self.watch is not None:
            self.watch.let_go(name)
        if self._was[name] is None:
            del self._was[name]  # it came and went

    def _take_out(self, name: str, spot: Spot) -> None:
        del self._order[bisect_left(self._order, spot)]
        del self._spots[name]
        self.size -= len(self.documents.pop(name))

    def _note(self, name: str) -> None:
        if name not in self._was:
            spot = self._spots.get(name)
            self._was[name] = None if spot is None else (spot, self.documents[name])

    def reads(self, name: str, touched: frozenset[str]) -> bool:
        """What is shown of a held document, and the place of any that may come up from beyond the edge."""
        held = name in self._spots
        if (held or self._edge is not None) and self._sort.reads(touched):
            return True
        return held and self._projection.shows(touched)

    def loaded(self, count: int) -> None:
        """A full snapshot ends at the edge, any other has everything."""
        if self.room is not None and count >= self.room:
            # Where all of them have left meanwhile, nothing is known.
            self._edge = self._order[-1] if self._order else ((), "")

    # ----------------------------------------------------------------------------------------------------- telling

    def changes(self) -> list[bytes]:
        """Leaves, then what was put, by rising index. A client that takes out all of them first has the right order."""
        end = len(self._order) if self.limit is None else self.limit
        leaves: list[str] = []
        rest: list[tuple[int, str, str]] = []
        moves: list[tuple[int, str, Spot]] = []
        for name, was in self._was.items():
            spot = self._spots.get(name)
            index = end if spot is None else bisect_left(self._order, spot)
            if name not in self._shown:
                if index < end:
                    rest.append((index, name, "enter"))
            elif index >= end or was is None:
                leaves.append(name)
            elif was[1] != self.documents[name]:
                rest.append((index, name, "update"))
            elif was[0] != spot:
                moves.append((index, name, was[0]))
        rest += [(index, name, "update") for index, name, _ in self._moved(moves)]
        self._across_the_end(end, leaves, rest)
        self._shown.difference_update(leaves)
        self._shown.update(name for _, name, op in rest if op == "enter")
        self._was.clear()
        return [protocol.change_entry("leave", name) for name in leaves] + [
            protocol.change_entry(op, name, self.documents[name], index) for index, name, op in sorted(rest)
        ]

    def _moved(self, moves: list[tuple[int, str, Spot]]) -> list[tuple[int, str, Spot]]:
        """Those of unchanged documents with another sort key that went past another one.

        Documents that went past each other both lie between the other's two spots, now or before: looking at both
        finds at least one of them, and naming that one is enough.
        """
        before = sorted(was for _, _, was in moves)
        moved = []
        for move in moves:
            index, name, was = move
            now = self._order[index]
            low, high = min(was, now), max(was, now)
            # Its own spots are the bounds: of each list one of the two is counted where it is the lower.
            between = bisect_left(self._order, high) - bisect_left(self._order, low) - (low == now)
            passed = bisect_left(before, high) - bisect_left(before, low) - (low == was)
            if between or passed:
                moved.append((index, name, was))
        return moved

    def _across_the_end(self, end: int, leaves: list[str], rest: list[tuple[int, str, str]]) -> None:
        """Documents that nobody touched and others pushed over the window's end; they stand next to it."""
        index = min(end, len(self._order)) - 1
        while index >= 0:
            name = self._order[index][1]
            if name not in self._was:
                if name in self._shown:
                    break
                rest.append((index, name, "enter"))
            index -= 1
        for index in range(end, len(self._order)):
            name = self._order[index][1]
            if name not in self._was:
                if name not in self._shown:
                    break
                leaves.append(name)

    def told(self) -> list[bytes]:
        """The window in its order, as it was told."""
        if not self._was:
            return [self.documents[name] for _, name in self._order[: self.limit]]
        shown = []
        for name in self._shown:
            was = self._was.get(name)
            shown.append(was if was is not None else (self._spots[name], self.documents[name]))
        return [encoded for _, encoded in sorted(shown)]

    def settle(self) -> None:
        """The window that is held is what was told."""
        self._shown = {name for _, name in self._order[: self.limit]}
        self._was.clear()

    def reload(self) -> None:
        """Hold nothing, and no edge."""
        self._edge = None
        for name in list(self._spots):
            self._note(name)
        self._order, self._spots, self.documents, self.size = [], {}, {}, 0
