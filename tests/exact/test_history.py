"""Resuming at every position of a long run: exactly the rest, from memory, from the oplog, and after `kill -9`.

Sabotage: `make sabotage`, rows "history".
"""

from __future__ import annotations

import asyncio
import random
import re
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pymongo
import pytest
from websockets.asyncio.client import connect

from tests.checker import Asked, Frame, judge
from tests.exact.conftest import Say
from tests.exact.ear import listening
from tests.exact.ledger import Ledger, Op, delete, insert, update
from tests.exact.test_join import light
from tests.replica_set import ReplicaSet
from tests.rest import NotTheRestError, Resumed, ResumedEvents, ResumedQuery, Run
from tests.serving import Process, process
from tests.truth import Truth, time_of

AT_ONCE = 25
"""Positions that one connection resumes from, in both modes each."""
JUDGED = 20
"""Positions whose frames the checker judges as well."""

ELSEWHERE = pytest.mark.long("a million events, a fifth of them in the one beside it")
pytestmark = pytest.mark.timeout(180)


def write_run(ledger: Ledger) -> None:
    """2,000 events and more: single writes, bulk, transactions of two to 36, and one of 30 MB near the beginning.

    What comes before the large one is short: each position there costs a read of all of it.
    """
    dice = random.Random(3)
    blob = "x" * 1024 * 1024
    ledger.bulk("docs", [{"_id": f"b{n}", "n": n} for n in range(40)])
    ledger.together([insert("docs", f"large{n}", n=n, blob=blob) for n in range(30)])
    ledger.bulk("docs", [{"_id": f"c{n}", "n": n} for n in range(260)])
    keys = [f"c{n}" for n in range(260)]
    for number in range(240):
        ledger.one(update("docs", dice.choice(keys), n=10_000 + number))
        part = dice.sample(keys, 4)
        moved: list[Op] = [update("docs", key, n=20_000 + number) for key in part[:2]]
        if number % 3 == 0:
            keys.remove(part[2])
            moved += [insert("docs", f"d{number}", n=0), delete("docs", part[2])]
        if number % 8 == 0:
            moved += [insert("docs", f"e{number}-{n}", n=n) for n in range(32)]
        ledger.together(moved)


@dataclass(slots=True)
class Written:
    """A run that is over: what was acknowledged, and all of its positions in a random order."""

    truth: Truth
    positions: list[str]
    query: str

    @classmethod
    def of(cls, ledger: Ledger, epoch: str, query: str) -> Written:
        truth = ledger.truth()
        positions = [f"{epoch}-{time:016X}" for time in sorted({write.time for write in truth.writes})]
        random.Random(5).shuffle(positions)
        return cls(truth, positions, query)

    async def resume(self, url: str, positions: Sequence[str]) -> Run:
        """Resume at each of these in both modes, a connection for so many of them; what was looked at."""
        run = Run(self.truth, "docs", light)
        for begin in range(0, len(positions), AT_ONCE):
            await self._resume(url, run, positions[begin : begin + AT_ONCE])
        return run

    async def _resume(self, url: str, run: Run, positions: Sequence[str]) -> None:
        followers: dict[str, Resumed] = {}
        raw: list[bytes] = []
        address = url.replace("http://", "ws://", 1).rstrip("/") + "/v1/ws"
        async with connect(address, max_size=None, compression=None, max_queue=None) as socket:
            for number, position in enumerate(positions):
                followers[f"e{number}"] = ResumedEvents(run, position)
                followers[f"q{number}"] = ResumedQuery(run, position)
            for name, follower in followers.items():
                await socket.send(orjson.dumps(self.request(name, follower.after)).decode())
            waiting = len(followers)
            async with asyncio.timeout(60):
                while waiting:
                    text = await socket.recv(decode=False)
                    raw.append(text)
                    frame = orjson.loads(text)
                    if frame["type"] in {"welcome", "heartbeat", "status"}:
                        continue  # of the connection; a service that is busy for seconds says `status`
                    try:
                        followers[frame["id"]].take(frame)
                    except NotTheRestError as reason:
                        self.judge(followers, raw)  # names what is wrong, where it can
                        raise AssertionError(f"the checker saw nothing wrong, and yet: {reason}") from reason
                    waiting -= frame["type"] == "live"
        run.figures["judged"] += self.judge(followers, raw) if run.figures["judged"] < JUDGED else 0

    def request(self, name: str, position: str) -> dict[str, Any]:
        request: dict[str, Any] = {"type": "subscribe", "id": name, "collection": "docs", "projection": {"n": 1}}
        request |= {"mode": "events"} if name[0] == "e" else {"query": self.query}
        return {**request, "position": position}

    def judge(self, followers: dict[str, Resumed], raw: list[bytes]) -> int:
        """The same frames before the checker; how many positions that were."""
        frames: list[Frame] = [orjson.loads(text) for text in raw]
        asked = []
        for name, follower in followers.items():
            held = self.truth.at("docs", follower.start)
            mode = "events" if name[0] == "e" else "query"
            asked.append(Asked(name, ("docs",), mode, shows=light, after=follower.after, held=held))
        seen = {frame["id"] for frame in frames if "id" in frame}
        judge(frames, [one for one in asked if one.id in seen], self.truth).accept()
        return len(followers) // 2


@asynccontextmanager
async def served(replica_set: ReplicaSet, home: Path, batch_size: int) -> AsyncIterator[Any]:
    """What starts the service on a database of its own, as a process of its own, as often as wanted."""
    name = f"t_history_{random.randrange(1 << 40):x}"
    options = ("--port", "0", "--mongodb-uri", replica_set.uri, "--database", name)
    given = {"REALTIME_FEED_AWAIT_MS": "100", "REALTIME_FEED_BATCH_SIZE": str(batch_size)}
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(replica_set.uri)
    try:
        yield client[name], lambda **more: process("serve", *options, home=home, **given, **more)
    finally:
        client.drop_database(name)
        client.close()


async def write(service: Process, ledger: Ledger) -> Written:
    """Write the run while the service is there."""
    async with listening(service.url) as witness:
        await witness.subscribe("q", "docs", projection={"n": 1})
        await asyncio.to_thread(write_run, ledger)
        await witness.fence(ledger.last)
        return Written.of(ledger, witness.frames[0]["position"][:8], str(witness.of("subscribed")[0]["query"]))


async def catch_ups(url: str) -> int:
    """How often the service read the oplog back."""
    async with httpx.AsyncClient(base_url=url) as http:
        found = re.search(r"^realtime_catch_ups_total (\d+)", (await http.get("/metrics")).text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def assert_each(positions: Sequence[str], written: Written, run: Run) -> None:
    assert len(run.writes) >= 2000
    assert len(written.positions) == len({write.time for write in run.writes}) >= 750
    assert run.figures["resumed"] == 2 * len(positions) >= 300
    assert run.figures["told"] == sum(len(run.writes) - bisect_right(run.times, time_of(one)) for one in positions)
    assert run.figures["told"] > 600 * len(positions)
    assert run.figures["changes"] > 125 * len(positions)
    assert run.figures["judged"] >= JUDGED


@pytest.mark.parametrize(
    ("lane", "batch_size", "each"),
    [
        pytest.param("journal", 1000, 5, id="journal-1000-a fifth"),
        pytest.param("journal", 1000, 1, id="journal-1000", marks=ELSEWHERE),
        pytest.param("journal", 7, 1, id="journal-7", marks=ELSEWHERE),
        pytest.param("oplog", 1000, 1, id="oplog-1000", marks=ELSEWHERE),
        pytest.param("oplog", 7, 1, id="oplog-7", marks=ELSEWHERE),
    ],
)
async def test_resumed_at_any_position_it_is_exactly_the_rest(
    replica_set: ReplicaSet, tmp_path: Path, lane: str, batch_size: int, each: int, say: Say
) -> None:
    keeps = {"REALTIME_JOURNAL_BYTES": "0"} if lane == "oplog" else {}
    async with served(replica_set, tmp_path, batch_size) as (database, start), start(**keeps) as service:
        written = await write(service, Ledger(database, light={"blob"}))
        before, positions = await catch_ups(service.url), written.positions[::each]
        run = await written.resume(service.url, positions)
        reads = await catch_ups(service.url) - before
    say(f"{len(positions)} positions of {len(run.writes)} events, {reads} reads back, {dict(run.figures)}")
    assert_each(positions, written, run)
    assert (reads >= len(positions) // AT_ONCE) == (lane == "oplog")
    assert (reads == 0) == (lane == "journal")


@ELSEWHERE
@pytest.mark.parametrize("batch_size", [1000, 7])
async def test_after_kill_9_any_position_is_still_exactly_the_rest(
    replica_set: ReplicaSet, tmp_path: Path, batch_size: int, say: Say
) -> None:
    async with served(replica_set, tmp_path, batch_size) as (database, start):
        async with start() as service:
            written = await write(service, Ledger(database, light={"blob"}))
            service.process.kill()
            await service.process.wait()
        async with start() as service:
            run = await written.resume(service.url, written.positions)
    say(f"{len(written.positions)} positions of {len(run.writes)} events, {dict(run.figures)}")
    assert_each(written.positions, written, run)
