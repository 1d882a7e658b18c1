"""Floods of connections over their addresses' limit, and of bad tokens: what they cost the service and the others.

Sabotage: `make sabotage`, rows "flood".
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from tests.access.issuer import SECRET, signer
from tests.adversity.scale import Scale
from tests.adversity.test_access import ENVIRONMENT, minted
from tests.bench.connections import Server
from tests.exact.conftest import Say
from tests.exact.flock import Bird
from tests.replica_set import ReplicaSet
from tests.serving import process

Client = pymongo.MongoClient[dict[str, Any]]
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.alone("the others' latency is measured"),
    pytest.mark.long("a whole service is flooded"),
]
CONNECTS_A_SECOND, TOKENS_A_SECOND = 5000, 300
OTHERS, WRITES_A_SECOND = 40, 25.0
LIMIT = 1
"""Connects a second of an address, and ten at once: little of a flood. The others have an address each."""
SLOWER, FLOOR_MS = 2.0, 150.0
"""Below that it is the machine's scheduler that decides, where four processes want two cores."""
MOST_MICROSECONDS = 150.0
"""Of the processor, for a connection that is closed unread: three quarters of a core at 5,000 a second."""
SETTLE_SECONDS = 0.5
A_DOOR = """
import socket
door = socket.create_server(("127.0.0.1", 0), backlog=2048)
print(door.getsockname()[1], flush=True)
while True:
    door.accept()[0].close()
"""
"""Closes whoever comes, and nothing else."""
SEVERAL = signer("HS256"), signer("RS256"), signer("ES256")


class Timed(Bird):
    """Notes how long each document took to come."""

    def __init__(self, url: str, address: str) -> None:
        request = {"type": "subscribe", "id": "s", "mode": "events", "collection": "docs"}
        super().__init__(url, request, minted("ann", 3600))
        self._address = address
        self.ways: list[float] = []
        self.lost = False

    async def fly(self) -> None:
        loop, own = asyncio.get_running_loop(), (self._address, 0)
        await loop.create_connection(lambda: self, self.host, self.port, local_addr=own)
        await self.done

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        now = time.time()
        self.ways += [now - one["document"]["at"] for frame in self.frames for one in frame.get("events", ())]
        self.frames.clear()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.lost = True


class Others:
    """Sockets that hear what is written all the time, and how long it takes to come to them."""

    def __init__(self, birds: list[Timed], docs: Any) -> None:
        self.birds, self._docs = birds, docs

    async def heard(self, seconds: float) -> list[float]:
        """The ways of what is written in so many seconds from now, but for a beginning."""
        await self._write(SETTLE_SECONDS)
        for bird in self.birds:
            bird.ways.clear()
        await self._write(seconds)
        return [way for bird in self.birds for way in bird.ways]

    async def _write(self, seconds: float) -> None:
        due, end = time.monotonic(), time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += 1 / WRITES_A_SECOND
            await asyncio.to_thread(self._docs.insert_one, {"at": time.time()})


@asynccontextmanager
async def flooded(kind: str, url: str, rate: float, file: Path, told: Counter[str]) -> AsyncIterator[None]:
    """A flood for the length of the block; what came of it is added to `told`."""
    address = url.removeprefix("http://").rstrip("/")
    command = (sys.executable, "-m", "tests.adversity.flood", kind, address, str(rate), str(file))
    pipe = asyncio.subprocess.PIPE
    flood = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        yield
    finally:
        out, _ = await flood.communicate(b"")
        told.update(json.loads(out))


@asynccontextmanager
async def a_door() -> AsyncIterator[str]:
    """The address of a process that does for a flood the least there is to do."""
    pipe = asyncio.subprocess.PIPE
    door = await asyncio.create_subprocess_exec(sys.executable, "-c", A_DOOR, stdout=pipe)
    assert door.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await door.stdout.readline())}"
    finally:
        door.kill()
        await door.wait()


def p99(ways: list[float]) -> float:
    """Milliseconds."""
    assert len(ways) >= 20 * OTHERS
    return statistics.quantiles(ways, n=100)[98] * 1000


@dataclass(slots=True)
class Measured:
    """Of the phases, which take turns: the others' ways, seconds of the service's processor; and of the flood.

    `elsewhere`: while the same flood comes to a process that has nothing to do with the service.
    """

    without: list[float] = field(default_factory=list)
    elsewhere: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    idle: float = 0.0
    busy: float = 0.0
    told: Counter[str] = field(default_factory=Counter)
    closed: int = 0

    def each(self, count: int) -> float:
        """Microseconds of the processor that each of so many took."""
        return (self.busy - self.idle) / count * 1e6

    def words(self) -> str:
        return (
            f"{self.told['begun'] / self.told['seconds']:.0f} a second: p99 of the others {p99(self.without):.1f} ms "
            f"before and {p99(self.beside):.1f} ms beside them"
        )

    def unnoticed(self, before: list[float]) -> bool:
        """Whether the others wait little longer than they did before."""
        return p99(self.beside) <= max(p99(before) * SLOWER, FLOOR_MS)


async def measured(
    kind: str, rate: float, replica_set: ReplicaSet, home: Path, scale: Scale, **environment: str
) -> Measured:
    """A service with others in it, and now and then a flood: first of somebody else, then of the service."""
    file, name, found = home / "tokens", f"t_flood_{random.randrange(1 << 40):x}", Measured()
    file.write_text("\n".join(bad_tokens()))
    options = ("--port", "0", "--mongodb-uri", replica_set.uri, "--database", name)
    client: Client
    with pymongo.MongoClient(replica_set.uri) as client:
        async with (
            a_door() as door,
            process("serve", *options, home=home, **ENVIRONMENT, **environment) as service,
        ):
            server = Server(service.process.pid, 0)
            birds = [Timed(service.url, f"127.0.1.{number + 1}") for number in range(OTHERS)]
            await asyncio.gather(*(bird.fly() for bird in birds))
            others = Others(birds, client[name].docs)
            await others.heard(1.0)
            for _ in range(scale["rounds"]):
                began = server.cpu()
                found.without += await others.heard(scale.seconds("seconds"))
                between = server.cpu()
                if kind == "connects":
                    async with flooded(kind, door, rate, file, Counter()):
                        found.elsewhere += await others.heard(scale.seconds("seconds"))
                flooding = server.cpu()
                async with flooded(kind, service.url, rate, file, found.told):
                    found.beside += await others.heard(scale.seconds("seconds"))
                found.idle += between - began
                found.busy += server.cpu() - flooding
            found.closed = await over_the_limit(service.url)
            assert [bird.lost for bird in birds] == [False] * OTHERS
            for bird in birds:
                bird.close()
        client.drop_database(name)
    return found


async def over_the_limit(url: str) -> int:
    """How many connections were closed because their address connects too often."""
    async with httpx.AsyncClient(base_url=url, timeout=10) as http:
        text = (await http.get("/metrics")).text
    told = re.search(r'^realtime_limited_total\{limit="connects_per_second"\} (\S+)$', text, re.MULTILINE)
    return 0 if told is None else int(float(told[1]))


def bad_tokens() -> list[str]:
    """Of keys that nobody knows, expired, and no tokens at all."""
    now = time.time()
    known = SEVERAL[0]
    assert known.private == SECRET
    return [
        *(one.token(sub=f"x{number}") for number in range(20) for one in SEVERAL[1:]),
        *(known.token(sub=f"x{number}", exp=now - 60) for number in range(20)),
        *(known.token(sub=f"x{number}")[:-4] + "AAAA" for number in range(20)),
        *("hello" for _ in range(5)),
    ]


async def test_a_flood_of_connections_over_their_limit_is_closed_unread_and_costs_little(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    """On two cores the flood itself takes what the others lack. So they are compared with how they fare while it comes
    to somebody else's door, where nothing is done for it but to close it.
    """
    limit = {"REALTIME_CONNECTS_PER_SECOND": str(LIMIT)}
    found = await measured("connects", CONNECTS_A_SECOND, replica_set, tmp_path, scale, **limit)
    say(
        f"connects from 64 addresses, {found.words()}, {p99(found.elsewhere):.1f} ms beside the same at another door; "
        f"{found.closed} closed by the limit, each for "
        f"{found.each(found.closed):.0f} µs; {dict(found.told)}"
    )
    assert found.told["answered"] == 0
    assert found.told["closed unread"] > 1000
    assert found.closed > found.told["begun"] / 4
    assert found.each(found.closed) <= MOST_MICROSECONDS
    assert found.unnoticed(found.elsewhere)


async def test_a_flood_of_bad_tokens_is_refused_by_every_door_and_the_others_do_not_notice(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    audit = {"REALTIME_AUDIT_LOG": str(tmp_path / "audit.jsonl")}
    found = await measured("tokens", TOKENS_A_SECOND, replica_set, tmp_path, scale, **audit)
    told = found.told
    say(f"bad tokens, {found.words()}; each for {found.each(told['begun']):.0f} µs; {dict(told)}")
    assert told["4501"] > told["401"] > 100
    assert told["4501"] + told["401"] >= told["begun"] * 0.9
    assert found.unnoticed(found.without)
