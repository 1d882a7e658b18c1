"""What a client breaks off or asks for where nothing is, is no bug of the service, and its log has no line of it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from realtime import metrics
from tests.serving import Service

POST = "POST /v1/collections/orders/documents HTTP/1.1\r\n"
CUT = {
    "cut off": f'{POST}Host: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{{"a"',
    "a bad chunk": f'{POST}Host: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{"\r\nZZ\r\n',
    "of one document": POST.replace("POST", "PATCH").replace("documents", "documents/a")
    + 'Host: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"a"',
}
UPGRADE = (
    "Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==\r\n\r\n"
)


async def _connected(service: Service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = service.url.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))


def _bugs() -> float:
    return sum(one.value for kind in metrics.BUGS.collect() for one in kind.samples if one.name.endswith("_total"))


def _loud(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno > logging.DEBUG and one.name != "httpx"]


@pytest.mark.parametrize("request_", CUT.values(), ids=CUT)
async def test_a_body_that_is_cut_off_is_no_bug(
    service: Service, caplog: pytest.LogCaptureFixture, request_: str
) -> None:
    caplog.set_level(logging.DEBUG, "realtime.web")
    before = _bugs()
    caplog.clear()
    _, writer = await _connected(service)
    writer.write(request_.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(10):
        while "before its body was whole" not in caplog.text:
            await service.http.get("/healthz")
    assert (_bugs(), _loud(caplog)) == (before, [])
    assert list(service.database.orders.find()) == []


@pytest.mark.parametrize("path", ["/v1/collections", "/nowhere", "/v1/ws/", "/"])
async def test_a_handshake_where_no_socket_is_gets_404_and_the_log_no_line(
    service: Service, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.clear()
    reader, writer = await _connected(service)
    writer.write(f"GET {path} HTTP/1.1\r\n{UPGRADE}".encode())
    answer = await reader.read()  # to the end of the connection, which is after the end of its task
    writer.close()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b'"code":"not_found"' in answer
    await service.http.get("/healthz")
    assert _loud(caplog) == []
