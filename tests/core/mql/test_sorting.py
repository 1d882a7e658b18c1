"""Sort keys: MongoDB's order of documents, by arrays too.

tests/mongo/test_sort_differential.py holds the same code against a real MongoDB.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from realtime.core.mql.sorting import UnsortableError, compile_sort

Pattern = list[tuple[str, int]]
RISING: dict[str, tuple[Pattern, list[dict[str, Any]]]] = {
    "numbers, then text": ([("a", 1)], [{"a": float("nan")}, {"a": -1}, {"a": 0.5}, {"a": "A"}, {"a": "a"}]),
    "an empty array, then what is missing": ([("a", 1)], [{"a": []}, {}, {"a": 0}]),
    "an array by its least element": ([("a", 1)], [{"a": [5, 1]}, {"a": 2}, {"a": [3, 4]}]),
    "falling, an array by its greatest": ([("a", -1)], [{"a": [1, 5]}, {"a": 4}, {"a": [3, 2]}, {}, {"a": []}]),
    "a path through objects": ([("a.b", 1)], [{"a": 5}, {"a": {"b": 1}}, {"a": {"b": 2}}, {"a": {"b": "x"}}]),
    "a path through arrays": ([("a.b", 1)], [{"a": [{"b": 9}, {"b": 0}]}, {"a": {"b": 1}}, {"a": [{"b": 2}]}]),
    "an element without the path is null": ([("a.b", 1)], [{"a": [{"b": 9}, 5]}, {"a": {"b": 1}}]),
    "a path into an empty array is null": ([("a.b", 1), ("n", 1)], [{"a": [], "n": 1}, {"n": 2}, {"a": {"b": 0}}]),
    "a numbered element": ([("a.1", 1)], [{"a": [9]}, {"a": [5, 0]}, {"a": {"1": 1}}, {"a": [0, 2]}]),
    "a numbered element and on": (
        [("a.0.b", 1)],
        [{"a": [{"b": 1}]}, {"a": [{"b": 2}, {"b": 0}]}, {"a": [[{"b": 3}]]}],
    ),
    "a numbered element that is an array": ([("a.0", 1)], [{"a": [1]}, {"a": [[1]]}, {"a": [[2], 0]}]),
    "arrays in arrays are values": ([("a", 1)], [{"a": [[1]]}, {"a": [[2]]}]),
    "a DBRef is an object": (
        [("a.$id", 1)],
        [{"a": {"$ref": "c", "$id": 1}}, {"a": [{"$id": 2, "$ref": "c"}]}, {"a": {"$ref": "c", "$id": 3}}],
    ),
    "several paths": ([("a", 1), ("b", -1)], [{"a": 1, "b": 2}, {"a": 1, "b": 1}, {"a": 2, "b": 9}]),
    "several paths through one array, together": (
        [("a.b", 1), ("a.c", 1)],
        [{"a": [{"b": 1, "c": 4}]}, {"a": [{"b": 1, "c": 5}, {"b": 2, "c": 0}]}, {"a": [{"b": 2, "c": 0}]}],
    ),
    "an array beside a scalar": ([("a", 1), ("b", 1)], [{"a": [2, 1], "b": 1}, {"a": 1, "b": 2}, {"a": [9], "b": 0}]),
    "a DBRef and a missing path beside an array": (
        [("a.l.$id", 1), ("c.d", 1), ("b", 1)],
        [
            {"a": {"l": {"$ref": "c", "$id": 1}}, "c": {}, "b": [1]},
            {"a": {"l": {"$ref": "c", "$id": 2}}, "c": {"d": 1}, "b": [1]},
        ],
    ),
    "an array after a missing path": ([("x.y", 1), ("a", 1)], [{"a": [0, 5]}, {"a": 1}, {"x": {"y": 1}, "a": [0]}]),
}


@pytest.mark.parametrize(("pattern", "documents"), RISING.values(), ids=RISING.keys())
def test_keys_have_the_order_of_find(pattern: Pattern, documents: list[dict[str, Any]]) -> None:
    key = compile_sort(pattern)
    keys = [key(document) for document in documents]
    assert all(one < other for one, other in itertools.pairwise(keys))
    backwards = documents[::-1]
    assert sorted(backwards, key=key) == documents


def test_equal_documents_have_equal_keys_in_both_directions() -> None:
    for direction in (1, -1):
        key = compile_sort([("a", direction)])
        assert key({"a": 1}) == key({"a": 1.0, "b": 5}) == key({"a": [1, 1]})
        assert hash(key({"a": None})) == hash(key({}))
        assert key({"a": 1}) != key({"a": 2})
    assert compile_sort([("a", -1)])({}) != (5,)


@pytest.mark.parametrize(
    ("pattern", "document"),
    [
        ([("a", 1), ("b", 1)], {"a": [1], "b": [1]}),
        ([("a.b", 1), ("a.c", 1)], {"a": {"b": [1], "c": [2]}}),
        ([("a.0.b", 1)], {"a": [{"b": 1, "0": 1}]}),
    ],
    ids=["two arrays", "two arrays below one field", "a name like a place"],
)
def test_what_mongodb_cannot_sort_is_said(pattern: Pattern, document: dict[str, Any]) -> None:
    with pytest.raises(UnsortableError):
        compile_sort(pattern)(document)


def test_by_the_key_alone_an_array_is_one_value() -> None:
    """As the index on `_id` has it, by 6.0.5 and 6.0.27: no document has such a key, but a row of `$group` may."""
    rows: list[dict[str, Any]] = [{"_id": [9, 1]}, {"_id": 5}, {"_id": []}, {"_id": {"a": 1}}]
    assert [row["_id"] for row in sorted(rows, key=compile_sort([("_id", 1)]))] == [5, {"a": 1}, [], [9, 1]]
    assert [row["_id"] for row in sorted(rows, key=compile_sort([("_id", -1)]))] == [[9, 1], [], {"a": 1}, 5]
    assert [row["_id"] for row in sorted(rows, key=compile_sort([("_id", 1), ("n", 1)]))] == [[], [9, 1], 5, {"a": 1}]


def test_one_list_in_two_fields_is_two_arrays() -> None:
    shared = [1, 2]
    with pytest.raises(UnsortableError):
        compile_sort([("a", 1), ("b", 1)])({"a": shared, "b": shared})
    assert compile_sort([("a.x", 1), ("a.y", 1)])({"a": [{"x": 1, "y": 2}]})
