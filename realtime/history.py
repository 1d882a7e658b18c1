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
from realtime.ports import Oplog, Past

log = logging.getLogger("realtime.history")

_GONE = "events before now are no longer to be had: subscribe without a position"


class History:
    """The journal of one hub, reaching further back when asked to."""

    def __init__(self, journal: Journal, oplog: Oplog | None) -> None:
        self.journal = journal
        self._oplog = oplog
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._flight: asyncio.Task[None] | None = None

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def append(self, entry: Entry) -> None:
        """Take what was just dispatched."""
        self.journal.append(entry, self._now)
        metrics.JOURNAL_BYTES.set(self.journal.size)

    async def backfill(self, time: int) -> None:
        """Read back what happened since `time`, for a crowd that returns after a restart.

        Best effort: as much as the journal may hold, and nobody's bounds wait for it.
        """
        if self._oplog is None or not self.journal.max_bytes:
            return
        time = max(time, await self._oplog.oldest() or time)
        if time < self.journal.start and self._flight is None:
            self._flight = asyncio.create_task(self._fly(time), name="oplog")
            await self._flight

    @asynccontextmanager
    async def reaching(self, time: int, *, within: float | None = None) -> AsyncIterator[None]:
        """While the block runs, everything after `time` is in the journal.

        `HistoryLostError` where it is gone. `TimeoutError` after `within` seconds; what is being read is read on.
        """
        self.journal.hold(time)
        try:
            async with asyncio.timeout(within):
                await self._reach(time)
            yield
        finally:
            self.journal.release(time, self._now)

    async def close(self) -> None:
        """Cancel what is being read."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)

    async def _reach(self, time: int) -> None:
        if time >= self.journal.start:
            return
        reached = self._waiting.setdefault(time, asyncio.get_running_loop().create_future())
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly(), name="oplog")
        await asyncio.shield(reached)

    async def _fly(self, first: int | None = None) -> None:
        """Read for all who wait, and for those who come meanwhile; before that what happened since `first`."""
        try:
            if first is not None:
                error = await self._read_back(first, newest_bytes=self.journal.max_bytes)
                if error is not None:
                    log.info("the journal begins now: %s", error)
                self._answer(None, None)
            while self._waiting:
                oldest = min(self._waiting)
                self._answer(oldest, await self._read_back(oldest))
        except Exception as error:
            self._answer(max(self._waiting, default=None), error)
            raise
        finally:
            self._flight = None

    def _answer(self, oldest: int | None, error: Exception | None) -> None:
        """Tell those for whom this was the answer. That the oldest's history is gone is none for those after it."""
        for time in list(self._waiting):
            if time >= self.journal.start:
                self._waiting.pop(time).set_result(None)
            elif error is not None and (time == oldest or not isinstance(error, HistoryLostError)):
                reached = self._waiting.pop(time)
                reached.set_exception(error)
                reached.exception()  # it may be that nobody waits any more

    async def _read_back(self, time: int, *, newest_bytes: int | None = None) -> ServiceError | None:
        try:
            if self._oplog is None:
                raise HistoryLostError(_GONE)
            until = self.journal.start
            metrics.CATCH_UPS.inc()
            await self._prepend(await self._oplog.read(time, until, newest_bytes=newest_bytes), until)
        except ServiceError as error:
            return error
        return None

    async def _prepend(self, past: Past, until: int) -> None:
        entries = []
        for cut in (_until(batch, until) for batch in past.batches):
            if cut.events:
                entries.append(Entry(settle(cut)))
                await asyncio.sleep(0)  # there may be a million events
        last = past.batches[-1].time if past.batches else past.after
        if not self.journal.prepend(entries, past.after, min(last, until), self._now):
            # Meanwhile history was lost, or what came since fills the journal.
            raise HistoryLostError(_GONE)


def _until(batch: Batch, time: int) -> Batch:
    """What of a batch lies at or before `time`; the journal has the rest."""
    if batch.time <= time:
        return batch
    return Batch(tuple(event for event in batch.events if event.time <= time), time)
