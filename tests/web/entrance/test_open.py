"""Where nobody is asked who they are and others can come, the log says so, once."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pymongo
import pytest
from fastapi import FastAPI

from realtime import Principal, Realtime
from realtime.settings import load
from tests.replica_set import ReplicaSet

LIST = "/live/v1/collections"
FAR = ("192.0.2.7", 4711)


@asynccontextmanager
async def asking(replica_set: ReplicaSet, client: Any, server: Any, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An application that embeds the service, under a server that tells these addresses."""
    name, given = f"t_{uuid.uuid4().hex[:12]}", {"authenticate": options.pop("authenticate", None)}
    rt = Realtime(load(mongodb_uri=replica_set.uri, database=name, feed_await_ms=100, **options), **given)
    app = FastAPI()
    app.include_router(rt.router, prefix="/live")

    async def served(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "client": client, "server": server}, receive, send)

    try:
        async with (
            rt.started(),
            httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://localhost") as http,
        ):
            yield http
    finally:
        with pymongo.MongoClient[dict[str, Any]](replica_set.uri) as mongo:
            mongo.drop_database(name)


@pytest.mark.parametrize(
    ("client", "server", "told"),
    [
        (FAR, ("127.0.0.1", 80), "192.0.2.7"),
        (("127.0.0.1", 1), ("10.0.0.5", 80), "10.0.0.5"),
        (None, ("127.0.0.1", 80), "no address is known"),
        (("127.0.0.1", 1), ("/run/app.sock", None), "/run/app.sock"),
    ],
    ids=["client", "server", "nobody", "path"],
)
async def test_who_embeds_it_for_everybody_is_told_once(
    replica_set: ReplicaSet, caplog: pytest.LogCaptureFixture, client: Any, server: Any, told: str
) -> None:
    with caplog.at_level(logging.WARNING):
        async with asking(replica_set, client, server) as http:
            answers = [await http.get(LIST) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    (line,) = [one.getMessage() for one in caplog.records if "nobody is asked" in one.getMessage()]
    assert told in line
    assert "authenticate=" in line
    assert "REALTIME_INSECURE" in line


async def ann(connection) -> Principal:  # type: ignore[no-untyped-def]  # reason: applications have such
    return Principal("ann")


@pytest.mark.parametrize(
    ("client", "options"),
    [(("::1", 1), {}), (FAR, {"insecure": True}), (FAR, {"authenticate": ann})],
    ids=["loopback", "insecure", "asks"],
)
async def test_who_does_not_is_not(
    replica_set: ReplicaSet, caplog: pytest.LogCaptureFixture, client: Any, options: dict[str, Any]
) -> None:
    with caplog.at_level(logging.WARNING):
        async with asking(replica_set, client, ("127.0.0.1", 80), **options) as http:
            assert (await http.get(LIST)).status_code == 200
            assert (await http.get("/live/healthz")).status_code == 200
    assert "nobody is asked" not in caplog.text
