"""Frozen values that the feed hands over: positions, change events, batches.

A cluster time is one integer here: seconds shifted left by 32, plus the increment. A position's text is fixed width
(PROTOCOL, "Position"), so positions compare as strings.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bson.timestamp import Timestamp

from realtime.core.bson.keys import identity
from realtime.core.bson.stored import decode, repeats

POSITION_WIDTH = 25
_POSITION = re.compile(r"([0-9A-F]{8})-([0-9A-F]{16})")

DOCUMENT_OPS = frozenset({"insert", "update", "replace", "delete"})
NAMESPACE_OPS = frozenset({"drop", "rename", "dropDatabase"})
STEPPED_OVER, UNSENT = "stepped over", "unsent"
"""The `op` of a mark: by a bug of ours; MongoDB could not send it, for its size. No event of MongoDB's has it, and no
client is sent it."""
UNKNOWN_TRANSACTION = (b"", 0)
"""Of a mark: it may have been part of one, so who looks for the end of a moment must not take this for it."""
CREATE = "create"
"""Told to no client: it says that a name may stand for something else from now on."""
VIEW, COLLATION, CAPPED = "view", "collation", "capped"
"""What a name can stand for beside a plain collection; a time series is a view too."""


def to_time(timestamp: Timestamp) -> int:
    """A BSON timestamp as one integer."""
    return timestamp.time << 32 | timestamp.inc


def to_timestamp(time: int) -> Timestamp:
    """One integer as a BSON timestamp."""
    return Timestamp(time >> 32, time & 0xFFFFFFFF)


def to_date(time: int) -> dt.datetime:
    """The date of a cluster time, to the second."""
    return dt.datetime.fromtimestamp(time >> 32, dt.UTC)


def format_position(epoch: str, time: int) -> str:
    """The 25 characters a client stores: everything at or before `time`."""
    return f"{epoch}-{time:016X}"


def parse_position(text: str, epoch: str) -> int:
    """The cluster time of a position of this deployment; `ValueError` says what is wrong with it."""
    match = _POSITION.fullmatch(text)
    if match is None:
        raise ValueError("not a position: 8 hex digits, a hyphen and 16 hex digits, upper case")
    if match[1] != epoch:
        raise ValueError(f"a position of another deployment ({match[1]}; this one is {epoch})")
    return int(match[2], 16)


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One document of the change stream, as far as subscribers can be concerned.

    `identity` is None for the operations without a key. `updated` and `removed` are dotted paths; a truncated array
    counts as updated. `transaction` is equal for the events of one transaction, else None. `size` is in bytes of BSON.
    `uuid` is the collection's own, whatever its name, and None where it was not told. `kind`: what was created, or
    dropped, where that is no plain collection. `raw`: the document of the change stream, where so far only what names
    the event was decoded; `whole` gives the rest.
    """

    op: str
    collection: str
    time: int
    key: Any = None
    identity: str | None = None
    document: dict[str, Any] | None = None
    before: dict[str, Any] | None = None
    updated: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    wall_time: dt.datetime | None = None
    transaction: tuple[bytes, int] | None = None
    to: str | None = None
    size: int = 0
    uuid: Any = None
    kind: str | None = None
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One or more whole moments: `events` in order, complete up to and including `time`.

    `lost` says that a moment before `time` was too large to be kept: what followed it has to be read again.

    `images`: documents exactly as they are at `time`, by collection and identity, where they came with the events.
    None: none ever do. What is not among them is read.
    """

    events: tuple[ChangeEvent, ...]
    time: int
    lost: bool = False
    images: Mapping[str, Mapping[str, dict[str, Any]]] | None = None


def parse_event(raw: Mapping[str, Any], database: str, size: int = 0) -> ChangeEvent | None:
    """A change stream document (MongoDB manual, "Change Events") as a `ChangeEvent`; None for kinds not served.

    An update of a document in which a name stands twice comes without its document, even where MongoDB has an image:
    it makes that of the image before, by name, and what it stores by place. A mark is told by a relay alone.
    """
    op = raw["operationType"]
    time = to_time(raw["clusterTime"])
    wall_time = raw.get("wallTime")
    namespace = raw.get("ns", {})
    if op in DOCUMENT_OPS:
        key = raw["documentKey"]["_id"]
        description = raw.get("updateDescription") or {}
        before = raw.get("fullDocumentBeforeChange")
        truncated = tuple(array["field"] for array in description.get("truncatedArrays", ()))
        return ChangeEvent(
            op=op,
            collection=namespace["coll"],
            time=time,
            key=key,
            identity=identity(key),
            document=None if op == "update" and repeats(before) else raw.get("fullDocument"),
            before=before,
            updated=(*description.get("updatedFields", ()), *truncated),
            removed=tuple(description.get("removedFields", ())),
            wall_time=wall_time,
            transaction=_transaction(raw),
            size=size,
            uuid=raw.get("collectionUUID"),
        )
    if op in NAMESPACE_OPS or op == CREATE:
        target = raw.get("to")
        to = target["coll"] if target and target["db"] == database else None
        collection = namespace.get("coll", "") if namespace.get("db") == database else ""
        return ChangeEvent(
            op=op,
            collection=collection,
            time=time,
            wall_time=wall_time,
            transaction=_transaction(raw),
            to=to,
            size=size,
            kind=_kind(raw),
        )
    if op in {STEPPED_OVER, UNSENT}:
        return ChangeEvent(op, namespace["coll"], time, transaction=UNKNOWN_TRANSACTION)
    return None


def name_event(raw: bytes, envelope: Mapping[str, Any], database: str) -> ChangeEvent | None:
    """The event of a document of the change stream of which only what names it is decoded yet, the `envelope`."""
    event = parse_event(envelope, database, len(raw))
    return None if event is None else replace(event, raw=raw)


def whole(event: ChangeEvent) -> ChangeEvent:
    """The event with all that its document says, its images and what an update touched among it."""
    if event.raw is None:
        return event
    # What is left undecoded is what happened to a document; that has no other database.
    parsed = parse_event(decode(event.raw), "", event.size)
    return event if parsed is None else parsed


def _kind(raw: Mapping[str, Any]) -> str | None:
    """What was created or dropped, where that is no plain collection."""
    if raw["operationType"] == "drop":
        # Only a collection has a UUID; what else can be dropped is a view or a time series.
        return None if "collectionUUID" in raw else VIEW
    if raw["operationType"] != CREATE:
        return None
    options = raw.get("operationDescription") or {}
    if "viewOn" in options or "timeseries" in options:
        return VIEW
    if options.get("collation", {}).get("locale", "simple") != "simple":
        return COLLATION
    return CAPPED if options.get("capped") else None


def _transaction(raw: Mapping[str, Any]) -> tuple[bytes, int] | None:
    session = raw.get("lsid")
    if session is None or "txnNumber" not in raw:
        return None
    # A UUID or a Binary, as the codec has it; both give their bytes.
    return bytes(getattr(session["id"], "bytes", session["id"])), int(raw["txnNumber"])
