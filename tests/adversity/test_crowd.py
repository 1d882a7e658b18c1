"""16: two thousand clients of the same few queries connect and resume at once, and MongoDB hardly notices."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pymongo
import pytest

from tests.adversity.scale import Scale
from tests.checker import judge
from tests.exact.conftest import Say
from tests.exact.ear import listening
from tests.exact.flock import Bird
from tests.exact.ledger import Ledger, update
from tests.exact.test_crowd import belongs, reads, returning
from tests.replica_set import ReplicaSet
from tests.serving import process

Client = pymongo.MongoClient[dict[str, Any]]
pytestmark = [pytest.mark.timeout(120), pytest.mark.alone("bounds in seconds under load of its own")]
QUERIES, CHANGES = 4, 60
WITHIN_SECONDS, MOST_READS = 2.0, 10


@pytest.mark.long("a crowd that comes back to a service of its own")
async def test_a_crowd_of_few_queries_resumes_at_once_and_reads_next_to_nothing(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    name, clients = f"t_few_{random.randrange(1 << 40):x}", scale["clients"]
    options = ("--port", "0", "--mongodb-uri", replica_set.uri, "--database", name)
    loop = asyncio.get_running_loop()
    client: Client
    with pymongo.MongoClient(replica_set.uri) as client:
        ledger = Ledger(client[name])
        ledger.bulk("docs", [{"_id": n, "part": n % QUERIES, "n": 0} for n in range(QUERIES * 10)])
        try:
            # Without it the queries would linger, and nobody would need MongoDB at all.
            nothing_lingers = {"REALTIME_LINGER_SECONDS": "0"}
            async with process("serve", *options, home=tmp_path, **nothing_lingers) as service:
                async with listening(service.url) as ear:
                    for number in range(QUERIES):
                        await ear.subscribe(f"q{number}", "docs", filter=belongs(number))
                    hashes = [frame["query"] for frame in ear.of("subscribed")]
                    for number in range(CHANGES):
                        ledger.one(update("docs", number % (QUERIES * 10), n=number + 1))
                    await ear.fence(ledger.last)
                    positions = sorted({frame["position"] for frame in ear.of("changes")})
                # The one who asked is gone: the crowd finds no query live.
                dice, birds, asked = random.Random(16), [], []
                for number in range(clients):
                    part, position = number % QUERIES, dice.choice(positions)
                    request = {"type": "subscribe", "id": "s", "collection": "docs", "filter": belongs(part)}
                    birds.append(Bird(service.url, {**request, "position": position, "query": hashes[part]}))
                    asked.append(returning(ledger.truth(), part, position))
                before, began = reads(client), loop.time()
                outcomes = await asyncio.gather(*(bird.fly() for bird in birds), return_exceptions=True)
                took = loop.time() - began
                after = reads(client)
                came = max(bird.came_at for bird in birds) - began
                for bird in birds:
                    bird.close()
        finally:
            client.drop_database(name)
    truth, every = ledger.truth(), Counter[str]()
    failures = [outcome for outcome in outcomes if outcome is not None]
    for bird, one in zip(birds, asked, strict=True):
        every += judge(bird.frames, [one], truth).accept()
    total = sum(after.values()) - sum(before.values())
    say(
        f"{clients} clients of {QUERIES} queries came in {came:.2f} s, all live after {took:.2f} s, {len(failures)} "
        f"failures, {total} reads of MongoDB; {dict(every)}"
    )
    assert failures == []
    assert every["recovered"] == clients
    assert came <= WITHIN_SECONDS
    assert 0 < total <= MOST_READS
