"""A replacement that keeps hidden fields at the top: what it stores, by which commands, what comes in between."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.collation import Collation

from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.writing import Ruling
from realtime.core.mql.writing import WriteRule
from realtime.core.wire.collections import Collections
from realtime.errors import DuplicateKeyError, ForbiddenError, NotFoundError
from realtime.mongo import client as clients
from realtime.mongo.checked import CheckedWriter
from realtime.mongo.faults import Gate
from realtime.mongo.ruled_writes import RuledWriter
from realtime.mongo.snapshot import MongoReader
from tests.mongo.commands import Commands, Documents, watch_commands
from tests.replica_set import ReplicaSet

MINE = {"owner": "$user.sub"}
GRANT = {"read": MINE, "update": {**MINE, "margin": {"$ne": 13}}, "fields": {"hide": ["margin", "cost"]}}
RULES = Rules.model_validate({"collections": {"orders": {"customer": GRANT}}})
IN_ONE = ["find", "update"]
TRANSACTED = ["find", "findAndModify", "commitTransaction"]


@pytest.fixture
def commands(database: Documents, monkeypatch: pytest.MonkeyPatch) -> Commands:
    return watch_commands(monkeypatch)


@pytest.fixture
async def ann(replica_set: ReplicaSet, database: Documents, commands: Commands) -> AsyncIterator[RuledWriter]:
    client, motors = clients.open_database(replica_set.uri, database.name)
    reader = MongoReader(client, motors, Gate(10))
    plain = CheckedWriter(client, motors, Gate(10), Collections())
    yield RuledWriter(plain, Ruling(RULES, Principal("ann", frozenset({"customer"}))), reader.zones)
    client.close()


@contextmanager
def sent(commands: Commands) -> Iterator[list[str]]:
    names: list[str] = []
    before = len(commands.sent)
    yield names
    names += [one["name"] for one in commands.sent[before:]]


def kept(database: Documents) -> Any:
    """The document as it is stored, its types and the order of its fields among it."""
    found = database.orders.find_one()
    assert found is not None
    return [(name, type(value), value) for name, value in found.items()]


EXACT = [5, Int64(5), "text", None, True, 2.5, ObjectId("0" * 24), dt.datetime(2026, 1, 1)]
OTHERS = [0.0, -0.0, math.inf, Decimal128("1.0"), [5], {"a": 1}, b"bytes"]


@pytest.mark.parametrize("margin", EXACT, ids=repr)
@pytest.mark.parametrize("image", [False, True])
async def test_what_a_filter_can_hold_is_kept_by_two_commands(
    ann: RuledWriter, database: Documents, commands: Commands, margin: Any, image: bool
) -> None:
    database.orders.insert_one({"_id": 1, "margin": margin, "owner": "ann", "n": 0})
    with sent(commands) as seen:
        written = await ann.replace("orders", 1, {"owner": "ann", "n": 1}, image=image)
    assert seen == (["find", "findAndModify"] if image else IN_ONE)
    assert (written.matched, written.modified) == (1, None)
    assert written.image is None or b"margin" not in written.image
    assert kept(database) == [
        ("_id", int, 1), ("owner", str, "ann"), ("n", int, 1), ("margin", type(margin), margin)
    ]  # fmt: skip


@pytest.mark.parametrize("margin", OTHERS, ids=repr)
async def test_what_no_filter_holds_exactly_is_kept_by_a_transaction(
    ann: RuledWriter, database: Documents, commands: Commands, margin: Any
) -> None:
    database.orders.insert_one({"_id": 1, "margin": margin, "owner": "ann"})
    before = kept(database)
    with sent(commands) as seen:
        await ann.replace("orders", 1, {"owner": "ann", "n": 1})
    assert seen == ["find", *TRANSACTED]
    assert repr(kept(database)[-1]) == repr(before[1])


@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [
        (5, {"$set": {"margin": 6}}),
        (5, {"$set": {"margin": 5.0}}),
        (5, {"$set": {"margin": Int64(5)}}),
        (5, {"$set": {"margin": [5]}}),
        (5, {"$unset": {"margin": 1}}),
        (5, {"$set": {"cost": None}}),
        (None, {"$unset": {"margin": 1}}),
        ("abc", {"$set": {"margin": "ABC"}}),
        (True, {"$set": {"margin": 1}}),
    ],
    ids=repr,
)
async def test_what_somebody_writes_in_between_is_kept(
    ann: RuledWriter,
    database: Documents,
    commands: Commands,
    monkeypatch: pytest.MonkeyPatch,
    before: Any,
    meanwhile: dict[str, Any],
) -> None:
    """Also in a collection in whose own collation two texts are equal."""
    database.create_collection("orders", collation=Collation("en", strength=1))
    database.orders.insert_one({"_id": 1, "margin": before, "owner": "ann"})
    decide = WriteRule.exchanging
    wrote = []

    def slowly(*args: Any) -> Any:
        found = decide(*args)
        database.orders.update_one({"_id": 1}, meanwhile)
        wrote.append(database.orders.find_one())
        return found

    monkeypatch.setattr(WriteRule, "exchanging", slowly)
    with sent(commands) as seen:
        await ann.replace("orders", 1, {"owner": "ann", "n": 1})
    assert seen == [*IN_ONE, *TRANSACTED]
    (left,) = wrote
    assert left is not None
    hidden: dict[str, Any] = {name: left[name] for name in ("margin", "cost") if name in left}
    after = database.orders.find_one()
    whole: dict[str, Any] = {"_id": 1, "owner": "ann", "n": 1, **hidden}
    assert repr(after) == repr(whole)


async def test_the_rule_is_asked_of_the_document_that_the_write_meets(
    ann: RuledWriter, database: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.orders.insert_one({"_id": 1, "margin": 5, "owner": "ann"})
    decide = WriteRule.exchanging

    def slowly(*args: Any) -> Any:
        found = decide(*args)
        assert found is not None
        database.orders.update_one({"_id": 1}, {"$set": {"owner": "bob"}})
        return found

    monkeypatch.setattr(WriteRule, "exchanging", slowly)
    with pytest.raises(NotFoundError):
        await ann.replace("orders", 1, {"owner": "ann"})
    assert database.orders.find_one() == {"_id": 1, "margin": 5, "owner": "bob"}


async def test_what_may_not_go_ahead_is_answered_as_before(
    ann: RuledWriter, database: Documents, commands: Commands
) -> None:
    database.orders.insert_many(
        [
            {"_id": 1, "owner": "ann", "margin": 13, "email": "a"},
            {"_id": 2, "owner": "bob", "margin": 5, "email": "b"},
            {"_id": 3, "owner": "ann", "margin": 5, "email": "c"},
        ]
    )
    database.orders.create_index("email", unique=True)
    before = list(database.orders.find())
    with pytest.raises(ForbiddenError):
        await ann.replace("orders", 1, {"owner": "ann"})  # by the rule, for a hidden value
    with pytest.raises(ForbiddenError):
        await ann.replace("orders", 3, {"owner": "bob"})
    seen = []
    for key in (2, 99):
        with sent(commands) as names, pytest.raises(NotFoundError):
            await ann.replace("orders", key, {"owner": "ann"})
        seen.append(names)
    assert seen[0] == seen[1]
    with pytest.raises(DuplicateKeyError) as taken:
        await ann.replace("orders", 3, {"owner": "ann", "email": "b"})
    assert taken.value.details is None
    assert list(database.orders.find()) == before
