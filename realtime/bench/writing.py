"""Where the documents of a run are written, and how they are removed: through the service, or straight to MongoDB."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Protocol

from realtime.bench.calling import Caller, RefusedError, documents_of
from realtime.bench.plan import key_of
from realtime.errors import ServiceError
from realtime.mongo.benching import BenchCollection

TRIAL = "trial"
AT_ONCE = 16
"""Removals under way."""
MOST_BATCH = 1000
"""Documents of one insert."""


class Store(Protocol):
    """Raises `RefusedError` and `ServiceError`."""

    async def held(self) -> dict[str, int]:
        """About how many documents each collection of the database has."""

    async def insert(self, documents: list[dict[str, Any]]) -> None: ...

    async def delete(self, key: str) -> None: ...

    async def remove(self, written: int) -> int:
        """Everything of the run; how many documents are left."""

    @property
    def limited(self) -> str | None:
        """The limit of the service that a write was over."""

    def close(self) -> None: ...


class ThroughService:
    """By the service's own HTTP interface."""

    leaves = True
    """The empty collection, which the service cannot drop."""

    def __init__(self, caller: Caller, collection: str) -> None:
        self._caller, self._collection = caller, collection

    @property
    def limited(self) -> str | None:
        return self._caller.limited

    async def held(self) -> dict[str, int]:
        told = await self._caller.call("GET", "/v1/collections")
        return {one["name"]: int(one.get("count") or 0) for one in told["collections"]}

    async def insert(self, documents: list[dict[str, Any]]) -> None:
        # A list of one would be a transaction.
        body = documents if len(documents) > 1 else documents[0]
        try:
            await self._caller.call("POST", documents_of(self._collection), body)
        except RefusedError as error:
            # The keys are of our own making: it was written by a try whose answer was lost.
            if error.code != "duplicate_key":
                raise

    async def delete(self, key: str) -> None:
        with contextlib.suppress(_MissingError):
            await self._delete(key)

    async def _delete(self, key: str) -> None:
        try:
            await self._caller.call("DELETE", documents_of(self._collection, key))
        except RefusedError as error:
            if error.status == 404:
                raise _MissingError from None
            raise

    async def remove(self, written: int) -> int:
        keys = iter([TRIAL, *(key_of(n) for n in range(written))])
        await asyncio.gather(*(self._remove(keys) for _ in range(AT_ONCE)))
        told = await self._caller.call("GET", f"{documents_of(self._collection)}?count=true&limit=1")
        return int(told["count"])

    async def _remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            await self.delete(key)

    def close(self) -> None:
        self._caller.close()


class _MissingError(Exception):
    """No document has this key."""


class Direct:
    """Straight to MongoDB, as the other programs that write there."""

    leaves = False
    limited = None

    def __init__(self, collection: BenchCollection) -> None:
        self._collection = collection

    async def held(self) -> dict[str, int]:
        return await self._collection.held()

    async def insert(self, documents: list[dict[str, Any]]) -> None:
        await self._collection.insert(documents)

    async def delete(self, key: str) -> None:
        await self._collection.delete(key)

    async def remove(self, written: int) -> int:
        try:
            await self._collection.drop()
        except ServiceError as error:
            raise RefusedError(error.status, error.code, error.message) from None
        return 0

    def close(self) -> None:
        self._collection.close()
