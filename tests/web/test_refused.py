"""What MongoDB refuses because of what is written or how it is sorted: said so, and not as a bug of the service."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving import Service
from tests.wire import wired

POINT = {"type": "Point", "coordinates": [200, 100]}
# The index, a document that does not go with it, and a word of MongoDB's reason.
INDEXES: list[tuple[Any, dict[str, Any], str]] = [
    ([("a", 1), ("b", 1)], {"a": [1, 2], "b": [1, 2]}, "parallel arrays"),
    ([("g", "2dsphere")], {"g": POINT}, "out of bounds"),
    ([("g", "2dsphere")], {"g": "here"}, "must be an array or object"),
    ([("g", "2d")], {"g": [200, 100]}, "not in interval"),
    ([("g", "2d")], {"g": [1]}, "only has 1 element"),
    ([("g", "2d")], {"g": ["x"]}, "not in correct format"),
    ([("t", "text")], {"t": "x", "language": "klingon"}, "klingon"),
    ([("t", "text")], {"t": "x", "language": 7}, "non-string type"),
    ([("h", "hashed")], {"h": [1]}, "do not currently support array values"),
    ([("a.0", 1)], {"a": [{"0": 1}]}, "Ambiguous field name"),
]
IDS = [word.replace(" ", "-") for _, _, word in INDEXES]


@pytest.mark.parametrize(("index", "document", "word"), INDEXES, ids=IDS)
async def test_what_an_index_does_not_take_is_the_documents_fault_by_every_way(
    service: Service, index: Any, document: dict[str, Any], word: str
) -> None:
    """It was `internal`, a bug of the service, with `retry: true`: a client sent it again and again."""
    service.database.orders.create_index(index)
    service.database.orders.insert_one({"_id": "k"})
    path, tag = f"{service.documents}/k", {"If-Match": "*"}
    answers = [
        await service.http.post(service.documents, json=document),
        await service.http.post(service.documents, json=[{"_id": "first"}, document]),
        await service.http.put(path, json=document),
        await service.http.put(path, json=document, headers=tag),
        await service.http.patch(path, json={"$set": document}),
        await service.http.put(f"{service.documents}/new?upsert=true", json=document),
    ]
    told = [answer.json() for answer in answers]
    async with wired(service.url) as wire:
        to = {"collection": "orders", "key": "k"}
        told += [
            await wire.ask(type="insert", collection="orders", document=document),
            await wire.ask(type="replace", **to, document=document),
            await wire.ask(type="update", **to, update={"$set": document}, where={"_id": "k"}),
        ]
    assert [(one["code"], one["retry"]) for one in told] == [("validation_failed", False)] * 9
    assert {answer.status_code for answer in answers} == {422}
    assert all(word in one["details"]["reason"] for one in told)
    assert not any("Plan executor" in str(one) for one in told)
    assert told[1]["details"]["index"] == 1
    assert list(service.database.orders.find()) == [{"_id": "k"}]


async def test_a_long_document_is_not_quoted_whole_where_an_index_refuses_it(service: Service) -> None:
    service.database.orders.create_index([("g", "2dsphere")])
    told = (await service.http.post(service.documents, json={f"f{n}": n for n in range(5000)} | {"g": POINT})).json()
    assert told["code"] == "validation_failed"
    assert "longitude/latitude is out of bounds" in told["details"]["reason"]
    assert len(str(told)) < 2000


async def test_of_a_time_series_one_document_is_not_deleted_and_that_is_said(service: Service) -> None:
    service.database.create_collection("series", timeseries={"timeField": "t"})
    path = service.path("/v1/collections/series/documents/k")
    answers = [
        await service.http.delete(path),
        await service.http.put(path, json={"a": 1}),
        await service.http.patch(path, json={"$set": {"a": 1}}),
    ]
    assert [(one.status_code, one.json()["code"]) for one in answers] == [(422, "unsupported_collection")] * 3


SORTS = [
    ("a,b", {"a": [1, 2], "b": [1, 2]}, "two arrays side by side"),
    ("a.0", {"a": [{"0": {"0": 1}}]}, "'0' is both a name and a place"),
    ("a.1,b", {"a": [1, {"1": 2}], "b": 1}, "'1' is both a name and a place"),
]


@pytest.mark.parametrize(("sort", "document", "reason"), SORTS, ids=["parallel", "numeric", "numeric-second"])
async def test_what_cannot_be_sorted_has_one_answer_by_every_way_live_or_not(
    service: Service, sort: str, document: dict[str, Any], reason: str
) -> None:
    """A page said `invalid_filter` or `internal` where a live query said `invalid_request` and the mend."""
    parameters = {"sort": sort, "limit": "3"}
    keys = [[name, 1] for name in sort.split(",")]
    async with wired(service.url) as wire:
        await wire.subscribe("orders", sort=keys, limit=3)
        service.database.orders.insert_one({"_id": 1, **document})
        told = [await wire.until(lambda frame: frame["type"] == "unsubscribed")]
        told.append(await wire.ask(type="subscribe", id="again", collection="orders", sort=keys))
    for kind in ("application/json", "application/x-ndjson"):
        answer = await service.http.get(service.documents, params=parameters, headers={"Accept": kind})
        assert answer.status_code == 422
        told.append({**answer.json(), "message": answer.json()["detail"]})
    assert [(one["code"], one["retry"]) for one in told] == [("invalid_request", False)] * 4
    assert [one["details"] for one in told[1:]] == [{"field": "sort"}] * 3  # `unsubscribed` has none
    assert len({one["message"] for one in told}) == 1
    assert reason in told[0]["message"]
    assert "sort by one of the arrays, or by another path" in told[0]["message"]


@pytest.mark.parametrize(
    "query",
    ["limit=1&limit=2", "limit=1&limit=1", "filter={}&limit=1&filter={}", "sort=a&sort=b", "count=true&count=false"],
)
async def test_a_parameter_that_stands_twice_is_refused_by_name(service: Service, query: str) -> None:
    """The last one counted, without a word."""
    for kind in ("application/json", "application/x-ndjson", "text/event-stream"):
        answer = await service.http.get(f"{service.documents}?{query}", headers={"Accept": kind})
        name = query.split("=", maxsplit=1)[0]
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert answer.json()["detail"] == f"{name}: stands twice in the address: give it once"
    put = await service.http.put(f"{service.documents}/k?upsert=false&upsert=true", json={})
    assert put.json()["details"] == {"field": "upsert"}
    assert service.database.orders.count_documents({}) == 0


@pytest.mark.parametrize(
    ("sort", "reason"),
    [
        ('[["a",1],["a",-1]]', "stands twice (at a)"),
        ("a,-a", "stands twice (at a)"),
        ('[["a",2]]', "the direction is 1 or -1 (at a)"),
        ('[["a"]]', "each key is [path, 1 or -1] (at the top)"),
        ('[["a..b",1]]', "no path that can be sorted by (at a..b)"),
    ],
)
async def test_a_sort_that_is_none_is_told_why_in_the_same_words_by_every_way(
    service: Service, sort: str, reason: str
) -> None:
    """Of a path that stood twice it said "not a [path, 1 or -1]", which each of the two was."""
    for kind in ("application/json", "application/x-ndjson", "text/event-stream"):
        answer = await service.http.get(service.documents, params={"sort": sort}, headers={"Accept": kind})
        assert answer.status_code == 422, "the last of them would be a stream without an end"
        told = answer.json()
        assert (told["code"], told["detail"]) == ("invalid_request", f"sort: {reason}")
        assert told["details"]["field"] == "sort"
