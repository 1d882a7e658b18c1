"""Collections, and the documents of one: a page, all of them as NDJSON, or the live query, by what is accepted."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from realtime.core.bson import ejson, keys
from realtime.core.connection.requests import check_collection
from realtime.core.live.events import format_position
from realtime.core.mql.filters import Filter, compile_filter, overlaps
from realtime.core.mql.projection import Projection, compile_projection
from realtime.core.mql.vision import Vision
from realtime.core.wire import cursor
from realtime.errors import InvalidRequestError
from realtime.ports import VoidReadError
from realtime.web.entrance.live import Current, Live, note, principal_of, ruled, seen_by, vision_of
from realtime.web.entrance.problems import problems
from realtime.web.entrance.sets import void
from realtime.web.entrance.shared import SharedRoute
from realtime.web.entrance.streaming import EVENT_STREAM, Head, accepted
from realtime.web.http import examples, ndjson, sse
from realtime.web.http.bodies import Collection, Text, answer, parameter, sort_of, sort_parameter

MAX_PAGE, PAGE = 1000, 100
MAX_SKIP = 1_000_000


class ByAccept(sse.StreamRoute):
    """A route whose every answer, a problem too, is one of several that `Accept` chooses from."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            response = await handle(request)
            response.headers.add_vary_header("Accept")
            return response

        return handler


router = APIRouter(prefix="/v1/collections", route_class=SharedRoute, tags=["documents"])
by_accept = APIRouter(route_class=ByAccept)


@router.head("", include_in_schema=False)
@router.get("", summary="Names and estimated counts", responses=examples.COLLECTIONS | problems(503))
@ruled
async def collections(live: Current, request: Request) -> Response:
    """Every collection of the database that can be subscribed to, by name; each count has what happened by then.

    Under rules those that whoever asks may read, with counts where they may read every document.
    """
    note(request, "list")
    policy, serves = live.policy, live.limits.collections.serves
    if policy is None:
        found = await live.reader.collections(serves)
    else:
        who = await principal_of(request)
        found = await live.reader.collections(
            lambda name: serves(name) and policy.reading(who, name).granted,
            lambda name: policy.reading(who, name).every_row,
        )
    told: list[dict[str, Any]] = [{"name": name} for name, _, _ in found]
    for shown, (_, count, time) in zip(told, found, strict=True):
        if time is not None:
            shown |= {"count": count, "position": format_position(live.epoch, time)}
    return answer({"collections": told})


@dataclass(frozen=True, slots=True)
class Listing:
    """What was asked for, checked; each kind of answer refuses what does not go with it.

    `filter` is asked of the documents alone that `vision` lets be seen, as of `at`, or whenever it is read.
    """

    collection: str
    vision: Vision
    filter: dict[str, Any]
    projection: Projection
    sort: dict[str, int]
    limit: int | None
    skip: int | None
    at: int | None = None

    @property
    def identity(self) -> bytes:
        """What a cursor belongs to: the same documents in the same order."""
        return ejson.encode([self.collection, self.filter, list(cursor.sort_keys(self.sort).items())])

    @property
    def rule(self) -> dict[str, Any] | None:
        """Which documents may be seen, for MongoDB."""
        return None if self.vision.everything else self.vision.rule.source

    def command(self, selection: dict[str, Any], limit: int | None, projection: dict[str, Any]) -> dict[str, Any]:
        """`find`'s own options."""
        given = {"filter": selection, "projection": projection, "sort": self.sort, "limit": limit, "skip": self.skip}
        return {name: value for name, value in given.items() if value}


@by_accept.head("/{collection}/documents", include_in_schema=False)
@by_accept.get(
    "/{collection}/documents",
    summary="List documents",
    responses=examples.PAGE | problems(413, 422, 503, 504),
)
@ruled
async def list_documents(
    live: Current,
    request: Request,
    collection: Collection,
    filter: Annotated[Text, Query(openapi_examples=examples.FILTER)] = None,  # noqa: A002 - the protocol's own word
    last: Annotated[Text, Query(description="of the live query: {path, seconds}, as JSON")] = None,
    projection: Annotated[Text, Query(openapi_examples=examples.PROJECTION)] = None,
    sort: Annotated[Text, Query(openapi_examples=examples.SORT)] = None,
    limit: Annotated[int | None, Query(ge=1, description="of a page: 100, at most 1000")] = None,
    skip: Annotated[int | None, Query(ge=0, le=MAX_SKIP)] = None,
    after: Annotated[Text, Query(description="`next` of the page before")] = None,
    throttle: Annotated[int | None, Query(ge=0, description="of the live query, in ms")] = None,
    group: Annotated[Text, Query(description="of the live query: rows", openapi_examples=examples.GROUP)] = None,
    count: Annotated[bool, Query(description="of a page: how many documents match in all, as `count`")] = False,
    position: Annotated[Text, Query(description="of the live query, to go on from; `Last-Event-ID` wins")] = None,
    ticket: Annotated[Text, Query(description=f"of the live query, {examples.TICKET_PARAMETER}")] = None,
) -> Response:
    """A page is a snapshot read; `position` is its time. `sort` is always followed by `_id`.

    `Accept: application/x-ndjson` gives all documents, one a line; `Accept: text/event-stream` is the live query, with
    `sort` and `limit` as a window, or with `group` as rows.
    """
    kinds = accepted(request)
    if EVENT_STREAM in kinds:
        _refuse("a live query", skip=skip, after=after, count=count or None)
        return await sse.stream(
            live,
            request,
            position,
            ticket=ticket,
            collection=collection,
            filter=parameter(filter, "filter"),
            last=parameter(last, "last"),
            projection=parameter(projection, "projection"),
            sort=sort_parameter(sort),
            limit=limit,
            throttle=throttle,
            group=parameter(group, "group"),
        )
    _refuse("a page", last=last, throttle=throttle, group=group, position=position, ticket=ticket)
    check_collection(collection)
    selection = compile_filter(parameter(filter, "filter"), live.limits.filter)
    shown = compile_projection(parameter(projection, "projection"))
    mine = await vision_of(request, collection)
    vision = mine.vision
    listing = Listing(collection, vision, selection.source, shown, sort_of(sort), limit, skip, mine.at)
    vision.check(selection, shown, sorted_by=list(listing.sort))
    # MongoDB says nothing of a zone that it does not know where no document needs it, and else blames a document.
    await live.reader.zones({**shown.zones, **selection.zones})
    facts = await live.reader.describe(collection)
    if ndjson.MEDIA_TYPE in kinds:
        _refuse("NDJSON", after=after, count=count or None)
        note(request, "read", collection, operation="ndjson")
        return await _lines(live, request, listing, selection)
    facts.check_snapshots(collection)
    note(request, "list", collection)
    return await _page(live, listing, after, count=count)


# ------------------------------------------------------------------------------------------------------------- inside


def _refuse(kind: str, **parameters: Any) -> None:
    for name, value in parameters.items():
        if value is not None:
            raise InvalidRequestError(f"{name}: does not go with {kind}", details={"field": name})


async def _lines(live: Live, request: Request, listing: Listing, selection: Filter) -> Response:
    if request.method == "HEAD":
        return Head(ndjson.MEDIA_TYPE, ndjson.HEADERS)
    stay = live.doorkeeper.stay(await principal_of(request), request)
    # Under rules a document is asked about again when it is sent, so it is read whole.
    shown = {} if live.policy is not None else listing.projection.source
    command = listing.command(listing.filter, listing.limit, shown)
    stream = await live.reader.stream(listing.collection, command, listing.rule)
    here = listing.projection if live.policy is None else await _spoken(live, listing.projection)

    async def let(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What whoever asks may have of them now."""
        await stay.check()
        if live.policy is None:
            return documents
        now = (await seen_by(live, stay.principal, listing.collection)).vision
        if not now.same(listing.vision):
            now.check(selection, listing.projection, sorted_by=list(listing.sort))
            documents = list(filter(now.sees, documents))
        return list(map(now.projected(here).apply, documents))

    return ndjson.Lines(stream, let)


async def _page(live: Live, listing: Listing, after: str | None, *, count: bool) -> Response:
    limit = PAGE if listing.limit is None else listing.limit
    if limit > MAX_PAGE:
        raise InvalidRequestError(
            f"limit: a page has at most {MAX_PAGE} documents; Accept: {ndjson.MEDIA_TYPE} gives all of them",
            details={"field": "limit"},
        )
    selection, values = listing.filter, None
    if after is not None:
        if listing.skip is not None:
            raise InvalidRequestError("skip: `after` says already where to begin", details={"field": "skip"})
        values = cursor.values_of(after, listing.identity, listing.sort)
        selection = cursor.following(selection, listing.sort, values)
    # The cursor is made from the sort keys, so what hides them is applied here.
    whole = listing.vision.cuts or not all(_shows(listing.projection, path) for path in cursor.sort_keys(listing.sort))
    projection = {} if whole else listing.projection.source
    command = listing.command(selection, limit, projection)
    try:
        page = await live.reader.page(listing.collection, command, listing.rule, at=listing.at)
    except VoidReadError:
        raise void() from None
    documents = page.documents
    if values is not None:
        cursor.check(listing.sort, values, documents)
    following = cursor.cursor(listing.identity, listing.sort, documents) if len(documents) == limit else None
    if whole:
        projection_here = listing.vision.projected(await _spoken(live, listing.projection))
        documents = [projection_here.apply(document) for document in documents]
    documents = [keys.with_marks(document) for document in documents]
    shown = {"documents": documents, "next": following, "position": format_position(live.epoch, page.time)}
    if count:
        shown["count"] = await live.reader.count(listing.collection, listing.filter, page.time, listing.rule)
    return answer(shown)


router.include_router(by_accept)


async def _spoken(live: Live, projection: Projection) -> Projection:
    """The projection as the server at hand means it, to be applied here."""
    spoken = projection.spoken(live.hub.groups.dialects.now)
    return spoken.told(await live.reader.zones(spoken.zones)) if spoken.zones else spoken


def _shows(projection: Projection, path: str) -> bool:
    """Whether a value at this path comes through, and all of it."""
    if any(overlaps(path, other) for other in projection.computed | projection.hidden):
        return False
    parts = path.split(".")
    probe: Any = 0
    for part in reversed(parts):
        probe = {part: probe}
    found: Any = projection.apply(probe)
    for part in parts:
        if not isinstance(found, dict) or part not in found:
            return False
        found = found[part]
    return True
