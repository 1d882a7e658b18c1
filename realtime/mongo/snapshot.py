"""Reads whose cluster time is known: raw `find` commands with read concern `snapshot`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from realtime.core.bson import stored
from realtime.core.live.events import to_time, to_timestamp
from realtime.core.mql.expressions.timezones import Named, Zone, Zones
from realtime.core.mql.language import invalid
from realtime.core.mql.membership import Members
from realtime.core.mql.paths import always
from realtime.core.wire.reserved_names import refusal
from realtime.errors import TimedOutError, TooLargeError, UnsupportedCollectionError, no_document
from realtime.mongo import ruled
from realtime.mongo.client import EXACTLY, RAW, Client, Database
from realtime.mongo.faults import Gate
from realtime.mongo.stream import DocumentStream, Most, ended
from realtime.mongo.zones import UnknownZoneError, asked_zone
from realtime.ports import CollectionFacts, Document, Snapshot, VoidReadError

SNAPSHOT_TRIES = 5
_UNAVAILABLE = 246
_VOID = frozenset({239, _UNAVAILABLE})
"""SnapshotTooOld and SnapshotUnavailable: final for one time, mended by a newer one, but for a capped collection."""
_ANOTHER = 361
"""CollectionUUIDMismatch."""
_CHUNK = 1000

T = TypeVar("T")


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
        self._zones: dict[str, Zone] = {}
        self._asking: dict[str, asyncio.Future[None]] = {}
        self._next_facts: dict[str, asyncio.Future[CollectionFacts]] = {}
        self._facts: dict[str, asyncio.Future[CollectionFacts]] = {}

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
        facts: CollectionFacts | None = None,
        rule: Document | None = None,
        spare: int = 0,
    ) -> Snapshot:
        """All matching documents at one time at or after `after`. `TooLargeError` with the count over `limit`.

        `spare`: so many more than `limit` are none too many.

        `cut`: no such error, but the first `limit` of them by `sort`. `fields`: a projection. `VoidReadError` where
        the collection is not the one of `facts`, which has been checked for snapshots.

        `rule`: which documents may be read at all. The selection is asked of those alone, and an error that one of the
        others could have caused says nothing of it.
        """
        concern = {"level": "snapshot", "afterClusterTime": to_timestamp(after)}
        most = limit + spare
        options: dict[str, Any] = {"filter": selection, "limit": most if cut else most + 1}
        if sort is not None:
            # A sort of more than 100 MB goes to disk and is slow, where it would be refused otherwise.
            options |= {"sort": dict(sort), "allowDiskUse": True}
        if fields is not None:
            options["projection"] = fields
        command = ruled.reading(collection, options | _only(None if facts is None else facts.uuid), rule)
        with ruled.withheld(rule):
            async with self._gate.snapshot():
                try:
                    snapshot = await self._with_new_times(command, concern)
                except _NoCollectionError as nothing:
                    return Snapshot(after, [], unless_changed_by=nothing.time)
                if facts is not None and not facts.exists:
                    raise VoidReadError(f"{collection} was made meanwhile")
                if len(snapshot.documents) <= most:
                    return snapshot
                count = await self._count(collection, selection, rule)
        raise TooLargeError(
            f"the result has {count} documents, a live query holds at most {limit}: narrow the filter",
            details={"count": count, "limit": limit},
        )

    async def read_at(self, collection: str, keys: Sequence[Any], time: int, *, uuid: Any = None) -> Snapshot:
        """The documents with these keys exactly at `time`; `VoidReadError` where that time cannot be read.

        So it is where the collection is not the one of `uuid`: a view of its name would give what another collection
        had at that time. `UnsupportedCollectionError` where it is capped.
        """
        concern = {"level": "snapshot", "atClusterTime": to_timestamp(time)}
        command = ruled.reading(collection, {"filter": {"_id": {"$in": list(keys)}}, **_only(uuid)})
        async with self._gate.read():
            try:
                return await self._run(command, concern)
            except OperationFailure as error:
                if error.code == _UNAVAILABLE:
                    await self._refuse_capped(collection, uuid)
                if error.code in _VOID:
                    raise VoidReadError(f"{collection} at {time}: code {error.code}") from error
                raise
            except _NoCollectionError:
                raise VoidReadError(f"{collection} at {time}: the collection is gone") from None

    async def zones(self, names: Named) -> Zones:
        """The offsets of time zones, asked once each.

        `InvalidFilterError` for a name that the server does not know, with the path at which that stands.
        """
        for name in sorted(names.keys() - self._zones.keys()):
            # A crowd that comes with one zone is one question: an answer takes a second of the server's time.
            if name not in self._asking:
                self._asking[name] = _shared(self._ask_zone(name))
            try:
                await asyncio.shield(self._asking[name])
            except UnknownZoneError:
                invalid(names[name], f"MongoDB knows no timezone {name!r}")
        return {name: self._zones[name] for name in names}

    async def _ask_zone(self, name: str) -> None:
        try:
            async with self._gate.read():
                self._zones[name] = await asked_zone(self._database, name, self._milliseconds)
        finally:
            del self._asking[name]

    async def describe(self, collection: str) -> CollectionFacts:
        """What a collection is; `UnsupportedCollectionError` for what is no collection, or compared by other rules.

        It is read after it was asked for, or it could be of a time before what its reader was told: all who ask while
        it is read share the next read.
        """
        following = self._next_facts.get(collection)
        if following is None:
            following = self._next_facts[collection] = _shared(self._describe_next(collection))
        return await asyncio.shield(following)

    async def _describe_next(self, collection: str) -> CollectionFacts:
        under_way = self._facts.get(collection)
        if under_way is not None:
            await asyncio.wait({under_way})
        mine = self._facts[collection] = self._next_facts.pop(collection)
        try:
            return await self._describe(collection)
        finally:
            if self._facts[collection] is mine:
                del self._facts[collection]

    async def _refuse_capped(self, collection: str, uuid: Any) -> None:
        """`UnsupportedCollectionError` where that is why a snapshot cannot be had."""
        try:
            facts = await self.describe(collection)
        except UnsupportedCollectionError:
            return  # it is no collection by now, whatever it was
        if uuid is None or facts.uuid == uuid:
            facts.check_snapshots(collection)

    async def _describe(self, collection: str) -> CollectionFacts:
        async with self._gate.read():
            reply = await self._database.command(
                {"listCollections": 1, "filter": {"name": collection}, "cursor": {}, "maxTimeMS": self._milliseconds},
                codec_options=RAW,
            )
        # Decoded as documents are, for a validator among the options is one of a user's.
        found = _decode(reply["cursor"]["firstBatch"])
        if not found:
            return CollectionFacts(exists=False, pre_images=False)
        kind, options = found[0].get("type", "collection"), found[0].get("options", {})
        if kind != "collection":
            raise UnsupportedCollectionError(
                f"{collection} is a {kind}: no change stream reports it", details={"collection": collection}
            )
        if _has_collation(options):
            raise UnsupportedCollectionError(
                f"{collection} has a default collation: its equality is not the one that filters use here",
                details={"collection": collection},
            )
        images = options.get("changeStreamPreAndPostImages", {}).get("enabled", False)
        return CollectionFacts(
            exists=True,
            pre_images=bool(images),
            capped=bool(options.get("capped", False)),
            uuid=found[0].get("info", {}).get("uuid"),
        )

    async def collections(
        self, seen: Callable[[str], bool] = always, counted: Callable[[str], bool] = always
    ) -> list[tuple[str, int | None, int | None]]:
        """Every collection that can be subscribed to and is `seen`, by name: its name, estimated count, and its time.

        Of what is not `counted` there is neither.
        """
        async with self._gate.page():
            found = await catalogue(self._database, {"type": "collection"}, self._milliseconds)
        names = [entry["name"] for entry in found if not _has_collation(entry.get("options", {}))]
        # No request can say a name that is no UTF-8.
        shown = sorted(name for name in names if not isinstance(name, stored.Broken) and refusal(name) is None)
        told: list[tuple[str, int | None, int | None]] = []
        async with self._gate.request("read"):
            for name in filter(seen, shown):
                reply = await self._database.command({"count": name}) if counted(name) else None
                told.append((name, None, None) if reply is None else _counted(name, reply))
        return told

    async def page(
        self, collection: str, options: Mapping[str, Any], rule: Document | None = None, *, at: int | None = None
    ) -> Page:
        """A page by `find`'s own options (filter, projection, sort, limit, skip), at one time; `rule` as in `find`.

        `at`: exactly then. `VoidReadError` where that cannot be read.
        """
        command = ruled.reading(collection, options, rule)
        with ruled.withheld(rule):
            async with self._gate.page():
                try:
                    snapshot = await self._at(command, at)
                except _NoCollectionError as nothing:
                    return Page(nothing.time, [])
        return Page(snapshot.time, [dict(document) for document in snapshot.documents])

    async def members(self, asked: Members, at: int | None = None) -> Snapshot:
        """The documents that a set is of, one more than it may have at most, at one time; `at` as in `page`."""
        # By the simple collation: a name in other letters is not the same one.
        exactly = {"collation": EXACTLY.document}
        options = {"filter": asked.selection, "limit": asked.most + 1, "projection": {asked.path: 1}, **exactly}
        async with self._gate.page():
            try:
                return await self._at(ruled.reading(asked.collection, options), at)
            except _NoCollectionError as nothing:
                return Snapshot(nothing.time if at is None else at, [])

    async def count(self, collection: str, selection: Document, time: int, rule: Document | None = None) -> int:
        """How many documents match at `time`. `TimedOutError` where MongoDB needs longer than a request may take."""
        concern = {"level": "snapshot", "atClusterTime": to_timestamp(time)}
        try:
            with ruled.withheld(rule):
                async with self._gate.page():
                    return await self._count(collection, selection, rule, {"readConcern": concern})
        except TimedOutError as error:
            raise TimedOutError(
                f"count: {error.message}: narrow the filter, give it an index, or take the estimate of the list of "
                "collections",
                details={"field": "count"},
                retry_after=error.retry_after,
            ) from None

    async def stream(self, collection: str, options: Mapping[str, Any], rule: Document | None = None) -> DocumentStream:
        """All documents by `find`'s own options, at no one time; the caller closes it. `rule` as in `find`."""
        command = ruled.reading(collection, options, rule)
        return await DocumentStream.open(self._client, self._database, self._gate, command, rule)

    async def aggregate(
        self,
        collection: str,
        stages: Sequence[Document],
        *,
        rows: int,
        size: int,
        rule: Document | None = None,
        at: int | None = None,
    ) -> Page:
        """What a pipeline makes of the documents, at one time. `TooLargeError` for more `rows`, or more bytes of them.

        `rule`: the one that stands in `stages`; an error then says nothing of what it leaves out. `at` as in `page`.
        Whoever is cancelled meanwhile leaves nothing running in MongoDB.
        """
        command = ruled.aggregating(collection, stages)
        with ruled.withheld(rule):
            async with self._gate.page():
                try:
                    snapshot = await self._at(command, at, Most(rows, size))
                except _NoCollectionError as nothing:
                    return Page(nothing.time, [])
        return Page(snapshot.time, [dict(row) for row in snapshot.documents])

    async def stream_rows(
        self, collection: str, stages: Sequence[Document], *, rule: Document | None = None
    ) -> DocumentStream:
        """All rows of a pipeline, at no one time; the caller closes it. `rule` as in `aggregate`."""
        command = ruled.aggregating(collection, stages)
        return await DocumentStream.open(self._client, self._database, self._gate, command, rule)

    async def now(self) -> int:
        """The cluster's time."""
        async with self._gate.page():
            reply = await self._database.command({"ping": 1, "maxTimeMS": self._milliseconds})
        return to_time(reply["operationTime"])

    async def get(self, collection: str, key: Any, *, at: int | None = None) -> bytes:
        """One document, majority committed, as BSON. `NotFoundError` without it. `at` as in `page`."""
        async with self._gate.request("read"):
            documents = self._database.get_collection(collection, codec_options=RAW)
            if at is None:
                found = await documents.find_one({"_id": {"$eq": key}}, collation=EXACTLY)
            else:
                found = await self._one(collection, key, at)
        if found is None:
            raise no_document(collection)
        raw: bytes = found.raw
        return raw

    # --------------------------------------------------------------------------------------------------- commands

    @property
    def _milliseconds(self) -> int:
        return int(self._gate.seconds * 1000)

    async def _one(self, collection: str, key: Any, at: int) -> Any:
        concern = {"level": "snapshot", "atClusterTime": to_timestamp(at)}
        command = {"find": collection, "filter": {"_id": {"$eq": key}}, "limit": 1, "singleBatch": True}
        command["collation"] = EXACTLY.document
        async with await self._client.start_session(causal_consistency=False) as session:
            try:
                reply = await self._database.command(
                    {**command, "readConcern": concern}, session=session, codec_options=RAW
                )
            except OperationFailure as error:
                if error.code == _UNAVAILABLE:
                    await self._refuse_capped(collection, None)
                if error.code in _VOID:
                    raise VoidReadError(f"{collection} at {at}: code {error.code}") from error
                raise
        return next(iter(reply["cursor"]["firstBatch"]), None)

    async def _at(self, command: dict[str, Any], at: int | None, most: Most | None = None) -> Snapshot:
        """At a time of the server's own, or exactly at this one; `VoidReadError` where that cannot be read."""
        if at is None:
            return await self._with_new_times(command, {"level": "snapshot"}, most)
        try:
            return await self._run(command, {"level": "snapshot", "atClusterTime": to_timestamp(at)}, most)
        except OperationFailure as error:
            if error.code in _VOID:
                raise VoidReadError(f"code {error.code} at {at}") from error
            raise

    async def _with_new_times(
        self, command: dict[str, Any], concern: dict[str, Any], most: Most | None = None
    ) -> Snapshot:
        """Codes 239 and 246 are final for a time and mended by a newer one, which the server picks by itself."""
        for _ in range(SNAPSHOT_TRIES - 1):
            try:
                return await self._run(command, concern, most)
            except OperationFailure as error:
                if error.code not in _VOID:
                    raise
        return await self._run(command, concern, most)

    async def _run(self, command: dict[str, Any], concern: dict[str, Any], most: Most | None = None) -> Snapshot:
        """A raw find, read to its end: every batch of a cursor is at the same time.

        `most`: over it `TooLargeError`; and what is not read to its end is killed in MongoDB.
        """
        session = await self._client.start_session(causal_consistency=False)
        if most is None:
            async with session:
                return await self._read(session, command, concern, None)
        whole = False
        try:
            snapshot = await self._read(session, command, concern, most)
            whole = True
            return snapshot
        finally:
            await ended(self._client, session, whole=whole)

    async def _read(
        self, session: Any, command: dict[str, Any], concern: dict[str, Any], most: Most | None
    ) -> Snapshot:
        full = {**_chunked(command), "readConcern": concern, "maxTimeMS": self._milliseconds}
        collection = command.get("find") or command["aggregate"]
        try:
            reply = await self._database.command(full, session=session, codec_options=RAW)
        except OperationFailure as error:
            if error.code == _ANOTHER:
                raise VoidReadError(f"{collection} is another collection by now") from error
            raise
        cursor = reply["cursor"]
        if "atClusterTime" not in cursor:
            raise _NoCollectionError(to_time(reply["operationTime"]))
        time = to_time(cursor["atClusterTime"])
        batch, size = cursor["firstBatch"], 0
        documents = _decode(batch)
        while True:
            if most is not None:
                size += sum(len(document.raw) for document in batch)
                most.check(len(documents), size)
            if not cursor["id"]:
                return Snapshot(time, documents)
            more = {"getMore": cursor["id"], "collection": collection, "batchSize": _CHUNK}
            cursor = (await self._database.command(more, session=session, codec_options=RAW))["cursor"]
            batch = cursor["nextBatch"]
            documents += _decode(batch)

    async def _count(
        self, collection: str, selection: Document, rule: Document | None = None, options: Document | None = None
    ) -> int:
        matching = [ruled.encoded(stage) for stage in ruled.conditions(rule, selection)]
        command = {"aggregate": collection, "pipeline": [*matching, {"$count": "count"}], "cursor": {}}
        reply = await self._database.command({**command, **(options or {}), "maxTimeMS": self._milliseconds})
        batch = reply["cursor"]["firstBatch"]
        return int(batch[0]["count"]) if batch else 0


async def catalogue(database: Database, wanted: Document, milliseconds: int = 0) -> list[dict[str, Any]]:
    """What `listCollections` says, whatever is in there: a validator is a user's document, a name may be no UTF-8.

    `milliseconds`: that it may take in all; 0 for as long as it needs.
    """
    # By commands: the driver's own method decodes what it reads, whatever codec it is given.
    async with await database.client.start_session(causal_consistency=False) as session:
        command: dict[str, Any] = {
            "listCollections": 1,
            "filter": wanted,
            "cursor": {"batchSize": _CHUNK},
            "maxTimeMS": milliseconds,
        }
        cursor = (await database.command(command, session=session, codec_options=RAW))["cursor"]
        found = _decode(cursor["firstBatch"])
        while cursor["id"]:
            more = {"getMore": cursor["id"], "collection": "$cmd.listCollections", "batchSize": _CHUNK}
            cursor = (await database.command(more, session=session, codec_options=RAW))["cursor"]
            found += _decode(cursor["nextBatch"])
    return found


def _shared(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Work that several may wait for, and nobody to its end: what it raises then concerns nobody, and is no line."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _only(uuid: Any) -> dict[str, Any]:
    """What makes a `find` fail by code 361 where the name stands for anything but the collection of this UUID."""
    return {} if uuid is None else {"collectionUUID": uuid}


def _has_collation(options: Mapping[str, Any]) -> bool:
    """Whether a collection's own rules decide what is equal in it."""
    return bool(options.get("collation", {}).get("locale", "simple") != "simple")


def _counted(name: str, reply: Mapping[str, Any]) -> tuple[str, int, int]:
    return name, int(reply["n"]), to_time(reply["operationTime"])


def _chunked(command: dict[str, Any]) -> dict[str, Any]:
    """A command that answers so much at once."""
    return {**command, **({"cursor": {"batchSize": _CHUNK}} if "aggregate" in command else {"batchSize": _CHUNK})}


def _decode(batch: Sequence[RawBSONDocument]) -> list[dict[str, Any]]:
    return [stored.decode(document.raw) for document in batch]
