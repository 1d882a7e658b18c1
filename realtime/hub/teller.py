"""What a batch means to every group, told: decided and encoded once for each group, the same bytes to every sink."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from realtime import metrics
from realtime.bugs import break_off, bug
from realtime.core.connection import cutting
from realtime.core.connection.outbox import Part
from realtime.core.live.event_group import EventGroup, Group
from realtime.core.live.moments import Settled, Touch
from realtime.core.live.query import Phase, QueryGroup
from realtime.core.live.router import Router
from realtime.core.live.stepping import EVERY
from realtime.core.wire import protocol
from realtime.errors import HistoryLostError, ServiceError, TooLargeError
from realtime.hub.late import Late
from realtime.hub.memberships import Memberships
from realtime.hub.outcomes import Ended, Failed, Outcome, Refused, Remade, Short, Stale, Told
from realtime.hub.pacing import Pacer
from realtime.hub.passing import Passing
from realtime.hub.progress import Progress
from realtime.hub.roster import Roster
from realtime.ports import Sink

Images = dict[str, dict[str, Any] | None]
"""Documents by identity at the batch's time; None: gone."""


class Teller:
    """Tells groups of batches. Nothing in here has an await, or starts or ends anything: outcomes say what is to be."""

    def __init__(
        self,
        *,
        progress: Progress,
        router: Router,
        roster: Roster,
        pacer: Pacer,
        late: Late,
        memberships: Memberships,
        frame_bytes: int,
    ) -> None:
        self._progress = progress
        self._router = router
        self._roster = roster
        self._pacer = pacer
        self.late = late
        self.passing = Passing()
        self._memberships = memberships
        self._frame_bytes = frame_bytes

    def close(self) -> None:
        """Nobody is told any more."""
        for part in (self._pacer, self.late, self._memberships.sets):
            part.close()

    def forget(self, group: Group) -> None:
        """The group is gone."""
        self._pacer.forget(group)
        self.passing.forget(group)

    def everybody(self, settled: Settled, images: dict[str, Images | None]) -> Iterator[Outcome]:
        """Tell everybody of a batch; an outcome is acted on before the next one is asked for."""
        yield from self._memberships.settle(settled, images)
        yield from self._replace(settled, images)
        for collection in settled.touches:
            yield from self._tell_queries(collection, settled, images.get(collection) or {})
        for due in self.passing.due(settled.time):
            if due.live:
                yield from self._apply(due, settled, {}, ())
        yield from self._tell_events(settled, {name: found or {} for name, found in images.items()})
        for group in self._router.hearing(settled.remade):
            if group.query.collections is not None and settled.remade & group.query.collections:
                yield Remade(group)
        yield from self.late.slice(self.tell)

    def _replace(self, settled: Settled, images: dict[str, Images | None]) -> Iterator[Outcome]:
        """Read groups again whose documents cannot be followed through this batch."""
        if settled.lost:
            for events in self._router.event_groups():
                yield Ended(events, HistoryLostError("events were lost between MongoDB and the service"))
        everywhere = settled.lost or settled.all_replaced
        for collection in self._router.collections() if everywhere else settled.replaced:
            yield from self._stale(collection, settled, "history_lost" if settled.lost else "collection_replaced")
        for collection, found in images.items():
            if found is None and not everywhere and collection not in settled.replaced:
                yield from self._stale(collection, settled, "image_unavailable")
        if settled.stepped_over:
            yield from self._step_over(settled)

    def _step_over(self, settled: Settled) -> Iterator[Outcome]:
        """Something happened that cannot be told, by a bug or its size: it concerns its collections alone."""
        metrics.STEPPED_OVER.inc()
        router, names = self._router, settled.stepped_over
        for group in router.event_groups() if EVERY in names else router.hearing(names):
            # Of a collection that is hidden nothing is told, not even that.
            if group.query.sight is None or EVERY in names or any(map(group.query.covers, names)):
                yield Ended(group, HistoryLostError("a change could not be told: too large, or a bug"))
        for collection in filter(settled.was_stepped_over, router.collections()):
            yield from self._stale(collection, settled, settled.reason_for(collection))

    def _stale(self, collection: str, settled: Settled, reason: str) -> Iterator[Outcome]:
        for group in self._router.query_groups(collection):
            # One that is ahead has been read since, or had been told when the pipe began again.
            if not group.live or group.told < settled.time:
                yield Stale(group, reason)

    def _tell_queries(self, collection: str, settled: Settled, images: Images) -> Iterator[Outcome]:
        """Tell the groups that are on their way of everything, and the live ones of what may concern them."""
        touches = settled.touches[collection].values()
        routes = self._routes(collection, touches, images)
        for group in self._router.unsettled(collection):
            yield from self._collect(group, settled, images, touches)
        metrics.EVALUATIONS.inc(sum(map(len, routes.values())))
        for group, concerned in routes.items():
            yield from self._apply(group, settled, images, concerned)

    def _collect(
        self, group: QueryGroup, settled: Settled, images: Images, touches: Collection[Touch]
    ) -> Iterable[Outcome]:
        if group.phase is not Phase.LOADING:
            return self._apply(group, settled, images, touches)
        try:
            group.collect(settled)
        except Exception as error:
            return (Failed(group, error),)
        return ()

    def _routes(
        self, collection: str, touches: Collection[Touch], images: Images
    ) -> Mapping[QueryGroup, Collection[Touch]]:
        try:
            return self._router.routes(collection, touches, images)
        except Exception as error:
            # Nobody can be found by what it holds and demands: everybody is asked, which is slower and never wrong.
            bug("routing", error)
            return {group: touches for group in self._router.query_groups(collection) if group.live}

    def _apply(
        self, group: QueryGroup, settled: Settled, images: Images, touches: Iterable[Touch]
    ) -> Iterable[Outcome]:
        if self._roster.members(group) is None or group.query.members is not None:
            return ()  # it had to make room for another one of this batch, or was settled before everybody
        refused: Sequence[Outcome] = ()
        try:
            if group.live:
                group.advance(self._progress.time)
            if self._waits(group):
                group.defer(settled, images, touches)
                return self.late.add(group)
            before = group.told
            try:
                changes = group.apply(settled, images, touches)
            except ServiceError as error:
                # A document that MongoDB cannot sort, or of which an expression has no value: `find` fails as well.
                return (Ended(group, error),)
            if not group.live:
                return ()
            if group.short:
                return (Short(group),)
            self.passing.note(group)
            if group.query.throttle:
                refused = self.tell(group)
            elif changes:
                refused = self._publish(group, "changes", changes, after=before)
        except Exception as error:
            return (Failed(group, error),)
        return (*refused, Told(group))

    def _waits(self, group: QueryGroup) -> bool:
        """Whether it is judged after everybody else; one that keeps nothing has no other view than the newest."""
        if group.late:
            return True
        # One that reads for another is about to be that one.
        return group.query.computes and group.live and group.keeps and self._router.find(group.query) is group

    def tell(self, group: QueryGroup) -> Sequence[Outcome]:
        """One moment of everything since the last, unless it has to wait or is none."""
        if group.live:
            self.passing.note(group)
        if not group.live or group.short or group.late or not group.pending:
            return ()
        if group.query.throttle and not self._pacer.may(group, group.query.throttle):
            return ()
        refused: Sequence[Outcome] = ()
        before = group.told
        try:
            changes = group.changes()
        except ServiceError as error:
            # An expression has no value of a row: `aggregate` fails as well.
            return (Ended(group, error),)
        if changes:
            refused = self._publish(group, "changes", changes, after=before)
            if group.query.throttle:
                self._pacer.told(group)  # counted from when it was sent: what sending takes makes no two come closer
        self._roster.release(self._progress.time)
        return refused

    def _tell_events(self, settled: Settled, images: dict[str, Images]) -> Iterator[Outcome]:
        collections = {*settled.events, *settled.replaced}
        everybody = settled.all_replaced
        for group in self._router.event_groups() if everybody else self._router.hearing(collections):
            if not group.live:
                continue
            group.advance(self._progress.time)
            after = group.time
            try:
                refused = self._tell_group(group, settled, images, after)
            except ServiceError as error:
                # An expression has no value of a document: it ends before that, and would end there again.
                group.time = after
                refused = (Ended(group, error),)
            except Exception as error:
                refused = self._again(group, settled, images, after, error)
            yield from refused

    def _tell_group(
        self, group: EventGroup, settled: Settled, images: dict[str, Images], after: int
    ) -> Sequence[Outcome]:
        entries = group.apply(settled, images)
        return self._publish(group, "events", entries, after=after) if entries else ()

    def _again(
        self, group: EventGroup, settled: Settled, images: dict[str, Images], after: int, error: Exception
    ) -> Sequence[Outcome]:
        """The group was told nothing of this batch: once more, or it ends before it, where it can be resumed."""
        bug("query group", error)
        group.time = after
        try:
            return self._tell_group(group, settled, images, after)
        except Exception as twice:
            group.time = after
            return (Failed(group, twice),)

    def _publish(
        self, group: Group, kind: Literal["changes", "events"], entries: list[bytes], *, after: int
    ) -> Sequence[Outcome]:
        members = self._roster.members(group)
        if members is None or not (members.sinks or members.narrow):
            return ()
        target = protocol.channel_target(group.channel)
        # As they are now: one that takes too little leaves in the middle.
        sinks, narrow = members.sinks, members.narrow
        # All of them before the first is sent: what is raised in here leaves nobody with half a moment, or a whole one.
        size = self._frame_bytes
        frames = list(protocol.moment_frames(kind, target, entries, group.position, size))
        largest = max(map(len, frames))
        if largest > size:
            # One entry is that large: not everybody says that they take it.
            narrow += tuple(one for one in sinks if one.max_frame is not None and one.max_frame < largest)
            sinks = tuple(one for one in sinks if one not in narrow)
        made: list[tuple[Collection[Sink], list[bytes]]] = [(sinks, frames)] if sinks else []
        refused: list[Outcome] = []
        by_bound: dict[int | None, list[Sink]] = {}
        for sink in narrow:
            by_bound.setdefault(sink.max_frame, []).append(sink)
        for most, alike in by_bound.items():
            try:
                made.append((alike, list(cutting.moment(kind, target, entries, group.position, size, most))))
            except TooLargeError as error:
                refused.append(Refused(group, alike, error, after))
        for some, frames in made:
            self._hand(group, frames, some, len(entries), after)
        return refused

    def _hand(self, group: Group, frames: list[bytes], sinks: Collection[Sink], entries: int, after: int) -> None:
        """The frames of one moment to everybody who takes them; what that raises ends one connection."""
        part = Part(group.channel, after, first=True)
        metrics.DELIVERED.inc(len(sinks) * entries)
        metrics.ENCODED.inc(len(frames))
        for frame in frames:
            for sink in sinks:
                try:
                    sink.send(frame, part)
                except Exception as error:
                    break_off(sink, error)
            if part.first:
                part = Part(group.channel, after, first=False)
