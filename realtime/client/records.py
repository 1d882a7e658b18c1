"""What the client hands out: frozen values. Documents and keys are BSON values, as `bson` has them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

Document = dict[str, Any]
State = Literal["connecting", "syncing", "live", "stale", "closed"]
"""Of a view. `stale`: shows what it was at `position`; the service is away, or a new snapshot is on its way."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened (PROTOCOL 4.2). `position` is complete with the last event of its moment only."""

    op: str
    collection: str
    position: str
    key: Any = None
    document: Document | None = None
    before: Document | None = None
    updated: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    wall_time: dt.datetime | None = None
    transaction: int | None = None
    to: str | None = None
    partial: bool = False
    as_of: str | None = None

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Event:
        """The event that a frame carries; fields that this client does not know are left out."""
        return cls(
            op=fields["op"],
            collection=fields["collection"],
            position=fields["position"],
            key=fields.get("key"),
            document=fields.get("document"),
            before=fields.get("before"),
            updated=tuple(fields.get("updated", ())),
            removed=tuple(fields.get("removed", ())),
            wall_time=fields.get("wall_time"),
            transaction=fields.get("transaction"),
            to=fields.get("to"),
            partial=bool(fields.get("partial")),
            as_of=fields.get("as_of"),
        )


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a view. `index`: the place after the moment, in a view with `sort` or `limit`."""

    op: Literal["enter", "update", "leave"]
    key: Any
    document: Document | None = None
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """What brought a view to `position`, whole. Leaves come first, the rest by rising `index`.

    `snapshot`: the service sent the view anew, and `changes` are the difference between the old one and the new one;
    whoever folds changes need not treat it otherwise.
    """

    position: str
    changes: tuple[Change, ...]
    snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A write that is committed on a majority. Counts are None where they mean nothing."""

    position: str
    key: Any
    matched: int | None = None
    modified: int | None = None
    upserted: bool | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The connection, and what the service said of its own reading of MongoDB.

    `attempts`: tries since the last connection. `reason`: why it is not connected, or why the feed is degraded.
    `principal`, `roles`, `expires`: who asks by the newest connection, as what, and until when, where that ends.
    """

    link: Literal["connecting", "connected", "closed"] = "connecting"
    feed: Literal["up", "degraded"] = "up"
    since: dt.datetime | None = None
    reason: str | None = None
    attempts: int = 0
    principal: str | None = None
    roles: tuple[str, ...] = ()
    expires: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds before reconnecting: `first`, then `factor` times more each time up to `limit`, half of it by chance."""

    first: float = 0.25
    factor: float = 2.0
    limit: float = 30.0

    def delay(self, attempt: int, chance: float, least: float = 0.0) -> float:
        """Before the try number `attempt` (from 0); `chance` from 0 to 1. Never less than the service asked for."""
        longest = min(self.limit, self.first * self.factor ** min(attempt, 64))
        return max(longest * (0.5 + chance / 2), least)
