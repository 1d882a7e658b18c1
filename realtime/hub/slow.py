"""Connections that take too little: what was dropped for them is made good when they have taken the rest.

A query subscription gets one `resync`, from its group's own memory; an events subscription goes on from the journal.
Nobody else notices, no slow connection costs MongoDB a read, and none is closed for it: whoever takes bytes is told
what there is as often as it can be, and is `behind` meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

from realtime import metrics
from realtime.core.connection import cutting
from realtime.core.live.event_group import EventGroup, Group
from realtime.core.live.events import format_position
from realtime.core.live.query import QueryGroup
from realtime.core.wire import protocol
from realtime.errors import ServiceError, TooLargeError, UnavailableError
from realtime.hub.history import History
from realtime.hub.progress import Progress
from realtime.hub.resume import others_then
from realtime.hub.roster import Owner, Roster, Subscription
from realtime.hub.walls import Walls

LEAST_SECONDS = 5.0
"""Between two `resync` of a subscription: who cannot keep up is not sent one snapshot after another."""
MOST_RESYNCS = 2
"""Of a subscription in a minute; the next one waits."""
MINUTE = 60.0
REASON = "slow_consumer"
AT_ONCE = 64
"""Entries of the journal held by a replay that the connection has not taken yet."""


class SlowConsumers:
    """Catches up subscriptions that lapsed."""

    def __init__(
        self,
        *,
        progress: Progress,
        history: History,
        roster: Roster,
        walls: Walls,
        frame_bytes: int,
        since: Callable[[Group, int], int | None],
        welcome: Callable[[Group, Subscription], None],
        end: Callable[[Subscription, ServiceError, str], None],
    ) -> None:
        self._progress = progress
        self._history = history
        self._roster = roster
        self._walls = walls
        self._frame_bytes = frame_bytes
        self._since = since
        self._welcome = welcome
        self._end = end

    def lapsed(self, owner: Owner, channel: int) -> None:
        """The connection's outbox dropped what waited of this channel: it hears no more of it for now."""
        metrics.LAPSES.inc()
        for subscription, group in self._on(owner, channel):
            members = self._roster.members(group)
            if members is not None and subscription.live:
                self._roster.mute(subscription, members)
                subscription.lapsed = True

    def drained(self, owner: Owner, lapsed: Mapping[int, int]) -> None:
        """The connection has taken everything else: go on with the channels it was not told of."""
        for channel, after in lapsed.items():
            replayed = False
            for subscription, group in self._on(owner, channel):
                if not subscription.lapsed:
                    continue
                try:
                    if isinstance(group, QueryGroup):
                        self._resync(group, subscription)
                    else:
                        self._go_on(group, subscription, after, replayed=replayed)
                        replayed = True
                except Exception as error:
                    self._walls.subscription_failed(subscription, error, after)

    def _on(self, owner: Owner, channel: int) -> list[tuple[Subscription, Group]]:
        mine = self._roster.of(owner)
        return [(one, one.group) for one in mine if one.group is not None and one.group.channel == channel]

    # ------------------------------------------------------------------------------------------------------ query mode

    def _resync(self, group: QueryGroup, subscription: Subscription) -> None:
        """Now, or when the last one is long enough ago, and fewer than `MOST_RESYNCS` fell into the last minute."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        subscription.resyncs = tuple(then for then in subscription.resyncs if now - then < MINUTE)
        wait = subscription.resyncs[-1] + LEAST_SECONDS - now if subscription.resyncs else 0.0
        if len(subscription.resyncs) >= MOST_RESYNCS:
            wait = max(wait, subscription.resyncs[0] + MINUTE - now)
        if wait > 0:
            loop.call_later(wait, self._resync_later, group, subscription)
            return
        subscription.resyncs += (now,)
        subscription.lapsed = False
        metrics.RESYNCS.labels(REASON).inc()
        subscription.owner.sink.send(protocol.Resync(id=subscription.id, reason=REASON).encode())
        if group.live:
            self._welcome(group, subscription)

    def _resync_later(self, group: QueryGroup, subscription: Subscription) -> None:
        # Meanwhile it may have ended, or been read again with its group.
        if subscription.lapsed and subscription.group is group:
            try:
                self._resync(group, subscription)
            except Exception as error:
                self._walls.subscription_failed(subscription, error)

    # ----------------------------------------------------------------------------------------------------- events mode

    def _go_on(self, group: EventGroup, subscription: Subscription, after: int, *, replayed: bool) -> None:
        """Everything since `after` from the journal, then live; the channel is one for all of the connection."""
        members = self._roster.members(group)
        if members is None:
            return
        if self._history.journal.after(after) is None:
            # MongoDB's oplog may have it: to subscribe again by position asks there.
            error = UnavailableError("the connection took too little, and what it missed is no longer held: resume")
            self._end(subscription, error, format_position(self._progress.epoch, after))
            return
        if not replayed:
            frames = self._replay(group, subscription.owner, after, group.time)
            subscription.owner.sink.send_run(self._walls.run(subscription, frames))
        if subscription.group is group:
            self._roster.unmute(subscription, members)

    def _replay(self, group: EventGroup, owner: Owner, after: int, until: int) -> Iterator[bytes]:
        """The channel's frames from the journal, made as the transport takes them; where it is outrun, lapsed again."""
        target, told = protocol.channel_target(group.channel), after
        while after < until:
            entries = self._history.journal.after(after)
            if entries is None:
                owner.sink.lapse(group.channel, after)
                return
            if (since := self._since(group, after)) is not None:
                self._cut_off(group, owner, others_then(since), told)
                return
            for entry in entries[:AT_ONCE]:
                events = group.matching(entry, after=after) if entry.time <= until else []
                after = max(after, entry.time)
                if events:
                    position = format_position(self._progress.epoch, entry.time)
                    size, most = self._frame_bytes, owner.sink.max_frame
                    try:
                        yield from cutting.moment("events", target, events, position, size, most)
                    except TooLargeError as error:
                        self._cut_off(group, owner, error, told)
                        return
                told = after
                for subscription, _ in self._on(owner, group.channel):
                    subscription.told = told
            if not entries:
                break
        for subscription, _ in self._on(owner, group.channel):
            subscription.told = None

    def _cut_off(self, group: EventGroup, owner: Owner, error: ServiceError, told: int) -> None:
        """End what a connection has of a channel where something is too large for it; nothing later is told."""
        owner.sink.lapse(group.channel, told)
        for subscription, _ in self._on(owner, group.channel):
            self._end(subscription, error, format_position(self._progress.epoch, told))
