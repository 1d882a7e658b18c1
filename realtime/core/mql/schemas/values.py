"""What the keywords of a schema ask of one value, where that is not what an operator of a filter asks.

Each predicate is false for values of other types; that a keyword says nothing about those is the compiler's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from decimal import Decimal
from itertools import pairwise
from operator import itemgetter
from typing import Any

from bson.code import Code
from bson.dbref import DBRef
from bson.int64 import Int64

from realtime.core.bson.stored import Broken, Repeated
from realtime.core.bson.values import ARRAY, MISSING, OBJECT, SCOPED, Order, order
from realtime.core.mql.expressions.numbers import as_decimal, is_number
from realtime.core.mql.operators import INT64, integer
from realtime.core.mql.paths import Predicate

_FIRST = itemgetter(0)
_CONTINUED = bytes(range(0x80, 0xC0))
"""Bytes that go on with a character in UTF-8."""
_DIGITS = 34
"""Of a decimal at most; a long has fewer."""


def fields(value: dict[str, Any]) -> Collection[tuple[str, Any]]:
    """All fields, also those whose name stands twice."""
    return value.pairs if type(value) is Repeated else value.items()


def key(value: Any) -> Order:
    """Equal for values that `enum` and `uniqueItems` take for equal: as `order`, but fields may have any order.

    A loop and no generator, and few tuples in each other, as in `order`: MongoDB stores 180 levels.
    """
    if type(value) is DBRef:
        value = value.as_doc()
    if isinstance(value, dict):
        placed = []
        for name, inner in sorted(fields(value), key=_FIRST):
            rank, comparable = key(inner)
            placed.append((name, rank, comparable))
        return OBJECT, tuple(placed)
    if type(value) is list:
        return ARRAY, tuple(map(key, value))
    if type(value) is Code and value.scope is not None:
        return SCOPED, (order(str(value)), key(value.scope))
    return order(value)


def among(values: list[Any]) -> Predicate:
    """Equal to one of these; a field that is not there is equal to none, not even to null."""
    wanted = {key(value) for value in values}
    ranks = {rank for rank, _ in wanted}

    def found(value: Any) -> bool:
        if value is MISSING:
            return False
        placed = key(value)
        return placed[0] in ranks and placed in wanted

    return found


def unique(value: Any) -> bool:
    """An array without two equal elements. Sorted: of hashes, an array could be made of equal ones."""
    if type(value) is not list:
        return False
    return all(one != other for one, other in pairwise(sorted(map(key, value))))


def least(operand: Any, here: str) -> Callable[[int], bool]:
    """So many at least."""
    bound = integer(operand, here, INT64)
    return lambda number: number >= bound


def most(operand: Any, here: str) -> Callable[[int], bool]:
    """So many at most."""
    bound = integer(operand, here, INT64)
    return lambda number: number <= bound


def length(test: Callable[[int], bool]) -> Predicate:
    """Text of so many code points; what is no UTF-8 has one for each byte that does not go on with another."""

    def measured(value: Any) -> bool:
        if type(value) is str:
            return test(len(value))
        return type(value) is Broken and test(len(value.raw.translate(None, _CONTINUED)))

    return measured


def multiple_of(divisor: Any) -> Predicate:
    """A number that is so many times the divisor, which is finite and above zero."""
    by, place = _parts(as_decimal(divisor))
    whole = int(divisor) if type(divisor) in {int, Int64} else None

    def multiple(value: Any) -> bool:
        if whole is not None and type(value) in {int, Int64}:
            return int(value) % whole == 0
        if not is_number(value):
            return False
        number = as_decimal(value)
        if not number.is_finite():
            return False
        coefficient, exponent = _parts(number)
        if exponent >= place:
            return coefficient * pow(10, exponent - place, by) % by == 0
        if place - exponent > _DIGITS:
            return coefficient == 0
        return coefficient % (by * int(10 ** (place - exponent))) == 0

    return multiple


def _parts(number: Decimal) -> tuple[int, int]:
    """How often which power of ten; the sign does not matter."""
    _, digits, exponent = number.as_tuple()
    return int("".join(map(str, digits))), int(exponent)
