"""The feed of a node: the batches that a relay completed, from its stream, in place of a change stream of its own.

Where it goes on is decided by time alone: whatever stream is there, of whatever age, the first message after the time
that was handed over is the next one, if the one before it is there as well or was the last that was taken. Else what
happened between is read from the oplog, and only where that is gone it is lost. So it is by whatever way it comes here:
a start, a bug, a stream that was removed and made anew, messages that were trimmed while this process stood still.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any, Final

from bson.raw_bson import RawBSONDocument

from realtime.bugs import bug
from realtime.core.bson import stored
from realtime.core.bson.keys import identity as identity_of
from realtime.core.live import moments
from realtime.core.live.decoding import Decoder, Interest
from realtime.core.live.events import Batch, ChangeEvent
from realtime.core.live.gathered import Past
from realtime.core.live.undecodable import marks
from realtime.core.relay.identity import Identity
from realtime.core.relay.message import FormatError, Gatherer, Message
from realtime.core.upstream.health import FeedStatus, Instant
from realtime.errors import ConfigurationError, HistoryLostError, RealtimeError, ServiceError
from realtime.nats import reading, stream
from realtime.nats.follower import Follower
from realtime.nats.line import Line
from realtime.ports import Oplog

log = logging.getLogger("realtime.feed")

BACKOFF_SECONDS: Final = (0.05, 1.0)
SLOW_RETRY_SECONDS: Final = 5.0
DEGRADED_AFTER_SECONDS: Final = 3.0
_YIELD_EVERY: Final = 250


class NoStreamError(RealtimeError):
    """There is no stream, or none that can be followed for now."""


class JetStreamFeed:
    """Batches of one database as a relay completed them, in order and without end; mends what can be mended."""

    def __init__(
        self,
        line: Line,
        identity: Identity,
        *,
        start: int,
        oplog: Oplog,
        on_status: Callable[[FeedStatus], None] = lambda _: None,
        before: Callable[[], Awaitable[None]] | None = None,
        interest: Interest = lambda: None,
        on_clock: Callable[[Instant], None] = lambda _: None,
    ) -> None:
        """`start`: the time after which everything is handed over. `oplog`: what happened where the stream has a gap.

        `before` is awaited before each batch with events: what has to be known of MongoDB to tell it may be another.
        `interest`: the collections whose documents are decoded at once. `on_clock` gets MongoDB's clock as it was said
        with a message that was the stream's last as it came.
        """
        self._line = line
        self._identity = identity
        self._oplog = oplog
        self._on_status = on_status
        self._before = before
        self._interest = interest
        self._on_clock = on_clock
        self._decoder = Decoder(identity.database, interest)
        self._gatherer = Gatherer()
        self._time = start
        self._taken: tuple[str, int] | None = None
        """The stream, by when it was made, and the last sequence of it that was taken whole."""
        self._gap = False
        self._marking = self._marked = False
        self._follower: Follower | None = None
        self._stop = asyncio.Event()
        self._failures = 0
        self._down_since: float | None = None
        self._degraded = False
        self._why = ""
        self._reads_back = False
        self._began_at: float | None = None
        self._replied_at: float | None = None

    @property
    def time(self) -> int:
        """Cluster time up to which everything has been handed over."""
        return self._time

    @property
    def replied_at(self) -> float | None:
        """The loop's time of the last message of the stream; a relay sends one each second at least."""
        return self._replied_at

    def close(self) -> None:
        """End `batches` at once: what is in the stream stays there."""
        self._stop.set()
        if self._follower is not None:
            self._follower.wake()

    def hasten(self) -> None:
        """The end is near. Nothing here takes long."""

    async def rewind(self, time: int, *, step_over: bool) -> None:
        """After a bug: go on after `time`, whatever was read beyond it. `step_over`: mark what cannot be decoded."""
        self._time, self._marking, self._taken = time, step_over, None

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Whole moments with their images, and empty batches when only time went on."""
        self._began_at = asyncio.get_running_loop().time()
        while not self._stop.is_set():
            try:
                async with contextlib.aclosing(self._followed()) as followed:
                    async for batch in followed:
                        yield batch
            except (RealtimeError, FormatError, OSError, TimeoutError) as error:
                await self._mend(error)

    # ------------------------------------------------------------------------------------------------ one connection

    async def _followed(self) -> AsyncGenerator[Batch, None]:
        """What comes by one connection and one consumer."""
        over: list[str] = []
        mine: list[Follower] = []

        def end(reason: str) -> None:
            # Of this connection: by the time it says so another one may be there.
            over.append(reason)
            for one in mine:
                one.end(reason)

        async with self._line.own(
            lambda: end("the connection is over"), lambda error: end(str(error) or type(error).__name__)
        ) as client:
            created, start = await self._place(client)
            self._gatherer.reset()
            follower = Follower(client, self._identity, start)
            mine.append(follower)
            try:
                await follower.open()
                self._follower = follower
                if over:
                    follower.end(over[0])
                while not self._stop.is_set():
                    if (part := await follower.next()) is None:
                        continue
                    self._came()
                    message = self._gatherer.add(part.sequence, part.headers, part.payload)
                    if message is None:
                        continue
                    if message.clock is not None and follower.at_end:
                        self._on_clock(message.clock)
                    if self._gap and message.time > self._time:
                        async with contextlib.aclosing(self._missing(message.time)) as missing:
                            async for batch in missing:
                                yield batch
                        self._gap = self._stop.is_set()
                    if (told := await self._told(message)) is not None:
                        yield told
                    self._taken = created, part.sequence
            finally:
                self._follower = None

    async def _place(self, client: Any) -> tuple[str, int]:
        """Which stream it is, and the sequence at which to begin; whether something is missing before that."""
        state = await stream.look(client, self._identity)
        if state is None:
            raise NoStreamError(self._identity.absent)
        if (refused := self._identity.refuses(state.metadata)) is not None:
            raise ConfigurationError(str(refused))
        start, covered = await reading.place(client, self._identity, state, self._time)
        self._gap = not (covered or self._taken == (state.created, start - 1))
        if self._gap and self._time:
            log.info("the stream does not reach back to where this node is: what is missing is read from the oplog")
        return state.created, start

    # ------------------------------------------------------------------------------------------------- one message

    async def _told(self, message: Message) -> Batch | None:
        """What a message says beyond what was handed over."""
        if message.time < self._time or (message.time == self._time and not message.lost) or self._gap:
            return None
        if message.events and self._before is not None:
            await self._before()
        batch = await self._batch(message)
        self._time = message.time
        return batch

    async def _missing(self, until: int) -> AsyncGenerator[Batch, None]:
        """What the oplog has between what was handed over and `until`, or that it is lost."""
        past = await self._read_back(until)
        for batch in () if past is None else past.batches:
            whole = moments.until(batch, until)
            if whole.time > self._time:
                self._time = whole.time
                yield whole
        if past is None and not self._stop.is_set():
            log.error("history lost: neither the stream nor the oplog reaches back to where this node is")
            self._time = until
            yield Batch((), until, lost=True)

    async def _read_back(self, until: int) -> Past | None:
        """Every event up to `until`; None where that is gone. While MongoDB is away it is asked again."""
        self._reads_back = True
        try:
            while not self._stop.is_set():
                try:
                    return await self._oplog.read(self._time, until, wanted=lambda: not self._stop.is_set())
                except HistoryLostError as error:
                    log.warning("%s", error.message)
                    return None
                except ServiceError as error:
                    await self._mend(error)
            return None
        finally:
            self._reads_back = False

    async def _batch(self, message: Message) -> Batch:
        """The batch of a message, with its images."""
        self._decoder.look()
        events: list[ChangeEvent] = []
        for number, raw in enumerate(message.events, 1):
            events += (event for event in self._events(RawBSONDocument(raw), message.time) if event.time > self._time)
            if number % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        if self._marked:
            self._marking = self._marked = False
            events.sort(key=lambda event: event.time)
        return Batch(tuple(events), message.time, message.lost, self._images(message))

    def _events(self, document: RawBSONDocument, latest: int) -> Iterable[ChangeEvent]:
        """The event of a document, or marks in the place of one that cannot be decoded."""
        try:
            event = self._decoder.event(document)
        except Exception as error:
            unknown = [mark for mark in marks(document, latest) if mark.time > self._time]
            if not unknown:
                return ()  # it was stepped over, and comes again because this begins amid a message
            if not self._marking:
                raise
            bug("decoding", error)
            self._marked = True
            return unknown
        return () if event is None else (event,)

    def _images(self, message: Message) -> dict[str, dict[str, dict[str, Any]]]:
        """By collection and identity, of what anybody asks for; what cannot be decoded is read at its time."""
        asked = self._interest()
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for name, images in message.images.items():
            if asked is None or name in asked:
                try:
                    documents = [stored.decode(image) for image in images]
                    found[name] = {identity_of(document["_id"]): document for document in documents}
                except Exception as error:  # noqa: BLE001 - whatever it is, there is another way to them
                    bug("decoding", error)
        return found

    # ---------------------------------------------------------------------------------------------------------- faults

    async def _mend(self, error: Exception) -> None:
        """Report what is wrong, and wait before the next try."""
        now = asyncio.get_running_loop().time()
        self._failures += 1
        self._why = str(error) or type(error).__name__
        if self._down_since is None:
            self._down_since = now
            log.warning("the stream is not followed: %s", self._why)
        else:
            log.debug("the stream is not followed yet: %s", self._why)
        least, most = BACKOFF_SECONDS
        delay = min(most, least * 2.0 ** min(self._failures - 1, 10)) * random.uniform(0.5, 1)  # noqa: S311 - spreads
        if isinstance(error, ConfigurationError | FormatError):
            # It comes back the same until somebody mends it.
            delay = SLOW_RETRY_SECONDS if self._failures > 1 else delay
            self._degrade(self._why)
        self.check(now)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), delay)

    def check(self, now: float) -> None:
        """Called from outside now and then: a relay that publishes nothing is no exception, and must be reported."""
        if self._began_at is None or self._stop.is_set():
            return
        if self._down_since is not None and now - self._down_since >= DEGRADED_AFTER_SECONDS:
            self._degrade(self._why)
        follower = self._follower
        if self._reads_back or follower is None or follower.waiting_bytes:
            return
        silent = now - max(follower.heard_at or 0.0, self._replied_at or self._began_at)
        if silent >= DEGRADED_AFTER_SECONDS + 1:
            self._degrade("the relay publishes nothing: is one running, and does MongoDB answer it?")

    def _degrade(self, reason: str) -> None:
        if not self._degraded:
            self._degraded = True
            now = asyncio.get_running_loop().time()
            began = self._down_since or self._replied_at or now
            self._on_status(FeedStatus(up=False, reason=reason, seconds=now - began))

    def _came(self) -> None:
        """A message is here."""
        if self._down_since is not None:
            log.info("the stream is followed again")
        self._failures, self._down_since = 0, None
        self._replied_at = asyncio.get_running_loop().time()
        if self._degraded:
            self._degraded = False
            self._on_status(FeedStatus(up=True))
