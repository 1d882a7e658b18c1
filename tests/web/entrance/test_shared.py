"""Which pages may read what: the headers that browsers go by. A real one: tests/e2e/test_origins.py."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

LISTED, UNLISTED = "https://app.example", "https://evil.example"
DOCUMENTS = "/v1/collections/orders/documents"
PREFLIGHT = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,content-type"}


@pytest.fixture(scope="module")
async def service(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    async with serving(replica_set, allowed_origins=(LISTED,), feed_await_ms=100) as running:
        yield running


async def test_a_page_of_a_listed_origin_may_read_answers_and_problems_and_what_they_say_in_headers(
    service: Service,
) -> None:
    asked = [
        await service.http.post(DOCUMENTS, json={"_id": "a"}, headers={"Origin": LISTED}),
        await service.http.get(f"{DOCUMENTS}/a", headers={"Origin": LISTED}),
        await service.http.get(f"{DOCUMENTS}/nobody", headers={"Origin": LISTED}),
        await service.http.get(f"{DOCUMENTS}?nonsense=1", headers={"Origin": LISTED}),
        await service.http.get(f"{DOCUMENTS}?limit=x", headers={"Origin": LISTED}),
    ]
    assert [answer.status_code for answer in asked] == [201, 200, 404, 422, 422]
    for answer in asked:
        assert answer.headers["access-control-allow-origin"] == LISTED
        assert {"ETag", "Location", "Retry-After"} <= set(answer.headers["access-control-expose-headers"].split(", "))
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers


async def test_a_page_of_an_unlisted_origin_reads_nothing_and_changes_nothing(service: Service) -> None:
    asked = [
        await service.http.get(DOCUMENTS, headers={"Origin": UNLISTED}),
        await service.http.post(DOCUMENTS, json={"_id": "never"}, headers={"Origin": UNLISTED}),
        await service.http.options(DOCUMENTS, headers={"Origin": UNLISTED, **PREFLIGHT}),
        await service.http.get("/v1/collections/orders/events", headers={"Origin": UNLISTED}),
    ]
    for answer in asked:
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert "access-control-allow-origin" not in answer.headers
        assert "Origin" in answer.headers["vary"]
    assert service.database.orders.find_one({"_id": "never"}) is None


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        (DOCUMENTS, "GET, HEAD, POST"),
        (f"{DOCUMENTS}/a", "GET, HEAD, PUT, PATCH, DELETE"),
        ("/v1/collections", "GET, HEAD"),
        ("/v1/tickets", "POST"),
        ("/v1/access", "GET, HEAD"),
        ("/v1/collections/orders/events", "GET, HEAD"),
    ],
)
async def test_a_preflight_says_what_may_be_asked_at_a_path(service: Service, path: str, methods: str) -> None:
    answer = await service.http.options(path, headers={"Origin": LISTED, **PREFLIGHT})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == LISTED
    assert answer.headers["access-control-allow-methods"] == methods
    allowed = {name.lower() for name in answer.headers["access-control-allow-headers"].split(", ")}
    assert {"authorization", "content-type", "if-match", "last-event-id"} <= allowed


async def test_a_preflight_of_a_path_that_is_not_there_is_404(service: Service) -> None:
    answer = await service.http.options("/v1/nothing", headers={"Origin": LISTED, **PREFLIGHT})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_what_is_no_preflight_has_no_options(service: Service) -> None:
    answer = await service.http.options(DOCUMENTS)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize("path", ["/", "/docs", "/metrics", "/readyz", "/healthz", "/openapi.json"])
async def test_page_documents_and_metrics_are_for_no_other_origin(service: Service, path: str) -> None:
    answer = await service.http.get(path, headers={"Origin": LISTED})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert (await service.http.get(path, headers={"Origin": UNLISTED})).status_code == 403


async def test_no_answer_is_a_script_or_an_image_of_another_origins_page(service: Service) -> None:
    """What a page cannot read by fetch it had as `<script src>`, where its bytes happened to be a script."""
    asked = [
        await service.http.post(DOCUMENTS, json={"_id": "guarded"}),
        await service.http.get(DOCUMENTS, headers={"Origin": LISTED}),
        await service.http.head(DOCUMENTS),
        await service.http.get(DOCUMENTS, headers={"Accept": "application/x-ndjson"}),
        await service.http.get("/v1/collections"),
        await service.http.get(f"{DOCUMENTS}/nobody"),
        await service.http.get("/v1/nothing"),
        await service.http.request("DELETE", "/v1/collections"),
        await service.http.get(DOCUMENTS, headers={"Origin": UNLISTED}),
        await service.http.options(DOCUMENTS, headers={"Origin": LISTED, **PREFLIGHT}),
        await service.http.post("/v1/tickets"),
    ]
    async with service.http.stream("GET", "/v1/collections/orders/events") as stream:
        asked.append(stream)
    assert [answer.status_code for answer in asked] == [201, 200, 200, 200, 200, 404, 404, 405, 403, 204, 201, 200]
    for answer in asked:
        assert answer.headers["x-content-type-options"] == "nosniff", answer.url
        assert answer.headers["cross-origin-resource-policy"] == "same-origin", answer.url
    told = await service.http.get("/v1/ws", headers={"Origin": UNLISTED})
    client = await service.http.get("/realtime.js", headers={"Origin": UNLISTED})
    for answer in (told, client):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


async def test_the_client_is_for_all(service: Service) -> None:
    for origin in (LISTED, UNLISTED):
        answer = await service.http.get("/realtime.js", headers={"Origin": origin})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")


async def test_cookies_go_along_only_where_it_was_said(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, allowed_origins=(LISTED,), allow_credentials=True) as service:
        for answer in (
            await service.http.get(DOCUMENTS, headers={"Origin": LISTED}),
            await service.http.options(DOCUMENTS, headers={"Origin": LISTED, **PREFLIGHT}),
        ):
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert answer.headers["access-control-allow-origin"] == LISTED
