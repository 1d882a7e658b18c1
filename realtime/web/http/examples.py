"""Examples and schemas for OpenAPI: what cannot be read off a signature, because bodies are Extended JSON."""

from __future__ import annotations

import json
from typing import Any

KEY = {"$oid": "6579f0c2a1b2c3d4e5f60718"}
POSITION = "7C0FFEE0-6579F0C200000001"
ORDER = {"_id": KEY, "status": "open", "total": 12.5, "placed": {"$date": "2026-11-22T12:00:00Z"}}


def _json(description: str, example: Any, **more: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": example}}, **more}


def _body(description: str, example: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


Responses = dict[int | str, dict[str, Any]]

COLLECTIONS: Responses = {
    200: _json("the collections", {"collections": [{"name": "orders", "count": 12, "position": POSITION}]})
}
ACCESS: Responses = {
    200: _json(
        "what each operation is let do, an entry for each grant; an empty list: forbidden",
        {
            "sub": "ann",
            "roles": ["customer"],
            "rules": True,
            "read_only": False,
            "collections": [
                {
                    "name": "orders",
                    "read": [{"documents": {"owner": {"$eq": "ann"}}, "hidden": ["margin"]}],
                    "insert": [{"documents": {"owner": {"$eq": "ann"}}, "writable": ["owner", "status"]}],
                    "update": [],
                    "delete": [],
                }
            ],
            "more": False,
        },
    )
}
PAGE: Responses = {
    200: {
        "description": "a page; or, by `Accept`, every document as a line, or the live query",
        "content": {
            "application/json": {"example": {"documents": [ORDER], "next": None, "position": POSITION}},
            "application/x-ndjson": {"schema": {"type": "string"}, "example": '{"_id":"a1"}\n{"end":true}\n'},
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": f'id: {POSITION}\ndata: {{"type":"live","id":"s","position":"{POSITION}"}}\n\n',
            },
        },
    }
}
ROWS: Responses = {
    200: {
        "description": "the rows; or, by `Accept`, any number of them as lines, or the live query",
        "content": {
            "application/json": {
                "example": {"documents": [{"_id": "Oslo", "revenue": 40.5}], "position": POSITION},
            },
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "example": '{"_id":"Oslo","revenue":40.5}\n{"end":true}\n',
            },
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": f'id: {POSITION}\ndata: {{"type":"live","id":"s","position":"{POSITION}"}}\n\n',
            },
        },
    }
}
_EVENT = (
    'id: 7C0FFEE0-6579F0C200000001\ndata: {"type":"events","channel":3,"events":[{"op":"delete","collection":"orders",'
    '"key":"a1","position":"7C0FFEE0-6579F0C200000001"}],"position":"7C0FFEE0-6579F0C200000001"}\n\n'
)
EVENTS: Responses = {
    200: {
        "description": "a stream without end: the WebSocket's frames as `data:`, a position as `id:`",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EVENT}},
    }
}
ONE: Responses = {
    200: _json("the document", ORDER, headers={"ETag": {"schema": {"type": "string"}}}),
    304: {"description": "the document that `If-None-Match` names"},
}
INSERTED: Responses = {
    201: _json(
        "inserted, majority-committed",
        {"keys": [KEY], "position": POSITION},
        headers={
            "Location": {"schema": {"type": "string"}, "description": "of one; `no_location` says why there is none"}
        },
    )
}
_TAG = {"ETag": {"schema": {"type": "string"}, "description": "of the document as this write left it"}}
CHANGED: Responses = {
    200: _json(
        "written, majority-committed", {"position": POSITION, "key": KEY, "matched": 1, "modified": 1}, headers=_TAG
    )
}
MADE: Responses = {
    201: _json(
        "made by `upsert`",
        {"position": POSITION, "key": KEY, "matched": 0, "modified": 0, "upserted": True},
        headers=_TAG,
    )
}
DELETED: Responses = {200: _json("deleted, majority-committed", {"position": POSITION, "key": KEY, "matched": 1})}
INSERT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "a document, or a list of 1 to 1000 of them, as Extended JSON",
        "content": {
            "application/json": {
                "schema": {"oneOf": [{"type": "object"}, {"type": "array", "minItems": 1, "maxItems": 1000}]},
                "examples": {
                    "one": {"summary": "one", "value": {"status": "open", "total": 12.5}},
                    "several": {"summary": "several, all or none", "value": [{"_id": "a1"}, {"_id": "a2"}]},
                },
            }
        },
    }
}
CONDITIONS: dict[str, Any] = {
    "parameters": [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": description,
            "schema": {"type": "string"},
            "example": example,
        }
        for name, description, example in (
            ("If-Match", "write only to the document with this ETag; `*`: to any that is there", '"0f343b0931126a20"'),
            ("If-None-Match", "write only where the document has none of these ETags; `*`: is not there", "*"),
        )
    ]
}
DOCUMENT_BODY = _body("the document, as Extended JSON", {"status": "open", "total": 12.5})
UPDATE_BODY = _body("update operators, as Extended JSON", {"$set": {"status": "paid"}, "$inc": {"version": 1}})

TICKET_PARAMETER = "in place of a token, for an `EventSource`: what `POST /v1/tickets` gave"
TICKET: Responses = {
    201: _json(
        "a ticket",
        {"ticket": "bW9uZ28tcmVhbHRpbWUtMDAwMQ7yWcX9kq0kq1mXo2fR0h4", "opens_until": {"$date": "2026-11-22T19:35:15Z"}},
    )
}

FILTER: dict[str, Any] = {
    "all": {"summary": "everything", "value": ""},
    "open": {"summary": "open and not small", "value": '{"status": "open", "total": {"$gte": 10}}'},
}
PROJECTION: dict[str, Any] = {
    "all": {"summary": "everything", "value": ""},
    "two": {"summary": "two fields and the key", "value": '{"status": 1, "total": 1}'},
}
SORT: dict[str, Any] = {
    "key": {"summary": "by key", "value": ""},
    "newest": {"summary": "newest first", "value": "-placed"},
    "two": {"summary": "by status, the largest first", "value": '[["status", 1], ["total", -1]]'},
}
GROUP: dict[str, Any] = {
    "none": {"summary": "documents, no rows", "value": ""},
    "sales": {"summary": "sales by status", "value": '{"by": ["status"], "count": true, "sum": ["total"]}'},
}
REVENUE: list[dict[str, Any]] = [
    {"$match": {"status": {"$ne": "cancelled"}}},
    {"$group": {"_id": "$city", "revenue": {"$sum": {"$multiply": ["$price", "$qty"]}}}},
    {"$sort": {"revenue": -1}},
]
PIPELINE: dict[str, Any] = {
    "revenue": {"summary": "revenue by city", "value": json.dumps(REVENUE)},
    "count": {"summary": "how many are open", "value": '[{"$match": {"status": "open"}}, {"$count": "open"}]'},
}
PIPELINE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "the stages, as Extended JSON",
        "content": {"application/json": {"schema": {"type": "array", "items": {"type": "object"}}, "example": REVENUE}},
    }
}

_ERROR = {
    "code": "unsupported_operator",
    "message": "$where is not supported",
    "retry": False,
    "details": {"operator": "$where", "path": "filter.$where"},
}
FRAMES: dict[str, list[dict[str, Any]]] = {
    "subscribe": [
        {"type": "subscribe", "id": "open", "collection": "orders", "filter": {"status": "open"}},
        {"type": "subscribe", "id": "open", "collection": "orders", "position": POSITION, "query": "0" * 32},
        {
            "type": "subscribe",
            "id": "top",
            "collection": "orders",
            "sort": [["total", -1]],
            "limit": 20,
            "throttle": 500,
        },
        {"type": "subscribe", "id": "sales", "collection": "orders", "group": {"by": ["status"], "sum": ["total"]}},
        {"type": "subscribe", "id": "cities", "collection": "orders", "pipeline": REVENUE, "throttle": 500},
        {"type": "subscribe", "id": "log", "mode": "events", "collection": "*", "operations": ["insert", "delete"]},
        {"type": "subscribe", "id": "log", "mode": "events", "collection": ["orders"], "since": ORDER["placed"]},
    ],
    "unsubscribe": [{"type": "unsubscribe", "id": "open"}],
    "insert": [{"type": "insert", "id": "w1", "collection": "orders", "document": {"status": "open", "total": 12.5}}],
    "replace": [
        {"type": "replace", "id": "w2", "collection": "orders", "key": KEY, "document": {"total": 1}, "upsert": True}
    ],
    "update": [
        {
            "type": "update",
            "id": "w3",
            "collection": "orders",
            "key": KEY,
            "update": {"$set": {"status": "paid"}},
            "where": {"status": "open"},
        }
    ],
    "delete": [{"type": "delete", "id": "w4", "collection": "orders", "key": KEY}],
    "auth": [{"type": "auth", "id": "a1", "token": "…"}],
    "ping": [{"type": "ping", "id": "p1"}, {"type": "ping", "id": "p2", "position": POSITION}],
    "welcome": [
        {
            "type": "welcome",
            "protocol": 1,
            "session": "5c7c1f0b8a1e4d6f",
            "position": POSITION,
            "heartbeat": 20,
            "principal": "anonymous",
            "requires_auth": False,
            "limits": {"frame_bytes": 1048576, "subscriptions": 1000, "documents": 10000},
        },
        {
            "type": "welcome",
            "protocol": 1,
            "session": "5c7c1f0b8a1e4d6f",
            "heartbeat": 20,
            "requires_auth": True,
            "limits": {"frame_bytes": 1048576, "subscriptions": 1000, "documents": 10000},
        },
    ],
    "authenticated": [
        {
            "type": "authenticated",
            "id": "a1",
            "principal": "ann",
            "roles": ["staff"],
            "expires": {"$date": "2026-11-22T20:34:06Z"},
            "position": POSITION,
        }
    ],
    "subscribed": [{"type": "subscribed", "id": "open", "channel": 3, "recovered": False, "query": "0" * 32}],
    "snapshot": [
        {"type": "snapshot", "id": "open", "documents": [ORDER], "first": True, "last": True, "position": POSITION},
        {
            "type": "snapshot",
            "id": "how many",
            "documents": [{"open": 5}],
            "keys": [None],
            "first": True,
            "last": True,
            "position": POSITION,
        },
    ],
    "changes": [
        {
            "type": "changes",
            "channel": 3,
            "changes": [{"op": "leave", "key": KEY}, {"op": "enter", "key": 7, "document": {"_id": 7, "total": 1}}],
            "position": POSITION,
        },
        {
            "type": "changes",
            "channel": 5,
            "changes": [
                {"op": "leave", "key": 7},
                {"op": "update", "key": KEY, "document": ORDER, "index": 0},
            ],
            "position": POSITION,
        },
        {
            "type": "changes",
            "channel": 6,
            "changes": [
                {
                    "op": "update",
                    "key": {"status": "open"},
                    "document": {"_id": {"status": "open"}, "sum": {"total": 40}},
                }
            ],
            "position": POSITION,
        },
    ],
    "events": [
        {
            "type": "events",
            "channel": 4,
            "events": [
                {
                    "op": "update",
                    "collection": "orders",
                    "key": KEY,
                    "document": ORDER,
                    "updated": ["status"],
                    "removed": [],
                    "position": POSITION,
                    "wall_time": ORDER["placed"],
                }
            ],
            "position": POSITION,
        }
    ],
    "live": [{"type": "live", "id": "open", "position": POSITION}],
    "resync": [{"type": "resync", "id": "open", "reason": "collection_replaced"}],
    "heartbeat": [{"type": "heartbeat", "position": POSITION}],
    "status": [{"type": "status", "feed": "degraded", "since": ORDER["placed"], "reason": "MongoDB does not answer"}],
    "result": [{"type": "result", "id": "w3", "position": POSITION, "key": KEY, "matched": 1, "modified": 1}],
    "error": [{"type": "error", "id": "open", **_ERROR}],
    "unsubscribed": [
        {"type": "unsubscribed", "id": "open"},
        {
            "type": "unsubscribed",
            "id": "log",
            "code": "history_lost",
            "message": "events were lost between MongoDB and the service",
            "retry": False,
            "position": POSITION,
        },
    ],
    "closing": [{"type": "closing", "code": 4000, "message": "draining", "retry_after": 1}],
    "pong": [{"type": "pong", "id": "p1", "position": POSITION}],
}
"""Frames by their type; each is valid by its schema, and one of a client is taken."""
