"""A page of another origin in Chromium: the client is for all, everything else for the origins that are listed."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.access.issuer import SECRET, signer
from tests.e2e.browser import browser
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
__all__ = ["browser"]

SIGNER = signer("HS256")
DOORS = {
    "list": "(await fetch(url + '/v1/collections/orders/documents', {headers})).status",
    "write": """(await fetch(url + '/v1/collections/orders/documents', {method: 'POST', body: '{"_id": "a"}',
        headers: {...headers, 'Content-Type': 'application/json'}})).headers.get('Location')""",
    "patch": """(await fetch(url + '/v1/collections/orders/documents/a', {method: 'PATCH', headers,
        body: '{"$set": {"n": 1}}'})).headers.get('ETag')""",
    "problem": "(await (await fetch(url + '/v1/collections/orders/documents/b', {headers})).json()).code",
    "ticket": "(await fetch(url + '/v1/tickets', {method: 'POST', headers})).status",
    "stream": """await new Promise((done, fail) => {
        const stream = new EventSource(url + '/v1/collections/orders/events?ticket=' + encodeURIComponent(ticket));
        stream.onmessage = event => { stream.close(); done(JSON.parse(event.data).type) };
        stream.onerror = () => { stream.close(); fail(new Error('refused')) };
    })""",
    "socket": """await new Promise((done, fail) => {
        const text = btoa(token).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
        const socket = new WebSocket(url.replace('http', 'ws') + '/v1/ws', ['realtime.v1', 'bearer.' + text]);
        socket.onmessage = event => { socket.close(); done(JSON.parse(event.data).principal) };
        socket.onerror = () => fail(new Error('refused'));
    })""",
}
OPEN = {
    "list": 200,
    "write": "/v1/collections/orders/documents/a",
    "patch": "an ETag",
    "problem": "not_found",
    "ticket": 201,
    "stream": "subscribed",
    "socket": "ann",
}


class _Empty(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """An empty page."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def elsewhere() -> Iterator[str]:
    """A site of its own, with an empty page; its origin."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Empty)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def sites() -> Iterator[tuple[str, str]]:
    """A listed origin and an unlisted one."""
    with elsewhere() as listed, elsewhere() as unlisted:
        yield listed, unlisted


@pytest.fixture
async def service(replica_set: ReplicaSet, sites: tuple[str, str]) -> AsyncIterator[Service]:
    asks = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop"}
    async with serving(replica_set, allowed_origins=(sites[0],), **asks) as running:
        yield running


async def tried(browser: Browser, origin: str, service: Service) -> dict[str, Any]:
    """What a page of this origin gets through each door; None: its browser lets it have nothing."""
    page = await browser.new_page()
    await page.goto(origin)
    token = SIGNER.token(sub="ann")
    ticket = await service.http.post("/v1/tickets", headers={"Authorization": f"Bearer {token}"})
    given = {"url": service.url, "token": token, "ticket": ticket.json()["ticket"]}
    imported = await page.evaluate("async url => typeof (await import(url + '/realtime.js')).connect", service.url)
    found: dict[str, Any] = {"import": imported}
    for name, script in DOORS.items():
        whole = f"""async ({{url, token, ticket}}) => {{
            const headers = {{Authorization: 'Bearer ' + token}};
            try {{ return {script} }} catch (error) {{ return null }}
        }}"""
        found[name] = await page.evaluate(whole, given)
    await page.close()
    return found


async def test_a_page_of_a_listed_origin_imports_reads_writes_and_streams(
    browser: Browser, service: Service, sites: tuple[str, str]
) -> None:
    found = await tried(browser, sites[0], service)
    found["patch"] = "an ETag" if found["patch"] else found["patch"]
    assert found == {"import": "function", **OPEN}
    assert service.database.orders.find_one({"_id": "a"}) == {"_id": "a", "n": 1}


async def test_from_an_unlisted_origin_everything_but_the_import_fails(
    browser: Browser, service: Service, sites: tuple[str, str]
) -> None:
    found = await tried(browser, sites[1], service)
    assert found == {"import": "function", **dict.fromkeys(DOORS)}
    assert service.database.orders.find_one({}) is None


def test_the_two_sites_are_of_two_origins(sites: tuple[str, str]) -> None:
    assert len({*sites}) == 2
    assert all(site.startswith(f"http://{socket.inet_ntoa(socket.inet_aton('127.0.0.1'))}") for site in sites)
