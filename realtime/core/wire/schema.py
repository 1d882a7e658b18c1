"""The frames as JSON Schema (2020-12), made from their models: what a client may send and what it is sent.

On the wire values are Extended JSON, and a frame leaves out what is None; models say neither by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from realtime.core.wire.protocol import CLIENT_FRAMES, ENTRIES, PROTOCOL_VERSION, ServerFrame

DIALECT = "https://json-schema.org/draft/2020-12/schema"
IN_SCHEMA = "#/$defs/{model}"


class WireSchema(GenerateJsonSchema):
    """Dates as they travel, and no titles that repeat the names of fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def datetime_schema(self, schema: Any) -> JsonSchemaValue:
        date = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "object", "required": ["$numberLong"]}]}
        return {"type": "object", "properties": {"$date": date}, "required": ["$date"], "additionalProperties": False}


def server_frames() -> dict[str, type[ServerFrame]]:
    """Every frame that the service sends, by its type."""
    return {kind.model_fields["type"].default: kind for kind in ServerFrame.__subclasses__()}


def frame_schemas(reference: str = IN_SCHEMA) -> dict[str, JsonSchemaValue]:
    """The schema of every frame, and of what stands inside of frames, by the name of its model."""
    models: list[type[BaseModel]] = [*CLIENT_FRAMES.values(), *server_frames().values(), *ENTRIES]
    _, document = models_json_schema(
        [(model, "validation") for model in models], schema_generator=WireSchema, ref_template=reference
    )
    schemas: dict[str, JsonSchemaValue] = document["$defs"]
    for model in [*server_frames().values(), *ENTRIES]:
        _as_sent(schemas[model.__name__], model)
    # The models say list[Any], because the hot path puts bytes together and never makes these.
    for frame, entries, entry in (("Changes", "changes", "Change"), ("Events", "events", "Event")):
        schemas[frame]["properties"][entries]["items"] = {"$ref": reference.format(model=entry)}
    return schemas


def protocol_schema() -> dict[str, Any]:
    """One schema for all frames of both directions; `#/$defs/client` and `#/$defs/server` are those of one."""
    schemas = frame_schemas()
    client = _one_of(model.__name__ for model in CLIENT_FRAMES.values())
    server = _one_of(model.__name__ for model in server_frames().values())
    return {
        "$schema": DIALECT,
        "$id": f"urn:mongo-realtime:protocol:{PROTOCOL_VERSION}",
        "title": f"Frames of the wire protocol, version {PROTOCOL_VERSION}",
        "description": "Values are MongoDB Extended JSON v2, relaxed; canonical forms are accepted from clients too.",
        "oneOf": [{"$ref": "#/$defs/client"}, {"$ref": "#/$defs/server"}],
        "$defs": {"client": client, "server": server, **schemas},
    }


def _one_of(names: Iterable[str]) -> JsonSchemaValue:
    return {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in names]}


def _as_sent(schema: JsonSchemaValue, model: type[BaseModel]) -> None:
    """What is None is left out, everything else is there; and a client ignores fields that it does not know."""
    schema.pop("additionalProperties", None)
    schema["required"] = [name for name, field in model.model_fields.items() if field.get_default() is not None]
    for found in schema["properties"].values():
        found.pop("default", None)
        if "anyOf" in found:
            (kept,) = [one for one in found.pop("anyOf") if one != {"type": "null"}]
            found.update(kept)
