"""A real Chromium: Debian's, driven by Playwright, with nothing going to any other host."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """Chromium, new. A machine without it fails the test: a page nobody opened is not tested."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path is not None, "no Chromium on PATH: apt-get install chromium"
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        await chromium.close()


@pytest.fixture
async def browser(chromium: Browser) -> AsyncIterator[Browser]:
    """The Chromium of all tests, empty: each page has a context of its own, and what a test leaves open is closed."""
    assert chromium.is_connected(), "Chromium ended in an earlier test"
    assert chromium.contexts == []
    yield chromium
    for context in chromium.contexts:
        await context.close()
    devtools = await chromium.new_browser_cdp_session()
    for target in (await devtools.send("Target.getTargets"))["targetInfos"]:
        if target["type"] == "page":  # one that was made by the browser's own protocol is in no context
            await devtools.send("Target.closeTarget", {"targetId": target["targetId"]})
    await devtools.detach()


async def opened(browser: Browser, url: str) -> tuple[Page, list[str]]:
    """The page at `url`, and what it complained of (errors, refused by its policy) so far and from now on."""
    page = await browser.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: _note(message, complaints))
    await page.goto(url)
    return page, complaints


def _note(message: Any, complaints: list[str]) -> None:
    # A connection that is refused while the server is away is what the page is there to tell of.
    if message.type == "error" and "WebSocket connection to" not in message.text and "ERR_" not in message.text:
        complaints.append(message.text)
