"""Collections with a model, in OpenAPI: each has its own paths for what is written whole, with the model's schema.

They are the general routes, bound to the collection's name; who calls them gets what the general ones give.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from bson.objectid import ObjectId
from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind
from pydantic_core import CoreSchema, core_schema

from realtime.core.wire.collections import Collections
from realtime.web.entrance.live import same_rules
from realtime.web.entrance.paths import component
from realtime.web.entrance.shared import SharedRoute
from realtime.web.http import rest

_WHOLE = {"POST", "PUT"}
_ANY_DOCUMENT = {"type": "object"}
_EXAMPLES = {"example", "examples"}


def typed_routes(collections: Collections) -> APIRouter:
    """The paths of every collection with a model."""
    router = APIRouter(route_class=SharedRoute)
    for name in sorted(collections.known):
        found = collections.model_of(name)
        if found is None or found.model is None:
            continue
        schema = schema_of(found.model)
        for route in rest.router.routes:
            if isinstance(route, APIRoute) and "{collection}" in route.path and _WHOLE & _methods(route):
                _add(router, route, name, schema)
    return router


def _add(router: APIRouter, route: APIRoute, name: str, schema: JsonSchemaValue) -> None:
    router.add_api_route(
        # Where that is not the name itself it describes alone: no path that comes in is matched by it, and the general
        # route does the same.
        route.path.replace("{collection}", component(name)),
        _bound(route.endpoint, name),
        methods=sorted(_methods(route)),
        status_code=route.status_code,
        summary=f"{route.summary} ({name})",
        description=route.description,
        responses=route.responses,
        tags=[name],
        name=f"{route.name}_{name}",
        openapi_extra=_with(route.openapi_extra, schema),
    )


def _methods(route: APIRoute) -> set[str]:
    return route.methods or set()


def _bound(endpoint: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The endpoint with its collection given, and a signature that does not ask for it."""
    signature = inspect.signature(endpoint, eval_str=True)

    async def bound(**given: Any) -> Any:
        return await endpoint(collection=name, **given)

    rest_of_it = [one for one in signature.parameters.values() if one.name != "collection"]
    named = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in rest_of_it]
    # The same endpoint by another path: it obeys the rules where that one does.
    same_rules(endpoint, bound)
    bound.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]  # reason: FastAPI reads it
    return bound


def _with(extra: Mapping[str, Any] | None, schema: JsonSchemaValue) -> dict[str, Any]:
    """What a route adds to its description, with this schema for any document; examples of other documents go."""
    given = dict(extra or {})
    if "requestBody" in given:
        given["requestBody"] = _replaced(given["requestBody"], schema)
    return given


def _replaced(value: Any, schema: JsonSchemaValue) -> Any:
    if value == _ANY_DOCUMENT:
        return schema
    if isinstance(value, Mapping):
        found = {name: _replaced(inner, schema) for name, inner in value.items() if name not in _EXAMPLES}
        return {**found, "items": schema} if found.get("type") == "array" else found
    return [_replaced(inner, schema) for inner in value] if isinstance(value, list) else value


# ------------------------------------------------------------------------------------------------------------- schemas


class ExtendedJsonSchema(GenerateJsonSchema):
    """A model's schema as documents travel: dates and decimals as Extended JSON too, ObjectIds, nothing that raises."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - the base class has it so

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        return {"anyOf": [super().datetime_schema(schema), _typed("$date")]}

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        return {"anyOf": [super().decimal_schema(schema), _typed("$numberDecimal")]}

    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> JsonSchemaValue:
        return _typed("$oid") if schema["cls"] is ObjectId else {}

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> JsonSchemaValue:
        return {}


def _typed(name: str) -> JsonSchemaValue:
    return {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}


def schema_of(model: type[BaseModel]) -> JsonSchemaValue:
    """The schema of what may be sent for a model, without references, which mean another place inside of OpenAPI."""
    schema = model.model_json_schema(schema_generator=ExtendedJsonSchema)
    definitions = schema.pop("$defs", {})
    resolved = _inlined(schema, definitions, ())
    return resolved if isinstance(resolved, dict) else {}


def _inlined(value: Any, definitions: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_inlined(inner, definitions, inside) for inner in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if not isinstance(reference, str):
        return {name: _inlined(inner, definitions, inside) for name, inner in value.items()}
    name = reference.rsplit("/", 1)[-1]
    if name in inside:
        # A model inside of itself: OpenAPI could only refer to it.
        return {"type": "object", "title": name}
    beside = {other: inner for other, inner in value.items() if other != "$ref"}
    return {**_inlined(definitions[name], definitions, (*inside, name)), **beside}
