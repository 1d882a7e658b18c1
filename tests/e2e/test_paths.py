"""The paths of documents by clients and proxies as they come: httpx, curl, Chromium's fetch, nginx in front."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest
from playwright.async_api import Browser

from tests.adversity.nginx import proxying
from tests.e2e.browser import browser
from tests.serving import Service, service
from tests.web.http.odd_keys import HARD, SEED, key
from tests.web.http.odd_names import HARD as HARD_NAMES
from tests.web.http.test_keys import inserted

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
__all__ = ["browser", "service"]

BY_CHANCE = 150
Get = Callable[[Sequence[str]], Awaitable[list[str]]]


async def by_httpx(urls: Sequence[str]) -> list[str]:
    async with httpx.AsyncClient(timeout=30) as http:
        return [(await http.get(url)).text for url in urls]


async def by_curl(urls: Sequence[str]) -> list[str]:
    arguments = ["--silent", "--show-error", "--write-out", "\\n", *urls]
    curl = await asyncio.create_subprocess_exec("curl", *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await curl.communicate()
    return output.decode().split("\n")[:-1]


def by_chromium(browser: Browser) -> Get:
    async def get(urls: Sequence[str]) -> list[str]:
        page = await browser.new_page()
        parts = urlsplit(urls[0])
        await page.goto(f"{parts.scheme}://{parts.netloc}{'/live' if parts.path.startswith('/live/') else ''}/")
        script = """async (urls) => {
            const found = [];
            for (const url of urls) found.push(await (await fetch(url)).text());
            return found;
        }"""
        return [str(text) for text in await page.evaluate(script, list(urls))]

    return get


@pytest.mark.long("three clients, each straight and by two nginx")
async def test_every_client_comes_to_the_document_that_was_meant_and_to_no_other(
    service: Service, browser: Browser, tmp_path: Path
) -> None:
    """Directly, through the nginx of docs/operations.md, and through one that decodes the path and encodes it anew."""
    chance = random.Random(SEED)
    locations = await inserted(service, [*HARD, *(key(chance) for _ in range(BY_CHANCE))])
    assert len(locations) > 200
    port = int(service.url.rsplit(":", 1)[1])
    async with AsyncExitStack() as stack:
        passing = await stack.enter_async_context(proxying(tmp_path / "passing", [port] * 3))
        stripping = await stack.enter_async_context(proxying(tmp_path / "stripping", [port], strips=True))
        for base in (service.url, passing, f"{stripping}/live"):
            urls = [f"{base}{path}" for path in locations.values()]
            for name, get in (("httpx", by_httpx), ("curl", by_curl), ("Chromium", by_chromium(browser))):
                texts = await get(urls)
                assert len(texts) == len(urls)
                bad = {
                    url: text
                    for place, url, text in zip(locations, urls, texts, strict=True)
                    if f'"n":{place}}}' not in text
                }
                assert bad == {}, f"{name} by {base}, REALTIME_TEST_SEED={SEED}"


@pytest.mark.long("three clients, each straight and by two nginx")
async def test_every_client_comes_to_the_collection_that_was_meant(
    service: Service, browser: Browser, tmp_path: Path
) -> None:
    places = []
    for number, name in enumerate(HARD_NAMES):
        made = await service.http.post(
            f"/v1/collections/{quote(name, safe='')}/documents", json={"_id": "k", "n": number}
        )
        assert made.status_code == 201, made.text
        places.append(made.headers["location"])
        assert service.database[name].find_one() == {"_id": "k", "n": number}
    port = int(service.url.rsplit(":", 1)[1])
    async with proxying(tmp_path / "nginx", [port] * 3) as proxy:
        for base in (service.url, proxy):
            for name, get in (("httpx", by_httpx), ("curl", by_curl), ("Chromium", by_chromium(browser))):
                texts = await get([f"{base}{path}" for path in places])
                assert [json.loads(text).get("n", text) for text in texts] == list(range(len(HARD_NAMES))), (name, base)
