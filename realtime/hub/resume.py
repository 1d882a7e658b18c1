"""Going on from a position: what happened since, from the journal or the oplog, then live, without gap or repeat."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Protocol

from realtime.core.connection.encodings import Encodings
from realtime.core.live.events import format_position, identity
from realtime.core.live.journal import Entry
from realtime.core.live.query import EventGroup, Group, GroupBounds, QueryGroup
from realtime.core.wire import protocol
from realtime.errors import InvalidPositionError, ServiceError
from realtime.hub.history import History
from realtime.hub.roster import Subscription
from realtime.ports import SnapshotReader

AHEAD_SECONDS = 30
"""How far after the feed a position may lie and still be waited for: a write's own, say, or another node's."""
MAX_KEYS = 10_000
PATIENCE_SECONDS = 5.0
"""How long a query waits for the oplog to be read before it takes a snapshot instead."""
SHARED_BYTES = 16 * 1024 * 1024
"""What is kept encoded of what was told to one who resumed, for the next one."""
_READ_KEYS = 1000


class Desk(Protocol):
    """The hub, as far as resuming needs it. All but `reached` is synchronous."""

    time: int
    epoch: str
    bounds: GroupBounds
    history: History
    reader: SnapshotReader

    async def reached(self, time: int) -> None:
        """Until everything at or before `time` has been dispatched."""

    def welcome(self, group: Group, subscription: Subscription) -> None:
        """Bring a subscription to live from what the group holds."""

    def accept(self, group: Group, subscription: Subscription, *, recovered: bool) -> None:
        """Say `subscribed`."""

    def listen(self, group: Group, subscription: Subscription) -> None:
        """Say `live`."""

    def end(self, subscription: Subscription, error: ServiceError, position: str) -> None:
        """End it by an error."""


class Resumer:
    """Brings subscriptions with a position to live. What has no await in it is what the hub relies on."""

    def __init__(self, hub: Desk) -> None:
        self._hub = hub
        self._completing = asyncio.Lock()
        self._encoded = Encodings(SHARED_BYTES)

    async def resume(self, group: Group, subscription: Subscription, after: int) -> None:
        """Answer one subscription: recovered, a fresh snapshot (query mode), or the error (events mode)."""
        try:
            await self._wait_for(group, after)
            patience = None if isinstance(group, EventGroup) else PATIENCE_SECONDS
            async with self._hub.history.reaching(after, within=patience):
                if isinstance(group, EventGroup):
                    await self._complete(group, after)
                if subscription.group is not group or subscription.live:
                    return
                if isinstance(group, EventGroup):
                    self._replay(group, subscription, after)
                elif not self._bring_up(group, subscription, after):
                    self._afresh(group, subscription)
        except (ServiceError, TimeoutError) as error:
            if subscription.group is not group or subscription.live:
                return
            if isinstance(group, EventGroup) and isinstance(error, ServiceError):
                self._hub.end(subscription, error, group.position)
            else:
                self._afresh(group, subscription)

    async def _wait_for(self, group: Group, after: int) -> None:
        """Until the feed is where the position and the group are."""
        if after >> 32 > (self._hub.time >> 32) + AHEAD_SECONDS:
            raise InvalidPositionError("the position lies ahead of MongoDB's own time")
        try:
            async with asyncio.timeout(AHEAD_SECONDS):
                # A group's documents may be ahead of the feed: the journal must reach to where they are.
                await self._hub.reached(max(after, group.time))
        except TimeoutError:
            raise InvalidPositionError("the position lies ahead of MongoDB's own time") from None

    def _afresh(self, group: Group, subscription: Subscription) -> None:
        subscription.after = None
        if group.live:
            self._hub.welcome(group, subscription)

    # ------------------------------------------------------------------------------------------------------ query mode

    def _bring_up(self, group: QueryGroup, subscription: Subscription, after: int) -> bool:
        """Only what changed since, from the group's own documents; False where that cannot be told."""
        entries = self._hub.history.journal.after(after)
        if entries is None or not group.recoverable or group.time > self._hub.time:
            return False
        collection = group.query.collection
        if any(entry.settled.was_replaced(collection) for entry in entries):
            return False
        group.advance(self._hub.time)
        # Whoever comes back from the same position while nothing happens is told the same.
        changes = self._encoded.get(
            (group.channel, after, group.time), lambda: group.since(_touched(entries, collection, after))
        )
        if len(changes) > MAX_KEYS:
            return False
        self._hub.accept(group, subscription, recovered=True)
        if changes:
            target = protocol.id_target(subscription.id)
            frame_bytes = self._hub.bounds.frame_bytes
            frames = protocol.moment_frames("changes", target, changes, group.position, frame_bytes)
            subscription.owner.sink.send_run(frames)
        self._hub.listen(group, subscription)
        return True

    # ----------------------------------------------------------------------------------------------------- events mode

    def _replay(self, group: EventGroup, subscription: Subscription, after: int) -> None:
        entries = self._hub.history.journal.after(after) or []
        self._hub.accept(group, subscription, recovered=True)
        subscription.owner.sink.send_run(self._frames(group, subscription, entries, after))
        self._hub.listen(group, subscription)

    def _frames(
        self, group: EventGroup, subscription: Subscription, entries: list[Entry], after: int
    ) -> Iterator[bytes]:
        """One frame or more an entry, made when the transport takes them."""
        target = protocol.id_target(subscription.id)
        for entry in entries:
            events = self._matching(group, entry, after)
            if events:
                position = format_position(self._hub.epoch, entry.time)
                yield from protocol.moment_frames("events", target, events, position, self._hub.bounds.frame_bytes)

    def _matching(self, group: EventGroup, entry: Entry, after: int) -> list[bytes]:
        events = entry.settled.order
        if not events or events[0].time <= after:
            return group.matching(entry, after=after)
        # The oplog may give the same events again in another entry, and documents that were lacking may have come.
        key = (group.channel, events[0].time, entry.time, len(events), len(entry.late))
        return self._encoded.get(key, lambda: group.matching(entry, after=after))

    async def _complete(self, group: EventGroup, after: int) -> None:
        """Read the documents that updates in the journal lack, once for all who resume; they name their later time."""
        async with self._completing:
            lacking: dict[str, dict[str, Any]] = {}
            entries = self._hub.history.journal.after(after) or []
            for event in (event for entry in entries for event in entry.settled.order if entry.lacks(event)):
                if group.query.covers(event.collection):
                    lacking.setdefault(event.collection, {})[event.identity or ""] = event.key
            for collection, keys in lacking.items():
                found = await self._read(collection, keys)
                for entry in entries:
                    for event in entry.settled.events.get(collection, ()):
                        if entry.lacks(event) and event.identity in found:
                            entry.late[collection, event.identity] = found[event.identity]

    async def _read(self, collection: str, keys: dict[str, Any]) -> dict[str, tuple[int, dict[str, Any] | None]]:
        found: dict[str, tuple[int, dict[str, Any] | None]] = {}
        names = list(keys)
        for start in range(0, len(names), _READ_KEYS):
            part = names[start : start + _READ_KEYS]
            selection = {"_id": {"$in": [keys[name] for name in part]}}
            snapshot = await self._hub.reader.find(collection, selection, after=self._hub.time, limit=len(part))
            found.update((name, (snapshot.time, None)) for name in part)
            for document in snapshot.documents:
                found[identity(document["_id"])] = (snapshot.time, dict(document))
        return found


def _touched(entries: list[Entry], collection: str, after: int) -> dict[str, None]:
    """The documents that changed after a time, in the order of their first change."""
    names: dict[str, None] = {}
    for entry in entries:
        touches = entry.settled.touches.get(collection, {})
        names.update((touch.identity, None) for touch in touches.values() if touch.time > after)
    return names
