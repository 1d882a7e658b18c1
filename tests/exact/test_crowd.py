"""Who returns after a restart: a crowd at once, and the subscribers of a service that was killed under load (13).

Sabotage: `make sabotage`, rows "crowd".
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pymongo
import pytest

from tests.checker import Asked, judge
from tests.exact.conftest import Say
from tests.exact.ear import Ear, listening
from tests.exact.flock import Bird
from tests.exact.ledger import Ledger, insert, update
from tests.exact.test_join import AGAIN
from tests.replica_set import ReplicaSet
from tests.serving import Process, process
from tests.truth import Truth, View

Client = pymongo.MongoClient[dict[str, Any]]
CLIENTS, QUERIES = 2000, 20
WITHIN_SECONDS = 2.0
"""In which they all come; and what the service may work for it, so that all are live by then where nothing else runs.

The time itself depends on who else has the machine: `RECOVERED_SECONDS` bounds that.
"""
MOST_READS = 40
"""One for each query, and what opening streams costs: probes, and a look at where the oplog begins."""
SUBSCRIBERS = 100
EVENTS_A_SECOND = 1000
AIMED_AT = 1300
WRITERS = 2
A_TRANSACTION = 20
RECOVERED_SECONDS = 5.0
"""Until the last of those who came at once is live: FAULTS 13."""
BEFORE_THE_KILL, AFTER_THE_RETURN = 200, 20
"""Transactions."""
pytestmark = [pytest.mark.timeout(120), pytest.mark.alone("2,000 clients in 2 s of a processor; recovery in seconds")]


def belongs(number: int) -> dict[str, Any]:
    return {"part": number}


async def queries(ear: Ear) -> list[str]:
    """Subscribe to each of the distinct queries; their hashes."""
    for number in range(QUERIES):
        await ear.subscribe(f"q{number}", "docs", filter=belongs(number))
    return [frame["query"] for frame in ear.of("subscribed")]


def reads(client: Client) -> dict[str, int]:
    """How many commands of each kind that read MongoDB has had; the feed's steps are `getMore` and not among them."""
    commands = client.admin.command("serverStatus")["metrics"]["commands"]
    return {
        name: int(commands[name]["total"]) for name in ("find", "aggregate", "listCollections", "count", "distinct")
    }


@pytest.mark.long("2,000 clients of a service that is killed")
@pytest.mark.parametrize("batch_size", [1000, pytest.param(7, marks=AGAIN)])
async def test_2000_clients_of_20_queries_return_within_2_s(
    own_replica_set: ReplicaSet, tmp_path: Path, batch_size: int, say: Say
) -> None:
    name, given = "t_crowd", {"REALTIME_FEED_BATCH_SIZE": str(batch_size)}
    options = ("--port", "0", "--mongodb-uri", own_replica_set.uri, "--database", name)
    loop = asyncio.get_running_loop()
    with Client(own_replica_set.uri) as client:
        ledger = Ledger(client[name])
        ledger.bulk("docs", [{"_id": n, "part": n % QUERIES, "n": 0} for n in range(QUERIES * 10)])
        async with process("serve", *options, home=tmp_path, **given) as service, listening(service.url) as ear:
            hashes = await queries(ear)
            for number in range(100):
                ledger.one(update("docs", number, n=number + 1))
            await ear.fence(ledger.last)
            positions = sorted({frame["position"] for frame in ear.of("changes")})
        before = reads(client)
        async with process("serve", *options, home=tmp_path, **given) as service:
            dice = random.Random(2)
            birds, asked = [], []
            for number in range(CLIENTS):
                part, position = number % QUERIES, dice.choice(positions)
                request = {"type": "subscribe", "id": "s", "collection": "docs", "filter": belongs(part)}
                birds.append(Bird(service.url, {**request, "position": position, "query": hashes[part]}))
                asked.append(returning(ledger.truth(), part, position))
            began, cpu = loop.time(), cpu_seconds(service)
            async with asyncio.timeout(60):
                await asyncio.gather(*(bird.fly() for bird in birds))
            took, cpu = loop.time() - began, cpu_seconds(service) - cpu
            came = max(bird.came_at for bird in birds) - began
            after = reads(client)
            for bird in birds:
                bird.close()
    truth, every = ledger.truth(), Counter[str]()
    for bird, one in zip(birds, asked, strict=True):
        every += judge(bird.frames, [one], truth).accept()
    asked_for = {command: after[command] - before[command] for command in after}
    total = sum(asked_for.values())
    say(
        f"{CLIENTS} clients came in {came:.2f} s, all live after {took:.2f} s ({cpu:.2f} s of a processor), "
        f"{total} reads {asked_for}, {dict(every)}"
    )
    assert every["recovered"] + every["snapshot"] >= CLIENTS
    assert every["recovered"] > CLIENTS // 2
    assert every["views"] >= CLIENTS
    assert 0 < total <= MOST_READS
    assert came <= WITHIN_SECONDS
    assert cpu <= WITHIN_SECONDS
    assert took <= RECOVERED_SECONDS


def cpu_seconds(service: Process) -> float:
    """What a service has used of its processor, the system's work for it included."""
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def returning(truth: Truth, part: int, position: str) -> Asked:
    """A client's query with the view that it held."""

    def mine(one: Any) -> bool:
        return bool(one["part"] == part)

    held: View = {key: one for key, one in truth.at("docs", int(position[9:], 16)).items() if mine(one)}
    return Asked("s", ("docs",), matches=mine, after=position, held=held)


# --------------------------------------------------------------------------------------------------- killed under load


class Writers:
    """Transactions of 20 inserts and updates by two threads, until told to stop."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.stopping = threading.Event()
        self.events = [0] * WRITERS

    async def run(self) -> None:
        """Both of them, to their end."""
        await asyncio.gather(*(asyncio.to_thread(self._write, part) for part in range(WRITERS)))

    def _write(self, part: int) -> None:
        began, number = time.monotonic(), 0
        mine = range(part, QUERIES, WRITERS)
        while not self.stopping.wait(began + number * WRITERS * A_TRANSACTION / AIMED_AT - time.monotonic()):
            number += 1
            fresh = [insert("docs", f"{part}-{number}-{n}", part=n % QUERIES, n=0) for n in range(A_TRANSACTION // 2)]
            self.ledger.together([*fresh, *(update("docs", n, n=number) for n in mine)], fast=True)
            self.events[part] += A_TRANSACTION


def request(number: int) -> dict[str, Any]:
    """One in ten follows all events, the others a query of their part."""
    if number % 10 < 1:
        return {"mode": "events"}
    return {"filter": belongs(number % QUERIES)}


def follows(number: int, **resumed: Any) -> Asked:
    if number % 10 < 1:
        return Asked("s", ("docs",), "events", **resumed)
    return Asked("s", ("docs",), matches=lambda one: bool(one["part"] == number % QUERIES), **resumed)


def heard(ear: Ear) -> str:
    """The newest position that its one subscription was told; it was live all the time."""
    kinds = {"live", "changes", "events", "heartbeat"}
    return max(str(frame["position"]) for frame in ear.frames if frame["type"] in kinds and "position" in frame)


@pytest.mark.long("a service killed under load; fewer come back to one in tests/adversity/test_crowd.py")
@pytest.mark.parametrize("batch_size", [1000, 7])
async def test_100_subscribers_of_a_service_killed_under_load_resume(
    replica_set: ReplicaSet, tmp_path: Path, batch_size: int, say: Say
) -> None:
    """13: kill -9 at 1,000 events a second; everybody has everything, and is live again within 5 s."""
    name = f"t_killed_{random.randrange(1 << 40):x}"
    options = ("--port", "0", "--mongodb-uri", replica_set.uri, "--database", name)
    given = {"REALTIME_HEARTBEAT_SECONDS": "0.5", "REALTIME_FEED_BATCH_SIZE": str(batch_size)}
    loop = asyncio.get_running_loop()
    with Client(replica_set.uri) as client:
        ledger = Ledger(client[name])
        ledger.bulk("docs", [{"_id": n, "part": n % QUERIES, "n": 0} for n in range(QUERIES)])
        writers = Writers(ledger)
        try:
            async with AsyncExitStack() as stack:
                service = await stack.enter_async_context(process("serve", *options, home=tmp_path, **given))
                old = [await stack.enter_async_context(listening(service.url)) for _ in range(SUBSCRIBERS)]
                await asyncio.gather(*(ear.subscribe("s", "docs", **request(n)) for n, ear in enumerate(old)))
                working, started = asyncio.create_task(writers.run()), loop.time()
                await asyncio.gather(*(ear.coming(lambda _: ledger_is_past(ledger, BEFORE_THE_KILL)) for ear in old))
                events = list(writers.events)
                service.process.kill()
                await service.process.wait()
                rate = sum(events) / (loop.time() - started)
            held = [heard(ear) for ear in old]
            async with process("serve", *options, home=tmp_path, **given) as service, AsyncExitStack() as stack:
                began = loop.time()
                new = await asyncio.gather(
                    *(stack.enter_async_context(listening(service.url)) for _ in range(SUBSCRIBERS))
                )
                hashes = [ear.of("subscribed")[0]["query"] for ear in old]
                await asyncio.gather(
                    *(
                        ear.subscribe(
                            "s", "docs", position=held[n], **({} if n % 10 < 1 else {"query": hashes[n]}), **request(n)
                        )
                        for n, ear in enumerate(new)
                    )
                )
                took = loop.time() - began
                commits = len(ledger.commits)
                await asyncio.gather(
                    *(ear.coming(lambda _: ledger_is_past(ledger, commits + AFTER_THE_RETURN)) for ear in new)
                )
                writers.stopping.set()
                await working
                await asyncio.gather(*(ear.fence(ledger.last) for ear in new))
        finally:
            writers.stopping.set()
            client.drop_database(name)
    truth, before, after = ledger.truth(), Counter[str](), Counter[str]()
    for n, (first, second) in enumerate(zip(old, new, strict=True)):
        before += judge(first.frames, [follows(n)], truth).accept()
        view = {key: one for key, one in truth.at("docs", int(held[n][9:], 16)).items() if follows(n).matches(one)}
        after += judge(second.frames, [follows(n, after=held[n], held=view)], truth).accept()
    say(f"{rate:.0f} events/s, recovered in {took:.2f} s; before {dict(before)}; after {dict(after)}")
    assert rate >= EVENTS_A_SECOND
    assert after["recovered"] == SUBSCRIBERS
    assert before["told"] > 10_000
    assert after["told"] == after["expected"] > 10_000
    assert took <= RECOVERED_SECONDS


def ledger_is_past(ledger: Ledger, commits: int) -> bool:
    return len(ledger.commits) >= commits
