"""Errors over HTTP: RFC 9457 problem documents with the codes of the protocol."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Coroutine, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from realtime import errors
from realtime.bugs import bug
from realtime.core.bson import ejson
from realtime.errors import (
    InternalError,
    InvalidRequestError,
    MalformedFrameError,
    NotFoundError,
    ServiceError,
    first_wrong,
)
from realtime.web.entrance import paths

log = logging.getLogger("realtime.web")

MEDIA_TYPE = "application/problem+json"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LOOKING = "realtime.looking"
"""Key of a scope that is matched to see what there is, and not to be answered: each route of ours that matches is put
into the list there."""
READABLE = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of what pages of every origin may read: a client asks there why its handshake was refused."""
GUARDED = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}
"""Headers of everything else: no page of another origin has it as a script, a style or an image. Pages of the listed
origins ask by CORS, which this does not concern."""


Kinds = AbstractSet[type[ServiceError]]


class MethodNotAllowedError(InvalidRequestError):
    """The path is there, and not by this method; `Allow` says by which."""

    status = 405


class UnsupportedEncodingError(InvalidRequestError):
    """A body that is compressed, which is not taken."""

    status = 415


def problem(error: ServiceError, status: int | None = None) -> Response:
    """An error as the response that tells it, with its own status or another one."""
    status = error.status if status is None else status
    fields: dict[str, Any] = {
        "type": "about:blank",
        "title": error.code,
        "status": status,
        "detail": error.message,
        "code": error.code,
        "retry": error.retry,
    }
    if error.details is not None:
        fields["details"] = error.details
    headers = dict(GUARDED)
    if isinstance(error, errors.UnauthenticatedError):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, UnsupportedEncodingError):
        headers["Accept-Encoding"] = "identity"
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    return Response(ejson.encode(fields), status, headers, MEDIA_TYPE)


def answer_unknown_paths(app: FastAPI) -> None:
    """Starlette's own refusals (no such path, or not by this method) as problem documents."""
    app.add_exception_handler(HTTPException, _unknown_path)


async def _unknown_path(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        return _no_path(request)
    kind = MethodNotAllowedError if status == 405 else InvalidRequestError
    answer = problem(kind(f"{request.method} is not for this path{told_by(request.scope, 'says what is')}"), status)
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer


def no_path(connection: HTTPConnection) -> NotFoundError:
    """There is nothing at this path, by whatever route it came."""
    return NotFoundError(f"no path {connection.url.path[:200]}{told_by(connection.scope, 'lists them')}")


def told_by(scope: Scope, what: str) -> str:
    """The end of a message: the page that says what there is, where this application or the operators' has one."""
    app = scope.get("app")
    if app is None:
        return ""
    if getattr(app.state, "admin", None) is not None:
        return f"; /docs at the operators' port {what}"
    path = scope.get("root_path", "") + "/docs"
    asked = {**scope, "type": "http", "method": "GET", "path": path, "raw_path": path.encode(errors="replace")}
    return f"; {path} {what}" if _serves(app.routes, asked) else ""


def _no_path(connection: HTTPConnection) -> Response:
    path = connection.url.path
    answer = problem(no_path(connection))
    if path.endswith("/v1/ws"):
        answer.headers.update(READABLE)
    return answer


def answer_unknown_sockets(app: FastAPI) -> None:
    """A handshake at a path that is not there gets 404, like everything else; Starlette's own answer is 403."""
    otherwise = app.router.default

    async def unknown(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and "websocket.http.response" in scope.get("extensions", {}):
            socket = WebSocket(scope, receive, send)
            await socket.send_denial_response(_no_path(socket))
        else:
            await otherwise(scope, receive, send)

    app.router.default = unknown


class ProblemRoute(APIRoute):
    """A route that answers every error with a problem document, in anybody's application, and describes each."""

    answers: ClassVar[Kinds] = frozenset()
    """What routes of this class can answer beside what is seen of each."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        methods, given = options.get("methods") or {"GET"}, options.get("responses") or {}
        described = described_problems(path, endpoint, methods, given, self.answers)
        super().__init__(path, endpoint, **{**options, "responses": described})

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As any route, but by the path as it came: a newline is no end of it, an encoded slash separates nothing."""
        if scope["type"] != "http" or (path := paths.routed(scope)) == scope["path"]:
            match, found = super().matches(scope)
        else:
            match, found = super().matches({**scope, "path": path})
            given = found.get("path_params", {})
            found = {**found, "path_params": {name: paths.plain(value) for name, value in given.items()}}
        if match is not Match.NONE and LOOKING in scope:
            scope[LOOKING].append(self)
        return match, found

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or say by which methods there is an answer."""
        if not self.methods or scope["method"] in self.methods:
            await super().handle(scope, receive, send)
            return
        there = ", ".join(methods_of(scope, self))
        answer = problem(MethodNotAllowedError(f"{scope['method']} is not for this path, which has {there}"))
        answer.headers["Allow"] = there
        await answer(scope, receive, send)

    def check(self, connection: HTTPConnection) -> None:
        """What stands in the address, before anything is made of it. Called by the entrance, after who calls."""
        paths.check(connection.path_params)
        _check_parameters(connection, {field.alias for field in self.dependant.query_params})

    def told(self, _: Request, error: ServiceError) -> Response:
        """An error as the answer to a request."""
        return problem(error)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await handle(request)
            except ServiceError as error:
                return self.told(request, error)
            except RequestValidationError as invalid:
                # The first name of a place is the part of the request.
                field, reason = first_wrong([{**error, "loc": error["loc"][1:]} for error in invalid.errors()])
                return self.told(request, InvalidRequestError(f"{field}: {reason}", details={"field": field}))
            except ClientDisconnect:
                # Its body was not to be had, and nobody is there to be told.
                log.debug("%s %s: the client went away before its body was whole", request.method, request.url.path)
                return problem(MalformedFrameError("the body was not whole"))
            except Exception as error:
                return problem(bug("request", error, f"{request.method} {request.url.path}"))

        return handler


def methods_of(scope: Scope, fallback: BaseRoute) -> list[str]:
    """The methods by which there is an answer at a path; `fallback` where no application is known."""
    routes = scope["app"].routes if "app" in scope else [fallback]
    return [method for method in METHODS if _serves(routes, {**scope, "method": method, LOOKING: []})]


def is_ours(scope: Scope) -> bool:
    """Whether a route of ours is at a path, by whatever method; the application may have others."""
    found: list[BaseRoute] = []
    for route in scope["app"].routes if "app" in scope else []:
        # Of an included router nothing says from outside which of its routes it was.
        route.matches({**scope, LOOKING: found})
    return bool(found)


def _serves(routes: Iterable[BaseRoute], scope: Scope) -> bool:
    return any(route.matches(scope)[0] is Match.FULL for route in routes)


def _check_parameters(request: HTTPConnection, known: set[str]) -> None:
    """None of them takes several values, so of a name that stands twice one value would count."""
    seen: set[str] = set()
    for name, _ in sorted(request.query_params.multi_items()):
        if name not in known or name in seen:
            reason = "stands twice in the address: give it once" if name in known else "is not known here"
            raise InvalidRequestError(f"{name[:100]}: {reason}", details={"field": name[:100]})
        seen.add(name)


class OpenRoute(ProblemRoute):
    """A route whose answers, problems among them, pages of every origin may read: they tell of nobody."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            answer = await handle(request)
            answer.headers.update(READABLE)
            return answer

        return handler


_ALWAYS: Kinds = {errors.ForbiddenError, InvalidRequestError, errors.UnavailableError, InternalError}
"""Host and origin, a query that is not known, a service that is not started, a bug: every route can answer these."""
_OF_A_COLLECTION: Kinds = {errors.UnsupportedCollectionError, errors.TimedOutError}
_OF_A_BODY: Kinds = {errors.MalformedFrameError, errors.TooLargeError, UnsupportedEncodingError}
_OF_A_WRITE: Kinds = {errors.InvalidUpdateError, errors.ValidationFailedError, errors.DuplicateKeyError}
_OF_A_DOCUMENT: Kinds = {errors.InvalidDocumentError, errors.UnsupportedValueError}
_OF_A_CONDITION: Kinds = {errors.InvalidFilterError, errors.UnsupportedOperatorError}
_OF_A_FILTER: Kinds = _OF_A_CONDITION | _OF_A_DOCUMENT
_OF_A_FIELD: dict[str, Kinds] = {
    "filter": _OF_A_FILTER,
    "where": _OF_A_FILTER,
    "projection": _OF_A_FILTER,
    "pipeline": _OF_A_FILTER | {errors.TooLargeError},
    "position": {errors.InvalidPositionError, errors.HistoryLostError},
    "since": {errors.InvalidPositionError, errors.HistoryLostError},
    "collection": {errors.UnsupportedCollectionError},
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for statuses that a route can answer beside those that `described_problems` knows of."""
    return {status: {"description": _PROBLEM} for status in statuses}


def described_problems(
    path: str,
    endpoint: Callable[..., Any],
    methods: Iterable[str],
    given: Mapping[int | str, dict[str, Any]],
    more: Kinds,
) -> dict[int | str, dict[str, Any]]:
    """A route's `responses` with every problem that it can answer: what it says itself, and what its form says."""
    kinds = _ALWAYS | more | {kind for kind in errors.every_kind() if kind.status in _SINGLE and kind.status in given}
    if "{collection}" in path or "/documents" in path:
        kinds |= _OF_A_COLLECTION
    if "{key" in path:
        kinds |= {NotFoundError}
    asked = inspect.signature(endpoint).parameters
    for name in asked:
        kinds |= _OF_A_FIELD.get(name, set())
    # Who takes a body reads it off the request.
    if {"POST", "PUT", "PATCH"} & set(methods) and "request" in asked:
        kinds |= _OF_A_BODY | (_OF_A_FIELD["pipeline"] if path.endswith("/aggregate") else _OF_A_WRITE)
    if "PATCH" in methods:
        kinds |= _OF_A_CONDITION
    found: dict[int | str, list[type[ServiceError]]] = {}
    every: tuple[type[ServiceError], ...] = (*errors.every_kind(), UnsupportedEncodingError)
    for kind in every:
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
