"""Keys and revocations as they are stored: `realtime_keys` and `realtime_revocations`."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pymongo import ASCENDING, ReturnDocument

from realtime.core.access.keys import KeyRecord, id_of
from realtime.core.access.revoked import Revocation
from realtime.core.wire.reserved_names import KEYS, OWN, REVOCATIONS
from realtime.errors import DuplicateKeyError, NotFoundError
from realtime.mongo.client import Database
from realtime.mongo.faults import Gate
from realtime.mongo.transactions import MAJORITY

MOST_LISTED = 1000


class MongoKeys:
    """The keys of a database. Every method raises `ServiceError` only."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self._keys = database[KEYS].with_options(write_concern=MAJORITY)
        self._gate = gate

    async def find(self, key_hash: str) -> KeyRecord | None:
        """The key with this hash."""
        async with self._gate.request("read"):
            found = await self._keys.find_one({"_id": key_hash})
        return None if found is None else record_of(found)

    async def used(self, key_hash: str, at: float) -> None:
        """It was used at that unix second."""
        async with self._gate.request("write"):
            await self._keys.update_one({"_id": key_hash}, {"$max": {"used": _date(at)}})

    async def create(self, record: KeyRecord) -> None:
        """Store a new one. `DuplicateKeyError` where one of that name is there."""
        try:
            async with self._gate.request("write"):
                await self._keys.create_index([("name", ASCENDING)], unique=True)
                await self._keys.insert_one(document_of(record))
        except DuplicateKeyError:
            raise DuplicateKeyError(
                f"a key named {record.name} is there already, in use or revoked: choose another name"
            ) from None

    async def listed(self) -> list[KeyRecord]:
        """All of them, by name, up to `MOST_LISTED`."""
        async with self._gate.request("read"):
            found = await self._keys.find({}).sort("name", ASCENDING).to_list(MOST_LISTED)
        return [record_of(one) for one in found]

    async def revoke(self, named: str, at: float) -> KeyRecord:
        """Mark one, by name or id, as revoked; `NotFoundError` where there is none."""
        async with self._gate.request("write"):
            found = await self._keys.find_one_and_update(
                {"$or": [{"name": {"$eq": named}}, {"id": {"$eq": named}}]},
                [{"$set": {"revoked": {"$ifNull": ["$revoked", _date(at)]}}}],
                return_document=ReturnDocument.AFTER,
            )
        if found is None:
            raise _no_key(named)
        return record_of(found)

    async def check_id(self, key_id: str) -> None:
        """`NotFoundError` where no key has this id."""
        async with self._gate.request("read"):
            found = await self._keys.find_one({"id": {"$eq": key_id}}, {"_id": 1})
        if found is None:
            raise _no_key(f"with the id {key_id}")


class MongoRevocations:
    """Writes revocations; every node learns of them by its change stream. Raises `ServiceError` only."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self._revocations = database[REVOCATIONS].with_options(write_concern=MAJORITY)
        self._gate = gate

    async def write(self, revocation: Revocation, until: float | None = None) -> None:
        """Store one. `until`: when MongoDB may delete it, as unix seconds; None: never.

        Of one that is there already the later time counts, of each kind.
        """
        at = None if math.isinf(revocation.at) else _date(revocation.at)
        changes: dict[str, Any] = {"$set": {revocation.kind: revocation.value}}
        if at is not None:
            changes["$max"] = {"at": at}
        if until is None:
            changes["$unset"] = {"until": ""}
        else:
            changes["$set"]["until"] = _date(until)
        async with self._gate.request("write"):
            if until is not None:
                await self._revocations.create_index([("until", ASCENDING)], expireAfterSeconds=0)
            await self._revocations.update_one({"_id": f"{revocation.kind}:{revocation.value}"}, changes, upsert=True)


async def known(database: Database, gate: Gate) -> bool:
    """Whether a key, a revocation or a ticket ever was in this database."""
    async with gate.request("read"):
        return bool(await database.list_collection_names(filter={"name": {"$in": list(OWN)}}))


def _no_key(named: str) -> NotFoundError:
    return NotFoundError(f"there is no key {named}: `realtime key list` shows them")


def document_of(record: KeyRecord) -> dict[str, Any]:
    """A key as it is stored."""
    return {
        "_id": record.hash,
        "id": record.id,
        "name": record.name,
        "sub": record.sub,
        "roles": sorted(record.roles),
        "claims": dict(record.claims),
        "created": _date(record.created),
        "expires": None if record.expires is None else _date(record.expires),
        "revoked": None if record.revoked is None else _date(record.revoked),
        "used": None if record.used is None else _date(record.used),
    }


def record_of(document: Mapping[str, Any]) -> KeyRecord:
    """A stored key. What others wrote and cannot be read ends it: it is as one that is revoked."""
    key_hash = str(document["_id"])
    name, sub, roles = document.get("name"), document.get("sub"), document.get("roles", [])
    claims, times = document.get("claims", {}), [document.get(one) for one in ("expires", "revoked", "used")]
    sound = (
        isinstance(name, str)
        and isinstance(sub, str)
        and isinstance(roles, list)
        and all(isinstance(one, str) for one in roles)
        and isinstance(claims, dict)
        and isinstance(document.get("created"), dt.datetime)
        and all(one is None or isinstance(one, dt.datetime) for one in times)
    )
    if not sound:
        return KeyRecord(key_hash, str(name or id_of(key_hash)), str(sub or ""), 0.0, revoked=0.0)
    expires, revoked, used = (None if one is None else one.timestamp() for one in times)
    return KeyRecord(
        key_hash,
        str(name),
        str(sub),
        document["created"].timestamp(),
        frozenset(roles),
        MappingProxyType(claims),
        expires,
        revoked,
        used,
    )


def _date(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
