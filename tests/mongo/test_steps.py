"""The thread of a feed's steps: one at a time, in order, and joined by who made it, or left where MongoDB is frozen."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from realtime.mongo import client as clients
from realtime.mongo.feed import ChangeFeed
from realtime.mongo.steps import Step, Steps
from tests.mongo.commands import SECONDS, Documents, now, until, watch_commands
from tests.mongo.reading import reading
from tests.replica_set import ReplicaSet

NAME = "realtime-feed"


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == NAME]


def keep_busy(while_true: Callable[[], bool]) -> None:
    """Let the loop come to nothing else."""
    ended = time.monotonic() + SECONDS
    while while_true() and time.monotonic() < ended:
        time.sleep(0.001)


async def test_steps_are_taken_one_at_a_time_in_order_and_in_one_thread_of_their_own() -> None:
    steps, taken = Steps(), list[tuple[int, int]]()

    def step(number: int) -> Callable[[], int]:
        def take() -> int:
            taken.append((number, threading.get_ident()))
            return number

        return take

    assert await asyncio.gather(*(steps.take(step(number)).outcome for number in range(50))) == list(range(50))
    assert await steps.close(SECONDS)
    assert [number for number, _ in taken] == list(range(50))
    (thread,) = {ident for _, ident in taken}
    assert thread != threading.get_ident()
    assert threads() == []


async def test_what_a_step_raises_is_raised_where_it_was_asked_for_and_the_next_is_taken() -> None:
    steps = Steps()

    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await steps.take(fails).outcome
    steps.take(fails)  # nobody waits for this one
    assert await steps.take(lambda: 7).outcome == 7
    assert await steps.close(SECONDS)


async def test_a_step_wakes_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, woken = asyncio.get_running_loop(), list[Any]()
    wake = loop.call_soon_threadsafe
    steps = Steps()

    def counted(*given: Any) -> Any:
        woken.append(given)
        return wake(*given)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    for number in range(20):
        assert await steps.take(lambda number=number: number).outcome == number  # type: ignore[misc]  # reason: its default binds it now
    assert len(woken) == 20
    assert await steps.close(SECONDS)


async def test_a_reply_that_waits_for_a_busy_loop_is_owed_by_nobody() -> None:
    steps, answer = Steps(), threading.Event()
    reply = steps.take(answer.wait).outcome
    assert steps.asked_at is not None
    answer.set()
    keep_busy(lambda: steps.asked_at is not None)
    assert not reply.done()
    assert steps.asked_at is None
    assert await reply
    assert await steps.close(SECONDS)


async def test_whoever_stops_waiting_leaves_the_step_to_end_by_itself() -> None:
    steps, answer = Steps(), threading.Event()
    waiting = asyncio.ensure_future(asyncio.wait_for(steps.take(answer.wait).outcome, SECONDS))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    answer.set()
    assert await steps.take(lambda: "next").outcome == "next"
    assert await steps.close(SECONDS)


async def test_closing_waits_no_longer_than_it_may_for_a_step_and_the_thread_ends_after_it() -> None:
    steps, answer = Steps(), threading.Event()
    steps.take(answer.wait)
    assert not await steps.close(0.05)
    (left,) = threads()
    assert left.daemon, "it would keep the process from ending"
    answer.set()
    await until(lambda: not left.is_alive())


async def test_a_step_is_taken_again_at_once_and_then_only_when_what_it_brought_was_looked_at() -> None:
    steps, taken = Steps(), list[int]()

    def work() -> int:
        taken.append(len(taken))
        return len(taken)

    first = steps.take(work, lambda done: done < 4)
    assert await first.outcome == 1
    assert first.followed
    assert first.ahead is not None
    assert await first.ahead.outcome == 2
    assert not first.ahead.followed, "nobody had looked at what came before"
    third = steps.take(work, lambda done: done < 4)
    assert await third.outcome == 3
    assert third.ahead is not None
    steps.go_on_after(third.ahead, lambda done: done < 4)  # too late, perhaps, or it says no
    assert await third.ahead.outcome == 4
    assert not third.ahead.followed
    steps.stay()
    fifth = steps.take(work, lambda _: True)
    assert await fifth.outcome == 5
    assert not fifth.followed
    assert await steps.close(SECONDS)
    assert taken == [0, 1, 2, 3, 4]


# ------------------------------------------------------------------------------------------------------- of the feed


async def test_a_feed_has_one_thread_and_none_when_it_has_ended(database: Documents, replica_set: ReplicaSet) -> None:
    async with reading(database, replica_set.uri) as got:
        database.orders.insert_one({"_id": 1})
        await got.has(1)
        assert len(threads()) == 1
    assert threads() == []


async def test_an_isolated_insert_costs_one_command_and_one_reply(
    database: Documents, replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = watch_commands(monkeypatch)
    async with reading(database, replica_set.uri, await_ms=2000) as got:

        async def asked() -> int:
            """How many steps, the one that waits for news among them."""
            await until(lambda: len(commands.of("getMore")) == got.feed.replies)
            return got.feed.replies

        database.orders.insert_one({"_id": 0})
        await got.has(0)
        before = await asked()
        orders: list[Any] = []
        steps = got.feed._steps
        assert steps is not None
        take = steps.take

        def counted(*given: Any) -> Step:
            orders.append(given)
            return take(*given)

        monkeypatch.setattr(steps, "take", counted)
        for number in range(1, 21):
            database.orders.insert_one({"_id": number})
            await got.has(number)
        assert await asked() - before == 20
        assert len(orders) <= 2, "the thread goes on by itself"
        assert len(commands.of("aggregate", "ping", "killCursors")) <= 3, "the opening, and what it asks"


async def test_while_a_full_reply_is_told_the_next_one_is_asked_for_and_no_more(
    database: Documents, replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = watch_commands(monkeypatch)
    client = clients.open_feed_client(replica_set.uri)
    start = now(database)
    database.orders.insert_many([{"_id": number} for number in range(50)])
    feed = ChangeFeed(client, clients.database_of(client, database.name), start=start, batch_size=7, await_ms=50)
    told: list[Any] = []
    ahead: list[int] = []
    try:
        async with asyncio.timeout(SECONDS):
            async for batch in feed.batches():
                told += [event.key for event in batch.events]
                if len(told) < 40 and batch.events:
                    replies = feed.replies
                    await until(lambda replies=replies: len(commands.of("getMore")) >= replies)  # type: ignore[misc]  # reason: as above
                    await asyncio.sleep(0.02)
                    ahead.append(len(commands.of("getMore")) - (feed.replies - 1))
                if len(told) == 50:
                    feed.close()
    finally:
        client.close()
    assert told == list(range(50))
    assert len(ahead) >= 5
    assert set(ahead) == {1}


async def test_a_feed_that_goes_back_while_a_reply_is_on_its_way_gives_everything_again(
    database: Documents, replica_set: ReplicaSet
) -> None:
    client = clients.open_feed_client(replica_set.uri)
    start = now(database)
    database.orders.insert_many([{"_id": number} for number in range(50)])
    feed = ChangeFeed(client, clients.database_of(client, database.name), start=start, batch_size=7, await_ms=50)
    try:
        for _ in range(3):
            told: list[Any] = []
            batches = feed.batches()
            async with asyncio.timeout(SECONDS):
                while len(told) < 7:
                    told += [event.key for event in (await anext(batches)).events]
            await batches.aclose()
            assert threads() == []
            assert told == list(range(len(told)))
            await feed.rewind(start, step_over=False)
        told = []
        async with asyncio.timeout(SECONDS):
            async for batch in feed.batches():
                told += [event.key for event in batch.events]
                if len(told) == 50:
                    feed.close()
    finally:
        client.close()
    assert told == list(range(50))
