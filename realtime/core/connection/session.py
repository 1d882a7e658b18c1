"""One connection's protocol state: `receive(frame)` gives the effects that the shell has to carry out.

Pure: it knows ids, limits and what may be asked for, and nothing of sockets or MongoDB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from realtime.core.bson.values import order
from realtime.core.live.aggregate import compile_grouping
from realtime.core.live.events import format_position, parse_position
from realtime.core.live.query import OWN_PREFIX, Query
from realtime.core.mql.filters import Bounds, compile_filter
from realtime.core.mql.ordering import parse_sort
from realtime.core.mql.projection import compile_projection
from realtime.core.mql.updates import check_document, check_update
from realtime.core.wire import protocol
from realtime.core.wire.collections import Collections
from realtime.errors import (
    ForbiddenError,
    InvalidPositionError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    ServiceError,
    TooManySubscriptionsError,
    UnsupportedCollectionError,
    UnsupportedOperatorError,
)

ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection; sizes in bytes."""

    frame_bytes: int
    subscriptions: int
    documents: int
    pending_writes: int
    filter: Bounds
    read_only: bool = False
    collections: Collections = field(default_factory=Collections)

    def shown(self) -> dict[str, int]:
        """What `welcome` says of them."""
        return {
            "frame_bytes": self.frame_bytes,
            "subscriptions": self.subscriptions,
            "documents": self.documents,
            "pending_writes": self.pending_writes,
            "filter_depth": self.filter.depth,
            "filter_nodes": self.filter.nodes,
        }


# ----------------------------------------------------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class Send:
    """Send this frame."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class OpenSubscription:
    """Attach the subscription `id` to the hub; `after` is the cluster time to go on from."""

    id: str
    query: Query
    after: int | None


@dataclass(frozen=True, slots=True)
class EndSubscription:
    """Detach the subscription `id`."""

    id: str


@dataclass(frozen=True, slots=True)
class StartWrite:
    """Carry out a write after those before it, and answer `id`."""

    request: protocol.Write


@dataclass(frozen=True, slots=True)
class Fence:
    """Answer `id` with a pong once the connection's live subscriptions are at or after `time`."""

    id: str
    time: int


Effect = Send | OpenSubscription | EndSubscription | StartWrite | Fence


def check_collection(name: str) -> None:
    """Refuse names that cannot be collections, and the service's own."""
    if name.startswith((OWN_PREFIX, "system.", ".")) or "$" in name or "\0" in name:
        raise UnsupportedCollectionError(f"collection {name!r} is not to be had", details={"collection": name})


class Session:
    """The state of one connection: which ids are taken, and what waits."""

    def __init__(self, session_id: str, limits: Limits, epoch: str, principal: str = ANONYMOUS) -> None:
        self.id = session_id
        self.limits = limits
        self.epoch = epoch
        self.principal = principal
        self.subscriptions: set[str] = set()
        self.pending_writes = 0
        self._handlers: dict[type[protocol.Request], Callable[[Any], list[Effect]]] = {
            protocol.Subscribe: self._subscribe,
            protocol.Unsubscribe: self._unsubscribe,
            protocol.Insert: self._write,
            protocol.Replace: self._write,
            protocol.Update: self._write,
            protocol.Delete: self._write,
            protocol.Auth: self._auth,
            protocol.Ping: self._ping,
        }

    def welcome(self, time: int, heartbeat: float) -> bytes:
        """The first frame."""
        return protocol.Welcome(
            session=self.id,
            position=format_position(self.epoch, time),
            heartbeat=heartbeat,
            principal=self.principal,
            limits=self.limits.shown(),
        ).encode()

    def receive(self, text: str | bytes) -> list[Effect]:
        """Take one text frame. A frame that is refused is answered and changes nothing."""
        try:
            request = protocol.parse(text)
        except protocol.RefusedFrame as refused:
            return [Send(protocol.ErrorFrame.of(refused.error, refused.id).encode())]
        try:
            return self._handlers[type(request)](request)
        except ServiceError as error:
            return [Send(protocol.ErrorFrame.of(error, request.id).encode())]

    def subscription_ended(self, subscription_id: str) -> None:
        """The service ended it; the id is free again."""
        self.subscriptions.discard(subscription_id)

    def write_ended(self) -> None:
        """A write has been answered."""
        self.pending_writes -= 1

    # -------------------------------------------------------------------------------------------------- requests

    def subscribe(self, request: protocol.Subscribe) -> OpenSubscription:
        """What a subscribe frame does, for a transport whose request is one. Raises `ServiceError`."""
        if request.id in self.subscriptions:
            raise InvalidRequestError(
                f"id: {request.id!r} is a subscription already; unsubscribe it first", details={"field": "id"}
            )
        if len(self.subscriptions) >= self.limits.subscriptions:
            raise TooManySubscriptionsError(
                f"this connection holds {self.limits.subscriptions} subscriptions already",
                details={"limit": self.limits.subscriptions},
            )
        query = self._query(request)
        after = self._after(request) if request.mode == "events" else self._query_after(request, query)
        self.subscriptions.add(request.id)
        return OpenSubscription(request.id, query, after)

    def _subscribe(self, request: protocol.Subscribe) -> list[Effect]:
        return [self.subscribe(request)]

    def _query(self, request: protocol.Subscribe) -> Query:
        _refuse_fields(request, self.limits)
        projection = compile_projection(request.projection)
        if request.mode == "query" and projection.source and "_id" not in projection.apply({"_id": 0}):
            raise InvalidRequestError(
                "projection: a live query shows _id, by which its changes name documents",
                details={"field": "projection._id"},
            )
        collections = _collections(request)
        for name in collections or ():
            self.limits.collections.check(name)
        operations = None if request.operations is None else frozenset(request.operations)
        sorted_by = parse_sort(request.sort) if request.sort is not None or request.limit is not None else None
        return Query.of(
            mode=request.mode,
            collections=collections,
            filter=compile_filter(request.filter, self.limits.filter),
            projection=projection,
            operations=operations,
            principal=self.principal,
            sort=sorted_by,
            limit=request.limit,
            throttle=request.throttle or 0,
            grouping=None if request.group is None else compile_grouping(request.group),
        )

    def _after(self, request: protocol.Subscribe) -> int | None:
        if request.since is not None:
            if request.position is not None:
                raise InvalidRequestError("since: position says already where to begin", details={"field": "since"})
            seconds = int(request.since.timestamp())
            if not 0 <= seconds < 2**32:
                raise InvalidPositionError("since: a date between 1970 and 2106", details={"field": "since"})
            return max((seconds << 32) - 1, 0)
        return None if request.position is None else self._time(request.position)

    def _query_after(self, request: protocol.Subscribe, query: Query) -> int | None:
        """Never an error: a position of another query, or one that cannot be read, is answered with a snapshot."""
        if request.position is None or request.query != query.key:
            return None
        try:
            return parse_position(request.position, self.epoch)
        except ValueError:
            return None

    def _time(self, position: str) -> int:
        try:
            return parse_position(position, self.epoch)
        except ValueError as error:
            raise InvalidPositionError(f"position: {error}", details={"field": "position"}) from None

    def _unsubscribe(self, request: protocol.Unsubscribe) -> list[Effect]:
        if request.id not in self.subscriptions:
            raise NotFoundError(f"no subscription {request.id!r} on this connection")
        self.subscriptions.discard(request.id)
        return [EndSubscription(request.id), Send(protocol.Unsubscribed(id=request.id).encode())]

    def _write(self, request: protocol.Write) -> list[Effect]:
        if self.limits.read_only:
            raise ForbiddenError("the service is read-only (it was started with --read-only)")
        check_write(request, self.limits.filter)
        self.limits.collections.check(request.collection)
        if self.pending_writes >= self.limits.pending_writes:
            raise RateLimitedError(
                f"{self.limits.pending_writes} writes of this connection wait already", retry_after=1
            )
        self.pending_writes += 1
        return [StartWrite(request)]

    def _auth(self, request: protocol.Auth) -> list[Effect]:
        raise InvalidRequestError("auth: this service has no authentication yet; everyone is anonymous")

    def _ping(self, request: protocol.Ping) -> list[Effect]:
        return [Fence(request.id, 0 if request.position is None else self._time(request.position))]


def check_write(request: protocol.Write, bounds: Bounds) -> None:
    """Everything that can be refused before MongoDB is asked."""
    check_collection(request.collection)
    if not isinstance(request, protocol.Insert) and request.where is not None:
        compile_filter(request.where, bounds)
    if isinstance(request, protocol.Insert | protocol.Replace):
        check_document(request.document)
    if isinstance(request, protocol.Update):
        check_update(request.update, bounds)
    if isinstance(request, protocol.Replace) and order(request.document.get("_id", request.key)) != order(request.key):
        raise InvalidRequestError("document: its _id is not the key", details={"field": "document._id"})


def _refuse_fields(request: protocol.Subscribe, limits: Limits) -> None:
    """What does not go with the mode, with another field, or is not there, by name."""
    if request.skip is not None:
        raise UnsupportedOperatorError(
            "skip is not supported in a live query: ask for a larger limit, or page over HTTP",
            details={"operator": "skip", "path": "skip"},
        )
    if request.mode == "query":
        for name in ("operations", "since"):
            if getattr(request, name) is not None:
                raise InvalidRequestError(f"{name}: belongs to mode events", details={"field": name})
        if request.limit is not None and request.limit > limits.documents:
            raise InvalidRequestError(
                f"limit: at most {limits.documents} (limits.documents)", details={"field": "limit"}
            )
        for name in ("sort", "limit", "projection") if request.group is not None else ():
            if getattr(request, name) is not None:
                raise InvalidRequestError(
                    f"{name}: does not go with group, whose rows have no order and are shown whole",
                    details={"field": name},
                )
        return
    for name in ("sort", "limit", "throttle", "group", "query"):
        if getattr(request, name) is not None:
            raise InvalidRequestError(f"{name}: belongs to mode query", details={"field": name})


def _collections(request: protocol.Subscribe) -> frozenset[str] | None:
    if request.mode == "query":
        if not isinstance(request.collection, str):
            raise InvalidRequestError("collection: one name in mode query", details={"field": "collection"})
        names = [request.collection]
    else:
        names = [request.collection] if isinstance(request.collection, str) else request.collection
        if names == ["*"]:
            return None
        if not names or "*" in names:
            raise InvalidRequestError('collection: names, or "*" alone', details={"field": "collection"})
    for name in names:
        check_collection(name)
    return _shared(frozenset(names))


@lru_cache(maxsize=1024)
def _shared(names: frozenset[str]) -> frozenset[str]:
    """One set for all queries of the same collections."""
    return names
