"""An oplog whose reads wait until a test lets them go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from realtime.core.live.gathered import Past
from realtime.ports import Oplog


class GatedOplog:
    """Another one, read from when it is open; `reads` is how often it was asked."""

    def __init__(self, oplog: Oplog) -> None:
        self._oplog = oplog
        self.open = asyncio.Event()
        self.reads = 0

    async def read(
        self, after: int, until: int, *, wanted: Callable[[], bool], newest_bytes: int | None = None
    ) -> Past:
        self.reads += 1
        await self.open.wait()
        return await self._oplog.read(after, until, wanted=wanted, newest_bytes=newest_bytes)

    async def oldest(self) -> int | None:
        return await self._oplog.oldest()

    async def initiated(self) -> int | None:
        return await self._oplog.initiated()
