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

from tests.adversity.nginx import proxying
from tests.adversity.scale import Scale
from tests.adversity.visiting import Visitor, everybody
from tests.checker import judge
from tests.exact.conftest import Say
from tests.exact.ledger import Ledger, insert
from tests.ports import free_ports
from tests.replica_set import ReplicaSet
from tests.serving import Process, process

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


def reads(client: MongoClient) -> Counter[str]:
    commands = client.admin.command("serverStatus")["metrics"]["commands"]
    return Counter({name: int(commands[name]["total"]) for name in READ_COMMANDS})


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
                visitors = [
                    Visitor([url], number % PARTS, events=number % 5 == 0) for number in range(scale["clients"])
                ]
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
