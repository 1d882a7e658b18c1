"""What peers ask for, a little in each turn of the loop: however many ask, the pipe gets its turns between them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

FRAMES, SECONDS = 32, 0.002
"""Of one connection in a turn: what comes first."""
ALL_SECONDS = 0.01
"""Of all connections together in a turn."""
HANDSHAKE_SECONDS = ALL_SECONDS / 8
"""What a handshake counts for, whose way through the application is not measured."""

clock = time.perf_counter


class Turns:
    """The budget of a turn. Who finds none left waits in line for the next turn, behind those who waited before."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._spent = 0.0
        self._coming = False
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def left(self) -> bool:
        """Whether there is anything left of this turn, for somebody who has not waited."""
        return self._spent < ALL_SECONDS and not self._waiting

    def spend(self, seconds: float) -> None:
        """So much of this turn has been used."""
        self._spent += seconds
        if not self._coming:
            self._coming = True
            self._loop.call_soon(self._turn)

    def later(self, work: Callable[[], None]) -> None:
        """Call `work` in a later turn, after who waits already. It spends what it uses."""
        self._waiting.append(work)
        self.spend(0.0)

    def _turn(self) -> None:
        self._spent, self._coming = 0.0, False
        # Who comes to wait again while these are served waits for the next turn.
        for _ in range(len(self._waiting)):
            self._waiting.popleft()()
            if self._spent >= ALL_SECONDS:
                break
        if self._waiting:
            self.spend(0.0)
