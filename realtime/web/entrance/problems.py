"""Errors over HTTP: RFC 9457 problem documents with the codes of the protocol."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from realtime import errors, metrics
from realtime.core.bson import ejson
from realtime.errors import InternalError, InvalidRequestError, NotFoundError, ServiceError

log = logging.getLogger("realtime.http")

MEDIA_TYPE = "application/problem+json"


def problem(error: ServiceError) -> Response:
    """An error as the response that tells it."""
    fields: dict[str, Any] = {
        "type": "about:blank",
        "title": error.code,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "retry": error.retry,
    }
    if error.details is not None:
        fields["details"] = error.details
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    return Response(ejson.encode(fields), error.status, headers, MEDIA_TYPE)


def answer_unknown_paths(app: FastAPI) -> None:
    """Starlette's own refusals (no such path, or not by this method) as problem documents."""
    app.add_exception_handler(HTTPException, _unknown_path)


async def _unknown_path(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        return problem(NotFoundError(f"no path {request.url.path[:200]}; /docs lists them"))
    refused = InvalidRequestError(f"{request.method} is not for this path; /docs says what is")
    answer = problem(refused)
    answer.status_code = status
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer


class ProblemRoute(APIRoute):
    """A route that answers every error with a problem document, in anybody's application, and describes each."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        described = described_problems(
            path, endpoint, options.get("methods") or {"GET"}, options.get("responses") or {}
        )
        super().__init__(path, endpoint, **{**options, "responses": described})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        known = {field.alias for field in self.dependant.query_params}

        async def handler(request: Request) -> Response:
            try:
                _refuse_unknown(request, known)
                return await handle(request)
            except ServiceError as error:
                return problem(error)
            except RequestValidationError as invalid:
                first = invalid.errors()[0]
                field = ".".join(str(part) for part in first["loc"][1:])
                return problem(InvalidRequestError(f"{field}: {first['msg']}", details={"field": field}))
            except Exception:
                reference = metrics.reference()
                log.exception(
                    "%s %s failed, reference %s",
                    request.method,
                    request.url.path,
                    reference,
                    extra={"reference": reference},
                )
                return problem(InternalError(f"a bug; it is logged under {reference}"))

        return handler


def _refuse_unknown(request: Request, known: set[str]) -> None:
    for name in sorted(request.query_params.keys() - known):
        raise InvalidRequestError(f"{name[:100]}: is not known here", details={"field": name[:100]})


Kinds = set[type[ServiceError]]

_ALWAYS: Kinds = {errors.ForbiddenError, InvalidRequestError, errors.UnavailableError, InternalError}
"""Host and origin, a query that is not known, a service that is not started, a bug: every route can answer these."""
_OF_A_COLLECTION: Kinds = {errors.UnsupportedCollectionError, errors.TimedOutError}
_OF_A_BODY: Kinds = {
    errors.MalformedFrameError,
    errors.InvalidUpdateError,
    errors.ValidationFailedError,
    errors.DuplicateKeyError,
    errors.TooLargeError,
}
_OF_A_FILTER: Kinds = {errors.InvalidFilterError, errors.UnsupportedOperatorError}
_OF_A_FIELD: dict[str, Kinds] = {
    "filter": _OF_A_FILTER,
    "where": _OF_A_FILTER,
    "projection": {errors.UnsupportedOperatorError},
    "position": {errors.InvalidPositionError, errors.HistoryLostError},
    "since": {errors.InvalidPositionError, errors.HistoryLostError},
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for statuses that a route can answer beside those that `described_problems` knows of."""
    return {status: {"description": _PROBLEM} for status in statuses}


def described_problems(
    path: str, endpoint: Callable[..., Any], methods: Iterable[str], given: Mapping[int | str, dict[str, Any]]
) -> dict[int | str, dict[str, Any]]:
    """A route's `responses` with every problem that it can answer: what it says itself, and what its form says."""
    kinds = _ALWAYS | {kind for kind in errors.every_kind() if kind.status in _SINGLE and kind.status in given}
    if "{collection}" in path or "/documents" in path:
        kinds |= _OF_A_COLLECTION
    if "{key" in path:
        kinds.add(NotFoundError)
    for name in inspect.signature(endpoint).parameters:
        kinds |= _OF_A_FIELD.get(name, set())
    if {"POST", "PUT", "PATCH"} & set(methods):
        kinds |= _OF_A_BODY
    if "PATCH" in methods:
        kinds |= _OF_A_FILTER
    found: dict[int | str, list[type[ServiceError]]] = {}
    for kind in errors.every_kind():
        if kind in kinds:
            found.setdefault(kind.status, []).append(kind)
    kept = {status: told for status, told in given.items() if told.get("description") != _PROBLEM}
    return {**kept, **{status: _described(status, kinds) for status, kinds in sorted(found.items())}}


def _described(status: int | str, kinds: list[type[ServiceError]]) -> dict[str, Any]:
    codes = [kind.code for kind in kinds]
    schema = {
        **_SCHEMA,
        "properties": {**_SCHEMA["properties"], "status": {"const": status}, "code": {"enum": codes}},
    }
    examples = {kind.code: {"summary": _line(kind), "value": _example(kind)} for kind in kinds}
    description = "; ".join(f"`{kind.code}`: {_line(kind)}" for kind in kinds)
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema, "examples": examples}}}


def _line(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _example(kind: type[ServiceError]) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": kind.code,
        "status": kind.status,
        "detail": _line(kind),
        "code": kind.code,
        "retry": kind.retry,
    }


_PROBLEM = "a problem document"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "retry"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "detail": {"type": "string"},
        "retry": {"type": "boolean"},
        "details": {"type": "object"},
    },
}
_SINGLE = {kind.status for kind in errors.every_kind()} - {422}
"""Statuses whose codes go together; what 422 means depends on the route."""
