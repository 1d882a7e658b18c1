"""Rows made of documents: what a `$group` holds. A document touches only the rows that it was in or is in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from realtime.core.bson.keys import identity
from realtime.core.bson.values import Order, order
from realtime.core.live.pipelines.accumulators import State, Token, state_of, token_of
from realtime.core.mql.pipelines.pipeline import Document, Group

PART_BYTES = 200
"""What a contribution takes in memory beside its tokens."""


class Row:
    """One row: how many contributions there are, and the state of each accumulator. `name` identifies it."""

    __slots__ = ("count", "key", "name", "place", "states")

    def __init__(self, place: Order, key: Any, group: Group) -> None:
        self.place = place
        self.key = key
        self.name = identity(key)
        self.count = 0
        self.states: list[State] = [state_of(one) for one in group.accumulators]


class Part:
    """One contribution of a document: its row, and what it is to each accumulator."""

    __slots__ = ("row", "size", "tokens")

    def __init__(self, row: Row, tokens: list[Token]) -> None:
        self.row = row
        self.tokens = tokens
        self.size = PART_BYTES + sum(token.size for token in tokens)


class Rows:
    """The rows of a group. `contributions`: of all documents; `size`: bytes that these take, about."""

    def __init__(self, group: Group) -> None:
        self.contributions = 0
        self.size = 0
        self._group = group
        self._parts: dict[str, tuple[Part, ...]] = {}
        self._rows: dict[Order, Row] = {}
        self._named: dict[str, Row] = {}
        self._touched: dict[Row, None] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def pending(self) -> bool:
        """Whether a row may be another one than was handed on."""
        return bool(self._touched)

    def put(self, name: str, documents: Sequence[Document]) -> None:
        """What the document of this name contributes now: none, one, or several after `$unwind`.

        `ServiceError` where an expression has no value of one.
        """
        now = tuple(self._part(document, (name, index)) for index, document in enumerate(documents))
        for old, new in zip_longest(self._parts.get(name, ()), now):
            self._exchange(old, new)
        if now:
            self._parts[name] = now
        else:
            self._parts.pop(name, None)

    def _part(self, document: Document, tie: tuple[str, int]) -> Part:
        key = self._group.key(document)
        tokens = [token_of(one, document, tie) for one in self._group.accumulators]
        place = order(key)
        row = self._rows.get(place)
        if row is None:
            row = self._rows[place] = Row(place, key, self._group)
            self._named[row.name] = row
        return Part(row, tokens)

    def _exchange(self, old: Part | None, new: Part | None) -> None:
        if old is not None and new is not None and old.row is new.row:
            self.size += new.size - old.size
            for index, state in enumerate(new.row.states):
                was, now = old.tokens[index], new.tokens[index]
                if was.same(now):
                    new.tokens[index] = was  # which is what the state holds
                else:
                    state.remove(was)
                    state.add(now)
                    self._touched[new.row] = None
            return
        if old is not None:
            self._count(old, -1)
            for state, token in zip(old.row.states, old.tokens, strict=True):
                state.remove(token)
        if new is not None:
            self._count(new, 1)
            for state, token in zip(new.row.states, new.tokens, strict=True):
                state.add(token)

    def _count(self, part: Part, times: int) -> None:
        part.row.count += times
        self.contributions += times
        self.size += times * part.size
        self._touched[part.row] = None

    def changed(self) -> Iterator[tuple[str, Document | None]]:
        """Each row that was touched since the last time, by its name, as it is now; None: it is no more."""
        touched, self._touched = self._touched, {}
        for row in touched:
            if row.count:
                yield row.name, self._group.row(row.key, [state.value() for state in row.states])
            else:
                # Only here, so that a row which empties and fills again in one moment keeps its name.
                del self._rows[row.place], self._named[row.name]
                yield row.name, None

    def texts(self, name: str) -> dict[int, bytes]:
        """By the identity of the lists that a row shows, what they are as JSON."""
        found = [(state, state.text()) for state in self._named[name].states]
        return {id(state.value()): text for state, text in found if text is not None}
