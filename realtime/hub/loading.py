"""Bringing a query group to live: what has to be read of MongoDB for it, and when to try again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import nullcontext

from realtime import logs, metrics
from realtime.core.bson.keys import identity
from realtime.core.live import meaning
from realtime.core.live.event_group import EventGroup, Group
from realtime.core.live.query import QueryGroup
from realtime.errors import ServiceError, TooLargeError, UnavailableError
from realtime.hub.progress import Progress
from realtime.hub.rereads import Rereads
from realtime.hub.roster import Roster
from realtime.hub.sets import Sets
from realtime.hub.slicing import Slices
from realtime.hub.walls import Walls
from realtime.ports import CollectionFacts, Snapshot, SnapshotReader, VoidReadError

log = logging.getLogger("realtime.hub")

RETRY_SECONDS = (0.1, 5.0)
BEHIND_RETRY_SECONDS = 5.0
REACHED_SECONDS = 10.0
"""How long who is new waits for the feed to come to where something was read: about an election. While no relay
publishes it does not come there at all."""
LEEWAY = 1000
"""Documents that a query which time moves may read and have left by the time of the read."""
AT_A_TIME = 4
"""Of groups that are wanted all at once because access changed: so many are read beside each other."""


class Loader:
    """Brings groups to live, each in a task that the hub owns; on failure those who wait are answered."""

    def __init__(
        self,
        *,
        progress: Progress,
        reader: SnapshotReader,
        roster: Roster,
        rereads: Rereads,
        sets: Sets,
        walls: Walls,
        go_live: Callable[[Group], None],
        start: Callable[[Group], None],
        went_live: Callable[[QueryGroup], None],
        end_all: Callable[[Group, ServiceError], None],
    ) -> None:
        self._progress = progress
        self._reader = reader
        self._roster = roster
        self._rereads = rereads
        self._sets = sets
        self._walls = walls
        self._go_live = go_live
        self._start = start
        self._went_live = went_live
        self._end_all = end_all
        self._slices = Slices()
        self._few = asyncio.Semaphore(AT_A_TIME)

    async def bring_up(self, group: Group, *, few: bool = False) -> None:
        """Read what a group needs and make it live; on failure answer those who wait.

        `few`: one of many that are wanted at once, and that nobody may be kept waiting for.
        """
        try:
            if isinstance(group, QueryGroup):
                await self._load_until_live(group, self._few if few else None)
            else:
                await self._describe(group)
        except ServiceError as error:
            self._end_all(group, error)
        except Exception as error:
            self._walls.group_failed(group, error)

    def _fits(self) -> None:
        """`UnavailableError` where what is read now would be far ahead of what is dispatched."""
        if self._progress.behind is not None:
            raise UnavailableError(self._progress.behind, retry_after=BEHIND_RETRY_SECONDS)

    async def _reached(self, time: int) -> None:
        """Until that is dispatched. `UnavailableError` where it takes too long; who was live before goes on waiting."""
        try:
            async with asyncio.timeout(REACHED_SECONDS):
                await self._progress.reached(time)
        except TimeoutError:
            raise UnavailableError(
                "the changes up to what was read do not come: no relay publishes them, or no majority of MongoDB is up",
                retry_after=BEHIND_RETRY_SECONDS,
            ) from None

    async def _describe(self, group: EventGroup) -> None:
        failures = 0
        while True:
            try:
                self._fits()
                facts = {name: await self._reader.describe(name) for name in sorted(group.query.collections or ())}
                await self._learn_zones(group)
                await self._sets.ready(group)
                break
            except ServiceError as error:
                # One that is live goes on meanwhile: it only wants to know whether it may.
                if not (error.retry and group.live):
                    raise
            failures += 1
            await asyncio.sleep(backoff(failures))
        group.know({name: fact.pre_images for name, fact in facts.items()})
        if not group.live:
            self._progress.between_batches(lambda: self._begin(group))

    def _begin(self, group: EventGroup) -> None:
        """By what its rule takes from other collections; where that is not known any more, it is asked once more."""
        members = self._roster.members(group)
        if members is None:
            return
        if self._sets.known(group):
            self._go_live(group)
        else:
            self._start(group)

    async def _learn_zones(self, group: Group) -> None:
        """The offsets of the time zones that its expressions name, as the server at hand has them."""
        names = meaning.zones(group.query)
        if not names:
            return
        query = meaning.told(group.query, await self._reader.zones(names))
        if isinstance(group, QueryGroup):
            group.means(query)
        else:
            group.query = query

    async def _load_until_live(self, group: QueryGroup, turns: asyncio.Semaphore | None) -> None:
        failures = shortages = 0
        while True:
            try:
                async with turns or nullcontext():
                    await self._load(group, shortages)
                if not group.short:
                    return
                # More was deleted while it was read than there were spares, or had left by then.
                metrics.UNDERFLOWS.inc()
                shortages += 1
                await self._reached(group.time)
                group.reload()
                continue
            except VoidReadError as error:
                log.info("snapshot of %s starts again: %s", group.query.collection, error, extra=logs.RETRIED)
                group.reload()
            except ServiceError as error:
                # Those who were live have been told `resync`: they wait as long as it takes.
                members = self._roster.members(group)
                if not error.retry or members is None or not any(one.accepted for one in members.subscriptions):
                    raise
                group.reload()
            failures += 1
            await asyncio.sleep(backoff(failures))

    async def _load(self, group: QueryGroup, shortages: int) -> None:
        """Snapshot at S, then the keys touched after S at the last dispatched T.

        `shortages`: how often in a row a window was not filled by what was read.
        """
        progress, collection = self._progress, group.query.collection
        self._fits()
        facts = await self._reader.describe(collection)
        facts.check_snapshots(collection)
        await self._learn_zones(group)
        await self._sets.ready(group)
        snapshot = await self._find(group, facts, shortages)
        await self._slices.each(snapshot.documents, lambda document: group.put(dict(document), snapshot.time))
        await self._slices.each(group.steps(), lambda _: None)
        if group.too_large:
            raise outgrown(group)
        if snapshot.unless_changed_by is not None:
            # A drop or rename up to then would start this group again, and cancel what runs here.
            await self._reached(snapshot.unless_changed_by)
        if group.query.sets or group.query.members is not None:
            # What changes a set up to then has to be known: it would start this group again, and cancel what runs here.
            await self._reached(snapshot.time)
        await progress.idle()
        keys = group.loaded(snapshot.time, len(snapshot.documents))
        if keys:
            now = progress.time
            # All were touched in one collection: had it become another one, this would have begun again.
            uuid = next(iter(group.backlog.values())).uuid
            metrics.SNAPSHOT_READS.inc()
            caught = await self._reader.read_at(collection, keys, now, uuid=uuid)
            group.caught_up({identity(document["_id"]): dict(document) for document in caught.documents}, now)
        else:
            # Nothing of it was touched since: it is the same now, but for what has left.
            group.caught_up({}, max(snapshot.time, progress.time))
        if group.too_large:
            raise outgrown(group)
        if not group.short:
            await self._rereads.before_live(group)
            self._go_live(group)
            self._went_live(group)

    async def _find(self, group: QueryGroup, facts: CollectionFacts, shortages: int) -> Snapshot:
        """What a group wants, at one time S at or after what is planned.

        Of a query that time moves that is asked as of the second of what is planned: all that matches at S, and what
        has left by then, for which there is room.
        """
        planned, wanted, spare = self._progress.planned, group.wanted, 0
        selection = wanted.selection
        if group.departures is not None:
            selection = group.query.filter.asked_at(planned >> 32)
            spare = min(wanted.limit * (2**shortages - 1), group.bounds.kept) if wanted.cut else LEEWAY
        metrics.SNAPSHOT_READS.inc()
        return await self._reader.find(
            group.query.collection,
            selection,
            after=planned,
            limit=wanted.limit,
            sort=wanted.sort,
            cut=wanted.cut,
            fields=wanted.fields,
            facts=facts,
            rule=wanted.rule,
            spare=spare,
        )


def backoff(failures: int) -> float:
    """Seconds to wait before the next try."""
    least, most = RETRY_SECONDS
    return min(most, least * float(2 ** min(failures - 1, 10)))


def outgrown(group: QueryGroup) -> TooLargeError:
    """What ends the subscriptions of a group that is larger than it may be."""
    count, limit = group.outgrown
    return TooLargeError(
        f"the result has outgrown a live query ({count} documents, {group.size} bytes): narrow the filter",
        details={"count": count, "limit": limit},
    )
