"""Types: which one a value is of, and conversion from one to another."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from realtime.core.bson.stored import Broken
from realtime.core.bson.values import DATE, rank_of
from realtime.core.mql.expressions.compiling import Compiler, Node, Shape, applied, form, function
from realtime.core.mql.expressions.moments import date_of, millis_of
from realtime.core.mql.expressions.numbers import (
    DECIMAL,
    DOUBLE,
    NONE,
    as_decimal,
    as_long,
    decimal128,
    double_of,
    is_number,
    kind_of,
    nullish,
    truthy,
    type_name,
)
from realtime.core.mql.expressions.outcomes import FailureError, FinalError, fail, unsure
from realtime.core.mql.expressions.parsing import iso_date
from realtime.core.mql.expressions.scope import Scope
from realtime.core.mql.expressions.texts import (
    ToText,
    decimal_of_text,
    double_of_text,
    iso,
    odd_text,
    shortest,
    six_digits,
    whole_of,
)
from realtime.core.mql.language import BSON_TYPES
from realtime.core.mql.operators import INT32, INT64

HEADING = "Type"
_NAMES = {code: name for name, code in BSON_TYPES.items()}
Convert = Callable[[Any], Any]


@function(HEADING, "$type")
def type_of(value: Any) -> str:
    """The name of its type, or `missing`."""
    return type_name(value)


@function(HEADING, "$isNumber")
def is_a_number(value: Any) -> bool:
    """Whether it is of one of the four types of numbers."""
    return is_number(value)


# ---------------------------------------------------------------------------------------------------------- conversion


def no_such(value: Any, to: str) -> NoReturn:
    """Fail: there is no such conversion."""
    fail("$convert", f"makes no {to} of {type_name(value)}")


def _text_of(value: Any) -> str:
    if type(value) is Broken:
        unsure("$convert", "has text that is no UTF-8")
    return str(value)


def _whole(value: Any, to: str, most: int) -> int:
    kind = kind_of(value)
    if type(value) is bool:
        return int(value)
    if kind in {DOUBLE, DECIMAL}:
        exact = value if kind == DOUBLE else value.to_decimal()
        if not (math.isfinite(value) if kind == DOUBLE else exact.is_finite()):
            fail("$convert", f"makes no {to} of NaN or an infinity")
        # Of a double the range is looked at before its fraction is cut. A zero has whatever exponent.
        beyond = not -most <= value <= most - 1 if kind == DOUBLE else exact.adjusted() > 30 and not exact.is_zero()
        if beyond:
            fail("$convert", f"makes no {to} of what is beyond its range")
        number = int(exact)
    elif kind != NONE:
        number = int(value)
    elif type(value) in {str, Broken}:
        found = whole_of(_text_of(value), most)
        if found is None:
            fail("$convert", f"finds no {to} in this text")
        return found
    else:
        no_such(value, to)
    if not -most <= number < most:
        fail("$convert", f"makes no {to} of what is beyond its range")
    return number


def to_int(value: Any) -> int:
    """32 bits; fractions are cut."""
    return _whole(value, "int", INT32)


def to_long(value: Any) -> Int64:
    """64 bits; a date's milliseconds."""
    return Int64(millis_of(value) if rank_of(value) == DATE else _whole(value, "long", INT64))


def to_double(value: Any) -> float:
    """A double; a date's milliseconds."""
    kind = kind_of(value)
    if type(value) is bool or kind in {1, 2, DOUBLE}:
        return float(value)
    if kind == DECIMAL:
        exact = value.to_decimal()
        if exact.is_snan():
            fail("$convert", "makes no double of a signaling NaN")
        number = double_of(exact)
        if exact.is_finite() and (math.isinf(number) or (number == 0 and not exact.is_zero())):
            fail("$convert", "makes no double of what is beyond its range")
        return number
    if type(value) in {str, Broken}:
        found = double_of_text(_text_of(value))
        if found is None:
            fail("$convert", "finds no double in this text")
        return found
    if rank_of(value) != DATE:
        no_such(value, "double")
    return float(millis_of(value))


def to_decimal(value: Any) -> Decimal128:
    """A decimal; of a double its first 15 digits."""
    if type(value) is bool:
        return Decimal128(str(int(value)))
    if type(value) is Decimal128:
        return value
    if is_number(value):
        return decimal128(as_decimal(value))
    if type(value) in {str, Broken}:
        found = decimal_of_text(_text_of(value))
        if found is None:
            fail("$convert", "finds no decimal in this text")
        return found
    if rank_of(value) != DATE:
        no_such(value, "decimal")
    return Decimal128(str(millis_of(value)))


def to_bool(value: Any) -> bool:
    """By MongoDB's truth, of most types."""
    name = type_name(value)
    if name in {"minKey", "maxKey"}:
        return True
    return truthy(value)


def to_string(doubles: ToText, value: Any) -> str:
    """Text of booleans, numbers, dates and object ids."""
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is Broken:
        unsure("$convert", "has text that is no UTF-8")
    if kind is bool:
        return "true" if value else "false"
    if kind is float:
        return odd_text(value) or doubles(value)
    if is_number(value):
        return str(value)
    if kind is ObjectId:
        return str(value)
    if rank_of(value) == DATE:
        return iso("$convert", millis_of(value))
    return no_such(value, "string")


def to_object_id(value: Any) -> ObjectId:
    """Of 24 hexadecimal digits."""
    if type(value) is ObjectId:
        return value
    if type(value) is not str:
        no_such(value, "objectId")
    if len(value) != 24 or any(one not in "0123456789abcdefABCDEF" for one in value):
        fail("$convert", "finds no objectId in this text")
    return ObjectId(value)


def to_date(value: Any) -> Any:
    """Of milliseconds that are no int, the time in an objectId or a timestamp, or ISO 8601."""
    if rank_of(value) == DATE:
        return value
    if type(value) is ObjectId:
        return date_of(int.from_bytes(value.binary[:4], "big") * 1000)
    if type(value) is Timestamp:
        return date_of(value.time * 1000)
    if type(value) is Int64 or kind_of(value) in {2, DOUBLE, DECIMAL}:
        return date_of(_whole(value, "date", INT64))
    if type(value) not in {str, Broken}:
        no_such(value, "date")
    return date_of(iso_date("$convert", _text_of(value)).millis)


_TO: dict[str, Convert] = {
    "double": to_double,
    "objectId": to_object_id,
    "bool": to_bool,
    "date": to_date,
    "int": to_int,
    "long": to_long,
    "decimal": to_decimal,
}
_SHORT = {
    "$toDouble": "double",
    "$toObjectId": "objectId",
    "$toBool": "bool",
    "$toDate": "date",
    "$toInt": "int",
    "$toLong": "long",
    "$toDecimal": "decimal",
    "$toString": "string",
}


def _conversions(compiler: Compiler) -> dict[str, Convert]:
    doubles = six_digits if compiler.says("six_digits") else shortest
    return {**_TO, "string": partial(to_string, doubles)}


@form(HEADING, *_SHORT)
def short(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """`$convert` without `onError`, null of null."""
    to = _conversions(compiler)[_SHORT[name]]

    def convert(value: Any) -> Any:
        return None if nullish(value) else to(value)

    return applied(compiler, name, convert, compiler.arguments(name, operand, here, Shape()), here, Shape())


@form(HEADING, "$convert")
def convert_to(compiler: Compiler, name: str, operand: Any, here: str) -> Node:
    """To a type by name or number; `onError` where it fails, `onNull` of null."""
    given = compiler.fields(name, operand, here, needs=("input", "to"), takes=("onError", "onNull"))
    source, to = (compiler.compile(given[one], f"{here}.{one}") for one in ("input", "to"))
    on_error = compiler.compile(given["onError"], f"{here}.onError") if "onError" in given else None
    on_null = compiler.compile(given.get("onNull"), f"{here}.onNull")
    conversions = _conversions(compiler)

    def convert(scope: Scope) -> Any:
        wanted, value = to.evaluate(scope), source.evaluate(scope)
        kind = None if nullish(wanted) else _type_named(wanted)
        if nullish(value):
            return on_null.evaluate(scope)
        if kind is None:
            return None
        try:
            if kind not in conversions:
                no_such(value, kind)
            return conversions[kind](value)
        except FailureError as failure:
            if on_error is None or isinstance(failure, FinalError):
                raise
            return on_error.evaluate(scope)

    parts = [source, to, on_null, *([on_error] if on_error is not None else [])]
    return compiler.folded(Node(convert, nodes=1 + sum(part.nodes for part in parts)), parts, here)


def _type_named(wanted: Any) -> str:
    if type(wanted) is str:
        if wanted in BSON_TYPES or wanted == "missing":
            return wanted
        fail("$convert", f"knows no type {wanted[:40]!r}")
    code = as_long(wanted)
    if code is None:
        fail("$convert", f"takes a type's name or number, not {type_name(wanted)}")
    if code == 0:
        return "missing"  # a type to MongoDB, to which nothing can be converted
    if code not in _NAMES:
        fail("$convert", f"knows no type with the number {code}")
    return _NAMES[code]
