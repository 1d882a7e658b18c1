"""Documents over HTTP, one at a time, and the list. Bodies and answers are Extended JSON."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any
from urllib.parse import quote

from bson.objectid import ObjectId
from fastapi import APIRouter, Path, Query, Request, Response

from realtime.core import ejson
from realtime.core.events import format_position
from realtime.core.filters import compile_filter
from realtime.core.projection import compile_projection
from realtime.core.session import check_collection
from realtime.core.updates import check_document, check_update
from realtime.core.values import order
from realtime.errors import ForbiddenError, InvalidRequestError, MalformedFrameError, TooLargeError
from realtime.ports import Written
from realtime.web import examples
from realtime.web.live import Current, Live
from realtime.web.problems import ProblemRoute, problems

MAX_PAGE = 1000
MAX_SKIP = 1_000_000
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")
_JSON = "application/json"

router = APIRouter(prefix="/v1/collections", route_class=ProblemRoute, tags=["documents"])

Collection = Annotated[str, Path(description="collection", examples=["orders"], min_length=1, max_length=200)]
Key = Annotated[
    str,
    Path(
        description='`_id`: 24 hex digits are an ObjectId; Extended JSON (`{"$numberInt":"7"}`, `"quoted"`) is that '
        "value; anything else is the string",
        examples=["6579f0c2a1b2c3d4e5f60718"],
    ),
]
Text = Annotated[str | None, Query(max_length=65536)]


@router.get("", summary="Names and estimated counts", responses=examples.COLLECTIONS | problems(503))
async def collections(live: Current) -> Response:
    """Every collection of the database that can be subscribed to, by name."""
    found = await live.reader.collections()
    served = [{"name": name, "count": count} for name, count in found if live.limits.collections.serves(name)]
    return _answer({"collections": served})


@router.get("/{collection}/documents", summary="List documents", responses=examples.PAGE | problems(422, 503, 504))
async def list_documents(
    live: Current,
    request: Request,
    collection: Collection,
    filter: Annotated[Text, Query(openapi_examples=examples.FILTER)] = None,  # noqa: A002 - the protocol's own word
    projection: Annotated[Text, Query(openapi_examples=examples.PROJECTION)] = None,
    sort: Annotated[Text, Query(openapi_examples=examples.SORT)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    skip: Annotated[int, Query(ge=0, le=MAX_SKIP)] = 0,
) -> Response:
    """A snapshot read; `position` is its time. `sort` is always followed by `_id`."""
    for kind in ("text/event-stream", "application/x-ndjson"):
        if kind in request.headers.get("accept", ""):
            raise InvalidRequestError(f"Accept: {kind} is not supported yet", details={"field": "Accept"})
    check_collection(collection)
    await live.reader.describe(collection)
    selection = compile_filter(_object(filter, "filter"), live.limits.filter)
    shown = compile_projection(_object(projection, "projection"))
    command = {
        "filter": selection.source,
        "projection": shown.source,
        "sort": _sort(sort),
        "limit": limit,
        "skip": skip,
    }
    page = await live.reader.page(collection, command)
    return _answer({"documents": page.documents, "next": None, "position": format_position(live.epoch, page.time)})


@router.post(
    "/{collection}/documents",
    status_code=201,
    summary="Insert one document",
    responses=examples.INSERTED | problems(400, 403, 409, 413, 422, 503, 504),
    openapi_extra=examples.DOCUMENT_BODY,
)
async def insert(live: Current, request: Request, collection: Collection) -> Response:
    """Without `_id` it gets an ObjectId. A key of the client's own makes a repeated insert answer 409."""
    document = await _body(request, live, collection)
    if isinstance(document, list):
        raise InvalidRequestError("several documents at once are not supported yet: insert one")
    if not isinstance(document, dict):
        raise InvalidRequestError("a document is an object")
    check_document(document)
    written = await live.writer.insert(collection, document)
    text = _key_text(written.key)
    headers = {} if text is None else {"Location": f"{request.url.path}/{text}"}
    return _answer({"keys": [written.key], "position": _position(live, written)}, 201, headers)


@router.get("/{collection}/documents/{key:path}", summary="Read one", responses=examples.ONE | problems(404, 503))
async def read(live: Current, collection: Collection, key: Key) -> Response:
    """The document, with an `ETag` of what is shown."""
    check_collection(collection)
    body = ejson.encode(await live.reader.get(collection, _key(key)))
    etag = hashlib.sha256(body).hexdigest()[:32]
    return Response(body, 200, {"ETag": f'"{etag}"'}, _JSON)


@router.put(
    "/{collection}/documents/{key:path}",
    summary="Replace one",
    responses=examples.CHANGED | examples.MADE | problems(400, 403, 404, 413, 422, 503, 504),
    openapi_extra=examples.DOCUMENT_BODY,
)
async def replace(live: Current, request: Request, collection: Collection, key: Key, upsert: bool = False) -> Response:
    """The whole document but its key. 201 where `upsert` made one."""
    document = await _body(request, live, collection)
    if not isinstance(document, dict):
        raise InvalidRequestError("a document is an object")
    check_document(document)
    value = _key(key)
    if "_id" in document and order(document["_id"]) != order(value):
        raise InvalidRequestError("document: its _id is not the key of the path", details={"field": "_id"})
    written = await live.writer.replace(collection, value, document, upsert=upsert)
    return _changed(live, written)


@router.patch(
    "/{collection}/documents/{key:path}",
    summary="Update one",
    responses=examples.CHANGED | examples.MADE | problems(400, 403, 404, 413, 422, 503, 504),
    openapi_extra=examples.UPDATE_BODY,
)
async def update(live: Current, request: Request, collection: Collection, key: Key, upsert: bool = False) -> Response:
    """The body is MongoDB's update operators."""
    operators = await _body(request, live, collection)
    check_update(operators, live.limits.filter)
    written = await live.writer.update(collection, _key(key), operators, upsert=upsert)
    return _changed(live, written)


@router.delete(
    "/{collection}/documents/{key:path}",
    summary="Delete one",
    responses=examples.CHANGED | problems(403, 404, 422, 503, 504),
)
async def delete(live: Current, request: Request, collection: Collection, key: Key) -> Response:
    """404 where there is none."""
    _check_write(request, live, collection)
    return _changed(live, await live.writer.delete(collection, _key(key)))


# ------------------------------------------------------------------------------------------------------------- inside


def _answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(ejson.encode(value), status, headers, _JSON)


def _position(live: Live, written: Written) -> str:
    return format_position(live.epoch, written.time)


def _changed(live: Live, written: Written) -> Response:
    fields = {
        "position": _position(live, written),
        "key": written.key,
        "matched": written.matched,
        "modified": written.modified,
        "upserted": written.upserted,
    }
    shown = {name: value for name, value in fields.items() if value is not None or name == "key"}
    return _answer(shown, 201 if written.upserted else 200)


def _check_write(request: Request, live: Live, collection: str) -> None:
    if live.limits.read_only:
        raise ForbiddenError("the service is read-only (it was started with --read-only)")
    if "if-match" in request.headers:
        # Ignoring it would overwrite what the caller wanted protected.
        raise InvalidRequestError(
            "If-Match is not supported yet: use `where` over the WebSocket", details={"field": "If-Match"}
        )
    check_collection(collection)


async def _body(request: Request, live: Live, collection: str) -> Any:
    """The body of a write, bounded before it is parsed."""
    _check_write(request, live, collection)
    limit = live.settings.document_bytes
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > limit:
            raise TooLargeError(f"the body is larger than {limit} bytes", details={"limit": limit})
    try:
        return ejson.decode(bytes(received))
    except ejson.EjsonValueError as error:
        raise InvalidRequestError(f"body: {error}") from None
    except ejson.EjsonError as error:
        raise MalformedFrameError(f"body: {error}") from None


def _object(text: str | None, field: str) -> Any:
    if text is None:
        return None
    try:
        return ejson.decode(text)
    except ejson.EjsonError as error:
        raise InvalidRequestError(f"{field}: {error}", details={"field": field}) from None


def _sort(text: str | None) -> dict[str, int]:
    """A list of [path, 1 or -1], or an object; `_id` last where it is not named."""
    given = _object(text, "sort")
    if given is None:
        given = []
    pairs = list(given.items()) if isinstance(given, dict) else given
    if not isinstance(pairs, list) or len(pairs) > 32:
        raise InvalidRequestError("sort: a list of at most 32 [path, 1 or -1]", details={"field": "sort"})
    keys: dict[str, int] = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise InvalidRequestError("sort: each key is [path, 1 or -1]", details={"field": "sort"})
        path, direction = pair
        bad_path = not isinstance(path, str) or not path or "$" in path or "\0" in path or path in keys
        if bad_path or isinstance(direction, bool) or direction not in (1, -1):
            raise InvalidRequestError(f"sort: not a [path, 1 or -1]: {pair!r:.80}", details={"field": "sort"})
        keys[path] = int(direction)
    keys.setdefault("_id", 1)
    return keys


def _key(text: str) -> Any:
    """The value that a path's last component stands for."""
    if _OBJECT_ID.fullmatch(text):
        return ObjectId(text)
    if text[:1] in {"{", '"'}:
        try:
            return ejson.decode(text)
        except ejson.EjsonError as error:
            raise InvalidRequestError(f"key: {error}", details={"field": "key"}) from None
    return text


def _key_text(key: Any) -> str | None:
    """How `_key` reads the same value back; None for true, false, null and "", which have no such text."""
    if isinstance(key, ObjectId):
        return str(key)
    if isinstance(key, str) and key and key[0] not in '{"' and not _OBJECT_ID.fullmatch(key):
        return quote(key, safe="")
    if key is None or isinstance(key, bool) or key == "":
        return None
    if isinstance(key, int):
        key = {"$numberInt" if -(2**31) <= key < 2**31 else "$numberLong": str(key)}
    elif isinstance(key, float):
        key = {"$numberDouble": repr(key).replace("inf", "Infinity").replace("nan", "NaN")}
    return quote(ejson.encode(key).decode(), safe="")
