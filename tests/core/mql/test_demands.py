"""What a filter demands of every document it matches, and when two filters are the same."""

from __future__ import annotations

import random
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.regex import Regex

from realtime.core.bson.stored import UNDEFINED_VALUE
from realtime.core.bson.values import MISSING, NUMBER, order
from realtime.core.mql.demands import Range, probe
from realtime.core.mql.filters import compile_filter
from tests.chance import fresh_seed
from tests.mongo.grammar import Grammar

EQUALITIES: dict[str, tuple[dict[str, Any], dict[str, list[Any]]]] = {
    "nothing": ({}, {}),
    "a value": ({"a": 1, "b.c": "x"}, {"a": [1], "b.c": ["x"]}),
    "$eq and null, which undefined is as well": ({"a": {"$eq": None}}, {"a": [None, UNDEFINED_VALUE]}),
    "$in": ({"a": {"$in": [1, "x", 1.0]}}, {"a": [1, "x"]}),
    "$in of nothing": ({"a": {"$in": []}}, {"a": []}),
    "$in with a regular expression says nothing": ({"a": {"$in": [1, Regex("x")]}}, {}),
    "a regular expression says nothing": ({"a": Regex("x"), "b": {"$regex": "x"}}, {}),
    "$all": ({"a": {"$all": [Regex("x"), 2, 3]}}, {"a": [2]}),
    "$all of $elemMatch, or of nothing": ({"a": {"$all": [{"$elemMatch": {"$gt": 1}}]}, "b": {"$all": []}}, {}),
    "the smallest of several": ({"$and": [{"a": {"$in": [1, 2]}}, {"a": 2}, {"a": {"$in": [2, 3, 4]}}]}, {"a": [2]}),
    "$and is opened": ({"a": 1, "$and": [{"b": 2}, {"$and": [{"c": 3}]}]}, {"a": [1], "b": [2], "c": [3]}),
    "$or of one path": ({"$or": [{"a": 1, "b": 1}, {"a": {"$in": [2, 3]}}]}, {"a": [1, 2, 3]}),
    "$or inside $and": ({"$and": [{"$or": [{"a": 1}, {"a": 2}]}, {"b": 1}]}, {"a": [1, 2], "b": [1]}),
    "$or of different paths": ({"$or": [{"a": 1}, {"b": 1}]}, {}),
    "what is negated or compared": (
        {"a": {"$ne": 1}, "b": {"$not": {"$eq": 1}}, "c": {"$gt": 1}, "$nor": [{"d": 1}]},
        {},
    ),
    "a comment": ({"$comment": "x"}, {}),
    "an expression": ({"$expr": {"$eq": ["$a.b", 1]}}, {"a.b": [1]}),
    "an expression the other way round": ({"$expr": {"$eq": ["x", "$a"]}}, {"a": ["x"]}),
    "expressions": ({"c": 1, "$expr": {"$and": [{"$eq": ["$a", 1]}, {"$gt": ["$b", 1]}]}}, {"a": [1], "c": [1]}),
    "what is missing is not null in an expression": ({"$expr": {"$eq": ["$a", None]}}, {}),
    "an expression of what is made": ({"$expr": {"$eq": ["$a", [1]]}}, {}),
    "an expression of two paths": ({"$expr": {"$eq": ["$a", "$b"]}}, {}),
    "an expression of undefined": ({"$expr": {"$eq": ["$a", UNDEFINED_VALUE]}}, {}),
    "an expression of variables": ({"$expr": {"$eq": ["$$ROOT.a", 1]}}, {}),
    "an expression in $or": ({"$or": [{"$expr": {"$eq": ["$a", 1]}}, {"a": 2}]}, {"a": [1, 2]}),
    "expressions of no demand": ({"$and": [{"$expr": True}, {"$expr": {"$eq": ["$a", {"$add": [1, 2]}]}}]}, {}),
}


@pytest.mark.parametrize(("source", "expected"), EQUALITIES.values(), ids=EQUALITIES.keys())
def test_equalities_are_the_values_that_a_match_needs(source: dict[str, Any], expected: dict[str, list[Any]]) -> None:
    found = compile_filter(source).equalities
    assert found == {path: frozenset(map(order, values)) for path, values in expected.items()}


def test_ranges_are_one_for_each_comparison() -> None:
    source = {"a": {"$gt": 1, "$lte": 5}, "$and": [{"a": {"$gte": 0}}, {"b": {"$lt": "x"}}], "c": 1}
    five, one, zero = order(5), order(1), order(0)
    assert compile_filter(source).ranges == {
        "a": (Range(NUMBER, low=one, open_low=True), Range(NUMBER, high=five), Range(NUMBER, low=zero)),
        "b": (Range(order("x")[0], high=order("x"), open_high=True),),
    }


@pytest.mark.parametrize("operand", [None, MaxKey(), float("nan"), Decimal128("NaN")])
def test_what_is_no_range_is_left_out(operand: Any) -> None:
    assert compile_filter({"a": {"$gte": operand}, "$or": [{"b": {"$gt": 1}}]}).ranges == {}


def test_a_range_holds_what_lies_in_it() -> None:
    closed, opened = Range(NUMBER, order(1), order(3)), Range(NUMBER, order(1), order(3), open_low=True, open_high=True)
    assert [value for value in range(5) if closed.holds(order(value))] == [1, 2, 3]
    assert [value for value in range(5) if opened.holds(order(value))] == [2]
    assert Range(NUMBER).holds(order(-5))
    assert not closed.holds(order("2"))


def test_a_probe_has_the_elements_of_an_array_and_the_array_itself() -> None:
    assert probe({"a": [1, "x"]}, "a") == {order(1), order("x"), order([1, "x"])}
    assert probe({}, "a") == {order(MISSING)} == {order(None)}
    assert probe({"a": [{"b": 1}, {"c": 2}]}, "a.b") == {order(1), order(None)}


def test_a_matching_document_has_what_the_filter_demands() -> None:
    """The property that an index of filters rests on, under arrays of arrays too."""
    seed = fresh_seed()
    chance = random.Random(seed)
    equal = ranged = 0
    for _ in range(40):
        grammar = Grammar(chance)
        documents = [grammar.document(key) for key in range(10)]
        for _ in range(40):
            compiled = compile_filter(taken(grammar))
            equalities, ranges = compiled.equalities, compiled.ranges
            for document in filter(compiled.matches, documents):
                for path, wanted in equalities.items():
                    equal += 1
                    assert wanted & probe(document, path), f"seed {seed}: {compiled.source} {document}"
                for path, several in ranges.items():
                    for one in several:
                        ranged += 1
                        assert any(map(one.holds, probe(document, path))), f"seed {seed}: {compiled.source} {document}"
    # Not empty: far below what any seed gives.
    assert equal > 80, f"seed {seed}: {equal}"
    assert ranged > 40, f"seed {seed}: {ranged}"


def taken(grammar: Grammar) -> dict[str, Any]:
    """A filter of conditions that often demand something, two of them together."""
    first: dict[str, Any] = {}
    for _ in range(2):
        path = grammar.path()
        name = grammar.chance.choice(["$eq", "$in", "$all", "$gt", "$lte", "$exists"])
        value = grammar.value_operand()
        operand = {"$in": [value, grammar.value_operand()], "$all": [value], "$exists": True}.get(name, value)
        first[path if path[:1] != "$" else "a"] = {name: operand}
    return first if grammar.chance.random() < 0.7 else {"$or": [first, {**first, "b": grammar.value_operand()}]}


# ------------------------------------------------------------------------------------------------------- canonical

SAME: dict[str, list[dict[str, Any]]] = {
    "the order of conditions": [{"a": 1, "b": 3}, {"b": 3, "a": 1}],
    "$and": [
        {"a": 1, "b": 2},
        {"$and": [{"b": 2}, {"a": 1}]},
        {"$and": [{"$and": [{"a": 1}]}], "b": 2},
        {"a": 1, "b": {"$eq": 2}},
    ],
    "operators of a path": [
        {"a": {"$gt": 1, "$lt": 5}},
        {"a": {"$lt": 5, "$gt": 1}},
        {"$and": [{"a": {"$lt": 5}}, {"a": {"$gt": 1}}]},
    ],
    "branches": [{"$or": [{"a": 1}, {"b": 2}]}, {"$or": [{"b": 2}, {"a": 1}, {"a": {"$eq": 1}}]}],
    "lists of values": [{"a": {"$in": [1, "x"]}}, {"a": {"$in": ["x", 1, 1]}}],
    "comments and repeats": [{"a": 1}, {"a": 1, "$comment": "why"}, {"$and": [{"a": 1}, {"a": 1}]}],
    "regular expressions": [
        {"a": Regex("x", "i")},
        {"a": {"$regex": "x", "$options": "i"}},
        {"a": {"$options": "i", "$regex": Regex("x")}},
        {"a": {"$regex": Regex(b"x", "i")}},
    ],
    "inside $not": [{"a": {"$not": {"$gt": 1, "$lt": 5}}}, {"a": {"$not": {"$lt": 5, "$gt": 1}}}],
    "inside $elemMatch, by fields": [
        {"b": {"$elemMatch": {"c": 1, "d": 2}}},
        {"b": {"$elemMatch": {"d": 2, "c": 1}}},
    ],
    "inside $elemMatch, by operators": [
        {"b": {"$elemMatch": {"$gt": 1, "$lt": 2}}},
        {"b": {"$elemMatch": {"$lt": 2, "$gt": 1}}},
    ],
    "$not of a regular expression": [{"a": {"$not": Regex("x")}}, {"a": {"$not": {"$regex": "x"}}}],
    "nothing": [{}, {"$and": [{}]}, {"$comment": 1}],
}
OTHER: list[dict[str, Any]] = [
    {"a": {"x": 1, "y": 2}},
    {"a": {"y": 2, "x": 1}},
    {"a": 1, "b": 4},
    {"a": Int64(1)},
    {"a": 1.0},
    {"a": Decimal128("1")},
    {"a": "1"},
    {"a": [1]},
    {"a": [1, 2]},
    {"a": [2, 1]},
    {"a": None},
    {"a": {"$exists": False}},
    {"a.b": 1},
    {"a": {"b": 1}},
    {"a": {"$eq": Regex("x", "i")}},
    {"a": Regex("x")},
    {"a": {"$nin": [1, "x"]}},
    {"a": {"$all": [1, "x"]}},
    {"a": {"$all": ["x", 1]}},
    {"$nor": [{"a": 1}, {"b": 2}]},
    {"$or": [{"a": 1, "b": 2}]},
    {"$or": [{"a": 1}, {"b": 2}, {"c": 3}]},
    {"a": {"$elemMatch": {"c": 1}}},
    {"a": {"$elemMatch": {"c": 1, "d": 2}}},
    {"a": {"$not": {"$gt": 1}}},
    {"a": {"$in": [1, "x", 2]}},
]


def test_filters_that_ask_the_same_have_one_key_and_others_have_others() -> None:
    keys = [{compile_filter(source).canonical for source in sources} for sources in SAME.values()]
    assert [len(one) for one in keys] == [1] * len(SAME)
    every = [next(iter(one)) for one in keys] + [compile_filter(source).canonical for source in OTHER]
    assert len(set(every)) == len(SAME) + len(OTHER)


def test_one_key_never_stands_for_two_results() -> None:
    """Whatever the grammar makes: filters with equal keys match the same documents."""
    seed = fresh_seed()
    chance = random.Random(seed)
    grammar = Grammar(chance)
    documents = [grammar.document(key) for key in range(30)]
    shuffled_apart = 0
    for _ in range(300):
        source = {"a": grammar.value_operand(), **taken(grammar)}
        other = {"$and": [{name: value} for name, value in reversed(source.items())], "$comment": "again"}
        one, two = compile_filter(source), compile_filter(other)
        assert one.canonical == two.canonical, f"seed {seed}: {source}"
        results = [list(map(compiled.matches, documents)) for compiled in (one, two)]
        assert results[0] == results[1], f"seed {seed}: {source}"
        shuffled_apart += list(source) != [next(iter(part)) for part in other["$and"]]
    assert shuffled_apart > 100


def test_expressions_have_a_key_of_their_own() -> None:
    one = compile_filter({"a": 1, "$expr": {"$gt": ["$a", 1]}})
    other = compile_filter({"$expr": {"$gt": ["$a", 1.0]}, "a": 1})
    assert one.canonical == compile_filter({"$and": [{"$expr": {"$gt": ["$a", 1]}}, {"a": 1}]}).canonical
    assert one.canonical != other.canonical
