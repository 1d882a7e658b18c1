"""Pipelines over HTTP, asked once: rows as JSON or as NDJSON; or the live query, by what is accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response

from realtime.core.bson import keys
from realtime.core.connection.requests import check_collection
from realtime.core.live.events import format_position
from realtime.core.mql.pipelines.compiling import compile_pipeline
from realtime.core.mql.pipelines.hidden import taken_out
from realtime.core.mql.pipelines.pipeline import Pipeline
from realtime.core.mql.projection import EVERYTHING
from realtime.core.mql.vision import Vision
from realtime.core.wire.protocol import MAX_THROTTLE
from realtime.errors import ForbiddenError, InvalidRequestError, UnavailableError
from realtime.ports import VoidReadError
from realtime.web.entrance.live import Current, Live, note, principal_of, ruled, seen_by, vision_of
from realtime.web.entrance.problems import problems
from realtime.web.entrance.sets import void
from realtime.web.entrance.shared import SharedRoute
from realtime.web.entrance.streaming import EVENT_STREAM, Head, accepted, gone
from realtime.web.http import examples, ndjson, sse
from realtime.web.http.bodies import Collection, Text, answer, body, parameter
from realtime.web.http.listing import ByAccept

T = TypeVar("T")

router = APIRouter(prefix="/v1/collections", route_class=SharedRoute, tags=["documents"])
by_accept = APIRouter(route_class=ByAccept)

Throttle = Annotated[int | None, Query(ge=0, le=MAX_THROTTLE, description="of the live query, in ms")]
Position = Annotated[Text, Query(description="of the live query, to go on from; `Last-Event-ID` wins")]


@dataclass(frozen=True, slots=True)
class Asked:
    """A pipeline once, checked: of the documents that `vision` lets be seen, at the time `at` where that is given."""

    collection: str
    pipeline: Pipeline
    vision: Vision
    at: int | None

    @property
    def rule(self) -> dict[str, Any] | None:
        """Which documents may be seen, for MongoDB."""
        return None if self.vision.everything else self.vision.rule.source

    @property
    def moves(self) -> bool:
        """Whether what it gives goes with the time at which it is asked."""
        return self.pipeline.match.moving is not None

    def sent(self, second: int) -> list[dict[str, Any]]:
        """The stages for MongoDB, `second` in place of `$$NOW`.

        `ForbiddenError` where what is shown of a document goes with the document, or its answer might tell of what is
        hidden.
        """
        cut = self.vision.cut_alike
        if cut is None:
            raise ForbiddenError("pipeline: several grants show you different fields here: ask for it as a live query")
        return self.pipeline.sent(self.rule, taken_out(cut, self.pipeline.source), second)


@by_accept.head("/{collection}/aggregate", include_in_schema=False)
@by_accept.get(
    "/{collection}/aggregate",
    summary="What a pipeline makes of the documents",
    responses=examples.ROWS | problems(413, 422, 503, 504),
)
@ruled
async def aggregate(
    live: Current,
    request: Request,
    collection: Collection,
    pipeline: Annotated[Text, Query(description="a list of stages", openapi_examples=examples.PIPELINE)] = None,
    throttle: Throttle = None,
    position: Position = None,
    ticket: Annotated[Text, Query(description=f"of the live query, {examples.TICKET_PARAMETER}")] = None,
) -> Response:
    """Rows as of one moment; `position` is its time.

    `Accept: application/x-ndjson` gives any number of rows, one a line; `Accept: text/event-stream` is the live query.
    """
    stages = parameter(pipeline, "pipeline")
    return await _answer(live, request, collection, stages, throttle, position, ticket)


@by_accept.post(
    "/{collection}/aggregate",
    summary="What a pipeline makes of the documents, for one that is too long for an address",
    responses=examples.ROWS | problems(400, 413, 422, 503, 504),
    openapi_extra=examples.PIPELINE_BODY,
)
@ruled
async def aggregate_posted(
    live: Current, request: Request, collection: Collection, throttle: Throttle = None, position: Position = None
) -> Response:
    """The body is the list of stages; all else is as with `GET`. Nothing is written."""
    stages = await body(request, live.settings.frame_bytes)
    return await _answer(live, request, collection, stages, throttle, position, None)


# ------------------------------------------------------------------------------------------------------------- inside


async def _answer(
    live: Live,
    request: Request,
    collection: str,
    stages: Any,
    throttle: int | None,
    position: str | None,
    ticket: str | None,
) -> Response:
    if stages is None:
        raise InvalidRequestError("pipeline: a list of stages", details={"field": "pipeline"})
    kinds = accepted(request)
    if EVENT_STREAM in kinds:
        fields = {"collection": collection, "pipeline": stages, "throttle": throttle}
        return await sse.stream(live, request, position, ticket=ticket, **fields)
    for name, value in {"throttle": throttle, "position": position, "ticket": ticket}.items():
        if value is not None:
            raise InvalidRequestError(f"{name}: belongs to the live query", details={"field": name})
    check_collection(collection)
    asked = await _asked(live, request, collection, stages)
    facts = await live.reader.describe(collection)
    if ndjson.MEDIA_TYPE in kinds:
        note(request, "read", collection, operation="aggregate")
        return await _while_there(request, _lines(live, request, asked))
    facts.check_snapshots(collection)
    note(request, "read", collection, operation="aggregate")
    return await _while_there(request, _rows(live, asked))


async def _asked(live: Live, request: Request, collection: str, stages: Any) -> Asked:
    pipeline = compile_pipeline(stages)
    mine = await vision_of(request, collection)
    mine.vision.check(pipeline.match, EVERYTHING)
    # MongoDB says nothing of a zone that it does not know where no document needs it, and else blames a document.
    await live.reader.zones({**pipeline.zones, **pipeline.match.zones})
    return Asked(collection, pipeline, mine.vision, mine.at)


async def _rows(live: Live, asked: Asked) -> Response:
    bounds = {"rows": live.limits.documents, "size": live.settings.group_bytes, "rule": asked.rule}
    second = await _second(live, asked)
    try:
        page = await live.reader.aggregate(asked.collection, asked.sent(second), **bounds, at=asked.at)
        if asked.moves and second != page.time >> 32:
            # MongoDB chose a time of another second, which is the one that `$$NOW` has to be.
            page = await live.reader.aggregate(asked.collection, asked.sent(page.time >> 32), **bounds, at=page.time)
    except VoidReadError:
        raise void() from None
    rows = [keys.with_marks(row) for row in page.documents]
    return answer({"documents": rows, "position": format_position(live.epoch, page.time)})


async def _second(live: Live, asked: Asked) -> int:
    """Of the cluster's time; 0 where nobody asks for it."""
    if not asked.moves:
        return 0
    now: int = asked.at or await live.reader.now()
    return now >> 32


async def _while_there(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """What `work` comes to; it ends at once when whoever asked is gone, and nothing of it is left in MongoDB."""
    task, watch = asyncio.ensure_future(work), asyncio.ensure_future(gone(request.receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return await task
        return Response(None, 204)  # to nobody
    finally:
        for one in (task, watch):
            one.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _lines(live: Live, request: Request, asked: Asked) -> Response:
    if request.method == "HEAD":
        return Head(ndjson.MEDIA_TYPE, ndjson.HEADERS)
    stay = live.doorkeeper.stay(await principal_of(request), request)
    stages = asked.sent(await _second(live, asked))
    stream = await live.reader.stream_rows(asked.collection, stages, rule=asked.rule)

    async def let(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows, while whoever asks may have what they are made of."""
        await stay.check()
        if live.policy is not None:
            now = (await seen_by(live, stay.principal, asked.collection)).vision
            if not now.same(asked.vision):
                # Nobody can tell of a row which documents are in it.
                raise UnavailableError("the rules have changed meanwhile: ask again", retry_after=1)
        return rows

    return ndjson.Lines(stream, let)


router.include_router(by_accept)
