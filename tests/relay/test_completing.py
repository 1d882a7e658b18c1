"""Images of one time from a real mongod, and what a message says of those that could not be had."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument

from realtime.core.bson import stored
from realtime.core.live.decoding import Decoder
from realtime.core.live.events import Batch, to_timestamp
from realtime.core.live.stepping import EVERY
from realtime.core.relay.telling import tell
from realtime.mongo import client as clients
from realtime.mongo.images import ImageReader, NoImagesError
from realtime.relay import completing
from realtime.relay.completing import Completer
from tests.mongo.commands import Documents, now, plain
from tests.replica_set import ReplicaSet


@pytest.fixture
def documents(replica_set: ReplicaSet) -> Any:
    with plain(replica_set.uri) as found:
        yield found


@pytest.fixture
async def images(replica_set: ReplicaSet, documents: Documents) -> AsyncIterator[ImageReader]:
    client = clients.open_client(replica_set.uri)
    yield ImageReader(client, clients.database_of(client, documents.name))
    clients.close(client)


async def test_documents_are_those_of_the_time_and_what_was_not_there_is_not_among_them(
    documents: Documents, images: ImageReader
) -> None:
    documents.items.insert_many([{"_id": number, "n": 0} for number in range(3000)])
    documents.items.delete_one({"_id": 7})
    time = now(documents)
    documents.items.update_many({}, {"$set": {"n": 1}})
    found = await images.read("items", list(range(3000)), time, uuid=None, room=1 << 20, seconds=10)
    assert {document["_id"]: document["n"] for document in map(bson.decode, found)} == {
        number: 0 for number in range(3000) if number != 7
    }


async def test_more_bytes_than_there_is_room_for_another_collection_or_none_are_no_images(
    documents: Documents, images: ImageReader
) -> None:
    documents.items.insert_many([{"_id": number, "data": "x" * 1000} for number in range(100)])
    time = now(documents)
    for name, other, room in (("items", None, 50_000), ("items", bson.Binary.from_uuid(uuid.uuid4()), 1 << 20)):
        with pytest.raises(NoImagesError):
            await images.read(name, list(range(100)), time, uuid=other, room=room, seconds=10)
    with pytest.raises(NoImagesError, match="no such collection"):
        await images.read("nothing", [1], time, uuid=None, room=1 << 20, seconds=10)
    assert len(await images.read("items", list(range(100)), time, uuid=None, room=1 << 20, seconds=10)) == 100


TIME = 9 << 32 | 1


def updated(*collections: str) -> Batch:
    decoder = Decoder("shop", None)
    events = []
    for name in collections:
        fields = {"operationType": "update", "clusterTime": to_timestamp(TIME), "ns": {"db": "shop", "coll": name}}
        event = decoder.event(RawBSONDocument(stored.encode({**fields, "documentKey": {"_id": 1}})))
        assert event is not None
        events.append(event)
    return Batch(tuple(events), TIME)


class Some:
    """Has images of one collection, fails for the second, and of the others has none."""

    def __init__(self) -> None:
        self.rooms: list[int] = []

    async def read(
        self, collection: str, keys: Any, time: int, *, uuid: Any, room: int, seconds: float
    ) -> tuple[bytes, ...]:
        self.rooms.append(room)
        if collection == "good":
            return (bson.encode({"_id": 1, "time": time}),)
        if collection == "bad":
            raise KeyError(collection)
        raise NoImagesError("too many")


async def test_what_could_not_be_read_is_void_and_the_rest_complete() -> None:
    some = Some()
    completer = Completer(some, "shop", lambda name: name != "unneeded")
    message = await completer.complete(updated("good", "bad", "large", "unneeded"))
    assert message.images == {"good": (bson.encode({"_id": 1, "time": TIME}),)}
    assert message.void == {"bad", "large", "unneeded"}
    assert message.collections == {"good", "bad", "large", "unneeded"}
    assert some.rooms == [completing.IMAGE_BYTES // 3] * 3


async def test_what_cannot_be_told_is_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = updated("good")

    def fails(told: Batch, *rest: Any) -> Any:
        if told is batch:
            raise KeyError("a bug")
        return tell(told, *rest)

    monkeypatch.setattr("realtime.relay.completing.tell", fails)
    message = await Completer(Some(), "shop", lambda _: True).complete(batch)
    (event,) = map(stored.decode, message.events)
    assert (event["operationType"], event["ns"]["coll"], message.collections) == (
        "stepped over",
        "good",
        frozenset({"good"}),
    )


async def test_what_is_lost_concerns_every_collection() -> None:
    message = await Completer(Some(), "shop", lambda _: True).complete(Batch((), TIME, lost=True))
    assert (message.lost, message.collections, message.events) == (True, frozenset({EVERY}), ())
