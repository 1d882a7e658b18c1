"""Three replicas behind nginx are restarted one after the other under load, and nobody misses anything.

Sabotage: `make sabotage`, rows "rolling".
"""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
from websockets.exceptions import WebSocketException

from tests.adversity.nginx import free_ports, proxying
from tests.adversity.scale import Scale
from tests.checker import Asked, Frame, judge
from tests.exact.conftest import Say
from tests.exact.ear import Ear, listening
from tests.exact.ledger import Ledger, insert
from tests.replica_set import ReplicaSet
from tests.serving import Process, process
from tests.truth import Truth

MongoClient = pymongo.MongoClient[dict[str, Any]]
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.long("three replicas restarted in turn"),
    pytest.mark.alone("pauses in seconds are measured"),
]
REPLICAS = 3
PARTS = 10
"""Distinct queries; as many again in events mode."""
A_TRANSACTION, WRITES_A_SECOND = 10, 200
AWAY_SECONDS = 5.0
READS_OF_A_START = 10
"""Preflight, the stream, the last minute, the oplog's beginning: what a process reads whoever comes."""
READ_COMMANDS = ("find", "aggregate", "listCollections", "count", "distinct")
TOLD = frozenset({"live", "changes", "events", "heartbeat"})


class Load:
    """Transactions of ten inserts, each into one part, twenty a second, until told to stop."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.stopping = threading.Event()
        self.documents = 0

    def run(self) -> None:
        number, began = 0, time.monotonic()
        # By the clock, so that a slow one is made up for.
        while not self.stopping.wait(max(0.0, began + number * A_TRANSACTION / WRITES_A_SECOND - time.monotonic())):
            number += 1
            self.ledger.together(
                [insert("docs", f"{number}-{one}", part=number % PARTS, n=number) for one in range(A_TRANSACTION)]
            )
            self.documents += A_TRANSACTION


class Visitor:
    """A client that comes back wherever it is sent away, and goes on from its last position."""

    def __init__(self, url: str, number: int) -> None:
        self.url, self.part = url, number % PARTS
        self.events = number % 5 == 0
        self.visits: list[tuple[list[Frame], str | None]] = []
        self.away: list[float] = []
        self.refused = Counter[str]()
        self.position: str | None = None
        self.query = ""
        self.ear: Ear | None = None
        self._left_at: float | None = None

    def request(self) -> dict[str, Any]:
        asked: dict[str, Any] = {"filter": {"part": self.part}}
        if self.events:
            asked["mode"] = "events"
        if self.position is not None:
            asked["position"] = self.position
            if not self.events:
                asked["query"] = self.query
        return asked

    async def stay(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with listening(self.url) as ear:
                    await self._visit(ear)
            except (AssertionError, OSError, TimeoutError, WebSocketException) as error:
                self.refused[f"{type(error).__name__}: {error}"[:80]] += 1
            # As a client has it: not all of them in one moment.
            await asyncio.sleep(random.uniform(0.05, 0.5))

    async def _visit(self, ear: Ear) -> None:
        loop = asyncio.get_running_loop()
        closing = ear.coming(lambda frame: frame["type"] == "closing")
        # Sent away without a word: the wait below ends all the same.
        closing.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.visits.append((ear.frames, self.position))
        try:
            await ear.subscribe("s", "docs", **self.request())
            self.query = ear.of("subscribed")[0]["query"]
            if self._left_at is not None:
                self.away.append(loop.time() - self._left_at)
            self.ear = ear
            await asyncio.wait({closing})
        finally:
            self.ear = None
            self._left_at = loop.time()
            told = [str(frame["position"]) for frame in ear.frames if frame["type"] in TOLD and "position" in frame]
            self.position = max([*told, *([self.position] if self.position else [])], default=None)

    def asked(self, truth: Truth, after: str | None) -> Asked:
        part = self.part
        held = None
        if after is not None and not self.events:
            view = truth.at("docs", int(after[9:], 16))
            held = {key: one for key, one in view.items() if one["part"] == part}
        mode = "events" if self.events else "query"
        return Asked("s", ("docs",), mode, lambda one: bool(one["part"] == part), after=after, held=held)


def reads(client: MongoClient) -> Counter[str]:
    commands = client.admin.command("serverStatus")["metrics"]["commands"]
    return Counter({name: int(commands[name]["total"]) for name in READ_COMMANDS})


async def everybody(visitors: list[Visitor]) -> list[Ear]:
    """All of them live at once; their connections."""
    async with asyncio.timeout(60):
        while True:
            ears = [visitor.ear for visitor in visitors if visitor.ear is not None and visitor.ear.closed is None]
            if len(ears) == len(visitors):
                return ears
            await asyncio.sleep(0.05)


async def restart(stack: AsyncExitStack, replica: Process, options: tuple[str, ...], home: Path) -> Process:
    """SIGTERM, its end, a new one on its port, ready."""
    replica.process.send_signal(signal.SIGTERM)
    assert await replica.process.wait() == 0
    fresh = await stack.enter_async_context(process("serve", *options, home=home))
    async with httpx.AsyncClient(base_url=fresh.url) as http:
        assert (await http.get("/readyz")).status_code == 200
    return fresh


async def test_rolling_restart_of_three_replicas_behind_nginx(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    name = f"t_rolling_{random.randrange(1 << 40):x}"
    ports = free_ports(REPLICAS)
    loop = asyncio.get_running_loop()
    with MongoClient(replica_set.uri) as client:
        ledger = Ledger(client[name])
        ledger.one(insert("docs", "first", part=0, n=0))
        load = Load(ledger)
        try:
            async with AsyncExitStack() as stack:
                url = await stack.enter_async_context(proxying(tmp_path / "nginx", ports))
                common = ("--mongodb-uri", replica_set.uri, "--database", name)
                options = [("--port", str(port), *common) for port in ports]
                replicas = [await stack.enter_async_context(process("serve", *one, home=tmp_path)) for one in options]
                visitors = [Visitor(url, number) for number in range(scale["clients"])]
                staying = [asyncio.create_task(visitor.stay()) for visitor in visitors]
                await everybody(visitors)
                working, began = asyncio.create_task(asyncio.to_thread(load.run)), loop.time()
                await asyncio.sleep(scale.seconds("load"))
                before = reads(client)
                for _ in range(scale["rounds"]):
                    for number in range(REPLICAS):
                        replicas[number] = await restart(stack, replicas[number], options[number], tmp_path)
                        await asyncio.sleep(scale.seconds("pause"))
                await everybody(visitors)
                after = reads(client)
                load.stopping.set()
                await working
                rate = load.documents / (loop.time() - began)
                await asyncio.gather(*(ear.fence(ledger.last) for ear in await everybody(visitors)))
                for task in staying:
                    task.cancel()
                await asyncio.gather(*staying, return_exceptions=True)
        finally:
            load.stopping.set()
            client.drop_database(name)
    truth, every = ledger.truth(), Counter[str]()
    for visitor in visitors:
        for frames, position in visitor.visits:
            every += judge(frames, [visitor.asked(truth, position)], truth).accept()
    away = [seconds for visitor in visitors for seconds in visitor.away]
    asked_for = after - before
    restarts = REPLICAS * scale["rounds"]
    refused = sum((visitor.refused for visitor in visitors), Counter[str]())
    say(
        f"{len(visitors)} clients, {rate:.0f} writes/s, {restarts} restarts: {len(away)} moves, away "
        f"{max(away):.2f} s at most, {sorted(away)[len(away) // 2]:.2f} s in the middle; "
        f"{sum(asked_for.values())} reads {dict(asked_for)}; "
        f"in vain {dict(refused)}; {dict(every)}"
    )
    assert rate >= WRITES_A_SECOND * 0.9
    assert len(away) >= len(visitors) * scale["rounds"]
    assert max(away) <= AWAY_SECONDS
    # Of what differs between queries, never of how many clients ask.
    assert 0 < sum(asked_for.values()) <= restarts * (READS_OF_A_START + 2 * PARTS)
    assert every["recovered"] == len(away)
    assert every["told"] > 0
    assert every["views"] >= len(away) * 0.5
