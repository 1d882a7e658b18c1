"""Operators beyond comparison: what matches, and which operands are refused where.

Expectations are MongoDB's; tests/mongo/test_filters_differential.py holds the same code against a real one.
"""

from __future__ import annotations

import datetime as dt
import uuid
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

from realtime.core.bson.stored import UNDEFINED_VALUE, Pointer, Symbol
from realtime.core.bson.values import MISSING
from realtime.core.mql import language
from realtime.core.mql.filters import Bounds, compile_filter
from realtime.core.mql.language import BSON_TYPES, FIELD_OPERATORS, REFUSED
from realtime.core.mql.operators import type_code
from realtime.errors import InvalidFilterError, UnsupportedOperatorError

DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NAN = float("nan")
D = Decimal128

Values = list[Any]
CASES: dict[str, tuple[Any, Values, Values]] = {
    "equality of dates, past 9999 and without a zone too": (DAY, [DAY, DAY.replace(tzinfo=None)], [DatetimeMS(0), 5]),
    "a date past 9999": (DatetimeMS(2**60), [DatetimeMS(2**60)], [DAY]),
    "a date without a zone is UTC": (DAY.replace(tzinfo=None), [DAY], [DAY + dt.timedelta(1)]),
    "milliseconds are all that a date has": (DAY.replace(microsecond=999), [DAY], [DAY.replace(microsecond=1000)]),
    "$lt of dates": ({"$lt": DAY}, [DAY - dt.timedelta(1), DatetimeMS(-(2**60))], [DAY, DatetimeMS(2**60), 0]),
    "booleans are no numbers": (True, [True, [True]], [1, False, None]),
    "one is no boolean": (1, [1.0, D("1")], [True, D("NaN"), NAN]),
    "a Decimal128 is exact": ({"$gt": D("0.1")}, [0.1, D("0.11"), float("inf")], [D("0.10"), NAN, D("NaN"), "1"]),
    "numbers against a Decimal128": ({"$lte": 5}, [D("5.0"), Int64(5), 5.0], [D("5.01"), D("NaN"), NAN, True]),
    "equality with a Decimal128": (D("5"), [5, 5.0, D("5.00")], [6, "5", MinKey()]),
    "binary data with its subtype": (Binary(b"x", 5), [Binary(b"x", 5)], [b"x", "x"]),
    "the old binary subtype": (Binary(b"x", 2), [Binary(b"x", 2)], [b"x", b"\1\0\0\0x"]),
    "a UUID": (uuid.UUID(int=1), [uuid.UUID(int=1), Binary(uuid.UUID(int=1).bytes, 4)], [uuid.UUID(int=2)]),
    "a timestamp": ({"$gte": Timestamp(1, 2)}, [Timestamp(1, 2), Timestamp(2, 0)], [Timestamp(1, 1), DAY, 5]),
    "a DBRef is an object": ({"$ref": "c", "$id": 1}, [DBRef("c", 1), {"$ref": "c", "$id": 1}], [{"$ref": "c"}]),
    "code": (Code("f"), [Code("f")], [Code("f", {}), "f"]),
    "$in of many types": (
        {"$in": ["x", 1, None, DAY, [1], {"a": 1}, NAN]},
        ["x", 1.0, D("1"), None, DAY, [1], {"a": 1.0}, NAN, D("NaN"), [5, "x"], MISSING],
        ["y", 2, [2], {"a": 2}, True, []],
    ),
    "$in of no text": ({"$in": [1]}, [1], ["1", ""]),
    "$in with a regular expression": ({"$in": [5, Regex("^b")]}, [5, "bc", ["a", "b"], Regex("^b")], ["ab", 6, None]),
    "$nin with a regular expression": ({"$nin": [5, Regex("^b")]}, ["ab", None, MISSING], ["b", ["b"], 5]),
    "a regular expression as a value": (Regex("b", "i"), ["aBc", ["x", "b"], Regex("b", "i")], ["a", 5, Regex("b")]),
    "a regular expression in bytes": (Regex(b"b", 0), ["b", Regex("b")], ["a"]),
    "$eq takes a regular expression as a value": ({"$eq": Regex("b")}, [Regex("b")], ["b", Regex("b", "i")]),
    "$regex": ({"$regex": "^a.c$"}, ["abc", "abc\n", ["x", "a c"]], ["a\nc", "abcd", 5, None, [["abc"]]]),
    "$regex with $options, in any order": ({"$options": "is", "$regex": "A.b"}, ["a\nB"], ["ab"]),
    "$regex of a BSON regular expression": ({"$regex": Regex("a", "i")}, ["A"], ["b"]),
    "$regex of a BSON regular expression with $options": ({"$regex": Regex("a"), "$options": "i"}, ["A"], ["b"]),
    "empty options before a BSON regular expression": ({"$options": "", "$regex": Regex("a", "i")}, ["A"], ["b"]),
    "options count twice for stored regular expressions": ({"$regex": "a", "$options": "ii"}, ["A"], [Regex("a", "i")]),
    "$not of a regular expression": ({"$not": Regex("a")}, ["b", 5, None, MISSING, []], ["a", ["b", "a"]]),
    "$not of $regex": ({"$not": {"$regex": "a", "$options": "i"}}, ["b"], ["A"]),
    "$mod": ({"$mod": [4, 1]}, [1, 5, Int64(9), 5.9, D("1.5"), [2, 5]], [0, 4, "5", True, None, -3, NAN, D("NaN")]),
    "$mod has the sign of the value": ({"$mod": [4, -1]}, [-1, -5, -5.5], [3, 1, -4]),
    "$mod of a fraction is towards zero": ({"$mod": [-4.9, 0.9]}, [0, 4, -8], [1, 2]),
    "$mod beyond 64 bits": ({"$mod": [1, 0]}, [2**62, -(2.0**63), D("9223372036854775807.9")], [1e19, D("1E+30")]),
    "$size": ({"$size": 2}, [[1, 2], [[], []]], [[1], [], 2, {"a": 1, "b": 2}, MISSING, [[1, 2]]]),
    "$size in any number type": ({"$size": D("1")}, [[1]], [[]]),
    "$type by number": ({"$type": 16}, [5, [5]], [Int64(5), 5.0, True, "5", MISSING]),
    "$type of a list of types": ({"$type": ["string", 10, 127]}, ["", None, MaxKey()], [1, MISSING]),
    "$type number": ({"$type": "number"}, [1, Int64(1), 1.0, D("1"), ["x", 1]], [True, "1", None]),
    "$type array is the array itself": ({"$type": "array"}, [[], [1], [[1]]], [1, {}]),
    "$type binData": ({"$type": "binData"}, [b"", Binary(b"", 5), uuid.UUID(int=1)], [""]),
    "$type of code with scope": ({"$type": 15.0}, [Code("f", {})], [Code("f")]),
    "$type minKey": ({"$type": -1}, [MinKey()], [MaxKey(), 1]),
    "$bitsAllSet": ({"$bitsAllSet": 5}, [5, 7, 5.0, Int64(13), D("5"), b"\x05", -1], [1, 4, 5.5, "5", None, True, NAN]),
    "$bitsAllSet of positions": ({"$bitsAllSet": [0, 2]}, [5, b"\x05\x00"], [1, b"", b"\x01"]),
    "$bitsAllSet past the end is the sign": ({"$bitsAllSet": [64, 200]}, [-1, Int64(-5)], [2**62, b"\xff", 1e300]),
    "$bitsAllSet of binary data": ({"$bitsAllSet": b"\x00\x80"}, [b"\x00\x80", 2**15], [b"\x80", 2**14]),
    "$bitsAllSet of binary data past 64 bits": ({"$bitsAllSet": b"\x00" * 9 + b"\x01"}, [-1], [1, b"\x01"]),
    "$bitsAllSet of nothing": ({"$bitsAllSet": []}, [0, b"", 5], [5.5, "x", MISSING]),
    "$bitsAllClear": ({"$bitsAllClear": 5}, [0, 2, b"", b"\x02"], [1, 5, b"\x04", -1, "x"]),
    "$bitsAnySet": ({"$bitsAnySet": 5}, [1, 4, b"\x04"], [2, 0, b"", None]),
    "$bitsAnySet of a UUID": ({"$bitsAnySet": [127]}, [-1, uuid.UUID(int=128)], [uuid.UUID(int=1)]),
    "$bitsAnyClear": ({"$bitsAnyClear": [0, 1]}, [0, 2, b"", b"\x01"], [3, 7, b"\x03"]),
    "a decimal has bits if it is an integer": (
        {"$bitsAllSet": []},
        [D("4"), D("-0")],
        [D("4.5"), D("NaN"), D("1E+30")],
    ),
    "$all": ({"$all": [1, 2]}, [[1, 2, 3], [2, 1.0]], [[1], [2], 1, []]),
    "$all of one value is equality": ({"$all": [1]}, [1, [1]], [2]),
    "$all of an array": ({"$all": [[1, 2]]}, [[1, 2], [[1, 2]]], [[1], [2, 1]]),
    "$all of nothing is nothing": ({"$all": []}, [], [[], 1, None, MISSING]),
    "$all with a regular expression": ({"$all": [Regex("^a"), "b"]}, [["ab", "b"]], [["ab"], ["b"]]),
    "$all with null": ({"$all": [None]}, [None, MISSING, [None]], [1, []]),
    "$all with $elemMatch": (
        {"$all": [{"$elemMatch": {"$gt": 1, "$lt": 5}}, {"$elemMatch": {"$gt": 7}}]},
        [[2, 9]],
        [[2], [9], [6, 9], 2],
    ),
    "$elemMatch of one element": ({"$elemMatch": {"$gt": 1, "$lt": 5}}, [[0, 2]], [[0, 9], 2, [], [[2]], MISSING]),
    "$elemMatch of objects": (
        {"$elemMatch": {"x": 1, "y": {"$ne": 2}}},
        [[{"x": 1}, 5], [{"x": [1], "y": 1}], [{"$ref": "c", "$id": 1, "x": 1}]],
        [[{"x": 1, "y": 2}], {"x": 1}, [5], [{"x": 2}, {"y": 3}], 5],
    ),
    "$elemMatch of nothing wants an object or array": ({"$elemMatch": {}}, [[{}], [[]]], [[1], [], {}]),
    "$elemMatch sees an inner array by its numbers": ({"$elemMatch": {"1": 5}}, [[[0, 5]], [{"1": 5}]], [[5, 5]]),
    "$elemMatch with a list of filters": ({"$elemMatch": {"$or": [{"x": 1}, {"y": 1}]}}, [[{"y": 1}]], [[{"z": 1}]]),
    "$elemMatch with $not": ({"$elemMatch": {"$not": {"$gt": 1}}}, [[5, 0], ["x"]], [[5], []]),
    "$elemMatch in $elemMatch": ({"$elemMatch": {"$elemMatch": {"$gt": 1}}}, [[[0, 2]]], [[2], [[0]]]),
    "$elemMatch with $in and $size": ({"$elemMatch": {"$in": [[1]], "$size": 1}}, [[[1]]], [[1], [[2]]]),
    "$elemMatch with $exists": ({"$elemMatch": {"$exists": True}}, [[None]], [[], 1]),
    "$elemMatch with a comment": ({"$elemMatch": {"$comment": "x", "y": 1}}, [[{"y": 1}]], [[{"y": 2}]]),
    "$not of several": ({"$not": {"$type": 2, "$regex": "a"}}, [5, "b", MISSING], ["a"]),
}


@pytest.mark.parametrize(("condition", "matching", "others"), CASES.values(), ids=CASES.keys())
def test_an_operator_matches_what_find_would(condition: Any, matching: Values, others: Values) -> None:
    flat, deep = compile_filter({"a": condition}).matches, compile_filter({"x.a": condition}).matches
    documents = {False: matching, True: others}
    for wrong, values in documents.items():
        for value in values:
            document = {} if value is MISSING else {"a": value}
            assert flat(document) is not wrong, value
            assert deep({"x": document}) is not wrong, value
    assert matching or others


def test_every_operator_has_a_case() -> None:
    text = repr(list(CASES.values()))
    elsewhere = {"$ne", "$gt", "$exists"}  # tests/core/mql/test_filters.py
    assert [name for name in FIELD_OPERATORS if f"'{name}'" not in text and name not in elsewhere] == []


def test_every_type_has_its_number() -> None:
    examples: dict[str, Any] = {
        "double": 1.0,
        "string": "",
        "object": {},
        "array": [],
        "binData": b"",
        "undefined": UNDEFINED_VALUE,
        "objectId": ObjectId("5" * 24),
        "bool": True,
        "date": DAY,
        "null": None,
        "regex": Regex("a"),
        "dbPointer": Pointer("a", ObjectId("5" * 24)),
        "symbol": Symbol("a"),
        "javascript": Code("f"),
        "javascriptWithScope": Code("f", {}),
        "int": 5,
        "timestamp": Timestamp(1, 1),
        "long": Int64(5),
        "decimal": D("5"),
        "minKey": MinKey(),
        "maxKey": MaxKey(),
    }
    assert {name: type_code(value) for name, value in examples.items()} == BSON_TYPES
    assert (type_code(2**40), type_code(MISSING)) == (18, 0)


INVALID: dict[str, tuple[Any, str]] = {
    "$size of a fraction": ({"$size": 1.5}, "a.$size"),
    "$size below zero": ({"$size": -1}, "a.$size"),
    "$size past 32 bits": ({"$size": 2**31}, "a.$size"),
    "$size of NaN": ({"$size": NAN}, "a.$size"),
    "$size of a signalling NaN": ({"$size": D("sNaN")}, "a.$size"),
    "$size of text": ({"$size": "1"}, "a.$size"),
    "$size of a boolean": ({"$size": True}, "a.$size"),
    "$mod without a list": ({"$mod": 4}, "a.$mod"),
    "$mod of one number": ({"$mod": [4]}, "a.$mod"),
    "$mod of three": ({"$mod": [4, 0, 1]}, "a.$mod"),
    "$mod by zero": ({"$mod": [0, 0]}, "a.$mod"),
    "$mod by less than one": ({"$mod": [0.5, 0]}, "a.$mod"),
    "$mod by text": ({"$mod": ["4", 0]}, "a.$mod"),
    "$mod by infinity": ({"$mod": [float("inf"), 0]}, "a.$mod"),
    "$mod past 64 bits": ({"$mod": [4, 1e300]}, "a.$mod"),
    "$type of nothing": ({"$type": []}, "a.$type"),
    "$type 0": ({"$type": 0}, "a.$type"),
    "$type of a fraction": ({"$type": 1.5}, "a.$type"),
    "$type of no name": ({"$type": "Number"}, "a.$type"),
    "$type missing": ({"$type": ["missing"]}, "a.$type"),
    "$type of null": ({"$type": None}, "a.$type"),
    "$bitsAllSet below zero": ({"$bitsAllSet": -1}, "a.$bitsAllSet"),
    "$bitsAllSet of text": ({"$bitsAllSet": "5"}, "a.$bitsAllSet"),
    "$bitsAnySet of a fraction": ({"$bitsAnySet": [0, 1.5]}, "a.$bitsAnySet.1"),
    "$bitsAnyClear past 64 bits": ({"$bitsAnyClear": 2.0**63}, "a.$bitsAnyClear"),
    "$all without a list": ({"$all": 5}, "a.$all"),
    "$all of operators": ({"$all": [{"$gt": 1}]}, "a.$all.0"),
    "$all of a value and $elemMatch": ({"$all": [1, {"$elemMatch": {}}]}, "a.$all.1"),
    "$all of $elemMatch and a value": ({"$all": [{"$elemMatch": {}}, 1]}, "a.$all.1"),
    "$elemMatch of a value": ({"$elemMatch": 5}, "a.$elemMatch"),
    "$elemMatch of operators and fields": ({"$elemMatch": {"$gt": 1, "b": 1}}, "a.$elemMatch.b"),
    "$elemMatch of a list": ({"$elemMatch": {"$and": []}}, "a.$elemMatch.$and"),
    "$regex of a number": ({"$regex": 5}, "a.$regex"),
    "$options alone": ({"$options": "i"}, "a.$options"),
    "$options of a number": ({"$regex": "a", "$options": 5}, "a.$regex"),
    "$options of null": ({"$regex": "a", "$options": None}, "a.$regex"),
    "options twice": ({"$regex": Regex("a", "i"), "$options": ""}, "a.$regex"),
    "no such option": ({"$regex": "a", "$options": "l"}, "a.$regex"),
    "a broken regular expression": ({"$in": [1, Regex("(")]}, "a.$in.1"),
    "$not of null": ({"$not": None}, "a.$not"),
}


@pytest.mark.parametrize(("condition", "path"), INVALID.values(), ids=INVALID.keys())
def test_an_operand_that_mongodb_would_refuse_is_refused_at_its_path(condition: Any, path: str) -> None:
    with pytest.raises(InvalidFilterError) as refused:
        compile_filter({"a": condition})
    assert refused.value.details == {"path": path}


UNSUPPORTED: dict[str, tuple[Any, str, str, str]] = {
    "a construct": ({"$regex": "a(?=b)"}, "$regex", "a.$regex", "would need (?="),
    "a construct in a list": ({"$nin": [Regex("a\\1")]}, "$regex", "a.$nin.0", "would need \\1"),
    "a value like an operator in $all": ({"$all": [{"$foo": 1}]}, "$all", "a.$all.0", "looks like an operator"),
    "what stands beside $elemMatch": ({"$all": [{"$elemMatch": {}, "b": 1}]}, "$all", "a.$all.0", "would forget"),
}


@pytest.mark.parametrize(("condition", "operator", "path", "said"), UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_what_mongodb_takes_and_we_do_not_is_refused_with_its_reason(
    condition: Any, operator: str, path: str, said: str
) -> None:
    with pytest.raises(UnsupportedOperatorError) as refused:
        compile_filter({"a": condition})
    assert refused.value.details == {"operator": operator, "path": path}
    assert said in refused.value.message


@pytest.mark.parametrize("name", REFUSED)
def test_an_operator_that_is_refused_by_name_says_why(name: str) -> None:
    for source in ({name: 1}, {"a": {name: 1}}, {"a": {"$elemMatch": {name: 1}}}):
        with pytest.raises(UnsupportedOperatorError) as refused:
            compile_filter(source)
        assert f"it {REFUSED[name]}; what is: $all" in refused.value.message


def test_who_is_refused_is_told_of_everything_that_is_taken() -> None:
    """Each operator that has a name of its own in the language, and each of its tables."""
    single = {value for value in vars(language).values() if isinstance(value, str) and value.startswith("$")}
    with pytest.raises(UnsupportedOperatorError) as refused:
        compile_filter({"$where": 1})
    told = refused.value.message.partition("what is: ")[2].split(", ")
    assert {"$comment", "$expr"} <= single
    assert set(told) == single | set(language.LOGICAL) | set(language.FIELD_OPERATORS)


@pytest.mark.parametrize(
    "source",
    [
        {"": {"$not": {"$elemMatch": {"a": 1}}}},
        {"$nor": [{"": {"$all": [{"$elemMatch": {"a": 1}}]}}]},
        {"$nor": [{"a": {"$elemMatch": {"": {"$elemMatch": {"b": 1}}}}}]},
        {"a": {"$elemMatch": {"": {"$not": {"$elemMatch": {"b": 1}}}}}},
    ],
)
def test_elem_match_is_not_taken_at_a_field_whose_name_is_empty(source: dict[str, Any]) -> None:
    """Nor beside or below it; at every other field it is."""
    with pytest.raises(UnsupportedOperatorError, match="is not taken at a field whose name is empty"):
        compile_filter(source)
    assert compile_filter({"a": {"$elemMatch": {"": 1}}, "": 1, "b": {"$elemMatch": {"c": 1}}}).matches({}) is False


def test_all_that_is_nested_has_a_bound() -> None:
    condition: dict[str, Any] = {"$gt": 1}
    for _ in range(6):
        condition = {"$elemMatch": condition}
    assert compile_filter({"a": condition}, Bounds(depth=6)).matches({"a": [[[[[[2]]]]]]})
    for bad in (condition, {"$elemMatch": {"b": {"$elemMatch": {"c": condition}}}}, {"$all": [condition]}):
        with pytest.raises(InvalidFilterError, match="deeper than 5"):
            compile_filter({"a": bad}, Bounds(depth=5))


@pytest.mark.parametrize("condition", [{"$bitsAllSet": [0] * 6}, {"$all": [1] * 6}, {"$elemMatch": {"$in": [1] * 6}}])
def test_every_list_counts_by_its_elements(condition: dict[str, Any]) -> None:
    with pytest.raises(InvalidFilterError, match="more than 6 conditions"):
        compile_filter({"a": condition}, Bounds(nodes=6))


def test_an_elem_match_reads_the_path_that_it_stands_at() -> None:
    compiled = compile_filter(
        {"a.0.b": {"$elemMatch": {"c": 1, "$or": [{"d": 1}]}}, "e": {"$all": [{"$elemMatch": {}}]}}
    )
    assert compiled.paths == {"a.b", "e"}
    assert compiled.reads(frozenset({"a.0.b.3.c"}))
    assert not compiled.reads(frozenset({"c"}))
