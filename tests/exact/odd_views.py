"""Subscriptions to what `storing` stores, and what MongoDB itself answers to the same queries.

MongoDB decides what matches, in which order, what a projection leaves, which values make one group; its documents are
read as bytes, decoded and shown as the service does that, whose own tests hold decoding to the bytes.

Not asked, because we and MongoDB differ there as `docs/` says: paths with numbers in them, where elements may be named
otherwise; an inclusion below a name that stands twice.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import orjson
from pymongo.synchronous.database import Database

from realtime.core.bson import ejson, keys, stored
from realtime.core.bson.values import MISSING, Order, order
from realtime.core.live.aggregate import value_at
from realtime.core.mql.projection import compile_projection
from realtime.mongo.client import RAW
from tests.exact.ledger import to_int, to_timestamp
from tests.exact.sortedview import Folding
from tests.exact.storing import COLLECTIONS
from tests.mongo.test_aggregate_differential import groups_by_every_field

Query = dict[str, Any]
TYPES = ("string", "object", "array", "binData", "undefined", "regex", "dbPointer", "symbol", "javascriptWithScope")

VIEWS: dict[str, Query] = {
    "everything": {},
    "not five": {"filter": {"v": {"$ne": 5}}},
    "null or missing": {"filter": {"v": None}},
    "missing": {"filter": {"v": {"$exists": False}}},
    "text": {"filter": {"v": "a"}},
    "text and after": {"filter": {"v": {"$gt": ""}}},
    "numbers": {"filter": {"v": {"$lte": 5}}},
    "more than the least": {"filter": {"v": {"$gt": {"$minKey": 1}}}},
    "pattern": {"filter": {"v": {"$regex": "^.?[ab]"}}},
    "in": {"filter": {"v": {"$in": [None, 1, "a", {"$binary": {"base64": "", "subType": "00"}}, []]}}},
    "below": {"filter": {"v.a": {"$exists": True}}},
    "null below": {"filter": {"v.a": None}},
    "under a reference": {"filter": {"v.$ref": "users"}},
    "a reference": {"filter": {"v": {"$ref": "users", "$id": 4}}},
    "bits": {"filter": {"v": {"$bitsAllClear": [0]}}},
    "two elements": {"filter": {"v": {"$size": 2}}},
    "an element": {"filter": {"v": {"$elemMatch": {"$gt": 1}}}},
    "keys": {"filter": {"_id": {"$gt": 0}}},
    "other keys": {"filter": {"_id": {"$not": {"$type": "number"}}}},
    "v alone": {"projection": {"v": 1}},
    "without v": {"projection": {"v": 0}},
    "without a below": {"projection": {"v.a": 0}},
    **{f"of type {name}": {"filter": {"v": {"$type": name}}} for name in TYPES},
}
WINDOWS: dict[str, Query] = {
    "least": {"sort": [["v", 1]], "limit": 40},
    "greatest": {"sort": [["v", -1]], "limit": 40, "projection": {"v": 1}},
    "least below": {"sort": [["v.a", 1]], "limit": 25},
    "greatest below": {"sort": [["v.a", -1]], "limit": 25},
    "first keys": {"sort": [["_id", 1]], "limit": 30},
    "last keys": {"sort": [["_id", -1]], "limit": 30},
    "newest": {"sort": [["n", -1]], "limit": 10},
    "texts": {"filter": {"v": {"$type": ["string", "symbol"]}}, "sort": [["v", 1]]},
}
GROUPS: dict[str, Query] = {
    "by v": {"group": {"by": ["v"], "count": True}},
    "by v and a below": {"group": {"by": ["g", "v.a"], "count": True, "sum": ["n"]}},
    "extremes": {"group": {"by": ["g"], "count": True, "min": ["v"], "max": ["v"]}},
    "of everything": {"group": {"by": [], "count": True, "sum": ["n"], "min": ["_id"], "max": ["_id"]}},
}
QUERIES: dict[str, Query] = {**VIEWS, **WINDOWS, **GROUPS}


def decoded(value: Any) -> Any:
    """A value of a client's as the service reads it."""
    return ejson.decode(json.dumps(value))


def text_of(document: Any) -> str:
    """A document of a frame."""
    return orjson.dumps(document).decode()


def shown(document: dict[str, Any]) -> str:
    """A stored document as a frame has it."""
    return text_of(orjson.loads(keys.shown(document)))


# ------------------------------------------------------------------------------------------------------------ queries


class Asked:
    """What MongoDB answers now."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._decoding = database
        self.database = database.with_options(codec_options=RAW)
        self.compared = 0
        self.documents = 0

    @cached_property
    def _groups_by_every_field(self) -> bool:
        return groups_by_every_field(self._decoding["groups_probed"])

    def find(self, collection: str, query: Query) -> Iterator[dict[str, Any]]:
        found = self.database[collection].find(decoded(query.get("filter", {})), query.get("projection"))
        if "sort" in query:
            found = found.sort([*map(tuple, query["sort"]), *([] if query["sort"][0][0] == "_id" else [("_id", 1)])])
        return (stored.decode(one.raw) for one in found.limit(query.get("limit", 0)))

    def difference(self, collection: str, query: Query, view: Folding) -> str | None:
        """Between a view that was told and what MongoDB answers; None where there is none."""
        self.compared += 1
        if "group" in query:
            return self._rows(collection, query["group"], view)
        told = [text_of(view.documents[name]) for name in view.keys]
        expected = [shown(document) for document in self.find(collection, query)]
        self.documents += len(expected)
        if "sort" in query:
            pairs = zip(told, expected, strict=False)
            at = next((place for place, (one, other) in enumerate(pairs) if one != other), None)
            if at is None and len(told) != len(expected):
                return f"{len(told)} told, {len(expected)} there"
            return None if at is None else f"at {at}: told {told[at][:300]}\n  there {expected[at][:300]}"
        return _apart(Counter(told), Counter(expected))

    def _rows(self, collection: str, group: dict[str, Any], view: Folding) -> str | None:
        documents = list(self.find(collection, {}))
        self.documents += len(documents)
        expected = list(self._grouped(collection, group))
        by, apart = group["by"], self._groups_by_every_field
        told: dict[tuple[Order | None, ...], dict[str, Any]] = {}
        for row in view.documents.values():
            place = _place(key_of(row["_id"]), by, whole=apart)
            if place in told and apart:
                return f"two rows of {row['_id']}"
            told[place] = _together(told[place], row) if place in told else row
        if len(told) != len(expected):
            there = {_place(key, by, whole=apart) for key, _ in expected}
            alone = [row["_id"] for place, row in told.items() if place not in there]
            return f"{len(told)} rows told, {len(expected)} there; told alone: {str(alone)[:600]}"
        for key, row in expected:
            found = told.get(_place(key, by, whole=apart))
            if found is None:
                return f"no row {shown({'_id': key})[:300]}"
            for field, values in row.items():
                if not _row_value(found, field, values, documents):
                    return f"{found['_id']} {field}: told {found[field]}, there {values}"
        return None

    def _grouped(self, collection: str, group: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        stage: dict[str, Any] = {"_id": {f"k{at}": f"${path}" for at, path in enumerate(group["by"])}}
        stage["count"] = {"$sum": 1}
        for name in ("sum", "min", "max"):
            for at, path in enumerate(group.get(name, ())):
                stage[f"{name}{at}"] = {f"${name}": f"${path}"}
        for raw in self.database[collection].aggregate([{"$group": stage}], allowDiskUse=True):
            found = stored.decode(raw.raw)
            places = enumerate(group["by"])
            key = {path: found["_id"][f"k{at}"] for at, path in places if f"k{at}" in found["_id"]}
            row = {"count": found["count"]}
            for name in ("sum", "min", "max"):
                if group.get(name):
                    row[name] = {path: found[f"{name}{at}"] for at, path in enumerate(group[name])}
            yield key, row


def key_of(told: dict[str, Any]) -> dict[str, Any]:
    """A row's key again; any of the values that MongoDB takes for equal may have named it."""
    if keys.OPAQUE in told:
        return dict(stored.decode(base64.b64decode(told[keys.OPAQUE]))[""])
    return dict(decoded(told))


def _place(key: dict[str, Any], by: list[str], *, whole: bool) -> tuple[Order | None, ...]:
    """Of the engine that looks names up, see `_by_name`, undefined is as good as nothing."""
    shown = key
    if not whole:
        shown = {path: _by_name(value) for path, value in key.items() if value is not stored.UNDEFINED_VALUE}
    return tuple(order(shown[path]) if path in shown else None for path in by)


def _by_name(value: Any) -> Any:
    """The value as one reads it who looks up each of its fields by name, and finds the first."""
    if isinstance(value, stored.Repeated):
        return stored.Repeated([(name, _by_name(value[name])) for name, _ in value.pairs])
    if isinstance(value, dict):
        return {name: _by_name(inner) for name, inner in value.items()}
    return [_by_name(inner) for inner in value] if isinstance(value, list) else value


def _together(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two rows as one, for a MongoDB that looks at the first field of a name alone."""
    assert one.keys() <= {"_id", "count", "sum"}, "least and greatest values are not asked of rows by such objects"
    sums = {path: value + other["sum"][path] for path, value in one.get("sum", {}).items()}
    return {**one, "count": one["count"] + other["count"], **({"sum": sums} if sums else {})}


def _row_value(told: dict[str, Any], field: str, values: Any, documents: list[dict[str, Any]]) -> bool:
    if field in {"count", "sum"}:
        return bool(told[field] == orjson.loads(ejson.encode(values)))
    for path, value in values.items():
        equal = {text_of(orjson.loads(ejson.encode(value)))}
        for document in documents:
            other = value_at(document, path)
            if other is not MISSING and order(other) == order(value):
                equal.add(text_of(orjson.loads(ejson.encode(other))))
        if text_of(told[field][path]) not in equal:
            return False
    return True


def _apart(told: Counter[str], expected: Counter[str]) -> str | None:
    if told == expected:
        return None
    here, there = list((told - expected).elements()), list((expected - told).elements())
    first = f"told {[one[:300] for one in here[:1]]}\n  there {[one[:300] for one in there[:1]]}"
    return f"{len(here)} told alone, {len(there)} there alone: {first}"


# ------------------------------------------------------------------------------------------------------------- events

EVENTS: dict[str, Query] = {
    "all events": {"collection": "*"},
    "plain ones": {"collection": "odd"},
    "with images": {"collection": "imaged"},
    "binary ones": {"collection": "imaged", "filter": {"v": {"$type": "binData"}}},
    "undefined ones": {"collection": "imaged", "filter": {"v": {"$type": "undefined"}}},
    "without v": {"collection": "imaged", "projection": {"v": 0}},
    "deletes": {"collection": "imaged", "operations": ["delete"]},
}


def happened(
    database: Database[dict[str, Any]], after: int, until: int, conditions: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The changes of the odd collections in a stretch of time, by MongoDB's own stream and filter."""
    raw = database.with_options(codec_options=RAW)
    stage: dict[str, Any] = {"fullDocument": "whenAvailable", "fullDocumentBeforeChange": "whenAvailable"}
    stage["startAtOperationTime"] = to_timestamp(after)
    command: dict[str, Any] = {
        "aggregate": 1,
        "pipeline": [{"$changeStream": stage}, {"$match": _matching(conditions)}],
        "cursor": {"batchSize": 1000},
        "readConcern": {"level": "majority"},
    }
    reply = raw.command(command, codec_options=RAW)
    while True:
        cursor = stored.decode(reply.raw)["cursor"]
        for event in cursor.get("firstBatch", cursor.get("nextBatch", ())):
            if after < to_int(event["clusterTime"]) <= until:
                yield event
        if _reached(cursor["postBatchResumeToken"]) >= until:
            break
        more = {"getMore": cursor["id"], "collection": "$cmd.aggregate", "batchSize": 1000, "maxTimeMS": 1000}
        reply = raw.command(more, codec_options=RAW)
    raw.command({"killCursors": "$cmd.aggregate", "cursors": [cursor["id"]]})


def _reached(token: dict[str, Any]) -> int:
    return int(token["_data"][2:18], 16)


def _matching(conditions: dict[str, Any]) -> dict[str, Any]:
    wanted: dict[str, Any] = {"operationType": {"$in": ["insert", "update", "replace", "delete"]}}
    wanted["ns.coll"] = {"$in": list(COLLECTIONS)}
    if conditions:
        now = {f"fullDocument.{path}": value for path, value in conditions.items()}
        then = {f"fullDocumentBeforeChange.{path}": value for path, value in conditions.items()}
        wanted["$or"] = [{"operationType": {"$ne": "delete"}, **now}, {"operationType": "delete", **then}]
    return wanted


class Happened:
    """What events subscriptions are to be told of a stretch of time: each change once, as it was."""

    def __init__(self, database: Database[dict[str, Any]], after: int, until: int) -> None:
        self._database = database
        self._after, self._until = after, until
        self._of: dict[str, list[dict[str, Any]]] = {}

    def lines(self, query: Query) -> list[str]:
        """By one subscription's query, as `heard` has them."""
        conditions = decoded(query.get("filter", {}))
        asked = text_of(query.get("filter", {}))
        if asked not in self._of:
            self._of[asked] = list(happened(self._database, self._after, self._until, conditions))
        operations = query.get("operations", ["insert", "update", "replace", "delete"])
        return [
            ejson.encode(_told(event, query)).decode()
            for event in self._of[asked]
            if event["operationType"] in operations
            and query["collection"] in {"*", event["ns"]["coll"]}
            and (shows_document(event) or not conditions)
        ]


def shows_document(event: dict[str, Any]) -> bool:
    """Whether MongoDB says what the document was after the event; where a name stood twice before, it is mistaken."""
    if event["operationType"] == "delete":
        return True
    mistaken = event["operationType"] == "update" and stored.repeats(event.get("fullDocumentBeforeChange"))
    return event.get("fullDocument") is not None and not mistaken


def _told(event: dict[str, Any], query: Query) -> dict[str, Any]:
    """The fields of an event that are known: not what was read for an update of a collection without images."""
    projection = compile_projection(query.get("projection"))
    described = event.get("updateDescription") or {}
    fields: dict[str, Any] = {
        "op": event["operationType"],
        "collection": event["ns"]["coll"],
        "key": keys.shown_key(event["documentKey"]["_id"]),
        "time": f"{to_int(event['clusterTime']):016X}",
    }
    if event["operationType"] != "delete" and shows_document(event):
        fields["document"] = keys.with_marks(projection.apply(event["fullDocument"]))
    if event["operationType"] == "update" and not projection.source:
        parts = (described.get(name) or () for name in ("updatedFields", "truncatedArrays", "removedFields"))
        fields["changed"] = sum(map(len, parts))
    return fields


def heard(events: Iterable[dict[str, Any]], query: Query) -> list[str]:
    """The same fields of the events that were told."""
    lines = []
    for event in events:
        if event["collection"] not in COLLECTIONS or ("filter" in query and not _of_an_image(event)):
            continue
        fields = {name: event[name] for name in ("op", "collection", "key")}
        fields["time"] = event["position"][9:]
        if "document" in event and "as_of" not in event:
            fields["document"] = event["document"]
        if event["op"] == "update" and "projection" not in query:
            fields["changed"] = len(event["updated"]) + len(event["removed"])
        lines.append(text_of(fields))
    return lines


def _of_an_image(event: dict[str, Any]) -> bool:
    """Not of what was read later."""
    return "as_of" not in event and "partial" not in event
