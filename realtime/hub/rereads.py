"""Snapshots of a group that does not keep its documents: read again, once for all who ask together.

A reader is a second group of the same query on the same channel. It is brought to live as any group is, so what it
gives is exact at the time that has been dispatched, as its home is; whoever has got it goes to the home, and with the
last one it ends.
"""

from __future__ import annotations

from typing import Protocol

from realtime.core.live.query import Group, GroupBounds, QueryGroup
from realtime.core.live.router import Router
from realtime.hub.roster import Roster, Subscription


class Desk(Protocol):
    """The hub, as far as readers need it. All synchronous."""

    epoch: str
    bounds: GroupBounds
    router: Router
    roster: Roster

    def start(self, group: Group) -> None:
        """Bring it to live."""

    def close_group(self, group: Group) -> None:
        """Nobody is left in it."""

    def welcome(self, group: Group, subscription: Subscription) -> None:
        """Bring a subscription to live from what the group holds."""


class Rereads:
    """The readers, at most one a group."""

    def __init__(self, hub: Desk) -> None:
        self._hub = hub
        self._readers: dict[Group, QueryGroup] = {}
        self._homes: dict[Group, QueryGroup] = {}

    def __len__(self) -> int:
        return len(self._readers)

    def join(self, home: QueryGroup, subscription: Subscription) -> None:
        """Read for this subscription; it waits in the reader, and is not live."""
        hub, reader = self._hub, self._readers.get(home)
        if reader is None:
            reader = QueryGroup(home.query, home.channel, hub.epoch, hub.bounds)
            self._readers[home], self._homes[reader] = reader, home
            hub.router.add(reader, beside=True)
            hub.roster.open(reader)
            hub.start(reader)
        members = hub.roster.move(subscription, reader)
        if members.task is None:
            hub.welcome(reader, subscription)

    def home(self, group: Group) -> QueryGroup | None:
        """The group that this one reads for, if it is a reader."""
        return self._homes.get(group)

    def has(self, home: Group) -> bool:
        """Whether somebody waits for a reader of this group."""
        return home in self._readers

    def over(self, reader: Group) -> None:
        """Nobody is left in a reader; its home goes with it where that is empty too."""
        home = self._homes.pop(reader)
        del self._readers[home]
        self._hub.close_group(reader)
        members = self._hub.roster.members(home)
        if members is not None and not members.subscriptions:
            self._hub.close_group(home)

    def fold(self, home: Group) -> None:
        """The home is read anew or ends: those who wait in its reader wait there."""
        reader = self._readers.get(home)
        members = None if reader is None else self._hub.roster.members(reader)
        if reader is None or members is None:
            return
        for subscription in list(members.subscriptions):
            self._hub.roster.move(subscription, home)
        del self._readers[home], self._homes[reader]
        self._hub.close_group(reader)
