"""The filter language: what matches, what a filter reads, and what is refused by name and path.

Expectations are MongoDB's; tests/mongo/test_filters_differential.py holds the same code against a real one.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import pytest
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex

from realtime.core.mql.expressions.timezones import UTC
from realtime.core.mql.filters import Bounds, compile_filter, overlaps, stem
from realtime.errors import (
    InvalidDocumentError,
    InvalidFilterError,
    ServiceError,
    UnsupportedOperatorError,
    UnsupportedValueError,
)

NAN = float("nan")
DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
OID = ObjectId("5" * 24)

Case = tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]

CASES: dict[str, Case] = {
    "an empty filter matches everything": ({}, [{}, {"a": 1}], []),
    "a value is equal across number types": (
        {"a": 1},
        [{"a": 1}, {"a": 1.0}, {"a": Int64(1)}, {"a": Decimal128("1.00")}],
        [{"a": 2}, {"a": "1"}, {"a": True}, {}, {"a": None}],
    ),
    "a string equals itself": ({"a": "x"}, [{"a": "x"}, {"a": ["y", "x"]}], [{"a": "X"}, {"a": 1}, {}]),
    "null is null or missing": (
        {"a": None},
        [{}, {"a": None}, {"a": [None]}, {"a": [1, None]}],
        [{"a": 0}, {"a": []}, {"a": False}, {"a": [1]}],
    ),
    "null in a path is missing as well": (
        {"a.b": None},
        [{}, {"a": 1}, {"a": {}}, {"a": {"b": None}}, {"a": [{"b": None}]}, {"a": [{"c": 1}]}],
        [{"a": {"b": 1}}, {"a": [{"b": 1}]}, {"a": []}, {"a": [1]}],
    ),
    "not null wants a value": ({"a": {"$ne": None}}, [{"a": 0}, {"a": []}], [{}, {"a": None}, {"a": [1, None]}]),
    "NaN equals NaN": ({"a": NAN}, [{"a": NAN}, {"a": Decimal128("NaN")}], [{"a": 0}, {}]),
    "an array matches by element and as a whole": (
        {"a": [1, 2]},
        [{"a": [1, 2]}, {"a": [[1, 2], 3]}],
        [{"a": [2, 1]}, {"a": [1, 2, 3]}, {"a": 1}],
    ),
    "an object is equal with its order": (
        {"a": {"x": 1, "y": 2}},
        [{"a": {"x": 1.0, "y": 2}}, {"a": [{"x": 1, "y": 2}]}],
        [{"a": {"y": 2, "x": 1}}, {"a": {"x": 1}}, {"a": {}}],
    ),
    "an empty object is a value": ({"a": {}}, [{"a": {}}, {"a": [{}]}], [{"a": {"x": 1}}, {}, {"a": []}]),
    "$eq is equality": ({"a": {"$eq": [1]}}, [{"a": [1]}, {"a": [[1]]}], [{"a": 1}, {}]),
    "$ne is every document that does not equal": (
        {"a": {"$ne": 1}},
        [{}, {"a": 2}, {"a": [2]}],
        [{"a": 1}, {"a": [1, 2]}],
    ),
    "$gt stays within numbers": (
        {"a": {"$gt": 1}},
        [{"a": 1.5}, {"a": Decimal128("1.1")}, {"a": [0, 2]}, {"a": float("inf")}],
        [{"a": 1}, {"a": "2"}, {"a": True}, {}, {"a": None}, {"a": NAN}, {"a": [0, 1]}],
    ),
    "$gte takes the value itself": ({"a": {"$gte": 1}}, [{"a": 1}, {"a": 2}], [{"a": 0}, {"a": "1"}]),
    "$lt stays within strings": ({"a": {"$lt": "b"}}, [{"a": "a"}, {"a": ""}], [{"a": "b"}, {"a": 0}, {}]),
    "$lte takes the value itself": ({"a": {"$lte": "b"}}, [{"a": "b"}, {"a": "a"}], [{"a": "c"}]),
    "two bounds make a range, on an array by different elements": (
        {"a": {"$gt": 1, "$lt": 3}},
        [{"a": 2}, {"a": [0, 5]}],
        [{"a": 1}, {"a": 3}, {"a": [0, 1]}],
    ),
    "dates compare with dates, past 9999 too": (
        {"a": {"$gt": DAY}},
        [{"a": DAY + dt.timedelta(1)}, {"a": DatetimeMS(2**60)}],
        [{"a": DAY}, {"a": DatetimeMS(0)}, {"a": 2**60}],
    ),
    "whole arrays compare too": (
        {"a": {"$gt": [1]}},
        [{"a": [2]}, {"a": [1, 0]}, {"a": [[2]]}],
        [{"a": [1]}, {"a": 2}],
    ),
    "objects compare": ({"a": {"$lt": {"x": 2}}}, [{"a": {"x": 1}}, {"a": {}}], [{"a": {"x": 2}}, {"a": 1}]),
    "$gte NaN is NaN alone": ({"a": {"$gte": NAN}}, [{"a": NAN}], [{"a": 1}, {}]),
    "$lt NaN is nothing": ({"a": {"$lt": NAN}}, [], [{"a": NAN}, {"a": -1}, {}]),
    "$lte null is null or missing": ({"a": {"$lte": None}}, [{}, {"a": None}], [{"a": 0}]),
    "$gt null is nothing": ({"a": {"$gt": None}}, [], [{}, {"a": None}, {"a": 1}]),
    "$gt MinKey crosses all types": (
        {"a": {"$gt": MinKey()}},
        [{"a": 1}, {"a": "x"}, {}, {"a": MaxKey()}],
        [{"a": MinKey()}],
    ),
    "$gte MinKey takes MinKey": ({"a": {"$gte": MinKey()}}, [{"a": MinKey()}, {"a": None}], []),
    "$lt MaxKey crosses all types": ({"a": {"$lt": MaxKey()}}, [{"a": 1}, {}, {"a": Code("f")}], [{"a": MaxKey()}]),
    "$lte MinKey is MinKey alone": ({"a": {"$lte": MinKey()}}, [{"a": MinKey()}], [{"a": 1}, {}]),
    "$in is any of them": (
        {"a": {"$in": [1, "x", [2]]}},
        [{"a": 1.0}, {"a": "x"}, {"a": [2]}, {"a": [7, 1]}],
        [{"a": 2}, {}, {"a": None}],
    ),
    "$in with null is missing too": ({"a": {"$in": [None, 1]}}, [{}, {"a": None}, {"a": 1}], [{"a": 2}]),
    "$in of nothing is nothing": ({"a": {"$in": []}}, [], [{}, {"a": 1}, {"a": []}]),
    "$nin is none of them": ({"a": {"$nin": [1, None]}}, [{"a": 2}, {"a": []}], [{"a": 1}, {}, {"a": [3, 1]}]),
    "$nin of nothing is everything": ({"a": {"$nin": []}}, [{}, {"a": 1}], []),
    "$exists true wants the field, whatever it holds": (
        {"a": {"$exists": True}},
        [{"a": None}, {"a": []}],
        [{}, {"b": 1}],
    ),
    "$exists false wants it absent": ({"a": {"$exists": False}}, [{}], [{"a": None}]),
    "$exists through arrays": (
        {"a.b": {"$exists": True}},
        [{"a": {"b": None}}, {"a": [1, {"b": 0}]}],
        [{"a": 1}, {"a": []}, {"a": [{"c": 1}]}],
    ),
    "$exists takes MongoDB's truth": (
        {"a": {"$exists": ""}, "b": {"$exists": 0.0}},
        [{"a": 1}],
        [{"a": 1, "b": 1}, {}],
    ),
    "$exists null is false": ({"a": {"$exists": None}}, [{}], [{"a": 1}]),
    "$exists false in Decimal128": ({"a": {"$exists": Decimal128("0")}}, [{}], [{"a": 1}]),
    "$not turns every operator inside around": (
        {"a": {"$not": {"$gt": 1, "$lt": 3}}},
        [{}, {"a": 1}, {"a": 3}, {"a": "2"}],
        [{"a": 2}, {"a": [0, 5]}],
    ),
    "$not of $not": ({"a": {"$not": {"$not": {"$eq": 1}}}}, [{"a": 1}], [{"a": 2}, {}]),
    "several fields are all wanted": ({"a": 1, "b": 2}, [{"a": 1, "b": 2}], [{"a": 1}, {"b": 2}]),
    "many fields are all wanted": (
        {"a": 1, "b": 2, "c": 3, "d": 4},
        [{"a": 1, "b": 2, "c": 3, "d": 4}],
        [{"a": 1, "b": 2, "c": 3, "d": 5}, {"b": 2, "c": 3, "d": 4}],
    ),
    "$and wants all": ({"$and": [{"a": 1}, {"b": 2}]}, [{"a": 1, "b": 2}], [{"a": 1}, {"b": 2}, {}]),
    "$or wants one": ({"$or": [{"a": 1}, {"b": 2}]}, [{"a": 1}, {"b": 2}], [{}, {"a": 2}]),
    "$or of one": ({"$or": [{"a": 1}]}, [{"a": 1}], [{}]),
    "$nor wants none": ({"$nor": [{"a": 1}, {"b": 2}]}, [{}, {"a": 2}], [{"a": 1}, {"b": 2}]),
    "$or with an empty filter is everything": ({"$or": [{"a": 1}, {}]}, [{}, {"a": 2}], []),
    "$comment says nothing": ({"$comment": "why", "a": 1}, [{"a": 1}], [{}]),
    "a dotted path goes into objects": (
        {"a.b.c": 1},
        [{"a": {"b": {"c": 1}}}],
        [{"a": {"b": 1}}, {"a": {"c": 1}}, {"a.b.c": 1}],
    ),
    "a dotted path enters arrays of objects": (
        {"a.b": 1},
        [{"a": [{"b": 2}, {"b": 1}]}, {"a": {"b": [1]}}, {"a": [{"b": [3, 1]}]}],
        [{"a": [{"c": 1}]}, {"a": [1]}, {"a": [[{"b": 1}]]}],
    ),
    "a number in a path picks an element": (
        {"a.1": 5},
        [{"a": [0, 5]}, {"a": {"1": 5}}, {"a": [{"1": 5}]}, {"a": [0, 5, 0]}],
        [{"a": [5, 0]}, {"a": [5]}, {"a": 5}],
    ),
    "a number in a path goes on through the element": (
        {"a.0.b": 1},
        [{"a": [{"b": 1}]}, {"a": [[{"b": 1}]]}, {"a": {"0": {"b": 1}}}],
        [{"a": [{"b": 2}, {"b": 1}]}, {"a": [1]}],
    ),
    "an element picked by its number is not entered": ({"a.0": 1}, [{"a": [1]}], [{"a": [[1]]}]),
    "a number with a leading zero picks nothing": ({"a.01": 5}, [{"a": {"01": 5}}], [{"a": [0, 5]}]),
    "an empty component is a name": ({"a.": 1}, [{"a": {"": 1}}], [{"a": 1}, {"a": {"b": 1}}, {}]),
    "at an array a final dot is the end of the path": (
        {"a.": 1},
        [{"a": [2, 1]}, {"a": {"": [1]}}],
        [{"a": [{"": 1}]}, {"a": [[1]]}, {"a": []}],
    ),
    "and the array is there": ({"a.": {"$exists": True}}, [{"a": []}, {"a": {"": 0}}], [{"a": 1}, {"a": {}}]),
    "a missing number is missing": ({"a.1": None}, [{}, {"a": {}}, {"a": [{"b": 1}]}], [{"a": [1, 2]}]),
    "object ids match": ({"_id": OID}, [{"_id": OID}], [{"_id": str(OID)}]),
}


@pytest.mark.parametrize(("source", "matching", "others"), CASES.values(), ids=CASES.keys())
def test_a_filter_matches_what_find_would(
    source: dict[str, Any], matching: list[dict[str, Any]], others: list[dict[str, Any]]
) -> None:
    matches = compile_filter(source).matches
    assert [document for document in matching if not matches(document)] == []
    assert [document for document in others if matches(document)] == []


def test_no_filter_is_the_empty_filter() -> None:
    compiled = compile_filter(None)
    assert (compiled.source, compiled.paths) == ({}, frozenset())
    assert compiled.matches({"a": 1})


# ------------------------------------------------------------------------------------------------- what is read

READS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "paths of all branches": (
        {"a": 1, "$or": [{"b": 1}, {"c": {"$not": {"$gt": 1}}}], "$nor": [{"d.e": 1}]},
        {"a", "b", "c", "d.e"},
    ),
    "numbers inside a path are left out": ({"a.0.b": 1, "0.1": 2}, {"a.b", "0"}),
    "a comment reads nothing": ({"$comment": "x"}, set()),
}


@pytest.mark.parametrize(("source", "paths"), READS.values(), ids=READS.keys())
def test_a_filter_names_the_paths_it_reads(source: dict[str, Any], paths: set[str]) -> None:
    assert compile_filter(source).paths == paths


@pytest.mark.parametrize(
    ("touched", "concerned"),
    [
        ("a.b", True),
        ("a", True),
        ("a.b.c", True),
        ("a.7.b", True),
        ("a.b.0", True),
        ("a.bc", False),
        ("ab", False),
        ("a.c", False),
        ("b", False),
    ],
)
def test_an_update_concerns_a_filter_by_prefix_both_ways(touched: str, concerned: bool) -> None:
    assert compile_filter({"a.b": 1}).reads(frozenset({"z", touched})) is concerned


def test_an_update_never_concerns_a_filter_that_reads_nothing() -> None:
    assert not compile_filter({}).reads(frozenset({"a"}))
    assert not compile_filter({"a": 1}).reads(frozenset())


def test_the_first_component_of_a_path_is_a_name_even_if_numeric() -> None:
    assert [stem(path) for path in ("0", "0.a", "a.0", "a.0.1.b", "a.b0")] == ["0", "0.a", "a", "a.b", "a.b0"]
    assert overlaps("a", "a")
    assert not overlaps("a", "ab")


# --------------------------------------------------------------------------------------------------- refusals

UNSUPPORTED: dict[str, tuple[dict[str, Any], str, str]] = {
    "$where": ({"$where": "true"}, "$where", "$where"),
    "$function in a branch": ({"$or": [{"a": 1}, {"$function": {}}]}, "$function", "$or.1.$function"),
    "$text": ({"$text": {"$search": "x"}}, "$text", "$text"),
    "$jsonSchema at a field": ({"a": {"$jsonSchema": {}}}, "$jsonSchema", "a.$jsonSchema"),
    "$near": ({"a": {"$gt": 1, "$near": []}}, "$near", "a.$near"),
    "$where inside $elemMatch": ({"a": {"$elemMatch": {"$where": "1"}}}, "$where", "a.$elemMatch.$where"),
    "$sampleRate": ({"$sampleRate": 0.5}, "$sampleRate", "$sampleRate"),
    "what MongoDB 9 may bring": ({"a": {"$brandNew": 1}}, "$brandNew", "a.$brandNew"),
    "an internal operator": ({"a": {"$_internalSchemaType": 2}}, "$_internalSchemaType", "a.$_internalSchemaType"),
    "inside $not": ({"a": {"$not": {"$geoWithin": 1}}}, "$geoWithin", "a.$not.$geoWithin"),
    "a comment at a field": ({"a": {"$comment": "x"}}, "$comment", "a.$comment"),
    "half a DBRef": ({"a": {"$ref": "x"}}, "$ref", "a.$ref"),
    "a DBRef inside $not": ({"a": {"$not": {"$ref": "x", "$id": 1}}}, "$ref", "a.$not.$ref"),
    "a field of a DBRef at the top": ({"$id": 1}, "$id", "$id"),
}


@pytest.mark.parametrize(("source", "operator", "path"), UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_an_operator_that_is_not_there_is_refused_by_name_and_path(
    source: dict[str, Any], operator: str, path: str
) -> None:
    with pytest.raises(UnsupportedOperatorError) as refused:
        compile_filter(source)
    assert refused.value.details == {"operator": operator, "path": path}
    assert operator in refused.value.message
    assert "$exists" in refused.value.message


INVALID: dict[str, tuple[Any, str]] = {
    "no object": ([], ""),
    "no object in a branch": ({"$and": [{"a": 1}, 5]}, "$and.1"),
    "null in a branch": ({"$or": [None]}, "$or.0"),
    "$and without a list": ({"$and": {"a": 1}}, "$and"),
    "$or of nothing": ({"$or": []}, "$or"),
    "$in without a list": ({"a": {"$in": 5}}, "a.$in"),
    "$nin without a list": ({"a": {"$nin": {"b": 1}}}, "a.$nin"),
    "operators in $in": ({"a": {"$in": [{"$gt": 1}]}}, "a.$in.0"),
    "$not of a value": ({"a": {"$not": 5}}, "a.$not"),
    "$not of an object without operators": ({"a": {"$not": {"b": 1}}}, "a.$not.b"),
    "a regular expression in $ne": ({"a": {"$ne": Regex("x")}}, "a.$ne"),
    "a regular expression in $gt": ({"a": {"$gt": Regex("x")}}, "a.$gt"),
    "a comment with NUL in a name": ({"$comment": {"a\0": 1}}, "$comment"),
    "NUL in a DBRef": ({"a": DBRef("c", {"x\0": 1})}, "a"),
    "$not of nothing": ({"a": {"$not": {}}}, "a.$not"),
    "a field beside an operator": ({"a": {"$gt": 1, "b": 2}}, "a.b"),
    "NUL in a path": ({"a\0b": 1}, "a\0b"),
}


@pytest.mark.parametrize(("source", "path"), INVALID.values(), ids=INVALID.keys())
def test_a_filter_that_mongodb_would_refuse_is_refused_at_its_path(source: Any, path: str) -> None:
    with pytest.raises(InvalidFilterError) as refused:
        compile_filter(source)
    assert refused.value.details == {"path": path}


def nested(levels: int, leaf: dict[str, Any]) -> dict[str, Any]:
    for _ in range(levels):
        leaf = {"$and": [leaf]}
    return leaf


def negated(levels: int) -> dict[str, Any]:
    condition: dict[str, Any] = {"$eq": 1}
    for _ in range(levels):
        condition = {"$not": condition}
    return {"a": condition}


@pytest.mark.parametrize("make", [lambda n: nested(n, {"a": 1}), negated], ids=["$and", "$not"])
def test_a_filter_may_be_as_deep_as_the_bound_and_no_deeper(make: Any) -> None:
    bounds = Bounds(depth=5)
    assert compile_filter(make(5), bounds).matches({"a": 1}) in {True, False}
    with pytest.raises(InvalidFilterError, match="deeper than 5"):
        compile_filter(make(6), bounds)


@pytest.mark.parametrize(
    "source",
    [
        {str(number): 1 for number in range(6)},
        {"a": {"$in": [1, 2, 3, 4]}},
        {"$or": [{"a": 1}, {"b": {"$gt": 1, "$lt": 2}}, {"c": 1}]},
    ],
    ids=["fields", "list elements", "operators"],
)
def test_a_filter_may_have_as_many_conditions_as_the_bound_and_no_more(source: dict[str, Any]) -> None:
    assert compile_filter(source, Bounds(nodes=6)).source == source
    with pytest.raises(InvalidFilterError, match="more than 5 conditions"):
        compile_filter(source, Bounds(nodes=5))


def test_a_refusal_is_final() -> None:
    with pytest.raises(ServiceError) as refused:
        compile_filter({"$where": "1"})
    assert (refused.value.status, refused.value.retry) == (422, False)


def test_a_document_made_to_double_the_ways_of_a_path_stalls_nobody() -> None:
    """Each level can be entered by the name `0` and by the place 0: 2 to the 45th ways, were they all followed."""
    document: dict[str, Any] = {"0": 1}
    for _ in range(90):
        document = {"0": [document]}
    matches = compile_filter({".".join("0" * 130): {"$gt": 1}}).matches
    began = time.thread_time()
    assert not matches(document)
    assert time.thread_time() - began < 1
    assert compile_filter({".".join("0" * 130): 1}).matches(document)


# ------------------------------------------------------------------------------------------------------- expressions


def test_an_expression_stands_at_the_top_and_in_branches_alone() -> None:
    with pytest.raises(UnsupportedOperatorError, match="of a whole document") as refused:
        compile_filter({"a": {"$elemMatch": {"b": 1, "$or": [{"$expr": 1}]}}})
    assert refused.value.details == {"operator": "$expr", "path": "a.$elemMatch.$or.0.$expr"}
    with pytest.raises(InvalidFilterError):
        compile_filter({"$expr": {"a\0": 1}})
    both = compile_filter({"$or": [{"$expr": {"$gt": ["$a", "$b.c"]}}, {"d": 1}]})
    assert [both.matches(one) for one in ({"a": 2}, {"d": 1}, {"b": {"c": 1}})] == [True, True, False]
    assert both.paths == {"a", "b.c", "d"}


def test_an_expression_is_asked_after_what_is_plain() -> None:
    fails = {"$expr": {"$divide": [1, "$z"]}}
    for source in (
        {**fails, "a": 1},
        {"$and": [fails, {"a": 1}]},
        {"$nor": [fails, {"a": 2}]},
        {"$and": [{"$or": [fails]}], "a": 1},
    ):
        compiled = compile_filter(source)
        assert compiled.matches({"a": 2, "z": 0}) is False
        with pytest.raises(InvalidDocumentError):
            compiled.matches({"a": 1, "z": 0})


def test_a_failure_counts_only_where_nothing_else_decides() -> None:
    """MongoDB asks in an order of its own, by kinds of conditions and by indexes. Here whatever decides, decides."""
    fails, holds = {"$expr": {"$divide": [1, "$z"]}}, {"$expr": {"$eq": ["$a", 1]}}
    unsure = {"$expr": {"$exp": "$d"}}
    for source, expected in (
        ({"$or": [fails, holds]}, True),
        ({"$or": [{"$or": [fails, {"b": 5}]}, {"$or": [unsure, holds]}]}, True),
        ({"$and": [fails, {"$nor": [holds]}]}, False),
        ({"$nor": [fails, holds]}, False),
        ({"$and": [holds, {"$expr": "$a"}]}, True),
        ({**fails, "$or": [{"b": 5}, {"$nor": [holds]}]}, False),
    ):
        assert compile_filter(source).matches({"a": 1, "z": 0, "d": Decimal128("1")}) is expected, source
    for source in ({"$or": [fails, {"$nor": [holds]}]}, {"$and": [fails, unsure, holds]}):
        with pytest.raises(InvalidDocumentError):
            compile_filter(source).matches({"a": 1, "z": 0, "d": Decimal128("1")})
    with pytest.raises(UnsupportedValueError):
        compile_filter({"$and": [unsure, fails]}).matches({"a": 1, "z": 0, "d": Decimal128("1")})


def test_a_filter_with_a_zone_is_told_it() -> None:
    source = {"$expr": {"$eq": [{"$hour": {"date": "$d", "timezone": "Europe/Berlin"}}, 5]}}
    compiled = compile_filter(source)
    assert compiled.zones == {"Europe/Berlin": "$expr.$eq.0.$hour.timezone"}
    told = compiled.told({"Europe/Berlin": UTC})
    assert told.matches({"d": dt.datetime(2020, 1, 1, 5, tzinfo=dt.UTC)})
    plain = compile_filter({"a": 1})
    assert plain.told({}) is plain
