"""A `ping` with a position, while it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from realtime.bugs import tell
from realtime.core.connection import session
from realtime.core.wire import protocol
from realtime.errors import TimedOutError
from realtime.ports import Sink

FENCE_SECONDS = 30.0


class Waits(Protocol):
    """A connection that waits for a fence to be passed."""

    sink: Sink

    def paid(self, fence: Fence) -> None:
        """It is answered now, or told why not."""

    def pong(self, asked: session.Fence) -> None:
        """Answer the ping."""


class Fence:
    """A ping that is answered when the connection's subscriptions are at its position, or after `FENCE_SECONDS`."""

    __slots__ = ("_asked", "_connection", "_give_up", "_timer", "over")

    def __init__(self, connection: Waits, asked: session.Fence) -> None:
        self._connection = connection
        self._asked = asked
        self._timer: asyncio.TimerHandle | None = None
        self._give_up: Callable[[], None] | None = None
        self.over = False

    def begin(self, give_up: Callable[[], None]) -> None:
        """It was not passed at once."""
        self._give_up = give_up
        self._timer = asyncio.get_running_loop().call_later(FENCE_SECONDS, self._expired)

    def passed(self) -> None:
        """Every subscription is there."""
        self.forget()
        self._connection.paid(self)
        self._connection.pong(self._asked)

    def _expired(self) -> None:
        give_up = self._give_up
        self.forget()
        if give_up is not None:
            give_up()
        self._connection.paid(self)
        error = TimedOutError(f"no subscription reached the position within {FENCE_SECONDS:g} s")
        tell(self._connection.sink, protocol.ErrorFrame.of(error, self._asked.id).encode())

    def forget(self) -> None:
        """Nobody waits any more."""
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._give_up = None
