"""One process of the load generator: so many connections, subscribed, counting what comes.

It is told what to do by a line of JSON on stdin, and later by one how many documents there were; it says by lines on
stdout how it goes. It ends when stdin does: with who started it, however that ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from realtime.bench.counting import Counter, counter_of
from realtime.bench.latencies import Latencies
from realtime.bench.plan import Plan, Query
from realtime.bench.sockets import Connection, HandshakeError, address_of, opened

AT_ONCE = 64
"""Handshakes of a process under way."""
TICK_SECONDS = 1.0
LOOK_SECONDS = 0.1
"""Between two looks whether all has come."""
FIRST_RETRY, LAST_RETRY = 0.2, 2.0
MOST_LINE = 64 * 1024 * 1024
PASSING = frozenset({4000, 4003, 1012, 1013})
"""Close codes before a connection was live after which it is tried again."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a process is to do: the connections from `first` on, of the plan's; tokens are given out in turn."""

    plan: Plan
    url: str
    first: int
    count: int
    tokens: list[str] = field(repr=False)
    patience: float
    handicap: int = 0
    """Microseconds of a processor wasted for each delivery: to see that a slow generator is told of."""

    def as_line(self) -> bytes:
        given = {name: getattr(self, name) for name in ("url", "first", "count", "tokens", "patience", "handicap")}
        return orjson.dumps({**given, "plan": self.plan.as_json()}) + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> Orders:
        given = orjson.loads(line)
        return cls(**{**given, "plan": Plan(**given["plan"])})


class Subscriber:
    """One connection and its subscriptions."""

    def __init__(self, crew: Crew, number: int) -> None:
        self._crew = crew
        queries = crew.orders.plan.of_connection(number, crew.distinct)
        self.counters = {f"s{place}": counter_of(query) for place, query in enumerate(queries)}
        self.queries = {f"s{place}": query for place, query in enumerate(queries)}
        self._channels: dict[int, Counter] = {}
        self._waiting = set(self.counters)
        self._live: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._made: Connection | None = None
        self._told = ""
        tokens = crew.orders.tokens
        self._token = tokens[number % len(tokens)] if tokens else None

    async def connect(self) -> None:
        """Until every subscription is live. `HandshakeError` says why not."""
        self._waiting = set(self.counters)
        self._live = asyncio.get_running_loop().create_future()
        self._made = await opened(self._crew.address, self._token, self._frame, self._ended, self._crew.context)
        for name, query in self.queries.items():
            self._made.send(query.frame(self._crew.orders.plan.collection, name))
        await self._live

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def lost(self, total: int) -> int:
        return sum(counter.lost(total) for counter in self.counters.values())

    # ---------------------------------------------------------------------------------------------------------- frames

    def _frame(self, text: bytes) -> None:
        frame = orjson.loads(text)
        kind = frame["type"]
        entries = frame.get(kind)
        if kind not in {"changes", "events"}:
            self._other(kind, frame)
            return
        counter = self._channels[frame["channel"]] if "channel" in frame else self.counters[frame["id"]]
        now = time.monotonic_ns() // 1000
        for entry in entries:
            at = counter.take(entry)
            if at is not None:
                self._crew.delivered(now - at)

    def _other(self, kind: str, frame: dict[str, Any]) -> None:
        name = frame.get("id", "")
        if kind == "subscribed":
            self._channels[frame["channel"]] = self.counters[name]
        elif kind == "snapshot":
            if frame["first"]:
                self.counters[name].restart()
            for document in frame["documents"]:
                self.counters[name].shown(document)
        elif kind == "live":
            self._waiting.discard(name)
            if not self._waiting and not self._live.done():
                self._live.set_result(None)
        elif kind == "resync":
            self._crew.resyncs += 1
        elif kind in {"error", "unsubscribed"}:
            self._told = f"{frame.get('code')}: {frame.get('message')}"
            if self._live.done():
                self._crew.failed(self._told)
            else:
                self._live.set_exception(HandshakeError(self._told, again=bool(frame.get("retry"))))
        elif kind == "welcome" and frame["requires_auth"]:
            self._live.set_exception(HandshakeError("unauthenticated: this service asks for a token", again=False))

    def _ended(self) -> None:
        code = self._made.code if self._made is not None else None
        text = self._told or f"the connection was lost (close code {code or 1006})"
        if not self._live.done():
            self._live.set_exception(HandshakeError(text, again=code is None or code in PASSING))
        elif not self._crew.over:
            self._crew.failed(text)


class Busy:
    """How much of its time this process computed, or waited for a processor to."""

    def __init__(self) -> None:
        self._at, self._spent = time.monotonic(), self._now()

    def share(self) -> float:
        """Since it was last asked."""
        at, spent = time.monotonic(), self._now()
        passed, used = at - self._at, spent - self._spent
        self._at, self._spent = at, spent
        return min(used / passed, 1.0) if passed > 0 else 0.0

    @staticmethod
    def _now() -> float:
        with contextlib.suppress(OSError, ValueError):
            computed, waited = Path("/proc/self/schedstat").read_text().split()[:2]
            return (int(computed) + int(waited)) / 1e9
        return time.process_time()


class Crew:
    """All connections of this process."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.address = address_of(orders.url)
        self.context = ssl.create_default_context() if self.address.tls else None
        self.distinct: list[Query] = orders.plan.distinct
        self.resyncs = self.retries = 0
        self.over = False
        self._count = 0
        self._deliveries = Latencies()
        self._errors: dict[str, int] = {}
        self._subscribers = [Subscriber(self, orders.first + place) for place in range(orders.count)]
        self.connected = 0

    def delivered(self, microseconds: int) -> None:
        """A change was received, parsed and counted."""
        self._count += 1
        self._deliveries.add(microseconds)
        if self.orders.handicap:
            until = time.perf_counter_ns() + self.orders.handicap * 1000
            while time.perf_counter_ns() < until:
                pass

    def failed(self, text: str) -> None:
        """A connection or a subscription ended that was live."""
        self._errors[text] = self._errors.get(text, 0) + 1

    async def connect(self) -> str | None:
        """All of them; why one did not come at last."""
        gate = asyncio.Semaphore(AT_ONCE)
        until, why = time.monotonic() + self.orders.patience, None
        try:
            async with asyncio.TaskGroup() as group:
                for one in self._subscribers:
                    group.create_task(self._one(one, gate, until))
        except* (HandshakeError, OSError) as errors:
            why = str(errors.exceptions[0]) or type(errors.exceptions[0]).__name__
        return why

    async def _one(self, one: Subscriber, gate: asyncio.Semaphore, until: float) -> None:
        pause = FIRST_RETRY
        while True:
            try:
                async with (
                    gate,
                    asyncio.timeout_at(asyncio.get_running_loop().time() + max(until - time.monotonic(), 0.1)),
                ):
                    await one.connect()
            except TimeoutError:
                raise HandshakeError(f"no answer in {self.orders.patience:g} s", again=False) from None
            except (HandshakeError, OSError) as error:
                one.close()
                final = isinstance(error, HandshakeError) and not error.again
                if final or time.monotonic() + pause > until:
                    raise
            else:
                self.connected += 1
                return
            self.retries += 1
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_RETRY)

    def tick(self) -> dict[str, Any]:
        """What happened since the last one."""
        told = {"count": self._count, "latencies": self._deliveries.pairs(), "resyncs": self.resyncs}
        self._count, self._deliveries = 0, Latencies()
        return told

    def lost(self, total: int) -> int:
        """Of all subscriptions."""
        return sum(one.lost(total) for one in self._subscribers)

    def report(self, total: int) -> dict[str, Any]:
        """What it came to, with so many documents written."""
        told, views = 0, 0
        repeated = 0
        for one in self._subscribers:
            for counter, query in zip(one.counters.values(), one.queries.values(), strict=True):
                repeated += counter.repeated
                if query.kind in {"filters", "events"}:
                    told += counter.lost(total)
                else:
                    views += counter.lost(total) > 0
        return {"lost": told, "repeated": repeated, "wrong_views": views, "errors": self._errors}

    def close(self) -> None:
        self.over = True
        for one in self._subscribers:
            one.close()


async def generate() -> None:
    """The whole life of a generator process."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MOST_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    crew = Crew(Orders.of_line(await reader.readline()))
    connecting = asyncio.create_task(_connected(crew))
    ending = asyncio.create_task(reader.readline())
    telling: asyncio.Task[None] | None = None
    try:
        await asyncio.wait({connecting, ending}, return_when=asyncio.FIRST_COMPLETED)
        if ending.done() or not connecting.result():
            return
        telling = asyncio.create_task(_ticks(crew))
        if line := await ending:
            last = asyncio.create_task(reader.readline())
            await _settled(crew, orjson.loads(line)["total"], last)
    finally:
        for task in (connecting, ending, telling):
            if task is not None:
                task.cancel()
        crew.close()


async def _connected(crew: Crew) -> bool:
    progress = asyncio.create_task(_progress(crew))
    began, spent = time.monotonic(), time.process_time()
    why = await crew.connect()
    progress.cancel()
    if why is not None:
        _say({"failed": why, "connected": crew.connected})
        return False
    _say({"ready": crew.connected, "seconds": time.monotonic() - began, "retries": crew.retries,
          "busy": (time.process_time() - spent) / max(time.monotonic() - began, 1e-6)})  # fmt: skip
    return True


async def _progress(crew: Crew) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS / 2)
        _say({"connected": crew.connected})


async def _ticks(crew: Crew) -> None:
    """At whole seconds of the machine's clock, in all processes alike."""
    busy = Busy()
    while True:
        await asyncio.sleep(TICK_SECONDS - time.monotonic() % TICK_SECONDS)
        _say({"tick": {**crew.tick(), "busy": busy.share()}})


async def _settled(crew: Crew, total: int, last: asyncio.Task[bytes]) -> None:
    """Until all has come, or who started it has seen enough; then the report."""
    while crew.lost(total) and not last.done():
        await asyncio.wait({last}, timeout=LOOK_SECONDS)
    _say({"tick": {**crew.tick(), "busy": None}, "done": crew.report(total)})


@functools.cache
def _stdout() -> Any:
    return sys.stdout.buffer


def _say(told: dict[str, Any]) -> None:
    # Who started it reads all the time; when it is gone there is nothing more to say.
    with contextlib.suppress(BrokenPipeError):
        _stdout().write(orjson.dumps(told) + b"\n")
        _stdout().flush()
