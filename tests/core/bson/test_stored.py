"""Everything that MongoDB stores is read as it is stored, in order, and written back as the same bytes."""

from __future__ import annotations

import struct
import uuid
from typing import Any

import bson
import pytest
from bson.binary import Binary
from bson.code import Code
from bson.dbref import DBRef
from bson.errors import InvalidBSON, InvalidDocument
from bson.objectid import ObjectId
from bson.regex import Regex

from realtime.core.bson import stored
from realtime.core.bson.stored import (
    UNDEFINED_VALUE,
    Broken,
    BrokenSymbol,
    OddBinary,
    OddRegex,
    Pointer,
    Repeated,
    Symbol,
    decode,
    encode,
)
from realtime.core.bson.values import order


def int32(number: int) -> bytes:
    return struct.pack("<i", number)


def element(kind: int, data: bytes, name: bytes = b"u") -> bytes:
    return bytes([kind]) + name + b"\0" + data


def document(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return int32(len(body) + 5) + body + b"\0"


def text(data: bytes) -> bytes:
    return int32(len(data) + 1) + data + b"\0"


def binary(subtype: int, data: bytes) -> bytes:
    return int32(len(data)) + bytes([subtype]) + data


OID = ObjectId("5" * 24)
ONE = element(0x10, int32(1))
REFERENCE = element(0x02, text(b"users"), b"$ref")
ID = element(0x10, int32(4), b"$id")

CASES: dict[str, tuple[bytes, Any]] = {
    "binary of the UUID's subtype that is too short for one": (element(5, binary(4, b"12345")), Binary(b"12345", 4)),
    "a UUID stays binary": (element(5, binary(4, b"x" * 16)), Binary(b"x" * 16, 4)),
    "a UUID of the old subtype stays binary": (element(5, binary(3, b"x" * 16)), Binary(b"x" * 16, 3)),
    "binary of a user's subtype": (element(5, binary(0x80, b"12")), Binary(b"12", 0x80)),
    "encrypted data": (element(5, binary(6, b"\1" * 17)), Binary(b"\1" * 17, 6)),
    "the old subtype": (element(5, binary(2, int32(1) + b"x")), Binary(b"x", 2)),
    "the old subtype with an inner length that is not so": (
        element(5, binary(2, int32(7) + b"x")),
        OddBinary(int32(7) + b"x"),
    ),
    "the old subtype without an inner length": (element(5, binary(2, b"xx")), OddBinary(b"xx")),
    "undefined": (element(6, b""), UNDEFINED_VALUE),
    "a symbol": (element(14, text(b"ab")), Symbol("ab")),
    "a symbol that is no UTF-8": (element(14, text(b"\xff")), BrokenSymbol("\udcff")),
    "a pointer": (element(12, text(b"db.c") + OID.binary), Pointer("db.c", OID)),
    "text that is no UTF-8": (element(2, text(b"a\xffb")), Broken("a\udcffb")),
    "text with NUL": (element(2, text(b"a\0b")), "a\0b"),
    "code that is no UTF-8": (element(13, text(b"\xff")), Code("\udcff")),
    "code with a scope beside broken text": (
        element(15, int32(4 + 6 + len(document(ONE))) + text(b"f") + document(ONE)),
        Code("f", {"u": 1}),
    ),
    "options of a regular expression out of order": (element(11, b"a\0xi\0"), OddRegex("a", "xi")),
    "options that are none": (element(11, b"a\0q\0"), OddRegex("a", "q")),
    "a pattern that is no UTF-8": (element(11, b"\xff\0i\0"), OddRegex("\udcff", "i")),
    "a regular expression": (element(11, b"a\0im\0"), Regex("a", "im")),
    "a reference": (element(3, document(REFERENCE, ID)), {"$ref": "users", "$id": 4}),
    "a reference with its id first": (element(3, document(ID, REFERENCE)), {"$id": 4, "$ref": "users"}),
    "references in a list": (
        element(4, document(element(3, document(REFERENCE, ID), b"0"))),
        [{"$ref": "users", "$id": 4}],
    ),
    "a name that stands twice": (
        element(3, document(ONE, element(0x10, int32(2)))),
        Repeated([("u", 1), ("u", 2)]),
    ),
    "a date past Python's": (element(9, struct.pack("<q", 2**60)), bson.datetime_ms.DatetimeMS(2**60)),
    "no number": (element(1, struct.pack("<Q", 0x7FF8000000000001)), None),
    "an array whose names are no numbers": (element(4, document(element(0x10, int32(5), b"x"))), [5]),
}


@pytest.mark.parametrize(("raw", "expected"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("beside", [b"", element(6, b"", b"odd")], ids=["alone", "beside undefined"])
def test_a_value_is_read_as_it_is_stored(raw: bytes, expected: Any, beside: bytes) -> None:
    """Alone, as the driver may read it; and beside what the driver cannot read, element by element."""
    found = decode(document(raw, beside))
    if expected is not None:
        assert type(found["u"]) is type(expected)
        assert found["u"] == expected
        assert order(found["u"]) == order(expected)
    assert list(found) == (["u", "odd"] if beside else ["u"])


LOST = {"an array whose names are no numbers"}
EXACT = {name: raw for name, (raw, _) in CASES.items() if name not in LOST}


@pytest.mark.parametrize("raw", EXACT.values(), ids=EXACT.keys())
def test_what_was_read_is_written_as_the_same_bytes(raw: bytes) -> None:
    for whole in (document(raw), document(raw, element(6, b"", b"odd")), document(element(3, document(raw)))):
        assert encode(decode(whole)) == whole


def test_names_that_differ_in_broken_bytes_are_two() -> None:
    found = decode(document(element(0x10, int32(1), b"\xff"), element(0x10, int32(2), b"\xfe")))
    assert list(found.items()) == [("\udcff", 1), ("\udcfe", 2)]
    assert encode(found) == document(element(0x10, int32(1), b"\xff"), element(0x10, int32(2), b"\xfe"))


def test_of_equal_names_the_first_counts() -> None:
    found = decode(document(element(0x10, int32(1)), element(0x10, int32(2)), element(0x10, int32(3), b"v")))
    assert found["u"] == 1
    assert list(found) == ["u", "v"]


def test_every_type_is_read_beside_what_the_driver_cannot_read() -> None:
    plain = {
        "double": 1.5,
        "text": "häß",
        "fields": {"a": [1, {"b": None}]},
        "bytes": b"x",
        "oid": OID,
        "yes": True,
        "nothing": None,
        "code": Code("f"),
        "int": 5,
        "time": bson.Timestamp(1, 2),
        "long": bson.Int64(5),
        "decimal": bson.Decimal128("1.50"),
        "least": bson.MinKey(),
        "most": bson.MaxKey(),
    }
    raw = encode({**plain, "odd": UNDEFINED_VALUE})
    found = decode(raw)
    assert found.pop("odd") is UNDEFINED_VALUE
    assert found == plain
    assert [type(value) for value in found.values()] == [type(value) for value in plain.values()]
    assert len(found) == 14


def test_a_document_of_180_levels_is_read_ordered_and_written() -> None:
    raw = document(element(6, b""))
    for _ in range(180):
        raw = document(element(3, raw))
    found = decode(raw)
    assert encode(found) == raw
    assert order(found) == order(decode(bytes(raw)))


def test_a_document_that_begins_with_a_reference_is_a_dict() -> None:
    raw = document(element(0x10, int32(1), b"_id"), element(3, document(REFERENCE, ID), b"fullDocument"))
    assert type(decode(raw)["fullDocument"]) is dict
    assert not isinstance(decode(raw)["fullDocument"], DBRef)


def test_a_view_of_memory_is_read_as_well() -> None:
    assert decode(memoryview(document(ONE))) == {"u": 1}


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"\0" * 4, document(ONE)[:-1], document(element(0x77, b"")), document(element(8, b"\2"))),
        *(document(element(2, int32(90))), document(ONE) + b"\0", int32(14) + document(ONE)[4:]),
        document(element(3, int32(13) + document(ONE)[4:])),
        *(document(element(2, int32(size) + b"ab\0")) for size in (0, 2, -1, -9)),
        *(document(element(5, int32(-1) + b"\0")), document(element(4, int32(13) + document(ONE)[4:]))),
        document(element(15, int32(9) + text(b"f") + document(ONE))),
    ],
)
def test_bytes_that_are_no_document_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidBSON):
        decode(raw)


def test_what_bson_does_not_have_is_not_written() -> None:
    with pytest.raises(InvalidDocument):
        encode({"a": object()})
    with pytest.raises(InvalidDocument):
        encode({"a": UNDEFINED_VALUE, "b": object()})
    for beside in ({}, {"b": UNDEFINED_VALUE}):
        # "a" would be 5, and "c" 1: another document than was meant, and perhaps one that there is.
        with pytest.raises(InvalidDocument, match="NUL"):
            encode({"k": {"a\0\5\0\0\0\x10c": 1}, **beside})
    assert decode(encode({"a": uuid.UUID(int=5), "b": [UNDEFINED_VALUE]}))["a"] == Binary(uuid.UUID(int=5).bytes, 4)


def test_odd_values_are_equal_to_their_like_alone() -> None:
    pairs: list[tuple[Any, Any]] = [
        (Pointer("a", OID), Pointer("b", OID)),
        (OddBinary(b"xx"), OddBinary(b"xy")),
        (OddRegex("a", "xi"), OddRegex("a", "q")),
    ]
    for one, other in pairs:
        assert one != other
        assert order(one) != order(other)
        assert repr(one) != repr(other)
    assert repr(UNDEFINED_VALUE) == "UNDEFINED_VALUE"
    assert Broken("a\udcff").raw == b"a\xff"
    assert stored.utf8("é\udcff") == b"\xc3\xa9\xff"
