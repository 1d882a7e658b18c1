"""The hub when something goes wrong: what is said, to whom, and that the view is exact again afterwards."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import orjson
import pytest

from realtime.core.live.events import format_position
from realtime.core.live.query import Query
from realtime.errors import UnavailableError, UnsupportedCollectionError
from realtime.hub import loading
from realtime.hub.roster import Subscription
from realtime.ports import CollectionFacts, VoidReadError
from tests.core.examples import EPOCH, query
from tests.hub.fakes import START, Peer, Service, rest, until
from tests.hub.scenes import RED, exact, teams, two_collections, types, watch
from tests.hub.view import View


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr("realtime.hub.loading.RETRY_SECONDS", (0.0, 0.0))
    async with Service() as running:
        yield running


# -------------------------------------------------------------------------------------- lost, dropped and renamed


async def test_a_lost_batch_is_a_resync_for_queries_and_history_lost_for_events(service: Service) -> None:
    store = service.store
    concerned, neighbour = await two_collections(service)
    told = Peer()
    await service.subscribed(watch(told, query(mode="events", collections=None), "e"))
    store.insert("items", {"_id": 9, "team": "red"})
    store.batch()  # these never come
    store.insert("items", {"_id": 10, "team": "red"})
    await service.flow(lost=True)
    await until(lambda: types(concerned)[-1] == types(neighbour)[-1] == "live")
    assert exact(concerned, store, query(RED)).resyncs == ["history_lost"]
    assert exact(neighbour, store, query(RED, collections="others")).resyncs == ["history_lost"]
    ended = View(told.frames)["e"].ended
    assert ended is not None
    assert (ended["code"], ended["retry"]) == ("history_lost", False)
    assert told.ended == ["e"]
    assert "events" not in types(told)
    assert ended["position"] < service.hub.position


@pytest.mark.parametrize("how", ["drop", "rename away", "rename onto", "dropDatabase"])
async def test_a_collection_that_becomes_another_one_is_read_again_and_lives_on(service: Service, how: str) -> None:
    store = service.store
    concerned, neighbour = await two_collections(service)
    store.update("items", 1, n=1)
    if how == "drop":
        store.drop("items")
    elif how == "rename away":
        store.rename("items", "attic")
    elif how == "rename onto":
        store.insert("temp", {"_id": 7, "team": "red"})
        store.rename("temp", "items")
    else:
        store.drop_database()
    await service.flow()
    await until(lambda: types(concerned)[-1] == "live")
    assert exact(concerned, store, query(RED)).resyncs == ["collection_replaced"]
    assert exact(neighbour, store, query(RED, collections="others")).resyncs == (
        ["collection_replaced"] if how == "dropDatabase" else []
    )
    assert store.reads_of("images") == []
    store.insert("items", {"_id": 50, "team": "red"})
    await service.flow()
    assert "50" in exact(concerned, store, query(RED)).documents


async def test_a_drop_while_it_is_read_starts_the_read_again_and_is_no_resync_for_who_saw_nothing(
    service: Service,
) -> None:
    store, peer, what = service.store, Peer(), query(RED)
    teams(store)
    await service.flow()
    store.hold("find")
    service.attach(watch(peer, what))
    await until(lambda: store.waits("find"))
    store.drop("items")
    store.insert("items", {"_id": 50, "team": "red"})
    await service.flow()
    assert store.cancelled == ["find"]
    store.let_go("find")
    await until(lambda: "live" in types(peer))
    assert types(peer) == ["subscribed", "snapshot", "live"]
    exact(peer, store, what)


async def test_a_collection_that_is_not_there_is_empty_once_everything_up_to_then_has_been_dispatched(
    service: Service,
) -> None:
    """MongoDB names no time for a collection that does not exist; a drop up to then would start the read again."""
    store, peer, what = service.store, Peer(), query(RED)
    store.lead = 0
    store.unless_changed_by = START + 2
    service.attach(watch(peer, what))
    await rest()
    assert peer.frames == []
    store.pass_time()
    await service.flow()
    assert peer.frames == []
    store.insert("items", {"_id": 1, "team": "red"})
    await service.flow()
    await until(lambda: "live" in types(peer))
    exact(peer, store, what)


async def test_who_waits_for_what_does_not_come_is_told_so_and_may_ask_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while no relay publishes; nothing of it is left, and when it comes the next who asks is answered."""
    monkeypatch.setattr(loading, "REACHED_SECONDS", 0.0)
    store, peer, what = service.store, Peer(), query(RED)
    store.lead = 0
    store.unless_changed_by = START + 2
    service.attach(watch(peer, what))
    await until(lambda: peer.frames)
    (error,) = View(peer.frames).errors
    assert (error["code"], error["retry"], error["retry_after"]) == ("unavailable", True, 5)
    assert (peer.ended, len(service.hub.router)) == (["s"], 0)
    store.pass_time()
    await service.flow()
    store.insert("items", {"_id": 1, "team": "red"})
    await service.flow()
    again = Peer()
    service.attach(watch(again, what))
    await until(lambda: "live" in types(again))
    exact(again, store, what)


async def test_who_was_live_waits_as_long_as_it_takes(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "REACHED_SECONDS", 0.0)
    store, peer, what = service.store, Peer(), query(RED)
    teams(store)
    await service.flow()
    await service.subscribed(watch(peer, what))
    store.drop("items")
    store.lead = 0
    store.unless_changed_by = START + 100
    await service.flow()
    reads = len(store.reads)
    await until(lambda: len(store.reads) >= reads + 3)
    assert types(peer)[-1] == "resync"
    store.unless_changed_by = None
    await until(lambda: types(peer)[-1] == "live")
    exact(peer, store, what)


# ------------------------------------------------------------------------------------------------------ too large


async def test_a_result_over_the_bound_is_refused_with_its_count_and_the_id_is_free() -> None:
    async with Service(documents=2) as service:
        peer = Peer()
        teams(service.store)
        await service.flow()
        service.attach(watch(peer, query(RED)))
        await until(lambda: peer.frames)
        assert types(peer) == ["error"]
        (error,) = View(peer.frames).errors
        assert (error["id"], error["code"], error["details"]) == ("s", "too_large", {"count": 3, "limit": 2})
        assert peer.ended == ["s"]
        assert len(service.hub.router) == 0
        await service.subscribed(watch(peer, query({"team": "blue"})))


@pytest.mark.parametrize(
    ("what", "bounds"),
    [
        (query(RED, sort=[["n", 1]], limit=3), {"bytes": 100}),
        (query(RED, throttle=100), {"bytes": 100}),
        (query(RED), {"all_bytes": 100}),
    ],
)
async def test_a_result_over_the_bound_of_bytes_is_refused(what: Query, bounds: dict[str, int]) -> None:
    """Windows and throttled queries need the bytes of their documents; a plain one of that size is read again."""
    async with Service(**bounds) as service:
        peer = Peer()
        service.store.insert("items", {"_id": 1, "team": "red", "text": "x" * 100})
        await service.flow()
        service.attach(watch(peer, what))
        await until(lambda: peer.frames)
        assert View(peer.frames).errors[0]["code"] == "too_large"
        assert len(service.hub.router) == 0


async def test_a_live_query_that_outgrows_its_bound_ends_and_the_others_live_on() -> None:
    async with Service(documents=3) as service:
        store, peer = service.store, Peer()
        teams(store)
        await service.flow()
        await service.subscribed(watch(peer, query(RED), "red"))
        await service.subscribed(watch(peer, query({"team": "blue"}), "blue"))
        store.insert("items", {"_id": 7, "team": "red"})
        await service.flow()
        view = View(peer.frames)
        ended = view["red"].ended
        assert ended is not None
        assert (ended["code"], ended["position"]) == ("too_large", format_position(EPOCH, store.now))
        assert peer.ended == ["red"]
        store.insert("items", {"_id": 8, "team": "blue"})
        await service.flow()
        exact(peer, store, query({"team": "blue"}), "blue")


# ---------------------------------------------------------------------------------------------------- unavailable


async def test_unavailable_at_subscribe_is_an_error_that_may_be_retried(service: Service) -> None:
    store, peer = service.store, Peer()
    store.faults["find"] = [UnavailableError("no primary", retry_after=1.0)]
    service.attach(watch(peer, query(RED)))
    await until(lambda: peer.frames)
    (error,) = View(peer.frames).errors
    assert (error["code"], error["retry"], error["retry_after"]) == ("unavailable", True, 1.0)
    await service.subscribed(watch(peer, query(RED)))
    exact(peer, store, query(RED))


async def test_unavailable_at_a_resync_is_tried_until_it_works(service: Service) -> None:
    store = service.store
    concerned, _ = await two_collections(service)
    store.faults["find"] = [UnavailableError("no primary"), UnavailableError("no primary"), VoidReadError("239")]
    store.faults["describe"] = [UnavailableError("no primary")]
    store.drop("items")
    store.insert("items", {"_id": 50, "team": "red"})
    await service.flow()
    await until(lambda: types(concerned)[-1] == "live")
    assert types(concerned)[-3:] == ["resync", "snapshot", "live"]
    assert store.faults["find"] == []
    exact(concerned, store, query(RED))


async def test_who_joins_during_a_resync_waits_with_the_others(service: Service) -> None:
    store = service.store
    concerned, _ = await two_collections(service)
    late = Peer()
    store.faults["find"] = [UnavailableError("no primary")]
    store.hold("find")
    store.drop("items")
    await service.flow()
    service.attach(watch(late, query(RED)))
    store.let_go("find")
    await until(lambda: "live" in types(late))
    assert types(late) == ["subscribed", "snapshot", "live"]
    assert types(concerned)[-3:] == ["resync", "snapshot", "live"]


async def test_a_collection_that_cannot_be_served_is_refused_in_both_modes(service: Service) -> None:
    for mode_query in (query(RED), query(mode="events")):
        peer = Peer()
        service.store.faults["describe"] = [UnsupportedCollectionError("items is a view")]
        service.attach(watch(peer, mode_query))
        await until(lambda peer=peer: peer.frames)  # type: ignore[misc]  # reason: its default binds it now
        assert View(peer.frames).errors[0]["code"] == "unsupported_collection"
    assert len(service.hub.router) == 0


async def test_a_resync_that_is_refused_for_good_ends_the_subscription(service: Service) -> None:
    store = service.store
    concerned, _ = await two_collections(service)
    store.faults["describe"] = [UnsupportedCollectionError("items is a view now")]
    store.drop("items")
    await service.flow()
    await until(lambda: types(concerned)[-1] == "unsubscribed")
    ended = View(concerned.frames)["s"].ended
    assert ended is not None
    assert (ended["code"], ended["position"]) == ("unsupported_collection", service.hub.position)


async def test_a_bug_is_an_internal_error_under_the_reference_that_is_logged(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    peer = Peer()
    service.store.faults["find"] = [RuntimeError("a bug")]
    with caplog.at_level(logging.ERROR, "realtime.hub"):
        service.attach(watch(peer, query(RED)))
        await until(lambda: peer.frames)
    (error,) = View(peer.frames).errors
    assert error["code"] == "internal"
    (record,) = caplog.records
    assert record.getMessage().split()[-1] in error["message"]
    assert "a bug" in (record.exc_text or "")


# -------------------------------------------------------------------------------------------------- going away


async def test_detach_while_syncing_cancels_the_read_and_sends_nothing(service: Service) -> None:
    store, peer = service.store, Peer()
    store.hold("find")
    service.attach(watch(peer, query(RED)))
    await until(lambda: store.waits("find"))
    service.hub.detach(peer, "s")
    await until(lambda: store.cancelled)
    assert store.cancelled == ["find"]
    assert peer.frames == []
    assert (len(service.hub.router), service.hub.roster.count) == (0, 0)


async def test_detach_while_syncing_leaves_the_read_to_the_others(service: Service) -> None:
    store, one, two = service.store, Peer(), Peer()
    store.hold("find")
    service.attach(watch(one, query(RED)))
    service.attach(watch(two, query(RED)))
    await until(lambda: store.waits("find"))
    service.hub.detach(one, "s")
    store.let_go("find")
    await until(lambda: "live" in types(two))
    assert one.frames == []
    assert (store.cancelled, len(store.reads_of("find"))) == ([], 1)


async def test_a_connection_that_is_gone_takes_everything_of_it_along(service: Service) -> None:
    peer, other = Peer(), Peer()
    for name, what in (("a", query(RED)), ("b", query()), ("c", query(mode="events"))):
        await service.subscribed(watch(peer, what, name))
    await service.subscribed(watch(other, query(RED)))
    before = len(peer.frames)
    service.hub.drop(peer)
    teams(service.store)
    await service.flow()
    assert len(peer.frames) == before
    assert (len(service.hub.router), service.hub.roster.count) == (1, 1)
    exact(other, service.store, query(RED))


async def test_detaching_what_is_not_there_is_nothing(service: Service) -> None:
    peer = Peer()
    service.hub.detach(peer, "never there")
    service.hub.drop(peer)
    assert (peer.frames, service.hub.roster.count) == ([], 0)


async def test_a_query_asked_for_again_gets_another_channel(service: Service) -> None:
    peer = Peer()
    for name in ("one", "two"):
        await service.subscribed(watch(peer, query(RED), name))
        service.hub.detach(peer, name)
    channels = [orjson.loads(frame)["channel"] for frame in peer.frames if b'"subscribed"' in frame]
    assert len(set(channels)) == 2


async def test_close_cancels_what_is_being_read_and_waits_for_it() -> None:
    async with Service() as service:
        service.store.hold("find")
        service.attach(watch(Peer(), query(RED)))
        await until(lambda: service.store.waits("find"))
        await service.hub.close()
        assert service.store.cancelled == ["find"]
        assert not service.store.waits("find")


async def test_while_closing_images_are_not_asked_for_again(service: Service) -> None:
    store = service.store
    concerned, _ = await two_collections(service)
    store.hold("images")
    store.faults["images"] = [UnavailableError("away")]
    store.update("items", 1, n=1)
    service.put()
    await until(lambda: store.waits("images"))
    service.pipe.close()
    store.let_go("images")
    await until(lambda: service.hub.time == store.now)
    assert len(store.reads_of("images")) == 1
    assert "resync" in types(concerned)


# -------------------------------------------------------------------------------------------------- events mode


async def test_an_events_subscription_says_how_deletes_are_told(service: Service) -> None:
    service.store.facts["kept"] = CollectionFacts(exists=True, pre_images=True)
    for collections, deletes in (("kept", "matched"), ("items", "all"), ("items kept", "all"), (None, "all")):
        peer = Peer()
        await service.subscribed(watch(peer, query(mode="events", collections=collections)))
        first, second = (orjson.loads(frame) for frame in peer.frames)
        assert (first["type"], first["deletes"], second["type"]) == ("subscribed", deletes, "live")
        assert second["position"] == service.hub.position


async def test_an_events_position_that_cannot_be_taken_up_is_refused(service: Service) -> None:
    """Older than the journal, and there is no oplog to look in; far ahead of all that is."""
    peer, what = Peer(), query(mode="events")
    ahead = ((START >> 32) + 3600) << 32
    for name, after, code in (("old", 1, "history_lost"), ("ahead", ahead, "invalid_position")):
        service.attach(Subscription(name, peer, what, after=after))
        await until(lambda name=name: name in peer.ended)  # type: ignore[misc]  # reason: its default binds it now
        error = View(peer.frames).errors[-1]
        assert (error["id"], error["code"]) == (name, code)
    await service.subscribed(watch(peer, what))


async def test_an_events_subscription_that_goes_while_it_is_described_leaves_nothing_behind(service: Service) -> None:
    store, peer = service.store, Peer()
    teams(store)
    await service.flow()
    await service.subscribed(watch(Peer(), query()))
    store.hold("images")
    store.update("items", 1, n=1)
    service.put()
    await until(lambda: store.waits("images"))
    service.attach(watch(peer, query(mode="events")))
    await rest()
    service.hub.detach(peer, "s")
    store.let_go("images")
    await until(lambda: service.hub.time == store.now)
    assert peer.frames == []
    assert len(service.hub.router) == 1


async def test_2000_subscriptions_of_one_query_are_one_read(service: Service) -> None:
    teams(service.store)
    await service.flow()
    peers = [Peer() for _ in range(2000)]
    for peer in peers[:1000]:
        service.attach(watch(peer, query(RED)))
    await until(lambda: "live" in types(peers[999]))
    for peer in peers[1000:]:
        service.attach(watch(peer, query(RED)))
    assert all(types(peer) == ["subscribed", "snapshot", "live"] for peer in peers)
    assert len(service.store.reads_of("find")) == 1
