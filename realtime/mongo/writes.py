"""Majority-committed writes, each with its own cluster time: of one document, or of many in one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from realtime.core.live.events import to_time
from realtime.errors import NotFoundError, PreconditionFailedError
from realtime.mongo.client import Client, Database
from realtime.mongo.faults import Gate
from realtime.mongo.transactions import MAJORITY, Work, transact
from realtime.ports import Condition, Document, Inserted, Written


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a write is conditional on."""

    where: Document | None
    match: Condition | None
    upsert: bool = False


class MongoWriter:
    """Writes over the process's one client. Every method raises `ServiceError` only."""

    def __init__(self, client: Client, database: Database, gate: Gate) -> None:
        self._client = client
        self._database = database.with_options(write_concern=MAJORITY)
        self._gate = gate

    async def insert(self, collection: str, document: Document) -> Written:
        """Insert; without `_id` the document gets an ObjectId. `DuplicateKeyError` where the key is taken."""
        async with self._session() as session:
            result = await self._database[collection].insert_one(document, session=session)
            return Written(to_time(session.operation_time), result.inserted_id)

    async def insert_many(self, collection: str, documents: Sequence[Document]) -> Inserted:
        """All of them in one transaction, or none. What is wrong with one names its place as `details.index`."""

        async def write(session: Any) -> Any:
            return await self._database[collection].insert_many(documents, session=session)

        async with self._session() as session:
            result = await transact(session, write, self._gate.seconds)
            return Inserted(to_time(session.operation_time), result.inserted_ids)

    async def replace(
        self,
        collection: str,
        key: Any,
        document: Document,
        *,
        where: Document | None = None,
        match: Condition | None = None,
        upsert: bool = False,
    ) -> Written:
        """Replace the document with this key. `NotFoundError` without one, unless `upsert` makes it."""

        async def write(session: Any) -> Any:
            return await self._database[collection].replace_one(_by(key), document, upsert=upsert, session=session)

        return await self._change(collection, key, write, _Terms(where, match, upsert))

    async def update(
        self,
        collection: str,
        key: Any,
        update: Document,
        *,
        where: Document | None = None,
        match: Condition | None = None,
        upsert: bool = False,
    ) -> Written:
        """Apply update operators to the document with this key. `NotFoundError` as for `replace`."""

        async def write(session: Any) -> Any:
            return await self._apply(session, collection, key, update, upsert=upsert)

        return await self._change(collection, key, write, _Terms(where, match, upsert))

    async def delete(
        self, collection: str, key: Any, *, where: Document | None = None, match: Condition | None = None
    ) -> Written:
        """Delete the document with this key. `NotFoundError` without one."""

        async def write(session: Any) -> Any:
            return await self._database[collection].delete_one(_by(key), session=session)

        async with self._session() as session:
            result = await self._conditional(session, collection, key, write, _Terms(where, match))
            if not result.deleted_count:
                raise _not_found(collection)
            return Written(to_time(session.operation_time), key, matched=1)

    # --------------------------------------------------------------------------------------------------------- inside

    async def _apply(self, session: Any, collection: str, key: Any, update: Document, *, upsert: bool) -> Any:
        """The update itself, in a session that may be inside of a transaction."""
        return await self._database[collection].update_one(_by(key), update, upsert=upsert, session=session)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Any]:
        # A session of its own, so that its operationTime is that of this write and no other.
        async with (
            self._gate.request("write"),
            await self._client.start_session(causal_consistency=False) as session,
        ):
            yield session

    async def _change(self, collection: str, key: Any, write: Work, terms: _Terms) -> Written:
        async with self._session() as session:
            result = await self._conditional(session, collection, key, write, terms)
            made = result.upserted_id is not None
            if not result.matched_count and not made:
                raise _not_found(collection)
            return Written(
                to_time(session.operation_time),
                key,
                matched=result.matched_count,
                modified=result.modified_count,
                upserted=made if terms.upsert else None,
            )

    async def _conditional(self, session: Any, collection: str, key: Any, write: Work, terms: _Terms) -> Any:
        """The write, in one transaction with its conditions where it has any.

        A concurrent write makes MongoDB abort one of the two; the transaction is run again, and decided again.
        """
        if terms.where is None and terms.match is None:
            return await write(session)

        async def checked(transaction: Any) -> Any:
            await self._check(transaction, collection, key, terms)
            return await write(transaction)

        return await transact(session, checked, self._gate.seconds)

    async def _check(self, transaction: Any, collection: str, key: Any, terms: _Terms) -> None:
        documents = self._database[collection]
        found = await documents.find_one(_by(key), {"_id": 1} if terms.match is None else None, session=transaction)
        if terms.match is not None and not terms.match(found):
            raise PreconditionFailedError("the document is not the one that the request's ETag names; nothing written")
        if terms.where is None:
            return
        if found is None:
            if terms.upsert:
                raise PreconditionFailedError("there is no document that could match `where`; none was made")
            raise _not_found(collection)
        if await documents.find_one({"$and": [_by(key), terms.where]}, {"_id": 1}, session=transaction) is None:
            raise PreconditionFailedError("the document does not match `where`; nothing was written")


def _by(key: Any) -> dict[str, Any]:
    # $eq, so that a key that looks like operators or is a regular expression is a value all the same.
    return {"_id": {"$eq": key}}


def _not_found(collection: str) -> NotFoundError:
    return NotFoundError(f"no document with this key in {collection}")
