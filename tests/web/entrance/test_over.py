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

PATIENCE = 20.0
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
