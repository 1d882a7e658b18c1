"""Windows, throttled views and rows as both clients show them, over connections that are cut, beside MongoDB's answer.

The browser client runs in Node, as npm would install it. Every view that was shown live has its position, and is what
`find().sort().limit()` or `$group` gives at that cluster time; a stale one is the last that was live.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from realtime.client import Backoff, Client, View, connect
from realtime.core.bson import ejson
from tests.cutting_proxy import CuttingProxy, cutting_proxy
from tests.exact.conftest import Say
from tests.exact.test_windows import POOL, Query, Truth, Writer, alike, queries
from tests.js.conftest import workshop
from tests.replica_set import ReplicaSet
from tests.serving import serving
from tests.truth import time_of

__all__ = ["workshop"]

WRITES = 120
CUT_EVERY = 12
PAUSE = 0.01
COMPARED = 12
"""Of each query and client, so many views are compared, the last among them."""
NAMES = (
    "top 3",
    "top 20",
    "hidden 10",
    "names 10",
    "tags down 3",
    "by _id 10",
    "throttled 10",
    "team a hidden",
    "everything",
    "no order",
    "sales",
    "sales throttled",
    "two keys",
    "of all",
)
WHOLE = (1 << 40, 1 << 41)
"""No connection is cut by what it carried: the test does it, at some writes."""
Shown = dict[str, list[tuple[str, list[Any]]]]

pytestmark = pytest.mark.timeout(120)


def chosen() -> dict[str, Query]:
    every = queries()
    return {name: every[name] for name in NAMES}


class Node:
    """`windows.mjs`, and what it said."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.shown: Shown = {}
        self.complaints: list[str] = []
        self.stale: dict[str, int] = {}
        self.ready = asyncio.Event()
        self.listening = asyncio.create_task(self.listen())

    async def listen(self) -> None:
        assert self.child.stdout is not None
        async for text in self.child.stdout:
            line = json.loads(text)
            if line["kind"] == "view":
                self.shown.setdefault(line["name"], []).append((line["position"], line["documents"]))
            elif line["kind"] == "complaint":
                self.complaints.append(line["text"])
            elif line["kind"] == "end":
                self.stale = line["stale"]
            self.ready.set()

    async def stop(self, position: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(f"{position}\n".encode())
        await self.child.stdin.drain()
        async with asyncio.timeout(40):
            await self.listening


@asynccontextmanager
async def node(workshop: Path, url: str) -> AsyncIterator[Node]:
    child = await asyncio.create_subprocess_exec(
        "node",
        "windows.mjs",
        url,
        json.dumps(chosen()),
        cwd=workshop,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    one = Node(child)
    try:
        yield one
    finally:
        if child.returncode is None and not one.listening.done():
            child.kill()
        await asyncio.gather(child.wait(), one.listening, return_exceptions=True)


async def follow(name: str, view: View, shown: Shown) -> None:
    """Write down the view at every moment, and prove its moments: folded by hand they give the same order."""
    keys = [encoded(document["_id"]) for document in view.documents]
    shown[name] = [(str(view.position), plain(view.documents))]
    async for moment in view:
        named = {encoded(change.key) for change in moment.changes}
        keys = [key for key in keys if key not in named]
        for change in moment.changes:
            if change.op != "leave":
                keys.insert(len(keys) if change.index is None else change.index, encoded(change.key))
        if view.position == moment.position:
            held = [encoded(document["_id"]) for document in view.documents]
            ordered = "sort" in chosen()[name] or "limit" in chosen()[name]
            assert held == keys if ordered else sorted(held) == sorted(keys), name
            shown[name].append((moment.position, plain(view.documents)))


def encoded(key: Any) -> str:
    return ejson.encode(key).decode()


def plain(value: Any) -> Any:
    return json.loads(ejson.encode(value))


async def opened(stack: AsyncExitStack, rt: Client) -> dict[str, View]:
    return {name: await stack.enter_async_context(rt.query("items", **query)) for name, query in chosen().items()}


async def write(writer: Writer, proxy: CuttingProxy) -> None:
    for number in range(1, WRITES + 1):
        await asyncio.to_thread(writer.step, number)
        await asyncio.sleep(PAUSE)
        if number % CUT_EVERY == 0:
            proxy.cut()


def judged(shown: Shown, truth: Truth, chance: random.Random) -> tuple[Counter[str], list[str]]:
    """How many views were compared, by what they are, and those that differ."""
    compared: Counter[str] = Counter()
    different: list[str] = []
    for name, query in chosen().items():
        views = shown[name]
        for position, seen in [*chance.sample(views[:-1], min(COMPARED, len(views) - 1)), views[-1]]:
            expected = truth(query, time_of(position))
            ordered = "sort" in query or "limit" in query
            here = seen if ordered else sorted(seen, key=lambda one: json.dumps(one["_id"], sort_keys=True))
            compared["rows" if "group" in query else "windows" if ordered else "views"] += 1
            if not alike(query, here, expected):
                different.append(f"{name} at {position}:\n  here  {here}\n  there {expected}")
    return compared, different


@pytest.mark.long("two clients over lines that are cut, for a long time")
async def test_both_clients_show_the_true_window_and_the_true_rows_over_cut_connections(
    replica_set: ReplicaSet, workshop: Path, say: Say
) -> None:
    chance = random.Random(5)
    python: Shown = {}
    async with serving(replica_set, feed_await_ms=100, heartbeat_seconds=0.3) as service, AsyncExitStack() as stack:
        writer = Writer(service, random.Random(6))
        writer.items.insert_many([writer.document() for _ in range(POOL)])
        target = int(urlsplit(service.url).port or 0)
        proxy = await stack.enter_async_context(cutting_proxy(target, seed=7, bytes=WHOLE))
        url = f"http://127.0.0.1:{proxy.port}"
        browser = await stack.enter_async_context(node(workshop, url))
        rt = await stack.enter_async_context(connect(url, backoff=Backoff(first=0.002, limit=0.02)))
        views = await opened(stack, rt)
        await browser.ready.wait()
        tasks = [asyncio.create_task(follow(name, view, python)) for name, view in views.items()]
        await write(writer, proxy)
        end = f"{service.realtime.live().epoch}-{writer.last:016X}"
        await browser.stop(end)
        await rt.settled(end)
        last = {name: (str(view.position), plain(view.documents)) for name, view in views.items()}
        for view in views.values():
            view.close()
        await asyncio.gather(*tasks)
        for name, seen in last.items():
            python[name].append(seen)
        truth = Truth(service.database)
        figures: dict[str, Counter[str]] = {}
        for client, shown in (("python", python), ("browser", browser.shown)):
            figures[client], different = await asyncio.to_thread(judged, shown, truth, chance)
            assert different == [], f"{client}: {len(different)} differ\n" + "\n".join(different[:3])
    say(f"{proxy.cuts} cuts, {dict(writer.kinds)}, {figures}, stale {browser.stale}")
    assert browser.complaints == []
    assert proxy.cuts >= 10
    assert sum(browser.stale.values()) > 10
    for counted in figures.values():
        assert counted["windows"] >= 80
        assert counted["rows"] >= 30
        assert counted["views"] >= 8
