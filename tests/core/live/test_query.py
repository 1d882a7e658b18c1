"""A query group in query mode: what a batch means to it, and its way from a snapshot to live."""

from __future__ import annotations

import copy
from dataclasses import replace as replaced
from typing import Any

import orjson
import pytest
from bson.decimal128 import Decimal128

from realtime.core.bson import ejson
from realtime.core.live.events import ChangeEvent, format_position
from realtime.core.live.moments import Settled, Touch
from realtime.core.live.query import GroupBounds, Phase, QueryGroup
from tests.core.examples import EPOCH, delete, group, insert, live_group, query, replace, settled, shown, update

RED = {"_id": 1, "colour": "red", "n": 1}
BLUE = {"_id": 2, "colour": "blue", "n": 1}


def touch_of(*events: ChangeEvent) -> Touch:
    (touch,) = settled(*events).touches["items"].values()
    return touch


def held(group: QueryGroup) -> dict[str, Any]:
    return {name: orjson.loads(document) for name, document in group.documents.items()}


# ------------------------------------------------------------------------------------------------------- the query


def test_people_are_told_what_a_query_is_about_by_name() -> None:
    named = [query(collections=names).shown_collections for names in ("b", "c a", None)]
    assert named == ["b", "a,c", "*"]


def test_equal_queries_have_equal_keys_and_different_ones_different_keys() -> None:
    same = [query({"a": 1}, {"b": 1}), query({"a": 1}, {"b": 1})]
    others = [
        query({"a": 2}, {"b": 1}),
        query({"a": 1.0}, {"b": 1}),
        query({"a": Decimal128("1")}, {"b": 1}),
        query({"a": 1}, {"b": 0}),
        query({"a": 1}),
        query({"a": 1}, {"b": 1}, collections="others"),
        query({"a": 1}, {"b": 1}, mode="events"),
        query({"a": 1}, {"b": 1}, mode="events", collections=None),
        query({"a": 1}, {"b": 1}, mode="events", operations={"insert"}),
    ]
    assert same[0].key == same[1].key
    assert len({one.key for one in [*same, *others]}) == 1 + len(others)
    assert all(len(one.key) == 32 for one in others)


def test_the_order_of_names_in_a_list_makes_no_other_query() -> None:
    one = query(mode="events", collections="a b c", operations={"insert", "delete"})
    assert one.key == query(mode="events", collections="c b a", operations={"delete", "insert"}).key


def test_a_query_covers_its_collections_and_the_one_over_all_covers_every() -> None:
    assert query(collections="a").collection == "a"
    assert [query(mode="events", collections="a b").covers(name) for name in "abc"] == [True, True, False]
    assert query(mode="events", collections=None).covers("anything")
    assert query(mode="events", collections=None).collection == ""


# ------------------------------------------------------------------------------------------ enter, update and leave


def test_an_inserted_document_that_matches_enters() -> None:
    group = live_group(filter={"colour": "red"})
    assert shown(group.apply(settled(insert(11, RED)), {})) == [{"op": "enter", "key": 1, "document": RED}]
    assert held(group) == {"1": RED}
    assert group.position == format_position(EPOCH, 11)


def test_an_inserted_document_that_does_not_match_is_nothing() -> None:
    group = live_group(filter={"colour": "red"})
    assert group.apply(settled(insert(11, BLUE)), {}) == []
    assert held(group) == {}
    assert group.time == 11


def test_a_held_document_that_changes_and_still_matches_is_an_update() -> None:
    group = live_group(RED, filter={"colour": "red"})
    changed = {**RED, "n": 2}
    assert shown(group.apply(settled(replace(11, changed)), {})) == [{"op": "update", "key": 1, "document": changed}]


def test_a_held_document_that_no_longer_matches_leaves() -> None:
    group = live_group(RED, filter={"colour": "red"})
    assert shown(group.apply(settled(replace(11, {**RED, "colour": "blue"})), {})) == [{"op": "leave", "key": 1}]
    assert held(group) == {}


def test_a_deleted_document_leaves_and_one_that_was_not_held_is_nothing() -> None:
    group = live_group(RED, filter={"colour": "red"})
    assert shown(group.apply(settled(delete(11, 1), delete(11, 2)), {})) == [{"op": "leave", "key": 1}]


def test_an_update_is_decided_on_the_image_read_at_the_batchs_time() -> None:
    group = live_group(RED, filter={"colour": "red"})
    image = {**RED, "n": 9}
    entries = group.apply(settled(update(11, 1, "n")), {"1": image})
    assert shown(entries) == [{"op": "update", "key": 1, "document": image}]


def test_an_update_may_bring_a_document_in_or_take_it_out() -> None:
    group = live_group(RED, filter={"colour": "red"})
    batch = settled(update(11, 1, "colour"), update(11, 2, "colour"))
    entries = group.apply(batch, {"1": {**RED, "colour": "blue"}, "2": {**BLUE, "colour": "red"}})
    assert [(entry["op"], entry["key"]) for entry in shown(entries)] == [("leave", 1), ("enter", 2)]


def test_an_image_that_is_gone_leaves() -> None:
    group = live_group(RED)
    assert shown(group.apply(settled(update(11, 1, "n")), {"1": None})) == [{"op": "leave", "key": 1}]


def test_a_document_appears_once_per_moment_whatever_happened_to_it() -> None:
    group = live_group(RED)
    batch = settled(delete(11, 1), insert(11, {**RED, "n": 2}), update(12, 1, "n"), insert(12, BLUE), delete(12, 2))
    entries = group.apply(batch, {"1": {**RED, "n": 3}})
    assert shown(entries) == [{"op": "update", "key": 1, "document": {**RED, "n": 3}}]


def test_leaves_come_first() -> None:
    group = live_group(RED, BLUE)
    batch = settled(insert(11, {"_id": 3}), delete(11, 1), replace(11, {**BLUE, "n": 2}), delete(12, 9))
    assert [entry["op"] for entry in shown(group.apply(batch, {}))] == ["leave", "enter", "update"]


def test_a_write_that_changes_nothing_sends_nothing() -> None:
    group = live_group(RED)
    assert group.apply(settled(replace(11, dict(RED))), {}) == []
    assert group.time == 11


def test_another_collection_concerns_it_not() -> None:
    group = live_group(RED)
    assert group.apply(settled(delete(11, 1, collection="others")), {}) == []
    assert held(group) == {"1": RED}


def test_keys_of_every_type_name_their_document() -> None:
    group = live_group()
    keys: list[Any] = [1, 1.0, "1", None, {"a": 1}, Decimal128("1")]
    group.apply(settled(*(insert(11, {"_id": key}) for key in keys)), {})
    assert len(group.documents) == len(keys)
    leaves = group.apply(settled(delete(12, "1")), {})
    assert shown(leaves) == [{"op": "leave", "key": "1"}]


# ------------------------------------------------------------------------------------------------- the cut at S


@pytest.mark.parametrize(("time", "applied"), [(9, False), (10, False), (11, True)])
def test_events_at_or_before_the_snapshots_time_are_skipped(time: int, applied: bool) -> None:
    group = live_group(RED, at=10)
    entries = group.apply(settled(delete(time, 1), time=11), {})
    assert bool(entries) is applied
    assert ("1" in group.documents) is not applied
    assert group.time == 11


def test_a_group_ahead_of_the_feed_does_not_go_back() -> None:
    group = live_group(RED, at=50)
    assert group.apply(settled(delete(20, 1), time=30), {}) == []
    assert group.time == 50


def test_the_snapshot_is_put_together_and_live_at_its_time_when_nothing_was_touched() -> None:
    made = group({"colour": "red"})
    assert (made.phase, made.live) == (Phase.LOADING, False)
    made.put(RED)
    assert made.loaded(20) == []
    assert (made.phase, made.live) == (Phase.CATCHING_UP, False)
    made.caught_up({}, 20)
    assert (made.live, made.position, held(made)) == (True, format_position(EPOCH, 20), {"1": RED})


def test_keys_touched_after_the_snapshot_are_to_be_read_and_those_before_are_not() -> None:
    made = group()
    made.collect(settled(update(15, 1, "n"), insert(20, {"_id": 2})))
    made.collect(settled(delete(21, 3), update(22, 4, "n"), insert(22, {"_id": 9}, collection="others")))
    made.collect(settled(insert(23, {"_id": 1}), collection_of_others := insert(23, {"_id": 8}, collection="others")))
    assert collection_of_others.collection == "others"
    assert sorted(made.loaded(20)) == [1, 3, 4]


def test_the_catch_up_read_brings_enters_updates_and_leaves() -> None:
    made = group({"colour": "red"})
    made.put(RED)
    made.put({**RED, "_id": 3})
    made.put({**RED, "_id": 4})
    made.collect(settled(*(update(21, key, "n") for key in (1, 2, 3, 4, 5))))
    made.loaded(20)
    made.caught_up({"1": {**RED, "n": 7}, "2": {**BLUE, "colour": "red"}, "3": {**RED, "_id": 3, "colour": "blue"}}, 25)
    assert held(made) == {"1": {**RED, "n": 7}, "2": {**BLUE, "colour": "red"}}
    assert (made.live, made.time, made.backlog) == (True, 25, {})


def test_a_key_that_a_later_batch_settled_is_not_overwritten_by_the_catch_up_read() -> None:
    made = group()
    made.put(RED)
    made.collect(settled(update(21, 1, "n"), update(21, 2, "n")))
    assert sorted(made.loaded(20)) == [1, 2]
    made.apply(settled(replace(30, {**RED, "n": 30}), delete(30, 2)), {})
    made.caught_up({"1": {**RED, "n": 21}, "2": BLUE}, 25)
    assert held(made) == {"1": {**RED, "n": 30}}
    assert made.time == 30


def test_while_catching_up_batches_change_its_membership_and_it_is_not_live() -> None:
    made = group()
    made.collect(settled(update(21, 1, "n")))
    made.loaded(20)
    made.apply(settled(insert(30, BLUE)), {})
    assert not made.live
    made.caught_up({"1": RED}, 25)
    assert held(made) == {"1": RED, "2": BLUE}


def test_a_restart_forgets_everything() -> None:
    made = live_group(RED)
    before = made.runs()
    made.restart()
    assert (made.phase, made.time, made.documents, made.size, made.backlog) == (Phase.LOADING, 0, {}, 0, {})
    made.put(BLUE)
    made.loaded(40)
    made.caught_up({}, 40)
    assert made.runs() != before
    assert held(made) == {"2": BLUE}


# ---------------------------------------------------------------------------------------------- what has to be read


def test_an_exact_touch_needs_no_read() -> None:
    made = live_group(RED)
    assert not made.needs(touch_of(replace(11, RED)))
    assert not made.needs(touch_of(delete(11, 1)))


def test_a_touch_at_or_before_its_time_needs_no_read() -> None:
    assert not live_group(RED, at=11).needs(touch_of(update(11, 1, "n")))
    assert live_group(RED, at=10).needs(touch_of(update(11, 1, "n")))


def test_while_loading_nothing_is_read_for_it() -> None:
    made = group()
    assert not made.needs(touch_of(update(11, 1, "n")))


def test_a_held_document_is_read_and_another_one_only_when_the_filter_reads_what_was_touched() -> None:
    made = live_group(RED, filter={"colour": "red"})
    assert made.needs(touch_of(update(11, 1, "n")))
    assert not made.needs(touch_of(update(11, 2, "n")))
    assert made.needs(touch_of(update(11, 2, "colour")))
    assert made.needs(touch_of(update(11, 2, "n", removed=("colour",))))


@pytest.mark.parametrize(
    ("touched", "needed"),
    [
        ("a", True),
        ("a.b", True),
        ("a.b.c", True),
        ("a.4.b", True),
        ("a.4", True),
        ("a.b.0", True),
        ("a.c", False),
        ("ab", False),
    ],
)
def test_paths_meet_by_prefix_both_ways_and_numbers_are_left_out(touched: str, needed: bool) -> None:
    assert live_group(filter={"a.b": 1}).needs(touch_of(update(11, 5, touched))) is needed
    assert live_group(filter={"a.0.b": 1}).needs(touch_of(update(11, 5, touched))) is needed


def test_a_document_that_may_have_changed_wholly_is_read() -> None:
    assert live_group(filter={"a": 1}).needs(touch_of(insert(11, BLUE), update(12, 2, "n")))


def test_a_key_of_the_backlog_is_read_whatever_was_touched() -> None:
    made = group({"colour": "red"})
    made.collect(settled(update(21, 2, "colour")))
    made.loaded(20)
    assert made.needs(touch_of(update(22, 2, "n")))
    assert not made.needs(touch_of(update(22, 3, "n")))


def test_what_needs_says_no_to_changes_neither_membership_nor_what_is_shown() -> None:
    made = live_group(RED, filter={"colour": "red"}, projection={"colour": 1})
    touch = touch_of(update(11, 1, "n"))
    assert not made.needs(touch)
    assert made.apply(settled(update(11, 1, "n")), {}) == []
    assert held(made) == {"1": {"_id": 1, "colour": "red"}}
    assert made.time == 11


# -------------------------------------------------------------------------------------------------- projections


def test_documents_are_shown_through_the_projection_and_matched_without_it() -> None:
    made = live_group(RED, filter={"colour": "red"}, projection={"n": 1})
    assert held(made) == {"1": {"_id": 1, "n": 1}}
    entries = made.apply(settled(insert(11, {**BLUE, "colour": "red"})), {})
    assert shown(entries) == [{"op": "enter", "key": 2, "document": {"_id": 2, "n": 1}}]


def test_a_change_that_the_projection_hides_sends_nothing() -> None:
    made = live_group(RED, filter={"colour": "red"}, projection={"n": 0})
    assert made.apply(settled(replace(11, {**RED, "n": 99})), {}) == []
    assert made.time == 11


def test_a_hidden_field_may_still_take_a_document_out() -> None:
    made = live_group(RED, filter={"colour": "red"}, projection={"n": 1})
    assert shown(made.apply(settled(replace(11, {**RED, "colour": "blue"})), {})) == [{"op": "leave", "key": 1}]


def test_a_document_without_its_id_is_still_known_by_its_key() -> None:
    made = live_group(RED, projection={"_id": 0, "n": 1})
    entries = made.apply(settled(replace(11, {**RED, "n": 2})), {})
    assert shown(entries) == [{"op": "update", "key": 1, "document": {"n": 2}}]


def test_a_document_is_encoded_once_for_all_groups_without_a_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Any] = []
    encode = ejson.encode

    def counting(value: Any) -> bytes:
        encoded.append(copy.copy(value))
        return encode(value)

    monkeypatch.setattr(ejson, "encode", counting)
    batch: Settled = settled(insert(11, RED))
    encoded.clear()
    entries = [live_group(filter={"n": {"$lt": bound}}).apply(batch, {}) for bound in (2, 3, 4)]
    assert entries[0] == entries[1] == entries[2] != []
    assert encoded == [RED]


# ------------------------------------------------------------------------------------------------------- bounds


def test_it_is_too_large_by_count_and_by_bytes_and_not_at_the_bound() -> None:
    size = len(ejson.encode(RED)) + len(ejson.encode(BLUE))
    at_bound = live_group(RED, BLUE, bounds=GroupBounds(documents=2, bytes=size, frame_bytes=1000))
    assert not at_bound.too_large
    assert live_group(RED, BLUE, bounds=GroupBounds(documents=1, bytes=size, frame_bytes=1000)).too_large
    over = GroupBounds(documents=2, bytes=size - 1, frame_bytes=1000)
    assert live_group(RED, BLUE, bounds=over, query=query(throttle=100)).too_large
    assert live_group(RED, BLUE, bounds=over, query=query(sort=[["n", 1]])).too_large
    # A plain query goes on without their bytes, unless not even all groups together may hold that much.
    plain = live_group(RED, BLUE, bounds=over)
    assert (plain.too_large, plain.keeps_too_much, plain.may_stop_keeping) == (False, True, True)
    assert live_group(RED, BLUE, bounds=replaced(over, all_bytes=size - 1)).too_large
    assert live_group(RED, BLUE, bounds=replaced(over, bytes=size, kept=1)).keeps_too_much


def test_a_group_that_keeps_no_bytes_tells_the_same_changes() -> None:
    keeping, without = live_group(RED, BLUE), live_group(RED, BLUE)
    without.stop_keeping()
    assert (keeping.keeps, without.keeps, without.may_stop_keeping, without.recoverable) == (True, False, False, False)
    assert (without.size, without.keeps_too_much) == (2 * 16, False)
    told = 0
    for batch in (
        [insert(11, {"_id": 3, "n": 1})],
        [replace(12, {**RED, "n": 2}), replace(12, BLUE)],
        [delete(13, 1), replace(13, {"_id": 3, "n": 1})],
        [insert(14, {"_id": 4}), delete(14, 4)],
        [replace(15, {**BLUE, "n": 7}), delete(15, 3)],
    ):
        expected = keeping.apply(settled(*batch), {})
        assert without.apply(settled(*batch), {}) == expected
        told += len(expected)
    assert told == 5
    assert without.size == 16 * len(keeping.documents) == 16
    assert without.result.size < keeping.result.size
    without.restart()
    assert without.keeps


def test_only_plain_documents_stop_being_kept() -> None:
    window = live_group(RED, query=query(sort=[["n", 1]]))
    window.stop_keeping()
    assert (window.keeps, window.may_stop_keeping, window.size) == (True, False, len(ejson.encode(RED)))
    assert not live_group(RED, query=query(throttle=100)).may_stop_keeping


def test_its_size_follows_what_it_holds() -> None:
    made = live_group(RED)
    made.apply(settled(insert(11, BLUE), replace(12, {**RED, "n": 12345})), {})
    assert made.size == sum(map(len, made.documents.values()))
    made.apply(settled(delete(13, 1)), {})
    assert made.size == len(ejson.encode(BLUE))


# ------------------------------------------------------------------------------------------------- snapshot bodies


def test_snapshot_bodies_hold_every_document_within_the_frame_bound() -> None:
    documents = [{"_id": number, "text": "x" * 20} for number in range(10)]
    made = live_group(*documents, bounds=GroupBounds(documents=100, bytes=1 << 20, frame_bytes=100))
    bodies = made.runs()
    assert len(bodies) > 1
    assert all(len(body) <= 100 for body in bodies)
    assert [document for body in bodies for document in orjson.loads(b"[" + body + b"]")] == documents


def test_snapshot_bodies_are_put_together_once_until_a_document_changes() -> None:
    made = live_group(RED)
    first = made.runs()
    assert made.runs() is first
    made.apply(settled(insert(11, BLUE)), {})
    assert made.runs() == [ejson.encode(RED) + b"," + ejson.encode(BLUE)]
    assert first == [ejson.encode(RED)]
    made.apply(settled(delete(12, 1)), {})
    assert made.runs() == [ejson.encode(BLUE)]


def test_an_empty_group_has_one_empty_body() -> None:
    assert live_group().runs() == [b""]


def test_what_changed_since_is_leaves_then_puts_from_the_groups_own_documents() -> None:
    group = live_group({"_id": 1, "a": 1}, {"_id": 2, "a": 1})
    changes = shown(group.since(["9", "2", "8"]))
    assert changes == [
        {"op": "leave", "key": 9},
        {"op": "leave", "key": 8},
        {"op": "update", "key": 2, "document": {"_id": 2, "a": 1}},
    ]
    assert group.since([]) == []
