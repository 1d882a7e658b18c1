"""Event streams over `kill -9`, resumed by `Last-Event-ID` as a browser does: nothing missing, nothing twice."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pymongo
import pytest
from playwright.async_api import Browser, Page

from tests.checker import Asked, judge
from tests.e2e.browser import browser, opened
from tests.exact.conftest import Say
from tests.exact.ledger import Ledger, Op, delete, insert, update
from tests.replica_set import ReplicaSet
from tests.serving import Process, process
from tests.streams import Stream, streaming
from tests.truth import time_of

__all__ = ["browser"]

MODES = {"query": "/v1/collections/docs/documents", "events": "/v1/collections/docs/events"}

pytestmark = pytest.mark.timeout(180)


class Writing:
    """Single writes and transactions of four, one after another until told to stop."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.stop = False

    def run(self) -> None:
        dice = random.Random(11)
        keys = [f"a{n}" for n in range(40)]
        for key in keys:
            self.ledger.one(insert("docs", key, n=0))
        number = 0
        while not self.stop:
            number += 1
            part = dice.sample(keys, 4)
            self.ledger.one(update("docs", part[0], n=number))
            moved: list[Op] = [update("docs", key, n=-number) for key in part[1:3]]
            if number % 3 == 0:
                moved += [insert("docs", f"b{number}", n=0), delete("docs", part[3])]
                keys.remove(part[3])
                keys.append(f"b{number}")
            self.ledger.together(moved)


class Follower:
    """One stream after another, each begun at the last id of the one before; the frames up to there of each."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.last_id = ""
        self.parts: list[tuple[str, list[dict[str, Any]]]] = []

    async def follow(self, service: Process, rounds: asyncio.Event) -> None:
        """Listen until the service is killed."""
        async with streaming(service.url, MODES[self.mode], last_id=self.last_id) as stream:
            await stream.when(lambda: stream.of("live") and len(stream.of("changes") + stream.of("events")) > 20)
            rounds.set()
            await self._until_ended(stream)

    async def finish(self, service: Process, time: int) -> None:
        """Listen until everything that was written has come."""
        async with streaming(service.url, MODES[self.mode], last_id=self.last_id) as stream:
            await stream.when(lambda: stream.of("live") and time_of(stream.last_id) >= time)
            self._take(stream)

    async def _until_ended(self, stream: Stream) -> None:
        async with stream.news:
            await stream.news.wait_for(lambda: stream.ended)
        self._take(stream)

    def _take(self, stream: Stream) -> None:
        self.parts.append((self.last_id, stream.complete()))
        self.last_id = stream.last_id

    def judged(self, ledger: Ledger) -> Counter[str]:
        """What the checker looked at, of all parts together."""
        truth, every = ledger.truth(), Counter[str]()
        for after, frames in self.parts:
            held = truth.at("docs", time_of(after)) if after else None
            asked = Asked("s", ("docs",), self.mode, after=after or None, held=held)
            every += judge(frames, [asked], truth).accept()
        return every


@pytest.mark.long("a service is killed and started again")
@pytest.mark.parametrize("kills", [1, 3])
async def test_after_kill_9_last_event_id_brings_exactly_the_rest(
    replica_set: ReplicaSet, tmp_path: Path, kills: int, say: Say
) -> None:
    name = f"t_sse_{random.randrange(1 << 40):x}"
    options = ("--port", "0", "--mongodb-uri", replica_set.uri, "--database", name)
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(replica_set.uri)
    writing = Writing(Ledger(client[name]))
    followers = [Follower(mode) for mode in MODES]
    task = asyncio.create_task(asyncio.to_thread(writing.run))
    try:
        for _ in range(kills):
            async with process("serve", *options, home=tmp_path, REALTIME_HEARTBEAT_SECONDS="0.2") as service:
                ready = [asyncio.Event() for _ in followers]
                following = [
                    asyncio.create_task(one.follow(service, mark)) for one, mark in zip(followers, ready, strict=True)
                ]
                await asyncio.gather(*(mark.wait() for mark in ready))
                service.process.kill()
                await asyncio.gather(*following)
        writing.stop = True
        await task
        async with process("serve", *options, home=tmp_path, REALTIME_HEARTBEAT_SECONDS="0.2") as service:
            await asyncio.gather(*(one.finish(service, writing.ledger.last) for one in followers))
    finally:
        writing.stop = True
        await task
        client.drop_database(name)
        client.close()
    figures = {one.mode: one.judged(writing.ledger) for one in followers}
    say(f"{len(writing.ledger.writes)} writes, {figures}")
    assert len(writing.ledger.writes) > 60
    assert figures["query"]["recovered"] == figures["events"]["recovered"] == kills
    first = followers[1].parts[0][1]
    start = next(frame["position"] for frame in first if frame["type"] == "live")
    wanted = [write for write in writing.ledger.writes if write.time > time_of(start)]
    assert figures["events"]["told"] == len(wanted) > 20 * kills  # as many frames were waited for each time
    assert figures["query"]["views"] >= kills + 1


async def shown(page: Page, expression: str) -> None:
    """Until the page says so; its policy forbids what Playwright's own waiting needs."""
    async with asyncio.timeout(30):
        while not await page.evaluate(expression):
            await asyncio.sleep(0.02)


@pytest.mark.long("a service is killed and started again")
async def test_a_browsers_own_reconnect_resumes_after_kill_9(
    browser: Browser, replica_set: ReplicaSet, tmp_path: Path
) -> None:
    """Chromium's EventSource, left alone: every insert once, in order, those while nothing listened too."""
    name = f"t_sse_{random.randrange(1 << 40):x}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = ("--port", port, "--mongodb-uri", replica_set.uri, "--database", name)
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(replica_set.uri)
    orders = client[name].orders
    script = """() => {
        window.told = []; window.kinds = [];
        window.source = new EventSource("v1/collections/orders/events?operations=insert");
        source.onmessage = ({ data, lastEventId }) => {
            const frame = JSON.parse(data);
            window.kinds.push([frame.type, frame.recovered, lastEventId]);
            for (const event of frame.events ?? []) window.told.push(event.key);
        };
    }"""
    try:
        async with process("serve", *options, home=tmp_path) as service:
            page, _ = await opened(browser, service.url)
            await page.evaluate(script)
            await shown(page, "kinds.some(([kind]) => kind === 'live')")
            await asyncio.to_thread(orders.insert_many, [{"_id": n} for n in range(20)])
            await shown(page, "told.length === 20")
            service.process.kill()
            await service.process.wait()
        await asyncio.to_thread(orders.insert_many, [{"_id": n} for n in range(20, 30)])
        async with process("serve", *options, home=tmp_path):
            await shown(page, "kinds.filter(([kind]) => kind === 'live').length === 2")
            await asyncio.to_thread(orders.insert_one, {"_id": 30})
            await shown(page, "told.includes(30)")
            told = await page.evaluate("told")
            accepted = await page.evaluate("kinds.filter(([kind]) => kind === 'subscribed')")
            await page.evaluate("source.close()")
    finally:
        client.drop_database(name)
        client.close()
    assert told == list(range(31))
    assert [recovered for _, recovered, _ in accepted] == [False, True]
