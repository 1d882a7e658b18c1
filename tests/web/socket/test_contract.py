"""What holds for a connection whichever way its frames take: without a task, with one that stays, under any server."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pymongo
import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from realtime.app import create_app
from realtime.core.connection import frames
from realtime.settings import load
from realtime.web.server import Server, bind, make_server
from realtime.web.socket.handshake import FrameProtocol
from realtime.web.socket.line import Line
from tests.adversity.raw_socket import BINARY, CLOSE, PING, TEXT, ClosedError, framed, raw_socket
from tests.embedding import _Plain
from tests.replica_set import ReplicaSet
from tests.serving import Service
from tests.wire import wired

FUTURE = "FFFFFFF000000000"


class Nothing:
    """Middleware that does nothing, and is there."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


class Lane:
    """A running service, and its server."""

    def __init__(self, name: str, service: Service, server: Server) -> None:
        self.name, self.service, self.server = name, service, server

    @property
    def connections(self) -> list[Any]:
        return list(self.service.realtime.live().connections)


@asynccontextmanager
async def laid(name: str, replica_set: ReplicaSet, **settings: Any) -> AsyncIterator[Lane]:
    database = f"t_{uuid.uuid4().hex[:12]}"
    chosen = load(mongodb_uri=replica_set.uri, database=database, port=0, feed_await_ms=100, **settings)
    app = create_app(chosen)
    if name == "a task that stays":
        app.add_middleware(Nothing)
    listening, listens = bind(chosen), asyncio.Event()
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(replica_set.uri)

    async def started() -> None:
        listens.set()

    async with app.state.realtime.started():
        server = make_server(app, chosen, started)
        if name == "another server":
            server.config.ws = "websockets-sansio"
        serve = asyncio.create_task(server.serve(sockets=[listening]))
        await listens.wait()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        service = Service(url, app.state.realtime, app, client[database], None)  # type: ignore[arg-type]  # reason: no HTTP here
        try:
            yield Lane(name, service, server)
        finally:
            server.should_exit = True
            await serve
            client.drop_database(database)
            client.close()


@pytest.fixture(params=["no task", "a task that stays", "another server"])
async def lane(replica_set: ReplicaSet, request: pytest.FixtureRequest) -> AsyncIterator[Lane]:
    async with laid(request.param, replica_set) as one:
        yield one


async def every(receive: Callable[[], Any], received: list[Any] | None = None) -> None:
    """Receive until that raises."""
    while True:
        one = await receive()
        if received is not None:
            received.append(one)


def text(**frame: Any) -> bytes:
    return framed(TEXT, json.dumps(frame).encode())


async def test_it_takes_the_way_that_it_is_named_for(lane: Lane) -> None:
    async with wired(lane.service.url) as wire:
        await wire.ask(type="ping")
        [connection] = lane.connections
        assert hasattr(connection.sink, "_line") is (lane.name != "another server")
        tasks = {"no task": 0, "a task that stays": 1, "another server": 1}[lane.name]
        assert len(lane.server.server_state.tasks) == tasks
        assert sum(isinstance(one, Line) for one in lane.server.server_state.connections) == (
            lane.name != "another server"
        )


async def test_frames_of_one_connection_are_carried_out_in_their_order(lane: Lane) -> None:
    async with raw_socket(lane.service.url) as socket:
        pings = [text(type="ping", id=f"p{n}") for n in range(200)]
        subscribed = text(type="subscribe", id="s", collection="orders")
        refused = text(type="subscribe", id="s", collection="orders")
        await socket.send(subscribed + refused + b"".join(pings))
        told: list[tuple[str, str]] = []
        while len(told) < 201:
            frame = await socket.receive()
            if frame["type"] in {"error", "pong"}:
                told.append((frame["type"], frame["id"]))
        assert told == [("error", "s"), *(("pong", f"p{n}") for n in range(200))]


async def test_writes_are_carried_out_in_order_also_those_of_a_peer_that_has_gone(lane: Lane) -> None:
    orders = lane.service.database.orders
    async with raw_socket(lane.service.url) as socket:
        writes = [text(type="insert", id="w", collection="orders", document={"_id": 1, "seen": []})]
        push = {"type": "update", "collection": "orders", "key": 1}
        writes += [text(id=f"w{n}", update={"$push": {"seen": n}}, **push) for n in range(10)]
        await socket.send(b"".join(writes) + framed(CLOSE, b"\x03\xe8"))
        with pytest.raises(ClosedError):
            await every(socket.receive)
    async with asyncio.timeout(15):
        while (await asyncio.to_thread(orders.find_one, {"_id": 1}) or {"seen": ()})["seen"] != list(range(10)):
            await asyncio.sleep(0.02)


async def test_a_binary_frame_is_answered_and_the_connection_lives_on(lane: Lane) -> None:
    async with raw_socket(lane.service.url) as socket:
        await socket.send(framed(BINARY, b"\x00") + text(type="ping", id="after"))
        assert (await socket.receive())["code"] == "malformed_frame"
        assert (await socket.receive())["type"] == "pong"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (framed(TEXT, b"\xff"), {1007}),
        (framed(3, b""), {1002}),
        (framed(TEXT, b"x" * (1 << 20) + b"x"), {1009}),
        (framed(TEXT, b"x", masked=False), {1002}),
        (framed(CLOSE, b"\x0f\xa1"), {4001}),
    ],
    ids=["no UTF-8", "no opcode", "too large", "not masked", "its own"],
)
async def test_what_ends_it_is_told_by_its_code(lane: Lane, sent: bytes, code: set[int]) -> None:
    async with raw_socket(lane.service.url) as socket:
        await socket.send(sent)
        with pytest.raises(ClosedError) as closed:
            await socket.receive()
    assert closed.value.code in code
    async with asyncio.timeout(10):
        while lane.connections:
            await asyncio.sleep(0.01)


async def test_pings_of_the_protocol_and_text_in_parts(lane: Lane) -> None:
    async with connect(lane.service.url.replace("http", "ws") + "/v1/ws", compression=None) as socket:
        await socket.recv()
        async with asyncio.timeout(10):
            await (await socket.ping())
        await socket.send(iter(['{"type":"ping",', '"id":"é', '"}']))
        pong = json.loads(await socket.recv())
        assert (pong["type"], pong["id"]) == ("pong", "é")
    assert framed(PING, b"", masked=False) == frames.ping_frame(b"")


async def test_a_fence_waits_and_is_passed(lane: Lane) -> None:
    async with wired(lane.service.url) as wire:
        view = await wire.subscribe("orders")
        epoch = wire.frames[0]["position"][:8]
        await wire.send(type="ping", id="never", position=f"{epoch}-{FUTURE}")
        done = await wire.ask(type="insert", collection="orders", document={"_id": 1})
        pong = await wire.ask(type="ping", position=done["position"])
        assert pong["type"] == "pong"
        assert view.position >= done["position"]
        assert not [frame for frame in wire.frames if frame.get("id") == "never"]
    live = lane.service.realtime.live()
    async with asyncio.timeout(10):
        while live.connections or live.hub.roster._fences:
            await asyncio.sleep(0.01)


async def test_everybody_is_told_that_the_service_stops_and_its_writes_are_answered_first(lane: Lane) -> None:
    url = lane.service.url.replace("http", "ws") + "/v1/ws"
    async with connect(url, compression=None) as socket, connect(url, compression=None) as idle:
        await socket.recv()
        await idle.recv()
        for n in range(5):
            await socket.send(json.dumps({"type": "insert", "id": f"w{n}", "collection": "orders", "document": {}}))
        await asyncio.sleep(0)
        lane.server.should_exit = True
        kinds: dict[Any, list[Any]] = {socket: [], idle: []}
        for one, texts in kinds.items():
            with pytest.raises(ConnectionClosed):
                await every(one.recv, texts)
            # uvicorn's own protocol is ended by uvicorn, in its own words and at once.
            said = (1012, "") if lane.name == "another server" else (4000, "draining")
            assert (one.close_code, one.close_reason) == said
        if lane.name == "another server":
            return
        busy, quiet = ([json.loads(text)["type"] for text in kinds[one]] for one in (socket, idle))
        assert quiet == ["closing"]
        assert busy[-1] == "closing"
        assert set(busy[:-1]) <= {"result"}


async def test_an_application_of_its_own_under_our_server_is_served_by_uvicorn_as_ever() -> None:
    """Another route of the same server: its frames go through ASGI."""
    app = FastAPI()

    @app.websocket("/echo")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text(await websocket.receive_text())

    server = _Plain(uvicorn.Config(app, ws=FrameProtocol, log_config=None, timeout_graceful_shutdown=5, port=0))
    serve = asyncio.create_task(server.serve())
    await server.listens.wait()
    port = server.servers[0].sockets[0].getsockname()[1]
    async with connect(f"ws://127.0.0.1:{port}/echo", compression=None) as socket:
        for n in range(3):
            await socket.send(f"{n}")
            assert await socket.recv() == f"{n}"
    server.should_exit = True
    await serve
