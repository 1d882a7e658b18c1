"""MongoDB's clock as a relay says it, so that not each of many nodes asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from realtime.core.upstream.health import Instant

TOLD_SECONDS: Final = 4.0
"""A relay looks every 1.5 s and says it within another one. Where nothing was heard for longer MongoDB is asked."""


class RelayedClock:
    """The newest that is known, heard or asked; it does not go back: a relay's word may have waited in between."""

    def __init__(self) -> None:
        self._known: Instant | None = None
        self._heard_at: float | None = None

    def hear(self, instant: Instant) -> None:
        """It came with a message that was the stream's last; with an older one it would be the clock of then."""
        self._know(instant)
        self._heard_at = asyncio.get_running_loop().time()

    async def read(self, ask: Callable[[], Awaitable[Instant | None]]) -> Instant | None:
        """What was heard just now, else what `ask` finds; None where that finds nothing."""
        heard_at = self._heard_at
        if heard_at is None or asyncio.get_running_loop().time() - heard_at >= TOLD_SECONDS:
            asked = await ask()
            if asked is None:
                return None
            self._know(asked)
        return self._known

    def _know(self, found: Instant) -> None:
        known = self._known
        self._known = found if known is None else replace(found, time=max(found.time, known.time))
