"""Keys of documents by chance: every BSON type that a key may have, and text that paths are broken by."""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from realtime.core.bson import ejson
from tests.chance import fresh_seed

SEED = fresh_seed()

_PIECES = [
    *"abcABC019-_~ /.%\\\"'{}[]()<>?#&=+;:,@!$*|^`",
    *("\n", "\r", "\t", "\0", "\x01", "\x1f", "\x7f", "\x80", "\x85", "\xa0", "\u2028", "\ufeff", "\ufffd", "\uffff"),
    *("é", "Ж", "e\u0301", "漢", "😀", "..", "/../", "//", "%2F", "%2e", "%0A", "%", "true", "null", "5" * 24),
    *('{"$oid":"', '{"$numberInt":"7"}', '"a"', "\\u002f", "documents", "events"),
]

HARD: list[Any] = [
    *("", ".", "..", "...", "/", "//", "/a", "a/", "a//b", "a/./b", "a/../b", "a/..", "../../../../../../etc/passwd"),
    *("\n", "abc\n", "\nabc", "a\nb", "abc\r\n", "abc\r", "\0", "a\0b", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffd"),
    *(
        "true",
        "false",
        "null",
        "7",
        "{",
        '"',
        "{}",
        '""',
        '"abc"',
        '{"$oid":"x"}',
        "[true]",
        "%",
        "%2F",
        "%2E%2E",
        "%0A",
    ),
    *(
        "abc%0A",
        "a%2Fb",
        "a/b",
        "a b",
        " ",
        " a",
        "a ",
        "a+b",
        "a?b",
        "a#b",
        "a;b",
        "a\\b",
        "\\..\\",
        "a&b=c",
        "$",
        "~",
    ),
    *("6579f0c2a1b2c3d4e5f60718", "6579F0C2A1B2C3D4E5F60718", "Ж", "ü", "u\u0308", "漢字", "😀", "x" * 2000, "é" * 900),
    *(
        True,
        False,
        None,
        0,
        -1,
        7,
        2**31,
        Int64(2**62),
        -(2**63),
        0.5,
        -1e300,
        float("inf"),
        float("-inf"),
        float("nan"),
    ),
    *(Decimal128("1.50"), Decimal128("NaN"), Decimal128("-1E+400"), ObjectId("5" * 24), MinKey(), MaxKey()),
    *(dt.datetime(2026, 5, 4, 3, 2, 1, 7000, dt.UTC), DatetimeMS(-(2**60)), DatetimeMS(2**60), Timestamp(1, 2)),
    *(b"", b"\xff\xfe?>", Binary(b"x", 2), Binary(b"/?" * 9, 0x80), Binary(b"x" * 16, 3), uuid.UUID(int=5)),
    *(Code("abc"), Code("a/../b\n"), Code("f()", {}), Code("f()", {"x": 1})),
    *({}, {"a": "/../"}, {"a/b": "\n"}, {"a": {"b": [1, Regex("/", "i"), None]}}, {"": ""}, {"$ref": "a", "$id": 1}),
]
"""Those by which some path, client or proxy is known to be broken."""


def text(chance: random.Random) -> str:
    """A few pieces, the odd ones as often as the others."""
    found = "".join(chance.choice(_PIECES) for _ in range(chance.choice((1, 1, 2, 2, 3, 5, 9))))
    return quote(found) if chance.random() < 0.1 else found


def key(chance: random.Random) -> Any:
    """A key of any type, half of them text."""
    return text(chance) if chance.random() < 0.5 else chance.choice(_KINDS)(chance)


def json_text(chance: random.Random) -> str:
    """Text that is another key's Extended JSON."""
    return ejson.encode(chance.choice(_KINDS)(chance)).decode()


def _name(chance: random.Random) -> str:
    # No key has a field whose name begins with $, or holds a zero byte.
    return text(chance).replace("\0", "").lstrip("$")


def _object(chance: random.Random) -> dict[str, Any]:
    return {_name(chance): chance.choice((key, text, _array))(chance) for _ in range(chance.randrange(4))}


def _array(chance: random.Random) -> list[Any]:
    return [key(chance) for _ in range(chance.randrange(3))]


def _binary(chance: random.Random) -> Binary:
    # What is stored as a UUID and is none is shown as a binary all the same; it is a key like any other.
    return Binary(chance.randbytes(chance.randrange(20)), chance.choice((0, 1, 3, 4, 5, 6, 0x80, 0xFF)))


_KINDS: list[Callable[[random.Random], Any]] = [
    lambda chance: ObjectId(chance.randbytes(12)),
    lambda chance: chance.randbytes(12).hex(),
    lambda chance: chance.randrange(-(2**31), 2**31),
    lambda chance: Int64(chance.randrange(-(2**63), 2**63)),
    lambda chance: chance.choice((chance.random(), chance.uniform(-1e300, 1e300), 5e-324 * chance.randrange(99))),
    lambda chance: Decimal128(f"{chance.randrange(10**30)}E{chance.randrange(-99, 99)}"),
    lambda chance: DatetimeMS(chance.randrange(-(2**62), 2**62)),
    lambda chance: dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=chance.randrange(10**12)),
    lambda chance: Timestamp(chance.randrange(1, 2**32), chance.randrange(2**32)),
    lambda chance: uuid.UUID(bytes=chance.randbytes(16)),
    lambda chance: Code(text(chance)),
    lambda chance: Code(text(chance), {"x": chance.randrange(99)}),
    lambda chance: chance.choice((True, False, None, MinKey(), MaxKey())),
    _binary,
    _object,
    json_text,
]
