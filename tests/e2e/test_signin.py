"""The page's sign-in in a real browser, at a service that asks who it is.

Sabotage: `make sabotage`, rows "page: sign-in".
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from realtime.commands import demo_users
from tests.access.issuer import SECRET, signer
from tests.e2e.browser import browser, opened
from tests.e2e.test_dashboard import AXE
from tests.js.conftest import installed
from tests.replica_set import ReplicaSet
from tests.serving import Service, process, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
WAY = pytest.mark.long("one more way to sign in, in a real browser")
__all__ = ["browser"]

SIGNER = signer("HS256")
OFTEN: dict[str, Any] = {"timeout": 15_000}


@pytest.fixture
async def service(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    """One that asks for tokens."""
    asks = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop"}
    async with serving(replica_set, feed_await_ms=100, **asks) as running:
        running.database.orders.insert_many({"_id": n, "total": n} for n in range(3))
        yield running


def minted(life: float = 60, **claims: Any) -> str:
    now = time.time()
    return SIGNER.token(iat=now, exp=now + life, **claims)


async def sign_in(page: Page, token: str, *, keep: bool = False) -> None:
    await page.get_by_test_id("token").fill(token)
    if keep:
        await page.get_by_test_id("keep").check()
    await page.get_by_test_id("signin-submit").click()


async def signed_in(page: Page, as_whom: str) -> None:
    await expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live", **OFTEN)
    await expect(page.get_by_test_id("who-sub")).to_have_text(as_whom)
    await expect(page.get_by_test_id("signin")).to_be_hidden()


async def asked_who(page: Page, told: str) -> None:
    await expect(page.get_by_test_id("signin")).to_be_visible(**OFTEN)
    await expect(page.get_by_test_id("signin-why")).to_contain_text(told, **OFTEN)
    await expect(page.get_by_test_id("server-away")).to_be_hidden()
    await expect(page.locator("#announcement")).to_have_text("Signed out")
    # What the client tells programmers is nowhere, not even in what is hidden.
    words = await page.evaluate("document.body.textContent")
    assert len(words) > 500
    assert "getToken" not in words


PLACE = "#/collections?collection=orders"
ROW = "[data-key='1']"


async def test_one_signs_in_sees_who_one_is_and_signs_out(browser: Browser, service: Service) -> None:
    page, complaints = await opened(browser, f"{service.url}/{PLACE}")
    await asked_who(page, "asks who you are")
    await expect(page.locator("#explorer")).to_be_hidden()
    token = minted(sub="ann", roles=["editor", "auditor"])
    await sign_in(page, token)
    await signed_in(page, "ann")
    await expect(page.get_by_test_id("who-more")).to_have_text(
        re.compile(r"^, roles auditor, editor, until \d\d:\d\d:\d\d$")
    )
    await expect(page.locator(ROW)).to_be_visible()
    await expect(page.get_by_test_id("collections")).to_contain_text("orders")  # which is read over HTTP
    assert await page.evaluate("Object.values(sessionStorage).concat(Object.values(localStorage))") == []
    await page.locator("#tab-frames").click()
    shown = page.get_by_test_id("frames-list").locator("[data-type=auth]")
    await shown.locator("summary").click()
    await expect(shown.locator("pre")).to_contain_text('"type": "auth"')
    assert token not in await page.content()
    await page.get_by_test_id("signout").click()
    await asked_who(page, "asks who you are")
    await page.reload()
    await asked_who(page, "asks who you are")
    assert complaints == []


@WAY
async def test_what_is_kept_for_the_tab_outlives_a_reload_and_goes_with_the_sign_out(
    browser: Browser, service: Service
) -> None:
    page, _ = await opened(browser, service.url)
    await asked_who(page, "asks who you are")
    await sign_in(page, minted(sub="ann"), keep=True)
    await signed_in(page, "ann")
    await page.reload()
    await signed_in(page, "ann")
    await page.get_by_test_id("signout").click()
    await asked_who(page, "asks who you are")
    assert await page.evaluate("sessionStorage.length") == 0


async def test_a_refused_token_is_said_and_why_and_another_is_taken(browser: Browser, service: Service) -> None:
    page, complaints = await opened(browser, f"{service.url}/{PLACE}")
    await asked_who(page, "asks who you are")
    await page.get_by_test_id("signin-submit").click()
    await asked_who(page, "Paste a token")
    for bad, told in ((minted(life=-60), "expired"), (minted(aud="another"), "aud"), ("hello", "token")):
        await sign_in(page, bad, keep=True)
        await asked_who(page, "Refused:")
        await expect(page.get_by_test_id("signin-why")).to_contain_text(told)
        await expect(page.get_by_test_id("token")).to_have_attribute("aria-invalid", "true")
    await sign_in(page, minted(sub="bob"))
    await signed_in(page, "bob")
    await expect(page.locator(ROW)).to_be_visible()
    assert complaints == []


@WAY
async def test_when_the_token_ends_it_is_said_and_a_new_one_goes_on(browser: Browser, service: Service) -> None:
    page, complaints = await opened(browser, f"{service.url}/{PLACE}")
    await asked_who(page, "asks who you are")
    await sign_in(page, minted(life=3))
    await signed_in(page, "ann")
    await expect(page.locator(ROW)).to_be_visible()
    await asked_who(page, "expired")
    await expect(page.get_by_test_id("who")).to_be_hidden()
    await asyncio.to_thread(service.database.orders.insert_one, {"_id": "meanwhile"})
    await sign_in(page, minted())
    await signed_in(page, "ann")
    await expect(page.locator("[data-key='\"meanwhile\"']")).to_be_visible()
    assert complaints == []


@WAY
async def test_who_is_revoked_is_told_at_once(browser: Browser, service: Service) -> None:
    page, _ = await opened(browser, service.url)
    await asked_who(page, "asks who you are")
    await sign_in(page, minted(sub="eve"))
    await signed_in(page, "eve")
    await service.realtime.revoke(sub="eve")
    await asked_who(page, "revoked")


@WAY
async def test_a_link_with_a_token_signs_in_and_leaves_it_nowhere(browser: Browser, service: Service) -> None:
    asked: list[str] = []
    page = await browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    token = minted(sub="ann")
    await page.goto(f"{service.url}/#token={token}")
    await signed_in(page, "ann")
    assert token not in page.url
    assert token not in await page.content()
    assert await page.evaluate("sessionStorage.length") == 0
    assert len(asked) > 10
    assert not any(token in url for url in asked)
    # Another's, put into the same tab.
    await page.evaluate("token => { location.hash = `token=${token}` }", minted(sub="bob"))
    await signed_in(page, "bob")
    assert "token" not in page.url


@WAY
async def test_a_service_that_asks_nobody_is_as_it_was(browser: Browser, replica_set: ReplicaSet) -> None:
    async with serving(replica_set, feed_await_ms=100) as service:
        page, complaints = await opened(browser, f"{service.url}/#token=left-over")
        await expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
        for name in ("signin", "who"):
            await expect(page.get_by_test_id(name)).to_be_hidden()
        assert complaints == []


@WAY
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious_in_the_sign_in(
    browser: Browser, service: Service, scheme: Any, width: int
) -> None:
    axe = await asyncio.to_thread((installed() / "axe-core" / "axe.min.js").read_text)
    context = await browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 860})
    page = await context.new_page()
    looked = 0
    await page.goto(f"{service.url}/{PLACE}")
    await asked_who(page, "asks who you are")
    for token in ("hello", minted(sub="ann", roles=["admin"])):
        await page.evaluate(axe)
        violations, passes = await page.evaluate(AXE)
        assert [one for one in violations if one[1] in {"serious", "critical"}] == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        looked += passes
        await sign_in(page, token)
        await (asked_who(page, "Refused") if token == "hello" else signed_in(page, "ann"))
    await expect(page.locator(ROW)).to_be_visible()
    violations, passes = await page.evaluate(AXE)
    assert [one for one in violations if one[1] in {"serious", "critical"}] == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert looked + passes > 40


@WAY
@pytest.mark.parametrize("more", [(), ("--admin-port", "0")], ids=["one port", "two"])
async def test_the_demo_prints_a_link_for_each_of_two_users(
    browser: Browser, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """To the page, which is at the port of the operators where there is one."""
    options = ("--with-users", "--port", "0", "--data-dir", str(tmp_path / "data"), *more)
    async with process("demo", *options, home=tmp_path) as demo:
        async with asyncio.timeout(30):
            assert demo.process.stdout is not None
            while demo_users.ROLES_DO_NOTHING not in "".join(demo.output):
                demo.output.append((await demo.process.stdout.readline()).decode())
        found = re.findall(r"sign in as (\w+) \((\w+)\): (\S+)", "".join(demo.output))
        assert [(sub, role) for sub, role, _ in found] == [("ann", "admin"), ("bob", "viewer")]
        for sub, role, link in found:
            context = await browser.new_context()
            page = await context.new_page()
            await page.goto(link)
            await signed_in(page, sub)
            await expect(page.get_by_test_id("who-more")).to_contain_text(f"role {role}")
            await context.close()
        page, _ = await opened(browser, found[0][2].partition("#")[0])
        await asked_who(page, "asks who you are")
        assert (demo.url in found[0][2]) == (not more)
