"""Moments that cannot be told, by a bug of ours: marks stand in their place, one for each collection concerned.

A mark is an event of its own kind. It goes the way of all events, so it belongs to a moment, is in the journal, and is
found by who resumes; queries of its collection are read again, events subscriptions end with `history_lost`.
"""

from __future__ import annotations

from collections.abc import Iterable

from realtime.core.live.events import STEPPED_OVER, UNKNOWN_TRANSACTION, UNSENT, Batch, ChangeEvent

REASONS = {STEPPED_OVER: "internal", UNSENT: "history_lost"}
"""By the mark, what queries of its collection are told in their `resync`."""
EVERY = "*"
"""In place of a collection's name: it may have been any."""


def mark(collection: str, time: int, op: str = STEPPED_OVER) -> ChangeEvent:
    """Something happened in a collection, and what it was is not known; `op`: why."""
    return ChangeEvent(op, collection, time, transaction=UNKNOWN_TRANSACTION)


def stepped_over(batch: Batch, *, everywhere: bool = False) -> Batch:
    """The batch with marks in place of what happened in it; `everywhere`: whichever collections it names."""
    found: dict[tuple[int, str], None] = {}
    for event in batch.events:
        names = (EVERY,) if everywhere else _collections(event)
        found.update(((event.time, name), None) for name in names)
    return Batch(tuple(mark(name, time) for time, name in found), batch.time, batch.lost)


def _collections(event: ChangeEvent) -> Iterable[str]:
    if event.op == "dropDatabase":
        return (EVERY,)
    return [name for name in (event.collection, event.to) if name]
