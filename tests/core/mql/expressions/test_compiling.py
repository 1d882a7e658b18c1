"""Expressions compiled: what is refused, where; bounds; variables; folding; paths; outcomes as rows of the protocol."""

from __future__ import annotations

from typing import Any

import pytest
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from bson.regex import Regex

from realtime.core.bson.stored import Broken, Repeated
from realtime.core.bson.values import MISSING
from realtime.core.mql.dialect import Dialect
from realtime.core.mql.expressions.compiling import OPERATORS, REFUSED, SYSTEM
from realtime.core.mql.expressions.evaluation import compile_expression
from realtime.core.mql.expressions.scope import Bounds, weight
from realtime.core.mql.expressions.timezones import zone_of
from realtime.errors import (
    InvalidDocumentError,
    InvalidFilterError,
    TooLargeError,
    UnsupportedOperatorError,
    UnsupportedValueError,
)


def value(source: Any, **document: Any) -> Any:
    return compile_expression(source).value(document)


@pytest.mark.parametrize(
    ("source", "where"),
    [
        ("$", "$expr"),
        ("$$", "$expr"),
        ("$a..b", "$expr"),
        ("$a.$b", "$expr"),
        ("$a\0", "$expr"),
        ("$$nothing", "$expr"),
        ("$$this", "$expr"),
        ({"$add": 1, "$abs": 1}, "$expr"),
        ({"a.b": 1}, "$expr.a.b"),
        ({"a": 1, "$add": 1}, "$expr.$add"),
        ({"$abs": [1, 2]}, "$expr.$abs"),
        ({"$divide": [1]}, "$expr.$divide"),
        ({"$divide": [1, 0]}, "$expr.$divide"),
        ({"$add": ["$a", {"$concat": [1]}]}, "$expr.$add.1.$concat"),
        ({"$let": {"vars": {"Up": 1}, "in": 1}}, "$expr.$let.vars"),
        ({"$let": {"vars": {"a-b": 1}, "in": 1}}, "$expr.$let.vars"),
        ({"$let": {"vars": {"": 1}, "in": 1}}, "$expr.$let.vars"),
        ({"$let": {"vars": 1, "in": 1}}, "$expr.$let.vars"),
        ({"$let": {"vars": {}}}, "$expr.$let"),
        ({"$let": 1}, "$expr.$let"),
        ({"$map": {"input": [], "in": 1, "with": 2}}, "$expr.$map.with"),
        ({"$cond": [1, 2]}, "$expr.$cond"),
        ({"$switch": {"branches": []}}, "$expr.$switch"),
        ({"$zip": {"inputs": "$a"}}, "$expr.$zip.inputs"),
        ({"$zip": {"inputs": ["$a"], "useLongestLength": 1}}, "$expr.$zip.useLongestLength"),
        ({"$zip": {"inputs": ["$a"], "defaults": [1]}}, "$expr.$zip.defaults"),
        ({"$getField": "$a"}, "$expr.$getField.field"),
        ({"$getField": {"field": 5, "input": "$a"}}, "$expr.$getField.field"),
        ({"$getField": {"field": {"$concat": ["a", "b"]}, "input": "$a"}}, "$expr.$getField.field"),
        ({"$setField": {"field": {"$toString": "b"}, "input": "$a", "value": 1}}, "$expr.$setField.field"),
        ({"$unsetField": {"field": {"$cond": [True, "b", "c"]}, "input": "$a"}}, "$expr.$unsetField.field"),
        ({"$sortArray": {"input": "$a", "sortBy": {}}}, "$expr.$sortArray.sortBy"),
        ({"$sortArray": {"input": "$a", "sortBy": 2}}, "$expr.$sortArray.sortBy"),
        ({"$hour": ["$a", "$b"]}, "$expr.$hour"),
        ({"$hour": {"date": "$a", "timezone": 5}}, "$expr.$hour.timezone"),
        ({"$hour": {"date": "$a", "timezone": "no zone!"}}, "$expr.$hour.timezone"),
        ({"$regexMatch": {"input": "$a", "regex": 5}}, "$expr.$regexMatch"),
        ({"$regexMatch": {"input": "$a", "regex": "a", "options": 5}}, "$expr.$regexMatch"),
        ({"$regexMatch": {"input": "$a", "regex": "("}}, "$expr.$regexMatch"),
        ({"$range": [0, 20_000]}, "$expr.$range"),
        ({"$range": [0, 5, 0]}, "$expr.$range"),
        (DBRef("a", 1), "$expr"),
        ({"$setEquals": ["$a", None, [1]]}, "$expr.$setEquals"),
        ({"$setEquals": [[1], "$a", 5]}, "$expr.$setEquals"),
        ({"$switch": {"branches": [{"case": False, "then": "$x"}]}}, "$expr.$switch"),
        ({"$regexMatch": {"input": "$a", "regex": Regex("a", "i"), "options": "s"}}, "$expr.$regexMatch"),
    ],
)
def test_what_mongodb_refuses_is_refused_by_its_place(source: Any, where: str) -> None:
    with pytest.raises(InvalidFilterError) as refused:
        compile_expression(source)
    assert refused.value.details == {"path": where}


@pytest.mark.parametrize(
    ("source", "operator"),
    [
        *(({name: {}}, name) for name in REFUSED),
        *((f"$${name}", f"$${name}") for name in SYSTEM),
        ({"$nonsense": 1}, "$nonsense"),
        ({"$range": [0, "$a"]}, "$range"),
        ({"$exp": Decimal128("1")}, "$exp"),
        ({"$hour": {"date": "$a", "timezone": "$z"}}, "$hour"),
        ({"$regexMatch": {"input": "$a", "regex": "$b"}}, "$regexMatch"),
        ({"$regexMatch": {"input": "$a", "regex": "(?=a)"}}, "$regexMatch"),
        ({"$regexFind": {"input": "$a", "regex": "(a*)+"}}, "$regexFind"),
        ({"$regexFindAll": {"input": "$a", "regex": "$b"}}, "$regexFindAll"),
    ],
)
def test_what_is_not_served_is_refused_by_name(source: Any, operator: str) -> None:
    with pytest.raises(UnsupportedOperatorError) as refused:
        compile_expression(source)
    assert refused.value.details is not None
    assert refused.value.details["operator"] == operator
    assert "is not supported: " in refused.value.message


def test_every_name_of_a_server_is_served_or_refused_and_none_both() -> None:
    assert not OPERATORS.keys() & REFUSED.keys()
    assert len(OPERATORS) >= 130
    assert all(one.heading and name == one.name for name, one in OPERATORS.items())


# -------------------------------------------------------------------------------------------------------------- bounds


def test_parts_depth_and_loops_are_bounded() -> None:
    deep: Any = 1
    for _ in range(60):
        deep = {"$abs": deep}
    loops: Any = "$$this"
    for _ in range(3):
        loops = {"$map": {"input": "$a", "in": loops}}
    for source, words in ((deep, "nested deeper than 40"), ([1] * 600, "more than 500 parts"), (loops, "2 loops")):
        with pytest.raises(InvalidFilterError, match=words):
            compile_expression(source)
    side_by_side = [{"$map": {"input": "$a", "in": "$$this"}}] * 5
    assert value(side_by_side, a=[1]) == [[1]] * 5


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"$map": {"input": "$a", "in": {"$add": ["$$this", 1]}}}, "steps"),
        ({"$filter": {"input": "$a", "cond": {"$gt": ["$$this", 1]}}}, "steps"),
        ({"$reduce": {"input": "$a", "initialValue": 0, "in": {"$add": ["$$value", 1]}}}, "steps"),
        ({"$concat": ["$t", "$t", "$t"]}, "bytes"),
        ({"$let": {"vars": {"t": {"$concat": ["$t", "$t"]}}, "in": ["$$t", "$$t"]}}, ""),
    ],
)
def test_what_a_document_may_cost_is_bounded(source: Any, words: str) -> None:
    expression = compile_expression(source)
    document = {"_id": 7, "a": [1] * 5000, "t": "é" * 200_000}
    if not words:
        assert len(expression.value(document)) == 2
        return
    with pytest.raises(TooLargeError, match=words) as ended:
        expression.value(document)
    assert ended.value.details is not None
    assert ended.value.details["key"] == 7
    assert compile_expression(source).value({"a": [1], "t": ""}) is not MISSING


BIG = {"_id": 7, "a": list(range(60)), "o": {"n": [{"x": number} for number in range(2000)]}, "t": "x" * 100_000}


@pytest.mark.parametrize(
    "inner",
    [
        {"$eq": ["$$this", "$$ROOT"]},
        {"$eq": ["$$this", "$o"]},
        {"$eq": ["$$this", "$o.n"]},
        {"$eq": ["$$this", "$o.n.x"]},
        {"$eq": ["$$this", "$t"]},
        {"$eq": ["$$this", "y" * 100_000]},
        {"$eq": ["$$this", {"$literal": ["y" * 1000] * 100}]},
        {"$eq": ["$$this", {"$concat": ["y" * 50_000, "z" * 50_000]}]},
        {"$let": {"vars": {"v": 1}, "in": {"$eq": ["$$outer", "$$this"]}}},
        {"$eq": ["$$this", "$$outer.n"]},
    ],
)
def test_what_is_read_in_a_loop_is_counted_by_its_size(inner: Any) -> None:
    """Sixty times something of some 10 to 100 KiB: the elements alone are far under the bound, a tenth of the usual."""
    loop = {"$map": {"input": "$a", "in": inner}}
    expression = compile_expression({"$let": {"vars": {"outer": "$o"}, "in": loop}}, bounds=Bounds(steps=1000))
    with pytest.raises(TooLargeError, match="steps") as ended:
        expression.value(BIG)
    assert ended.value.details is not None
    assert ended.value.details["key"] == 7
    assert str(ended.value.details["operator"]).startswith("$")
    small = {"a": [1], "o": {"n": [{"x": 1}]}, "t": "x"}
    assert expression.value(small) == [False]


def test_what_is_read_once_may_be_larger_than_what_is_made() -> None:
    assert value({"$strLenCP": "$t"}, t="x" * 5_000_000) == 5_000_000
    with pytest.raises(TooLargeError):
        value({"$strLenCP": "$t"}, t="x" * 11_000_000)


def test_a_replacement_is_not_made_where_it_would_be_too_large() -> None:
    """A million letters and a text of a megabyte for each would be a terabyte, before anything measures it."""
    everywhere = {"$replaceAll": {"input": "$t", "find": "x", "replacement": "$b"}}
    with pytest.raises(TooLargeError, match="more than 1048576 bytes"):
        value(everywhere, t="x" * 1_000_000, b="y" * 1_000_000)
    assert value(everywhere, t="x" * 10, b="yy") == "y" * 20
    assert value({"$replaceOne": everywhere["$replaceAll"]}, t="x" * 1000, b="y" * 5000) == "y" * 5000 + "x" * 999


def test_what_is_found_is_counted_by_text_and_pattern() -> None:
    every = compile_expression({"$regexFindAll": {"input": "$t", "regex": "(a|b)+?"}})
    assert len(every.value({"t": "a" * 2000})) == 2000
    with pytest.raises(TooLargeError, match="steps"):
        every.value({"t": "a" * 12_000})
    captured = compile_expression({"$regexFind": {"input": "$t", "regex": "(a|b|(c))*d"}})
    with pytest.raises(TooLargeError, match="steps"):
        captured.value({"t": "c" * 9_000_000 + "d"})


def test_a_constant_over_its_bounds_is_refused() -> None:
    with pytest.raises(InvalidFilterError, match="more than"):
        compile_expression({"$concat": ["x" * 2_000_000, "y"]})


def test_weights() -> None:
    assert weight("abc", 100) == 11
    assert weight(Broken("a\udcff"), 100) == 10
    assert weight({"a": [1, "é"]}, 1000) > weight({"a": [1]}, 1000)
    assert weight(b"x" * 50, 1000) == 58
    assert weight([["x" * 50]] * 50, 200) < 400


# ------------------------------------------------------------------------------------------- paths, variables, folding


def test_paths_go_through_arrays_by_objects_and_never_by_number() -> None:
    document = {"a": [{"b": 1}, 5, {"b": [{"c": 2}]}, {"c": 3}], "o": {"0": 4}, "n": 1, "l": [[{"b": 1}], {"b": 2}]}
    assert value("$a.b", **document) == [1, [{"c": 2}]]
    assert value("$a.b.c", **document) == [[2]]
    assert value("$l.b", **document) == [2]
    assert value("$a.0", **document) == []
    assert value("$o.0", **document) == 4
    assert value("$n.x", **document) is MISSING
    assert value("$$ROOT.n", **document) == 1
    assert value("$$ROOT", n=1) == value("$$CURRENT", n=1) == {"n": 1}
    assert compile_expression("$a.0.b").paths == {"a.b"}
    assert compile_expression("$$ROOT").paths == {"$$ROOT"}


def test_variables_are_those_of_the_nearest_let_and_current_may_be_one() -> None:
    inner = {"$let": {"vars": {"v": {"$add": ["$$v", 1]}}, "in": ["$$v", "$$w"]}}
    assert value({"$let": {"vars": {"v": 1, "w": 5}, "in": inner}}) == [2, 5]
    assert value({"$let": {"vars": {"CURRENT": "$o"}, "in": "$x"}}, o={"x": 3}, x=1) == 3
    assert value({"$let": {"vars": {}, "in": "$x"}}, x=1) == 1
    nested = {"$map": {"input": "$$this", "in": {"$multiply": ["$$this", 2]}}}
    assert value({"$map": {"input": "$a", "in": nested}}, a=[[1], [2, 3]]) == [[2], [4, 6]]
    assert value({"a": "$$REMOVE", "b": ["$$REMOVE"]}) == {"b": [None]}


def test_constants_are_gathered_behind_the_rest_as_mongodb_does() -> None:
    with pytest.raises(InvalidDocumentError):
        value({"$add": [None, "$s"]}, s="x")
    assert value({"$concat": [None, "$s"]}, s=5) is None
    assert value({"$concat": ["a", "b", "$s", "c", "d"]}, s="-") == "ab-cd"
    assert value({"$add": [1, {"$add": ["$a", 2, {"$add": ["$b", 3]}]}]}, a=10, b=20) == 36
    assert value({"$and": [{"$divide": [1, "$z"]}, False]}, z=0) is False
    assert value({"$or": [{"$divide": [1, "$z"]}, 1]}, z=0) is True
    assert value({"$and": []}) is True
    assert value({"$or": [False, None]}) is False


def test_outcomes_name_operator_and_key() -> None:
    failing = compile_expression({"$add": [{"$size": "$a"}, 1]})
    with pytest.raises(InvalidDocumentError) as failed:
        failing.value({"_id": "k", "a": 5})
    assert failed.value.details == {"operator": "$size", "key": "k"}
    with pytest.raises(InvalidDocumentError) as failed:
        failing.value({"_id": ObjectId("5f" * 12), "a": 5})
    assert failed.value.details == {"operator": "$size", "key": {"$oid": "5f" * 12}}
    assert "onError" in failed.value.message
    with pytest.raises(UnsupportedValueError) as unsure:
        compile_expression({"$ln": "$a"}).value({"a": Decimal128("2")})
    assert unsure.value.details == {"operator": "$ln"}
    with pytest.raises(UnsupportedValueError):
        value({"$strLenCP": "$a"}, a=Broken("\udcff"))
    with pytest.raises(UnsupportedValueError):
        value({"$objectToArray": "$a"}, a=Repeated([("a", 1), ("a", 2)]))


def test_the_dialect_is_asked_where_it_decides() -> None:
    old = Dialect(adds_pair_by_pair=False, six_digits=True)
    for source, asks, before, now in (
        ({"$toString": "$a"}, {"six_digits"}, "0.333333", "0.3333333333333333"),
        ({"$add": ["$m", "$n", -1]}, {"adds_pair_by_pair"}, 2**63 - 1, 2.0**63),
    ):
        document = {"a": 1 / 3, "m": 2**63 - 1, "n": 1}
        assert compile_expression(source, dialect=old).value(document) == before
        assert compile_expression(source).value(document) == now
        assert compile_expression(source).asks == asks
    assert compile_expression({"$abs": "$a"}).asks == frozenset()


def test_a_zone_is_not_decided_until_it_is_told() -> None:
    source = {"$hour": {"date": {"$toDate": "$a"}, "timezone": "Europe/Berlin"}}
    untold = compile_expression(source)
    assert untold.zones == {"Europe/Berlin": "$expr.$hour.timezone"}
    with pytest.raises(UnsupportedValueError):
        untold.value({"a": 0.0})
    told = compile_expression(source, tables={"Europe/Berlin": zone_of([(0, 3600)])})
    assert told.value({"a": 0.0}) == 1
    with pytest.raises(UnsupportedValueError, match="before 1970"):
        told.value({"a": -1.0})
    assert Bounds().steps == 10_000
