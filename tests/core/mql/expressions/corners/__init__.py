"""Corners that memory gets wrong, as mongod 6.0.5 and 6.0.27 answer them (classic engine, `aggregate`), by heading.

`CASES`: expression, document, value. `FAILING`: expression, document.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64

Case = tuple[Any, dict[str, Any], Any]
Failure = tuple[Any, dict[str, Any]]

MOST, LEAST = Int64(2**63 - 1), Int64(-(2**63))
DATE = dt.datetime(2021, 3, 28, 1, 30, 0, 123_000, tzinfo=dt.UTC)
HALF = dt.datetime(2020, 1, 1, 0, 0, 0, 500_000, tzinfo=dt.UTC)
FAR = DatetimeMS(253_402_300_800_000)
NAN, INF = float("nan"), float("inf")
SIGNALING = Decimal128("sNaN")
"""Drivers can store it, clients cannot say it, and Python does not compare it."""


def date(millis: int) -> dt.datetime:
    """A date by milliseconds since 1970."""
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=millis)


def of(name: str, *names: str) -> dict[str, Any]:
    """An operator of these fields."""
    return {name: [f"${one}" for one in names]}
