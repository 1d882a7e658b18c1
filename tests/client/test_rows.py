"""The documents of a view: moments applied whole, and the difference of two views applied gives the other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.client.records import Change
from realtime.client.rows import Rows, is_ordered, text_of
from realtime.core.bson import ejson


def rows(*keys: Any, ordered: bool = False) -> Rows:
    return Rows([{"_id": key} for key in keys], ordered=ordered)


def keys(of: Rows) -> list[Any]:
    return [document["_id"] for document in of.shown()]


def put(op: str, key: Any, index: int | None = None, **fields: Any) -> Change:
    return Change(op, key, {"_id": key, **fields}, index)  # type: ignore[arg-type]  # reason: one of the three words


def test_documents_are_known_by_the_text_of_their_key() -> None:
    of = rows({"a": 1}, "x", 7, None)
    assert {text_of({"a": 1}), '"x"', "7", "null"} == set(of.documents)


def test_a_snapshot_of_several_frames_keeps_its_order() -> None:
    of = Rows([{"_id": 3}], ordered=True)
    of.put([{"_id": 1}, {"_id": 2}])
    assert keys(of) == [3, 1, 2]


def test_what_was_not_held_enters_what_was_not_held_does_not_leave() -> None:
    of = rows(1)
    told = of.apply([Change("leave", 9), put("update", 2), put("enter", 1, n=1)])
    assert told == (put("enter", 2), put("update", 1, n=1))
    assert keys(of) == [1, 2]


def test_an_update_to_what_is_there_is_nothing_but_another_type_is_something() -> None:
    of = Rows([{"_id": 1, "n": 1}])
    assert of.apply([put("update", 1, n=1)]) == ()
    assert of.apply([put("update", 1, n=1.0)]) == (put("update", 1, n=1.0),)
    assert of.apply([put("update", 1, n=True)]) == (put("update", 1, n=True),)


def test_a_window_takes_out_what_the_moment_names_and_puts_in_by_rising_index() -> None:
    of = rows("a", "b", "c", ordered=True)
    told = of.apply([Change("leave", "a"), put("update", "c", 0), put("enter", "d", 2)])
    assert keys(of) == ["c", "b", "d"]
    assert [(change.op, change.key, change.index) for change in told] == [
        ("leave", "a", None),
        ("update", "c", 0),
        ("enter", "d", 2),
    ]


def test_rows_that_do_not_show_their_key_are_known_by_the_one_that_was_named() -> None:
    of, later = Rows(), Rows()
    of.put([{"n": 5}], keys=[None])
    assert (list(of.documents), of.shown()) == (["null"], [{"n": 5}])
    later.put([{"n": 6}], keys=[None])
    assert of.changes_to(later) == (Change("update", None, {"n": 6}),)
    assert of.changes_to(Rows()) == (Change("leave", None),)
    assert of.apply([Change("update", None, {"n": 7})]) == (Change("update", None, {"n": 7}),)
    assert of.apply([Change("leave", None)]) == (Change("leave", None),)


@pytest.mark.parametrize(
    ("asked", "ordered"),
    [
        ({}, False),
        ({"sort": [["a", 1]]}, True),
        ({"limit": 5}, True),
        ({"group": {"by": ["a"]}}, False),
        ({"pipeline": []}, False),
        ({"pipeline": [{"$match": {"a": 1}}, {"$set": {"b": 1}}]}, False),
        ({"pipeline": [{"$sort": {"a": 1}}, {"$limit": 5}, {"$project": {"a": 1}}]}, True),
        ({"pipeline": [{"$sort": {"a": 1}}, {"$limit": 5}, {"$group": {"_id": "$a"}}]}, False),
        ({"pipeline": [{"$group": {"_id": "$a"}}, {"$match": {"_id": 1}}, {"$sort": {"_id": 1}}]}, True),
        ({"pipeline": [{"$sortByCount": "$a"}, {"$set": {"b": 1}}]}, True),
        ({"pipeline": [{"$sort": {"a": 1}}, {"$limit": 5}, {"$count": "n"}]}, False),
        ({"pipeline": [5, {}]}, False),
    ],
)
def test_whether_there_is_an_order_goes_by_what_was_asked(asked: dict[str, Any], ordered: bool) -> None:
    assert is_ordered(asked) is ordered


def test_a_copy_lives_on_its_own() -> None:
    of = rows(1, 2, ordered=True)
    twin = of.copy()
    of.apply([Change("leave", 1)])
    assert keys(twin) == [1, 2]


def test_the_difference_names_as_few_as_can_be() -> None:
    changes = rows(1, 2, 3, 4, 5, ordered=True).changes_to(rows(5, 1, 2, 3, 4, ordered=True))
    assert [(change.op, change.key, change.index) for change in changes] == [("update", 5, 0)]
    assert rows(1, 2).changes_to(rows(1, 2)) == ()


VIEWS = st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0, 1, 1.0, True])), unique_by=lambda pair: pair[0])


@given(VIEWS, VIEWS, st.booleans())
@settings(max_examples=400)
def test_the_difference_applied_gives_the_other_view(
    old: list[tuple[int, Any]], new: list[tuple[int, Any]], ordered: bool
) -> None:
    before = Rows([{"_id": key, "n": n} for key, n in old], ordered=ordered)
    after = Rows([{"_id": key, "n": n} for key, n in new], ordered=ordered)
    changes = before.changes_to(after)
    held = set(before.documents)
    assert all((text_of(change.key) in held) == (change.op != "enter") for change in changes)
    assert [change.op for change in changes] == sorted((change.op for change in changes), key=lambda op: op != "leave")
    assert before.apply(changes) == changes
    assert ejson.encode(sorted(before.shown(), key=str)) == ejson.encode(sorted(after.shown(), key=str))
    if ordered:
        assert keys(before) == keys(after)
