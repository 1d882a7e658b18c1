"""An application with sessions of its own embeds the service: its cookie opens every door, its logout closes them."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pymongo
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.requests import HTTPConnection
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from realtime import Principal, Realtime
from realtime.settings import load
from tests.embedding import listening
from tests.replica_set import ReplicaSet

LIST = "/live/v1/collections/orders/documents"
EVENTS = "/live/v1/collections/orders/events"
LISTED, FOREIGN = "https://shop.example", "https://evil.example"


@dataclass(slots=True)
class Shop:
    """The application: who is signed in by which cookie, and where it listens."""

    sessions: dict[str, str] = field(default_factory=dict)
    rt: Realtime | None = None
    url: str = ""
    database: Any = None

    def sign_in(self, name: str) -> dict[str, str]:
        """A new session; the header that carries its cookie."""
        session = uuid.uuid4().hex
        self.sessions[session] = name
        return {"Cookie": f"session={session}"}

    async def who(self, connection: HTTPConnection) -> Principal:
        """As an application knows its users."""
        name = self.sessions.get(connection.cookies.get("session", ""))
        if name is None:
            raise HTTPException(401, "sign in first")
        return Principal(name)


@asynccontextmanager
async def open_shop(replica_set: ReplicaSet, **settings: Any) -> AsyncIterator[Shop]:
    shop = Shop()
    name = f"t_{uuid.uuid4().hex[:12]}"
    chosen = load(mongodb_uri=replica_set.uri, database=name, feed_await_ms=100, allowed_origins=LISTED, **settings)
    rt = shop.rt = Realtime(chosen, authenticate=shop.who)
    app = FastAPI(lifespan=rt.lifespan)
    app.include_router(rt.router, prefix="/live")

    @app.post("/logout")
    async def logout(request: Request) -> Response:
        user = shop.sessions.pop(request.cookies["session"])
        await rt.revoke(sub=user)
        return Response(status_code=204)

    @app.get("/me")
    async def me(principal: Principal = Depends(rt.principal)) -> str:  # noqa: B008 - FastAPI's own way
        return principal.sub

    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(replica_set.uri)
    shop.database = client[name]
    try:
        async with listening(app) as shop.url:
            yield shop
    finally:
        client.drop_database(name)
        client.close()


@pytest.fixture
async def shop(replica_set: ReplicaSet) -> AsyncIterator[Shop]:
    async with open_shop(replica_set) as running:
        yield running


async def test_the_cookie_opens_every_door_and_without_it_none(shop: Shop) -> None:
    cookie, url = shop.sign_in("ann"), shop.url.replace("http", "ws") + "/live/v1/ws"
    async with httpx.AsyncClient(base_url=shop.url) as http:
        assert (await http.get("/me", headers=cookie)).json() == "ann"
        assert (await http.get(LIST, headers=cookie)).status_code == 200
        assert (await http.post(LIST, headers=cookie, json={"_id": 1})).status_code == 201
        for path in (LIST, EVENTS, "/me"):
            answer = await http.get(path)
            assert answer.status_code == 401, path
        assert (await http.get(LIST)).json()["detail"] == "sign in first"
    async with connect(url, additional_headers=cookie) as socket:
        assert json.loads(await socket.recv())["principal"] == "ann"
    async with connect(url) as socket, asyncio.timeout(20):
        assert json.loads(await socket.recv())["code"] == "unauthenticated"
        await socket.wait_closed()
        assert socket.close_code == 4501


async def test_a_logout_ends_the_sockets_and_streams_of_a_user_and_of_nobody_else(shop: Shop) -> None:
    ann, bob = shop.sign_in("ann"), shop.sign_in("bob")
    url = shop.url.replace("http", "ws") + "/live/v1/ws"
    async with (
        connect(url, additional_headers=ann) as hers,
        connect(url, additional_headers=bob) as his,
        httpx.AsyncClient(base_url=shop.url, timeout=30) as http,
        http.stream("GET", EVENTS, headers=ann) as stream,
    ):
        lines = stream.aiter_lines()
        await anext(lines)
        assert (await http.post("/logout", headers=ann)).status_code == 204
        async with asyncio.timeout(20):
            await hers.wait_closed()
            told = [json.loads(line[5:]) async for line in lines if line.startswith("data:")]
        assert (hers.close_code, hers.close_reason) == (4504, "revoked")
        assert (told[-1]["type"], told[-1]["code"]) == ("closing", 4504)
        await his.send('{"type":"ping","id":"p"}')
        async with asyncio.timeout(20):
            while json.loads(await his.recv()).get("id") != "p":
                pass
        assert (await http.get(LIST, headers=ann)).status_code == 401
        assert (await http.get(LIST, headers=shop.sign_in("ann"))).status_code == 200


async def test_a_ticket_of_who_the_application_knows_opens_a_stream_and_comes_before_a_cookie(shop: Shop) -> None:
    """The application was asked first, which knew nobody without a cookie: no such ticket ever opened anything."""
    ann, bob = shop.sign_in("ann"), shop.sign_in("bob")
    async with httpx.AsyncClient(base_url=shop.url, timeout=30) as http:
        ticket = (await http.post("/live/v1/tickets", headers=ann)).json()["ticket"]
        async with http.stream("GET", EVENTS, params={"ticket": "made-up"}, headers=bob) as refused:
            assert refused.status_code == 401
        assert (await http.get(LIST, params={"ticket": ticket})).status_code == 401
        async with http.stream("GET", EVENTS, params={"ticket": ticket}, headers=bob) as stream:
            assert stream.status_code == 200
            lines = stream.aiter_lines()
            await anext(lines)
            # It is hers and not his.
            assert (await http.post("/logout", headers=bob)).status_code == 204
            shop.database.orders.insert_one({"_id": "for ann"})
            async with asyncio.timeout(20):
                while '"for ann"' not in await anext(lines):
                    pass
                assert (await http.post("/logout", headers=ann)).status_code == 204
                told = [json.loads(line[5:]) async for line in lines if line.startswith("data:")]
        assert (told[-1]["type"], told[-1]["code"]) == ("closing", 4504)


async def test_a_session_that_ended_by_itself_is_found_out(replica_set: ReplicaSet) -> None:
    async with open_shop(replica_set, recheck_seconds=1) as shop:
        cookie = shop.sign_in("ann")
        async with connect(shop.url.replace("http", "ws") + "/live/v1/ws", additional_headers=cookie) as socket:
            await socket.recv()
            shop.sessions.clear()
            async with asyncio.timeout(20):
                await socket.wait_closed()
            assert (socket.close_code, socket.close_reason) == (4504, "revoked")


async def test_a_session_that_ended_ends_an_answer_that_is_still_being_taken(replica_set: ReplicaSet) -> None:
    """Of NDJSON the application was asked at the beginning alone."""
    async with open_shop(replica_set, recheck_seconds=1) as shop:
        shop.database.orders.insert_many({"_id": n, "text": "x" * 100_000} for n in range(500))
        cookie = {**shop.sign_in("ann"), "Accept": "application/x-ndjson"}
        async with (
            httpx.AsyncClient(base_url=shop.url, timeout=30) as http,
            http.stream("GET", LIST, headers=cookie) as stream,
        ):
            lines = stream.aiter_lines()
            await anext(lines)
            shop.sessions.clear()
            await asyncio.sleep(1.1)  # until they are asked about again: a client that takes nothing meanwhile
            rest = [line async for line in lines]
        last = json.loads(rest[-1])
        assert last["error"]["code"] == "unauthenticated"
        assert 1 <= len(rest) < 499


async def test_a_page_of_another_origin_does_nothing_with_the_cookie(shop: Shop) -> None:
    """The check of the origin is never off: a browser sends the cookie along, whoever's page asks."""
    cookie = shop.sign_in("ann")
    forged = {**cookie, "Origin": FOREIGN}
    async with httpx.AsyncClient(base_url=shop.url) as http:
        for answer in (
            await http.post(LIST, headers={**forged, "Content-Type": "text/plain"}, content='{"_id": "forged"}'),
            await http.get(LIST, headers=forged),
            await http.post("/live/v1/tickets", headers=forged),
        ):
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers
    with pytest.raises(InvalidStatus) as refused:
        await connect(shop.url.replace("http", "ws") + "/live/v1/ws", additional_headers=cookie, origin=FOREIGN)  # type: ignore[arg-type]  # reason: a NewType of str
    assert refused.value.response.status_code == 403
    assert shop.database.orders.find_one({}) is None


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_link_or_a_script_of_another_site_gets_nothing_by_the_cookie(shop: Shop, site: str) -> None:
    """Browsers send the cookie with those and no Origin, but for what they say of the site."""
    cookie = shop.sign_in("ann")
    async with httpx.AsyncClient(base_url=shop.url) as http:
        for path, accept in (
            (LIST, "*/*"),
            (LIST, "application/x-ndjson"),
            (LIST, "text/event-stream"),
            (EVENTS, "*/*"),
        ):
            headers = {**cookie, "Sec-Fetch-Site": site, "Accept": accept}
            answer = await http.get(path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
            assert "Sec-Fetch-Site" in answer.json()["detail"]
        listed = {**cookie, "Sec-Fetch-Site": site, "Origin": LISTED}
        assert (await http.get(LIST, headers=listed)).status_code == 200
        for own in ("same-origin", "none"):
            assert (await http.get(LIST, headers={**cookie, "Sec-Fetch-Site": own})).status_code == 200
        # What is nobody's goes to all: a page of another site imports the client.
        assert (await http.get("/live/realtime.js", headers={"Sec-Fetch-Site": site})).status_code == 200
