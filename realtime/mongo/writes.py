"""Majority-committed writes, each with its own cluster time: of one document, or of many in one transaction."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bson.errors import InvalidBSON
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import ReturnDocument
from pymongo.errors import OperationFailure

from realtime.core.bson import stored
from realtime.core.live.events import to_time
from realtime.errors import NotFoundError, PreconditionFailedError, no_document
from realtime.mongo.client import ANSWERS, EXACTLY, RAW, Client, Database
from realtime.mongo.faults import Gate
from realtime.mongo.transactions import MAJORITY, Work, transact
from realtime.ports import Condition, Document, Inserted, Written

NOT_IN_A_TRANSACTION = 263
"""OperationNotSupportedInTransaction."""
_LOOKED_INTO = ANSWERS.with_options(document_class=RawBSONDocument)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a write is conditional on, beside its key."""

    where: Document | None
    match: Condition | None
    upsert: bool = False

    @property
    def free(self) -> bool:
        """Whether it is conditional on nothing."""
        return self.where is None and self.match is None

    def check(self, raw: bytes | None) -> None:
        """`PreconditionFailedError` where this is not the document that a tag names."""
        if self.match is not None and not self.match(raw):
            raise PreconditionFailedError("the document is not the one that the request's ETag names; nothing written")

    def unmet(self, collection: str) -> NotFoundError | PreconditionFailedError:
        """Why nothing is written where there is no document."""
        if self.upsert and self.where is not None:
            return PreconditionFailedError("there is no document that could match `where`; none was made")
        return no_document(collection)


@dataclass(frozen=True, slots=True)
class Change:
    """What a write makes of one document: another one in its place (`replaces`), or what operators make of it.

    `image`: the document as it is afterwards is asked for. `selector`: what else the document has to match. `known`:
    its BSON as it is, where this transaction has read it.
    """

    source: Document
    replaces: bool
    upsert: bool
    image: bool
    selector: Document | None = None
    known: bytes | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a `Change`; `image` is the document as this write left it, where that was asked for."""

    matched: int
    modified: int
    made: bool
    image: RawBSONDocument | None = None


class MongoWriter:
    """Writes over the process's one client. Every method raises `ServiceError` only."""

    def __init__(self, client: Client, database: Database, gate: Gate) -> None:
        self._client = client
        self._database = database.with_options(write_concern=MAJORITY, codec_options=ANSWERS)
        self._gate = gate
        self._seconds = gate.seconds

    async def insert(self, collection: str, document: Document) -> Written:
        """Insert; without `_id` the document gets an ObjectId. `DuplicateKeyError` where the key is taken."""
        async with self._session() as session:
            whole = with_key(document)
            await self._put(session, collection, whole)
            return Written(to_time(session.operation_time), whole["_id"])

    async def insert_many(self, collection: str, documents: Sequence[Document]) -> Inserted:
        """All of them in one transaction, or none. What is wrong with one names its place as `details.index`."""
        async with self._session() as session:
            whole = [with_key(document) for document in documents]

            async def write(session: Any) -> None:
                await self._put_many(session, collection, whole)

            await transact(session, write, self._seconds)
            return Inserted(to_time(session.operation_time), [document["_id"] for document in whole])

    async def replace(
        self,
        collection: str,
        key: Any,
        document: Document,
        *,
        where: Document | None = None,
        match: Condition | None = None,
        upsert: bool = False,
        image: bool = False,
    ) -> Written:
        """Replace the document with this key. `NotFoundError` without one, unless `upsert` makes it."""
        # The key first: a driver takes a document that begins with `$ref` for an update.
        change = Change({"_id": key, **document}, replaces=True, upsert=upsert, image=image)
        return await self._change(collection, key, change, Terms(where, match, upsert))

    async def update(
        self,
        collection: str,
        key: Any,
        update: Document,
        *,
        where: Document | None = None,
        match: Condition | None = None,
        upsert: bool = False,
        image: bool = False,
    ) -> Written:
        """Apply update operators to the document with this key. `NotFoundError` as for `replace`."""
        change = Change(update, replaces=False, upsert=upsert, image=image)
        return await self._change(collection, key, change, Terms(where, match, upsert))

    async def delete(
        self, collection: str, key: Any, *, where: Document | None = None, match: Condition | None = None
    ) -> Written:
        """Delete the document with this key. `NotFoundError` without one."""

        async def write(session: Any) -> bool:
            return await self._remove(session, collection, key)

        async with self._session() as session:
            if not await self._conditional(session, collection, key, write, Terms(where, match)):
                raise no_document(collection)
            return Written(to_time(session.operation_time), key, matched=1)

    # ---------------------------------------------------------------------------------------------- steps of a write

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Any]:
        # A session of its own, so that its operationTime is that of this write and no other.
        async with (
            self._gate.request("write"),
            await self._client.start_session(causal_consistency=False) as session,
        ):
            yield session

    async def _find(self, session: Any, collection: str, key: Any, selector: Document | None = None) -> bytes | None:
        """The BSON of the document with this key, if it matches; None: there is none."""
        documents = self._database.get_collection(collection, codec_options=RAW)
        found = await documents.find_one(by_key(key, selector), collation=EXACTLY, session=session)
        return None if found is None else found.raw

    async def _put(self, session: Any, collection: str, document: Document) -> None:
        """Insert one that has its key."""
        await self._database[collection].insert_one(raw_of(document), session=session)

    async def _put_many(self, session: Any, collection: str, documents: Sequence[Document]) -> None:
        """Insert those that have their keys."""
        await self._database[collection].insert_many([raw_of(document) for document in documents], session=session)

    async def _remove(self, session: Any, collection: str, key: Any, selector: Document | None = None) -> bool:
        """Delete the document with this key, if it matches; whether there was one."""
        result = await self._database[collection].delete_one(by_key(key, selector), collation=EXACTLY, session=session)
        return bool(result.deleted_count)

    async def _apply(self, session: Any, collection: str, key: Any, change: Change) -> Outcome:
        """What is changed, in a session that may be inside of a transaction."""
        body = raw_of(change.source)
        options: dict[str, Any] = {"upsert": change.upsert, "collation": EXACTLY, "session": session}
        if not change.image:
            documents = self._database[collection]
            result = await (documents.replace_one if change.replaces else documents.update_one)(
                by_key(key, change.selector), body, **options
            )
            return Outcome(result.matched_count, result.modified_count, result.upserted_id is not None)
        documents = self._database.get_collection(collection, codec_options=RAW)
        # Whether anything changed is all that this is for: MongoDB's answer with the document does not say that.
        before = change.known or await self._find(session, collection, key, change.selector)
        write = documents.find_one_and_replace if change.replaces else documents.find_one_and_update
        after = await write(by_key(key, change.selector), body, return_document=ReturnDocument.AFTER, **options)
        made = change.upsert and before is None
        if after is None or made:
            return Outcome(0, 0, made, after)
        return Outcome(1, int(before is None or before != after.raw), made, after)

    async def _check_where(self, session: Any, collection: str, key: Any, where: Document | None) -> None:
        """`PreconditionFailedError` where the document with this key does not match."""
        if where is None:
            return
        if (
            await self._database.get_collection(collection, codec_options=RAW).find_one(
                by_key(key, where), {"_id": 1}, collation=EXACTLY, session=session
            )
            is None
        ):
            raise PreconditionFailedError("the document does not match `where`; nothing was written")

    # --------------------------------------------------------------------------------------------------------- inside

    async def _change(self, collection: str, key: Any, change: Change, terms: Terms) -> Written:
        async def write(session: Any) -> Outcome:
            return await self._apply(session, collection, key, change)

        async with self._session() as session:
            # Whether it made the document or changed one: of two commands only a transaction can tell.
            whole = change.upsert and change.image
            try:
                outcome = await self._conditional(session, collection, key, write, terms, whole=whole)
            except OperationFailure as error:
                if error.code != NOT_IN_A_TRANSACTION or not whole or not terms.free:
                    raise
                # A capped collection: the write, and no image.
                await session.abort_transaction()
                outcome = await self._apply(session, collection, key, dataclasses.replace(change, image=False))
            except InvalidBSON:
                if change.image:
                    raise
                # It was refused, and why is in a reply with what the driver cannot read: that of a write that gives the
                # document is read raw.
                if session.in_transaction:
                    await session.abort_transaction()
                change = dataclasses.replace(change, image=True)
                outcome = await self._conditional(session, collection, key, write, terms, whole=change.upsert)
            if not outcome.matched and not outcome.made:
                raise no_document(collection)
            return Written(
                to_time(session.operation_time),
                key,
                matched=outcome.matched,
                modified=outcome.modified,
                upserted=outcome.made if terms.upsert else None,
                image=None if outcome.image is None else outcome.image.raw,
            )

    async def _conditional(
        self, session: Any, collection: str, key: Any, write: Work, terms: Terms, *, whole: bool = False
    ) -> Any:
        """The write, in one transaction with its conditions where it has any, or where it must be one (`whole`).

        A concurrent write makes MongoDB abort one of the two; the transaction is run again, and decided again.
        """
        if terms.free and not whole:
            return await write(session)

        async def checked(transaction: Any) -> Any:
            if not terms.free:
                await self._check(transaction, collection, key, terms)
            return await write(transaction)

        return await transact(session, checked, self._seconds)

    async def _check(self, transaction: Any, collection: str, key: Any, terms: Terms) -> None:
        documents = self._database.get_collection(collection, codec_options=RAW)
        shown = {"_id": 1} if terms.match is None else None
        found = await documents.find_one(by_key(key), shown, collation=EXACTLY, session=transaction)
        terms.check(None if found is None else found.raw)
        if found is None and terms.where is not None:
            raise terms.unmet(collection)
        await self._check_where(transaction, collection, key, terms.where)


def by_key(key: Any, selector: Document | None = None) -> RawBSONDocument:
    """The filter of the document with this key, if it matches the selector too."""
    # $eq, so that a key that looks like operators or is a regular expression is a value all the same.
    named = {"_id": {"$eq": key}}
    return raw_of(named if not selector else {"$and": [named, selector]})


def raw_of(document: Document) -> RawBSONDocument:
    """Encoded here, for the codec that reads the answers does not write UUIDs; the driver may look into it."""
    return RawBSONDocument(stored.encode(document), _LOOKED_INTO)


def with_key(document: Document) -> Document:
    """The same document, with the key that the driver would have given it where it has none."""
    return document if "_id" in document else {**document, "_id": ObjectId()}
