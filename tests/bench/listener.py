"""The clients of a measurement, a process: `python -m tests.bench.listener`, told what to do by lines on stdin.

It says `live` when all are; at `{"total": N}` it waits until everybody has N documents, or nothing has come for a
while, and says what came: deliveries, losses, repeats, latencies. Some of them may be slow: they read nothing until
that line comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
import uvloop

from realtime.bench.counting import Arrivals
from realtime.bench.generator import MOST_LINE, Busy
from realtime.bench.latencies import Latencies
from realtime.bench.plan import Query
from realtime.bench.result import OFTEN
from realtime.bench.sockets import Address, Connection, HandshakeError, opened
from realtime.commands import files
from tests.bench.dialects import DIALECTS

AT_ONCE = 100
SAMPLE_SECONDS = 0.5
TRIES = 5
LIVE_SECONDS = 240.0
QUIET_SECONDS, MOST_SECONDS = 15.0, 120.0
"""Without a delivery, after which what has not come is lost; and in any case."""


@dataclass(frozen=True, slots=True)
class Orders:
    """`filters`: how many different ones there are in all, 0 for none; each connection takes `each` of them, in turn.

    The first `slow` read nothing until all is written.
    """

    dialect: str
    port: int
    count: int
    slow: int = 0
    filters: int = 0
    each: int = 1
    tokens: list[str] = field(default_factory=list)
    handicap: int = 0
    """Microseconds wasted for each delivery: to see that clients which are the limit are told of."""

    def as_line(self) -> bytes:
        return orjson.dumps(asdict(self)) + b"\n"


class Client:
    """One connection and what it was told."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        orders = crowd.orders
        self.slow = number < orders.slow
        self._crowd = crowd
        if orders.filters:
            chosen = [(number * orders.each + place) % orders.filters for place in range(orders.each)]
            self.arrivals = [Arrivals(Query("filters", one, orders.filters)) for one in chosen]
            filters: list[int | None] = list(chosen)
        else:
            self.arrivals, filters = [Arrivals(Query("filters", 0, 1))], [None]
        self._dialect = DIALECTS[orders.dialect](self._send, filters)
        self._token = orders.tokens[number % len(orders.tokens)] if orders.tokens else None
        self._live = asyncio.Event()
        self.error: str | None = None
        self.made: Connection | None = None
        self._begun, self._early = False, list[bytes]()

    def _send(self, text: bytes) -> None:
        assert self.made is not None
        self.made.send_text(text)

    async def connect(self) -> None:
        address = Address("127.0.0.1", self._crowd.orders.port, False, "", self._dialect.door)
        self.error = None
        self._live.clear()
        self._begun, self._early = False, []
        # What comes with the handshake comes before there is anything to answer by.
        self.made = await opened(address, self._token, self._begin, self._ended, None)
        self._begun, held = True, self._early
        self._dialect.opened()
        for text in held:
            self._hear(text)
        await self._live.wait()
        if self.error:
            raise HandshakeError(self.error, again=False)
        if self.slow:
            self.made.transport.pause_reading()

    def close(self) -> None:
        if self.made is not None:
            self.made.close()

    def _begin(self, text: bytes) -> None:
        if self._begun:
            self._hear(text)
        else:
            self._early.append(text)

    def _hear(self, text: bytes) -> None:
        try:
            told = self._dialect.hear(text)
        except RuntimeError as error:
            self.error = str(error)
            self._live.set()
            return
        for place, document in told:
            self.arrivals[place].take({"op": "enter", "document": document})
            if not self.slow:
                self._crowd.delivered(document["at"])
        if self._dialect.snapshots:
            for place, document in self._dialect.snapshots:
                self.arrivals[place].shown(document)
            self._dialect.snapshots.clear()
        if self._dialect.live:
            self._live.set()

    def _ended(self) -> None:
        self.error = self.error or f"closed with {self.made.code if self.made else None}"
        self._live.set()

    def resume(self) -> None:
        if self.slow and self.made is not None and not self.made.transport.is_closing():
            self.made.transport.resume_reading()


class Crowd:
    """All of them."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.count = 0
        self.latencies = Latencies()
        self.shares: list[float] = []
        self.retried: Counter[str] = Counter()
        self.clients = [Client(self, number) for number in range(orders.count)]

    def delivered(self, at: int) -> None:
        self.count += 1
        self.latencies.add(time.monotonic_ns() // 1000 - at)
        if self.orders.handicap:
            until = time.perf_counter_ns() + self.orders.handicap * 1000
            while time.perf_counter_ns() < until:
                pass

    async def connect(self) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(client: Client) -> None:
            async with gate:
                for left in reversed(range(TRIES)):
                    try:
                        return await asyncio.wait_for(client.connect(), LIVE_SECONDS)
                    except (HandshakeError, OSError, TimeoutError) as error:
                        # Else it would go on telling what the next one is told as well.
                        client.close()
                        self.retried[str(error)] += 1
                        if not left:
                            raise
                        await asyncio.sleep(0.2)
                return None

        await asyncio.gather(*(one(client) for client in self.clients))

    async def settled(self, total: int) -> dict[str, Any]:
        for client in self.clients:
            client.resume()
        began, seen, last, late = time.monotonic(), -1, time.monotonic(), False
        while self.lost(total) + self.lost(total, slow=True):
            now, came = time.monotonic(), self.count
            if came != seen:
                seen, last = came, now
            late = now - began > MOST_SECONDS
            if now - last > QUIET_SECONDS or late:
                break
            await asyncio.sleep(0.05)
        return {
            "deliveries": self.count,
            "lost": self.lost(total),
            "late": late,
            "retried": dict(self.retried),
            "repeated": sum(one.repeated for client in self.clients for one in client.arrivals),
            "slow_lost": self.lost(total, slow=True),
            "latencies": self.latencies.pairs(),
            "errors": sorted({client.error for client in self.clients if client.error}),
            "done": time.monotonic(),
        }

    async def watch(self) -> None:
        """How much of each second the clients had no time left, where anything came in it."""
        busy, before = Busy(), self.count
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            share = busy.share()
            if self.count > before:
                self.shares.append(share)
            before = self.count

    def busy(self) -> float:
        """What a quarter of those seconds were at least: 0.85 or more, and the clients were the limit."""
        return sorted(self.shares)[int(len(self.shares) * (1 - OFTEN))] if self.shares else 0.0

    def lost(self, total: int, *, slow: bool = False) -> int:
        return sum(one.lost(total) for client in self.clients if client.slow == slow for one in client.arrivals)


async def listen() -> None:
    reader = asyncio.StreamReader(limit=MOST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    crowd = Crowd(Orders(**orjson.loads(await reader.readline())))
    began = time.monotonic()
    await crowd.connect()
    _say({"live": len(crowd.clients), "seconds": time.monotonic() - began})
    watching = asyncio.create_task(crowd.watch())
    line = await reader.readline()
    if b"again" in line:
        began = time.monotonic()
        await crowd.connect()
        _say({"live": len(crowd.clients), "seconds": time.monotonic() - began})
        line = await reader.readline()
    if line:
        _say({**await crowd.settled(orjson.loads(line)["total"]), "busy": crowd.busy()})
    watching.cancel()


def _say(told: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.buffer.write(orjson.dumps(told) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    files.raise_limit(0)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(listen())
