"""From a batch of events that keep their documents to what is told of it, and which images that takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from realtime.core.bson import stored
from realtime.core.live.events import DOCUMENT_OPS, Batch, ChangeEvent, to_timestamp, whole
from realtime.core.live.moments import settle
from realtime.core.live.stepping import EVERY


@dataclass(frozen=True, slots=True)
class Wanted:
    """Documents of one collection that have to be read at the batch's time; `uuid`: of that collection or none."""

    keys: tuple[Any, ...]
    uuid: Any


@dataclass(frozen=True, slots=True)
class Told:
    """A batch as it is told. `reads`: by collection, whose images make it complete; `void`: those that stay without."""

    events: tuple[bytes, ...]
    collections: frozenset[str]
    complete: frozenset[str]
    reads: dict[str, Wanted]
    void: frozenset[str]


def tell(batch: Batch, database: str, needed: Callable[[str], bool]) -> Told:
    """What a batch's message says; `needed`: whether somebody has use for a collection's images.

    Of what nobody needs no document is decoded: where there was an update, it is void.
    """
    named = frozenset(name for event in batch.events for name in names_of(event))
    touched = {event.collection for event in batch.events if event.op in DOCUMENT_OPS}
    updated = {event.collection for event in batch.events if event.op == "update"}
    wanted = frozenset(name for name in updated if needed(name))
    reads, void = _reads(batch, wanted) if wanted else ({}, frozenset[str]())
    void |= updated - wanted
    return Told(
        events=tuple(document_of(event, database) for event in batch.events),
        collections=named,
        complete=frozenset(touched) - void - reads.keys(),
        reads=reads,
        void=void,
    )


def names_of(event: ChangeEvent) -> tuple[str, ...]:
    """The collections that an event is about; `EVERY` where it is about all."""
    if event.op == "dropDatabase":
        return (EVERY,)
    return tuple(name for name in (event.collection, event.to) if name)


def document_of(event: ChangeEvent, database: str) -> bytes:
    """The document of an event as MongoDB sent it; of a mark one of ours, which `parse_event` reads."""
    if event.raw is not None:
        return event.raw
    namespace = {"db": database, "coll": event.collection}
    return stored.encode({"operationType": event.op, "clusterTime": to_timestamp(event.time), "ns": namespace})


def _reads(batch: Batch, wanted: frozenset[str]) -> tuple[dict[str, Wanted], frozenset[str]]:
    opened = (
        whole(event) if event.op in DOCUMENT_OPS and event.collection in wanted else event for event in batch.events
    )
    settled = settle(Batch(tuple(opened), batch.time))
    reads: dict[str, Wanted] = {}
    void: set[str] = set()
    for name in wanted:
        missing = [touch for touch in settled.touches[name].values() if not touch.exact and not touch.deleted]
        # A collection that is another one since is read anew by whoever follows it.
        if settled.was_replaced(name) or settled.was_stepped_over(name) or len({touch.uuid for touch in missing}) > 1:
            void.add(name)
        elif missing:
            reads[name] = Wanted(tuple(touch.key for touch in missing), missing[0].uuid)
    return reads, frozenset(void)
