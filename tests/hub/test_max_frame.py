"""Who takes smaller frames, or not every entry, beside everybody else: theirs alone is cut, and theirs alone ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import orjson
import pytest

from realtime import metrics
from realtime.core.live.events import format_position
from realtime.core.live.query import Query
from realtime.hub.roster import Subscription
from tests.core.examples import EPOCH, query
from tests.hub.fakes import Peer, Service, until
from tests.hub.test_slow import Slow
from tests.hub.view import View, check_exact

Mode = Literal["query", "events"]
FRAME = 2000
NARROW, NARROWER, WIDE = 800, 600, 5000
FITS, FITS_THE_USUAL, FITS_THE_WIDE = 300, 1000, 3000
"""Letters of a document; the usual frame is `FRAME`."""


class Bounded(Peer):
    """A connection that says how large a frame it takes."""

    def __init__(self, most: int | None) -> None:
        super().__init__()
        self.max_frame = most


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service(frame_bytes=FRAME) as running:
        yield running


async def write(service: Service, *sizes: int, first: int = 0) -> None:
    """One transaction of documents of so many letters."""
    with service.store.transaction():
        for number, size in enumerate(sizes):
            service.store.insert("items", {"_id": first + number, "text": "x" * size})
    await service.flow()


async def joined(service: Service, most: int | None, what: Query, **more: Any) -> tuple[Bounded, Subscription]:
    peer = Bounded(most)
    return peer, await service.subscribed(Subscription("s", peer, what, **more))


def largest(peer: Peer) -> int:
    return max(map(len, peer.frames))


def farewell(peer: Peer) -> dict[str, Any]:
    last: dict[str, Any] = orjson.loads(peer.frames[-1])
    assert peer.ended == ["s"]
    return last


@pytest.mark.parametrize("mode", ["query", "events"])
async def test_everybody_else_is_handed_the_same_bytes_and_they_are_cut_once_for_each_bound(
    service: Service, mode: Mode
) -> None:
    what = query(mode=mode)
    usual = [(await joined(service, most, what))[0] for most in (None, None, FRAME, WIDE)]
    narrow = [(await joined(service, most, what))[0] for most in (NARROW, NARROW, NARROWER)]
    encoded = metrics.ENCODED._value.get()
    await write(service, *[FITS] * 10)
    shared = [peer.moments() for peer in usual]
    assert len(shared[0]) >= 2
    assert all(one is other for moments in shared[1:] for one, other in zip(moments, shared[0], strict=True))
    ours, theirs, least = (peer.moments() for peer in narrow)
    assert all(one is other for one, other in zip(ours, theirs, strict=True))
    assert max(map(len, ours)) <= NARROW
    assert max(map(len, least)) <= NARROWER
    assert metrics.ENCODED._value.get() - encoded == len(shared[0]) + len(ours) + len(least)
    for peer in (*usual, *narrow):
        held = View(peer.frames)["s"]
        assert len(held.documents if mode == "query" else held.events) == 10


@pytest.mark.parametrize("most", [None, NARROW, FRAME, WIDE])
async def test_a_snapshot_is_cut_and_exact(service: Service, most: int | None) -> None:
    await write(service, *[FITS] * 20)
    peer, _ = await joined(service, most, query())
    assert largest(peer) <= min(most or FRAME, FRAME)
    check_exact(View(peer.frames)["s"], service.store, query())


CASES = [(NARROW, FITS_THE_USUAL), (FRAME, FITS_THE_WIDE), (WIDE, 9000)]


@pytest.mark.parametrize(("most", "size"), CASES)
async def test_a_document_over_it_refuses_the_subscription_by_its_key(service: Service, most: int, size: int) -> None:
    await write(service, FITS, size, FITS)
    peer = Bounded(most)
    service.attach(Subscription("s", peer, query()))
    await until(lambda: peer.ended)
    told = farewell(peer)
    assert (told["type"], told["code"], told["details"]["key"]) == ("error", "too_large", 1)
    other, _ = await joined(service, None, query())
    check_exact(View(other.frames)["s"], service.store, query())


@pytest.mark.parametrize("mode", ["query", "events"])
@pytest.mark.parametrize(("most", "size"), CASES)
async def test_an_entry_over_it_ends_the_subscription_before_its_moment_and_nobody_elses(
    service: Service, mode: Mode, most: int, size: int
) -> None:
    what = query(mode=mode)
    (peer, _), (other, _) = await joined(service, most, what), await joined(service, None, what)
    await service.subscribed(Subscription("small", peer, query({"text": "small"}, mode=mode)))
    await write(service, FITS)
    before = service.hub.time
    await write(service, FITS, size, first=10)
    told = farewell(peer)
    assert (told["type"], told["code"], told["retry"]) == ("unsubscribed", "too_large", False)
    assert (told["details"]["key"], told["position"]) == (11, format_position(EPOCH, before))
    service.store.insert("items", {"_id": "after", "text": "small"})
    await service.flow()
    mine, theirs = View(peer.frames), View(other.frames)["s"]
    assert len(mine["s"].documents if mode == "query" else mine["s"].events) == 1
    assert len(mine["small"].documents if mode == "query" else mine["small"].events) == 1
    assert len(theirs.documents if mode == "query" else theirs.events) == 4


async def test_a_throttled_query_and_the_last_one_of_a_group_end_the_same_way(service: Service) -> None:
    for what in (query(throttle=1), query({"text": {"$exists": True}})):
        first = service.store.now
        peer, _ = await joined(service, NARROW, what)
        await write(service, FITS_THE_USUAL, first=first)
        await until(lambda peer=peer: peer.ended)  # type: ignore[misc]  # reason: its default binds it now
        assert farewell(peer)["details"]["key"] == first
        service.store.delete("items", first)
        await service.flow()


async def test_who_resumes_a_query_is_told_in_frames_that_it_takes(service: Service) -> None:
    await joined(service, None, query())
    after = service.hub.time
    await write(service, *[FITS] * 10)
    peer, _ = await joined(service, NARROW, query(), after=after)
    frames = [orjson.loads(frame) for frame in peer.frames]
    assert frames[0]["recovered"] is True
    assert largest(peer) <= NARROW
    assert [change["key"] for frame in frames for change in frame.get("changes", ())] == list(range(10))


async def test_a_replay_ends_before_an_event_over_it_and_says_nothing_later(service: Service) -> None:
    await joined(service, None, query(mode="events"))
    after = service.hub.time
    await write(service, FITS, FITS, FITS)
    told_to = service.hub.time
    await write(service, FITS_THE_USUAL, first=10)
    await write(service, FITS, first=20)
    peer = Waiting(service)
    service.attach(Subscription("s", peer, query(mode="events"), after=after))
    await until(lambda: len(peer.outbox._entries) > 1)
    await write(service, FITS, first=30)
    peer.go_on()
    frames = [orjson.loads(frame) for frame in peer.frames]
    assert [event["key"] for frame in frames for event in frame.get("events", ())] == [0, 1, 2]
    assert [frame["type"] for frame in frames if frame["type"] != "events"] == ["subscribed", "unsubscribed"]
    assert largest(peer) <= NARROW
    told = farewell(peer)
    assert (told["code"], told["details"]["key"], told["position"]) == (
        "too_large",
        10,
        format_position(EPOCH, told_to),
    )


class Waiting(Slow):
    """Takes narrow frames, and nothing until it is told to go on."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.hub)
        self.max_frame = NARROW
        self.stopped = True
        self.outbox.limit = 1 << 20


async def test_a_slow_consumers_replay_is_cut_and_ends_before_an_event_over_it(service: Service) -> None:
    peer = Waiting(service)
    peer.stopped = False
    await service.subscribed(Subscription("s", peer, query(mode="events")))
    await service.subscribed(Subscription("t", peer, query(mode="events")))
    peer.stopped = True
    peer.outbox.limit = 10
    await write(service, FITS)
    await write(service, FITS, FITS, FITS, first=10)
    told_to = service.hub.time
    await write(service, FITS_THE_USUAL, first=20)
    await write(service, FITS, first=30)
    peer.go_on()
    view = View(peer.frames)
    assert [event["key"] for event in view["s"].events] == [0, 10, 11, 12]
    assert largest(peer) <= NARROW
    ends = [orjson.loads(frame) for frame in peer.frames[-2:]]
    assert {(one["id"], one["code"], one["details"]["key"]) for one in ends} == {
        ("s", "too_large", 20),
        ("t", "too_large", 20),
    }
    assert {one["position"] for one in ends} == {format_position(EPOCH, told_to)}


async def test_a_heartbeat_that_names_more_than_fits_is_left_out(service: Service) -> None:
    peer, _ = await joined(service, NARROW, query())
    for number in range(20):
        one = await service.subscribed(Subscription(f"{number:064}", peer, query({"n": number})))
        one.lapsed, one.live = True, False
    before = len(peer.frames)
    service.hub.heartbeat([peer])
    assert len(peer.frames) == before
    for one in service.hub.roster.of(peer):
        one.lapsed, one.live = False, True
    service.hub.heartbeat([peer])
    assert len(peer.frames) == before + 1
