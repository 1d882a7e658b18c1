"""The feed: one change stream of the whole database, read reply by reply, handed over as whole moments.

It speaks `aggregate` and `getMore` itself, because only a reply shows where a batch ends. A step is never cancelled:
a cancelled step loses its events without a sound. `close` sets a flag and the step under way ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from functools import partial
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.errors import NetworkTimeout, PyMongoError

from realtime.bugs import bug
from realtime.core.bson import stored
from realtime.core.live.decoding import Decoder, Interest
from realtime.core.live.events import UNSENT, Batch, ChangeEvent, to_time, to_timestamp
from realtime.core.live.fragments import FragmentError, Fragments, is_fragment
from realtime.core.live.moments import MomentAssembler
from realtime.core.live.undecodable import marks
from realtime.core.upstream.health import FeedStatus
from realtime.core.upstream.stream_errors import Action, Care, Closings, Patience, action_for
from realtime.mongo.client import CLOSE_SECONDS, Client, Database
from realtime.mongo.faults import closed, code_and_labels, is_there, short
from realtime.mongo.reach import check_reach
from realtime.mongo.replies import WHAT_THEN, Reply, is_plain, matching, may_go_on, more, opening, received, token_time
from realtime.mongo.steps import Again, Step, Steps, answer, kill

log = logging.getLogger("realtime.feed")

HELD_BYTES = 64 * 1024 * 1024
BACKOFF_SECONDS = (0.1, 5.0)
SLOW_RETRY_SECONDS = 10.0
DEGRADED_AFTER_SECONDS = 3.0
HASTE_MS = 100
SPLIT_SECONDS = 60
"""Of the cluster's time: as long as large events come at least so often, all are asked for in fragments."""
_YIELD_EVERY = 250


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
        on_open: Callable[[Database, Any], Awaitable[None]] | None = None,
        patient: bool = True,
        collections: Collection[str] | None = None,
        far: Database | None = None,
        interest: Interest | None = lambda: None,
    ) -> None:
        """`on_open`: gets the database and session of a stream that was opened, before anything of it is handed over.

        `far`: the same database by a client that waits longer for a reply, for when there is much to look through.

        `interest`: whose documents are decoded at once (see `Decoder`). `patient`: mend what goes wrong; else raise it.
        """
        self._client = client
        self._database = database
        self._far = far
        self._looks_far = False
        self._batch_size = batch_size
        self._await_ms = await_ms
        self._on_status = on_status
        self._on_open = on_open
        self._patient = patient
        # Never changed while running: a token is good for the stream that it came from.
        self._match = matching(collections)
        self._decoder = Decoder(database.name, interest)
        self._again = partial(is_plain, size=batch_size)
        self._held_bytes = held_bytes
        self._assembler = MomentAssembler(start, held_bytes)
        self._beyond = 0
        self._token: dict[str, Any] | None = None
        self._last_token: dict[str, Any] | None = None
        self._opened_at = 0
        self._care = Care.NONE
        self._fragments = Fragments()
        self._large_at = 0
        self._not_split_at: int | None = None
        self._inside = False
        self._singly = 0
        self._cursor = 0
        # What is read back is told to those who resume: there is nobody who would come back to it a third time.
        self._marking = not patient
        self._stop = asyncio.Event()
        self._lost = False
        self._failures = 0
        self._patience = Patience()
        self._closings = Closings()
        self._closed_here = False
        self._down_since: float | None = None
        self._degraded = False
        self._replied_at: float | None = None
        self._steps: Steps | None = None
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
        if self._steps is not None:
            self._steps.stay()

    def hasten(self) -> None:
        """The end is near: no step may hold it up for long."""
        self._await_ms = min(self._await_ms, HASTE_MS)
        if self._steps is not None:
            self._steps.stay()

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Whole moments, and empty batches when only time went on. The thread of its steps lives as long."""
        self._steps = steps = Steps()
        try:
            async with contextlib.aclosing(self._mended()) as mended:
                async for batch in mended:
                    yield batch
        except (GeneratorExit, Exception):
            if steps.asked_at is not None and self._cursor:
                # That ends the step that is under way; of a frozen MongoDB nobody waits for it.
                await asyncio.wait({asyncio.create_task(kill(self._database, self._cursor))}, timeout=CLOSE_SECONDS)
            raise
        finally:
            await steps.close(CLOSE_SECONDS)

    async def _mended(self) -> AsyncGenerator[Batch, None]:
        """One stream after the other."""
        while not self._stop.is_set():
            try:
                async with contextlib.aclosing(self._stream()) as stream:
                    async for batch in stream:
                        yield batch
            except (PyMongoError, FragmentError) as error:
                action = await self._action(error)
                # What a closed connection means has to be seen a second time.
                again = self._closed_here and action is Action.REOPEN
                if not self._patient and action is not Action.STEP_OVER and not again:
                    raise
                await self._mend(error, action)
                if self._lost:
                    # At once, and not with the next event: those who watch would take silence for stillness.
                    self._lost = False
                    yield Batch((), self._assembler.time, lost=True)

    async def rewind(self, time: int, *, step_over: bool) -> None:
        """After a bug: go on after `time`, whatever was read beyond it. `step_over`: mark what cannot be decoded."""
        cursor, self._cursor = self._cursor, 0
        self._begin(time)
        self._marking = step_over
        if cursor:
            await kill(self._database, cursor)

    # ---------------------------------------------------------------------------------------------------- one stream

    async def _stream(self) -> AsyncGenerator[Batch, None]:
        """One change stream, from opening to its end or its error."""
        if not self._inside:
            self._assembler.reset()
            self._last_token = self._token
        self._fragments.reset()
        database = self._far if self._looks_far and self._far is not None else self._database
        async with await database.client.start_session(causal_consistency=False) as session:
            reply = await self._open(database, session)
            if self._on_open is not None:
                await self._on_open(database, session)
            opened = self.replies
            ahead: Step | None = None
            while True:
                care = self._care
                try:
                    batch = await self._take(reply, looked=self.replies > opened)
                except FragmentError:
                    await kill(database, reply.cursor)
                    raise
                # Before that is handed over: MongoDB looks for what is next, or makes it, while this is told.
                if ahead is None and self._careless and reply.cursor and reply.is_full(self._size):
                    ahead = self._ask_more(database, session, reply)
                if batch is not None:
                    yield batch
                passed = bool(reply.documents) if care is not Care.WITHOUT_LONG_KEYS else batch is not None
                if self._opens_again(reply, care, looked=self.replies > opened, passed=passed):
                    break
                if (self._stop.is_set() and ahead is None) or not reply.cursor:
                    break
                step = ahead or self._ask_more(database, session, reply)
                reply, ahead = await self._more(database, session, step), self._followed(step)
            if reply.cursor:
                await kill(database, reply.cursor)

    def _opens_again(self, reply: Reply, care: Care, *, looked: bool, passed: bool) -> bool:
        """Whether what is next is read by another stream; `passed`: something was read with this care."""
        if care is Care.SPLIT and self._may_stop_splitting(reply):
            self._care = Care.NONE
            return True
        if care.of_one and passed:
            # The event that was too large is behind us: open again, with images.
            self._care, self._inside = Care.NONE, self._last_token is not None
            self._recovered()
            return True
        if self._looks_far and looked and not (self._amid or reply.is_full(self._size)):
            # At the oplog's end: open again with the short wait, which finds a dead connection sooner.
            self._looks_far = False
            return True
        self._singly -= len(reply.documents)
        if care is Care.ONE_BY_ONE and (self._singly < 0 or not reply.documents):
            self._care = Care.NONE
        return False

    async def _open(self, database: Database, session: Any) -> Reply:
        token = self._last_token if self._inside else self._token
        self._inside = False
        # A stream that splits does not find the token of a large event that was read whole, one that leaves events out
        # not that of one of them, and says that history is lost (280). A time is always found.
        if token is not None and self._care not in (Care.SPLIT, Care.WITHOUT_LONG_KEYS):
            start: dict[str, Any] = {"startAfter": token}
            self._opened_at = 0
        else:
            # At `time` itself, whose events the assembler knows and drops: one increment on, the stream's own name for
            # its start could not be told from an entry at that time, which may still come.
            # But where an event at `time` cannot be sent, that one would come again.
            self._opened_at = self._assembler.time + (self._assembler.time == self._beyond)
            start = {"startAtOperationTime": to_timestamp(self._opened_at)}
        command = opening(start, self._match, self._care, self._size)
        step = self._ask(database, session, command, "firstBatch")
        opened: Reply = await answer(step, database, session, stops=self._looks_far or not self._patient)
        self.replies += 1
        try:
            await check_reach(database.client, self._opened_at or token_time(token or {}))
        except PyMongoError:
            await kill(database, opened.cursor)
            raise
        return opened

    @property
    def _careless(self) -> bool:
        """Whether what is asked next does not depend on what comes."""
        return self._care is Care.NONE and not self._looks_far and self._patient and not self._stop.is_set()

    def _ask_more(self, database: Database, session: Any, reply: Reply) -> Step:
        # While the end of a moment is unknown, ask again at once: an empty reply is its end.
        wait = 1 if self._amid else self._await_ms
        again = self._again if self._careless and not self._amid else None
        return self._ask(database, session, more(reply.cursor, self._size, wait), "nextBatch", again)

    def _followed(self, step: Step) -> Step | None:
        """The step that is under way already, and may have one in its turn."""
        if not step.followed or step.ahead is None or self._steps is None:
            return None
        self._steps.go_on_after(step.ahead, self._again)
        return step.ahead

    async def _more(self, database: Database, session: Any, step: Step) -> Reply:
        reply: Reply = await answer(step, database, session, stops=self._looks_far or not self._patient)
        self.replies += 1
        # Only here: that a stream opens says nothing of whether it can be read.
        self._recovered()
        return reply

    def _ask(self, database: Database, session: Any, asked: Any, batch: str, again: Again | None = None) -> Step:
        assert self._steps is not None  # reason: there is no stream but in `batches`
        return self._steps.command(database, session, asked, partial(received, batch), again)

    def _may_stop_splitting(self, reply: Reply) -> bool:
        """Whether the last large event is long past, or the stream has ended: at the time it ended it ends again."""
        if self._amid or self._token is None:
            return False
        return not reply.cursor or (token_time(reply.token) >> 32) - (self._large_at >> 32) >= SPLIT_SECONDS

    @property
    def _amid(self) -> bool:
        """Whether the end of a moment, or of an event, has still to be seen."""
        return self._assembler.holding or self._fragments.pending

    @property
    def _size(self) -> int:
        return self._batch_size if self._care in (Care.NONE, Care.SPLIT) else 1

    # ----------------------------------------------------------------------------------------------------- one reply

    async def _take(self, reply: Reply, *, looked: bool) -> Batch | None:
        """Decode a reply and give it to the assembler; `looked`: it is not that of the opening."""
        if self._care is Care.WITHOUT_LONG_KEYS:
            return self._pass(reply, looked=looked)
        events: list[ChangeEvent] = []
        marked = False
        self._decoder.look()
        self._cursor = reply.cursor
        for index, document in enumerate(reply.documents):
            marked = self._read(document, reply, events) or marked
            if index % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
        going_on = self._fragments.pending or may_go_on(events, reply, self._size)
        # Of a stream that has ended nothing more comes, and it would end there again and again.
        complete = not (going_on and reply.cursor)
        if not complete:
            self.held_replies += 1
        if marked:
            self._marking = not self._patient
            events.sort(key=lambda event: event.time)
        batch = self._assembler.add(events, complete=complete, through=self._through(reply))
        self._last_token = None if reply.token.get("_data") == self._fragments.token else reply.token
        if not self._amid:
            # Never a token inside a moment that has not been handed over: opening there would lose its beginning.
            self._token = self._last_token
        return batch

    def _read(self, document: RawBSONDocument, reply: Reply, events: list[ChangeEvent]) -> bool:
        """Add what a document of the stream says; whether it had to be marks in place of what cannot be decoded."""
        if self._care is Care.BARE:
            events += marks(document, token_time(reply.token), UNSENT)
            return False
        try:
            event = self._event(document, events)
        except FragmentError:
            raise
        except Exception as error:
            unknown = marks(document, token_time(reply.token))
            if unknown[-1].time <= self._assembler.time:
                return False  # it was stepped over, and comes again because the stream was opened at its time
            if not self._marking:
                raise
            bug("decoding", error)
            events += unknown
            return True
        if event is not None:
            events.append(event)
        return False

    def _pass(self, reply: Reply, *, looked: bool) -> Batch | None:
        """Past the event that cannot be sent: everything up to where the stream has come is told as lost.

        `looked`: it has looked through what there was, and not only been opened.
        """
        held, time = self._assembler.held, token_time(reply.token)
        amid = held[-1].time if held else 0
        at_end = looked and not reply.documents
        if time <= self._assembler.time or time < amid or not (at_end or (reply.documents and time > amid)):
            return None
        self._begin(time)
        self._beyond = time
        return Batch((), time, lost=True)

    def _event(self, document: RawBSONDocument, events: list[ChangeEvent]) -> ChangeEvent | None:
        """The event that this document is or completes; `events` came before it in the reply."""
        if self._care is not Care.SPLIT:
            return self._decoder.event(document)
        raw, size = stored.decode(document.raw), len(document.raw)
        room = self._held_bytes
        if is_fragment(raw):
            self._large_at = token_time(raw["_id"])
            room -= sum(event.size for event in (*self._assembler.held, *events) if event.time == self._large_at)
        whole = self._fragments.add(raw, size, room=room)
        return None if whole is None else self._decoder.put_together(whole)

    def _through(self, reply: Reply) -> int:
        """The time that the stream has looked at, whole, by the reply's post-batch token."""
        time = token_time(reply.token)
        # A fresh stream names its own starting time before it has looked at it.
        return 0 if time == self._opened_at and not reply.documents else time

    # ---------------------------------------------------------------------------------------------------------- faults

    async def _action(self, error: PyMongoError | FragmentError) -> Action:
        if isinstance(error, FragmentError):
            return Action.STEP_OVER
        # Where it answers something else it closed the connection for what it was asked, and it was not the network.
        self._closed_here = closed(error) and await is_there(self._database)
        if self._closed_here:
            return self._closings.action(self._assembler.time, self._care)
        return action_for(*code_and_labels(error), self._care)

    async def _mend(self, error: PyMongoError | FragmentError, action: Action) -> None:
        """Decide what an error means, report it, and wait before the next try."""
        now = asyncio.get_running_loop().time()
        code, labels = code_and_labels(error)
        if action is not Action.STEP_OVER and not self._closed_here:
            action = self._patience.action(code, labels, now, self._care)
        self._failures += 1
        delay = _backoff(1 if self._closed_here else self._failures)
        if self._down_since is None:
            self._down_since = now
            log.warning("change stream interrupted (%s): %s", action.value, short(error))
        # From the same token it would be the same: perhaps MongoDB is not dead and only has far to look.
        self._looks_far = self._looks_far or isinstance(error, NetworkTimeout)
        if action is Action.HISTORY_LOST:
            await self._start_at_now()
        elif action is Action.STEP_OVER:
            delay = self._step_over(delay)
            # MongoDB answers, and there are only so many steps: nobody has to hear of it.
            self._down_since = self._replied_at = now
        elif self._care.of_one:
            # Here only that one event may come, from after the one before it; else begin again, with all care.
            self._inside = self._closed_here and self._last_token is not None
            if not self._inside:
                self._care = Care.NONE
        elif action is Action.CONFIGURATION:
            delay = SLOW_RETRY_SECONDS
            self._degrade(f"MongoDB refuses the change stream (code {code})")
        if now - self._down_since >= DEGRADED_AFTER_SECONDS:
            self._degrade("MongoDB does not answer")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), delay)

    def _step_over(self, delay: float) -> float:
        """One event is over 16 MB with its images: in fragments, where MongoDB splits it.

        Else, or where that does not help, those before it first, one by one, then it alone without images, then only
        what names it; last, without it.
        """
        here = self._assembler.time
        if self._care is Care.SPLIT:
            self._not_split_at = here
        self._care = self._care.more(split=self._not_split_at != here)
        delay = 0 if self._failures < len(Care) else delay
        if self._care is Care.SPLIT:
            log.info("a change event is over MongoDB's 16 MB: it is asked for in fragments")
            self._large_at = here
            return delay
        # It was in the reply that could not be given, so it is among the next so many.
        self._singly = self._batch_size
        if self._care.of_one:
            log.error("a change event is over MongoDB's 16 MB: %s", WHAT_THEN[self._care])
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
        self._begin(max(now, self._assembler.time))
        self._lost = True

    def _begin(self, time: int) -> None:
        """Go on after `time`, whatever was read beyond it."""
        self._token, self._last_token = None, None
        self._inside, self._care = False, Care.NONE
        self._assembler = MomentAssembler(time, self._held_bytes)

    def _degrade(self, reason: str) -> None:
        if not self._degraded:
            self._degraded = True
            now = asyncio.get_running_loop().time()
            began = self._down_since if self._down_since is not None else self._replied_at
            self._on_status(FeedStatus(up=False, reason=reason, seconds=now - (began or now)))

    def check(self, now: float) -> None:
        """Called from outside now and then: a step that hangs is no exception, and must be reported all the same."""
        # Between its steps nobody waits for MongoDB: a large batch is being told.
        asked_at = None if self._steps is None else self._steps.asked_at
        silent = asked_at is not None and now - asked_at >= DEGRADED_AFTER_SECONDS + self._await_ms / 1000
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


def _backoff(failures: int) -> float:
    least, most = BACKOFF_SECONDS
    jitter = random.uniform(0.5, 1)  # noqa: S311 - spreads retries, no secret
    return jitter * min(most, least * float(2 ** min(failures - 1, 10)))
