"""The dashboard in a real browser: changing documents, events, charts, frames; by keyboard, and for every eye."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pymongo
import pytest
from playwright.async_api import Browser, Page, expect

from tests.e2e.browser import browser, opened
from tests.js.conftest import installed
from tests.replica_set import ReplicaSet
from tests.serving import Service, process, service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
PART = pytest.mark.long("one more part of the page, in a real browser")
__all__ = ["browser", "service"]

MOST_TABS = 80
SELECTED = """() => {
    const { value, selectionStart, selectionEnd } = document.activeElement;
    return value.slice(selectionStart, selectionEnd);
}"""


async def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the focus is on an element."""
    for _ in range(MOST_TABS):
        if await page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{MOST_TABS} tabs do not lead to {selector}")


async def rewrite(page: Page, text: str) -> None:
    """Replace what the focused field holds."""
    await page.keyboard.press("Control+A")
    await page.keyboard.insert_text(text)


async def test_a_document_is_inserted_edited_and_deleted_by_keyboard_alone(browser: Browser, service: Service) -> None:
    orders = service.database.orders
    orders.insert_one({"_id": "first", "total": 1})
    page, complaints = await opened(browser, f"{service.url}/#/collections?collection=orders")
    await expect(page.locator("[data-key='\"first\"']")).to_be_visible()
    await tab_to(page, "#insert")
    await page.keyboard.press("Enter")
    await rewrite(page, '{"_id": "mine", "total": 5, "large": 9007199254740993}')
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("[data-key='\"mine\"']")).to_contain_text("9007199254740993")
    await expect(page.get_by_test_id("editor")).to_be_hidden()
    assert await asyncio.to_thread(orders.find_one, {"_id": "mine"}) == {"_id": "mine", "total": 5, "large": 2**53 + 1}
    await tab_to(page, "[data-key='\"mine\"'] button")
    await page.keyboard.press("Enter")
    await rewrite(page, '{"_id": "mine", "total": 6}')
    await tab_to(page, "#editor-save")
    await page.keyboard.press("Enter")
    await expect(page.locator("[data-key='\"mine\"']")).not_to_contain_text("9007199254740993")
    assert await asyncio.to_thread(orders.find_one, {"_id": "mine"}) == {"_id": "mine", "total": 6}
    await tab_to(page, "[data-key='\"mine\"'] button")
    await page.keyboard.press("Enter")
    await tab_to(page, "#editor-delete")
    await page.keyboard.press("Enter")
    await expect(page.locator("#editor-delete")).to_have_text("Really delete?")
    await page.keyboard.press("Enter")
    await expect(page.locator("[data-key='\"mine\"']")).to_have_count(0)
    assert await asyncio.to_thread(orders.count_documents, {}) == 1
    assert complaints == []


@PART
async def test_what_the_server_refuses_is_told_at_the_field_and_nothing_is_lost(
    browser: Browser, service: Service
) -> None:
    service.database.orders.insert_one({"_id": "first", "total": 1})
    page, complaints = await opened(browser, f"{service.url}/#/collections?collection=orders")
    await page.locator("#insert").click()
    problem, text = page.get_by_test_id("editor-problem"), page.locator("#editor-text")
    for typed, told in (
        ('{"_id": "first"}', "duplicate_key"),
        ('{"a": 1, "when": {"$date": "never"}}', "invalid_request"),
        ('{"a": 1,}', "Not valid JSON"),
        ("[1]", "A document is a JSON object"),
    ):
        await text.fill(typed)
        await page.keyboard.press("Control+Enter")
        await expect(problem).to_contain_text(told)
        assert await text.input_value() == typed
        assert await text.get_attribute("aria-invalid") == "true"
    await page.keyboard.press("Escape")
    await page.locator("[data-key='\"first\"'] button").click()
    await text.fill('{"_id": "other", "total": 1}')
    await page.keyboard.press("Control+Enter")
    await expect(problem).to_contain_text("_id of a document cannot change")
    assert await page.evaluate(SELECTED) == '"_id"'
    assert complaints == []


@PART
async def test_an_edit_touches_only_what_was_edited_and_tells_of_others_meanwhile(
    browser: Browser, service: Service
) -> None:
    orders = service.database.orders
    orders.insert_one({"_id": 1, "mine": 1, "theirs": 1})
    page, complaints = await opened(browser, f"{service.url}/#/collections?collection=orders")
    await page.locator("[data-key='1'] button").click()
    await asyncio.to_thread(orders.update_one, {"_id": 1}, {"$set": {"theirs": 2}})
    await expect(page.locator("#editor-changed")).to_contain_text("changed meanwhile")
    await page.locator("#editor-text").fill('{"_id": 1, "mine": 2, "theirs": 1}')
    await page.locator("#editor-save").click()
    await expect(page.get_by_test_id("editor")).to_be_hidden()
    assert await asyncio.to_thread(orders.find_one) == {"_id": 1, "mine": 2, "theirs": 2}
    await page.locator("[data-key='1'] button").click()
    await asyncio.to_thread(orders.delete_one, {"_id": 1})
    await expect(page.locator("#editor-changed")).to_contain_text("has left the result")
    await page.locator("#editor-text").fill('{"_id": 1, "mine": 3, "theirs": 2}')
    await page.locator("#editor-save").click()
    await expect(page.get_by_test_id("editor-problem")).to_contain_text("not_found")
    assert complaints == []


@PART
async def test_documents_that_differ_in_the_order_of_names_like_numbers_are_edited_and_deleted_apart(
    browser: Browser, service: Service
) -> None:
    orders = service.database.orders
    counts = {"2": 2, "x": {"7": 7, "3": 3}, "1": 1, "__proto__": 1}
    orders.insert_many([{"_id": {"1": 1, "2": 2}, "counts": counts}, {"_id": {"2": 2, "1": 1}, "counts": counts}])
    page, complaints = await opened(browser, f"{service.url}/#/collections?collection=orders")
    await expect(page.locator("[data-key]")).to_have_count(2)
    await page.locator('[data-key=\'{"2":2,"1":1}\'] button').click()
    text = page.locator("#editor-text")
    typed = await text.input_value()
    assert json.dumps(json.loads(typed)) == json.dumps({"_id": {"2": 2, "1": 1}, "counts": counts})
    await text.fill(typed.replace('"7": 7', '"7": 8').replace('"__proto__": 1', '"__proto__": {"1": 1, "0": 0}'))
    await page.locator("#editor-save").click()
    await expect(page.get_by_test_id("editor")).to_be_hidden()
    edited = await asyncio.to_thread(orders.find_one, {"_id": {"2": 2, "1": 1}})
    wanted = {"2": 2, "x": {"7": 8, "3": 3}, "1": 1, "__proto__": {"1": 1, "0": 0}}
    assert json.dumps(edited) == json.dumps({"_id": {"2": 2, "1": 1}, "counts": wanted})
    await page.locator('[data-key=\'{"2":2,"1":1}\'] button').click()
    await page.locator("#editor-delete").click()
    await page.locator("#editor-delete").click()
    await expect(page.locator("[data-key]")).to_have_count(1)
    (left,) = await asyncio.to_thread(lambda: list(orders.find()))
    assert json.dumps(left) == json.dumps({"_id": {"1": 1, "2": 2}, "counts": counts})
    assert complaints == []


async def test_collections_count_along(browser: Browser, service: Service) -> None:
    database = service.database
    database.orders.insert_many({"_id": n} for n in range(3))
    page, complaints = await opened(browser, f"{service.url}/#/collections")
    count = page.locator("[data-name=orders] small")
    await expect(count).to_have_text("3")
    await asyncio.to_thread(database.orders.insert_many, [{"_id": n} for n in range(3, 10)])
    await expect(count).to_have_text("10", timeout=2_000)
    await asyncio.to_thread(database.orders.delete_many, {"_id": {"$lt": 4}})
    await expect(count).to_have_text("6", timeout=2_000)
    await asyncio.to_thread(database.fresh.insert_one, {})
    await expect(page.locator("[data-name=fresh] small")).to_have_text("1", timeout=5_000)
    assert complaints == []


@PART
async def test_a_new_collection_is_found_however_fast_it_is_written(browser: Browser, service: Service) -> None:
    service.database.orders.insert_one({})
    page, complaints = await opened(browser, f"{service.url}/#/collections")
    await expect(page.locator("[data-name=orders] small")).to_have_text("1")
    written = 0
    async with asyncio.timeout(10):
        while not await page.locator("[data-name=busy]").count():
            await asyncio.to_thread(service.database.busy.insert_one, {})
            written += 1
            await asyncio.sleep(0.02)  # faster than the page asks again
    assert written > 3
    assert complaints == []


async def test_events_are_shown_paused_found_and_copied(browser: Browser, service: Service) -> None:
    orders = service.database.orders
    orders.insert_one({"_id": "before", "total": 1})
    page, complaints = await opened(browser, f"{service.url}/#/events?collection=orders")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await expect(page.locator("#events-empty")).to_contain_text("Nothing has happened")
    lines = page.get_by_test_id("events-list").locator("li")
    await asyncio.to_thread(orders.insert_one, {"_id": "a", "total": 1})
    await asyncio.to_thread(orders.update_one, {"_id": "a"}, {"$set": {"total": 2}})
    await expect(lines).to_have_count(2)
    await expect(lines.first).to_contain_text("update")
    await page.locator("#events-pause").click()
    await asyncio.to_thread(orders.delete_one, {"_id": "a"})
    await expect(page.get_by_test_id("events-paused")).to_have_text("paused, 1 event since")
    await expect(lines).to_have_count(2)
    await page.locator("#events-pause").click()
    await expect(lines).to_have_count(3)
    await lines.nth(1).locator("summary").click()
    await expect(lines.nth(1).locator("pre")).to_contain_text('"updated": [')
    await page.locator("#events-search").fill("delete")
    await expect(lines).to_have_count(1)
    await page.locator("#events-search").fill("")
    await expect(lines).to_have_count(3)
    await page.locator("#events-copy").click()
    await expect(page.locator("#events-told")).to_contain_text("3 events copied")
    copied = [json.loads(line) for line in (await page.evaluate("navigator.clipboard.readText()")).split("\n")]
    assert [event["op"] for event in copied] == ["insert", "update", "delete"]
    await page.locator("#events-insert").uncheck()
    await expect(page.locator("#events-problem")).to_be_hidden()
    await asyncio.to_thread(orders.insert_one, {"_id": "b"})
    await asyncio.to_thread(orders.delete_one, {"_id": "b"})
    await expect(lines).to_have_count(4)
    await expect(lines.first).to_contain_text("delete")
    await page.locator("#events-filter").fill('{"$where": "1"}')
    await page.keyboard.press("Enter")
    await expect(page.locator("#events-problem")).to_contain_text("unsupported_operator")
    assert complaints == []


@PART
async def test_events_heal_without_gap_or_repeat(browser: Browser, tmp_path: Path, replica_set: ReplicaSet) -> None:
    database = "t_page_events"
    orders: Any = pymongo.MongoClient(replica_set.uri)[database].orders
    arguments = ("serve", "--mongodb-uri", replica_set.uri, "--database", database)
    async with process(*arguments, "--port", "0", home=tmp_path) as first:
        page, complaints = await opened(browser, f"{first.url}#/events?collection=orders")
        lines = page.get_by_test_id("events-list").locator("li")
        # The connection may be live before the events are, and they begin where they are.
        await expect(page.locator("#events-empty")).to_contain_text("Nothing has happened")
        await asyncio.to_thread(orders.insert_many, [{"_id": n} for n in range(5)])
        await expect(lines).to_have_count(5)
        first.process.kill()
        await first.process.wait()
        await expect(page.get_by_test_id("server-away")).to_be_visible()
        await asyncio.to_thread(orders.insert_many, [{"_id": n} for n in range(5, 10)])
        port = first.url.rstrip("/").rsplit(":", 1)[1]
        async with process(*arguments, "--port", port, home=tmp_path):
            await expect(lines).to_have_count(10, timeout=20_000)
            await asyncio.to_thread(orders.insert_one, {"_id": 10})
            await expect(lines).to_have_count(11)
            keys = [await line.get_attribute("data-key") for line in await lines.all()]
            await page.close()
    orders.database.client.drop_database(database)
    orders.database.client.close()
    assert keys == [str(n) for n in range(10, -1, -1)]
    assert complaints == []


@PART
async def test_charts_follow_a_number_by_group(browser: Browser, service: Service) -> None:
    orders = service.database.orders
    orders.insert_many({"_id": n, "status": ["open", "closed"][n % 2], "total": n} for n in range(10))
    page, complaints = await opened(browser, f"{service.url}/#/charts")
    for name, value in (("collection", "orders"), ("value", "total"), ("group", "status")):
        await page.locator(f"#plot-{name}").fill(value)
    await page.locator("#plot-measure").select_option("sum")
    await page.keyboard.press("Enter")
    await page.locator("#plot-form button").click()
    values = {name: page.locator(f"[data-group={name}] strong") for name in ("open", "closed")}
    await expect(values["open"]).to_have_text("20")
    await expect(values["closed"]).to_have_text("25")
    await asyncio.to_thread(orders.update_one, {"_id": 0}, {"$set": {"total": 100}})
    await expect(values["open"]).to_have_text("120")
    await page.locator("#plot-measure").select_option("count")
    await expect(values["closed"]).to_have_text("5")
    await page.locator("#plot-measure").select_option("latest")
    await asyncio.to_thread(orders.update_one, {"_id": 1}, {"$set": {"total": -7}})
    await expect(values["closed"]).to_have_text("-7")
    lines = page.locator("#plot-chart path.line")
    assert await lines.evaluate_all("all => all.filter((one) => one.getAttribute('d').includes('L')).length") == 2
    await page.locator("#plot-value").fill("nothing")
    await page.locator("#plot-form button").click()
    await expect(page.locator("#plot-note")).to_contain_text("No document has a number")
    assert complaints == []


@PART
async def test_bars_follow_a_live_aggregate_and_keep_themselves_sorted(browser: Browser, service: Service) -> None:
    orders = service.database.orders
    orders.insert_many({"_id": n, "status": ["open", "paid"][n % 2], "total": n, "lines": 2} for n in range(10))
    page, complaints = await opened(browser, f"{service.url}/#/charts")
    for name, value in (("collection", "orders"), ("group", "status"), ("value", "total, lines")):
        await page.locator(f"#plot-{name}").fill(value)
    await tab_to(page, "#plot-as")
    await page.keyboard.press("b")
    await page.locator("#plot-measure").select_option("sum")
    await page.locator("#plot-form button").click()
    bars = page.locator("[data-field=total] .bars li")
    tile = page.get_by_test_id("tiles").locator
    assert await page.locator("#plot-measure [value=latest]").is_disabled()
    await expect(bars).to_have_text([re.compile("paid.*5 documents.*25"), re.compile("open.*5 documents.*20")])
    await expect(page.locator("[data-field=lines] .bars li")).to_have_count(2)
    await expect(tile("[data-tile=groups] strong")).to_have_text("2")
    await expect(tile("[data-tile=documents] strong")).to_have_text("10")
    await expect(tile("[data-tile='sum of total'] strong")).to_have_text("45")
    await asyncio.to_thread(orders.update_one, {"_id": 0}, {"$set": {"total": 12_345.5}})
    await expect(bars.first).to_have_text(re.compile("open.*12,365.50"))
    await asyncio.to_thread(orders.insert_one, {"_id": 10, "status": "lost", "total": 21})
    await expect(bars.nth(2)).to_have_text(re.compile("lost.*1 document.*21"))
    await asyncio.to_thread(orders.delete_many, {"status": "paid"})
    await expect(bars).to_have_count(2)
    await expect(tile("[data-tile=documents] strong")).to_have_text("6")
    await page.locator("#plot-measure").select_option("average")
    await expect(bars.nth(1)).to_have_text(re.compile("lost.*21"))
    await expect(tile("[data-tile='average of total'] strong")).to_have_text("2,064.42")
    await page.locator("#plot-group").fill("")
    await page.locator("#plot-measure").select_option("count")
    await expect(page.locator(".bars-cards .bars li")).to_have_text([re.compile("all documents.*6")])
    await page.locator("#plot-group").fill("a, a")
    await page.locator("#plot-form button").click()
    await expect(page.locator("#plot-problem")).to_contain_text("stands twice")
    await page.locator("#plot-group").fill("status")
    await page.locator("#plot-as").select_option("lines")
    await expect(page.get_by_test_id("plot")).to_be_visible()
    await expect(page.get_by_test_id("bars")).to_be_hidden()
    assert complaints == []


@PART
async def test_the_inspector_shows_frames_both_ways(browser: Browser, service: Service) -> None:
    service.database.orders.insert_one({"_id": 1})
    page, complaints = await opened(browser, f"{service.url}/#/collections?collection=orders")
    await expect(page.locator("[data-key='1']")).to_be_visible()
    await page.locator("#tab-frames").click()
    frames = page.get_by_test_id("frames-list")
    await expect(frames.locator("[data-direction=out][data-type=subscribe]").first).to_be_visible()
    snapshot = frames.locator("[data-direction=in][data-type=snapshot]").first
    await snapshot.locator("summary").click()
    await expect(snapshot.locator("pre")).to_contain_text('"first": true')
    await page.locator("#frames-pause").click()
    before = await frames.locator("li").count()
    await asyncio.to_thread(service.database.orders.insert_one, {"_id": 2})
    await expect(page.get_by_test_id("frames-count")).not_to_have_text("0")
    await page.locator("#tab-explorer").click()
    await expect(page.locator("[data-key='2']")).to_be_visible()
    await page.locator("#tab-frames").click()
    assert await frames.locator("li").count() == before
    assert complaints == []


AXE = """async () => {
    const { violations, passes } = await axe.run(document, { resultTypes: ["violations", "passes"] });
    const told = ({ id, impact, nodes }) => [id, impact, nodes.map((node) => node.html.slice(0, 200))];
    return [violations.map(told), passes.length];
}"""
PLACES = [
    "#/collections?collection=orders",
    "#/collections?collection=nothing",
    "#/events?collection=orders",
    "#/charts?collection=orders&value=total&group=status",
    "#/charts?collection=orders&value=total&group=status&measure=sum&as=bars",
    "#/shop",
    "#/frames",
]


@PART
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long("the same, dark"))])
@pytest.mark.parametrize("width", [1280, pytest.param(390, marks=pytest.mark.long("the same, narrow"))])
async def test_axe_finds_nothing_serious(browser: Browser, service: Service, scheme: Any, width: int) -> None:
    service.database.orders.insert_many({"_id": n, "status": f"s{n % 3}", "total": n} for n in range(20))
    axe = (installed() / "axe-core" / "axe.min.js").read_text()
    context = await browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = await context.new_page()
    looked = 0
    for place in PLACES:
        await page.goto(f"{service.url}/{place}")
        await page.reload()
        await expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
        await page.evaluate(axe)
        if "charts" in place:
            await expect(page.get_by_test_id("bars" if "bars" in place else "plot")).to_be_visible()
        if "shop" in place:
            await expect(page.get_by_test_id("board")).to_be_visible()
        if "orders" in place and "collections" in place:
            await expect(page.locator("[data-key='1']")).to_be_visible()
            for mark in ("entered", "changed"):
                await expect(page.locator(f"[data-mark={mark}]")).to_have_count(0)
        # `wait_for_function` evaluates text again and again, which the page's own policy forbids from the second on.
        await page.evaluate(
            """async () => {
                for (let all = document.getAnimations(); all.length > 0; all = document.getAnimations()) {
                    await Promise.allSettled(all.map((one) => one.finished));
                }
            }"""
        )
        violations, passes = await page.evaluate(AXE)
        assert [one for one in violations if one[1] in {"serious", "critical"}] == [], place
        looked += passes
        if place == PLACES[0]:
            await page.locator("#insert").click()
            violations, passes = await page.evaluate(AXE)
            assert [one for one in violations if one[1] in {"serious", "critical"}] == [], "editor"
    assert looked > 100
    await context.close()
