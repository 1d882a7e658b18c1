"""The feed against a real mongod: whole moments, every event once and in order."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from realtime.core.live.events import to_time
from realtime.mongo.replies import token_time
from tests.mongo.commands import Documents, failing, now, plain
from tests.mongo.reading import FEED, reading, shown, transaction, truth
from tests.replica_set import ReplicaSet

# ------------------------------------------------------------------------------------------------------ whole moments


@pytest.mark.parametrize("batch_size", [7, 1000])
async def test_every_event_comes_once_in_order_and_each_transaction_in_one_batch(
    database: Documents, replica_set: ReplicaSet, batch_size: int
) -> None:
    """Transactions of 4, 20 and 2,500 documents, single writes at the same time, and others' writes in between."""
    sizes = [4, 20, 4, 2500, 20, 4]
    database.create_collection("orders")

    def transactions() -> None:
        for number, size in enumerate(sizes):
            transaction(database, "orders", [f"t{number}-{index}" for index in range(size)])

    def singles() -> None:
        for number in range(150):
            database.single.insert_one({"_id": f"s{number}"})
            database.single.update_one({"_id": f"s{number}"}, {"$set": {"n": number}})
            if number % 3 == 0:
                database.single.delete_one({"_id": f"s{number}"})

    start = now(database)
    async with reading(database, replica_set.uri, batch_size=batch_size) as got:
        await asyncio.gather(asyncio.to_thread(transactions), asyncio.to_thread(singles))
        database.single.insert_one({"_id": "last"})
        await got.has("last")
        held = got.feed.held_replies
    expected = await asyncio.to_thread(truth, database, start, "last")
    assert len(expected) == sum(sizes) + 150 * 2 + 50 + 1
    assert shown(got.events) == expected
    together: dict[Any, Counter[int]] = {}
    for index, batch in enumerate(got.batches):
        for event in batch.events:
            if event.transaction is not None:
                together.setdefault(event.transaction, Counter())[index] += 1
    assert [sorted(batches.values()) for batches in together.values()] == [[size] for size in sizes]
    assert held >= 2500 // batch_size, "each full reply of the large transaction is held, others may be"


async def test_a_transaction_over_several_oplog_entries_is_one_moment(
    database: Documents, replica_set: ReplicaSet
) -> None:
    """40 MB: more than one oplog entry and more than one reply hold."""
    database.create_collection("orders")

    def write() -> None:
        with database.client.start_session() as session, session.start_transaction():
            for number in range(40):
                database.orders.insert_one({"_id": number, "text": "x" * 1_000_000}, session=session)

    async with reading(database, replica_set.uri) as got:
        await asyncio.to_thread(write)
        await got.has(39)
    assert [len(batch.events) for batch in got.batches if batch.events] == [40]
    assert len({event.time for event in got.events}) == 1
    assert got.feed.held_replies > 1


@pytest.mark.alone("measures time")
async def test_an_isolated_insert_waits_for_nothing(database: Documents, replica_set: ReplicaSet) -> None:
    """The await time is 1 s: a feed that waits for emptiness would show it."""
    loop = asyncio.get_running_loop()
    delays = []
    async with reading(database, replica_set.uri, await_ms=1000) as got:
        for number in range(4):
            await asyncio.sleep(0.15 * (number + 1))  # isolated is what comes after a pause
            began = loop.time()
            await asyncio.to_thread(database.orders.insert_one, {"_id": number})
            await got.has(number)
            delays.append(loop.time() - began)
    assert len(delays) == 4
    assert max(delays) < 0.5


async def test_time_goes_on_when_only_other_databases_write(database: Documents, replica_set: ReplicaSet) -> None:
    with plain(replica_set.uri) as other:
        async with reading(database, replica_set.uri) as got:
            for number in range(3):
                other.noise.insert_one({"_id": number})
                written = now(other)
                await got.when(lambda written=written: got.feed.time >= written)  # type: ignore[misc]  # reason: its default binds it now
    assert len(got.batches) >= 3
    assert not got.events
    assert got.feed.time == got.batches[-1].time


async def test_a_resume_token_begins_with_the_events_cluster_time(database: Documents) -> None:
    database.create_collection("orders")
    with database.watch() as stream:
        database.orders.insert_many([{"_id": "x" * 500}, {"_id": {"a": [1, None]}}])
        transaction(database, "orders", [1, 2, 3])
        database.orders.drop()
        seen = [next(stream) for _ in range(6)]
        last: Any = stream.resume_token
    assert [token_time(event["_id"]) for event in seen] == [to_time(event["clusterTime"]) for event in seen]
    assert token_time(last) >= to_time(seen[-1]["clusterTime"])


@pytest.mark.parametrize("token", [{}, {"_data": 7}, {"_data": "82"}, {"_data": "81" + "0" * 40}])
def test_a_token_of_another_form_has_no_time(token: dict[str, Any]) -> None:
    assert token_time(token) == 0


# ----------------------------------------------------------------------------------------------------------- namespaces


async def test_drop_rename_rename_onto_and_out_are_told_and_the_next_insert_comes(
    database: Documents, replica_set: ReplicaSet
) -> None:
    for name in ("dropped", "old", "source", "target", "copied"):
        database[name].insert_one({"_id": 0})
    async with reading(database, replica_set.uri) as got:
        database.dropped.drop()
        database.old.rename("new")
        database.source.rename("target", dropTarget=True)
        database.target.aggregate([{"$out": "copied"}])
        database.dropped.insert_one({"_id": "next"})
        await got.has("next")
    told = [(event.op, event.collection, event.to) for event in got.events if event.op in {"drop", "rename"}]
    assert told[:3] == [("drop", "dropped", None), ("rename", "old", "new"), ("rename", "source", "target")]
    ((op, temporary, to),) = told[3:]
    assert (op, to) == ("rename", "copied")
    assert temporary != "copied"


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("inserts", range(8))
async def test_after_drop_database_the_stream_opens_again_and_the_next_insert_comes(
    own: Documents, own_uri: str, inserts: int
) -> None:
    """`invalidate` at every place of a full reply, the last too; `startAfter` its own token is the way past it."""

    def write() -> None:
        for number in range(inserts):
            own.orders.insert_one({"_id": number})
        own.client.drop_database(own.name)
        own.orders.insert_one({"_id": "next"})

    own.orders.insert_one({"_id": "before"})
    async with reading(own, own_uri, batch_size=7) as got:
        with failing(own, "getMore", "aggregate", errorCode=6, appName=FEED):
            await asyncio.to_thread(write)  # so that all is there when the stream opens again
        await got.has("next")
    ops = [event.op for event in got.events]
    assert ops == ["insert"] * inserts + ["drop", "dropDatabase", "insert"]
    assert not any(batch.lost for batch in got.batches)
