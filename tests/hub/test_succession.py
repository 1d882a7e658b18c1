"""A subscription whose effective query changes: nothing more of what was, then `subscribed` again and what there is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest

from realtime.core.live.query import Query
from realtime.errors import ForbiddenError
from realtime.hub import loading
from tests.core.examples import query
from tests.hub.fakes import Peer, Service, rest, until
from tests.hub.scenes import exact, teams, types, watch
from tests.hub.test_slow import Slow
from tests.hub.view import View

RED, BLUE = query({"team": "red"}), query({"team": "blue"})
RED_EVENTS, BLUE_EVENTS = query({"team": "red"}, mode="events"), query({"team": "blue"}, mode="events")


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as running:
        teams(running.store)
        await running.flow()
        yield running


def frames(peer: Peer) -> list[dict[str, object]]:
    return [orjson.loads(frame) for frame in peer.frames]


def last_subscribed(peer: Peer) -> int:
    told = types(peer)
    return len(told) - 1 - told[::-1].index("subscribed")


async def test_it_is_said_at_once_and_nothing_of_the_old_query_is_told_after_it(service: Service) -> None:
    peer = Peer()
    old = await service.subscribed(watch(peer, RED))
    assert types(peer) == ["subscribed", "snapshot", "live"]
    service.store.hold("find")
    service.hub.succeed(old, BLUE)
    assert types(peer)[-1] == "subscribed", "before anything was read"
    service.store.update("items", 1, n=1)
    service.store.update("items", 2, n=1)
    await service.flow()
    assert types(peer)[-1] == "subscribed"
    service.store.let_go("find")
    await until(lambda: types(peer)[-1] == "live")
    service.store.update("items", 3, n=2)
    service.store.update("items", 4, n=2)
    await service.flow()
    first, second = [one["channel"] for one in frames(peer) if one["type"] == "subscribed"]
    assert first != second
    after = frames(peer)[last_subscribed(peer) :]
    assert [one["type"] for one in after] == ["subscribed", "snapshot", "live", "changes"]
    assert after[-1]["channel"] == second
    assert after[0]["query"] == BLUE.key
    assert after[0]["recovered"] is False
    assert b'"team":"red"' not in b"".join(peer.frames[last_subscribed(peer) :])
    exact(peer, service.store, BLUE)


async def test_what_waits_of_the_old_query_is_not_sent(service: Service) -> None:
    peer = Slow(service.hub)
    old = await service.subscribed(watch(peer, RED))
    peer.stopped = True
    service.store.update("items", 1, n="waits")
    await service.flow()
    assert peer.outbox.size
    service.hub.succeed(old, BLUE)
    peer.go_on()
    await until(lambda: types(peer)[-1] == "live")
    assert b"waits" not in b"".join(peer.frames)
    service.store.update("items", 2, n=7)
    await service.flow()
    exact(peer, service.store, BLUE)


async def test_a_snapshot_that_is_on_its_way_is_cut_off() -> None:
    async with Service(frame_bytes=200) as service:
        for number in range(20):
            service.store.insert("items", {"_id": number, "team": "red", "text": "x" * 50})
        service.store.insert("items", {"_id": 99, "team": "blue"})
        await service.flow()
        peer = Slow(service.hub)
        await service.subscribed(watch(Peer(), RED))
        peer.stopped = True
        old = await service.subscribed(watch(peer, RED))
        service.hub.succeed(old, BLUE)
        peer.go_on()
        await until(lambda: types(peer)[-1] == "live")
        assert types(peer) == ["subscribed", "subscribed", "snapshot", "live"]
        assert b'"team":"red"' not in b"".join(peer.frames)


async def test_a_connection_that_lapsed_hears_the_new_channel_even_where_it_is_the_old_one_again(
    service: Service,
) -> None:
    peer = Slow(service.hub)
    keeps = Peer()
    await service.subscribed(watch(keeps, RED))
    first = await service.subscribed(watch(peer, RED))
    peer.stopped = True
    for number in range(10, 15):
        service.store.insert("items", {"_id": number, "team": "red", "text": "x" * 100})
        await service.flow()
    assert first.lapsed
    service.hub.succeed(first, BLUE)
    await rest()
    (second,) = service.hub.roster.of(peer)
    service.hub.succeed(second, RED)
    service.store.update("items", 1, n=5)
    await service.flow()
    peer.go_on()
    await rest()
    service.store.update("items", 3, n=6)
    await service.flow()
    exact(peer, service.store, RED)


async def test_one_that_may_not_be_had_any_more_ends_with_the_reason_and_nothing_after(service: Service) -> None:
    peer = Slow(service.hub)
    old = await service.subscribed(watch(peer, RED))
    peer.stopped = True
    service.store.update("items", 1, n="waits")
    await service.flow()
    service.hub.revoke(old, ForbiddenError("no rule lets you read items"))
    peer.go_on()
    service.store.update("items", 1, n="later")
    await service.flow()
    last = frames(peer)[-1]
    assert (last["type"], last["code"]) == ("unsubscribed", "forbidden")
    assert peer.ended == ["s"]
    assert b"waits" not in b"".join(peer.frames)
    assert not service.hub.roster.of(peer)


async def test_one_that_fails_after_it_was_subscribed_is_unsubscribed_and_no_request_is_answered(
    service: Service,
) -> None:
    peer = Peer()
    old = await service.subscribed(watch(peer, RED))
    service.store.faults["find"] = [ForbiddenError("not this one")]
    service.hub.succeed(old, BLUE)
    await until(lambda: types(peer)[-1] == "unsubscribed")
    assert "error" not in types(peer)


async def test_few_are_read_beside_each_other_however_many_change_at_once(service: Service) -> None:
    peers = [Peer() for _ in range(20)]
    old = [await service.subscribed(watch(peer, RED)) for peer in peers]
    service.store.hold("find")
    for number, one in enumerate(old):
        service.hub.succeed(one, query({"team": "blue", "n": {"$gte": -number}}))
    await rest()
    other = Peer()
    service.hub.attach(watch(other, query({"team": "blue", "n": 0})))
    await rest()
    assert service.store._waiting["find"] == loading.AT_A_TIME + 1, "and who comes now waits for none of them"
    service.store.let_go("find")
    await until(lambda: all(types(peer)[-1] == "live" for peer in [*peers, other]))


# ------------------------------------------------------------------------------------------------------- events mode


def keys_told(peer: Peer, what: Query) -> list[object]:
    """Of the events since the subscription was of this query."""
    told = False
    found: list[object] = []
    for frame in frames(peer):
        if frame["type"] == "subscribed":
            told = frame["query"] == what.key
        elif frame["type"] == "events" and told:
            found += [(one["op"], one["key"]) for one in frame["events"]]  # type: ignore[attr-defined]  # reason: JSON
    return found


async def test_events_go_on_from_where_they_were_under_the_new_query(service: Service) -> None:
    peer = Peer()
    old = await service.subscribed(watch(peer, RED_EVENTS))
    service.store.insert("items", {"_id": 10, "team": "blue"})
    service.store.insert("items", {"_id": 11, "team": "red"})
    await service.flow()
    service.store.hold("describe")
    service.hub.succeed(old, BLUE_EVENTS)
    service.store.insert("items", {"_id": 12, "team": "blue"})
    service.store.insert("items", {"_id": 13, "team": "red"})
    await service.flow()
    service.store.let_go("describe")
    await until(lambda: types(peer)[-1] == "live")
    service.store.insert("items", {"_id": 14, "team": "blue"})
    await service.flow()
    assert keys_told(peer, RED_EVENTS) == [("insert", 11)]
    assert keys_told(peer, BLUE_EVENTS) == [("insert", 12), ("insert", 14)]


@pytest.mark.parametrize("lapses", [False, True])
async def test_events_that_waited_are_told_once_under_the_new_query(service: Service, lapses: bool) -> None:
    peer = Slow(service.hub)
    await service.subscribed(watch(peer, RED_EVENTS))
    other = await service.subscribed(watch(peer, RED_EVENTS, "other"))
    peer.stopped = True
    for number in range(10, 16 if lapses else 11):
        with service.store.transaction():
            service.store.insert("items", {"_id": number, "team": "red"})
            service.store.insert("items", {"_id": -number, "team": "blue"})
        await service.flow()
    assert other.lapsed is lapses
    for one in service.hub.roster.of(peer):
        service.hub.succeed(one, BLUE_EVENTS)
    peer.go_on()
    await until(lambda: all(one.live for one in service.hub.roster.of(peer)))
    wanted = [("insert", -number) for number in range(10, 16 if lapses else 11)]
    assert keys_told(peer, BLUE_EVENTS) == [*wanted, *wanted], "each of the two by its own replay"
    assert keys_told(peer, RED_EVENTS) == []


async def test_no_heartbeat_says_that_events_were_told_which_are_still_to_come(service: Service) -> None:
    peer = Slow(service.hub)
    old = await service.subscribed(watch(peer, RED_EVENTS))
    peer.stopped = True
    service.store.insert("items", {"_id": 10, "team": "red"})
    await service.flow()
    service.hub.heartbeat([peer])
    service.store.hold("describe")
    service.hub.succeed(old, BLUE_EVENTS)
    service.hub.heartbeat([peer])
    peer.go_on()
    beats = [one for one in frames(peer) if one["type"] == "heartbeat"]
    assert beats
    assert all(one.get("behind") == ["s"] for one in beats), beats
    service.store.let_go("describe")
    await until(lambda: types(peer)[-1] == "live")
    service.hub.heartbeat([peer])
    assert "behind" not in frames(peer)[-1]


async def test_a_replay_that_is_on_its_way_goes_on_under_the_new_query(service: Service) -> None:
    start = service.hub.time
    for number in range(10, 20):
        with service.store.transaction():
            service.store.insert("items", {"_id": number, "team": "red"})
            service.store.insert("items", {"_id": -number, "team": "blue"})
        await service.flow()
    peer = Slow(service.hub)
    peer.stopped = True
    subscription = watch(peer, RED_EVENTS)
    subscription.after = start
    service.hub.attach(subscription)
    await until(lambda: subscription.live)
    for _ in range(4):
        Peer.send(peer, peer.outbox.pull() or b"")
    service.hub.succeed(subscription, BLUE_EVENTS)
    peer.go_on()
    await until(lambda: types(peer)[-1] == "live")
    assert keys_told(peer, RED_EVENTS) == [("insert", 10), ("insert", 11), ("insert", 12)]
    told = keys_told(peer, BLUE_EVENTS)
    assert told[-7:] == [("insert", -number) for number in range(13, 20)]
    assert len(told) <= 8, "of the moment whose frame was the last that went out no more than its other half"


async def test_a_view_is_what_the_new_query_finds_however_often_it_changes(service: Service) -> None:
    peer = Peer()
    await service.subscribed(watch(peer, RED))
    for number, what in enumerate([BLUE, RED, BLUE, RED, BLUE]):
        (one,) = service.hub.roster.of(peer)
        service.hub.succeed(one, what)
        service.store.update("items", 1 + number, n=number)
        await service.flow()
    await until(lambda: types(peer)[-1] == "live" or types(peer)[-1] == "changes")
    assert View(peer.frames)["s"].live
    exact(peer, service.store, BLUE)
