"""Who is subscribed to what: subscriptions by connection and by query group, and each group's sinks.

Synchronous throughout; the hub decides, the roster knows and tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from realtime.bugs import break_off
from realtime.core.live.event_group import Group
from realtime.core.live.query import Query
from realtime.core.wire import protocol
from realtime.errors import ServiceError
from realtime.ports import Sink


class Owner(Protocol):
    """A connection as the hub sees it."""

    sink: Sink

    def subscription_ended(self, subscription_id: str) -> None:
        """The service ended it; its id is free again."""


@dataclass(eq=False, slots=True)
class Subscription:
    """One client's interest in one query group.

    `after`: the cluster time to go on from; `since`: it is that of a date, and no position. `accepted`: `subscribed`
    was sent. `live`: it is told of changes on the group's channel. `lapsed`: it was, or would be, but its connection
    took too little. `told`: while events are replayed to it, the time up to which they were. `superseded`: another one
    has taken its place, and what is left of its frames is not sent. `successor`: it has taken another one's place.
    `ruled`: its principal does not see every document, so it is not told of any that it may not have held.
    """

    id: str
    owner: Owner
    query: Query
    after: int | None = None
    group: Group | None = None
    accepted: bool = False
    live: bool = False
    lapsed: bool = False
    resyncs: tuple[float, ...] = ()
    since: bool = False
    told: int | None = None
    superseded: bool = False
    successor: bool = False
    ruled: bool = False

    def at(self, time: int) -> bool:
        """Whether it is at `time`, that being what has been dispatched, as far as it is live at all."""
        if not self.live:
            return not self.successor  # its client takes it for what it was until it hears of it
        return self.group is None or self.group.reached(time) == time


@dataclass(slots=True)
class Members:
    """A group's subscriptions, and what reads for it."""

    subscriptions: dict[Subscription, None] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    usual: int = 0
    _sinks: tuple[Sink, ...] | None = None
    _narrow: tuple[Sink, ...] = ()

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """Who hears the channel in the usual frames: each connection once, however many live subscriptions it has."""
        if self._sinks is None:
            self._look()
        return self._sinks or ()

    @property
    def narrow(self) -> tuple[Sink, ...]:
        """Who hears it in smaller ones."""
        if self._sinks is None:
            self._look()
        return self._narrow

    def _look(self) -> None:
        hearing = dict.fromkeys(one.owner.sink for one in self.subscriptions if one.live)
        self._narrow = tuple(one for one in hearing if one.max_frame is not None and one.max_frame < self.usual)
        self._sinks = tuple(one for one in hearing if one not in self._narrow) if self._narrow else tuple(hearing)

    def changed(self) -> None:
        """Somebody hears it from now on, or no longer."""
        self._sinks = None


@dataclass(eq=False, slots=True)
class Fence:
    """A connection waits until its live subscriptions are at `time`; then `done` is called."""

    owner: Owner
    time: int
    done: Callable[[], None]


class Roster:
    """All subscriptions of the process. `frame_bytes`: of the largest frame that everybody is sent."""

    def __init__(self, frame_bytes: int = 0) -> None:
        self._frame_bytes = frame_bytes
        self._members: dict[Group, Members] = {}
        self._by_owner: dict[Owner, dict[str, Subscription]] = {}
        self._fences: dict[Fence, None] = {}
        self.count = 0

    def open(self, group: Group) -> None:
        """A group that may be joined from now on."""
        self._members[group] = Members(usual=self._frame_bytes)

    def close(self, group: Group) -> Members:
        """Nobody is left in the group."""
        return self._members.pop(group)

    def members(self, group: Group) -> Members | None:
        """The group's members; None once it is closed."""
        return self._members.get(group)

    def has(self, group: Group) -> bool:
        """Whether anybody is in the group."""
        members = self._members.get(group)
        return members is not None and bool(members.subscriptions)

    def join(self, subscription: Subscription, group: Group) -> Members:
        """Put a subscription into a group; it is not live yet."""
        members = self._members[group]
        members.subscriptions[subscription] = None
        subscription.group = group
        # Of its own: another principal's query may find the same without a rule.
        subscription.ruled = bool(subscription.query.filter.rule)
        # One compiled filter for all of them, and not one for each that was asked for.
        subscription.query = group.query
        self._by_owner.setdefault(subscription.owner, {})[subscription.id] = subscription
        self.count += 1
        return members

    def expect(self, subscription: Subscription) -> None:
        """Put a subscription among its connection's that is in no group yet: `leave`, and then `join`, when it is."""
        self._by_owner.setdefault(subscription.owner, {})[subscription.id] = subscription
        self.count += 1

    def leave(self, subscription: Subscription) -> Group | None:
        """Take a subscription out; returns its group when that is empty now."""
        owned = self._by_owner[subscription.owner]
        del owned[subscription.id]
        if not owned:
            del self._by_owner[subscription.owner]
        self.count -= 1
        group, subscription.group = subscription.group, None
        members = None if group is None else self._members.get(group)
        if group is None or members is None:
            return None
        self.mute(subscription, members)
        del members.subscriptions[subscription]
        return None if members.subscriptions else group

    def move(self, subscription: Subscription, group: Group) -> Members:
        """Put a subscription that is not live into another group of the same query."""
        if subscription.group is not None:
            self._members[subscription.group].subscriptions.pop(subscription, None)
        members = self._members[group]
        members.subscriptions[subscription] = None
        subscription.group = group
        return members

    def of(self, owner: Owner) -> list[Subscription]:
        """A connection's subscriptions."""
        return list(self._by_owner.get(owner, {}).values())

    def find(self, owner: Owner, subscription_id: str) -> Subscription | None:
        """A connection's subscription by its id."""
        return self._by_owner.get(owner, {}).get(subscription_id)

    # ------------------------------------------------------------------------------------------------------ live or not

    def unmute(self, subscription: Subscription, members: Members) -> None:
        """From now on the subscription hears the group's channel."""
        subscription.live, subscription.lapsed = True, False
        members.changed()

    def mute(self, subscription: Subscription, members: Members) -> None:
        """The subscription no longer hears the channel, its connection only if another one of it does."""
        if not subscription.live:
            return
        subscription.live = False
        members.changed()

    # ----------------------------------------------------------------------------------------------------------- fences

    def wait(self, fence: Fence) -> Callable[[], None]:
        """Keep a fence until `release` finds it passed; returns how to give up."""
        self._fences[fence] = None
        return lambda: self._forget_fence(fence)

    def passed(self, fence: Fence, time: int) -> bool:
        """Whether all live subscriptions of its owner are there, `time` being what has been dispatched."""
        return all(
            not one.lapsed and (time if one.group is None else one.group.reached(time)) >= fence.time
            for one in self.of(fence.owner)
            if one.live or one.lapsed
        )

    def release(self, time: int) -> None:
        """Call what waits and need not wait any longer."""
        for fence in [fence for fence in self._fences if self.passed(fence, time)]:
            del self._fences[fence]
            try:
                fence.done()
            except Exception as error:
                break_off(fence.owner.sink, error)

    def forget(self, owner: Owner) -> None:
        """The connection is gone: nobody waits for its fences."""
        for fence in [fence for fence in self._fences if fence.owner is owner]:
            del self._fences[fence]

    def _forget_fence(self, fence: Fence) -> None:
        self._fences.pop(fence, None)


def farewell(subscription: Subscription, error: ServiceError, position: str) -> bytes:
    """What ends a subscription by the service: an `error` before it was accepted, `unsubscribed` after."""
    if not (subscription.accepted or subscription.successor):
        return protocol.ErrorFrame.of(error, subscription.id).encode()
    return protocol.Unsubscribed(
        id=subscription.id,
        code=error.code,
        message=error.message,
        retry=error.retry,
        details=error.details,
        position=position,
    ).encode()
