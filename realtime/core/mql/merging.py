"""A replacement by somebody who sees a part of the document: what they can neither read nor write stays as it is.

What is refused, and what is kept, is told by what they see of the document and by the names of fields, never by what
is hidden: two documents that look the same to them are answered the same.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson.int64 import Int64
from bson.objectid import ObjectId

from realtime.core.bson.values import MISSING, order
from realtime.core.mql.fieldsets import FieldSet, places
from realtime.errors import ForbiddenError

Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Merging:
    """How one writer replaces one document: the fields of it that each of their grants shows, and those they write."""

    shown: Sequence[FieldSet]
    writable: FieldSet

    def merge(self, stored: dict[str, Any], seen: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        """What is to be stored in place of `stored`, of which the writer sees `seen`. `ForbiddenError`."""
        merged = self._merged(stored, seen, given, ())
        for place in _changed(stored, merged, ()):
            if not self.writable.holds(place):
                raise ForbiddenError(f"{'.'.join(place)} is not yours to write, and the replacement changes it")
        return merged

    def kept(self, stored: Any, made: Any, at: Place = ()) -> Any:
        """What a model made of a merged document, with what the writer can neither read nor write as it was."""
        if isinstance(stored, dict) and isinstance(made, dict):
            held = {name: value for name, value in stored.items() if self._is_out((*at, name))}
            rest = {name: self.kept(stored.get(name, MISSING), value, (*at, name)) for name, value in made.items()}
            return {**rest, **held}
        if isinstance(stored, list) and isinstance(made, list) and len(stored) == len(made):
            return [self.kept(inner, outer, at) for inner, outer in zip(stored, made, strict=True)]
        return made

    # --------------------------------------------------------------------------------------------------------- inside

    def _merged(self, stored: dict[str, Any], seen: dict[str, Any], given: dict[str, Any], at: Place) -> dict[str, Any]:
        merged = {}
        for name, value in given.items():
            there = stored.get(name, MISSING)
            merged[name] = self._given(there, seen.get(name, MISSING), value, (*at, name))
        rest = {name: there for name, there in stored.items() if name not in given}
        kept = {name: it for name, it in rest.items() if self._stays(it, seen.get(name, MISSING), (*at, name))}
        return {**merged, **kept}

    def _given(self, stored: Any, seen: Any, value: Any, at: Place) -> Any:
        if self._is_out(at):
            raise ForbiddenError(f"{'.'.join(at)} is not yours to write")
        if self.writable.holds(at):
            return value
        if not self._keeps(at):
            # JSON does not say every type: what is equal to what they read is what they read.
            return stored if seen is not MISSING and order(seen) == order(value) else value
        if isinstance(seen, dict) and isinstance(stored, dict):
            if not isinstance(value, dict):
                raise _holds_more(at)
            return self._merged(stored, seen, value, at)
        if isinstance(seen, list):
            if order(seen) != order(value):
                raise _holds_more(at)
            return stored
        if stored is not MISSING and seen is MISSING:
            raise _holds_more(at)
        for place in places(value, at):
            if self._is_out(place):
                raise ForbiddenError(f"{'.'.join(place)} is not yours to write")
        return value

    def _stays(self, stored: Any, seen: Any, at: Place) -> bool:
        """Whether what the replacement does not have is kept."""
        if self.writable.holds(at) or not self._keeps(at):
            return False
        if seen is MISSING:
            return True
        if isinstance(stored, dict | list):
            raise _holds_more(at)
        return False

    def _is_out(self, at: Place) -> bool:
        """Whether nothing there can be read or written."""
        return self.writable.misses(at) and all(fields.misses(at) for fields in self.shown)

    def _keeps(self, at: Place) -> bool:
        """Whether there may be something there that cannot be read."""
        return not any(fields.holds(at) for fields in self.shown)


_TYPES: dict[type, str] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    Int64: "long",
    float: "double",
    str: "string",
    ObjectId: "objectId",
    dt.datetime: "date",
}
"""Types of which two values that MongoDB takes for equal are the same bytes, but for some doubles."""


def alike(kept: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Filters of the documents that have just these values at these names, in MongoDB's simple collation.

    None where no filter can tell: 1.0 and 1.00 are equal decimals, and objects of equal fields may be other bytes.
    """
    parts: list[dict[str, Any]] = []
    for name, value in kept.items():
        if value is MISSING:
            parts.append({name: {"$exists": False}})
            continue
        known = _TYPES.get(type(value))
        if known is None or (known == "double" and (value == 0 or not math.isfinite(value))):
            return None
        # A list with such an element would match as well.
        parts.append({name: {"$eq": value, "$type": known, "$not": {"$type": "array"}}})
    return parts


def _holds_more(at: Place) -> ForbiddenError:
    return ForbiddenError(
        f"{'.'.join(at)} may hold fields that are not yours to read or write, and would lose them: update the fields "
        "that are"
    )


def _changed(one: Any, other: Any, at: Place) -> Iterator[Place]:
    """The places at which two values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in {**one, **other}:
            yield from _changed(one.get(name, MISSING), other.get(name, MISSING), (*at, name))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for inner, outer in zip(one, other, strict=True):
            yield from _changed(inner, outer, at)
    elif one is MISSING or other is MISSING:
        yield from places(one if other is MISSING else other, at)
    elif order(one) != order(other):
        yield at
