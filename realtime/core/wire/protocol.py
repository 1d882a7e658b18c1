"""The wire: client frames as Pydantic models, server frames as models and, where it is hot, as bytes put together.

`parse` turns a text frame into a model or raises the error of PROTOCOL section 7 that answers it. Field order in a
model is field order on the wire; `tests/core/wire/test_protocol.py` proves the hot encoders equal to the models.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from realtime.core.bson import ejson
from realtime.core.wire import legible
from realtime.core.wire.asking import Group, Last, Pipeline
from realtime.errors import InvalidRequestError, MalformedFrameError, ServiceError, UnknownTypeError, first_wrong

PROTOCOL_VERSION = 1
MAX_THROTTLE = 60_000
"""Milliseconds."""

Id = Annotated[str, Field(min_length=1, max_length=64)]
CollectionName = Annotated[str, Field(min_length=1, max_length=200)]
Operation = Literal["insert", "update", "replace", "delete", "drop", "rename", "dropDatabase"]
Object = dict[str, Any]
Position = Annotated[str, WithJsonSchema({"type": "string", "pattern": "^[0-9A-F]{8}-[0-9A-F]{16}$"})]
"""A position in descriptions. What a client sends is read by `core.events`, which says what is wrong with it."""

# --------------------------------------------------------------------------------------------------- client frames


class Request(BaseModel):
    """What every client frame has. Unknown fields are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)
    id: Id


class Subscribe(Request):
    """Open a subscription; `mode` decides which of the optional fields apply (PROTOCOL 3)."""

    type: Literal["subscribe"]
    mode: Literal["query", "events"] = "query"
    collection: CollectionName | list[CollectionName]
    filter: Object | None = None
    last: Last = None
    projection: Object | None = None
    sort: list[Any] | Object | None = None
    limit: int | None = Field(None, ge=1)
    throttle: int | None = Field(None, ge=0, le=MAX_THROTTLE)
    group: Group = None
    pipeline: Pipeline = None
    skip: Any = None
    operations: list[Operation] | None = None
    position: Position | None = None
    query: str | None = None
    since: dt.datetime | None = None


class Unsubscribe(Request):
    """End a subscription of this connection."""

    type: Literal["unsubscribe"]


class Insert(Request):
    """Insert one document; without `_id` it gets an ObjectId."""

    type: Literal["insert"]
    collection: CollectionName
    document: Object


class Replace(Request):
    """Replace the document with this key."""

    type: Literal["replace"]
    collection: CollectionName
    key: Any
    document: Object
    where: Object | None = None
    upsert: bool = False


class Update(Request):
    """Apply update operators to the document with this key."""

    type: Literal["update"]
    collection: CollectionName
    key: Any
    update: Object
    where: Object | None = None
    upsert: bool = False


class Delete(Request):
    """Delete the document with this key."""

    type: Literal["delete"]
    collection: CollectionName
    key: Any
    where: Object | None = None


class Auth(Request):
    """Say who asks, or go on after the token before ends: by a token of the same principal."""

    type: Literal["auth"]
    token: Annotated[str, Field(min_length=1, max_length=16384, repr=False)]


class Ping(Request):
    """Ask for a `pong`; with `position`, once every live subscription of the connection is there."""

    type: Literal["ping"]
    position: Position | None = None


Write = Insert | Replace | Update | Delete
ClientFrame = Subscribe | Unsubscribe | Write | Auth | Ping
CLIENT_FRAMES: dict[str, type[Request]] = {
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "insert": Insert,
    "replace": Replace,
    "update": Update,
    "delete": Delete,
    "auth": Auth,
    "ping": Ping,
}


class RefusedFrame(Exception):  # noqa: N818 - carries an error, is none of its own
    """A frame that cannot be taken: `error` answers it under `id`, where the frame had a usable one."""

    def __init__(self, error: ServiceError, request_id: str | None) -> None:
        super().__init__(error.message)
        self.error = error
        self.id = request_id


def parse(text: str | bytes) -> ClientFrame:
    """A client's text frame as a model; `RefusedFrame` with `malformed_frame`, `unknown_type` or `invalid_request`."""
    try:
        fields = ejson.decode(text)
    except ejson.EjsonValueError as error:
        raise RefusedFrame(InvalidRequestError(str(error)), _request_id(orjson.loads(text))) from None
    except ejson.EjsonError as error:
        raise RefusedFrame(MalformedFrameError(str(error)), _legible_id(text)) from None
    if not isinstance(fields, dict):
        raise RefusedFrame(MalformedFrameError("a frame is a JSON object"), None)
    request_id = _request_id(fields)
    kind = fields.get("type")
    model = CLIENT_FRAMES.get(kind) if isinstance(kind, str) else None
    if model is None:
        known = ", ".join(CLIENT_FRAMES)
        shown = ejson.encode(kind).decode()[:64]
        raise RefusedFrame(UnknownTypeError(f"no frame type {shown}; there are: {known}"), request_id)
    try:
        return model.model_validate(fields)  # type: ignore[return-value]  # reason: the table maps to the union's members
    except ValidationError as invalid:
        raise RefusedFrame(invalid_request(invalid), request_id) from None


def id_of(text: str | bytes) -> str | None:
    """The id under which a text frame can be answered, whatever else is wrong with it."""
    try:
        return _request_id(orjson.loads(text))
    except orjson.JSONDecodeError:
        return None


def _request_id(fields: Any) -> str | None:
    """The frame's id where it can be answered under."""
    request_id = fields.get("id") if isinstance(fields, dict) else None
    return request_id if isinstance(request_id, str) and 1 <= len(request_id) <= 64 else None


def _legible_id(text: str | bytes) -> str | None:
    """The id of a frame that is refused as a whole, where the rest of it can be passed over: somebody waits for it."""
    try:
        request_id = _request_id(legible.fields(text))
        return None if request_id is None else request_id.encode().decode()
    except ValueError:
        return None


def invalid_request(invalid: ValidationError) -> InvalidRequestError:
    """The first thing that Pydantic found wrong, by field."""
    field, reason = first_wrong(invalid.errors(include_url=False, include_input=False))
    return InvalidRequestError(f"{field}: {reason}", details={"field": field})


# --------------------------------------------------------------------------------------------------- server frames


class ServerFrame(BaseModel):
    """A frame that the service sends; a field that is None is left out."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    type: str

    def encode(self) -> bytes:
        """The frame's bytes, as they go out."""
        return orjson.dumps({name: ejson.plain(value) for name, value in self.__dict__.items() if value is not None})


class Welcome(ServerFrame):
    """The first frame: who and what the client talks to, and its limits."""

    type: Literal["welcome"] = "welcome"
    protocol: int = PROTOCOL_VERSION
    session: str
    position: Position | None = None
    heartbeat: float
    principal: str | None = None
    roles: list[str] | None = None
    expires: dt.datetime | None = None
    requires_auth: bool = False
    limits: dict[str, int]


class Authenticated(ServerFrame):
    """An `auth` was taken: who asks from here on, and when that ends unless a new token comes before."""

    type: Literal["authenticated"] = "authenticated"
    id: str
    principal: str
    roles: list[str] | None = None
    expires: dt.datetime | None = None
    position: Position


class Subscribed(ServerFrame):
    """A subscription is accepted; this precedes every other frame of it."""

    type: Literal["subscribed"] = "subscribed"
    id: str
    channel: int
    recovered: bool
    query: str
    deletes: Literal["matched", "all", "none"] | None = None


class SnapshotFrame(ServerFrame):
    """A part of a query's documents at one cluster time; `first` empties the view, `last` has the position.

    `keys`: those of the documents, in their order, where these do not show them as `_id`.
    """

    type: Literal["snapshot"] = "snapshot"
    id: str
    documents: list[Any]
    keys: list[Any] | None = None
    first: bool
    last: bool
    position: Position | None = None


class Changes(ServerFrame):
    """Query mode: one moment, or a part of it while `more`; by `id` before `live`, by `channel` after."""

    type: Literal["changes"] = "changes"
    id: str | None = None
    channel: int | None = None
    changes: list[Any]
    more: bool | None = None
    position: Position | None = None


class Events(ServerFrame):
    """Events mode: the events of one moment, or a part of them while `more`."""

    type: Literal["events"] = "events"
    id: str | None = None
    channel: int | None = None
    events: list[Any]
    more: bool | None = None
    position: Position | None = None


class Live(ServerFrame):
    """The end of every snapshot and every replay; from here on the channel's frames concern the subscription."""

    type: Literal["live"] = "live"
    id: str
    position: Position


class Resync(ServerFrame):
    """Query mode: throw the view away; a snapshot and `live` follow."""

    type: Literal["resync"] = "resync"
    id: str
    reason: str


class Heartbeat(ServerFrame):
    """A position for every live subscription of the connection but those in `behind`."""

    type: Literal["heartbeat"] = "heartbeat"
    position: Position
    behind: list[str] | None = None


class Status(ServerFrame):
    """How the reading of the change stream is going."""

    type: Literal["status"] = "status"
    feed: Literal["up", "degraded"]
    since: dt.datetime
    reason: str | None = None


class Result(ServerFrame):
    """A write is majority-committed."""

    type: Literal["result"] = "result"
    id: str
    position: Position
    key: Any
    matched: int | None = None
    modified: int | None = None
    upserted: bool | None = None

    def encode(self) -> bytes:
        # The key may be null itself, which is a value and not an absence.
        fields = {name: value for name, value in self if value is not None or name == "key"}
        return ejson.encode(fields)


class ErrorFrame(ServerFrame):
    """A request failed; nothing else ends."""

    type: Literal["error"] = "error"
    id: str | None = None
    code: str
    message: str
    retry: bool
    retry_after: float | None = None
    details: dict[str, Any] | None = None

    @classmethod
    def of(cls, error: ServiceError, request_id: str | None) -> ErrorFrame:
        """The answer to a request that failed."""
        return cls(id=request_id, **error.payload())


class Unsubscribed(ServerFrame):
    """A subscription has ended; when the service ended it, `code` and `message` say why."""

    type: Literal["unsubscribed"] = "unsubscribed"
    id: str
    code: str | None = None
    message: str | None = None
    retry: bool | None = None
    details: dict[str, Any] | None = None
    position: Position | None = None


class Closing(ServerFrame):
    """The connection will be closed; `retry_after` is in seconds."""

    type: Literal["closing"] = "closing"
    code: int
    message: str
    retry_after: float | None = None

    @classmethod
    def of(cls, code: int, word: str, retry_after: float | None = None) -> Closing:
        """As it comes before a close with this code; who is not to come again is told no time for that."""
        return cls(code=code, message=word, retry_after=(retry_after or 1.0) if code < 4500 else None)


class Pong(ServerFrame):
    """The answer to `ping`."""

    type: Literal["pong"] = "pong"
    id: str
    position: Position | None = None


class Change(BaseModel):
    """A change to the result of a query (PROTOCOL 4.1). For descriptions: `change_entry` makes the bytes.

    `index`: the place in the view after the moment, from 0, where the query has `sort` or `limit`. With `group`, `key`
    and `document` are those of a row.
    """

    op: Literal["enter", "update", "leave"]
    key: Any
    document: Object | None = None
    index: Annotated[int, Field(ge=0)] | None = None


class Event(BaseModel):
    """An event of a collection or the database (PROTOCOL 4.2). For descriptions: `event_group` makes them."""

    op: Operation
    collection: str
    key: Any = None
    document: Object | None = None
    before: Object | None = None
    updated: list[str] | None = None
    removed: list[str] | None = None
    partial: bool | None = None
    as_of: Position | None = None
    to: str | None = None
    transaction: int | None = None
    position: Position
    wall_time: dt.datetime | None = None


ENTRIES: tuple[type[BaseModel], ...] = (Change, Event)
"""What stands inside of frames."""

# --------------------------------------------------------------------------------------------------- hot encoders

Entry = bytes
"""One change, event or document, encoded."""


ENVELOPE_BYTES = 512
"""What a frame has around its entries, at most: an `id` of 64 characters may take six bytes for each of them."""


def split(entries: Iterable[Entry], frame_bytes: int) -> Iterator[list[Entry]]:
    """Entries in runs whose frames are at most `frame_bytes`; one that is larger travels alone.

    At least one run, maybe empty.
    """
    room = max(frame_bytes - ENVELOPE_BYTES, frame_bytes // 2)
    run: list[Entry] = []
    size = 0
    for entry in entries:
        if run and size + len(entry) > room:
            yield run
            run, size = [], 0
        run.append(entry)
        size += len(entry) + 1
    yield run


def change_entry(op: str, key: str, document: bytes | None = None, index: int | None = None) -> Entry:
    """One change of PROTOCOL 4.1; `key` is its JSON text, `index` its place in a window."""
    if document is None:
        return f'{{"op":"{op}","key":{key}}}'.encode()
    if index is None:
        return b'{"op":"%b","key":%b,"document":%b}' % (op.encode(), key.encode(), document)
    return b'{"op":"%b","key":%b,"document":%b,"index":%d}' % (op.encode(), key.encode(), document, index)


def moment_frames(
    kind: Literal["changes", "events"], target: bytes, entries: list[Entry], position: str, frame_bytes: int
) -> Iterator[bytes]:
    """The frames of one moment; `target` is `channel_target` or `id_target`. All but the last say `more`."""
    runs = list(split(entries, frame_bytes))
    head = b'{"type":"%b",%b,"%b":[' % (kind.encode(), target, kind.encode())
    for run in runs[:-1]:
        yield head + b",".join(run) + b'],"more":true}'
    yield head + b",".join(runs[-1]) + b'],"position":"%b"}' % position.encode()


def channel_target(channel: int) -> bytes:
    """How a frame names everybody on a channel."""
    return b'"channel":%d' % channel


def id_target(subscription_id: str) -> bytes:
    """How a frame names one subscription."""
    return b'"id":' + orjson.dumps(subscription_id)


def snapshot_frames(
    subscription_id: str, runs: Iterable[bytes], position: str, *, shows_keys: bool = True
) -> Iterator[bytes]:
    """A snapshot's frames; `runs` are the joined documents of each, at least one, shared by everyone who asked.

    Without `shows_keys` there is one document at most, whose key is null.
    """
    head = b'{"type":"snapshot",%b,"documents":[' % id_target(subscription_id)
    rest, first = iter(runs), b"true"
    run = next(rest)
    for following in rest:
        yield head + run + b'],"first":%b,"last":false}' % first
        run, first = following, b"false"
    keys = b"" if shows_keys else b'"keys":[null],' if run else b'"keys":[],'
    yield head + run + b'],%b"first":%b,"last":true,"position":"%b"}' % (keys, first, position.encode())
