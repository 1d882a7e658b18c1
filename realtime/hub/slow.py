"""Connections that take too little: what was dropped for them is made good when they have taken the rest.

A query subscription gets one `resync`, from its group's own memory; an events subscription goes on from the journal.
Nobody else notices, and no slow connection costs MongoDB a read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Protocol

from realtime import metrics
from realtime.core.live.events import format_position
from realtime.core.live.query import EventGroup, Group, GroupBounds, QueryGroup
from realtime.core.wire import protocol
from realtime.hub.history import History
from realtime.hub.roster import Owner, Roster, Subscription

LEAST_SECONDS = 5.0
"""Between two `resync` of a subscription: who cannot keep up is not sent one snapshot after another."""
MOST_RESYNCS = 2
"""Of a subscription in a minute; the next one closes the connection."""
MINUTE = 60.0
REASON = "slow_consumer"
AT_ONCE = 64
"""Entries of the journal held by a replay that the connection has not taken yet."""


class Desk(Protocol):
    """The hub, as far as slow consumers need it. All synchronous."""

    epoch: str
    bounds: GroupBounds
    history: History
    roster: Roster

    def welcome(self, group: Group, subscription: Subscription) -> None:
        """Bring a subscription to live from what the group holds."""


class SlowConsumers:
    """Catches up subscriptions that lapsed."""

    def __init__(self, hub: Desk) -> None:
        self._hub = hub

    def lapsed(self, owner: Owner, channel: int) -> None:
        """The connection's outbox dropped what waited of this channel: it hears no more of it for now."""
        metrics.LAPSES.inc()
        for subscription, group in self._on(owner, channel):
            members = self._hub.roster.members(group)
            if members is not None and subscription.live:
                self._hub.roster.mute(subscription, members)
                subscription.lapsed = True

    def drained(self, owner: Owner, lapsed: Mapping[int, int]) -> None:
        """The connection has taken everything else: go on with the channels it was not told of."""
        for channel, after in lapsed.items():
            replayed = False
            for subscription, group in self._on(owner, channel):
                if not subscription.lapsed:
                    continue
                if isinstance(group, QueryGroup):
                    self._resync(group, subscription)
                else:
                    self._go_on(group, subscription, after, replayed=replayed)
                    replayed = True

    def _on(self, owner: Owner, channel: int) -> list[tuple[Subscription, Group]]:
        mine = self._hub.roster.of(owner)
        return [(one, one.group) for one in mine if one.group is not None and one.group.channel == channel]

    # ------------------------------------------------------------------------------------------------------ query mode

    def _resync(self, group: QueryGroup, subscription: Subscription) -> None:
        """Now, or when the last one is long enough ago; the third in a minute ends the connection."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        subscription.resyncs = tuple(then for then in subscription.resyncs if now - then < MINUTE)
        if len(subscription.resyncs) >= MOST_RESYNCS:
            _close(subscription.owner)
            return
        wait = subscription.resyncs[-1] + LEAST_SECONDS - now if subscription.resyncs else 0.0
        if wait > 0:
            loop.call_later(wait, self._resync_later, group, subscription)
            return
        subscription.resyncs += (now,)
        subscription.lapsed = False
        metrics.RESYNCS.labels(REASON).inc()
        subscription.owner.sink.send(protocol.Resync(id=subscription.id, reason=REASON).encode())
        if group.live:
            self._hub.welcome(group, subscription)

    def _resync_later(self, group: QueryGroup, subscription: Subscription) -> None:
        # Meanwhile it may have ended, or been read again with its group.
        if subscription.lapsed and subscription.group is group:
            self._resync(group, subscription)

    # ----------------------------------------------------------------------------------------------------- events mode

    def _go_on(self, group: EventGroup, subscription: Subscription, after: int, *, replayed: bool) -> None:
        """Everything since `after` from the journal, then live; the channel is one for all of the connection."""
        members = self._hub.roster.members(group)
        if members is None:
            return
        if self._hub.history.journal.after(after) is None:
            _close(subscription.owner)
            return
        if not replayed:
            subscription.owner.sink.send_run(self._replay(group, subscription.owner, after, group.time))
        self._hub.roster.unmute(subscription, members)

    def _replay(self, group: EventGroup, owner: Owner, after: int, until: int) -> Iterator[bytes]:
        """The channel's frames from the journal, made as the transport takes them; 4001 where it no longer has them."""
        target = protocol.channel_target(group.channel)
        while after < until:
            entries = self._hub.history.journal.after(after)
            if entries is None:
                _close(owner)
                return
            for entry in entries[:AT_ONCE]:
                events = group.matching(entry, after=after) if entry.time <= until else []
                after = max(after, entry.time)
                if events:
                    position = format_position(self._hub.epoch, entry.time)
                    yield from protocol.moment_frames("events", target, events, position, self._hub.bounds.frame_bytes)
            if not entries:
                return


def _close(owner: Owner) -> None:
    metrics.SLOW_CONSUMERS.inc()
    owner.sink.close(protocol.CLOSE_SLOW_CONSUMER, REASON)
