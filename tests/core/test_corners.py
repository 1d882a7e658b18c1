"""Corners in which something was once wrong, by symptom; each was red before it was mended."""

from __future__ import annotations

import json

import pytest

from realtime.core.connection.session import Limits, Send, Session
from realtime.core.live.events import Batch
from realtime.core.live.moments import MomentAssembler
from realtime.core.mql.filters import Bounds, compile_filter
from realtime.core.mql.projection import compile_projection
from tests.core.examples import EPOCH, delete, event_group, insert, live_group, query, replace, settled, shown, update
from tests.core.live.test_moments import numbered
from tests.core.live.test_query import touch_of


@pytest.mark.parametrize(
    "source",
    [
        {"a": {"b\0": 1}},
        {"a": [{"b\0": 1}]},
        {"a": {"$in": [{"b\0": 1}]}},
        {"a": {"$code": "x", "$scope": {"b\0": 1}}},
    ],
)
def test_nul_in_a_name_inside_a_filters_value_is_answered(source: object) -> None:
    (effect,) = Session("s", Limits(1, 1, 1, 1, Bounds()), EPOCH).receive(
        json.dumps({"type": "subscribe", "id": "x", "collection": "c", "filter": source})
    )
    assert isinstance(effect, Send)
    answer = json.loads(effect.frame)
    # As in every other value: it is refused where the frame is read, before anybody knows that it is a filter's.
    assert (answer["id"], answer["code"]) == ("x", "invalid_request")


def test_an_exclusion_of_a_numeric_name_hides_nothing_else() -> None:
    group = live_group({"_id": 1, "a": {"0": 1, "b": 2}}, projection={"a.0": 0})
    assert group.needs(touch_of(update(11, 1, "a.b")))


def test_an_exclusion_hides_no_numeric_name_of_an_object() -> None:
    group = live_group({"_id": 1, "a": {"0": {"b": 1}}}, projection={"a.b": 0})
    assert group.needs(touch_of(update(11, 1, "a.0.b")))


def test_a_dbref_is_an_object_for_filters_and_projections() -> None:
    document = {"_id": 1, "r": {"$ref": "x", "$id": 5, "e": 2}, "s": [{"$id": 6, "$ref": "x"}]}
    for source in ({"r.$id": 5}, {"r.e": 2}, {"s.$id": 6}, {"r.$ref": "x"}):
        assert compile_filter(source).matches(document), source
    assert compile_projection({"r.e": 1}).apply(document) == {"_id": 1, "r": {"e": 2}}


def test_a_replace_that_changes_the_number_type_of_the_id_is_one_document() -> None:
    """MongoDB tells it with documentKey {_id: 1} and fullDocument._id 1.0; later events say 1.0."""
    group = live_group({"_id": 1, "n": 1})
    event = replace(11, {"_id": 1, "n": 2})
    event.document["_id"] = 1.0  # type: ignore[index]  # reason: the error would fail the test
    group.apply(settled(event), {})
    group.apply(settled(replace(12, {"_id": 1.0, "n": 3})), {})
    assert len(group.documents) == 1


def test_a_lost_moment_is_told_at_or_after_its_own_time() -> None:
    assembler = MomentAssembler(10, 25)
    assembler.add(numbered([12, 12, 12], size=10), complete=False, through=12)
    batch = assembler.add(numbered([13], size=10), complete=False, through=13)
    assert batch == Batch((), 12, lost=True)


def test_of_two_lost_moments_in_a_row_the_second_is_told_too() -> None:
    assembler = MomentAssembler(10, 25)
    batches = [assembler.add(numbered([12] * 3, size=10), complete=False, through=12)]
    batches.append(assembler.add(numbered([13] * 3, size=10), complete=False, through=13))
    batches.append(assembler.add(numbered([13, 14]), complete=True, through=14))
    given = [batch for batch in batches if batch is not None]
    assert [(batch.time, batch.lost) for batch in given] == [(12, True), (14, True)]
    assert [event.time for batch in given for event in batch.events] == [14]


def test_an_update_before_a_replace_in_one_batch_has_the_document() -> None:
    after = {"_id": 1, "colour": "red", "n": 2}
    (one, _) = shown(event_group().apply(settled(update(11, 1, "n"), replace(12, after)), {}))
    assert one.get("document") == after
    blue = {"_id": 1, "colour": "blue"}
    assert shown(event_group({"colour": "red"}).apply(settled(update(11, 1, "n"), replace(12, blue)), {})) == []


def test_an_update_before_a_delete_and_an_insert_in_one_batch_has_the_document() -> None:
    again = {"_id": 1, "n": 2}
    (one, _, _) = shown(event_group().apply(settled(update(11, 1, "n"), delete(12, 1), insert(13, again)), {}))
    assert one.get("document") == again


def test_everything_leaves_out_the_services_own_collections() -> None:
    everything = query(mode="events", collections=None)
    assert everything.covers("orders")
    assert not everything.covers("realtime_own")


@pytest.mark.parametrize(
    ("operations", "hears"),
    [(None, True), ({"update"}, True), ({"insert", "delete"}, False)],
    ids=["all", "updates", "others"],
)
def test_only_those_who_hear_updates_need_their_documents(operations: set[str] | None, hears: bool) -> None:
    group = event_group(operations=operations)
    assert group.hears_updates("items") is hears
    assert not group.hears_updates("others")


@pytest.mark.parametrize(
    ("projection", "code"), [({"_id": 0}, "invalid_request"), ({"_id": 0, "a": 1}, "invalid_request")]
)
def test_a_live_query_shows_the_key(projection: dict[str, int], code: str) -> None:
    frame = {"type": "subscribe", "id": "x", "collection": "c", "projection": projection}
    (effect,) = Session("s", Limits(1, 1, 1, 1, Bounds()), EPOCH).receive(json.dumps(frame))
    assert isinstance(effect, Send)
    assert json.loads(effect.frame)["code"] == code
    assert json.loads(effect.frame)["details"] == {"field": "projection._id"}
