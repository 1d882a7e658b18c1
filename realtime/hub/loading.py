"""Bringing a query group to live: what has to be read of MongoDB for it, and when to try again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from realtime import logs, metrics
from realtime.core.live.events import identity
from realtime.core.live.query import EventGroup, Group, QueryGroup
from realtime.errors import InternalError, ServiceError, TooLargeError
from realtime.hub.roster import Roster
from realtime.ports import SnapshotReader, VoidReadError

log = logging.getLogger("realtime.hub")

RETRY_SECONDS = (0.1, 5.0)
_LOAD_SLICE = 250


class Desk(Protocol):
    """The hub, as far as loading needs it. `reached` and `idle` wait for the feed, nothing else does."""

    time: int
    planned: int
    reader: SnapshotReader
    roster: Roster

    async def reached(self, time: int) -> None:
        """Until everything at or before `time` has been dispatched."""

    async def idle(self) -> None:
        """Until no batch is in the pipe; the caller goes on before the next one is planned."""

    async def before_live(self, group: QueryGroup) -> None:
        """Until a group that is exact by now may go live."""

    def between_batches(self, action: Callable[[], None]) -> None:
        """Now, or right after the batch that is in the pipe."""

    def go_live(self, group: Group) -> None:
        """What it needed has been read: bring those who wait to live."""

    def end_all(self, group: Group, error: ServiceError) -> None:
        """End everybody's subscription to it."""


class Loader:
    """Brings groups to live, each in a task that the hub owns; on failure those who wait are answered."""

    def __init__(self, hub: Desk) -> None:
        self._hub = hub

    async def bring_up(self, group: Group) -> None:
        """Read what a group needs and make it live; on failure answer those who wait."""
        try:
            if isinstance(group, QueryGroup):
                await self._load_until_live(group)
            else:
                await self._describe(group)
        except ServiceError as error:
            self._hub.end_all(group, error)
        except Exception:
            reference = metrics.reference()
            log.exception("query group failed, reference %s", reference, extra={"reference": reference})
            self._hub.end_all(group, InternalError(f"a bug; it is logged under {reference}"))

    async def _describe(self, group: EventGroup) -> None:
        facts = [await self._hub.reader.describe(name) for name in sorted(group.query.collections or ())]
        group.deletes = "matched" if facts and all(fact.pre_images for fact in facts) else "all"
        self._hub.between_batches(lambda: self._hub.go_live(group))

    async def _load_until_live(self, group: QueryGroup) -> None:
        failures = 0
        while True:
            try:
                await self._load(group)
                if not group.short:
                    return
                # More was deleted while it was read than there were spares.
                metrics.UNDERFLOWS.inc()
                group.reload()
                continue
            except VoidReadError as error:
                log.info("snapshot of %s starts again: %s", group.query.collection, error, extra=logs.RETRIED)
                group.reload()
            except ServiceError as error:
                # Those who were live have been told `resync`: they wait as long as it takes.
                members = self._hub.roster.members(group)
                if not error.retry or members is None or not any(one.accepted for one in members.subscriptions):
                    raise
                group.reload()
            failures += 1
            await asyncio.sleep(backoff(failures))

    async def _load(self, group: QueryGroup) -> None:
        """Snapshot at S, then the keys touched after S at the last dispatched T."""
        hub, collection = self._hub, group.query.collection
        await hub.reader.describe(collection)
        metrics.SNAPSHOT_READS.inc()
        wanted = group.wanted
        snapshot = await hub.reader.find(
            collection,
            wanted.selection,
            after=hub.planned,
            limit=wanted.limit,
            sort=wanted.sort,
            cut=wanted.cut,
            fields=wanted.fields,
        )
        for index, document in enumerate(snapshot.documents):
            group.put(dict(document))
            if index % _LOAD_SLICE == _LOAD_SLICE - 1:
                await asyncio.sleep(0)
        if group.too_large:
            raise outgrown(group)
        if snapshot.unless_changed_by is not None:
            # A drop or rename up to then would start this group again, and cancel what runs here.
            await hub.reached(snapshot.unless_changed_by)
        await hub.idle()
        keys = group.loaded(snapshot.time, len(snapshot.documents))
        if keys:
            time = hub.time
            metrics.SNAPSHOT_READS.inc()
            caught = await hub.reader.read_at(collection, keys, time)
            group.caught_up({identity(document["_id"]): dict(document) for document in caught.documents}, time)
        else:
            group.caught_up({}, snapshot.time)
        if group.too_large:
            raise outgrown(group)
        if not group.short:
            await hub.before_live(group)
            hub.go_live(group)


def backoff(failures: int) -> float:
    """Seconds to wait before the next try."""
    least, most = RETRY_SECONDS
    return min(most, least * float(2 ** min(failures - 1, 10)))


def outgrown(group: QueryGroup) -> TooLargeError:
    """What ends the subscriptions of a group that is larger than it may be."""
    count, limit = group.result.count, group.wanted.limit
    return TooLargeError(
        f"the result has outgrown a live query ({count} documents, {group.size} bytes): narrow the filter",
        details={"count": count, "limit": limit},
    )
