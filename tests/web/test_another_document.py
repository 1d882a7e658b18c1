"""What is asked of one key is done to the document of that key alone, or to none."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.serving import Service
from tests.wire import wired

ENDS = "a\0\5\0\0\0\x10c"
"""A name that ends early in BSON: what follows would make `{<this>: 1}` the bytes of `{a: 5, c: 1}`."""
INJECTED = [{ENDS: 1}, {"k": [{ENDS: 1}]}, {"$code": "f()", "$scope": {ENDS: 1}}, {"a\0": 1}]
THERE = [{"a": 5, "c": 1}, {"k": [{"a": 5, "c": 1}]}]


@pytest.mark.parametrize("key", INJECTED, ids=["object", "inside", "scope", "no-bson"])
async def test_a_name_with_a_nul_character_leads_to_nothing(service: Service, key: Any) -> None:
    """`delete` of the first deleted the document `{a: 5, c: 1}`; the last was `internal`, a bug of ours."""
    service.database.orders.insert_many([{"_id": there, "n": 0} for there in THERE])
    value = {"$set": {"v": key}}
    async with wired(service.url) as wire:
        answers = [
            await wire.ask(collection="orders", **fields)
            for fields in (
                {"type": "delete", "key": key},
                {"type": "update", "key": key, "update": {"$set": {"n": 1}}},
                {"type": "update", "key": THERE[0], "update": value},
                {"type": "replace", "key": key, "document": {"n": 1}, "upsert": True},
                {"type": "insert", "document": {"v": key}},
                {"type": "subscribe", "filter": {"v": key}},
                {"type": "subscribe", "projection": {"v": {"$literal": key}}},
            )
        ]
    path = f"{service.documents}/{quote(json.dumps(key), safe='')}"
    for method, body in (("GET", None), ("DELETE", None), ("PUT", {"n": 1}), ("PATCH", {"$set": {"n": 1}})):
        answers.append((await service.http.request(method, path, json=body)).json())
    answers.append((await service.http.patch(f"{service.documents}/%7B%22a%22:5,%22c%22:1%7D", json=value)).json())
    answers.append((await service.http.get(service.documents, params={"filter": json.dumps({"v": key})})).json())
    assert {(answer.get("code"), answer["retry"]) for answer in answers} == {("invalid_request", False)}, answers
    assert all("NUL" in str(answer) for answer in answers), answers
    assert [found["n"] for found in service.database.orders.find()] == [0, 0]


async def test_a_collation_makes_no_key_another_one(service: Service) -> None:
    """With a collection's default collation `abc` led to `ABC`: it was read, changed and deleted under that name."""
    service.database.create_collection("people", collation={"locale": "en", "strength": 1})
    service.database["people"].insert_many([{"_id": "ABC", "n": 0, "tags": ["X"]}, {"_id": {"k": "É"}, "n": 0}])
    path = service.path("/v1/collections/people/documents")
    for method, body in (("GET", None), ("PUT", {"n": 1}), ("PATCH", {"$set": {"n": 1}}), ("DELETE", None)):
        for key in ("abc", "%C3%A0bc", "%7B%22k%22:%22e%22%7D"):
            for headers in ({}, {"If-Match": "*"}):
                refused = await service.http.request(method, f"{path}/{key}", json=body, headers=headers)
                assert refused.status_code in {404, 412}, refused.text
    async with wired(service.url) as wire:
        for fields in (
            {"type": "delete", "key": "abc"},
            {"type": "update", "key": "abc", "update": {"$set": {"n": 1}}},
            {"type": "update", "key": "ABC", "update": {"$set": {"n": 1}}, "where": {"tags": "x"}},
            {"type": "update", "key": "ABC", "update": {"$set": {"n": 1}}, "where": {"_id": "abc"}},
        ):
            answer = await wire.ask(collection="people", **fields)
            assert answer.get("code") in {"not_found", "precondition_failed"}, answer
        pulled = await wire.ask(type="update", collection="people", key="ABC", update={"$pull": {"tags": "x"}})
        assert (pulled["matched"], pulled["modified"]) == (1, 0)
    made = await service.http.put(f"{path}/abc?upsert=true", json={"n": 1})
    assert (made.status_code, made.json()["code"]) == (409, "duplicate_key")  # its index of keys is of that collation
    assert [found["n"] for found in service.database["people"].find()] == [0, 0]
    assert (await service.http.patch(f"{path}/ABC", json={"$set": {"n": 2}})).json()["modified"] == 1
    assert (await service.http.delete(f"{path}/ABC")).status_code == 200
    assert service.database["people"].count_documents({}) == 1
