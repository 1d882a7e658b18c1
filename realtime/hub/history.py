"""What happened before now: the journal, and the oplog where the journal does not reach.

Single flight: while one read of the oplog is under way everybody else waits, and the next one begins at the oldest
position that still waits, so a crowd that comes back costs MongoDB one read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from realtime import metrics
from realtime.bugs import bug
from realtime.core.live import moments
from realtime.core.live.journal import Entry, Journal
from realtime.errors import HistoryLostError, ServiceError
from realtime.ports import Oplog

log = logging.getLogger("realtime.history")


@dataclass(slots=True)
class _Wait:
    """Those who wait for what follows one time."""

    reached: asyncio.Future[None]
    count: int = 0


class History:
    """The journal of one hub, reaching further back when asked to."""

    def __init__(self, journal: Journal, oplog: Oplog | None) -> None:
        self.journal = journal
        self._oplog = oplog
        self._waiting: dict[int, _Wait] = {}
        self._flight: asyncio.Task[None] | None = None

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def append(self, entry: Entry) -> None:
        """Take what was just dispatched."""
        try:
            self.journal.append(entry, self._now)
            metrics.JOURNAL_BYTES.set(self.journal.size)
        except Exception as error:
            # With a gap it would be worse than empty; before now there is the oplog.
            bug("journal", error)
            self.journal.begin(entry.time)

    async def backfill(self, time: int) -> None:
        """Read back what happened since `time`, for a crowd that returns after a restart.

        Best effort: as much as the journal may hold, and nobody's bounds wait for it.
        """
        if self._oplog is None or not self.journal.max_bytes:
            return
        try:
            time = max(time, await self._oplog.oldest() or time)
        except Exception as error:
            bug("history", error)
            return
        if time < self.journal.start and self._flight is None:
            self._flight = asyncio.create_task(self._fly(time), name="oplog")
            await self._flight

    async def since(self, time: int) -> int:
        """Where to begin for what happened since a date: before the beginning of everything there was nothing.

        A position is another matter: one from before was given out for what is gone.
        """
        if self._oplog is None or time >= self.journal.start:
            return time
        return max(time, await self._oplog.initiated() or time)

    @asynccontextmanager
    async def reaching(self, time: int, *, within: float | None = None) -> AsyncIterator[None]:
        """While the block runs, everything after `time` is in the journal.

        `HistoryLostError` where it is gone. `TimeoutError` after `within` seconds; what is being read is read on if
        anybody else waits.
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
        wait = self._waiting.setdefault(time, _Wait(asyncio.get_running_loop().create_future()))
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly(), name="oplog")
        wait.count += 1
        try:
            await asyncio.shield(wait.reached)
        finally:
            wait.count -= 1
            if not wait.count and self._waiting.get(time) is wait:
                del self._waiting[time]

    async def _fly(self, first: int | None = None) -> None:
        """Read for all who wait, and for those who come meanwhile; before that what happened since `first`."""
        try:
            if first is not None:
                until = self.journal.start
                # Once the journal has let go of what follows, nothing can be put before it any more.
                error = await self._read_back(first, lambda: self.journal.start <= until, self.journal.max_bytes)
                if error is not None:
                    log.info("the journal begins now: %s", error)
                self._answer(None, None)
            failures = 0
            while self._waiting:
                # From the oldest, for all. Where several are too old, those after them must not wait for each of them.
                times = sorted(self._waiting)
                time = times[len(times) // 2 if failures > 1 else 0]
                error = await self._read_back(time, lambda: bool(self._waiting))
                failures = failures + 1 if isinstance(error, HistoryLostError) else 0
                self._answer(time, error)
        except Exception as error:
            self._answer(None, bug("history", error))
        finally:
            self._flight = None

    def _answer(self, read: int | None, error: Exception | None) -> None:
        """Tell those for whom this was the answer. That history is gone at the time that was read is none for later."""
        for time in list(self._waiting):
            later = isinstance(error, HistoryLostError) and read is not None and time > read
            if time >= self.journal.start:
                self._waiting.pop(time).reached.set_result(None)
            elif error is not None and not later:
                reached = self._waiting.pop(time).reached
                reached.set_exception(error)
                reached.exception()  # it may be that nobody waits any more

    async def _read_back(
        self, time: int, wanted: Callable[[], bool], newest_bytes: int | None = None
    ) -> ServiceError | None:
        """Into the journal, if it still touches it. What went wrong."""
        try:
            if self._oplog is None:
                raise HistoryLostError("events before now are no longer to be had: subscribe without a position")
            until = self.journal.start
            metrics.CATCH_UPS.inc()
            past = await self._oplog.read(time, until, wanted=wanted, newest_bytes=newest_bytes)
        except ServiceError as error:
            return error
        entries = []
        for cut in (moments.until(batch, until) for batch in past.batches):
            if cut.events:
                entries.append(Entry(moments.settle(cut)))
                await asyncio.sleep(0)  # there may be a million events
        last = past.batches[-1].time if past.batches else past.after
        self.journal.prepend(entries, past.after, min(last, until), self._now)
        self.journal.trim(self._now)
        return None
