"""Snapshots of a group that does not keep its documents: read again, once for all who ask together.

A reader is a second group of the same query on the same channel. It is brought to live as any group is, so what it
gives is exact at the time that has been dispatched, as its home is; whoever has got it goes to the home, and with the
last one it ends.
"""

from __future__ import annotations

from collections.abc import Callable

from realtime.core.live.event_group import Group
from realtime.core.live.query import GroupBounds, QueryGroup
from realtime.core.live.router import Router
from realtime.hub.progress import Progress
from realtime.hub.roster import Roster, Subscription


class Rereads:
    """The readers, at most one a group."""

    def __init__(
        self,
        *,
        progress: Progress,
        bounds: GroupBounds,
        router: Router,
        roster: Roster,
        start: Callable[[Group], None],
        welcome: Callable[[Group, Subscription], None],
        close_group: Callable[[Group], None],
    ) -> None:
        self._progress = progress
        self._bounds = bounds
        self._router = router
        self._roster = roster
        self._start = start
        self._welcome = welcome
        self._close_group = close_group
        self._readers: dict[Group, QueryGroup] = {}
        self._homes: dict[Group, QueryGroup] = {}

    def __len__(self) -> int:
        return len(self._readers)

    def join(self, home: QueryGroup, subscription: Subscription) -> None:
        """Read for this subscription; it waits in the reader, and is not live."""
        reader = self._readers.get(home)
        if reader is None:
            reader = QueryGroup(home.query, home.channel, self._progress.epoch, self._bounds)
            self._readers[home], self._homes[reader] = reader, home
            self._router.add(reader, beside=True)
            self._roster.open(reader)
            self._start(reader)
        members = self._roster.move(subscription, reader)
        if members.task is None:
            self._welcome(reader, subscription)

    def home(self, group: Group) -> QueryGroup | None:
        """The group that this one reads for, if it is a reader."""
        return self._homes.get(group)

    def has(self, home: Group) -> bool:
        """Whether somebody waits for a reader of this group."""
        return home in self._readers

    async def before_live(self, group: QueryGroup) -> None:
        """A reader waits until its home is where it is: whoever goes from one to the other must not go back."""
        home = self._homes.get(group)
        if home is not None:
            await self._progress.reached(max(group.time, home.time))

    def over(self, reader: Group) -> None:
        """Nobody is left in a reader; its home goes with it where that is empty too."""
        home = self._homes.pop(reader)
        del self._readers[home]
        self._close_group(reader)
        members = self._roster.members(home)
        if members is not None and not members.subscriptions:
            self._close_group(home)

    def fold(self, home: Group) -> None:
        """The home is read anew or ends: those who wait in its reader wait there."""
        reader = self._readers.get(home)
        members = None if reader is None else self._roster.members(reader)
        if reader is None or members is None:
            return
        for subscription in list(members.subscriptions):
            self._roster.move(subscription, home)
        del self._readers[home], self._homes[reader]
        self._close_group(reader)
