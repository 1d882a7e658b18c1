"""Events that the feed left undecoded, because nobody asked for their collection: whole to whoever looks after all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from realtime.core.bson.stored import decode, encode
from realtime.core.live import events
from realtime.core.live.events import Batch, ChangeEvent, to_timestamp, whole
from realtime.hub.roster import Subscription
from tests.core.examples import query, shown
from tests.hub.fakes import Peer, Service, until
from tests.hub.scenes import exact


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as running:
        yield running


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what was decoded after all."""
    sizes: list[int] = []

    def counted(raw: bytes) -> dict[str, Any]:
        sizes.append(len(raw))
        return decode(raw)

    monkeypatch.setattr(events, "decode", counted)
    return sizes


def undecoded(event: ChangeEvent) -> ChangeEvent:
    """As the feed hands it over of a collection that nobody asks for."""
    if event.op == "replace":
        return event
    fields: dict[str, Any] = {
        "operationType": event.op,
        "clusterTime": to_timestamp(event.time),
        "ns": {"db": "shop", "coll": event.collection},
        "documentKey": {"_id": event.key},
        "updateDescription": {"updatedFields": dict.fromkeys(event.updated, 1), "removedFields": []},
    }
    if event.document is not None:
        fields["fullDocument"] = event.document
    named = replace(event, document=None, updated=(), raw=encode(fields))
    assert whole(named) == replace(event, transaction=None), "nothing is lost by it"
    return named


async def flow(service: Service) -> None:
    batch = service.store.batch()
    service.stream.put(Batch(tuple(map(undecoded, batch.events)), batch.time))
    await until(lambda: service.hub.time == batch.time)


async def test_what_nobody_asks_for_is_never_decoded_and_is_no_gap(service: Service, decoded: list[int]) -> None:
    peer = Peer()
    await service.subscribed(Subscription("s", peer, query(collections="others")))
    for number in range(20):
        service.store.insert("items", {"_id": number})
        service.store.update("items", number, n=1)
    decoded.clear()
    await flow(service)
    assert service.hub.time == service.store.now
    assert len(decoded) == 40, "by the check above"
    assert service.hub.history.journal.size > 0
    assert peer.moments() == []


async def test_who_came_after_it_was_read_is_told_all_the_same(service: Service) -> None:
    peer, told = Peer(), Peer()
    service.store.insert("items", {"_id": 0, "n": 1})
    await service.flow()
    await service.subscribed(Subscription("s", peer, query()))
    await service.subscribed(Subscription("e", told, query(mode="events")))
    service.store.insert("items", {"_id": 1, "n": 1})
    service.store.update("items", 0, n=2)
    service.store.insert("items", {"_id": 2, "n": 1})
    service.store.delete("items", 2)
    reads = len(service.store.reads)
    await flow(service)
    looked = [(read.kind, read.keys) for read in service.store.reads[reads:]]
    assert looked == [("images", [0])], "what came with its event is read of MongoDB"
    exact(peer, service.store, query())
    assert len(told.moments()) == 1
    documents = [event.get("document") for event in events_of(told)]
    assert documents == [{"_id": 1, "n": 1}, {"_id": 0, "n": 2}, {"_id": 2, "n": 1}, None]


async def test_who_resumes_from_before_it_gets_its_documents(service: Service) -> None:
    before = service.hub.time
    service.store.insert("items", {"_id": 1, "n": 1})
    service.store.insert("others", {"_id": 1})
    service.store.update("items", 1, n=2)
    service.store.delete("items", 1)
    service.store.insert("items", {"_id": 1, "n": 3})
    await flow(service)
    reads = len(service.store.reads)
    peer = Peer()
    await service.subscribed(Subscription("s", peer, query(mode="events"), before))
    told = events_of(peer)
    assert [event["op"] for event in told] == ["insert", "update", "delete", "insert"]
    documents = [event.get("document") for event in told]
    assert documents == [{"_id": 1, "n": 1}, {"_id": 1, "n": 3}, None, {"_id": 1, "n": 3}]
    assert told[1]["updated"] == ["n"]
    assert [read.kind for read in service.store.reads[reads:] if read.kind == "find"] == [], "nothing was lacking"


def events_of(peer: Peer) -> list[dict[str, Any]]:
    return [event for frame in shown(peer.moments()) for event in frame["events"]]
