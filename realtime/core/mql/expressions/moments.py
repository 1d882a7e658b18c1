"""Dates as milliseconds since 1970, and back."""

from __future__ import annotations

import datetime as dt
from typing import Any

from bson.datetime_ms import DatetimeMS

from realtime.core.bson.ejson import millis

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIRST, _LAST = -62_135_596_800_000, 253_402_300_799_999
"""Within Python's years."""


def millis_of(value: Any) -> int:
    """Milliseconds of a date."""
    return millis(value)


def date_of(number: int) -> dt.datetime | DatetimeMS:
    """A date, as documents have it."""
    if _FIRST <= number <= _LAST:
        return _EPOCH + dt.timedelta(milliseconds=number)
    return DatetimeMS(number)
