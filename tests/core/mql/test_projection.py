"""Projections: what of a document is shown, which updates can be seen through them, and what is refused.

tests/mongo/test_projection_differential.py holds the same code against a real MongoDB.
"""

from __future__ import annotations

from typing import Any

import pytest
from bson.decimal128 import Decimal128

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


REFUSED: dict[str, tuple[Any, str]] = {
    "no object": (["a"], ""),
    "mixed": ({"a": 1, "b": 0}, "b"),
    "a string": ({"a": "$b"}, "a"),
    "null": ({"a": None}, "a"),
    "an empty object": ({"a": {}}, "a"),
    "an array": ({"a": [1]}, "a"),
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
