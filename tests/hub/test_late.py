"""Groups that ask for expressions are judged after everybody else, in slices, and are exact whenever they are told.

A slice of no time judges one document. MongoDB and the sockets are those of `fakes.py`; what a client sees is folded
by `view.py`, strictly. Sabotage: `make sabotage`, rows "late".
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from realtime.core.live.query import Query
from realtime.hub import late
from tests.chance import fresh_seed
from tests.core.examples import query
from tests.hub.fakes import Peer, Service, Store, rest, until
from tests.hub.scenes import counter, types, watch
from tests.hub.view import View, check_exact, expected

EVEN = {"$expr": {"$eq": [{"$mod": ["$n", 2]}, 0]}}
FOUND = {"$jsonSchema": {"properties": {"n": {"minimum": 5}}}}
DOUBLE = {"n": 1, "twice": {"$multiply": ["$n", 2]}}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service(linger_seconds=0.0) as running:
        yield running


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock says after each document that the slice is over."""
    monkeypatch.setattr(late, "SLICE_SECONDS", 0.0)


def fill(store: Store, count: int) -> None:
    for number in range(1, count + 1):
        store.insert("items", {"_id": number, "n": number})


def behind(service: Service, peer: Peer) -> list[str]:
    """Which of its subscriptions a heartbeat says are not at the position of all."""
    peer_frames = len(peer.frames)
    service.hub.heartbeat([peer])
    found = orjson.loads(peer.frames[peer_frames])
    return list(found.get("behind", ()))


async def test_everybody_else_is_told_first_and_then_it_is(service: Service) -> None:
    fill(service.store, 3)
    await service.flow()
    told: list[str] = []

    class Noting(Peer):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def send(self, frame: bytes, part: Any = None) -> None:
            super().send(frame, part)
            if frame.startswith((b'{"type":"changes"', b'{"type":"events"')):
                told.append(self.name)

    computing, plain, events = Noting("computing"), Noting("plain"), Noting("events")
    await service.subscribed(watch(computing, query(EVEN)))
    await service.subscribed(watch(plain, query()))
    await service.subscribed(watch(events, query(mode="events")))
    service.store.insert("items", {"_id": 4, "n": 4})
    await service.flow()
    assert told == ["plain", "events", "computing"]


async def test_what_is_not_judged_in_time_is_behind_and_then_exact(service: Service, one_at_a_time: None) -> None:
    fill(service.store, 3)
    await service.flow()
    computing, plain = Peer(), Peer()
    await service.subscribed(watch(computing, query(EVEN)))
    await service.subscribed(watch(plain, query()))
    for number in range(4, 9):
        service.store.insert("items", {"_id": number, "n": number})
    batch = service.put()
    await until(lambda: service.hub.time == batch.time)
    assert len(plain.moments()) == 1
    assert computing.moments() == []
    assert (behind(service, computing), behind(service, plain)) == (["s"], [])
    passed: list[str] = []
    service.hub.fence(computing, batch.time, lambda: passed.append("yes"))
    assert passed == []
    await until(lambda: passed)
    assert len(computing.moments()) == 1, "one moment, however many slices it took"
    held = View(computing.frames)["s"]
    check_exact(held, service.store, query(EVEN))
    assert sorted(held.documents) == ["2", "4", "6", "8"]
    assert behind(service, computing) == []


async def test_where_nothing_comes_of_it_its_position_is_that_of_all(service: Service, one_at_a_time: None) -> None:
    fill(service.store, 1)
    await service.flow()
    peer, passed = Peer(), list[str]()
    await service.subscribed(watch(peer, query(EVEN)))
    for number in (3, 5, 7, 9):
        service.store.insert("items", {"_id": number, "n": number})
    batch = service.put()
    await until(lambda: service.hub.time == batch.time)
    service.hub.fence(peer, batch.time, lambda: passed.append("yes"))
    assert (passed, behind(service, peer)) == ([], ["s"])
    await until(lambda: passed)
    assert peer.moments() == []
    assert behind(service, peer) == []


async def test_a_throttled_one_whose_time_comes_in_the_middle_waits_for_the_end(
    service: Service, one_at_a_time: None
) -> None:
    fill(service.store, 1)
    await service.flow()
    peer, what = Peer(), query(EVEN, throttle=1)
    subscription = await service.subscribed(watch(peer, what))
    group: Any = subscription.group
    for number in (2, 4, 6):
        service.store.insert("items", {"_id": number, "n": number})
    batch = service.put()
    await until(lambda: service.hub.time == batch.time)
    assert (group.result.pending, len(group.late)) == (True, 2)
    assert service.hub.groups.teller.tell(group) == ()
    assert peer.moments() == []
    await until(lambda: len(View(peer.frames)["s"].documents) == 3)
    check_exact(View(peer.frames)["s"], service.store, what)


async def test_of_a_document_that_changes_meanwhile_the_last_state_is_judged(
    service: Service, one_at_a_time: None
) -> None:
    fill(service.store, 1)
    await service.flow()
    peer, what = Peer(), query(EVEN)
    await service.subscribed(watch(peer, what))
    for number in range(2, 9):
        service.store.insert("items", {"_id": number, "n": number})
    first = service.put()
    # None of them is held yet: that they are touched again has to be found all the same.
    service.store.delete("items", 8)
    service.store.update("items", 6, n=7)
    service.store.update("items", 5, n=10)
    second = service.put()
    await until(lambda: service.hub.time == second.time)
    await rest()
    assert first.time < second.time
    held = View(peer.frames)["s"]
    check_exact(held, service.store, what)
    assert sorted(held.documents) == ["2", "4", "5"]


async def test_it_has_to_read_what_it_has_not_judged(service: Service, one_at_a_time: None) -> None:
    """An update of a path that it does not read concerns it where the document may be about to enter."""
    peer, what = Peer(), query(EVEN)
    fill(service.store, 1)
    await service.flow()
    await service.subscribed(watch(peer, what))
    for number in (2, 4, 6):
        service.store.insert("items", {"_id": number, "n": number})
    service.put()
    service.store.update("items", 6, other="x")
    await service.flow()
    assert View(peer.frames)["s"].documents["6"] == {"_id": 6, "n": 6, "other": "x"}
    check_exact(View(peer.frames)["s"], service.store, what)


async def test_a_document_without_a_value_ends_its_own_query_alone(service: Service, one_at_a_time: None) -> None:
    fill(service.store, 2)
    await service.flow()
    failing, fine = Peer(), Peer()
    await service.subscribed(watch(failing, query({"$expr": {"$gt": [{"$toInt": "$s"}, 0]}})))
    await service.subscribed(watch(fine, query(EVEN)))
    service.store.insert("items", {"_id": 4, "n": 4})
    service.store.insert("items", {"_id": 3, "n": 4, "s": "no number"})
    batch, passed = service.put(), list[str]()
    await until(lambda: service.hub.time == batch.time)
    service.hub.fence(failing, batch.time, lambda: passed.append("yes"))
    assert passed == []
    await until(lambda: passed)
    await rest()
    ended = View(failing.frames)["s"].ended
    assert ended is not None
    assert ended["code"] == "invalid_document"
    assert View(fine.frames)["s"].live
    assert sorted(View(fine.frames)["s"].documents) == ["2", "3", "4"]


async def test_an_exception_of_ours_is_its_own_alone(service: Service, one_at_a_time: None) -> None:
    fill(service.store, 2)
    await service.flow()
    failing, fine = Peer(), Peer()
    subscription = await service.subscribed(watch(failing, query(EVEN)))
    await service.subscribed(watch(fine, query(FOUND)))
    group: Any = subscription.group
    group.late["7"] = (None, object())  # as nothing of ours would ever leave it
    service.hub.groups.teller.late.add(group)
    service.store.insert("items", {"_id": 9, "n": 10})
    await service.flow()
    await until(lambda: View(failing.frames)["s"].live and View(failing.frames)["s"].documents)
    assert View(failing.frames)["s"].resyncs == ["internal"]
    assert sorted(View(failing.frames)["s"].documents) == ["2", "9"]
    assert sorted(View(fine.frames)["s"].documents) == ["9"]


async def test_with_too_much_to_judge_it_is_read_again(
    service: Service, one_at_a_time: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "MOST", 10)
    peer, what, before = Peer(), query(EVEN), counter("realtime_window_underflows_total")
    fill(service.store, 1)
    await service.flow()
    await service.subscribed(watch(peer, what))
    with service.store.transaction():
        for number in range(2, 40):
            service.store.insert("items", {"_id": number, "n": number})
    await service.flow()
    assert counter("realtime_window_underflows_total") == before + 1
    await until(lambda: len(View(peer.frames)["s"].documents) == 19)
    assert View(peer.frames)["s"].resyncs == [], "they keep their view until it is read"
    check_exact(View(peer.frames)["s"], service.store, what)


async def test_who_has_left_is_judged_no_more(service: Service, one_at_a_time: None) -> None:
    fill(service.store, 1)
    await service.flow()
    peer = Peer()
    subscription = await service.subscribed(watch(peer, query(EVEN)))
    group: Any = subscription.group
    for number in range(2, 20):
        service.store.insert("items", {"_id": number, "n": number})
    batch = service.put()
    await until(lambda: service.hub.time == batch.time)
    assert len(group.late) > 1
    service.hub.detach(peer, "s")
    waited = len(group.late)
    await rest()
    assert len(group.late) == waited
    assert peer.moments() == []
    assert counter("realtime_late_groups") == 0


def questions() -> list[Query]:
    group = {"by": ["team"], "count": True, "sum": ["n"]}
    return [
        query(EVEN),
        query(FOUND),
        query({}, DOUBLE),
        query(EVEN, DOUBLE, sort=[["n", -1]], limit=3),
        query(EVEN, sort=[["n", 1], ["team", -1]]),
        query(EVEN, sort=[["team", 1]], limit=4, throttle=1),
        query(EVEN, throttle=1),
        query({"team": "red", **EVEN}),
        query(EVEN, group=group),
        query({"team": "red"}),
        query(sort=[["n", -1]], limit=3),
    ]


def act(chance: random.Random, store: Store) -> None:
    there = [document["_id"] for document in store.at("items", store.now).values()]
    what = chance.random()
    if len(there) < 3 or (what < 0.35 and len(there) < 50):
        key = chance.choice([key for key in range(60) if key not in there])
        store.insert("items", {"_id": key, "n": chance.randrange(12), "team": chance.choice(["red", "blue"])})
    elif what < 0.7:
        fields: dict[str, Any] = chance.choice(
            [{"n": chance.randrange(12)}, {"team": chance.choice(["red", "blue"])}, {"other": what}]
        )
        store.update("items", chance.choice(there), **fields)
    elif what < 0.8:
        store.replace("items", {"_id": chance.choice(there), "n": chance.randrange(12), "team": "red"})
    elif what < 0.99:
        store.delete("items", chance.choice(there))
    else:
        store.drop("items")


@pytest.mark.parametrize("share", range(6))
async def test_they_are_exact_at_every_position_whatever_happens(one_at_a_time: None, share: int) -> None:
    """Random writes, in batches that come while the one before is judged; people come and go in the middle."""
    seed = fresh_seed() + share
    chance, figures = random.Random(seed), Counter[str]()
    async with Service(linger_seconds=0.0) as service:
        store, asked = service.store, questions()
        fill(store, 20)
        await service.flow()
        peers: list[tuple[Peer, Query]] = [(Peer(), what) for what in asked]
        for peer, what in peers:
            service.attach(watch(peer, what))
        await rest()
        for _ in range(60):
            for _ in range(chance.randrange(1, 12)):
                act(chance, store)
            batch = service.put()
            await until(lambda: service.hub.time == batch.time)  # noqa: B023 - awaited in this turn
            figures["behind"] += sum(len(behind(service, peer)) for peer, _ in peers)
            if chance.random() < 0.3:
                peers.append((Peer(), chance.choice(asked)))
                service.attach(watch(*peers[-1]))
            if chance.random() < 0.2:
                leaving, _ = chance.choice(peers)
                if types(leaving)[-1:] != ["unsubscribed"]:
                    service.hub.detach(leaving, "s")
            if chance.random() < 0.2:
                await rest()
        for _ in range(40):
            await rest()
        await until(lambda: not any(behind(service, peer) for peer, _ in peers))
        for peer, what in peers:
            held = View(peer.frames).subscriptions.get("s")
            if held is None or not held.history or what.grouping is not None:
                figures["not compared"] += 1
                continue
            check_exact(held, store, what)
            figures["positions"] += len(held.history)
            if service.hub.roster.find(peer, "s") is not None and held.live:
                assert held.documents == expected(store, what, store.now), f"seed {seed}"
                figures["at the end"] += 1
    assert figures["behind"] >= 100, f"seed {seed}: {figures}"
    assert figures["positions"] >= 80, f"seed {seed}: {figures}"
    assert figures["at the end"] >= 5, f"seed {seed}: {figures}"
