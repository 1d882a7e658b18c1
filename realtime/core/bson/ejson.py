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
from bson.binary import OLD_BINARY_SUBTYPE, UUID_SUBTYPE, Binary
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

from realtime.core.bson.stored import (
    Broken,
    BrokenSymbol,
    OddBinary,
    OddRegex,
    Pointer,
    Repeated,
    Symbol,
    Undefined,
    utf8,
)
from realtime.errors import TooLargeError

MAX_DEPTH = 180
"""MongoDB's own bound on the nesting of a stored document."""

SHOWN_DEPTH = 254
"""Of what is shown, which is how deep orjson writes: a projection may put a stored document deep into another one."""

SAFE_INTEGER = 2**53
_UUID_BYTES = 16
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND = dt.timedelta(milliseconds=1)
_YEAR_10000_MS = 253_402_300_800_000


class EjsonError(ValueError):
    """Not JSON, or not Extended JSON; the text says where and what."""


class EjsonValueError(EjsonError):
    """JSON, but a `$…` wrapper in it that stands for no value."""


# ---------------------------------------------------------------------------------------------------------- encode


def encode(value: Any) -> bytes:
    """UTF-8 Extended JSON without white space. `TypeError` for what BSON does not have.

    Each byte of stored text that is no UTF-8 is shown as U+FFFD, in a name as `\\xff`, so that two names stay two.
    `TooLargeError` for what is nested deeper than `SHOWN_DEPTH`, which is never stored but may be computed.
    """
    try:
        shown = plain(value)
    except RecursionError:
        raise _too_deep() from None
    try:
        return orjson.dumps(shown)
    except TypeError:
        if depth(shown) > SHOWN_DEPTH:
            raise _too_deep() from None
        return orjson.dumps(_sayable(shown))


def _too_deep() -> TooLargeError:
    return TooLargeError(
        f"a document that the projection makes is nested deeper than {SHOWN_DEPTH}", details={"limit": SHOWN_DEPTH}
    )


def encode_strictly(value: Any) -> bytes:
    """As `encode`, of what somebody made and nobody stored: `TypeError` for text with a lone surrogate."""
    return orjson.dumps(plain(value))


_LONE = re.compile("[\ud800-\udfff]")


def _sayable(value: Any) -> Any:
    """What `plain` gave, without the lone surrogates that stand for bytes which are no UTF-8."""
    if isinstance(value, str):
        return _LONE.sub("\ufffd", value)
    if isinstance(value, dict):
        fields: dict[str, Any] = {}
        for name, inner in value.items():
            shown = utf8(name).decode("utf-8", "backslashreplace")
            while shown in fields or (shown != name and shown in value):
                shown = f"\\{shown}"
            fields[shown] = _sayable(inner)
        return fields
    return [_sayable(inner) for inner in value] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """`value` as what JSON has: dicts, lists, strings, numbers, booleans, None."""
    kind = type(value)
    if kind in _ITSELF:
        return value
    if kind is dict:
        return {name: inner if type(inner) in _ITSELF else plain(inner) for name, inner in value.items()}
    if kind is list:
        return [inner if type(inner) in _ITSELF else plain(inner) for inner in value]
    encoder = _ENCODERS.get(kind)
    if encoder is not None:
        return encoder(value)
    for base, encoder in _ENCODERS.items():
        if isinstance(value, base):
            return encoder(value)
    raise TypeError(f"{kind.__name__} is no BSON type")


_ITSELF = frozenset({str, bool, type(None)})
"""Types whose values are JSON as they are; looked at here, for most values are of them and a call costs more."""


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
    if type(value) is dt.datetime and value.tzinfo is dt.UTC and value.year >= _EPOCH.year:
        # As nearly all are: its own text, without a way through milliseconds.
        return {"$date": value.isoformat("T", "milliseconds" if value.microsecond >= 1000 else "seconds")[:-6] + "Z"}
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
    Undefined: lambda _: {"$undefined": True},
    **dict.fromkeys((Symbol, BrokenSymbol), lambda value: {"$symbol": str(value)}),
    Broken: str,
    Pointer: lambda value: {"$dbPointer": {"$ref": value.namespace, "$id": {"$oid": str(value.id)}}},
    OddBinary: lambda value: _binary(Binary(value.data, OLD_BINARY_SUBTYPE)),
    OddRegex: lambda value: {"$regularExpression": {"pattern": str(value.pattern), "options": value.options}},
    Repeated: _mapping,
    SON: _mapping,
    Mapping: _mapping,
    str: str,
    list: lambda value: [plain(inner) for inner in value],
    tuple: lambda value: [plain(inner) for inner in value],
}

# ---------------------------------------------------------------------------------------------------------- decode


AROUND = 6
"""Levels around a document: the frame, its list of changes and the change."""
FRAME_DEPTH = MAX_DEPTH + AROUND
"""Of a frame that carries a stored document."""


def decode_frame(text: str | bytes) -> Any:
    """What a server frame says. A stored document may look like a `$…` wrapper and be none: it stays as it is."""
    return _decode(text, _object_or_fields, SHOWN_DEPTH + AROUND)


def decode(text: str | bytes) -> Any:
    """The BSON value that `text` (UTF-8) stands for. `EjsonError` for anything that is not strict JSON.

    Refused beside broken syntax: NaN literals, lone surrogates, duplicate keys, and nesting over `MAX_DEPTH` with what
    is around a document. `EjsonValueError` says where: what has the name of a wrapper of the specification and is not
    exactly one, integers beyond 64 bits that are no double, and a NUL character in a name: a name ends there in BSON,
    and what follows it would be read as values.
    """
    escaped = NUL in text if isinstance(text, str) else NUL.encode() in text
    return _decode(text, _object_named if escaped else _object, FRAME_DEPTH)


NUL = "\\u0000"
"""The one way in which strict JSON spells a NUL character."""


def _decode(text: str | bytes, hook: Callable[[Any], Any], most: int) -> Any:
    try:
        # orjson is the strict one (UTF-8, surrogates, NaN); json is the one that shows duplicate keys.
        orjson.loads(text)
        value = json.loads(text, object_pairs_hook=hook, parse_int=_parse_int)
    except EjsonValueError as error:
        raise EjsonValueError(f"{error}{_where(text)}") from None
    except EjsonError:
        raise
    except RecursionError:
        raise EjsonError(f"nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:
        raise EjsonError(f"not JSON: {error}") from None
    if depth(value) > most:
        raise EjsonError(f"nested deeper than {most - AROUND}")
    return value


def _where(text: str | bytes) -> str:
    """The path of the first value that was refused, for a message; empty at the top."""

    def number(literal: str) -> Any:
        try:
            return _parse_int(literal)
        except EjsonValueError:
            return _REFUSED

    def fields(pairs: list[tuple[str, Any]]) -> Any:
        try:
            return _object_named(pairs)
        except EjsonError:
            return _REFUSED

    found = _path_of(json.loads(text, object_pairs_hook=fields, parse_int=number))
    return f" (at {found})" if found else ""


_REFUSED = object()


def _path_of(value: Any) -> str | None:
    """The path of `_REFUSED` in it; empty where it is that itself."""
    if value is _REFUSED:
        return ""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in inside:
        found = _path_of(inner)
        if found is not None:
            return f"{name}.{found}" if found else str(name)
    return None


def depth(value: Any) -> int:
    """Nesting of objects and arrays as MongoDB bounds it, where an empty one is no level: 0 for a scalar, 1 if flat."""
    deepest = 0
    pending: list[tuple[Any, int]] = [(value, 0)]
    while pending:
        outer, level = pending.pop()
        if isinstance(outer, dict | list) and outer:
            deepest = max(deepest, level + 1)
            pending.extend((inner, level + 1) for inner in (outer.values() if isinstance(outer, dict) else outer))
    return deepest


def _parse_int(literal: str) -> Any:
    if len(literal) <= _DIGITS:
        number = int(literal)
        if -(2**63) <= number < 2**63:
            return number
        # JavaScript writes the double 1e19 so.
        if int(float(number)) == number:
            return float(number)
    raise EjsonValueError(
        f"{literal[:40]} is beyond 64 bits: wrap it in $numberDouble, which rounds it, or in $numberDecimal"
    )


_DIGITS = 300
"""Of an integer that a double may be."""


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


def _object_named(pairs: list[tuple[str, Any]]) -> Any:
    if any("\0" in name for name, _ in pairs):
        raise EjsonValueError("a field name has no NUL character")
    return _object(pairs)


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


_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_DOUBLE = re.compile(r"-?Infinity|NaN|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_DECIMAL = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[iI]nf(?:inity)?)|[nN]a[nN]")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?[0-5]\d)", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SUBTYPE = re.compile(r"[0-9a-fA-F]{1,2}")
_OID = re.compile(r"[0-9a-fA-F]{24}")


def _matching(pattern: re.Pattern[str], fields: dict[str, Any], name: str) -> str:
    text = _text(fields, name)
    if not pattern.fullmatch(text):
        raise ValueError(text)
    return text


def _to_int32(fields: dict[str, Any]) -> int:
    number = int(_matching(_INTEGER, fields, "$numberInt"))
    if not -(2**31) <= number < 2**31:
        raise ValueError(number)
    return number


def _to_int64(fields: dict[str, Any]) -> Int64:
    number = int(_matching(_INTEGER, fields, "$numberLong"))
    if not -(2**63) <= number < 2**63:
        raise ValueError(number)
    return Int64(number)


def _to_date(fields: dict[str, Any]) -> dt.datetime | DatetimeMS:
    value = fields["$date"]
    if type(value) is Int64:
        try:
            return _EPOCH + int(value) * _MILLISECOND
        except OverflowError:
            return DatetimeMS(int(value))  # of an Int64 it would be one that the driver cannot encode without a warning
    moment = dt.datetime.fromisoformat(_matching(_DATE, fields, "$date"))
    return _EPOCH + (moment - _EPOCH) // _MILLISECOND * _MILLISECOND


def _to_binary(fields: dict[str, Any]) -> Any:
    inner = _inner(fields, "$binary", "base64", "subType")
    text = _text(inner, "base64")
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError(text)  # bits that stand for nothing
    subtype = int(_matching(_SUBTYPE, inner, "subType"), 16)
    if subtype == UUID_SUBTYPE and len(data) == _UUID_BYTES:
        return uuid.UUID(bytes=data)
    return data if subtype == 0 else Binary(data, subtype)


def _to_regex(fields: dict[str, Any]) -> Regex[str]:
    inner = _inner(fields, "$regularExpression", "pattern", "options")
    options = _text(inner, "options")
    if options != "".join(sorted(set(options) & set("ilmsux"))) or "\0" in _text(inner, "pattern"):
        raise ValueError(options)
    return Regex(_text(inner, "pattern"), options)


def _to_timestamp(fields: dict[str, Any]) -> Timestamp:
    inner = _inner(fields, "$timestamp", "t", "i")
    if type(inner["t"]) is not int or type(inner["i"]) is not int:
        raise TypeError(inner)
    return Timestamp(inner["t"], inner["i"])


def _to_code(fields: dict[str, Any]) -> Code:
    if "$scope" in fields and not isinstance(fields["$scope"], dict):
        raise TypeError(fields["$scope"])
    return Code(_text(fields, "$code"), fields.get("$scope"))


def _one(fields: dict[str, Any], name: str, value: Any) -> Any:
    if type(fields[name]) is not int or fields[name] != 1:
        raise ValueError(fields[name])
    return value


_DECODERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "$oid": lambda fields: ObjectId(_matching(_OID, fields, "$oid")),
    "$date": _to_date,
    "$numberInt": _to_int32,
    "$numberLong": _to_int64,
    "$numberDouble": lambda fields: float(_matching(_DOUBLE, fields, "$numberDouble")),
    "$numberDecimal": lambda fields: Decimal128(_matching(_DECIMAL, fields, "$numberDecimal")),
    "$binary": _to_binary,
    "$uuid": lambda fields: uuid.UUID(_matching(_UUID, fields, "$uuid")),
    "$regularExpression": _to_regex,
    "$timestamp": _to_timestamp,
    "$code": _to_code,
    "$scope": _to_code,
    "$minKey": lambda fields: _one(fields, "$minKey", MinKey()),
    "$maxKey": lambda fields: _one(fields, "$maxKey", MaxKey()),
}
