"""What is told of a batch: every document as it came, and which images complete it for whom."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from bson.binary import Binary
from bson.raw_bson import RawBSONDocument

from realtime.core.bson import stored
from realtime.core.live.decoding import Decoder
from realtime.core.live.events import STEPPED_OVER, UNSENT, Batch, ChangeEvent, parse_event, to_timestamp
from realtime.core.live.fragments import Whole
from realtime.core.live.stepping import EVERY, mark
from realtime.core.relay.telling import Wanted, document_of, names_of, tell

TIME = 9 << 32 | 1
ONE, TWO = (Binary.from_uuid(UUID(int=number)) for number in (1, 2))


def fields(op: str, collection: str, key: Any = None, **more: Any) -> dict[str, Any]:
    found = {"operationType": op, "clusterTime": to_timestamp(TIME), "ns": {"db": "shop", "coll": collection}}
    return found | ({} if key is None else {"documentKey": {"_id": key}, "collectionUUID": ONE}) | more


def event(op: str, collection: str, key: Any = None, **more: Any) -> ChangeEvent:
    """As the feed of a relay has it: it keeps its document."""
    decoder = Decoder("shop", None)
    decoder.look()
    found = decoder.event(RawBSONDocument(stored.encode(fields(op, collection, key, **more))))
    assert found is not None
    assert found.raw is not None
    return found


def update(collection: str, key: Any, **more: Any) -> ChangeEvent:
    return event("update", collection, key, updateDescription={"updatedFields": {"a": 1}, "removedFields": []}, **more)


def told(*events: ChangeEvent, needed: frozenset[str] = frozenset({"orders"})) -> Any:
    return tell(Batch(events, TIME), "shop", needed.__contains__)


def test_every_document_is_told_as_it_came() -> None:
    events = (event("insert", "orders", 1, fullDocument={"_id": 1}), update("carts", 2), event("drop", "users"))
    found = told(*events)
    assert found.events == tuple(each.raw for each in events)
    assert found.collections == {"orders", "carts", "users"}


def test_an_update_of_what_somebody_needs_is_read_and_of_others_is_void() -> None:
    found = told(update("orders", 1), update("orders", "b"), update("carts", 2))
    assert found.reads == {"orders": Wanted((1, "b"), ONE)}
    assert (found.void, found.complete) == ({"carts"}, set())


def test_what_came_with_its_image_is_complete_whoever_needs_it() -> None:
    inserted = event("insert", "carts", 1, fullDocument={"_id": 1})
    replaced = event("replace", "users", 1, fullDocument={"_id": 1.0})
    found = told(inserted, replaced, event("delete", "users", 2), update("orders", 1, fullDocument={"_id": 1, "a": 1}))
    assert (found.reads, found.void) == ({}, set())
    assert found.complete == {"carts", "users", "orders"}


def test_a_document_that_is_gone_or_replaced_after_its_update_is_not_read() -> None:
    gone = told(update("orders", 1), event("delete", "orders", 1), update("orders", 2))
    assert gone.reads == {"orders": Wanted((2,), ONE)}
    replaced = told(update("orders", 1), event("replace", "orders", 1, fullDocument={"_id": 1}))
    assert (replaced.reads, replaced.complete) == ({}, {"orders"})


@pytest.mark.parametrize(
    "other",
    [
        event("drop", "orders"),
        event("rename", "new", to={"db": "shop", "coll": "orders"}),
        event("dropDatabase", ""),
        mark("orders", TIME),
        mark(EVERY, TIME, UNSENT),
        update("orders", 2, collectionUUID=TWO),
    ],
)
def test_of_a_collection_that_may_be_another_one_since_nothing_is_read(other: ChangeEvent) -> None:
    found = told(update("orders", 1), other)
    assert (found.reads, found.complete) == ({}, set())
    assert found.void == {"orders"}


def test_what_concerns_all_collections_says_so_and_a_rename_names_both() -> None:
    assert names_of(event("dropDatabase", "")) == (EVERY,)
    assert names_of(event("rename", "a", to={"db": "shop", "coll": "b"})) == ("a", "b")
    assert names_of(event("drop", "a")) == ("a",)


@pytest.mark.parametrize("op", [STEPPED_OVER, UNSENT])
@pytest.mark.parametrize("name", ["orders", EVERY])
def test_a_mark_is_told_as_a_document_and_is_a_mark_again(op: str, name: str) -> None:
    there = mark(name, TIME, op)
    assert parse_event(stored.decode(document_of(there, "shop")), "shop") == there


def test_an_event_that_came_in_fragments_is_written_again() -> None:
    raw = fields("insert", "orders", 1, fullDocument={"_id": 1, "big": "x" * 1000})
    decoder = Decoder("shop", None)
    whole = decoder.put_together(Whole(raw, 5000))
    assert whole is not None
    assert (whole.size, whole.document) == (5000, raw["fullDocument"])
    assert stored.decode(document_of(whole, "shop")) == raw
    assert decoder.put_together(Whole(fields("shardCollection", "orders"), 10)) is None
