"""A service that says exactly what a test has it say, and a client that is quick to come back to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from realtime.client import Backoff, Client, Status, connect

QUICK = Backoff(first=0.01, limit=0.02)
PATIENCE = 15.0
WELCOME = {"type": "welcome", "protocol": 1, "session": "x", "position": "P0", "heartbeat": 20.0, "limits": {}}


class Line:
    """One connection, from the service's side."""

    def __init__(self, socket: ServerConnection, number: int) -> None:
        self.socket = socket
        self.number = number

    async def say(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def hear(self, kind: str) -> dict[str, Any]:
        """The next frame, which is of this type."""
        async with asyncio.timeout(PATIENCE):
            frame: dict[str, Any] = json.loads(await self.socket.recv())
        assert frame["type"] == kind, frame
        return frame

    async def take_up(self, *, recovered: bool = False, position: str = "P1") -> dict[str, Any]:
        """Answer a subscription with an empty snapshot, or as recovered."""
        asked = await self.hear("subscribe")
        name = asked["id"]
        more = {} if asked.get("mode") == "events" else {"query": "hash"}
        await self.say(type="subscribed", id=name, channel=self.number, recovered=recovered, **more)
        if more and not recovered:
            await self.say(type="snapshot", id=name, documents=[], first=True, last=True, position=position)
        await self.say(type="live", id=name, position=position)
        return asked


Script = Callable[[Line], Awaitable[None]]


@asynccontextmanager
async def service(script: Script, **options: Any) -> AsyncIterator[str]:
    """Follow the script on every connection, whose number it knows; then close. Its failures are the test's."""
    count = 0
    failures: list[BaseException] = []

    async def handle(socket: ServerConnection) -> None:
        nonlocal count
        count += 1
        await socket.send(json.dumps(WELCOME))
        try:
            await script(Line(socket, count))
        except (AssertionError, TimeoutError) as failure:
            failures.append(failure)

    async with serve(handle, "127.0.0.1", 0, **options) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
    assert failures == []


def quick(url: str, **options: Any) -> contextlib.AbstractAsyncContextManager[Client]:
    return connect(url, **{"backoff": QUICK, **options})


async def idle(line: Line) -> None:
    """Until the client leaves."""
    await line.socket.wait_closed()


async def until(rt: Client, wanted: Callable[[Status], bool]) -> Status:
    """A status, now or later."""
    found: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
    remove = rt.on_status(lambda status: found.set_result(status) if wanted(status) and not found.done() else None)
    try:
        async with asyncio.timeout(PATIENCE):
            return rt.status if wanted(rt.status) else await found
    finally:
        remove()
