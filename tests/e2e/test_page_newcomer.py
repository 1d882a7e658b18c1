"""What a newcomer met on the page: errors that vanished, collections too large to open, rows under another's name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Browser, FloatRect, Page, expect

from tests.e2e.browser import browser, opened
from tests.replica_set import ReplicaSet
from tests.serving import Service, service, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
CORNER = pytest.mark.long("a corner of the page, in a real browser")
__all__ = ["browser", "service"]

PATIENCE = 30_000
ROWS = "#table tbody tr[data-key]"
LARGE = 10_050
"""More than a live query may hold, 10,000."""


async def until(look: Callable[[], Awaitable[Any]], expected: Any) -> None:
    """Until a look at the page shows what is expected."""
    async with asyncio.timeout(PATIENCE / 1000):
        while await look() != expected:
            await asyncio.sleep(0.02)


# -------------------------------------------------------------------------------------------------------------- errors


async def still_there(page: Page, problem: str, field: str, told: str) -> None:
    """The error is told as it was; it goes when the text of a field changes."""
    await expect(page.locator(problem)).to_be_visible()
    await expect(page.locator(problem)).to_contain_text(told)
    await expect(page.locator(field)).to_have_attribute("aria-invalid", "true")
    await page.locator(field).press_sequentially(" ")
    await expect(page.locator(problem)).to_be_hidden()
    await expect(page.locator(field)).to_have_attribute("aria-invalid", "false")


@CORNER
@pytest.mark.parametrize(("typed", "told"), [('{"total": ', "not valid JSON"), ('{"$where": "1"}', "$where")])
async def test_an_error_about_documents_stays_until_the_text_changes(
    browser: Browser, service: Service, typed: str, told: str
) -> None:
    """The next update of the view that was still shown erased it, 50 ms later."""
    orders = service.database.orders
    orders.insert_one({"_id": 1, "total": 0})
    page, complaints = await opened(browser, f"{service.url}/#/collections?collection=orders")
    await expect(page.locator("[data-key='1']")).to_be_visible()
    await page.locator("#filter").fill(typed)
    await page.locator("#watch").click()
    await expect(page.locator("#query-problem")).to_contain_text(told)
    for total in range(1, 6):
        await asyncio.to_thread(orders.update_one, {"_id": 1}, {"$set": {"total": total * 111}})
        await expect(page.locator("[data-key='1']")).to_contain_text(str(total * 111))
    await still_there(page, "#query-problem", "#filter", told)
    assert complaints == []


@CORNER
@pytest.mark.parametrize(("typed", "told"), [('{"total": ', "Not valid JSON"), ('{"$where": "1"}', "$where")])
async def test_an_error_about_events_stays_until_the_text_changes(
    browser: Browser, service: Service, typed: str, told: str
) -> None:
    page, complaints = await opened(browser, f"{service.url}/#/events?collection=orders")
    await expect(page.locator("#events-empty")).to_contain_text("Nothing has happened")
    await page.locator("#events-filter").fill(typed)
    await page.keyboard.press("Enter")
    await expect(page.locator("#events-problem")).to_contain_text(told)
    await asyncio.to_thread(service.database.orders.insert_one, {"_id": 1})
    await still_there(page, "#events-problem", "#events-filter", told)
    assert complaints == []


@CORNER
@pytest.mark.parametrize("drawn", ["lines", "bars"])
async def test_an_error_about_a_chart_stays_until_the_text_changes(
    browser: Browser, service: Service, drawn: str
) -> None:
    orders = service.database.orders
    orders.insert_one({"_id": 1, "total": 0, "status": "open"})
    address = f"{service.url}/#/charts?collection=orders&value=total&group=status&measure=sum&as={drawn}"
    page, complaints = await opened(browser, address)
    shown = page.locator("#plot-legend strong" if drawn == "lines" else "#bars-cards .bar-value")
    await expect(shown).to_have_text("0", timeout=PATIENCE)
    await page.locator("#plot-filter").fill('{"total": ')
    await page.keyboard.press("Enter")
    await expect(page.locator("#plot-problem")).to_contain_text("Not valid JSON")
    for total in range(1, 4):
        await asyncio.to_thread(orders.update_one, {"_id": 1}, {"$set": {"total": total * 111}})
        await expect(shown).to_have_text(str(total * 111), timeout=PATIENCE)
    await still_there(page, "#plot-problem", "#plot-filter", "Not valid JSON")
    assert complaints == []


# ------------------------------------------------------------------------------------------------------------- windows


def many(service: Service, name: str, count: int) -> None:
    """Documents 0 to `count`."""
    service.database[name].insert_many([{"_id": n, "status": ["open", "paid"][n % 2]} for n in range(count)])


async def keys(page: Page) -> list[str]:
    """Of the rows that are drawn."""
    shown: list[str] = await page.evaluate(
        "selector => [...document.querySelectorAll(selector)].map((row) => row.dataset.key)", ROWS
    )
    return shown


@CORNER
async def test_a_collection_over_10_000_documents_opens_as_a_window_of_the_newest(
    browser: Browser, service: Service
) -> None:
    """It opened as `too_large`, and nothing to see."""
    many(service, "large", LARGE)
    page, complaints = await opened(browser, f"{service.url}/#/collections?collection=large")
    await expect(page.locator(ROWS)).to_have_count(100, timeout=PATIENCE)
    assert await keys(page) == [str(n) for n in range(LARGE - 1, LARGE - 101, -1)]
    listed = (await service.http.get("/v1/collections")).json()["collections"]
    assert {one["name"]: one["count"] for one in listed} == {"large": LARGE}
    await expect(page.locator("[data-name=large] small")).to_have_text(f"{LARGE:,}")
    await expect(page.get_by_test_id("window")).to_contain_text(f"The newest 100 by _id of about {LARGE:,}")
    await asyncio.to_thread(service.database.large.insert_one, {"_id": LARGE})
    await expect(page.locator(ROWS).first).to_have_attribute("data-key", str(LARGE))
    await until(lambda: page.locator(ROWS).count(), 100)
    for more in (300, 1_000):
        await expect(page.get_by_test_id("window-more")).to_have_text(f"Show {more:,}")
        await page.get_by_test_id("window-more").click()
        await expect(page.locator(ROWS)).to_have_count(more, timeout=PATIENCE)
    await expect(page.get_by_test_id("window-more")).to_be_hidden()
    assert await keys(page) == [str(n) for n in range(LARGE, LARGE - 1_000, -1)]
    await page.locator("#filter").fill('{"status": "open"}')
    await page.locator("#watch").click()
    await expect(page.get_by_test_id("window")).to_contain_text("The newest 100 by _id that match", timeout=PATIENCE)
    await page.locator("#filter").fill('{"_id": {"$lt": 3}}')
    await page.locator("#watch").click()
    await until(lambda: keys(page), ["2", "1", "0"])
    await expect(page.get_by_test_id("window")).to_be_hidden()
    assert complaints == []


@CORNER
async def test_a_limit_that_is_typed_is_the_limit_and_an_order_stays_the_order(
    browser: Browser, service: Service
) -> None:
    many(service, "large", LARGE)
    address = f"{service.url}/#/collections?collection=large&sort=%7B%22_id%22%3A1%7D"
    page, complaints = await opened(browser, address)
    await expect(page.locator(ROWS)).to_have_count(100, timeout=PATIENCE)
    assert await keys(page) == [str(n) for n in range(100)]
    await expect(page.get_by_test_id("window")).to_contain_text("The first 100 of this order of about")
    await page.locator("#limit").fill("5")
    await page.locator("#watch").click()
    await until(lambda: keys(page), [str(n) for n in range(5)])
    await expect(page.get_by_test_id("window")).to_be_hidden()
    assert complaints == []


@CORNER
async def test_a_collection_that_grows_too_large_while_it_is_open_becomes_a_window(
    browser: Browser, replica_set: ReplicaSet
) -> None:
    async with serving(replica_set, feed_await_ms=100, documents=120) as service:
        many(service, "orders", 110)
        page, complaints = await opened(browser, f"{service.url}/#/collections?collection=orders")
        await expect(page.locator(ROWS)).to_have_count(110, timeout=PATIENCE)
        await expect(page.get_by_test_id("window")).to_be_hidden()
        await asyncio.to_thread(service.database.orders.insert_many, [{"_id": n} for n in range(110, 130)])
        await expect(page.get_by_test_id("window")).to_contain_text(
            "The newest 100 by _id of about 130", timeout=PATIENCE
        )
        assert await keys(page) == [str(n) for n in range(129, 29, -1)]
        await expect(page.locator("#query-problem")).to_be_hidden()
        assert complaints == []


# ------------------------------------------------------------------------------------------------ nobody else's rows

SAMPLER = """() => {
    window.seen = [];
    const look = () => {
        const shown = document.getElementById("result").offsetParent !== null;
        const rows = shown ? [...document.querySelectorAll("#table tbody tr[data-key]")] : [];
        const owners = new Set(rows.map((row) => JSON.parse(row.dataset.key).split(" ")[0]));
        window.seen.push([document.getElementById("collection").value, [...owners].join()]);
        window.sampling = requestAnimationFrame(look);
    };
    look();
}"""


async def test_no_row_is_ever_seen_under_the_name_of_another_collection(browser: Browser, service: Service) -> None:
    """The rows of the one before stood under the new name until the new one was read."""
    for name in ("one", "two"):
        service.database[name].insert_many([{"_id": f"{name} {n}"} for n in range(50)])
    page, complaints = await opened(browser, f"{service.url}/#/collections?collection=one")
    await expect(page.locator(ROWS)).to_have_count(50)
    await page.evaluate(SAMPLER)
    for name in ("two", "one", "two"):
        await page.locator(f"[data-name={name}]").click()
        await expect(page.locator(f"[data-key='\"{name} 7\"']")).to_be_visible()
        await expect(page.locator("#count-unit")).to_have_text(f"documents of {name}")
    seen = {tuple(sample) for sample in await page.evaluate("window.seen")}
    assert {("one", "one"), ("two", "two")} <= seen
    assert seen <= {("one", "one"), ("two", "two"), ("one", ""), ("two", "")}
    # What is refused shows nothing either.
    await page.locator("#collection").fill("one")
    await page.locator("#filter").fill('{"$where": "1"}')
    await page.locator("#watch").click()
    await expect(page.locator("#query-problem")).to_contain_text("$where")
    await expect(page.get_by_test_id("result")).to_be_hidden()
    await expect(page.get_by_test_id("no-query")).to_have_text("Nothing is watched now.")
    assert complaints == []


SUBMITTED = """([form, name, filter, shown]) => {
    document.getElementById(`${form}-collection`).value = name;
    document.getElementById(`${form}-filter`).value = filter;
    document.getElementById(`${form}-form`).requestSubmit();
    return [...document.querySelectorAll(shown)].filter((node) => node.offsetParent !== null).length;
}"""
"""How many of `shown` are to be seen at the moment in which another collection was asked for."""


@CORNER
@pytest.mark.parametrize("typed", ["", "{"], ids=["well", "refused"])
@pytest.mark.parametrize(
    ("address", "form", "shown"),
    [
        ("charts?collection=orders&value=total&measure=sum", "plot", "#plot-card"),
        ("charts?collection=orders&value=total&measure=sum&as=bars", "plot", "#bars-board"),
        ("events?collection=orders", "events", "#events-list li"),
    ],
    ids=["lines", "bars", "events"],
)
async def test_what_was_drawn_of_another_collection_is_gone_at_once(
    browser: Browser, service: Service, address: str, form: str, shown: str, typed: str
) -> None:
    service.database.orders.insert_one({"_id": 1, "total": 5})
    page, complaints = await opened(browser, f"{service.url}/#/{address}")
    if form == "events":
        await expect(page.locator("#events-empty")).to_contain_text("Nothing has happened")
        await asyncio.to_thread(service.database.orders.insert_one, {"_id": 2})
    await expect(page.locator(shown)).to_have_count(1)
    await expect(page.locator(shown)).to_be_visible(timeout=PATIENCE)
    assert await page.evaluate(SUBMITTED, [form, "another", typed, shown]) == 0
    await expect(page.locator(f"#{form}-problem")).to_be_visible(visible=typed != "")
    assert complaints == []


# ---------------------------------------------------------------------------------------------------------------- bars

OVERLAPS = """() => {
    window.overlaps = [];
    window.moving = 0;
    const look = () => {
        const rows = [...document.querySelectorAll("#bars-cards li")];
        if (rows.some((row) => row.getAnimations().length > 0)) window.moving += 1;
        const boxes = rows.map((row) => row.getBoundingClientRect()).sort((one, other) => one.top - other.top);
        boxes.slice(1).forEach((box, index) => {
            if (box.top < boxes[index].bottom - 0.5) window.overlaps.push([boxes[index].bottom, box.top]);
        });
        requestAnimationFrame(look);
    };
    look();
}"""


@CORNER
async def test_bars_do_not_overlap_while_they_change_places(browser: Browser, service: Service) -> None:
    orders = service.database.orders
    orders.insert_many([{"_id": n, "status": f"s{n}", "total": n * 10} for n in range(8)])
    address = f"{service.url}/#/charts?collection=orders&value=total&group=status&measure=sum&as=bars"
    page, complaints = await opened(browser, address)
    bars = page.locator("#bars-cards li")
    await expect(bars).to_have_count(8, timeout=PATIENCE)
    await page.evaluate(OVERLAPS)
    for first in range(40):
        await asyncio.to_thread(orders.update_one, {"_id": first % 7}, {"$set": {"total": (first + 1) * 1_000}})
        await expect(bars.first).to_contain_text(f"s{first % 7}")
        await page.wait_for_function(
            "() => [...document.querySelectorAll('#bars-cards li')].every((row) => row.getAnimations().length === 0)"
        )
        if await page.evaluate("window.moving") > 3:
            break
    assert await page.evaluate("window.moving") > 3  # looks at rows that were on their way
    assert await page.evaluate("window.overlaps") == []
    assert complaints == []


@CORNER
@pytest.mark.parametrize(
    ("measure", "field", "told"),
    [
        ("sum", "nothing", "No document has a number at nothing."),
        ("average", "nothing", "No document has a number at nothing."),
        ("sum", "status", "No document has a number at status."),
        ("greatest", "nothing", "No document has a value at nothing."),
        ("sum", "zero", ""),
        ("count", "", ""),
    ],
)
async def test_bars_say_that_no_document_has_the_field(
    browser: Browser, service: Service, measure: str, field: str, told: str
) -> None:
    """A row of zeros looked like an answer."""
    service.database.orders.insert_many([{"_id": n, "status": "open", "zero": 0} for n in range(3)])
    address = f"{service.url}/#/charts?collection=orders&value={field}&group=status&measure={measure}&as=bars"
    page, complaints = await opened(browser, address)
    await expect(page.locator("[data-tile=documents] strong")).to_have_text("3", timeout=PATIENCE)
    await expect(page.locator("#bars-cards .aside")).to_have_text(told)
    await expect(page.locator("#bars-cards li")).to_have_count(0 if told else 1)
    if told:
        await expect(page.locator(f"[data-tile='{measure} of {field}'] strong")).to_have_text("–")
    assert complaints == []


# ------------------------------------------------------------------------------------------------------ tabs and title

IN_SIGHT = """() => {
    const bar = document.getElementById("tabs").getBoundingClientRect();
    const tab = document.querySelector("#tabs [aria-current]").getBoundingClientRect();
    const page = document.documentElement;
    return tab.left >= bar.left - 1 && tab.right <= bar.right + 1 && page.scrollWidth <= page.clientWidth;
}"""


@CORNER
@pytest.mark.parametrize("width", [320, 390])
async def test_the_active_tab_is_in_sight_on_a_phone(browser: Browser, service: Service, width: int) -> None:
    service.database.machine.insert_one({})  # with it the demo's two tabs are there as well
    service.database.orders.insert_one({})
    page, complaints = await opened(browser, f"{service.url}/#/frames")
    await page.set_viewport_size({"width": width, "height": 800})
    await expect(page.locator("#tab-shop")).to_be_visible()
    assert await page.evaluate(
        "() => document.getElementById('tabs').scrollWidth > document.getElementById('tabs').clientWidth"
    )
    await until(lambda: page.evaluate(IN_SIGHT), expected=True)
    for panel in ("machine", "events", "collections", "charts", "shop", "frames"):
        await page.evaluate("panel => { location.hash = `#/${panel}`; }", panel)
        await expect(page.locator(f"#tabs [aria-current][href^='#/{panel}']")).to_be_attached()
        await until(lambda: page.evaluate(IN_SIGHT), expected=True)
    assert complaints == []


SIDES = """() => {
    const bar = document.getElementById("tabs");
    return [bar.dataset.more ?? "", getComputedStyle(bar).maskImage !== "none"];
}"""


@CORNER
async def test_tabs_that_are_out_of_sight_are_hinted_at_on_their_side(browser: Browser, service: Service) -> None:
    service.database.machine.insert_one({})
    service.database.orders.insert_one({})
    page, complaints = await opened(browser, f"{service.url}/#/collections")
    await expect(page.locator("#tab-shop")).to_be_visible()
    await until(lambda: page.evaluate(SIDES), expected=["", False])
    await page.set_viewport_size({"width": 390, "height": 800})
    for left, told in ((0, "right"), (40, "left right"), (10_000, "left"), (0, "right")):
        await page.evaluate("left => { document.getElementById('tabs').scrollLeft = left; }", left)
        await until(lambda: page.evaluate(SIDES), expected=[told, True])
    assert complaints == []


@CORNER
@pytest.mark.parametrize("width", [1280, 390])
async def test_buttons_and_cards_stand_where_the_page_has_its_lines(
    browser: Browser, service: Service, width: int
) -> None:
    service.database.orders.insert_one({"_id": 1, "total": 5})
    page, complaints = await opened(browser, f"{service.url}/#/events?collection=orders")
    await page.set_viewport_size({"width": width, "height": 800})
    row, first, last = [
        await box(page, f"#events .summary {one}") for one in (".actions", "#events-pause", "#events-clear")
    ]
    assert first["x"] == pytest.approx(row["x"], abs=1)
    if width == 1280:
        main = await box(page, "#main")
        assert last["x"] + last["width"] == pytest.approx(main["x"] + main["width"], abs=1)
    await page.evaluate("() => { location.hash = '#/charts?collection=orders&value=total'; }")
    await expect(page.get_by_test_id("plot")).to_be_visible()
    form, card = await box(page, "#plot-form"), await box(page, "#plot-card")
    assert card["y"] - (form["y"] + form["height"]) >= 12
    assert complaints == []


async def box(page: Page, selector: str) -> FloatRect:
    found = await page.locator(selector).bounding_box()
    assert found is not None, selector
    return found


@CORNER
async def test_the_title_names_what_is_open(browser: Browser, service: Service) -> None:
    service.database.orders.insert_one({"_id": 1, "total": 5})
    page, complaints = await opened(browser, f"{service.url}/#/collections?collection=orders")
    await expect(page).to_have_title("orders – Documents – realtime")
    for address, title in (
        ("collections?collection=another", "another – Documents – realtime"),
        ("events?collection=orders", "orders – Events – realtime"),
        ("events?collection=another", "another – Events – realtime"),
        ("charts?collection=orders&value=total&measure=sum", "orders: sum of total – Charts – realtime"),
        ("charts?collection=another&measure=count", "another: count – Charts – realtime"),
        ("frames", "Frames – realtime"),
    ):
        await page.evaluate("address => { location.hash = `#/${address}`; }", address)
        await expect(page).to_have_title(title)
    assert complaints == []


async def test_an_address_just_typed_is_not_written_over(browser: Browser, service: Service) -> None:
    """What was watched before went live between the new address and its event, and put its own address there again."""
    page, complaints = await opened(browser, f"{service.url}/#/events?collection=orders")
    await expect(page).to_have_title("orders – Events – realtime")
    await page.evaluate(
        """() => {
          location.hash = "#/events?collection=another";
          document.querySelector("#events-form").requestSubmit(); // which remembers the old one at once
        }"""
    )
    await expect(page).to_have_title("another – Events – realtime")
    assert await page.evaluate("() => location.hash") == "#/events?collection=another"
    assert complaints == []
