"""The pipe: images that cannot be read at their time, and batches that are too large for one turn of the loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import orjson
import pytest

from realtime.errors import TooLargeError, UnavailableError
from realtime.hub.pipe import LATER_TRIES
from realtime.hub.slicing import SLICE_EVENTS, Pace
from realtime.ports import VoidReadError
from tests.core.examples import query
from tests.hub.fakes import Peer, Service, until
from tests.hub.scenes import RED, counter, exact, teams, two_collections, types, watch
from tests.hub.view import View


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr("realtime.hub.loading.RETRY_SECONDS", (0.0, 0.0))
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
    # The feed asks for nothing meanwhile: it could not say that MongoDB is away.
    assert service.stuck == ["away", "away", "away", None]


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


async def far_ahead(service: Service, batches: int) -> Peer:
    """Somebody live, an update whose time cannot be read, and `batches` more that lie before the T' of its images."""
    store, peer = service.store, Peer()
    teams(store)
    await service.flow()
    await service.subscribed(watch(peer, query(RED)))
    store.faults["images"] = [VoidReadError("246") for _ in range(100)]
    store.update("items", 1, n=1)
    waiting = [store.batch()]
    for number in range(batches):
        store.insert("others", {"_id": f"later {number}", "team": "red"})
        waiting.append(store.batch())
    for batch in waiting:
        service.stream.put(batch)
    return peer


@pytest.mark.parametrize("bound", ["events", "seconds"])
async def test_what_is_held_for_later_images_is_bounded_then_queries_are_read_again(
    service: Service, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound of ARCHITECTURE's T': 20,000 events or 60 s; not five tries, and not for ever."""
    monkeypatch.setattr("realtime.hub.pipe.HELD_EVENTS", 10 if bound == "events" else 20_000)
    monkeypatch.setattr("realtime.hub.pipe.HELD_SECONDS", 60.0 if bound == "events" else 0.0)
    later = counter("realtime_later_reads_total")
    peer = await far_ahead(service, batches=30)
    await until(lambda: types(peer)[-1] == "live" and "resync" in types(peer))
    assert counter("realtime_later_reads_total") - later == 1
    assert service.store.faults["images"]
    service.store.faults["images"].clear()
    await service.flow()
    assert exact(peer, service.store, query(RED)).resyncs == ["image_unavailable"]


async def test_a_large_batch_is_dispatched_in_parts_and_others_have_their_turn_between_them(
    service: Service,
) -> None:
    store, peer, turns = service.store, Peer(), Counter[int]()
    await service.subscribed(watch(peer, query(mode="events")))
    for number in range(3 * SLICE_EVENTS):
        store.insert("items", {"_id": number})
    with store.transaction():
        for number in range(2 * SLICE_EVENTS):
            store.insert("items", {"_id": f"t{number}"})
    store.insert("items", {"_id": "last"})
    batch = service.put()
    while service.hub.time < batch.time:
        turns[service.hub.time] += 1
        await asyncio.sleep(0)
    told = [orjson.loads(frame) for frame in peer.moments()]
    sizes = [len(frame["events"]) for frame in told]
    assert sizes == [*[SLICE_EVENTS] * 3, 2 * SLICE_EVENTS, 1]
    assert len({event["transaction"] for event in told[3]["events"]}) == 1
    assert len(turns) >= len(sizes)


async def test_where_a_part_takes_too_long_the_next_ones_are_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.hub.slicing.SLICE_SECONDS", 0.0)
    async with Service(Pace()) as service:
        store, peer = service.store, Peer()
        await service.subscribed(watch(peer, query(mode="events")))
        for number in range(SLICE_EVENTS + 4):
            store.insert("items", {"_id": number})
        await service.flow()
        sizes = [len(orjson.loads(frame)["events"]) for frame in peer.moments()]
    assert sizes == [SLICE_EVENTS, 1, 1, 1, 1]
