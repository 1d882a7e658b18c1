"""Long work in slices of time: one slice a turn of the loop, however many have work, so that others have their turns.

What a document costs is known when it was evaluated: an expression may take milliseconds for each. So slices are cut by
the clock, and never by documents. One document, and one moment, are never cut.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

SLICE_SECONDS = 0.02
SLICE_EVENTS = 1000
"""Events that are dispatched in one turn of the loop at most, unless a single moment has more."""

T = TypeVar("T")


class Slices:
    """Work that may wait: whoever has some takes a slice of it, in the order in which they asked."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, seconds: float = SLICE_SECONDS, pause: float = 0.0
    ) -> None:
        """`seconds` of each slice, and of the `pause` before the next one; 0: a turn of the loop."""
        self._clock = clock
        self._seconds = seconds
        self._pause = pause
        self._turn = asyncio.Lock()

    async def each(self, items: Iterable[T], take: Callable[[T], None]) -> None:
        """Call `take` with each of them."""
        rest = iter(items)
        while True:
            async with self._turn:
                until = self._clock() + self._seconds
                for item in rest:
                    take(item)
                    if self._clock() >= until:
                        break
                else:
                    return
                # Kept until the next turn: nobody else's slice is added to this one's.
                await asyncio.sleep(self._pause)


class Pace:
    """How many events are dispatched in one turn: as many as take `SLICE_SECONDS`, learnt from those before."""

    def __init__(self) -> None:
        self.events = SLICE_EVENTS

    def took(self, events: int, seconds: float) -> None:
        """So many took so long: fewer at once where that was too long, else twice as many as the bound was."""
        if seconds > SLICE_SECONDS:
            self.events = max(1, min(self.events, int(events * SLICE_SECONDS / seconds)))
        elif events * 2 >= self.events:
            self.events = min(SLICE_EVENTS, self.events * 2)
