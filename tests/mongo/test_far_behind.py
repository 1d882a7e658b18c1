"""MongoDB looks through what others wrote before it answers, and that may take longer than a dead one is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from realtime import metrics
from realtime.errors import HistoryLostError
from realtime.mongo import client as clients
from realtime.mongo.oplog import OplogReader
from tests.mongo.commands import Documents, failing, now, until
from tests.mongo.reading import FEED, reading

pytestmark = pytest.mark.long("600,000 documents of others are written for each")
OTHERS = 600_000
PATIENCE_MS = 250
"""Of the feed: far less than MongoDB needs to look through what others wrote, far more than for a step."""


def noise(own: Documents) -> None:
    """Writes that are none of this database's."""
    stages: list[dict[str, Any]] = [
        {"$documents": [{"thousand": n} for n in range(OTHERS // 1000)]},
        {"$set": {"n": {"$range": [0, 1000]}}},
        {"$unwind": "$n"},
        {"$unset": "_id"},
        {"$out": {"db": f"{own.name}_others", "coll": "noise"}},
    ]
    own.aggregate(stages)
    own.client.drop_database(f"{own.name}_others")


@pytest.fixture
def far(own: Documents, own_uri: str) -> Iterator[Any]:
    """The database by the client that waits long."""
    client = clients.open_feed_client(f"{own_uri}&socketTimeoutMS={PATIENCE_MS}", far=True)
    yield clients.database_of(client, own.name)
    client.close()


def given_up() -> float:
    """Steps of change streams, their opening included, that failed so far."""
    return sum(float(metrics.COMMAND_FAILURES.labels(name)._value.get()) for name in ("aggregate", "getMore"))


async def test_a_feed_that_is_far_behind_comes_back_although_a_step_outlasts_its_patience(
    own: Documents, own_uri: str, far: Any
) -> None:
    async with reading(own, f"{own_uri}&socketTimeoutMS={PATIENCE_MS}", far=far) as got:
        await got.idle()
        with failing(own, "getMore", "aggregate", appName=FEED, errorCode=91):
            await asyncio.to_thread(noise, own)
            own["docs"].insert_one({"_id": 1})
        before = given_up()
        await got.has(1)
        patiently = given_up() - before
        # And is again what finds a dead server soon.
        await until(lambda: not got.feed._looks_far)
        own["docs"].insert_one({"_id": 2})
        await got.has(2)
    assert got.keys == [1, 2]
    assert not any(batch.lost for batch in got.batches)
    assert patiently >= 1, "MongoDB was faster than the feed's patience, and nothing was shown"


async def test_the_oplog_is_read_back_however_long_mongodb_looks(own: Documents, far: Any) -> None:
    start = now(own)
    own["docs"].insert_one({"_id": 1})
    await asyncio.to_thread(noise, own)
    own["docs"].insert_one({"_id": 2})
    loop, before = asyncio.get_running_loop(), given_up()
    began = loop.time()
    past = await OplogReader(far, batch_size=1000, max_bytes=10_000).read(start, now(own))
    assert loop.time() - began > PATIENCE_MS / 1000
    assert [event.key for batch in past.batches for event in batch.events] == [1, 2]
    assert given_up() == before


@pytest.mark.alone("measures time")
async def test_whoever_stops_waiting_stops_mongodb_too(own: Documents, far: Any) -> None:
    """The process could not end before its thread has its reply."""
    start = now(own)
    await asyncio.to_thread(noise, own)
    task = asyncio.create_task(OplogReader(far, batch_size=1000, max_bytes=10_000).read(start, now(own)))
    await until(lambda: looking(own))
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    await until(lambda: not looking(own), seconds=0.3)


def looking(own: Documents) -> list[Any]:
    """Steps of the feed's that are under way in MongoDB."""
    ours = {"appName": FEED, "ns": "local.oplog.rs", "active": True}
    stages: list[dict[str, Any]] = [{"$currentOp": {}}, {"$match": ours}]
    return list(own.client.admin.aggregate(stages))


async def test_of_more_than_is_asked_for_the_newest_is_kept(own: Documents, far: Any) -> None:
    start = now(own)
    for number in range(40):
        own["docs"].insert_one({"_id": number, "pad": "x" * 1000})
    end = now(own)
    reader = OplogReader(far, batch_size=7, max_bytes=20_000)
    past = await reader.read(start, end, newest_bytes=20_000)
    kept = [event.key for batch in past.batches for event in batch.events]
    assert kept == list(range(40))[-len(kept) :]
    assert 7 <= len(kept) < 20
    assert past.after > start
    whole = await reader.read(past.after, end)
    assert [event.key for batch in whole.batches for event in batch.events] == kept
    with pytest.raises(HistoryLostError, match="more than 20000 bytes") as lost:
        await reader.read(start, end)
    assert lost.value.details is not None
