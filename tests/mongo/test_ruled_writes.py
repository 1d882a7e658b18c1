"""Writes under rules against a real mongod: what goes ahead, and what is told of what does not."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pydantic import BaseModel, ConfigDict, Field
from pymongo.errors import WriteError

from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.writing import Ruling
from realtime.core.bson import stored
from realtime.core.bson.values import MISSING, order
from realtime.core.mql.assignments import assignments
from realtime.core.mql.fieldsets import place
from realtime.core.mql.updates import OPERATORS, check_update
from realtime.core.wire.collections import Collection, Collections
from realtime.errors import (
    DuplicateKeyError,
    ForbiddenError,
    NotFoundError,
    PreconditionFailedError,
    ServiceError,
    ValidationFailedError,
)
from realtime.mongo import client as clients
from realtime.mongo.checked import CheckedWriter
from realtime.mongo.faults import Gate
from realtime.mongo.ruled_writes import RuledWriter
from realtime.mongo.snapshot import MongoReader
from realtime.mongo.writes import MongoWriter
from tests.chance import fresh_seed
from tests.mongo.commands import Commands, Documents, watch_commands
from tests.mongo.grammar import SHARES
from tests.replica_set import ReplicaSet

As = Callable[..., RuledWriter]
MINE = {"owner": "$user.sub"}
ORDERS = {
    "customer": {
        "read": MINE,
        "insert": {**MINE, "status": "new"},
        "update": {**MINE, "status": {"$in": ["new", "open"]}},
        "delete": {**MINE, "status": "new"},
        "fields": {"hide": ["margin", "notes.internal"]},
    },
    "clerk": {
        "read": True,
        "update": {"status": {"$ne": "closed"}},
        "fields": {"hide": ["margin"], "write": ["status", "margin"]},
    },
    "member": {
        "read": {"team": {"$in": {"$from": {"collection": "teams", "where": {"user": "$user.sub"}, "values": "team"}}}},
        "insert": {
            "team": {"$in": {"$from": {"collection": "teams", "where": {"user": "$user.sub"}, "values": "team"}}}
        },
        "update": {
            "team": {"$in": {"$from": {"collection": "teams", "where": {"user": "$user.sub"}, "values": "team"}}}
        },
    },
    "machine": {"read": True, "insert": True, "keys": "server"},
    "root": {"read": True, "insert": True, "update": True, "delete": True},
}


def rules(orders: Mapping[str, Any] = ORDERS) -> Rules:
    return Rules.model_validate({"collections": {"orders": orders}})


class Task(BaseModel):
    model_config = ConfigDict(extra="allow")
    title: str = "untitled"
    margin: int = Field(0, le=100)


@pytest.fixture
def commands(database: Documents, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Those of the writers, whose client is made from now on."""
    return watch_commands(monkeypatch)


@contextmanager
def sent(commands: Commands) -> Iterator[list[str]]:
    """The names of the commands that are sent inside."""
    names: list[str] = []
    before = len(commands.sent)
    yield names
    names += [one["name"] for one in commands.sent[before:]]


@pytest.fixture
async def writers(replica_set: ReplicaSet, database: Documents, commands: Commands) -> AsyncIterator[Callable[..., As]]:
    client, motors = clients.open_database(replica_set.uri, database.name)
    reader = MongoReader(client, motors, Gate(10))

    def writers(policy: Rules | None = None, collections: Collections | None = None) -> As:
        plain = CheckedWriter(client, motors, Gate(10), collections or Collections())

        def by(sub: str, *roles: str) -> RuledWriter:
            return RuledWriter(plain, Ruling(policy or rules(), Principal(sub, frozenset(roles))), reader.zones)

        return by

    yield writers
    client.close()


@pytest.fixture
def by(writers: Callable[..., As]) -> As:
    return writers()


def methods(of: type) -> set[str]:
    return {name for name, value in vars(of).items() if callable(value) and not name.startswith("_")}


def test_every_way_of_writing_goes_through_the_rules() -> None:
    assert methods(RuledWriter) == methods(MongoWriter)
    assert len(methods(RuledWriter)) >= 5


async def refused(kind: type[ServiceError], work: Awaitable[Any]) -> ServiceError:
    with pytest.raises(kind) as found:
        await work
    return found.value


def told(error: ServiceError) -> tuple[str, str, Any]:
    return error.code, error.message, error.details


# ---------------------------------------------------------------------------------------------------------- insert


async def test_an_insert_obeys_rows_and_fields(by: As, database: Documents) -> None:
    ann = by("ann", "customer")
    made = await ann.insert("orders", {"owner": "ann", "status": "new", "n": 1})
    assert database.orders.find_one() == {"_id": made.key, "owner": "ann", "status": "new", "n": 1}
    for document in (
        {"owner": "bob", "status": "new"},
        {"owner": "ann", "status": "open"},
        {"owner": "ann", "status": "new", "margin": 1},
        {"owner": "ann", "status": "new", "notes": {"internal": 1}},
    ):
        await refused(ForbiddenError, ann.insert("orders", document))
        error = await refused(ForbiddenError, ann.insert_many("orders", [{"owner": "ann", "status": "new"}, document]))
        assert error.details == {"index": 1}
    assert database.orders.count_documents({}) == 1
    many = await ann.insert_many("orders", [{"owner": "ann", "status": "new", "_id": n} for n in range(3)])
    assert many.keys == [0, 1, 2]
    assert database.orders.count_documents({}) == 4


async def test_no_rule_is_no_write(by: As, database: Documents) -> None:
    for writer in (by("ann"), by("ann", "clerk")):
        await refused(ForbiddenError, writer.insert("orders", {"a": 1}))
        await refused(ForbiddenError, writer.insert_many("orders", [{"a": 1}]))
        await refused(ForbiddenError, writer.delete("orders", 1))
        await refused(ForbiddenError, writer.update("orders", 1, {"$set": {"a": 1}}))
        await refused(ForbiddenError, writer.replace("orders", 1, {"owner": "x"}, upsert=True))
        await refused(ForbiddenError, writer.update("orders", 1, {"$set": {"status": 1}}, upsert=True))
    await refused(ForbiddenError, by("ann").replace("orders", 1, {"owner": "x"}))
    await refused(ForbiddenError, by("ann", "root").insert("others", {"a": 1}))
    assert database.list_collection_names() == []


async def test_keys_may_be_the_services_to_make(by: As, database: Documents) -> None:
    machine = by("m", "machine")
    await machine.insert("orders", {"a": 1})
    await refused(ForbiddenError, machine.insert("orders", {"_id": 1, "a": 1}))
    await refused(ForbiddenError, machine.insert_many("orders", [{"a": 1}, {"_id": 1, "a": 1}]))
    assert database.orders.count_documents({}) == 1


async def test_a_key_that_is_taken_is_told_without_a_word_whichever_index_has_it(by: As, database: Documents) -> None:
    database.orders.create_index("secret", unique=True)
    database.orders.insert_one({"_id": 1, "owner": "bob", "secret": "s"})
    ann = by("ann", "customer")
    mine = {"owner": "ann", "status": "new"}
    errors = [
        await refused(DuplicateKeyError, ann.insert("orders", {**mine, "_id": 1})),
        await refused(DuplicateKeyError, ann.insert("orders", {**mine, "secret": "s"})),
        await refused(DuplicateKeyError, ann.insert_many("orders", [{**mine, "secret": "t"}, {**mine, "_id": 1}])),
        await refused(DuplicateKeyError, ann.insert_many("orders", [{**mine, "secret": "s"}])),
        await refused(DuplicateKeyError, ann.replace("orders", 1, mine, upsert=True)),
        await refused(DuplicateKeyError, ann.update("orders", 1, {"$set": mine}, upsert=True)),
        await refused(DuplicateKeyError, ann.update("orders", 1, {"$set": {**mine, "secret": "s"}}, upsert=True)),
    ]
    assert {told(error) for error in errors} == {("duplicate_key", "a document with this key is there already", None)}
    assert database.orders.count_documents({}) == 1


async def test_a_stamp_of_mongodbs_is_judged_as_it_is_stored(writers: Callable[..., As], database: Documents) -> None:
    by = writers(rules({"*": {"read": True, "insert": {"at": Timestamp(0, 0)}, "update": {"at": Timestamp(0, 0)}}}))
    await refused(ForbiddenError, by("ann").insert("orders", {"at": Timestamp(0, 0)}))
    await refused(ForbiddenError, by("ann").insert_many("orders", [{"at": Timestamp(0, 0)}]))
    database.orders.insert_one(RawBSONDocument(bson.encode({"_id": 1, "at": [Timestamp(0, 0)]})))
    await refused(ForbiddenError, by("ann").replace("orders", 1, {"at": Timestamp(0, 0)}))
    assert database.orders.count_documents({}) == 1


# ---------------------------------------------------------------------------------------------------------- update


async def test_an_update_that_leaves_the_rule_alone_is_one_command(
    by: As, database: Documents, commands: Commands
) -> None:
    database.orders.insert_one({"_id": 1, "owner": "ann", "status": "new", "margin": 5})
    ann = by("ann", "customer")
    with sent(commands) as seen:
        written = await ann.update("orders", 1, {"$inc": {"n": 1}})
    assert (written.matched, written.modified) == (1, 1)
    assert seen == ["update"]


async def test_the_rule_holds_before_and_after(by: As, database: Documents) -> None:
    database.orders.insert_many(
        [{"_id": 1, "owner": "ann", "status": "new"}, {"_id": 2, "owner": "ann", "status": "closed"}]
    )
    ann = by("ann", "customer")
    assert (await ann.update("orders", 1, {"$set": {"status": "open"}})).modified == 1
    update: dict[str, Any]
    for update in ({"$set": {"status": "closed"}}, {"$set": {"owner": "bob"}}, {"$rename": {"owner": "was"}}):
        error = await refused(ForbiddenError, ann.update("orders", 1, update))
        assert error.message == "the document would be none that you may update"
    for update in ({"$set": {"status": "new"}}, {"$set": {"n": 1}}):
        error = await refused(ForbiddenError, ann.update("orders", 2, update))
        assert error.message == "this document is not yours to update"
    assert list(database.orders.find()) == [
        {"_id": 1, "owner": "ann", "status": "open"},
        {"_id": 2, "owner": "ann", "status": "closed"},
    ]


async def test_the_rule_is_asked_of_the_document_that_the_write_meets(by: As, database: Documents) -> None:
    """A write that took the document away between judging and writing is seen: one of the two is judged again."""
    outcomes: list[str] = []
    for _ in range(30):
        database.orders.replace_one({"_id": 1}, {"_id": 1, "owner": "ann", "status": "new"}, upsert=True)

        async def take() -> None:
            await by("root", "root").update("orders", 1, {"$set": {"status": "closed"}})

        async def open_it() -> None:
            try:
                await by("ann", "customer").update("orders", 1, {"$set": {"status": "open", "n": 1}})
                outcomes.append("first")
            except ForbiddenError:
                outcomes.append("late")

        await asyncio.gather(take(), open_it())
        found = database.orders.find_one({"_id": 1})
        assert found is not None
        # Had it been judged before the other write and written after it, it would be open.
        assert found["status"] == "closed"
        assert ("n" in found) is (outcomes[-1] == "first")
    assert len(outcomes) == 30


async def test_what_is_not_seen_is_answered_as_what_is_missing(by: As, database: Documents, commands: Commands) -> None:
    database.orders.insert_one({"_id": 1, "owner": "bob", "status": "new", "margin": 1})
    ann = by("ann", "customer")
    tag: list[bytes | None] = []

    def match(raw: bytes | None) -> bool:
        tag.append(raw)
        return raw is None

    mine = {"owner": "ann", "status": "new"}
    writes: list[Callable[[int], Awaitable[Any]]] = [
        lambda key: ann.update("orders", key, {"$set": {"n": 1}}),
        lambda key: ann.update("orders", key, {"$set": {"n": 1}}, image=True),
        lambda key: ann.update("orders", key, {"$set": {"owner": "ann"}}),
        lambda key: ann.update("orders", key, {"$set": {"n": 1}}, where={"n": 1}),
        lambda key: ann.update("orders", key, {"$set": mine}, where={"n": 1}, upsert=True),
        lambda key: ann.update("orders", key, {"$set": {"n": 1}}, match=match),
        lambda key: ann.update("orders", key, {"$set": {"n": 1}}, match=lambda raw: raw is not None),
        lambda key: ann.update("orders", key, {"$set": {"owner": "bob"}}, upsert=True),
        lambda key: ann.replace("orders", key, {"owner": "bob"}, upsert=True),
        lambda key: ann.replace("orders", key, {**mine, "margin": 1}, upsert=True),
        lambda key: ann.replace("orders", key, mine),
        lambda key: ann.replace("orders", key, {"owner": "bob"}),
        lambda key: ann.delete("orders", key),
        lambda key: ann.delete("orders", key, where={"n": 1}),
        lambda key: ann.delete("orders", key, match=lambda raw: raw is not None),
    ]
    for write in writes:
        asked: list[list[str]] = []
        answers = []
        for key in (1, 2):
            with sent(commands) as seen:
                answers.append(told(await refused(ServiceError, write(key))))
            asked.append(seen)
        assert answers[0] == answers[1]
        assert asked[0] == asked[1]
    assert tag == [None, None]
    assert list(database.orders.find()) == [{"_id": 1, "owner": "bob", "status": "new", "margin": 1}]


async def test_a_hidden_field_is_written_whole_and_nothing_is_told_of_it(by: As, database: Documents) -> None:
    database.orders.insert_one({"_id": 1, "owner": "ann", "status": "new", "margin": 5})
    clerk = by("cid", "clerk")
    update: dict[str, Any]
    for update in (
        {"$set": {"margin": 5}},
        {"$set": {"margin": 6}},
        {"$unset": {"margin": 1}},
        {"$unset": {"margin": 1}},
    ):
        for image in (False, True):
            written = await clerk.update("orders", 1, update, image=image)
            assert (written.matched, written.modified) == (1, None)
            assert image is (written.image is not None)
            if written.image is not None:
                assert "margin" not in stored.decode(written.image)
    assert (await clerk.update("orders", 1, {"$set": {"status": "new"}})).modified == 0
    for update in (
        {"$inc": {"margin": 1}},
        {"$min": {"margin": 1}},
        {"$rename": {"margin": "status"}},
        {"$set": {"margin.a": 1}},
        {"$push": {"margin": 1}},
    ):
        await refused(ForbiddenError, clerk.update("orders", 1, update))
    await refused(ForbiddenError, clerk.update("orders", 1, {"$set": {"owner": 1}}))


async def test_conditions_are_by_what_is_shown(by: As, database: Documents) -> None:
    database.orders.insert_one({"_id": 1, "owner": "ann", "status": "new", "margin": 5, "n": 1})
    ann = by("ann", "customer")
    assert (await ann.update("orders", 1, {"$inc": {"n": 1}}, where={"n": 1})).modified == 1
    await refused(PreconditionFailedError, ann.update("orders", 1, {"$inc": {"n": 1}}, where={"n": 1}))
    for where in ({"margin": 5}, {"margin": 6}, {"$expr": {"$eq": ["$margin", 5]}}, {"notes": {"a": 1}}):
        for work in (
            ann.update("orders", 1, {"$inc": {"n": 1}}, where=where),
            ann.replace("orders", 1, {"owner": "ann"}, where=where),
            ann.delete("orders", 1, where=where),
        ):
            await refused(ForbiddenError, work)


async def test_tags_are_of_the_document_as_it_is_seen(by: As, database: Documents) -> None:
    database.orders.insert_one({"_id": 1, "owner": "ann", "status": "new", "margin": 5})
    seen = stored.encode({"_id": 1, "owner": "ann", "status": "new"})
    ann = by("ann", "customer")
    written = await ann.update("orders", 1, {"$set": {"n": 1}}, match=lambda raw: raw == seen, image=True)
    assert written.image == stored.encode({"_id": 1, "owner": "ann", "status": "new", "n": 1})
    database.orders.update_one({"_id": 1}, {"$set": {"margin": 6}})
    again = await ann.update("orders", 1, {"$set": {"n": 1}}, match=lambda raw: raw == written.image, image=True)
    assert again.image == written.image
    await refused(PreconditionFailedError, ann.delete("orders", 1, match=lambda raw: raw == seen))
    await ann.delete("orders", 1, match=lambda raw: raw == written.image)


async def test_an_upsert_obeys_both_rules(by: As, database: Documents) -> None:
    ann = by("ann", "customer")
    made = await ann.update("orders", 1, {"$set": {"owner": "ann", "status": "new"}}, upsert=True)
    assert made.upserted is True
    await refused(ForbiddenError, ann.update("orders", 2, {"$set": {"owner": "ann", "status": "open"}}, upsert=True))
    changed = await ann.update("orders", 1, {"$set": {"owner": "ann", "status": "open"}}, upsert=True)
    assert changed.upserted is False
    replaced = await ann.replace("orders", 3, {"owner": "ann", "status": "new"}, upsert=True, image=True)
    assert replaced.upserted is True
    assert replaced.image == stored.encode({"_id": 3, "owner": "ann", "status": "new"})
    await refused(ForbiddenError, ann.replace("orders", 4, {"owner": "bob", "status": "new"}, upsert=True))
    assert [one["_id"] for one in database.orders.find().sort("_id")] == [1, 3]


async def test_a_rule_may_name_a_time_zone(writers: Callable[..., As], database: Documents) -> None:
    early = {"$expr": {"$lt": [{"$hour": {"date": "$at", "timezone": "Asia/Tokyo"}}, 9]}}
    by = writers(rules({"*": {"read": True, "insert": early, "update": early}}))
    morning, evening = (dt.datetime(2026, 1, 1, hour, tzinfo=dt.UTC) for hour in (16, 8))
    await by("ann").insert("orders", {"_id": 1, "at": morning})
    await refused(ForbiddenError, by("ann").insert("orders", {"at": evening}))
    await by("ann").update("orders", 1, {"$set": {"n": 1}})
    await refused(ForbiddenError, by("ann").update("orders", 1, {"$set": {"at": evening}}))
    # Of a document of which it has no value the rule lets nothing.
    await refused(ForbiddenError, by("ann").insert("orders", {"at": "text"}))
    assert database.orders.find_one() == {"_id": 1, "at": morning.replace(tzinfo=None), "n": 1}


# ------------------------------------------------------------------------------------------------ replace and delete


async def test_a_replacement_keeps_what_is_out_of_reach(by: As, database: Documents) -> None:
    database.orders.insert_one(
        {"_id": 1, "owner": "ann", "margin": 5, "status": "new", "notes": {"internal": "no", "text": "x"}}
    )
    ann = by("ann", "customer")
    given = {"owner": "ann", "status": "open", "notes": {"text": "y"}}
    written = await ann.replace("orders", 1, given, image=True)
    assert written.modified is None
    assert written.image == stored.encode({"_id": 1, **given})
    assert database.orders.find_one() == {
        "_id": 1, "owner": "ann", "status": "open", "notes": {"text": "y", "internal": "no"}, "margin": 5,
    }  # fmt: skip
    await refused(ForbiddenError, ann.replace("orders", 1, {**given, "margin": 5}))
    await refused(ForbiddenError, ann.replace("orders", 1, {**given, "status": "closed"}))
    root = await by("root", "root").replace("orders", 1, {"a": 1}, image=True)
    assert (root.modified, database.orders.find_one()) == (1, {"_id": 1, "a": 1})


async def test_a_delete_obeys_its_rule(by: As, database: Documents, commands: Commands) -> None:
    database.orders.insert_many([{"_id": n, "owner": "ann", "status": s} for n, s in enumerate(("new", "open"))])
    ann = by("ann", "customer")
    with sent(commands) as seen:
        await ann.delete("orders", 0)
    assert seen == ["delete"]
    error = await refused(ForbiddenError, ann.delete("orders", 1))
    assert error.message == "this document is not yours to delete"
    await refused(NotFoundError, ann.delete("orders", 0))
    assert [one["_id"] for one in database.orders.find()] == [1]


# -------------------------------------------------------------------------------------------- sets, models, errors


async def test_a_set_is_asked_in_the_writes_own_transaction(by: As, database: Documents, commands: Commands) -> None:
    database.teams.insert_many(
        [{"user": "ann", "team": "red"}, {"user": "ann", "team": ["blue"]}, {"user": "bob", "team": 1}]
    )
    ann = by("ann", "member")
    for team in ("red", "blue"):
        with sent(commands) as seen:
            await ann.insert("orders", {"_id": team, "team": team})
        assert seen == ["find", "insert", "commitTransaction"]
        # Of one transaction, and so of one time.
        numbers = {(bytes(one["lsid"]["id"]), one["txnNumber"], one["autocommit"]) for one in commands.sent[-3:]}
        assert len(numbers) == 1
        assert commands.sent[-3]["startTransaction"] is True
        assert (await ann.update("orders", team, {"$set": {"n": 1}})).modified == 1
    await refused(ForbiddenError, ann.insert("orders", {"team": 1}))
    await refused(ForbiddenError, ann.update("orders", "red", {"$set": {"team": 1}}))
    database.teams.delete_one({"team": "red"})
    await refused(NotFoundError, ann.update("orders", "red", {"$set": {"n": 2}}))
    await refused(ForbiddenError, ann.insert("orders", {"team": "red"}))
    database.teams.insert_one({"user": "ann", "team": [f"t{n}" for n in range(1000)]})
    error = await refused(ForbiddenError, ann.insert("orders", {"team": "blue"}))
    assert "blue" not in error.message
    assert database.orders.count_documents({}) == 2


async def test_a_model_is_told_of_by_what_may_be_read(writers: Callable[..., As], database: Documents) -> None:
    by = writers(rules(), Collections.of([Collection("orders", Task)]))
    ann = by("ann", "customer")
    made = await ann.insert("orders", {"owner": "ann", "status": "new"})
    assert database.orders.find_one() == {
        "_id": made.key, "title": "untitled", "margin": 0, "owner": "ann", "status": "new",
    }  # fmt: skip
    database.orders.update_one({}, {"$set": {"margin": 50}})
    await ann.replace("orders", made.key, {"owner": "ann", "status": "new", "title": "t"})
    found = database.orders.find_one()
    assert found is not None
    assert (found["margin"], found["title"]) == (50, "t")
    await ann.update("orders", made.key, {"$set": {"title": "u"}})
    shown = await refused(ValidationFailedError, ann.update("orders", made.key, {"$set": {"title": 5}}))
    assert shown.details is not None
    assert [one["path"] for one in shown.details["errors"]] == ["title"]
    database.orders.update_one({}, {"$set": {"margin": 4444}})
    for work in (
        ann.update("orders", made.key, {"$set": {"title": "v"}}),
        ann.replace("orders", made.key, {"owner": "ann", "status": "new", "title": "v"}),
    ):
        error = await refused(ValidationFailedError, work)
        assert told(error) == ("validation_failed", "the document is none that the collection takes", None)


async def test_no_word_of_mongodbs_is_told(by: As, database: Documents) -> None:
    database.create_collection(
        "orders", validator={"$jsonSchema": {"properties": {"n": {"bsonType": "int"}, "margin": {"bsonType": "int"}}}}
    )
    database.orders.create_index([("place", "2dsphere")])
    database.orders.insert_one({"_id": 1, "owner": "ann", "status": "new", "margin": 7, "text": "planted"})
    ann = by("ann", "customer")
    works = [
        ann.update("orders", 1, {"$set": {"n": "no int"}}),
        ann.update("orders", 1, {"$set": {"n": "no int"}}, image=True),
        ann.update("orders", 1, {"$set": {"place": {"type": "planted"}}}),
        ann.update("orders", 1, {"$inc": {"text": 1}}),
        ann.update("orders", 1, {"$inc": {"text": 1}}, image=True),
        ann.update("orders", 1, {"$set": {"text.a": 1}}),
        ann.update("orders", 1, {"$set": {"_id": 2}}),
        ann.update("orders", 1, {"$set": {"a": 1, "a.b": 1}}),
        ann.replace("orders", 1, {"owner": "ann", "status": "new", "n": "no int"}),
        ann.insert("orders", {"owner": "ann", "status": "new", "n": "no int"}),
        ann.insert_many("orders", [{"owner": "ann", "status": "new", "n": "no int"}]),
    ]
    codes = []
    for work in works:
        error = await refused(ServiceError, work)
        said = f"{error.message} {error.details}"
        assert not any(word in said for word in ("planted", "no int", "margin", "owner", "errmsg", "caused by", "Plan"))
        assert error.details is None or error.details.keys() <= {"index"}
        codes.append(error.code)
    assert set(codes) == {"validation_failed", "invalid_update"}


# --------------------------------------------------------------------------------------- what an update really changes


def differing(one: Any, other: Any, at: str = "") -> set[str]:
    """The paths at which two documents differ, with the numbers of elements; a length is the array's own."""
    if isinstance(one, dict | list) and type(one) is type(other):
        pairs = [
            ((one.items() if isinstance(one, dict) else enumerate(one)), one),
            ((other.items() if isinstance(other, dict) else enumerate(other)), other),
        ]
        inner = [{str(name): value for name, value in items} for items, _ in pairs]
        found = {at} if isinstance(one, list) and len(one) != len(other) else set()
        for name in {**inner[0], **inner[1]}:
            below = f"{at}.{name}" if at else name
            found |= differing(inner[0].get(name, MISSING), inner[1].get(name, MISSING), below)
        return found
    if one is MISSING and isinstance(other, dict) and other:
        return differing({}, other, at)
    if one is not MISSING and other is not MISSING and order(one) == order(other) and type(one) is type(other):
        return set()
    return {at}


class Updates:
    """Random documents, and random updates of them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, depth: int = 0) -> Any:
        kind = self.random.randrange(8 if depth < 3 else 5)
        if kind >= 6:
            return {self.random.choice("ab01"): self.value(depth + 1) for _ in range(self.random.randrange(3))}
        if kind == 5:
            return [self.value(depth + 1) for _ in range(self.random.randrange(4))]
        return self.random.choice([0, 1, 2.5, "x", None, True])

    def path(self) -> str:
        parts = [self.random.choice("abc"), *(self.random.choice("ab0013") for _ in range(self.random.randrange(3)))]
        return ".".join(parts)

    def operand(self, operator: str) -> Any:
        if operator in {"$inc", "$mul"}:
            return self.random.choice([1, 2])
        if operator == "$currentDate":
            return True
        if operator == "$pop":
            return self.random.choice([1, -1])
        if operator == "$bit":
            return {"or": 4}
        if operator == "$rename":
            return self.path()
        if operator in {"$push", "$addToSet"}:
            each = {"$each": [self.value(2), self.value(2)]}
            sorted_by = {"$sort": 1, "$slice": -2} if operator == "$push" else {}
            return self.random.choice([self.value(2), {**each, **sorted_by}, each])
        if operator == "$pull":
            return self.random.choice([1, {"$gte": 1}, {"a": 1}, "x"])
        return [1, "x", None] if operator == "$pullAll" else self.value(1)

    def update(self) -> dict[str, Any]:
        chosen = self.random.sample(sorted(OPERATORS), self.random.choice([1, 1, 2]))
        return {one: {self.path(): self.operand(one) for _ in range(self.random.choice([1, 1, 2]))} for one in chosen}


@SHARES
@pytest.mark.parametrize("upsert", [False, True])
async def test_every_path_that_mongodb_changes_is_one_that_the_update_is_said_to_write(
    database: Documents, upsert: bool, share: float
) -> None:
    seed, rounds = fresh_seed(), round(1500 * share)
    made = Updates(seed)
    changed, operators = 0, set()
    for _ in range(rounds):
        document = {} if upsert else {name: made.value() for name in made.random.sample("abc", 2)}
        update = made.update()
        with suppress(ServiceError):
            check_update(update)
            database.orders.delete_many({})
            if not upsert:
                database.orders.insert_one({"_id": 1, **document})
            try:
                database.orders.update_one({"_id": 1}, update, upsert=upsert)
            except WriteError:
                continue
            after = {name: value for name, value in (database.orders.find_one() or {}).items() if name != "_id"}
            at = [(one.path, ".".join(place(document, one.path))) for one in assignments(update)]
            for path in differing(document, after):
                # By the update's own path; or, by the names that lead there, at or under the place that it changes.
                names = ".".join(place(document, path))
                found = [
                    said
                    for said, names_said in at
                    if (path == said or path.startswith(f"{said}."))
                    or (names == names_said or names.startswith(f"{names_said}."))
                ]
                assert found, f"seed {seed}: {update} of {document} changed {path}"
                changed += 1
                operators |= set(update)
    assert changed > rounds / (3 if share == 1 else 4)
    assert len(operators) >= (13 if share == 1 else 10)


# ----------------------------------------------------------------------------------- rules against what MongoDB finds


def condition(made: Updates) -> dict[str, Any]:
    """A random rule over the fields of random documents."""
    chance = made.random
    if chance.random() < 0.2:
        return {chance.choice(["$and", "$or", "$nor"]): [condition(made), condition(made)]}
    operators: list[Any] = [
        made.value(2),
        {"$in": [made.value(2), 1, "x"]},
        {"$ne": made.value(2)},
        {"$exists": chance.random() < 0.5},
        {"$gte": chance.choice([0, 1, 2])},
        {"$type": chance.choice(["number", "string", "object", "array"])},
        {"$elemMatch": {"$gte": 1}},
        {"$size": 1},
    ]
    return {made.path(): chance.choice(operators) for _ in range(chance.choice([1, 1, 2]))}


@SHARES
async def test_a_write_goes_ahead_where_mongodb_finds_the_document_by_the_rule_before_and_after(
    writers: Callable[..., As], database: Documents, share: float
) -> None:
    seed, rounds = fresh_seed(), round(700 * share)
    made = Updates(seed)
    counted = {"done": 0, "forbidden": 0, "refused": 0, "one command": 0}
    for _ in range(rounds):
        document = {"_id": 1, **{name: made.value() for name in made.random.sample("abc", 2)}}
        update, rule = made.update(), condition(made)
        if made.random.random() < 0.5:
            # Of the rule's own fields too: what is set decides some of its conditions.
            named = [name for name in rule if not name.startswith("$")]
            update = {"$set": {made.random.choice([*named, made.path()]): made.value(1) for _ in range(2)}}
        ann = writers(rules({"*": {"read": True, "update": rule}}))("ann")
        database.orders.replace_one({"_id": 1}, document, upsert=True)
        database.trial.replace_one({"_id": 1}, document, upsert=True)
        before = database.trial.find_one({"$and": [{"_id": 1}, rule]})
        try:
            check_update(update)
            database.trial.update_one({"_id": 1}, update)
        except (ServiceError, WriteError):
            with suppress(ServiceError):
                check_update(update)
                await refused(ServiceError, ann.update("orders", 1, update))
                counted["refused"] += 1
            continue
        after = database.trial.find_one({"$and": [{"_id": 1}, rule]})
        said = f"seed {seed}: {update} of {document} under {rule}"
        if "$currentDate" in update:
            continue
        counted["one command"] += ann._ruling.rule("orders").updating(update).selector is not None
        try:
            await ann.update("orders", 1, update)
        except ForbiddenError:
            assert before is None or after is None, said
            assert database.orders.find_one() == document, said
            counted["forbidden"] += 1
        else:
            assert before is not None, said
            assert after is not None, said
            assert database.orders.find_one() == after, said
            counted["done"] += 1
    assert min(counted.values()) > (20 if share == 1 else 0), counted
