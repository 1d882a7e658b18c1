"""Writes against a real mongod: majority-committed, decided with their condition, each with its own cluster time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any

import bson
import pytest
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument

from realtime.core.bson import stored
from realtime.core.bson.stored import Broken
from realtime.core.live.events import to_time, to_timestamp
from realtime.errors import (
    DuplicateKeyError,
    InvalidUpdateError,
    NotFoundError,
    PreconditionFailedError,
    ServiceError,
    TooLargeError,
    ValidationFailedError,
)
from realtime.mongo import client as clients
from realtime.mongo.faults import Gate
from realtime.mongo.writes import MongoWriter
from realtime.ports import Written
from tests.mongo.commands import Commands, Documents, failing, now, watch_commands
from tests.replica_set import ReplicaSet

APP = "realtime"
Write = Callable[[], Coroutine[Any, Any, Written]]


def writer_of(uri: str, database: Documents) -> Iterator[MongoWriter]:
    client, motors = clients.open_database(uri, database.name)
    yield MongoWriter(client, motors, Gate(10))
    client.close()


@pytest.fixture
async def writer(replica_set: ReplicaSet, database: Documents) -> AsyncIterator[MongoWriter]:
    for made in writer_of(replica_set.uri, database):
        yield made


@pytest.fixture
async def own_writer(own_uri: str, own: Documents) -> AsyncIterator[MongoWriter]:
    # The driver looks for a primary at its next heartbeat; 500 ms is the least it takes.
    for made in writer_of(f"{own_uri}&heartbeatFrequencyMS=500", own):
        yield made


def told(database: Documents, start: int, count: int) -> list[tuple[str, Any, int]]:
    """Operation, key and time of the `count` events after `start`, by a plain change stream."""
    with database.watch(start_at_operation_time=to_timestamp(start + 1)) as stream:
        events = [next(stream) for _ in range(count)]
    return [(event["operationType"], event["documentKey"]["_id"], to_time(event["clusterTime"])) for event in events]


# ------------------------------------------------------------------------------------------- answers that quote values


@pytest.mark.parametrize(
    "value",
    [Binary(b"12345", 4), Binary(b"12345", 3), Binary(b"x" * 16, 4), uuid.UUID(int=5), DatetimeMS(2**60)],
    ids=ascii,
)
async def test_a_value_that_is_there_twice_is_a_duplicate_whatever_the_driver_makes_of_it(
    writer: MongoWriter, database: Documents, value: Any
) -> None:
    """Binary data whose subtype says UUID and that is none was said to be unstorable, by the answer that quotes it."""
    database.orders.create_index("u", unique=True)
    made = await writer.insert("orders", {"u": value})
    other = await writer.insert("orders", {"u": 1})
    writes: list[Write] = [
        lambda: writer.insert("orders", {"u": value}),
        lambda: writer.replace("orders", other.key, {"u": value}),
        lambda: writer.update("orders", other.key, {"$set": {"u": value}}),
        lambda: writer.update("orders", other.key, {"$set": {"u": value}}, where={"u": 1}),
    ]
    for write in writes:
        with pytest.raises(DuplicateKeyError):
            await write()
    with pytest.raises(DuplicateKeyError):
        await writer.insert_many("orders", [{"u": 2}, {"u": value}])
    keyed = await writer.insert("orders", {"_id": value})
    assert (keyed.key, type(made.key)) == (value, ObjectId)
    assert (await writer.delete("orders", value)).matched == 1


async def test_an_answer_may_quote_text_that_is_no_utf_8(writer: MongoWriter, database: Documents) -> None:
    database.orders.create_index("u", unique=True)
    documents = [{"_id": 1, "u": Broken("\udcff")}, {"_id": 2, "v": Broken("\udcff")}]
    database.orders.insert_many([RawBSONDocument(stored.encode(document)) for document in documents])
    with pytest.raises(DuplicateKeyError):
        await writer.update("orders", 2, {"$rename": {"v": "u"}})


# ------------------------------------------------------------------------------------------------------------ its time


async def test_the_time_of_every_kind_of_write_is_its_events(database: Documents, writer: MongoWriter) -> None:
    start = now(database)
    writes = [
        ("insert", await writer.insert("orders", {"_id": 1, "n": 0})),
        ("update", await writer.update("orders", 1, {"$inc": {"n": 1}})),
        ("update", await writer.update("orders", 1, {"$inc": {"n": 1}}, where={"n": 1})),
        ("replace", await writer.replace("orders", 1, {"n": 10})),
        ("replace", await writer.replace("orders", 1, {"n": 11}, where={"n": 10})),
        ("insert", await writer.update("orders", 2, {"$set": {"n": 1}}, upsert=True)),
        ("insert", await writer.replace("orders", 3, {"n": 1}, upsert=True)),
        ("replace", await writer.replace("orders", 3, {"n": 2}, where={"n": 1}, upsert=True)),
        ("delete", await writer.delete("orders", 1)),
        ("delete", await writer.delete("orders", 2, where={"n": 1})),
    ]
    assert told(database, start, len(writes)) == [(op, written.key, written.time) for op, written in writes]


async def test_times_of_concurrent_writes_are_each_their_own(database: Documents, writer: MongoWriter) -> None:
    """A session shared between writes would give the time of another one."""
    start = now(database)
    written = await asyncio.gather(*(writer.insert("orders", {"_id": number}) for number in range(50)))
    assert sorted(told(database, start, 50)) == sorted(("insert", one.key, one.time) for one in written)
    assert len({one.time for one in written}) == 50


@pytest.mark.parametrize("kind", ["insert", "update", "replace", "delete", "upsert"])
async def test_a_write_that_the_driver_had_to_send_again_is_one_write_at_or_after_its_event(
    own: Documents, own_writer: MongoWriter, kind: str
) -> None:
    """The first connection closes before the write."""
    command, written, events, _ = await _retried(own, own_writer, kind, closeConnection=True)
    assert command
    assert len(events) == 1
    assert written.time >= events[0][2]


@pytest.mark.parametrize("kind", ["insert", "update", "replace", "delete", "upsert"])
async def test_a_write_whose_answer_was_lost_is_one_write_at_or_after_its_event(
    own: Documents, own_writer: MongoWriter, kind: str
) -> None:
    """It was done, then it answers with an error that is retried: the second answer is from the server's memory."""
    error: dict[str, Any] = {
        "writeConcernError": {"code": 91, "errmsg": "shutting down"},
        "errorLabels": ["RetryableWriteError"],
    }
    command, written, events, counts = await _retried(own, own_writer, kind, meanwhile="other", **error)
    assert command
    assert len(events) == 1
    assert written.time >= events[0][2]
    assert counts == {"insert": None, "update": 1, "replace": 1, "delete": 1, "upsert": 0}[kind]


async def _retried(
    own: Documents, own_writer: MongoWriter, kind: str, meanwhile: str = "", **fault: Any
) -> tuple[bool, Written, list[tuple[str, Any, int]], int | None]:
    own.orders.insert_one({"_id": "there", "n": 0})
    start = now(own)
    writes: dict[str, tuple[str, Write]] = {
        "insert": ("insert", lambda: own_writer.insert("orders", {"_id": "new"})),
        "update": ("update", lambda: own_writer.update("orders", "there", {"$inc": {"n": 1}})),
        "replace": ("update", lambda: own_writer.replace("orders", "there", {"n": 1})),
        "delete": ("delete", lambda: own_writer.delete("orders", "there")),
        "upsert": ("update", lambda: own_writer.update("orders", "new", {"$inc": {"n": 1}}, upsert=True)),
    }
    command, write = writes[kind]
    with failing(own, command, times=1, appName=APP, **fault) as point:
        writing = asyncio.create_task(write())
        if meanwhile:  # somebody else's write between the two tries
            await asyncio.to_thread(point.struck)
            own[meanwhile].insert_one({})
        written = await writing
    own.orders.insert_one({"_id": "last"})
    events = []
    with own.watch(start_at_operation_time=to_timestamp(start + 1)) as stream:
        for event in stream:
            if event["documentKey"]["_id"] == "last":
                break
            if event["ns"]["coll"] != meanwhile:
                events.append((event["operationType"], event["documentKey"]["_id"], to_time(event["clusterTime"])))
    assert [dict(one) for one in own.orders.find({"n": {"$gt": 1}})] == [], "done twice"
    return point.hits == 1, written, events, written.matched


async def test_a_condition_that_meets_a_conflict_is_decided_anew(own: Documents, own_writer: MongoWriter) -> None:
    own.orders.insert_one({"_id": 1, "n": 0})
    conflict: dict[str, Any] = {"errorCode": 112, "errorLabels": ["TransientTransactionError"]}
    with failing(own, "update", times=3, appName=APP, **conflict) as fault:
        written = await own_writer.update("orders", 1, {"$inc": {"n": 1}}, where={"n": 0})
    assert fault.hits == 3
    assert written.modified == 1
    assert list(own.orders.find()) == [{"_id": 1, "n": 1}]


async def test_a_commit_whose_answer_was_lost_is_one_write_at_or_after_its_event(
    own: Documents, own_writer: MongoWriter
) -> None:
    own.orders.insert_one({"_id": 1, "n": 0})
    start = now(own)
    with failing(own, "commitTransaction", times=1, closeConnection=True, appName=APP) as fault:
        written = await own_writer.update("orders", 1, {"$inc": {"n": 1}}, where={"n": 0})
    assert fault.hits == 1
    ((op, key, time),) = told(own, start, 1)
    assert (op, key) == ("update", 1)
    assert written.time >= time
    assert list(own.orders.find()) == [{"_id": 1, "n": 1}]


async def test_a_write_that_changes_nothing_has_a_time_all_the_same(database: Documents, writer: MongoWriter) -> None:
    """There is no event; its time is one at which the document was as it says."""
    database.orders.insert_one({"_id": 1, "n": 1})
    before = now(database)
    written = await writer.update("orders", 1, {"$set": {"n": 1}})
    assert (written.matched, written.modified) == (1, 0)
    assert before <= written.time <= now(database)


# ------------------------------------------------------------------------------------------------------ what it answers


async def test_counts_keys_and_upserted(database: Documents, writer: MongoWriter) -> None:
    made = await writer.insert("orders", {"n": 1})
    assert isinstance(made.key, bson.ObjectId)
    assert (made.matched, made.modified, made.upserted) == (None, None, None)
    updated = await writer.update("orders", made.key, {"$set": {"n": 2}})
    assert (updated.key, updated.matched, updated.modified, updated.upserted) == (made.key, 1, 1, None)
    created = await writer.update("orders", "new", {"$set": {"n": 2}}, upsert=True)
    assert (created.key, created.matched, created.upserted) == ("new", 0, True)
    again = await writer.replace("orders", "new", {"n": 3}, upsert=True)
    assert (again.matched, again.upserted) == (1, False)
    deleted = await writer.delete("orders", "new")
    assert (deleted.key, deleted.matched, deleted.modified) == ("new", 1, None)
    assert list(database.orders.find()) == [{"_id": made.key, "n": 2}]


async def test_what_is_not_there_is_not_found_and_nothing_is_made(database: Documents, writer: MongoWriter) -> None:
    database.create_collection("orders")
    conditions: list[dict[str, Any] | None] = [None, {}, {"n": 1}]
    for where in conditions:
        with pytest.raises(NotFoundError, match="orders"):
            await writer.update("orders", 1, {"$set": {"n": 1}}, where=where)
        with pytest.raises(NotFoundError):
            await writer.replace("orders", 1, {"n": 1}, where=where)
        with pytest.raises(NotFoundError):
            await writer.delete("orders", 1, where=where)
    assert database.orders.count_documents({}) == 0


async def test_what_mongodb_refuses_is_said_in_our_words(database: Documents, writer: MongoWriter) -> None:
    database.create_collection("strict", validator={"n": {"$type": "int"}})
    database.strict.create_index("n", unique=True)
    await writer.insert("strict", {"_id": 1, "n": 1})
    await writer.insert("lists", {"_id": 1, "list": []})
    refused: list[tuple[type[ServiceError], Write]] = [
        (DuplicateKeyError, lambda: writer.insert("strict", {"_id": 1, "n": 2})),
        (DuplicateKeyError, lambda: writer.insert("strict", {"_id": 2, "n": 1})),
        (ValidationFailedError, lambda: writer.insert("strict", {"_id": 2, "n": "text"})),
        (ValidationFailedError, lambda: writer.update("strict", 1, {"$set": {"n": "text"}})),
        (ValidationFailedError, lambda: writer.update("strict", 1, {"$set": {"n": "text"}}, where={"n": 1})),
        (InvalidUpdateError, lambda: writer.update("strict", 1, {"$inc": {"_id": 1}})),
        (InvalidUpdateError, lambda: writer.update("strict", 1, {"$push": {"n": 1}})),
        (InvalidUpdateError, lambda: writer.update("strict", 1, {"$inc": {"n": 1}, "$set": {"n": 1}})),
        (InvalidUpdateError, lambda: writer.update("lists", 1, {"$set": {"list.2000000": 1}})),
        (TooLargeError, lambda: writer.insert("strict", {"_id": 2, "n": 2, "text": "x" * 17_000_000})),
    ]
    for kind, write in refused:
        with pytest.raises(kind) as error:
            await write()
        assert "maybe_written" not in (error.value.details or {})
    assert list(database.strict.find()) == [{"_id": 1, "n": 1}]


async def test_a_duplicate_names_the_fields_and_not_the_values(database: Documents, writer: MongoWriter) -> None:
    database.orders.create_index([("customer", 1), ("number", 1)], unique=True)
    await writer.insert("orders", {"customer": "secret", "number": 1})
    with pytest.raises(DuplicateKeyError) as refused:
        await writer.insert("orders", {"customer": "secret", "number": 1})
    assert refused.value.details == {"fields": ["customer", "number"]}
    assert "secret" not in str(refused.value.payload())


# ---------------------------------------------------------------------------------------------------------------- where


async def test_where_that_does_not_match_writes_nothing_and_upserts_nothing(
    database: Documents, writer: MongoWriter
) -> None:
    database.orders.insert_one({"_id": 1, "version": 3})
    for upsert in (False, True):
        with pytest.raises(PreconditionFailedError):
            await writer.update("orders", 1, {"$inc": {"version": 1}}, where={"version": 4}, upsert=upsert)
        with pytest.raises(PreconditionFailedError):
            await writer.replace("orders", 1, {"version": 9}, where={"version": {"$gt": 3}}, upsert=upsert)
    with pytest.raises(PreconditionFailedError):
        await writer.delete("orders", 1, where={"version": 4})
    with pytest.raises(PreconditionFailedError):
        await writer.update("orders", "new", {"$set": {"version": 1}}, where={"version": 1}, upsert=True)
    assert list(database.orders.find()) == [{"_id": 1, "version": 3}]


async def test_where_that_matches_writes(database: Documents, writer: MongoWriter) -> None:
    database.orders.insert_one({"_id": 1, "version": 3, "tags": ["a", "b"]})
    await writer.update("orders", 1, {"$set": {"version": 4}}, where={"version": {"$lt": 4}, "tags": "b"})
    await writer.replace("orders", 1, {"version": 5}, where={"_id": 1, "version": 4})
    assert list(database.orders.find()) == [{"_id": 1, "version": 5}]
    await writer.delete("orders", 1, where={"$or": [{"version": 5}, {"version": 6}]})
    assert database.orders.count_documents({}) == 0


@pytest.mark.parametrize("kind", ["update", "delete", "replace"])
async def test_of_20_conditional_writes_at_once_exactly_one_wins(
    database: Documents, writer: MongoWriter, kind: str
) -> None:
    database.orders.insert_one({"_id": 1, "version": 1})
    ways: dict[str, Callable[[int], Awaitable[Written]]] = {
        "update": lambda n: writer.update(
            "orders", 1, {"$inc": {"version": 1}, "$set": {"n": n}}, where={"version": 1}
        ),
        "replace": lambda n: writer.replace("orders", 1, {"version": 2, "n": n}, where={"version": 1}),
        "delete": lambda _: writer.delete("orders", 1, where={"version": 1}),
    }
    done = await asyncio.gather(*(ways[kind](number) for number in range(20)), return_exceptions=True)
    won = [number for number, one in enumerate(done) if isinstance(one, Written)]
    lost = [one for one in done if not isinstance(one, Written)]
    assert len(won) == 1
    refused = NotFoundError if kind == "delete" else PreconditionFailedError
    assert [type(one) for one in lost] == [refused] * 19
    expected = [] if kind == "delete" else [{"_id": 1, "version": 2, "n": won[0]}]
    assert list(database.orders.find()) == expected


# ------------------------------------------------------------------------------------------------------ keys are values


@pytest.mark.parametrize(
    "key",
    [{"$gt": ""}, {"$ne": None}, {"$in": [1, 2]}, {"$exists": True}, bson.Regex(".*"), [1, 2]],
    ids=["$gt", "$ne", "$in", "$exists", "regular expression", "list"],
)
async def test_a_key_that_looks_like_a_condition_is_a_value(database: Documents, writer: MongoWriter, key: Any) -> None:
    before: list[dict[str, Any]] = [{"_id": 1}, {"_id": 2}, {"_id": "a"}]
    database.orders.insert_many(before)
    conditions: list[dict[str, Any] | None] = [None, {}]
    for where in conditions:
        with pytest.raises(NotFoundError):
            await writer.update("orders", key, {"$set": {"n": 1}}, where=where)
        with pytest.raises(NotFoundError):
            await writer.replace("orders", key, {"n": 1}, where=where)
        with pytest.raises(NotFoundError):
            await writer.delete("orders", key, where=where)
    assert list(database.orders.find()) == before


@pytest.mark.parametrize("key", [{"$gt": ""}, bson.Regex(".*"), [1, 2]], ids=["$gt", "regular expression", "list"])
async def test_a_key_that_mongodb_does_not_take_is_the_askers_mistake(
    database: Documents, writer: MongoWriter, key: Any
) -> None:
    with pytest.raises(InvalidUpdateError, match="_id"):
        await writer.insert("orders", {"_id": key})
    with pytest.raises(InvalidUpdateError, match="_id"):
        await writer.update("orders", key, {"$set": {"n": 1}}, upsert=True)
    with pytest.raises(InvalidUpdateError, match="_id"):
        await writer.replace("orders", key, {"n": 1}, upsert=True)
    assert database.orders.count_documents({}) == 0


@pytest.mark.parametrize("key", [None, {"a": 1}, {"a": {"b": [1]}}, "a.b", 1.5, True, bson.Int64(7), ""])
async def test_a_key_of_any_type_is_found_again(database: Documents, writer: MongoWriter, key: Any) -> None:
    made = await writer.insert("orders", {"_id": key, "n": 1})
    assert made.key == key
    assert (await writer.update("orders", key, {"$inc": {"n": 1}}, where={"n": 1})).modified == 1
    assert (await writer.replace("orders", key, {"n": 3}, upsert=True)).upserted is False
    assert list(database.orders.find()) == [{"_id": key, "n": 3}]
    assert (await writer.delete("orders", key)).matched == 1


# --------------------------------------------------------------------------------------------------------------- commit


@pytest.mark.parametrize("option", ["", "&w=1", "&w=0", "&journal=false&w=1"])
async def test_every_write_is_sent_with_a_majority_write_concern_whatever_the_uri_says(
    replica_set: ReplicaSet, database: Documents, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    commands = watch_commands(monkeypatch)
    for writer in writer_of(replica_set.uri + option, database):
        await writer.insert("orders", {"_id": 1, "n": 0})
        await writer.update("orders", 1, {"$inc": {"n": 1}})
        await writer.replace("orders", 1, {"n": 2})
        await writer.update("orders", 1, {"$inc": {"n": 1}}, where={"n": 2})
        await writer.delete("orders", 1)
    assert concerns(commands) == {
        "insert": ["majority"],
        "update": ["majority", "majority", None],  # the last in a transaction, whose commit carries it
        "commitTransaction": ["majority"],
        "delete": ["majority"],
    }


def concerns(commands: Commands) -> dict[str, list[Any]]:
    """The `w` that each command carried, None without one, in order."""
    found: dict[str, list[Any]] = {}
    for command in commands.of("insert", "update", "delete", "commitTransaction"):
        found.setdefault(command["name"], []).append(command.get("writeConcern", {}).get("w"))
    return found
