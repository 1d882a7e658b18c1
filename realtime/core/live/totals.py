"""Sums and averages that do not drift: exact inside, and rounded where they are shown as MongoDB's `$group` rounds.

Integers, doubles and decimals are summed apart and exactly, so that taking a number out leaves nothing of it behind.
MongoDB adds doubles in the order in which it meets them, with 106 bits on the way. Where large numbers cancel out, that
loses digits that the exact sum here has (6.0.5: 1e19 + 21.2 - 1e19 is 0); elsewhere its last bit may be another. It
rounds decimals to 34 digits at every step; where that loses digits its sum depends on the order, and this one does not.
"""

from __future__ import annotations

import decimal
from collections import Counter
from decimal import Decimal
from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64

Number = int | float | Int64 | Decimal128

DECIMAL128 = decimal.Context(prec=34, rounding=decimal.ROUND_HALF_EVEN, Emin=-6143, Emax=6144, clamp=1, traps=[])
EXACT = decimal.Context(prec=12_600, Emin=-999_999, Emax=999_999, traps=[])
"""Room for the largest and the smallest decimal in one sum."""
_SCALE = 1 << 1074
"""Every finite double is a whole number of 2 ** -1074."""
_LONG = range(-(2**63), 2**63)


def is_number(value: Any) -> bool:
    """Whether `$sum` counts it: a number of one of BSON's four types."""
    return type(value) in {int, float, Int64, Decimal128}


class Total:
    """The sum of numbers that come and go."""

    __slots__ = ("_decimals", "_doubles", "_exponents", "_odd", "_types", "_whole")

    def __init__(self) -> None:
        self._whole = 0
        self._doubles = 0
        self._decimals = Decimal(0)
        self._types: Counter[type] = Counter()
        self._odd: Counter[str] = Counter()
        self._exponents: Counter[int] = Counter()

    def add(self, value: Any, times: int = 1) -> None:
        """Count a value in, or with `times` -1 out again; what is no number is nothing."""
        kind = type(value)
        if not is_number(value):
            return
        self._types[kind] += times
        if kind is Decimal128:
            self._add_decimal(value.to_decimal(), times)
        elif kind is not float:
            self._whole += times * int(value)
        elif value - value == 0:
            numerator, denominator = value.as_integer_ratio()
            self._doubles += times * numerator * (_SCALE // denominator)
        else:
            self._odd[_name_of(value)] += times

    def _add_decimal(self, value: Decimal, times: int) -> None:
        if not value.is_finite():
            self._odd[_name_of(value)] += times
            return
        self._exponents[int(value.as_tuple().exponent)] += times
        self._decimals = (EXACT.add if times > 0 else EXACT.subtract)(self._decimals, value)

    def sum(self) -> Number:
        """As `$sum`: 0 without numbers, the widest type among them, a double where a long is too small."""
        if self._types[Decimal128]:
            return Decimal128(self._decimal())
        if self._types[float]:
            return self._double()
        if self._whole not in _LONG:
            return float(self._whole)
        return Int64(self._whole) if self._types[Int64] else self._whole

    def average(self) -> Number | None:
        """As `$avg`: a double, or a decimal where there is one; None without numbers."""
        count = self._types.total()
        if not count:
            return None
        if self._types[Decimal128]:
            return Decimal128(DECIMAL128.divide(self._decimal(), Decimal(count)))
        return self._double() / count

    def _special(self) -> str | None:
        """NaN or an infinity, where they decide."""
        odd = {name for name, count in self._odd.items() if count}
        if not odd:
            return None
        return "NaN" if "NaN" in odd or len(odd) == 2 else odd.pop()

    def _double(self) -> float:
        special = self._special()
        if special is not None:
            return float(special)
        return _rounded(self._whole * _SCALE + self._doubles)

    def _decimal(self) -> Decimal:
        special = self._special()
        if special is not None:
            return Decimal(special)
        least = min((exponent for exponent, count in self._exponents.items() if count), default=0)
        # Numbers taken out leave their digits behind as zeros: the sum has as many as its longest summand.
        kept = DECIMAL128.plus(self._decimals)
        if kept.is_finite() and int(kept.as_tuple().exponent) < min(least, 0):
            kept = DECIMAL128.quantize(kept, Decimal((0, (1,), min(least, 0))))
        # The rest is a double and its remainder there, each made a decimal.
        rest = self._whole * _SCALE + self._doubles
        first = _rounded(rest)
        if first - first != 0:
            return DECIMAL128.add(kept, Decimal(first))
        second = _rounded(rest - _scaled(first))
        other = DECIMAL128.add(DECIMAL128.create_decimal(first), DECIMAL128.create_decimal(second))
        return DECIMAL128.add(kept, other)


def _name_of(value: float | Decimal) -> str:
    # Of decimals by its name: Python does not compare a NaN that signals, which drivers can store.
    if value.is_nan() if isinstance(value, Decimal) else value != value:  # noqa: PLR0124 - the definition of NaN
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _scaled(value: float) -> int:
    numerator, denominator = value.as_integer_ratio()
    return numerator * (_SCALE // denominator)


def _rounded(scaled: int) -> float:
    """The nearest double, to even; an infinity beyond the largest."""
    try:
        return scaled / _SCALE
    except OverflowError:
        return float("inf") if scaled > 0 else float("-inf")
