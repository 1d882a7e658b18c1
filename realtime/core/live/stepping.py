"""Moments that cannot be told, by a bug of ours: marks stand in their place, one for each collection concerned.

A mark is an event of its own kind. It goes the way of all events, so it belongs to a moment, is in the journal, and is
found by who resumes; queries of its collection are read again, events subscriptions end with `history_lost`.
"""

from __future__ import annotations

from collections.abc import Iterable

from realtime.core.live.events import Batch, ChangeEvent

STEPPED_OVER, UNSENT = "stepped over", "unsent"
"""The `op` of a mark: by a bug of ours; MongoDB could not send it, for its size. No event of MongoDB's has it, and no
client is sent it."""
REASONS = {STEPPED_OVER: "internal", UNSENT: "history_lost"}
"""By the mark, what queries of its collection are told in their `resync`."""
EVERY = "*"
"""In place of a collection's name: it may have been any."""
_UNKNOWN_TRANSACTION = (b"", 0)


def mark(collection: str, time: int, op: str = STEPPED_OVER) -> ChangeEvent:
    """Something happened in a collection, and what it was is not known; `op`: why."""
    # It may have been part of a transaction: who looks for the end of a moment must not take this for one.
    return ChangeEvent(op, collection, time, transaction=_UNKNOWN_TRANSACTION)


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
