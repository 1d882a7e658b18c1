"""Trigonometry, of doubles. Of decimals it is not certain which digits MongoDB has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from realtime.core.mql.expressions.arithmetic import number
from realtime.core.mql.expressions.compiling import Shape, function
from realtime.core.mql.expressions.numbers import DECIMAL, nullish
from realtime.core.mql.expressions.outcomes import fail, unsure

HEADING = "Trigonometry"
_DECIMALS = "MongoDB does not round every decimal of it correctly; take $toDouble of it first"


def _of(name: str, call: Callable[[float], float], low: float, high: float, *, finite: bool = True) -> None:
    """A function between two ends; `finite`: not of an infinity that lies between them."""

    @function(HEADING, name)
    def trigonometric(value: Any) -> Any:
        if nullish(value):
            return None
        if number(name, value) == DECIMAL:
            exact = value.to_decimal()
            if not exact.is_nan() and not (low <= exact <= high and (not finite or exact.is_finite())):
                fail(name, f"takes numbers from {low} to {high}")
            unsure(name, _DECIMALS)
        given = float(value)
        if given != given:  # noqa: PLR0124 - the definition of NaN
            return given
        if not low <= given <= high or (finite and math.isinf(given)):
            fail(name, f"takes numbers from {low} to {high}")
        try:
            return call(given)
        except OverflowError:
            return math.copysign(math.inf, given) if name != "$cosh" else math.inf


def _atanh(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) == 1 else math.atanh(value)


_ALL = math.inf
_of("$sin", math.sin, -_ALL, _ALL)
_of("$cos", math.cos, -_ALL, _ALL)
_of("$tan", math.tan, -_ALL, _ALL)
_of("$asin", math.asin, -1, 1)
_of("$acos", math.acos, -1, 1)
_of("$atan", math.atan, -_ALL, _ALL, finite=False)
_of("$sinh", math.sinh, -_ALL, _ALL, finite=False)
_of("$cosh", math.cosh, -_ALL, _ALL, finite=False)
_of("$tanh", math.tanh, -_ALL, _ALL, finite=False)
_of("$asinh", math.asinh, -_ALL, _ALL, finite=False)
_of("$acosh", math.acosh, 1, _ALL, finite=False)
_of("$atanh", _atanh, -1, 1)


@function(HEADING, "$atan2", Shape(2, 2, lazy=True))
def atan2(arguments: Iterator[Any]) -> Any:
    """The angle of a point. Where there is no first argument, MongoDB does not look at the second."""
    one = next(arguments)
    if nullish(one):
        return None
    kind = number("$atan2", one)
    other = next(arguments)
    if nullish(other):
        return None
    if DECIMAL in {kind, number("$atan2", other)}:
        unsure("$atan2", _DECIMALS)
    return math.atan2(float(one), float(other))


def _angle(name: str, factor: float, divisor: float) -> None:
    @function(HEADING, name)
    def angle(value: Any) -> Any:
        if nullish(value):
            return None
        if number(name, value) == DECIMAL:
            unsure(name, _DECIMALS)
        return float(value) * (factor / divisor)


_angle("$degreesToRadians", math.pi, 180.0)
_angle("$radiansToDegrees", 180.0, math.pi)
