"""An application of another project's shape that embeds the service: own routes, lifespan, middleware and server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pymongo
import pytest
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import Response

from realtime import Realtime, create_app
from realtime.settings import Settings, load
from tests.replica_set import ReplicaSet
from tests.serving import ROOMY, Service, told_in

PREFIX = "/live"


class Stamp(BaseHTTPMiddleware):
    """The host's own middleware, which sees every request."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["X-Shop"] = "seen"
        return response


@asynccontextmanager
async def opening(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """The host's own lifespan."""
    app.state.log = ["opened"]
    yield {"shop": "open"}
    app.state.log.append("closed")


def by_router(settings: Settings, **options: Any) -> tuple[Realtime, FastAPI]:
    """The way of the documents: lifespan and router."""
    rt = Realtime(settings, lifespan=opening, **options)
    app = FastAPI(title="shop", lifespan=rt.lifespan)
    app.include_router(rt.router, prefix=PREFIX)
    return rt, _furnished(app, rt)


def by_mount(settings: Settings, **options: Any) -> tuple[Realtime, FastAPI]:
    """A sub-application, whose service the host's own lifespan starts."""
    live = create_app(settings, **options)
    rt: Realtime = live.state.realtime

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with rt.started(), opening(app) as state:
            yield state

    app = FastAPI(title="shop", lifespan=lifespan)
    app.mount(PREFIX, live)
    return rt, _furnished(app, rt)


def _furnished(app: FastAPI, rt: Realtime) -> FastAPI:
    app.add_middleware(GZipMiddleware, minimum_size=1)
    app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example"], allow_methods=["*"])
    app.add_middleware(Stamp)

    @app.get("/count")
    async def count(request: Request, database: Any = Depends(rt.database)) -> dict[str, Any]:  # noqa: B008 - FastAPI's own way
        return {"orders": await database.orders.count_documents({}), "shop": request.state.shop}

    @app.get("/items/{number}")
    async def item(number: int) -> dict[str, int]:
        if number == 0:
            raise HTTPException(404, "no such item")
        return {"item": number}

    return app


class _Plain(uvicorn.Server):
    """uvicorn as it comes, but that it leaves the signals of the tests alone and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(app: FastAPI, *, lifespan: bool = True) -> AsyncIterator[str]:
    """The application on a free port of uvicorn's own; its address."""
    config = uvicorn.Config(
        app, lifespan="on" if lifespan else "off", log_config=None, timeout_graceful_shutdown=5, access_log=False
    )
    server = _Plain(config)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as a socket has that uvicorn makes by itself
        serve = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            async with asyncio.timeout(30):
                await server.listens.wait()
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serve


Shape = Callable[..., tuple[Realtime, FastAPI]]


@asynccontextmanager
async def hosting(replica_set: ReplicaSet, shape: Shape = by_router, **settings: Any) -> AsyncIterator[Service]:
    """The host with the service inside, on a database of its own."""
    options = {name: settings.pop(name) for name in ("collections", "others") if name in settings}
    name = f"t_{uuid.uuid4().hex[:12]}"
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(replica_set.uri)
    chosen = load(mongodb_uri=replica_set.uri, database=name, feed_await_ms=100, **{**ROOMY, **settings})
    rt, app = shape(chosen, **options)
    try:
        hooks = {"response": [told_in(app)]}
        async with (
            listening(app) as url,
            httpx.AsyncClient(base_url=url, timeout=30, verify=False, event_hooks=hooks) as http,
        ):
            yield Service(f"{url}{PREFIX}", rt, app, client[name], http, PREFIX)
    finally:
        client.drop_database(name)
        client.close()


@pytest.fixture
async def included(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    """The service inside of a host, as a router."""
    async with hosting(replica_set, by_router) as running:
        yield running


@pytest.fixture(params=[by_router, by_mount])
async def embedded(replica_set: ReplicaSet, request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    """The service inside of a host, both ways."""
    async with hosting(replica_set, request.param) as running:
        yield running
