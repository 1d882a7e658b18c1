"""One relay of perhaps several: it waits until it is its turn to publish, and goes on where the stream ends.

Nothing is kept here from one turn to the next: what is to be read is what comes after the stream's last message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from realtime.bugs import bug
from realtime.core.live.events import to_date
from realtime.core.live.stepping import EVERY
from realtime.core.relay.identity import Identity
from realtime.core.relay.message import FormatError, Message
from realtime.core.upstream.health import Instant
from realtime.errors import ConfigurationError, RealtimeError
from realtime.mongo.feed import ChangeFeed
from realtime.nats import stream
from realtime.nats.access import Access
from realtime.nats.connection import AwayError, Connection, close, connect
from realtime.nats.lease import LOOK_SECONDS, RENEW_SECONDS, Lease
from realtime.nats.needs import Needs
from realtime.nats.publisher import OvertakenError, Place, Publisher
from realtime.nats.stream import ApiError, Limits, State, StreamError, UnansweredError
from realtime.relay import figures
from realtime.relay.completing import Completer, Images
from realtime.relay.term import Term

log = logging.getLogger("realtime.relay")

AGAIN_SECONDS: Final = (0.25, 5.0)
CLOCK_SECONDS: Final = 10.0
"""How long MongoDB's time may be behind the stream's before that is no election that has not ended yet."""
STEP_OVER_AFTER: Final = 3
"""So many times in a row at one place the feed raised what is a bug of ours: then marks stand in its place."""


class MongoAwayError(RealtimeError):
    """MongoDB does not answer. It may later."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a relay reads of one database: its changes after a time, documents at a time, and MongoDB's clock."""

    database: str
    feed: Callable[[int], ChangeFeed]
    images: Images
    clock: Callable[[], Awaitable[Instant | None]]


class Relay:
    """Publishes one database to one stream. `holder` is its own name among several."""

    def __init__(self, source: Source, access: Access, identity: Identity, limits: Limits, holder: str) -> None:
        self._source, self._access = source, access
        self._identity, self._limits = identity, limits
        self._holder = holder
        self._lease = Lease(identity, holder, limits.replicas)
        self._needs = Needs(identity, lambda: asyncio.get_running_loop().time())
        self._completer = Completer(source.images, source.database, self._needs.needed)
        self._stop = asyncio.Event()
        self._failures = 0
        self._bugs: tuple[int, int] = (0, 0)
        self._time = 0
        self._has_published = False
        self._waits = False
        self.away: str | None = "it has not begun"
        self._said: str | None = None

    @property
    def publishes(self) -> bool:
        """Whether it is this relay's turn."""
        return self._lease.held

    def stop(self) -> None:
        """End: what is under way is stored, another relay may begin at once."""
        self._stop.set()

    async def run(self) -> None:
        """Until `stop`. Raises `ConfigurationError` where it cannot begin as configured."""
        while not self._stop.is_set():
            try:
                await self._turn()
                self._failures = 0
            except OvertakenError as error:
                log.warning("%s: it reads where that one is, and waits for its turn", error)
                self._ended("overtaken")
            except (AwayError, UnansweredError, ApiError, MongoAwayError) as error:
                # A connection that breaks has a reason of its own; what is really away is known when the next is made.
                self._say(str(error), aloud=self._failures > 0 or self.away is not None)
                self._ended("away")
            except ConfigurationError as error:
                if not self._has_published:
                    raise
                self._say(str(error))
                self._ended("refused")
            except Exception as error:
                bug("relay", error)
                self._bugs = (self._time, self._bugs[1] + 1 if self._bugs[0] == self._time else 1)
                self._ended("bug")
            await self._pause(min(AGAIN_SECONDS[1], AGAIN_SECONDS[0] * 2.0 ** min(self._failures, 10)))
        log.info("ended")

    def _ended(self, how: str) -> None:
        self._failures = self._failures + 1 if how != "overtaken" else 0
        figures.TERMS.labels(how).inc()

    async def _pause(self, seconds: float) -> bool:
        """Whether it is to stop, at the latest after so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        return self._stop.is_set()

    def _say(self, reason: str | None, *, aloud: bool = True) -> None:
        """Why nothing can be published, in the log too where it is to be said `aloud`; None: it goes on."""
        figures.UP.set(reason is None)
        self.away = reason
        if reason == self._said or not aloud:
            return
        if reason is not None:
            log.error("nothing can be published, and nothing more is read until it can: %s", reason)
        else:
            log.info("publishing")
        self._said = reason

    # ------------------------------------------------------------------------------------------------------ one turn

    async def _turn(self) -> None:
        """Wait for the lease, and publish as long as it lasts."""
        client = await connect(self._access, f"realtime relay {self._holder}")
        try:
            await stream.ensure(client, self._identity, self._limits)
            await self._lease.prepare(client)
            await self._needs.prepare(client, self._limits.replicas)
            if await self._wait(client):
                await self._publish(client)
        finally:
            figures.HOLDS.set(0)
            figures.FEED_UP.set(0)
            held = self._lease.held
            with contextlib.suppress(UnansweredError, ApiError, ConfigurationError):
                await self._lease.release(client)
                if held and self._stop.is_set():
                    log.info("handed over: another relay may publish at once")
            await close(client)

    async def _wait(self, client: Connection) -> bool:
        """Until it is this relay's turn; False where it is to stop before that."""
        while not await self._lease.take(client):
            if not self._waits or self._said is not None:
                log.info("another relay publishes to %s; this one waits for its turn", self._identity.stream)
            self._waits, self.away, self._said, self._failures = True, None, None, 0
            figures.UP.set(1)
            if await self._pause(LOOK_SECONDS):
                return False
        self._waits = False
        return not self._stop.is_set()

    async def _lead(self, client: Connection) -> None:
        """Keep the lease; on other connections where this one breaks. `OvertakenError` where another relay has it."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                if client.is_closed:
                    client = await connect(self._access, f"realtime relay {self._holder}, its lease")
                    await self._needs.listen(client)
                if not await self._lease.take(client):
                    raise OvertakenError(f"another relay has taken over {self._identity.stream}")
            except (AwayError, UnansweredError, ApiError) as error:
                log.debug("the lease cannot be renewed: %s", error)

    async def _publish(self, client: Connection) -> None:
        state = await stream.ensure(client, self._identity, self._limits)
        try:
            stored = await stream.last(client, self._identity, state)
            place = None if stored is None else Place.of(stored)
        except FormatError as error:
            raise StreamError(
                f"the stream {self._identity.stream} holds what no relay made: {error}. To go on, remove it "
                f"(nats stream rm {self._identity.stream}): a relay makes it anew, nodes read the gap from the oplog"
            ) from None
        now = await self._now(0 if place is None else place.time)
        time = self._time = now if place is None else place.time
        await self._needs.listen(client)
        feed = self._source.feed(time)
        if self._bugs[0] == time and self._bugs[1] >= STEP_OVER_AFTER:
            await feed.rewind(time, step_over=True)
        publisher = Publisher(self._access, self._identity, self._limits, _known(place, state), on_state=self._say)
        log.info(
            "publishing %s to the stream %s, after %s (%d messages are there)",
            self._source.database,
            self._identity.stream,
            to_date(time),
            state.messages,
        )
        for figure in (figures.HOLDS, figures.UP, figures.FEED_UP):
            figure.set(1)
        self.away, self._said, self._has_published, self._failures = None, None, True, 0
        epoch, clock = self._identity.epoch, self._source.clock
        term = Term(feed, self._completer, publisher, epoch, lambda: self._lead(client), clock)
        await term.run(self._stop, _first(time, state) if place is None else None)
        figures.TERMS.labels("stopped").inc()

    async def _now(self, last: int) -> int:
        """The cluster's time. `ConfigurationError` where it stays behind the stream's last message."""
        now: int | None = None
        for _ in range(round(CLOCK_SECONDS / AGAIN_SECONDS[0])):
            instant = await self._source.clock()
            now = None if instant is None else instant.time
            if now is not None and now >= last:
                return now
            if await self._pause(AGAIN_SECONDS[0]):
                break
        if now is None:
            raise MongoAwayError("MongoDB does not answer")
        raise ConfigurationError(
            f"MongoDB's time is {to_date(now)}, and the stream {self._identity.stream} ends at {to_date(last)}: it is "
            "another MongoDB, or was restored. Where it was restored, give relays and nodes a new epoch "
            "(REALTIME_EPOCH, 8 upper-case hex digits): clients then begin anew, and nobody is told what is not so"
        )


def _known(place: Place | None, state: State) -> Place | None:
    """The stream's end for the publisher; one that was emptied has a number all the same."""
    return Place(state.last, -1) if place is None and state.last else place


def _first(time: int, state: State) -> Message:
    """What a stream without messages begins with; where it had some, nobody knows what was between."""
    lost = state.last > 0
    return Message(time, collections=frozenset({EVERY}) if lost else frozenset(), lost=lost)
