"""What a batch did, and which documents have to be read before it can be told."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.bugs import bug
from realtime.core.live.events import Batch
from realtime.core.live.moments import Settled, Touch, opened, settle
from realtime.core.live.router import Router


@dataclass(slots=True)
class Plan:
    """A batch, settled, and the keys that have to be read at its time, by collection and identity."""

    settled: Settled
    reads: dict[str, dict[str, Touch]]


def plan(batch: Batch, router: Router) -> Plan:
    """The plan of a batch for the groups that there are."""
    # Somebody may have come since it was read.
    settled = settle(opened(batch, router.hears))
    reads: dict[str, dict[str, Touch]] = {}
    for collection, touches in settled.touches.items():
        if settled.was_replaced(collection) or settled.was_stepped_over(collection):
            continue
        if found := wanted(router, collection, touches):
            reads[collection] = found
    return Plan(settled, reads)


def wanted(router: Router, collection: str, touches: dict[str, Touch]) -> dict[str, Touch]:
    """Of a collection's touches those whose document is not known exactly and that some group may need."""
    inexact = [touch for touch in touches.values() if not touch.exact]
    if not inexact:
        return {}
    everything = any(group.live and group.hears_updates(collection) for group in router.hearing((collection,)))
    try:
        return {touch.identity: touch for touch in inexact if everything or router.needs(collection, touch)}
    except Exception as error:
        # What is needed cannot be told: all of it is read, which is never wrong.
        bug("routing", error)
        return {touch.identity: touch for touch in inexact}
