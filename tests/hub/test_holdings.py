"""What groups hold between subscribers and beyond their bounds: ready for the next one, bounded, and always exact."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY

from realtime.core.live.query import Query, QueryGroup
from realtime.errors import UnavailableError, UnsupportedCollectionError
from realtime.hub.roster import Subscription
from tests.core.examples import query
from tests.hub.fakes import Peer, Service, rest, until
from tests.hub.scenes import RED, exact, teams, types, watch
from tests.hub.test_slow import Slow, write
from tests.hub.view import View

BLUE = {"team": "blue"}
HOUR = 3600.0


def gauge(name: str) -> float:
    return REGISTRY.get_sample_value(f"realtime_{name}") or 0.0


def group_of(service: Service, what: Query) -> QueryGroup:
    group = service.hub.router.find(what)
    assert isinstance(group, QueryGroup)
    return group


async def visit(service: Service, what: Query) -> Peer:
    """Somebody subscribes, is live, and leaves."""
    peer = Peer()
    await service.subscribed(watch(peer, what))
    service.hub.drop(peer)
    return peer


# ------------------------------------------------------------------------------------------------------- lingering


async def test_the_next_subscriber_costs_mongodb_nothing_and_sees_what_happened_meanwhile() -> None:
    async with Service(linger_seconds=HOUR) as service:
        store, what = service.store, query(RED)
        teams(store)
        await service.flow()
        await visit(service, what)
        assert (gauge("query_groups_idle"), len(service.hub.router)) == (1, 1)
        store.insert("items", {"_id": 7, "team": "red"})
        store.update("items", 1, n=5)
        store.delete("items", 3)
        await service.flow()
        before = len(store.reads)
        peer = Peer()
        service.attach(watch(peer, what))
        assert types(peer) == ["subscribed", "snapshot", "live"]  # at once
        assert len(store.reads) == before
        assert gauge("query_groups_idle") == 0
        exact(peer, store, what)
        store.insert("items", {"_id": 9, "team": "red"})
        await service.flow()
        exact(peer, store, what)


async def test_a_group_goes_some_time_after_its_last_subscriber_and_the_first_to_wait_first() -> None:
    async with Service(linger_seconds=0.05) as service:
        began = asyncio.get_running_loop().time()
        await visit(service, query(RED))
        await visit(service, query(BLUE))
        await service.subscribed(watch(Peer(), query({"team": "green"})))
        assert len(service.hub.router) == 3
        going: list[str] = []
        done = asyncio.Event()
        lingering = service.hub.groups.lingering
        close = lingering._close_group

        def closing(group: Any) -> None:
            going.append(group.query.filter.source["team"])
            close(group)
            if len(going) == 2:
                done.set()

        lingering._close_group = closing  # to hear of it
        await asyncio.wait_for(done.wait(), 10)
        lingering._close_group = close
        assert going == ["red", "blue"]
        assert asyncio.get_running_loop().time() - began >= 0.05
        assert (len(service.hub.router), gauge("query_groups_idle")) == (1, 0)


async def test_a_group_that_is_wanted_again_stays_beyond_its_time() -> None:
    async with Service(linger_seconds=0.02) as service:
        await visit(service, query(RED))
        peer = Peer()
        service.attach(watch(peer, query(RED)))
        await visit(service, query(BLUE))
        async with asyncio.timeout(10):
            while len(service.hub.router) > 1:  # the other one's time is up later than this one's was
                await asyncio.sleep(0.005)
        service.store.insert("items", {"_id": 1, "team": "red"})
        await service.flow()
        exact(peer, service.store, query(RED))


async def test_what_holds_nothing_ready_goes_at_once() -> None:
    """Events mode would have updates read for nobody; a read that nobody waits for is cancelled."""
    async with Service(linger_seconds=HOUR) as service:
        await visit(service, query(mode="events"))
        service.store.hold("find")
        peer = Peer()
        service.attach(watch(peer, query(RED)))
        await until(lambda: service.store.waits("find"))
        service.hub.drop(peer)
        await until(lambda: service.store.cancelled)
        assert len(service.hub.router) == 0


async def test_nothing_is_read_for_nobody() -> None:
    """An idle window that runs out of spares, and an idle group that would be read again, go."""
    async with Service(linger_seconds=HOUR) as service:
        store = service.store
        for number in range(60):
            store.insert("items", {"_id": number, "n": 0})
        await service.flow()
        await visit(service, query(sort=[["_id", 1]], limit=1))
        await visit(service, query({"n": 0}))
        finds = len(store.reads_of("find"))
        for number in range(30):
            store.delete("items", number)
            await service.flow()
        assert len(service.hub.router) == 1
        store.drop("items")
        await service.flow()
        assert len(service.hub.router) == 0
        assert len(store.reads_of("find")) == finds


async def test_an_idle_group_that_outgrows_its_bound_goes() -> None:
    async with Service(linger_seconds=HOUR, documents=3) as service:
        teams(service.store)
        await service.flow()
        await visit(service, query(RED))
        service.store.insert("items", {"_id": 7, "team": "red"})
        await service.flow()
        assert (len(service.hub.router), gauge("group_documents"), gauge("group_bytes")) == (0, 0, 0)


async def test_everything_is_ended_at_close_and_nothing_stays_after_it() -> None:
    async with Service(linger_seconds=HOUR) as service:
        await visit(service, query(RED))
        late = Peer()
        await service.subscribed(watch(late, query(BLUE)))
        await service.hub.close()
        assert len(service.hub.router) == 1
        service.hub.drop(late)
        assert (len(service.hub.router), service.hub.groups.lingering._timer) == (0, None)
        assert gauge("query_groups_idle") == 0


# ---------------------------------------------------------------------------------------------------------- bounds


async def test_what_is_held_is_counted_to_the_byte() -> None:
    async with Service(linger_seconds=HOUR) as service:
        store, held = service.store, service.hub.groups.holdings
        teams(store)
        await service.flow()
        for what in (query(RED), query(BLUE), query(sort=[["n", 1]], limit=2)):
            await service.subscribed(watch(Peer(), what))
        store.insert("items", {"_id": 7, "team": "red"})
        store.delete("items", 2)
        await service.flow()
        groups = service.hub.router.query_groups("items")
        assert len(groups) == 3
        assert gauge("group_bytes") == held.bytes == sum(group.size for group in groups) > 100
        assert gauge("group_documents") == held.documents == sum(len(group.documents) for group in groups) == 10
        store.drop("items")
        await service.flow()
        assert (held.bytes, held.documents) == (0, 0)


async def test_over_the_bound_of_all_the_longest_idle_goes_first() -> None:
    async with Service(linger_seconds=HOUR, all_bytes=400) as service:
        store = service.store
        for number, team in enumerate(("red", "blue", "green", "white")):
            store.insert("items", {"_id": number, "team": team, "text": "x" * 80})
        await service.flow()
        for team in ("red", "blue", "green"):
            await visit(service, query({"team": team}))
        service.attach(watch(Peer(), query(RED)))  # wanted again: not idle any more
        await service.subscribed(watch(Peer(), query({"team": "white"})))
        assert service.hub.groups.holdings.bytes <= 400
        names = {group.query.filter.source["team"] for group in service.hub.router.query_groups("items")}
        assert names == {"red", "green", "white"}


async def test_over_the_bound_of_all_the_largest_stops_keeping_and_what_cannot_ends() -> None:
    async with Service(all_bytes=400) as service:
        store, small, large, window = service.store, Peer(), Peer(), Peer()
        for number in range(3):
            store.insert("items", {"_id": number, "team": "blue", "text": "x" * 80})
        store.insert("items", {"_id": 9, "team": "red"})
        await service.flow()
        await service.subscribed(watch(small, query(RED)))
        await service.subscribed(watch(large, query(BLUE)))
        service.attach(watch(window, query(sort=[["_id", 1]])))
        await until(lambda: "live" in types(window))
        assert service.hub.groups.holdings.bytes <= 400
        assert not group_of(service, query(BLUE)).keeps
        assert gauge("query_groups_without_documents") >= 1
        store.insert("items", {"_id": 10, "team": "white", "text": "x" * 80})
        await service.flow()
        await until(lambda: types(window)[-1] == "unsubscribed")
        assert View(window.frames)["s"].ended["code"] == "too_large"  # type: ignore[index]  # reason: it has ended
        store.update("items", 0, n=1)
        await service.flow()
        exact(large, store, query(BLUE))
        exact(small, store, query(RED))


# ------------------------------------------------------------------------------------------------ without documents


async def slim(service: Service, what: Query) -> Peer:
    """A live subscription whose group has stopped keeping documents."""
    teams(service.store)
    await service.flow()
    peer = Peer()
    await service.subscribed(watch(peer, what))
    assert not group_of(service, what).keeps
    return peer


async def test_those_who_come_together_share_one_read_and_hear_the_same_channel() -> None:
    async with Service(bytes=1) as service:
        store, what = service.store, query(RED)
        first = await slim(service, what)
        finds = len(store.reads_of("find"))
        store.hold("find")
        peers = [Peer() for _ in range(50)]
        for peer in peers:
            service.attach(watch(peer, what))
        await until(lambda: store.waits("find"))
        store.let_go("find")
        await until(lambda: all("live" in types(peer) for peer in peers))
        assert len(store.reads_of("find")) == finds + 1
        assert len(service.hub.groups.rereads) == 0
        store.update("items", 1, n=5)
        store.insert("items", {"_id": 7, "team": "red"})
        await service.flow()
        for peer in (first, *peers):
            exact(peer, store, what)
            assert len(peer.moments()) == 1
        assert len({peer.moments()[0] for peer in (first, *peers)}) == 1


async def test_a_group_that_keeps_nothing_goes_with_its_last_subscriber() -> None:
    async with Service(bytes=1, linger_seconds=HOUR) as service:
        peer = await slim(service, query(RED))
        service.hub.drop(peer)
        assert (len(service.hub.router), service.hub.groups.holdings.documents) == (0, 0)


async def test_whoever_leaves_while_it_is_read_leaves_nothing_behind() -> None:
    async with Service(bytes=1) as service:
        store, what, late = service.store, query(RED), Peer()
        first = await slim(service, what)
        store.hold("find")
        service.attach(watch(late, what))
        await until(lambda: store.waits("find"))
        service.hub.drop(first)  # the group stays for the one who waits
        assert len(service.hub.router) == 1
        service.hub.drop(late)
        await until(lambda: store.cancelled)
        assert (len(service.hub.router), len(service.hub.groups.rereads), service.hub.roster.count) == (0, 0, 0)
        assert service.hub.router.collections() == ()


async def test_the_last_one_to_wait_becomes_live_when_everybody_else_has_left() -> None:
    async with Service(bytes=1) as service:
        store, what, late = service.store, query(RED), Peer()
        first = await slim(service, what)
        store.hold("find")
        service.attach(watch(late, what))
        await until(lambda: store.waits("find"))
        service.hub.drop(first)
        store.let_go("find")
        await until(lambda: "live" in types(late))
        store.insert("items", {"_id": 7, "team": "red"})
        await service.flow()
        exact(late, store, what)


async def test_a_resync_while_it_is_read_takes_those_who_wait_along() -> None:
    async with Service(bytes=1) as service:
        store, what, late = service.store, query(RED), Peer()
        first = await slim(service, what)
        store.hold("find")
        service.attach(watch(late, what))
        await until(lambda: store.waits("find"))
        finds = len(store.reads_of("find"))
        store.drop("items")
        store.insert("items", {"_id": 9, "team": "red"})
        await service.flow()
        store.let_go("find")
        await until(lambda: "live" in types(late) and types(first)[-1] == "live")
        assert len(store.reads_of("find")) == finds + 1  # the group's own serves all
        assert types(late) == ["subscribed", "snapshot", "live"]
        for peer in (first, late):
            exact(peer, store, what)
        assert len(service.hub.groups.rereads) == 0


async def test_a_read_that_fails_answers_those_who_wait_and_nobody_else() -> None:
    async with Service(bytes=1) as service:
        store, what, late = service.store, query(RED), Peer()
        first = await slim(service, what)
        store.faults["find"] = [UnavailableError("no primary")]
        service.attach(watch(late, what))
        await until(lambda: late.frames)
        assert View(late.frames).errors[0]["code"] == "unavailable"
        store.insert("items", {"_id": 9, "team": "red"})
        await service.flow()
        exact(first, store, what)
        assert len(service.hub.groups.rereads) == 0


async def test_a_group_that_ends_ends_those_who_wait_for_its_snapshot() -> None:
    async with Service(bytes=1, documents=3) as service:
        store, what, late = service.store, query(RED), Peer()
        first = await slim(service, what)
        store.hold("find")
        service.attach(watch(late, what))
        await until(lambda: store.waits("find"))
        store.insert("items", {"_id": 9, "team": "red"})
        await service.flow()
        assert types(first)[-1] == "unsubscribed"
        assert [error["code"] for error in View(late.frames).errors] == ["too_large"]
        assert (len(service.hub.router), len(service.hub.groups.rereads)) == (0, 0)


async def test_a_slow_consumer_is_made_good_by_a_read() -> None:
    async with Service(bytes=1) as service:
        store, what, peer = service.store, query(), Slow(service.hub)
        subscription = await service.subscribed(Subscription("s", peer, what))
        await write(service, 0, 2)
        assert not group_of(service, what).keeps
        peer.stopped = True
        await write(service, 10, 5)
        assert subscription.lapsed
        finds = len(store.reads_of("find"))
        peer.go_on()
        await until(lambda: subscription.live)
        assert len(store.reads_of("find")) == finds + 1
        await write(service, 20, 1)
        exact(peer, store, what)
        assert View(peer.frames)["s"].resyncs == ["slow_consumer"]


@pytest.mark.parametrize("first", [True, False])
async def test_resuming_where_nothing_is_kept_is_exact(first: bool) -> None:
    """From the reader's documents: what changed since, or the whole of it."""
    async with Service(bytes=1) as service:
        store, what, back = service.store, query(RED), Peer()
        await slim(service, what)
        after = service.hub.time if first else 1
        store.update("items", 1, n=5)
        store.delete("items", 3)
        await service.flow()
        service.attach(Subscription("s", back, what, after=after))
        await until(lambda: "live" in types(back))
        assert types(back) == ["subscribed", "changes" if first else "snapshot", "live"]
        store.update("items", 5, n=6)
        await service.flow()
        assert types(back)[-1] == "changes"
        assert len(service.hub.groups.rereads) == 0
        if not first:
            exact(back, store, what)


async def test_a_collection_that_can_no_longer_be_served_ends_whoever_asks_for_it_anew() -> None:
    async with Service(bytes=1) as service:
        late = Peer()
        await slim(service, query(RED))
        service.store.faults["describe"] = [UnsupportedCollectionError("items is a view now")]
        service.attach(watch(late, query(RED)))
        await until(lambda: late.frames)
        await rest()
        assert View(late.frames).errors[0]["code"] == "unsupported_collection"
        assert len(service.hub.router) == 1
