"""BSON's order over all types, as MongoDB's manual has it ("Comparison/Sort Order")."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from types import MappingProxyType
from typing import Any

import pytest
from bson.binary import Binary
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

from realtime.core.bson.stored import Broken, OddBinary, OddRegex, Pointer, Symbol
from realtime.core.bson.values import MISSING, is_nan, order

EQUALS: list[list[Any]] = [
    [MinKey()],
    [None, MISSING],
    [float("nan"), Decimal128("NaN"), Decimal128("sNaN")],
    [float("-inf"), Decimal128("-Infinity")],
    [-(2**63), Int64(-(2**63)), -(2.0**63)],
    [-1, -1.0],
    [0, -0.0, Int64(0), Decimal128("0.00"), Decimal128("-0")],
    [Decimal128("0.1")],
    [0.1],
    [1, 1.0, Int64(1), Decimal128("1"), Decimal128("1.00")],
    [2**53, 2.0**53, Decimal128("9007199254740992")],
    [2**53 + 1, Decimal128("9007199254740993")],
    [float("inf"), Decimal128("Infinity")],
    [""],
    ["A"],
    ["a", type("Name", (str,), {})("a")],
    ["a\0"],
    ["ab", Symbol("ab")],
    [Broken("a\udcff")],
    ["é"],
    ["\uffff"],
    ["\U0001f600"],
    [Broken("\udcfe")],
    [Broken("\udcff")],
    [{}],
    [{"b": 1}, {"b": 1.0}, MappingProxyType({"b": 1})],
    [{"b": 1, "a": 0}],
    [{"b": 2}],
    [{"$ref": "c", "$id": 1}, DBRef("c", 1)],
    [{"a": "x"}],
    [{"a": "x", "é": "x"}],
    [{"a": "x", "\udcff": "x"}],
    [{"b": ""}],
    [{"a": {}}],
    [[]],
    [[1]],
    [[1, 1]],
    [[2]],
    [["a"]],
    [b"", Binary(b"", 0)],
    [b"b"],
    [OddBinary(b"a")],
    [Binary(b"a", 5)],
    [b"aa"],
    [uuid.UUID(int=1), Binary(uuid.UUID(int=1).bytes, 4)],
    [uuid.UUID(int=2)],
    [ObjectId("0" * 24)],
    [ObjectId("f" * 24)],
    [False],
    [True],
    [DatetimeMS(-(2**63))],
    [dt.datetime(1960, 1, 1, tzinfo=dt.UTC)],
    [dt.datetime(1970, 1, 1, tzinfo=dt.UTC), DatetimeMS(0)],
    [DatetimeMS(2**62)],
    [Timestamp(0, 5)],
    [Timestamp(1, 0)],
    [Regex("a", "")],
    [Regex("a", "i")],
    [Regex("b", ""), Regex(b"b", 0)],
    [OddRegex("b", "xi")],
    [Pointer("b", ObjectId("0" * 24))],
    [Pointer("a", ObjectId("1" * 24))],
    [Pointer("ab", ObjectId("0" * 24))],
    [Code("a")],
    [Code("b")],
    [Code("a", {})],
    [Code("a", {"x": 1})],
    [MaxKey()],
]


def test_values_are_ordered_as_mongodb_orders_them() -> None:
    placed = [(place, value) for place, values in enumerate(EQUALS) for value in values]
    for (left_place, left), (right_place, right) in itertools.product(placed, placed):
        assert (order(left) < order(right)) == (left_place < right_place), (left, right)
        assert (order(left) == order(right)) == (left_place == right_place), (left, right)


def test_equal_values_have_equal_hashes_so_that_a_set_finds_them() -> None:
    for values in EQUALS:
        assert len({order(value) for value in values}) == 1, values
    assert len({order(value) for values in EQUALS for value in values}) == len(EQUALS)


def test_texts_that_are_no_utf8_compare_with_others_both_ways() -> None:
    one, other, broken = order("é"), order("\U0001f600"), order(Broken("\xe9\udcff"))
    assert one < broken < other
    assert one <= broken <= other
    assert other > broken > one
    assert other >= broken >= one
    assert broken != one
    assert len({broken, order(Broken("\xe9\udcff")), one}) == 2


def test_a_document_of_180_levels_has_its_place() -> None:
    deep: dict[str, Any] = {}
    for _ in range(180):
        deep = {"a": [deep]}
    assert order(deep) == order({"a": deep["a"]})


def test_what_bson_does_not_have_has_no_place() -> None:
    with pytest.raises(TypeError, match="set is no BSON type"):
        order({1})


def test_nan_is_recognised_in_both_types_that_have_it() -> None:
    assert all(map(is_nan, (float("nan"), Decimal128("NaN"))))
    assert not any(map(is_nan, (0, 1.0, float("inf"), Decimal128("1"), "NaN", None, MISSING)))


def test_missing_says_what_it_is() -> None:
    assert repr(MISSING) == "MISSING"
