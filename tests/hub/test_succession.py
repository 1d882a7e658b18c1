"""A subscription whose effective query changes: nothing more of what was, then `subscribed` again and what there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise

import orjson
import pytest

from realtime.core.live.query import Query
from realtime.errors import ForbiddenError
from realtime.hub import loading
from realtime.hub.roster import Subscription
from realtime.hub.slicing import Slices
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


# --------------------------------------------------------------------------------------------------- many at one time


@pytest.fixture
async def crowd(service: Service) -> list[tuple[Peer, Subscription]]:
    """Eight that watch one team, each by a query of its own."""
    peers = [Peer() for _ in range(8)]
    return [
        (peer, await service.subscribed(watch(peer, query({"team": "red", "n": {"$gte": -number}}))))
        for number, peer in enumerate(peers)
    ]


def blue(number: int) -> Query:
    return query({"team": "blue", "n": {"$gte": -number}})


def all_at_once(service: Service, crowd: list[tuple[Peer, Subscription]]) -> None:
    """In slices of one each."""
    service.hub._subscriptions.successions._slices = Slices(seconds=0.0)
    with service.hub.changing():
        for number, (_, old) in enumerate(crowd):
            service.hub.succeed(old, blue(number))


def next_ones(peers: Iterable[Peer]) -> int:
    return sum(types(peer).count("subscribed") == 2 for peer in peers)


async def test_many_are_silent_in_one_turn_and_are_taken_in_one_slice_a_turn(
    service: Service, crowd: list[tuple[Peer, Subscription]]
) -> None:
    peers = [peer for peer, _ in crowd]
    told = [len(peer.frames) for peer in peers]
    all_at_once(service, crowd)
    assert [len(peer.frames) for peer in peers] == told
    assert not any(old.live for _, old in crowd)
    for number in range(1, 6):
        service.store.update("items", number, n=number)
    seen = [next_ones(peers)]
    flowing = asyncio.create_task(service.flow())
    while seen[-1] < len(crowd):
        await asyncio.sleep(0)
        seen.append(next_ones(peers))
    assert seen[0] == 0
    assert max(after - before for before, after in pairwise(seen)) == 1
    await flowing
    await until(lambda: all(one.live for peer in peers for one in service.hub.roster.of(peer)))
    service.store.update("items", 1, n=9)
    service.store.update("items", 2, n=9)
    await service.flow()
    for number, (peer, before) in enumerate(zip(peers, told, strict=True)):
        assert types(peer)[before] == "subscribed", "nothing more of the old one"
        assert b'"team":"red"' not in b"".join(peer.frames[before:])
        exact(peer, service.store, blue(number))


async def test_until_their_slice_comes_heartbeats_say_that_they_are_behind(
    service: Service, crowd: list[tuple[Peer, Subscription]]
) -> None:
    peers = [peer for peer, _ in crowd]
    all_at_once(service, crowd)
    service.hub.heartbeat(peers)
    assert all(frames(peer)[-1].get("behind") == ["s"] for peer in peers)
    await until(lambda: all(types(peer)[-1] == "live" for peer in peers))
    service.hub.heartbeat(peers)
    assert not any("behind" in frames(peer)[-1] for peer in peers)


async def test_what_becomes_of_one_before_its_slice_comes_is_what_holds(
    service: Service, crowd: list[tuple[Peer, Subscription]]
) -> None:
    """Let go, let go and used again, gone with its connection, another query once more, taken away."""
    all_at_once(service, crowd)
    (left, _), (again, _), (gone, _), (other, _), (taken, _), *rest_of = crowd
    hub = service.hub
    before = {peer: len(peer.frames) for peer, _ in crowd}
    count = hub.roster.count
    hub.detach(left, "s")
    hub.detach(again, "s")
    first = watch(again, query({"n": 0}))
    hub.attach(first)
    hub.drop(gone)
    (waiting,) = hub.roster.of(other)
    hub.succeed(waiting, query({"team": "blue", "n": 5}))
    (waiting,) = hub.roster.of(taken)
    hub.revoke(waiting, ForbiddenError("no rule lets you read items"))
    assert hub.roster.count == count - 3
    with hub.changing():
        (peer, _), *_ = rest_of
        (waiting,) = hub.roster.of(peer)
        hub.succeed(waiting, query({"team": "red", "n": 7}))
    service.store.update("items", 2, n=5)
    service.store.update("items", 1, n=7)
    await service.flow()
    await until(lambda: all(types(peer)[-1] in {"live", "changes"} for peer, _ in rest_of))
    await rest()
    assert len(left.frames) == before[left]
    assert len(gone.frames) == before[gone]
    assert types(again)[before[again] :].count("subscribed") == 1
    assert hub.roster.of(again) == [first]
    exact(other, service.store, query({"team": "blue", "n": 5}))
    assert types(other).count("subscribed") == 2
    assert [one["type"] for one in frames(taken)[before[taken] :]] == ["unsubscribed"]
    assert taken.ended == ["s"]
    assert types(peer).count("subscribed") == 2, "of the first of the two nothing was told"
    exact(peer, service.store, query({"team": "red", "n": 7}))
    for number, (one, _) in enumerate(crowd):
        if number > 5:
            exact(one, service.store, blue(number))
    assert hub.roster.count == len(crowd) - 3


async def test_events_that_come_before_its_slice_are_told_once_under_the_new_query(service: Service) -> None:
    peers = [Peer() for _ in range(4)]
    old = [await service.subscribed(watch(peer, RED_EVENTS)) for peer in peers]
    service.store.insert("items", {"_id": 10, "team": "blue"})
    await service.flow()
    service.hub._subscriptions.successions._slices = Slices(seconds=0.0)
    with service.hub.changing():
        for one in old:
            service.hub.succeed(one, BLUE_EVENTS)
    service.store.insert("items", {"_id": 12, "team": "blue"})
    service.store.insert("items", {"_id": 13, "team": "red"})
    await service.flow()
    await until(lambda: all(types(peer)[-1] == "live" for peer in peers))
    service.store.insert("items", {"_id": 14, "team": "blue"})
    await service.flow()
    for peer in peers:
        assert keys_told(peer, RED_EVENTS) == []
        assert keys_told(peer, BLUE_EVENTS) == [("insert", 12), ("insert", 14)]


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
