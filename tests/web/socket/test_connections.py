"""What a connection is made of: no task, little memory, nothing that holds it when it has ended. Counts, no times."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket as sockets
import sys
import uuid
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import Depends, FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.asyncio.client import connect

from realtime.app import create_app
from realtime.settings import load
from realtime.web.server import bind, make_server
from realtime.web.socket import turns
from realtime.web.socket.handshake import FrameProtocol
from realtime.web.socket.line import Line
from realtime.web.socket.turns import Turns
from tests.embedding import _Plain
from tests.replica_set import ReplicaSet
from tests.serving import Service, _setter
from tests.wire import wired

PEERS = 200
MOST_TRACKED = 40

CROWD = """
import socket, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
asked = b'{"type":"subscribe","id":"s","collection":"orders","filter":{"open":true}}'
peers = []
for _ in range(count):
    peer = socket.create_connection((host, port))
    peer.sendall((f"GET /v1/ws HTTP/1.1\\r\\nHost: {host}:{port}\\r\\nUpgrade: websocket\\r\\n"
                  "Connection: Upgrade\\r\\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n"
                  f"Sec-WebSocket-Version: 13\\r\\nCookie: {'x' * 2000}\\r\\n\\r\\n").encode())
    peers.append(peer)
for step, word in ((asked, b'"welcome"'), (None, b'"live"')):
    for peer in peers:
        held = b""
        while word not in held:
            held += peer.recv(65536)
        if step:
            peer.sendall(bytes((0x81, 0x80 | len(step))) + bytes(4) + step)
print("live", flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def crowd(service: Service, count: int = PEERS) -> AsyncIterator[None]:
    """So many peers in another process, all subscribed to one query; in the end they vanish."""
    host, _, port = service.url.removeprefix("http://").partition(":")
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CROWD, host, port, str(count), stdin=pipe, stdout=pipe
    )
    assert child.stdout is not None
    try:
        assert (await child.stdout.readline()).strip() == b"live"
        yield
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def empty(service: Service) -> None:
    async with asyncio.timeout(20):
        while service.realtime.live().connections:
            await asyncio.sleep(0)


def held(service: Service) -> list[Any]:
    return list(service.realtime.live().connections)


@pytest.mark.alone("counts all objects and tasks of the process")
async def test_an_idle_subscribed_connection_has_no_task_and_few_objects_that_the_collector_looks_at(
    service: Service,
) -> None:
    """It was a task, two queues, and 215 objects."""
    async with crowd(service, 5):
        gc.collect()
        tasks, before = len(asyncio.all_tasks()), len(gc.get_objects())
        async with crowd(service):
            assert len(held(service)) == PEERS + 5
            gc.collect()
            tracked = (len(gc.get_objects()) - before) / PEERS
            assert len(asyncio.all_tasks()) <= tasks
        await empty_but(service, 5)
        gc.collect()
        after = len(gc.get_objects()) - before
    assert 1 < tracked <= MOST_TRACKED
    assert after < PEERS


async def empty_but(service: Service, count: int) -> None:
    async with asyncio.timeout(20):
        while len(service.realtime.live().connections) > count:
            await asyncio.sleep(0)


async def test_what_ends_is_freed_in_the_same_turn_without_the_collector(service: Service) -> None:
    """2,000 ended connections were alive until a full collection, which took 0.7 s."""
    with no_collector():
        async with crowd(service, 20):
            seen = [weakref.ref(one) for one in held(service)]
            seen += [weakref.ref(one.sink._line) for one in held(service)]
            assert len(seen) == 40
        await empty(service)
        assert [one() for one in seen if one() is not None] == []


@pytest.mark.parametrize("end", ["close", "drop", "broken", "fence", "write"])
async def test_it_is_freed_however_it_ends_and_whatever_it_did(service: Service, end: str) -> None:
    with no_collector():
        socket = await connect(service.url.replace("http", "ws") + "/v1/ws", compression=None)
        epoch = json.loads(await socket.recv())["position"][:8]
        [connection] = held(service)
        seen = [weakref.ref(connection), weakref.ref(connection.sink._line)]
        del connection
        if end == "fence":
            await socket.send(json.dumps({"type": "subscribe", "id": "s", "collection": "orders"}))
            await socket.send(json.dumps({"type": "ping", "id": "p", "position": f"{epoch}-FFFFFFF000000000"}))
        if end == "write":
            await socket.send(json.dumps({"type": "insert", "id": "w", "collection": "orders", "document": {}}))
            assert json.loads(await socket.recv())["type"] == "result"
        if end == "broken":
            socket.transport.write(b"\x83\x80\x00\x00\x00\x00")
            async with asyncio.timeout(10):
                await socket.wait_closed()
            assert socket.close_code == 1002
        elif end == "drop":
            socket.transport.abort()
        await socket.close()
        await empty(service)
        async with asyncio.timeout(10):
            while any(one() is not None for one in seen):
                # The peer's end of it, or the write's, may be still to come.
                await asyncio.sleep(0.01)


async def test_a_batch_is_one_write_to_each_socket(service: Service) -> None:
    async with crowd(service, 20):
        written: Counter[int] = Counter()
        for number, one in enumerate(held(service)):
            one.sink._line.transport = Counted(one.sink._line.transport, written, number)
        hub = service.realtime.live().hub
        async with wired(service.url) as wire:
            done = await wire.ask(type="insert", collection="orders", document={"_id": 1, "open": True})
            async with asyncio.timeout(10):
                while hub.position < done["position"]:
                    await asyncio.sleep(0.01)
        assert written == dict.fromkeys(range(20), 1)


class Counted:
    """A transport whose writes are counted."""

    def __init__(self, transport: Any, written: Counter[int], number: int) -> None:
        self._transport, self._written, self._number = transport, written, number

    def write(self, data: bytes) -> None:
        if b'"changes"' in data:
            self._written[self._number] += 1
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def test_handshakes_take_turns(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storm of them is no storm for the pipe, which has its turns between."""
    number, begun = [0], Counter[int]()
    turn, begin = Turns._turn, FrameProtocol._begin

    def turned(self: Turns) -> None:
        number[0] += 1
        turn(self)

    def began(self: FrameProtocol, event: Any) -> None:
        begun[number[0]] += 1
        begin(self, event)

    monkeypatch.setattr(Turns, "_turn", turned)
    monkeypatch.setattr(FrameProtocol, "_begin", began)
    async with crowd(service):
        assert begun.total() == PEERS
    assert max(begun.values()) <= turns.ALL_SECONDS / turns.HANDSHAKE_SECONDS


async def test_the_kernels_timeout_ends_no_websocket_that_reads_slowly_and_others_as_before(service: Service) -> None:
    option = (sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT)
    async with wired(service.url):
        [connection] = held(service)
        assert connection.sink._line.transport.get_extra_info("socket").getsockopt(*option) == 0
    with bind(load(port=0)) as listening:
        assert listening.getsockopt(*option) == 20_000


# ------------------------------------------------------------------------------------------ an application's own things


class Around:
    """Middleware of the application's, which hears when its route has returned."""

    def __init__(self, app: ASGIApp, returned: list[str]) -> None:
        self._app, self._returned = app, returned

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
        if scope["type"] == "websocket":
            self._returned.append("middleware")


@asynccontextmanager
async def ours(replica_set: ReplicaSet, change: Callable[[FastAPI], None]) -> AsyncIterator[Service]:
    """The service's own application, changed, on our own server."""
    chosen = load(mongodb_uri=replica_set.uri, database=f"t_{uuid.uuid4().hex[:12]}", port=0, feed_await_ms=100)
    app = create_app(chosen)
    change(app)
    listening = bind(chosen)
    async with app.state.realtime.started():
        started = asyncio.Event()
        server = make_server(app, chosen, _setter(started))
        serve = asyncio.create_task(server.serve(sockets=[listening]))
        await started.wait()
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            service: Any = Service(url, app.state.realtime, app, None, server)  # type: ignore[arg-type]  # reason: neither is used
            yield service
        finally:
            server.should_exit = True
            await serve
            listening.close()


async def test_an_applications_middleware_hears_the_end_when_it_is_the_end(replica_set: ReplicaSet) -> None:
    returned: list[str] = []
    async with ours(replica_set, lambda app: app.add_middleware(Around, returned=returned)) as service:
        async with wired(service.url) as wire:
            await wire.subscribe("orders")
            assert (await wire.ask(type="ping"))["type"] == "pong"
            assert returned == []
            assert isinstance(held(service)[0].sink._line, Line)
        await empty(service)
        async with asyncio.timeout(10):
            while returned != ["middleware"]:
                await asyncio.sleep(0.01)


async def test_a_dependency_with_yield_ends_with_the_connection(replica_set: ReplicaSet) -> None:
    told: list[str] = []

    async def opened() -> AsyncIterator[None]:
        told.append("opened")
        yield
        told.append("closed")

    def change(app: FastAPI) -> None:
        app.include_router(app.state.realtime.router, prefix="/more", dependencies=[Depends(opened)])

    async with ours(replica_set, change) as service:
        async with wired(f"{service.url}/more") as wire:
            assert (await wire.ask(type="ping"))["type"] == "pong"
            assert told == ["opened"]
        async with asyncio.timeout(10):
            while told != ["opened", "closed"]:
                await asyncio.sleep(0.01)
        async with wired(service.url):
            assert told == ["opened", "closed"]


async def test_uvicorn_itself_neither_ends_a_connection_without_a_task_nor_forgets_it_at_its_own_end(
    replica_set: ReplicaSet,
) -> None:

    chosen = load(mongodb_uri=replica_set.uri, database=f"t_{uuid.uuid4().hex[:12]}", feed_await_ms=100)
    app = create_app(chosen)
    config = uvicorn.Config(app, ws=FrameProtocol, lifespan="on", log_config=None, timeout_graceful_shutdown=20)
    server = _Plain(config)
    with sockets.create_server(("127.0.0.1", 0)) as bound:
        serve = asyncio.create_task(server.serve(sockets=[bound]))
        await server.listens.wait()
        async with wired(f"http://127.0.0.1:{bound.getsockname()[1]}") as wire:
            await wire.subscribe("orders")
            assert not server.server_state.tasks
            assert len(server.server_state.connections) == 1
            server.should_exit = True
            async with asyncio.timeout(15):
                while wire.closed is None:
                    await asyncio.sleep(0.01)
            assert wire.closed[0] == 1012
        await serve
