"""Arithmetic: numbers of four types, the widest of which a result has, and dates as milliseconds.

Whole numbers stay whole as long as 64 bits hold them, and become doubles beyond.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64

from realtime.core.bson.values import DATE, rank_of
from realtime.core.mql.expressions.compiling import Compiler, Node, Shape, applied, form, function
from realtime.core.mql.expressions.moments import date_of, millis_of
from realtime.core.mql.expressions.numbers import (
    CONTEXT,
    DECIMAL,
    DOUBLE,
    INT,
    LONG,
    NAN,
    NONE,
    as_decimal,
    as_double,
    as_int,
    decimal128,
    double_of,
    fits_long,
    int_or_long,
    is_number,
    kind_of,
    nullish,
    same_kind,
    type_name,
    whole,
)
from realtime.core.mql.expressions.outcomes import fail
from realtime.core.mql.expressions.summing import DoubleDouble
from realtime.core.mql.operators import INT32, INT64

HEADING = "Arithmetic"


def is_date(value: Any) -> bool:
    """Whether it is a date."""
    return rank_of(value) == DATE


def number(name: str, value: Any) -> int:
    """The kind of a number; fails where it is none."""
    kind = kind_of(value)
    if kind == NONE:
        fail(name, f"takes numbers, not {type_name(value)}")
    return kind


# ------------------------------------------------------------------------------------------------------------- adding


@form(HEADING, "$add")
def add(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """Numbers, and one date among them."""
    shape = Shape(least=0, most=None, folds="any order", lazy=True)
    pairwise = compiler.says("adds_pair_by_pair")
    parts = compiler.arguments(name, operand, here, shape)
    return applied(compiler, name, _add_pairs if pairwise else _add_at_once, parts, here, shape)


def _add_at_once(values: Iterator[Any]) -> Any:
    total, decimals, kind, dated = DoubleDouble(), Decimal(0), INT, False
    for value in values:
        one = kind_of(value)
        if one == DECIMAL:
            decimals = CONTEXT.add(decimals, value.to_decimal())
        elif one != NONE:
            total.add(value, one)
        elif nullish(value):
            return None
        elif not is_date(value):
            fail("$add", f"takes numbers and a date, not {type_name(value)}")
        else:
            if dated:
                fail("$add", "takes one date at most")
            dated = True
            total.add_long(millis_of(value))
            continue
        kind = max(kind, one)
    if dated:
        exact = total.long()
        if kind == DECIMAL:
            # What is no long is the least one, as the library has it that MongoDB computes decimals with.
            beyond = decimal_to_long(CONTEXT.add(decimals, total.decimal()))
            exact = -INT64 if beyond is None else beyond
        if exact is None:
            fail("$add", "gives a date that is too far away")
        return date_of(exact)
    if kind == DECIMAL:
        return decimal128(CONTEXT.add(decimals, total.decimal()))
    if kind != DOUBLE and (exact := total.long()) is not None:
        return Int64(exact) if kind == LONG else int_or_long(exact)
    return total.double()


def decimal_to_long(value: Decimal) -> int | None:
    """Rounded half to even; None beyond 64 bits."""
    if not value.is_finite() or (value.adjusted() > 40 and not value.is_zero()):
        return None
    exact = int(value.to_integral_value(decimal.ROUND_HALF_EVEN))
    return exact if fits_long(exact) else None


def _add_pairs(values: Iterator[Any]) -> Any:
    total: Any = 0
    for value in values:
        if nullish(value):
            return None
        if not is_number(value) and not is_date(value):
            fail("$add", f"takes numbers and a date, not {type_name(value)}")
        total = _add_two(total, value)
    return total


def _add_two(one: Any, other: Any) -> Any:
    if is_date(one) or is_date(other):
        if is_date(one) and is_date(other):
            fail("$add", "takes one date at most")
        date, number = (one, other) if is_date(one) else (other, one)
        return date_of(_moved("$add", millis_of(date), number, 1))
    kind = max(kind_of(one), kind_of(other))
    if kind == DECIMAL:
        return decimal128(CONTEXT.add(as_decimal(one), as_decimal(other)))
    if kind == DOUBLE:
        return float(one) + float(other)
    return whole(one + other, kind)


def _moved(name: str, millis: int, number: Any, sign: int) -> int:
    """A date's milliseconds and a number of them, rounded half away from zero."""
    kind = kind_of(number)
    if kind == DECIMAL:
        by = decimal_to_long(number.to_decimal())
    elif kind == DOUBLE:
        fits = -(2.0**63) <= number < 2.0**63
        by = int(math.copysign(math.floor(abs(number) + 0.5), number)) if fits else None
    else:
        by = int(number)
    if by is None or not fits_long(millis + sign * by):
        fail(name, "gives a date that is too far away")
    return millis + sign * by


@form(HEADING, "$subtract")
def subtract(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """Two numbers, two dates, or a date and milliseconds."""
    shape = Shape(2, 2)
    rounds = compiler.says("adds_pair_by_pair")
    parts = compiler.arguments(name, operand, here, shape)
    return applied(compiler, name, partial(_subtract, rounds), parts, here, shape)


def _subtract(rounds: bool, one: Any, other: Any) -> Any:
    kinds = kind_of(one), kind_of(other)
    if NONE not in kinds:
        kind = max(kinds)
        if kind == DECIMAL:
            return decimal128(CONTEXT.subtract(as_decimal(one), as_decimal(other)))
        return as_double(one) - as_double(other) if kind == DOUBLE else whole(one - other, kind)
    if nullish(one) or nullish(other):
        return None
    if is_date(one):
        if is_date(other):
            # MongoDB takes them as longs, which come around where dates are that far apart.
            return Int64((millis_of(one) - millis_of(other) + INT64) % (2 * INT64) - INT64)
        if kinds[1] != NONE:
            exact = decimal_to_long(other.to_decimal()) if kinds[1] == DECIMAL else other
            if not rounds and kinds[1] != DOUBLE and exact == -INT64:
                fail("$subtract", "cannot take the least long")
            if rounds or kinds[1] != DOUBLE:
                return date_of(_moved("$subtract", millis_of(one), other, -1))
            by = int(other) if abs(other) < 2.0**63 else None
            if by is None or not fits_long(millis_of(one) - by):
                fail("$subtract", "gives a date that is too far away")
            return date_of(millis_of(one) - by)
    return fail("$subtract", f"cannot take {type_name(other)} from {type_name(one)}")


# ----------------------------------------------------------------------------------------- multiplying and dividing


@function(HEADING, "$multiply", Shape(least=0, most=None, folds="any order", lazy=True))
def multiply(values: Iterator[Any]) -> Any:
    """Of numbers."""
    kind, product, doubles, decimals = INT, 1, 1.0, Decimal(1)
    for value in values:
        one = kind_of(value)
        if one == NONE:
            if nullish(value):
                return None
            fail("$multiply", f"takes numbers, not {type_name(value)}")
        if kind != DECIMAL and one == DECIMAL:
            # What came before a decimal is a number by itself.
            decimals = as_decimal(_multiplied(kind, product, doubles))
        kind = max(kind, one)
        if kind == DECIMAL:
            decimals = CONTEXT.multiply(decimals, as_decimal(value))
        else:
            doubles *= float(value)
            product = product * int(value) if kind != DOUBLE and fits_long(product) else product
    return decimal128(decimals) if kind == DECIMAL else _multiplied(kind, product, doubles)


def _multiplied(kind: int, product: int, doubles: float) -> Any:
    if kind == DOUBLE or not fits_long(product):
        return doubles
    return Int64(product) if kind == LONG else int_or_long(product)


@function(HEADING, "$divide", Shape(2, 2))
def divide(one: Any, other: Any) -> Any:
    """A double, or a decimal where there is one."""
    kinds = kind_of(one), kind_of(other)
    if NONE in kinds:
        if nullish(one) or nullish(other):
            return None
        fail("$divide", f"takes numbers, not {type_name(one)} and {type_name(other)}")
    if DECIMAL in kinds:
        divisor = as_decimal(other)
        if divisor.is_zero():
            fail("$divide", "cannot divide by zero")
        return decimal128(CONTEXT.divide(as_decimal(one), divisor))
    if float(other) == 0:
        fail("$divide", "cannot divide by zero")
    return quotient(float(one), float(other))


def quotient(one: float, other: float) -> float:
    """Of doubles, the infinities among them; the divisor is not zero."""
    return one / other


@function(HEADING, "$mod", Shape(2, 2))
def mod(one: Any, other: Any) -> Any:
    """The remainder of a division towards zero, with the sign of the first."""
    kinds = kind_of(one), kind_of(other)
    if NONE in kinds:
        if nullish(one) or nullish(other):
            return None
        fail("$mod", f"takes numbers, not {type_name(one)} and {type_name(other)}")
    kind = max(kinds)
    if as_decimal(other).is_zero() if kind == DECIMAL else float(other) == 0:
        fail("$mod", "cannot divide by zero")
    if kind == DECIMAL:
        return decimal128(_decimal_rest(as_decimal(one), as_decimal(other)))
    if kind == DOUBLE and kinds[0] != DOUBLE and as_int(other) is not None:
        kind = kinds[0]  # a divisor that is a whole number of 32 bits counts as one
    if kind == DOUBLE:
        return math.fmod(float(one), float(other)) if math.isfinite(one) and not math.isnan(other) else NAN
    rest = abs(int(one)) % abs(int(other))
    rest = -rest if one < 0 else rest
    return Int64(rest) if kind == LONG else rest


def _decimal_rest(one: Decimal, other: Decimal) -> Decimal:
    if one.is_finite() and other.is_finite() and one.adjusted() - other.adjusted() > 33:
        wide = decimal.Context(prec=13_000, Emin=-999_999, Emax=999_999, traps=[])
        return wide.remainder(one, other)
    return CONTEXT.remainder(one, other)


# ----------------------------------------------------------------------------------------------- of a single number


@function(HEADING, "$abs")
def absolute(value: Any) -> Any:
    """Without its sign."""
    if nullish(value):
        return None
    kind = number("$abs", value)
    if kind == DECIMAL:
        exact = value.to_decimal().copy_abs()
        return Decimal128(exact) if exact.is_snan() else decimal128(exact)  # it stays one that signals
    if kind == DOUBLE:
        return abs(value)
    if value == -INT64:
        fail("$abs", "cannot take the least long")
    return Int64(abs(int(value))) if kind == LONG else int_or_long(abs(value))


def _rounding(name: str, doubles: Callable[[float], float], mode: str) -> None:
    @function(HEADING, name)
    def rounded(value: Any) -> Any:
        if nullish(value):
            return None
        kind = number(name, value)
        if kind == DOUBLE:
            return doubles(value) if math.isfinite(value) else value
        if kind == DECIMAL:
            exact = value.to_decimal()
            whole_part = _quantized(exact, 0, mode)
            return decimal128(whole_part if whole_part.as_tuple().exponent == 0 else Decimal("NaN"))
        return same_kind(value, kind)


def _up(value: float) -> float:
    return math.copysign(float(math.ceil(value)), value)


def _down(value: float) -> float:
    return math.copysign(float(math.floor(value)), value)


_rounding("$ceil", _up, decimal.ROUND_CEILING)
_rounding("$floor", _down, decimal.ROUND_FLOOR)


def _to_place(name: str, mode: str) -> None:
    @function(HEADING, name, Shape(1, 2, lazy=True))
    def rounded(values: Iterator[Any]) -> Any:
        value = next(values)
        if nullish(value):
            return None
        kind = number(name, value)
        places = next(values, 0)
        if nullish(places):
            return None
        digits = as_int(places)
        if digits is None or not -20 <= digits <= 100:
            fail(name, "takes a number of places from -20 to 100")
        if kind == DECIMAL:
            return decimal128(_quantized(value.to_decimal(), digits, mode))
        if kind == DOUBLE:
            return _double_to_place(value, digits, mode)
        if digits >= 0:
            return same_kind(value, kind)
        exact = int(Decimal(int(value)).quantize(Decimal((0, (1,), -digits)), mode, _WIDE))
        if not fits_long(exact):
            fail(name, "gives a whole number that is too large")
        if kind == INT and exact < -INT32:
            # MongoDB's own: below the least int it comes around, and above the largest it becomes a long.
            return exact + 2 * INT32
        return Int64(exact) if kind == LONG else int_or_long(exact)


_WIDE = decimal.Context(prec=800, Emin=-9999, Emax=9999, traps=[])


def _double_to_place(value: float, digits: int, mode: str) -> float:
    if not math.isfinite(value) or value == 0:
        return value
    exact = _quantized(CONTEXT.plus(Decimal(value)), digits, mode)
    return math.copysign(double_of(exact), value)


def _quantized(value: Decimal, digits: int, mode: str) -> Decimal:
    """With so many places; where 34 digits are too few for them, with as many digits."""
    if not value.is_finite():
        return value
    rounded = value.quantize(Decimal((0, (1,), -digits)), mode, _WIDE)
    fits = not rounded.is_nan() and len(rounded.as_tuple().digits) <= 34
    return rounded if fits else CONTEXT.add(value, _FINEST)


_FINEST = Decimal((0, (0,), -6176))


_to_place("$round", decimal.ROUND_HALF_EVEN)
_to_place("$trunc", decimal.ROUND_DOWN)
