"""Two documents that MongoDB tells apart are two rows, whatever JSON can say of their keys."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid
from itertools import combinations
from typing import Any

import pytest
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from realtime.core.bson import ejson, keys, stored
from realtime.core.bson.stored import (
    UNDEFINED_VALUE,
    Broken,
    BrokenSymbol,
    OddBinary,
    OddRegex,
    Pointer,
    Repeated,
    Symbol,
)
from realtime.core.bson.values import order
from realtime.errors import InvalidRequestError

EXACT: list[Any] = [
    *("", "a", "é", "a\0b", 1, 2**40, Int64(2**62), 1.5, float("nan"), Decimal128("1.10"), True, None, b"\xff"),
    *(ObjectId("5" * 24), dt.datetime(2020, 1, 1, tzinfo=dt.UTC), DatetimeMS(2**60), Timestamp(1, 2), Code("f")),
    *(Binary(b"12345", 4), Binary(b"x" * 16, 4), Binary(b"x", 0x80), Binary(b"x", 2), uuid.UUID(int=5)),
    *({}, {"a": 1}, {"b": {"c": [1, "x"]}}, {"1": 1, "2": 2}, {"2": 2, "1": 1}, {"$ref": "a", "$id": 1}),
]
OPAQUE: list[Any] = [
    *(
        Broken("\udcff"),
        Broken("\udcfe"),
        Broken("a\udcff"),
        Symbol("a"),
        BrokenSymbol("\udcfd"),
        Pointer("a", ObjectId("5" * 24)),
    ),
    *(OddBinary(b"xx"), OddBinary(b"xy"), {"\udcff": 1}, {b"\xfe".decode("utf-8", "surrogateescape"): 1}),
    *({"a": Broken("\udcff")}, {"a": Broken("\udcfe")}, Code("\udcff"), Code("\udcfe")),
    *({"a": UNDEFINED_VALUE}, {"a": OddRegex("a", "xi")}, {"a": OddRegex("a", "q")}, {"a": Symbol("b")}),
    *(Repeated([("a", 1), ("a", 2)]), Repeated([("a", 1), ("a", 3)]), {"a": Repeated([("a", 1), ("b", 2), ("a", 2)])}),
    *({"a": {"$oid": "5" * 24}}, {"a": {"$date": 5}}, {keys.OPAQUE: "x", "shown": 1}),
]


def test_keys_that_mongodb_tells_apart_have_two_texts() -> None:
    pairs = [(one, other) for one, other in combinations([*EXACT, *OPAQUE], 2) if order(one) != order(other)]
    assert len(pairs) > 900
    same = [(one, other) for one, other in pairs if keys.identity(one) == keys.identity(other)]
    assert same == []


@pytest.mark.parametrize("key", EXACT, ids=str)
def test_a_key_that_json_can_say_is_shown_as_it_is(key: Any) -> None:
    assert keys.shown_key(key) is key
    assert keys.identity(key) == ejson.encode(key).decode()
    assert keys.shown({"_id": key, "a": 1}) == ejson.encode({"_id": key, "a": 1})


@pytest.mark.parametrize("key", OPAQUE, ids=ascii)
def test_a_key_that_json_cannot_say_is_shown_marked_with_its_bytes(key: Any) -> None:
    shown = json.loads(keys.identity(key))
    assert list(shown) == [keys.OPAQUE, "shown"]
    assert order(stored.decode(base64.b64decode(shown[keys.OPAQUE]))[""]) == order(key)
    whole = json.loads(keys.shown({"_id": key, "a": 1}))
    assert whole == {"_id": shown, "a": 1}
    assert keys.identity(key) == ejson.encode(keys.shown_key(key)).decode()


@pytest.mark.parametrize("key", OPAQUE, ids=ascii)
def test_nothing_is_written_to_a_marked_key(key: Any) -> None:
    keys.check_key("plain")
    with pytest.raises(InvalidRequestError, match="use a driver") as refused:
        keys.check_key(ejson.decode_frame(keys.identity(key)))
    assert refused.value.details == {"field": "key"}


def test_a_document_without_a_key_is_shown_as_it_is() -> None:
    """A projection may hide it."""
    document = {"a": 1}
    assert keys.with_marks(document) is document
    assert keys.shown(document) == b'{"a":1}'
