"""A client that only listens: frames kept for the checker, waits resolved by the frame that ends them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.checker import Frame

PATIENCE = 30.0 * float(os.environ.get("REALTIME_TEST_PATIENCE") or 1)
"""Seconds until what is waited for has come; a machine with much else to do may be given more."""
A_PING = 30.0
"""Seconds that the service itself waits for the position of a ping; who has more patience asks again."""
ANSWERS = frozenset({"subscribed", "unsubscribed", "result", "error", "pong"})
Wanted = Callable[[Frame], bool]


class Ear:
    """One connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        self.closed: tuple[int, str] | None = None
        self._waiting: dict[asyncio.Future[Frame], Wanted] = {}
        self._asked = 0

    async def listen(self) -> None:
        """Receive until the connection ends."""
        try:
            while True:
                text = await self.socket.recv(decode=False)
                frame = orjson.loads(text)
                self.frames.append(frame)
                for future in [future for future, wanted in self._waiting.items() if wanted(frame)]:
                    del self._waiting[future]
                    if not future.done():
                        future.set_result(frame)
        except ConnectionClosed:
            pass
        self.closed = (self.socket.close_code or 1006, self.socket.close_reason or "")
        for future in self._waiting:
            if not future.done():
                future.set_exception(AssertionError(f"closed with {self.closed} before the frame came"))

    async def send(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    def coming(self, wanted: Wanted) -> asyncio.Future[Frame]:
        """The first frame from now on that is wanted."""
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[future] = wanted
        return future

    async def ask(self, **frame: Any) -> Frame:
        """Send a request; its answer."""
        self._asked += 1
        name = frame.setdefault("id", f"r{self._asked}")
        answer = self.coming(lambda got: got.get("id") == name and got["type"] in ANSWERS)
        await self.send(**frame)
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def subscribe(self, name: str, collection: Any, **fields: Any) -> Frame:
        """Subscribe and wait for `live`."""
        live = self.coming(lambda got: got.get("id") == name and got["type"] in {"live", "error"})
        await self.send(type="subscribe", id=name, collection=collection, **fields)
        async with asyncio.timeout(PATIENCE):
            frame = await live
        assert frame["type"] == "live", frame
        return frame

    async def fence(self, time: int) -> Frame:
        """Until every live subscription is at or after a cluster time, and so is the service where there is none."""
        wanted = f"{self.frames[0]['position'][:8]}-{time:016X}"
        async with asyncio.timeout(PATIENCE):
            while True:
                pong = await self.ask(type="ping", position=wanted)
                if PATIENCE > A_PING and pong.get("code") == "timeout":
                    continue
                assert pong["type"] == "pong", pong
                if pong["position"] >= wanted:
                    return pong

    async def settle(self, time: int) -> None:
        """A fence that also waits for those who are being brought up again: they are not live, and hold none up."""
        for name in {frame["id"] for frame in self.of("resync")}:
            while self._last(name) == "resync":
                async with asyncio.timeout(PATIENCE):
                    await self.coming(lambda frame, name=name: frame["type"] == "live" and frame["id"] == name)  # type: ignore[misc]  # reason: its default binds it now
        await self.fence(time)
        if any(self._last(frame["id"]) == "resync" for frame in self.of("resync")):
            await self.settle(time)

    def _last(self, name: str) -> str:
        kinds = (str(frame["type"]) for frame in reversed(self.frames) if frame.get("id") == name)
        return next(kind for kind in kinds if kind in {"live", "resync", "unsubscribed"})

    def of(self, kind: str, name: str | None = None) -> list[Frame]:
        """The frames of one type, and of one subscription before it was live."""
        return [frame for frame in self.frames if frame["type"] == kind and (name is None or frame.get("id") == name)]


@asynccontextmanager
async def listening(url: str, **options: Any) -> AsyncIterator[Ear]:
    """A connection to the service at `url` (http://…), its welcome received."""
    address = url.replace("http://", "ws://", 1).rstrip("/") + "/v1/ws"
    async with connect(address, max_size=None, compression=None, max_queue=None, **options) as socket:
        ear = Ear(socket)
        welcome = ear.coming(lambda frame: frame["type"] == "welcome")
        task = asyncio.create_task(ear.listen())
        try:
            async with asyncio.timeout(PATIENCE):
                await welcome
            yield ear
        finally:
            await socket.close()
            await task


async def passed(url: str, time: int) -> None:
    """Until the service has told a cluster time: who subscribes to events now begins after it.

    A connection of its own, since a fence waits for what is subscribed on its connection, and for nothing else.
    """
    async with listening(url) as scout:
        await scout.subscribe("scout", "nothing", mode="events")
        await scout.fence(time)
