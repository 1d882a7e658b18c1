"""When a throttled query group may be told: at most once in its time, and never later than that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from realtime.core.live.event_group import Group
from realtime.core.live.query import QueryGroup


class Pacer:
    """The timers of throttled groups, at most one a group. `ring` is called when one may be told again."""

    def __init__(self, ring: Callable[[QueryGroup], None]) -> None:
        self._ring = ring
        self._last: dict[Group, float] = {}
        self._timers: dict[Group, asyncio.TimerHandle] = {}

    def may(self, group: QueryGroup, milliseconds: int) -> bool:
        """Whether it may be told now; if not, `ring` is called as soon as it may."""
        if group in self._timers:
            return False
        loop = asyncio.get_running_loop()
        due = self._last.get(group, 0.0) + milliseconds / 1000
        if group not in self._last or due <= loop.time():
            return True
        self._timers[group] = loop.call_at(due, self._rang, group)
        return False

    def told(self, group: QueryGroup) -> None:
        """It has been told just now."""
        self._last[group] = asyncio.get_running_loop().time()

    def forget(self, group: Group) -> None:
        """The group is gone, or nobody has a view of it any more."""
        self._last.pop(group, None)
        timer = self._timers.pop(group, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """No timer goes off any more."""
        for group in list(self._timers):
            self.forget(group)

    def _rang(self, group: QueryGroup) -> None:
        del self._timers[group]
        self._ring(group)
