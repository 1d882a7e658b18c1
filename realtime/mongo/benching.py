"""The collection of `realtime bench`, written to and dropped past the service, as other programs would."""

from __future__ import annotations

from typing import Any

from realtime.core.wire.reserved_names import reserved
from realtime.mongo import client as clients
from realtime.mongo.faults import Gate
from realtime.mongo.transactions import MAJORITY

_SECONDS = 30.0


class BenchCollection:
    """A collection by name. Every method raises `ServiceError` only; `close` it at the end."""

    def __init__(self, uri: str, database: str, name: str) -> None:
        self._client, self._database = clients.open_database(uri, database, app="realtime-bench")
        self._documents = self._database[name].with_options(write_concern=MAJORITY)
        self._gate = Gate(_SECONDS)

    async def held(self) -> dict[str, int]:
        """About how many documents each collection of the database has, those of the service left out."""
        async with self._gate.request("read"):
            names = [name for name in await self._database.list_collection_names() if not reserved(name)]
            return {name: await self._database[name].estimated_document_count() for name in names}

    async def insert(self, documents: list[dict[str, Any]]) -> None:
        """All of them, in one command, committed on a majority."""
        async with self._gate.request("write"):
            await self._documents.insert_many(documents)

    async def delete(self, key: str) -> None:
        """One of them."""
        async with self._gate.request("write"):
            await self._documents.delete_one({"_id": key})

    async def drop(self) -> None:
        """The collection, with all that is in it."""
        async with self._gate.request("write"):
            await self._documents.drop()

    def close(self) -> None:
        clients.close(self._client)
