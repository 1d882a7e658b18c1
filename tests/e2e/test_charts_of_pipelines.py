"""Charts of pipelines in a real browser: rows that follow what is written, refused ones, none; light and dark."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, Literal
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, Page, expect

from tests.e2e.browser import browser, opened
from tests.js.conftest import installed
from tests.serving import Service, service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
__all__ = ["browser", "service"]

PIPELINE: list[dict[str, Any]] = [
    {"$match": {"total": {"$gte": 0}}},
    {"$group": {"_id": "$city", "sold": {"$sum": {"$multiply": ["$price", "$count"]}}}},
    {"$match": {"sold": {"$gt": 10}}},
    {"$sort": {"sold": -1}},
    {"$limit": 3},
]
AXE = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, impact, nodes }) => [id, impact, nodes.map((node) => node.html.slice(0, 200))]);
}"""


def address(service: Service, pipeline: Any, collection: str = "orders") -> str:
    return f"{service.url}/#/charts?collection={collection}&as=rows&pipeline={quote(json.dumps(pipeline))}"


def sale(key: int, city: str, price: float, count: int = 1) -> dict[str, Any]:
    return {"_id": key, "city": city, "price": price, "count": count, "total": price * count}


async def rows_of(page: Page, *wanted: str) -> None:
    """The rows are these, in this order: texts with anything between."""
    await expect(page.locator("#rows-board li")).to_have_text([re.compile(one, re.DOTALL) for one in wanted])


async def test_rows_follow_what_is_written_in_the_order_of_the_pipeline(browser: Browser, service: Service) -> None:
    orders = service.database.orders
    orders.insert_many([sale(1, "Oslo", 10, 2), sale(2, "Riga", 15), sale(3, "Turin", 5), sale(4, "Lyon", 11)])
    page, complaints = await opened(browser, address(service, PIPELINE))
    await rows_of(page, "Oslo.*20", "Riga.*15", "Lyon.*11")
    await asyncio.to_thread(orders.update_one, {"_id": 3}, {"$set": {"count": 9}})
    await rows_of(page, "Turin.*45", "Oslo.*20", "Riga.*15")
    await asyncio.to_thread(orders.delete_many, {"city": {"$in": ["Turin", "Oslo"]}})
    await rows_of(page, "Riga.*15", "Lyon.*11")
    await asyncio.to_thread(orders.update_many, {}, {"$set": {"total": -1}})
    await rows_of(page)
    assert complaints == []


async def test_a_pipeline_is_typed_and_what_is_wrong_with_it_is_said_and_mended(
    browser: Browser, service: Service
) -> None:
    service.database.orders.insert_many([sale(1, "Oslo", 10, 2), sale(2, "Riga", 15)])
    page, complaints = await opened(browser, f"{service.url}/#/charts")
    await page.locator("#plot-collection").fill("orders")
    await page.locator("#plot-as").select_option("rows")
    await expect(page.locator("#plot-filter")).to_be_hidden()
    problem, typed = page.locator("#plot-problem"), page.locator("#plot-pipeline")
    for text, told in [
        ("[{", "Not valid JSON"),
        ('{"$group": {}}', "A pipeline is a list of stages."),
        ('[{"$lookup": {}}]', "$lookup"),
        ('[{"$set": {"a": 5}}, {"$project": {"p": 1, "a.b": 1}}]', "pipeline.1.$project.a"),
    ]:
        await typed.fill(text)
        await page.locator("#plot-form button").click()
        await expect(problem).to_contain_text(told)
        await expect(typed).to_have_attribute("aria-invalid", "true")
    await typed.fill(json.dumps(PIPELINE))
    await page.locator("#plot-form button").click()
    await expect(problem).to_be_hidden()
    await rows_of(page, "Oslo.*20", "Riga.*15")
    assert "as=rows" in page.url
    await page.reload()
    await rows_of(page, "Oslo.*20", "Riga.*15")
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_without_rows_it_says_so_and_every_eye_can_read_it(
    browser: Browser, service: Service, scheme: Literal["light", "dark"]
) -> None:
    axe = (installed() / "axe-core" / "axe.min.js").read_text()
    context = await browser.new_context(color_scheme=scheme, viewport={"width": 390, "height": 900})
    page = await context.new_page()
    await page.goto(f"{service.url}/#/charts")
    await expect(page.locator("#plot-empty")).to_be_visible()
    await _readable(page, axe)
    await page.goto(address(service, PIPELINE))
    card = page.locator("#rows-board .card")
    await expect(card.locator(".empty")).to_have_text("No rows.")
    await expect(card.locator(".empty")).to_be_visible()
    await expect(card.locator(".aside")).to_have_text("0 rows")
    await expect(page.locator("#plot-empty")).to_be_hidden()
    await _readable(page, axe)
    await asyncio.to_thread(service.database.orders.insert_one, sale(1, "Oslo", 10, 2))
    await rows_of(page, "Oslo.*20")
    await expect(card.locator(".empty")).to_be_hidden()
    await expect(card.locator(".aside")).to_have_text("1 row, sold")
    await _readable(page, axe)
    await asyncio.to_thread(service.database.orders.delete_many, {})
    await expect(card.locator(".empty")).to_have_text("No rows.")
    await rows_of(page)
    await context.close()


async def _readable(page: Page, axe: str) -> None:
    await page.evaluate(axe)
    # Colours of what fades are those that it has in the end.
    await page.evaluate("() => Promise.allSettled(document.getAnimations().map((one) => one.finished))")
    assert [one for one in await page.evaluate(AXE) if one[1] in {"serious", "critical"}] == []
