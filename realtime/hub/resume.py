"""Going on from a position: what happened since, from the journal or the oplog, then live, without gap or repeat."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol

from realtime import logs
from realtime.bugs import bug
from realtime.core.bson.keys import identity
from realtime.core.connection import cutting
from realtime.core.connection.encodings import Encodings
from realtime.core.live.event_group import EventGroup, Group
from realtime.core.live.events import format_position, to_date
from realtime.core.live.journal import Entry, follow
from realtime.core.live.moments import Settled
from realtime.core.live.query import QueryGroup
from realtime.core.live.stepping import EVERY
from realtime.core.wire import protocol
from realtime.errors import (
    HistoryLostError,
    InvalidPositionError,
    ServiceError,
    TooLargeError,
    UnsupportedCollectionError,
)
from realtime.hub.dialects import Dialects
from realtime.hub.history import History
from realtime.hub.progress import Progress
from realtime.hub.roster import Subscription
from realtime.hub.walls import Walls
from realtime.ports import CollectionFacts, SnapshotReader, VoidReadError

log = logging.getLogger("realtime.hub")

AHEAD_SECONDS = 30
"""How far after the feed a position may lie and still be waited for: a write's own, say, or another node's."""
MAX_KEYS = 10_000
PATIENCE_SECONDS = 5.0
"""How long a query waits for the oplog to be read before it takes a snapshot instead."""
SHARED_BYTES = 16 * 1024 * 1024
"""What is kept encoded of what was told to one who resumed, for the next one."""
_READ_KEYS = 1000

Found = dict[str, tuple[int, dict[str, Any] | None]]
"""By identity: the time of a read, and the document; None: there was none."""


class Listen(Protocol):
    """Say `live`, by `say` where it has to come after others."""

    def __call__(
        self, group: Group, subscription: Subscription, say: Callable[[bytes], None] | None = None
    ) -> None: ...


class Resumer:
    """Brings subscriptions with a position to live. What has no await in it is what the hub relies on."""

    def __init__(
        self,
        *,
        progress: Progress,
        reader: SnapshotReader,
        history: History,
        dialects: Dialects,
        walls: Walls,
        frame_bytes: int,
        welcome: Callable[[Group, Subscription], None],
        accept: Callable[[Group, Subscription], None],
        since: Callable[[Group, int], int | None],
        listen: Listen,
        end: Callable[[Subscription, ServiceError, str], None],
    ) -> None:
        self._progress = progress
        self._reader = reader
        self._history = history
        self._dialects = dialects
        self._walls = walls
        self._frame_bytes = frame_bytes
        self._welcome = welcome
        self._accept = accept
        self._since = since
        self._listen = listen
        self._end = end
        self._completing = asyncio.Lock()
        self._encoded = Encodings(SHARED_BYTES)

    async def resume(self, group: Group, subscription: Subscription, after: int) -> None:
        """Answer one subscription: recovered, a fresh snapshot (query mode), or the error (events mode)."""
        try:
            if subscription.since:
                after = await self._history.since(after)
            while not await self._resumed(group, subscription, after):
                log.info("the journal was lost while a subscription resumed from it", extra=logs.RETRIED)
        except Exception as error:
            if subscription.group is not group or subscription.live:
                if not isinstance(error, ServiceError | TimeoutError):
                    bug("subscription", error)
                return
            try:
                self._refuse(group, subscription, after, error)
            except Exception as error:
                self._walls.subscription_failed(subscription, error, after)

    async def _resumed(self, group: Group, subscription: Subscription, after: int) -> bool:
        """Whether it was answered; False where what it waited for is there no longer."""
        await self._wait_for(group, after)
        patience = None if isinstance(group, EventGroup) else PATIENCE_SECONDS
        async with self._history.reaching(after, within=patience):
            if isinstance(group, EventGroup):
                await self._complete(group, after)
            if subscription.group is not group or subscription.live:
                return True
            if isinstance(group, EventGroup):
                return self._replay(group, subscription, after)
            if not self._bring_up(group, subscription, after):
                self._afresh(group, subscription)
            return True

    def _refuse(self, group: Group, subscription: Subscription, after: int, error: Exception) -> None:
        """It cannot go on from there: the error, or where a snapshot will do and nothing was said yet, that."""
        if not isinstance(error, ServiceError | TimeoutError):
            if subscription.accepted or isinstance(group, EventGroup):
                self._walls.subscription_failed(subscription, error, after)
                return
            bug("subscription", error)
        if isinstance(group, EventGroup) and isinstance(error, ServiceError):
            self._end(subscription, error, group.position)
        else:
            self._afresh(group, subscription)

    async def _wait_for(self, group: Group, after: int) -> None:
        """Until the feed is where the position and the group are."""
        progress = self._progress
        if after >> 32 > (max(progress.time, progress.cluster) >> 32) + AHEAD_SECONDS:
            raise InvalidPositionError("the position lies ahead of MongoDB's own time")
        while True:
            try:
                async with asyncio.timeout(AHEAD_SECONDS):
                    # A group's documents may be ahead of the feed: the journal must reach to where they are.
                    await progress.reached(max(after, group.time))
                return
            except TimeoutError:
                # This process may be behind, and know it: the position is another's, who is not.
                if after > progress.cluster:
                    raise InvalidPositionError("the position lies ahead of MongoDB's own time") from None

    def _afresh(self, group: Group, subscription: Subscription) -> None:
        subscription.after = None
        if group.live:
            self._welcome(group, subscription)

    # ------------------------------------------------------------------------------------------------------ query mode

    def _bring_up(self, group: QueryGroup, subscription: Subscription, after: int) -> bool:
        """Only what changed since, from the group's own documents; False where that cannot be told."""
        entries = self._history.journal.after(after)
        if entries is None or not group.recoverable or group.time > self._progress.time:
            return False
        if not self._dialects.holds(group.query, after) or self._since(group, after) is not None:
            return False
        collection = group.query.collection
        if any(_is_missing(entry.settled, collection) for entry in entries):
            return False
        group.advance(self._progress.time)
        departed = group.departed(after)
        if departed is None:
            return False
        touched: Collection[str] = _touched(entries, collection, after)
        if subscription.ruled:
            # What left by time was there until then, and whoever had it is told.
            known = group.held_since([name for name in touched if name not in departed], entries, after)
            if known is None:
                return False
            touched = known
        touched = dict.fromkeys([*departed, *touched])
        # Whoever comes back from the same position while nothing happens is told the same.
        key = (group.channel, after, group.time, subscription.ruled)
        changes = self._encoded.get(key, lambda: group.since(touched))
        if len(changes) > MAX_KEYS:
            return False
        sink, target = subscription.owner.sink, protocol.id_target(subscription.id)
        # Raised before anything is said: where it cannot be told, a snapshot may be.
        frames = iter(cutting.moment("changes", target, changes, group.position, self._frame_bytes, sink.max_frame))
        self._accept(group, subscription)
        if changes:
            sink.send_run(self._walls.run(subscription, frames))
        self._listen(group, subscription)
        return True

    # ----------------------------------------------------------------------------------------------------- events mode

    def _replay(self, group: EventGroup, subscription: Subscription, after: int) -> bool:
        entries = self._history.journal.after(after)
        if entries is None:
            return False
        if any(_hears_of(group, name) for entry in entries for name in entry.settled.stepped_over):
            raise HistoryLostError("something since then could not be told: subscribe without a position")
        if (since := self._since(group, after)) is not None:
            raise others_then(since)
        self._accept(group, subscription)
        subscription.told = after

        def replay(live: bytes) -> None:
            frames = self._frames(group, subscription, entries, after, live)
            subscription.owner.sink.send_run(self._walls.run(subscription, frames, after))

        self._listen(group, subscription, replay)
        return True

    def _frames(
        self, group: EventGroup, subscription: Subscription, entries: list[Entry], after: int, live: bytes
    ) -> Iterator[bytes]:
        """One frame or more an entry, made when the transport takes them, and `live`.

        It ends where an event is too large for the connection, and nothing that came after it is told.
        """
        sink, told = subscription.owner.sink, after
        target = protocol.id_target(subscription.id)
        for entry in entries:
            if (since := self._since(group, told)) is not None:
                # By what is known now nothing can be told of what was before.
                sink.lapse(group.channel, told)
                if subscription.group is group:
                    self._end(subscription, others_then(since), format_position(self._progress.epoch, told))
                return
            events = self._matching(group, entry, after)
            if events:
                position = format_position(self._progress.epoch, entry.time)
                try:
                    yield from cutting.moment("events", target, events, position, self._frame_bytes, sink.max_frame)
                except TooLargeError as error:
                    sink.lapse(group.channel, told)
                    if subscription.group is group:
                        self._end(subscription, error, format_position(self._progress.epoch, told))
                    return
            subscription.told = told = max(told, entry.time)
        subscription.told = None
        yield live

    def _matching(self, group: EventGroup, entry: Entry, after: int) -> list[bytes]:
        events = entry.settled.order
        if not events or events[0].time <= after:
            return group.matching(entry, after=after)
        # The oplog may give the same events again in another entry, and documents that were lacking may have come.
        dialect = group.query.filter.dialect  # which is its projection's as well
        key = (group.channel, dialect, group.query.sight, events[0].time, entry.time, len(events), len(entry.late))
        return self._encoded.get(key, lambda: group.matching(entry, after=after))

    async def _complete(self, group: EventGroup, after: int) -> None:
        """Read the documents that updates in the journal lack, once for all who resume; they name their later time."""
        async with self._completing:
            lacking: dict[str, dict[str, Any]] = {}
            entries = [entry.whole(group.query.covers) for entry in self._history.journal.after(after) or ()]
            for event in (event for entry in entries for event in entry.settled.order if entry.lacks(event)):
                if group.query.covers(event.collection):
                    lacking.setdefault(event.collection, {})[event.identity or ""] = event.key
            for collection, keys in lacking.items():
                found = await self._read_now(collection, keys)
                for entry in entries:
                    for event in entry.settled.events.get(collection, ()):
                        if entry.lacks(event) and event.identity in found:
                            entry.late[collection, event.identity] = found[event.identity]
        if group.query.sight is not None:
            await self._follow(after)

    async def _follow(self, after: int) -> None:
        """What happened to documents between their event and their read, by which a rule is asked of the event."""
        entries = self._history.journal.after(after) or ()
        last = max((time for entry in entries for time, _ in entry.late.values()), default=0)
        await self._progress.reached(last)
        follow(self._history.journal.after(after) or ())

    async def _read_now(self, collection: str, keys: dict[str, Any]) -> Found:
        """By identity the time of a read, and the document. Of what is no collection now, or capped, there is none."""
        while True:
            try:
                facts = await self._reader.describe(collection)
                facts.check_snapshots(collection)
                return await self._read(collection, keys, facts)
            except UnsupportedCollectionError:
                return dict.fromkeys(keys, (self._progress.time, None))
            except VoidReadError:
                log.info("%s became another collection while it was read", collection, extra=logs.RETRIED)

    async def _read(self, collection: str, keys: dict[str, Any], facts: CollectionFacts) -> Found:
        found: Found = {}
        names = list(keys)
        for start in range(0, len(names), _READ_KEYS):
            part = names[start : start + _READ_KEYS]
            selection = {"_id": {"$in": [keys[name] for name in part]}}
            snapshot = await self._reader.find(
                collection, selection, after=self._progress.time, limit=len(part), facts=facts
            )
            found.update((name, (snapshot.time, None)) for name in part)
            for document in snapshot.documents:
                found[identity(document["_id"])] = (snapshot.time, dict(document))
        return found


def others_then(since: int) -> HistoryLostError:
    """What a rule takes from other collections is what it is since this time, and may have been something else."""
    oldest = to_date(since + (1 << 32))  # a date is a whole second, and has to lie after it
    return HistoryLostError(
        "what your rules take from other collections changed since then: subscribe without a position",
        details={"oldest": oldest},
    )


def _is_missing(settled: Settled, collection: str) -> bool:
    """Whether documents of the collection changed without a touch of their own."""
    return settled.was_replaced(collection) or settled.was_stepped_over(collection)


def _hears_of(group: EventGroup, name: str) -> bool:
    return name == EVERY or group.query.covers(name)


def _touched(entries: list[Entry], collection: str, after: int) -> dict[str, None]:
    """The documents that changed after a time, in the order of their first change."""
    names: dict[str, None] = {}
    for entry in entries:
        touches = entry.settled.touches.get(collection, {})
        names.update((touch.identity, None) for touch in touches.values() if touch.time > after)
    return names
