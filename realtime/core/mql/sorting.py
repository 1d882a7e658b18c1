"""Sort keys: `compile_sort([("a.b", 1), ("c", -1)])` gives a key function whose order is that of `find().sort()`.

MongoDB sorts a document by the least of its keys, the same ones that an index on the pattern would hold: an array on
the way gives one key for each element, and all paths of the pattern go through the same one (BtreeKeyGenerator and
SortKeyGenerator in the server's source). What is missing sorts as null, an empty array before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from realtime.core.bson.values import MISSING, UNDEFINED, Order, order

SortKey = tuple[Any, ...]
Pattern = Sequence[tuple[str, int]]
PARALLEL = "cannot sort by two arrays side by side"
_EMPTY = object()
"""An empty array at the end of its path."""


class UnsortableError(ValueError):
    """A document that MongoDB cannot sort by this pattern: it fails the whole `find`."""


def ambiguous(name: str) -> str:
    """Why nothing is sorted by a number that an array's element has as a name."""
    return f"field {name!r} is both a name and a place in an array"


class _Descending:
    """An order turned around."""

    __slots__ = ("order",)

    def __init__(self, placed: Order) -> None:
        self.order = placed

    def __lt__(self, other: _Descending) -> bool:
        return other.order < self.order

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and self.order == other.order

    def __hash__(self) -> int:
        return hash(self.order)


def compile_sort(pattern: Pattern) -> Callable[[dict[str, Any]], SortKey]:
    """The key of a document by this pattern of paths and directions, 1 or -1. The key raises `UnsortableError`."""
    if [path for path, _ in pattern] == ["_id"]:
        return _by_key(pattern[0][1])
    paths = tuple(tuple(path.split(".")) for path, _ in pattern)
    wraps = tuple(_ascending if direction == 1 else _Descending for _, direction in pattern)

    def placed(key: Sequence[Any]) -> SortKey:
        return tuple(wrap(_order(value)) for wrap, value in zip(wraps, key, strict=True))

    def sort_key(document: dict[str, Any]) -> SortKey:
        straight = [_straight(document, path) for path in paths]
        if list not in map(type, straight):
            return placed(straight)
        return min(map(placed, _keys(list(paths), [MISSING] * len(paths), document, [None] * len(paths))))

    return sort_key


def _by_key(direction: int) -> Callable[[dict[str, Any]], SortKey]:
    """By `_id` alone MongoDB sorts as its index on `_id` does, which has an array as one value (that of a `$group`)."""
    wrap = _ascending if direction == 1 else _Descending
    return lambda document: (wrap(order(document.get("_id", MISSING))),)


def _ascending(placed: Order) -> Any:
    return placed


def _order(value: Any) -> Order:
    return (UNDEFINED, 0) if value is _EMPTY else order(value)


def _straight(node: Any, path: tuple[str, ...]) -> Any:
    """The value at a path, or the first array on the way."""
    for name in path:
        if type(node) is list:
            return node
        if not isinstance(node, dict) or name not in node:
            return MISSING
        node = node[name]
    return node


class _Picked:
    """An element that a numeric component picks, and how far the path goes on from it."""

    __slots__ = ("array", "dotted", "remaining")

    def __init__(self, array: list[Any], path: tuple[str, ...]) -> None:
        first = array[int(path[0])]
        self.array = type(first) is list
        self.dotted, self.remaining = _walk({path[0]: first}, path)


def _walk(node: dict[str, Any], path: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """The value at a path or the first array on the way, with what then remains of the path."""
    value: Any = node
    for index, name in enumerate(path):
        if not isinstance(value, dict) or name not in value:
            return MISSING, ()
        value = value[name]
        if type(value) is list:
            return value, path[index + 1 :]
    return value, ()


def _keys(
    paths: list[tuple[str, ...]], fixed: list[Any], node: dict[str, Any], picked: list[_Picked | None]
) -> Iterator[list[Any]]:
    """The keys of a document; a path that is walked to its end is empty and its value stands in `fixed`."""
    paths, fixed = list(paths), list(fixed)
    array: list[Any] | None = None
    way: tuple[str, ...] = ()
    through: list[int] = []
    expand = True
    for index, path in enumerate(paths):
        if not path:
            continue
        value, paths[index], nested = _next(node, path, picked[index])
        if not paths[index]:
            fixed[index] = value
        if type(value) is list:
            # By the way to it: one list may stand in two fields of what a pipeline made.
            here = path[: len(path) - len(paths[index])]
            if array is not None and here != way:
                raise UnsortableError(PARALLEL)
            array, way = value, here
            through.append(index)
            expand = expand and not nested
    if array is None:
        yield fixed
    elif not array:
        yield from _entered(paths, fixed, _EMPTY, array, through, expand=True, picked=[None] * len(paths))
    else:
        below = [_pick(array, path) if index in through else None for index, path in enumerate(paths)]
        for element in array:
            yield from _entered(paths, fixed, element, array, through, expand=expand, picked=below)


def _next(node: dict[str, Any], path: tuple[str, ...], picked: _Picked | None) -> tuple[Any, tuple[str, ...], bool]:
    if path[0] in node:
        if picked is not None:
            raise UnsortableError(ambiguous(path[0]))
        return (*_walk(node, path), False)
    if picked is not None:
        return picked.dotted, picked.remaining, picked.array
    return MISSING, (), False


def _pick(array: list[Any], path: tuple[str, ...]) -> _Picked | None:
    name = path[0] if path else ""
    known = name.isascii() and name.isdigit() and len(name) < 10 and str(int(name)) == name
    return _Picked(array, path) if known and int(name) < len(array) else None


def _entered(
    paths: list[tuple[str, ...]],
    fixed: list[Any],
    element: Any,
    array: list[Any],
    through: list[int],
    *,
    expand: bool,
    picked: list[_Picked | None],
) -> Iterator[list[Any]]:
    fixed = list(fixed)
    for index in through:
        if not paths[index]:
            fixed[index] = element if expand else array
    yield from _keys(paths, fixed, element if isinstance(element, dict) else {}, picked)
