"""Keys and revocations as they are stored, on a real mongod."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from realtime.access.minting import new_key
from realtime.core.access.keys import KeyRecord, hashed
from realtime.core.access.revoked import Revocation, read
from realtime.errors import DuplicateKeyError, NotFoundError
from realtime.mongo import client as clients
from realtime.mongo.access import MongoKeys, MongoRevocations, document_of, record_of
from realtime.mongo.faults import Gate
from tests.mongo.commands import Documents
from tests.replica_set import ReplicaSet

AT = 1_800_000_000.0


@pytest.fixture
async def motors(replica_set: ReplicaSet, database: Documents) -> AsyncIterator[Any]:
    client, found = clients.open_database(replica_set.uri, database.name)
    yield found
    client.close()


@pytest.fixture
def keys(motors: Any) -> MongoKeys:
    return MongoKeys(motors, Gate(10))


@pytest.fixture
def revocations(motors: Any) -> MongoRevocations:
    return MongoRevocations(motors, Gate(10))


def record(name: str = "importer", **fields: Any) -> KeyRecord:
    made = KeyRecord(hashed(new_key()), name, f"key:{name}", AT, frozenset({"staff"}), {"team": "a"})
    return dataclasses.replace(made, **fields)


async def test_a_key_is_found_by_its_hash_as_it_was_stored(keys: MongoKeys) -> None:
    one = record(expires=AT + 60)
    await keys.create(one)
    found = await keys.find(one.hash)
    assert found == one
    assert await keys.find(hashed(new_key())) is None


async def test_a_name_is_taken_once(keys: MongoKeys) -> None:
    await keys.create(record())
    with pytest.raises(DuplicateKeyError, match="importer"):
        await keys.create(record())
    await keys.create(record("other"))
    assert [one.name for one in await keys.listed()] == ["importer", "other"]


async def test_the_last_use_only_goes_forward(keys: MongoKeys) -> None:
    one = record()
    await keys.create(one)
    for at in (AT + 5, AT + 3):
        await keys.used(one.hash, at)
    found = await keys.find(one.hash)
    assert found is not None
    assert found.used == AT + 5


async def test_a_key_is_revoked_by_its_name_or_its_id_once(keys: MongoKeys) -> None:
    one, two = record(), record("other")
    for each in (one, two):
        await keys.create(each)
    assert (await keys.revoke("importer", AT + 1)).revoked == AT + 1
    assert (await keys.revoke("importer", AT + 9)).revoked == AT + 1
    assert (await keys.revoke(two.id, AT + 2)).name == "other"
    with pytest.raises(NotFoundError, match="key list"):
        await keys.revoke("nobody", AT)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": 7},
        {"sub": None},
        {"roles": "staff"},
        {"roles": [7]},
        {"claims": []},
        {"created": 7},
        {"expires": "never"},
    ],
    ids=str,
)
def test_a_stored_key_that_cannot_be_read_lets_nobody_in(fields: dict[str, Any]) -> None:
    document = document_of(record())
    assert record_of(document).revoked is None
    assert record_of({**document, **fields}).revoked is not None
    assert record_of({"_id": "x"}).revoked is not None


async def test_revocations_of_one_user_are_one_document_with_the_latest_time(
    revocations: MongoRevocations, database: Documents
) -> None:
    for at in (AT, AT + 5, AT + 3):
        await revocations.write(Revocation("sub", "ann", at))
    await revocations.write(Revocation("jti", "t1", AT))
    stored = list(database.realtime_revocations.find().sort("_id"))
    assert [one["_id"] for one in stored] == ["jti:t1", "sub:ann"]
    aware = [{**one, "at": one["at"].replace(tzinfo=dt.UTC)} for one in stored]
    assert [read(one) for one in aware] == [(Revocation("jti", "t1", AT),), (Revocation("sub", "ann", AT + 5),)]


async def test_one_that_may_be_forgotten_says_when_and_one_that_may_not_does_not(
    revocations: MongoRevocations, database: Documents
) -> None:
    await revocations.write(Revocation("jti", "t1", AT), until=time.time() + 3600)
    (stored,) = database.realtime_revocations.find()
    assert stored["until"] is not None
    indexes = database.realtime_revocations.index_information()
    assert [one["expireAfterSeconds"] for one in indexes.values() if "expireAfterSeconds" in one] == [0]
    await revocations.write(Revocation("jti", "t1", AT))
    (stored,) = database.realtime_revocations.find()
    assert "until" not in stored
