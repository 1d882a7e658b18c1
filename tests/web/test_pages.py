"""The page's files, the description, and what is refused by name over HTTP."""

from __future__ import annotations

import re

import pytest

from tests.serving import Service
from tests.wire import wired


async def test_the_description_loads_nothing_from_other_machines(service: Service) -> None:
    page = (await service.http.get("/docs")).text
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(links) == 4
    for link in links:
        assert "//" not in link
        assert (await service.http.get(f"/{link}")).status_code == 200
    assert (await service.http.get("/openapi.json")).json()["info"]["title"] == "realtime"
    foreign = {"Host": "rebound.example"}
    assert (await service.http.get("/openapi.json", headers=foreign)).status_code == 403
    assert (await service.http.get("/swagger/../app.py")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("PUT", "/v1/collections", 405, "invalid_request"),
        ("GET", "/v1/collections/orders/documents?filters={}", 422, "invalid_request"),
        ("GET", "/v1/collections/orders/documents?after=x", 422, "invalid_request"),
        ("GET", "/v1/collections/a_view/documents", 422, "unsupported_collection"),
    ],
)
async def test_what_is_not_there_is_a_problem_document(
    service: Service, method: str, path: str, status: int, code: str
) -> None:
    service.database.create_collection("a_view", viewOn="orders", pipeline=[])
    answer = await service.http.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["code"] == code


async def test_text_that_is_no_utf8_closes_with_a_code_word_and_no_traceback(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    async with wired(service.url) as wire:
        await wire.socket.send(b"\xff\xfe", text=True)
        await wire.when(lambda: wire.closed is not None)
    assert wire.closed == (1007, "invalid_utf8")
    assert "Traceback" not in caplog.text


async def test_a_frame_over_the_limit_closes_with_a_code_word(service: Service) -> None:
    async with wired(service.url) as wire:
        await wire.socket.send("x" * (1 << 21))
        await wire.when(lambda: wire.closed is not None)
    assert wire.closed == (1009, "too_large")


async def test_everything_leaves_out_the_services_own_collections(service: Service) -> None:
    async with wired(service.url) as wire:
        await wire.subscribe("*", mode="events")
        service.database.realtime_own.insert_one({"_id": 1})
        service.database.orders.insert_one({"_id": 2})
        await wire.until(lambda frame: frame["type"] == "events")
    assert [event["key"] for frame in wire.of("events") for event in frame["events"]] == [2]
