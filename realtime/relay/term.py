"""A relay's term: from the stream's last message on it reads, completes and publishes, until another relay does.

Everything of a term begins anew with the next one. What was read and not stored is read again: the stream's last
message alone says where to go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from realtime.bugs import bug
from realtime.core.live.stepping import EVERY
from realtime.core.relay.cutting import Waiting
from realtime.core.relay.message import Message, TooLargeError, pack
from realtime.core.upstream.health import LOOK_SECONDS, Instant
from realtime.errors import RealtimeError
from realtime.hub.tasks import end
from realtime.mongo.feed import ChangeFeed
from realtime.nats.publisher import Publisher
from realtime.relay import figures
from realtime.relay.completing import Completer

log = logging.getLogger("realtime.relay")

BEAT_SECONDS: Final = 1.0
"""After so long without a message the last position is said again, while MongoDB answers: nodes take silence for a
relay that is gone."""
_LOOK_SECONDS: Final = 0.1
HEARD_SECONDS: Final = 2.5
HAND_OVER_SECONDS: Final = 0.5
"""What the end of a term waits for that which is under way to be stored."""


class EndedError(RealtimeError):
    """Something of a term has ended that goes on without end: a bug."""


class Term:
    """`lead` keeps the lease, and raises where another relay has it. `clock`: MongoDB's, asked here for all nodes."""

    def __init__(
        self,
        feed: ChangeFeed,
        completer: Completer,
        publisher: Publisher,
        epoch: str,
        lead: Callable[[], Awaitable[None]],
        clock: Callable[[], Awaitable[Instant | None]],
    ) -> None:
        self._feed, self._completer, self._publisher = feed, completer, publisher
        self._epoch = epoch
        self._lead = lead
        self._clock = clock
        self._instant: Instant | None = None
        self._waiting = Waiting()
        self._arrived, self._room = asyncio.Event(), asyncio.Event()
        self._time = feed.time
        self._told_at = 0.0

    async def run(self, stop: asyncio.Event, first: Message | None) -> None:
        """Until `stop`; `first` is published before anything else. Raises what ends a term otherwise."""
        if first is not None:
            await self._put(first)
        working = [
            asyncio.create_task(work)
            for work in (self._publisher.run(), self._lead_on(), self._read(), self._tell(), self._beat(), self._look())
        ]
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait({*working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()
            if not stop.is_set():
                raise EndedError("the change stream has ended by itself")
            self._feed.hasten()
            self._feed.close()
            drained = asyncio.create_task(self._publisher.drained())
            working.append(drained)
            await asyncio.wait({drained, *working[:2]}, timeout=HAND_OVER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._feed.hasten()
            self._feed.close()
            await end((*working, stopping))

    async def _lead_on(self) -> None:
        await self._lead()

    async def _read(self) -> None:
        """The feed's batches, as long as there is room for them."""
        async with contextlib.aclosing(self._feed.batches()) as batches:
            async for batch in batches:
                while not self._waiting.has_room:
                    self._room.clear()
                    await self._room.wait()
                self._waiting.add(batch)
                self._arrived.set()

    async def _tell(self) -> None:
        """Batches to messages, each when it is due; publishing that waits makes this wait, and that the feed."""
        loop = asyncio.get_running_loop()
        while True:
            self._arrived.clear()
            due = self._waiting.due(loop.time() - self._told_at)
            if due != 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(due):
                        await self._arrived.wait()
                continue
            batch = self._waiting.take()
            self._room.set()
            await self._put(await self._completer.complete(batch))

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            figures.WAITING.set(self._publisher.waiting_bytes)
            now, heard = loop.time(), self._feed.replied_at
            silent = not self._publisher.waiting and now - self._told_at >= BEAT_SECONDS
            if silent and heard is not None and now - heard < HEARD_SECONDS:
                await self._put(Message(self._time))

    async def _look(self) -> None:
        """What nodes would each ask MongoDB for themselves goes with the next message."""
        while True:
            try:
                self._instant = await self._clock()
            except Exception as error:
                # Nodes ask MongoDB by themselves then.
                bug("relay", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _put(self, message: Message) -> None:
        instant, self._instant = self._instant, None
        message = replace(message, clock=instant)
        try:
            parts = pack(message, self._epoch)
        except TooLargeError as error:
            log.error("a moment is lost: %s", error)  # noqa: TRY400 - what happened, and no bug
            message = Message(message.time, collections=frozenset({EVERY}), lost=True)
            parts = pack(message, self._epoch)
        self._told_at = asyncio.get_running_loop().time()
        self._time = message.time
        await self._publisher.put(message.time, parts, lost=message.lost)
        figures.MESSAGES.inc()
        figures.EVENTS.inc(len(message.events))
        figures.BYTES.inc(sum(part.size for part in parts))
        figures.LOST.inc(message.lost)
        figures.POSITION.set(message.time >> 32)
