"""Documents over HTTP: insert, read, replace, update, delete. Bodies and answers are Extended JSON."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from realtime.core.bson import keys, stored
from realtime.core.bson.values import order
from realtime.core.connection.requests import check_collection
from realtime.core.live.events import format_position
from realtime.core.mql.updates import check_document, check_update
from realtime.errors import ForbiddenError, InvalidRequestError, ServiceError, no_document
from realtime.ports import VoidReadError, Writer, Written
from realtime.web.entrance.doorkeeper import address_of
from realtime.web.entrance.live import Current, Live, note, principal_of, ruled, vision_of
from realtime.web.entrance.paths import PATH_BYTES, document_path
from realtime.web.entrance.problems import problems
from realtime.web.entrance.sets import void
from realtime.web.entrance.shared import SharedRoute
from realtime.web.http import examples
from realtime.web.http.bodies import JSON, Collection, answer, body
from realtime.web.http.etags import condition, etag, is_unchanged, seen
from realtime.web.http.keys import Key, key_of, key_text

MAX_DOCUMENTS = 1000
NO_LOCATION = (
    f"the path of this key would be longer than {PATH_BYTES} bytes: read it by a filter on _id, write to it over "
    "WebSocket"
)

router = APIRouter(prefix="/v1/collections", route_class=SharedRoute, tags=["documents"])


@router.post(
    "/{collection}/documents",
    status_code=201,
    summary="Insert one document, or a list of them in one transaction",
    responses=examples.INSERTED | problems(400, 403, 409, 413, 422, 503, 504),
    openapi_extra=examples.INSERT_BODY,
)
@ruled
async def insert(live: Current, request: Request, collection: Collection) -> Response:
    """Without `_id` it gets an ObjectId. A key of the client's own makes a repeated insert answer 409.

    Of a list all documents are inserted or none: subscribers see them in one moment.
    """
    given = await _body(request, live, collection)
    if isinstance(given, list):
        return await _insert_many(live, request, collection, given)
    _check_document(given)
    writer = await _writer(live, request)
    written = await writer.insert(collection, given)
    note(request, "write", collection, operation="insert", key=written.key, position=_position(live, written.time))
    text = key_text(written.key)
    path = None if text is None else document_path(request, collection, text)
    shown = {"keys": [written.key], "position": format_position(live.epoch, written.time)}
    if path is None:
        return answer({**shown, "no_location": NO_LOCATION}, 201)
    return answer(shown, 201, {"Location": path})


async def _insert_many(live: Live, request: Request, collection: str, documents: list[Any]) -> Response:
    if not 1 <= len(documents) <= MAX_DOCUMENTS:
        raise InvalidRequestError(
            f"a list of 1 to {MAX_DOCUMENTS} documents, this one has {len(documents)}",
            details={"count": len(documents), "limit": MAX_DOCUMENTS},
        )
    for index, document in enumerate(documents):
        try:
            _check_document(document)
        except ServiceError as error:
            raise type(error)(
                f"document {index}: {error.message}", details={**(error.details or {}), "index": index}
            ) from None
    writer = await _writer(live, request, len(documents))
    inserted = await writer.insert_many(collection, documents)
    position = _position(live, inserted.time)
    for key in inserted.keys:
        note(request, "write", collection, operation="insert", key=key, position=position)
    return answer({"keys": inserted.keys, "position": format_position(live.epoch, inserted.time)}, 201)


@router.head("/{collection}/documents/{key:path}", include_in_schema=False)
@router.get("/{collection}/documents/{key:path}", summary="Read one", responses=examples.ONE | problems(404, 422, 503))
@ruled
async def read(live: Current, request: Request, collection: Collection, key: Key) -> Response:
    """The document, with an `ETag` of what is stored and shown; 304 where `If-None-Match` names it."""
    check_collection(collection)
    mine = await vision_of(request, collection)
    try:
        raw = seen(mine.vision, await live.reader.get(collection, key_of(key), at=mine.at))
    except VoidReadError:
        raise void() from None
    if raw is None:
        raise no_document(collection)
    note(request, "read", collection, key=key_of(key))
    headers = {"ETag": etag(raw), "Cache-Control": "no-cache"}
    if is_unchanged(request.headers, headers["ETag"]):
        return Response(None, 304, headers)
    return Response(keys.shown(stored.decode(raw)), 200, headers, JSON)


@router.put(
    "/{collection}/documents/{key:path}",
    summary="Replace one",
    responses=examples.CHANGED | examples.MADE | problems(400, 403, 404, 409, 412, 413, 422, 503, 504),
    openapi_extra=examples.DOCUMENT_BODY | examples.CONDITIONS,
)
@ruled
async def replace(live: Current, request: Request, collection: Collection, key: Key, upsert: bool = False) -> Response:
    """The whole document but its key. 201 where `upsert` made one."""
    document = await _body(request, live, collection)
    _check_document(document)
    value = key_of(key)
    if "_id" in document and order(document["_id"]) != order(value):
        raise InvalidRequestError("document: its _id is not the key of the path", details={"field": "_id"})
    match = condition(request.headers)
    writer = await _writer(live, request)
    written = await writer.replace(collection, value, document, match=match, upsert=upsert, image=True)
    return _changed(live, request, collection, "replace", written)


@router.patch(
    "/{collection}/documents/{key:path}",
    summary="Update one",
    responses=examples.CHANGED | examples.MADE | problems(400, 403, 404, 409, 412, 413, 422, 503, 504),
    openapi_extra=examples.UPDATE_BODY | examples.CONDITIONS,
)
@ruled
async def update(live: Current, request: Request, collection: Collection, key: Key, upsert: bool = False) -> Response:
    """The body is MongoDB's update operators."""
    operators = await _body(request, live, collection)
    check_update(operators, live.limits.filter)
    match = condition(request.headers)
    writer = await _writer(live, request)
    written = await writer.update(collection, key_of(key), operators, match=match, upsert=upsert, image=True)
    return _changed(live, request, collection, "update", written)


@router.delete(
    "/{collection}/documents/{key:path}",
    summary="Delete one",
    responses=examples.DELETED | problems(403, 404, 412, 422, 503, 504),
    openapi_extra=examples.CONDITIONS,
)
@ruled
async def delete(live: Current, request: Request, collection: Collection, key: Key) -> Response:
    """404 where there is none."""
    _check_write(live, collection)
    match = condition(request.headers)
    writer = await _writer(live, request)
    written = await writer.delete(collection, key_of(key), match=match)
    return _changed(live, request, collection, "delete", written)


# ------------------------------------------------------------------------------------------------------------- inside


async def _writer(live: Live, request: Request, documents: int = 1) -> Writer:
    """What who asks writes by. `RateLimitedError` for who writes more than they may."""
    principal = await principal_of(request)
    live.doorkeeper.writes(principal, address_of(request), documents)
    return live.writer_of(principal)


def _position(live: Live, time: int) -> str:
    return format_position(live.epoch, time)


def _changed(live: Live, request: Request, collection: str, operation: str, written: Written) -> Response:
    position = _position(live, written.time)
    note(request, "write", collection, operation=operation, key=written.key, position=position)
    fields = {
        "position": position,
        "key": written.key,
        "matched": written.matched,
        "modified": written.modified,
        "upserted": written.upserted,
    }
    shown = {name: value for name, value in fields.items() if value is not None or name == "key"}
    headers = None if written.image is None else {"ETag": etag(written.image)}
    return answer(shown, 201 if written.upserted else 200, headers)


def _check_write(live: Live, collection: str) -> None:
    if live.limits.read_only:
        raise ForbiddenError("the service is read-only (it was started with --read-only)")
    check_collection(collection)


def _check_document(document: Any) -> None:
    if not isinstance(document, dict):
        raise InvalidRequestError("a document is an object")
    check_document(document)


async def _body(request: Request, live: Live, collection: str) -> Any:
    """The body of a write, refused before it is read where there may be no write."""
    _check_write(live, collection)
    return await body(request, live.settings.document_bytes)
