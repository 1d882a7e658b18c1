"""Query groups that ask for expressions: judged after everybody else was told, in slices of time.

What an expression costs goes with the document, and may be milliseconds for each. So a batch never waits for them: what
is not judged when the slice at its end is over is judged in turns of its own, between batches, and its group is
`behind` until then. Of a document that changes meanwhile only the last state is judged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from realtime import metrics
from realtime.core.live.query import QueryGroup
from realtime.errors import ServiceError
from realtime.hub.outcomes import Ended, Failed, Outcome, Short, Told
from realtime.hub.progress import Progress
from realtime.hub.roster import Roster

SLICE_SECONDS = 0.005
"""At the end of a batch, and in each turn after it; one document is never cut."""
Tell = Callable[[QueryGroup], Sequence[Outcome]]
MOST = 1000
"""Documents of a group that wait: with more it is read again, which leaves the judging to MongoDB."""


class Late:
    """The groups that have documents to judge, the one that has waited longest first."""

    def __init__(
        self,
        *,
        progress: Progress,
        roster: Roster,
        act_on: Callable[[Outcome], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`act_on` does what came of a group that was judged between two batches."""
        self._progress = progress
        self._roster = roster
        self._act_on = act_on
        self._clock = clock
        self._waiting: dict[QueryGroup, None] = {}
        self._turn: asyncio.Handle | None = None
        self._asked = False

    def add(self, group: QueryGroup) -> Sequence[Outcome]:
        """It has something to judge from now on; where that is too much, it is to be read again."""
        self._waiting[group] = None
        metrics.LATE.set(len(self._waiting))
        return (Short(group),) if len(group.late) > MOST else ()

    def forget(self, group: QueryGroup) -> None:
        """It has nothing to judge: it is done, gone, or read again."""
        self._waiting.pop(group, None)
        metrics.LATE.set(len(self._waiting))

    def close(self) -> None:
        """Nothing is judged any more."""
        self._waiting.clear()
        if self._turn is not None:
            self._turn.cancel()

    def slice(self, tell: Tell) -> Iterator[Outcome]:
        """Judge as much as fits into one slice; the rest has its turn later. An outcome is acted on before the next.

        `tell` publishes what a group has to say, once all of it is judged.
        """
        until = self._clock() + SLICE_SECONDS
        while self._waiting:
            group = next(iter(self._waiting))
            yield from self._judge(group, until, tell)
            if self._clock() >= until:
                break
        if self._waiting and not self._asked:
            self._asked = True
            self._turn = asyncio.get_running_loop().call_soon(
                self._progress.between_batches, partial(self._go_on, tell)
            )

    def _go_on(self, tell: Tell) -> None:
        self._asked, self._turn = False, None
        for outcome in self.slice(tell):
            self._act_on(outcome)
        # Who was told, and who has ended: nobody waits for them any longer.
        self._roster.release(self._progress.time)

    def _judge(self, group: QueryGroup, until: float, tell: Tell) -> Sequence[Outcome]:
        """What became of a group whose documents were judged, as far as there was time."""
        self.forget(group)
        if not group.live or self._roster.members(group) is None:
            return ()
        try:
            group.advance(self._progress.time)  # what is judged is judged as of now
            while group.late:
                group.judge()
                if group.late and self._clock() >= until:
                    return self.add(group)  # behind those that wait
            if group.short:
                return (Short(group),)
            refused = tell(group)
            group.advance(self._progress.time)
        except ServiceError as error:
            # An expression has no value of a document: `find` fails as well.
            return (Ended(group, error),)
        except Exception as error:
            return (Failed(group, error),)
        return (*refused, Told(group))
