"""Sums as MongoDB makes them: doubles with a second one for what the first one cannot hold."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from realtime.core.mql.expressions.numbers import CONTEXT, DOUBLE, all_digits, fits_long


class DoubleDouble:
    """A sum of numbers, decimals left out, by the algorithms of Knuth and Dekker that MongoDB uses."""

    __slots__ = ("_rest", "_simple", "_sum")

    def __init__(self) -> None:
        self._sum = self._rest = self._simple = 0.0

    def add(self, value: Any, kind: int) -> None:
        """A number that is no decimal."""
        if kind == DOUBLE:
            self.add_double(value)
        else:
            self.add_long(int(value))

    def add_long(self, value: int) -> None:
        """A whole number of at most 64 bits, more perhaps than a double holds: in two parts, the lower one first."""
        low = abs(value) & 0xFFFFFFFF
        low = -low if value < 0 else low
        self.add_double(float(low))
        if low != value:
            self.add_double(float(value - low))

    def add_double(self, value: float) -> None:
        """A double."""
        self._simple += value
        first = value + self._rest
        rest = self._rest - (first - value)
        total = self._sum + first
        one = total - first
        other = total - one
        lost = (self._sum - one) + (first - other)
        self._sum, self._rest = total, rest + lost

    def double(self) -> float:
        """The nearest double."""
        return self._simple if self._sum != self._sum else self._sum

    def decimal(self) -> Decimal:
        """With about 32 digits."""
        if not math.isfinite(self._sum):
            return all_digits(self._simple)
        return CONTEXT.add(all_digits(self._sum), all_digits(self._rest))

    def long(self) -> int | None:
        """The nearest whole number, halves towards zero; None beyond 64 bits."""
        if not math.isfinite(self._sum) or abs(self._sum) > 2.0**63:
            return None
        numerator, denominator = self._sum.as_integer_ratio()
        more, parts = self._rest.as_integer_ratio()
        top, bottom = numerator * parts + more * denominator, denominator * parts
        exact = (2 * abs(top) + bottom - 1) // (2 * bottom)
        exact = -exact if top < 0 else exact
        return exact if fits_long(exact) else None
