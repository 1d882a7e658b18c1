"""Collections, and the documents of one: a page, all of them as NDJSON, or the live query, by what is accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from realtime.core.bson import ejson
from realtime.core.connection.session import check_collection
from realtime.core.live.events import format_position
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.projection import Projection, compile_projection
from realtime.core.wire import cursor
from realtime.errors import InvalidRequestError
from realtime.web.entrance.live import Current, Live
from realtime.web.entrance.problems import ProblemRoute, problems
from realtime.web.http import examples, ndjson, sse
from realtime.web.http.bodies import Collection, Text, answer, parameter, sort_of

MAX_PAGE, PAGE = 1000, 100
MAX_SKIP = 1_000_000

router = APIRouter(prefix="/v1/collections", route_class=ProblemRoute, tags=["documents"])


@router.head("", include_in_schema=False)
@router.get("", summary="Names and estimated counts", responses=examples.COLLECTIONS | problems(503))
async def collections(live: Current) -> Response:
    """Every collection of the database that can be subscribed to, by name."""
    found = await live.reader.collections()
    served = [{"name": name, "count": count} for name, count in found if live.limits.collections.serves(name)]
    return answer({"collections": served})


@dataclass(frozen=True, slots=True)
class Listing:
    """What was asked for, checked; each kind of answer refuses what does not go with it."""

    collection: str
    filter: dict[str, Any]
    projection: Projection
    sort: dict[str, int]
    limit: int | None
    skip: int | None

    @property
    def identity(self) -> bytes:
        """What a cursor belongs to: the same documents in the same order."""
        return ejson.encode([self.collection, self.filter, list(cursor.sort_keys(self.sort).items())])

    def command(self, selection: dict[str, Any], limit: int | None, projection: dict[str, Any]) -> dict[str, Any]:
        """`find`'s own options."""
        given = {"filter": selection, "projection": projection, "sort": self.sort, "limit": limit, "skip": self.skip}
        return {name: value for name, value in given.items() if value}


@router.head("/{collection}/documents", include_in_schema=False)
@router.get("/{collection}/documents", summary="List documents", responses=examples.PAGE | problems(413, 422, 503, 504))
async def list_documents(
    live: Current,
    request: Request,
    collection: Collection,
    filter: Annotated[Text, Query(openapi_examples=examples.FILTER)] = None,  # noqa: A002 - the protocol's own word
    projection: Annotated[Text, Query(openapi_examples=examples.PROJECTION)] = None,
    sort: Annotated[Text, Query(openapi_examples=examples.SORT)] = None,
    limit: Annotated[int | None, Query(ge=1, description="of a page: 100, at most 1000")] = None,
    skip: Annotated[int | None, Query(ge=0, le=MAX_SKIP)] = None,
    after: Annotated[Text, Query(description="`next` of the page before")] = None,
    throttle: Annotated[int | None, Query(ge=0, description="of the live query, in ms")] = None,
    group: Annotated[Text, Query(description="of the live query: rows", openapi_examples=examples.GROUP)] = None,
    position: Annotated[Text, Query(description="of the live query, to go on from; `Last-Event-ID` wins")] = None,
) -> Response:
    """A page is a snapshot read; `position` is its time. `sort` is always followed by `_id`.

    `Accept: application/x-ndjson` gives all documents, one a line; `Accept: text/event-stream` is the live query, with
    `sort` and `limit` as a window, or with `group` as rows.
    """
    kinds = accepted(request)
    if sse.MEDIA_TYPE in kinds:
        _refuse("a live query", skip=skip, after=after)
        return await sse.stream(
            live,
            request,
            position,
            collection=collection,
            filter=parameter(filter, "filter"),
            projection=parameter(projection, "projection"),
            sort=parameter(sort, "sort"),
            limit=limit,
            throttle=throttle,
            group=parameter(group, "group"),
        )
    _refuse("a page", throttle=throttle, group=group, position=position)
    check_collection(collection)
    selection = compile_filter(parameter(filter, "filter"), live.limits.filter)
    shown = compile_projection(parameter(projection, "projection"))
    listing = Listing(collection, selection.source, shown, sort_of(sort), limit, skip)
    await live.reader.describe(collection)
    if ndjson.MEDIA_TYPE in kinds:
        _refuse("NDJSON", after=after)
        return await _lines(live, request, listing)
    return await _page(live, listing, after)


def accepted(request: Request) -> set[str]:
    """The media types of `Accept`, without their parameters."""
    given = ",".join(request.headers.getlist("accept"))
    return {kind.split(";")[0].strip().lower() for kind in given.split(",")}


# ------------------------------------------------------------------------------------------------------------- inside


def _refuse(kind: str, **parameters: Any) -> None:
    for name, value in parameters.items():
        if value is not None:
            raise InvalidRequestError(f"{name}: does not go with {kind}", details={"field": name})


async def _lines(live: Live, request: Request, listing: Listing) -> Response:
    if request.method == "HEAD":
        return Response(None, 200, ndjson.HEADERS, ndjson.MEDIA_TYPE)
    command = listing.command(listing.filter, listing.limit, listing.projection.source)
    return ndjson.Lines(await live.reader.stream(listing.collection, command))


async def _page(live: Live, listing: Listing, after: str | None) -> Response:
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
    whole = not all(_shows(listing.projection, path) for path in cursor.sort_keys(listing.sort))
    projection = {} if whole else listing.projection.source
    page = await live.reader.page(listing.collection, listing.command(selection, limit, projection))
    documents = page.documents
    if values is not None:
        cursor.check(listing.sort, values, documents)
    following = cursor.cursor(listing.identity, listing.sort, documents) if len(documents) == limit else None
    if whole:
        documents = [listing.projection.apply(document) for document in documents]
    return answer({"documents": documents, "next": following, "position": format_position(live.epoch, page.time)})


def _shows(projection: Projection, path: str) -> bool:
    """Whether a value at this path comes through."""
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
