"""What becomes of query groups: opened, read, live, read again, ended; and what the outcomes of a batch mean to them.

A group waits for MongoDB in a task of its own and holds back nobody else's frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from realtime import metrics
from realtime.core.live.event_group import EventGroup, Group
from realtime.core.live.events import format_position
from realtime.core.live.query import GroupBounds, Query, QueryGroup
from realtime.core.live.router import Router
from realtime.core.mql.dialect import Dialect
from realtime.core.wire.reserved_names import OWN_PREFIX
from realtime.errors import ServiceError
from realtime.hub.dialects import Dialects
from realtime.hub.holdings import Holdings
from realtime.hub.late import Late
from realtime.hub.lingering import Lingering
from realtime.hub.loading import Loader, outgrown
from realtime.hub.memberships import Memberships
from realtime.hub.outcomes import Ended, Failed, Outcome, Refused, Remade, Short, Stale, Told, Unsettled
from realtime.hub.pacing import Pacer
from realtime.hub.progress import Progress
from realtime.hub.refills import Refills
from realtime.hub.rereads import Rereads
from realtime.hub.roster import Roster, Subscription
from realtime.hub.tasks import Tasks
from realtime.hub.teller import Teller
from realtime.hub.walls import Walls
from realtime.ports import SnapshotReader

OWN_DOCUMENTS, OWN_BYTES = 100_000, 256 * 1024 * 1024
"""Of a live query of the service's own, which no client's limit concerns."""
Welcome = Callable[[Group, Subscription], None]
End = Callable[[Subscription, ServiceError, str], None]


class Groups:
    """All query groups of the process."""

    def __init__(
        self,
        reader: SnapshotReader,
        dialect: Dialect,
        *,
        progress: Progress,
        router: Router,
        roster: Roster,
        bounds: GroupBounds,
        welcome: Welcome,
        end: End,
    ) -> None:
        """`welcome` brings a subscription to live from what its group holds, `end` ends one by an error."""
        self._progress = progress
        self._router = router
        self._roster = roster
        self._bounds = bounds
        self._own_bounds = dataclasses.replace(
            bounds, documents=OWN_DOCUMENTS, kept=OWN_DOCUMENTS, bytes=OWN_BYTES, all_bytes=OWN_BYTES
        )
        self._welcome = welcome
        self._end = end
        self.tasks = Tasks()
        self.walls = Walls(progress=progress, roster=roster, resync=self.resync, end_all=self.end_all, end=end)
        self.dialects = Dialects(dialect, progress=progress, router=router, resync=self.resync)
        self.lingering = Lingering(bounds.linger_seconds, close_group=self.close)
        self.holdings = Holdings(bounds, self.lingering, close_group=self.close, end_outgrown=self.end_outgrown)
        self.rereads = Rereads(
            progress=progress,
            bounds=bounds,
            router=router,
            roster=roster,
            start=self.start,
            welcome=welcome,
            close_group=self.close,
        )
        self.refills, self.memberships = _read_again(self, progress, router, roster, bounds)
        self._loader = Loader(
            progress=progress,
            reader=reader,
            roster=roster,
            rereads=self.rereads,
            sets=self.memberships.sets,
            walls=self.walls,
            go_live=self.go_live,
            start=self.start,
            went_live=self.memberships.went_live,
            end_all=self.end_all,
        )
        self.pacer = Pacer(lambda group: progress.between_batches(lambda: self._tell_alone(group)))
        late = Late(progress=progress, roster=roster, act_on=self.act_on)
        self.teller = Teller(
            progress=progress,
            router=router,
            roster=roster,
            pacer=self.pacer,
            late=late,
            memberships=self.memberships,
            frame_bytes=bounds.frame_bytes,
        )

    # ------------------------------------------------------------------------------------------------- open and close

    def wanted(self, query: Query) -> Group:
        """The group of a query, opened where there is none."""
        group = self._router.find(query) or self._open(self.dialects.spoken(query))
        self.lingering.taken(group)
        return group

    def _open(self, query: Query) -> Group:
        channel = self._router.next_channel()
        group: Group = EventGroup(query, channel, self._progress.epoch)
        if query.mode == "query":
            own = query.collection.startswith(OWN_PREFIX)
            group = QueryGroup(query, channel, self._progress.epoch, self._own_bounds if own else self._bounds)
        self._router.add(group)
        self._roster.open(group)
        self.memberships.sets.opened(group)
        metrics.GROUPS.set(len(self._router))
        return group

    def emptied(self, group: Group) -> None:
        """Its last subscription has left: it goes, now or some time later."""
        if self.rereads.home(group) is not None:
            self.rereads.over(group)
        elif not self.rereads.has(group) and not self.lingering.stays(group):
            self.close(group)

    def close(self, group: Group) -> None:
        """Nobody is left in it: route to it no longer, and read nothing for it."""
        if self._roster.members(group) is None:
            return
        self._router.remove(group)
        self.teller.forget(group)
        self.walls.trials.passed(group)
        self.memberships.sets.closed(group)
        if isinstance(group, QueryGroup):
            self.lingering.taken(group)
            self.holdings.starts_again(group)
        members = self._roster.close(group)
        if members.task is not None:
            members.task.cancel()
        metrics.GROUPS.set(len(self._router))

    # ---------------------------------------------------------------------------------------------------- towards live

    def start(self, group: Group, *, few: bool = False) -> None:
        """Bring a group to live, in a task of its own. `few`: one of many, of which few are read at a time."""
        members = self._roster.members(group)
        if members is None:
            return
        members.task = self.tasks.begin(self._loader.bring_up(group, few=few))

    def go_live(self, group: Group) -> None:
        """What it needed has been read: bring those who wait to live."""
        try:
            self._go_live(group)
        except Exception as error:
            self.walls.group_failed(group, error)

    def _go_live(self, group: Group) -> None:
        members = self._roster.members(group)
        if members is None:
            return
        if isinstance(group, EventGroup):
            group.live, group.time = True, self._progress.time
        else:
            self._router.settle(group)
            group.advance(self._progress.time)
            self._tell(group)
            self._roster.release(self._progress.time)
        members.task = None
        reads_for_another = self.rereads.home(group) is not None
        for subscription in list(members.subscriptions):
            if not (subscription.live or subscription.lapsed) and subscription.group is group:
                try:
                    self._welcome(group, subscription)
                except Exception as error:
                    self.walls.subscription_failed(subscription, error)
        if isinstance(group, QueryGroup) and not reads_for_another and self._roster.members(group) is not None:
            self.holdings.note(group)

    def _tell_alone(self, group: QueryGroup) -> None:
        """Its time has come between two batches: nobody else looks after what telling it raises."""
        try:
            self._tell(group)
        except Exception as error:
            self.walls.group_failed(group, error)

    def _tell(self, group: QueryGroup) -> None:
        for outcome in self.teller.tell(group):
            self.act_on(outcome)

    # -------------------------------------------------------------------------------------------------------- outcomes

    def act_on(self, outcome: Outcome) -> None:
        """Do what the telling of a batch came to for one group."""
        if isinstance(outcome, Failed):
            self.walls.group_failed(outcome.group, outcome.error)
            return
        try:
            self._act_on(outcome)
        except Exception as error:
            self.walls.group_failed(outcome.group, error)

    def _act_on(self, outcome: Told | Short | Unsettled | Stale | Remade | Refused | Ended) -> None:
        if isinstance(outcome, Told):
            self._told(outcome.group)
        elif isinstance(outcome, Short | Unsettled):
            metrics.UNDERFLOWS.inc(isinstance(outcome, Short))
            self.refills.again(outcome.group)
        elif isinstance(outcome, Stale):
            self.resync(outcome.group, outcome.reason)
        elif isinstance(outcome, Remade):
            self._look_again(outcome.group)
        elif isinstance(outcome, Refused):
            self._refuse(outcome)
        else:
            self.end_all(outcome.group, outcome.error)

    def _told(self, group: QueryGroup) -> None:
        if self._roster.members(group) is None:
            return  # what it was told was too large for the last of its subscribers
        if group.too_large:
            self.end_outgrown(group)
        elif self.rereads.home(group) is None:
            self.holdings.note(group)
        if self.walls.trials.failing and group.live:
            self.walls.trials.passed(group)

    def _look_again(self, group: EventGroup) -> None:
        members = self._roster.members(group)
        if members is None:
            return
        if members.task is not None:
            members.task.cancel()
        self.start(group)

    def _refuse(self, refused: Refused) -> None:
        members = self._roster.members(refused.group)
        position = format_position(self._progress.epoch, refused.after)
        for subscription in list(members.subscriptions) if members is not None else ():
            if subscription.live and subscription.owner.sink in refused.sinks:
                self._end(subscription, refused.error, position)

    def resync(self, group: QueryGroup, reason: str) -> None:
        """The group's documents can no longer be followed: read them again, and say so to those who saw them."""
        self.refills.afresh(group, reason)
        self.memberships.lost(group)

    # --------------------------------------------------------------------------------------------------------- endings

    def end_outgrown(self, group: QueryGroup) -> None:
        """It is larger than it may be: end everybody's subscription to it."""
        self.end_all(group, outgrown(group))

    def end_all(self, group: Group, error: ServiceError) -> None:
        """End everybody's subscription to a group, and the group."""
        self.rereads.fold(group)
        members = self._roster.members(group)
        if members is None:
            return
        position = group.position if group.reached(0) else self._progress.position
        for subscription in list(members.subscriptions):
            self._end(subscription, error, position)
        self.memberships.ended(group, error)
        self.close(group)

    async def shut(self) -> None:
        """Nobody comes any more: cancel what is being read, and wait for it to end."""
        self.lingering.close()
        self.teller.close()
        await self.tasks.close()


def _read_again(
    groups: Groups, progress: Progress, router: Router, roster: Roster, bounds: GroupBounds
) -> tuple[Refills, Memberships]:
    """What has groups read again, and the sets that are a reason for it."""
    refills = Refills(
        progress=progress,
        router=router,
        roster=roster,
        rereads=groups.rereads,
        holdings=groups.holdings,
        lingering=groups.lingering,
        start=groups.start,
        close_group=groups.close,
    )
    memberships = Memberships(
        groups, progress=progress, router=router, roster=roster, bounds=bounds, refill=refills.again
    )
    return refills, memberships
