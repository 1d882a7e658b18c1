"""The feed: one change stream of the whole database, read reply by reply, handed over as whole moments.

It speaks `aggregate` and `getMore` itself, because only a reply shows where a batch ends. A step is never cancelled:
a cancelled step loses its events without a sound. `close` sets a flag and the step under way ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.errors import NetworkTimeout, OperationFailure, PyMongoError

from realtime.core.bson.values import CODEC
from realtime.core.live.events import Batch, ChangeEvent, parse_event, to_time, to_timestamp
from realtime.core.live.moments import MomentAssembler
from realtime.core.upstream.stream_errors import Action, Patience, action_for
from realtime.mongo.client import CLOSE_SECONDS, RAW, Client, Database
from realtime.mongo.faults import short

log = logging.getLogger("realtime.feed")

HELD_BYTES = 64 * 1024 * 1024
BACKOFF_SECONDS = (0.1, 5.0)
SLOW_RETRY_SECONDS = 10.0
DEGRADED_AFTER_SECONDS = 3.0
HASTE_MS = 100
_FULL_BYTES = 1024 * 1024
_YIELD_EVERY = 250
_OPERATIONS = ["insert", "update", "replace", "delete", "drop", "rename", "dropDatabase", "invalidate"]


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """`up`, or not and why."""

    up: bool
    reason: str | None = None
    seconds: float = 0
    """How long ago it began."""


class Care(Enum):
    """How carefully the stream is read: at an event that is too large with its images, more and more."""

    NONE = 0
    ONE_BY_ONE = 1
    WITHOUT_IMAGES = 2


@dataclass(slots=True)
class _Reply:
    documents: list[RawBSONDocument]
    cursor: int
    token: dict[str, Any]


def _matching(collections: Collection[str] | None) -> dict[str, Any]:
    """The events that are wanted: of all collections, or of some, renames onto one of them included."""
    match: dict[str, Any] = {"operationType": {"$in": _OPERATIONS}}
    if collections is None:
        return match
    names = {"$in": sorted(collections)}
    # A rename onto a collection names a temporary one in `ns`. Nothing else, so that MongoDB filters the oplog by it.
    of_all = {"operationType": {"$in": ["dropDatabase", "invalidate"]}}
    return {**match, "$or": [{"ns.coll": names}, {"to.coll": names}, of_all]}


def _received(cursor: Any, batch: str) -> _Reply:
    return _Reply(cursor[batch], cursor["id"], dict(cursor["postBatchResumeToken"]))


class ChangeFeed:
    """Batches of one database's change stream, in order and without end; mends what can be mended by itself."""

    def __init__(
        self,
        client: Client,
        database: Database,
        *,
        start: int,
        batch_size: int = 1000,
        await_ms: int = 1000,
        held_bytes: int = HELD_BYTES,
        on_status: Callable[[FeedStatus], None] = lambda _: None,
        patient: bool = True,
        collections: Collection[str] | None = None,
        far: Database | None = None,
    ) -> None:
        """`far`: the same database by a client that waits longer for a reply, for when there is much to look through.

        `patient`: mend what goes wrong; else raise it.
        """
        self._client = client
        self._database = database
        self._far = far
        self._looks_far = False
        self._batch_size = batch_size
        self._await_ms = await_ms
        self._on_status = on_status
        self._patient = patient
        # Never changed while running: a token is good for the stream that it came from.
        self._match = _matching(collections)
        self._held_bytes = held_bytes
        self._assembler = MomentAssembler(start, held_bytes)
        self._token: dict[str, Any] | None = None
        self._last_token: dict[str, Any] | None = None
        self._opened_at = 0
        self._care = Care.NONE
        self._inside = False
        self._singly = 0
        self._stop = asyncio.Event()
        self._lost = False
        self._failures = 0
        self._patience = Patience()
        self._down_since: float | None = None
        self._degraded = False
        self._replied_at: float | None = None
        self.replies = 0
        self.held_replies = 0

    @property
    def time(self) -> int:
        """Cluster time up to which everything has been handed over."""
        return self._assembler.time

    @property
    def replied_at(self) -> float | None:
        """The loop's time of the last step that brought a reply."""
        return self._replied_at

    def close(self) -> None:
        """End `batches` after the step under way (at most the await time, unless MongoDB has far to look)."""
        self._stop.set()

    def hasten(self) -> None:
        """The end is near: no step may hold it up for long."""
        self._await_ms = min(self._await_ms, HASTE_MS)

    async def batches(self) -> AsyncIterator[Batch]:
        """Whole moments, and empty batches when only time went on."""
        while not self._stop.is_set():
            try:
                async for batch in self._stream():
                    yield batch
            except PyMongoError as error:
                if not self._patient and _action(error) is not Action.STEP_OVER:
                    raise
                await self._mend(error)
                if self._lost:
                    # At once, and not with the next event: those who watch would take silence for stillness.
                    self._lost = False
                    yield Batch((), self._assembler.time, lost=True)

    # ---------------------------------------------------------------------------------------------------- one stream

    async def _stream(self) -> AsyncIterator[Batch]:
        """One change stream, from opening to its end or its error."""
        if not self._inside:
            self._assembler.reset()
        database = self._far if self._looks_far and self._far is not None else self._database
        async with await database.client.start_session(causal_consistency=False) as session:
            reply = await self._open(database, session)
            opened = self.replies
            while True:
                batch = await self._take(reply)
                if batch is not None:
                    yield batch
                if self._stop.is_set() or not reply.cursor:
                    break
                if self._looks_far and self.replies > opened and self._at_end(reply):
                    # Open again with the short wait, which finds a dead connection sooner.
                    self._looks_far = False
                    break
                self._singly -= len(reply.documents)
                if self._care is Care.ONE_BY_ONE and (self._singly < 0 or not reply.documents):
                    self._care = Care.NONE
                if self._care is Care.WITHOUT_IMAGES and reply.documents:
                    # The event that was too large is behind us: open again, with images.
                    self._care, self._inside = Care.NONE, True
                    break
                reply = await self._more(database, session, reply.cursor)
            if reply.cursor:
                await self._kill(database, reply.cursor)

    async def _open(self, database: Database, session: Any) -> _Reply:
        stage: dict[str, Any] = {}
        if self._care is not Care.WITHOUT_IMAGES:
            stage = {"fullDocument": "whenAvailable", "fullDocumentBeforeChange": "whenAvailable"}
        token = self._last_token if self._inside else self._token
        self._inside = False
        if token is not None:
            stage["startAfter"] = token
            self._opened_at = 0
        else:
            # At `time` itself, whose events the assembler knows and drops: one increment on, the stream's own name for
            # its start could not be told from an entry at that time, which may still come.
            self._opened_at = self._assembler.time
            stage["startAtOperationTime"] = to_timestamp(self._opened_at)
        command = {
            "aggregate": 1,
            "pipeline": [{"$changeStream": stage}, {"$match": self._match}],
            "cursor": {"batchSize": self._size},
            "readConcern": {"level": "majority"},
            "comment": "realtime feed",
        }
        reply = await self._answer(database, session, command)
        self.replies += 1
        return _received(reply["cursor"], "firstBatch")

    async def _more(self, database: Database, session: Any, cursor: int) -> _Reply:
        # While the end of a moment is unknown, ask again at once: an empty reply is its end.
        wait = 1 if self._assembler.holding else self._await_ms
        command = {
            "getMore": cursor,
            "collection": "$cmd.aggregate",
            "batchSize": self._size,
            "maxTimeMS": wait,
        }
        reply = await self._answer(database, session, command)
        self.replies += 1
        # Only here: that a stream opens says nothing of whether it can be read.
        self._recovered()
        return _received(reply["cursor"], "nextBatch")

    async def _answer(self, database: Database, session: Any, command: dict[str, Any]) -> Any:
        """The reply to a command. Who is cancelled in here has MongoDB stop looking."""
        try:
            return await database.command(command, session=session, codec_options=RAW)
        except asyncio.CancelledError:
            if self._looks_far or not self._patient:
                # A thread of the driver's waits for the reply all the same, and the end of the process for the thread.
                await asyncio.wait({asyncio.create_task(_stop(database, session))}, timeout=CLOSE_SECONDS)
            raise

    def _at_end(self, reply: _Reply) -> bool:
        """Whether the reply brought it to where the oplog ends, with nothing held back."""
        size = sum(len(document.raw) for document in reply.documents)
        return len(reply.documents) < self._size and size < _FULL_BYTES and not self._assembler.holding

    @property
    def _size(self) -> int:
        return self._batch_size if self._care is Care.NONE else 1

    async def _kill(self, database: Database, cursor: int) -> None:
        try:
            await database.command({"killCursors": "$cmd.aggregate", "cursors": [cursor]})
        except PyMongoError as error:
            log.debug("the change stream's cursor is left to its timeout: %s", short(error))

    # ----------------------------------------------------------------------------------------------------- one reply

    async def _take(self, reply: _Reply) -> Batch | None:
        """Decode a reply and give it to the assembler."""
        events: list[ChangeEvent] = []
        size = 0
        for index, document in enumerate(reply.documents):
            raw = bson.decode(document.raw, CODEC)
            event = parse_event(raw, self._database.name, len(document.raw))
            size += len(document.raw)
            if event is not None:
                events.append(event)
            if index % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
        complete = not _may_go_on(events, len(reply.documents), size, self._size)
        if not complete:
            self.held_replies += 1
        batch = self._assembler.add(events, complete=complete, through=self._through(reply))
        self._last_token = reply.token
        if not self._assembler.holding:
            # Never a token inside a moment that has not been handed over: opening there would lose its beginning.
            self._token = reply.token
        return batch

    def _through(self, reply: _Reply) -> int:
        """The time that the stream has looked at, whole, by the reply's post-batch token."""
        time = token_time(reply.token)
        # A fresh stream names its own starting time before it has looked at it.
        return 0 if time == self._opened_at and not reply.documents else time

    # ---------------------------------------------------------------------------------------------------------- faults

    async def _mend(self, error: PyMongoError) -> None:
        """Decide what an error means, report it, and wait before the next try."""
        now = asyncio.get_running_loop().time()
        code, labels = _code_and_labels(error)
        action = self._patience.action(code, labels, now)
        self._failures += 1
        delay = _backoff(self._failures)
        if self._down_since is None:
            self._down_since = now
            log.warning("change stream interrupted (%s): %s", action.value, short(error))
        # From the same token it would be the same: perhaps MongoDB is not dead and only has far to look.
        self._looks_far = self._looks_far or isinstance(error, NetworkTimeout)
        if action is Action.HISTORY_LOST:
            await self._start_at_now()
        elif action is Action.STEP_OVER:
            delay = self._step_over(delay)
        elif action is Action.CONFIGURATION:
            delay = SLOW_RETRY_SECONDS
            self._degrade(f"MongoDB refuses the change stream (code {code})")
        if now - self._down_since >= DEGRADED_AFTER_SECONDS:
            self._degrade("MongoDB does not answer")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), delay)

    def _step_over(self, delay: float) -> float:
        """One event is over 16 MB with its images. Those before it first, one by one, then it alone without them."""
        if self._care is not Care.WITHOUT_IMAGES:
            self._care = Care.ONE_BY_ONE if self._care is Care.NONE else Care.WITHOUT_IMAGES
            # It was in the reply that could not be given, so it is among the next so many.
            self._singly = self._batch_size
            delay = 0 if self._failures <= len(Care) else delay
        if self._care is Care.WITHOUT_IMAGES:
            log.error("a change event is over MongoDB's 16 MB: it is read without its images")
        self._inside = self._last_token is not None
        return delay

    async def _start_at_now(self) -> None:
        """The token leads nowhere: go on from now, and say so with the next batch."""
        try:
            async with await self._client.start_session(causal_consistency=False) as session:
                await self._database.command("ping", session=session)
                now = to_time(session.operation_time)
        except PyMongoError as error:
            log.debug("no time to start at yet: %s", short(error))
            return
        log.error("history lost: the oplog no longer reaches back to where the stream was; going on from now")
        self._token, self._last_token, self._lost = None, None, True
        self._inside, self._care = False, Care.NONE
        self._assembler = MomentAssembler(max(now, self._assembler.time), self._held_bytes)

    def _degrade(self, reason: str) -> None:
        if not self._degraded:
            self._degraded = True
            now = asyncio.get_running_loop().time()
            began = self._down_since if self._down_since is not None else self._replied_at
            self._on_status(FeedStatus(up=False, reason=reason, seconds=now - (began or now)))

    def check(self, now: float) -> None:
        """Called from outside now and then: a step that hangs is no exception, and must be reported all the same."""
        silent = (
            self._replied_at is not None and now - self._replied_at >= DEGRADED_AFTER_SECONDS + self._await_ms / 1000
        )
        if silent or (self._down_since is not None and now - self._down_since >= DEGRADED_AFTER_SECONDS):
            self._degrade("MongoDB does not answer")

    def _recovered(self) -> None:
        if self._down_since is not None:
            log.info("change stream goes on")
        self._failures, self._down_since = 0, None
        self._patience.went_on()
        self._replied_at = asyncio.get_running_loop().time()
        if self._degraded:
            self._degraded = False
            self._on_status(FeedStatus(up=True))


async def _stop(database: Database, session: Any) -> None:
    with contextlib.suppress(PyMongoError):
        await database.client.admin.command({"killSessions": [dict(session.session_id)]})


def _code_and_labels(error: PyMongoError) -> tuple[int | None, list[str]]:
    code = error.code if isinstance(error, OperationFailure) else None
    return code, [label for label in ("ResumableChangeStreamError",) if error.has_error_label(label)]


def _action(error: PyMongoError) -> Action:
    return action_for(*_code_and_labels(error))


def token_time(token: dict[str, Any]) -> int:
    """The cluster time that a resume token begins with (0x82, then 8 bytes big-endian); 0 where it cannot be read."""
    data = token.get("_data")
    if not isinstance(data, str) or not data.startswith("82") or len(data) < 18:
        return 0
    return int(data[2:18], 16)


def _may_go_on(events: list[ChangeEvent], count: int, size: int, batch_size: int) -> bool:
    """Whether the reply's last moment may continue in the next one.

    A reply ends early at `batch_size` events or 16 MB, the next event included, which can be large itself. Only the
    events of a transaction share their cluster time for sure, and asking again costs a millisecond.
    """
    if not events:
        return False
    return count >= batch_size or size >= _FULL_BYTES or events[-1].transaction is not None


def _backoff(failures: int) -> float:
    least, most = BACKOFF_SECONDS
    jitter = random.uniform(0.5, 1)  # noqa: S311 - spreads retries, no secret
    return jitter * min(most, least * float(2 ** min(failures - 1, 10)))
