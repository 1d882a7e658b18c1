"""Why a handshake is refused, asked over HTTP: what a browser hides from a page, and may read here."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from realtime import errors
from realtime.client import connect as program
from tests.serving import Service, service

__all__ = ["service"]

FOREIGN = "https://app.example"


async def test_who_would_be_let_in_is_told_so_and_nothing_else(service: Service) -> None:
    for headers in ({}, {"Origin": service.url}):
        answer = await service.http.get("/v1/ws", headers=headers, params={"origin": service.url})
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "params", "named"),
    [
        ({"Origin": FOREIGN}, {}, "REALTIME_ALLOWED_ORIGINS"),
        ({}, {"origin": FOREIGN}, "REALTIME_ALLOWED_ORIGINS"),
        ({}, {"origin": "null"}, "REALTIME_ALLOWED_ORIGINS"),
        ({}, {"origin": "http://127.0.0.1:1"}, "REALTIME_ALLOWED_ORIGINS"),
        ({"Host": "rebound.example"}, {}, "REALTIME_ALLOWED_HOSTS"),
        ({"Host": "rebound.example", "Origin": "http://rebound.example"}, {}, "REALTIME_ALLOWED_HOSTS"),
    ],
    ids=["header", "page", "sandboxed", "other-port", "host", "rebound"],
)
async def test_who_would_not_may_read_why_and_the_mend(
    service: Service, headers: dict[str, str], params: dict[str, str], named: str
) -> None:
    answer = await service.http.get("/v1/ws", headers=headers, params=params)
    told = answer.json()
    assert (answer.status_code, told["code"]) == (403, "forbidden")
    assert named in told["detail"]
    assert answer.headers["access-control-allow-origin"] == "*"
    origin: Any = headers.get("Origin", params.get("origin"))
    host = {"Host": headers["Host"]} if "Host" in headers else None
    with pytest.raises(InvalidStatus) as refused:
        async with connect(service.url.replace("http", "ws") + "/v1/ws", additional_headers=host, origin=origin):
            pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("prefix", ["/wrong", "/v1", "/a/b", "/live/"])
async def test_a_path_that_is_not_there_is_404_for_both(service: Service, prefix: str) -> None:
    answer = await service.http.get(f"{prefix.rstrip('/')}/v1/ws", headers={"Origin": FOREIGN})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["access-control-allow-origin"] == "*"
    with pytest.raises(errors.NotFoundError, match="path prefix"):
        async with program(f"{service.url}{prefix}"):
            pass


async def test_no_other_path_may_be_read_by_strangers(service: Service) -> None:
    for path in ("/wrong", "/v1/ws/more", "/v1/collections", "/healthz"):
        answer = await service.http.get(path, headers={"Origin": FOREIGN})
        assert answer.status_code in {403, 404}
        assert "access-control-allow-origin" not in answer.headers


async def test_head_is_answered_as_get_is(service: Service) -> None:
    for headers, status in (({}, 204), ({"Origin": FOREIGN}, 403)):
        answers = [await service.http.request(method, "/v1/ws", headers=headers) for method in ("GET", "HEAD")]
        assert [answer.status_code for answer in answers] == [status, status]
        assert answers[1].content == b""
