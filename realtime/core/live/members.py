"""What a query group for a set holds: of each document that is selected its values, and nothing else of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from realtime.core.bson.values import order
from realtime.core.live.result import Encode, Watch
from realtime.core.mql.filters import overlaps, stem
from realtime.core.mql.membership import Members

_OF_ONE = 200
"""Bytes that a document takes beside its values, about."""


class Values:
    """A `Result` that nobody is told of: what comes of it are `values`. `size` is an estimate."""

    documents: dict[str, bytes] = {}  # noqa: RUF012 - it sends none
    pending = False
    short = False

    def __init__(self, members: Members) -> None:
        self.members = members
        self.size = 0
        self.watch: Watch | None = None
        self._held: dict[str, tuple[Any, ...]] = {}

    @property
    def count(self) -> int:
        """Documents that are selected."""
        return len(self._held)

    @property
    def values(self) -> Sequence[Any] | None:
        """The values, each once; None for more than there may be."""
        few = len(self._held) <= self.members.most
        return self.members.bounded(self._held.values()) if few else None

    def names(self) -> Collection[str]:
        """The documents that are selected."""
        return self._held

    def put(self, name: str, document: dict[str, Any], _encode: Encode) -> None:
        """It is selected, and is this now."""
        self.drop(name)
        values = self._held[name] = self.members.of(document)
        self.size += _size(values)
        if self.watch is not None:
            self.watch.hold(name)

    def drop(self, name: str) -> None:
        """It is not selected, or gone."""
        values = self._held.pop(name, None)
        if values is not None:
            self.size -= _size(values)
            if self.watch is not None:
                self.watch.let_go(name)

    def reads(self, name: str, touched: frozenset[str]) -> bool:
        """Whether an update of these paths may change the values of a document."""
        return name in self._held and any(overlaps(self.members.path, stem(path)) for path in touched)

    def loaded(self, count: int) -> None:
        """Everything that is selected has been put."""

    def changes(self) -> list[bytes]:
        """Nobody is told."""
        return []

    def told(self) -> Iterable[bytes]:
        """Nobody was."""
        return ()

    def settle(self) -> None:
        """Nobody was told anything."""

    def reload(self) -> None:
        """Hold nothing."""
        for name in list(self._held):
            self.drop(name)


def _size(values: tuple[Any, ...]) -> int:
    return _OF_ONE + sum(56 + len(value) if isinstance(value, str | bytes) else 56 for value in values)


def same(one: Sequence[Any] | None, other: Sequence[Any] | None) -> bool:
    """Whether two sets have the same values, as MongoDB compares them."""
    if one is None or other is None:
        return one is other
    return set(map(order, one)) == set(map(order, other))


def common(one: Sequence[Any] | None, other: Sequence[Any] | None) -> Sequence[Any] | None:
    """The values that both have; None where one of them is none."""
    if one is None or other is None:
        return None
    there = set(map(order, other))
    return [value for value in one if order(value) in there]
