"""A query group in events mode: which events are told, and what of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from realtime.core.live.event_group import EventGroup
from realtime.core.live.events import ChangeEvent, format_position
from realtime.core.live.moments import Settled
from realtime.core.live.query import Images
from tests.core.examples import EPOCH, delete, event_group, insert, replace, settled, shown, update

RED = {"_id": 1, "colour": "red", "n": 1}
BLUE = {"_id": 2, "colour": "blue", "n": 1}
WALL = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ONE, TWO = (b"one", 1), (b"two", 1)


def at(time: int) -> str:
    return format_position(EPOCH, time)


def told(group: EventGroup, batch: Settled, images: Images | None = None) -> list[Any]:
    return shown(group.apply(batch, {"items": images or {}}))


def test_an_insert_is_told_with_its_document_position_and_wall_time() -> None:
    (entry,) = told(event_group(), settled(insert(11, RED, wall_time=WALL)))
    assert entry == {
        "op": "insert",
        "collection": "items",
        "key": 1,
        "document": RED,
        "position": at(11),
        "wall_time": {"$date": "2026-01-01T00:00:00Z"},
    }


def test_every_event_is_told_in_order_also_several_of_one_document() -> None:
    batch = settled(insert(11, RED), replace(12, {**RED, "n": 2}), delete(12, 1), insert(13, BLUE))
    entries = told(event_group(), batch)
    assert [(entry["op"], entry["key"], entry["position"]) for entry in entries] == [
        ("insert", 1, at(11)),
        ("replace", 1, at(12)),
        ("delete", 1, at(12)),
        ("insert", 2, at(13)),
    ]
    assert entries[1]["document"] == {**RED, "n": 2}


def test_events_at_or_before_what_was_told_are_skipped() -> None:
    group = event_group()
    assert [entry["key"] for entry in told(group, settled(insert(10, RED), insert(11, BLUE)))] == [2]
    assert group.position == at(11)
    assert told(group, settled(insert(11, RED), time=15)) == []
    assert group.position == at(15)


def test_the_filter_keeps_out_what_does_not_match() -> None:
    group = event_group({"colour": "red"})
    batch = settled(insert(11, RED), insert(11, BLUE), replace(12, {**RED, "colour": "green"}))
    assert [entry["key"] for entry in told(group, batch)] == [1]


def test_an_update_without_its_document_is_decided_on_the_one_read_and_says_as_of() -> None:
    group = event_group({"colour": "red"})
    batch = settled(update(11, 1, "n"), update(11, 2, "n"), time=14)
    (entry,) = told(group, batch, {"1": {**RED, "n": 5}, "2": BLUE})
    assert entry == {
        "op": "update",
        "collection": "items",
        "key": 1,
        "document": {**RED, "n": 5},
        "as_of": at(14),
        "updated": ["n"],
        "removed": [],
        "position": at(11),
    }


def test_an_update_with_its_own_document_has_no_as_of() -> None:
    (entry,) = told(event_group(), settled(update(11, 1, "n", document=RED)), {"1": {**RED, "n": 7}})
    assert entry["document"] == RED
    assert "as_of" not in entry


@pytest.mark.parametrize("images", [{}, {"1": None}])
def test_an_update_whose_document_is_gone_is_partial_even_under_a_filter(images: Images) -> None:
    group = event_group({"colour": "red"})
    (entry,) = told(group, settled(update(11, 1, "n", removed=("m",))), images)
    assert entry["partial"] is True
    assert "document" not in entry
    assert (entry["updated"], entry["removed"]) == (["n"], ["m"])


def test_an_insert_whose_document_is_too_large_to_be_had_is_partial() -> None:
    event = ChangeEvent("insert", "items", 11, key=1, identity="1")
    (entry,) = told(event_group({"colour": "red"}), settled(event))
    assert entry == {"op": "insert", "collection": "items", "key": 1, "partial": True, "position": at(11)}


# ---------------------------------------------------------------------------------------------- deletes and before


def test_without_a_pre_image_every_delete_is_told_its_key_alone() -> None:
    (entry,) = told(event_group({"colour": "red"}), settled(delete(11, 5)))
    assert entry == {"op": "delete", "collection": "items", "key": 5, "position": at(11)}


def test_with_a_pre_image_a_delete_is_matched_on_it() -> None:
    group = event_group({"colour": "red"})
    (entry,) = told(group, settled(delete(11, 1, before=RED), delete(11, 2, before=BLUE)))
    assert (entry["key"], entry["before"]) == (1, RED)


def test_before_is_there_only_when_it_matches_by_itself() -> None:
    group = event_group({"colour": "red"})
    was_red, was_blue = {**RED, "n": 0}, {**RED, "colour": "blue"}
    one, two = told(group, settled(replace(11, RED, before=was_red), replace(12, RED, before=was_blue)))
    assert one["before"] == was_red
    assert "before" not in two


def test_an_event_whose_document_no_longer_matches_is_not_told_whatever_it_was_before() -> None:
    group = event_group({"colour": "red"})
    assert told(group, settled(replace(11, {**RED, "colour": "blue"}, before=RED))) == []


# ------------------------------------------------------------------------------------------------------ projection


def test_the_projection_applies_to_document_before_updated_and_removed_alike() -> None:
    group = event_group({"colour": "red"}, {"n": 1, "deep.a": 1})
    event = update(
        11, 1, "n", "colour", "deep.3.a", document=RED, before={**RED, "n": 0}, removed=("deep.b", "secret", "deep")
    )
    (entry,) = told(group, settled(event))
    assert entry["document"] == {"_id": 1, "n": 1}
    assert entry["before"] == {"_id": 1, "n": 0}
    assert entry["updated"] == ["n", "deep.3.a"]
    assert entry["removed"] == ["deep"]


def test_an_exclusion_hides_what_was_updated_inside_it() -> None:
    group = event_group(projection={"secret": 0})
    (entry,) = told(group, settled(update(11, 1, "n", "secret.a", document=RED, removed=("secret",))))
    assert (entry["updated"], entry["removed"]) == (["n"], [])


# ------------------------------------------------------------------------------------ transactions and operations


def test_events_of_one_transaction_share_a_number_within_a_frame() -> None:
    batch = settled(
        insert(11, RED, transaction=ONE),
        insert(11, BLUE, transaction=ONE),
        delete(12, 5),
        delete(13, 6, transaction=TWO),
        delete(13, 7, transaction=TWO),
    )
    group = event_group()
    assert [entry.get("transaction") for entry in told(group, batch)] == [1, 1, None, 2, 2]
    assert [entry.get("transaction") for entry in told(group, settled(delete(14, 8, transaction=TWO)))] == [1]


def test_an_event_that_is_kept_out_takes_no_number() -> None:
    batch = settled(insert(11, BLUE, transaction=ONE), insert(12, RED, transaction=TWO))
    (entry,) = told(event_group({"colour": "red"}), batch)
    assert entry["transaction"] == 1


def test_only_the_operations_asked_for_are_told() -> None:
    group = event_group(operations={"delete", "drop"})
    batch = settled(insert(11, RED), delete(12, 1), ChangeEvent("drop", "items", 13))
    assert [entry["op"] for entry in told(group, batch)] == ["delete", "drop"]
    assert group.time == 13


# ------------------------------------------------------------------------------------------------------ collections


def test_only_its_collections_are_told_in_the_order_of_the_stream() -> None:
    batch = settled(insert(11, RED), insert(12, BLUE, collection="others"), insert(13, RED, collection="more"))
    for collections, expected in (
        ("items", ["items"]),
        ("items more", ["items", "more"]),
        (None, ["items", "others", "more"]),
    ):
        assert [entry["collection"] for entry in told(event_group(collections=collections), batch)] == expected


def test_images_are_those_of_the_events_own_collection() -> None:
    group = event_group(collections=None)
    batch = settled(update(11, 1, "n"), update(11, 1, "n", collection="others"))
    entries = shown(group.apply(batch, {"others": {"1": BLUE}}))
    assert [entry.get("document") for entry in entries] == [None, BLUE]


def test_a_drop_is_told_without_a_key_and_not_filtered() -> None:
    (entry,) = told(event_group({"colour": "red"}), settled(ChangeEvent("drop", "items", 11, wall_time=WALL)))
    assert entry == {
        "op": "drop",
        "collection": "items",
        "position": at(11),
        "wall_time": {"$date": "2026-01-01T00:00:00Z"},
    }


def test_what_is_created_and_views_that_are_dropped_are_told_to_nobody() -> None:
    """MongoDB's own words for it, which come since they are needed: to clients nothing was added."""
    made = [ChangeEvent("create", "items", 11 + n, kind=kind) for n, kind in enumerate([None, "view", "capped"])]
    batch = settled(*made, ChangeEvent("drop", "items", 15, kind="view"), insert(16, RED))
    for collections in ("items", "items others", None):
        group = event_group(collections=collections)
        assert [entry["op"] for entry in told(group, batch)] == ["insert"]
        assert group.time == 16


def test_all_collections_are_a_users_own() -> None:
    """What `$out` writes to is MongoDB's; what it is renamed to is the user's, and so is the rename."""
    temporary = "tmp.agg_out.712a65d8-b325-4287-ba88-ac9948a668d0"
    batch = settled(
        insert(11, RED, collection=temporary),
        insert(12, RED, collection="tmp.mine"),
        ChangeEvent("rename", temporary, 13, to="items"),
        ChangeEvent("drop", temporary, 14),
    )
    entries = told(event_group(collections=None), batch)
    assert [(entry["op"], entry.get("to"), entry["collection"]) for entry in entries] == [
        ("insert", None, "tmp.mine"),
        ("rename", "items", temporary),
    ]


def test_a_rename_is_told_to_both_sides_with_its_target() -> None:
    batch = settled(ChangeEvent("rename", "items", 11, to="goods"))
    for collections in ("items", "goods", None):
        (entry,) = told(event_group(collections=collections), batch)
        assert (entry["op"], entry["collection"], entry["to"]) == ("rename", "items", "goods")
    assert told(event_group(collections="others"), batch) == []


def test_a_rename_to_another_database_names_no_target() -> None:
    (entry,) = told(event_group(), settled(ChangeEvent("rename", "items", 11)))
    assert "to" not in entry


def test_the_end_of_the_database_is_told_to_everyone() -> None:
    batch = settled(insert(11, RED), ChangeEvent("dropDatabase", "", 12))
    for collections in ("items", "others", "others more", None):
        assert told(event_group(collections=collections), batch)[-1]["op"] == "dropDatabase"


def test_events_around_a_rename_stay_in_order() -> None:
    batch = settled(insert(11, RED), ChangeEvent("rename", "temp", 12, to="items"), insert(13, BLUE))
    assert [entry["op"] for entry in told(event_group(), batch)] == ["insert", "rename", "insert"]


def test_its_subscribers_are_where_it_has_been_told_or_everything_has_been_dispatched() -> None:
    made = event_group()
    assert (made.reached(5), made.reached(15)) == (10, 15)
    made.advance(12)
    made.advance(11)
    assert made.reached(0) == 12
