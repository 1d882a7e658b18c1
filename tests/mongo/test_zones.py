"""Time zones asked of the server: its own offsets, minute by minute around each change."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Coroutine
from typing import Any

import pytest
from bson.int64 import Int64
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import MongoClient

from realtime.core.mql.expressions.timezones import LAST
from realtime.errors import InvalidFilterError, UnsupportedCollectionError
from realtime.mongo.client import open_database
from realtime.mongo.faults import Gate
from realtime.mongo.snapshot import MongoReader
from realtime.mongo.zones import asked_zone
from tests.chance import fresh_seed
from tests.mongo.commands import watch_commands
from tests.replica_set import ReplicaSet

ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Mexico_City", "Etc/UTC"]


@pytest.mark.parametrize("name", ZONES)
async def test_the_offsets_are_the_servers_at_any_time_and_around_each_change(
    replica_set: ReplicaSet, name: str
) -> None:
    client: Any = AsyncIOMotorClient(replica_set.uri)
    zone = await asked_zone(client["coretest_zones"], name, 30_000)
    client.close()
    chance = random.Random(fresh_seed())
    times = [chance.randrange(LAST) for _ in range(2000)]
    times += [start + by for start in zone.starts for by in (-60_000, -1, 0, 1, 60_000) if 0 <= start + by < LAST]
    shown = {"date": {"$toDate": "$t"}, "timezone": name}
    plain: MongoClient[dict[str, Any]] = MongoClient(replica_set.uri)
    with plain:
        rows = plain["coretest_zones"].aggregate(
            [
                {"$documents": {"$literal": [{"t": Int64(time)} for time in times]}},
                {"$project": {"t": 1, "text": {"$dateToString": {**shown, "format": "%Y-%m-%dT%H:%M:%S.%LZ"}}}},
                {"$project": {"t": 1, "offset": {"$subtract": [{"$toLong": {"$toDate": "$text"}}, "$t"]}}},
            ]
        )
        found = [(int(row["t"]), int(row["offset"])) for row in rows]
    assert len(found) == len(times)
    assert [(time, offset) for time, offset in found if zone.offset(time) * 1000 != offset] == []
    assert len(zone.starts) >= (1 if name == "Etc/UTC" else 2)


async def test_a_zone_that_the_server_does_not_know_is_refused_by_name(replica_set: ReplicaSet) -> None:
    """Each of a crowd by the path of its own."""
    client, database = open_database(replica_set.uri, "coretest_zones")
    reader = MongoReader(client, database, Gate(30))
    paths = ["$expr.$hour.timezone", "t.$hour.timezone"]
    asked = [reader.zones({"Nowhere/Atall": path}) for path in paths]
    refused = await asyncio.gather(*asked, return_exceptions=True)
    client.close()
    assert [type(one) for one in refused] == [InvalidFilterError] * 2
    assert all("Nowhere/Atall" in str(one) for one in refused)
    assert [one.details for one in refused if isinstance(one, InvalidFilterError)] == [{"path": one} for one in paths]


async def test_a_crowd_that_asks_for_one_zone_is_one_question(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = watch_commands(monkeypatch)
    client, database = open_database(replica_set.uri, "coretest_zones")
    reader = MongoReader(client, database, Gate(30))
    found = await asyncio.gather(*(reader.zones({"Europe/Berlin": "t"}) for _ in range(20)))
    again = await reader.zones({"Europe/Berlin": "t"})
    client.close()
    assert all(one == again for one in found)
    assert len(again["Europe/Berlin"].starts) > 2
    assert len(commands.of("aggregate")) == 3


@pytest.mark.parametrize("what", ["a zone", "a collection"])
async def test_who_goes_away_before_a_refusal_leaves_nothing_for_the_log(replica_set: ReplicaSet, what: str) -> None:
    """asyncio says `Task exception was never retrieved` of what fails when nobody waits any more."""
    client, database = open_database(replica_set.uri, "coretest_zones")
    await database.drop_collection("seen")
    await database.command({"create": "seen", "viewOn": "orders", "pipeline": []})
    reader = MongoReader(client, database, Gate(30))

    def question() -> Coroutine[Any, Any, Any]:
        return reader.zones({"Nowhere/Atall": "timezone"}) if what == "a zone" else reader.describe("seen")

    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    before = asyncio.all_tasks()
    asker = asyncio.ensure_future(question())
    await asyncio.sleep(0)
    [asked] = asyncio.all_tasks() - before - {asker}
    asker.cancel()
    await asyncio.wait({asker, asked})
    assert (asker.cancelled(), asked.cancelled()) == (True, False)
    del asked
    gc.collect()
    await asyncio.sleep(0)
    assert told == []
    with pytest.raises((InvalidFilterError, UnsupportedCollectionError)):
        await question()
    client.close()
