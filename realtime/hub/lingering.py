"""Query groups that nobody is subscribed to any more, and how long each waits for its next subscriber."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from realtime import metrics
from realtime.bugs import bug
from realtime.core.live.event_group import Group
from realtime.core.live.query import QueryGroup


class Lingering:
    """The idle groups, the longest idle first. Synchronous, on the loop."""

    def __init__(self, seconds: float, *, close_group: Callable[[Group], None]) -> None:
        """`seconds` that each stays; 0: none does. `close_group` forgets it here too (`taken`)."""
        self._seconds = seconds
        self._close_group = close_group
        self._idle: dict[QueryGroup, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def stays(self, group: Group) -> bool:
        """Whether a group that nobody is subscribed to any more waits for the next one; it does so from now on."""
        # Events mode holds nothing, and would go on having every update's document read.
        if not self._seconds or self._closed or not isinstance(group, QueryGroup) or not (group.live and group.keeps):
            return False
        loop = asyncio.get_running_loop()
        self._idle[group] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._rang)
        metrics.GROUPS_IDLE.set(len(self._idle))
        return True

    def taken(self, group: Group) -> None:
        """It is wanted again, or gone."""
        if isinstance(group, QueryGroup) and self._idle.pop(group, None) is not None:
            metrics.GROUPS_IDLE.set(len(self._idle))

    def idle(self, group: Group) -> bool:
        """Whether nobody is subscribed to it and it waits for the next one."""
        return group in self._idle

    def longest(self) -> QueryGroup | None:
        """The one that was idle longest."""
        return next(iter(self._idle), None)

    def close(self) -> None:
        """Nobody comes any more."""
        self._closed = True
        for group in list(self._idle):
            self._close_group(group)
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
            try:
                self._close_group(group)
            except Exception as error:
                # The next one must not wait behind it for ever.
                bug("query group", error)
                self._idle.pop(group, None)
