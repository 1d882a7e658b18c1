"""Reads whose cluster time is known: raw `find` commands with read concern `snapshot`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from realtime.core.bson.values import CODEC
from realtime.core.live.events import to_time, to_timestamp
from realtime.errors import NotFoundError, TooLargeError, UnsupportedCollectionError
from realtime.mongo.client import RAW, Client, Database
from realtime.mongo.faults import Gate
from realtime.mongo.stream import DocumentStream
from realtime.ports import CollectionFacts, Document, Snapshot, VoidReadError

SNAPSHOT_TRIES = 5
FACTS_SECONDS = 1.0
_VOID = frozenset({239, 246})
"""SnapshotTooOld and SnapshotUnavailable: final for one time, mended by a newer one."""
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a collection: what `find` gave, and the cluster time of the read."""

    time: int
    documents: list[dict[str, Any]]


class _NoCollectionError(Exception):
    """There is no such collection; `time` is the server's own when it said so."""

    def __init__(self, time: int) -> None:
        super().__init__("no such collection")
        self.time = time


class MongoReader:
    """Snapshot reads over the process's one client."""

    def __init__(self, client: Client, database: Database, gate: Gate) -> None:
        self._client = client
        self._database = database
        self._gate = gate
        self._facts: dict[str, tuple[float, asyncio.Future[CollectionFacts]]] = {}

    async def find(
        self,
        collection: str,
        selection: Document,
        *,
        after: int,
        limit: int,
        sort: Mapping[str, int] | None = None,
        cut: bool = False,
        fields: Document | None = None,
    ) -> Snapshot:
        """All matching documents at one time at or after `after`. `TooLargeError` with the count over `limit`.

        `cut`: no such error, but the first `limit` of them by `sort`. `fields`: a projection.
        """
        concern = {"level": "snapshot", "afterClusterTime": to_timestamp(after)}
        command: dict[str, Any] = {"find": collection, "filter": selection, "limit": limit if cut else limit + 1}
        if sort is not None:
            # A sort of more than 100 MB goes to disk and is slow, where it would be refused otherwise.
            command |= {"sort": dict(sort), "allowDiskUse": True}
        if fields is not None:
            command["projection"] = fields
        async with self._gate.read():
            try:
                snapshot = await self._with_new_times(command, concern)
            except _NoCollectionError as nothing:
                return Snapshot(after, [], unless_changed_by=nothing.time)
            if len(snapshot.documents) <= limit:
                return snapshot
            count = await self._count(collection, selection)
        raise TooLargeError(
            f"the result has {count} documents, a live query holds at most {limit}: narrow the filter",
            details={"count": count, "limit": limit},
        )

    async def read_at(self, collection: str, keys: Sequence[Any], time: int) -> Snapshot:
        """The documents with these keys exactly at `time`; `VoidReadError` where that time cannot be read."""
        concern = {"level": "snapshot", "atClusterTime": to_timestamp(time)}
        command = {"find": collection, "filter": {"_id": {"$in": list(keys)}}}
        async with self._gate.read():
            try:
                return await self._run(command, concern)
            except OperationFailure as error:
                if error.code in _VOID:
                    raise VoidReadError(f"{collection} at {time}: code {error.code}") from error
                raise
            except _NoCollectionError:
                raise VoidReadError(f"{collection} at {time}: the collection is gone") from None

    async def describe(self, collection: str) -> CollectionFacts:
        """What a collection is; `UnsupportedCollectionError` for what cannot be served live.

        One read for all who ask within `FACTS_SECONDS`.
        """
        now = asyncio.get_running_loop().time()
        since, asked = self._facts.get(collection, (0.0, None))
        if asked is None or now - since > FACTS_SECONDS or (asked.done() and asked.exception() is not None):
            self._facts = {name: known for name, known in self._facts.items() if now - known[0] <= FACTS_SECONDS}
            asked = asyncio.ensure_future(self._describe(collection))
            self._facts[collection] = (now, asked)
        return await asyncio.shield(asked)

    async def _describe(self, collection: str) -> CollectionFacts:
        async with self._gate.read():
            reply = await self._database.command(
                {"listCollections": 1, "filter": {"name": collection}, "cursor": {}, "maxTimeMS": self._milliseconds}
            )
        found = reply["cursor"]["firstBatch"]
        if not found:
            return CollectionFacts(exists=False, pre_images=False)
        kind, options = found[0].get("type", "collection"), found[0].get("options", {})
        if kind != "collection":
            raise UnsupportedCollectionError(
                f"{collection} is a {kind}: no change stream reports it", details={"collection": collection}
            )
        if options.get("collation", {}).get("locale", "simple") != "simple":
            raise UnsupportedCollectionError(
                f"{collection} has a default collation: its equality is not the one that filters use here",
                details={"collection": collection},
            )
        images = options.get("changeStreamPreAndPostImages", {}).get("enabled", False)
        return CollectionFacts(exists=True, pre_images=bool(images))

    async def collections(self) -> list[tuple[str, int]]:
        """Name and estimated count of every collection that can be served, by name."""
        async with self._gate.request("read"):
            found = await self._database.list_collections(filter={"type": "collection"})
            names = sorted([entry["name"] async for entry in found])
            shown = [name for name in names if not name.startswith(("system.", "realtime_"))]
            return [(name, await self._database[name].estimated_document_count()) for name in shown]

    async def page(self, collection: str, command: Mapping[str, Any]) -> Page:
        """A page by `find`'s own options (filter, projection, sort, limit, skip), at one time."""
        async with self._gate.page():
            try:
                snapshot = await self._with_new_times({"find": collection, **command}, {"level": "snapshot"})
            except _NoCollectionError as nothing:
                return Page(nothing.time, [])
        return Page(snapshot.time, [dict(document) for document in snapshot.documents])

    async def stream(self, collection: str, command: Mapping[str, Any]) -> DocumentStream:
        """All documents by `find`'s own options, at no one time; the caller closes it."""
        return await DocumentStream.open(self._client, self._database, self._gate, collection, command)

    async def get(self, collection: str, key: Any) -> dict[str, Any]:
        """One document, majority committed. `NotFoundError` without it."""
        async with self._gate.request("read"):
            found = await self._database[collection].find_one({"_id": {"$eq": key}})
        if found is None:
            raise NotFoundError(f"no document with this key in {collection}")
        return dict(found)

    # --------------------------------------------------------------------------------------------------- commands

    @property
    def _milliseconds(self) -> int:
        return int(self._gate.seconds * 1000)

    async def _with_new_times(self, command: dict[str, Any], concern: dict[str, Any]) -> Snapshot:
        """Codes 239 and 246 are final for a time and mended by a newer one, which the server picks by itself."""
        for _ in range(SNAPSHOT_TRIES - 1):
            try:
                return await self._run(command, concern)
            except OperationFailure as error:
                if error.code not in _VOID:
                    raise
        return await self._run(command, concern)

    async def _run(self, command: dict[str, Any], concern: dict[str, Any]) -> Snapshot:
        """A raw find, read to its end: every batch of a cursor is at the same time."""
        async with await self._client.start_session(causal_consistency=False) as session:
            full = {**command, "readConcern": concern, "batchSize": _CHUNK, "maxTimeMS": self._milliseconds}
            reply = await self._database.command(full, session=session, codec_options=RAW)
            cursor = reply["cursor"]
            if "atClusterTime" not in cursor:
                raise _NoCollectionError(to_time(reply["operationTime"]))
            time = to_time(cursor["atClusterTime"])
            documents = _decode(cursor["firstBatch"])
            while cursor["id"]:
                more = {"getMore": cursor["id"], "collection": command["find"], "batchSize": _CHUNK}
                reply = await self._database.command(more, session=session, codec_options=RAW)
                cursor = reply["cursor"]
                documents += _decode(cursor["nextBatch"])
            return Snapshot(time, documents)

    async def _count(self, collection: str, selection: Document) -> int:
        pipeline = [{"$match": selection}, {"$count": "count"}]
        reply = await self._database.command(
            {"aggregate": collection, "pipeline": pipeline, "cursor": {}, "maxTimeMS": self._milliseconds},
            codec_options=CODEC,
        )
        batch = reply["cursor"]["firstBatch"]
        return int(batch[0]["count"]) if batch else 0


def _decode(batch: Sequence[RawBSONDocument]) -> list[dict[str, Any]]:
    return [bson.decode(document.raw, CODEC) for document in batch]
