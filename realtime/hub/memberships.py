"""What a changed set means to the groups whose rules ask for it.

A set is settled before any group of its batch is told. A live query whose set is another one goes the way of a window
without spares: it is read again, and one moment leads from what was told to what is. Events are judged by the set as it
was at each: the pipe cuts a batch at the moments that change one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from realtime import logs
from realtime.core.live import meaning
from realtime.core.live.event_group import EventGroup, Group, Turn
from realtime.core.live.events import DOCUMENT_OPS, Batch, ChangeEvent
from realtime.core.live.members import Values, common, same
from realtime.core.live.moments import Settled, Touch, opened, settle
from realtime.core.live.query import GroupBounds, Phase, QueryGroup
from realtime.core.live.router import Router
from realtime.errors import ServiceError, TooLargeError, UnavailableError
from realtime.hub.outcomes import Ended, Failed, Outcome, Unsettled
from realtime.hub.progress import Progress
from realtime.hub.roster import Roster
from realtime.hub.sets import Keeper, Set, Sets

log = logging.getLogger("realtime.hub")

Images = Mapping[str, dict[str, Any] | None]
RETRY_AFTER_SECONDS = 1.0


@dataclass(slots=True)
class _Narrow:
    """What an events group's sets had before and have now, by their keys, while a batch is settled."""

    first: int
    last: int
    both: dict[bytes, Sequence[Any] | None] = field(default_factory=dict)


class Memberships:
    """Synchronous: it says what is to be, or does it where no batch is being told."""

    def __init__(
        self,
        keeper: Keeper,
        *,
        progress: Progress,
        router: Router,
        roster: Roster,
        bounds: GroupBounds,
        refill: Callable[[QueryGroup], None],
    ) -> None:
        """`refill` reads a group again while its subscribers keep their view."""
        self.sets = Sets(keeper, progress=progress, router=router, roster=roster, bounds=bounds)
        self._keeper = keeper
        self._progress = progress
        self._router = router
        self._refill = refill
        self._narrow: dict[EventGroup, _Narrow] = {}

    # ---------------------------------------------------------------------------------------- what becomes of its group

    def went_live(self, group: QueryGroup) -> None:
        """It was read: where it follows a set, whoever waits for that goes on."""
        one = self.sets.followed_by(group)
        if one is None or not isinstance(group.result, Values):
            return
        self._keeper.holdings.note(group)
        if self.sets.followed_by(group) is not one:
            return  # there was no room for it
        if one.known:
            self._change_now(one, group.result.values)
            return
        one.known = True
        one.take(group.result.values, self._progress.time, changed=False)
        one.answered.set()

    def lost(self, group: Group) -> None:
        """It is read again from nothing: where it follows a set, nobody is told anything by that until then."""
        one = self.sets.followed_by(group)
        if one is not None and one.known:
            one.answered.clear()
            self._unknown(one)

    def ended(self, group: Group, error: ServiceError) -> None:
        """Where it follows a set: that is too large, and has no values then, or it is not known."""
        one = self.sets.let_go(group)
        if one is None:
            return
        if isinstance(error, TooLargeError):
            if one.known:
                self._change_now(one, None)
            else:
                one.known = True
                one.take(None, self._progress.time, changed=False)
            self.sets.later(one)
        else:
            log.error(
                "a set that rules take from %s cannot be read: %s", one.asked.collection, error, extra=logs.RETRIED
            )
            one.error = UnavailableError(
                "what decides about this cannot be read just now", retry_after=RETRY_AFTER_SECONDS
            )
            if one.known:
                self._unknown(one)
        one.answered.set()

    def _unknown(self, one: Set) -> None:
        one.known = False
        for group in list(one.dependents):
            if isinstance(group, QueryGroup):
                self._refill(group)
            elif group.live:
                error = UnavailableError("what decides about these events is not known just now: resume")
                self._keeper.end_all(group, error)

    # ------------------------------------------------------------------------------------------------------- the batch

    def settle(self, settled: Settled, images: Mapping[str, Images | None]) -> Iterator[Outcome]:
        """Bring the sets to the end of a batch, before anybody is told of it. An outcome is acted on before the next.

        To whom a changed set concerns nothing of the old state is told any more.
        """
        for collection in self.sets.collections.keys() & settled.touches.keys():
            touches = settled.touches[collection].values()
            found = images.get(collection) or {}
            routes = self._router.routes(collection, touches, found)
            waiting = [(group, touches) for group in self._router.unsettled(collection)]
            for group, concerned in (*waiting, *routes.items()):
                if self.sets.followed_by(group) is not None:
                    yield from self._apply(group, settled, found, concerned)
        self._turn()

    def _apply(
        self, group: QueryGroup, settled: Settled, images: Images, touches: Collection[Touch]
    ) -> Iterator[Outcome]:
        before = group.time
        try:
            if group.phase is Phase.LOADING:
                group.collect(settled)
                return
            group.apply(settled, images, touches)
        except Exception as error:
            yield Failed(group, error)
            return
        if not group.live or not isinstance(group.result, Values):
            return
        if group.too_large:
            yield Ended(group, TooLargeError("a set is larger than is followed"))
            return
        self._keeper.holdings.note(group)
        one = self.sets.followed_by(group)
        if one is None:
            return  # there was no room for it
        touched = {touch.identity for touch in touches}
        events = settled.events.get(group.query.collection, ())
        times = [event.time for event in events if event.identity in touched and event.time > before]
        first, last = (min(times), max(times)) if times else (settled.time, settled.time)
        yield from self._changed(one, group.result.values, first, last)

    def _changed(self, one: Set, values: Sequence[Any] | None, first: int, last: int) -> Iterator[Outcome]:
        """It has these values since `last`, and had others before `first`, if it changed at all."""
        if same(one.values, values):
            return
        before = one.values
        one.take(values, last, changed=True)
        for group in list(one.dependents):
            if isinstance(group, EventGroup):
                narrow = self._narrow.setdefault(group, _Narrow(first, last))
                narrow.first, narrow.last = min(narrow.first, first), max(narrow.last, last)
                narrow.both[one.asked.key] = common(before, values)
            else:
                yield Unsettled(group)

    def _turn(self) -> None:
        """Events are judged by what is known now; those before by what was and is."""
        turning, self._narrow = self._narrow, {}
        for group, narrow in turning.items():
            found = self.sets.found(group.query)
            both = meaning.filled(group.query, {**found, **narrow.both}).sight
            if both is not None:
                group.turn(meaning.filled(group.query, found), Turn(narrow.first, narrow.last, both))

    def _change_now(self, one: Set, values: Sequence[Any] | None) -> None:
        """Between two batches, or where the rest of one is not told to whom it concerns."""
        time = self._progress.time
        for outcome in self._changed(one, values, time, time):
            if isinstance(outcome, Unsettled):
                self._refill(outcome.group)
        self._turn()

    # -------------------------------------------------------------------------------------------------------- the pipe

    def together(self, batch: Batch, most: int) -> int:
        """How many of the first events of a batch may be told as one, of `most`.

        A moment that may change a set by which events are judged begins another batch.
        """
        names, events = self.sets.hearing, batch.events
        if not names:
            return most
        for at, event in enumerate(events[:most]):
            if event.time != events[0].time and event.collection in names and self._may_change(event):
                return next(first for first in range(at + 1) if events[first].time == event.time)
        return most

    def _may_change(self, event: ChangeEvent) -> bool:
        if event.op not in DOCUMENT_OPS:
            return True
        name = event.collection
        touches = settle(opened(Batch((event,), event.time), lambda _: True)).touches[name].values()
        if any(not touch.exact and self._router.needs(name, touch) for touch in touches):
            return True
        return any(self.sets.followed_by(group) is not None for group in self._router.routes(name, touches, {}))
