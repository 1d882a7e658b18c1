"""Groups that are read again: while their subscribers keep their view, or after they were told that it is void."""

from __future__ import annotations

from collections.abc import Callable

from realtime import metrics
from realtime.bugs import tell
from realtime.core.live.event_group import Group
from realtime.core.live.query import QueryGroup
from realtime.core.live.router import Router
from realtime.core.wire import protocol
from realtime.hub.holdings import Holdings
from realtime.hub.lingering import Lingering
from realtime.hub.progress import Progress
from realtime.hub.rereads import Rereads
from realtime.hub.roster import Roster


class Refills:
    """Synchronous: each is read in a task of its own."""

    def __init__(
        self,
        *,
        progress: Progress,
        router: Router,
        roster: Roster,
        rereads: Rereads,
        holdings: Holdings,
        lingering: Lingering,
        start: Callable[[Group], None],
        close_group: Callable[[Group], None],
    ) -> None:
        self._progress = progress
        self._router = router
        self._roster = roster
        self._rereads = rereads
        self._holdings = holdings
        self._lingering = lingering
        self._start = start
        self._close_group = close_group

    def again(self, group: QueryGroup) -> None:
        """A window without spares, or what depends on a set that is another one: its subscribers keep their view.

        Nothing more is told of it until it has been read; then one moment leads from what was told to what is.
        """
        self._rereads.fold(group)
        members = self._roster.members(group)
        if members is None:
            return
        if self._lingering.idle(group):
            self._close_group(group)
            return
        if group.live:
            group.advance(self._progress.time)
        self._router.unsettle(group)
        group.reload()
        self._holdings.starts_again(group)
        if members.task is not None:
            members.task.cancel()
        self._start(group)

    def afresh(self, group: QueryGroup, reason: str) -> None:
        """Its documents can no longer be followed: those who saw them are told `resync`, and why."""
        self._rereads.fold(group)  # those who wait for its snapshot wait for the new one
        members = self._roster.members(group)
        if members is None:
            return
        if self._lingering.idle(group):
            self._close_group(group)
            return
        metrics.RESYNCS.labels(reason).inc()
        for subscription in members.subscriptions:
            if subscription.live or subscription.lapsed:
                self._roster.mute(subscription, members)
                subscription.lapsed = False
                tell(subscription.owner.sink, protocol.Resync(id=subscription.id, reason=reason).encode())
        self._router.unsettle(group)
        group.restart()
        self._holdings.starts_again(group)
        if members.task is not None:
            members.task.cancel()
        self._start(group)
