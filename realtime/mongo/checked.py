"""Writes in which the models of the configured collections have their say (realtime.core.wire.collections)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from realtime.core.bson import stored
from realtime.core.bson.values import MISSING
from realtime.core.wire.collections import Collection, Collections
from realtime.errors import ValidationFailedError
from realtime.mongo.client import Client, Database
from realtime.mongo.faults import Gate
from realtime.mongo.transactions import transact
from realtime.mongo.writes import Change, MongoWriter, Outcome
from realtime.ports import Document, Inserted, Written


class CheckedWriter(MongoWriter):
    """A `MongoWriter` that stores what the model of a collection makes of a document. `ValidationFailedError` else."""

    def __init__(self, client: Client, database: Database, gate: Gate, collections: Collections) -> None:
        super().__init__(client, database, gate)
        self._collections = collections

    async def insert(self, collection: str, document: Document) -> Written:
        """Insert what the model makes of it."""
        return await super().insert(collection, self._stored(collection, document))

    async def insert_many(self, collection: str, documents: Sequence[Document]) -> Inserted:
        """Insert what the model makes of each; what is wrong with one names its place as `details.index`."""
        found = self._collections.model_of(collection)
        made = documents if found is None else [_numbered(found, index, one) for index, one in enumerate(documents)]
        return await super().insert_many(collection, made)

    async def replace(self, collection: str, key: Any, document: Document, **options: Any) -> Written:
        """Replace by what the model makes of it."""
        return await super().replace(collection, key, self._stored(collection, document, key), **options)

    def _stored(self, collection: str, document: Document, key: Any = MISSING) -> Document:
        """What is stored for a document; `key` is the `_id` of one that does not say it. `ValidationFailedError`."""
        found = self._collections.model_of(collection)
        return document if found is None else found.stored(document, key)

    async def _apply(self, session: Any, collection: str, key: Any, change: Change) -> Outcome:
        """The update and a look at its outcome in one transaction, which ends without a trace if that is refused."""
        found = self._collections.model_of(collection)
        if found is None or change.replaces:
            return await super()._apply(session, collection, key, change)

        async def checked(transaction: Any) -> Outcome:
            outcome = await super(CheckedWriter, self)._apply(
                transaction, collection, key, dataclasses.replace(change, image=True)
            )
            if outcome.image is not None:
                found.check_update(change.source, stored.decode(outcome.image.raw))
            return outcome

        if session.in_transaction:
            return await checked(session)
        outcome: Outcome = await transact(session, checked, self._seconds)
        return outcome


def _numbered(found: Collection, index: int, document: Document) -> dict[str, Any]:
    try:
        return found.stored(document)
    except ValidationFailedError as error:
        raise ValidationFailedError(
            f"document {index}: {error.message}", details={**(error.details or {}), "index": index}
        ) from None
