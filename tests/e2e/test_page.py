"""The page in a real browser: what it shows is what MongoDB holds."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo
import pytest
from playwright.async_api import Browser, Page, expect

from tests.e2e.browser import browser, opened
from tests.exact.ledger import to_timestamp
from tests.replica_set import ReplicaSet
from tests.serving import Service, process, service
from tests.truth import time_of

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
__all__ = ["browser", "service"]

ROUNDS = 10
ROUND_SECONDS = 2.0
INSERT = """([collection, key]) => new Promise((done, failed) => {
    const socket = new WebSocket(new URL("v1/ws", document.baseURI));
    const frame = { type: "insert", id: "1", collection, document: { _id: key, total: 1 } };
    socket.onopen = () => socket.send(JSON.stringify(frame));
    socket.onerror = failed;
    socket.onmessage = ({ data }) => JSON.parse(data).type === "result" && done(JSON.parse(data).position);
})"""


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo: its page, its MongoDB by another program's hands, and the process that writes."""

    url: str
    database: Any
    writer: int


@asynccontextmanager
async def demonstration(directory: Path) -> AsyncIterator[Demo]:
    """`realtime demo` on a free port."""
    async with process("demo", "--port", "0", "--data-dir", str(directory / "data"), home=directory) as demo:
        output = "".join(demo.output)
        uri = re.search(r"mongodb://\S+?(?=,)", output)
        writer = re.search(r"demo writer: process (\d+)", output)
        assert uri is not None
        assert writer is not None
        client: Any
        with pymongo.MongoClient(uri[0]) as client:
            yield Demo(demo.url, client.realtime, int(writer[1]))


NEWEST = """() => {
    const shown = (name) => document.querySelector(`[data-testid=${name}]`).dataset;
    return [shown("newest-at").at, Number(shown("newest-cpu").value)];
}"""


async def shown_and_stored(page: Page, samples: Any) -> tuple[float, dict[str, Any]]:
    """The page's newest value beside MongoDB's newest document, once they speak of the same sample."""
    async with asyncio.timeout(ROUND_SECONDS):
        while True:
            stored = await asyncio.to_thread(samples.find_one, sort=[("at", -1)])
            written = stored["at"].strftime("%Y-%m-%dT%H:%M:%S.") + f"{stored['at'].microsecond // 1000:03d}Z"
            # Both in one look: between two another sample may come.
            at, value = await page.evaluate(NEWEST)
            if at == written:
                return float(value), stored
            await asyncio.sleep(0.02)


@pytest.mark.alone("a sample is to be there before the next")
@pytest.mark.long("ten samples, two seconds apart, in a real browser")
async def test_the_demo_shows_the_newest_sample_ten_times_over_and_says_when_the_writer_stops(
    browser: Browser, tmp_path: Path
) -> None:
    async with demonstration(tmp_path) as demo:
        samples = demo.database.machine
        page, complaints = await opened(browser, demo.url)
        await expect(page.get_by_test_id("newest-at")).to_be_visible(timeout=15_000)
        seen = set()
        began = time.monotonic()
        for number in range(ROUNDS):
            value, stored = await shown_and_stored(page, samples)
            assert value == pytest.approx(stored["cpu"]["percent"])
            seen.add(stored["_id"])
            await asyncio.sleep(max(0.0, began + (number + 1) * ROUND_SECONDS - time.monotonic()))
        assert len(seen) == ROUNDS
        await expect(page.get_by_test_id("writer-stopped")).to_be_hidden()
        os.kill(demo.writer, signal.SIGKILL)
        await expect(page.get_by_test_id("writer-stopped")).to_be_visible(timeout=10_000)
        await expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
    assert complaints == []


BARS = """id => {
    const list = document.getElementById(id);
    const rows = [...list.children].map((row) => [row.dataset.key, row.querySelector(".bar-value").textContent]);
    return [list.dataset.position ?? "", rows];
}"""
SAMPLES = 8


def money(value: Any) -> str:
    """An amount as the page writes it."""
    return f"{float(str(value)):,.2f}"


def board_at(database: Any, concern: dict[str, Any]) -> list[list[str]]:
    """The twenty largest orders at a time, as MongoDB has them."""
    sort = {"total": -1, "_id": 1}
    with database.client.start_session(causal_consistency=False) as session:
        command = {"find": "orders", "sort": sort, "limit": 20, "batchSize": 100, "readConcern": concern}
        found = database.command(command, session=session)["cursor"]["firstBatch"]
    return [[json.dumps(one["_id"]), money(one["total"])] for one in found]


def sales_at(database: Any, concern: dict[str, Any]) -> list[list[str]]:
    """The sales by status at a time, as MongoDB has them, greatest first."""
    stages = [{"$group": {"_id": "$status", "sum": {"$sum": "$total"}}}, {"$sort": {"sum": -1}}]
    with database.client.start_session(causal_consistency=False) as session:
        command = {"aggregate": "orders", "pipeline": stages, "cursor": {"batchSize": 100}, "readConcern": concern}
        found = database.command(command, session=session)["cursor"]["firstBatch"]
    return [[json.dumps({"status": one["_id"]}, separators=(",", ":")), money(one["sum"])] for one in found]


async def same_as_mongodb(page: Page, database: Any, name: str, seen: set[str]) -> list[list[str]]:
    """What a list of the shop shows, at a position not looked at before; MongoDB has the same there."""
    async with asyncio.timeout(20):
        while True:
            position, rows = await page.evaluate(BARS, name)
            if position and position not in seen:
                break
            await asyncio.sleep(0.05)
    seen.add(position)
    concern = {"level": "snapshot", "atClusterTime": to_timestamp(time_of(position))}
    expected = await asyncio.to_thread({"board": board_at, "sales": sales_at}[name], database, concern)
    assert rows == expected, f"{name} at {position}"
    return list(rows)


@pytest.mark.long("the whole demo")
async def test_the_shops_leaderboard_and_sales_are_what_mongodb_has_at_their_position(
    browser: Browser, tmp_path: Path
) -> None:
    async with demonstration(tmp_path) as demo:
        database = demo.database
        page, complaints = await opened(browser, f"{demo.url}#/shop")
        await expect(page.get_by_test_id("board").locator("li")).to_have_count(20, timeout=20_000)
        seen: dict[str, set[str]] = {"board": set(), "sales": set()}
        boards, sales = [], []
        for _ in range(SAMPLES):
            boards.append(await same_as_mongodb(page, database, "board", seen["board"]))
            sales.append(await same_as_mongodb(page, database, "sales", seen["sales"]))
            await asyncio.sleep(0.3)
        assert len({str(one) for one in sales}) > SAMPLES // 2
        assert all(len(one) == 20 for one in boards)
        await expect(page.get_by_test_id("writer-stopped")).to_be_hidden()
        os.kill(demo.writer, signal.SIGKILL)
        await expect(page.get_by_test_id("writer-stopped")).to_contain_text("No new order for", timeout=15_000)
        now: dict[str, Any] = {"level": "majority"}
        board, sold = await asyncio.to_thread(board_at, database, now), await asyncio.to_thread(sales_at, database, now)
        assert (await page.evaluate(BARS, "board"))[1] == board
        assert (await page.evaluate(BARS, "sales"))[1] == sold
        # Whoever writes: an order of somebody else's leads the board, and is gone with its status's bar.
        giant = {"_id": "giant", "customer": "you", "status": "dreamt", "total": 99_999}
        await asyncio.to_thread(database.orders.insert_one, giant)
        first = page.get_by_test_id("board").locator("li").first
        await expect(first).to_have_attribute("data-key", '"giant"')
        await expect(first).to_contain_text("99,999")
        await expect(page.get_by_test_id("sales").locator("li").first).to_contain_text("dreamt")
        await asyncio.to_thread(database.orders.delete_one, {"_id": "giant"})
        await expect(page.get_by_test_id("sales")).not_to_contain_text("dreamt")
        assert (await page.evaluate(BARS, "board"))[1] == board
    assert complaints == []


async def test_documents_enter_change_and_leave_whoever_writes(browser: Browser, service: Service) -> None:
    orders = service.database.orders
    orders.insert_many([{"_id": "a", "total": 1}, {"_id": "b", "total": 2}])
    address = f"{service.url}/#/collections?collection=orders&filter=%7B%22total%22%3A%7B%22%24gt%22%3A0%7D%7D"
    page, complaints = await opened(browser, address)
    other, _ = await opened(browser, f"{service.url}/")
    row = page.locator
    await expect(row("[data-key='\"a\"']")).to_be_visible()
    await asyncio.to_thread(orders.insert_one, {"_id": "c", "total": 3})
    await expect(row("[data-key='\"c\"'][data-mark=entered]")).to_be_visible()
    await asyncio.to_thread(orders.update_one, {"_id": "c"}, {"$set": {"total": 4711}})
    await expect(row("[data-key='\"c\"'] [data-mark=changed]")).to_have_text("4711")
    await asyncio.to_thread(orders.update_one, {"_id": "c"}, {"$set": {"total": -1}})
    await expect(row("[data-key='\"c\"']")).to_have_count(0)
    position = await other.evaluate(INSERT, ["orders", "from another page"])
    assert len(position) == 25
    await expect(row("[data-key='\"from another page\"']")).to_be_visible()
    made = await service.http.post(service.documents, json={"_id": "by http", "total": 9})
    assert made.status_code == 201
    await expect(row("[data-key='\"by http\"']")).to_be_visible()
    await expect(page.get_by_test_id("count")).to_have_attribute("data-value", "4")
    assert complaints == []


async def test_sorted_and_limited_documents_stand_in_the_order_of_the_window(
    browser: Browser, service: Service
) -> None:
    orders = service.database.orders
    orders.insert_many([{"_id": n, "total": n * 10} for n in range(10)])
    asked = "collection=orders&sort=%7B%22total%22%3A-1%7D&limit=3&projection=%7B%22note%22%3A1%7D"
    page, complaints = await opened(browser, f"{service.url}/#/collections?{asked}")
    keys = "() => [...document.querySelectorAll('#table tbody tr[data-key]')].map((row) => row.dataset.key)"

    async def shown(*expected: str) -> None:
        async with asyncio.timeout(10):
            while await page.evaluate(keys) != list(expected):
                await asyncio.sleep(0.02)

    await shown("9", "8", "7")
    await expect(page.locator("#order-field")).to_be_hidden()
    await asyncio.to_thread(orders.update_one, {"_id": 7}, {"$set": {"total": 85}})
    await shown("9", "7", "8")
    await asyncio.to_thread(orders.delete_one, {"_id": 9})
    await shown("7", "8", "6")
    await asyncio.to_thread(orders.insert_one, {"_id": "new", "total": 1000})
    await shown('"new"', "7", "8")
    await expect(page.get_by_test_id("count")).to_have_attribute("data-value", "3")
    assert complaints == []


async def test_what_documents_hold_is_text_and_nothing_else(browser: Browser, service: Service) -> None:
    service.database.orders.insert_one({"_id": 1, "text": "<img src=x onerror=alert(1)>", "large": 2**60})
    page, complaints = await opened(browser, f"{service.url}/#/collections?collection=orders")
    await expect(page.locator("[data-key='1']")).to_contain_text("<img src=x")
    await expect(page.locator("[data-key='1']")).to_contain_text(str(2**60))
    assert await page.locator("td img").count() == 0
    assert complaints == []


async def test_a_refused_filter_is_told_at_the_field_and_the_view_stays(browser: Browser, service: Service) -> None:
    service.database.orders.insert_one({"_id": 1, "total": 5})
    page, complaints = await opened(browser, f"{service.url}/#/collections?collection=orders")
    await expect(page.locator("[data-key='1']")).to_be_visible()
    for text, told in (('{"$where": "1"}', "$where"), ("{", ""), ('{"total": {"$in": 1}}', "$in")):
        await page.get_by_test_id("filter").fill(text)
        await page.get_by_test_id("watch").click()
        await expect(page.get_by_test_id("query-problem")).to_contain_text(told)
        await expect(page.get_by_test_id("query-problem")).to_be_visible()
        await expect(page.locator("[data-key='1']")).to_be_visible()
    assert complaints == []


@pytest.mark.long("a service is ended and started again")
async def test_the_page_says_that_the_server_is_away_and_heals(
    browser: Browser, tmp_path: Path, replica_set: ReplicaSet
) -> None:
    database = "t_page_away"
    orders: Any = pymongo.MongoClient(replica_set.uri)[database].orders
    orders.delete_many({})
    orders.insert_one({"_id": "before"})
    arguments = ("serve", "--mongodb-uri", replica_set.uri, "--database", database)
    async with process(*arguments, "--port", "0", home=tmp_path) as first:
        page, complaints = await opened(browser, f"{first.url}#/collections?collection=orders")
        await expect(page.locator("[data-key='\"before\"']")).to_be_visible()
        first.process.kill()
        await first.process.wait()
        await expect(page.get_by_test_id("server-away")).to_be_visible()
        port = first.url.rstrip("/").rsplit(":", 1)[1]
        orders.insert_one({"_id": "meanwhile"})
        async with process(*arguments, "--port", port, home=tmp_path):
            await expect(page.locator("[data-key='\"meanwhile\"']")).to_be_visible(timeout=20_000)
            await expect(page.get_by_test_id("server-away")).to_be_hidden()
            await expect(page.get_by_test_id("count")).to_have_attribute("data-value", "2")
            await page.close()
    orders.database.client.drop_database(database)
    orders.database.client.close()
    assert complaints == []
