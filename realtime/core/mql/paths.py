"""Dotted paths through documents and arrays, by MongoDB's own rules.

An array in the middle of a path is entered, element by element and by numeric component; at its end both the elements
and the array itself are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from realtime.core.bson.stored import Repeated
from realtime.core.bson.values import MISSING

Predicate = Callable[[Any], bool]
"""A decision about one value; `MISSING` where there is none."""
Matcher = Callable[[dict[str, Any]], bool]


def stem(path: str) -> str:
    """A dotted path without the numeric components after the first: `items.0.qty` is `items.qty`."""
    first, *rest = path.split(".")
    return ".".join([first, *(part for part in rest if not part.isdigit())])


WHOLE = "$$ROOT"
"""Among the paths that are read: all of them. No path of a filter begins like that."""


def overlaps(one: str, other: str) -> bool:
    """Whether one path is the other, or lies inside it; all of a document overlaps with everything."""
    return one in {other, WHOLE} or one.startswith(other + ".") or other.startswith(one + ".")


def at_path(path: str, predicate: Predicate, *, enter: bool) -> Matcher:
    """Whether the predicate holds for a leaf of the path; `enter`: also for the elements of a last array."""
    if "." in path:
        return _at_dotted(path, predicate, enter=enter)
    if not enter:
        return lambda document: predicate(document.get(path, MISSING))

    def matches(document: dict[str, Any]) -> bool:
        value = document.get(path, MISSING)
        if type(value) is list:
            for inner in value:
                if predicate(inner):
                    return True
        return predicate(value)

    return matches


def _at_dotted(path: str, predicate: Predicate, *, enter: bool) -> Matcher:
    parts = tuple(path.split("."))

    def matches(document: dict[str, Any]) -> bool:
        node: Any = document
        for name in parts:
            kind = type(node)
            if kind is dict:
                node = node.get(name, MISSING)
            elif kind is list or kind is Repeated:
                # Rare, and not straight on: the whole path by the rules.
                return any(map(predicate, leaves(document, parts, 0, enter=enter)))
            else:
                return predicate(MISSING)
        if enter and type(node) is list:
            for inner in node:
                if predicate(inner):
                    return True
        return predicate(node)

    return matches


Seen = set[tuple[int, int]]
"""Arrays by their id that were entered at a numeric component, and at which one of the path."""


def leaves(node: Any, parts: tuple[str, ...], start: int, *, enter: bool, seen: Seen | None = None) -> Iterator[Any]:
    """The values that MongoDB looks at for a path, `MISSING` among them; `enter`: also the elements of a last array.

    Follows MongoDB's BSONElementIterator: objects are walked until an array turns up. In an array in the middle of
    the path every object is searched for the rest of it, and a numeric component also picks the element it counts.
    Two ways that lead to one array at one component go on alike, and only the first of them is followed: in a document
    made for it, the ways of `0.0.0…` double with every level.
    """
    seen = set() if seen is None else seen
    for index in range(start, len(parts)):
        if type(node) is list:
            if parts[index:] == ("",):
                break  # at an array MongoDB takes a final dot for the end of the path
            yield from _array_leaves(node, parts, index, seen, enter=enter)
            return
        if not isinstance(node, dict) or parts[index] not in node:
            yield MISSING
            return
        node = node[parts[index]]
    if enter and type(node) is list:
        yield from node
    yield node


def _array_leaves(array: list[Any], parts: tuple[str, ...], index: int, seen: Seen, *, enter: bool) -> Iterator[Any]:
    name = parts[index]
    picked = int(name) if is_place(name) else -1
    if picked >= 0:
        if (id(array), index) in seen:
            return
        seen.add((id(array), index))
    for place, element in enumerate(array):
        if isinstance(element, dict):
            yield from leaves(element, parts, index, enter=enter, seen=seen)
        if place == picked:
            if index + 1 == len(parts):
                yield element  # a last array picked by its number is not entered
            elif isinstance(element, dict | list):
                yield from leaves(element, parts, index + 1, enter=enter, seen=seen)


def is_place(name: str) -> bool:
    """Whether a component counts an element of an array: decimal digits without a leading zero."""
    return name.isascii() and name.isdigit() and len(name) <= 10 and (name == "0" or name[0] != "0")


def as_document(value: Any) -> dict[str, Any] | None:
    """What a filter inside `$elemMatch` sees of an element: an object, or an array by its numbers; else None."""
    if isinstance(value, dict):
        return value
    if type(value) is list:
        return {str(index): inner for index, inner in enumerate(value)}
    return None


# ------------------------------------------------------------------------------------------------------- combining


def always(_: Any) -> bool:
    """True."""
    return True


def never(_: Any) -> bool:
    """False."""
    return False


def every(parts: list[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    """All of them; of none: true."""
    if not parts:
        return always
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        one, other = parts
        return lambda value: one(value) and other(value)
    fixed = tuple(parts)

    def matches(value: Any) -> bool:
        for part in fixed:  # noqa: SIM110 - `all` makes a generator, which takes as long as a condition
            if not part(value):
                return False
        return True

    return matches


def some(parts: list[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    """At least one of them."""
    if len(parts) == 1:
        return parts[0]
    fixed = tuple(parts)

    def matches(value: Any) -> bool:
        for part in fixed:  # noqa: SIM110 - as in `every`
            if part(value):
                return True
        return False

    return matches


def negate(part: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Not this."""
    return lambda value: not part(value)
