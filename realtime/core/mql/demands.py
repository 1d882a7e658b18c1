"""What a filter asks of every document that it matches, for an index of filters, and when two filters ask the same.

All of it is read from the source of a filter that `compile_filter` has taken. A demand is necessary, never
sufficient: a document that lacks it does not match, one that has it has still to be asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import bson
from bson.regex import Regex

from realtime.core.bson.ejson import regex_options
from realtime.core.bson.stored import CODEC, UNDEFINED_VALUE
from realtime.core.bson.values import MAX_KEY, MIN_KEY, NULL, UNDEFINED, Order, is_nan, order, rank_of
from realtime.core.mql.language import COMMENT, COMPARISONS, EXPRESSION, FIELD_OPERATORS, LOGICAL, SCHEMA, is_operators
from realtime.core.mql.paths import leaves

Demand = tuple[str, str, Any]
"""Path, operator, operand."""


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high`, values of one rank; None: no end on this side."""

    rank: int
    low: Order | None = None
    high: Order | None = None
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: Order) -> bool:
        """Whether a value lies in it."""
        if value[0] != self.rank:
            return False
        if self.low is not None and (value < self.low or (self.open_low and value == self.low)):
            return False
        return self.high is None or value < self.high or (not self.open_high and value == self.high)


def probe(document: Mapping[str, Any], path: str) -> frozenset[Order]:
    """The values that a document has at a path: what is missing is null, an array its elements and itself."""
    return frozenset(order(value) for value in leaves(document, tuple(path.split(".")), 0, enter=True))


def equalities(source: dict[str, Any]) -> dict[str, frozenset[Order]]:
    """By path: every matching document has one of these values there. The smallest set of several."""
    found: dict[str, frozenset[Order]] = {}
    for path, name, operand in _demands(source):
        _keep(found, path, _equal_to(name, operand))
    for alternatives in _alternatives(source):
        branches = [equalities(branch) for branch in alternatives]
        for path in set.intersection(*(set(branch) for branch in branches)):
            _keep(found, path, frozenset[Order]().union(*(branch[path] for branch in branches)))
    return found


def ranges(source: dict[str, Any]) -> dict[str, tuple[Range, ...]]:
    """By path: every matching document has a value in each of these there, an array perhaps a different one."""
    found: dict[str, tuple[Range, ...]] = {}
    for path, name, operand in _demands(source):
        if name in COMPARISONS and rank_of(operand) not in {NULL, MIN_KEY, MAX_KEY} and not is_nan(operand):
            found[path] = (*found.get(path, ()), _range(name, operand))
    return found


def _range(name: str, operand: Any) -> Range:
    end = order(operand)
    if name in {"$gt", "$gte"}:
        return Range(end[0], low=end, open_low=name == "$gt")
    return Range(end[0], high=end, open_high=name == "$lt")


def _keep(found: dict[str, frozenset[Order]], path: str, values: frozenset[Order] | None) -> None:
    if values is not None and (path not in found or len(values) < len(found[path])):
        found[path] = values


def _equal_to(name: str, operand: Any) -> frozenset[Order] | None:
    if name == "$eq":
        return _equals(operand)
    if name == "$in" and not any(isinstance(element, Regex) for element in operand):
        return frozenset[Order]().union(*map(_equals, operand))
    if name == "$all":
        plain = [one for one in operand if not isinstance(one, Regex) and not is_operators(one)]
        return _equals(plain[0]) if plain else None
    return None


def _equals(operand: Any) -> frozenset[Order]:
    """What `find` finds equal to a value: to null also what is undefined."""
    placed = order(operand)
    return frozenset((placed, order(UNDEFINED_VALUE)) if placed[0] == NULL else (placed,))


def _demands(source: dict[str, Any]) -> Iterator[Demand]:
    """The conditions that all have to hold, `$and` opened."""
    for name, value in source.items():
        if name == "$and":
            for part in value:
                yield from _demands(part)
        elif name == EXPRESSION:
            yield from _expressed(value)
        elif name in LOGICAL or name in {COMMENT, SCHEMA}:
            continue
        elif is_operators(value):
            yield from ((name, one, operand) for one, operand in value.items())
        elif not isinstance(value, Regex):
            yield name, "$eq", value


def _expressed(source: Any) -> Iterator[Demand]:
    """What an expression demands that has to be true: a field of the document is equal to a constant.

    The constant is neither null, which is not what is missing there, nor an array, which a path may put together.
    """
    if not isinstance(source, dict) or len(source) != 1:
        return
    if isinstance(source.get("$and"), list):
        for part in source["$and"]:
            yield from _expressed(part)
    elif isinstance(source.get("$eq"), list) and len(source["$eq"]) == 2:
        for one, other in (source["$eq"], source["$eq"][::-1]):
            if type(one) is str and len(one) > 1 and one[0] == "$" != one[1] and _is_plain(other):
                yield one[1:], "$eq", other


def _is_plain(value: Any) -> bool:
    """A constant that is equal to itself alone, wherever it stands."""
    if isinstance(value, dict | list) or rank_of(value) in {NULL, UNDEFINED}:
        return False
    return not (isinstance(value, str) and value.startswith("$"))


def _alternatives(source: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """The lists of filters of which one has to match."""
    for name, value in source.items():
        if name == "$or":
            yield value
        elif name == "$and":
            for part in value:
                yield from _alternatives(part)


# ------------------------------------------------------------------------------------------------------- canonical


def canonical(source: dict[str, Any]) -> bytes:
    """The conditions of a filter in an order of their own, `$and` opened and `$comment` left out.

    Values are as BSON has them: types of numbers and orders of fields are kept.
    """
    return _join(*sorted(set(_entries(source))))


def _entries(source: dict[str, Any]) -> Iterator[bytes]:
    for name, value in source.items():
        if name == "$and":
            for part in value:
                yield from _entries(part)
        elif name in {EXPRESSION, SCHEMA}:
            yield _join(name.encode(), _bytes(value))
        elif name in LOGICAL:
            yield _join(b"$", name.encode(), *sorted({canonical(part) for part in value}))
        elif name != COMMENT:
            yield from (_join(b".", name.encode(), entry) for entry in _condition(value))


def _condition(value: Any) -> Iterator[bytes]:
    if isinstance(value, Regex):
        yield _regex(value, None)
    elif not is_operators(value):
        yield _join(b"$eq", _bytes(value))
    else:
        for name, operand in value.items():
            if name == "$regex":
                yield _regex(operand, value.get("$options"))
            elif name != "$options":
                yield _operator(name, operand)


def _operator(name: str, operand: Any) -> bytes:
    parts = [_bytes(operand)]
    if name == "$not":
        parts = sorted(set(_condition(operand)))
    elif name == "$elemMatch":
        by_value = is_operators(operand) and next(iter(operand)) in FIELD_OPERATORS
        parts = [b"value", *sorted(set(_condition(operand)))] if by_value else [b"object", canonical(operand)]
    elif name in {"$in", "$nin"}:
        parts = sorted({_bytes(element) for element in operand})
    return _join(name.encode(), *parts)


def _regex(value: Any, options: str | None) -> bytes:
    if not isinstance(value, Regex):
        return _join(b"$regex", value.encode(), (options or "").encode())
    pattern = value.pattern.encode() if isinstance(value.pattern, str) else value.pattern
    return _join(b"$regex", pattern, (options or regex_options(value)).encode())


def _bytes(value: Any) -> bytes:
    return bson.encode({"": value}, codec_options=CODEC)


def _join(*parts: bytes) -> bytes:
    """Parts that no other parts can be mistaken for."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
