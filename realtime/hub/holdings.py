"""What query groups hold, all of it bounded, and those that wait for their next subscriber."""

from __future__ import annotations

import asyncio
from typing import Protocol

from realtime import metrics
from realtime.core.live.query import Group, GroupBounds, QueryGroup


class Desk(Protocol):
    """The hub, as far as holdings need it; both are called in the middle of whatever made the holdings grow."""

    bounds: GroupBounds

    def close_group(self, group: Group) -> None:
        """Nobody is left in it: route to it no longer."""

    def end_outgrown(self, group: QueryGroup) -> None:
        """There is no room for it: end everybody's subscription to it by `too_large`."""


class Holdings:
    """Bytes and documents that groups keep, and how long a group without subscribers stays. Synchronous, on the loop.

    Over a group's own bound it stops keeping. Over the bound of all of them the group that was idle longest goes;
    without any, the largest stops keeping; where none can, the one that grew ends.
    """

    def __init__(self, hub: Desk) -> None:
        self.bytes = self.documents = 0
        self._hub = hub
        self._held: dict[QueryGroup, tuple[int, int]] = {}
        self._without: set[QueryGroup] = set()
        self._idle: dict[QueryGroup, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    # -------------------------------------------------------------------------------------------------------- memory

    def note(self, group: QueryGroup) -> None:
        """Take in what a live group holds by now, and see to it that the bounds are kept."""
        self._count(group, group.size, len(group.documents))
        if group.keeps_too_much and group.may_stop_keeping:
            self._stop_keeping(group)
        while self.bytes > self._hub.bounds.all_bytes:
            if self._idle:
                self._hub.close_group(next(iter(self._idle)))
            elif (largest := self._largest()) is not None:
                self._stop_keeping(largest)
            else:
                self._hub.end_outgrown(group)
                break
        self._show()

    def starts_again(self, group: QueryGroup) -> None:
        """It is read anew: it holds nothing, and keeps what it gets."""
        self._without.discard(group)
        self._count(group, 0, 0)
        self._show()

    def forget(self, group: QueryGroup) -> None:
        """It is gone."""
        self.taken(group)
        self.starts_again(group)

    def _count(self, group: QueryGroup, size: int, documents: int) -> None:
        before = self._held.pop(group, (0, 0))
        self.bytes += size - before[0]
        self.documents += documents - before[1]
        if documents:
            self._held[group] = (size, documents)

    def _largest(self) -> QueryGroup | None:
        able = (group for group in self._held if group.may_stop_keeping)
        return max(able, key=lambda group: group.size, default=None)

    def _stop_keeping(self, group: QueryGroup) -> None:
        group.stop_keeping()
        self._without.add(group)
        self._count(group, group.size, len(group.documents))

    def _show(self) -> None:
        metrics.GROUP_BYTES.set(self.bytes)
        metrics.GROUP_DOCUMENTS.set(self.documents)
        metrics.GROUPS_WITHOUT.set(len(self._without))
        metrics.GROUPS_IDLE.set(len(self._idle))

    # ----------------------------------------------------------------------------------------------------- lingering

    def stays(self, group: Group) -> bool:
        """Whether a group that nobody is subscribed to any more waits for the next one; it does so from now on."""
        seconds = self._hub.bounds.linger_seconds
        # Events mode holds nothing, and would go on having every update's document read.
        if not seconds or self._closed or not isinstance(group, QueryGroup) or not (group.live and group.keeps):
            return False
        loop = asyncio.get_running_loop()
        self._idle[group] = loop.time() + seconds
        if self._timer is None:
            self._timer = loop.call_later(seconds, self._rang)
        self._show()
        return True

    def taken(self, group: Group) -> None:
        """It is wanted again, or gone."""
        if isinstance(group, QueryGroup) and self._idle.pop(group, None) is not None:
            self._show()

    def idle(self, group: Group) -> bool:
        """Whether nobody is subscribed to it and it waits for the next one."""
        return group in self._idle

    def close(self) -> None:
        """Nobody comes any more."""
        self._closed = True
        for group in list(self._idle):
            self._hub.close_group(group)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rang(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        for group, due in list(self._idle.items()):
            if due > loop.time():
                self._timer = loop.call_at(due, self._rang)
                return
            self._hub.close_group(group)
