"""Sort patterns, compiled once: `compile_sort(source).place(document)` compares as MongoDB's `sort` does.

An array stands for its least element where the key ascends and for its greatest where it descends; keys that go
through the same array are taken from the same element; an empty array comes before null. Follows MongoDB's
BtreeKeyGenerator, which makes the sort keys there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import total_ordering
from typing import Any, NoReturn

from bson.dbref import DBRef

from realtime.core.filters import overlaps, stem
from realtime.core.values import MIN_KEY, MISSING, Order, order
from realtime.errors import InvalidRequestError

MAX_KEYS = 32
EMPTY: Order = (MIN_KEY, 1)
"""An empty array's place: what BSON calls undefined, after MinKey and before null."""

Place = tuple[Any, ...]
Pairs = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Sort:
    """A compiled sort. `pairs` end with `_id` where it was not named, so no two documents have one place.

    `place(document)` raises `InvalidRequestError` where MongoDB refuses to sort: two keys in different arrays.
    """

    pairs: Pairs
    place: Callable[[dict[str, Any]], Place]

    @property
    def source(self) -> dict[str, int]:
        """As `find` takes it."""
        return dict(self.pairs)

    def reads(self, touched: frozenset[str]) -> bool:
        """Whether an update of these paths may change a document's place, by prefix both ways."""
        stems = {stem(path) for path in touched}
        return any(overlaps(stem(path), other) for path, _ in self.pairs for other in stems)


def compile_sort(source: Any) -> Sort:
    """Compile a list of [path, 1 or -1], or an object; None sorts by `_id`. `InvalidRequestError` names the path."""
    pairs = list(source.items()) if isinstance(source, dict) else [] if source is None else source
    if not isinstance(pairs, list):
        _invalid("", "a list of [path, 1 or -1]")
    keys: dict[str, int] = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            _invalid("", "each key is [path, 1 or -1]")
        path, direction = pair
        if not path or path[0] == "$" or "\0" in path or ".$" in path or ".." in f".{path}.":
            _invalid(path, "no path that can be sorted by")
        if path in keys:
            _invalid(path, "stands twice")
        if isinstance(direction, bool) or not isinstance(direction, int | float) or direction not in (1, -1):
            _invalid(path, "the direction is 1 or -1")
        keys[path] = int(direction)
    keys.setdefault("_id", 1)
    if len(keys) > MAX_KEYS:
        _invalid("", f"at most {MAX_KEYS} keys, _id among them")
    return Sort(tuple(keys.items()), _placer(tuple(keys.items())))


@total_ordering
class Descending:
    """A place turned round."""

    __slots__ = ("order",)

    def __init__(self, placed: Order) -> None:
        self.order = placed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and self.order == other.order

    def __lt__(self, other: Descending) -> bool:
        return other.order < self.order

    def __hash__(self) -> int:
        return hash(self.order)


def _placer(pairs: Pairs) -> Callable[[dict[str, Any]], Place]:
    directions = tuple(direction for _, direction in pairs)
    paths = tuple(tuple(path.split(".")) for path, _ in pairs)
    names = tuple(path for path, _ in pairs)
    flat = all(len(path) == 1 for path in paths)

    def turned(orders: list[Order]) -> Place:
        return tuple(
            placed if direction == 1 else Descending(placed)
            for placed, direction in zip(orders, directions, strict=True)
        )

    def place(document: dict[str, Any]) -> Place:
        if flat:
            values = [document.get(name) for name in names]
            if list not in map(type, values):
                return turned([order(value) for value in values])
        unset: list[Order | None] = [None] * len(paths)
        return min(turned(key) for key in _keys(document, list(paths), unset, [None] * len(paths)))

    return place


@dataclass(frozen=True, slots=True)
class _Picked:
    """What a numeric component picks of the array that is being walked: `node`, with `rest` of the path to go."""

    node: Any
    rest: tuple[str, ...]
    nested: bool


def _keys(
    node: dict[str, Any], paths: list[tuple[str, ...]], fixed: list[Order | None], picked: list[_Picked | None]
) -> Iterator[list[Order]]:
    """Every sort key of a document: one for each element of the array that its paths meet, or one."""
    paths, fixed = list(paths), list(fixed)
    array: list[Any] | None = None
    through: list[int] = []
    nested = False
    for index, path in enumerate(paths):
        if fixed[index] is not None:
            continue
        found, paths[index], inner = _next(node, path, picked[index])
        if type(found) is not list:
            fixed[index], paths[index] = order(found), ()
            continue
        if array is not None and found is not array:
            _parallel(path)
        array, nested = found, nested or inner
        through.append(index)
    if array is None:
        yield [placed for placed in fixed if placed is not None]
        return
    yield from _expand(array, paths, fixed, through, nested=nested)


def _expand(
    array: list[Any], paths: list[tuple[str, ...]], fixed: list[Order | None], through: list[int], *, nested: bool
) -> Iterator[list[Order]]:
    picks = [_pick(array, path) if path else None for path in paths]
    for element in array or [MISSING]:
        below = list(fixed)
        for index in through:
            if not paths[index]:
                # An array that a number picked out of another one is not entered.
                below[index] = EMPTY if not array else order(array) if nested else order(element)
        yield from _keys(_object(element) or {}, paths, below, picks)


def _next(node: dict[str, Any], path: tuple[str, ...], picked: _Picked | None) -> tuple[Any, tuple[str, ...], bool]:
    """What the path finds in an object up to the first array, how it goes on, and whether a number picked that."""
    if path[0] in node:
        if picked is not None:
            raise InvalidRequestError(
                f"sort: {path[0]} is both a place and a name in an array", details={"field": "sort"}
            )
        return (*_walk(node, path), False)
    if picked is not None:
        return picked.node, picked.rest, picked.nested
    return MISSING, (), False


def _walk(node: dict[str, Any], path: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """The value at the path, or the first array on it and the rest of the path."""
    value: Any = node
    for index, name in enumerate(path):
        if type(value) is list:
            return value, path[index:]
        inside = _object(value)
        if inside is None or name not in inside:
            return MISSING, ()
        value = inside[name]
    return value, ()


def _pick(array: list[Any], path: tuple[str, ...]) -> _Picked | None:
    number = path[0]
    if not number.isdecimal() or (number[0] == "0" and number != "0") or int(number) >= len(array):
        return None
    element = array[int(number)]
    node, rest = _walk({number: element}, path)
    return _Picked(node, rest, nested=type(element) is list)


def _object(value: Any) -> dict[str, Any] | None:
    if isinstance(value, DBRef):
        return dict(value.as_doc())
    return value if isinstance(value, dict) else None


def _parallel(path: tuple[str, ...]) -> NoReturn:
    raise InvalidRequestError(
        f"sort: a document has arrays at two of the keys ({'.'.join(path)} is one), which MongoDB cannot sort by: "
        "sort by one of them",
        details={"field": "sort", "path": ".".join(path)},
    )


def _invalid(path: str, reason: str) -> NoReturn:
    raise InvalidRequestError(f"sort: {reason} (at {path or 'the top'})", details={"field": "sort", "path": path})
