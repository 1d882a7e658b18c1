"""What pages of other origins may read: the origins of the settings, by the headers that browsers go by."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from fastapi import APIRouter, Request, Response
from starlette.routing import Match
from starlette.types import Scope

from realtime.errors import RateLimitedError, UnauthenticatedError
from realtime.web.entrance.live import Current
from realtime.web.entrance.problems import GUARDED, Kinds, ProblemRoute, methods_of, no_path

EXPOSED = "ETag, Location, Retry-After, Allow, WWW-Authenticate"
REQUESTED = "Accept, Authorization, Content-Type, If-Match, If-None-Match, Last-Event-ID"
PREFLIGHT_SECONDS = 600


class SharedRoute(ProblemRoute):
    """A route of what is somebody's: it asks who, and pages of listed origins may read its answers and problems."""

    answers: ClassVar[Kinds] = frozenset({UnauthenticatedError, RateLimitedError})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                answer = await handle(request)
            finally:
                release: Callable[[], None] | None = getattr(request.state, "release", None)
                if release is not None:
                    release()
            share(request, answer)
            return answer

        return handler


def share(request: Request, answer: Response) -> None:
    """Let the page that asked read the answer, where the entrance has let its origin in."""
    answer.headers.add_vary_header("Origin")
    answer.headers.update(GUARDED)
    live = getattr(request.state, "realtime", None)
    origin = request.headers.get("origin")
    if live is None or origin is None:
        return
    answer.headers["Access-Control-Allow-Origin"] = origin
    answer.headers["Access-Control-Expose-Headers"] = EXPOSED
    if live.settings.allow_credentials:
        answer.headers["Access-Control-Allow-Credentials"] = "true"


class PreflightRoute(SharedRoute):
    """A route for what a browser asks before its page's request, and for nothing else."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or not any(name == _ASKED for name, _ in scope["headers"]):
            return Match.NONE, {}
        return super().matches(scope)


_ASKED = b"access-control-request-method"
router = APIRouter(prefix="/v1", route_class=PreflightRoute, include_in_schema=False)
"""Routes of the service's own router, so that they are there wherever it is included."""


@router.options("/{path:path}", status_code=204)
async def preflight(live: Current, request: Request) -> Response:
    """By what methods and with what headers a page of this origin may ask at a path."""
    there = [method for method in methods_of(request.scope, request.scope["route"]) if method != "OPTIONS"]
    if not there:
        raise no_path(request)
    headers = {
        "Access-Control-Allow-Methods": ", ".join(there),
        "Access-Control-Allow-Headers": REQUESTED,
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }
    return Response(None, 204, headers)
