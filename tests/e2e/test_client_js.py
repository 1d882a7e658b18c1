"""The browser client in Chromium: two pages and a program that writes, through kills, offline minutes and sleep."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pymongo
import pytest
from fastapi import FastAPI
from playwright.async_api import Browser, CDPSession, Page

from realtime.web.server import bind, make_server
from tests.e2e.browser import browser, opened
from tests.replica_set import ReplicaSet
from tests.serving import Service, process, service, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
__all__ = ["browser", "service"]

LONG = pytest.mark.long("the same for half a minute")
AWAY = pytest.mark.parametrize("seconds", [pytest.param(3, id="3 s"), pytest.param(30, id="half a minute", marks=LONG)])
"""How long a page hears of nothing: in the first case no longer than it takes to notice."""
MANY = pytest.mark.long("five times as many")
GROWTH_BYTES = 500_000
WATCH = """async (options) => {
    const { connect } = await import(new URL("realtime.js", document.baseURI));
    const client = window.client = connect(undefined, options);
    const query = window.query = client.query("orders");
    const events = client.events("orders");
    const seen = window.seen = { states: [], twice: [], events: [], wrong: [] };
    const held = new Set();
    query.subscribe((changes) => {
        if (seen.states.at(-1) !== query.state) seen.states.push(query.state);
        for (const { op, id } of changes) {
            if (op === "enter" && held.has(id)) seen.twice.push(id);
            if (op === "enter") held.add(id);
            if (op === "leave") held.delete(id);
        }
        const shown = query.documents.filter(({ id, pending }) => !pending || held.has(id)).length;
        if (held.size !== shown) seen.wrong.push([held.size, shown]);
    });
    events.subscribe(({ op, key }) => seen.events.push(`${op} ${key}`));
    await Promise.all([query.ready, events.ready]);
}"""
HELD = "(key) => query.state === 'live' && query.documents.some((row) => row.key === key)"


async def watching(browser: Browser, url: str, **options: Any) -> Page:
    """A page of the service with a live query and events."""
    page, _ = await opened(browser, url)
    await page.evaluate(WATCH, options)
    return page


async def shows(page: Page, key: str, *, seconds: float = 30) -> None:
    """Until the page's query is live and holds a key."""
    await page.wait_for_function(HELD, arg=key, timeout=seconds * 1000, polling=20)


async def keys(page: Page) -> list[str]:
    found: list[str] = await page.evaluate("() => query.documents.map((row) => row.key)")
    return sorted(found)


async def told_once(page: Page, expected: list[str]) -> None:
    """Every event came once and in order, and the view never held anything twice or forgot it."""
    seen = await page.evaluate("() => seen")
    assert seen["events"] == expected
    assert seen["twice"] == []
    assert seen["wrong"] == []


@asynccontextmanager
async def orders(replica_set: ReplicaSet, name: str) -> AsyncIterator[Any]:
    """A collection of a database of its own, by another program's hands."""
    client: Any = pymongo.MongoClient(replica_set.uri)
    client.drop_database(name)
    try:
        yield client[name].orders
    finally:
        client.drop_database(name)
        client.close()


def write(collection: Any, *documents: str) -> None:
    for key in documents:
        collection.insert_one({"_id": key})


@pytest.mark.long("two pages in a real browser")
@pytest.mark.alone("measures time")
async def test_two_pages_are_live_within_a_second_of_a_write(browser: Browser, service: Service) -> None:
    pages = [await watching(browser, f"{service.url}/") for _ in range(2)]
    slowest = 0.0
    for number in range(5):
        began = time.monotonic()
        await asyncio.to_thread(write, service.database.orders, f"o{number}")
        await asyncio.gather(*(shows(page, f"o{number}") for page in pages))
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1.0
    written = await pages[0].evaluate("() => client.insert('orders', { _id: 'mine' }, { optimistic: true })")
    assert len(written["position"]) == 25
    await shows(pages[1], "mine", seconds=1)
    for page in pages:
        await page.evaluate("(position) => client.settled(position)", written["position"])
        await told_once(page, [*(f"insert o{number}" for number in range(5)), "insert mine"])


@asynccontextmanager
async def elsewhere() -> AsyncIterator[str]:
    """A page of another origin, which has nothing to do with the service."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        page = b"<!doctype html><title>elsewhere</title>"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + page)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def mounted(service: Service, prefix: str) -> AsyncIterator[str]:
    """The running service in another application too, under a prefix."""
    app = FastAPI()
    app.include_router(service.realtime.router, prefix=prefix)
    settings = service.realtime.settings
    listening = bind(settings)
    started = asyncio.Event()

    async def on_started() -> None:
        started.set()

    server = make_server(app, settings, on_started)
    serve = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await started.wait()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}{prefix}"
    finally:
        server.should_exit = True
        await serve
        listening.close()


FOREIGN = """async (root) => {
    const { connect } = await import(`${root}/realtime.js`);
    const client = connect();
    window.query = client.query("orders");
    const frames = [];
    client.onframe(({ frame }) => frames.push(frame.type));
    const refused = await window.query.ready.then(() => null, ({ code, message }) => [code, message]);
    return [client.state, query.documents.length, frames[0] ?? null, refused];
}"""


async def test_a_page_of_another_origin_loads_it_under_a_prefix_and_connects_where_that_is_allowed(
    browser: Browser, replica_set: ReplicaSet
) -> None:
    async with (
        elsewhere() as origin,
        elsewhere() as stranger,
        serving(replica_set, feed_await_ms=100, allowed_origins=(origin,)) as service,
        mounted(service, "/some/where") as root,
    ):
        service.database.orders.insert_one({"_id": 1})
        page, _ = await opened(browser, origin)
        assert await page.evaluate(FOREIGN, root) == ["live", 1, "welcome", None]
        other, _ = await opened(browser, stranger)
        *told, (code, why) = await other.evaluate(FOREIGN, root)
        assert [*told, code] == ["closed", 0, None, "forbidden"]
        assert f"origin '{stranger}' is not allowed: add it to REALTIME_ALLOWED_ORIGINS" in why
        await page.close()
        await other.close()


LOST = """async ([module, root]) => {
    const { connect } = await import(`${module}/realtime.js`);
    const client = connect(root);
    const told = [];
    for (const wait of [client.query("orders").ready, client.insert("orders", { a: 1 }), client.find("orders")]) {
        told.push(await wait.then(() => "came", ({ code }) => code));
    }
    return [client.state, ...told, client.getSnapshot().reason];
}"""


async def test_a_page_that_asks_at_a_wrong_path_is_told_so_and_asks_no_more(browser: Browser, service: Service) -> None:
    async with elsewhere() as stranger:
        for origin in (service.url, stranger):
            page, _ = await opened(browser, origin)
            *told, reason = await page.evaluate(LOST, [service.url, f"{service.url}/wrong"])
            assert told == ["closed", "not_found", "not_found", "not_found"]
            assert reason.startswith(f"{service.url}/wrong/v1/ws answered 404")
            assert "check its path prefix" in reason
            await page.close()


@pytest.mark.long("a service is killed and started again")
async def test_a_killed_and_restarted_service_is_healed_from(
    browser: Browser, tmp_path: Path, replica_set: ReplicaSet
) -> None:
    async with orders(replica_set, "t_client_killed") as collection:
        arguments = ("serve", "--mongodb-uri", replica_set.uri, "--database", "t_client_killed")
        write(collection, "before")
        async with process(*arguments, "--port", "0", home=tmp_path) as first:
            pages = [await watching(browser, first.url) for _ in range(2)]
            await asyncio.to_thread(write, collection, "seen")
            await asyncio.gather(*(shows(page, "seen") for page in pages))
            first.process.kill()
            await first.process.wait()
        for page in pages:
            await page.wait_for_function("() => query.state === 'stale'")
            assert await keys(page) == ["before", "seen"]
        await asyncio.to_thread(write, collection, "meanwhile 1", "meanwhile 2")
        await asyncio.to_thread(collection.delete_one, {"_id": "before"})
        port = first.url.rstrip("/").rsplit(":", 1)[1]
        async with process(*arguments, "--port", port, home=tmp_path):
            await asyncio.gather(*(shows(page, "meanwhile 2") for page in pages))
            await asyncio.to_thread(write, collection, "after")
            await asyncio.gather(*(shows(page, "after") for page in pages))
            happened = ["insert seen", "insert meanwhile 1", "insert meanwhile 2", "delete before", "insert after"]
            for page in pages:
                assert await keys(page) == ["after", "meanwhile 1", "meanwhile 2", "seen"]
                await page.wait_for_function("(count) => seen.events.length === count", arg=len(happened))
                await told_once(page, happened)
                await page.close()


async def offline(devtools: CDPSession, *, on: bool) -> None:
    """The switch of the browser's own developer tools."""
    conditions = {"offline": on, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    await devtools.send("Network.emulateNetworkConditions", conditions)


@pytest.mark.long("what it waits for takes its time; a page that slept is in make test")
@AWAY
async def test_a_page_that_was_offline_is_healed(browser: Browser, service: Service, seconds: float) -> None:
    orders = service.database.orders
    page, other = [await watching(browser, f"{service.url}/") for _ in range(2)]
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Network.enable")
    await asyncio.to_thread(write, orders, "before")
    await shows(page, "before")
    await offline(devtools, on=True)
    assert await page.evaluate("() => navigator.onLine") is False
    # Within the time that a ping may take the page knows, and says, that nothing comes any more.
    await page.wait_for_function("() => query.state === 'stale'", timeout=10_000)
    went = time.monotonic()
    await asyncio.to_thread(write, orders, "meanwhile 1", "meanwhile 2")
    await shows(other, "meanwhile 2", seconds=5)
    await asyncio.sleep(seconds - (time.monotonic() - went))
    assert await page.evaluate("() => query.state") == "stale"
    assert await keys(page) == ["before"]
    await offline(devtools, on=False)
    await shows(page, "meanwhile 2", seconds=5)
    # The events are a subscription of their own, which is taken up again after the query.
    await page.wait_for_function("() => seen.events.length === 3", timeout=5000)
    await told_once(page, ["insert before", "insert meanwhile 1", "insert meanwhile 2"])
    assert await page.evaluate("() => seen.states") == ["syncing", "live", "stale", "live"]


class Tab:
    """A page by the browser's own protocol alone: one that Playwright holds counts as visible, and cannot be frozen."""

    def __init__(self, devtools: CDPSession, session: str) -> None:
        self._devtools, self._session, self._asked = devtools, session, 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        devtools.on("Target.receivedMessageFromTarget", self._hear)

    def _hear(self, event: dict[str, Any]) -> None:
        message = json.loads(event["message"])
        if message.get("id") in self._answers:
            self._answers.pop(message["id"]).set_result(message)

    async def send(self, method: str, **parameters: Any) -> Any:
        self._asked += 1
        number = self._asked
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        text = json.dumps({"id": number, "method": method, "params": parameters})
        await self._devtools.send("Target.sendMessageToTarget", {"sessionId": self._session, "message": text})
        async with asyncio.timeout(30):
            return (await answer)["result"]

    async def run(self, expression: str) -> Any:
        found = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")


async def raw_tab(browser: Browser, url: str) -> Tab:
    """A page at `url`, loaded."""
    devtools = await browser.new_browser_cdp_session()
    target = await devtools.send("Target.createTarget", {"url": url})
    attached = await devtools.send("Target.attachToTarget", {"targetId": target["targetId"], "flatten": False})
    tab = Tab(devtools, attached["sessionId"])
    async with asyncio.timeout(10):
        while await tab.run("location.href + document.readyState") != f"{url}complete":
            await asyncio.sleep(0.05)
    return tab


@AWAY
async def test_a_page_that_slept_is_healed_from(browser: Browser, service: Service, seconds: float) -> None:
    orders = service.database.orders
    url = f"{service.url}/"
    other = await watching(browser, url)
    tab = await raw_tab(browser, url)
    await tab.run(f"({WATCH})()")
    held = "new Promise((done) => {{ const look = () => {} && done(true); query.subscribe(look); look(); }})"
    await asyncio.to_thread(write, orders, "before")
    await tab.run(held.format("query.documents.length === 1"))
    await tab.run("window.ticks = 0; setInterval(() => { ticks += 1; }, 100); 0")
    await tab.send("Page.setWebLifecycleState", state="frozen")
    slept = time.monotonic()
    await asyncio.to_thread(write, orders, "meanwhile 1", "meanwhile 2")
    await shows(other, "meanwhile 2", seconds=5)
    await asyncio.sleep(seconds - (time.monotonic() - slept))
    ticks, documents = await tab.run("[ticks, query.documents.length]")
    assert ticks <= 5  # it really slept
    assert documents == 1
    await tab.send("Page.setWebLifecycleState", state="active")
    async with asyncio.timeout(5):
        await tab.run(held.format("query.state === 'live' && query.documents.length === 3"))
        await tab.run("new Promise((done) => { setInterval(() => seen.events.length >= 3 && done(), 20); })")
    seen = await tab.run("seen")
    assert seen["events"] == ["insert before", "insert meanwhile 1", "insert meanwhile 2"]
    assert (seen["twice"], seen["wrong"]) == ([], [])


async def heap(devtools: CDPSession) -> int:
    """Bytes in use after a collection."""
    for _ in range(2):
        await devtools.send("HeapProfiler.collectGarbage")
    used = await devtools.send("Runtime.getHeapUsage")
    return int(used["usedSize"])


@pytest.mark.long("thousands of changes, one by one")
@pytest.mark.parametrize("count", [10_000, pytest.param(50_000, marks=MANY)])
async def test_thousands_of_changes_leave_the_heap_flat(browser: Browser, service: Service, count: int) -> None:
    orders = service.database.orders
    orders.insert_many([{"_id": f"k{number}", "n": 0} for number in range(100)])
    page = await watching(browser, f"{service.url}/")
    await page.evaluate("""() => {
        window.changes = 0;
        query.subscribe((changed) => { changes += changed.length; query.getSnapshot(); });
        window.told = 0;
        client.events("orders").subscribe(() => { told += 1; });
        client.onframe(() => {});
        seen.events = { push() {} };
    }""")
    devtools = await page.context.new_cdp_session(page)

    async def change(rounds: range) -> None:
        def run() -> None:
            for number in rounds:
                orders.update_many({}, {"$set": {"n": number, "text": f"{number} " * 20}})

        await asyncio.to_thread(run)
        key = f"mark {rounds.stop}"
        await asyncio.to_thread(write, orders, key)
        await shows(page, key)
        await asyncio.to_thread(orders.delete_one, {"_id": key})

    await change(range(1, 51))
    first = await heap(devtools)
    await change(range(51, 51 + count // 100))
    last = await heap(devtools)
    told = await page.evaluate("() => told")
    assert told >= count
    assert await page.evaluate("() => changes") > count / 100
    assert await page.evaluate("() => query.documents.length") in {100, 101}
    assert last - first < GROWTH_BYTES, f"{first} bytes before, {last} after"
