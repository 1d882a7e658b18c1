"""Subscriptions that go on under another query, and those of an exchange of rules, which are many at once.

All of those fall silent in the one turn in which the rules change; taken in again they are in slices, so that others
have their turns between. Meanwhile such a one stands in the roster without a group: it can be let go, ended, or given
another query again, as any other, and then its slice passes it over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from realtime.hub.roster import Roster, Subscription
from realtime.hub.slicing import Slices
from realtime.hub.tasks import Tasks

SLICE_SECONDS = 0.005
"""Of a turn of the loop."""
PAUSE_SECONDS = 0.005
"""Between two slices: what a frame of somebody else's needs takes several turns, of which each may have a slice."""


class Successions:
    """Those that wait to be taken in. Synchronous but for the slices, which are a task."""

    def __init__(self, roster: Roster, tasks: Tasks, *, take: Callable[[Subscription], None]) -> None:
        """`take` takes a subscription in that is not in the roster, and raises nothing."""
        self._roster = roster
        self._tasks = tasks
        self._take = take
        self._slices = Slices(seconds=SLICE_SECONDS, pause=PAUSE_SECONDS)
        self._together: list[Subscription] | None = None

    def add(self, subscription: Subscription) -> None:
        """It is next in place of one that is silent by now: taken in at once, or in a slice where there are many."""
        if self._together is None:
            self._take(subscription)
            return
        self._roster.expect(subscription)
        self._together.append(subscription)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What comes in this block, which awaits nothing, is taken in by slices after it."""
        self._together = waiting = list[Subscription]()
        try:
            yield
        finally:
            self._together = None
            if waiting:
                self._tasks.begin(self._slices.each(waiting, self._next))

    def _next(self, subscription: Subscription) -> None:
        # Its client may have let it go meanwhile, and used its id again; or it has been given another query.
        if self._roster.find(subscription.owner, subscription.id) is subscription:
            self._roster.leave(subscription)
            self._take(subscription)
