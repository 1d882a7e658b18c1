"""What is asked of the change stream, and what one reply of it says of where the stream is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from bson.raw_bson import RawBSONDocument

from realtime.core.bson.keys import KEY_BYTES
from realtime.core.live.events import CREATE, ChangeEvent
from realtime.core.upstream.stream_errors import Care
from realtime.core.wire.reserved_names import OWN, TEMPORARY

FULL_BYTES = 1024 * 1024
_OPERATIONS = ["insert", "update", "replace", "delete", "drop", "rename", "dropDatabase", "invalidate", CREATE]
_UNUSUAL = {
    "$or": [
        {"operationType": {"$ne": CREATE}},
        *(
            {f"operationDescription.{option}": {"$exists": True}}
            for option in ("viewOn", "timeseries", "collation", "capped")
        ),
    ]
}
"""Of what is created: a plain collection is empty, as nothing is."""
_EXPANDED = {"showExpandedEvents": True}
"""With what is created, views among it, and the UUID of each event's collection."""
_IMAGES = {"fullDocument": "whenAvailable", "fullDocumentBeforeChange": "whenAvailable"}
_NAMES = dict.fromkeys(("_id", "operationType", "clusterTime", "ns", "to", "lsid", "txnNumber"), 1)
# What has no key, as a drop, is less than any number.
_SHORT_KEYS = {"$expr": {"$lte": [{"$bsonSize": "$documentKey"}, KEY_BYTES]}}

_IN_A_TRANSACTION = b"txnNumber\0"
"""Stands in the bytes of each event of a transaction, and may in others: that costs a wake."""

WHAT_THEN = {
    Care.WITHOUT_IMAGES: "it is read without its images",
    Care.BARE: "also without its images; what is asked for is where it happened, and that is read again",
    Care.WITHOUT_LONG_KEYS: "its key alone is too long; it is left out, and everything is read again",
}
"""What becomes of an event that is too large, by the care that is taken next."""


@dataclass(slots=True)
class Reply:
    """One reply: the events, the cursor (0 where the stream has ended), the post-batch resume token.

    `size`: bytes of the events.
    """

    documents: list[RawBSONDocument]
    cursor: int
    token: dict[str, Any]
    size: int

    def is_full(self, batch_size: int) -> bool:
        """Whether more may have been there than had room in it."""
        return len(self.documents) >= batch_size or self.size >= FULL_BYTES


def matching(collections: Collection[str] | None) -> dict[str, Any]:
    """The events that are wanted: of all collections but MongoDB's temporary ones, or of some and the service's own.

    Renames onto one of them are included, and what is created where that is no plain collection.
    """
    match: dict[str, Any] = {"operationType": {"$in": _OPERATIONS}}
    if collections is None:
        wanted = {"$or": [{"operationType": "rename"}, {"ns.coll": {"$not": {"$regex": TEMPORARY}}}]}
    else:
        names = {"$in": sorted({*collections, *OWN})}
        # A rename onto a collection names a temporary one in `ns`.
        of_all = {"operationType": {"$in": ["dropDatabase", "invalidate"]}}
        wanted = {"$or": [{"ns.coll": names}, {"to.coll": names}, of_all]}
    # Each by itself, so that MongoDB filters the oplog by those that it can.
    return {**match, "$and": [wanted, _UNUSUAL]}


def pipeline(start: dict[str, Any], match: dict[str, Any], care: Care) -> list[dict[str, Any]]:
    """The stages of a stream that begins at `start`, an option of `$changeStream`, and is read with this care."""
    stages: list[dict[str, Any]] = [
        {"$changeStream": {**start, **_EXPANDED, **({} if care.of_one else _IMAGES)}},
        {"$match": match},
    ]
    if care is Care.SPLIT:
        stages.append({"$changeStreamSplitLargeEvent": {}})
    if care is Care.WITHOUT_LONG_KEYS:
        stages.append({"$match": _SHORT_KEYS})
    if care in (Care.BARE, Care.WITHOUT_LONG_KEYS):
        stages.append({"$project": _NAMES})
    return stages


def opening(start: dict[str, Any], match: dict[str, Any], care: Care, size: int) -> dict[str, Any]:
    """The command that opens such a stream; `size`: the most events of a reply."""
    return {
        "aggregate": 1,
        "pipeline": pipeline(start, match, care),
        "cursor": {"batchSize": size},
        "readConcern": {"level": "majority"},
        "comment": "realtime feed",
    }


def more(cursor: int, size: int, wait_ms: int) -> dict[str, Any]:
    """The command for what comes next, which waits so long for anything to come."""
    return {"getMore": cursor, "collection": "$cmd.aggregate", "batchSize": size, "maxTimeMS": wait_ms}


def received(batch: str, reply: Any) -> Reply:
    """The reply of a command, taken apart once; `batch` is the name of its list of events."""
    cursor = reply["cursor"]
    documents = cursor[batch]
    size = sum(len(document.raw) for document in documents)
    return Reply(documents, cursor["id"], dict(cursor["postBatchResumeToken"]), size)


def is_plain(reply: Reply, size: int) -> bool:
    """Whether what comes next may be waited for before anybody has looked at the reply to a `getMore`.

    It is all that there was, and there is no transaction in it that the next one may go on with.
    """
    if not reply.cursor or reply.is_full(size):
        return False
    return not any(_IN_A_TRANSACTION in one.raw for one in reply.documents)


def token_time(token: dict[str, Any]) -> int:
    """The cluster time that a resume token begins with (0x82, then 8 bytes big-endian); 0 where it cannot be read."""
    data = token.get("_data")
    if not isinstance(data, str) or not data.startswith("82") or len(data) < 18:
        return 0
    return int(data[2:18], 16)


def may_go_on(events: list[ChangeEvent], reply: Reply, batch_size: int) -> bool:
    """Whether the last moment of a reply, whose events these are, may continue in the next one.

    A reply ends early at `batch_size` events or 16 MB, the next event included, which can be large itself. Only the
    events of a transaction share their cluster time for sure, and asking again costs a millisecond.
    """
    if not events:
        return False
    return reply.is_full(batch_size) or events[-1].transaction is not None
