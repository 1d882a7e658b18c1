"""What is decoded of a document of the change stream: all, or for a collection that nobody asks for what names it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import bson
import pytest
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp

from realtime.core.bson import stored
from realtime.core.live.decoding import Decoder
from realtime.core.live.events import parse_event, whole
from realtime.mongo import client as clients
from tests.mongo.commands import SECONDS, Documents, now
from tests.mongo.reading import reading
from tests.replica_set import ReplicaSet

DATABASE = "shop"
LARGE = "x" * 5000


def change(op: str, collection: str, **more: Any) -> RawBSONDocument:
    """A document of the change stream, as the feed has it."""
    fields = {
        "_id": {"_data": "8265"},
        "operationType": op,
        "clusterTime": Timestamp(5, 1),
        "fullDocument": {"_id": 7, "text": LARGE},
        "ns": {"db": DATABASE, "coll": collection},
        "documentKey": {"_id": 7},
        **more,
    }
    return RawBSONDocument(bson.encode(fields), clients.RAW)


def decoder(asked: Collection[str] | None) -> Decoder:
    made = Decoder(DATABASE, lambda: asked)
    made.look()
    return made


@pytest.mark.parametrize("op", ["insert", "update", "delete"])
def test_of_a_collection_that_nobody_asks_for_only_what_names_the_event_is_decoded(
    op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = change(op, "noise", updateDescription={"updatedFields": {"text": LARGE}, "removedFields": []})
    decoded: list[int] = []
    decode = stored.decode

    def counted(raw: bytes) -> dict[str, Any]:
        decoded.append(len(raw))
        return decode(raw)

    monkeypatch.setattr(stored, "decode", counted)
    event = decoder({"orders"}).event(document)
    assert event is not None
    assert decoded
    assert sum(decoded) < 200, "bytes"
    assert (event.op, event.collection, event.key, event.identity) == (op, "noise", 7, event.identity)
    assert (event.document, event.before, event.updated) == (None, None, ())
    assert event.raw == document.raw
    assert event.size == len(document.raw)
    assert whole(event) == parse_event(decode(document.raw), DATABASE, len(document.raw))


@pytest.mark.parametrize(
    ("op", "collection", "asked"),
    [
        ("insert", "orders", {"orders"}),
        ("insert", "orders", {"other", "orders", "a.b"}),
        ("insert", "a.b*(c", {"a.b*(c"}),
        ("insert", "größe", {"größe"}),
        ("insert", "noise", None),
        ("replace", "noise", {"orders"}),
        ("drop", "noise", {"orders"}),
    ],
)
def test_what_somebody_asks_for_is_decoded_whole_and_what_is_no_document(
    op: str, collection: str, asked: set[str] | None
) -> None:
    document = change(op, collection)
    event = decoder(asked).event(document)
    assert event is not None
    assert event.raw is None
    assert event == parse_event(stored.decode(document.raw), DATABASE, len(document.raw))


@pytest.mark.parametrize(("collection", "asked"), [("orders2", {"orders"}), ("aXb", {"a.b"}), ("orders", set())])
def test_a_name_is_meant_as_it_is(collection: str, asked: set[str]) -> None:
    event = decoder(asked).event(change("insert", collection, fullDocument={"_id": 7}))
    assert event is not None
    assert event.raw is not None


def test_a_document_that_only_looks_as_if_it_were_asked_for_is_decoded() -> None:
    event = decoder({"orders"}).event(change("insert", "noise", fullDocument={"coll": "orders"}))
    assert event is not None
    assert event.document == {"coll": "orders"}


def test_who_asks_is_learnt_with_each_reply() -> None:
    asked = {"orders"}
    made = Decoder(DATABASE, lambda: frozenset(asked))
    found = []
    for _ in range(2):
        made.look()
        found.append(made.event(change("insert", "noise", fullDocument={"_id": 7})))
        asked.add("noise")
    assert [event is not None and event.raw is None for event in found] == [False, True]


async def test_what_the_feed_left_undecoded_is_whole_when_somebody_looks(
    database: Documents, replica_set: ReplicaSet
) -> None:
    database.create_collection("noise", changeStreamPreAndPostImages={"enabled": True})
    documents = [{"_id": ObjectId(), "n": number, "text": "x" * 100} for number in range(20)]
    start = now(database)
    async with (
        reading(database, replica_set.uri) as all_of_it,
        reading(database, replica_set.uri, interest=lambda: {"orders"}) as got,
    ):
        for document in documents:
            database.noise.insert_one(document)
            database.noise.update_one({"_id": document["_id"]}, {"$set": {"n": -1, "a.b": 1}, "$unset": {"text": 1}})
            database.noise.delete_one({"_id": document["_id"]})
        database.orders.insert_one({"_id": "last"})
        async with asyncio.timeout(SECONDS):
            await got.has("last")
            await all_of_it.has("last")
    assert len(got.events) == len(all_of_it.events) == 61
    assert all(event.time > start for event in got.events)
    assert [event.raw is not None for event in got.events] == [True] * 60 + [False]
    assert [whole(event) for event in got.events] == all_of_it.events
