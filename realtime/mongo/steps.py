"""The thread in which a feed's steps are taken: one command to MongoDB after the other, each reply handed to the loop.

A feed waits for MongoDB nearly always, and its steps are the service's only cost that comes with every event. A thread
of its own goes straight to the driver beneath Motor: no executor, no queue of other work, no copy of a context.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

from pymongo.errors import PyMongoError

from realtime.mongo.client import CLOSE_SECONDS, RAW, Database
from realtime.mongo.faults import short
from realtime.mongo.monitoring import counted

log = logging.getLogger("realtime.feed")


Again = Callable[[Any], bool]
"""By what a step brought: whether the same step is to be taken once more, at once."""


@dataclass(slots=True, eq=False)
class Step:
    """What is to be done, and where its outcome goes; it waits there until somebody looks."""

    work: Callable[[], Any]
    outcome: asyncio.Future[Any]
    again: Again | None = None
    ahead: Step | None = None
    """The one after it, which is taken without being asked for where `again` says so."""
    followed: bool = False
    """Whether that was so; known with the outcome."""

    @property
    def under_way(self) -> bool:
        """Whether its outcome has still to come."""
        return not self.outcome.done()

    def finish(self, done: Any) -> None:
        """In the loop."""
        if not self.outcome.done():
            self.outcome.set_result(done)

    def fail(self, error: BaseException) -> None:
        """In the loop."""
        if not self.outcome.done():
            self.outcome.set_exception(error)
            self.outcome.exception()  # it may be that nobody waits any more


class Steps:
    """A thread that takes one step at a time, in order. Who made it closes it, which joins the thread.

    To wake a thread costs more than what there is to do for one event. So the thread may go on by itself, by one step
    that nobody has asked for: then it waits until what it brought was looked at.
    """

    def __init__(self) -> None:
        """Of the running loop."""
        self.asked_at: float | None = None
        """The loop's time at which the step was asked for that MongoDB has not answered; None where it owes none."""
        self._goes_on = True
        self._loop = asyncio.get_running_loop()
        self._asked: SimpleQueue[Step | None] = SimpleQueue()
        self._ended = asyncio.Event()
        # No step may keep a process from ending: MongoDB may be frozen, and the driver waits for seconds.
        self._thread = threading.Thread(target=self._run, name="realtime-feed", daemon=True)
        self._thread.start()

    def command(
        self,
        database: Database,
        session: Any,
        command: dict[str, Any],
        read: Callable[[Any], Any],
        again: Again | None = None,
    ) -> Step:
        """What `read` makes of the reply to a command, its documents undecoded.

        Whoever stops waiting leaves the step to end by itself.
        """
        below, session = database.delegate, session.delegate

        def send() -> Any:
            return read(below.command({**command}, session=session, codec_options=RAW))

        return self.take(partial(counted, next(iter(command)), send), again)

    def take(self, work: Callable[[], Any], again: Again | None = None) -> Step:
        """What `work` returns or raises, called in the thread."""
        step = Step(work, self._loop.create_future())
        if again is not None:
            self.go_on_after(step, again)
        self.asked_at = time.monotonic()
        self._asked.put(step)
        return step

    def go_on_after(self, step: Step, again: Again) -> None:
        """Have this step taken once more where `again` says so; it may be under way. Too late is no harm."""
        step.ahead = Step(step.work, self._loop.create_future())
        step.again = again

    def stay(self) -> None:
        """From here on no step is taken that was not asked for."""
        self._goes_on = False

    async def close(self, seconds: float) -> bool:
        """No more steps; join the thread, waiting so long for the one under way. Whether it has ended."""
        self.stay()
        self._asked.put(None)
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            log.debug("a step of the change stream is left to end by itself: MongoDB does not answer")
            return False
        self._thread.join()
        return True

    def _run(self) -> None:
        try:
            step = self._asked.get()
            while step is not None:
                # What a step brought may be 16 MB, and the next one long in coming: nothing holds it here.
                step = self._take(step) or self._asked.get()
            self._loop.call_soon_threadsafe(self._ended.set)
        except RuntimeError:
            log.debug("the loop has ended before the change stream's last step")

    def _take(self, step: Step) -> Step | None:
        """Take a step; the next one where that is to be taken at once."""
        tell = self._loop.call_soon_threadsafe
        try:
            done = step.work()
            step.followed = self._goes_on and step.again is not None and step.again(done)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to who asked
            self.asked_at = None
            tell(step.fail, error)
            return None
        # Here, and not when the loop comes to it: a loop that is busy must not take MongoDB for silent.
        self.asked_at = time.monotonic() if step.followed else None
        tell(step.finish, done)
        return step.ahead if step.followed else None


async def answer(step: Step, database: Database, session: Any, *, stops: bool) -> Any:
    """What a step brought. `stops`: whoever is cancelled in here has MongoDB stop looking."""
    try:
        return await step.outcome
    except asyncio.CancelledError:
        if stops:
            # The thread waits for the reply all the same, and whoever closes it for the thread.
            await asyncio.wait({asyncio.create_task(stop(database, session))}, timeout=CLOSE_SECONDS)
        raise


async def kill(database: Database, cursor: int) -> None:
    """Close a stream's cursor."""
    try:
        await database.command({"killCursors": "$cmd.aggregate", "cursors": [cursor]})
    except PyMongoError as error:
        log.debug("the change stream's cursor is left to its timeout: %s", short(error))


async def stop(database: Database, session: Any) -> None:
    """Have MongoDB stop what it does for a session."""
    with contextlib.suppress(PyMongoError):
        await database.client.admin.command({"killSessions": [dict(session.session_id)]})
