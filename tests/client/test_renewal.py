"""A client's token against a service that says exactly what a test has it say: renewed, expired, refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request

from realtime import errors
from tests.client.scripted import PATIENCE, QUICK, WELCOME, Line, idle, quick, until

Script = Callable[[Line], Awaitable[None]]


def ends_in(seconds: float) -> dict[str, str]:
    """A date of the wire."""
    return {"$date": (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")}


class Door:
    """What came in by the handshakes' headers."""

    def __init__(self) -> None:
        self.tokens: list[str | None] = []

    def note(self, _: ServerConnection, request: Request) -> None:
        self.tokens.append(request.headers.get("Authorization"))
        assert "token" not in request.path


@asynccontextmanager
async def door(script: Script, **welcome: Any) -> AsyncIterator[tuple[str, Door]]:
    """A service whose `welcome` has these fields, `expires` in seconds from then."""
    seen, failures, count = Door(), [], 0

    async def handle(socket: ServerConnection) -> None:
        nonlocal count
        count += 1
        seconds = welcome.get("expires")
        more = {} if seconds is None else {"expires": ends_in(seconds)}
        await socket.send(json.dumps({**WELCOME, "principal": "ann", **welcome, **more}))
        try:
            await script(Line(socket, count))
        except (AssertionError, TimeoutError) as failure:
            failures.append(failure)

    async with serve(handle, "127.0.0.1", 0, process_request=seen.note) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", seen
    assert failures == []


def numbered(*, asked: list[str]) -> Callable[[], str]:
    """A function that gives t0, t1 and so on, and writes down what it gave."""

    def give() -> str:
        asked.append(f"t{len(asked)}")
        return asked[-1]

    return give


async def refuse(line: Line, code: int, message: str) -> None:
    await line.say(type="error", code="unauthenticated", message=message, retry=False)
    await line.socket.close(code, "word")


async def test_the_token_is_renewed_in_place_before_its_end_again_and_again() -> None:
    asked: list[str] = []
    loop = asyncio.get_running_loop()
    gaps: list[float] = []
    done = asyncio.Event()

    async def script(line: Line) -> None:
        await line.take_up()
        for number in (1, 2, 3):
            began = loop.time()
            frame = await line.hear("auth")
            gaps.append(loop.time() - began)
            assert frame["token"] == f"t{number}"
            said = {"principal": "ann", "roles": ["staff"], "expires": ends_in(1), "position": "P2"}
            await line.say(type="authenticated", id=frame["id"], **said)
        done.set()
        await idle(line)

    async with door(script, expires=1) as (url, seen), quick(url, token=numbered(asked=asked)) as rt:
        first = rt.status.expires
        assert not rt.status.roles
        async with rt.query("orders"), asyncio.timeout(PATIENCE):
            await done.wait()
            assert rt.status.principal == "ann"
            await until(rt, lambda status: status.expires != first)
            assert rt.status.roles == ("staff",)
    assert seen.tokens == ["Bearer t0"]
    assert all(0.5 < gap < 1.0 for gap in gaps), gaps


async def test_a_newer_token_that_is_refused_or_the_same_leaves_the_old_one_and_is_tried_again() -> None:
    given = iter(["a", "a", "b"])
    tried: list[str] = []
    done = asyncio.Event()

    async def script(line: Line) -> None:
        frame = await line.hear("auth")
        tried.append(frame["token"])
        await line.say(type="error", id=frame["id"], code="forbidden", message="of somebody else", retry=False)
        frame = await line.hear("auth")
        tried.append(frame["token"])
        await line.say(type="authenticated", id=frame["id"], principal="ann", position="P2")
        done.set()
        await idle(line)

    async with door(script, expires=4) as (url, seen), quick(url, token=lambda: next(given, "c")) as rt:
        async with asyncio.timeout(PATIENCE):
            await done.wait()
            await until(rt, lambda status: status.expires is None)
        assert rt.status.link == "connected"
    assert (seen.tokens, tried) == (["Bearer a"], ["b", "c"])


async def test_a_token_that_is_text_or_has_no_end_is_never_renewed() -> None:
    calls: list[str] = []
    came: list[Any] = []
    over = asyncio.Event()

    async def script(line: Line) -> None:
        try:
            came.append(await asyncio.wait_for(line.socket.recv(), 1))
        except TimeoutError:
            over.set()

    for token, welcome in (("text", {"expires": 0.3}), (numbered(asked=calls), {})):
        over.clear()
        async with door(script, **welcome) as (url, _), quick(url, token=token), asyncio.timeout(PATIENCE):
            await over.wait()
    assert (came, calls[:1]) == ([], ["t0"])


async def test_after_4002_it_comes_back_by_position_with_another_token() -> None:
    asked: list[str] = []
    done = asyncio.Event()

    async def script(line: Line) -> None:
        frame = await line.take_up(recovered=line.number > 1, position=f"P{line.number}")
        assert (frame.get("position"), frame.get("query")) == ((None, None) if line.number == 1 else ("P1", "hash"))
        if line.number == 1:
            await line.say(type="closing", code=4002, message="expired", retry_after=0.05)
            await line.socket.close(4002, "expired")
        else:
            done.set()
            await idle(line)

    async with door(script) as (url, seen), quick(url, token=numbered(asked=asked)) as rt, rt.query("orders") as view:
        async with asyncio.timeout(PATIENCE):
            await done.wait()
            await until(rt, lambda status: status.link == "connected")
        assert view.documents == []
    assert seen.tokens == ["Bearer t0", "Bearer t1"]


@pytest.mark.parametrize("code", [4501, 4503, 4504])
async def test_a_refused_token_ends_the_client_with_what_the_service_said_unless_there_is_another(code: int) -> None:
    async def script(line: Line) -> None:
        await line.take_up()
        await refuse(line, code, "the token was revoked: get a new token")

    for token, shown in ((lambda: "same", 1), ("text", 1), (lambda: None, 1)):
        async with door(script) as (url, seen), quick(url, token=token) as rt:
            view = rt.query("orders")
            with pytest.raises((errors.UnauthenticatedError, errors.ForbiddenError), match="get a new token") as raised:
                await anext(view)
            assert str(code) in raised.value.message
            assert rt.status.link == "closed"
        assert len(seen.tokens) == shown


async def test_another_token_is_tried_after_a_refusal_and_two_refusals_in_a_row_are_the_end() -> None:
    asked: list[str] = []
    done = asyncio.Event()

    async def script(line: Line) -> None:
        if line.number == 2:
            await line.take_up()
            done.set()
            await idle(line)
        else:
            await refuse(line, 4501, "not good")

    async with (
        door(script) as (url, seen),
        quick(url, token=numbered(asked=asked)) as rt,
        rt.query("orders"),
        asyncio.timeout(PATIENCE),
    ):
        await done.wait()
    assert seen.tokens == ["Bearer t0", "Bearer t1"]

    asked.clear()
    async with door(lambda line: refuse(line, 4501, "not good"), requires_auth=True) as (url, seen):
        with pytest.raises(errors.UnauthenticatedError, match="got no token, though one was sent"):
            async with quick(url, token=numbered(asked=asked)):
                pass
    assert seen.tokens == ["Bearer t0", "Bearer t1"]


async def test_a_service_that_wants_a_token_and_gets_none_says_which_option_to_give() -> None:
    async with door(idle, requires_auth=True) as (url, seen):
        with pytest.raises(errors.UnauthenticatedError, match=r"connect\(token=…\)"):
            async with quick(url):
                pass
    assert seen.tokens == [None]


async def test_a_service_that_cannot_find_out_for_now_is_asked_again() -> None:
    done = asyncio.Event()

    async def script(line: Line) -> None:
        if line.number == 1:
            await line.say(type="error", code="unavailable", message="keys are away", retry=True)
            await line.say(type="closing", code=4003, message="unavailable", retry_after=0.01)
            await line.socket.close(4003, "unavailable")
        else:
            done.set()
            await idle(line)

    async with door(script) as (url, seen), quick(url, token="text"), asyncio.timeout(PATIENCE):
        await done.wait()
    assert seen.tokens == ["Bearer text", "Bearer text"]


def test_the_token_is_in_no_description_of_the_client() -> None:
    from realtime.client.options import Options

    options = Options("http://h", "secret", QUICK, None, 1.0, 1, 4096)
    assert "secret" not in repr(options)
