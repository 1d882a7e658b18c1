"""Documents over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from tests.serving import Service
from tests.wire import wired


async def test_insert_answers_the_key_the_position_and_where_it_is(service: Service) -> None:
    made = await service.http.post(service.documents, json={"status": "open", "total": 12.5})
    assert made.status_code == 201
    body = made.json()
    key = ObjectId(body["keys"][0]["$oid"])
    assert service.database.orders.find_one({"_id": key}) == {"_id": key, "status": "open", "total": 12.5}
    assert made.headers["location"] == f"{service.documents}/{key}"
    assert len(body["position"]) == 25
    found = await service.http.get(made.headers["location"])
    assert (found.status_code, found.json()["status"]) == (200, "open")


async def test_the_etag_changes_with_the_document_and_only_then(service: Service) -> None:
    service.database.orders.insert_one({"_id": "a", "n": 1})
    first = await service.http.get(f"{service.documents}/a")
    again = await service.http.get(f"{service.documents}/a")
    service.database.orders.update_one({"_id": "a"}, {"$set": {"n": 2}})
    changed = await service.http.get(f"{service.documents}/a")
    assert first.headers["etag"] == again.headers["etag"] != changed.headers["etag"]


async def test_replace_update_and_delete(service: Service) -> None:
    path = f"{service.documents}/a"
    missing = await service.http.put(path, json={"n": 1})
    made = await service.http.put(f"{path}?upsert=true", json={"n": 1})
    replaced = await service.http.put(path, json={"n": 2})
    updated = await service.http.patch(path, json={"$inc": {"n": 5}})
    assert [missing.status_code, made.status_code, replaced.status_code, updated.status_code] == [404, 201, 200, 200]
    assert service.database.orders.find_one() == {"_id": "a", "n": 7}
    assert updated.json()["modified"] == 1
    positions = [answer.json()["position"] for answer in (made, replaced, updated)]
    assert positions == sorted(set(positions))
    assert (await service.http.delete(path)).status_code == 200
    assert (await service.http.delete(path)).status_code == 404
    assert (await service.http.get(path)).status_code == 404


KEYS = [
    ("6579f0c2a1b2c3d4e5f60718", ObjectId("6579f0c2a1b2c3d4e5f60718")),
    ('{"$numberInt":"7"}', 7),
    ('{"$numberLong":"9007199254740993"}', Int64(9007199254740993)),
    ("7", "7"),
    ('"6579f0c2a1b2c3d4e5f60718"', "6579f0c2a1b2c3d4e5f60718"),
    ("a/b c?d", "a/b c?d"),
    ('{"$numberDecimal":"1.50"}', Decimal128("1.50")),
    ('{"a":1,"b":"x"}', {"a": 1, "b": "x"}),
]


@pytest.mark.parametrize(("text", "value"), KEYS, ids=[text for text, _ in KEYS])
async def test_a_key_in_the_path_is_the_value_it_stands_for(service: Service, text: str, value: Any) -> None:
    service.database.orders.insert_one({"_id": value, "n": 1})
    found = await service.http.get(f"{service.documents}/{quote(text, safe='')}")
    assert found.status_code == 200, found.text
    assert found.json()["n"] == 1


async def test_the_location_of_an_insert_reads_back_whatever_the_key(service: Service) -> None:
    keys: list[Any] = [7, "7", "a/b", "{", '"', {"$numberLong": "9007199254740993"}, {"x": 1}, True, None, 1.5, "", "."]
    for key in keys:
        made = await service.http.post(service.documents, json={"_id": key, "is": json.dumps(key)})
        assert made.status_code == 201, made.text
        found = await service.http.get(made.headers["location"])
        assert (found.status_code, found.json().get("is")) == (200, json.dumps(key)), key


async def test_the_list_filters_projects_sorts_limits_and_skips_like_find(service: Service) -> None:
    service.database.orders.insert_many({"_id": n, "group": n % 3, "total": n * n % 17} for n in range(50))
    answer = await service.http.get(
        service.documents,
        params={
            "filter": '{"group": {"$in": [0, 1]}}',
            "projection": '{"total": 1}',
            "sort": '[["total", -1]]',
            "limit": "7",
            "skip": "3",
        },
    )
    expected = list(
        service.database.orders.find({"group": {"$in": [0, 1]}}, {"total": 1}).sort([("total", -1), ("_id", 1)])[3:10]
    )
    assert answer.json()["documents"] == expected
    assert len(expected) == 7
    as_object = await service.http.get(service.documents, params={"sort": '{"total": -1}', "limit": "1"})
    assert as_object.json()["documents"] == list(service.database.orders.find().sort([("total", -1), ("_id", 1)])[:1])


async def test_the_list_of_a_collection_that_is_not_there_is_empty_and_has_a_position(service: Service) -> None:
    answer = await service.http.get(service.path("/v1/collections/nothing/documents"))
    assert answer.json()["documents"] == []
    assert len(answer.json()["position"]) == 25


async def test_pages_larger_than_one_reply_of_mongodb_are_whole(service: Service) -> None:
    service.database.orders.insert_many({"_id": n, "text": "x" * 100_000} for n in range(300))
    answer = await service.http.get(service.documents, params={"limit": "1000"})
    assert [document["_id"] for document in answer.json()["documents"]] == list(range(300))


async def test_collections_are_named_with_their_counts(service: Service) -> None:
    service.database.orders.insert_many({"_id": n} for n in range(5))
    service.database.realtime_own.insert_one({})
    answer = await service.http.get(service.path("/v1/collections"))
    (only,) = answer.json()["collections"]
    assert (only["name"], only["count"]) == ("orders", 5)


async def test_a_count_says_up_to_which_position_it_has_what_happened(service: Service) -> None:
    """Seen on the page, which counts on from there: what was told late was counted twice."""
    for number in range(3):
        written = await service.http.post(service.documents, json={"_id": number})
        (only,) = (await service.http.get(service.path("/v1/collections"))).json()["collections"]
        assert only["count"] == number + 1
        assert only["position"] >= written.json()["position"]


async def test_100_posts_are_100_changes_of_one_key_each_at_or_after_the_writes(service: Service) -> None:
    async with wired(service.url) as wire:
        view = await wire.subscribe("orders")
        answers = [await service.http.post(service.documents, json={"_id": n}) for n in range(100)]
        await wire.when(lambda: len(view.documents) == 100)
    positions = {answer.json()["keys"][0]: answer.json()["position"] for answer in answers}
    changes = [(change, frame["position"]) for frame in wire.of("changes") for change in frame["changes"]]
    assert [(change["op"], change["key"]) for change, _ in changes] == [("enter", n) for n in range(100)]
    assert all(position >= positions[change["key"]] for change, position in changes)
    assert len(positions) == 100


async def test_a_write_by_anybody_reaches_the_subscriber(service: Service) -> None:
    """By another program, over another socket, over HTTP: one change each, in the order of their commits."""
    async with wired(service.url) as wire, wired(service.url) as other:
        view = await wire.subscribe("orders")
        for n in range(100):
            if n % 3 == 0:
                await asyncio.to_thread(service.database.orders.insert_one, {"_id": n})
            elif n % 3 == 1:
                assert (await other.ask(type="insert", collection="orders", document={"_id": n}))["type"] == "result"
            else:
                assert (await service.http.post(service.documents, json={"_id": n})).status_code == 201
        await wire.when(lambda: len(view.documents) == 100)
    assert [change["key"] for frame in wire.of("changes") for change in frame["changes"]] == list(range(100))


async def test_the_description_has_examples_and_every_route(service: Service) -> None:
    description = (await service.http.get("/openapi.json")).json()
    paths = description["paths"]
    assert {"get", "post"} <= paths[service.path("/v1/collections/{collection}/documents")].keys()
    assert {"get", "put", "patch", "delete"} <= paths[
        service.path("/v1/collections/{collection}/documents/{key}")
    ].keys()
    post = paths[service.path("/v1/collections/{collection}/documents")]["post"]
    assert {"one", "several"} <= post["requestBody"]["content"]["application/json"]["examples"].keys()
    assert "application/problem+json" in post["responses"]["409"]["content"]


async def test_health_readiness_and_metrics(service: Service) -> None:
    assert (await service.http.get(service.path("/healthz"))).json() == {"status": "alive"}
    assert (await service.http.get(service.path("/readyz"))).status_code == 200
    text = (await service.http.get(service.path("/metrics"))).text
    assert "realtime_change_events_total" in text
    assert "realtime_feed_up 1.0" in text
