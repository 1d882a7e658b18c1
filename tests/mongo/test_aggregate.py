"""Pipelines asked once of a real mongod: at one time, under a rule, within bounds, and gone with whoever asked."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo.errors import OperationFailure

from realtime.core.mql.pipelines.compiling import compile_pipeline
from realtime.errors import InvalidDocumentError, ServiceError, TimedOutError, TooLargeError, UnavailableError
from realtime.mongo import client as clients
from realtime.mongo.faults import Gate
from realtime.mongo.snapshot import MongoReader
from tests.mongo.commands import Documents, breakable, now, plain, until, watch_commands
from tests.mongo.test_snapshot import reader
from tests.replica_set import ReplicaSet

__all__ = ["reader"]

Stages = list[dict[str, Any]]
MINE = {"owner": "me"}
FAILING = {"$expr": {"$gt": [{"$divide": [1, "$n"]}, 0]}}
BOUNDS: dict[str, Any] = {"rows": 1000, "size": 10_000_000}


@pytest.fixture
async def notes(database: Documents) -> Documents:
    others = [{"_id": f"secret {n}", "owner": "else", "n": 0, "in": {"a": 1, "b": 2}} for n in range(5)]
    mine = [{"_id": n, "owner": "me", "n": n, "in": {"a": n, "b": 2}} for n in range(1, 251)]
    database.notes.insert_many([*others, *mine])
    return database


def piped(stages: Stages, rule: dict[str, Any] | None, cut: dict[str, int] | None) -> Stages:
    """As they are sent for whoever sees so much."""
    return compile_pipeline(stages).sent(rule, [{"$project": cut}] if cut else [])


async def rows(
    reader: MongoReader, stages: Stages, rule: Any = None, cut: dict[str, int] | None = None, **bounds: Any
) -> list[dict[str, Any]]:
    sent = piped(stages, rule, cut)
    return (await reader.aggregate("notes", sent, **{**BOUNDS, **bounds}, rule=rule)).documents


async def streamed(reader: MongoReader, stages: Stages, rule: Any = None) -> list[dict[str, Any]]:
    stream = await reader.stream_rows("notes", piped(stages, rule, None), rule=rule)
    try:
        return [row async for part in stream.slices() for row in part]
    finally:
        await stream.close()


# ------------------------------------------------------------------------------------------------------ what and when


async def test_rows_are_what_mongodb_says_at_the_time_that_is_told(notes: Documents, reader: MongoReader) -> None:
    stages: Stages = [{"$group": {"_id": "$owner", "n": {"$sum": "$n"}}}, {"$sort": {"_id": 1}}]
    before = now(notes)
    page = await reader.aggregate("notes", stages, **BOUNDS)
    assert (
        page.documents == [{"_id": "else", "n": 0}, {"_id": "me", "n": 31_375}] == list(notes.notes.aggregate(stages))
    )
    assert page.time >= before
    assert await streamed(reader, stages) == page.documents


async def test_every_batch_is_of_one_time(notes: Documents, reader: MongoReader) -> None:
    notes.notes.insert_many({"_id": n, "owner": "me", "n": n} for n in range(251, 2501))
    found = await rows(reader, [{"$sort": {"_id": 1}}], rows=5000, rule=MINE)
    assert [row["_id"] for row in found] == list(range(1, 2501))
    assert len(await streamed(reader, [{"$set": {"m": 1}}], rule=MINE)) == 2500


async def test_of_a_collection_that_is_not_there_there_are_no_rows(database: Documents, reader: MongoReader) -> None:
    before = now(database)
    page = await reader.aggregate("nowhere", [{"$count": "n"}], **BOUNDS)
    assert (page.documents, page.time >= before) == ([], True)


async def test_mongodb_is_asked_with_the_rule_first_and_without_a_disk(
    notes: Documents, reader: MongoReader, monkeypatch: pytest.MonkeyPatch, replica_set: ReplicaSet
) -> None:
    commands = watch_commands(monkeypatch)
    client, motors = clients.open_database(replica_set.uri, notes.name)
    try:
        listened = MongoReader(client, motors, Gate(5.0))
        await listened.aggregate(
            "notes", piped([{"$match": {"n": 3}}, {"$set": {"m": 1}}], MINE, {"in": 0}), **BOUNDS, rule=MINE
        )
        stream = await listened.stream_rows("notes", piped([{"$match": {"n": 3}}], MINE, None), rule=MINE)
        await stream.close()
    finally:
        client.close()
    once, lines = commands.of("aggregate")
    first = {"$match": {"$and": [MINE, {"n": 3}]}}
    asked = [bson.decode(stage.raw) for stage in once["pipeline"]]
    assert (asked[0], [next(iter(stage)) for stage in asked[1:]]) == (first, ["$limit", "$project", "$set"])
    assert (once["allowDiskUse"], lines["allowDiskUse"]) == (False, False)
    assert (once["maxTimeMS"], once["readConcern"]["level"]) == (5000, "snapshot")
    assert [bson.decode(stage.raw) for stage in lines["pipeline"]] == [first]
    assert commands.of("killSessions") == []  # all of it was read


# --------------------------------------------------------------------------------------------------------- under rules

HAVING: list[Stages] = [
    [{"$match": FAILING}, {"$count": "n"}],
    [{"$set": {"m": 1}}, {"$match": FAILING}, {"$count": "n"}],
    [{"$match": {"n": {"$gte": 0}}}, {"$project": {"n": 1}}, {"$match": FAILING}, {"$count": "n"}],
    [{"$set": {"m": {"$divide": [1, "$n"]}}}, {"$match": {"m": {"$gt": 0}}}, {"$count": "n"}],
]


@pytest.mark.parametrize("stages", HAVING)
async def test_a_hidden_document_makes_no_pipeline_fail(notes: Documents, reader: MongoReader, stages: Stages) -> None:
    with pytest.raises(OperationFailure):
        list(notes.notes.aggregate(stages))  # without the rule it does
    assert await rows(reader, stages, rule=MINE) == [{"n": 250}]
    assert await streamed(reader, stages, rule=MINE) == [{"n": 250}]


async def test_a_match_that_mongodb_moves_to_the_rule_is_asked_of_what_the_rule_lets(
    notes: Documents, reader: MongoReader
) -> None:
    stages: Stages = [{"$match": MINE}, {"$match": {"$or": [FAILING, {"x": 1}]}}, {"$count": "n"}]
    with pytest.raises(OperationFailure):
        list(notes.notes.aggregate(stages))  # as one filter it fails of what the rule leaves out
    assert await rows(reader, stages[1:], rule=MINE) == [{"n": 250}]


async def test_what_is_hidden_is_cut_before_the_first_stage(notes: Documents, reader: MongoReader) -> None:
    names = {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": "$$this.k"}}
    stages: Stages = [{"$match": {"n": 3}}, {"$project": {"names": names, "in": 1, "owner": "$owner"}}]
    assert await rows(reader, stages, rule=MINE, cut={"owner": 0, "in.b": 0}) == [
        {"_id": 3, "in": {"a": 3}, "names": ["_id", "n", "in"]}
    ]
    assert await rows(reader, stages, rule=MINE, cut={"n": 1}) == [{"_id": 3, "names": ["_id", "n"]}]
    assert await rows(reader, stages, cut={"n": 1}) == [{"_id": 3, "names": ["_id", "n"]}]


async def test_a_later_match_asks_what_is_left(notes: Documents, reader: MongoReader) -> None:
    stages: Stages = [{"$match": {"n": {"$lte": 2}}}, {"$set": {"m": 1}}, {"$match": {"owner": "me"}}]
    assert len(await rows(reader, stages, rule=MINE)) == 2
    assert await rows(reader, stages, rule=MINE, cut={"owner": 0}) == []


async def test_what_fails_says_nothing_of_the_document(notes: Documents, reader: MongoReader) -> None:
    with pytest.raises(InvalidDocumentError) as failed:
        await rows(reader, [{"$set": {"m": {"$divide": [1, "$n"]}}}])
    assert "secret" not in str(failed.value)


# -------------------------------------------------------------------------------------------------------------- bounds


def cursors(database: Documents) -> int:
    """Cursors and commands under way on the notes, whoever's, that MongoDB has not been told to end."""
    stages: Stages = [
        {"$currentOp": {"idleCursors": True}},
        {"$match": {"killPending": {"$ne": True}}},
        {"$match": {"ns": f"{database.name}.notes", "$or": [{"type": "idleCursor"}, {"op": {"$ne": "none"}}]}},
    ]
    return len(list(database.client.admin.aggregate(stages)))


@pytest.mark.parametrize("bounds", [{"rows": 100, "size": 10**9}, {"rows": 10**9, "size": 5000}])
async def test_what_is_larger_is_refused_with_the_bound_and_read_no_further(
    notes: Documents, reader: MongoReader, bounds: dict[str, int]
) -> None:
    notes.notes.insert_many({"n": n} for n in range(2000))
    with pytest.raises(TooLargeError) as refused:
        await reader.aggregate("notes", piped([{"$set": {"m": 1}}], None, None), **BOUNDS | bounds)
    assert refused.value.details == {"limit": min(bounds.values())}
    assert "NDJSON" in refused.value.message
    assert cursors(notes) == 0
    assert len(await rows(reader, [{"$set": {"m": 1}}], rows=2255)) == 2255  # exactly as many


SLOW: Stages = [
    {
        "$set": {
            "m": {"$reduce": {"input": {"$range": [0, 3_000_000]}, "initialValue": 0, "in": {"$add": ["$$value", 1]}}}
        }
    }
]
"""Half a second and more for each document."""


async def test_who_is_gone_leaves_nothing_running(notes: Documents, reader: MongoReader) -> None:
    task = asyncio.ensure_future(reader.aggregate("notes", SLOW, **BOUNDS))
    await until(lambda: cursors(notes) > 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: cursors(notes) == 0, seconds=3)
    assert await rows(reader, [{"$match": {"n": 1}}, {"$project": {"n": 1}}]) == [{"_id": 1, "n": 1}]


async def test_it_has_the_time_of_a_request(notes: Documents, replica_set: ReplicaSet) -> None:
    client, motors = clients.open_database(replica_set.uri, notes.name)
    try:
        hasty = MongoReader(client, motors, Gate(0.5))
        with pytest.raises((TimedOutError, UnavailableError)):
            await hasty.aggregate("notes", SLOW, **BOUNDS)
        await until(lambda: cursors(notes) == 0)
    finally:
        client.close()


TOO_MUCH: dict[str, tuple[Stages, type[ServiceError]]] = {
    "sort": ([{"$sort": {"g": 1, "_id": 1}}], TooLargeError),
    "group": ([{"$group": {"_id": "$_id", "t": {"$max": "$t"}}}], TooLargeError),
    "set": ([{"$group": {"_id": None, "t": {"$addToSet": {"$concat": ["$t", "$_id"]}}}}], TooLargeError),
    "row": ([{"$set": {"a": {"$map": {"input": {"$range": [0, 1000]}, "in": "$t"}}}}], TooLargeError),
}


@pytest.fixture(scope="module")
async def meagre() -> AsyncIterator[tuple[MongoReader, Documents]]:
    """A mongod of its own that gives a stage 1 MB instead of 100."""
    with tempfile.TemporaryDirectory(prefix="realtime-meagre-") as directory:
        async with breakable(Path(directory)) as uri:
            with plain(uri) as database:
                for name in ("BlockingSortMemoryUsageBytes", "AddToSetBytes"):
                    database.client.admin.command({"setParameter": 1, f"internalQueryMax{name}": 1 << 20})
                database.client.admin.command({"setParameter": 1, "internalDocumentSourceGroupMaxMemoryBytes": 1 << 20})
                database.notes.insert_many({"_id": f"{n}", "g": n % 50, "t": "x" * 20_000} for n in range(300))
                client, motors = clients.open_database(uri, database.name)
                yield MongoReader(client, motors, Gate(20.0)), database
                client.close()


@pytest.mark.parametrize("name", TOO_MUCH)
async def test_what_mongodb_has_no_memory_for_is_too_large_and_no_bug(
    meagre: tuple[MongoReader, Documents], name: str
) -> None:
    reader, database = meagre
    stages, kind = TOO_MUCH[name]
    with pytest.raises(OperationFailure):
        list(database.notes.aggregate(stages, allowDiskUse=False))
    with pytest.raises(kind):
        await rows(reader, stages)
    with pytest.raises(kind):
        await streamed(reader, stages)
