"""Standard deviations that do not drift: exact sums of numbers and of their squares, rounded where they are shown.

MongoDB takes every number for a double and goes on from the mean that it has so far, which rounds at each step: what it
shows depends on the order of the documents in its last digits.
"""

from __future__ import annotations

import math
from typing import Any

from realtime.core.mql.expressions.numbers import as_double

_SCALE = 1 << 1074
"""Every finite double is a whole number of 2 ** -1074."""


class Deviation:
    """Of numbers that come and go. `sample`: by one less than there are."""

    __slots__ = ("_count", "_odd", "_sample", "_squares", "_whole")

    def __init__(self, *, sample: bool) -> None:
        self._sample = sample
        self._count = self._odd = 0
        self._whole = self._squares = 0

    def add(self, value: Any, times: int = 1) -> None:
        """Count a number in, or with `times` -1 out again."""
        number = as_double(value)
        self._count += times
        if not math.isfinite(number):
            self._odd += times
            return
        numerator, denominator = number.as_integer_ratio()
        scaled = numerator * (_SCALE // denominator)
        self._whole += times * scaled
        self._squares += times * scaled * scaled

    def value(self) -> float | None:
        """None with too few numbers; NaN where one of them is not finite."""
        divisor = self._count - self._sample
        if divisor < 1:
            return None
        if self._odd:
            return math.nan
        spread = self._count * self._squares - self._whole * self._whole
        return math.sqrt(_quotient(spread, self._count * divisor * _SCALE * _SCALE))


def _quotient(numerator: int, denominator: int) -> float:
    """The nearest double; an infinity beyond the largest."""
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf
