"""One change stream and one server, and five ways to tell many: `python -m tests.bench.peers.designs URI DATABASE WAY`.

The same library (`websockets`) and the same loop for all, so that what differs is the way alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import uvloop
from motor.motor_asyncio import AsyncIOMotorClient
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

Tell = Callable[[str], Awaitable[None]]
connections: set[ServerConnection] = set()
queues: dict[ServerConnection, asyncio.Queue[str]] = {}
tasks: set[asyncio.Task[None]] = set()


async def _send(connection: ServerConnection, text: str) -> None:
    with contextlib.suppress(ConnectionClosed):
        await connection.send(text)


async def loop(text: str) -> None:
    """Each is waited for."""
    for one in list(connections):
        await _send(one, text)


async def task(text: str) -> None:
    """A task for each socket and event: nobody waits for anybody. Each is held until it is done."""
    for one in connections:
        made = asyncio.create_task(_send(one, text))
        tasks.add(made)
        made.add_done_callback(tasks.discard)


async def queue(text: str) -> None:
    """A queue for each socket, and a task of its own that empties it."""
    for one in queues.values():
        one.put_nowait(text)


async def call(text: str) -> None:
    """No task: the library's `broadcast` makes a frame for each socket and writes it."""
    broadcast(connections, text)


async def shared(text: str) -> None:
    """No task, and one frame for all of them."""
    frame = Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
    for one in connections:
        one.transport.write(frame)


WAYS: dict[str, Tell] = {"loop": loop, "task": task, "queue": queue, "call": call, "shared": shared}


async def hear(connection: ServerConnection, *, queued: bool) -> None:
    """One connection, as long as it is there."""
    await connection.send('{"type":"live"}')
    connections.add(connection)
    emptying = asyncio.create_task(_empty(connection)) if queued else None
    try:
        await connection.wait_closed()
    finally:
        connections.discard(connection)
        queues.pop(connection, None)
        if emptying is not None:
            emptying.cancel()


async def _empty(connection: ServerConnection) -> None:
    waiting = queues.setdefault(connection, asyncio.Queue())
    while True:
        await _send(connection, await waiting.get())


async def run(uri: str, database: str, way: str) -> None:
    tell = WAYS[way]

    async def handler(connection: ServerConnection) -> None:
        await hear(connection, queued=way == "queue")

    documents: Any = AsyncIOMotorClient(uri)[database].orders
    async with (
        documents.watch() as stream,
        serve(handler, "127.0.0.1", 0, compression=None, ping_interval=None) as server,
    ):
        sys.stdout.write(f"live at {next(iter(server.sockets)).getsockname()[1]}\n")
        sys.stdout.flush()
        async for change in stream:
            told = {"op": change["operationType"], "document": change["fullDocument"]}
            await tell(orjson.dumps(told).decode())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(*sys.argv[1:]))
