"""Windows and throttled groups in the hub: read again when spares run out, told when they may be, always exact.

MongoDB and the sockets are the fakes of `fakes.py`; what a client sees is folded by `view.py`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from realtime.core.connection.outbox import Claim, Part
from realtime.core.live.events import format_position, parse_position
from realtime.core.live.query import Query
from realtime.core.live.window import SPARES
from realtime.errors import UnavailableError
from realtime.hub.roster import Subscription
from realtime.ports import VoidReadError
from tests.core.examples import EPOCH, query
from tests.hub.fakes import Peer, Service, Store, rest, until
from tests.hub.view import View, check_exact, expected

LIMIT = 3
HELD = LIMIT + SPARES
COUNT = 60


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as running:
        yield running


def top(**more: Any) -> Query:
    return query(**{"sort": [["n", -1]], "limit": LIMIT, **more})


def fill(store: Store, count: int = COUNT) -> None:
    """Documents 1 to `count`, whose `n` is their key."""
    for number in range(1, count + 1):
        store.insert("items", {"_id": number, "n": number})


def delete_top(store: Store, count: int) -> None:
    for name in list(expected(store, query(sort=[["n", -1]], limit=count), store.now)):
        store.delete("items", int(name))


def underflows() -> float:
    return REGISTRY.get_sample_value("realtime_window_underflows_total") or 0.0


def behind(peer: Peer) -> list[str]:
    return list(orjson.loads(peer.frames[-1]).get("behind", ()))


class Bell(Peer):
    """A connection that rings at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []
        self.rang = asyncio.Event()

    def send(self, frame: bytes, part: Part | Claim | None = None) -> None:
        super().send(frame, part)
        if frame.startswith(b'{"type":"changes"'):
            self.times.append(asyncio.get_running_loop().time())
            self.rang.set()

    async def ring(self) -> None:
        """The next moment, or the one that has come already."""
        async with asyncio.timeout(10):
            await self.rang.wait()
        self.rang.clear()


# ------------------------------------------------------------------------------------------------------------- windows


async def test_a_window_reads_its_documents_and_spares_and_no_more(service: Service) -> None:
    store, peer, what = service.store, Peer(), top()
    fill(store)
    await service.flow()
    await service.subscribed(Subscription("s", peer, what))
    held = View(peer.frames)["s"]
    assert list(held.documents) == ["60", "59", "58"]
    group = service.hub.router.find(what)
    assert group is not None
    assert len(group.documents) == HELD  # type: ignore[union-attr]  # reason: a query group, as asked


async def test_spares_move_up_without_a_read_until_they_have_run_out(service: Service) -> None:
    store, peer, what = service.store, Peer(), top()
    fill(store)
    await service.flow()
    await service.subscribed(Subscription("s", peer, what))
    before = underflows()
    for _ in range(SPARES):
        delete_top(store, 1)
        await service.flow()
    assert len(store.reads_of("find")) == 1
    delete_top(store, 1)
    await service.flow()
    assert len(store.reads_of("find")) == 2
    assert underflows() - before == 1
    held = View(peer.frames)["s"]
    check_exact(held, store, what)
    assert len(peer.moments()) == SPARES + 1
    assert held.documents == expected(store, what, store.now)
    assert held.resyncs == []


async def test_while_a_window_is_read_again_its_frames_wait_and_nobody_elses(service: Service) -> None:
    store, peer, other, what = service.store, Peer(), Peer(), top()
    fill(store)
    await service.flow()
    await service.subscribed(Subscription("s", peer, what))
    await service.subscribed(Subscription("o", other, query()))
    since = service.hub.time
    store.hold("find")
    delete_top(store, HELD)
    await service.flow()
    assert store.waits("find")
    for number in range(5):
        store.insert("items", {"_id": 100 + number, "n": 100 + number})
        await service.flow()
    delete_top(store, 1)
    await service.flow()
    assert peer.moments() == []
    assert len(other.moments()) == 7
    # P1 and P5: no position is handed out that the view is not at.
    service.hub.heartbeat([peer, other])
    assert (behind(peer), behind(other)) == (["s"], [])
    passed: list[int] = []
    service.hub.fence(peer, since + 1, lambda: passed.append(1))
    service.hub.fence(other, since + 1, lambda: passed.append(2))
    assert passed == [2]
    store.let_go("find")
    await until(lambda: passed == [2, 1])
    assert len(store.reads_of("find")) == 3
    held = View(peer.frames)["s"]
    assert len(peer.moments()) == 1
    check_exact(held, store, what)
    check_exact(View(other.frames)["o"], store, query())
    assert held.documents == expected(store, what, store.now)
    assert held.resyncs == []
    service.hub.heartbeat([peer])
    assert behind(peer) == []


async def test_who_joins_while_a_window_is_read_again_waits_for_it(service: Service) -> None:
    store, peer, late, what = service.store, Peer(), Peer(), top()
    fill(store)
    await service.flow()
    await service.subscribed(Subscription("s", peer, what))
    store.hold("find")
    delete_top(store, HELD)
    await service.flow()
    service.attach(Subscription("l", late, what))
    service.attach(Subscription("t", peer, what))
    await rest()
    assert late.frames == []
    store.let_go("find")
    await until(lambda: View(late.frames).subscriptions and View(late.frames)["l"].live)
    assert len(store.reads_of("find")) == 2
    store.insert("items", {"_id": 100, "n": 100})
    await service.flow()
    for one, name in ((late, "l"), (peer, "s"), (peer, "t")):
        check_exact(View(one.frames)[name], store, what)
        assert View(one.frames)[name].documents == expected(store, what, store.now)


LEADS = [0, 1, 3, 10**6]


@pytest.mark.parametrize("lead", LEADS)
async def test_a_window_is_exact_wherever_it_is_read_again(lead: int) -> None:
    """The reads of an underflow return at every stage of three batches that follow it."""
    what, caught_up = top(), 0
    for found, caught in itertools.combinations_with_replacement(range(7), 2):
        async with Service() as service:
            store, peer = service.store, Peer()
            fill(store)
            await service.flow()
            await service.subscribed(Subscription("s", peer, what))
            await service.subscribed(Subscription("all", Peer(), query()))
            store.lead = lead
            store.hold("find", "catch up")
            delete_top(store, HELD)
            await service.flow()
            for stage in range(7):
                if stage == found:
                    store.let_go("find")
                    await rest()
                if stage == caught:
                    store.let_go("catch up")
                    await rest()
                if stage % 2 == 0 and stage < 6:
                    delete_top(store, 1)
                    left = sorted(store.at("items", store.now))
                    store.update("items", int(left[stage]), n=200 + stage)
                    store.insert("items", {"_id": 300 + stage, "n": 30})
                    store.hold("images")
                    service.put()
                    await until(lambda: store.waits("images"))  # noqa: B023 - awaited in this turn
                elif stage < 6:
                    planned = service.hub.progress.planned
                    store.let_go("images")
                    await until(lambda: service.hub.time == planned)  # noqa: B023 - awaited in this turn
            await rest()
            caught_up += len(store.reads_of("catch up"))
            held = View(peer.frames)["s"]
            check_exact(held, store, what)
            assert held.documents == expected(store, what, store.now), (found, caught)
            assert (held.resyncs, held.time) == ([], service.hub.time)
    assert (caught_up > 0) is (lead < 10**6)


async def test_a_window_used_up_again_while_it_is_read_is_read_once_more(service: Service) -> None:
    store, peer, what = service.store, Peer(), top()
    fill(store, 100)
    await service.flow()
    await service.subscribed(Subscription("s", peer, what))
    before = underflows()
    store.lead = 0
    store.hold("catch up")
    store.hold("find")
    delete_top(store, HELD)
    await service.flow()
    delete_top(store, HELD)
    await service.flow()
    store.let_go("find", "catch up")
    await until(lambda: len(peer.moments()) == 1)
    assert underflows() - before == 2
    assert len(store.reads_of("find")) == 3
    held = View(peer.frames)["s"]
    check_exact(held, store, what)
    assert held.documents == expected(store, what, store.now)


@pytest.mark.parametrize("fault", [VoidReadError("gone"), UnavailableError("away")], ids=["void", "unavailable"])
async def test_a_window_whose_read_fails_is_read_until_it_works_and_keeps_its_view(
    service: Service, fault: Exception
) -> None:
    store, peer, what = service.store, Peer(), top()
    fill(store)
    await service.flow()
    await service.subscribed(Subscription("s", peer, what))
    store.faults["find"] = [fault]
    delete_top(store, HELD)
    await service.flow()
    async with asyncio.timeout(10):
        while not peer.moments():
            await asyncio.sleep(0.01)  # the hub itself waits before it tries again
    held = View(peer.frames)["s"]
    check_exact(held, store, what)
    assert held.documents == expected(store, what, store.now)
    assert held.resyncs == []


async def test_a_collection_replaced_while_its_window_is_read_again_is_a_resync(service: Service) -> None:
    store, peer, what = service.store, Peer(), top()
    fill(store)
    await service.flow()
    await service.subscribed(Subscription("s", peer, what))
    store.hold("find")
    delete_top(store, HELD)
    await service.flow()
    store.drop("items")
    await service.flow()
    store.let_go("find")
    await until(lambda: View(peer.frames)["s"].live)
    held = View(peer.frames)["s"]
    assert (held.resyncs, held.documents) == (["collection_replaced"], {})


async def test_a_document_that_cannot_be_sorted_ends_the_subscription(service: Service) -> None:
    store, peer = service.store, Peer()
    await service.subscribed(Subscription("s", peer, query(sort=[["a", 1], ["b", 1]])))
    await service.subscribed(Subscription("o", peer, query()))
    store.insert("items", {"_id": 1, "a": [1, 2], "b": [3]})
    await service.flow()
    view = View(peer.frames)
    assert view["s"].ended is not None
    assert (view["s"].ended["code"], peer.ended) == ("invalid_request", ["s"])
    assert set(view["o"].documents) == {"1"}


async def test_rows_are_counted_from_what_they_need_alone(service: Service) -> None:
    store, peer = service.store, Peer()
    fill(store, 9)
    await service.flow()
    await service.subscribed(Subscription("s", peer, query(group={"by": [], "count": True, "sum": ["n"]})))
    store.update("items", 9, other=1)
    store.update("items", 9, n=10)
    store.delete("items", 1)
    await service.flow()
    assert View(peer.frames)["s"].documents == {"{}": {"_id": {}, "count": 8, "sum": {"n": 45}}}
    assert [read.keys for read in store.reads_of("images")] == [[9]]


async def test_rows_of_more_documents_than_may_be_counted_end() -> None:
    async with Service(documents=5) as service:
        store, peer = service.store, Peer()
        await service.subscribed(Subscription("s", peer, query(group={"by": ["n"]})))
        fill(store, 6)
        await service.flow()
        ended = View(peer.frames)["s"].ended
        assert ended is not None
        assert ended["code"] == "too_large"


# ------------------------------------------------------------------------------------------------------------ throttle


async def test_a_throttled_query_is_told_at_once_and_then_after_its_time(service: Service) -> None:
    store, bell, what = service.store, Bell(), query(throttle=80)
    await service.subscribed(Subscription("s", bell, what))
    for number in range(5):
        store.insert("items", {"_id": number, "n": 0})
        await service.flow()
        store.update("items", number, n=1)
        await service.flow()
    await bell.ring()
    assert len(bell.moments()) == 1
    service.hub.heartbeat([bell])
    assert behind(bell) == ["s"]
    passed: list[bool] = []
    service.hub.fence(bell, service.hub.time, lambda: passed.append(True))
    assert passed == []
    await bell.ring()
    assert passed == [True]
    assert len(bell.moments()) == 2
    # The bell looks at its clock a moment after the pacer has.
    assert bell.times[1] - bell.times[0] >= 0.08 - 0.001
    held = View(bell.frames)["s"]
    check_exact(held, store, what)
    assert (len(held.documents), held.time) == (5, service.hub.time)
    service.hub.heartbeat([bell])
    assert behind(bell) == []


async def test_a_throttled_query_whose_changes_cancel_out_sends_nothing(service: Service) -> None:
    store, bell, other, what = service.store, Bell(), Bell(), query(throttle=40)
    await service.subscribed(Subscription("s", bell, what))
    await service.subscribed(Subscription("o", other, query({"n": {"$gte": 0}}, throttle=80)))
    store.insert("items", {"_id": 1, "n": 0})
    await service.flow()
    store.insert("items", {"_id": 2, "n": 0})
    store.delete("items", 2)
    store.update("items", 1, n=1)
    store.update("items", 1, n=0)
    await service.flow()
    await bell.ring()
    await other.ring()
    store.insert("items", {"_id": 3, "n": 0})
    await service.flow()
    await other.ring()  # the longer of the two: the shorter one's time has come before
    assert (len(bell.moments()), len(other.moments())) == (2, 2)
    check_exact(View(bell.frames)["s"], store, what)


async def test_who_joins_a_throttled_query_gets_the_view_that_the_others_have() -> None:
    for what in (query(throttle=60), top(throttle=60), query(group={"by": ["n"], "count": True}, throttle=60)):
        async with Service() as service:
            store, bell, late = service.store, Bell(), Bell()
            fill(store, 8)
            await service.flow()
            await service.subscribed(Subscription("s", bell, what))
            store.insert("items", {"_id": 50, "n": 50})
            await service.flow()
            store.insert("items", {"_id": 51, "n": 51})
            store.delete("items", 8)
            store.update("items", 7, n=70)
            await service.flow()
            await service.subscribed(Subscription("l", late, what))
            assert View(late.frames)["l"].documents == View(bell.frames)["s"].documents
            assert View(late.frames)["l"].time < service.hub.time
            await bell.ring()
            await late.ring()
            mine, theirs = View(late.frames)["l"], View(bell.frames)["s"]
            assert (mine.documents, mine.time) == (theirs.documents, theirs.time)
            assert mine.time == service.hub.time
            if what.grouping is None:
                check_exact(mine, store, what)
                check_exact(theirs, store, what)


async def test_a_throttled_window_that_runs_out_is_told_when_it_may_be(service: Service) -> None:
    store, bell, what = service.store, Bell(), top(throttle=60)
    fill(store)
    await service.flow()
    await service.subscribed(Subscription("s", bell, what))
    for _ in range(3):
        delete_top(store, HELD - 4)
        await service.flow()
        await rest()
    await bell.ring()
    while View(bell.frames)["s"].time < service.hub.time:
        await bell.ring()
    held = View(bell.frames)["s"]
    check_exact(held, store, what)
    assert held.documents == expected(store, what, store.now)
    assert all(later - sooner >= 0.06 for sooner, later in itertools.pairwise(bell.times))


async def test_a_throttled_query_that_nobody_asks_any_more_has_no_timer(service: Service) -> None:
    store, bell = service.store, Bell()
    await service.subscribed(Subscription("s", bell, query(throttle=60_000)))
    for number in range(2):
        store.insert("items", {"_id": number})
        await service.flow()
    pacer = service.hub.groups.pacer
    assert len(pacer._timers) == 1
    service.hub.detach(bell, "s")
    assert (pacer._timers, pacer._last) == ({}, {})


# -------------------------------------------------------------------------------------------------------------- resume


@pytest.mark.parametrize("what", [top(), query(group={"by": ["n"]})], ids=["window", "rows"])
async def test_a_window_is_not_recovered_but_read_afresh_from_memory(service: Service, what: Query) -> None:
    store, peer = service.store, Peer()
    fill(store)
    await service.flow()
    await service.subscribed(Subscription("s", Peer(), what))
    position = service.hub.time
    store.delete("items", COUNT)
    await service.flow()
    again = Subscription("r", peer, what, after=position)
    await service.subscribed(again)
    held = View(peer.frames)["r"]
    assert parse_position(format_position(EPOCH, held.time), EPOCH) == service.hub.time
    assert len(store.reads_of("find")) == 1
    if what.grouping is None:
        assert held.documents == expected(store, what, store.now)
