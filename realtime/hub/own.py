"""A live query of the service's own: the documents of one collection, whole, followed as any client's query is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from realtime import logs
from realtime.core.bson import ejson
from realtime.core.connection.outbox import Claim, Part
from realtime.core.live.query import Query
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.projection import compile_projection
from realtime.hub.hub import Hub
from realtime.hub.roster import Subscription
from realtime.ports import Sink

log = logging.getLogger("realtime.hub")

RETRY_SECONDS = 1.0
_ID = "own"


class Follower(Protocol):
    """Who is told. All three are called in the middle of the hub's work, and are quick."""

    def whole(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Everything was read, by the JSON of its key: what was told before is void."""

    def changed(self, changes: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Documents as they are now, all of one moment; None: gone."""

    def unknown(self) -> None:
        """What there is cannot be known from here on, until it is `whole` again."""


class OwnQuery:
    """Every document of a collection of the service's own; the owner of its one subscription.

    What ends the subscription is logged, and it begins again `RETRY_SECONDS` later, until `close`.
    """

    def __init__(self, hub: Hub, collection: str, follower: Follower) -> None:
        self.sink: Sink = _Ear(self._hear, self._failed)
        self._hub = hub
        self._collection = collection
        self._follower = follower
        self._arriving: dict[str, Mapping[str, Any]] = {}
        self._parts: dict[str, Mapping[str, Any] | None] = {}
        self._closed = False
        self._again: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Subscribe. The follower hears `whole` when that has come to something."""
        self._again = None
        self._hub.drop(self)
        self._arriving, self._parts = {}, {}
        query = Query.of(
            mode="query",
            collections=frozenset({self._collection}),
            filter=compile_filter({}),
            projection=compile_projection(None),
            operations=None,
        )
        self._hub.attach(Subscription(_ID, self, query))

    def close(self) -> None:
        """Nothing more is told."""
        self._closed = True
        if self._again is not None:
            self._again.cancel()
        self._hub.drop(self)

    def subscription_ended(self, subscription_id: str) -> None:
        """The hub ended it; the frame that says why follows."""

    def _hear(self, frame: bytes) -> None:
        if not self._closed:
            self._take(ejson.decode_frame(frame))

    def _failed(self) -> None:
        """A frame could not be taken in, which was logged."""
        self._follower.unknown()
        self._later()

    def _take(self, frame: Mapping[str, Any]) -> None:
        kind = frame["type"]
        if kind == "snapshot":
            for document in frame["documents"]:
                self._arriving[_name(document["_id"])] = document
        elif kind == "live":
            whole, self._arriving = self._arriving, {}
            self._follower.whole(whole)
        elif kind == "changes":
            self._change(frame)
        elif kind == "resync":
            self._arriving, self._parts = {}, {}
            self._follower.unknown()
        elif kind in {"error", "unsubscribed"}:
            self._ended(frame)

    def _change(self, frame: Mapping[str, Any]) -> None:
        for one in frame["changes"]:
            self._parts[_name(one["key"])] = None if one["op"] == "leave" else one["document"]
        if not frame.get("more"):
            changes, self._parts = self._parts, {}
            self._follower.changed(changes)

    def _ended(self, frame: Mapping[str, Any]) -> None:
        log.error(
            "%s cannot be read (%s): %s; tried again",
            self._collection,
            frame["code"],
            frame["message"],
            extra=logs.RETRIED,
        )
        self._follower.unknown()
        self._later()

    def _later(self) -> None:
        if not self._closed and self._again is None:
            self._again = asyncio.get_running_loop().call_later(RETRY_SECONDS, self.begin)


class _Ear:
    """The sink of an `OwnQuery`: nothing ever waits in it."""

    max_frame: int | None = None
    crowded = False

    def __init__(self, hear: Callable[[bytes], None], failed: Callable[[], None]) -> None:
        self._hear = hear
        self._failed = failed

    def send(self, frame: bytes, _part: Part | Claim | None = None) -> None:
        """Take one frame in."""
        self._hear(frame)

    def send_run(self, frames: Iterator[bytes]) -> None:
        """Take them all in."""
        for frame in frames:
            self._hear(frame)

    def lapse(self, channel: int, after: int) -> None:
        """Never called by an outbox, for there is none."""

    def withholds(self, channel: int) -> bool:
        """Nothing lapses."""
        return False

    def forget(self, channel: int) -> int | None:
        """Nothing waits."""

    def close(self, _code: int, _reason: str) -> None:
        """It has missed a frame."""
        self._failed()


def _name(key: Any) -> str:
    return ejson.encode(key).decode()
