"""15: one client in ten stops reading; the others wait no longer, and the deaf are gone, with what they cost, in 30 s.

Sabotage: `make sabotage`, rows "deaf".
"""

from __future__ import annotations

import asyncio
import random
import socket
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from tests.adversity.scale import Scale
from tests.exact.conftest import Say
from tests.exact.flock import Bird
from tests.replica_set import ReplicaSet
from tests.serving import process

Client = pymongo.MongoClient[dict[str, Any]]
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.long("a client that does not read is gone after 20 s"),
    pytest.mark.alone("the others' latency is measured"),
]
DEAF_IN = 10
WRITES_A_SECOND = 20
LARGE = 100_000
"""Letters of every second document, which the deaf alone ask for: both phases write the same."""
OUTBOX, BEYOND = 1.0, 5.0
"""MiB."""
SLOWER, GONE_SECONDS = 2.0, 30.0


class Timed(Bird):
    """Notes how long each document took to come."""

    def __init__(self, url: str, collection: str) -> None:
        super().__init__(url, {"type": "subscribe", "id": "s", "mode": "events", "collection": collection})
        self.hears_all = collection == "large"
        self.ways: list[float] = []
        self.gone_at: float | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        now = time.time()
        for frame in self.frames:
            for event in frame.get("events", ()):
                self.ways.append(now - event["document"]["at"])
        self.frames.clear()

    async def fly(self) -> None:
        if not self.hears_all:
            await super().fly()
            return
        # What the kernel would take for one who does not read, in the seconds that the load takes to fill it.
        little = socket.socket()
        little.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        little.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(little, (self.host, self.port))
        await loop.create_connection(lambda: self, sock=little)
        await self.done

    def stop_reading(self) -> None:
        assert self._transport is not None
        self._transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.gone_at = time.monotonic()


class Load:
    """Small documents for everybody, and large ones for those who will be deaf."""

    def __init__(self, client: Client, database: str) -> None:
        self.database = client[database]
        self.text = "x" * LARGE

    async def run(self, seconds: float) -> None:
        due, end = time.monotonic(), time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += 1 / WRITES_A_SECOND
            await asyncio.to_thread(self._write)

    def _write(self) -> None:
        self.database.small.insert_one({"at": time.time()})
        self.database.large.insert_one({"at": time.time(), "text": self.text})


@asynccontextmanager
async def flying(url: str, count: int) -> AsyncIterator[tuple[list[Timed], list[Timed]]]:
    """So many, all live: those who go on, and those who will not."""
    birds = [Timed(url, "large" if number % DEAF_IN == 0 else "small") for number in range(count)]
    try:
        await asyncio.gather(*(bird.fly() for bird in birds))
        yield birds[:], [bird for number, bird in enumerate(birds) if number % DEAF_IN == 0]
    finally:
        for bird in birds:
            bird.close()


async def figure(url: str, name: str) -> int:
    """One of the service's own."""
    async with httpx.AsyncClient(base_url=url, timeout=10) as http:
        text = (await http.get("/metrics")).text
    return int(float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[1]))


def memory(pid: int) -> float:
    """MiB that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def p99(birds: list[Timed]) -> float:
    """Of all that came since the last time, forgotten then."""
    ways = sorted(way for bird in birds for way in bird.ways)
    for bird in birds:
        bird.ways.clear()
    assert len(ways) >= 100 * 20
    return statistics.quantiles(ways, n=100)[98]


async def test_one_in_ten_stops_reading_and_the_others_do_not_notice(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    name = f"t_deaf_{random.randrange(1 << 40):x}"
    options = ("--port", "0", "--mongodb-uri", replica_set.uri, "--database", name)
    given = {"REALTIME_OUTBOX_BYTES": str(int(OUTBOX * (1 << 20))), "REALTIME_JOURNAL_BYTES": str(4 << 20)}
    client: Client
    with pymongo.MongoClient(replica_set.uri) as client:
        load = Load(client, name)
        try:
            async with process("serve", *options, home=tmp_path, **given) as service:
                pid = service.process.pid
                async with flying(service.url, scale["clients"]) as (birds, deaf):
                    others = [bird for bird in birds if bird not in deaf]
                    await load.run(2)
                    p99(others)
                    await load.run(scale.seconds("without"))
                    without, before = p99(others), memory(pid)
                    began = time.monotonic()
                    for bird in deaf:
                        bird.stop_reading()
                    await load.run(scale.seconds("with"))
                    beside, after = p99(others), memory(pid)
                    working = asyncio.create_task(load.run(GONE_SECONDS))
                    left = len(birds)
                    while left > len(others) and time.monotonic() - began < GONE_SECONDS + 5:
                        left = await figure(service.url, "realtime_connections")
                        await asyncio.sleep(0.2)
                    took = time.monotonic() - began
                    working.cancel()
                    await asyncio.gather(working, return_exceptions=True)
                    lapses = await figure(service.url, "realtime_lapses_total")
                    lost = [bird for bird in others if bird.gone_at is not None]
        finally:
            client.drop_database(name)
    each = (after - before) / len(deaf)
    say(
        f"{len(deaf)} of {len(birds)} deaf: p99 of the others {without * 1000:.1f} ms before, {beside * 1000:.1f} ms "
        f"beside them; {each:.2f} MiB for each of them (outbox {OUTBOX:g}), {lapses} lapses; gone after {took:.1f} s"
    )
    assert lost == []
    assert lapses >= len(deaf)
    assert left == len(others)
    assert 1 < took <= GONE_SECONDS
    assert each <= OUTBOX + BEYOND
    assert beside <= without * SLOWER
