"""A replacement by whoever sees a part of a document."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.core.mql.cut import Cut
from realtime.core.mql.fieldsets import EVERY_FIELD, FieldSet
from realtime.core.mql.merging import Merging
from realtime.core.mql.writing import shown_by
from realtime.errors import ForbiddenError

HIDES = Cut(hide=("margin", "notes.internal", "items.cost"))
SHOWS = Cut(show=("title", "notes.text", "items.qty"))


def merge(cut: Cut, stored: dict[str, Any], given: dict[str, Any], writable: FieldSet | None = None) -> dict[str, Any]:
    shown = shown_by(cut)
    return Merging([shown], shown if writable is None else writable).merge(stored, cut.apply(stored), given)


STORED = {
    "_id": 1,
    "title": "t",
    "margin": 7,
    "notes": {"text": "x", "internal": "no"},
    "items": [{"qty": 1, "cost": 2}],
    "n": 3,
}


def test_what_can_neither_be_read_nor_written_stays() -> None:
    given = {"_id": 1, "title": "u", "notes": {"text": "y"}, "items": [{"qty": 1}], "new": {"a": 1}}
    assert merge(HIDES, STORED, given) == {
        "_id": 1,
        "title": "u",
        "notes": {"text": "y", "internal": "no"},
        "items": [{"qty": 1, "cost": 2}],
        "new": {"a": 1},
        "margin": 7,
    }


def test_what_is_shown_alone_is_replaced_where_the_rest_is_hidden() -> None:
    given = {"_id": 1, "title": "u", "notes": {"text": "y"}, "items": [{"qty": 1}]}
    assert merge(SHOWS, STORED, given) == {**STORED, "title": "u", "notes": {"text": "y", "internal": "no"}}


@pytest.mark.parametrize(
    "given",
    [
        {"margin": 7},
        {"margin": 8},
        {"notes": {"internal": 1}},
        {"notes": "text"},
        {"title": "no notes"},
        {"notes": {"text": 1}, "items": [{"qty": 2}]},
        {"notes": {"text": 1}, "items": []},
        {"notes": {"text": 1}, "items": 5},
        {"notes": {"text": 1}, "items": [{"qty": 1, "cost": 2}]},
    ],
    ids=str,
)
def test_what_would_lose_or_set_something_hidden_is_forbidden_whether_it_is_there_or_not(given: dict[str, Any]) -> None:
    bare = {"_id": 1, "title": "t", "notes": {"text": "x"}, "items": [{"qty": 1}], "n": 3}
    told = []
    for stored in (STORED, bare):
        with pytest.raises(ForbiddenError) as refused:
            merge(HIDES, stored, {"_id": 1, **given})
        told.append(refused.value.message)
    assert told[0] == told[1]


@pytest.mark.parametrize("given", [{"notes": {"internal": 1}}, {"notes": [{"internal": 1}]}], ids=str)
def test_a_new_object_holds_nothing_that_is_hidden(given: dict[str, Any]) -> None:
    with pytest.raises(ForbiddenError, match=r"notes\.internal is not yours to write"):
        merge(HIDES, {"_id": 1}, {"_id": 1, **given})


def test_a_new_object_may_hold_the_rest() -> None:
    assert merge(HIDES, {"_id": 1}, {"_id": 1, "notes": {"text": 1}}) == {"_id": 1, "notes": {"text": 1}}


def test_a_value_where_parts_are_hidden_is_not_theirs_as_a_whole() -> None:
    assert merge(HIDES, {"_id": 1, "notes": 5}, {"_id": 1, "notes": 5}) == {"_id": 1, "notes": 5}
    for given in ({"notes": {"text": 1}}, {"notes": 6}, {}):
        with pytest.raises(ForbiddenError, match="notes is not yours to write, and the replacement changes it"):
            merge(HIDES, {"_id": 1, "notes": 5}, {"_id": 1, **given})


def test_a_value_that_is_not_shown_is_not_overwritten_by_parts_of_it() -> None:
    with pytest.raises(ForbiddenError):
        merge(SHOWS, {"_id": 1, "notes": 5}, {"_id": 1, "notes": {"text": 1}})
    assert merge(SHOWS, {"_id": 1, "notes": 5}, {"_id": 1, "title": "t"}) == {"_id": 1, "title": "t", "notes": 5}


def test_what_may_be_read_and_not_written_has_to_be_there_as_it_was() -> None:
    title = FieldSet(frozenset({"title"}), but=False)
    whole = Cut()
    stored = {"_id": 1, "title": "t", "n": 3.0, "o": {"a": [1, 2]}}
    kept = merge(whole, stored, {"_id": 1, "title": "u", "n": 3, "o": {"a": [1, 2]}}, title)
    assert kept == {"_id": 1, "title": "u", "n": 3.0, "o": {"a": [1, 2]}}
    assert type(kept["n"]) is float
    for given in ({"n": 4}, {}, {"n": 3, "extra": 1}, {"n": 3, "o": {"a": [1]}}, {"n": 3, "o": {"a": [1, 3]}}):
        with pytest.raises(ForbiddenError, match="is not yours to write, and the replacement changes it"):
            merge(whole, stored, {"_id": 1, "title": "u", "o": {"a": [1, 2]}, **given}, title)


def test_what_is_hidden_and_may_be_written_is_replaced_whole() -> None:
    given = {"_id": 1, "title": "u", "notes": {"text": "x"}, "items": [{"qty": 1}], "n": 3}
    writable = FieldSet(frozenset({"title", "margin"}), but=False)
    assert "margin" not in merge(HIDES, STORED, given, writable)
    assert merge(HIDES, STORED, {**given, "margin": 9}, writable)["margin"] == 9


def test_a_field_that_one_of_the_shares_shows_is_read() -> None:
    stored = {"_id": 1, "a": 1, "b": 2}
    one, other = Cut(hide=("a",)), Cut(hide=("b",))
    merging = Merging([shown_by(one), shown_by(other)], FieldSet(frozenset({"b"}), but=False))
    with pytest.raises(ForbiddenError, match=r"^a is not yours"):
        merging.merge(stored, stored, {"_id": 1, "b": 3})
    assert merging.merge(stored, stored, {"_id": 1, "a": 1, "b": 3}) == {"_id": 1, "a": 1, "b": 3}


def test_what_a_model_makes_of_a_document_leaves_alone_what_is_out_of_the_writers_reach() -> None:
    shown = shown_by(HIDES)
    merging = Merging([shown], shown)
    made = {"_id": 1, "title": "T", "margin": 0, "notes": {"text": "x"}, "items": [{"qty": 1}], "n": 3}
    assert merging.kept(STORED, made) == {**STORED, "title": "T"}
    assert merging.kept({"_id": 1, "items": [1]}, {"_id": 1, "items": []}) == {"_id": 1, "items": []}
    assert Merging([shown], EVERY_FIELD).kept(STORED, made) == made
