"""Queries that time moves: documents leave at the second, before anybody is told of a position in it.

MongoDB and the sockets are those of `fakes.py`, whose `find` knows no `$$NOW`: each view is compared with what the
filter finds that has the second of its position as a literal. Sabotage: `make sabotage`, rows "moving".
"""

from __future__ import annotations

import datetime as dt
import random
import sys
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import orjson
import pytest

from realtime.core.live.events import parse_position
from realtime.core.live.query import Query
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.projection import compile_projection
from realtime.core.mql.vision import Share, Vision
from realtime.hub import late, passing
from realtime.hub.passing import Passing
from realtime.hub.roster import Subscription
from tests.chance import fresh_seed
from tests.core.examples import EPOCH, live_group, query
from tests.hub.fakes import Peer, Service, Store, rest, until
from tests.hub.scenes import counter, types, watch
from tests.hub.test_late import behind
from tests.hub.view import View, check_exact, expected

BEGIN = 1_800_000_000
"""The second in which these tests begin."""


def within(seconds: float, path: str = "at") -> dict[str, Any]:
    """The condition that a date is of the last so many seconds."""
    return {"$expr": {"$gte": [f"${path}", {"$subtract": ["$$NOW", int(seconds * 1000)]}]}}


MINUTE = within(60)


def date(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(BEGIN + seconds, dt.UTC)


def come(store: Store, seconds: int) -> None:
    """MongoDB's time is this second, or goes on a little in it."""
    store.now = max(store.now + 1, (BEGIN + seconds) << 32)


async def begun(service: Service) -> None:
    """In the second in which these tests begin; a read may be of any time that has been."""
    service.store.lead = 1 << 62
    await to(service, 0)


async def to(service: Service, seconds: int) -> None:
    """An empty batch in this second, whole."""
    come(service.store, seconds)
    await service.flow()


def fill(store: Store, count: int = 10, **more: Any) -> None:
    """Documents 1 to `count`, of which each leaves `MINUTE` a second after the one before, the first at 61."""
    for number in range(1, count + 1):
        store.insert("items", {"_id": number, "n": number, "at": date(number - 1), **more})


def view(peer: Peer, store: Store, what: Query, name: str = "s") -> list[int]:
    """The keys that a client holds, exact at every position that it was told of."""
    held = View(peer.frames)[name]
    check_exact(held, store, what)
    return [int(key) for key in held.documents]


def heard(service: Service, peer: Peer, what: Query) -> list[int]:
    """The same at the position of a heartbeat now, which is that of all."""
    assert behind(service, peer) == []
    held = View(peer.frames)["s"]
    time = parse_position(View(peer.frames).heartbeats[-1]["position"], EPOCH)
    assert held.documents == expected(service.store, what, time)
    return view(peer, service.store, what)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service(linger_seconds=60.0) as running:
        await begun(running)
        yield running


async def watched(service: Service, what: Query) -> Peer:
    peer = Peer()
    await service.subscribed(watch(peer, what))
    return peer


async def test_a_view_without_writes_empties_second_by_second(service: Service) -> None:
    fill(service.store, 3)
    await service.flow()
    what = query(MINUTE)
    peer = await watched(service, what)
    seen = []
    for second in (59, 60, 61, 62, 63, 64):
        await to(service, second)
        seen.append(heard(service, peer, what))
    assert seen == [[1, 2, 3], [1, 2, 3], [2, 3], [3], [], []]
    assert len(peer.moments()) == 3
    assert len(service.store.reads_of("find")) == 1, "MongoDB was asked nothing for it"


async def test_what_is_strict_leaves_a_second_before(service: Service) -> None:
    fill(service.store, 2)
    await service.flow()
    what = query({"$expr": {"$lt": [{"$dateSubtract": {"startDate": "$$NOW", "unit": "minute", "amount": 1}}, "$at"]}})
    peer = await watched(service, what)
    await to(service, 59)
    assert heard(service, peer, what) == [1, 2]
    await to(service, 60)
    assert heard(service, peer, what) == [2]


async def test_leaves_and_changes_of_one_batch_are_one_moment(service: Service) -> None:
    fill(service.store, 3)
    await service.flow()
    what = query(MINUTE)
    peer = await watched(service, what)
    come(service.store, 62)
    service.store.insert("items", {"_id": 9, "at": date(50)})
    service.store.update("items", 2, at=date(60))
    service.store.update("items", 3, at=date(1))
    service.store.insert("items", {"_id": 8, "at": date(1)})
    await service.flow()
    assert heard(service, peer, what) == [2, 9]
    (moment,) = peer.moments()
    told = [(one["op"], one["key"]) for one in orjson.loads(moment)["changes"]]
    assert told == [("leave", 3), ("leave", 1), ("enter", 9), ("update", 2)] or sorted(told) == sorted(
        [("leave", 3), ("leave", 1), ("enter", 9), ("update", 2)]
    )


async def test_who_has_nothing_that_leaves_is_not_looked_at(service: Service) -> None:
    fill(service.store, 3)
    await service.flow()
    peer, other = await watched(service, query(MINUTE)), Peer()
    subscription = await service.subscribed(watch(other, query({"n": 1, **MINUTE})))
    group: Any = subscription.group
    await to(service, 30)
    await to(service, 60)
    assert (group.time >> 32, service.hub.time >> 32) == (BEGIN, BEGIN + 60)
    await to(service, 62)
    assert group.time >> 32 == BEGIN + 62, "the first document was its own"
    await to(service, 63)
    assert group.time >> 32 == BEGIN + 62
    assert (view(peer, service.store, query(MINUTE)), types(other)[-1]) == ([], "changes")


async def test_a_window_that_time_empties_is_filled_again(service: Service) -> None:
    fill(service.store, 100)
    await service.flow()
    what = query(MINUTE, sort=[["n", 1]], limit=3)
    peer = await watched(service, what)
    before = counter("realtime_window_underflows_total")
    for second in (61, 70, 81, 85, 110, 140):
        await to(service, second)
        await until(lambda: service.hub.roster.of(peer)[0].group.reached(service.hub.time) == service.hub.time)  # type: ignore[union-attr]
        assert heard(service, peer, what) == [second - 59, second - 58, second - 57]
    assert counter("realtime_window_underflows_total") > before
    await to(service, 158)
    await rest()
    assert heard(service, peer, what) == [99, 100]


async def test_rows_count_what_is_left_and_go_at_nothing(service: Service) -> None:
    fill(service.store, 4, team="red")
    await service.flow()
    what = query(MINUTE, group={"by": ["team"], "count": True, "min": ["n"], "sum": ["n"]})
    peer = await watched(service, what)
    rows = []
    for second in (60, 62, 63, 64):
        await to(service, second)
        assert behind(service, peer) == []
        rows.append(
            [(one["count"], one["min"]["n"], one["sum"]["n"]) for one in View(peer.frames)["s"].documents.values()]
        )
    assert rows == [[(4, 1, 10)], [(2, 3, 7)], [(1, 4, 4)], []]


async def test_a_throttled_one_is_behind_until_it_may_be_told(service: Service) -> None:
    fill(service.store, 3)
    await service.flow()
    what = query(MINUTE, throttle=30)
    peer = await watched(service, what)
    await to(service, 61)
    await to(service, 62)
    assert view(peer, service.store, what) == [2, 3], "the first at once, the second later"
    assert behind(service, peer) == ["s"]
    passed: list[int] = []
    service.hub.fence(peer, service.hub.time, lambda: passed.append(1))
    assert passed == []
    while not passed:
        await rest()
    assert heard(service, peer, what) == [3]


async def test_one_that_computes_is_judged_at_the_second_that_it_is_told_of(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "SLICE_SECONDS", 0.0)
    fill(service.store, 6)
    await service.flow()
    what = query({"$and": [MINUTE, {"$expr": {"$eq": [{"$mod": ["$n", 2]}, 0]}}]})
    peer = await watched(service, what)
    assert view(peer, service.store, what) == [2, 4, 6]
    come(service.store, 61)
    for number in range(10, 20):
        service.store.insert("items", {"_id": number, "n": number, "at": date(number - 8)})
    batch = service.put()
    await until(lambda: service.hub.time == batch.time)
    assert behind(service, peer) == ["s"], "only some have been judged"
    come(service.store, 64)  # by now the first of those that wait have left
    service.put()
    await until(lambda: service.hub.time == service.store.now)
    await until(lambda: behind(service, peer) == [])
    assert heard(service, peer, what) == [6, 12, 14, 16, 18]
    await to(service, 66)
    await until(lambda: behind(service, peer) == [])
    assert heard(service, peer, what) == [14, 16, 18]


async def test_what_has_left_before_it_was_judged_was_never_there(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "SLICE_SECONDS", 0.0)
    what = query({"$and": [MINUTE, {"$expr": {"$eq": [{"$mod": ["$n", 2]}, 0]}}]})
    peer = await watched(service, what)
    come(service.store, 61)
    for number in range(10, 20):
        service.store.insert("items", {"_id": number, "n": number, "at": date(number - 8)})
    service.put()
    come(service.store, 64)
    batch = service.put()
    await until(lambda: service.hub.time == batch.time)
    assert behind(service, peer) == ["s"], "nobody of it was due, and some have not been judged"
    await until(lambda: behind(service, peer) == [])
    assert heard(service, peer, what) == [12, 14, 16, 18]


@pytest.mark.parametrize("second", [0, 61, 62])
async def test_what_left_between_plan_and_read_is_not_shown(service: Service, second: int) -> None:
    fill(service.store, 3)
    await service.flow()
    come(service.store, second)  # MongoDB is there, and the hub is not
    what = query(MINUTE)
    peer = await watched(service, what)
    assert service.hub.time >> 32 == BEGIN
    assert view(peer, service.store, what) == [1, 2, 3][max(0, second - 60) :]
    await service.flow()
    assert heard(service, peer, what) == [1, 2, 3][max(0, second - 60) :]


async def test_a_window_of_what_has_left_meanwhile_is_read_with_more_room(service: Service) -> None:
    fill(service.store, 300)
    await service.flow()
    come(service.store, 60 + 150)
    what = query(MINUTE, sort=[["n", 1]], limit=3)
    peer = Peer()
    subscription = watch(peer, what)
    service.attach(subscription)
    await rest()
    assert not subscription.live, "all that it read had left"
    await service.flow()
    await until(lambda: subscription.live)
    assert heard(service, peer, what) == [151, 152, 153]
    assert [read.time >> 32 for read in service.store.reads_of("find")] == [BEGIN, BEGIN + 210]


async def test_a_window_that_is_always_late_gets_more_room_each_time(service: Service) -> None:
    fill(service.store, 300)
    await service.flow()
    what = query(MINUTE, sort=[["n", 1]], limit=3)
    peer = Peer()
    subscription = watch(peer, what)
    service.store.hold("find")
    service.attach(subscription)
    for ahead in (40, 80, 120, 160):  # each read finds itself 40 seconds later than it was planned for
        await until(lambda: service.store.waits("find") or subscription.live)
        if subscription.live:
            break
        come(service.store, 60 + ahead)
        service.store.let_go("find")
        service.store.hold("find")
        await rest()
        come(service.store, 60 + ahead)
        service.put()
        await rest()
    service.store.let_go("find")
    await until(lambda: subscription.live)
    assert len(service.store.reads_of("find")) == 2, "the first had room for 23, the second for twice that"
    assert view(peer, service.store, what) == [81, 82, 83]


async def test_how_many_there_are_is_judged_after_what_has_left() -> None:
    async with Service(documents=3) as service:
        await begun(service)
        fill(service.store, 5)
        await service.flow()
        come(service.store, 62)
        what = query(MINUTE)
        peer = await watched(service, what)
        assert view(peer, service.store, what) == [3, 4, 5]
        refused = Peer()
        service.store.insert("others", {"_id": 1, "at": date(100)})
        for number in range(2, 6):
            service.store.insert("others", {"_id": number, "at": date(100)})
        service.attach(watch(refused, query(MINUTE, collections="others")))
        await until(lambda: refused.frames)
        assert orjson.loads(refused.frames[0])["details"] == {"count": 5, "limit": 3}


async def test_time_passes_while_it_is_read_and_caught_up(service: Service) -> None:
    fill(service.store, 5)
    await service.flow()
    what, peer = query(MINUTE), Peer()
    subscription = watch(peer, what)
    service.store.lead = 0
    service.store.hold("find", "catch up")
    service.attach(subscription)
    await until(lambda: service.store.waits("find"))
    service.store.update("items", 5, at=date(1))
    await to(service, 61)
    service.store.let_go("find")
    await until(lambda: service.store.waits("catch up"))
    await to(service, 63)
    service.store.let_go("catch up")
    await until(lambda: subscription.live)
    assert heard(service, peer, what) == [4]


async def test_it_goes_live_where_the_hub_is_although_nothing_was_touched(service: Service) -> None:
    fill(service.store, 40)
    await service.flow()
    what, peer = query(MINUTE, sort=[["n", 1]], limit=3), Peer()
    subscription = watch(peer, what)
    service.store.lead = 0
    service.store.hold("find")
    service.attach(subscription)
    await until(lambda: service.store.waits("find"))
    await to(service, 85)
    service.store.let_go("find")
    await until(lambda: subscription.live)
    assert heard(service, peer, what) == [26, 27, 28]


async def test_a_group_that_keeps_nothing_lets_go_and_is_read_again_exactly() -> None:
    async with Service(bytes=200) as service:
        await begun(service)
        fill(service.store, 12)
        await service.flow()
        what = query(MINUTE)
        peer = await watched(service, what)
        group: Any = service.hub.roster.of(peer)[0].group
        assert not group.keeps
        await to(service, 62)
        assert heard(service, peer, what) == list(range(3, 13))
        second = Peer()
        subscription = watch(second, what)
        service.store.hold("find")
        service.attach(subscription)
        await until(lambda: service.store.waits("find"))
        await to(service, 64)
        service.store.let_go("find")
        await until(lambda: subscription.live)
        await to(service, 65)
        assert heard(service, second, what) == list(range(6, 13)) == heard(service, peer, what)
        assert len(service.hub.groups.rereads) == 0


# ------------------------------------------------------------------------------------------------------------ resuming


async def back(service: Service, after: int, what: Query) -> tuple[str, list[Any]]:
    """Who comes back from there: what kind of answer it is, and the keys that it was told of."""
    peer = Peer()
    subscription = Subscription("s", peer, what, after)
    service.attach(subscription)
    await until(lambda: subscription.live)
    told = [orjson.loads(frame) for frame in peer.frames]
    kind = told[1]["type"]
    assert told[0]["recovered"] is (kind != "snapshot")
    changes = [(one["op"], one["key"]) for frame in told for one in frame.get("changes", ())]
    return kind, changes or [one["_id"] for frame in told for one in frame.get("documents", ())]


async def test_who_was_away_is_told_of_what_has_left(service: Service) -> None:
    fill(service.store, 6)
    await service.flow()
    what = query(MINUTE)
    await watched(service, what)
    start = service.hub.time
    await to(service, 61)
    first = service.hub.time
    service.store.update("items", 2, at=date(30))
    service.store.update("items", 3, n=0)
    await to(service, 63)
    assert await back(service, start, what) == ("changes", [("leave", 1), ("leave", 3), ("update", 2)])
    assert await back(service, first, what) == ("changes", [("leave", 3), ("update", 2)])
    assert await back(service, service.hub.time, what) == ("live", [])


async def test_before_what_the_group_knows_there_is_a_snapshot(service: Service) -> None:
    fill(service.store, 6)
    await service.flow()
    before = service.hub.time
    await to(service, 61)
    what = query(MINUTE)
    await watched(service, what)
    assert await back(service, before, what) == ("snapshot", [2, 3, 4, 5, 6])
    assert await back(service, service.hub.time, what) == ("live", [])


async def test_it_is_known_as_long_as_the_journal_reaches(service: Service) -> None:
    fill(service.store, 6)
    await service.flow()
    what = query(MINUTE)
    peer = await watched(service, what)
    group: Any = service.hub.roster.of(peer)[0].group
    await to(service, 62)
    assert list(group.departed(BEGIN << 32)) == ["1", "2"]
    service.hub.history.journal.begin((BEGIN + 61) << 32)
    await to(service, 63)
    assert (group.departed(BEGIN << 32), list(group.departed((BEGIN + 61) << 32))) == (None, ["2", "3"])


def ruled(rule: dict[str, Any]) -> Query:
    return Query.of(
        mode="query",
        collections=frozenset({"items"}),
        filter=compile_filter(MINUTE, moving=True),
        projection=compile_projection(None),
        operations=None,
        vision=Vision.of([Share(compile_filter(rule))]),
    )


async def test_under_a_rule_what_has_left_is_told_and_nobody_elses(service: Service) -> None:
    fill(service.store, 6, owner="me")
    for number in range(7, 10):
        service.store.insert("items", {"_id": number, "owner": "you", "at": date(number)})
    await service.flow()
    what = ruled({"owner": "me"})
    peer = Peer()
    await service.subscribed(Subscription("s", peer, what))
    first = service.hub.time
    service.store.update("items", 4, n=9)
    service.store.update("items", 7, n=9)
    service.store.update("items", 1, m=9)
    service.store.update("items", 3, at=date(2.2))
    service.store.insert("items", {"_id": 10, "owner": "me", "at": date(2.5)})
    await to(service, 62)
    await to(service, 63)
    assert view(peer, service.store, what) == [4, 5, 6]
    group: Any = service.hub.roster.of(peer)[0].group
    kind, told = await back(service, first, what)
    assert (kind, sorted(told)) == ("changes", [("leave", 1), ("leave", 2), ("leave", 3), ("leave", 10), ("update", 4)])
    group.leaves = None  # as where it was there before anybody under a rule
    kind, told = await back(service, first, what)
    assert (kind, sorted(told)) == ("changes", [("leave", 1), ("leave", 2), ("leave", 3), ("leave", 10), ("update", 4)])


# --------------------------------------------------------------------------------------------------------- one for all


def test_a_group_is_due_once_at_its_first_departure() -> None:
    hours = Passing()
    what = query(MINUTE)
    one = live_group({"_id": 1, "at": date(0)}, {"_id": 2, "at": date(5)}, query=what, at=BEGIN << 32)
    other = live_group({"_id": 1, "at": date(1)}, query=what, at=BEGIN << 32)
    never = live_group({"_id": 1}, at=BEGIN << 32)
    for group in (one, other, never, one):
        hours.note(group)
    assert len(hours) == 2
    assert list(hours.due((BEGIN + 60) << 32)) == []
    assert list(hours.due((BEGIN + 62) << 32)) == [one, other]
    one.advance((BEGIN + 62) << 32)
    other.advance((BEGIN + 62) << 32)
    hours.note(one)
    hours.note(other)
    assert (len(hours), list(hours.due((BEGIN + 66) << 32))) == (1, [one])
    hours.trim((BEGIN + 61) << 32)
    assert (one.departed(BEGIN << 32), one.departed((BEGIN + 61) << 32)) == (None, {})


def test_a_group_that_is_gone_is_forgotten_and_held_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "_FORGOTTEN", 3)
    hours, what = Passing(), query(MINUTE)
    groups = [live_group({"_id": 1, "at": date(number)}, query=what, at=BEGIN << 32) for number in range(6)]
    for group in groups:
        hours.note(group)
    sizes = []
    for group in groups[1:]:
        hours.forget(group)
        hours.forget(group)
        sizes.append((len(hours), sys.getrefcount(group)))
    assert [size for size, _ in sizes] == [6, 6, 6, 6, 1], "what stands for nothing any more goes where it is too much"
    assert len({count for _, count in sizes}) == 1
    assert sys.getrefcount(groups[0]) > sizes[0][1] - 1, "that one is held still"
    assert list(hours.due((BEGIN + 999) << 32)) == [groups[0]]


async def test_in_a_second_in_which_nobody_leaves_nothing_is_looked_at(service: Service, monkeypatch: Any) -> None:
    """So it costs the same however many documents there are."""
    fill(service.store, 5)
    await service.flow()
    peer = await watched(service, query(within(86_400)))
    group: Any = service.hub.roster.of(peer)[0].group
    looked: list[int] = []
    kind = type(group.departures)
    let_go = kind.let_go

    def noted(*given: Any) -> Any:
        looked.append(1)
        return let_go(*given)

    monkeypatch.setattr(kind, "let_go", noted)
    for second in range(1, 50):
        await to(service, second)
    assert looked == []
    await to(service, 86_500)
    assert looked


# -------------------------------------------------------------------------------------------------------------- random


def asked(chance: random.Random) -> Query:
    seconds = chance.choice((5, 20, 60))
    bound: Any = {"$subtract": ["$$NOW", seconds * 1000]}
    if chance.random() < 0.4:
        bound = {"$dateTrunc": {"date": bound, "unit": "second", "binSize": chance.choice((1, 7, 10))}}
    filter: dict[str, Any] = {"$expr": chance.choice(({"$gte": ["$at", bound]}, {"$lt": [bound, "$at"]}))}  # noqa: A001
    if chance.random() < 0.3:
        filter["n"] = {"$gte": 3}
    if chance.random() < 0.2:
        filter = {"$and": [filter, {"$expr": {"$eq": [{"$mod": ["$n", 2]}, 0]}}]}  # noqa: A001
    more: dict[str, Any] = {}
    kind = chance.random()
    if kind < 0.4:
        more = {"sort": [["n", chance.choice((1, -1))]], "limit": chance.choice((2, 4, None))}
    if chance.random() < 0.3:
        more["projection"] = {"n": 1}
    return query(filter, **more)


def at_the_end(service: Service, peer: Peer) -> bool:
    return service.hub.roster.of(peer)[0].live and behind(service, peer) == []


def step(store: Store, chance: random.Random, second: int) -> None:
    key = chance.randrange(40)
    there = store.at("items", store.now)
    at = chance.choice(
        (date(second - chance.randrange(30)), date(second + chance.randrange(20)), None, "x", [date(second)])
    )
    if str(key) not in there:
        store.insert("items", {"_id": key, "n": chance.randrange(9), "at": at})
    elif chance.random() < 0.3:
        store.delete("items", key)
    elif chance.random() < 0.5:
        store.update("items", key, n=chance.randrange(9))
    else:
        store.update("items", key, at=at)


async def test_views_are_exact_whatever_happens_and_however_time_goes() -> None:
    seed = fresh_seed()
    chance = random.Random(seed)
    compared = 0
    for _ in range(12):
        async with Service(linger_seconds=0.0) as service:
            await begun(service)
            second, watching = 0, list[tuple[Peer, Query]]()
            for _ in range(60):
                second += chance.choice((0, 0, 1, 1, 2, 9))
                come(service.store, second)
                for _ in range(chance.randrange(4)):
                    step(service.store, chance, second)
                if chance.random() < 0.2 and len(watching) < 6:
                    peer, what = Peer(), asked(chance)
                    service.attach(watch(peer, what))
                    watching.append((peer, what))
                if chance.random() < 0.8:
                    await service.flow()
                    await rest()
            await to(service, second + 1)
            for peer, what in watching:
                await until(partial(at_the_end, service, peer))
                held = View(peer.frames)["s"]
                assert held.documents == expected(service.store, what, service.hub.time), (seed, what.filter.source)
                check_exact(held, service.store, what)
                compared += len(held.history)
    assert compared > 300, seed
