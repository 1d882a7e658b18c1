"""What a service that follows a relay has in place of a change stream of its own."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from nats import errors
from nats.aio.client import Client

from realtime.core.live.decoding import Interest
from realtime.core.relay.identity import Identity
from realtime.core.relay.message import FormatError
from realtime.core.relay.permissions import Probe, needed
from realtime.core.upstream.health import FeedStatus
from realtime.errors import ConfigurationError
from realtime.nats import needs, stream
from realtime.nats.access import Access
from realtime.nats.clock import RelayedClock
from realtime.nats.connection import AwayError, close, connect
from realtime.nats.feed import JetStreamFeed
from realtime.nats.history import StreamHistory
from realtime.nats.line import Line
from realtime.nats.stream import ApiError, UnansweredError
from realtime.ports import Oplog

log = logging.getLogger("realtime.nats")

MOST_BEHIND: Final = 240
"""Seconds behind MongoDB's clock: what is read at a time is void after 300 s (`minSnapshotHistoryWindowInSeconds`)."""
START_SECONDS: Final = 20.0
"""How long a start waits for NATS and for a relay: all may be started at once."""
TRY_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.25
"""Between two looks at what is needed, and at a start."""


@dataclass(frozen=True, slots=True)
class Node:
    """One of any number that follow the same stream. `start`: the time of its newest message, or earlier."""

    line: Line
    identity: Identity
    start: int
    name: str
    most_behind: int = MOST_BEHIND
    clock: RelayedClock = field(default_factory=RelayedClock)

    def feed(
        self,
        oplog: Oplog,
        *,
        on_status: Callable[[FeedStatus], None],
        before: Callable[[], Awaitable[None]],
        interest: Interest,
    ) -> JetStreamFeed:
        """The stream's batches, after `start`."""
        return JetStreamFeed(
            self.line,
            self.identity,
            start=self.start,
            oplog=oplog,
            on_status=on_status,
            before=before,
            interest=interest,
            on_clock=self.clock.hear,
        )

    def history(self, oplog: Oplog, *, max_bytes: int) -> StreamHistory:
        """What happened before, for those who resume. Who needs what of it decodes it then."""
        return StreamHistory(self.line, self.identity, oplog, max_bytes=max_bytes, interest=frozenset)

    async def say_needs(self, needed: Callable[[], Collection[str] | None]) -> None:
        """Without an end: tell relays of which collections images are needed here; None: of all."""
        said: tuple[Collection[str] | None, float] | None = None
        loop = asyncio.get_running_loop()
        while True:
            now = needed()
            if said is None or said[0] != now or loop.time() - said[1] >= needs.SAY_SECONDS:
                # What relays do not hear is read here: it costs MongoDB a read, and nobody anything else.
                with suppress(AwayError, ConfigurationError, UnansweredError, ApiError):
                    await needs.say(await self.line.shared(), self.identity, self.name, now)
                    said = now, loop.time()
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def joined(access: Access, identity: Identity, now: int) -> AsyncIterator[Node]:
    """A node of this stream, as long as the block runs; `now` is MongoDB's time.

    `ConfigurationError` where NATS or the stream is not there, or the stream is another one's.
    """
    name = f"node-{secrets.token_hex(6)}"

    async def made(on_closed: Callable[[], None], on_error: Callable[[Exception], None]) -> Client:
        return await connect(access, f"realtime {name}", on_closed=on_closed, on_error=on_error)

    line = Line(made, close)
    try:
        newest = await _newest(line, identity)
        log.info("following the stream %s by NATS at %s", identity.stream, access.shown)
        yield Node(line, identity, min(now, newest or now), name)
    finally:
        await line.close()


async def _newest(line: Line, identity: Identity) -> int | None:
    """The time of the stream's newest message; None where it holds none yet."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_SECONDS
    said = False
    while True:
        try:
            return await _looked(line, identity)
        except (AwayError, UnansweredError, ApiError) as error:
            if loop.time() >= deadline:
                raise ConfigurationError(
                    f"waited {START_SECONDS:g} s for the relay's stream (start a relay first, or have whoever starts "
                    f"this start it again when it ends): {error}"
                ) from None
            if not said:
                log.warning("waiting up to %g s for the relay's stream: %s", START_SECONDS, error)
                said = True
            await asyncio.sleep(LOOK_SECONDS)


async def _tried(client: Client, identity: Identity) -> None:
    """`ConfigurationError` where a node must not do what it needs; else it would come as live and hear nothing."""

    async def asked(probe: Probe) -> None:
        # Whatever the answer is: it was taken. Nobody pulls from a consumer that is not there.
        with suppress(errors.Error, OSError, TimeoutError):
            await client.request(probe.subject, probe.payload, timeout=TRY_SECONDS, headers=dict(probe.headers) or None)

    await asyncio.gather(*(asked(probe) for probe in needed(identity)))


async def _looked(line: Line, identity: Identity) -> int | None:
    client = await line.shared()
    state = await stream.look(client, identity)
    if state is None:
        raise UnansweredError(identity.absent)
    if (refused := identity.refuses(state.metadata)) is not None:
        raise ConfigurationError(str(refused))
    await _tried(client, identity)
    stored = await stream.last(client, identity, state)
    try:
        return None if stored is None else stored.head.time
    except FormatError as error:
        raise ConfigurationError(f"the stream {identity.stream} cannot be read: {error}") from None
