"""Resuming at the positions of a long run: exactly the rest, from memory, from the oplog, and after `kill -9`.

Sabotage: `make sabotage`, rows "history".
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pymongo
import pytest

from realtime import metrics
from tests.checker import Asked, judge
from tests.exact.conftest import Say
from tests.exact.ear import listening
from tests.exact.ledger import Ledger, Op, delete, insert, update
from tests.exact.test_join import counted, light
from tests.replica_set import ReplicaSet
from tests.serving import process, serving
from tests.truth import Truth

EARLY, LATE = 20, 300
"""Positions resumed from before the 30 MB transaction, and after it."""
AT_ONCE = 6

pytestmark = pytest.mark.timeout(180)


def write_run(ledger: Ledger) -> None:
    """2,000 events and more: single writes, bulk, transactions of four, and one of 30 MB near the beginning."""
    dice = random.Random(3)
    blob = "x" * 1024 * 1024
    ledger.bulk("docs", [{"_id": f"b{n}", "n": n} for n in range(700)])
    ledger.together([insert("docs", f"large{n}", n=n, blob=blob) for n in range(30)])
    ledger.bulk("docs", [{"_id": f"c{n}", "n": n} for n in range(300)])
    keys = [f"b{n}" for n in range(700)]
    for number in range(300):
        ledger.one(update("docs", dice.choice(keys), n=10_000 + number))
        part = dice.sample(keys, 4)
        moved: list[Op] = [update("docs", key, n=20_000 + number) for key in part[:2]]
        if number % 3 == 0:
            keys.remove(part[2])
            moved += [insert("docs", f"d{number}", n=0), delete("docs", part[2])]
        ledger.together(moved)


def positions(truth: Truth, epoch: str) -> tuple[list[str], list[str]]:
    """The positions of the run before its 30 MB transaction, and from there on."""
    large = next(write.time for write in truth.writes if write.transaction is not None)
    times = sorted({write.time for write in truth.writes})
    texts = [f"{epoch}-{time:016X}" for time in times]
    split = times.index(large)
    return texts[:split], texts[split:]


async def resume_all(url: str, truth: Truth, chosen: list[str], query: str) -> Counter[str]:
    """Resume in both modes at each position, a few at once; what the checker looked at."""
    every: Counter[str] = Counter()
    last = truth.writes[-1].time
    for begin in range(0, len(chosen), AT_ONCE):
        group = chosen[begin : begin + AT_ONCE]
        asked: list[Asked] = []
        async with listening(url) as ear:
            work = []
            for number, position in enumerate(group):
                fields: dict[str, Any] = {"projection": {"n": 1}, "position": position}
                asked.append(Asked(f"e{number}", ("docs",), "events", shows=light, after=position))
                work.append(ear.subscribe(f"e{number}", "docs", mode="events", **fields))
                time = int(position[9:], 16)
                held = truth.at("docs", time)
                asked.append(Asked(f"q{number}", ("docs",), shows=light, after=position, held=held))
                work.append(ear.subscribe(f"q{number}", "docs", query=query, **fields))
            await asyncio.gather(*work)
            await ear.fence(last)
            assert [frame["recovered"] for frame in ear.of("subscribed")] == [True] * 2 * len(group)
            every += (await asyncio.to_thread(judge, ear.frames, asked, truth)).accept()
    return every


async def query_of(url: str) -> str:
    """The hash of the effective query."""
    async with listening(url) as ear:
        await ear.subscribe("q", "docs", projection={"n": 1})
        return str(ear.of("subscribed")[0]["query"])


def drawn(truth: Truth, epoch: str) -> list[str]:
    """Some positions from before the large transaction, all that fit from after it; the first and the last too."""
    early, late = positions(truth, epoch)
    dice = random.Random(5)
    chosen = {early[0], late[0], late[-1], *dice.sample(early, EARLY), *dice.sample(late, LATE)}
    shuffled = sorted(chosen)
    dice.shuffle(shuffled)
    return shuffled


@pytest.mark.parametrize("batch_size", [1000, 7])
@pytest.mark.parametrize("lane", [pytest.param({}, id="journal"), pytest.param({"journal_bytes": 0}, id="oplog")])
async def test_resumed_at_any_position_it_is_exactly_the_rest(
    replica_set: ReplicaSet, lane: dict[str, Any], batch_size: int, say: Say
) -> None:
    async with serving(replica_set, feed_await_ms=100, feed_batch_size=batch_size, **lane) as service:
        ledger = Ledger(service.database, light={"blob"})
        async with listening(service.url) as witness:
            epoch = witness.frames[0]["position"][:8]
            await asyncio.to_thread(write_run, ledger)
            await witness.fence(ledger.last)
        truth, before = ledger.truth(), counted(metrics.CATCH_UPS)
        chosen = drawn(truth, epoch)
        figures = await resume_all(service.url, truth, chosen, await query_of(service.url))
        reads = counted(metrics.CATCH_UPS) - before
    say(f"{len(chosen)} positions of {len(truth.writes)} events, {reads:.0f} reads of the oplog, {dict(figures)}")
    assert len(truth.writes) >= 2000
    assert len(chosen) >= 300
    assert (reads >= len(chosen) / AT_ONCE) == bool(lane)
    assert figures["recovered"] == 2 * len(chosen)
    assert figures["told"] == figures["expected"] > 100_000


async def test_after_kill_9_any_position_is_still_exactly_the_rest(
    replica_set: ReplicaSet, tmp_path: Path, say: Say
) -> None:
    name = f"t_kill_{random.randrange(1 << 40):x}"
    options = ("--port", "0", "--mongodb-uri", replica_set.uri, "--database", name)
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(replica_set.uri)
    try:
        ledger = Ledger(client[name], light={"blob"})
        async with process("serve", *options, home=tmp_path) as service, listening(service.url) as witness:
            epoch = witness.frames[0]["position"][:8]
            query = await query_of(service.url)
            await asyncio.to_thread(write_run, ledger)
            service.process.kill()
            await service.process.wait()
        truth = ledger.truth()
        chosen = drawn(truth, epoch)
        async with process("serve", *options, home=tmp_path) as service:
            figures = await resume_all(service.url, truth, chosen, query)
    finally:
        client.drop_database(name)
        client.close()
    say(f"{len(chosen)} positions of {len(truth.writes)} events, {dict(figures)}")
    assert len(chosen) >= 300
    assert figures["recovered"] == 2 * len(chosen)
    assert figures["told"] == figures["expected"] > 100_000
