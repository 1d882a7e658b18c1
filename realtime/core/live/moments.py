"""Whole moments out of replies, and what a batch of them did to each document.

A reply of the change stream may end inside a transaction, whose events share one cluster time. `MomentAssembler` holds
back the last cluster time of a reply that may go on. `settle` folds a batch into one `Touch` a document: the
state at the batch's end, or that it has to be read at that time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from realtime.core.bson.keys import identity
from realtime.core.live.events import CAPPED, CREATE, DOCUMENT_OPS, Batch, ChangeEvent, whole
from realtime.core.live.stepping import EVERY, REASONS


class MomentAssembler:
    """Turns replies into batches of whole moments; `time` is what has been handed over, everything at or before it."""

    def __init__(self, time: int, held_bytes: int) -> None:
        self.time = time
        self.held: list[ChangeEvent] = []
        self.held_bytes = held_bytes
        self.held_size = 0
        self.lost_time: int | None = None

    @property
    def holding(self) -> bool:
        """Whether the end of a moment has still to be seen."""
        return bool(self.held) or self.lost_time is not None

    def reset(self) -> None:
        """Forget what is held: the stream opens again after `time` and sends it anew."""
        self.held, self.held_size, self.lost_time = [], 0, None

    def add(self, events: list[ChangeEvent], *, complete: bool, through: int) -> Batch | None:
        """Take one reply; `complete`: its last moment is whole. `through`: the time up to which it has looked.

        Returns the whole moments so far, or an empty batch when only time went on; None when nothing did.
        """
        fresh = [event for event in events if event.time > self.time and event.time != self.lost_time]
        pool = self.held + fresh
        lost_time = self.lost_time
        lost = lost_time is not None and (complete or any(event.time > lost_time for event in fresh))
        if complete:
            ready, time = pool, max(through, pool[-1].time if pool else 0)
            self.reset()
        else:
            ready, time = self._cut(pool)
        if lost and lost_time is not None:
            time = max(time, lost_time)
            if self.lost_time == lost_time:
                self.lost_time = None  # else the next moment is too large as well, and is told in its turn
        time = max(time, self.time)
        if not ready and not lost and time == self.time:
            return None
        self.time = time
        return Batch(tuple(ready), time, lost)

    def _cut(self, pool: list[ChangeEvent]) -> tuple[list[ChangeEvent], int]:
        """Keep the events of the last cluster time back; past the bound they are dropped and their moment is lost."""
        if not pool:
            return [], 0
        last = pool[-1].time
        ready = [event for event in pool if event.time < last]
        self.held = pool[len(ready) :]
        self.held_size = sum(event.size for event in self.held)
        if self.held_size > self.held_bytes:
            self.held, self.held_size, self.lost_time = [], 0, last
        return ready, ready[-1].time if ready else 0


def cut(batch: Batch, most: int) -> tuple[Batch, Batch | None]:
    """The first part of a batch, of at most `most` events, and the rest: cut between moments, never within one.

    A batch that lost a moment stays whole: which of its events lie after that one is not known any more. Images are
    those of the batch's end: the rest has them.
    """
    events = batch.events
    if batch.lost or len(events) <= most:
        return batch, None
    end = most
    while end and events[end - 1].time == events[end].time:
        end -= 1
    if not end:
        end = next((at for at in range(most, len(events)) if events[at].time != events[0].time), len(events))
    if end == len(events):
        return batch, None
    return Batch(events[:end], events[end - 1].time), replace(batch, events=events[end:])


def until(batch: Batch, time: int) -> Batch:
    """What of a batch lies at or before `time`; itself where that is all of it."""
    if batch.time <= time:
        return batch
    return Batch(tuple(event for event in batch.events if event.time <= time), time, batch.lost)


def opened(batch: Batch, wanted: Callable[[str], bool]) -> Batch:
    """The batch with its events of these collections whole; itself where they are."""
    if not any(event.raw is not None and wanted(event.collection) for event in batch.events):
        return batch
    events = (whole(event) if wanted(event.collection) else event for event in batch.events)
    return replace(batch, events=tuple(events))


@dataclass(slots=True)
class Touch:
    """What a batch did to one document.

    `exact` is whether `document` is its state at the batch's end (None: gone); else it has to be read. `paths` are the
    paths that updates touched, None when the whole document may have changed.
    """

    key: Any
    identity: str
    time: int
    document: dict[str, Any] | None = None
    exact: bool = False
    deleted: bool = False
    paths: frozenset[str] | None = frozenset()
    encoded: bytes | None = None
    """The whole document's Extended JSON, once somebody needed it."""
    uuid: Any = None
    """That of the collection which the document is in, where it is known."""


@dataclass(slots=True)
class Settled:
    """A batch by collection: the documents touched, in the order of their last event, and collections made anew."""

    time: int
    lost: bool
    order: tuple[ChangeEvent, ...] = ()
    touches: dict[str, dict[str, Touch]] = field(default_factory=dict)
    events: dict[str, list[ChangeEvent]] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    """Dropped, renamed, renamed onto, or made as what is no plain collection: all of their documents changed without an
    event of their own."""
    remade: set[str] = field(default_factory=set)
    """Names that may stand for something else now, of which no events come, or that is compared in another way."""
    all_replaced: bool = False
    stepped_over: dict[str, str] = field(default_factory=dict)
    """Collections in which something happened that is not known, `EVERY` among them where it may have been any; and
    what is told as the reason."""
    _since: dict[str, dict[int, frozenset[str] | None]] = field(default_factory=dict, repr=False, compare=False)

    def was_replaced(self, collection: str) -> bool:
        """Whether this collection is another one since."""
        return self.all_replaced or collection in self.replaced

    def was_stepped_over(self, collection: str) -> bool:
        """Whether something is missing here of what happened in this collection."""
        return collection in self.stepped_over or EVERY in self.stepped_over

    def since(self, event: ChangeEvent) -> frozenset[str] | None:
        """The paths that later events of the batch touched of an event's document; None: it may be another one."""
        name = event.collection
        if self.was_replaced(name) or self.was_stepped_over(name):
            return None
        if name not in self._since:
            self._since[name] = _touched_since(self.events.get(name, ()))
        return self._since[name][id(event)]

    def reason_for(self, collection: str) -> str:
        """What queries of one that `was_stepped_over` are told."""
        return self.stepped_over.get(collection) or self.stepped_over[EVERY]


def touched_by(event: ChangeEvent) -> frozenset[str] | None:
    """The paths that an event touched of its document; None: it may be another one after it."""
    return frozenset((*event.updated, *event.removed)) if event.op == "update" else None


def _touched_since(events: Sequence[ChangeEvent]) -> dict[int, frozenset[str] | None]:
    """For each event of a collection, in their order, what later ones touched of its document."""
    since: dict[int, frozenset[str] | None] = {}
    so_far: dict[str | None, frozenset[str] | None] = {}
    for event in reversed(events):
        later = so_far.get(event.identity, frozenset())
        since[id(event)] = later
        now = touched_by(event)
        so_far[event.identity] = None if later is None or now is None else later | now
    return since


def settle(batch: Batch) -> Settled:
    """Fold a batch: per collection, one `Touch` a document."""
    settled = Settled(batch.time, batch.lost, batch.events)
    for event in batch.events:
        settled.events.setdefault(event.collection, []).append(event)
        if event.op in DOCUMENT_OPS:
            _touch(settled.touches.setdefault(event.collection, {}), event)
        elif event.op == "dropDatabase":
            settled.all_replaced = True
        elif event.op in REASONS:
            settled.stepped_over[event.collection] = REASONS[event.op]
        elif event.op == CREATE:
            _create(settled, event)
        else:
            settled.replaced.update(_named(event))
            settled.remade.update((event.to,) if event.to else ())
    return settled


def _create(settled: Settled, event: ChangeEvent) -> None:
    # A plain one is empty, as nothing is; a capped one may be a copy of another, whose documents no event tells.
    if event.kind is not None:
        settled.replaced.add(event.collection)
    if event.kind not in {None, CAPPED}:
        settled.remade.add(event.collection)


def _named(event: ChangeEvent) -> Iterable[str]:
    return (name for name in (event.collection, event.to) if name)


def _touch(touches: dict[str, Touch], event: ChangeEvent) -> None:
    name = event.identity or ""
    before = touches.pop(name, None)
    touch = Touch(event.key, name, event.time, document=event.document, uuid=event.uuid)
    if event.op == "update":
        touch.exact = event.document is not None
        touched = frozenset((*event.updated, *event.removed))
        earlier = before.paths if before is not None else frozenset()
        touch.paths = None if earlier is None else earlier | touched
    else:
        touch.deleted = event.op == "delete"
        # Of what nobody asked for the document is not decoded.
        touch.exact, touch.paths = event.raw is None or touch.deleted, None
    touches[name] = touch
    if event.op == "replace" and event.document is not None:
        _rename(touches, touch, event.document)


def _rename(touches: dict[str, Touch], touch: Touch, document: dict[str, Any]) -> None:
    """A replace may give `_id` another number type: its event names the old key (1), all later ones the new (1.0)."""
    name = identity(document["_id"])
    if name != touch.identity:
        touches[touch.identity] = Touch(touch.key, touch.identity, touch.time, exact=True, deleted=True, paths=None)
        touches[name] = Touch(document["_id"], name, touch.time, document=document, exact=True, paths=None)
