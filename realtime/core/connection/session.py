"""One connection's protocol state: `receive(frame)` gives the effects that the shell has to carry out.

Pure: it knows ids, limits and what may be asked for, and nothing of sockets or MongoDB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from realtime.core.access.dates import date
from realtime.core.access.principal import ANONYMOUS, Principal
from realtime.core.access.rules.policy import Policy
from realtime.core.connection.admission import Admission, Ending
from realtime.core.connection.foresight import Foresight, Outcome
from realtime.core.connection.requests import check_write, collections_of, filter_of, refuse_fields
from realtime.core.live.aggregate import compile_grouping
from realtime.core.live.events import format_position, parse_position
from realtime.core.live.query import Query
from realtime.core.mql.filters import Bounds, Filter, compile_filter
from realtime.core.mql.ordering import parse_sort
from realtime.core.mql.pipelines.compiling import compile_pipeline
from realtime.core.mql.projection import Projection, compile_projection
from realtime.core.mql.sight import Sight
from realtime.core.mql.vision import EVERYTHING, Vision
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
)


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
    policy: Policy | None = None
    """The rules; None: everybody may do everything."""

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
    """Attach the subscription `id` to the hub; `after` is the cluster time to go on from; `since`: it is a date's."""

    id: str
    query: Query
    after: int | None
    since: bool = False


@dataclass(frozen=True, slots=True)
class Succeed:
    """The subscription `id` is of this query from now on."""

    id: str
    query: Query


@dataclass(frozen=True, slots=True)
class Revoke:
    """The subscription `id` may not be had any more."""

    id: str
    error: ServiceError


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


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Find out whose token this is, and say so to `Session.authenticated`; no other is to be asked about meanwhile."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Admit:
    """From now on the connection is this principal's, until they expire or are revoked."""

    principal: Principal


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection after what was sent; nothing more is taken from it."""

    ending: Ending


Effect = (
    Send | OpenSubscription | Succeed | Revoke | EndSubscription | StartWrite | Fence | Authenticate | Admit | Close
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a subscription was asked by, and what names the query that this comes to for now."""

    request: protocol.Subscribe
    key: str


class Session:
    """The state of one connection: who it is of, which ids are taken, and what waits.

    `principal` None: nobody yet, who has to send a token first. `asked`: who they are is asked here at all.
    """

    __slots__ = (
        "_asking",
        "_foresight",
        "admission",
        "ended",
        "epoch",
        "id",
        "limits",
        "pending_writes",
        "subscriptions",
    )

    def __init__(
        self,
        session_id: str,
        limits: Limits,
        epoch: str,
        principal: Principal | None = ANONYMOUS,
        *,
        asked: bool = False,
    ) -> None:
        self.id = session_id
        self.limits = limits
        self.epoch = epoch
        self.admission = Admission(principal, asked=asked)
        self.ended = False
        self._asking: str | None = None
        self._foresight: Foresight | None = None
        self.subscriptions: dict[str, Asked | None] = {}
        self.pending_writes = 0

    @property
    def principal(self) -> Principal | None:
        """Who the connection is of; None: nobody yet."""
        return self.admission.principal

    @property
    def largest(self) -> int:
        """Bytes of the largest frame that is taken for now; it grows with an `auth`."""
        return self.admission.largest(self.limits.frame_bytes)

    def welcome(self, time: int, heartbeat: float) -> bytes:
        """The first frame. Nobody learns from it how far the database is."""
        who = self.principal
        return protocol.Welcome(
            session=self.id,
            position=None if who is None else format_position(self.epoch, time),
            heartbeat=heartbeat,
            principal=None if who is None else who.sub,
            roles=None if who is None else sorted(who.roles) or None,
            expires=None if who is None else date(who.expires),
            requires_auth=who is None,
            limits=self.limits.shown(),
        ).encode()

    def receive(self, text: str | bytes) -> list[Effect]:
        """Take one text frame. A frame that is refused is answered and changes nothing.

        While an `auth` is decided the frames after it wait; `release` gives them afterwards, to be received again.
        """
        if self.ended:
            return []
        if self.admission.deciding:
            self.admission.hold(text)
            return []
        try:
            request = protocol.parse(text)
        except protocol.RefusedFrame as refused:
            return [Send(protocol.ErrorFrame.of(refused.error, refused.id).encode())]
        try:
            if not isinstance(request, protocol.Auth | protocol.Ping):
                self.admission.check()
            return _HANDLERS[type(request)](self, request)
        except ServiceError as error:
            return [Send(protocol.ErrorFrame.of(error, request.id).encode())]

    def release(self) -> str | bytes | None:
        """The next frame that waited for an `auth` to be decided; None: there is none, or another one is decided."""
        return self.admission.release()

    def authenticated(self, outcome: Principal | ServiceError, *, now: float, time: int) -> list[Effect]:
        """What came of the `Authenticate`; `now` in unix seconds, `time` the cluster's. Then `release` what waited."""
        if self.ended:
            return []
        try:
            if isinstance(outcome, ServiceError):
                raise outcome
            self.admission.admit(outcome, now)
        except ServiceError as error:
            told: list[Effect] = [Send(protocol.ErrorFrame.of(error, self._asking).encode())]
            ending = self.admission.refuse(error)
            return told if ending is None else [*told, *self.end(ending)]
        answer = protocol.Authenticated(
            id=self._asking or "",
            principal=outcome.sub,
            roles=sorted(outcome.roles) or None,
            expires=date(outcome.expires),
            position=format_position(self.epoch, time),
        )
        return [Send(answer.encode()), Admit(outcome), *self.reconsider()]

    def reconsider(self, about: frozenset[str] | None = None) -> list[Effect]:
        """Rules, or what is known of who asks, have changed: what that means to subscriptions, if anything.

        `about`: the collections whose rules have; None: any may have.
        """
        policy, foresight, self._foresight = self.limits.policy, self._foresight, None
        if self.ended or policy is None:
            return []
        effects: list[Effect] = []
        for name, asked in list(self.subscriptions.items()):
            if asked is None or not _concerns(about, asked.request):
                continue
            query = None if foresight is None else foresight.of(policy.rules, self.principal, asked.request)
            if query is None:
                query = self._outcome(asked.request, policy)
            if isinstance(query, ServiceError):
                effects.append(Revoke(name, query))
            elif query.key != asked.key:
                self.subscriptions[name] = Asked(asked.request, query.key)
                effects.append(Succeed(name, query))
        return effects

    def foresee(self, policy: Policy, about: frozenset[str] | None = None) -> Iterator[None]:
        """Judge by rules that are about to hold, a subscription a step, what `reconsider` is asked when they do.

        Between two steps anything may happen: what is not foreseen by then is judged by `reconsider`.
        """
        foresight = self._foresight = Foresight(policy.rules, self.principal)
        for asked in [] if self.ended else list(self.subscriptions.values()):
            if asked is not None and _concerns(about, asked.request):
                foresight.add(asked.request, self._outcome(asked.request, policy))
                yield

    def _outcome(self, request: protocol.Subscribe, policy: Policy) -> Outcome:
        try:
            return self._query(request, policy)
        except ServiceError as error:
            return error

    def end(self, ending: Ending) -> list[Effect]:
        """The connection is nobody's any more: it closes, and nothing more is taken from it."""
        if self.ended:
            return []
        self.ended = True
        self.admission.clear()
        return [Close(ending)]

    def subscription_ended(self, subscription_id: str) -> None:
        """The service ended it; the id is free again."""
        self.subscriptions.pop(subscription_id, None)

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
        query = self._query(request, self.limits.policy)
        after = self._after(request) if request.mode == "events" else self._query_after(request, query)
        # Without rules nothing that was asked ever means something else.
        self.subscriptions[request.id] = None if self.limits.policy is None else Asked(request, query.key)
        return OpenSubscription(request.id, query, after, since=request.since is not None)

    def _subscribe(self, request: protocol.Subscribe) -> list[Effect]:
        return [self.subscribe(request)]

    def _query(self, request: protocol.Subscribe, policy: Policy | None) -> Query:
        refuse_fields(request, self.limits.documents)
        projection = compile_projection(request.projection)
        if request.mode == "query" and projection.source and not projection.shows_id:
            raise InvalidRequestError(
                "projection: a live query shows _id, by which its changes name documents",
                details={"field": "projection._id"},
            )
        collections = collections_of(request)
        for name in collections or ():
            self.limits.collections.check(name)
        if request.mode == "query":
            return self._view(request, collections, projection, policy)
        selection = compile_filter(filter_of(request), self.limits.filter)
        return Query.of(
            mode=request.mode,
            collections=collections,
            filter=selection,
            projection=projection,
            operations=None if request.operations is None else frozenset(request.operations),
            sight=self._sight(collections, selection, projection, policy),
        )

    def _view(
        self,
        request: protocol.Subscribe,
        collections: frozenset[str] | None,
        projection: Projection,
        policy: Policy | None,
    ) -> Query:
        sorted_by = parse_sort(request.sort) if request.sort is not None or request.limit is not None else None
        grouping = None if request.group is None else compile_grouping(request.group)
        pipeline = None if request.pipeline is None else compile_pipeline(request.pipeline)
        # What the first stages match is asked as any filter is; the others see what may be seen of the documents.
        selection = (
            compile_filter(filter_of(request), self.limits.filter, moving=True) if pipeline is None else pipeline.match
        )
        vision = self._vision(collections, policy)
        if request.limit is not None and vision.most is not None and request.limit > vision.most:
            raise InvalidRequestError(f"limit: at most {vision.most}, by your rules", details={"field": "limit"})
        vision.check(
            selection,
            projection,
            sorted_by=() if sorted_by is None else [path for path, _ in sorted_by.pairs],
            grouped_by=() if grouping is None else grouping.paths,
        )
        return Query.of(
            mode=request.mode,
            collections=collections,
            filter=selection,
            projection=projection,
            operations=None,
            sort=sorted_by,
            limit=request.limit,
            throttle=request.throttle or 0,
            grouping=grouping,
            vision=vision,
            pipeline=pipeline,
        )

    def _vision(self, collections: frozenset[str] | None, policy: Policy | None) -> Vision:
        """What whoever asks sees of the one collection of a live query."""
        return EVERYTHING if policy is None else policy.reading(self.principal, next(iter(collections or ())))

    def _sight(
        self, collections: frozenset[str] | None, selection: Filter, projection: Projection, policy: Policy | None
    ) -> Sight | None:
        """What whoever asks sees of each collection whose events they ask for. `ForbiddenError` for what is not theirs.

        None: everything.
        """
        if policy is None:
            return None
        sight = policy.hearing(self.principal, collections)
        sight.check(collections, selection, projection)
        return sight

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
        del self.subscriptions[request.id]
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
        self.admission.ask()
        self._asking = request.id
        return [Authenticate(request.token)]

    def _ping(self, request: protocol.Ping) -> list[Effect]:
        if self.principal is None:
            # How far the database is, and whether it has come somewhere, is nothing for nobody.
            if request.position is not None:
                self.admission.check()
            return [Send(protocol.Pong(id=request.id).encode())]
        return [Fence(request.id, 0 if request.position is None else self._time(request.position))]


def _concerns(about: frozenset[str] | None, request: protocol.Subscribe) -> bool:
    # Events tell names of other collections as well, in a rename.
    collections = None if request.mode == "events" else collections_of(request)
    return about is None or collections is None or bool(about & collections)


_HANDLERS: dict[type[protocol.Request], Callable[[Session, Any], list[Effect]]] = {
    protocol.Subscribe: Session._subscribe,
    protocol.Unsubscribe: Session._unsubscribe,
    protocol.Insert: Session._write,
    protocol.Replace: Session._write,
    protocol.Update: Session._write,
    protocol.Delete: Session._write,
    protocol.Auth: Session._auth,
    protocol.Ping: Session._ping,
}
