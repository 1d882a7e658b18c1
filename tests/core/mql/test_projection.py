"""Projections: what of a document is shown, which updates can be seen through them, and what is refused.

tests/mongo/test_projection_differential.py holds the same code against a real MongoDB.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from bson.decimal128 import Decimal128

from realtime.core.mql.dialect import NEWEST
from realtime.core.mql.expressions.timezones import UTC
from realtime.core.mql.filters import stem
from realtime.core.mql.projection import MAX_PATHS, compile_projection
from realtime.errors import InvalidRequestError, UnsupportedOperatorError

DOCUMENT: dict[str, Any] = {
    "_id": 1,
    "z": 0,
    "a": {"b": {"c": 1, "d": 2}, "e": 3},
    "list": [1, {"x": 1, "y": 2}, [{"x": 3}, 4], {}, None],
    "s": "text",
}

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "nothing said shows everything": (None, DOCUMENT),
    "an empty projection shows everything": ({}, DOCUMENT),
    "an inclusion shows _id and keeps the document's order": ({"s": 1, "z": True}, {"_id": 1, "z": 0, "s": "text"}),
    "_id can be left out of an inclusion": ({"s": 1, "_id": 0}, {"s": "text"}),
    "_id alone": ({"_id": 1}, {"_id": 1}),
    "_id named in an inclusion": ({"_id": 1, "z": 1}, {"_id": 1, "z": 0}),
    "an inclusion goes into objects": ({"a.b.c": 1}, {"_id": 1, "a": {"b": {"c": 1}}}),
    "nested objects mean the same": ({"a": {"b": {"c": 1}, "e": 1}}, {"_id": 1, "a": {"b": {"c": 1}, "e": 3}}),
    "an inclusion enters arrays and drops what is no object": (
        {"list.x": 1},
        {"_id": 1, "list": [{"x": 1}, [{"x": 3}], {}]},
    ),
    "an inclusion below a scalar leaves it out": ({"s.x": 1, "z": 1}, {"_id": 1, "z": 0}),
    "an inclusion of what is not there": ({"no": 1}, {"_id": 1}),
    "an exclusion": ({"a": 0, "list": False, "s": 0}, {"_id": 1, "z": 0}),
    "an exclusion of _id alone": ({"_id": 0}, {name: value for name, value in DOCUMENT.items() if name != "_id"}),
    "an exclusion with _id": ({"_id": 0, "a": 0, "list": 0}, {"z": 0, "s": "text"}),
    "an exclusion that names _id as shown": ({"a": 0, "list": 0, "_id": 1}, {"_id": 1, "z": 0, "s": "text"}),
    "an exclusion goes into objects and arrays and keeps what is no object": (
        {"a.b.c": 0, "list.x": 0, "s.x": 0},
        {"_id": 1, "z": 0, "a": {"b": {"d": 2}, "e": 3}, "list": [1, {"y": 2}, [{}, 4], {}, None], "s": "text"},
    ),
    "the fields of a DBRef are fields": ({"s.$id": 1, "z": 1, "a$b": 1}, {"_id": 1, "z": 0}),
    "numbers count as true unless zero": ({"z": 2.5, "s": Decimal128("1")}, {"_id": 1, "z": 0, "s": "text"}),
    "zero of any type excludes": ({"a": 0.0, "list": Decimal128("0"), "s": False}, {"_id": 1, "z": 0}),
}


@pytest.mark.parametrize(("source", "expected"), CASES.values(), ids=CASES.keys())
def test_a_projection_shows_what_find_would_in_the_same_order(source: Any, expected: dict[str, Any]) -> None:
    shown = compile_projection(source).apply(DOCUMENT)
    assert shown == expected
    assert list(shown) == list(expected)


def test_a_projection_leaves_the_document_itself_alone() -> None:
    before = repr(DOCUMENT)
    for source, _ in CASES.values():
        compile_projection(source).apply(DOCUMENT)
    assert repr(DOCUMENT) == before


SEEN: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "everything": ({}, ["a", "b.c"], []),
    "an inclusion shows its paths, by prefix both ways": (
        {"a.b": 1, "c": 1},
        ["a", "a.b", "a.b.x", "c", "c.0.d"],
        ["a.c", "ab", "d"],
    ),
    "an inclusion sees through the numbers of arrays": ({"a.b": 1}, ["a.3.b", "a.3"], ["a.3.c"]),
    "_id alone shows no update": ({"_id": 1}, [], ["a", "b.c"]),
    "an exclusion hides what lies inside its paths": ({"a": 0, "b.c": 0}, ["b", "b.d", "ab", "d"], ["a", "a.x"]),
    "an exclusion of _id hides no update": ({"_id": 0}, ["a"], []),
}


@pytest.mark.parametrize(("source", "seen", "hidden"), SEEN.values(), ids=SEEN.keys())
def test_a_projection_knows_which_updates_can_be_seen(
    source: dict[str, Any], seen: list[str], hidden: list[str]
) -> None:
    shows = compile_projection(source).shows
    assert [path for path in seen if not shows(frozenset({stem(path)}))] == []
    assert [path for path in hidden if shows(frozenset({stem(path)}))] == []
    if seen and hidden:
        assert shows(frozenset({stem(seen[0]), stem(hidden[0])}))


def test_an_element_pushed_to_an_array_was_hidden_by_a_name_that_looks_like_its_index() -> None:
    """`$push` of a second element updates `a.1`; `{"a.1": 0}` hides what is called `1` in the elements of `a`."""
    shows = compile_projection({"a.1": 0, "b": 0}).shows
    assert shows(frozenset({"a.1"}))
    assert shows(frozenset({"a.1.c"}))
    assert not shows(frozenset({"b.1"}))
    assert compile_projection({"a.1": 0}).apply({"a": [{"1": 2, "c": 3}, 4]}) == {"a": [{"c": 3}, 4]}


REFUSED: dict[str, tuple[Any, str]] = {
    "no object": (["a"], ""),
    "mixed": ({"a": 1, "b": 0}, "b"),
    "an empty object": ({"a": {}}, "a"),
    "_id computed": ({"_id": "$a"}, "_id"),
    "exclusion and computed": ({"a": 0, "b": "$c"}, "a"),
    "a path inside a computed one": ({"a": "$b", "a.b": 1}, "a"),
    "a computed path twice": ({"a.b": "$c", "a": {"b": 1}}, "a.b"),
    "an empty name": ({"": 1}, ""),
    "an empty component": ({"a..b": 1}, "a..b"),
    "a leading dot": ({".a": 1}, ".a"),
    "a trailing dot": ({"a.": 1}, "a."),
    "NUL": ({"a\0": 1}, "a\0"),
    "an empty name inside": ({"a": {"": 1}}, "a."),
    "the same path twice": ({"a.b": 1, "a": {"b": 1}}, "a.b"),
    "a path inside another": ({"a": 1, "a.b": 1}, "a.b"),
    "a path around another": ({"a.b": 1, "a": 1}, "a"),
    "too many": ({f"f{number}": 1 for number in range(MAX_PATHS + 1)}, f"f{MAX_PATHS}"),
}


@pytest.mark.parametrize(("source", "path"), REFUSED.values(), ids=REFUSED.keys())
def test_a_projection_that_find_would_refuse_is_refused_at_its_path(source: Any, path: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        compile_projection(source)
    assert refused.value.details == {"field": "projection", "path": path}


@pytest.mark.parametrize(
    ("source", "operator", "path"),
    [
        ({"a": {"$slice": 1}}, "$slice", "a.$slice"),
        ({"a": {"$elemMatch": {"b": 1}}}, "$elemMatch", "a.$elemMatch"),
        ({"a.$": 1}, "a.$", "a.$"),
        ({"a": {"b": {"$meta": "textScore"}}}, "$meta", "a.b.$meta"),
    ],
)
def test_operators_are_refused_by_name_and_path(source: dict[str, Any], operator: str, path: str) -> None:
    with pytest.raises(UnsupportedOperatorError) as refused:
        compile_projection(source)
    assert refused.value.details == {"operator": operator, "path": path}


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ({"t": {"$multiply": ["$p", 2]}}, {"_id": 1, "t": 6}),
        ({"t": {"$multiply": ["$p", 2]}, "p": 1, "_id": 0}, {"p": 3, "t": 6}),
        ({"p": {"$add": ["$p", 1]}, "s": 1}, {"_id": 1, "s": "x", "p": 4}),
        (
            {"t": "$p", "u": "text", "v": None, "w": ["$p", "$none"]},
            {"_id": 1, "t": 3, "u": "text", "v": None, "w": [3, None]},
        ),
        ({"t": "$none"}, {"_id": 1}),
        ({"s": "$none", "p": 1}, {"_id": 1, "p": 3}),
        ({"o": {"z": "$p", "a": 1}}, {"_id": 1, "o": {"a": 1, "z": 3}}),
        ({"s.z": "$p"}, {"_id": 1, "s": {"z": 3}}),
        ({"p.z": "$s", "s": 1}, {"_id": 1, "p": {"z": "x"}, "s": "x"}),
        ({"n.z": "$p"}, {"_id": 1, "n": {"z": 3}}),
        ({"a.z": "$p", "a.q": 1}, {"_id": 1, "a": [{"q": 1, "z": 3}, {"z": 3}, [{"z": 3}]]}),
        ({"d.e.f": "$p", "d.g": 1}, {"_id": 1, "d": {"e": {"f": 3}}}),
    ],
)
def test_what_is_computed_stands_behind_what_is_shown(source: Any, shown: dict[str, Any]) -> None:
    """As `find` of 6.0.5 and 6.0.27 has it."""
    document = {"_id": 1, "p": 3, "s": "x", "o": {"a": 1, "b": 2}, "a": [{"q": 1, "r": 2}, 5, [6]]}
    compiled = compile_projection(source)
    found = compiled.apply(document)
    assert found == shown
    assert list(found) == list(shown)
    assert document["o"] == {"a": 1, "b": 2}
    assert compiled.computed


def test_what_is_computed_is_seen_through_what_it_reads() -> None:
    compiled = compile_projection({"t": {"$add": ["$a.b", "$c"]}, "d": 1})
    shows = compiled.shows
    assert [shows(frozenset({path})) for path in ("a.0.b", "c", "d", "a", "t", "e")] == [True] * 4 + [False] * 2
    assert compile_projection({"t": "$$ROOT"}).shows(frozenset({"anything"}))


def test_a_computed_projection_follows_the_dialect_and_the_zones() -> None:
    text, hour = {"t": {"$toString": "$a"}}, {"t": {"$hour": {"date": "$a", "timezone": "Europe/Berlin"}}}
    compiled = compile_projection(text)
    assert compiled.spoken(NEWEST) is compiled
    assert compiled.spoken(replace(NEWEST, six_digits=True)).apply({"a": 1 / 3}) == {"t": "0.333333"}
    untold = compile_projection(hour)
    assert compiled.told({}) is compiled
    assert untold.told({"Europe/Berlin": UTC}).apply({"a": dt.datetime(2020, 1, 1, 5, tzinfo=dt.UTC)}) == {"t": 5}


def test_the_fields_of_a_reference_are_paths_and_no_expression() -> None:
    shown = compile_projection({"link": {"$ref": 1}}).apply({"_id": 1, "link": {"$ref": "a", "$id": 2}, "b": 3})
    assert shown == {"_id": 1, "link": {"$ref": "a"}}
    assert compile_projection({"link": {"$ref": 1}}).computed == frozenset()
