"""Publishes messages in order, each stored once or not at all.

What waits goes together, as one atomic batch that names the sequence which the stream's last message must have, and the
next goes when that is acknowledged. So what another relay published meanwhile refuses all of it. Messages that follow
each other without an answer between them would be refused one by one, until one expects the sequence which the other
relay's messages have come to: that one would be stored.

Whatever is in doubt - no answer in time, a connection that broke, an answer that is not the expected one - ends the
connection: what was sent on it may still be stored. Nothing is sent again before a new connection has shown what the
stream's last message is, and what that says is there is not sent again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from nats import errors
from nats.aio.client import Client

from realtime.core.relay.identity import Identity
from realtime.core.relay.message import FormatError, Part
from realtime.errors import RealtimeError
from realtime.nats import stream
from realtime.nats.access import Access
from realtime.nats.connection import AwayError, Connection, close, connect
from realtime.nats.stream import Limits, Stored

log = logging.getLogger("realtime.nats")

T = TypeVar("T")

WINDOW_MESSAGES: Final = 256
WINDOW_BYTES: Final = 16 * 1024 * 1024
"""Of what waits for its acknowledgement, or to be sent at all; one message that is larger waits alone."""
FLIGHT_BYTES: Final = 2 * 1024 * 1024
"""Of what goes together; one message that is larger goes alone."""
ACKNOWLEDGED_SECONDS: Final = 2.0
BYTES_A_SECOND: Final = 8 * 1024 * 1024
"""How much longer the acknowledgement of something large may take."""
BACKOFF_SECONDS: Final = (0.05, 1.0)
_NEVER_SECONDS: Final = 3600.0
_WRONG_LAST_SEQUENCE: Final = frozenset({10071, 10164})
"""The second is of the first message of an atomic batch."""


class DoubtError(RealtimeError):
    """It is not known what of what was sent is stored."""


class OvertakenError(RealtimeError):
    """The stream has a last message that is none of ours: another relay publishes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the stream ends: its last sequence, and which moment the message there completed."""

    sequence: int
    time: int
    lost: bool = False

    @staticmethod
    def of(stored: Stored) -> Place:
        """The place of a message that is the stream's last."""
        return Place(stored.sequence, stored.head.time, stored.head.lost)


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that waits to be stored."""

    time: int
    lost: bool
    parts: Sequence[Part]
    size: int


class Publisher:
    """Of one stream and one relay; `run` does the work, `put` gives it."""

    def __init__(
        self,
        access: Access,
        identity: Identity,
        limits: Limits,
        place: Place | None,
        *,
        on_state: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        """`place`: the stream's end as it was when reading began; None where it held nothing.

        `on_state` hears why nothing can be published, and None when that has passed.
        """
        self._access, self._identity, self._limits = access, identity, limits
        self._place = place
        self._on_state = on_state
        self._waiting: deque[Entry] = deque()
        self._bytes = 0
        self._tip = 0
        self._wake, self._room = asyncio.Event(), asyncio.Event()
        self._failures = 0
        self.acknowledged = 0

    @property
    def place(self) -> Place | None:
        """The last message that is known to be stored."""
        return self._place

    @property
    def waiting(self) -> int:
        """Messages whose acknowledgement has not come."""
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """The bytes of those."""
        return self._bytes

    async def put(self, time: int, parts: Sequence[Part], *, lost: bool = False) -> None:
        """Give the next message; returns when it has its place in the window, not when it is stored."""
        size = sum(part.size for part in parts)
        while self._waiting and (len(self._waiting) >= WINDOW_MESSAGES or self._bytes + size > WINDOW_BYTES):
            self._room.clear()
            await self._room.wait()
        self._waiting.append(Entry(time, lost, parts, size))
        self._bytes += size
        self._wake.set()

    async def drained(self) -> None:
        """Return when all that was put is stored."""
        while self._waiting:
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Without end. Raises `OvertakenError`; `ConfigurationError` for a stream that is not as it should be."""
        while True:
            try:
                await self._one_connection()
            except (AwayError, DoubtError, stream.UnansweredError, stream.ApiError) as error:
                self._failed(str(error))
            await asyncio.sleep(min(BACKOFF_SECONDS[1], BACKOFF_SECONDS[0] * 2.0 ** min(self._failures - 1, 10)))

    def _failed(self, reason: str) -> None:
        self._failures += 1
        # One connection that breaks is mended before anybody waits for it.
        if self._failures == 1:
            log.info("publishing is in doubt (%s): the stream's last message will tell", reason)
        else:
            self._on_state(reason)

    def _went_on(self) -> None:
        if self._failures:
            self._failures = 0
            self._on_state(None)

    # ------------------------------------------------------------------------------------------------- one connection

    async def _one_connection(self) -> None:
        over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        client = await self._connected(over)
        try:
            await self._find_place(client)
            if not self._waiting:
                self._went_on()
            while True:
                while not self._waiting:
                    self._wake.clear()
                    await _unless(over, asyncio.ensure_future(self._wake.wait()), None)
                await self._send(client, over, self._flight())
        finally:
            await close(client)

    async def _connected(self, over: asyncio.Future[str]) -> Connection:
        def in_doubt(reason: str) -> None:
            if not over.done():
                over.set_result(reason)

        return await connect(
            self._access,
            "realtime relay, publishing",
            on_closed=lambda: in_doubt("the connection is over"),
            on_error=lambda error: in_doubt(str(error) or type(error).__name__),
        )

    async def _find_place(self, client: Client) -> None:
        """What of what waits is stored already; the rest is sent from there on."""
        state = await stream.ensure(client, self._identity, self._limits)
        try:
            stored = await stream.last(client, self._identity, state)
        except FormatError as error:
            raise OvertakenError(f"{self._identity.stream} holds what no relay made: {error}") from None
        if stored is None:
            # Emptied by hand: only the number tells whether something of ours was stored before that.
            if state.last not in {0, 0 if self._place is None else self._place.sequence}:
                raise OvertakenError(f"the stream {self._identity.stream} was emptied")
            self._tip = state.last
        else:
            self._stored_up_to(Place.of(stored))
            self._tip = max(state.last, stored.sequence)
        log.debug("%s ends at %d; %d messages wait", self._identity.stream, self._tip, len(self._waiting))

    def _stored_up_to(self, place: Place) -> None:
        """By the last message: every moment is whole, so what it completed is stored, and all before it."""
        found = [at for at, entry in enumerate(self._waiting) if (entry.time, entry.lost) == (place.time, place.lost)]
        ours = self._place is not None and (self._place.time, self._place.lost) == (place.time, place.lost)
        if not found and not ours:
            raise OvertakenError(f"the last message of {self._identity.stream} is another relay's")
        for _ in range(found[-1] + 1 if found else 0):
            self._take()
        self._place = place

    def _take(self) -> Entry:
        entry = self._waiting.popleft()
        self._bytes -= entry.size
        self.acknowledged += 1
        self._room.set()
        return entry

    def _flight(self) -> list[Entry]:
        """What goes together: the next message, and those behind it that have room."""
        flight: list[Entry] = []
        size = 0
        for entry in self._waiting:
            size += entry.size
            if flight and size > FLIGHT_BYTES:
                break
            flight.append(entry)
        return flight

    async def _send(self, client: Client, over: asyncio.Future[str], flight: list[Entry]) -> None:
        """Publish all of it at once, and return when it is stored. `DoubtError` where that is not sure."""
        parts = [part for entry in flight for part in entry.parts]
        sending = asyncio.ensure_future(_published(client, self._identity.subject, parts, self._tip))
        seconds = ACKNOWLEDGED_SECONDS + sum(entry.size for entry in flight) / BYTES_A_SECOND
        answer = await _unless(over, sending, seconds)
        if (reason := _refusal(answer, self._tip + len(parts))) is not None:
            raise DoubtError(reason)
        for entry in flight:
            self._take()
            self._tip += len(entry.parts)
            self._place = Place(self._tip, entry.time, entry.lost)
        self._went_on()


async def _published(client: Client, subject: str, parts: Sequence[Part], after: int) -> Any:
    """Send parts that are stored together or not at all, behind this sequence; the answer."""
    batch = {"Nats-Batch-Id": uuid.uuid4().hex} if len(parts) > 1 else {}
    for number, part in enumerate(parts, 1):
        headers = {**part.headers, **batch}
        if number == 1:
            headers["Nats-Expected-Last-Sequence"] = str(after)
        if batch:
            headers["Nats-Batch-Sequence"] = str(number)
        if number < len(parts):
            await client.publish(subject, part.payload, headers=headers)
    if batch:
        headers["Nats-Batch-Commit"] = "1"
    return await client.request(subject, parts[-1].payload, timeout=_NEVER_SECONDS, headers=headers)


async def _unless(over: asyncio.Future[str], work: asyncio.Future[T], seconds: float | None) -> T:
    """The result of work that is under way; `DoubtError` where the connection is over before, or so much time."""
    try:
        both: set[asyncio.Future[Any]] = {over, work}
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise DoubtError(over.result() if over.done() else f"no acknowledgement within {seconds:.1f} s")
    except errors.NoRespondersError:
        raise DoubtError("no stream takes it") from None
    except (errors.Error, OSError, TimeoutError) as error:
        raise DoubtError(str(error) or type(error).__name__) from None
    finally:
        work.cancel()


def _refusal(message: Any, last: int) -> str | None:
    """Why an answer is not that everything up to this sequence is stored; None where it is."""
    try:
        answer = json.loads(message.data)
        error, sequence = answer.get("error"), answer.get("seq")
    except (ValueError, AttributeError):
        return "an answer that is none of JetStream's"
    if error is None:
        return None if sequence == last else f"stored at {sequence} and not at {last}"
    code, text = error.get("err_code"), error.get("description")
    return f"{text}, by another's messages" if code in _WRONG_LAST_SEQUENCE else f"{text} ({code})"
