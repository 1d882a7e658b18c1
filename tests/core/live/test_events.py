"""Positions, and change stream documents as change events."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from bson.binary import Binary
from bson.timestamp import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.core.bson.stored import Repeated, encode
from realtime.core.live.events import (
    POSITION_WIDTH,
    ChangeEvent,
    format_position,
    name_event,
    parse_event,
    parse_position,
    to_date,
    to_time,
    to_timestamp,
    whole,
)
from tests.chance import share
from tests.core.examples import EPOCH

TIMES = st.integers(0, 2**64 - 1)
WALL = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


@settings(max_examples=share(60), deadline=None, derandomize=True)
@given(TIMES, TIMES)
def test_positions_are_25_characters_and_compare_as_strings_like_their_times(one: int, other: int) -> None:
    first, second = format_position(EPOCH, one), format_position(EPOCH, other)
    assert len(first) == len(second) == POSITION_WIDTH == 25
    assert (first < second) == (one < other)
    assert parse_position(first, EPOCH) == one
    assert to_time(to_timestamp(one)) == one


def test_a_cluster_time_is_seconds_and_increment() -> None:
    assert to_time(Timestamp(2, 3)) == (2 << 32) + 3
    assert to_timestamp((2 << 32) + 3) == Timestamp(2, 3)
    assert to_date((WALL_SECONDS << 32) + 3) == WALL


WALL_SECONDS = int(WALL.timestamp())

BAD_POSITIONS = {
    "empty": "",
    "lower case": f"{EPOCH}-00000000000000ab",
    "too short": f"{EPOCH}-00000000000000A",
    "too long": f"{EPOCH}-00000000000000ABC",
    "no hyphen": f"{EPOCH}_00000000000000AB",
    "final newline": f"{EPOCH}-00000000000000AB\n",
    "other digits": f"{EPOCH}-000000000000000٣",
    "a resume token": "8265F0C1D7000000012B022C0100296E5A1004",
    "another deployment": "FFFFFFFF-00000000000000AB",
}


@pytest.mark.parametrize("text", BAD_POSITIONS.values(), ids=BAD_POSITIONS.keys())
def test_a_position_that_is_not_of_this_deployment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="position"):
        parse_position(text, EPOCH)


def raw(op: str, **more: Any) -> dict[str, Any]:
    base = {
        "operationType": op,
        "clusterTime": Timestamp(1, 2),
        "wallTime": WALL,
        "ns": {"db": "shop", "coll": "items"},
        "documentKey": {"_id": 7},
    }
    return {**base, **more}


def parsed(op: str, **more: Any) -> ChangeEvent:
    event = parse_event(raw(op, **more), "shop", 99)
    assert event is not None
    return event


def test_an_insert_has_its_key_document_time_and_size() -> None:
    event = parsed("insert", fullDocument={"_id": 7, "a": 1})
    assert event == ChangeEvent("insert", "items", (1 << 32) + 2, 7, "7", {"_id": 7, "a": 1}, wall_time=WALL, size=99)


def test_an_update_names_what_it_touched_and_a_truncated_array_counts_as_updated() -> None:
    event = parsed(
        "update",
        updateDescription={
            "updatedFields": {"a.b": 1, "c": 2},
            "removedFields": ["d"],
            "truncatedArrays": [{"field": "e", "newSize": 1}],
        },
    )
    assert (event.updated, event.removed, event.document) == (("a.b", "c", "e"), ("d",), None)


def test_images_are_taken_where_the_collection_keeps_them() -> None:
    event = parsed("replace", fullDocument={"_id": 7, "a": 2}, fullDocumentBeforeChange={"_id": 7, "a": 1})
    assert (event.document, event.before) == ({"_id": 7, "a": 2}, {"_id": 7, "a": 1})
    assert parsed("delete", fullDocumentBeforeChange=None).before is None


SESSION = uuid.UUID(int=9)


@pytest.mark.parametrize(
    "before", [Repeated([("a", 1), ("a", 2)]), {"_id": 1, "b": [{"c": Repeated([("", 1), ("", 1)])}]}]
)
def test_the_image_after_an_update_of_names_that_stand_twice_is_not_taken(before: dict[str, Any]) -> None:
    images = {"fullDocument": {"_id": 1}, "fullDocumentBeforeChange": before}
    update, replace = parsed("update", **images), parsed("replace", **images)
    assert (update.document, update.before) == (None, before)
    assert (replace.document, replace.before) == ({"_id": 1}, before)


def test_events_of_one_transaction_are_told_by_session_and_number_in_either_form() -> None:
    plain = parsed("delete", lsid={"id": SESSION}, txnNumber=4)
    binary = parsed("delete", lsid={"id": Binary(SESSION.bytes, 4)}, txnNumber=4)
    assert plain.transaction == binary.transaction == (SESSION.bytes, 4)
    assert parsed("delete", lsid={"id": SESSION}, txnNumber=5).transaction != plain.transaction


def test_a_write_outside_a_transaction_has_none() -> None:
    assert parsed("delete").transaction is None
    assert parsed("delete", lsid={"id": SESSION}).transaction is None


UUID_OF = Binary(bytes(16), 4)


def test_an_event_of_a_document_names_the_collection_whatever_that_is_called() -> None:
    assert parsed("delete", collectionUUID=UUID_OF).uuid == UUID_OF
    assert parsed("delete").uuid is None


CREATED: list[tuple[dict[str, Any], str | None]] = [
    ({"idIndex": {}}, None),
    ({"clusteredIndex": {}, "validator": {"capped": 1}}, None),
    ({"collation": {"locale": "simple"}}, None),
    ({"viewOn": "other", "pipeline": []}, "view"),
    ({"viewOn": "system.buckets.items", "pipeline": [], "collation": {"locale": "de"}}, "view"),
    ({"timeseries": {"timeField": "at"}}, "view"),
    ({"collation": {"locale": "de"}}, "collation"),
    ({"capped": True, "size": 4096, "collation": {"locale": "de"}}, "collation"),
    ({"capped": True, "size": 4096}, "capped"),
]


@pytest.mark.parametrize(("options", "kind"), CREATED)
def test_what_is_created_is_told_by_its_options(options: dict[str, Any], kind: str | None) -> None:
    assert parsed("create", operationDescription=options).kind == kind
    assert parsed("create", lsid={"id": SESSION}, txnNumber=4).transaction == (SESSION.bytes, 4)


def test_what_is_dropped_without_a_uuid_of_its_own_was_a_view() -> None:
    assert parsed("drop").kind == "view"
    assert parsed("rename", to={"db": "shop", "coll": "goods"}).kind is None


def test_operations_without_a_key_name_their_collections() -> None:
    drop = parse_event(raw("drop", collectionUUID=UUID_OF), "shop")
    rename = parse_event(raw("rename", to={"db": "shop", "coll": "goods"}), "shop")
    database = parse_event(raw("dropDatabase", ns={"db": "shop"}), "shop")
    assert drop is not None
    assert rename is not None
    assert database is not None
    assert (drop.collection, drop.to, drop.identity, drop.kind) == ("items", None, None, None)
    assert (rename.collection, rename.to) == ("items", "goods")
    assert (database.op, database.collection) == ("dropDatabase", "")


def test_the_side_of_a_rename_that_lies_in_another_database_is_nobodys() -> None:
    away = parsed("rename", to={"db": "attic", "coll": "items"})
    home = parsed("rename", ns={"db": "attic", "coll": "items"}, to={"db": "shop", "coll": "items"})
    assert (away.collection, away.to) == ("items", None)
    assert (home.collection, home.to) == ("", "items")


@pytest.mark.parametrize("op", ["invalidate", "modify", "createIndexes", "shardCollection"])
def test_kinds_that_are_not_served_are_none(op: str) -> None:
    assert parse_event(raw(op), "shop") is None


IMAGES = {"fullDocument", "fullDocumentBeforeChange", "updateDescription"}


@pytest.mark.parametrize("op", ["insert", "update", "delete"])
def test_an_event_that_is_named_only_has_the_rest_when_it_is_whole(op: str) -> None:
    fields = raw(op, fullDocument={"_id": 7, "a": 1}, fullDocumentBeforeChange={"_id": 7, "a": 0}, wallTime=WALL)
    fields["updateDescription"] = {"updatedFields": {"a": 1}, "removedFields": ["b"]}
    document = encode(fields)
    named = name_event(document, {name: value for name, value in fields.items() if name not in IMAGES}, "shop")
    expected = parse_event(fields, "shop", len(document))
    assert named is not None
    assert expected is not None
    assert (named.document, named.before, named.updated) == (None, None, ())
    assert named.raw == document
    for name in ("op", "collection", "time", "key", "identity", "wall_time", "transaction", "size", "uuid"):
        assert getattr(named, name) == getattr(expected, name), name
    assert expected.document == {"_id": 7, "a": 1}
    assert whole(named) == expected
    assert whole(expected) is expected


def test_what_is_not_served_has_no_name_either() -> None:
    assert name_event(b"", raw("invalidate"), "shop") is None
