"""The browser client behind a proxy that cuts connections at random bytes: the checker judges what the client shows."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.checker import Asked, Frame, judge
from tests.cutting_proxy import cutting_proxy
from tests.exact.ledger import Ledger, Op, delete, insert, reader, to_json, update
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.truth import name_of

CUTS = 500
KEYS = 40
SEED = 20261122
Line = dict[str, Any]


class Writer:
    """Keeps changing `orders`, alone and in transactions, until it is stopped."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._chance = random.Random(SEED)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.004):
            keys = self._chance.sample(range(KEYS), self._chance.choice((1, 1, 1, 2, 4)))
            ops = [self._op(key) for key in keys]
            if len(ops) == 1:
                self.ledger.one(ops[0])
            else:
                self.ledger.together(ops)

    def _op(self, key: int) -> Op:
        held = name_of(key) in self.ledger.held("orders")
        if not held:
            return insert(
                "orders", key, group=self._chance.randrange(3), number=0, text="ä" * self._chance.randrange(40)
            )
        if self._chance.random() < 0.15:
            return delete("orders", key)
        return update("orders", key, group=self._chance.randrange(3), number=self._chance.randrange(10**6))

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@asynccontextmanager
async def client(workshop: Path, url: str, start: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[Line]]]:
    """`cuts.mjs` and the lines that it says."""
    child = await asyncio.create_subprocess_exec(
        "node",
        "cuts.mjs",
        url,
        start,
        cwd=workshop,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    lines: list[Line] = []

    async def listen() -> None:
        assert child.stdout is not None
        async for line in child.stdout:
            lines.append(json.loads(line))

    listening = asyncio.create_task(listen())
    try:
        yield child, lines
        await listening
    finally:
        if child.returncode is None and not listening.done():
            child.kill()
        await asyncio.gather(child.wait(), listening)


def frames_of(lines: Sequence[Line], start: str) -> Iterator[Frame]:
    """What the client said, as the frames of a service that would have said the same."""
    for name in ("all", "some"):
        yield {"type": "subscribed", "id": name, "channel": name, "recovered": False}
    yield {"type": "subscribed", "id": "events", "channel": "events", "recovered": True}
    yield {"type": "live", "id": "events", "position": start}
    for line in lines:
        if line["kind"] == "view":
            said = {"id": line["name"], "position": line["position"]}
            yield {"type": "snapshot", "first": True, "last": True, "documents": line["documents"], **said}
            yield {"type": "live", **said}
    events = [line["event"] for line in lines if line["kind"] == "event"]
    for position, moment in groupby(events, key=lambda event: event["position"]):
        yield {"type": "events", "id": "events", "events": list(moment), "position": position}


@pytest.mark.long("500 cuts; shorter runs of both clients are beside it")
@pytest.mark.timeout(180)
async def test_500_cuts_show_nothing_that_was_not_so_and_lose_no_event(
    workshop: Path, replica_set: ReplicaSet, record_property: Any
) -> None:
    async with serving(replica_set, feed_await_ms=100, heartbeat_seconds=1) as service:
        ledger = Ledger(service.database)
        ledger.one(insert("orders", 0, group=1, number=0))
        start = f"{service.realtime.live().epoch}-{ledger.last:016X}"
        target = urlsplit(service.url).port or 0
        async with cutting_proxy(target, seed=SEED, bytes=(1, 6_000), stall=0.02) as proxy:
            async with client(workshop, f"http://127.0.0.1:{proxy.port}", start) as (child, lines):
                with Writer(ledger):
                    async with asyncio.timeout(120):
                        await proxy.until(CUTS)
                proxy.heal()
                assert child.stdin is not None
                child.stdin.write(f"{start[:8]}-{ledger.last:016X}\n".encode())
                await child.stdin.drain()
            cuts = proxy.cuts
        await judged(service, ledger, lines, start)
        views = sum(line["kind"] == "view" for line in lines)
        record_property("figures", f"{cuts} cuts, {views} views, {len(ledger.writes)} writes, {lines[-1]['outcome']}")
    assert cuts >= CUTS


async def judged(service: Service, ledger: Ledger, lines: list[Line], start: str) -> None:
    """The checker's word on what the client said, and MongoDB's on what it wrote."""
    assert [line for line in lines if line["kind"] == "complaint"] == []
    end = lines[-1]
    assert end["kind"] == "end"
    frames = list(frames_of(lines, start))
    asked = [
        Asked("all", ("orders",)),
        Asked("some", ("orders",), matches=lambda document: document["group"] == 1),
        Asked("events", ("orders",), mode="events", after=start),
    ]
    figures = judge(frames, asked, ledger.truth(), read=reader(service.database)).accept()
    assert figures["views"] >= CUTS
    assert figures["told"] == figures["expected"] == len(ledger.writes) - 1 >= CUTS
    for name, selection in (("all", {}), ("some", {"group": 1})):
        shown = [line for line in lines if line["kind"] == "view" and line["name"] == name][-1]["documents"]
        stored = [to_json(document) for document in service.database.orders.find(selection)]
        assert {name_of(one["_id"]): one for one in shown} == {name_of(one["_id"]): one for one in stored}
    made = sorted(document["number"] for document in service.database.made.find())
    outcome = end["outcome"]
    assert made == list(range(outcome["inserts"]))
    assert outcome["inserts"] >= CUTS // 2
    counter = service.database.counter.find_one()
    assert counter is not None
    assert outcome["steps"] <= counter["value"] <= outcome["steps"] + outcome["perhaps"]
    assert outcome["perhaps"] > 0
