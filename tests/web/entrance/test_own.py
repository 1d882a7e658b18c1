"""An application's own way to know who asks: any dependency of FastAPI's that goes by the connection."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import Cookie, Depends, Header, HTTPException, Request
from starlette.requests import HTTPConnection

from realtime.core.access.principal import Principal
from realtime.errors import ConfigurationError, ForbiddenError, UnauthenticatedError, UnavailableError
from realtime.web.entrance.own import Dependency

NOW = 1000.0
ANN = Principal("ann", frozenset({"staff"}), issued=1.0)


def connection(kind: str = "http", **headers: str) -> HTTPConnection:
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection(
        {"type": kind, "path": "/", "query_string": b"", "headers": given, "session": {"user": "ann"}}
    )


async def plain(connection):  # type: ignore[no-untyped-def]  # reason: applications have such
    return Principal(connection.session["user"])


async def typed(connection: HTTPConnection) -> Principal:
    return Principal(connection.session["user"])


def not_async(connection: HTTPConnection) -> Principal:
    return Principal(connection.session["user"])


class Signed:
    """An object that is called."""

    async def __call__(self, connection: HTTPConnection) -> Principal:
        return Principal(connection.session["user"])


opened: list[str] = []


async def store() -> AsyncIterator[dict[str, str]]:
    opened.append("opened")
    try:
        yield {"ticket": "ann"}
    finally:
        opened.append("closed")


async def by_cookie(
    users: Annotated[dict[str, str], Depends(store)], sid: Annotated[str, Cookie()]
) -> Principal | None:
    return Principal(users[sid]) if sid in users else None


async def by_header(x_user: Annotated[str | None, Header()] = None) -> Principal:
    if x_user is None:
        raise HTTPException(401, "sign in first")
    return Principal(x_user)


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("authenticate", [plain, typed, not_async, Signed()], ids=["plain", "typed", "sync", "object"])
async def test_it_gets_the_connection_and_says_who_asks(authenticate: Any, kind: str) -> None:
    assert (await Dependency(authenticate)(connection(kind))).sub == "ann"


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_it_may_depend_on_others_which_are_closed_when_it_has_answered(kind: str) -> None:
    dependency = Dependency(by_cookie)
    opened.clear()
    assert (await dependency(connection(kind, cookie="sid=ticket"))).sub == "ann"
    assert opened == ["opened", "closed"]
    with pytest.raises(UnauthenticatedError, match="nobody is signed in"):
        await dependency(connection(kind, cookie="sid=other"))
    with pytest.raises(UnauthenticatedError) as missing:
        await dependency(connection(kind))
    assert missing.value.reason == "malformed"
    assert opened == ["opened", "closed"] * 3


async def test_who_it_says_so_of_was_asked_about_now_unless_it_says_since_when() -> None:
    """A revocation of the user ends who was let in before it, and not who signs in afterwards."""
    assert (await Dependency(typed, lambda: NOW)(connection())).issued == NOW
    told = Dependency(lambda connection: ANN, lambda: NOW)
    assert await told(connection()) == ANN


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, UnauthenticatedError), (403, ForbiddenError), (404, UnauthenticatedError), (503, UnavailableError)],
)
async def test_what_it_says_by_http_is_said_on_any_connection(status: int, kind: type[Exception]) -> None:
    async def refuse(connection: HTTPConnection) -> Principal:
        raise HTTPException(status, "not today")

    with pytest.raises(kind, match="not today"):
        await Dependency(refuse)(connection("websocket"))


def saying(what: Any) -> Any:
    return lambda connection: what


async def test_its_own_errors_pass_and_what_is_no_principal_is_its_bug() -> None:
    async def forbid(connection: HTTPConnection) -> Principal:
        raise ForbiddenError("not yours")

    with pytest.raises(ForbiddenError):
        await Dependency(forbid)(connection())
    for bad in ("ann", {"sub": "ann"}, Principal("")):
        with pytest.raises(TypeError, match="has to return a Principal"):
            await Dependency(saying(bad))(connection())


async def test_a_principal_that_no_frame_or_ticket_could_say_is_its_bug_at_the_door() -> None:
    """It came as far as the frame or the ticket that could not say it, and ended there as a bug of ours."""
    bad: list[tuple[str, dict[str, Any]]] = [
        ("sub", {"sub": 7}),
        ("sub", {"sub": "x" * 257}),
        ("sub", {"sub": "\ud800"}),
        ("roles", {"roles": "staff"}),
        ("roles", {"roles": {1}}),
        ("jti", {"jti": 7}),
        ("key", {"key": ""}),
        ("expires", {"expires": "tomorrow"}),
        ("issued", {"issued": float("nan")}),
        ("claims", {"claims": ["a"]}),
    ]
    for named, fields in bad:
        with pytest.raises(TypeError, match=f"has to return a Principal whose .*{named}"):
            await Dependency(saying(Principal(**{"sub": "ann", **fields})))(connection())
    given = Principal("ann", ["staff", "staff"], expires=float("inf"), issued=1)  # type: ignore[arg-type]  # reason: applications have lists
    found = await Dependency(saying(given))(connection())
    assert (found.roles, found.expires, hash(found)) == (frozenset({"staff"}), float("inf"), hash(found))


async def test_a_header_is_found_by_the_name_of_its_parameter() -> None:
    dependency = Dependency(by_header)
    assert (await dependency(connection(x_user="bob"))).sub == "bob"
    with pytest.raises(UnauthenticatedError, match="sign in first"):
        await dependency(connection())


async def of_request(request: Request) -> Principal:
    return ANN


async def of_path(item: int, connection: HTTPConnection) -> Principal:
    return ANN


async def deep(one: Annotated[Principal, Depends(of_request)]) -> Principal:
    return one


@pytest.mark.parametrize("authenticate", [of_request, deep, None, "typed"], ids=["request", "deep", "none", "text"])
def test_one_that_asks_for_what_a_socket_does_not_have_is_refused_at_the_start(authenticate: Any) -> None:
    with pytest.raises(ConfigurationError, match="connection"):
        Dependency(authenticate)


async def test_it_is_asked_again_long_after_its_request() -> None:
    dependency = Dependency(by_cookie)
    one = connection("websocket", cookie="sid=ticket")
    assert [(await dependency(one)).sub for _ in range(3)] == ["ann"] * 3
    assert "fastapi_inner_astack" not in one.scope
    assert (await dependency(one)).issued == pytest.approx(time.time(), abs=60)
