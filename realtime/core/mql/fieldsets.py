"""Sets of fields, named by dotted paths as a projection names them: everything under a path goes with it.

A number in a named path is a field's name, as in a projection. In the path of an update it may be an element's place as
well, which only the document tells: `place` asks it, and what does not know the document takes either for possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

KEY = "_id"


@dataclass(frozen=True, slots=True)
class FieldSet:
    """The named paths, or with `but` all fields but those. `_id` is in every set."""

    paths: frozenset[str] = frozenset()
    but: bool = True

    @property
    def everything(self) -> bool:
        """Whether no field is left out."""
        return self.but and not self.paths

    def may_hold(self, path: str) -> bool:
        """Whether all that an update of this path writes may be in the set, whatever its numbers mean."""
        if _is_key(path):
            return True
        if self.but:
            return not any(_is_nested(path, named) for named in self.paths)
        return any(_leads(path, named) for named in self.paths)

    def surely_holds(self, path: str) -> bool:
        """Whether it is in the set for certain."""
        if _is_key(path):
            return True
        if self.but:
            return not any(_may_meet(path, named) for named in self.paths)
        return any(path == named or path.startswith(f"{named}.") for named in self.paths)

    def is_whole(self, path: str) -> bool:
        """Of a path that is not in the set: whether it leads into nothing of which a part alone is hidden.

        What an update of it answers would depend on what is around it there.
        """
        if self.but:
            return not any(_leads(path, named, strictly=True) for named in self.paths)
        return "." not in path

    def holds(self, place: tuple[str, ...]) -> bool:
        """Whether all at this place, of names alone, is in the set."""
        if place[:1] == (KEY,):
            return True
        if self.but:
            return not any(_nested(place, _parts(named)) for named in self.paths)
        return any(place[: len(named)] == named for named in map(_parts, self.paths))

    def misses(self, place: tuple[str, ...]) -> bool:
        """Whether nothing at this place, of names alone, is in the set."""
        if place[:1] == (KEY,):
            return False
        if self.but:
            return any(place[: len(named)] == named for named in map(_parts, self.paths))
        return not any(_nested(place, _parts(named)) for named in self.paths)


EVERY_FIELD = FieldSet()


def place(document: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """The names that lead to what an update of this path changes of this document; places in arrays are left out.

    One behind the end of an array makes it longer, by more than one element perhaps: then it is the array itself.
    """
    names: list[str] = []
    node: Any = document
    for part in path.split("."):
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                break
            node = node[int(part)]
        else:
            names.append(part)
            node = node.get(part) if isinstance(node, Mapping) else None
    return tuple(names)


def places(value: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The places of all that a value holds, by names alone; of an object or an array without anything its own."""
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    empty = True
    for name, one in inner:
        empty = False
        yield from places(one, (*at, name) if isinstance(name, str) else at)
    if empty and at:
        yield at


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _nested(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return one[: len(other)] == other or other[: len(one)] == one


def _is_key(path: str) -> bool:
    return path == KEY or path.startswith(f"{KEY}.")


def _is_nested(path: str, named: str) -> bool:
    """Whether one leads to the other, whatever the numbers in `path` mean."""
    parts, names = _parts(path), _parts(named)
    plain = next((index for index, part in enumerate(parts) if index and part.isdigit()), len(parts))
    if len(names) <= plain:
        return parts[: len(names)] == names
    return plain == len(parts) and parts == names[: len(parts)]


def _may_meet(path: str, named: str) -> bool:
    """Whether one may lead to the other."""
    # All of the path was followed, or all of the name before that.
    return all(reached for _, reached in _reached(path, named)) or _leads(path, named)


def _leads(path: str, named: str, *, strictly: bool = False) -> bool:
    """Whether an update of `path` may be of something at or under `named`; `strictly`: under it."""
    length, last = len(_parts(named)), path.count(".")
    return any(length in reached and not (strictly and index == last) for index, reached in _reached(path, named))


def _reached(path: str, named: str) -> Iterator[tuple[int, set[int]]]:
    """For each part of `path`, how many names of `named` may have been followed by then."""
    names = _parts(named)
    reached = {0}
    for index, part in enumerate(_parts(path)):
        further = {at + 1 for at in reached if at < len(names) and names[at] == part}
        if index > 0 and part.isdigit():
            further |= reached
        yield index, further
        reached = further
