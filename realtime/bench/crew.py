"""The generator processes of a run, as who started them sees them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from realtime.bench.generator import MOST_LINE, Orders
from realtime.bench.latencies import Latencies
from realtime.errors import RealtimeError

COMMAND = "bench-load"
"""Of `realtime`: one such process."""
END_SECONDS = 5.0


class GeneratorError(RealtimeError):
    """A generator could not begin, or ended before its time; the text says why."""


@dataclass(slots=True)
class Second:
    """What came since it was last asked."""

    deliveries: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    busy: list[float] = field(default_factory=list)
    """Of each process, the largest share of a second in which it had no time left."""


class Generator:
    """One process, and the lines that it says."""

    def __init__(self, child: asyncio.subprocess.Process, say: Callable[[dict[str, Any]], None]) -> None:
        self._child, self._say = child, say
        self._reading = asyncio.create_task(self._read())
        self.ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.done: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.connected = 0

    @classmethod
    async def start(cls, orders: Orders, say: Callable[[dict[str, Any]], None]) -> Generator:
        """In a session of its own: Ctrl-C is for who started it, and it ends with that one's pipe."""
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "realtime", COMMAND),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MOST_LINE,
            start_new_session=True,
        )
        made = cls(child, say)
        await made.tell(orders.as_line())
        return made

    async def tell(self, line: bytes) -> None:
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._child.stdin.write(line)
            await self._child.stdin.drain()

    async def _read(self) -> None:
        assert self._child.stdout is not None
        async for line in self._child.stdout:
            told = orjson.loads(line)
            self.connected = told.get("connected", told.get("ready", self.connected))
            if "failed" in told and not self.ready.done():
                self.ready.set_exception(GeneratorError(told["failed"]))
            elif "ready" in told:
                self.ready.set_result(told)
            if "tick" in told:
                self._say(told["tick"])
            if "done" in told:
                self.done.set_result(told["done"])
        for one in (self.ready, self.done):
            if not one.done():
                one.set_exception(GeneratorError("a generator process ended before its time"))

    async def close(self) -> None:
        """By the end of its input; killed where that is not enough."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._child.wait()
        except TimeoutError:
            self._child.kill()
            await self._child.wait()
        await self._reading
        for one in (self.ready, self.done):
            if one.done() and not one.cancelled():
                one.exception()


class Generators:
    """All of them."""

    def __init__(self) -> None:
        self._all: list[Generator] = []
        self._second = Second()
        self.resyncs = 0
        self._resyncs: dict[int, int] = {}

    async def start(self, orders: Sequence[Orders]) -> None:
        for place, one in enumerate(orders):
            self._all.append(await Generator.start(one, functools.partial(self._take, place)))

    @property
    def connected(self) -> int:
        return sum(one.connected for one in self._all)

    async def ready(self) -> list[dict[str, Any]]:
        """What each says when all of its connections are live; `GeneratorError` as soon as one cannot."""
        return await asyncio.gather(*(one.ready for one in self._all))

    async def done(self, total: int, seconds: float) -> list[dict[str, Any]]:
        """What each came to with so many documents, when all came, or after so many seconds."""
        line = orjson.dumps({"total": total}) + b"\n"
        for one in self._all:
            await one.tell(line)
        waiting = [one.done for one in self._all]
        await asyncio.wait(waiting, timeout=seconds)
        for one in self._all:
            await one.tell(b"{}\n")
        return await asyncio.gather(*waiting)

    def second(self) -> Second:
        """What came since it was last asked."""
        taken, self._second = self._second, Second()
        return taken

    def _take(self, place: int, tick: dict[str, Any]) -> None:
        self._second.deliveries += tick["count"]
        self._second.latencies.take(Latencies((bucket, count) for bucket, count in tick["latencies"]))
        if tick["busy"] is not None:
            self._second.busy.append(tick["busy"])
        self._resyncs[place] = tick["resyncs"]
        self.resyncs = sum(self._resyncs.values())

    async def close(self) -> None:
        await asyncio.gather(*(one.close() for one in self._all))
