"""Paths with a slash too many: not there, and said so behind the check of host and origin.

A framework answers them by itself, before anything of ours is asked: by a redirect to whatever host the request named.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.requests import HTTPConnection
from starlette.routing import Match
from starlette.types import Scope

from realtime.web.entrance.problems import LOOKING, METHODS, ProblemRoute, is_ours, no_path


class SlashRoute(ProblemRoute):
    """A route for the paths that would be ours without the slash at their end, by any method; the last one of all."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Only where nothing is: of an application that embeds the service other paths are its own."""
        if scope["type"] != "http" or LOOKING in scope or not scope["path"].endswith("/"):
            return Match.NONE, {}
        match, found = super().matches(scope)
        raw: bytes = scope.get("raw_path") or b""
        without = {**scope, "path": scope["path"].rstrip("/"), "raw_path": raw.rstrip(b"/")}
        if match is not Match.FULL or is_ours(scope) or not is_ours(without):
            return Match.NONE, {}
        return match, found

    def check(self, connection: HTTPConnection) -> None:
        """Nothing of the address counts where nothing is."""


router = APIRouter(route_class=SlashRoute, include_in_schema=False)
"""A route of the service's own router, so that it is there wherever that is included."""


@router.api_route("/{path:path}/", methods=list(METHODS))
async def slash(request: Request) -> None:
    """Nothing is here."""
    raise no_path(request)
