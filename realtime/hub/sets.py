"""Sets that rules take from other collections: a live query of the service's own for each, however many ask for it.

Whoever asks waits until all of its sets are known. One that nobody asks for any more is followed for a while, so that
who comes back finds it as it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from realtime.core.live import meaning
from realtime.core.live.event_group import EventGroup, Group
from realtime.core.live.journal import Journal
from realtime.core.live.leaves import unheld
from realtime.core.live.query import GroupBounds, Query, QueryGroup
from realtime.core.live.router import Router
from realtime.core.mql.filters import UNBOUNDED, compile_filter
from realtime.core.mql.membership import Found, Members
from realtime.core.mql.projection import EVERYTHING
from realtime.errors import ServiceError
from realtime.hub.dialects import Dialects
from realtime.hub.holdings import Holdings
from realtime.hub.progress import Progress
from realtime.hub.roster import Roster

log = logging.getLogger("realtime.hub")

AGAIN_SECONDS = 5.0
"""After how long a set is read again that was too large to be followed."""
FOLLOWED = 10
"""So many times the documents that a set may have are followed, so that it is known when they are few enough again."""


class Keeper(Protocol):
    """All groups of the process."""

    dialects: Dialects
    holdings: Holdings

    def start(self, group: Group, *, few: bool = False) -> None: ...

    def close(self, group: Group) -> None: ...

    def end_all(self, group: Group, error: ServiceError) -> None: ...


@dataclass(eq=False, slots=True)
class Set:
    """One set: who asks for it, the group that follows it, and its values since a time, or longer.

    `changed`: that is when they changed, and not when they were read.
    """

    asked: Members
    dependents: dict[Group, None] = field(default_factory=dict)
    group: QueryGroup | None = None
    known: bool = False
    values: Sequence[Any] | None = None
    since: int = 0
    changed: bool = False
    error: ServiceError | None = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    timer: asyncio.TimerHandle | None = None

    def take(self, values: Sequence[Any] | None, since: int, *, changed: bool) -> None:
        """It has these values from now on; None: more than it may, and what asks for it is false."""
        self.values, self.since, self.changed = values, since, changed
        if values is None:
            log.warning(
                "a set that rules take from %s has more than %d values or documents: what asks for it is false (%s)",
                self.asked.collection,
                self.asked.most,
                self.asked.selection,
            )


class Sets:
    """All that are followed. Synchronous but for `ready`."""

    def __init__(
        self, keeper: Keeper, *, progress: Progress, router: Router, roster: Roster, bounds: GroupBounds
    ) -> None:
        self._keeper = keeper
        self._progress = progress
        self._router = router
        self._roster = roster
        self._bounds = bounds
        self._sets: dict[bytes, Set] = {}
        self._followed: dict[Group, Set] = {}
        self._closed = False
        self.collections: Counter[str] = Counter()
        """Those that sets are followed in."""
        self.hearing: Counter[str] = Counter()
        """Those among them by whose sets events are judged."""

    def __len__(self) -> int:
        return len(self._sets)

    def followed_by(self, group: Group) -> Set | None:
        """The set that this group follows, if it follows one."""
        return self._followed.get(group)

    def opened(self, group: Group) -> None:
        """Its sets are followed from now on."""
        for asked in group.query.sets:
            one = self._of(asked)
            one.dependents[group] = None
            if isinstance(group, EventGroup):
                self.hearing[asked.collection] += 1
            _stop_timer(one)
            if one.group is None:
                self.later(one) if one.known else self._begin(one)

    def closed(self, group: Group) -> None:
        """It is gone: a set that nobody asks for any more goes some time after."""
        self.let_go(group)
        for asked in group.query.sets:
            one = self._sets.get(asked.key)
            if one is None or group not in one.dependents:
                continue  # it reads for another one
            del one.dependents[group]
            if isinstance(group, EventGroup):
                _less(self.hearing, asked.collection)
            if not one.dependents:
                _stop_timer(one)
                one.timer = asyncio.get_running_loop().call_later(self._bounds.linger_seconds, self._forget, one)

    def let_go(self, group: Group) -> Set | None:
        """It follows nothing any more. The set that it followed."""
        one = self._followed.pop(group, None)
        if one is not None:
            _less(self.collections, one.asked.collection)
            one.group = None
        return one

    def close(self) -> None:
        """Nobody comes any more."""
        self._closed = True
        for one in self._sets.values():
            _stop_timer(one)

    def later(self, one: Set) -> None:
        """It was too large to be followed: it is looked at again, as long as somebody asks for it."""
        if not self._closed and one.dependents:
            _stop_timer(one)
            one.timer = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._look_again, one)

    def _of(self, asked: Members) -> Set:
        return self._sets.setdefault(asked.key, Set(asked))

    def _begin(self, one: Set) -> None:
        asked, size = one.asked, self._bounds.bytes
        one.error = None
        one.answered.clear()
        query = Query(
            mode="query",
            collections=frozenset({asked.collection}),
            filter=compile_filter(dict(asked.selection), UNBOUNDED),
            projection=EVERYTHING,
            operations=None,
            key=f"set {asked.key.hex()}",
            members=asked,
        )
        most = asked.most * FOLLOWED
        bounds = GroupBounds(most, size, self._bounds.frame_bytes, kept=most, all_bytes=size)
        spoken = self._keeper.dialects.spoken(query)
        one.group = group = QueryGroup(spoken, self._router.next_channel(), self._progress.epoch, bounds)
        self._followed[group] = one
        self.collections[asked.collection] += 1
        self._router.add(group)
        self._roster.open(group)
        self._keeper.start(group)

    def _forget(self, one: Set) -> None:
        one.timer = None
        if one.dependents or self._closed:
            return
        self._sets.pop(one.asked.key, None)
        if one.group is not None:
            self._keeper.close(one.group)

    def _look_again(self, one: Set) -> None:
        one.timer = None
        if one.dependents and one.group is None:
            self._begin(one)

    # ---------------------------------------------------------------------------------------------------------- wanted

    async def ready(self, group: Group) -> None:
        """Wait until everything is known that the group's rule asks for, and put it there.

        `UnavailableError` where it cannot be read.
        """
        asked = [self._of(one) for one in group.query.sets]
        while (waiting := next((one for one in asked if not one.known), None)) is not None:
            if waiting.group is None:
                self._begin(waiting)
            await waiting.answered.wait()
            if waiting.error is not None:
                raise waiting.error
        if not asked:
            return
        query = meaning.filled(group.query, self.found(group.query))
        if isinstance(group, QueryGroup):
            group.means(query)
        else:
            group.query = query

    def known(self, group: Group) -> bool:
        """Whether everything is known that the group's rule asks for."""
        found = [self._sets.get(asked.key) for asked in group.query.sets]
        return all(one is not None and one.known for one in found)

    def found(self, query: Query) -> Found:
        """The values of its sets, as far as they are known."""
        found = [self._sets[asked.key] for asked in query.sets if asked.key in self._sets]
        return {one.asked.key: one.values for one in found if one.known}

    # --------------------------------------------------------------------------------------------------------- history

    def since(self, group: Group, after: int, journal: Journal) -> int | None:
        """None where each set of the group's rule has been what it is since `after`; else since when they all have."""
        latest = max((self._since(asked, after, journal) for asked in group.query.sets), default=0)
        return latest if latest > after else None

    def _since(self, asked: Members, after: int, journal: Journal) -> int:
        one = self._sets.get(asked.key)
        if one is None:
            return self._progress.time  # whoever asked for it is gone, and it is not known any more
        if after < one.since and not one.changed and _was_the_same(one, after, journal):
            one.since = after
        return one.since


def _was_the_same(one: Set, after: int, journal: Journal) -> bool:
    """Whether what happened says that nothing of the set has since, although nobody followed it then."""
    entries, group, name = journal.after(after), one.group, one.asked.collection
    if entries is None or group is None or not group.live:
        return False
    if any(entry.settled.was_replaced(name) or entry.settled.was_stepped_over(name) for entry in entries):
        return False
    selection, held = group.query.filter, group.result.names()
    out = unheld(selection, entries, name, after)
    for entry in entries:
        for event in entry.whole(lambda collection: collection == name).settled.events.get(name, ()):
            if event.time <= after or event.identity is None or (event.identity in out and event.identity not in held):
                continue
            touched = frozenset((*event.updated, *event.removed))
            reads = selection.reads(touched) or group.result.reads(event.identity, touched)
            if event.op != "update" or event.identity not in held or reads:
                return False
    return True


def _stop_timer(one: Set) -> None:
    if one.timer is not None:
        one.timer.cancel()
        one.timer = None


def _less(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
