"""What happened before this node looked: from the stream where it reaches back so far, else from the oplog.

Fifty nodes that start after a deploy ask NATS and not MongoDB for what their clients missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from bson.raw_bson import RawBSONDocument
from nats import errors
from nats.aio.client import Client

from realtime.core.live.decoding import Decoder, Interest
from realtime.core.live.events import Batch, to_date
from realtime.core.live.gathered import Gathered, Past
from realtime.core.relay.identity import Identity
from realtime.core.relay.message import FormatError, Gatherer, Message
from realtime.errors import HistoryLostError, RealtimeError
from realtime.nats import reading, stream
from realtime.nats.line import Line
from realtime.nats.stream import UnansweredError
from realtime.ports import Oplog

log = logging.getLogger("realtime.history")

RUN_MESSAGES: Final = 128
RUN_BYTES: Final = 4 * 1024 * 1024
"""Of one question for messages that follow each other."""
LAG_SECONDS: Final = (0.05, 0.2, 0.5)
"""A replica that is behind its leader has not got the newest messages yet: asked again after so long each."""


class StreamHistory:
    """An `Oplog` that asks the stream first, and the one it is given where the stream does not know."""

    def __init__(
        self, line: Line, identity: Identity, oplog: Oplog, *, max_bytes: int, interest: Interest = lambda: None
    ) -> None:
        """`max_bytes`: more than that is not read back. `interest`: whose documents are decoded at once."""
        self._line = line
        self._identity = identity
        self._oplog = oplog
        self._max_bytes = max_bytes
        self._decoder = Decoder(identity.database, interest)

    async def read(
        self, after: int, until: int, *, wanted: Callable[[], bool], newest_bytes: int | None = None
    ) -> Past:
        """Every event after `after`, up to `until` at least; across what a relay lost, from nowhere."""
        try:
            past = await self._from_stream(after, until, wanted, newest_bytes)
        except HistoryLostError:
            raise
        except (RealtimeError, FormatError, errors.Error, OSError, TimeoutError) as error:
            log.info("the stream was not asked for the past: %s", error)
            past = None
        return past or await self._oplog.read(after, until, wanted=wanted, newest_bytes=newest_bytes)

    async def oldest(self) -> int | None:
        """The cluster time at which the oplog begins; None where that cannot be known."""
        return await self._oplog.oldest()

    async def initiated(self) -> int | None:
        """The cluster time at which everything began; None where it reaches back less far, or that is not known."""
        return await self._oplog.initiated()

    async def _from_stream(
        self, after: int, until: int, wanted: Callable[[], bool], newest_bytes: int | None
    ) -> Past | None:
        """None where the stream does not have all of it."""
        client = await self._line.shared()
        state = await stream.look(client, self._identity)
        if state is None or self._identity.refuses(state.metadata) is not None:
            return None
        start, covered = await reading.place(client, self._identity, state, after)
        if not covered:
            return None
        gathered = Gathered(after, until, self._max_bytes if newest_bytes is None else newest_bytes)
        whole, time = True, after
        async with aclosing(self._messages(client, start)) as messages:
            async for message in messages:
                batch = await self._batch(message, after)
                whole = gathered.take(batch) or newest_bytes is not None
                time = message.time
                if batch.lost and newest_bytes is None:
                    raise self._lost(batch)
                if not whole:
                    raise self._too_much(batch)
                if time >= until or not wanted():
                    return gathered.past
        return None

    async def _batch(self, message: Message, after: int) -> Batch:
        self._decoder.look()
        events = []
        for raw in message.events:
            event = self._decoder.event(RawBSONDocument(raw))
            if event is not None and event.time > after:
                events.append(event)
        # There may be a million of them.
        await asyncio.sleep(0)
        return Batch(tuple(events), message.time, message.lost)

    def _lost(self, batch: Batch) -> HistoryLostError:
        return HistoryLostError(
            "a change since then could not be told: subscribe without a position",
            details={"oldest": to_date(batch.time)},
        )

    def _too_much(self, batch: Batch) -> HistoryLostError:
        return HistoryLostError(
            f"more than {self._max_bytes} bytes of changes since then: subscribe without a position",
            details={"oldest": to_date(batch.time)},
        )

    async def _messages(self, client: Client, start: int) -> AsyncGenerator[Message, None]:
        """Whole messages from a sequence on, as many as there are."""
        gatherer, following, lags = Gatherer(), start, iter(LAG_SECONDS)
        while True:
            run = await reading.run(client, self._identity, following, most=RUN_MESSAGES, max_bytes=RUN_BYTES)
            for part in run:
                if part.sequence != following:
                    raise UnansweredError(f"message {following} of {self._identity.stream} is not there any more")
                following += 1
                message = gatherer.add(part.sequence, part.headers, part.payload)
                if message is not None:
                    yield message
            if not run:
                if (pause := next(lags, None)) is None:
                    return
                await asyncio.sleep(pause)
