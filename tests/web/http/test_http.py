"""What HTTP itself promises: methods, lengths, variants, encodings; and counts and sorts of lists."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from realtime.mongo.faults import Gate
from tests.embedding import embedded
from tests.serving import Service
from tests.streams import streaming
from tests.web.http.test_sse import live

__all__ = ["embedded"]

# ----------------------------------------------------------------------------------------------------------- methods

ONE, LIST, EVENTS = "GET, HEAD, PUT, PATCH, DELETE", "GET, HEAD, POST", "GET, HEAD"
METHODS = [
    ("POST", "/v1/collections/orders/documents/a", ONE),
    ("OPTIONS", "/v1/collections/orders/documents/a", ONE),
    ("PUT", "/v1/collections/orders/documents", LIST),
    ("DELETE", "/v1/collections/a%2Fb/documents", LIST),
    ("POST", "/v1/collections", EVENTS),
    ("PATCH", "/v1/collections/*/events", EVENTS),
    ("POST", "/healthz", "GET"),
    ("HEAD", "/metrics", "GET"),
    ("TRACE", "/v1/collections", EVENTS),
]


@pytest.mark.parametrize(
    ("method", "path", "there"), METHODS, ids=[f"{method}-{n}" for n, (method, *_) in enumerate(METHODS)]
)
async def test_another_method_is_405_and_allow_says_all_that_there_are(
    embedded: Service, method: str, path: str, there: str
) -> None:
    answer = await embedded.http.request(method, embedded.path(path))
    assert (answer.status_code, answer.headers["allow"]) == (405, there)
    if method != "HEAD":
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.json()["status"], answer.json()["code"]) == (405, "invalid_request")
        assert there in answer.json()["detail"]


# ------------------------------------------------------------------------------------------------- lengths, variants

NDJSON, STREAM = "application/x-ndjson", "text/event-stream"


@pytest.mark.parametrize(("path", "accept"), [("documents", NDJSON), ("documents", STREAM), ("events", STREAM)])
async def test_the_head_of_a_stream_says_no_length(service: Service, path: str, accept: str) -> None:
    service.database.orders.insert_one({"_id": 1})
    address = service.path(f"/v1/collections/orders/{path}")
    answer = await service.http.head(address, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, accept)
    assert "content-length" not in answer.headers
    # The connection is good for the next request.
    assert (await service.http.get(service.documents)).status_code == 200
    refused = await service.http.head(f"{address}?filter={{", headers={"Accept": accept})
    assert refused.status_code == 422


async def test_the_head_of_a_page_and_of_a_document_say_the_length_of_the_body(service: Service) -> None:
    service.database.orders.insert_one({"_id": "a"})
    for path in (f"{service.documents}/a", service.path("/v1/collections")):
        head, body = await service.http.head(path), await service.http.get(path)
        assert head.headers["content-length"] == str(len(body.content)) != "0"


@pytest.mark.parametrize("accept", ["*/*", "application/json", NDJSON, STREAM])
async def test_every_answer_that_accept_chooses_says_so(service: Service, accept: str) -> None:
    for query, status in (("", 200), ("?limit=0", 422)):
        for method in ("GET", "HEAD"):
            address = f"{service.documents}{query}"
            async with service.http.stream(method, address, headers={"Accept": accept}) as answer:
                assert (answer.status_code, answer.headers.get("vary")) == (status, "Origin, Accept")


async def test_other_answers_vary_with_the_origin_alone(service: Service) -> None:
    service.database.orders.insert_one({"_id": "a"})
    for path in (f"{service.documents}/a", service.path("/v1/collections")):
        assert (await service.http.get(path)).headers["vary"] == "Origin"


# --------------------------------------------------------------------------------------------------------- encodings

BODIES: list[tuple[str, str, Any]] = [
    ("POST", "", {"_id": "b"}),
    ("POST", "", [{"_id": "b"}]),
    ("PUT", "/a", {"n": 2}),
    ("PATCH", "/a", {"$set": {"n": 2}}),
]


@pytest.mark.parametrize(("method", "path", "body"), BODIES, ids=["one", "list", "PUT", "PATCH"])
async def test_a_compressed_body_is_415_and_says_what_is_taken(
    service: Service, method: str, path: str, body: Any
) -> None:
    service.database.orders.insert_one({"_id": "a", "n": 1})
    content = json.dumps(body).encode()
    for encoding, sent in (("gzip", gzip.compress(content)), ("br", content), ("identity, gzip", content)):
        headers = {"Content-Encoding": encoding}
        answer = await service.http.request(method, f"{service.documents}{path}", content=sent, headers=headers)
        assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (415, 415, "invalid_request")
        assert answer.headers["accept-encoding"] == "identity"
        assert encoding in answer.json()["detail"]
    assert list(service.database.orders.find()) == [{"_id": "a", "n": 1}]
    for encoding in ("identity", "Identity"):
        headers = {"Content-Encoding": encoding}
        answer = await service.http.request(method, f"{service.documents}{path}", content=content, headers=headers)
        assert answer.status_code in (200, 201, 409)


# -------------------------------------------------------------------------------------------------------------- sort

SORTS = [("-total", [["total", -1]]), ("total", [["total", 1]]), ("group,-total", [["group", 1], ["total", -1]])]
SORTS += [(" -total , group ", [["total", -1], ["group", 1]]), ("-items.qty", [["items.qty", -1]])]


@pytest.mark.parametrize(("words", "pairs"), SORTS, ids=[words for words, _ in SORTS])
async def test_sort_is_taken_as_tail_takes_it(service: Service, words: str, pairs: list[Any]) -> None:
    service.database.orders.insert_many(
        {"_id": n, "group": n % 3, "total": n * n % 17, "items": [{"qty": n * 5 % 7}]} for n in range(30)
    )
    expected = list(service.database.orders.find().sort([*map(tuple, pairs), ("_id", 1)]))
    assert expected != list(service.database.orders.find())
    by_words, by_pairs = [
        (await service.http.get(service.documents, params={"sort": given})).json()
        for given in (words, json.dumps(pairs))
    ]
    assert by_words["documents"] == by_pairs["documents"] == expected
    lines = await service.http.get(service.documents, params={"sort": words}, headers={"Accept": NDJSON})
    assert [json.loads(line) for line in lines.text.splitlines()][:-1] == expected
    async with streaming(service.url, service.documents, sort=words, limit="30") as stream:
        await live(stream)
        assert stream.of("snapshot")[0].frame["documents"] == expected


@pytest.mark.parametrize("given", ["-", ",", "a,,b", "a,-a", "$a", "[a]"])
async def test_what_is_no_sort_is_refused(service: Service, given: str) -> None:
    service.database.orders.insert_one({"a": 1})
    for accept in ("application/json", STREAM):
        answer = await service.http.get(service.documents, params={"sort": given}, headers={"Accept": accept})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), accept


# ------------------------------------------------------------------------------------------------------------- count


async def test_a_page_says_how_many_match_in_all(service: Service) -> None:
    service.database.orders.insert_many({"_id": n, "open": n % 3 == 0} for n in range(30))
    for query, count, shown in (
        ("count=true", 30, 30),
        ("count=true&limit=7", 30, 7),
        ('count=true&limit=4&skip=8&filter={"open":true}', 10, 2),
        ('count=true&filter={"open":"never"}', 0, 0),
        ("count=false&limit=1", None, 1),
    ):
        answer = (await service.http.get(f"{service.documents}?{query}")).json()
        assert (answer.get("count"), len(answer["documents"])) == (count, shown), query
    page = (await service.http.get(f"{service.documents}?limit=20&count=true")).json()
    rest = (await service.http.get(f"{service.documents}?limit=20&count=true&after={page['next']}")).json()
    assert (len(rest["documents"]), rest["count"]) == (10, 30)
    nothing = await service.http.get(service.path("/v1/collections/nothing/documents?count=true"))
    assert nothing.json()["count"] == 0


async def test_the_count_is_of_the_pages_own_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.database.orders.insert_many({"_id": n} for n in range(5))
    reader = service.realtime.live().reader
    counting = reader.count

    async def later(*given: Any) -> int:
        service.database.orders.insert_many([{}, {}])
        found: int = await counting(*given)
        return found

    monkeypatch.setattr(reader, "count", later)
    answer = (await service.http.get(f"{service.documents}?count=true")).json()
    assert (answer["count"], len(answer["documents"])) == (5, 5)
    assert service.database.orders.count_documents({}) == 7


async def test_a_count_that_takes_too_long_ends_and_names_the_mend(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.database.orders.insert_many({"_id": n, "text": "a" * 100} for n in range(30_000))
    reader = service.realtime.live().reader
    counting = reader.count

    async def in_a_millisecond(*given: Any) -> Any:
        monkeypatch.setattr(reader, "_gate", Gate(0.001))
        return await counting(*given)

    monkeypatch.setattr(reader, "count", in_a_millisecond)
    query = {"filter": '{"text": {"$regex": "b"}}', "count": "true", "limit": "1"}
    answer = await service.http.get(service.documents, params=query)
    assert (answer.status_code, answer.json()["code"]) == (504, "timeout")
    assert answer.json()["details"] == {"field": "count"}
    assert "narrow the filter" in answer.json()["detail"]


@pytest.mark.parametrize("accept", [NDJSON, STREAM])
async def test_a_count_goes_with_a_page_alone(service: Service, accept: str) -> None:
    answer = await service.http.get(f"{service.documents}?count=true", headers={"Accept": accept})
    assert (answer.status_code, answer.json()["details"]) == (422, {"field": "count"})
