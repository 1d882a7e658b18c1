"""Timestamps and sizes: `$tsSecond`, `$tsIncrement`, `$bsonSize`."""

from __future__ import annotations

from typing import Any

from bson.int64 import Int64
from bson.timestamp import Timestamp

from realtime.core.bson import stored
from realtime.core.mql.expressions.compiling import function
from realtime.core.mql.expressions.numbers import nullish, type_name
from realtime.core.mql.expressions.outcomes import fail

HEADING = "Timestamp"


def _stamp(name: str, value: Any) -> Timestamp:
    if type(value) is not Timestamp:
        fail(name, f"takes a timestamp, not {type_name(value)}")
    return value


@function(HEADING, "$tsSecond")
def ts_second(value: Any) -> Any:
    """Its seconds."""
    return None if nullish(value) else Int64(_stamp("$tsSecond", value).time)


@function(HEADING, "$tsIncrement")
def ts_increment(value: Any) -> Any:
    """Its increment."""
    return None if nullish(value) else Int64(_stamp("$tsIncrement", value).inc)


@function("Data size", "$bsonSize")
def bson_size(value: Any) -> Any:
    """Of an object, in bytes of BSON."""
    if nullish(value):
        return None
    if not isinstance(value, dict):
        fail("$bsonSize", f"takes an object, not {type_name(value)}")
    return len(stored.encode(value))
