"""The service's own application: its socket does not go through the framework, unless somebody has added to that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.replica_set import ReplicaSet
from tests.web.socket.test_connections import ours
from tests.wire import wired


def overridden(app: FastAPI) -> None:
    app.dependency_overrides[overridden] = overridden


def below(app: FastAPI) -> None:
    app.router.redirect_slashes = False


def around(app: FastAPI) -> None:
    app.add_middleware(_Nothing)


class _Nothing:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def watched(change: Callable[[FastAPI], None], seen: list[str]) -> Callable[[FastAPI], None]:
    """The change, and the paths of sockets that the framework routes."""

    def both(app: FastAPI) -> None:
        change(app)
        routed = app.router.middleware_stack

        async def route(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                seen.append(scope["path"])
            await routed(scope, receive, send)

        app.router.middleware_stack = route

    return both


@pytest.mark.parametrize(
    ("change", "expected"),
    [(below, []), (overridden, ["/v1/ws"]), (around, ["/v1/ws"])],
    ids=["nothing", "overrides", "middleware"],
)
async def test_its_socket_is_routed_by_the_framework_only_where_somebody_added_to_it(
    replica_set: ReplicaSet, change: Any, expected: list[str]
) -> None:
    seen: list[str] = []
    async with ours(replica_set, watched(change, seen)) as service:
        async with wired(service.url) as wire:
            await wire.subscribe("orders")
            assert (await wire.ask(type="ping"))["type"] == "pong"
        assert seen == expected
        with pytest.raises(InvalidStatus):
            await connect(service.url.replace("http", "ws") + "/v1/nothing")
        assert seen == [*expected, "/v1/nothing"]


async def test_who_may_not_come_in_is_told_by_the_same_answer_as_by_the_framework(replica_set: ReplicaSet) -> None:
    async def refused(url: str, **headers: str) -> tuple[int, bytes]:
        with pytest.raises(InvalidStatus) as told:
            await connect(url.replace("http", "ws") + "/v1/ws", additional_headers=headers)
        return told.value.response.status_code, bytes(told.value.response.body or b"")

    answers = []
    for change in (below, around):
        async with ours(replica_set, change) as service:
            answers.append(await refused(service.url, Origin="http://elsewhere.example"))
    assert answers[0][0] == 403
    assert answers[0] == answers[1]
