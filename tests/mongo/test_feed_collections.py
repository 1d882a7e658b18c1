"""A feed of some collections alone: what it tells, what it leaves out, and that its positions hold all the same."""

from __future__ import annotations

import asyncio
from typing import Any

from realtime.core.live.events import Batch
from realtime.mongo import client as clients
from realtime.mongo.oplog import OplogReader
from tests.mongo.commands import Documents, failing, now
from tests.mongo.reading import FEED, reading, transaction
from tests.replica_set import ReplicaSet

NAMES = frozenset({"orders", "customers"})


async def test_other_collections_are_left_out_and_time_goes_on_without_them(
    database: Documents, replica_set: ReplicaSet
) -> None:
    async with reading(database, replica_set.uri, collections=NAMES) as got:
        await got.idle()
        database.orders.insert_one({"_id": "first"})
        await got.has("first")
        database.noise.insert_many({"_id": n} for n in range(500))
        written = now(database)
        await got.when(lambda: got.feed.time >= written)
        assert got.keys == ["first"]
        database.customers.insert_one({"_id": "last"})
        await got.has("last")
    assert got.keys == ["first", "last"]


async def test_what_concerns_a_collection_and_the_database_is_told(
    database: Documents, replica_set: ReplicaSet
) -> None:
    """Drop; rename from, to and onto; `$out`, whose rename names a temporary collection; dropDatabase."""
    for name in ("orders", "noise", "other"):
        database[name].insert_one({"_id": name})
    async with reading(database, replica_set.uri, collections=NAMES) as got:
        await got.idle()
        database.noise.rename("noise2")
        database.orders.rename("away")
        database.away.rename("orders")
        database.other.rename("orders", dropTarget=True)
        list(database.noise2.aggregate([{"$out": "customers"}]))
        list(database.noise2.aggregate([{"$out": "customers"}]))
        database.orders.drop()
        database.noise2.drop()
        database.client.drop_database(database.name)
        await got.when(lambda: "dropDatabase" in [event.op for event in got.events])
        database.orders.insert_one({"_id": "after"})
        await got.has("after")
    told = [(event.op, event.collection, event.to) for event in got.events]
    renames = [(one[1] if "tmp" not in one[1] else "temporary", one[2]) for one in told if one[0] == "rename"]
    assert renames == [
        ("orders", "away"),
        ("away", "orders"),
        ("other", "orders"),
        ("temporary", "customers"),
        ("temporary", "customers"),
    ]
    assert ("drop", "orders", None) in told
    assert {one[1] for one in told if one[0] != "rename"} <= {"orders", "customers", ""}
    assert told[-1][0] == "insert"


async def test_a_transaction_mostly_of_others_is_one_moment(database: Documents, replica_set: ReplicaSet) -> None:
    """Ours first and last, 20,000 of others between them, by replies of 7 and of 1000."""
    database.create_collection("orders")
    database.create_collection("noise")
    padding = "x" * 200

    def mixed(number: int) -> None:
        with database.client.start_session() as session, session.start_transaction():
            database.orders.insert_one({"_id": f"{number} first"}, session=session)
            database.noise.insert_many(({"n": n, "pad": padding} for n in range(20_000)), session=session)
            database.orders.insert_one({"_id": f"{number} last"}, session=session)

    for batch_size in (7, 1000):
        async with reading(database, replica_set.uri, collections=NAMES, batch_size=batch_size, await_ms=10) as got:
            await got.idle()
            for number in range(3):
                await asyncio.to_thread(mixed, batch_size * 10 + number)
                transaction(database, "orders", [f"{batch_size} {number}"])
            await got.has(f"{batch_size} 2")
        assert len(got.keys) == 9
        for number in range(3):
            moments = [batch for batch in got.batches if f"{batch_size * 10 + number} first" in keys(batch)]
            assert [f"{batch_size * 10 + number} last" in keys(batch) for batch in moments] == [True]


def keys(batch: Batch) -> list[Any]:
    return [event.key for event in batch.events]


async def test_it_goes_on_by_its_token_where_it_was(own: Documents, own_uri: str, hasty: None) -> None:
    """Interrupted again and again, with the newest token from an event of ours or from a time without any."""
    hits = 0
    async with reading(own, own_uri, collections=NAMES) as got:
        await got.idle()
        for number in range(5):
            own.orders.insert_one({"_id": f"{number} ours"})
            await got.has(f"{number} ours")
            own.noise.insert_many({"_id": number * 1000 + n} for n in range(100))
            passed = now(own)
            if number % 2:
                await got.when(lambda passed=passed: got.feed.time >= passed)  # type: ignore[misc]  # reason: its default binds it now
            with failing(own, "getMore", times=2, errorCode=237, appName=FEED) as fault:
                await asyncio.to_thread(fault.struck, 2)
                own.orders.insert_one({"_id": f"{number} meanwhile"})
                await got.has(f"{number} meanwhile")
            hits += fault.hits
    assert hits == 10
    assert got.keys == [f"{number} {what}" for number in range(5) for what in ("ours", "meanwhile")]
    assert not any(batch.lost for batch in got.batches)


async def test_the_oplog_is_read_back_by_time_for_these_collections_alone(
    database: Documents, replica_set: ReplicaSet
) -> None:
    start = now(database)
    for number in range(20):
        database.orders.insert_one({"_id": number})
        database.noise.insert_one({"_id": number, "pad": "x" * 1000})
    end = now(database)
    client = clients.open_feed_client(replica_set.uri, far=True)
    try:
        motors = clients.database_of(client, database.name)
        # The others' bytes would be over this bound: they are not read.
        reader = OplogReader(motors, batch_size=1000, max_bytes=10_000, collections=NAMES)
        past = await reader.read(start, end)
    finally:
        client.close()
    assert [key for batch in past.batches for key in keys(batch)] == list(range(20))
    assert past.after == start
    assert past.batches[-1].time >= end
