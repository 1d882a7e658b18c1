"""What a program holds: the client, its views and its events."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from bson import ObjectId

from realtime.client.bearer import Token
from realtime.client.failures import failure
from realtime.client.folds import EventFold, Frame, ViewFold
from realtime.client.link import Link
from realtime.client.options import LEAST_FRAME, MAX_FRAME, Options
from realtime.client.records import Backoff, Document, Event, Moment, State, Status, Written
from realtime.client.subscriber import Subscriber
from realtime.errors import DuplicateKeyError, InvalidRequestError, TimedOutError

DEFAULT_URL = "http://127.0.0.1:8000"
TURN = 64
"""Events or moments handed out between two turns of the loop, so that a busy consumer does not hold it."""
MAX_READS = 32
"""Reads of one client on the service at once; the others wait here, in order."""
EPOCH = 8
"""Characters of a position that name its history (PROTOCOL 1)."""
Filter = Mapping[str, Any]
Sort = Sequence[tuple[str, int]] | Mapping[str, int]
Pipeline = Sequence[Mapping[str, Any]]


def _given(**fields: Any) -> Frame:
    return {name: value for name, value in fields.items() if value is not None}


class _Iteration:
    """What a view and events share: opened once, waited for, closed."""

    def __init__(self, link: Link, subscriber: Subscriber) -> None:
        self._link = link
        self._subscriber = subscriber
        self._opened = False
        self._handed_out = 0

    def _open(self) -> None:
        if not self._opened and not self._subscriber.ended:
            self._opened = True
            self._link.open(self._subscriber)

    async def __aenter__(self) -> Self:
        self._open()
        try:
            while not self._subscriber.settled:
                await self._subscriber.news()
        except BaseException:
            self._link.close(self._subscriber)
            raise
        if self._subscriber.error is not None:
            raise self._subscriber.error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    def close(self) -> None:
        """End the subscription; an iteration ends when what had come is handed out."""
        self._link.close(self._subscriber)

    async def _wait(self) -> None:
        """Until there may be more; its end, or its error, where there is none any more."""
        if self._subscriber.error is not None:
            raise self._subscriber.error
        if self._subscriber.ended:
            raise StopAsyncIteration
        await self._subscriber.news()

    async def _turn(self) -> None:
        self._handed_out += 1
        if self._handed_out % TURN == 0:
            await asyncio.sleep(0)


class View(_Iteration):
    """A live query: `async with rt.query(…) as view`.

    Entering waits until it is live. Iterating gives each `Moment` since then, once; a consumer that is slower than
    the changes gets several merged into one (10,000 changes are kept for it), so that folding is exact all the same.
    The view itself is never behind. One consumer at a time.
    """

    def __init__(self, link: Link, asked: Frame) -> None:
        self._fold = ViewFold(asked)
        super().__init__(link, Subscriber(self._fold))

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._fold.begin()
        return self

    @property
    def documents(self) -> list[Document]:
        """The documents, ordered where the query has `sort` or `limit`. A new list of documents not to be changed."""
        return self._fold.documents()

    def get(self, key: Any) -> Document | None:
        """The document with this `_id`, or None. The number 1 and the double 1.0 are two keys here."""
        return self._fold.get(key)

    async def once(self, written: str | None) -> list[Document]:
        """The documents when it is live, and at or after a position of the same history; then it is closed."""
        async with self:
            reached = self.position
            if written is not None and reached is not None and reached[:EPOCH] == written[:EPOCH] and reached < written:
                await self._link.settle(written, [self._subscriber])
            if self._subscriber.error is not None:
                raise self._subscriber.error
            return self.documents

    @property
    def position(self) -> str | None:
        """The position at which `documents` is exact; None before the first snapshot."""
        return self._fold.position

    @property
    def ordered(self) -> bool:
        """Whether `documents` stand in an order that was asked for."""
        return self._fold.rows.order is not None

    @property
    def state(self) -> State:
        """`stale`: shows what it was at `position`, until the service is back and the view whole again."""
        return "closed" if self._subscriber.ended else self._fold.state

    async def __anext__(self) -> Moment:
        self._open()
        await self._turn()
        while (moment := self._fold.next_moment()) is None:
            await self._wait()
        return moment


class Events(_Iteration):
    """What happens: `async for event in rt.events(…)`, from the first step on; `async with` waits until it is live.

    A consumer that leaves more than `buffer_bytes` unread is unsubscribed and goes on from where it was once it has
    caught up, as long as the service's history reaches back. Breaking out of a loop does not end the subscription:
    use `async with`, or `close()`.
    """

    def __init__(self, link: Link, asked: Frame) -> None:
        self._fold = EventFold(asked, bound=link.options.buffer_bytes)
        super().__init__(link, Subscriber(self._fold))

    @property
    def position(self) -> str | None:
        """Where to go on from after what was handed out: the end of the last moment that was handed out whole.

        Events of one transaction share a position. After some of them this is still the position before them, so
        that going on from here repeats them rather than losing the rest. None until it is known.
        """
        return self._fold.position

    async def __anext__(self) -> Event:
        self._open()
        await self._turn()
        while (event := self._fold.next_event()) is None:
            await self._wait()
        if self._subscriber.paused and self._fold.drained:
            self._link.resume(self._subscriber)
        return event


class Client:
    """A connection to the service that mends itself; `connect` makes one."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._newest: str | None = None
        self._reads = asyncio.Semaphore(MAX_READS)

    @property
    def status(self) -> Status:
        """Of the connection and of the service's feed, now."""
        return self._link.status

    def on_status(self, listener: Callable[[Status], None]) -> Callable[[], None]:
        """Call `listener` with every new status; what is returned ends that. It must not block."""
        self._link.listeners.append(listener)
        return lambda: self._link.listeners.remove(listener)

    def query(
        self,
        collection: str,
        *,
        filter: Filter | None = None,  # noqa: A002 - MongoDB's word
        projection: Mapping[str, Any] | None = None,
        sort: Sort | None = None,
        limit: int | None = None,
        throttle: int | None = None,
        group: Mapping[str, Any] | None = None,
        pipeline: Pipeline | None = None,
        last: Mapping[str, Any] | None = None,
    ) -> View:
        """A live query. `throttle`: at most one moment in so many milliseconds.

        `last`: of what `filter` finds the documents whose date at a path lies at most so many seconds back,
        `{"path": "at", "seconds": 900}`; they leave as time goes on.

        `group`: rows instead of documents, `{"by": ["status"], "count": True, "sum": ["total"]}` (PROTOCOL 3); the
        `_id` of a row is a dict of the values at the paths of `by`.

        `pipeline`: MongoDB's own stages in place of all the others but `throttle`. A row's key is its `_id`; that of
        `$count`, which shows none, is None.
        """
        ordered = list(sort.items()) if isinstance(sort, Mapping) else sort
        pairs = None if ordered is None else [list(pair) for pair in ordered]
        stages = None if pipeline is None else list(pipeline)
        asked = _given(filter=filter, last=last, projection=projection, sort=pairs, limit=limit, throttle=throttle)
        return View(self._link, {"collection": collection, **asked, **_given(group=group, pipeline=stages)})

    def events(
        self,
        collection: str | Sequence[str] = "*",
        *,
        filter: Filter | None = None,  # noqa: A002 - MongoDB's word
        operations: Sequence[str] | None = None,
        projection: Mapping[str, Any] | None = None,
        since: dt.datetime | None = None,
        position: str | None = None,
    ) -> Events:
        """What happens in a collection, in several, or in all (`"*"`), from now on, from a date or after a position.

        Iterating raises `HistoryLostError` (`details["oldest"]`) where the service cannot go back that far, and
        `InvalidPositionError` for a position of another deployment.
        """
        names = collection if isinstance(collection, str) else list(collection)
        chosen = None if operations is None else list(operations)
        when = since.astimezone(dt.UTC) if since is not None else None
        fields = _given(filter=filter, operations=chosen, projection=projection, since=when, position=position)
        return Events(self._link, {"mode": "events", "collection": names, **fields})

    # ------------------------------------------------------------------------------------------------- reads, once

    async def get(self, collection: str, key: Any, *, projection: Mapping[str, Any] | None = None) -> Document | None:
        """The document with this `_id`, or None. Errors, and what it has, as for `find`."""
        if isinstance(key, Mapping) and "$opaque" in key:
            raise InvalidRequestError(
                "this key has no form in JSON: read by a filter on other fields, or with a driver"
            )
        found = await self.find(collection, filter={"_id": {"$eq": key}}, projection=projection)
        return found[0] if found else None

    async def find(
        self,
        collection: str,
        *,
        filter: Filter | None = None,  # noqa: A002 - MongoDB's word
        projection: Mapping[str, Any] | None = None,
        sort: Sort | None = None,
        limit: int | None = None,
    ) -> list[Document]:
        """The documents that match, as of one position, once: over this connection, without a view that stays.

        They have every write of this client that was answered. `TooLargeError` over `limits.documents` (10,000): give
        a `limit`, or read NDJSON over HTTP. `TimedOutError` after `request_timeout`, waiting for the connection
        included.
        """
        return await self._once(self.query(collection, filter=filter, projection=projection, sort=sort, limit=limit))

    async def aggregate(self, collection: str, pipeline: Pipeline) -> list[Document]:
        """The rows of a pipeline, as of one position, once. Errors, and what they are made of, as for `find`."""
        return await self._once(self.query(collection, pipeline=pipeline))

    async def count(self, collection: str, filter: Filter | None = None) -> int:  # noqa: A002 - MongoDB's word
        """How many documents match, at most 100,000. Errors as for `find`."""
        rows = await self._once(self.query(collection, filter=filter, group={"by": [], "count": True}))
        return int(rows[0]["count"]) if rows else 0

    async def _once(self, view: View) -> list[Document]:
        seconds = self._link.options.request_timeout
        try:
            async with asyncio.timeout(seconds), self._reads:
                return await view.once(self._newest)
        except TimeoutError:
            reason = self._link.status.reason
            raise TimedOutError(f"no answer in {seconds:g} s" + (f": {reason}" if reason else "")) from None

    # ------------------------------------------------------------------------------------------------------ writes

    async def insert(self, collection: str, document: Document) -> Written:
        """Insert a document; without `_id` it gets an ObjectId of this client's making.

        When the connection is lost meanwhile it is sent again, and written once: `DuplicateKeyError` for an `_id` of
        this client's making is the answer to its own first try. For an `_id` of your own nobody can tell, so that
        error has `details["maybe_written"]` then.
        """
        made = "_id" not in document
        whole = {"_id": ObjectId(), **document} if made else document
        frame = {"type": "insert", "collection": collection, "document": whole}
        async with self._link.writes:
            answer, sent = await self._link.ask(frame, repeat=True)
            if answer["type"] != "error":
                return self._written(answer)
            error = failure(answer)
            on_key = (error.details or {}).get("fields") in (None, ["_id"])
            if not isinstance(error, DuplicateKeyError) or sent < 2 or not on_key:
                raise error
            if not made:
                error.details = {**(error.details or {}), "maybe_written": True}
                raise error
            position = await self._position_of(collection, whole["_id"])
            return self._written({"position": position, "key": whole["_id"]})

    async def _position_of(self, collection: str, key: Any) -> str:
        """A position at or after that of an insert whose answer was lost: that of an update that changes nothing."""
        nothing = {"$unset": {"realtime_never_there": ""}}
        answer, _ = await self._link.ask(
            {"type": "update", "collection": collection, "key": key, "update": nothing}, repeat=True
        )
        if answer["type"] == "error":
            # It is gone again already: then the service's own position has to do.
            answer, _ = await self._link.ask({"type": "ping"}, repeat=True)
        return str(answer["position"])

    async def update(
        self,
        collection: str,
        key: Any,
        update: Mapping[str, Any],
        *,
        where: Filter | None = None,
        upsert: bool = False,
    ) -> Written:
        """Apply update operators to the document with this `_id`.

        `UnavailableError` with `details["maybe_written"]` where the connection was lost before the answer came: read
        before you repeat. `PreconditionFailedError` where the document does not match `where`.
        """
        more = _given(where=where, upsert=upsert or None)
        return await self._write({"type": "update", "collection": collection, "key": key, "update": update, **more})

    async def replace(
        self,
        collection: str,
        key: Any,
        document: Document,
        *,
        where: Filter | None = None,
        upsert: bool = False,
    ) -> Written:
        """Replace the document with this `_id`. Errors as for `update`."""
        more = _given(where=where, upsert=upsert or None)
        return await self._write(
            {"type": "replace", "collection": collection, "key": key, "document": document, **more}
        )

    async def delete(self, collection: str, key: Any, *, where: Filter | None = None) -> Written:
        """Delete the document with this `_id`. Errors as for `update`."""
        return await self._write({"type": "delete", "collection": collection, "key": key, **_given(where=where)})

    async def _write(self, frame: Frame) -> Written:
        async with self._link.writes:
            answer, _ = await self._link.ask(frame, repeat=False)
        if answer["type"] == "error":
            raise failure(answer)
        return self._written(answer)

    def _written(self, answer: Frame) -> Written:
        newest = self._newest
        # A later write of another history counts whatever its position says.
        if newest is None or answer["position"][:EPOCH] != newest[:EPOCH] or answer["position"] > newest:
            self._newest = answer["position"]
        return Written(
            answer["position"], answer["key"], answer.get("matched"), answer.get("modified"), answer.get("upserted")
        )

    async def settled(self, position: str) -> None:
        """Until every open view and events of this client are at or after a position, such as that of a write.

        `TimedOutError` after `request_timeout`.
        """
        await self._link.settle(position)


@asynccontextmanager
async def connect(
    url: str = DEFAULT_URL,
    *,
    token: Token = None,
    backoff: Backoff = Backoff(),  # noqa: B008 - frozen
    connect_timeout: float | None = 10.0,
    request_timeout: float = 30.0,
    buffer_bytes: int = 8 * 1024 * 1024,
    max_frame: int = MAX_FRAME,
) -> AsyncIterator[Client]:
    """A client of the service at `url` (http, https, ws or wss; with its path prefix where it has one).

    `token`: text, or a function, async or not, that is asked for one at each connection, and for a newer one before
    that ends. `connect_timeout`: seconds until the first connection, None waits for ever; later the client goes on
    trying. `request_timeout`: seconds for a write or a fence, waiting for the connection included. `buffer_bytes`: JSON
    text kept for one slow consumer of events. `max_frame`: bytes of the largest frame that is taken, at least 4096; a
    document beyond it ends its subscription.
    """
    if max_frame < LEAST_FRAME:
        raise InvalidRequestError(f"max_frame: at least {LEAST_FRAME} bytes", details={"field": "max_frame"})
    link = Link(Options(url, token, backoff, connect_timeout, request_timeout, buffer_bytes, max_frame))
    await link.start()
    try:
        yield Client(link)
    finally:
        await link.stop()
