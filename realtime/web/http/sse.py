"""Server-sent events: one subscription per request, with the WebSocket's own frames as `data:`.

`id:` is a position from which the browser's own reconnect, by `Last-Event-ID`, goes on without gap or repeat. It is
the last one that a client which saw everything before may count on:

    id: P     a frame that completes a moment, a snapshot or a replay at P; a heartbeat, but only while live
    id:       the view is begun afresh (`subscribed` without `recovered`, `resync`), or the stream ends for good: no
              older position may be taken up again
    none      anything else, a frame with `more` among them

Under rules a position of query mode has the query's key behind it, `P.KEY`: a browser that comes back when another
query is in force gets a snapshot.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import ValidationError
from starlette.types import Receive

from realtime import metrics
from realtime.core.access.principal import Principal
from realtime.core.access.rules.policy import Policy
from realtime.core.access.tickets import stream_of
from realtime.core.bson import ejson
from realtime.core.connection.outbox import Claim, Part
from realtime.core.connection.session import OpenSubscription, Revoke, Session, Succeed
from realtime.core.wire.protocol import ErrorFrame, Subscribe, invalid_request
from realtime.errors import ForbiddenError, InternalError, ServiceError, UnauthenticatedError
from realtime.hub.roster import Owner, Subscription
from realtime.ports import Listener, Sink
from realtime.web.entrance.asgi_sink import WaitingSink
from realtime.web.entrance.changes import change
from realtime.web.entrance.doorkeeper import address_of
from realtime.web.entrance.live import Asking, Current, Live, principal_of, ruled
from realtime.web.entrance.problems import problems
from realtime.web.entrance.shared import SharedRoute
from realtime.web.entrance.streaming import EVENT_STREAM, Head, Streaming, Write, asks_for_stream, gone
from realtime.web.http import examples
from realtime.web.http.bodies import Text, parameter

MEDIA_TYPE = EVENT_STREAM
ID = "s"
"""The subscription's id: each stream has one."""
RETRY_MS = (1000, 4000)
"""After how long a browser reconnects; drawn by lot, so that a crowd does not come back in one moment."""
ENDED_RETRY_MS = 30_000
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_ENDED = 1000
_POSITION = re.compile(rb',"position":"([0-9A-F]{8}-[0-9A-F]{16})"\}$')
_KEY = re.compile(rb'"query":"([0-9a-f]{32})"')
_KIND = re.compile(rb'\{"type":"(\w+)"')
_COMPLETE = frozenset({b"snapshot", b"changes", b"events", b"live"})
_FAREWELLS = frozenset({b"error", b"unsubscribed"})


class StreamRoute(SharedRoute):
    """A route that may answer with an event stream. A browser that comes back to one gives up for ever at any status
    but 200, so it gets a stream that tells the error and ends, whatever was wrong with its request; but a page or a
    name that is not let in gets nothing.
    """

    def told(self, request: Request, error: ServiceError) -> Response:
        comes_back = request.method == "GET" and request.headers.get("last-event-id") and asks_for_stream(request)
        if not comes_back or isinstance(error, ForbiddenError):
            return super().told(request, error)
        return Response(_farewell(ErrorFrame.of(error, ID).encode()), 200, HEADERS, MEDIA_TYPE)


router = APIRouter(prefix="/v1/collections", route_class=StreamRoute, tags=["live"])


class EventSink(WaitingSink):
    """Turns frames into events as they are sent, and ends after a subscription's farewell.

    `first` is done when the subscription's first frame waits. `keyed`: positions go with the key of the query.
    """

    def __init__(self, outbox_bytes: int, listener: Listener, *, keyed: bool = False) -> None:
        super().__init__(outbox_bytes, listener)
        self._keyed = keyed
        self._key = b""
        self.first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.output: Write | None = None
        self._live = False

    def send(self, frame: bytes, part: Part | Claim | None = None) -> None:
        """As for any sink."""
        if not self.first.done():
            self.first.set_result(frame)
        super().send(frame, part)
        if _kind(frame) in _FAREWELLS:
            self.close(_ENDED, "ended")

    async def write(self, frame: bytes) -> None:
        """Send one event."""
        if self.output is not None:
            await self.output(self.event(frame))

    async def finish(self, code: int, reason: str) -> None:
        """The body's end is the stream's end."""

    def event(self, frame: bytes) -> bytes:
        """The event that carries a frame, with the `id:` that may be resumed from after it."""
        kind = _kind(frame)
        if kind in _FAREWELLS:
            return _farewell(frame)
        if self._keyed and kind == b"subscribed" and (key := _KEY.search(frame)) is not None:
            self._key = b"." + key[1]
        self._live = kind == b"live" or (self._live and kind != b"resync")
        if kind == b"resync" or (kind == b"subscribed" and b'"recovered":false' in frame):
            return b"id:\ndata: %b\n\n" % frame
        if kind in _COMPLETE or (kind == b"heartbeat" and self._live):
            position = _POSITION.search(frame)
            if position is not None:
                return b"id: %b%b\ndata: %b\n\n" % (position[1], self._key, frame)
        return b"data: %b\n\n" % frame


class EventStream(Streaming):
    """The answer to one request, and the owner of its subscription."""

    sink: Sink
    admitted = True

    def __init__(self, live: Live, *, keyed: bool = False) -> None:
        super().__init__(MEDIA_TYPE, HEADERS)
        self._session: Session | None = None
        self._live = live
        self._ticket: str | None = None
        self._who: Principal | None = None
        self._address: str | None = None
        self.sink = self._events = EventSink(live.settings.outbox_bytes, self, keyed=keyed)

    def leave(self, code: int, reason: str) -> None:
        """End the stream after what was sent."""
        self.sink.close(code, reason)

    def over(self, code: int, reason: str, error: ServiceError | None = None) -> None:
        """End the stream of who may have it no longer; what waits is dropped. One that has not begun is refused."""
        if error is None and not self._events.first.done():
            error = UnauthenticatedError(f"{reason}: get a new token", reason=reason)
        if error is not None:
            self.sink.send(ErrorFrame.of(error, ID).encode())
        self.sink.close(code, reason)

    async def admit(self, request: Request, ticket: str | None) -> Principal:
        """Find out whose stream this is, by what the entrance found or by a ticket. Raises `ServiceError`."""
        asking: Asking = request.state.asking
        if isinstance(asking, ServiceError):
            raise asking
        if asking is None:
            try:
                asking = await self._by_ticket(request, ticket)
                # As everybody else's request, which the entrance has counted.
                self._live.doorkeeper.requested(asking, address_of(request))
            except ServiceError as error:
                self._live.doorkeeper.refused(error, address_of(request))
                raise
        self._who, self._address = asking, address_of(request)
        self._live.doorkeeper.watch(self, asking, request)
        if self._events.first.done():
            raise error_of(self._events.first.result())  # it was over by then
        return asking

    async def _by_ticket(self, request: Request, ticket: str | None) -> Principal:
        tickets = self._live.tickets
        if ticket is None or tickets is None:
            raise UnauthenticatedError(
                "who asks? Send Authorization: Bearer and a token, or ticket= from POST /v1/tickets in the address"
            )
        name = stream_of(request.url.path, request.query_params.multi_items())
        again = "last-event-id" in request.headers
        asking, self._ticket = await tickets.open(ticket, name, again=again)
        self._live.doorkeeper.check(asking)
        return asking

    def lapsed(self, channel: int) -> None:
        """The outbox dropped what waited of the subscription."""
        self._live.hub.slow.lapsed(self, channel)

    def drained(self, lapsed: Mapping[int, int]) -> None:
        """Everything else was taken."""
        self._live.hub.slow.drained(self, lapsed)

    def subscription_ended(self, subscription_id: str) -> None:
        """The hub ended the subscription; the sink ends with its farewell, which follows."""

    def reconsider(self, about: frozenset[str] | None = None) -> None:
        """The rules are others now, of these collections or of any."""
        for effect in () if self._session is None else self._session.reconsider(about):
            if isinstance(effect, Succeed | Revoke):
                change(self._live.hub, self, effect)

    def foresee(self, policy: Policy, about: frozenset[str] | None = None) -> Iterator[None]:
        """As the session has it."""
        return iter(()) if self._session is None else self._session.foresee(policy, about)

    async def open(self, session: Session, effect: OpenSubscription, receive: Receive) -> ServiceError | None:
        """Attach, and wait until that is answered or the client is gone; the error where it is refused."""
        self._session = session
        said = {"collection": effect.query.shown_collections, "operation": effect.query.mode}
        self._live.doorkeeper.note("subscribe", self._who, self._address, **said)
        self._live.hub.attach(Subscription(effect.id, self, effect.query, effect.after, since=effect.since))
        watch = asyncio.ensure_future(gone(receive))
        first = self._events.first
        try:
            waiting: set[asyncio.Future[Any]] = {first, watch}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await self.close()
            raise
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        return error_of(first.result()) if first.done() and _kind(first.result()) == b"error" else None

    def join(self) -> None:
        """From now on it hears heartbeats and how the feed does."""
        self._live.connections.add(self)
        metrics.CONNECTIONS.inc()
        self.reconsider()  # they may have changed since it was asked for
        if self._live.degraded is not None:
            self.sink.send(self._live.degraded.encode())

    async def produce(self, write: Write) -> None:
        """Frames as they come, until the service ends the stream."""
        self._events.output = write
        await write(b"retry: %d\n\n" % random.randint(*RETRY_MS))  # noqa: S311 - a pause is no secret
        await self._events.run()

    async def close(self) -> None:
        """Let the subscription go, and the ticket."""
        self._live.hub.drop(self)
        self._live.doorkeeper.forget(self)
        if self._ticket is not None and self._live.tickets is not None:
            await self._live.tickets.release(self._ticket)
        owner: Owner = self
        if owner in self._live.connections:
            self._live.connections.discard(owner)
            metrics.CONNECTIONS.dec()


async def stream(live: Live, request: Request, position: str | None, *, ticket: str | None, **fields: Any) -> Response:
    """The event stream for a `subscribe` with these fields; `Last-Event-ID` wins over what the address says.

    An error before it begins is an answer of its own. But not to a browser that reconnects, which would give up for
    ever at any status but 200: it gets a stream that tells the error and ends.
    """
    last = request.headers.get("last-event-id")
    if last:
        position = last
        fields.pop("since", None)
    if request.method == "HEAD":
        who = await principal_of(request)
        opening(live, who, fields, position)  # refused as the stream would be
        return Head(MEDIA_TYPE, HEADERS)
    answer = EventStream(live, keyed=live.policy is not None and fields.get("mode") != "events")
    try:
        who = await answer.admit(request, ticket)
        refused = await answer.open(*opening(live, who, fields, position), request.receive)
    except ServiceError as error:
        refused = error
        answer.sink.send(ErrorFrame.of(error, ID).encode())
    if refused is not None and not last:
        await answer.close()
        raise refused
    answer.join()
    return answer


def opening(
    live: Live, who: Principal, fields: dict[str, Any], position: str | None
) -> tuple[Session, OpenSubscription]:
    """What to attach, and for whom.

    The effective query of an address is its own, so a position of it goes with that query; under rules it says which.
    """
    given = {"type": "subscribe", "id": ID, **fields}

    def opened(**more: Any) -> tuple[Session, OpenSubscription]:
        try:
            subscribe = Subscribe.model_validate(
                {name: value for name, value in (given | more).items() if value is not None}
            )
        except ValidationError as invalid:
            raise invalid_request(invalid) from None
        session = Session(ID, live.limits, live.epoch, who)
        return session, session.subscribe(subscribe)

    if position is None:
        return opened()
    if fields.get("mode") == "events":
        return opened(position=position)
    at, _, key = position.partition(".")
    if live.policy is None:
        key = key or opened()[1].query.key
    return opened(position=at, query=key) if key else opened()


def error_of(frame: bytes) -> ServiceError:
    """The error that a frame tells."""
    fields = json.loads(frame)
    kinds = {kind.code: kind for kind in ServiceError.__subclasses__()}
    kind = kinds.get(fields["code"], InternalError)
    return kind(fields["message"], details=fields.get("details"), retry_after=fields.get("retry_after"))


def _farewell(frame: bytes) -> bytes:
    """The event that ends a stream. What may succeed later is taken up where it was; anything else begins afresh."""
    fields = json.loads(frame)
    pause = fields.get("retry_after")
    milliseconds = ENDED_RETRY_MS if pause is None else max(RETRY_MS[0], math.ceil(pause * 1000))
    return b"%bretry: %d\ndata: %b\n\n" % (b"" if fields.get("retry") else b"id:\n", milliseconds, frame)


def _kind(frame: bytes) -> bytes:
    matched = _KIND.match(frame)
    return matched[1] if matched else b""


# ------------------------------------------------------------------------------------------------------- events mode


@router.head("/{collection}/events", include_in_schema=False)
@router.get(
    "/{collection}/events",
    summary="What happens, as server-sent events",
    responses=examples.EVENTS | problems(410, 422, 503, 504),
)
@ruled
async def events(
    live: Current,
    request: Request,
    collection: Annotated[str, Path(description="collection; `*` for all", min_length=1, max_length=200)],
    filter: Annotated[Text, Query(openapi_examples=examples.FILTER)] = None,  # noqa: A002 - the protocol's own word
    projection: Annotated[Text, Query(openapi_examples=examples.PROJECTION)] = None,
    operations: Annotated[Text, Query(description="a list, or names with commas", examples=["insert,delete"])] = None,
    since: Annotated[Text, Query(description="a date to begin at", examples=["2026-11-22T12:00:00Z"])] = None,
    position: Annotated[Text, Query(description="to go on from; `Last-Event-ID` wins")] = None,
    ticket: Annotated[Text, Query(description=examples.TICKET_PARAMETER)] = None,
) -> Response:
    """Events mode: each matching event after the position once. The payloads are the WebSocket's frames."""
    return await stream(
        live,
        request,
        position,
        ticket=ticket,
        mode="events",
        collection=collection,
        filter=parameter(filter, "filter"),
        projection=parameter(projection, "projection"),
        operations=_operations(operations),
        since=_date(since),
    )


def _operations(text: str | None) -> Any:
    if not text:
        return None
    return parameter(text, "operations") if text.startswith("[") else [name.strip() for name in text.split(",")]


def _date(text: str | None) -> Any:
    """A date as ISO 8601 or as Extended JSON."""
    if not text:
        return None
    return parameter(text if text.startswith("{") else ejson.encode({"$date": text}).decode(), "since")
