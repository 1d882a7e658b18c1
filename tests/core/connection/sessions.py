"""What the tests of a session share: one, frames that it is sent, and its answers."""

from __future__ import annotations

import json
from typing import Any

from realtime.core.bson import ejson
from realtime.core.connection.session import Effect, Limits, OpenSubscription, Send, Session
from realtime.core.mql.filters import Bounds
from tests.core.examples import EPOCH

LIMITS = Limits(frame_bytes=1000, subscriptions=3, documents=50, pending_writes=2, filter=Bounds(depth=4, nodes=20))
SECONDS = 1_700_000_000


def session(limits: Limits = LIMITS) -> Session:
    return Session("session-1", limits, EPOCH)


def receive(to: Session, **fields: Any) -> list[Effect]:
    return to.receive(ejson.encode({"id": "x", **fields}))


def subscribe(to: Session, **fields: Any) -> list[Effect]:
    return receive(to, type="subscribe", **{"collection": "items", **fields})


def events(to: Session, **fields: Any) -> list[Effect]:
    return subscribe(to, mode="events", **fields)


def answer(effects: list[Effect]) -> dict[str, Any]:
    """The one frame that is sent and nothing else."""
    (only,) = effects
    assert isinstance(only, Send)
    fields = json.loads(only.frame)
    assert isinstance(fields, dict)
    return fields


def opened(effects: list[Effect]) -> OpenSubscription:
    (only,) = effects
    assert isinstance(only, OpenSubscription)
    return only


WRITES: dict[str, dict[str, Any]] = {
    "insert": {"document": {"a": 1}},
    "replace": {"key": 1, "document": {"_id": 1.0, "a": 1}, "where": {"v": 1}, "upsert": True},
    "update": {"key": 1, "update": {"$set": {"a": 1}}, "where": {"v": {"$lt": 3}}},
    "delete": {"key": {"a": 1}},
}
