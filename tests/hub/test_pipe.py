"""The pipe: images that cannot be read at their time, and batches that are too large for one turn of the loop."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from realtime.errors import TooLargeError, UnavailableError
from realtime.pipe import LATER_TRIES
from realtime.ports import VoidReadError
from tests.core.examples import query
from tests.hub.fakes import Peer, Service, until
from tests.hub.scenes import RED, exact, teams, two_collections, types, watch
from tests.hub.view import View


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr("realtime.hub.RETRY_SECONDS", (0.0, 0.0))
    async with Service() as running:
        yield running


async def test_images_that_cannot_be_read_at_their_time_are_read_at_a_later_one_and_nobody_notices(
    service: Service,
) -> None:
    store = service.store
    concerned, neighbour = await two_collections(service)
    store.faults["images"] = [VoidReadError("246")]
    before = len(store.reads_of("find"))
    store.update("items", 1, n=1)
    store.insert("others", {"_id": 9, "team": "red"})
    await service.flow()
    assert len(store.reads_of("find")) == before + 1
    assert exact(concerned, store, query(RED)).resyncs == []
    assert exact(neighbour, store, query(RED, collections="others")).resyncs == []
    store.update("items", 1, n=2)
    await service.flow()
    assert exact(concerned, store, query(RED)).documents["1"]["n"] == 2


async def test_images_in_which_a_document_is_missing_are_void(service: Service) -> None:
    """Its last event is no delete, so it must be there: the collection is another one by now."""
    store = service.store
    concerned, _ = await two_collections(service)
    store.update("items", 1, n=1)
    batch = store.batch()
    store.lose("items", 1)
    service.stream.put(batch)
    await until(lambda: types(concerned)[-3:] == ["resync", "snapshot", "live"])
    assert exact(concerned, store, query(RED)).resyncs == ["image_unavailable"]


async def test_while_mongodb_is_away_the_images_are_asked_for_again_and_nothing_is_lost(service: Service) -> None:
    store = service.store
    concerned, _ = await two_collections(service)
    store.faults["images"] = [UnavailableError("away") for _ in range(3)]
    store.update("items", 1, n=1)
    await service.flow()
    assert len(store.reads_of("images")) == 4
    assert exact(concerned, store, query(RED)).resyncs == []


async def test_images_that_are_refused_for_good_are_void(service: Service) -> None:
    store = service.store
    concerned, _ = await two_collections(service)
    store.faults["images"] = [TooLargeError("no") for _ in range(LATER_TRIES + 1)]
    store.faults["find"] = [TooLargeError("no") for _ in range(LATER_TRIES)]
    store.update("items", 1, n=1)
    await service.flow()
    await until(lambda: types(concerned)[-1] == "live")
    assert exact(concerned, store, query(RED)).resyncs == ["image_unavailable"]


async def test_an_event_whose_image_is_void_has_the_document_of_a_later_time(service: Service) -> None:
    store, peer = service.store, Peer()
    teams(store)
    await service.flow()
    await service.subscribed(watch(peer, query(mode="events")))
    store.faults["images"] = [VoidReadError("246")]
    store.update("items", 1, n=1)
    await service.flow()
    (event,) = View(peer.frames)["s"].events
    assert event["document"]["n"] == 1
    assert event["as_of"] >= event["position"]


async def test_an_event_whose_document_can_no_longer_be_had_is_partial(service: Service) -> None:
    store, peer = service.store, Peer()
    teams(store)
    await service.flow()
    await service.subscribed(watch(peer, query(mode="events")))
    store.update("items", 1, n=1)
    batch = store.batch()
    store.lose("items", 1)
    service.stream.put(batch)
    await until(lambda: bool(View(peer.frames)["s"].events))
    (event,) = View(peer.frames)["s"].events
    assert event["partial"] is True


async def test_a_catch_up_read_that_is_void_starts_with_a_new_snapshot(service: Service) -> None:
    store, peer, what = service.store, Peer(), query(RED)
    teams(store)
    await service.flow()
    store.lead = 0
    store.faults["catch up"] = [VoidReadError("239")]
    store.hold("find")
    service.attach(watch(peer, what))
    await until(lambda: store.waits("find"))
    store.update("items", 1, n=1)
    await service.flow()
    store.let_go("find")
    await until(lambda: "live" in types(peer))
    assert types(peer) == ["subscribed", "snapshot", "live"]
    assert (len(store.reads_of("find")), len(store.reads_of("catch up"))) == (2, 1)
    exact(peer, store, what)
