"""Where the feed, the query groups and the subscriptions meet.

`plan`, `dispatch`, `attach` and `detach` have no await in them: nothing is read from shared state and changed after a
wait. A query group waits for MongoDB in a task of its own and holds back nobody else's frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from realtime import metrics
from realtime.core.connection.outbox import Part
from realtime.core.live.events import Batch, format_position
from realtime.core.live.journal import Entry
from realtime.core.live.moments import Settled, Touch, settle
from realtime.core.live.query import EventGroup, Group, GroupBounds, Phase, Query, QueryGroup
from realtime.core.live.router import Router
from realtime.core.wire import protocol
from realtime.errors import HistoryLostError, ServiceError
from realtime.hub.history import History
from realtime.hub.holdings import Holdings
from realtime.hub.loading import Loader, outgrown
from realtime.hub.pacing import Pacer
from realtime.hub.rereads import Rereads
from realtime.hub.resume import Resumer
from realtime.hub.roster import Fence, Owner, Roster, Subscription, farewell
from realtime.hub.slow import SlowConsumers
from realtime.ports import SnapshotReader

Images = dict[str, dict[str, Any] | None]


@dataclass(slots=True)
class Plan:
    """A batch, settled, and the keys that have to be read at its time."""

    settled: Settled
    reads: dict[str, dict[str, Touch]]


class Hub:
    """Groups, subscriptions and the time up to which everything has been dispatched."""

    def __init__(self, reader: SnapshotReader, history: History, *, epoch: str, time: int, bounds: GroupBounds) -> None:
        self.reader = reader
        self.history = history
        self.epoch = epoch
        self.bounds = bounds
        self.time = time
        self.planned = time
        self.router = Router()
        self.roster = Roster()
        self._resumer = Resumer(self)
        self.slow = SlowConsumers(self)
        self._loader = Loader(self)
        self._holdings = Holdings(self)
        self._rereads = Rereads(self)
        self._pacer = Pacer(lambda group: self.between_batches(lambda: self._tell(group)))
        self._in_pipe = False
        self._between: list[Callable[[], None]] = []
        self._after_dispatch: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def position(self) -> str:
        """Everything at or before has been dispatched."""
        return format_position(self.epoch, self.time)

    # ------------------------------------------------------------------------------------------------------ the pipe

    def plan(self, batch: Batch) -> Plan:
        """What a batch did, and which documents have to be read at its time."""
        self._in_pipe = True
        self.planned = batch.time
        settled = settle(batch)
        reads: dict[str, dict[str, Touch]] = {}
        for collection, touches in settled.touches.items():
            if settled.was_replaced(collection):
                continue
            wanted = self._wanted(collection, touches)
            if wanted:
                reads[collection] = wanted
        return Plan(settled, reads)

    def _wanted(self, collection: str, touches: dict[str, Touch]) -> dict[str, Touch]:
        inexact = [touch for touch in touches.values() if not touch.exact]
        if not inexact:
            return {}
        everything = any(group.live and group.hears_updates(collection) for group in self.router.hearing((collection,)))
        return {touch.identity: touch for touch in inexact if everything or self.router.needs(collection, touch)}

    def dispatch(self, plan: Plan, images: dict[str, Images | None]) -> None:
        """Tell every group, encode once for each, and hand the same bytes to every sink."""
        settled = plan.settled
        self._replace(settled, images)
        for collection in settled.touches:
            self._dispatch_changes(collection, settled, images.get(collection) or {})
        self._dispatch_events(settled, {name: found or {} for name, found in images.items()})
        self.time = settled.time
        self.history.append(Entry(settled, {name: found for name, found in images.items() if found is not None}))
        metrics.EVENTS.inc(len(settled.order))
        self.roster.release(self.time)
        self._in_pipe = False
        waiting = [*self._between, *self._after_dispatch]
        self._between, self._after_dispatch = [], []
        for action in waiting:
            action()

    def _replace(self, settled: Settled, images: dict[str, Images | None]) -> None:
        """Read groups again whose documents cannot be followed through this batch."""
        if settled.lost:
            for events in self.router.event_groups():
                self.end_all(events, HistoryLostError("events were lost between MongoDB and the service"))
        everywhere = settled.lost or settled.all_replaced
        for collection in self.router.collections() if everywhere else settled.replaced:
            self._resync_all(collection, "history_lost" if settled.lost else "collection_replaced")
        for collection, found in images.items():
            if found is None and not everywhere and collection not in settled.replaced:
                self._resync_all(collection, "image_unavailable")

    def _resync_all(self, collection: str, reason: str) -> None:
        for group in self.router.query_groups(collection):
            self._resync(group, reason)

    def _dispatch_changes(self, collection: str, settled: Settled, images: Images) -> None:
        """Tell the groups that are on their way of everything, and the live ones of what may concern them."""
        touches = settled.touches[collection].values()
        routes = self.router.routes(collection, touches, images)
        for group in self.router.unsettled(collection):
            if group.phase is Phase.LOADING:
                group.collect(settled)
            else:
                self._apply(group, settled, images, touches)
        metrics.EVALUATIONS.inc(sum(map(len, routes.values())))
        for group, concerned in routes.items():
            self._apply(group, settled, images, concerned)

    def _apply(self, group: QueryGroup, settled: Settled, images: Images, touches: Iterable[Touch]) -> None:
        if self.roster.members(group) is None:
            return  # it had to make room for another one of this batch
        if group.live:
            group.advance(self.time)
        try:
            changes = group.apply(settled, images, touches)
        except ServiceError as error:
            # A document that MongoDB would refuse to sort: its `find` fails from here on.
            self.end_all(group, error)
            return
        if not group.live:
            return
        if group.short:
            self._refill(group)
            return
        if group.query.throttle:
            self._tell(group)
        elif changes:
            self._publish(group, "changes", changes)
        if group.too_large:
            self.end_outgrown(group)
        elif self._rereads.home(group) is None:
            self._holdings.note(group)

    def _refill(self, group: QueryGroup) -> None:
        """A window has run out of spares: its subscribers keep their view until it is read again."""
        if self._holdings.idle(group):
            self.close_group(group)
            return
        metrics.UNDERFLOWS.inc()
        self.router.unsettle(group)
        group.reload()
        self._holdings.starts_again(group)
        self.start(group)

    def _tell(self, group: QueryGroup) -> None:
        """One moment of everything since the last, unless it has to wait or is none."""
        if not group.live or group.short or not group.pending:
            return
        if group.query.throttle and not self._pacer.may(group, group.query.throttle):
            return
        changes = group.changes()
        if changes and group.query.throttle:
            self._pacer.told(group)
        if changes:
            self._publish(group, "changes", changes)
        self.roster.release(self.time)

    def _dispatch_events(self, settled: Settled, images: dict[str, Images]) -> None:
        collections = {*settled.events, *settled.replaced}
        everybody = settled.all_replaced
        for group in self.router.event_groups() if everybody else self.router.hearing(collections):
            if group.live:
                group.advance(self.time)
                after = group.time
                entries = group.apply(settled, images)
                if entries:
                    self._publish(group, "events", entries, after=after)

    def _publish(
        self, group: Group, kind: Literal["changes", "events"], entries: list[bytes], *, after: int = 0
    ) -> None:
        members = self.roster.members(group)
        if members is None or not members.sinks:
            return
        target = protocol.channel_target(group.channel)
        sinks = members.sinks  # as they are now: one that takes too little leaves in the middle
        part = Part(group.channel, after, first=True)
        for frame in protocol.moment_frames(kind, target, entries, group.position, self.bounds.frame_bytes):
            metrics.ENCODED.inc()
            for sink in sinks:
                sink.send(frame, part)
            if part.first:
                part = Part(group.channel, after, first=False)
        metrics.DELIVERED.inc(len(sinks) * len(entries))

    # -------------------------------------------------------------------------------------------- attach and detach

    def attach(self, subscription: Subscription) -> None:
        """Take a subscription in. `subscribed` or `error` follows, at once where the group is live."""
        group = self.router.find(subscription.query) or self._open(subscription.query)
        self._holdings.taken(group)
        members = self.roster.join(subscription, group)
        metrics.SUBSCRIPTIONS.set(self.roster.count)
        if group.live:
            self.welcome(group, subscription)
        elif members.task is None:
            self.start(group)

    def detach(self, owner: Owner, subscription_id: str) -> None:
        """Let a subscription go; its group goes some time after the last one."""
        subscription = self.roster.find(owner, subscription_id)
        if subscription is not None:
            self._leave(subscription)

    def drop(self, owner: Owner) -> None:
        """The connection is gone, and everything of it."""
        for subscription in self.roster.of(owner):
            self._leave(subscription)
        self.roster.forget(owner)

    def _open(self, query: Query) -> Group:
        channel = self.router.next_channel()
        group: Group
        if query.mode == "query":
            group = QueryGroup(query, channel, self.epoch, self.bounds)
        else:
            group = EventGroup(query, channel, self.epoch)
        self.router.add(group)
        self.roster.open(group)
        metrics.GROUPS.set(len(self.router))
        return group

    def _leave(self, subscription: Subscription) -> None:
        empty = self.roster.leave(subscription)
        if empty is not None:
            self._emptied(empty)
        metrics.SUBSCRIPTIONS.set(self.roster.count)

    def _emptied(self, group: Group) -> None:
        if self._rereads.home(group) is not None:
            self._rereads.over(group)
        elif not self._rereads.has(group) and not self._holdings.stays(group):
            self.close_group(group)

    def close_group(self, group: Group) -> None:
        """Nobody is left in it: route to it no longer, and read nothing for it."""
        if self.roster.members(group) is None:
            return
        self.router.remove(group)
        self._pacer.forget(group)
        if isinstance(group, QueryGroup):
            self._holdings.forget(group)
        members = self.roster.close(group)
        if members.task is not None:
            members.task.cancel()
        metrics.GROUPS.set(len(self.router))

    def welcome(self, group: Group, subscription: Subscription) -> None:
        """Bring one subscription to live: from its position where it has one, else from what the group holds."""
        if isinstance(group, QueryGroup) and not group.keeps:
            self._rereads.join(group, subscription)
            return
        # A live group is exact at every time dispatched, also where nothing concerned it.
        group.advance(self.time)
        if subscription.after is not None and not subscription.accepted:
            after, subscription.after = subscription.after, None
            self._spawn(self._resumer.resume(group, subscription, after))
            return
        if not subscription.accepted:
            self.accept(group, subscription, recovered=False)
        if isinstance(group, QueryGroup):
            frames = protocol.snapshot_frames(subscription.id, group.runs(), group.position)
            subscription.owner.sink.send_run(frames)
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

    def listen(self, group: Group, subscription: Subscription) -> None:
        """Say `live`; from now on the subscription hears the channel."""
        reader, home = group, self._rereads.home(group)
        if home is not None:
            self.roster.move(subscription, home)
            group = home
        members = self.roster.members(group)
        if members is not None:
            group.advance(self.time)
            subscription.owner.sink.send(protocol.Live(id=subscription.id, position=group.position).encode())
            self.roster.unmute(subscription, members)
        if home is not None and not self.roster.has(reader):
            self._rereads.over(reader)

    # ------------------------------------------------------------------------------------------------ towards live

    def start(self, group: Group) -> None:
        """Bring a group to live, in a task of its own."""
        members = self.roster.members(group)
        if members is None:
            return
        members.task = self._spawn(self._loader.bring_up(group))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of the hub's own; `close` ends and awaits it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def go_live(self, group: Group) -> None:
        """What it needed has been read: bring those who wait to live."""
        members = self.roster.members(group)
        if members is None:
            return
        if isinstance(group, EventGroup):
            group.live, group.time = True, self.time
        else:
            self.router.settle(group)
            self._tell(group)
            self.roster.release(self.time)
        members.task = None
        reads_for_another = self._rereads.home(group) is not None
        for subscription in list(members.subscriptions):
            if not (subscription.live or subscription.lapsed) and subscription.group is group:
                self.welcome(group, subscription)
        if isinstance(group, QueryGroup) and not reads_for_another:
            self._holdings.note(group)

    def between_batches(self, action: Callable[[], None]) -> None:
        """Now, or right after the batch that is in the pipe: it was planned without knowing of this."""
        if self._in_pipe:
            self._between.append(action)
        else:
            action()

    async def reached(self, time: int) -> None:
        """Until everything at or before `time` has been dispatched."""
        while self.time < time:
            dispatched = asyncio.Event()
            self._after_dispatch.append(dispatched.set)
            await dispatched.wait()

    async def before_live(self, group: QueryGroup) -> None:
        """A reader waits until its home is where it is: whoever goes from one to the other must not go back."""
        home = self._rereads.home(group)
        if home is not None:
            await self.reached(max(group.time, home.time))

    async def idle(self) -> None:
        """Until no batch is in the pipe; the caller goes on before the next one is planned."""
        while self._in_pipe:
            free = asyncio.Event()
            self._between.append(free.set)
            await free.wait()

    def _resync(self, group: QueryGroup, reason: str) -> None:
        """The group's documents can no longer be followed: read them again, and say so to those who saw them."""
        # Those who wait for its snapshot wait for the new one.
        self._rereads.fold(group)
        members = self.roster.members(group)
        if members is None:
            return
        if self._holdings.idle(group):
            self.close_group(group)
            return
        metrics.RESYNCS.labels(reason).inc()
        for subscription in members.subscriptions:
            if subscription.live or subscription.lapsed:
                self.roster.mute(subscription, members)
                subscription.lapsed = False
                subscription.owner.sink.send(protocol.Resync(id=subscription.id, reason=reason).encode())
        self.router.unsettle(group)
        group.restart()
        self._holdings.starts_again(group)
        if members.task is not None:
            members.task.cancel()
        self.start(group)

    # ------------------------------------------------------------------------------------------------------- endings

    def end_outgrown(self, group: QueryGroup) -> None:
        """It is larger than it may be: end everybody's subscription to it."""
        self.end_all(group, outgrown(group))

    def end_all(self, group: Group, error: ServiceError) -> None:
        """End everybody's subscription to a group, and the group."""
        self._rereads.fold(group)
        members = self.roster.members(group)
        if members is None:
            return
        position = group.position if group.reached(0) else self.position
        for subscription in list(members.subscriptions):
            self.end(subscription, error, position)
        self.close_group(group)

    def end(self, subscription: Subscription, error: ServiceError, position: str) -> None:
        """End a subscription by the service."""
        owner = subscription.owner
        self._leave(subscription)
        owner.subscription_ended(subscription.id)
        owner.sink.send(farewell(subscription, error, position))

    async def close(self) -> None:
        """Cancel what is being read and wait for it to end."""
        self._holdings.close()
        self._pacer.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.history.close()

    # ------------------------------------------------------------------------------------------ heartbeat and fence

    def heartbeat(self, owners: Iterable[Owner]) -> None:
        """One position for every live subscription; those that it does not hold for are named."""
        plain = protocol.Heartbeat(position=self.position).encode()
        for owner in owners:
            mine = self.roster.of(owner)
            other = [one.id for one in mine if one.lapsed or not one.at(self.time)]
            owner.sink.send(protocol.Heartbeat(position=self.position, behind=other).encode() if other else plain)

    def fence(self, owner: Owner, time: int, done: Callable[[], None]) -> Callable[[], None]:
        """Call `done` once the owner's live subscriptions are at or after `time`; returns how to give up."""
        fence = Fence(owner, time, done)
        if self.roster.passed(fence, self.time):
            done()
            return lambda: None
        return self.roster.wait(fence)
