"""What of a `subscribe` is described in more detail than it is read: the parts that other modules read and refuse."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import WithJsonSchema

Object = dict[str, Any]

_PATHS = {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 16}
_GROUP = {
    "type": "object",
    "description": "Rows as $group makes them (PROTOCOL 3).",
    "properties": {
        "by": _PATHS,
        "count": {"type": "boolean"},
        **dict.fromkeys(("sum", "avg", "min", "max"), _PATHS),
    },
    "required": ["by"],
    "additionalProperties": False,
}
Group = Annotated[Object | None, WithJsonSchema({"anyOf": [_GROUP, {"type": "null"}]})]
"""`group`. What a client sends is read by `core.live.aggregate`, which says what is wrong with it."""

_LAST = {
    "type": "object",
    "description": "Documents whose date at the path lies at most so many seconds back (PROTOCOL 3.3).",
    "properties": {
        "path": {"type": "string", "minLength": 1},
        "seconds": {"type": "integer", "minimum": 1},
    },
    "required": ["path", "seconds"],
    "additionalProperties": False,
}
Last = Annotated[Object | None, WithJsonSchema({"anyOf": [_LAST, {"type": "null"}]})]
"""`last`. What a client sends is read by `core.mql.moving`."""

MAX_STAGES = 32
_STAGE = {"type": "object", "minProperties": 1, "maxProperties": 1}
_PIPELINE = {
    "type": "array",
    "description": "Stages of an aggregation, which filter, sort and group by themselves (PROTOCOL 3).",
    "items": _STAGE,
    "maxItems": MAX_STAGES,
}
Pipeline = Annotated[list[Any] | None, WithJsonSchema({"anyOf": [_PIPELINE, {"type": "null"}]})]
"""`pipeline`. What a client sends is read by `core.mql.pipelines`, which says what is wrong with it."""
