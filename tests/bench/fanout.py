"""What a delivery costs: `python -m tests.bench.fanout`. One query, many connections, real sockets.

The hub and the sinks of `realtime serve` (`TransportSink` on asyncio's transports) without MongoDB: batches go through
`plan` and `dispatch`. CPU time of the thread in there, the system's part of `send` included; another process reads.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from realtime.core.bson.keys import identity
from realtime.core.live.events import Batch, ChangeEvent
from realtime.hub.roster import Subscription
from realtime.web.socket.line import Line as OurLine
from realtime.web.socket.uvicorn_sink import TransportSink
from tests.bench.groups import COLLECTION, Stage, document
from tests.core.examples import query

CONNECTIONS = 400
MOMENTS, IN_BULK = 200, 1000
PAUSE_SECONDS = 0.005
"""Between two moments, for the reader."""

READER = """
import selectors, socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
chosen = selectors.DefaultSelector()
for _ in range(count):
    chosen.register(socket.create_connection(("127.0.0.1", port)), selectors.EVENT_READ)
while chosen.get_map():
    for key, _ in chosen.select():
        if not key.fileobj.recv(1 << 18):
            chosen.unregister(key.fileobj)
"""


class Line(asyncio.Protocol):
    """A connection after its handshake, as far as a sink needs it, and the owner of that sink."""

    sink: Any

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.write = transport.write
        TransportSink(cast(OurLine, self), 4 << 20, self)
        self.subscribe()

    def subscribe(self) -> None:
        self.stage.hub.attach(Subscription("s", self, query(collections=COLLECTION)))

    def roomy(self) -> None:
        """Nothing is read here."""

    def pause_writing(self) -> None:
        self.sink.pause()

    def resume_writing(self) -> None:
        self.sink.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self.sink.lost()

    def lapsed(self, channel: int) -> None:
        raise AssertionError("the reader is slower than what it reads: a longer pause is needed")

    def drained(self, lapsed: Mapping[int, int]) -> None:
        """Nothing lapses here."""

    def subscription_ended(self, subscription_id: str) -> None:
        raise AssertionError("nobody ends it")


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds of a delivery: a moment of one change, and one of a thousand.

    `least`: a loop that does nothing but write a ready frame of that size to each transport.
    """

    least: float
    alone: float
    in_bulk: float


async def measure(connections: int = CONNECTIONS, moments: int = MOMENTS, in_bulk: int = IN_BULK) -> Cost:
    """Everybody hears of every change."""
    stage = Stage()
    loop = asyncio.get_running_loop()
    lines: list[Line] = []

    def accept() -> Line:
        lines.append(Line(stage))
        return lines[-1]

    server = await loop.create_server(accept, "127.0.0.1", 0, backlog=connections)
    port = server.sockets[0].getsockname()[1]
    reader = await asyncio.create_subprocess_exec(sys.executable, "-c", READER, str(port), str(connections))
    try:
        async with asyncio.timeout(60):
            while stage.hub.roster.count < connections or stage.hub.groups.tasks:
                await asyncio.sleep(0.01)
        least = await _written(lines, moments) / (moments * connections)
        alone = await _spent(stage, moments, 1) / (moments * connections)
        bulks = max(moments // 20, 3)
        # Each is inserted and deleted again.
        return Cost(least, alone, await _spent(stage, bulks, in_bulk) / (2 * bulks * in_bulk * connections))
    finally:
        server.close()
        await stage.hub.close()
        reader.terminate()
        await reader.wait()


async def _written(lines: list[Line], moments: int) -> float:
    frame, spent = bytes(300), time.thread_time()
    for _ in range(moments):
        for line in lines:
            line.transport.write(frame)
        await asyncio.sleep(PAUSE_SECONDS)
    return (time.thread_time() - spent) * 1e6


async def _spent(stage: Stage, moments: int, changes: int) -> float:
    """Microseconds of CPU for so many moments of so many changes each; in bulk each is followed by its deletion."""
    pause, began = PAUSE_SECONDS * (1 + changes / 20), time.thread_time()
    for moment in range(moments):
        made = [document(moment * changes + number, total=number) for number in range(changes)]
        _dispatch(stage, [("insert", one["_id"], one) for one in made])
        await asyncio.sleep(pause)
        if changes > 1:
            _dispatch(stage, [("delete", one["_id"], None) for one in made])
            await asyncio.sleep(pause)
    return (time.thread_time() - began) * 1e6


def _dispatch(stage: Stage, changes: list[tuple[str, int, dict[str, Any] | None]]) -> None:
    stage.time += 1
    events = tuple(
        ChangeEvent(op, COLLECTION, stage.time, key=key, identity=identity(key), document=told)
        for op, key, told in changes
    )
    stage.hub.dispatch(stage.hub.plan(Batch(events, stage.time)), {})


async def main() -> None:
    cost = await measure()
    sys.stdout.write(
        f"{CONNECTIONS} connections, µs of CPU a delivery: one by one {cost.alone:.2f} "
        f"(of which writing {cost.least:.2f}), in bulk {cost.in_bulk:.2f}\n"
    )


if __name__ == "__main__":
    asyncio.run(main())
