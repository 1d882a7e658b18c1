"""A real Chromium: Debian's, driven by Playwright, with nothing going to any other host."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
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


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium, new and empty. A machine without it fails the test: a page nobody opened is not tested."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path is not None, "no Chromium on PATH: apt-get install chromium"
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        await chromium.close()


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
