"""A connection that takes too little: dropped whole, made good once it has taken the rest, and at nobody's cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Literal

import pytest

from realtime.core.connection.outbox import Claim, Outbox, Part
from realtime.core.live.events import parse_position
from realtime.core.live.query import Query
from realtime.hub import slow
from realtime.hub.hub import Hub
from realtime.hub.roster import Subscription
from tests.core.examples import EPOCH, query
from tests.hub.fakes import Peer, Service, until
from tests.hub.view import View, check_exact

LIMIT = 300


class Slow(Peer):
    """A connection whose transport takes nothing while `stopped`."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self.hub = hub
        self.stopped = False
        self.closed: list[tuple[int, str]] = []
        self.outbox = Outbox(LIMIT, lambda channel: hub.slow.lapsed(self, channel))

    def send(self, frame: bytes, part: Part | Claim | None = None) -> None:
        waits = bool(self.outbox)
        self.outbox.put(frame, part)
        if not waits:  # else whoever drains comes to it
            self.drain()

    def send_run(self, frames: Iterator[bytes]) -> None:
        self.outbox.put_run(frames)
        self.drain()

    def drain(self) -> None:
        while not self.stopped and not self.closed:
            frame = self.outbox.pull()
            if frame is not None:
                super().send(frame)
                continue
            lapsed: Mapping[int, int] = self.outbox.take_lapsed()
            if not lapsed:
                return
            self.hub.slow.drained(self, lapsed)

    def go_on(self) -> None:
        self.stopped = False
        self.drain()

    def lapse(self, channel: int, after: int) -> None:
        self.outbox.lapse(channel, after)

    def withholds(self, channel: int) -> bool:
        return self.outbox.withholds(channel)

    def forget(self, channel: int) -> int | None:
        return self.outbox.forget(channel)

    def close(self, code: int, reason: str) -> None:
        self.outbox.clear()
        self.closed.append((code, reason))


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as running:
        yield running


async def write(service: Service, first: int, count: int) -> None:
    """`count` batches of one document of 100 bytes."""
    for number in range(first, first + count):
        service.store.insert("items", {"_id": number, "text": "x" * 100})
        await service.flow()


async def lapsing(service: Service, what: Query) -> tuple[Slow, Subscription]:
    """A live subscription whose connection lapsed after some moments."""
    peer = Slow(service.hub)
    subscription = await service.subscribed(Subscription("s", peer, what))
    await write(service, 0, 2)
    peer.stopped = True
    await write(service, 10, 5)
    assert subscription.lapsed
    assert peer.outbox.size == 0
    return peer, subscription


async def test_a_query_gets_one_resync_from_memory_and_is_exact_again(service: Service) -> None:
    what = query()
    peer, subscription = await lapsing(service, what)
    reads = len(service.store.reads)
    peer.go_on()
    assert subscription.live
    await write(service, 20, 2)
    held = View(peer.frames)["s"]
    assert held.resyncs == ["slow_consumer"]
    assert len(held.documents) == 9
    check_exact(held, service.store, what)
    assert len(service.store.reads) == reads


async def test_events_go_on_from_the_journal_each_once_and_in_order(service: Service) -> None:
    peer, subscription = await lapsing(service, query(mode="events"))
    peer.go_on()
    assert subscription.live
    await write(service, 20, 2)
    held = View(peer.frames)["s"]
    assert [event["key"] for event in held.events] == [0, 1, 10, 11, 12, 13, 14, 20, 21]
    assert not held.resyncs


async def test_two_subscriptions_of_one_channel_are_both_made_good_and_hear_it_once(service: Service) -> None:
    for mode in ("query", "events"):
        peer = Slow(service.hub)
        both = [Subscription(name, peer, query(mode=mode)) for name in ("a", "b")]
        for one in both:
            await service.subscribed(one)
        peer.stopped = True
        await write(service, 100 if mode == "query" else 200, 5)
        assert all(one.lapsed for one in both)
        peer.go_on()
        assert all(one.live for one in both)
        await write(service, 300 if mode == "query" else 400, 1)
        view = View(peer.frames)
        assert view["a"].documents == view["b"].documents
        assert view["a"].events == view["b"].events
        assert (len(view["a"].events) == 6) is (mode == "events")
        service.hub.drop(peer)


@pytest.mark.parametrize("beside", [False, True], ids=["again", "beside"])
@pytest.mark.parametrize("mode", ["query", "events"])
async def test_who_subscribes_while_the_channel_has_lapsed_misses_nothing(
    service: Service, mode: Literal["query", "events"], *, beside: bool
) -> None:
    """It was `live`, what happened until the connection had drained was dropped, and nobody told it."""
    what = query(mode=mode)
    await service.subscribed(Subscription("s", Peer(), what))  # so that the group stays, with its channel
    peer, _ = await lapsing(service, what)
    if not beside:
        service.hub.detach(peer, "s")
    late = Subscription("t", peer, what)
    service.hub.attach(late)
    await until(lambda: late.live or late.lapsed)
    since = service.hub.time
    await write(service, 20, 1)
    service.hub.heartbeat([peer])
    passed: list[str] = []
    service.hub.fence(peer, service.hub.time, lambda: passed.append("yes"))
    assert (passed, late.live) == (["yes"], True) if not beside else ([], False)
    peer.go_on()
    assert late.live
    await write(service, 30, 1)
    assert passed == ["yes"]
    frames = [json.loads(frame) for frame in peer.frames]
    assert [one.get("behind") for one in frames if one["type"] == "heartbeat"] == [["s", "t"] if beside else None]
    held = View(peer.frames)["t"]
    if mode == "query":
        check_exact(held, service.store, what)
        assert held.resyncs == ["slow_consumer"] * beside
        assert len(held.documents) == 9
    else:
        assert [event["key"] for event in held.events if parse_position(event["position"], EPOCH) > since] == [20, 30]


async def test_no_heartbeat_says_that_it_is_where_what_was_dropped_would_have_brought_it(service: Service) -> None:
    peer = Slow(service.hub)
    await service.subscribed(Subscription("s", peer, query()))
    await write(service, 0, 1)
    told = View(peer.frames)["s"].time
    peer.stopped = True
    service.hub.heartbeat([peer])
    await write(service, 10, 1)
    service.hub.heartbeat([peer])
    await write(service, 20, 5)
    peer.go_on()
    frames = [json.loads(frame) for frame in peer.frames]
    assert [parse_position(one["position"], EPOCH) for one in frames if one["type"] == "heartbeat"] == [told]
    assert View(peer.frames)["s"].resyncs == ["slow_consumer"]


async def test_what_waits_to_be_told_of_is_asked_again_where_it_is_dropped(service: Service) -> None:
    peer, passed = Slow(service.hub), list[str]()

    def ask() -> None:
        service.hub.fence(peer, service.hub.time, answer)

    def answer() -> None:
        passed.append("yes")
        peer.send(b'{"type":"pong","id":"p"}', Claim(ask))

    await service.subscribed(Subscription("s", peer, query()))
    peer.stopped = True
    await write(service, 10, 1)
    ask()
    assert passed == ["yes"]
    await write(service, 20, 5)
    assert passed == ["yes"], "nobody is there as long as it lapsed"
    peer.go_on()
    await write(service, 30, 1)
    kinds = [json.loads(frame)["type"] for frame in peer.frames]
    assert passed == ["yes", "yes"]
    assert kinds.count("pong") == 1
    assert kinds.index("pong") > kinds.index("resync")


async def test_its_neighbours_hear_everything_at_once(service: Service) -> None:
    other = Peer()
    await service.subscribed(Subscription("o", other, query()))
    await lapsing(service, query())
    held = View(other.frames)["o"]
    assert len(held.documents) == 7
    assert not held.resyncs


async def test_while_it_lapsed_no_heartbeat_holds_for_it_and_a_fence_waits(service: Service) -> None:
    peer, _ = await lapsing(service, query())
    passed: list[bool] = []
    service.hub.fence(peer, service.hub.time, lambda: passed.append(True))
    service.hub.heartbeat([peer])
    peer.go_on()
    beat = next(one for one in View(peer.frames).heartbeats)
    assert beat["behind"] == ["s"]
    assert not passed
    await write(service, 20, 1)
    assert passed


async def test_a_group_read_again_meanwhile_says_so_once(service: Service) -> None:
    peer, subscription = await lapsing(service, query())
    service.store.insert("items", {"_id": "lost"})
    await service.flow(lost=True)
    await until(lambda: subscription.live)
    await write(service, 20, 1)  # was dropped, and nobody told it
    peer.go_on()
    held = View(peer.frames)["s"]
    assert held.resyncs == ["history_lost"]
    assert held.live
    assert len(held.documents) == 9


async def test_a_window_that_is_read_again_meanwhile_waits_for_the_connection(service: Service) -> None:
    for number in range(100, 160):
        service.store.insert("items", {"_id": number, "text": "x" * 100})
    await service.flow()
    what = query(sort=[["_id", -1]], limit=2)
    peer = Slow(service.hub)
    subscription = await service.subscribed(Subscription("s", peer, what))
    peer.stopped = True
    for number in range(200, 205):
        service.store.insert("items", {"_id": number, "text": "x" * 100})
        await service.flow()
    assert subscription.lapsed
    reads = len(service.store.reads_of("find"))
    for number in [*range(120, 160), *range(200, 205)]:
        service.store.delete("items", number)
    await service.flow()
    await until(lambda: len(service.store.reads_of("find")) > reads and subscription.group and subscription.group.live)
    assert subscription.lapsed, "it is told once, when it has taken the rest"
    peer.go_on()
    held = View(peer.frames)["s"]
    assert held.resyncs == ["slow_consumer"]
    assert sorted(held.documents) == ["118", "119"]


async def test_a_second_resync_waits_and_a_third_until_a_minute_has_passed_and_none_closes(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow, "LEAST_SECONDS", 0.2)
    monkeypatch.setattr(slow, "MINUTE", 1.0)
    peer, subscription = await lapsing(service, query())
    loop = asyncio.get_running_loop()
    began = loop.time()
    peer.go_on()
    for round_, least in ((1, 0.2), (2, 1.0), (3, 1.2)):
        peer.stopped = True
        await write(service, 100 * round_, 5)
        peer.go_on()
        assert subscription.lapsed, "the last was a moment ago"
        async with asyncio.timeout(20):
            while subscription.lapsed:
                await asyncio.sleep(0.01)
        assert loop.time() - began >= least
    assert peer.closed == []
    held = View(peer.frames)["s"]
    assert held.resyncs == ["slow_consumer"] * 4
    assert len(held.documents) == 22
    check_exact(held, service.store, query())


async def test_one_that_left_meanwhile_is_left_alone(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "LEAST_SECONDS", 0.05)
    peer, _ = await lapsing(service, query())
    peer.go_on()
    peer.stopped = True
    await write(service, 100, 5)
    peer.go_on()
    service.hub.detach(peer, "s")
    await asyncio.sleep(0.1)  # nothing is to happen
    assert View(peer.frames)["s"].resyncs == ["slow_consumer"]


def ended(peer: Slow) -> dict[str, Any]:
    """How its one subscription ended: the connection did not, and nothing of it follows."""
    assert peer.closed == []
    last: dict[str, Any] = json.loads(peer.frames[-1])
    assert (last["type"], last["code"], last["retry"]) == ("unsubscribed", "unavailable", True)
    return last


async def test_events_that_the_journal_no_longer_has_end_where_they_can_be_resumed(service: Service) -> None:
    service.hub.history.journal.max_bytes = 1
    peer, _ = await lapsing(service, query(mode="events"))
    told = View(peer.frames)["s"].events[-1]["position"]
    peer.go_on()
    assert ended(peer)["position"] == told
    assert peer.ended == ["s"]


async def test_a_replay_that_outlives_the_journal_ends_in_the_middle_and_nothing_follows(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow, "AT_ONCE", 1)
    peer, _ = await lapsing(service, query(mode="events"))
    pulled = peer.outbox.pull

    def one_by_one() -> bytes | None:
        frame = pulled()
        peer.stopped = frame is not None
        return frame

    monkeypatch.setattr(peer.outbox, "pull", one_by_one)
    for _ in range(3):
        peer.go_on()
    service.hub.history.journal.max_bytes = 1
    service.hub.history.journal.trim(0.0)
    await write(service, 20, 2)  # it waits behind the replay
    for _ in range(9):
        peer.go_on()
    events = View(peer.frames)["s"].events
    assert [event["key"] for event in events] == [0, 1, 10, 11, 12]
    assert ended(peer)["position"] == events[-1]["position"]
