"""What telling a group of a batch came to, as values: the teller says them, the groups act on them.

Each is acted on before the next group is told: a group that ends, or makes room for another, is told no more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from realtime.core.live.event_group import EventGroup, Group
from realtime.core.live.query import QueryGroup
from realtime.errors import ServiceError
from realtime.ports import Sink


@dataclass(frozen=True, slots=True)
class Told:
    """It was told of all that concerned it; what it holds may have grown."""

    group: QueryGroup


@dataclass(frozen=True, slots=True)
class Short:
    """A window has run out of spares: it is read again, and its subscribers keep their view until then."""

    group: QueryGroup


@dataclass(frozen=True, slots=True)
class Unsettled:
    """What its rule takes from another collection changed: it is read again, and its subscribers keep their view."""

    group: QueryGroup


@dataclass(frozen=True, slots=True)
class Stale:
    """Its documents cannot be followed through this batch: it is read again, and those who saw it are told why."""

    group: QueryGroup
    reason: str


@dataclass(frozen=True, slots=True)
class Remade:
    """A name of it may stand for something else by now: it goes on, and ends where that cannot be served."""

    group: EventGroup


@dataclass(frozen=True, slots=True)
class Refused:
    """A moment was too large for some connections: their subscriptions to it end at the time before it, `after`."""

    group: Group
    sinks: Collection[Sink]
    error: ServiceError
    after: int


@dataclass(frozen=True, slots=True)
class Ended:
    """It cannot go on: everybody's subscription to it ends."""

    group: Group
    error: ServiceError


@dataclass(frozen=True, slots=True)
class Failed:
    """An exception of ours while it was told."""

    group: Group
    error: Exception


Outcome = Told | Short | Unsettled | Stale | Remade | Refused | Ended | Failed
