"""Reading back: who waits for which read, what a failed one says to whom, and the bounds that hold meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from realtime.core.live.events import Batch
from realtime.core.live.gathered import Past
from realtime.core.live.journal import Entry, Journal
from realtime.core.live.moments import settle
from realtime.errors import HistoryLostError, InternalError, UnavailableError
from realtime.hub.history import History
from tests.core.examples import insert
from tests.gated_oplog import GatedOplog
from tests.hub.fakes import rest

NOW, EVENT_BYTES = 100, 1000


class Written:
    """An oplog of one event at each time; the reads that were asked for, and what they raise."""

    def __init__(self, begins: int = 1) -> None:
        self.begins = begins
        self.first: int | None = None
        self.asked: list[int] = []
        self.faults: list[Exception] = []

    async def read(
        self, after: int, until: int, *, wanted: Callable[[], bool], newest_bytes: int | None = None
    ) -> Past:
        self.asked.append(after)
        if self.faults:
            raise self.faults.pop(0)
        if after < self.begins:
            raise HistoryLostError("gone")
        return Past(after, [event(time) for time in range(after + 1, until + 1) if wanted()])

    async def oldest(self) -> int | None:
        return self.begins

    async def initiated(self) -> int | None:
        return self.first


def event(time: int) -> Batch:
    return Batch((insert(time, {"_id": time}, size=EVENT_BYTES),), time)


def made(oplog: Written, *, max_bytes: int = 1 << 20) -> tuple[History, GatedOplog]:
    """A history of nothing yet, at `NOW`, whose reads wait."""
    gate = GatedOplog(oplog)
    return History(Journal(NOW, max_bytes=max_bytes, max_seconds=300), gate), gate


async def reached(history: History, time: int, *, within: float | None = None) -> list[int]:
    """The times that it is told of after this one."""
    async with history.reaching(time, within=within):
        return [entry.time for entry in history.journal.after(time) or ()]


async def test_what_comes_while_history_is_read_back_keeps_to_the_journals_bounds() -> None:
    oplog = Written()
    history, gate = made(oplog, max_bytes=5 * EVENT_BYTES)
    reading = asyncio.create_task(history.backfill(50))
    await rest()
    assert gate.reads == 1
    for time in range(NOW + 1, NOW + 101):
        history.append(Entry(settle(event(time))))
        assert history.journal.size <= 5 * EVENT_BYTES
    begins = history.journal.start
    assert NOW < begins < NOW + 100
    gate.open.set()
    await reading
    assert history.journal.start == begins, "what was read back is no longer next to what there is"
    assert await reached(history, 50) == list(range(51, NOW + 101))
    assert oplog.asked == [50, 50]


async def test_who_comes_while_history_is_read_back_needs_no_read_unless_it_is_further_back() -> None:
    oplog = Written()
    history, gate = made(oplog)
    reading = asyncio.create_task(history.backfill(50))
    await rest()
    within, before = (asyncio.create_task(reached(history, time)) for time in (70, 40))
    await rest()
    gate.open.set()
    assert await within == list(range(71, NOW + 1))
    assert await before == list(range(41, NOW + 1))
    await reading
    assert oplog.asked == [50, 40]


async def test_a_crowd_is_one_read_from_the_oldest_and_those_of_the_same_time_are_answered_alike() -> None:
    oplog = Written()
    history, gate = made(oplog)
    crowd = [asyncio.create_task(reached(history, time)) for time in range(60, 90) for _ in range(3)]
    await rest()
    gate.open.set()
    told = await asyncio.gather(*crowd)
    assert [one[0] for one in told] == [time + 1 for time in range(60, 90) for _ in range(3)]
    assert oplog.asked == [60]


async def test_where_the_oldests_history_is_gone_the_others_have_theirs() -> None:
    history, gate = made(Written(begins=20))
    gone, there = (asyncio.create_task(reached(history, time)) for time in (10, 30))
    await rest()
    gate.open.set()
    with pytest.raises(HistoryLostError):
        await gone
    assert await there == list(range(31, NOW + 1))


async def test_a_mongodb_that_does_not_answer_is_told_to_all_who_wait_and_the_next_may_try() -> None:
    oplog = Written()
    oplog.faults.append(UnavailableError("away"))
    history, gate = made(oplog)
    waiting = [asyncio.create_task(reached(history, time)) for time in (30, 40)]
    await rest()
    gate.open.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 2
    assert await reached(history, 30) == list(range(31, NOW + 1))


async def test_a_bug_in_a_read_is_told_to_all_who_wait() -> None:
    oplog = Written()
    oplog.faults.append(ZeroDivisionError("a bug"))
    history, gate = made(oplog)
    waiting = [asyncio.create_task(reached(history, time)) for time in (30, 40)]
    await rest()
    gate.open.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [InternalError] * 2
    assert await reached(history, 30) == list(range(31, NOW + 1))


async def test_who_waits_no_longer_than_so_long_leaves_the_read_to_the_others() -> None:
    oplog = Written()
    history, gate = made(oplog)
    patient = asyncio.create_task(reached(history, 40))
    with pytest.raises(TimeoutError):
        await reached(history, 30, within=0.01)
    gate.open.set()
    assert await patient == list(range(41, NOW + 1))
    assert len(oplog.asked) <= 2
    assert not history.journal._held


async def test_who_waits_where_another_gave_up_is_told_all_although_the_journal_moved_on() -> None:
    oplog = Written()
    history, gate = made(oplog, max_bytes=5 * EVENT_BYTES)
    with pytest.raises(TimeoutError):
        await reached(history, 30, within=0.01)
    assert not history._waiting
    for time in range(NOW + 1, NOW + 51):
        history.append(Entry(settle(event(time))))
    assert history.journal.start > NOW, "nobody waits, so nothing is kept for them"
    late = asyncio.create_task(reached(history, 30))
    await rest()
    gate.open.set()
    assert await late == list(range(31, NOW + 51))
    assert oplog.asked == [30, 30]
    assert history.journal.size <= 5 * EVENT_BYTES


async def test_many_whose_history_is_gone_keep_nobody_waiting_whose_is_there() -> None:
    oplog = Written(begins=80)
    history, gate = made(oplog)
    gone = [asyncio.create_task(reached(history, time)) for time in range(10, 74)]
    there = [asyncio.create_task(reached(history, time)) for time in (90, 85)]
    await rest()
    gate.open.set()
    outcomes = await asyncio.gather(*gone, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [HistoryLostError] * 64
    assert [len(await one) for one in there] == [10, 15]
    assert len(oplog.asked) <= 10


async def test_a_date_from_before_everything_is_the_beginning_and_a_position_is_not() -> None:
    oplog = Written(begins=20)
    oplog.first = 20
    history, gate = made(oplog)
    gate.open.set()
    assert [await history.since(time) for time in (0, 19, 20, 50, NOW, NOW + 1)] == [20, 20, 20, 50, NOW, NOW + 1]
    assert await reached(history, await history.since(0)) == list(range(21, NOW + 1))
    with pytest.raises(HistoryLostError):
        await reached(history, 19)
    oplog.first = None
    assert await history.since(0) == 0
    assert await History(Journal(NOW, max_bytes=1 << 20, max_seconds=300), None).since(0) == 0


async def test_what_nobody_wants_any_more_is_read_no_further() -> None:
    asked: list[bool] = []

    class Endless(Written):
        async def read(
            self, after: int, until: int, *, wanted: Callable[[], bool], newest_bytes: int | None = None
        ) -> Past:
            while wanted():
                await asyncio.sleep(0)
            asked.append(wanted())
            return Past(after, [])

    history = History(Journal(NOW, max_bytes=1 << 20, max_seconds=300), Endless())
    with pytest.raises(TimeoutError):
        await reached(history, 30, within=0.01)
    await rest()
    assert asked == [False]
    assert history._flight is None


async def test_closing_ends_the_read() -> None:
    history, gate = made(Written())
    reading = asyncio.create_task(history.backfill(50))
    await rest()
    assert gate.reads == 1
    await history.close()
    await asyncio.wait({reading}, timeout=1)
    assert reading.cancelled()
    assert history._flight is None
