"""MongoDB Extended JSON v2, the only encoder and decoder.

Out: relaxed, with three exceptions that PROTOCOL makes for browsers: integers beyond ±2^53 are `$numberLong`, NaN and
infinities `$numberDouble`, dates outside 1970 to 9999 `$date` with a `$numberLong`. In: relaxed and canonical alike.
The text of a value is always the same bytes, so a key's text identifies it.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from bson import SON
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.errors import BSONError
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

MAX_DEPTH = 100
"""MongoDB's own bound on the nesting of a stored document."""

SAFE_INTEGER = 2**53
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND = dt.timedelta(milliseconds=1)
_YEAR_10000_MS = 253_402_300_800_000


class EjsonError(ValueError):
    """Not JSON, or not Extended JSON; the text says where and what."""


class EjsonValueError(EjsonError):
    """JSON, but a `$…` wrapper in it that stands for no value."""


# ---------------------------------------------------------------------------------------------------------- encode


def encode(value: Any) -> bytes:
    """UTF-8 Extended JSON without white space. `TypeError` for what BSON does not have."""
    return orjson.dumps(plain(value))


def plain(value: Any) -> Any:
    """`value` as what JSON has: dicts, lists, strings, numbers, booleans, None."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is dict:
        return {name: plain(inner) for name, inner in value.items()}
    if kind is list:
        return [plain(inner) for inner in value]
    encoder = _ENCODERS.get(kind)
    if encoder is not None:
        return encoder(value)
    for base, encoder in _ENCODERS.items():
        if isinstance(value, base):
            return encoder(value)
    raise TypeError(f"{kind.__name__} is no BSON type")


def _integer(value: int) -> Any:
    return int(value) if -SAFE_INTEGER <= value <= SAFE_INTEGER else {"$numberLong": str(int(value))}


def _double(value: float) -> Any:
    if math.isfinite(value):
        return value
    return {"$numberDouble": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}


def millis(value: dt.datetime | DatetimeMS) -> int:
    """Milliseconds since 1970 UTC; a date without a zone is UTC, as in BSON."""
    if isinstance(value, DatetimeMS):
        return int(value)
    if value.tzinfo is None:
        value = value.replace(tzinfo=dt.UTC)
    return (value - _EPOCH) // _MILLISECOND


def _date(value: dt.datetime | DatetimeMS) -> Any:
    since = millis(value)
    if not 0 <= since < _YEAR_10000_MS:
        return {"$date": {"$numberLong": str(since)}}
    text = (_EPOCH + since * _MILLISECOND).isoformat(timespec="milliseconds" if since % 1000 else "seconds")
    return {"$date": text.removesuffix("+00:00") + "Z"}


def _binary(value: bytes) -> Any:
    subtype = value.subtype if isinstance(value, Binary) else 0
    return {"$binary": {"base64": base64.b64encode(value).decode(), "subType": f"{subtype:02x}"}}


def _uuid(value: uuid.UUID) -> Any:
    return _binary(Binary.from_uuid(value))


def _regex(value: Regex[Any]) -> Any:
    pattern = value.pattern.decode() if isinstance(value.pattern, bytes) else value.pattern
    return {"$regularExpression": {"pattern": pattern, "options": regex_options(value)}}


def regex_options(value: Regex[Any]) -> str:
    """The option letters of a BSON regular expression, in BSON's alphabetic order."""
    letters = (
        ("i", re.IGNORECASE),
        ("l", re.LOCALE),
        ("m", re.MULTILINE),
        ("s", re.DOTALL),
        ("u", re.UNICODE),
        ("x", re.VERBOSE),
    )
    return "".join(letter for letter, flag in letters if value.flags & flag)


def _code(value: Code) -> Any:
    if value.scope is None:
        return {"$code": str(value)}
    return {"$code": str(value), "$scope": plain(value.scope)}


def _mapping(value: Mapping[str, Any]) -> Any:
    return {name: plain(inner) for name, inner in value.items()}


_ENCODERS: dict[type, Callable[[Any], Any]] = {
    int: _integer,
    float: _double,
    ObjectId: lambda value: {"$oid": str(value)},
    dt.datetime: _date,
    DatetimeMS: _date,
    Int64: _integer,
    Decimal128: lambda value: {"$numberDecimal": str(value)},
    Binary: _binary,
    bytes: _binary,
    uuid.UUID: _uuid,
    Timestamp: lambda value: {"$timestamp": {"t": value.time, "i": value.inc}},
    Regex: _regex,
    Code: _code,
    MinKey: lambda _: {"$minKey": 1},
    MaxKey: lambda _: {"$maxKey": 1},
    DBRef: lambda value: _mapping(value.as_doc()),
    SON: _mapping,
    Mapping: _mapping,
    str: str,
    list: lambda value: [plain(inner) for inner in value],
    tuple: lambda value: [plain(inner) for inner in value],
}

# ---------------------------------------------------------------------------------------------------------- decode


FRAME_DEPTH = MAX_DEPTH + 4
"""Of a frame that carries a stored document: the frame, its list of changes, the change and the document."""


def decode_frame(text: str | bytes) -> Any:
    """What a server frame says. A stored document may look like a `$…` wrapper and be none: it stays as it is."""
    return _decode(text, _object_or_fields, FRAME_DEPTH)


def decode(text: str | bytes) -> Any:
    """The BSON value that `text` (UTF-8) stands for. `EjsonError` for anything that is not strict JSON.

    Refused beside broken syntax: NaN literals, lone surrogates, duplicate keys, nesting over `MAX_DEPTH`. A number
    literal beyond 64 bits is a double, as the Extended JSON specification has it.
    """
    return _decode(text, _object, MAX_DEPTH)


def _decode(text: str | bytes, hook: Callable[[Any], Any], deepest: int) -> Any:
    try:
        # orjson is the strict one (UTF-8, surrogates, NaN); json is the one that shows duplicate keys.
        orjson.loads(text)
        value = json.loads(text, object_pairs_hook=hook, parse_int=_parse_int)
    except EjsonError:
        raise
    except RecursionError:
        raise EjsonError(f"nested deeper than {deepest}") from None
    except ValueError as error:
        raise EjsonError(f"not JSON: {error}") from None
    if depth(value) > deepest:
        raise EjsonError(f"nested deeper than {deepest}")
    return value


def depth(value: Any) -> int:
    """Nesting of objects and arrays: 0 for a scalar, 1 for a flat document."""
    deepest = 0
    pending: list[tuple[Any, int]] = [(value, 0)]
    while pending:
        outer, level = pending.pop()
        if isinstance(outer, dict | list):
            deepest = max(deepest, level + 1)
            pending.extend((inner, level + 1) for inner in (outer.values() if isinstance(outer, dict) else outer))
    return deepest


def _parse_int(literal: str) -> Any:
    if len(literal) > 20:
        return float(literal)
    number = int(literal)
    return number if -(2**63) <= number < 2**63 else float(number)


def _object(pairs: list[tuple[str, Any]]) -> Any:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # reason: add gives None, which is what is wanted
        raise EjsonError(f"field {twice!r} stands twice")
    if pairs and pairs[0][0] in _DECODERS:
        name = pairs[0][0]
        allowed = {"$code", "$scope"} if name in {"$code", "$scope"} else {name}
        if fields.keys() <= allowed:
            try:
                return _DECODERS[name](fields)
            except (TypeError, ValueError, KeyError, ArithmeticError, AttributeError, BSONError):
                raise EjsonValueError(f"not a valid {name}: {json.dumps(fields, default=str)[:80]}") from None
        raise EjsonValueError(f"{name} stands beside {min(fields.keys() - allowed)!r}")
    return fields


def _object_or_fields(pairs: list[tuple[str, Any]]) -> Any:
    try:
        return _object(pairs)
    except EjsonValueError:
        return dict(pairs)


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def _inner(fields: dict[str, Any], name: str, *expected: str) -> dict[str, Any]:
    inner = fields[name]
    if not isinstance(inner, dict) or inner.keys() != set(expected):
        raise TypeError(name)
    return inner


def _to_int32(fields: dict[str, Any]) -> int:
    number = int(_text(fields, "$numberInt"))
    if not -(2**31) <= number < 2**31:
        raise ValueError(number)
    return number


def _to_int64(fields: dict[str, Any]) -> Int64:
    text = _text(fields, "$numberLong")
    number = int(text) if len(text) <= 20 else 2**63
    if not -(2**63) <= number < 2**63:
        raise ValueError(number)
    return Int64(number)


def _to_double(fields: dict[str, Any]) -> float:
    text = _text(fields, "$numberDouble")
    if not re.fullmatch(r"-?Infinity|NaN|-?[0-9.]+([eE][+-]?[0-9]+)?", text):
        raise ValueError(text)
    return float(text)


def _to_date(fields: dict[str, Any]) -> dt.datetime | DatetimeMS:
    value = fields["$date"]
    if isinstance(value, str):
        moment = dt.datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(value)
        return _EPOCH + (moment - _EPOCH) // _MILLISECOND * _MILLISECOND
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(value)
    try:
        return _EPOCH + value * _MILLISECOND
    except OverflowError:
        return DatetimeMS(int(value))  # of an Int64 it would be one that the driver cannot encode without a warning


def _to_binary(fields: dict[str, Any]) -> Any:
    inner = _inner(fields, "$binary", "base64", "subType")
    data = base64.b64decode(_text(inner, "base64"), validate=True)
    subtype = int(_text(inner, "subType"), 16)
    if not 0 <= subtype <= 255:
        raise ValueError(subtype)
    if subtype == 4 and len(data) == 16:
        return uuid.UUID(bytes=data)
    return data if subtype == 0 else Binary(data, subtype)


def _to_regex(fields: dict[str, Any]) -> Regex[str]:
    inner = _inner(fields, "$regularExpression", "pattern", "options")
    options = _text(inner, "options")
    if set(options) - set("ilmsux") or "\0" in _text(inner, "pattern"):
        raise ValueError(options)
    return Regex(_text(inner, "pattern"), options)


def _to_timestamp(fields: dict[str, Any]) -> Timestamp:
    inner = _inner(fields, "$timestamp", "t", "i")
    return Timestamp(inner["t"], inner["i"])


def _to_code(fields: dict[str, Any]) -> Code:
    scope = fields.get("$scope")
    if scope is not None and not isinstance(scope, dict):
        raise TypeError(scope)
    return Code(_text(fields, "$code"), scope)


def _one(fields: dict[str, Any], name: str, value: Any) -> Any:
    if fields[name] != 1:
        raise ValueError(fields[name])
    return value


_DECODERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "$oid": lambda fields: ObjectId(_text(fields, "$oid")),
    "$date": _to_date,
    "$numberInt": _to_int32,
    "$numberLong": _to_int64,
    "$numberDouble": _to_double,
    "$numberDecimal": lambda fields: Decimal128(_text(fields, "$numberDecimal")),
    "$binary": _to_binary,
    "$uuid": lambda fields: uuid.UUID(_text(fields, "$uuid")),
    "$regularExpression": _to_regex,
    "$timestamp": _to_timestamp,
    "$code": _to_code,
    "$scope": _to_code,
    "$minKey": lambda fields: _one(fields, "$minKey", MinKey()),
    "$maxKey": lambda fields: _one(fields, "$maxKey", MaxKey()),
}
