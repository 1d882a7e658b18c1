"""Everybody who asks the same shares one read of MongoDB, who comes later and who comes back too; by MongoDB's account.

Sabotage: `make sabotage`, rows "groups".
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pymongo
import pytest

from tests.exact.conftest import Say
from tests.exact.flock import Bird
from tests.replica_set import ReplicaSet
from tests.serving import Process, process

CLIENTS = 1000
COLLECTION = "docs"
SAME: tuple[dict[str, Any], ...] = (
    {"part": 1, "n": {"$gte": 2, "$lt": 9}},
    {"n": {"$lt": 9, "$gte": 2}, "part": 1},
    {"$and": [{"n": {"$gte": 2}}, {"part": 1}, {"n": {"$lt": 9}}]},
)
"""One query, written three ways."""
OTHERS: tuple[dict[str, Any], ...] = (
    {"part": 1.0, "n": {"$gte": 2, "$lt": 9}},
    {"part": {"x": 1, "y": 2}},
    {"part": {"y": 2, "x": 1}},
)
"""Queries of their own: a number of another type, literal objects whose fields have another order."""
pytestmark = [pytest.mark.timeout(120), pytest.mark.alone("a thousand at once keep one loop busy")]


async def come(service: Process, count: int, filters: Sequence[dict[str, Any]] = SAME) -> list[Bird]:
    """So many at once, until all of them are live."""
    request = {"type": "subscribe", "id": "s", "collection": COLLECTION}
    birds = [Bird(service.url, {**request, "filter": filters[number % len(filters)]}) for number in range(count)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(bird.fly() for bird in birds))
    return birds


async def figures(service: Process) -> list[str]:
    """The lines of `/metrics`."""

    def asked() -> str:
        with urllib.request.urlopen(urljoin(service.url, "/metrics"), timeout=10) as answer:
            return str(answer.read().decode())

    return (await asyncio.to_thread(asked)).splitlines()


def seen(birds: Sequence[Bird]) -> set[tuple[int, ...]]:
    """The documents that each was given, and nothing but those."""
    for bird in birds:
        assert [frame["type"] for frame in bird.frames][1:] == ["subscribed", "snapshot", "live"]
    return {tuple(sorted(one["_id"] for one in bird.frames[2]["documents"])) for bird in birds}


async def test_1000_at_once_cost_one_read_and_1000_more_cost_none(
    own_replica_set: ReplicaSet, tmp_path: Path, say: Say
) -> None:
    name = "t_shared_reads"
    options = ("--port", "0", "--mongodb-uri", own_replica_set.uri, "--database", name)
    with pymongo.MongoClient[dict[str, Any]](own_replica_set.uri) as client:
        database = client[name]
        database[COLLECTION].insert_many({"_id": number, "part": number % 2, "n": number} for number in range(20))
        wanted = {tuple(number for number in range(20) if number % 2 == 1 and 2 <= number < 9)}

        def reads() -> int:
            """What MongoDB's own profile says was read of the collection."""
            return int(database["system.profile"].count_documents({"op": "query", "ns": f"{name}.{COLLECTION}"}))

        async with process("serve", *options, home=tmp_path) as service:
            database.command("profile", 2)
            first = await come(service, CLIENTS)
            at_first = reads()
            more = await come(service, CLIENTS)
            with_more = reads()
            for bird in [*first, *more]:
                bird.close()
            async with asyncio.timeout(20):
                while "realtime_subscriptions 0.0" not in await figures(service):  # another process: no event to await
                    await asyncio.sleep(0.05)
            returned = await come(service, 10)
            after_return = reads()
            others = await come(service, len(OTHERS), OTHERS)
            with_others = reads()
            for bird in [*returned, *others]:
                bird.close()
        database.command("profile", 0)
    say(f"{CLIENTS}: {at_first} read, {CLIENTS} more: {with_more - at_first}, back: {after_return - with_more}")
    assert seen(first) == seen(more) == seen(returned) == wanted
    assert (at_first, with_more, after_return) == (1, 1, 1)
    assert with_others == after_return + len(OTHERS)
    assert len({bird.frames[1]["query"] for bird in [*first, *more, *returned]}) == 1
    assert len({bird.frames[1]["query"] for bird in others}) == len(OTHERS)
