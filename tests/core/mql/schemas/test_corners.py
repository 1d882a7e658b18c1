"""Corners of `$jsonSchema` that memory gets wrong, as mongod 6.0.5 and 6.0.27 decide them.

tests/mongo/test_schema_differential.py asks a real one for the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bson.code import Code
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.regex import Regex

from realtime.core.bson.stored import UNDEFINED_VALUE, Broken, BrokenSymbol, Pointer, Repeated, Symbol
from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.mql.filters import compile_filter

NAN, INF = float("nan"), float("inf")
D = Decimal128
AB, BA = {"a": 1, "b": 2}, {"b": 2.0, "a": 1}

VALUES: dict[str, tuple[dict[str, Any], list[Any], list[Any]]] = {
    "number is all four types": ({"type": "number"}, [1, 1.5, Int64(1), D("1"), NAN], ["1", True, None, [1]]),
    "int is one of them": ({"bsonType": "int"}, [1, 2**31 - 1], [Int64(1), 2**31, 1.0, D("1")]),
    "long is another": ({"bsonType": "long"}, [Int64(1), 2**31], [1, 1.0, D("1")]),
    "double is another, whole or not": ({"bsonType": "double"}, [1.0, NAN], [1, D("1.0")]),
    "decimal is another": ({"bsonType": "decimal"}, [D("1"), D("NaN")], [1, 1.0]),
    "number and one of its types": ({"bsonType": ["number", "string"]}, [1, D("1"), "x"], [True]),
    "null is not undefined": ({"type": "null"}, [None], [UNDEFINED_VALUE, 0]),
    "undefined is a type": ({"bsonType": "undefined"}, [UNDEFINED_VALUE], [None]),
    "string is no symbol": ({"type": "string"}, ["a", "", Broken("\udcff")], [Symbol("a"), Code("a")]),
    "array is no element": ({"type": "array"}, [[], [1]], [1, {"0": 1}]),
    "boolean": ({"type": "boolean"}, [True, False], [0, None]),
    "object": ({"type": "object"}, [{}, Repeated([("a", 1), ("a", 2)])], [[], Pointer("a", ObjectId("5" * 24))]),
    "multipleOf in decimals": (
        {"multipleOf": 0.1},
        [0.3, 1, -0.3, D("0.3"), D("1E+6000"), 1e300, "x", 0, -0.0],
        [0.35, D("0.30000000000000004"), NAN, INF, D("NaN"), D("1E-7")],
    ),
    "multipleOf of a double's first 15 digits": ({"multipleOf": D("0.1")}, [0.1 + 0.2], [D("0.30000000000000004")]),
    "multipleOf 3": (
        {"multipleOf": 3},
        [9, 9.0, D("9.0"), Int64(3 * 2**60), D("9E+6000"), -9, 0, [1]],
        [10, D("1E+6000"), 1e300, 2.0**60 * 3, D("1E-6000")],
    ),
    "multipleOf a third": ({"multipleOf": 1 / 3}, [1 / 3, D("0.333333333333333")], [1, 2 / 3]),
    "multipleOf what is tiny": ({"multipleOf": D("1E-6000")}, [9, D("1E+6000"), D("0E-6176")], [D("1E-6001")]),
    "maximum says nothing of an array": ({"maximum": 5}, [5, D("5.0"), -INF, [6], "x", None], [6, NAN, INF]),
    "maximum NaN": ({"maximum": NAN}, [NAN, D("NaN"), "x"], [1, -INF]),
    "exclusive": ({"maximum": 5, "exclusiveMaximum": True, "minimum": 1, "exclusiveMinimum": True}, [2, "x"], [5, 1]),
    "exclusive false": ({"maximum": 5, "exclusiveMaximum": False}, [5], [6]),
    "minLength by code points": (
        {"minLength": 2},
        ["ab", "e\u0301", Broken("\udcff\udcfe"), Symbol("a"), 1, BrokenSymbol("\udcff")],
        ["é", "\U0001f600", "", Broken("\udc80\udc81\udc82")],
    ),
    "maxLength by code points": ({"maxLength": 1.0}, ["é", "\U0001f600", Broken("\udc80a\udc82")], ["ab", "a\0"]),
    "pattern in characters": (
        {"pattern": "^.$"},
        ["é", "\U0001f600", "a\n", Symbol("ab"), Regex("x"), 5],
        ["ab", "", Broken("\udcff")],
    ),
    "enum is strict about null": ({"enum": [None]}, [None], [UNDEFINED_VALUE, 0, []]),
    "enum goes by value, not by type of number": ({"enum": [1, "a"]}, [1.0, D("1.00"), Symbol("a")], [True, [1], "A"]),
    "enum and the order of fields": (
        {"enum": [AB, [[AB]], Code("f()", AB)]},
        [BA, [[BA]], Code("f()", BA)],
        [[BA], {"a": 1}, {"a": 2, "b": 1}, Code("f()")],
    ),
    "enum of a regular expression is no pattern": ({"enum": [Regex("a")]}, [Regex("a")], ["a", Regex("a", "i")]),
    "uniqueItems by value": (
        {"uniqueItems": True},
        [[1, 2], [1, True], [None, UNDEFINED_VALUE], [0.1, D("0.1")], [[], None], [], "xx", [[1, 2], [2, 1]]],
        [[1, 2, 1.0], [AB, BA], [[AB], [BA]], ["a", Symbol("a")], [0.0, -0.0], [NAN, D("NaN")]],
    ),
    "uniqueItems false": ({"uniqueItems": False}, [[1, 1]], []),
    "uniqueItems and names that stand twice": (
        {"uniqueItems": True},
        [[Repeated([("a", 1), ("a", 2)]), Repeated([("a", 2), ("a", 1)])]],
        [[Repeated([("a", 1), ("b", 2), ("a", 3)]), Repeated([("a", 1), ("a", 3), ("b", 2)])]],
    ),
    "items of a list, and more": (
        {"items": [{"type": "number"}, {"type": "string"}], "additionalItems": {"type": "null"}},
        [[], [1], [1, "a"], [1, "a", None], "x", {"0": "x"}],
        [["a"], [1, 2], [1, "a", 3]],
    ),
    "items of a list, and no more": ({"items": [{}], "additionalItems": False}, [[], [1]], [[1, 2]]),
    "additionalItems needs a list": ({"items": {}, "additionalItems": False}, [[1, 2, 3]], []),
    "items of one schema": ({"items": {"maximum": 2}}, [[], [1, "x"], 5], [[1, 3]]),
    "sizes of arrays": ({"minItems": D("1"), "maxItems": Int64(2)}, [[1], [1, 2], "", {}], [[], [1, 2, 3]]),
    "properties say nothing of what is no object": (
        {"properties": {"b": {"type": "string"}}},
        [1, "x", [{"b": 1}], {}, {"b": "x"}],
        [{"b": 1}, Repeated([("b", 1), ("b", "x")])],
    ),
    "required says nothing of what is no object": ({"required": ["b"]}, [1, [], {"b": None}], [{}, {"c": 1}]),
    "required finds undefined": ({"required": ["b"]}, [{"b": UNDEFINED_VALUE}], [{}]),
    "a stated type asks otherwise": ({"type": "object", "required": ["b"], "minLength": 9}, [{"b": 1}], [1, {}, "x"]),
    "of a stated type of numbers too": ({"bsonType": "int", "minimum": 2, "minItems": 1}, [2], [1, 2.5, [1]]),
    "counts fields as they are stored": (
        {"minProperties": 2, "maxProperties": 3},
        [AB, Repeated([("a", 1), ("a", 2)]), [1], 5],
        [{}, {"a": 1}, {"a": 1, "b": 1, "c": 1, "d": 1}],
    ),
    "dependencies by names": (
        {"dependencies": {"b": ["c", "d"]}},
        [{}, {"c": 1}, {"b": 1, "c": 1, "d": 1}, "b", ["b"]],
        [{"b": 1}, {"b": 1, "c": 1}],
    ),
    "dependencies by schema are about the object around": (
        {"dependencies": {"b": {"properties": {"c": {"type": "number"}}, "maxProperties": 2}}},
        [{}, {"c": "x"}, {"b": 1, "c": 1}, {"b": 1}, 5],
        [{"b": 1, "c": "x"}, {"b": 1, "c": 1, "d": 1}],
    ),
    "patterns and the rest": (
        {"properties": {"b": {}}, "patternProperties": {"^x": {"type": "number"}}, "additionalProperties": False},
        [{}, {"b": 1, "xy": 1}, 5],
        [{"xy": "a"}, {"c": 1}],
    ),
    "patterns are asked of properties too": (
        {"properties": {"xb": {"minimum": 5}}, "patternProperties": {"x": {"type": "number"}, "b$": {"maximum": 9}}},
        [{"xb": 6}, {"c": "a"}],
        [{"xb": "6"}, {"xb": 10}, {"xb": 1}],
    ),
    "a schema of the rest": ({"additionalProperties": {"type": "number"}}, [{"b": 1}, {}], [{"b": "x"}]),
    "every field that has a name": (
        {"patternProperties": {"b": {"type": "number"}}},
        [Repeated([("b", 1), ("b", 2)])],
        [Repeated([("b", 1), ("b", "x")]), Repeated([("b", "x"), ("b", 1)])],
    ),
    "exactly one": ({"oneOf": [{"type": "number"}, {"minimum": 5}]}, ["x", 1], [6]),
    "at least one": ({"anyOf": [{"type": "number"}, {"type": "null"}]}, [1, None], ["x"]),
    "every one": ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, [1, "x"], [3]),
    "not": ({"not": {"type": "number", "minimum": 2}}, [1, "x"], [2]),
    "an empty schema": ({"title": "t", "description": "d"}, [1, None], []),
}
"""By what they are about: the schema of a field, values of it that match, and values that do not."""

DOCUMENTS: dict[str, tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]] = {
    "a document is an object": ({"type": "object", "minItems": 9, "maximum": 1, "minLength": 5}, [{}], []),
    "and nothing else": ({"type": "string"}, [], [{}]),
    "nor in bsonType": ({"bsonType": ["string", "array"]}, [], [{}]),
    "or one of several": ({"bsonType": ["string", "object"]}, [{}], []),
    "what is about no document may be anything": ({"pattern": "(", "multipleOf": NAN}, [{}], []),
    "arrays neither": (
        {"items": [{"type": "null"}], "additionalItems": False, "uniqueItems": True},
        [{"": [1, 1]}],
        [],
    ),
    "missing is not null": ({"properties": {"a": {"type": "string"}}}, [{}, {"a": "x"}], [{"a": None}]),
    "where it is required a schema cannot be missed": (
        {"properties": {"a": {"enum": [None]}}, "required": ["a"]},
        [{"a": None}],
        [{}, {"a": 1}],
    ),
    "the key counts": ({"minProperties": 2}, [{"a": 1}], [{}]),
    "the key is one of the rest": ({"properties": {"a": {}}, "additionalProperties": False}, [], [{}, {"a": 1}]),
    "unless it is named": ({"properties": {"a": {}, "_id": {}}, "additionalProperties": False}, [{"a": 1}], [{"b": 1}]),
    "a name with dots is a path": (
        {"properties": {"a.b": {"type": "string"}}},
        [{}, {"a": 5}, {"a": {"b": "x"}}, {"a": [{"b": 1}, {"b": "x"}]}],
        [{"a": {"b": 1}}, {"a": [{"b": 1}]}, {"a": {"b": ["x"]}}],
    ),
    "a number in it is an element": (
        {"properties": {"a.0": {"type": "number"}}},
        [{"a": [1]}, {"a": []}],
        [{"a": ["x"]}],
    ),
    "a limit enters the last array": (
        {"properties": {"a.b": {"maximum": 3}}},
        [{"a": [{"b": 5}, {"b": [1]}]}, {"a": "x"}],
        [{"a": [{"b": 5}, {"b": 9}]}],
    ),
    "each keyword by a value of its own": (
        {"properties": {"a.b": {"type": "number", "enum": ["x"]}}},
        [{"a": [{"b": 5}, {"b": "x"}]}],
        [{"a": [{"b": 5}]}, {"a": [{"b": "x"}]}],
    ),
    "objects behind it": (
        {"properties": {"a.b": {"properties": {"c": {"type": "null"}}, "dependencies": {"x": ["y"]}}}},
        [{"a": {"b": {"c": None}}}, {"a": {"b": {"x": 1, "y": 1}}}, {"a": {"b": {}}}],
        [{"a": {"b": {"c": 1}}}, {"a": {"b": {"x": 1}}}],
    ),
    "arrays behind it": (
        {"properties": {"a.b": {"items": [{"type": "number"}], "minItems": 1}}},
        [{"a": {"b": [1]}}, {"a": {"b": "x"}}],
        [{"a": {"b": []}}, {"a": {"b": ["x"]}}],
    ),
    "stated types behind it": (
        {
            "properties": {
                "a.b": {"type": "array", "items": {"type": "number"}, "uniqueItems": True},
                "c.d": {"type": "number", "multipleOf": 2},
            }
        },
        [{"a": [{"b": 5}, {"b": [1]}], "c": [{"d": "x"}, {"d": 4}]}],
        [{"a": [{"b": "x"}]}, {"a": {"b": [1, 1]}}, {"c": {"d": 3}}],
    ),
    "required by a path": ({"required": ["a.b"]}, [{"a": {"b": 1}}, {"a": [{"b": 1}]}], [{}, {"a": 1}]),
    "required and described by a path": (
        {"properties": {"a.b": {"type": "number"}}, "required": ["a.b"]},
        [{"a": {"b": 1}}],
        [{}, {"a": {"b": "x"}}],
    ),
    "among the rest a name with dots is a name": (
        {"properties": {"a.b": {}, "_id": {}}, "additionalProperties": False},
        [{}],
        [{"a": {"b": 1}}],
    ),
    "patterns go by bytes": (
        {"patternProperties": {"^.$": {"type": "string"}}},
        [{"é": 1}, {"e": "x"}],
        [{"e": 1}, {"\udcff": 1}],
    ),
    "a byte by its number": ({"patternProperties": {"^\\xc3": {"type": "string"}}}, [{"è": "x"}, {"e": 1}], [{"è": 1}]),
    "dependencies of a document": (
        {"dependencies": {"a": ["b"], "c": {"required": ["d"]}}},
        [{}, {"a": 1, "b": 1}, {"c": 1, "d": 1}],
        [{"a": 1}, {"c": 1}],
    ),
    "no enum of a document but objects": ({"enum": [5, {"a": 1}]}, [], [{}, {"a": 1}]),
    "names like operators": ({"required": ["$x"], "properties": {"$y": {}}}, [{"$x": 1}], [{}]),
}
"""The same of whole documents."""

AROUND: dict[str, tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]] = {
    "an empty name": ({"properties": {"": {"type": "string", "pattern": "("}}}, [{}], [{"": "x"}, {"": 1}]),
    "and what is required there": (
        {"properties": {"": {"required": ["x"]}}},
        [{}, {"": 1, "x": 1}],
        [{"": 1}, {"": {"x": 1}}],
    ),
    "required itself": ({"properties": {"": {"minProperties": 3}}, "required": [""]}, [{"": 1, "x": 1}], [{}, {"": 1}]),
}
"""Where an empty name is of the object around: 6.0.5."""
NAMED: dict[str, tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]] = {
    "an empty name": ({"properties": {"": {"type": "string"}}}, [{}, {"": "x"}], [{"": 1}]),
    "and what is required there": (
        {"properties": {"": {"required": ["x"]}}},
        [{}, {"": 1}, {"": {"x": 1}}],
        [{"": {}}],
    ),
    "required itself": ({"properties": {"": {"maximum": 2}}, "required": [""]}, [{"": 1}], [{}, {"": 3}]),
}
"""The same where it is a name as any other: 6.0.27."""

Case = tuple[str, dict[str, Any], tuple[list[dict[str, Any]], ...]]


def cases(dialect: Dialect) -> Iterator[Case]:
    """Name, schema of a document, and documents that match and that do not, on a server of this dialect."""
    for name, (schema, *values) in VALUES.items():
        yield f"{name} [value]", {"properties": {"a": schema}}, tuple([{"a": one} for one in part] for part in values)
    for name, (schema, *parts) in (DOCUMENTS | (AROUND if dialect.empty_name_is_around else NAMED)).items():
        yield f"{name} [document]", schema, tuple(parts)


OLD = Dialect(empty_name_is_around=True)
BOTH = [(f"{case[0]} {words}", dialect, case) for words, dialect in (("as 6.0.5", OLD), ("as 6.0.27", NEWEST))
        for case in cases(dialect)]  # fmt: skip


@pytest.mark.parametrize(("dialect", "case"), [one[1:] for one in BOTH], ids=[one[0] for one in BOTH])
def test_a_corner_is_decided_as_mongodb_decides_it(dialect: Dialect, case: Case) -> None:
    _, schema, parts = case
    matches = compile_filter({"$jsonSchema": schema}, dialect=dialect).matches
    for expected, documents in zip((True, False), parts, strict=True):
        for document in documents:
            assert matches({"_id": 1, **document}) is expected, document
    assert any(parts)
