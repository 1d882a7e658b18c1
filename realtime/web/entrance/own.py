"""The embedding application's own way to know who asks: an async callable, or any FastAPI dependency."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any

from fastapi import Depends
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant, solve_dependencies
from fastapi.exceptions import FastAPIError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from realtime.core.access.principal import Principal
from realtime.core.access.tokens import MAX_NAME
from realtime.errors import ConfigurationError, ForbiddenError, ServiceError, UnauthenticatedError, UnavailableError

_STACKS = ("fastapi_inner_astack", "fastapi_function_astack")
"""Where FastAPI looks for what a dependency leaves open; ours are closed when it has answered."""
RETRY_AFTER_SECONDS = 1.0
_LONE = re.compile("[\ud800-\udfff]")
"""Surrogates, which are no text in UTF-8."""


class Dependency:
    """An `OwnAuthenticator` of what an application gave as `authenticate`.

    It is solved as FastAPI solves a dependency: it gets the connection by the type of a parameter (`HTTPConnection`),
    headers and cookies by theirs, and whatever it depends on. One with a single parameter that has no type gets the
    connection. `ConfigurationError` for one that asks for what a socket does not have.
    """

    def __init__(self, authenticate: Callable[..., Any], now: Callable[[], float] = time.time) -> None:
        if not callable(authenticate):
            raise ConfigurationError(
                "Realtime(authenticate=…) takes a function that gets the connection and returns a Principal"
            )
        self._now = now
        self._dependant = _dependant(authenticate)

    async def __call__(self, connection: Any) -> Principal:
        """Who asks by this connection. `UnauthenticatedError` or `ForbiddenError` where the application says no."""
        asked = self._now()
        try:
            found = await self._solved(connection)
        except HTTPException as error:
            raise _refusal(error) from None
        if found is None:
            raise UnauthenticatedError("nobody is signed in")
        if not isinstance(found, Principal):
            raise TypeError(f"authenticate returned {type(found).__name__}, and has to return a Principal with a sub")
        if (wrong := _wrong(found)) is not None:
            raise TypeError(f"authenticate has to return a Principal whose {wrong}")
        # So that a revocation of the user ends what was let in before it, and nobody who signs in again.
        issued = asked if found.issued is None else found.issued
        return dataclasses.replace(found, issued=issued, roles=frozenset(found.roles))

    async def _solved(self, connection: HTTPConnection) -> Any:
        """Asked again later, a request is long over: so what is left open by it is closed here."""
        again = copy.copy(connection)
        async with AsyncExitStack() as stack:
            again.scope = {**connection.scope, **dict.fromkeys(_STACKS, stack)}
            solved = await solve_dependencies(
                request=again,  # type: ignore[arg-type]  # reason: a request or a socket, which are both connections
                dependant=self._dependant,
                async_exit_stack=stack,
                embed_body_fields=False,
            )
            if solved.errors:
                raise UnauthenticatedError("what says who asks is missing, or cannot be read", reason="malformed")
            return solved.values["found"]


def _wrong(found: Any) -> str | None:
    """What a principal has to be and this one is not: no frame, log or ticket could say it otherwise."""
    if not _is_name(found.sub):
        return f"sub is a text of 1 to {MAX_NAME} characters"
    if isinstance(found.roles, str) or not all(_is_name(role) for role in found.roles):
        return f"roles are a set of texts of 1 to {MAX_NAME} characters"
    if not all(one is None or _is_name(one) for one in (found.jti, found.key)):
        return f"jti and key are texts of 1 to {MAX_NAME} characters, or None"
    if not all(one is None or _is_time(one) for one in (found.expires, found.issued)):
        return "expires and issued are seconds since 1970, or None"
    return None if isinstance(found.claims, Mapping) else "claims are a mapping"


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= MAX_NAME and _LONE.search(value) is None


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)


def _dependant(authenticate: Callable[..., Any]) -> Dependant:
    given = list(inspect.signature(authenticate).parameters.values())
    untyped = len(given) == 1 and given[0].annotation is inspect.Parameter.empty

    async def connected(connection: HTTPConnection) -> Any:
        found = authenticate(connection)
        return await found if inspect.isawaitable(found) else found

    async def outer(found: Any = Depends(connected if untyped else authenticate)) -> Any:  # noqa: B008 - FastAPI's way
        return found

    try:
        made = get_dependant(path="/", call=outer)
    except (AssertionError, FastAPIError) as error:
        raise ConfigurationError(f"Realtime(authenticate=…) is no dependency of FastAPI's: {error}") from None
    for one in _all(made):
        if one.request_param_name or one.websocket_param_name or one.body_params or one.path_params:
            raise ConfigurationError(
                "Realtime(authenticate=…) asks for a Request, a WebSocket, a body or a part of the path, and requests "
                "and sockets do not both have that: take the connection (starlette.requests.HTTPConnection), which has "
                "headers, cookies and session"
            )
    return made


def _all(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for one in dependant.dependencies:
        yield from _all(one)


def _refusal(error: HTTPException) -> ServiceError:
    """What the application says by HTTP, as ours; its words are for who asks."""
    if error.status_code == HTTPStatus.FORBIDDEN:
        return ForbiddenError(str(error.detail))
    if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnauthenticatedError(str(error.detail))
    return UnavailableError(str(error.detail), retry_after=RETRY_AFTER_SECONDS)
