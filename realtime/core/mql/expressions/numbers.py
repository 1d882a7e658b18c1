"""Numbers as MongoDB's expressions have them: four types, which is the widest, and how one becomes another.

A Python `int` within 32 bits is an int, `Int64` or a longer one a long. Doubles are computed as they are, decimals in
the context of IEEE 754's decimal128.
"""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from typing import Any, Final

from bson.decimal128 import Decimal128
from bson.int64 import Int64

from realtime.core.bson.stored import Undefined
from realtime.core.bson.values import MISSING
from realtime.core.mql.language import BSON_TYPES
from realtime.core.mql.operators import INT32, INT64, type_code

NONE, INT, LONG, DOUBLE, DECIMAL = range(5)
"""Kinds of numbers, the widest last; `NONE`: no number."""

CONTEXT: Final = decimal.Context(
    prec=34, rounding=decimal.ROUND_HALF_EVEN, Emin=-6143, Emax=6144, clamp=1, capitals=1, traps=[]
)
_KINDS: Final[dict[type, int]] = {int: INT, Int64: LONG, float: DOUBLE, Decimal128: DECIMAL}
_NAMES: Final = {code: name for name, code in BSON_TYPES.items()}
NAN = float("nan")


def kind_of(value: Any) -> int:
    """Which of the four types of numbers, or `NONE`."""
    kind = _KINDS.get(type(value), NONE)
    return LONG if kind == INT and not -INT32 <= value < INT32 else kind


def is_number(value: Any) -> bool:
    """Whether it is of one of the four."""
    return type(value) in _KINDS


def type_name(value: Any) -> str:
    """The name that `$type` gives."""
    return "missing" if value is MISSING else _NAMES[type_code(value)]


def nullish(value: Any) -> bool:
    """Null, undefined or missing."""
    return value is None or value is MISSING or type(value) is Undefined


def int_or_long(number: int) -> int:
    """The narrower type that holds it; the caller knows that a long does."""
    return number if -INT32 <= number < INT32 else Int64(number)


def whole(number: int, kind: int) -> Any:
    """A result of whole numbers of this kind at least: a double where a long is too small."""
    if not -INT64 <= number < INT64:
        return float(number)
    return Int64(number) if kind == LONG else int_or_long(number)


def fits_long(number: int) -> bool:
    """Whether 64 bits hold it."""
    return -INT64 <= number < INT64


def as_double(value: Any) -> float:
    """Any number as a double."""
    if type(value) is Decimal128:
        return double_of(value.to_decimal())
    return float(value)


def double_of(number: Decimal) -> float:
    """A decimal as the nearest double."""
    return NAN if number.is_nan() else float(number)


def as_decimal(value: Any) -> Decimal:
    """Any number as a decimal; a double by its first 15 digits, as MongoDB takes one. No NaN of it signals."""
    if type(value) is Decimal128:
        return quiet(value.to_decimal())
    if type(value) is float:
        return fifteen_digits(value)
    return Decimal(int(value))


def quiet(number: Decimal) -> Decimal:
    """A NaN that Python compares; drivers store ones that signal, and `==` with those raises."""
    return Decimal("NaN") if number.is_snan() else number


def fifteen_digits(value: float) -> Decimal:
    """A double as a decimal of 15 digits, zeros at its end among them."""
    if value == 0 or not math.isfinite(value):
        return _odd(value)
    exact = Decimal(value)
    rounded = exact.quantize(Decimal((0, (1,), exact.adjusted() - 14)), context=_WIDE)
    if len(rounded.as_tuple().digits) > 15:
        rounded = rounded.quantize(Decimal((0, (1,), rounded.adjusted() - 14)), context=_WIDE)
    return rounded


_WIDE: Final = decimal.Context(prec=800, Emin=-9999, Emax=9999, traps=[])


def all_digits(value: float) -> Decimal:
    """A double as a decimal of 34 digits."""
    return CONTEXT.plus(Decimal(value)) if math.isfinite(value) and value != 0 else _odd(value)


def _odd(value: float) -> Decimal:
    if value != value:  # noqa: PLR0124 - the definition of NaN
        return Decimal("NaN")
    if value == 0:
        return Decimal("-0") if math.copysign(1, value) < 0 else Decimal(0)
    return Decimal("Infinity") if value > 0 else Decimal("-Infinity")


def decimal128(number: Decimal) -> Decimal128:
    """As BSON has it."""
    rounded = CONTEXT.plus(number) if not number.is_nan() else Decimal("NaN")
    # `plus` takes the sign from a zero.
    return Decimal128(rounded.copy_sign(number) if rounded == 0 else rounded)


def same_kind(number: float, kind: int) -> Any:
    """A whole result of a function that keeps the type of its argument."""
    return Int64(number) if kind == LONG else number


def truthy(value: Any) -> bool:
    """MongoDB's truth: all but false, null, undefined, missing and zero."""
    if value is True or value is False:
        return value
    if nullish(value):
        return False
    if type(value) is Decimal128:
        return not value.to_decimal().is_zero()
    return not is_number(value) or value != 0


def as_long(value: Any) -> int | None:
    """A number that is whole and within 64 bits; None for everything else."""
    kind = kind_of(value)
    if kind in {INT, LONG}:
        return int(value)
    if kind == DOUBLE:
        return int(value) if math.isfinite(value) and value == int(value) and fits_long(int(value)) else None
    if kind == DECIMAL:
        number = value.to_decimal()
        if number.is_zero() or (number.is_finite() and -40 < number.adjusted() < 40):
            return int(number) if number == number.to_integral_value() and fits_long(int(number)) else None
    return None


def as_int(value: Any) -> int | None:
    """A number that is whole and within 32 bits; None for everything else."""
    number = as_long(value)
    return number if number is not None and -INT32 <= number < INT32 else None
