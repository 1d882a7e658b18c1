"""BSON comparison: the order over all types that `find`, `sort` and MongoDB's indexes use.

`order(value)` is a tuple `(rank, comparable)`: two values compare in MongoDB as their tuples do in Python, equal ones
have equal tuples (and equal hashes), and the rank is the type bracket in which `$gt` and its relatives look.
Source: MongoDB manual, "Comparison/Sort Order".
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from bson.binary import OLD_BINARY_SUBTYPE, Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from realtime.core.bson.ejson import millis, regex_options
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

Order = tuple[int, Any]


class _Missing:
    """No such field; equal to null for `$eq` and for sorting, different for `$exists`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()

(
    MIN_KEY,
    UNDEFINED,
    NULL,
    NUMBER,
    STRING,
    OBJECT,
    ARRAY,
    BINARY,
    OBJECT_ID,
    BOOLEAN,
    DATE,
    TIMESTAMP,
    REGEX,
    POINTER,
    CODE,
    SCOPED,
    MAX_KEY,
) = range(17)
"""Ranks, in MongoDB's order. An empty array sorts as if it were undefined."""


def order(value: Any) -> Order:
    """`value`'s place in the BSON order. `TypeError` for what BSON does not have."""
    orderer = _ORDERERS.get(type(value))
    if orderer is not None:
        return orderer(value)
    for base, orderer in _ORDERERS.items():
        if isinstance(value, base):
            return orderer(value)
    raise TypeError(f"{type(value).__name__} is no BSON type")


def rank_of(value: Any) -> int:
    """`value`'s type bracket: the rank of its order, without the order of what is inside it."""
    rank = _RANKS.get(type(value))
    return order(value)[0] if rank is None else rank


def is_nan(value: Any) -> bool:
    """Whether `value` is a double or decimal NaN, which equals itself and is less than every other number."""
    if isinstance(value, Decimal128):
        return value.to_decimal().is_nan()
    return isinstance(value, float) and value != value  # noqa: PLR0124 - the definition of NaN


def _number(value: float) -> Order:
    # Python compares int, float and Decimal exactly, which is what MongoDB does across its four numeric types.
    return (NUMBER, (0, 0)) if value != value else (NUMBER, (1, value))  # noqa: PLR0124 - the definition of NaN


def _decimal(value: Decimal128) -> Order:
    number = value.to_decimal()
    return (NUMBER, (0, 0)) if number.is_nan() else (NUMBER, (1, number))


def _object(value: Mapping[str, Any]) -> Order:
    # Field by field: the value's type, then the name, then the value; a prefix is less. A loop and no generator, which
    # would take two frames more of Python's stack for each of the 180 levels that MongoDB stores.
    placed = []
    for name, inner in value.pairs if isinstance(value, Repeated) else value.items():
        rank, comparable = order(inner)
        placed.append((rank, name if name.isascii() else _comparable(name), comparable))
    return OBJECT, tuple(placed)


def _array(value: list[Any]) -> Order:
    return ARRAY, tuple(map(order, value))


class _Bytes:
    """Text that is no UTF-8, among texts: MongoDB compares their bytes."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bytes) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __lt__(self, other: _Bytes | str) -> bool:
        return self.raw < _raw(other)

    def __le__(self, other: _Bytes | str) -> bool:
        return self.raw <= _raw(other)

    def __gt__(self, other: _Bytes | str) -> bool:
        return self.raw > _raw(other)

    def __ge__(self, other: _Bytes | str) -> bool:
        return self.raw >= _raw(other)


def _raw(text: _Bytes | str) -> bytes:
    return text.raw if isinstance(text, _Bytes) else text.encode()


def _comparable(text: str) -> Any:
    """Texts by their code points, which is the order of their UTF-8 bytes; those that are no UTF-8 by their bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _Bytes(utf8(text))
    return str(text)


def binary_of(value: bytes | uuid.UUID | OddBinary) -> tuple[int, bytes]:
    """Subtype and bytes of binary data, as stored."""
    if isinstance(value, OddBinary):
        return OLD_BINARY_SUBTYPE, value.data
    if isinstance(value, uuid.UUID):
        return 4, value.bytes
    subtype = value.subtype if isinstance(value, Binary) else 0
    data = bytes(value)
    # The old subtype begins with its own length, which the driver takes off.
    return subtype, len(data).to_bytes(4, "little") + data if subtype == OLD_BINARY_SUBTYPE else data


def _binary(value: bytes | uuid.UUID | OddBinary) -> Order:
    subtype, data = binary_of(value)
    return BINARY, (len(data), subtype, data)


def _code(value: Code) -> Order:
    text = _comparable(value)
    return (CODE, text) if value.scope is None else (SCOPED, (text, _object(value.scope)))


def _regex(value: Regex[Any]) -> Order:
    pattern = value.pattern.encode() if isinstance(value.pattern, str) else value.pattern
    return REGEX, (pattern, regex_options(value))


def _pointer(value: Pointer) -> Order:
    # MongoDB sorts by length and id, and takes two that differ in the name alone for equal unless an index sorts them.
    namespace = utf8(value.namespace)
    return POINTER, (len(namespace), value.id.binary, namespace)


_ORDERERS: dict[type, Callable[[Any], Order]] = {
    str: lambda value: (STRING, value),  # code point order is the order of the UTF-8 bytes
    int: lambda value: (NUMBER, (1, value)),
    float: _number,
    bool: lambda value: (BOOLEAN, value),
    type(None): lambda _: (NULL, 0),
    dict: _object,
    list: _array,
    ObjectId: lambda value: (OBJECT_ID, value.binary),
    dt.datetime: lambda value: (DATE, millis(value)),
    DatetimeMS: lambda value: (DATE, millis(value)),
    Int64: lambda value: (NUMBER, (1, int(value))),
    Decimal128: _decimal,
    Binary: _binary,
    bytes: _binary,
    uuid.UUID: _binary,
    Timestamp: lambda value: (TIMESTAMP, (value.time, value.inc)),
    Regex: _regex,
    Code: _code,
    MinKey: lambda _: (MIN_KEY, 0),
    MaxKey: lambda _: (MAX_KEY, 0),
    DBRef: lambda value: _object(value.as_doc()),
    _Missing: lambda _: (NULL, 0),
    Undefined: lambda _: (UNDEFINED, 0),
    Symbol: lambda value: (STRING, str(value)),
    **dict.fromkeys((Broken, BrokenSymbol), lambda value: (STRING, _comparable(value))),
    Pointer: _pointer,
    OddBinary: _binary,
    OddRegex: lambda value: (REGEX, (utf8(value.pattern), value.options)),
    Repeated: _object,
    Mapping: _object,
}

_RANKS: dict[type, int] = {
    **dict.fromkeys((int, float, Int64, Decimal128), NUMBER),
    **dict.fromkeys((type(None), _Missing), NULL),
    **dict.fromkeys((dt.datetime, DatetimeMS), DATE),
    **dict.fromkeys((bytes, Binary, uuid.UUID, OddBinary), BINARY),
    **dict.fromkeys((dict, DBRef, Repeated), OBJECT),
    **dict.fromkeys((str, Symbol, Broken, BrokenSymbol), STRING),
    list: ARRAY,
    ObjectId: OBJECT_ID,
    bool: BOOLEAN,
    Timestamp: TIMESTAMP,
    **dict.fromkeys((Regex, OddRegex), REGEX),
}
"""Of the types that have one rank; code has two."""
