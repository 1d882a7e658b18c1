"""Arithmetic: roots, powers and logarithms. Of decimals it is not certain which digits MongoDB has."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64

from realtime.core.mql.expressions.arithmetic import HEADING, number, quotient
from realtime.core.mql.expressions.compiling import Shape, function
from realtime.core.mql.expressions.numbers import (
    CONTEXT,
    DECIMAL,
    DOUBLE,
    LONG,
    NAN,
    as_decimal,
    decimal128,
    fits_long,
    int_or_long,
    nullish,
)
from realtime.core.mql.expressions.outcomes import fail, unsure


@function(HEADING, "$sqrt")
def sqrt(value: Any) -> Any:
    """The square root of what is not below zero."""
    if nullish(value):
        return None
    kind = number("$sqrt", value)
    if kind == DECIMAL:
        exact = value.to_decimal()
        if not exact.is_nan() and exact < 0:
            fail("$sqrt", "takes what is not below zero")
        return decimal128(CONTEXT.sqrt(exact))
    if value < 0:
        fail("$sqrt", "takes what is not below zero")
    return math.sqrt(value)


@function(HEADING, "$exp")
def exp(value: Any) -> Any:
    """e to this power."""
    if nullish(value):
        return None
    if number("$exp", value) == DECIMAL:
        unsure("$exp", _DECIMALS)
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


_DECIMALS = "MongoDB does not round every decimal of it correctly; take $toDouble of it first"


def _at_most_zero(value: Any) -> bool:
    """Whether a number is zero or below; NaN is not."""
    if type(value) is not Decimal128:
        return bool(value <= 0)
    exact = value.to_decimal()
    return bool(not exact.is_nan() and exact <= 0)


def _logarithm(name: str, doubles: Callable[[float], float]) -> None:
    @function(HEADING, name)
    def log(value: Any) -> Any:
        if nullish(value):
            return None
        kind = number(name, value)
        if _at_most_zero(value):
            fail(name, "takes what is above zero")
        if kind == DECIMAL:
            unsure(name, _DECIMALS)
        return doubles(float(value))


_logarithm("$ln", math.log)
_logarithm("$log10", math.log10)


@function(HEADING, "$log", Shape(2, 2))
def log(value: Any, base: Any) -> Any:
    """The logarithm to a base."""
    if nullish(value) or nullish(base):
        return None
    kinds = number("$log", value), number("$log", base)
    if DECIMAL in kinds:
        if _at_most_zero(value) or _at_most_zero(base) or as_decimal(base) == 1:
            fail("$log", "takes a number above zero and a base above zero that is not 1")
        unsure("$log", _DECIMALS)
    if value <= 0 or base <= 0 or base == 1:
        fail("$log", "takes a number above zero and a base above zero that is not 1")
    return quotient(math.log(float(value)), math.log(float(base)))


@function(HEADING, "$pow", Shape(2, 2))
def power(base: Any, exponent: Any) -> Any:
    """A power: whole where both are, 64 bits hold it and the exponent is not below zero."""
    if nullish(base) or nullish(exponent):
        return None
    kind = max(number("$pow", base), number("$pow", exponent))
    if kind == DECIMAL:
        if as_decimal(base).is_zero() and _at_most_zero(exponent) and not as_decimal(exponent).is_zero():
            fail("$pow", "takes no zero to a power below zero")
        unsure("$pow", _DECIMALS)
    if base == 0 and exponent < 0:
        fail("$pow", "takes no zero to a power below zero")
    if kind != DOUBLE and (exact := _whole_power(int(base), int(exponent))) is not None:
        return Int64(exact) if kind == LONG else int_or_long(exact)
    return _double_power(float(base), float(exponent))


def _whole_power(base: int, exponent: int) -> int | None:
    if base in {1, -1}:
        return base if exponent % 2 else 1
    if exponent < 0:
        return None
    if base == 0:
        return int(exponent == 0)
    if exponent > 63:
        return None
    exact = base**exponent
    return exact if fits_long(exact) else None


def _double_power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf
    except ValueError:
        return NAN
