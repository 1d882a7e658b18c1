"""The feed when something breaks upstream: what it does, what it says, and that nothing is lost or repeated."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from pathlib import Path
from typing import Any

import pymongo
import pytest

from realtime.core.live.events import Batch, to_time
from realtime.core.upstream.health import FeedStatus
from realtime.mongo import client as clients
from realtime.mongo import feed as feeds
from tests.mongo.commands import Documents, failing, mongod, now, plain, until, watch_commands
from tests.mongo.reading import FEED, LOST, NO_PRIMARY, REOPENED, RESUMABLE, reading, shown, transaction, truth
from tests.parts import first
from tests.replica_set import ReplicaSet

# ------------------------------------------------------------------------------------------------- what breaks upstream


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("code", first(3, "one more code of its kind", [*RESUMABLE, *REOPENED]))
async def test_an_error_that_can_be_resumed_loses_nothing_and_repeats_nothing(
    own: Documents, own_uri: str, code: int
) -> None:
    """On `getMore`, and on `getMore` and the `aggregate` that follows; 1, 2 and 5 times."""
    ways = [(commands, times) for commands in (["getMore"], ["getMore", "aggregate"]) for times in (1, 2, 5)]
    await _survives(own, own_uri, ways, errorCode=code)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("code", first(1, "one more code of its kind", NO_PRIMARY))
async def test_a_member_that_is_no_longer_primary_loses_nothing_and_repeats_nothing(
    own: Documents, own_uri: str, code: int
) -> None:
    """Fewer times: the driver believes the code, and looks for a primary at its next heartbeat only."""
    ways = [(["getMore"], 1), (["getMore", "aggregate"], 2)]
    await _survives(
        own,
        f"{own_uri}&heartbeatFrequencyMS=500",
        ways,
        errorCode=code,
        errorLabels=["ResumableChangeStreamError"],
    )


@pytest.mark.usefixtures("hasty")
async def test_a_connection_that_breaks_loses_nothing_and_repeats_nothing(own: Documents, own_uri: str) -> None:
    ways = [(["getMore"], 1), (["getMore", "aggregate"], 2), (["getMore", "aggregate"], 5)]
    await _survives(own, f"{own_uri}&heartbeatFrequencyMS=500", ways, closeConnection=True)


async def _survives(own: Documents, uri: str, ways: list[tuple[list[str], int]], **fault: Any) -> None:
    start = now(own)
    async with reading(own, uri, batch_size=7, await_ms=10) as got:
        for number, (commands, times) in enumerate(ways):
            with failing(own, *commands, times=times, appName=FEED, **fault) as struck:
                own.orders.insert_one({"_id": f"one{number}"})
                transaction(own, "orders", [f"many{number}.{index}" for index in range(20)])
                await asyncio.to_thread(struck.struck, times)
                await got.has(f"many{number}.19")
            assert struck.hits == times
        own.orders.insert_one({"_id": "last"})
        await got.has("last")
    expected = truth(own, start, "last")
    assert len(expected) == 21 * len(ways) + 1
    assert shown(got.events) == expected
    assert not any(batch.lost for batch in got.batches)


@pytest.mark.usefixtures("hasty")
async def test_a_killed_cursor_is_opened_again(own: Documents, own_uri: str) -> None:
    async with reading(own, own_uri) as got:
        for number in range(5):
            await got.idle()
            cursors = open_cursors(own)
            assert len(cursors) == 1
            own.command({"killCursors": "$cmd.aggregate", "cursors": cursors})
            own.orders.insert_one({"_id": number})
            await got.has(number)
    assert got.keys == list(range(5))
    assert not any(batch.lost for batch in got.batches)


def open_cursors(database: Documents) -> list[int]:
    """The feed's cursors that the server holds on this database, waiting or not."""
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"idleCursors": True, "allUsers": True}},
        {"$match": {"ns": {"$regex": rf"^{database.name}\."}, "cursor.cursorId": {"$exists": True}}},
    ]
    return [found["cursor"]["cursorId"] for found in database.client.admin.aggregate(pipeline)]


@pytest.mark.usefixtures("hasty")
async def test_a_transaction_in_the_middle_of_which_the_stream_breaks_comes_once_and_whole(
    own: Documents, own_uri: str
) -> None:
    own.create_collection("orders")
    async with reading(own, own_uri, batch_size=7, await_ms=1000) as got:
        own.orders.insert_one({"_id": "before"})
        await got.has("before")
        with failing(own, "getMore", skip=100, errorCode=237, appName=FEED) as fault:
            await asyncio.to_thread(transaction, own, "orders", list(range(2500)))
            await asyncio.to_thread(fault.struck)
            held = got.feed.held_replies
            assert 50 < held < 2500 / 7, "it broke amid the transaction"
            assert got.keys == ["before"]
        own.orders.insert_one({"_id": "after"})
        await got.has("after")
    assert got.keys == ["before", *range(2500), "after"]
    assert [len(set(batch_keys(batch)) & set(range(2500))) for batch in got.batches if len(batch.events) > 1] == [2500]


def batch_keys(batch: Batch) -> list[Any]:
    return [event.key for event in batch.events]


# --------------------------------------------------------------------------------------------------------- history lost


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("code", first(1, "one more code of its kind", LOST))
async def test_lost_history_is_said_once_and_the_stream_goes_on(
    own: Documents, own_uri: str, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with reading(own, own_uri) as got:
        own.orders.insert_one({"_id": "before"})
        await got.has("before")
        with failing(own, "getMore", times=1, errorCode=code, appName=FEED) as fault:
            await asyncio.to_thread(fault.struck)
            await until(lambda: "going on from now" in caplog.text)
            own.orders.insert_one({"_id": "after"})
            await got.has("after")
        own.orders.insert_one({"_id": "last"})
        await got.has("last")
    assert fault.hits == 1
    assert [batch.lost for batch in got.batches].count(True) == 1
    assert got.keys == ["before", "after", "last"]
    lost = next(index for index, batch in enumerate(got.batches) if batch.lost)
    after = next(index for index, batch in enumerate(got.batches) if "after" in batch_keys(batch))
    assert lost <= after


@pytest.mark.usefixtures("hasty")
async def test_lost_history_is_said_at_once_on_a_deployment_where_nobody_writes(own: Documents, own_uri: str) -> None:
    """Views are wrong until it is said; the server's own entries come 10 s apart."""
    async with reading(own, own_uri) as got:
        own.orders.insert_one({"_id": "before"})
        await got.has("before")
        with failing(own, "getMore", times=1, errorCode=286, appName=FEED):
            await got.when(lambda: any(batch.lost for batch in got.batches), seconds=2)


@pytest.mark.usefixtures("hasty")
async def test_an_oplog_that_rolled_over_is_one_loss_and_no_loop(directory: Path) -> None:
    """For real: the stream is broken while a small oplog turns over; its token then answers 286."""
    small = ("--replSet", "rs0", "--oplogSize", "1", "--syncdelay", "1", "--setParameter", "enableTestCommands=1")
    async with mongod(directory, *small) as address:
        with pymongo.MongoClient[dict[str, Any]](address, directConnection=True) as client:
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": address}]})
            await until(lambda: client.admin.command("hello")["isWritablePrimary"])
        uri = f"mongodb://{address}/?replicaSet=rs0"
        with plain(uri) as own:
            async with reading(own, uri) as got:
                own.orders.insert_one({"_id": "before"})
                await got.has("before")
                with failing(own, "getMore", "aggregate", errorCode=6, appName=FEED):
                    await asyncio.to_thread(_roll_the_oplog, own, got.feed.time)
                await got.when(lambda: any(batch.lost for batch in got.batches))
                own.orders.insert_one({"_id": "after"})
                await got.has("after")
    assert [batch.lost for batch in got.batches].count(True) == 1
    assert got.keys[0] == "before"
    assert got.keys[-1] == "after"


def _roll_the_oplog(database: Documents, past: int) -> None:
    oplog = database.client.local["oplog.rs"]
    while to_time(oplog.find_one({}, sort=[("$natural", 1)])["ts"]) <= past:  # type: ignore[index]  # reason: the error would fail the test
        database.noise.insert_many({"text": "x" * 2000} for _ in range(200))


# --------------------------------------------------------------------------------------------------- status and closing


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Level and first two words of what the feed logged from INFO on."""
    return [
        (record.levelname, " ".join(record.getMessage().split()[:3]))
        for record in caplog.records
        if record.name == "realtime.feed" and record.levelno >= logging.INFO
    ]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("commands", [["getMore", "aggregate"], ["getMore"]], ids=["all", "getMore only"])
async def test_failures_that_last_are_degraded_then_up_again_once_with_one_line_each(
    own: Documents, own_uri: str, caplog: pytest.LogCaptureFixture, commands: list[str]
) -> None:
    """A stream that opens and breaks at once, again and again, delivers nothing: it is down too."""
    caplog.set_level(logging.INFO, logger="realtime.feed")
    async with reading(own, own_uri) as got:
        await got.idle()
        with failing(own, *commands, errorCode=6, appName=FEED) as fault:
            await until(lambda: got.statuses, seconds=3)
            assert [status.up for status in got.statuses] == [False]
        own.orders.insert_one({"_id": "after"})
        await got.has("after")
    assert fault.hits > 3
    assert [status.up for status in got.statuses] == [False, True]
    assert got.statuses[0].reason
    assert lines(caplog) == [("WARNING", "change stream interrupted"), ("INFO", "change stream goes")]


async def test_one_short_failure_is_no_change_of_status(own: Documents, own_uri: str) -> None:
    async with reading(own, own_uri) as got:
        with failing(own, "getMore", times=1, errorCode=6, appName=FEED) as fault:
            await asyncio.to_thread(fault.struck)
            own.orders.insert_one({"_id": 1})
            await got.has(1)
    assert fault.hits == 1
    assert not got.statuses


@pytest.mark.alone("measures time")
@pytest.mark.usefixtures("hasty")
async def test_what_retrying_does_not_mend_is_degraded_at_once_and_heals_when_mended(
    own: Documents, own_uri: str
) -> None:
    async with reading(own, own_uri) as got:
        with failing(own, "getMore", "aggregate", errorCode=13, appName=FEED) as fault:
            await asyncio.to_thread(fault.struck)
            await until(lambda: got.statuses, seconds=0.2)
            own.orders.insert_one({"_id": 1})
        await got.has(1)
    assert [status.up for status in got.statuses] == [False, True]
    assert got.statuses[0].reason == "MongoDB refuses the change stream (code 13)"


@pytest.mark.alone("measures time")
@pytest.mark.usefixtures("hasty")
async def test_a_step_that_hangs_is_degraded_by_the_clock(own: Documents, own_uri: str) -> None:
    loop = asyncio.get_running_loop()
    async with reading(own, own_uri) as got:
        await got.idle()
        got.feed.check(loop.time())
        assert not got.statuses
        with failing(own, "getMore", times=1, blockConnection=True, blockTimeMS=1000, appName=FEED) as fault:
            await asyncio.to_thread(fault.struck)

            def degraded() -> bool:
                got.feed.check(loop.time())
                return bool(got.statuses)

            await until(degraded, seconds=1)
            own.orders.insert_one({"_id": 1})
            await got.has(1)
    assert [status.up for status in got.statuses] == [False, True]


def busily() -> None:
    """The loop comes to nothing else."""
    time.sleep(0.002)


async def test_who_is_busy_telling_a_batch_does_not_blame_mongodb(database: Documents, replica_set: ReplicaSet) -> None:
    """A thousand events for many queries take longer than a step may hang; MongoDB has answered long ago meanwhile."""
    client, statuses = clients.open_feed_client(replica_set.uri), list[FeedStatus]()
    feed = feeds.ChangeFeed(
        client, clients.database_of(client, database.name), start=now(database), await_ms=50, on_status=statuses.append
    )
    database.orders.insert_one({"_id": 0})
    told = []
    try:
        async for batch in feed.batches():
            ended = time.monotonic() + 10
            while feed._steps is not None and feed._steps.asked_at is not None and time.monotonic() < ended:
                busily()
            feed.check(asyncio.get_running_loop().time() + 60)
            told += [event.key for event in batch.events]
            if len(told) == 3:
                feed.close()
            elif batch.events:
                database.orders.insert_one({"_id": len(told)})
    finally:
        client.close()
    assert told == [0, 1, 2]
    assert statuses == []


@pytest.mark.alone("measures time")
async def test_close_ends_within_the_await_time_and_hands_over_what_the_step_brings(
    database: Documents, replica_set: ReplicaSet
) -> None:
    """The step under way is never cancelled: what it brings after `close` still comes, and no cursor stays behind."""
    loop = asyncio.get_running_loop()
    async with reading(database, replica_set.uri, await_ms=1000) as got:
        database.orders.insert_one({"_id": "before"})
        await got.has("before")
        await asyncio.sleep(0.1)  # into the next step, whose beginning has no event
        began = loop.time()
        got.feed.close()
        await asyncio.to_thread(database.orders.insert_one, {"_id": "during"})
        await until(lambda: got.ended)
        took = loop.time() - began
    assert took < 1.3
    assert got.keys == ["before", "during"]
    assert open_cursors(database) == []


@pytest.mark.alone("measures time")
async def test_close_without_events_ends_within_the_await_time(database: Documents, replica_set: ReplicaSet) -> None:
    loop = asyncio.get_running_loop()
    async with reading(database, replica_set.uri, await_ms=500) as got:
        await got.idle()
        began = loop.time()
        got.feed.close()
        await until(lambda: got.ended)
        took = loop.time() - began
    assert took < 0.8


@pytest.mark.alone("measures time")
@pytest.mark.parametrize("code", [6, 13])
async def test_close_does_not_wait_for_the_next_try(
    own: Documents, own_uri: str, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The pause before a retry is up to 10 s; a service that shuts down has less."""
    monkeypatch.setattr(feeds, "BACKOFF_SECONDS", (5.0, 5.0))
    monkeypatch.setattr(feeds, "SLOW_RETRY_SECONDS", 5.0)
    loop = asyncio.get_running_loop()
    async with reading(own, own_uri) as got:
        with failing(own, "getMore", "aggregate", errorCode=code, appName=FEED) as fault:
            await asyncio.to_thread(fault.struck)
            await asyncio.sleep(0.1)  # into the pause
            began = loop.time()
            got.feed.close()
            await until(lambda: got.ended)
            took = loop.time() - began
    assert took < 1


@pytest.mark.alone("measures time")
async def test_retries_are_spread_and_bounded(own: Documents, own_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No storm: the pauses grow, and an error that comes back at every try (10334) is no exception."""
    monkeypatch.setattr(feeds, "BACKOFF_SECONDS", (0.1, 0.4))
    monkeypatch.setattr(random, "uniform", lambda _least, most: most)
    for code in (6, 10334):
        commands = watch_commands(monkeypatch)
        async with reading(own, own_uri) as got:
            await got.idle()
            opened = len(commands.of("aggregate"))
            with failing(own, "getMore", "aggregate", errorCode=code, appName=FEED) as fault:
                await asyncio.to_thread(fault.struck)
                await asyncio.sleep(1.2)  # the window in which tries are counted
            tries = len([one for one in commands.of("aggregate") if one["$db"] == own.name]) - opened
        # The steps of more care are taken without a pause; two more of them than when this said 6.
        assert 2 <= tries <= (6 if code == 6 else 8), f"code {code}"
