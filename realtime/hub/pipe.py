"""The pipe: batches from the feed, completed with images at their own time, into the hub. One batch at a time is in it.

Whatever is raised in it and held by no other wall starts it again after the last position that is whole, moment by
moment. Groups know how far they are, so nothing is told twice. A moment that fails for the third time is stepped over.

Images are read at the batch's last cluster time. Where that read is void (the time is gone, the collection is another
one by now) they are read at a later time T' that the read itself names; the moment is then held until the feed has
passed T', and what it brings up to there joins it: one moment at T', exact as any other.

A batch may bring its images. Those are not read, and it is not cut but where it must be: they are of its end alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from realtime import logs, metrics
from realtime.bugs import act, bug
from realtime.core.bson.keys import identity
from realtime.core.live.events import Batch
from realtime.core.live.moments import Touch, cut, until
from realtime.core.live.stepping import REASONS, stepped_over
from realtime.core.live.trials import Trials
from realtime.errors import ServiceError, UnsupportedCollectionError
from realtime.hub.hub import Hub
from realtime.hub.loading import backoff
from realtime.hub.plan import Plan
from realtime.hub.slicing import Pace
from realtime.ports import Feed, SnapshotReader, VoidReadError

log = logging.getLogger("realtime.pipe")

LATER_TRIES = 5
HELD_EVENTS = 20_000
HELD_SECONDS = 60.0
MOMENT_TRIALS = 3
"""Failures at one position; at the last of them what follows it is stepped over."""

Images = dict[str, dict[str, Any] | None]


class Pipe:
    """Reads the feed to its end and hands whole, completed batches to the hub."""

    def __init__(
        self,
        hub: Hub,
        reader: SnapshotReader,
        *,
        on_stuck: Callable[[str | None], None] = lambda _: None,
        pace: Pace | None = None,
    ) -> None:
        """`on_stuck` is told why nothing is delivered although everything was tried, and None when it goes on."""
        self._hub = hub
        self._reader = reader
        self._on_stuck = on_stuck
        self._closing = False
        self._pace = pace or Pace()
        self._batches: AsyncGenerator[Batch, None]
        self._trials = Trials(MOMENT_TRIALS)
        self._rewinds = False
        self._feed_failed = False
        self._steps_over = False
        """The next moment is not told, but marked."""
        self._awaits_mark = False
        """The feed marks what it cannot decode."""
        self._taken = self._careful_until = 0
        """The time up to which the feed has given, and that up to which it goes moment by moment."""

    def close(self) -> None:
        """No more patience with a MongoDB that does not answer, or with a bug."""
        self._closing = True

    async def run(self, feed: Feed) -> None:
        """Until the feed is closed."""
        while True:
            try:
                await self._flow(feed)
                return
            except Exception as error:
                failures = self._failed(error)
            if self._closing:
                return
            await asyncio.sleep(backoff(failures))

    async def _flow(self, feed: Feed) -> None:
        if self._rewinds:
            self._hub.abandon()
            await feed.rewind(self._hub.time, step_over=self._awaits_mark)
            self._rewinds = self._feed_failed = False
        async with aclosing(self._sliced(feed)) as self._batches:
            async for batch in self._batches:
                rest: Batch | None = self._passable(batch)
                while rest is not None:
                    rest = await self._deliver(rest)
                    if self._trials.failing or self._steps_over or self._awaits_mark:
                        self._went_on(batch)

    async def _sliced(self, feed: Feed) -> AsyncGenerator[Batch, None]:
        """The feed's batches, the large ones in parts, and the loop free for others between them."""
        try:
            async with aclosing(feed.batches()) as batches:
                async for batch in batches:
                    self._taken = batch.time
                    rest: Batch | None = batch
                    while rest is not None:
                        careful = self._hub.time < self._careful_until or (self._awaits_mark and _is_marked(batch))
                        part, rest = cut(rest, self._hub.together(rest, 1 if careful else self._most(rest)))
                        yield part
                        await asyncio.sleep(0)
        except Exception:
            self._feed_failed = True
            raise

    def _most(self, batch: Batch) -> int:
        """How many of its events may be told in one turn."""
        return self._pace.events if batch.images is None else len(batch.events)

    # ---------------------------------------------------------------------------------------------------------- a bug

    def _failed(self, error: Exception) -> int:
        """What was taken and not told comes again, one moment at a time. How often that was so at this position."""
        position = self._hub.time
        told = bug("pipe", error)
        spent = self._trials.failed(position)
        failures = self._trials.count(position)
        self._rewinds = True
        self._awaits_mark, self._steps_over = spent and self._feed_failed, spent and not self._feed_failed
        self._careful_until = self._taken
        if failures > MOMENT_TRIALS:
            act(lambda: self._on_stuck(f"changes cannot be told: {told.message}"))
        return failures

    def _passable(self, batch: Batch) -> Batch:
        """The batch, with marks where it is what failed for the third time."""
        if not self._steps_over or not batch.events:
            return batch
        log.error("a moment of %s cannot be told and is stepped over", sorted({one.collection for one in batch.events}))
        return stepped_over(batch, everywhere=self._trials.count(self._hub.time) > MOMENT_TRIALS)

    def _went_on(self, batch: Batch) -> None:
        self._trials.failing.clear()
        self._steps_over = self._steps_over and not batch.events
        self._awaits_mark = self._awaits_mark and not _is_marked(batch)
        act(lambda: self._on_stuck(None))

    def _dispatch(self, plan: Plan, images: dict[str, Images | None]) -> None:
        """Dispatch, and learn from it how much may be dispatched in one turn."""
        clock = asyncio.get_running_loop().time
        began = clock()
        self._hub.dispatch(plan, images)
        self._pace.took(len(plan.settled.order), clock() - began)

    async def _deliver(self, batch: Batch) -> Batch | None:
        """Dispatch a batch, or more than it; returns what was read of the feed beyond that."""
        plan = self._hub.plan(batch)
        brought = batch.images or {}
        images: dict[str, Images | None] = {}
        for collection, touches in plan.reads.items():
            images[collection] = await self._complete(collection, touches, brought.get(collection, {}), batch.time)
        void = [collection for collection, found in images.items() if found is None]
        if void and not batch.lost and not self._closing:
            return await self._deliver_later(batch, plan, void[0])
        self._dispatch(plan, images)
        return None

    async def _deliver_later(self, batch: Batch, plan: Plan, collection: str) -> Batch | None:
        """The moment at T' instead; after `LATER_TRIES`, or too much held, its queries are read again."""
        deadline = asyncio.get_running_loop().time() + HELD_SECONDS
        rest: Batch | None = None
        images: dict[str, Images | None] = {}
        for _ in range(LATER_TRIES):
            metrics.LATER_READS.inc()
            time, known = await self._read_later(collection, plan.reads[collection], plan.settled.time)
            batch, rest = await self._read_on(batch, rest, time, deadline)
            plan = self._hub.plan(batch)
            images = {}
            for name, touches in plan.reads.items():
                have = known if name == collection and batch.time == time else {}
                images[name] = await self._complete(name, touches, have, batch.time)
            void = [name for name, found in images.items() if found is None]
            if not void:
                break
            collection = void[0]
            if len(batch.events) > HELD_EVENTS or asyncio.get_running_loop().time() > deadline:
                break
        self._dispatch(plan, images)
        return rest

    async def _complete(
        self, collection: str, touches: dict[str, Touch], known: Mapping[str, dict[str, Any] | None], time: int
    ) -> Images | None:
        """What is known at `time`, and a read of the rest; None where that is void."""
        missing = {name: touch for name, touch in touches.items() if name not in known}
        found = await self._read(collection, missing, time) if missing else {}
        if found is None or (missing and not found):
            return found
        complete = {name: known[name] if name in known else found[name] for name in touches}
        return None if any(document is None for document in complete.values()) else complete

    async def _read_on(
        self, batch: Batch, rest: Batch | None, time: int, deadline: float
    ) -> tuple[Batch, Batch | None]:
        """Everything up to `time` as one batch, and what the feed gave beyond it."""
        if rest is not None:
            batch = _joined(batch, rest)
        while batch.time < time and len(batch.events) <= HELD_EVENTS:
            more = await anext(self._batches, None)
            if more is None or asyncio.get_running_loop().time() > deadline:
                return (batch if more is None else _joined(batch, more)), None
            batch = _joined(batch, more)
        return _split(batch, time)

    # ----------------------------------------------------------------------------------------------------------- reads

    async def _read(self, collection: str, touches: dict[str, Touch], time: int) -> Images | None:
        """The documents exactly at `time`, by identity; None where the read is void."""
        metrics.IMAGE_READS.inc()
        metrics.IMAGES.inc(len(touches))
        keys = [touch.key for touch in touches.values()]
        uuid = next(iter(touches.values())).uuid
        failures = 0
        while True:
            try:
                snapshot = await self._reader.read_at(collection, keys, time, uuid=uuid)
                break
            except VoidReadError as error:
                log.info("images are read at a later time: %s", error, extra=logs.RETRIED)
                return None
            except UnsupportedCollectionError:
                # Capped: there is no time at which it can be read, and no query that is live. Events go without.
                return {}
            except ServiceError as error:
                # While MongoDB is away the batch waits; nothing is lost by that.
                if self._closing or not error.retry:
                    return None
                failures += 1
                await self._wait(error, failures)
        self._waited(failures)
        images: Images = {identity(document["_id"]): dict(document) for document in snapshot.documents}
        # Its last event is no delete, so it must be there: else the collection is another one by now.
        return images if all(name in images for name in touches) else None

    async def _wait(self, error: ServiceError, failures: int) -> None:
        """The feed asks for nothing meanwhile, so nobody else would say that MongoDB is away."""
        act(lambda: self._on_stuck(error.message))
        await asyncio.sleep(backoff(failures))

    def _waited(self, failures: int) -> None:
        if failures:
            act(lambda: self._on_stuck(None))

    async def _read_later(self, collection: str, touches: dict[str, Touch], time: int) -> tuple[int, Images]:
        """The documents at a time after `time` that the read names; a document that is not there is left out."""
        keys = [touch.key for touch in touches.values()]
        failures = 0
        while True:
            try:
                facts = await self._reader.describe(collection)
                facts.check_snapshots(collection)
                snapshot = await self._reader.find(
                    collection, {"_id": {"$in": keys}}, after=time, limit=max(len(keys), 1), facts=facts
                )
                break
            except UnsupportedCollectionError:
                # The name stands for something else by now: what made it so is among what comes next.
                return time + 1, {}
            except VoidReadError:
                continue  # for another collection since it was described
            except ServiceError as error:
                if self._closing or not error.retry:
                    return time, {}
                failures += 1
                await self._wait(error, failures)
        self._waited(failures)
        # No such collection: what took it away lies at or before the server's own time then.
        later = snapshot.unless_changed_by or snapshot.time
        return later, {identity(document["_id"]): dict(document) for document in snapshot.documents}


def _is_marked(batch: Batch) -> bool:
    return any(event.op in REASONS for event in batch.events)


def _joined(one: Batch, other: Batch) -> Batch:
    return Batch(one.events + other.events, other.time, one.lost or other.lost)


def _split(batch: Batch, time: int) -> tuple[Batch, Batch | None]:
    """What is at or before `time`, at `time`, and the rest."""
    if batch.time <= time:
        return batch, None
    first = until(batch, time)
    return first, Batch(batch.events[len(first.events) :], batch.time)
