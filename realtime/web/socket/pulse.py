"""WebSocket pings to all connections of a server, by one timer: one for each would cost more than they do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

AT_ONCE = 64
"""Connections that are looked at in one turn of the loop: a crowd that came together is due together."""


class Pinged(Protocol):
    """A connection that is pinged."""

    def ping(self) -> None:
        """Send a ping."""

    def unanswered(self) -> bool:
        """A ping was not answered in time: whether to go on with it all the same. If not, it has been ended."""


class _Due:
    """Who is due after the same time, so that they are due in the order in which they came."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, act: Callable[[Pinged], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._act = act
        self._at: dict[Pinged, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._at)

    def add(self, one: Pinged) -> None:
        self._at[one] = self._loop.time() + self._seconds
        self._arm()

    def remove(self, one: Pinged) -> bool:
        return self._at.pop(one, None) is not None

    def _arm(self) -> None:
        if self._timer is None and self._at:
            self._timer = self._loop.call_at(next(iter(self._at.values())), self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for _ in range(AT_ONCE):
            one = next(iter(self._at), None)
            if one is None or self._at[one] > now:
                break
            del self._at[one]
            self._act(one)
        self._arm()


class Pulse:
    """`interval` seconds after a pong comes the next ping, which has `timeout` seconds to be answered in.

    Without an interval nobody is pinged, without a timeout nobody is waited for.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float | None, timeout: float | None) -> None:
        self._resting = _Due(loop, interval, self._ping) if interval else None
        self._asked = _Due(loop, timeout, self._overdue) if timeout else None

    def __len__(self) -> int:
        return sum(len(due) for due in (self._resting, self._asked) if due is not None)

    def add(self, one: Pinged) -> None:
        """From now on it is pinged."""
        if self._resting is not None:
            self._resting.add(one)

    def answered(self, one: Pinged) -> None:
        """Its ping was answered."""
        if self._asked is not None and self._asked.remove(one):
            self.add(one)

    def remove(self, one: Pinged) -> None:
        """It is pinged no longer."""
        for due in (self._resting, self._asked):
            if due is not None:
                due.remove(one)

    def _ping(self, one: Pinged) -> None:
        one.ping()
        # Nobody waits for the answer without a timeout: it rests until the next one.
        due = self._resting if self._asked is None else self._asked
        if due is not None:
            due.add(one)

    def _overdue(self, one: Pinged) -> None:
        if one.unanswered():
            self.add(one)
