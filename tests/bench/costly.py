"""What twelve costly expressions at once cost everybody else: `python -m tests.bench.costly [--rounds N]`.

A real service on a mongod of its own. Fifty sockets hear 50 small documents a second, while 500 large ones of another
collection are asked for by twelve live queries and changed 5 times a second. In turn: twelve plain filters, and twelve
kinds of costly `$expr`. The 99th percentile, from before a write until it came, while they are read and while they
are told; and processor milliseconds of one evaluation of each.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pymongo

from realtime.core.mql.filters import compile_filter
from tests.adversity.test_deaf import Timed
from tests.exact.flock import Bird
from tests.mongo.commands import breakable
from tests.serving import process

BIRDS, DOCUMENTS = 50, 500
SMALL_A_SECOND, LARGE_A_SECOND = 50, 5
SECONDS = 10.0
DOCUMENT: dict[str, Any] = {
    "n": 5,
    "l": list(range(200)),
    "words": [f"word{number}" for number in range(200)],
    "text": "lorem ipsum dolor " * 100,
    "d": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "o": {f"k{number}": number for number in range(100)},
    "rows": [{"a": number, "b": {"c": [number] * 3}} for number in range(100)],
    "long": "x" * 20_000,
}


def _each(source: Any, of: Any = "$l") -> dict[str, Any]:
    return {"$map": {"input": of, "in": source}}


EXPRESSIONS: dict[str, Any] = {
    "arithmetic of each": {"$sum": _each({"$multiply": ["$$this", {"$add": ["$$this", 1]}]})},
    "each with each": {"$size": _each(_each({"$add": ["$$this", 1]}, {"$slice": ["$l", 30]}), {"$slice": ["$l", 30]})},
    "text put together": {
        "$strLenCP": {"$reduce": {"input": "$words", "initialValue": "", "in": {"$concat": ["$$value", "$$this"]}}}
    },
    "array put together": {
        "$size": {"$reduce": {"input": "$l", "initialValue": [], "in": {"$concatArrays": ["$$value", ["$$this"]]}}}
    },
    "a pattern on each": {
        "$size": {"$filter": {"input": "$words", "cond": {"$regexMatch": {"input": "$$this", "regex": "w.*9$"}}}}
    },
    "dates as text": {
        "$size": _each(
            {
                "$dateToString": {
                    "date": {"$dateAdd": {"startDate": "$d", "unit": "month", "amount": "$$this"}},
                    "format": "%Y-%m-%d",
                }
            }
        )
    },
    "sets": {"$size": {"$setUnion": ["$l", "$words", _each({"$toString": "$$this"})]}},
    "sorted": {"$size": {"$sortArray": {"input": "$rows", "sortBy": {"b.c": -1}}}},
    "replaced and split": {
        "$size": {"$split": [{"$replaceAll": {"input": "$text", "find": "o", "replacement": "oo"}}, " "]}
    },
    "all that a pattern finds": {"$size": {"$regexFindAll": {"input": "$text", "regex": "(l|o)(r|l)"}}},
    "fields as an array and back": {
        "$size": {
            "$objectToArray": {
                "$arrayToObject": _each(
                    {"k": {"$concat": ["x", "$$this.k"]}, "v": {"$toDecimal": "$$this.v"}}, {"$objectToArray": "$o"}
                )
            }
        }
    },
    "decimals": {"$sum": _each({"$divide": [{"$toDecimal": "$$this"}, 3]})},
}
COSTLY = [{"$expr": {"$gte": [one, 0]}} for one in EXPRESSIONS.values()]
PLAIN = [{"n": {"$gte": -number}} for number in range(len(COSTLY))]


def evaluation(source: dict[str, Any]) -> float:
    """Milliseconds of processor for one document."""
    matches, took = compile_filter(source).matches, []
    for _ in range(9):
        began = time.thread_time()
        assert matches({"_id": 1, **DOCUMENT})
        took.append(time.thread_time() - began)
    return statistics.median(took) * 1000


@asynccontextmanager
async def writing(database: Any) -> AsyncIterator[None]:
    """Small documents and changes of large ones, each at its rate."""

    async def at(rate: float, write: Any) -> None:
        due, number = time.monotonic(), 0
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due, number = due + 1 / rate, number + 1
            await asyncio.to_thread(write, number)

    tasks = [
        asyncio.create_task(at(SMALL_A_SECOND, lambda _: database.small.insert_one({"at": time.time()}))),
        asyncio.create_task(
            at(LARGE_A_SECOND, lambda n: database.large.update_one({"_id": n % DOCUMENTS}, {"$set": {"n": n}}))
        ),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _p99(birds: list[Timed]) -> float:
    ways = [way for bird in birds for way in bird.ways]
    for bird in birds:
        bird.ways.clear()
    assert len(ways) >= 1000, len(ways)
    return statistics.quantiles(ways, n=100)[98] * 1000


async def beside(url: str, birds: list[Timed], filters: list[dict[str, Any]]) -> tuple[float, float]:
    """Milliseconds of the 99th percentile while so many live queries are read, and while they are told."""
    for bird in birds:
        bird.ways.clear()
    asking = [
        Bird(
            url,
            {
                "type": "subscribe",
                "id": "q",
                "mode": "query",
                "collection": "large",
                "filter": source,
                "projection": {"n": 1},
            },
        )
        for source in filters
    ]
    try:
        await asyncio.gather(*(bird.fly() for bird in asking))
        refused = [frame for one in asking for frame in one.frames if frame["type"] == "error"]
        assert refused == [], refused
        await asyncio.sleep(max(0.0, 3 - sum(len(bird.ways) for bird in birds) / SMALL_A_SECOND / BIRDS))
        read = _p99(birds)
        for one in asking:
            one.frames.clear()
        await asyncio.sleep(SECONDS)
        told = _p99(birds)
        assert all(any(frame["type"] == "changes" for frame in one.frames) for one in asking)
        return read, told
    finally:
        for one in asking:
            one.close()


async def _rounds(uri: str, home: Path, rounds: int, found: dict[str, list[tuple[float, float]]]) -> None:
    name = f"bench_{uuid.uuid4().hex[:8]}"
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(uri)
    client[name].large.insert_many({"_id": number, **DOCUMENT} for number in range(DOCUMENTS))
    options = ("--port", "0", "--mongodb-uri", uri, "--database", name)
    async with process("serve", *options, home=home) as service, writing(client[name]):
        birds = [Timed(service.url, "small") for _ in range(BIRDS)]
        await asyncio.gather(*(bird.fly() for bird in birds))
        await asyncio.sleep(2)
        for _ in range(rounds):
            for kind, filters in (("plain", PLAIN), ("costly", COSTLY)):
                found[kind].append(await beside(service.url, birds, filters))
        for bird in birds:
            bird.close()
    client.close()


async def run(rounds: int) -> None:
    """Print what came out."""
    for name, source in zip(EXPRESSIONS, COSTLY, strict=True):
        sys.stdout.write(f"{name:28} {evaluation(source):7.2f} ms\n")
    found: dict[str, list[tuple[float, float]]] = {"plain": [], "costly": []}
    with tempfile.TemporaryDirectory() as folder:
        async with breakable(Path(folder)) as uri:
            await _rounds(uri, Path(folder), rounds, found)
    for place, phase in enumerate(("while they are read", "while they are told")):
        plain, costly = ([one[place] for one in found[kind]] for kind in ("plain", "costly"))
        ratio = statistics.median(costly) / statistics.median(plain)
        sys.stdout.write(
            f"{phase}: p99 of the others {statistics.median(plain):.1f} ms beside plain filters ({min(plain):.1f} to "
            f"{max(plain):.1f}), {statistics.median(costly):.1f} ms beside costly ones ({min(costly):.1f} to "
            f"{max(costly):.1f}): {ratio:.2f} x\n"
        )


if __name__ == "__main__":
    made = argparse.ArgumentParser(prog="python -m tests.bench.costly", description=__doc__)
    made.add_argument("--rounds", type=int, default=3, help="how often, in turn")
    asyncio.run(run(made.parse_args().rounds))
