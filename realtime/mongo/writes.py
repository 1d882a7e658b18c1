"""Majority-committed writes of one document, each with its own cluster time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from pymongo.write_concern import WriteConcern

from realtime.core.events import to_time
from realtime.errors import NotFoundError, PreconditionFailedError
from realtime.mongo.client import Client, Database
from realtime.mongo.faults import Gate
from realtime.ports import Document, Written

MAJORITY = WriteConcern("majority")


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

    async def replace(
        self, collection: str, key: Any, document: Document, *, where: Document | None = None, upsert: bool = False
    ) -> Written:
        """Replace the document with this key. `NotFoundError` without one, unless `upsert` makes it."""

        async def write(session: Any) -> Any:
            return await self._database[collection].replace_one(_by(key), document, upsert=upsert, session=session)

        return await self._change(collection, key, write, where, upsert=upsert)

    async def update(
        self, collection: str, key: Any, update: Document, *, where: Document | None = None, upsert: bool = False
    ) -> Written:
        """Apply update operators to the document with this key. `NotFoundError` as for `replace`."""

        async def write(session: Any) -> Any:
            return await self._apply(session, collection, key, update, upsert=upsert)

        return await self._change(collection, key, write, where, upsert=upsert)

    async def delete(self, collection: str, key: Any, *, where: Document | None = None) -> Written:
        """Delete the document with this key. `NotFoundError` without one."""

        async def write(session: Any) -> Any:
            return await self._database[collection].delete_one(_by(key), session=session)

        async with self._session() as session:
            result = await self._conditional(session, collection, key, write, where, upsert=False)
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

    async def _change(
        self,
        collection: str,
        key: Any,
        write: Callable[[Any], Awaitable[Any]],
        where: Document | None,
        *,
        upsert: bool,
    ) -> Written:
        async with self._session() as session:
            result = await self._conditional(session, collection, key, write, where, upsert=upsert)
            made = result.upserted_id is not None
            if not result.matched_count and not made:
                raise _not_found(collection)
            return Written(
                to_time(session.operation_time),
                key,
                matched=result.matched_count,
                modified=result.modified_count,
                upserted=made if upsert else None,
            )

    async def _conditional(
        self,
        session: Any,
        collection: str,
        key: Any,
        write: Callable[[Any], Awaitable[Any]],
        where: Document | None,
        *,
        upsert: bool,
    ) -> Any:
        """The write, in one transaction with its condition where it has one."""
        if where is None:
            return await write(session)
        documents = self._database[collection]

        async def checked(transaction: Any) -> Any:
            if await documents.find_one(_by(key), {"_id": 1}, session=transaction) is None:
                if upsert:
                    raise PreconditionFailedError("there is no document that could match `where`; none was made")
                raise _not_found(collection)
            if await documents.find_one({"$and": [_by(key), where]}, {"_id": 1}, session=transaction) is None:
                raise PreconditionFailedError("the document does not match `where`; nothing was written")
            return await write(transaction)

        return await session.with_transaction(checked, write_concern=MAJORITY)


def _by(key: Any) -> dict[str, Any]:
    # $eq, so that a key that looks like operators or is a regular expression is a value all the same.
    return {"_id": {"$eq": key}}


def _not_found(collection: str) -> NotFoundError:
    return NotFoundError(f"no document with this key in {collection}")
