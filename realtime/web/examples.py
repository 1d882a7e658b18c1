"""Examples and schemas for OpenAPI: what cannot be read off a signature, because bodies are Extended JSON."""

from __future__ import annotations

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

COLLECTIONS: Responses = {200: _json("the collections", {"collections": [{"name": "orders", "count": 12}]})}
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
        headers={"Location": {"schema": {"type": "string"}}},
    )
}
CHANGED: Responses = {
    200: _json("written, majority-committed", {"position": POSITION, "key": KEY, "matched": 1, "modified": 1})
}
MADE: Responses = {
    201: _json("made by `upsert`", {"position": POSITION, "key": KEY, "matched": 0, "modified": 0, "upserted": True})
}
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
    "newest": {"summary": "newest first", "value": '[["placed", -1]]'},
}
