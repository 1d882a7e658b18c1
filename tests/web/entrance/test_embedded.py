"""The service inside of another project's application: the tests of the service alone, again, under its prefix."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from realtime import Realtime, create_app
from realtime.errors import ConfigurationError
from realtime.settings import load
from tests.embedding import PREFIX, by_mount, by_router, embedded, hosting, included, listening
from tests.replica_set import ReplicaSet
from tests.serving import Service
from tests.web.http import test_rest
from tests.web.socket import test_socket
from tests.wire import wired

__all__ = ["embedded", "service"]

service = included
AGAIN = {
    name: test
    for module in (test_rest, test_socket)
    for name, test in vars(module).items()
    if name.startswith("test_") and set(inspect.signature(test).parameters) & {"service"}
}
DESCRIPTION = "test_the_description_has_examples_and_every_route"
"""A mounted application has its own description; below there is a test of it."""
globals().update({name: test for name, test in AGAIN.items() if name != DESCRIPTION})


def test_the_tests_of_the_service_alone_are_here_again() -> None:
    assert len(AGAIN) >= 20
    assert DESCRIPTION in AGAIN


# ---------------------------------------------------------------------------------------------- the host stays itself


async def test_the_hosts_own_routes_errors_and_lifespan_are_its_own(embedded: Service) -> None:
    http = embedded.http
    embedded.database.orders.insert_many([{}, {}])
    assert (await http.get("/count")).json() == {"orders": 2, "shop": "open"}
    missing, invalid, nothing = await http.get("/items/0"), await http.get("/items/x"), await http.get("/nothing")
    assert (missing.status_code, missing.json()) == (404, {"detail": "no such item"})
    assert (invalid.status_code, invalid.json()["detail"][0]["loc"]) == (422, ["path", "number"])
    assert (nothing.status_code, nothing.json()) == (404, {"detail": "Not Found"})
    assert {one.headers["content-type"] for one in (missing, invalid, nothing)} == {"application/json"}
    assert (await http.get("/items/5?unknown=1")).json() == {"item": 5}
    assert {one.headers["x-shop"] for one in (missing, invalid, nothing)} == {"seen"}
    assert "Swagger UI" in (await http.get("/docs")).text
    assert embedded.app.state.log == ["opened"]


async def test_our_errors_are_problem_documents_inside_a_host_too(embedded: Service) -> None:
    http, root = embedded.http, embedded.path("/v1/collections")
    answers = [
        await http.get(f"{root}/orders/documents/nobody"),
        await http.get(f"{root}/orders/documents?limit=0"),
        await http.get(f"{root}/orders/documents?limits=1"),
        await http.post(f"{root}/orders/documents", content="{"),
        await http.get(root, headers={"Host": "rebound.example"}),
    ]
    assert [(one.status_code, one.json()["code"]) for one in answers] == [
        (404, "not_found"),
        (422, "invalid_request"),
        (422, "invalid_request"),
        (400, "malformed_frame"),
        (403, "forbidden"),
    ]
    assert {one.headers["content-type"] for one in answers} == {"application/problem+json"}


async def test_the_hosts_middleware_sees_ours_and_breaks_nothing(embedded: Service) -> None:
    listed = await embedded.http.get(
        embedded.documents, headers={"Origin": "http://127.0.0.1", "Accept-Encoding": "gzip"}
    )
    assert (listed.status_code, listed.headers["x-shop"]) == (403, "seen")
    listed = await embedded.http.get(embedded.documents, headers={"Accept-Encoding": "gzip"})
    assert (listed.status_code, listed.headers["x-shop"], listed.headers["content-encoding"]) == (200, "seen", "gzip")
    assert listed.json()["documents"] == []


async def test_the_page_and_its_files_are_found_under_the_prefix(embedded: Service) -> None:
    moved = await embedded.http.get(PREFIX)
    assert (moved.status_code, moved.headers["location"]) == (307, f"{embedded.url}/")
    page = await embedded.http.get(embedded.path("/"))
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    script = await embedded.http.get(embedded.path("/static/page.js"))
    assert script.headers["content-type"].startswith("text/javascript")


async def test_of_paths_with_a_slash_too_many_the_hosts_are_redirected_and_ours_are_not(embedded: Service) -> None:
    ours = await embedded.http.get(embedded.path("/v1/collections/"))
    foreign = await embedded.http.get(embedded.path("/v1/collections/"), headers={"Host": "rebound.example"})
    theirs = await embedded.http.get("/items/5/")
    assert [(one.status_code, one.json()["code"]) for one in (ours, foreign)] == [
        (404, "not_found"),
        (403, "forbidden"),
    ]
    assert (theirs.status_code, theirs.headers["location"].endswith("/items/5")) == (307, True)


async def test_rest_and_socket_have_the_prefix_both_ways(embedded: Service) -> None:
    async with wired(embedded.url) as wire:
        view = await wire.subscribe("orders")
        made = await embedded.http.post(embedded.documents, json={"_id": "a/b"})
        assert made.headers["location"] == f"{embedded.documents}/a%2Fb"
        await wire.when(lambda: '"a/b"' in view.documents)
    assert (await embedded.http.get(made.headers["location"])).json() == {"_id": "a/b"}


async def test_a_host_that_includes_the_router_describes_it_among_its_own(replica_set: ReplicaSet) -> None:
    async with hosting(replica_set, by_router) as service:
        await test_rest.test_the_description_has_examples_and_every_route(service)
        paths = (await service.http.get("/openapi.json")).json()["paths"]
    assert "/items/{number}" in paths
    assert "application/problem+json" not in paths["/items/{number}"]["get"]["responses"]["422"]["content"]


async def test_a_mounted_one_describes_itself(replica_set: ReplicaSet) -> None:
    async with hosting(replica_set, by_mount) as service:
        host = (await service.http.get("/openapi.json")).json()
        own = (await service.http.get(service.path("/openapi.json"))).json()
        page = await service.http.get(service.path("/docs"))
    assert set(host["paths"]) == {"/count", "/items/{number}"}
    assert "/v1/collections" in own["paths"]
    assert 'href="swagger/' in page.text


# ----------------------------------------------------------------------------------------------------------- lifespans


async def test_our_lifespan_is_around_the_hosts_own(replica_set: ReplicaSet) -> None:
    order: list[str] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        database = await rt.database()
        await database.orders.insert_one({"_id": "by the host's start"})
        order.append("in")
        yield {"shop": "open"}
        order.append(f"out, {await database.orders.count_documents({})} orders")
        await database.client.drop_database(database.name)

    rt = Realtime(load(mongodb_uri=replica_set.uri, database="t_lifespan", feed_await_ms=100), lifespan=own)
    async with rt.lifespan(FastAPI()) as state:
        assert state == {"shop": "open"}
        with pytest.raises(ConfigurationError, match="once"):
            await rt.started().__aenter__()
        rt.live()
    assert order == ["in", "out, 1 orders"]
    with pytest.raises(ConfigurationError, match=r"lifespan=rt\.lifespan"):
        rt.live()


async def test_one_that_failed_inside_can_be_started_again(replica_set: ReplicaSet) -> None:
    rt = Realtime(load(mongodb_uri=replica_set.uri, database="t_again", feed_await_ms=100))
    with pytest.raises(ZeroDivisionError):
        async with rt.started():
            raise ZeroDivisionError
    with pytest.raises(ConfigurationError):
        rt.live()
    async with rt.started() as live:
        assert live is rt.live()


def _included() -> tuple[FastAPI, str]:
    app = FastAPI()
    app.include_router(Realtime(load()).router, prefix=PREFIX)
    return app, "lifespan=rt.lifespan"


def _mounted() -> tuple[FastAPI, str]:
    app = FastAPI()
    app.mount(PREFIX, create_app(load()))
    return app, "live.state.realtime"


@pytest.mark.parametrize("shape", [_included, _mounted])
@pytest.mark.parametrize("ws", ["websockets-sansio", "without denial responses"])
async def test_without_its_lifespan_the_first_request_says_how_to_mend_it(
    shape: Callable[[], tuple[FastAPI, str]], ws: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, mend = shape()

    async def served(scope: Any, receive: Any, send: Any) -> None:
        if ws != "websockets-sansio":
            scope = {**scope, "extensions": {}}
        await app(scope, receive, send)

    async with listening(served) as url, httpx.AsyncClient(base_url=url) as http:  # type: ignore[arg-type]  # reason: any ASGI application
        for path in ("/", "/v1/collections", "/readyz"):
            answer = await http.get(f"{PREFIX}{path}")
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert mend in answer.json()["detail"]
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{url.replace('http', 'ws')}{PREFIX}/v1/ws")
    response = refused.value.response
    if ws == "websockets-sansio":
        assert response.status_code == 503
        assert mend.encode() in (response.body or b"")
    else:
        assert response.status_code == 403
    # uvicorn writes a line of its own about some handshakes that are answered by a denial.
    ours = [record for record in caplog.records if record.levelname == "ERROR" and record.name.startswith("realtime")]
    assert [mend in record.message for record in ours] == [True]


async def test_an_endpoint_that_asks_for_the_database_too_early_is_told_as_well() -> None:
    with pytest.raises(ConfigurationError, match=r"lifespan=rt\.lifespan"):
        await Realtime(load()).database()


async def test_a_host_that_ends_closes_its_sockets_and_its_own_lifespan(replica_set: ReplicaSet) -> None:
    async with AsyncExitStack() as clients:
        async with hosting(replica_set) as service:
            wire = await clients.enter_async_context(wired(service.url))
            await wire.subscribe("orders")
            log = service.app.state.log
        await wire.when(lambda: wire.closed is not None)
    assert wire.closed == (1012, "")
    assert log == ["opened", "closed"]
