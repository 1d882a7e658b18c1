"""The hub: a snapshot and a stream without gap or repeat, encoded once, and nothing lost without a word.

MongoDB and the sockets are the fakes of `fakes.py`; what a client sees is folded by `view.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from realtime.core.live.query import Query, QueryGroup
from realtime.hub.roster import Subscription
from tests.core.examples import query
from tests.hub.fakes import START, Peer, Service, Store, rest, until
from tests.hub.view import View, check_exact, expected

RED = {"team": "red"}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as running:
        yield running


def counter(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


def watch(peer: Peer, what: Query, name: str = "s") -> Subscription:
    return Subscription(name, peer, what)


def teams(store: Store, count: int = 5) -> None:
    """Documents 1 to `count`, the odd ones red, the others blue."""
    for number in range(1, count + 1):
        store.insert("items", {"_id": number, "team": "red" if number % 2 else "blue", "n": 0})


# ------------------------------------------------------------------------------- attaching at every point of the pipe

LEADS = [0, 1, 2, 10**6]
"""How far after the least time allowed the snapshot is: at it, in the middle of a later batch, ahead of everything."""
BATCHES = 3
STAGES = range(2 * BATCHES + 1)
"""Even: before a batch is planned; odd: it is planned and its images are being read."""
POINTS = [(a, f, c) for a, f, c in itertools.product(STAGES, repeat=3) if a <= f <= c]
"""Where it attaches, where its own find returns, and where its catch-up read may return."""


def three_batches(store: Store) -> Iterator[None]:
    """Enter, update and leave by update, insert and delete, in transactions too; each batch needs images."""
    teams(store)
    yield
    with store.transaction():
        store.update("items", 1, n=1)
        store.update("items", 2, team="red")
    store.update("items", 3, team="blue")
    yield
    store.update("items", 1, n=2)
    with store.transaction():
        store.delete("items", 5)
        store.insert("items", {"_id": 6, "team": "red", "n": 0})
    store.update("items", 4, team="red")
    yield
    store.update("items", 2, team="blue")
    store.update("items", 3, team="red")
    store.insert("items", {"_id": 7, "team": "red", "n": 0})
    store.update("items", 7, n=5)
    with store.transaction():
        store.update("items", 4, n=4)
        store.update("items", 1, n=3)
    store.delete("items", 4)
    yield


async def journey(
    what: Query, attach: int, found: int, caught: int, lead: int, *, kept: bool = True
) -> tuple[Peer, Store, Subscription]:
    """Three batches go through the pipe while a subscription comes in at the stages given.

    `kept` False: its group is live already, and has stopped keeping documents.
    """
    async with Service(bytes=1 << 20 if kept else 1) as service:
        store, peer = service.store, Peer()
        batches = [store.batch() for _ in three_batches(store)]
        first = batches.pop(0)
        service.stream.put(first)
        await until(lambda: service.hub.time == first.time)
        store.lead = 0
        await service.subscribed(watch(Peer(), query()))  # holds everything, so every batch has images to read
        if not kept:
            await service.subscribed(watch(Peer(), what))
            group = service.hub.router.find(what)
            assert isinstance(group, QueryGroup)
            assert not group.keeps
        subscription = watch(peer, what)
        store.lead = lead
        store.hold("find", "catch up", "images")
        for stage in STAGES:
            if stage == attach:
                service.attach(subscription)
                await rest()
            if stage == found:
                store.let_go("find")
                await rest()
            if stage == caught:
                store.let_go("catch up")
                await rest()
            if stage % 2 == 0 and batches:
                service.stream.put(batches.pop(0))
                await until(lambda: store.waits("images"))
            elif stage % 2 == 1:
                planned = service.hub.progress.planned
                store.let_go("images")
                await until(lambda: service.hub.time == planned)  # noqa: B023 - awaited in this turn
                store.hold("images")
        await until(lambda: subscription.live)
        assert service.hub.time == store.now
        return peer, store, subscription


@pytest.mark.parametrize("lead", LEADS)
async def test_snapshot_and_stream_have_no_gap_and_no_repeat_wherever_a_subscription_comes_in(lead: int) -> None:
    """The view equals `find` at every position it is told of, and at the end."""
    what = query(RED)
    caught_up = 0
    for point in POINTS:
        peer, store, _ = await journey(what, *point, lead)
        caught_up += len(store.reads_of("catch up"))
        held = View(peer.frames)["s"]
        assert held.live, point
        check_exact(held, store, what)
        assert held.documents == expected(store, what, store.now), point
        assert held.resyncs == []
    # Not an empty test. At the least time allowed there are keys to catch up wherever a batch that was planned after
    # the attachment is dispatched before the find is taken in: 21 + 10 + 10 + 3 + 3 points for a = 0 … 4.
    # Ahead of everything there are never any.
    assert caught_up == {0: 47, 10**6: 0}.get(lead, caught_up)
    assert (caught_up > 0) is (lead < 10**6)


@pytest.mark.parametrize("lead", LEADS)
async def test_the_same_holds_where_the_group_keeps_no_documents_and_is_read_again(lead: int) -> None:
    what = query(RED)
    later = 0
    for point in POINTS:
        peer, store, subscription = await journey(what, *point, lead, kept=False)
        later += len(store.reads_of("find")) - 2
        held = View(peer.frames)["s"]
        assert held.live, point
        check_exact(held, store, what)
        assert held.documents == expected(store, what, store.now), point
        group = subscription.group
        assert isinstance(group, QueryGroup)
        assert not group.keeps
    assert later == len(POINTS)


async def test_the_same_holds_under_a_projection() -> None:
    what = query(RED, {"n": 1})
    for point in POINTS[::5]:
        peer, store, _ = await journey(what, *point, 1)
        check_exact(View(peer.frames)["s"], store, what)


async def test_a_subscription_that_joins_a_live_group_is_exact_from_its_first_frame() -> None:
    """The group that holds everything is live: the snapshot comes from memory, wherever the pipe stands."""
    what = query()
    for stage in STAGES:
        peer, store, _ = await journey(what, stage, stage, stage, 0)
        held = View(peer.frames)["s"]
        check_exact(held, store, what)
        assert held.documents == expected(store, what, store.now)
        assert len(store.reads_of("find")) == 1


async def test_an_events_subscription_gets_every_event_after_its_position_once_wherever_it_comes_in() -> None:
    what = query(mode="events", operations={"insert", "delete", "update"})
    for stage in STAGES:
        peer, store, _ = await journey(what, stage, stage, stage, 0)
        held = View(peer.frames)["s"]
        since = held.history[0][0]
        told = [(event["op"], event["key"]) for event in held.events]
        events = [event for batch in _batches_of(three_batches) for event in batch if event[2] > since]
        assert told == [(op, key) for op, key, _ in events], stage
        for event in held.events:
            if "as_of" in event:
                time = int(event["as_of"].split("-")[1], 16)
                assert event["document"] == store.at("items", time)[str(event["key"])]


def _batches_of(script: Any) -> list[list[tuple[str, Any, int]]]:
    store = Store()
    return [[(event.op, event.key, event.time) for event in store.batch().events] for _ in script(store)]


async def test_a_large_snapshot_is_taken_in_slices_while_batches_go_on(service: Service) -> None:
    """More documents than are put in at once: the loop goes on in between, and what is dispatched is not lost."""
    store, peer, what = service.store, Peer(), query(RED)
    for number in range(900):
        store.insert("items", {"_id": number, "team": "red", "n": 0})
    await service.flow()
    store.lead = 0
    store.hold("find")
    service.attach(watch(peer, what))
    await until(lambda: store.waits("find"))
    store.update("items", 3, n=1)
    store.delete("items", 4)
    store.let_go("find")
    await service.flow()
    await until(lambda: b'"live"' in b"".join(peer.frames))
    held = View(peer.frames)["s"]
    check_exact(held, store, what)
    assert len(held.documents) == 899


# ------------------------------------------------------------------------------------------------------ shared frames


async def test_two_subscriptions_of_one_query_on_one_connection_get_each_frame_once(service: Service) -> None:
    store, peer, what = service.store, Peer(), query(RED)
    teams(store)
    await service.flow()
    await service.subscribed(watch(peer, what, "one"))
    await service.subscribed(watch(peer, what, "two"))
    store.update("items", 1, n=1)
    await service.flow()
    assert len(peer.moments()) == 1
    view = View(peer.frames)
    for name in ("one", "two"):
        check_exact(view[name], store, what)
        assert view[name].documents == expected(store, what, store.now)


async def test_two_subscriptions_of_one_query_never_disturb_each_other(service: Service) -> None:
    store, peer, what = service.store, Peer(), query(RED)
    await service.subscribed(watch(peer, what, "one"))
    await service.subscribed(watch(peer, what, "two"))
    service.hub.detach(peer, "one")
    store.insert("items", {"_id": 1, "team": "red"})
    await service.flow()
    assert len(peer.moments()) == 1
    service.hub.detach(peer, "two")
    store.insert("items", {"_id": 2, "team": "red"})
    await service.flow()
    assert len(peer.moments()) == 1
    assert len(service.hub.router) == 0


async def test_200_connections_get_the_very_same_bytes_encoded_once(service: Service) -> None:
    store, what = service.store, query(RED)
    peers = [Peer() for _ in range(200)]
    for peer in peers:
        service.attach(watch(peer, what))
    await until(lambda: all(b'"live"' in b"".join(peer.frames) for peer in peers))
    before = counter("realtime_frames_encoded_total"), counter("realtime_changes_delivered_total")
    teams(store)
    await service.flow()
    sent = [peer.moments() for peer in peers]
    assert all(len(frames) == 1 for frames in sent)
    assert len({id(frames[0]) for frames in sent}) == 1
    assert counter("realtime_frames_encoded_total") - before[0] == 1
    assert counter("realtime_changes_delivered_total") - before[1] == 200 * 3
    assert len(store.reads_of("find")) == 1


async def test_a_moment_over_the_frame_bound_is_split_and_applied_as_one() -> None:
    async with Service(frame_bytes=100) as service:
        store, peer, what = service.store, Peer(), query()
        await service.subscribed(watch(peer, what))
        with store.transaction():
            teams(store, 9)
        await service.flow()
        assert len(peer.moments()) > 1
        held = View(peer.frames)["s"]
        check_exact(held, store, what)
        assert len(held.documents) == 9
        late = Peer()
        await service.subscribed(watch(late, what))
        assert View(late.frames)["s"].documents == held.documents
        assert sum(frame.startswith(b'{"type":"snapshot"') for frame in late.frames) > 1


async def test_a_change_that_concerns_nobody_sends_nothing(service: Service) -> None:
    store, peer = service.store, Peer()
    await service.subscribed(watch(peer, query(RED)))
    before = len(peer.frames)
    store.insert("items", {"_id": 1, "team": "blue"})
    store.insert("others", {"_id": 1, "team": "red"})
    await service.flow()
    assert len(peer.frames) == before


# ----------------------------------------------------------------------------------------------------- image reads


async def test_images_are_one_read_per_collection_and_batch_for_all_groups(service: Service) -> None:
    store = service.store
    teams(store)
    store.insert("others", {"_id": 1, "team": "red", "n": 0})
    await service.flow()
    for what in (query(RED), query({"n": 0}), query({"team": "blue"}), query(collections="others")):
        await service.subscribed(watch(Peer(), what))
    store.update("items", 1, n=1)
    store.update("items", 1, n=2)
    store.update("items", 2, n=1)
    store.update("others", 1, n=1)
    await service.flow()
    images = {read.collection: sorted(read.keys) for read in store.reads_of("images")}
    assert images == {"items": [1, 2], "others": [1]}
    assert len(store.reads_of("images")) == 2
    assert {read.time for read in store.reads_of("images")} == {store.now}


async def test_an_update_that_touches_no_path_of_the_filter_of_a_document_not_held_reads_nothing(
    service: Service,
) -> None:
    store, peer, what = service.store, Peer(), query(RED)
    teams(store)
    await service.flow()
    await service.subscribed(watch(peer, what))
    store.update("items", 2, n=1)
    await service.flow()
    assert store.reads_of("images") == []
    store.update("items", 2, team="red")
    await service.flow()
    assert [read.keys for read in store.reads_of("images")] == [[2]]
    held = View(peer.frames)["s"]
    check_exact(held, store, what)
    assert set(held.documents) == {"1", "2", "3", "5"}


async def test_inserts_replaces_and_deletes_need_no_read(service: Service) -> None:
    store, peer, what = service.store, Peer(), query(RED)
    await service.subscribed(watch(peer, what))
    teams(store)
    store.replace("items", {"_id": 1, "team": "blue"})
    store.delete("items", 3)
    await service.flow()
    assert store.reads_of("images") == []
    assert set(View(peer.frames)["s"].documents) == {"5"}


async def test_an_update_then_a_delete_needs_no_read(service: Service) -> None:
    store, peer = service.store, Peer()
    teams(store)
    await service.flow()
    await service.subscribed(watch(peer, query(RED)))
    store.update("items", 1, n=1)
    store.delete("items", 1)
    await service.flow()
    assert store.reads_of("images") == []
    assert set(View(peer.frames)["s"].documents) == {"3", "5"}


async def test_a_collection_that_nobody_asked_for_is_not_read(service: Service) -> None:
    store = service.store
    teams(store)
    await service.subscribed(watch(Peer(), query(collections="others")))
    store.update("items", 1, n=1)
    await service.flow()
    assert store.reads_of("images") == []


async def test_an_events_subscription_needs_the_documents_of_all_updates_of_its_collection(service: Service) -> None:
    store, peer = service.store, Peer()
    teams(store)
    await service.flow()
    await service.subscribed(watch(peer, query(RED, mode="events")))
    store.update("items", 1, n=1)
    store.update("items", 2, n=1)
    await service.flow()
    assert [sorted(read.keys) for read in store.reads_of("images")] == [[1, 2]]
    assert [(event["key"], event["document"]["n"]) for event in View(peer.frames)["s"].events] == [(1, 1)]


# ---------------------------------------------------------------------------------------- positions and heartbeats


async def test_an_empty_batch_gives_a_newer_position_with_the_next_heartbeat(service: Service) -> None:
    peer = Peer()
    await service.subscribed(watch(peer, query(RED)))
    service.store.pass_time()
    await service.flow()
    service.hub.heartbeat([peer])
    beat = orjson.loads(peer.frames[-1])
    assert beat == {"type": "heartbeat", "position": service.hub.position}
    assert service.hub.time == START + 1


async def test_who_joins_a_live_group_is_told_the_newest_position_though_nothing_concerned_the_group(
    service: Service,
) -> None:
    peer, what = Peer(), query(RED)
    await service.subscribed(watch(Peer(), what))
    service.store.insert("others", {"_id": 1})
    await service.flow()
    await service.subscribed(watch(peer, what))
    assert orjson.loads(peer.frames[-1]) == {"type": "live", "id": "s", "position": service.hub.position}


async def test_a_heartbeat_names_the_subscriptions_that_are_ahead_of_it(service: Service) -> None:
    """A snapshot may be newer than what has been dispatched: the heartbeat's position does not hold for it."""
    peer, other = Peer(), Peer()
    await service.subscribed(watch(peer, query(), "old"))
    teams(service.store)
    await service.subscribed(watch(peer, query(RED), "new"))
    service.hub.heartbeat([peer, other])
    assert orjson.loads(peer.frames[-1])["behind"] == ["new"]
    assert "behind" not in orjson.loads(other.frames[-1])
    await service.flow()
    service.hub.heartbeat([peer])
    assert "behind" not in orjson.loads(peer.frames[-1])


async def test_a_syncing_subscription_is_not_named_for_no_position_holds_for_it(service: Service) -> None:
    peer = Peer()
    service.store.hold("find")
    service.attach(watch(peer, query()))
    await rest()
    service.hub.heartbeat([peer])
    assert [orjson.loads(frame) for frame in peer.frames] == [{"type": "heartbeat", "position": service.hub.position}]


# ---------------------------------------------------------------------------------------------------------- fences


async def test_a_fence_that_is_passed_already_is_done_at_once(service: Service) -> None:
    peer, done = Peer(), list[int]()
    service.hub.fence(peer, 10**9, lambda: done.append(0))
    assert done == [0]
    await service.subscribed(watch(peer, query()))
    service.hub.fence(peer, START, lambda: done.append(1))
    assert done == [0, 1]


async def test_a_fence_is_done_once_every_live_subscription_is_there(service: Service) -> None:
    peer, done = Peer(), list[str]()
    await service.subscribed(watch(peer, query()))
    teams(service.store)
    service.hub.fence(peer, service.store.now, lambda: done.append("fence"))
    await rest()
    assert done == []
    await service.flow()
    assert done == ["fence"]
    assert b'"changes"' in peer.frames[-1]


async def test_a_fence_is_done_when_a_write_that_concerns_nobody_is_dispatched(service: Service) -> None:
    peer, done = Peer(), list[str]()
    await service.subscribed(watch(peer, query(RED)))
    service.store.insert("others", {"_id": 1})
    service.hub.fence(peer, service.store.now, lambda: done.append("fence"))
    await service.flow()
    assert done == ["fence"]


async def test_a_fence_counts_a_subscription_ahead_of_the_feed_at_its_own_time(service: Service) -> None:
    peer, done = Peer(), list[str]()
    teams(service.store)
    await service.subscribed(watch(peer, query(RED)))
    service.hub.fence(peer, service.store.now, lambda: done.append("fence"))
    assert done == ["fence"]


async def test_a_fence_that_is_given_up_or_whose_connection_is_gone_is_never_done(service: Service) -> None:
    peer, other, done = Peer(), Peer(), list[str]()
    for one in (peer, other):
        await service.subscribed(watch(one, query()))
    teams(service.store)
    give_up = service.hub.fence(peer, service.store.now, lambda: done.append("given up"))
    service.hub.fence(other, service.store.now, lambda: done.append("gone"))
    give_up()
    give_up()
    service.hub.drop(other)
    await service.flow()
    assert done == []
