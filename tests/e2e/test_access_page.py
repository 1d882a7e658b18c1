"""The page's panel "Access" in a real browser: what whoever is signed in may do, in words.

Sabotage: `make sabotage`, rows "page: access".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from realtime.core.access.rules.text import parse
from tests.access.issuer import SECRET, signer
from tests.e2e.browser import browser, opened
from tests.e2e.test_dashboard import AXE
from tests.js.conftest import installed
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
PART = pytest.mark.long("one more part of the panel, in a real browser")
__all__ = ["browser"]

SIGNER = signer("HS256")
OFTEN: dict[str, Any] = {"timeout": 15_000}
RULES = """
orders:
  customer:
    read: {owner: $user.sub}
    insert: {owner: {$eq: $user.sub, $not: {$type: array}}, status: {$in: [new, draft]}}
    update: {$or: [{owner: $user.sub, total: {$lt: 5}}, {region: {$in: $user.claims.regions}}]}
    fields: {hide: [margin, notes.internal]}
    limits: {documents: 500}
    keys: server
  staff: {read: {$expr: {$gt: [$total, 5]}}, delete: {team: $user.claims.team}}
vault:
  customer: {read: {embargo: {$ne: planted}}, fields: {hide: [embargo]}}
news:
  customer: {read: true, update: true, fields: {write: [title]}}
"""
ASKS: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop", "feed_await_ms": 100}


@pytest.fixture
async def service(replica_set: ReplicaSet, tmp_path: Path) -> AsyncIterator[Service]:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    async with serving(replica_set, **ASKS, rules=path) as running:
        for name in ("orders", "vault", "news", "others"):
            running.database[name].insert_one({"_id": 1})
        yield running


async def access_of(browser: Browser, service: Service, *roles: str, path: str = "#/access") -> tuple[Page, list[str]]:
    now = time.time()
    token = SIGNER.token(sub="ann", roles=list(roles), regions=["EU", "US"], iat=now, exp=now + 60)
    page, complaints = await opened(browser, f"{service.url}/#token={token}")
    await expect(page.get_by_test_id("who-sub")).to_have_text("ann", **OFTEN)
    await page.evaluate("path => { location.hash = path; }", path)
    await expect(page.locator("#access")).to_be_visible()
    return page, complaints


async def told(page: Page, collection: str, operation: str) -> list[str]:
    """What is said of an operation: a line for each sentence."""
    place = page.locator(f"[data-name='{collection}'] [data-operation='{operation}'] dd")
    await expect(place).to_be_visible(**OFTEN)
    return (await place.inner_text()).split("\n")


async def test_one_is_told_in_words_what_one_may_do_and_nothing_of_others(browser: Browser, service: Service) -> None:
    page, complaints = await access_of(browser, service, "customer")
    assert await told(page, "orders", "read") == [
        'documents where owner is "ann"',
        "hidden: margin, notes.internal",
        "a live query holds 500 of them at most",
    ]
    assert await told(page, "orders", "insert") == [
        'documents where owner is "ann" and owner is not of type "array" and status is one of "new", "draft"',
        "not writable: margin, notes.internal",
        "_id is made by the service",
    ]
    assert await told(page, "orders", "update") == [
        'documents where (owner is "ann" and total is less than 5) or region is one of "EU", "US"',
        "not writable: margin, notes.internal",
    ]
    assert await told(page, "orders", "delete") == ["not allowed"]
    assert await told(page, "news", "update") == ["every document", "writable: title alone"]
    assert await told(page, "vault", "read") == [
        "documents by a condition on fields that are hidden from you",
        "hidden: embargo",
    ]
    cards = await page.locator("#access-list .card").evaluate_all("all => all.map(one => one.dataset.name)")
    assert cards == ["news", "orders", "vault"]
    words = await page.evaluate("document.body.textContent")
    assert "planted" not in words
    assert "others" not in words
    assert complaints == []


@PART
async def test_what_has_no_words_is_the_filter_itself_and_a_missing_claim_is_said(
    browser: Browser, service: Service
) -> None:
    page, _ = await access_of(browser, service, "staff")
    assert await told(page, "orders", "read") == ['documents where {"$expr":{"$gt":["$total",5]}}']
    assert await told(page, "orders", "delete") == ["no document: the rule asks for a claim that you do not have"]


@PART
async def test_a_collection_is_asked_for_by_its_name_and_what_is_wrong_is_said(
    browser: Browser, service: Service
) -> None:
    page, _ = await access_of(browser, service, "customer", path="#/access?collection=secrets")
    assert await told(page, "secrets", "read") == ["not allowed"]
    assert await page.locator("#access-list .card").count() == 1
    await page.get_by_test_id("access-collection").fill("realtime_keys")
    await page.locator("#access-form button").click()
    await expect(page.get_by_test_id("access-problem")).to_contain_text("realtime_ are the service's own")
    assert await page.locator("#access-list .card").count() == 0
    await page.get_by_test_id("access-collection").fill("")
    await page.locator("#access-form button").click()
    await expect(page.locator("#access-list .card")).to_have_count(3)
    await expect(page.get_by_test_id("access-problem")).to_be_hidden()


@PART
async def test_other_rules_are_told_without_a_reload(browser: Browser, service: Service) -> None:
    page, _ = await access_of(browser, service, "customer")
    assert await told(page, "news", "delete") == ["not allowed"]
    service.realtime.take_rules(parse('news: {"*": {read: true, delete: true}}', "rules.yaml"))
    await expect(page.locator("[data-name='news'] [data-operation='delete'] dd")).to_have_text(
        "every document", **OFTEN
    )
    await expect(page.locator("#access-list .card")).to_have_count(1)


@PART
async def test_who_may_read_nothing_and_where_there_are_no_rules_it_is_said(
    browser: Browser, service: Service, replica_set: ReplicaSet
) -> None:
    page, _ = await access_of(browser, service)
    await expect(page.get_by_test_id("access-empty")).to_contain_text("no collection here that you may read", **OFTEN)
    async with serving(replica_set, feed_await_ms=100) as open_to_all:
        page, _ = await opened(browser, f"{open_to_all.url}/#/access")
        await expect(page.get_by_test_id("access-empty")).to_contain_text("There are no rules", **OFTEN)


@PART
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious_in_the_panel(
    browser: Browser, service: Service, scheme: Any, width: int
) -> None:
    axe = await asyncio.to_thread((installed() / "axe-core" / "axe.min.js").read_text)
    page, _ = await access_of(browser, service, "customer", "staff")
    await page.emulate_media(color_scheme=scheme)
    await page.set_viewport_size({"width": width, "height": 860})
    await expect(page.locator("#access-list .card")).to_have_count(3)
    await page.evaluate(axe)
    violations, passes = await page.evaluate(AXE)
    assert passes > 10
    assert [one for one in violations if one[1] in {"serious", "critical"}] == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
