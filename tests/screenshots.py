"""`make screenshots`: the dashboard as people see it, light and dark, wide and narrow, live, empty, away and in error.

Writes docs/img/<scheme>-<width>-<state>.png, for people to look at; nothing compares them.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import pymongo
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.e2e.browser import ARGUMENTS
from tests.serving import process

IMAGES = Path(__file__).parents[1] / "docs" / "img"
WIDTHS = {"wide": 1280, "phone": 390}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
STATUSES = ("open", "packed", "sent", "closed")
CITIES = ("Oslo", "Porto", "Riga", "Turin", "Lyon")
LIVE = "#/collections?collection=orders"
OTHERS = {
    "events": "#/events?collection=orders",
    "charts": "#/charts?collection=orders&value=total&group=status&measure=sum",
    "frames": "#/frames",
}
EVERYWHERE = {
    "bars": "#/charts?collection=orders&value=total&group=status&measure=sum&as=bars",
    "window": "#/collections?collection=orders&sort=%7B%22total%22%3A-1%7D&limit=20",
}
DEMO = {"shop": "#/shop", "page": "#/machine"}


async def trade(orders: Any) -> None:
    """Some orders, and something that happens to them three times a second."""
    dice = random.Random(4)
    number = 1000

    def order() -> dict[str, Any]:
        nonlocal number
        number += 1
        total = round(dice.uniform(5, 300), 2)
        return {
            "_id": number,
            "status": "open",
            "city": dice.choice(CITIES),
            "total": total,
            "lines": dice.randrange(1, 9),
        }

    await asyncio.to_thread(orders.insert_many, [{**order(), "status": dice.choice(STATUSES)} for _ in range(40)])
    while True:
        await asyncio.to_thread(orders.insert_one, order())
        key = dice.randrange(1001, number)
        status = dice.choice(STATUSES)
        await asyncio.to_thread(orders.update_one, {"_id": key}, {"$set": {"status": status}})
        await asyncio.to_thread(orders.delete_one, {"_id": dice.randrange(1001, number)})
        await asyncio.sleep(0.3)


async def page_at(browser: Browser, scheme: Literal["light", "dark"], width: int, url: str) -> Page:
    context = await browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 860})
    page = await context.new_page()
    await page.goto(url)
    await expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
    return page


async def take(page: Page, name: str, *, still: bool = False) -> None:
    """Write one picture; `still`: with what moves at its place."""
    path = IMAGES / f"{name}.png"
    await page.screenshot(path=path, animations="disabled" if still else "allow")
    print(f"{path.relative_to(IMAGES.parents[1])}  {path.stat().st_size // 1024} kB")  # noqa: T201 - a command's output


async def take_all(browser: Browser, url: str, stop: Any) -> None:
    """Every state in every scheme and width; the service is stopped once, at the end, for all."""
    refused = quote('{"$where": "this.total > 9"}')
    error = f"{LIVE}&filter={refused}"
    live: dict[str, Page] = {}
    for scheme in SCHEMES:
        for size, width in WIDTHS.items():
            name = f"{scheme}-{size}"
            page = live[name] = await page_at(browser, scheme, width, f"{url}{LIVE}")
            await expect(page.locator("[data-mark]").first).to_be_visible()
            await take(page, f"{name}-live")
            for state, address in (("empty", "#/collections?collection=nothing"), ("error", error)):
                other = await page_at(browser, scheme, width, f"{url}{address}")
                place = "no-documents" if state == "empty" else "query-problem"
                await expect(other.get_by_test_id(place)).to_be_visible()
                await take(other, f"{name}-{state}")
                await other.context.close()
            for state, address in EVERYWHERE.items():
                other = await page_at(browser, scheme, width, f"{url}{address}")
                await asyncio.sleep(2)
                await take(other, f"{name}-{state}")
                await other.context.close()
    for state, address in OTHERS.items():
        other = await page_at(browser, "light", WIDTHS["wide"], f"{url}{address}")
        await asyncio.sleep(12 if state == "charts" else 4)  # what there is to see takes time to happen
        await take(other, f"light-wide-{state}")
        await other.context.close()
    await stop()
    for name, page in live.items():
        await expect(page.get_by_test_id("server-away")).to_be_visible()
        await take(page, f"{name}-away")
        await page.context.close()


async def take_demo(browser: Browser, url: str) -> None:
    """The demo's own panels; "page" is the picture of the README."""
    await asyncio.sleep(60)  # for a minute of the machine
    for scheme in SCHEMES:
        for size, width in WIDTHS.items():
            for state, address in DEMO.items():
                if state == "page" and size != "wide":
                    continue
                page = await page_at(browser, scheme, width, f"{url}{address}")
                place = "board" if state == "shop" else "processes"
                await expect(page.get_by_test_id(place).locator("li").first).to_be_visible()
                await asyncio.sleep(3)
                name = f"page-{scheme}" if state == "page" else f"{scheme}-{size}-{state}"
                await take(page, name, still=True)
                await page.context.close()


async def main() -> None:
    """Start a service of its own, look at it, and end it."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or "chromium"
    home = Path(tempfile.mkdtemp(prefix="realtime-screenshots-"))
    try:
        async with process("serve", "--port", "0", "--data-dir", str(home / "data"), home=home) as service:
            uri = next(word.strip(",") for line in service.output for word in line.split() if "mongodb://" in word)
            orders: Any = pymongo.MongoClient(uri)["realtime"].orders
            trading = asyncio.create_task(trade(orders))
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)

                async def stop() -> None:
                    trading.cancel()
                    with suppress(asyncio.CancelledError):
                        await trading
                    service.process.kill()
                    await service.process.wait()

                await take_all(browser, service.url, stop)
                async with process("demo", "--port", "0", "--data-dir", str(home / "demo"), home=home) as demo:
                    await take_demo(browser, demo.url)
                await browser.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())
