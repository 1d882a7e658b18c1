"""Comparison: over all types by BSON's order, without brackets; what is missing is below null."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from realtime.core.mql.expressions.compiling import Shape, compared, function

HEADING = "Comparison"
_PLAIN = frozenset({int, float})


@function(HEADING, "$cmp", Shape(2, 2))
def cmp(one: Any, other: Any) -> int:
    """-1, 0 or 1."""
    first, second = compared(one), compared(other)
    return (first > second) - (first < second)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal to MongoDB."""
    if type(one) is str and type(other) is str:
        return one == other
    return compared(one) == compared(other)


def _comparing(name: str, test: Callable[[Any, Any], bool]) -> None:
    @function(HEADING, name, Shape(2, 2))
    def compare(one: Any, other: Any) -> bool:
        kind = type(one)
        if kind is str and type(other) is str:
            return test(one, other)
        if kind in _PLAIN and type(other) in _PLAIN and one == one and other == other:  # noqa: PLR0124 - no NaN
            return test(one, other)
        return test(compared(one), compared(other))


_comparing("$eq", operator.eq)
_comparing("$ne", operator.ne)
_comparing("$gt", operator.gt)
_comparing("$gte", operator.ge)
_comparing("$lt", operator.lt)
_comparing("$lte", operator.le)
