"""Names that may stand for something else by now: who asks again, who ends, who goes on; and capped collections."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from realtime.core.live.event_group import EventGroup
from realtime.errors import UnavailableError, UnsupportedCollectionError
from realtime.hub.roster import Subscription
from realtime.ports import CollectionFacts, VoidReadError
from tests.core.examples import query
from tests.hub.fakes import Peer, Service, rest, until
from tests.hub.scenes import RED, exact, two_collections, types, watch
from tests.hub.view import View

EVENTS = query(mode="events")
REFUSED = UnsupportedCollectionError("items is a view")


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr("realtime.hub.loading.RETRY_SECONDS", (0.0, 0.0))
    async with Service() as running:
        yield running


async def listening(service: Service, *, collections: str | None = "items") -> Peer:
    peer = Peer()
    await service.subscribed(watch(peer, query(mode="events", collections=collections)))
    return peer


def told(peer: Peer) -> list[object]:
    return [event.get("key") for event in View(peer.frames)["s"].events]


async def test_events_go_on_until_it_is_known_what_their_name_stands_for(service: Service) -> None:
    store = service.store
    peer, other, every = [await listening(service, collections=name) for name in ("items", "others", None)]
    asked = len(store.reads_of("describe"))
    store.faults["describe"] = [UnavailableError("no primary"), UnavailableError("no primary")]
    store.hold("describe")
    store.create("items", "collation")
    store.insert("items", {"_id": 1})
    await service.flow()
    store.insert("items", {"_id": 2})
    await service.flow()
    assert told(peer) == told(every) == [1, 2]
    store.let_go("describe")
    await until(lambda: len(store.reads_of("describe")) == asked + 3)
    await rest()
    store.insert("items", {"_id": 3})
    await service.flow()
    assert told(peer) == [1, 2, 3]
    assert types(other) == ["subscribed", "live"]


@pytest.mark.parametrize("how", ["view", "collation", "rename"])
async def test_events_end_where_their_name_cannot_be_served_and_all_collections_go_on(
    service: Service, how: str
) -> None:
    store = service.store
    both = await listening(service, collections="items others")
    peer, every = await listening(service), await listening(service, collections=None)
    store.faults["describe"] = [REFUSED, REFUSED]
    if how == "rename":
        store.rename("attic", "items")
    else:
        store.create("items", how)
    store.insert("others", {"_id": 1})
    await service.flow()
    await until(lambda: types(peer)[-1] == types(both)[-1] == "unsubscribed")
    ended = View(peer.frames)["s"].ended
    assert ended is not None
    assert (ended["code"], ended["position"]) == ("unsupported_collection", service.hub.position)
    assert told(both)[-1] == 1
    assert types(every)[-1] == "events"
    assert store.faults["describe"] == []


@pytest.mark.parametrize("kind", [None, "capped"])
async def test_events_do_not_ask_again_for_what_is_served(service: Service, kind: str | None) -> None:
    peer = await listening(service)
    asked = len(service.store.reads_of("describe"))
    service.store.create("items", kind)
    service.store.insert("items", {"_id": 1})
    await service.flow()
    assert told(peer) == [1]
    assert len(service.store.reads_of("describe")) == asked


async def test_who_is_on_the_way_asks_again_for_what_it_was_told_may_be_old(service: Service) -> None:
    """In both modes: the answer that is awaited may be from before."""
    store = service.store
    peers = [Peer(), Peer()]
    store.hold("describe")
    for peer, what in zip(peers, (query(RED), EVENTS), strict=True):
        service.attach(watch(peer, what))
    await until(lambda: len(store.reads_of("describe")) == 2)
    store.create("items", "view")
    await service.flow()
    store.faults["describe"] = [REFUSED, REFUSED]
    store.let_go("describe")
    await until(lambda: all(peer.frames for peer in peers))
    assert [View(peer.frames).errors[0]["code"] for peer in peers] == ["unsupported_collection"] * 2
    assert store.cancelled == ["describe", "describe"]


async def test_who_resumes_meanwhile_is_welcomed_once(service: Service) -> None:
    peer, late = await listening(service), Peer()
    service.attach(Subscription("late", late, EVENTS, after=service.hub.time + 2))
    await rest()
    service.store.create("items", "view")
    await service.flow()
    assert late.frames == []
    service.store.insert("items", {"_id": 1})
    await service.flow()
    await until(lambda: "live" in types(late))
    assert types(late) == ["subscribed", "live"]
    assert told(peer) == [1]
    group = service.hub.router.find(EVENTS)
    assert isinstance(group, EventGroup)
    assert group.live


async def test_a_query_of_a_capped_collection_is_refused_and_ends_where_it_becomes_one(service: Service) -> None:
    capped = CollectionFacts(exists=True, pre_images=False, capped=True)
    concerned, neighbour = await two_collections(service)
    peer = Peer()
    service.store.facts["items"] = capped
    service.store.create("items", "capped")
    await service.flow()
    await until(lambda: types(concerned)[-1] == "unsubscribed")
    service.attach(watch(peer, query(RED)))
    await until(lambda: peer.frames)
    assert View(peer.frames).errors[0]["code"] == "unsupported_collection"
    assert "resync" not in types(neighbour)
    assert not [read for read in service.store.reads_of("find")[2:] if read.collection == "items"]


async def test_what_can_be_read_at_no_time_is_done_without_and_keeps_nobody_waiting(service: Service) -> None:
    """One collection is capped, the other one's images can be read at a later time only."""
    store = service.store
    _, neighbour = await two_collections(service)
    every = await listening(service, collections=None)
    store.insert("capped", {"_id": 1, "n": 1})
    await service.flow()
    store.update("capped", 1, n=2)
    store.update("others", 1, team="red", n=1)
    store.faults["images"] = [
        UnsupportedCollectionError("capped"),
        VoidReadError("239"),
        UnsupportedCollectionError(""),
    ]
    await service.flow()
    store.pass_time()
    await service.flow()
    events = View(every.frames)["s"].events
    assert [(event["collection"], event.get("partial", False)) for event in events][-2:] == [
        ("capped", True),
        ("others", False),
    ]
    assert "resync" not in types(neighbour)
    exact(neighbour, store, query(RED, collections="others"))
    assert store.faults["images"] == []


async def test_images_of_what_became_capped_wait_for_the_event_that_says_so(service: Service) -> None:
    """By the time of the read the name is another collection, which cannot be read at a later time either."""
    store = service.store
    concerned, _ = await two_collections(service)
    every = await listening(service, collections=None)
    store.update("items", 1, n=1)
    store.faults["images"] = [VoidReadError("361")]
    store.faults["find"] = [UnsupportedCollectionError("items is capped")]
    service.put()
    await until(lambda: not store.faults["find"])
    await rest()
    assert View(every.frames)["s"].events == []
    store.rename("tmpabcde.convertToCapped.items", "items")
    await service.flow()
    await until(lambda: types(concerned)[-1] == "live")
    assert [event["op"] for event in View(every.frames)["s"].events] == ["update", "rename"]
    assert exact(concerned, store, query(RED)).resyncs == ["collection_replaced"]
