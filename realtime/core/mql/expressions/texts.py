"""How values become text, and text becomes values, for the files of strings, types and dates."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from bson.code import Code
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.timestamp import Timestamp

from realtime.core.bson.stored import Broken, BrokenSymbol, Symbol
from realtime.core.bson.values import DATE, rank_of
from realtime.core.mql.expressions.calendar import iso_text, stamp_text
from realtime.core.mql.expressions.moments import millis_of
from realtime.core.mql.expressions.numbers import CONTEXT, nullish, type_name
from realtime.core.mql.expressions.outcomes import FinalError, fail, unsure


def text(name: str, value: Any) -> str:
    """A string; fails where it is none, and is not decided for what is no UTF-8."""
    if type(value) is Broken:
        unsure(name, "has text that is no UTF-8")
    if type(value) is not str:
        fail(name, f"takes text, not {type_name(value)}")
    return value


def coerced(name: str, value: Any) -> str:
    """What `$toLower` and its relatives make of a value: nothing of null, text of numbers and dates."""
    if type(value) is str:
        return value
    if nullish(value):
        return ""
    if type(value) in {Broken, BrokenSymbol}:
        unsure(name, "has text that is no UTF-8")
    if type(value) is Symbol or (type(value) is Code and value.scope is None):
        return str(value)
    if type(value) is float:
        if math.isnan(value):
            unsure(name, "has text of a NaN, whose sign MongoDB shows")
        return six_digits(value)
    if type(value) in {int, Int64, Decimal128}:
        return str(value)
    if rank_of(value) == DATE:
        return iso(name, millis_of(value))
    if type(value) is Timestamp:
        return stamp_text(value.time, value.inc)
    return fail(name, f"makes no text of {type_name(value)}")


def iso(name: str, millis: int) -> str:
    """A date as text; fails beyond the years 0 to 9999, whatever `onError` says."""
    shown = iso_text(millis)
    if shown is None:
        raise FinalError(name, "makes no text of a date outside of the years 0 to 9999")
    return shown


def six_digits(value: float) -> str:
    """A double as text of at most six digits."""
    return f"{value:.6g}"


def shortest(value: float) -> str:
    """A double as the shortest text that is read as the same one."""
    return repr(value).removesuffix(".0")


def odd_text(value: float) -> str:
    """NaN and the infinities; nothing for the others."""
    if value != value:  # noqa: PLR0124 - the definition of NaN
        return "NaN"
    return ("" if math.isfinite(value) else "Infinity") if value > -math.inf else "-Infinity"


# ------------------------------------------------------------------------------------------------------------- reading

_WHOLE = re.compile(r"[+-]?[0-9]+\Z")
_DOUBLE = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_ODD = re.compile(r"([+-]?)(nan|inf|infinity)\Z", re.IGNORECASE)


def whole_of(given: str, most: int) -> int | None:
    """A whole number in a text that is below `most` either way; None where it is none."""
    if not _WHOLE.match(given) or len(given) > 400:
        return None
    number = int(given)
    return number if -most <= number < most else None


def double_of_text(given: str) -> float | None:
    """A double in a text; None where it is none, or out of range."""
    if odd := _ODD.match(given):
        number = math.nan if odd[2].lower() == "nan" else math.inf
        return -number if odd[1] == "-" else number
    if not _DOUBLE.match(given):
        return None
    number = float(given)
    digits = re.split("[eE]", given)[0].strip("+-").replace(".", "").strip("0")
    tiny = bool(digits) and abs(number) < 2.2250738585072014e-308
    return None if math.isinf(number) or tiny else number


def decimal_of_text(given: str) -> Decimal128 | None:
    """A decimal in a text; None where it is none, or out of range."""
    if odd := _ODD.match(given):
        return Decimal128("NaN" if odd[2].lower() == "nan" else f"{odd[1].replace('+', '')}Infinity")
    if not _DOUBLE.match(given) or len(given) > 2000:
        return None
    exact = Decimal(given)
    rounded = CONTEXT.create_decimal(exact)
    if rounded.is_infinite() or (rounded.is_zero() and not exact.is_zero()):
        return None
    return Decimal128(rounded)


ToText = Callable[[float], str]
