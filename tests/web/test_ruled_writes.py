"""Writes under rules, over HTTP, typed routes and the socket alike."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from realtime import Collection
from realtime.access.minting import new_token
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.policy import Policy
from realtime.settings import load
from tests.access.issuer import SECRET
from tests.embedding import by_router, hosting
from tests.replica_set import ReplicaSet
from tests.serving import Service
from tests.wire import wired

KEYED = {"auth": "jwt", "jwt_secret": SECRET}
SETTINGS = load(**KEYED)
OWN = {
    "read": {"owner": "$user.sub"},
    "insert": {"owner": "$user.sub"},
    "update": {"owner": "$user.sub"},
    "delete": {"owner": "$user.sub"},
    "fields": {"hide": ["margin"]},
}
POLICY = Policy(Rules.model_validate({"collections": {name: {"customer": OWN} for name in ("orders", "tasks")}}))


class Task(BaseModel):
    model_config = ConfigDict(extra="allow")
    title: str = "untitled"


def token(sub: str, *roles: str) -> str:
    # A day: some are made when the tests are collected, a quarter of an hour before they are used.
    return new_token(SETTINGS, sub=sub, roles=roles, claims={}, now=time.time(), seconds=86_400)


def header(sub: str, *roles: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(sub, *roles)}"}


ANN = header("ann", "customer")


@pytest.fixture
async def ruled(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    """A host under rules, where tasks have a model, and so routes of their own."""
    configured = [Collection("tasks", model=Task)]
    async with hosting(replica_set, by_router, collections=configured, others=True, **KEYED) as service:
        live = service.realtime.live()
        live.limits = dataclasses.replace(live.limits, policy=POLICY)
        yield service


def documents(service: Service, collection: str) -> str:
    return service.path(f"/v1/collections/{collection}/documents")


async def told(service: Service, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    answer = await service.http.request(method, path, json=body, headers={**ANN, **headers})
    shown = answer.json()
    for name in ("position", "instance"):
        shown.pop(name, None)
    return answer.status_code, shown


@pytest.mark.parametrize("collection", ["orders", "tasks"])
async def test_the_same_is_let_over_http_and_the_socket(ruled: Service, collection: str) -> None:
    at = documents(ruled, collection)
    async with wired(ruled.url, additional_headers=ANN) as wire:
        let = [
            await told(ruled, "POST", at, {"_id": "a", "owner": "ann"}),
            await told(ruled, "POST", at, [{"_id": "b", "owner": "ann"}, {"_id": "c", "owner": "ann"}]),
            await told(ruled, "PUT", f"{at}/a", {"owner": "ann", "n": 1}),
            await told(ruled, "PATCH", f"{at}/a", {"$inc": {"n": 1}}),
            await told(ruled, "DELETE", f"{at}/b"),
        ]
        assert [status for status, _ in let] == [201, 201, 200, 200, 200]
        asks: list[dict[str, Any]] = [
            {"type": "insert", "document": {"_id": "d", "owner": "ann"}},
            {"type": "replace", "key": "d", "document": {"owner": "ann", "n": 1}},
            {"type": "update", "key": "d", "update": {"$inc": {"n": 1}}},
            {"type": "delete", "key": "c"},
        ]
        assert [(await wire.ask(collection=collection, **one))["type"] for one in asks] == ["result"] * 4
        refused = [
            await told(ruled, "POST", at, {"owner": "bob"}),
            await told(ruled, "POST", at, [{"owner": "ann"}, {"owner": "ann", "margin": 1}]),
            await told(ruled, "PUT", f"{at}/a", {"owner": "bob"}),
            await told(ruled, "PATCH", f"{at}/a", {"$set": {"owner": "bob"}}),
            await told(ruled, "PATCH", f"{at}/a", {"$inc": {"margin": 1}}),
        ]
        assert [(status, problem["code"]) for status, problem in refused] == [(403, "forbidden")] * 5
        asks = [
            {"type": "insert", "document": {"owner": "bob"}},
            {"type": "replace", "key": "a", "document": {"owner": "bob"}},
            {"type": "update", "key": "a", "update": {"$set": {"owner": "bob"}}},
            {"type": "update", "key": "a", "update": {"$set": {"n": 1}}, "where": {"margin": 1}},
            {"type": "delete", "key": "a", "where": {"margin": {"$exists": True}}},
        ]
        assert [(await wire.ask(collection=collection, **one)).get("code") for one in asks] == ["forbidden"] * 5
    stored = {one["_id"]: one for one in ruled.database[collection].find()}
    assert {key: (one["owner"], one["n"]) for key, one in stored.items()} == {"a": ("ann", 2), "d": ("ann", 2)}


async def test_whoever_has_no_grant_writes_nothing(ruled: Service) -> None:
    at = documents(ruled, "orders")
    nobody = header("ann")
    for method, path, body in (
        ("POST", at, {"owner": "ann"}),
        ("PUT", f"{at}/a?upsert=true", {"owner": "ann"}),
        ("PATCH", f"{at}/a?upsert=true", {"$set": {"owner": "ann"}}),
        ("DELETE", f"{at}/a", None),
        ("POST", documents(ruled, "others"), {"owner": "ann"}),
    ):
        assert (await told(ruled, method, path, body, **nobody))[0] == 403
    async with wired(ruled.url, additional_headers=nobody) as wire:
        answer = await wire.ask(type="insert", collection="orders", document={"owner": "ann"})
    assert answer["code"] == "forbidden"
    assert ruled.database.list_collection_names() == []


async def test_what_is_not_seen_is_answered_as_what_is_missing(ruled: Service) -> None:
    ruled.database.orders.insert_one({"_id": "1", "owner": "bob", "margin": 1})
    at = documents(ruled, "orders")
    ifs: list[dict[str, str]] = [{}, {"If-Match": "*"}, {"If-Match": '"x"'}, {"If-None-Match": "*"}]
    compared = 0
    for method, body in (("PUT", {"owner": "ann"}), ("PATCH", {"$set": {"n": 1}}), ("DELETE", None)):
        for conditions in ifs:
            answers = [await told(ruled, method, f"{at}/{key}", body, **conditions) for key in "12"]
            assert answers[0] == answers[1]
            assert answers[0][0] in {404, 412}
            compared += 1
    async with wired(ruled.url, additional_headers=ANN) as wire:
        for one in (
            {"type": "update", "update": {"$set": {"n": 1}}},
            {"type": "replace", "document": {"owner": "ann"}},
            {"type": "delete", "where": {"n": 1}},
            {"type": "update", "update": {"$set": {"owner": "ann"}}, "where": {"n": 1}, "upsert": True},
        ):
            frames = [await wire.ask(collection="orders", key=key, **one) for key in "12"]
            assert {name: value for name, value in frames[0].items() if name != "id"} == {
                name: value for name, value in frames[1].items() if name != "id"
            }
            assert frames[0]["code"] in {"not_found", "precondition_failed"}
            compared += 1
    assert compared == 16
    assert list(ruled.database.orders.find()) == [{"_id": "1", "owner": "bob", "margin": 1}]


async def test_the_tag_of_a_write_is_of_what_its_writer_sees(ruled: Service) -> None:
    at = f"{documents(ruled, 'orders')}/1"
    ruled.database.orders.insert_one({"_id": "1", "owner": "ann", "margin": 1})
    first = await ruled.http.patch(at, json={"$set": {"n": 1}}, headers=ANN)
    ruled.database.orders.update_one({}, {"$set": {"margin": 2}})
    second = await ruled.http.patch(at, json={"$set": {"n": 1}}, headers={**ANN, "If-Match": first.headers["ETag"]})
    assert (second.status_code, second.headers["ETag"]) == (200, first.headers["ETag"])
    put = await ruled.http.put(at, json={"owner": "ann", "n": 2}, headers={**ANN, "If-Match": first.headers["ETag"]})
    assert put.status_code == 200
    assert put.headers["ETag"] != first.headers["ETag"]
    assert "modified" not in put.json()
    gone = await ruled.http.delete(at, headers={**ANN, "If-Match": first.headers["ETag"]})
    assert gone.status_code == 412
    assert ruled.database.orders.find_one() == {"_id": "1", "owner": "ann", "n": 2, "margin": 2}


async def test_the_rules_are_those_of_when_a_write_is_carried_out(ruled: Service) -> None:
    """A token that came by `auth` in the meantime counts, for what was taken before it and waits."""
    async with wired(ruled.url, additional_headers=header("ann")) as wire:
        before = await wire.ask(type="insert", collection="orders", document={"owner": "ann"})
        assert (await wire.ask(type="auth", token=token("ann", "customer")))["type"] == "authenticated"
        after = await wire.ask(type="insert", collection="orders", document={"owner": "ann"})
        assert (await wire.ask(type="auth", token=token("ann")))["type"] == "authenticated"
        again = await wire.ask(type="insert", collection="orders", document={"owner": "ann"})
    assert [one["type"] for one in (before, after, again)] == ["error", "result", "error"]
    assert ruled.database.orders.count_documents({}) == 1
