"""Under any ASGI server, to a peer that takes nothing: who may have no more is handed nothing more, and not waited for.

What such a server took before it has; an application cannot cut its connections. Ours: tests/web/test_who.py.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from realtime.web.entrance import asgi_sink
from realtime.web.entrance.asgi_sink import NOBODY, AsgiSink
from realtime.web.entrance.streaming import EVENT_STREAM, Streaming, Write
from realtime.web.http.sse import EventSink
from tests.access.issuer import AUDIENCE, SECRET, signer
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

PATIENCE = 20.0
SIGNER = signer("HS256")
FRAME = b'{"type":"changes","id":"s"}'


class Deaf:
    """A peer of a server that has room for one message: the next one is never taken."""

    def __init__(self) -> None:
        self.handed: list[Any] = []
        self.stuck = asyncio.Event()
        self.closed: list[tuple[int, str]] = []

    async def send_text(self, text: str) -> None:
        self.handed.append(text)
        if len(self.handed) > 1:
            self.stuck.set()
            await asyncio.Event().wait()

    async def send(self, message: Any) -> None:
        """ASGI's own; a body's end is a message too."""
        await self.send_text(message)

    async def receive(self) -> Any:
        await asyncio.Event().wait()

    async def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))


class Held:
    """Any server, one of its sockets: it never says that the peer is gone. `room`: messages that it takes."""

    def __init__(self, service: Service, room: int) -> None:
        self.room = room
        self.sent: list[dict[str, Any]] = []
        self._came = [{"type": "websocket.connect"}]
        host = service.url.removeprefix("http://")
        token = SIGNER.token(exp=time.time() + 1.5)
        self.scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": "/v1/ws",
            "raw_path": b"/v1/ws",
            "query_string": b"",
            "root_path": "",
            "subprotocols": [],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "extensions": {},
            "state": {},
            "headers": [(b"host", host.encode()), (b"authorization", f"Bearer {token}".encode())],
        }

    async def receive(self) -> Any:
        if not self._came:
            await asyncio.Event().wait()
        return self._came.pop()

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if len(self.sent) >= self.room:
            await asyncio.Event().wait()


@pytest.mark.parametrize("room", [1000, 2], ids=["that takes all", "that takes nothing"])
async def test_the_endpoint_of_a_socket_that_is_over_returns_though_its_server_never_says_that_the_peer_is_gone(
    replica_set: ReplicaSet, room: int
) -> None:
    """It waited with all that a connection holds until the server noticed, which some do after 40 s or never."""
    asks: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": AUDIENCE, "feed_await_ms": 100}
    async with serving(replica_set, **asks) as service:
        peer, live = Held(service, room), service.realtime.live()
        serve = asyncio.create_task(service.app(peer.scope, peer.receive, peer.send))
        async with asyncio.timeout(PATIENCE):
            while not live.connections:
                await asyncio.sleep(0.01)
            await serve
        assert not live.connections
    kinds = [message["type"] for message in peer.sent]
    assert kinds[0] == "websocket.accept"
    if room > 2:
        assert (peer.sent[-1]["type"], peer.sent[-1]["code"]) == ("websocket.close", 4002)
        assert '"closing"' in peer.sent[-2]["text"]
    else:
        assert kinds == ["websocket.accept", "websocket.send"]


@pytest.mark.parametrize("code", [4002, 4504])
async def test_a_socket_hands_its_server_nothing_more(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_sink, "OVER_SECONDS", 0.1)
    peer = Deaf()
    sink = AsgiSink(peer, 1 << 20, NOBODY)  # type: ignore[arg-type]  # reason: as much of a socket as a sink uses
    running = asyncio.create_task(sink.run())
    for _ in range(10):
        sink.send(FRAME)
    async with asyncio.timeout(PATIENCE):
        await peer.stuck.wait()
        began = time.monotonic()
        sink.close(code, "over")
        sink.send(FRAME)
        await asyncio.wait({running})
    assert time.monotonic() - began >= 0.05
    assert running.cancelled()
    assert peer.handed == [FRAME.decode()] * 2
    assert sink.waiting < 200  # the farewell, and nothing of what waited


class Events(Streaming):
    """A stream that writes what its sink has."""

    def __init__(self) -> None:
        super().__init__(EVENT_STREAM)
        self.sink = EventSink(1 << 20, NOBODY)
        self.over = False

    async def produce(self, write: Write) -> None:
        self.sink.output = write
        await self.sink.run()

    async def close(self) -> None:
        self.over = True


async def test_an_event_stream_returns_to_its_server_unended_so_that_it_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asgi_sink, "OVER_SECONDS", 0.1)
    peer, stream = Deaf(), Events()
    for _ in range(10):
        stream.sink.send(FRAME)
    async with asyncio.timeout(PATIENCE):
        answering = asyncio.create_task(stream({"type": "http", "method": "GET"}, peer.receive, peer.send))
        await peer.stuck.wait()
        stream.sink.close(4504, "revoked")
        await answering
    assert [message["type"] for message in peer.handed] == ["http.response.start", "http.response.body"]
    assert peer.handed[-1]["more_body"] is True
    assert stream.over
