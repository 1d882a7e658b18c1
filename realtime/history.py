"""What happened before now: the journal, and the oplog where the journal does not reach.

Single flight: while one read of the oplog is under way everybody else waits, and the next one begins at the oldest
position that still waits, so a crowd that comes back costs MongoDB one read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from realtime import metrics
from realtime.core.events import Batch
from realtime.core.journal import Entry, Journal
from realtime.core.moments import settle
from realtime.errors import HistoryLostError, ServiceError
from realtime.ports import Oplog

log = logging.getLogger("realtime.history")


class History:
    """The journal of one hub, reaching further back when asked to."""

    def __init__(self, journal: Journal, oplog: Oplog | None) -> None:
        self.journal = journal
        self._oplog = oplog
        self._waiting: list[int] = []
        self._flight = asyncio.Lock()

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def append(self, entry: Entry) -> None:
        """Take what was just dispatched."""
        self.journal.append(entry, self._now)
        metrics.JOURNAL_BYTES.set(self.journal.size)

    async def backfill(self, time: int) -> None:
        """Read back what happened since `time`, for a crowd that returns after a restart. Best effort."""
        if self._oplog is None:
            return
        try:
            async with self.reaching(max(time, await self._oplog.oldest() or time)):
                log.debug("journal reaches back to %d", self.journal.start)
        except ServiceError as error:
            log.info("the journal begins now: %s", error)

    @asynccontextmanager
    async def reaching(self, time: int) -> AsyncIterator[None]:
        """While the block runs, everything after `time` is in the journal. `HistoryLostError` where it is gone."""
        self.journal.hold()
        try:
            await self._reach(time)
            yield
        finally:
            self.journal.release(self._now)

    async def _reach(self, time: int) -> None:
        if time >= self.journal.start:
            return
        self._waiting.append(time)
        try:
            async with self._flight:
                if time < self.journal.start:
                    await self._read_for_all(time)
        finally:
            self._waiting.remove(time)

    async def _read_for_all(self, time: int) -> None:
        """From the oldest that waits; where that one's history is gone, from `time` all the same."""
        oldest = min(self._waiting)
        try:
            await self._read_back(oldest)
        except HistoryLostError:
            if oldest == time:
                raise
            await self._read_back(time)

    async def _read_back(self, oldest: int) -> None:
        if self._oplog is None:
            raise HistoryLostError("events before now are no longer to be had: subscribe without a position")
        until = self.journal.start
        metrics.CATCH_UPS.inc()
        batches = await self._oplog.read(oldest, until)
        entries = [Entry(settle(cut)) for cut in (_until(batch, until) for batch in batches) if cut.events]
        if not self.journal.prepend(entries, oldest, batches[-1].time if batches else oldest, self._now):
            raise HistoryLostError("events before now are no longer to be had: subscribe without a position")


def _until(batch: Batch, time: int) -> Batch:
    """What of a batch lies at or before `time`; the journal has the rest."""
    if batch.time <= time:
        return batch
    return Batch(tuple(event for event in batch.events if event.time <= time), time)
