"""What a query is sorted by: what is refused, and documents in their order.

`tests/mongo/test_sort_differential.py` compares with the real `sort`.
"""

from __future__ import annotations

from typing import Any

import pytest
from bson.dbref import DBRef
from bson.max_key import MaxKey
from bson.min_key import MinKey

from realtime.core.mql.ordering import MAX_KEYS, parse_sort
from realtime.errors import InvalidRequestError


def ordered(source: Any, *documents: dict[str, Any]) -> list[Any]:
    """The keys of the documents in order; each has its number as `_id`."""
    place = parse_sort(source).place
    numbered = [{"_id": number, **document} for number, document in enumerate(documents)]
    return [document["_id"] for document in sorted(numbered, key=place)]


def values(direction: int, *stored: Any, path: str = "a") -> list[Any]:
    """These values of `a`, as the sort by `path` orders them."""
    documents = [{"a": value} for value in stored]
    return [stored[number] for number in ordered([[path, direction]], *documents)]


def test_id_decides_between_equals_unless_it_is_named() -> None:
    assert parse_sort([["a", -1]]).pairs == (("a", -1), ("_id", 1))
    assert parse_sort([["_id", -1], ["a", 1]]).pairs == (("_id", -1), ("a", 1))
    assert parse_sort(None).source == {"_id": 1}
    assert parse_sort({"b": 1.0, "a": -1}).source == {"b": 1, "a": -1, "_id": 1}


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("a", ""),
        ([["a"]], ""),
        ([["a", 1, 1]], ""),
        (["ab"], ""),
        ([[1, 1]], ""),
        ([["", 1]], ""),
        ([["$natural", 1]], "$natural"),
        ([["a.$b", 1]], "a.$b"),
        ([["a..b", 1]], "a..b"),
        ([["a.", 1]], "a."),
        ([["a\0", 1]], "a\0"),
        ([["a", 1], ["a", -1]], "a"),
        ([["a", 0]], "a"),
        ([["a", True]], "a"),
        ({"a": {"$meta": "textScore"}}, "a"),
        ([[f"a{number}", 1] for number in range(MAX_KEYS)], ""),
    ],
)
def test_what_is_no_sort_is_refused_by_path(source: Any, path: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_sort(source)
    assert refused.value.details == {"field": "sort", "path": path}


def test_as_many_keys_as_mongodb_takes() -> None:
    assert len(parse_sort([[f"a{number}", 1] for number in range(MAX_KEYS - 1)]).pairs) == MAX_KEYS


def test_types_are_in_bsons_order_and_missing_is_null() -> None:
    stored = [MinKey(), None, -1, 2.5, "a", {"x": 1}, True, MaxKey()]
    assert values(1, *reversed(stored)) == stored
    assert values(-1, *stored) == list(reversed(stored))
    assert ordered([["a", 1]], {"a": 1}, {}, {"a": None}) == [1, 2, 0]


def test_an_array_stands_for_its_least_element_upwards_and_its_greatest_downwards() -> None:
    assert values(1, [5, 1], 3, [2, 9]) == [[5, 1], [2, 9], 3]
    assert values(-1, [5, 1], 3, [2, 9]) == [[2, 9], [5, 1], 3]
    assert values(1, [[1]], 9, [[]]) == [9, [[]], [[1]]]


def test_an_empty_array_comes_before_null_and_after_min_key() -> None:
    assert values(1, None, [], MinKey(), [None]) == [MinKey(), [], None, [None]]
    assert ordered([["a.b", 1]], {"a": []}, {"a": {"b": []}}, {"a": [{"b": 1}]}) == [1, 0, 2]


def test_keys_through_one_array_are_taken_from_one_element() -> None:
    one, other = {"a": [{"x": 1, "y": 9}, {"x": 2, "y": 1}]}, {"a": [{"x": 1, "y": 5}]}
    assert ordered([["a.x", 1], ["a.y", 1]], one, other) == [1, 0]
    assert ordered([["a.y", 1], ["a.x", 1]], one, other) == [0, 1]
    assert ordered([["a.x", -1], ["a.y", 1]], one, other) == [0, 1]


def test_a_number_in_a_path_picks_an_element_or_names_a_field() -> None:
    assert values(1, [9, 1], [5], [], path="a.0") == [[], [5], [9, 1]]
    assert values(1, {"0": 3}, [2], {"0": [1, 8]}, path="a.0") == [{"0": [1, 8]}, [2], {"0": 3}]
    # An array picked by its number is not entered: arrays come after numbers.
    assert values(1, [[1]], [7], path="a.0") == [[7], [[1]]]
    assert values(1, [7], [[1], 2], path="a.01") == [[7], [[1], 2]]
    assert values(1, [{"b": 4}], [{"b": 3}], path="a.0.b") == [[{"b": 3}], [{"b": 4}]]


def test_a_number_that_is_both_a_place_and_a_name_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="both a name and a place"):
        parse_sort([["a.0", 1]]).place({"_id": 1, "a": [{"0": 1}]})


def test_keys_in_two_arrays_are_refused() -> None:
    place = parse_sort([["a", 1], ["b.c", 1]]).place
    with pytest.raises(InvalidRequestError, match="two arrays") as refused:
        place({"_id": 1, "a": [1], "b": [{"c": 2}]})
    assert refused.value.details == {"field": "sort"}
    assert place({"_id": 1, "a": [1], "b": {"c": 2}})
    assert parse_sort([["a", 1], ["a.b", -1]]).place({"_id": 1, "a": [{"b": 1}, 2]})


def test_paths_go_through_objects_and_references_and_end_at_scalars() -> None:
    reference = DBRef("c", 5)
    assert ordered([["a.b.c", 1]], {"a": {"b": {"c": 2}}}, {"a": {"b": {"c": 1}}}, {"a": 5}) == [2, 1, 0]
    assert ordered([["a.$id".replace("$", ""), 1]], {"a": {"id": 1}}, {"a": reference}) == [1, 0]
    assert ordered([["a.x", 1]], {"a": [reference]}, {"a": [{"x": 1}]}) == [0, 1]


def test_it_reads_what_lies_on_its_paths() -> None:
    sort = parse_sort([["a.b", 1], ["c.0", 1]])
    for path, read in {
        "a": True,
        "a.b.x": True,
        "a.3.b": True,
        "a.c": False,
        "c": True,
        "c.7": True,
        "_id": True,
    }.items():
        assert sort.reads(frozenset({path})) is read, path
    assert not sort.reads(frozenset())
