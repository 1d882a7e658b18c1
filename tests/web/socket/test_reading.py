"""Nobody is thrown out who reads, and who asks without reading is read no further: answers have room of their own."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

import realtime.web.server
import tests.serving
from realtime import metrics
from realtime.core.connection.outbox import ANSWER_BYTES
from realtime.settings import Settings
from realtime.web.socket import line as lines
from realtime.web.socket import uvicorn_sink
from realtime.web.socket.line import Line
from realtime.web.socket.pulse import Pulse
from tests.adversity.raw_socket import BINARY, PING, PONG, TEXT, framed
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.web.entrance.test_sinks import PLAIN_LATER, counted
from tests.wire import wired

REQUESTS, FEWER, MANY = 60_000, 40_000, 200_000
ADD = Pulse.add
FUTURE = "FFFFFFF000000000"
"""The later part of a position that is not reached in a test."""


class Deaf:
    """A peer that sends what it is told to and takes nothing until it is told to."""

    def __init__(self, service: Service, window: int = 65_536) -> None:
        self._address = urlsplit(service.url)
        self.socket = sockets.socket()
        self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, window)
        self.socket.setblocking(False)
        self.received = b""
        """The last of it."""
        self.bytes = 0
        self.sent = 0
        self._loop = asyncio.get_running_loop()
        self._tasks: list[asyncio.Task[Any]] = []

    async def open(self) -> None:
        await self._loop.sock_connect(self.socket, (self._address.hostname, self._address.port))
        await self._loop.sock_sendall(
            self.socket,
            f"GET /v1/ws HTTP/1.1\r\nHost: {self._address.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode(),
        )
        await self.until(b'"welcome"')

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that ends with the connection."""
        self._tasks.append(asyncio.create_task(work))
        return self._tasks[-1]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.socket.close()

    async def send(self, *payloads: bytes) -> None:
        for start in range(0, len(payloads), 500):
            part = b"".join(payloads[start : start + 500])
            await self._loop.sock_sendall(self.socket, part)
            self.sent += len(part)

    async def until(self, word: bytes, times: int = 1, **how: Any) -> int:
        """Read until a word has come so many times from now on, or more; `AssertionError` where the connection ends."""
        found = 0
        async with asyncio.timeout(60):
            while found < times:
                new = await self.read(**how)
                assert new, f"the connection ended after {found}"
                seam = self.received[-len(word) + 1 :]
                found += (seam + new).count(word)
                self.received = (self.received + new)[-100_000:]
        return found

    async def read(self, *, size: int = 1 << 20, pause: float = 0.0) -> bytes:
        """Some bytes, and maybe a pause after them."""
        new = await self._loop.sock_recv(self.socket, size)
        self.bytes += len(new)
        await asyncio.sleep(pause)
        return new

    async def standstill(self, service: Service) -> None:
        """Until nothing more of what is sent goes out, and what waits for it stays the same, for 2 s."""
        before, same = (-1, -1), 0
        async with asyncio.timeout(60):
            while same < 4:
                await asyncio.sleep(0.5)
                now = (self.sent, held(service))
                same = same + 1 if now == before and sink(service).crowded else 0
                before = now


@asynccontextmanager
async def deaf(service: Service, window: int = 65_536) -> AsyncIterator[Deaf]:
    peer = Deaf(service, window)
    try:
        await peer.open()
        yield peer
    finally:
        await peer.close()


def text(**frame: Any) -> bytes:
    return framed(TEXT, json.dumps(frame).encode())


def sink(service: Service) -> Any:
    [connection] = service.realtime.live().connections
    return connection.sink


def held(service: Service) -> int:
    """Bytes that wait for the only connection."""
    waiting = 0 if sink(service)._outbox is None else sink(service)._outbox.size
    if hasattr(sink(service), "_line"):
        waiting += sink(service)._line.transport.get_write_buffer_size()
    return int(waiting)


def some_pings(count: int) -> list[bytes]:
    return [text(type="ping", id=f"p{n}") for n in range(count)]


def pings(_: Service) -> tuple[list[bytes], bytes]:
    return some_pings(REQUESTS), b'"pong"'


def many_pings(_: Service) -> tuple[list[bytes], bytes]:
    return some_pings(MANY), b'"pong"'


def refused(_: Service) -> tuple[list[bytes], bytes]:
    return [text(type="publish", id=f"p{n}") for n in range(REQUESTS)], b'"unknown_type"'


def binary(_: Service) -> tuple[list[bytes], bytes]:
    return [framed(BINARY, b"x" * 40)] * REQUESTS, b'"malformed_frame"'


def comings_and_goings(_: Service) -> tuple[list[bytes], bytes]:
    name = "s" * 64
    pair = [text(type="subscribe", id=name, collection="orders"), text(type="unsubscribe", id=name)]
    return pair * (REQUESTS // 6), b'"unsubscribed"'


@pytest.fixture(autouse=True)
def little_in_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take megabytes each way before the service has to keep anything."""
    original = realtime.web.server.bind

    def bind(settings: Settings) -> sockets.socket:
        listening = original(settings)
        for side in (sockets.SO_SNDBUF, sockets.SO_RCVBUF):
            listening.setsockopt(sockets.SOL_SOCKET, side, 65_536)
        return listening

    monkeypatch.setattr(tests.serving, "bind", bind)
    # Nobody here answers pings, and a loaded machine needs longer for a test than for a pong.
    monkeypatch.setattr(WebSocketsSansIOProtocol, "start_keepalive", lambda _: None)
    monkeypatch.setattr(Pulse, "add", lambda *_: None)


@pytest.mark.parametrize("plain", PLAIN_LATER)
async def test_a_transaction_of_3000_documents_of_8_kb_and_then_a_ping_with_its_position_is_a_pong(
    replica_set: ReplicaSet, *, plain: bool
) -> None:
    """It was 4001 within 2 s: the moment filled the outbox, and the answer found no room."""
    async with (
        serving(replica_set, feed_await_ms=100, plain_uvicorn=plain) as service,
        wired(service.url) as wire,
    ):
        view = await wire.subscribe("orders")
        for round_ in range(2):
            documents = [{"_id": round_ * 3000 + n, "text": "x" * 8000} for n in range(3000)]

            def insert(documents: list[dict[str, Any]] = documents) -> None:
                with service.database.client.start_session() as session, session.start_transaction():
                    service.database.orders.insert_many(documents, session=session)

            await asyncio.to_thread(insert)
            written = await wire.ask(type="insert", collection="others", document={})
            answer = await wire.ask(type="ping", position=written["position"])
            assert answer["type"] == "pong"
            assert len(view.documents) == (round_ + 1) * 3000
        assert not wire.of("closing")
    assert view.resyncs == 0


FRAMES = pytest.mark.long("the same by other frames")


@pytest.mark.parametrize("plain", PLAIN_LATER)
@pytest.mark.parametrize(
    "asks",
    [
        pytest.param(pings, marks=FRAMES),
        pytest.param(many_pings, marks=pytest.mark.long("three times as many")),
        pytest.param(refused, marks=FRAMES),
        binary,
        pytest.param(comings_and_goings, marks=FRAMES),
    ],
)
async def test_what_a_peer_that_reads_nothing_asks_leaves_the_memory_flat_and_is_answered_when_it_reads(
    replica_set: ReplicaSet, asks: Callable[[Service], tuple[list[bytes], bytes]], *, plain: bool
) -> None:
    async with serving(replica_set, feed_await_ms=100, plain_uvicorn=plain) as service, deaf(service) as peer:
        requests, answer = asks(service)
        times = len(requests) // (2 if asks is comings_and_goings else 1)
        sending = peer.start(peer.send(*requests))
        await peer.standstill(service)
        assert ANSWER_BYTES // 2 < held(service) < 2 * ANSWER_BYTES + uvicorn_sink.HIGH_WATER
        await peer.until(answer, times)
        await sending
        assert not sink(service).crowded


@pytest.mark.parametrize("plain", PLAIN_LATER)
async def test_pings_that_wait_for_their_position_are_not_taken_without_end(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch, *, plain: bool
) -> None:
    # Long enough for a thousand to wait at once on a busy machine.
    monkeypatch.setattr("realtime.web.socket.fence.FENCE_SECONDS", 5.0)
    async with serving(replica_set, feed_await_ms=100, plain_uvicorn=plain) as service, deaf(service) as peer:
        epoch = service.realtime.live().epoch
        await peer.send(text(type="subscribe", id="s", collection="orders"))
        await peer.until(b'"live"')
        count = 1500
        await peer.send(*(text(type="ping", id=f"p{n}", position=f"{epoch}-{FUTURE}") for n in range(count)))
        roster = service.realtime.live().hub.roster
        async with asyncio.timeout(20):
            while not sink(service).crowded:
                await asyncio.sleep(0.01)
        assert 1000 < len(roster._fences) < 1100
        await peer.until(b'"timeout"', count)
        assert len(roster._fences) == 0


async def test_the_protocols_own_pings_from_a_peer_that_reads_nothing_leave_the_memory_flat(service: Service) -> None:
    async with deaf(service) as peer:
        await peer.send(*[framed(PING, b"x" * 100)] * REQUESTS)
        await peer.send(framed(PING, b"the last"))
        async with asyncio.timeout(30):
            while b"the last" not in sink(service)._line._late_pong:
                await asyncio.sleep(0.05)
        assert held(service) < 2 * uvicorn_sink.HIGH_WATER
        pong = bytes([0x80 | PONG, 8]) + b"the last"
        await peer.until(pong)
        await peer.send(text(type="ping", id="after"))
        await peer.until(b'"after"')


# --------------------------------------------------------------------------------------------------- who takes bytes


def impatient(monkeypatch: pytest.MonkeyPatch, *, stuck: float, interval: float, timeout: float) -> None:
    """Let the service look after its peers more often than every half a minute."""
    monkeypatch.setattr(uvicorn_sink, "STUCK_SECONDS", stuck)
    pulse, start = Pulse(asyncio.get_running_loop(), interval, timeout), Line.start

    def started(line: Line, *given: Any) -> None:
        line.lines.pulse = pulse
        start(line, *given)

    monkeypatch.setattr(Line, "start", started)
    monkeypatch.setattr(Pulse, "add", ADD)


@pytest.mark.long("a ping at a time")
@pytest.mark.alone("it takes something every 2 s, which a busy machine may not do")
async def test_a_peer_that_reads_slowly_and_answers_no_ping_in_time_is_not_closed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ping is behind what it has not read, and nobody here reads its pong while answers have no room."""
    impatient(monkeypatch, stuck=2.0, interval=0.3, timeout=1.0)
    closed = counted(metrics.SLOW_CONSUMERS)
    async with deaf(service) as peer:
        sending = peer.start(peer.send(*some_pings(FEWER)))
        heard = await peer.until(b'"pong"', FEWER // 4, size=20_000, pause=0.2)
        assert sink(service).crowded
        await peer.until(b'"pong"', FEWER - heard)
        await sending
    assert counted(metrics.SLOW_CONSUMERS) == closed


@pytest.mark.long("its window is closed for twice as long as the kernel would wait for it")
@pytest.mark.parametrize("window", [4096, 16_384])
async def test_a_peer_with_a_small_window_that_takes_a_little_is_not_reset(service: Service, window: int) -> None:
    """It was after 25 s: the kernel counts the time in which a window is closed, whatever was taken meanwhile."""
    async with deaf(service, window) as peer:
        sending = peer.start(peer.send(*some_pings(FEWER)))
        loop = asyncio.get_running_loop()
        until, before = loop.time() + 60, peer.bytes
        while loop.time() < until:
            # Its machine acknowledges more when half of the window is free: several times in 25 s, so.
            assert await peer.read(size=window // 8, pause=1.0), "the connection ended"
        assert peer.bytes - before > 20_000
        await peer.until(b'"pong"', FEWER // 2)
        sending.cancel()
        assert service.realtime.live().connections


@pytest.mark.parametrize("pause", [None, 1.0], ids=["takes nothing", "takes a little"])
async def test_a_peer_that_takes_less_than_1_kb_in_the_time_is_gone(
    service: Service, monkeypatch: pytest.MonkeyPatch, pause: float | None
) -> None:
    impatient(monkeypatch, stuck=2.0, interval=0.3, timeout=1.0)
    monkeypatch.setattr(lines, "CLOSE_SECONDS", 0.2)
    closed = counted(metrics.SLOW_CONSUMERS)
    async with deaf(service) as peer:
        peer.start(peer.send(*some_pings(FEWER)))
        async with asyncio.timeout(20):
            while not sink(service).crowded:
                await asyncio.sleep(0.01)
        if pause is not None:
            peer.start(peer.until(b"never", size=10, pause=pause))
        async with asyncio.timeout(20):
            while service.realtime.live().connections:
                await asyncio.sleep(0.05)
    assert counted(metrics.SLOW_CONSUMERS) == closed + 1


async def test_a_peer_that_is_crowded_with_answers_is_sent_no_heartbeats_and_others_are(service: Service) -> None:
    async with deaf(service) as peer:
        sending = peer.start(peer.send(*some_pings(FEWER)))
        await peer.standstill(service)
        before = held(service)
        live = service.realtime.live()
        async with wired(service.url) as good:
            for _ in range(100):
                live.hub.heartbeat(live.connections)
            await good.when(lambda: len(good.of("heartbeat")) == 100)
        assert held(service) == before
        await peer.until(b'"pong"', FEWER)
        await sending
