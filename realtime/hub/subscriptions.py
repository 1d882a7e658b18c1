"""What becomes of a subscription: taken in, brought to live from a snapshot or a position, caught up, ended."""

from __future__ import annotations

from collections.abc import Callable

from realtime import metrics
from realtime.bugs import break_off, bug, tell
from realtime.core.connection import cutting
from realtime.core.live.event_group import EventGroup, Group
from realtime.core.live.query import GroupBounds, Query, QueryGroup
from realtime.core.live.router import Router
from realtime.core.mql.dialect import Dialect
from realtime.core.wire import protocol
from realtime.errors import ServiceError, TooLargeError
from realtime.hub.groups import Groups
from realtime.hub.history import History
from realtime.hub.progress import Progress
from realtime.hub.resume import Resumer
from realtime.hub.roster import Members, Owner, Roster, Subscription, farewell
from realtime.hub.slow import SlowConsumers
from realtime.hub.successions import Successions
from realtime.ports import SnapshotReader


class Subscriptions:
    """All subscriptions of the process, and the groups that they are in. Synchronous."""

    def __init__(
        self,
        reader: SnapshotReader,
        history: History,
        dialect: Dialect,
        *,
        progress: Progress,
        router: Router,
        roster: Roster,
        bounds: GroupBounds,
    ) -> None:
        self._progress = progress
        self._roster = roster
        self._history = history
        self.groups = Groups(
            reader,
            dialect,
            progress=progress,
            router=router,
            roster=roster,
            bounds=bounds,
            welcome=self.welcome,
            end=self.end,
        )
        self.successions = Successions(roster, self.groups.tasks, take=self._take_in)
        self._walls = self.groups.walls
        self._rereads = self.groups.rereads
        self._resumer = Resumer(
            progress=progress,
            reader=reader,
            history=history,
            dialects=self.groups.dialects,
            walls=self._walls,
            frame_bytes=bounds.frame_bytes,
            welcome=self.welcome,
            accept=lambda group, subscription: self.accept(group, subscription, recovered=True),
            since=self._since,
            listen=self.listen,
            end=self.end,
        )
        self.slow = SlowConsumers(
            progress=progress,
            history=history,
            roster=roster,
            walls=self._walls,
            frame_bytes=bounds.frame_bytes,
            since=self._since,
            welcome=self.welcome,
            end=self.end,
        )

    def _since(self, group: Group, after: int) -> int | None:
        return self.groups.memberships.sets.since(group, after, self._history.journal)

    def attach(self, subscription: Subscription) -> None:
        """Take a subscription in. `subscribed` or `error` follows, at once where the group is live."""
        self._take_in(subscription, few=False)

    def _take_in(self, subscription: Subscription, *, few: bool = True) -> None:
        try:
            self._attach(subscription, few=few)
        except Exception as error:
            self._walls.subscription_failed(subscription, error)

    def _attach(self, subscription: Subscription, *, few: bool) -> None:
        group = self.groups.wanted(subscription.query)
        members = self._roster.join(subscription, group)
        metrics.SUBSCRIPTIONS.set(self._roster.count)
        if subscription.ruled and isinstance(group, QueryGroup):
            group.remember()
        if subscription.successor and isinstance(group, QueryGroup):
            # At once: what was shown until now is not to be taken for what is.
            self.accept(group, subscription, recovered=False)
        if group.live:
            self.welcome(group, subscription)
        elif members.task is None:
            self.groups.start(group, few=few)

    def succeed(self, subscription: Subscription, query: Query) -> None:
        """Its effective query is this one now: nothing more of what was, then `subscribed` again on another channel.

        In query mode a snapshot follows, in events mode what happened since it was told last.
        """
        try:
            self.successions.add(self._successor(subscription, query))
        except Exception as error:
            self._walls.subscription_failed(subscription, error)

    def _successor(self, subscription: Subscription, query: Query) -> Subscription:
        after = self._silence(subscription)
        events = query.mode == "events"
        return Subscription(
            subscription.id,
            subscription.owner,
            query,
            after if events else None,
            since=events and subscription.since and not subscription.accepted,
            successor=subscription.accepted or subscription.successor,
        )

    def revoke(self, subscription: Subscription, error: ServiceError) -> None:
        """It may not be had any more: nothing more of what was, then why."""
        position = self._progress.position if subscription.group is None else subscription.group.position
        self._silence(subscription)
        self.end(subscription, error, position)

    def _silence(self, subscription: Subscription) -> int | None:
        """Let it go with all that waits of it. Returns the time up to which it was told, None where of nothing."""
        group, owner, told = subscription.group, subscription.owner, subscription.after
        if group is not None and (subscription.live or subscription.lapsed):
            told = group.reached(self._progress.time)
            # Whoever else of the connection hears the channel asked the same: they are next, and miss the same.
            heard = [one for one in self._roster.of(owner) if one.group is group and (one.live or one.lapsed)]
            for one in heard:
                if (members := self._roster.members(group)) is not None:
                    self._roster.mute(one, members)
                one.lapsed = True  # what waited is not told: no heartbeat or pong may say that it was
            dropped = owner.sink.forget(group.channel)
            for one in heard if dropped is not None else ():
                one.told = dropped if one.told is None else one.told
        told = told if subscription.told is None else subscription.told
        subscription.superseded = True
        if self._roster.find(owner, subscription.id) is subscription:
            self._leave(subscription)
        return told

    def detach(self, owner: Owner, subscription_id: str) -> None:
        """Let a subscription go; its group goes some time after the last one."""
        subscription = self._roster.find(owner, subscription_id)
        if subscription is not None:
            self._leave(subscription)

    def drop(self, owner: Owner) -> None:
        """The connection is gone, and everything of it."""
        for subscription in self._roster.of(owner):
            try:
                self._leave(subscription)
            except Exception as error:
                bug("subscription", error)
        self._roster.forget(owner)

    def _leave(self, subscription: Subscription) -> None:
        empty = self._roster.leave(subscription)
        if empty is not None:
            self.groups.emptied(empty)
        metrics.SUBSCRIPTIONS.set(self._roster.count)

    # ---------------------------------------------------------------------------------------------------- towards live

    def welcome(self, group: Group, subscription: Subscription) -> None:
        """Bring one subscription to live: from its position where it has one, else from what the group holds."""
        if isinstance(group, QueryGroup) and not group.keeps:
            self._rereads.join(group, subscription)
            return
        # A live group is exact at every time dispatched, also where nothing concerned it.
        group.advance(self._progress.time)
        if subscription.after is not None and not subscription.accepted:
            after, subscription.after, subscription.told = subscription.after, None, subscription.after
            self.groups.tasks.begin(self._resumer.resume(group, subscription, after))
            return
        sink, frames = subscription.owner.sink, None
        if isinstance(group, QueryGroup):
            try:
                frames = cutting.snapshot(subscription.id, group, sink.max_frame)
            except TooLargeError as error:
                self.end(subscription, error, group.position)
                return
        if not subscription.accepted:
            self.accept(group, subscription, recovered=False)
        if frames is not None:
            sink.send_run(self._walls.run(subscription, frames))
        self.listen(group, subscription)

    def accept(self, group: Group, subscription: Subscription, *, recovered: bool) -> None:
        """Say `subscribed`."""
        subscription.accepted = True
        frame = protocol.Subscribed(
            id=subscription.id,
            channel=group.channel,
            recovered=recovered,
            query=group.query.key,
            deletes=group.deletes if isinstance(group, EventGroup) else None,
        )
        subscription.owner.sink.send(frame.encode())

    def listen(self, group: Group, subscription: Subscription, say: Callable[[bytes], None] | None = None) -> None:
        """Say `live`, by `say` where it has to come after others; from now on the subscription hears the channel.

        Unless it has ended meanwhile.
        """
        if subscription.group is not group:
            return
        reader, home = group, self._rereads.home(group)
        if home is not None:
            self._roster.move(subscription, home)
            group = home
        members = self._roster.members(group)
        if members is not None:
            group.advance(self._progress.time)
            frame = protocol.Live(id=subscription.id, position=group.position).encode()
            if say is None:
                # Not by itself: where what comes before it is cut off, so is this.
                subscription.owner.sink.send_run(self._walls.run(subscription, iter((frame,))))
            else:
                say(frame)
            self._hear(group, subscription, members)
        if home is not None and not self._roster.has(reader):
            self._rereads.over(reader)

    def _hear(self, group: Group, subscription: Subscription, members: Members) -> None:
        """From now on it hears the channel; of one that has lapsed as soon as whoever lapsed with it does."""
        owner = subscription.owner
        if owner.sink.withholds(group.channel):
            if any(one.lapsed and one is not subscription for one in self._roster.of(owner) if one.group is group):
                subscription.lapsed = True
                return
            owner.sink.forget(group.channel)  # nobody is left who missed anything
        self._roster.unmute(subscription, members)

    def end(self, subscription: Subscription, error: ServiceError, position: str) -> None:
        """End a subscription by the service."""
        owner = subscription.owner
        if self._roster.find(owner, subscription.id) is subscription:
            self._leave(subscription)
        try:
            owner.subscription_ended(subscription.id)
        except Exception as bad:
            break_off(owner.sink, bad)
        tell(owner.sink, cutting.answer(farewell(subscription, error, position), owner.sink.max_frame))
