"""Configured collections: which are served, and what a model says of their documents, over HTTP and the socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import Enum
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from pydantic import BaseModel, ConfigDict, Field

from realtime import Collection
from tests.embedding import by_router, hosting
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import wired


class State(Enum):
    OPEN = "open"
    PAID = "paid"


class Line(BaseModel):
    name: str
    count: int = Field(1, ge=1)
    parts: list[Line] = Field(default_factory=list)


class Order(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    state: State = State.OPEN
    total: float
    lines: list[Line] = Field(default_factory=list)
    customer: ObjectId | None = None


@pytest.fixture(scope="module")
async def typed(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    """A host whose orders have a model; customers are served as well, and nothing else."""
    configured = [Collection("orders", model=Order), Collection("customers")]
    async with hosting(replica_set, by_router, collections=configured) as service:
        yield service


@pytest.fixture(autouse=True)
def empty(typed: Service) -> None:
    for name in ("orders", "customers", "invoices"):
        typed.database[name].delete_many({})


def orders(service: Service) -> list[Any]:
    return list(service.database.orders.find())


# -------------------------------------------------------------------------------------------------------------- models


async def test_what_is_written_is_what_the_model_makes_of_it(typed: Service) -> None:
    async with wired(typed.url) as wire:
        view = await wire.subscribe("orders")
        made = await typed.http.post(typed.documents, json={"_id": "a", "total": "12.5", "unknown": 1})
        done = await wire.ask(type="insert", collection="orders", document={"_id": "b", "total": 1, "state": "paid"})
        put = await typed.http.put(f"{typed.documents}/a", json={"total": {"$numberInt": "3"}})
        again = await wire.ask(type="replace", collection="orders", key="c", document={"total": 4}, upsert=True)
        await wire.when(lambda: len(view.documents) == 3)
    assert (made.status_code, done["type"], put.status_code, again["upserted"]) == (201, "result", 200, True)
    plain: dict[str, Any] = {"state": "open", "lines": [], "customer": None}
    assert orders(typed) == [
        {"_id": "a", "total": 3.0, **plain},
        {"_id": "b", "total": 1.0, **plain, "state": "paid"},
        {"_id": "c", "total": 4.0, **plain},
    ]
    assert [type(order["total"]) for order in orders(typed)] == [float] * 3


async def test_what_the_model_refuses_is_not_written_and_every_path_is_told(typed: Service) -> None:
    bad = {"total": "much", "lines": [{"name": "x", "count": 0}]}
    typed.database.orders.insert_one({"_id": "a", "total": 1.0})
    async with wired(typed.url) as wire:
        over_socket = [
            await wire.ask(type="insert", collection="orders", document=bad),
            await wire.ask(type="replace", collection="orders", key="a", document=bad),
        ]
        over_http = [
            await typed.http.post(typed.documents, json=bad),
            await typed.http.put(f"{typed.documents}/a", json=bad),
            await typed.http.put(f"{typed.documents}/new?upsert=true", json=bad),
        ]
    assert {answer.status_code for answer in over_http} == {422}
    told = over_socket + [answer.json() for answer in over_http]
    assert {one["code"] for one in told} == {"validation_failed"}
    for one in told:
        assert [error["path"] for error in one["details"]["errors"]] == ["total", "lines.0.count"]
    assert over_http[0].headers["content-type"] == "application/problem+json"
    assert orders(typed) == [{"_id": "a", "total": 1.0}]


async def test_a_list_is_what_the_model_makes_of_each_or_nothing(typed: Service) -> None:
    refused = await typed.http.post(typed.documents, json=[{"_id": 1, "total": 1}, {"_id": 2}])
    assert (refused.status_code, refused.json()["code"]) == (422, "validation_failed")
    assert refused.json()["details"] == {"errors": [{"path": "total", "message": "Field required"}], "index": 1}
    assert orders(typed) == []
    made = await typed.http.post(typed.documents, json=[{"_id": 1, "total": "1"}, {"_id": 2, "total": 2}])
    assert made.status_code == 201
    assert [(order["_id"], order["total"], order["state"]) for order in orders(typed)] == [
        (1, 1.0, "open"),
        (2, 2.0, "open"),
    ]


UPDATES = [
    ({"$set": {"state": "paid"}}, None),
    ({"$inc": {"total": 1}}, None),
    ({"$push": {"lines": {"name": "y", "count": 2, "parts": []}}}, None),
    ({"$set": {"state": "lost"}}, "state"),
    ({"$set": {"total": "12.5"}}, "total"),
    ({"$set": {"unknown": 1}}, "unknown"),
    ({"$unset": {"total": True}}, "total"),
    ({"$push": {"lines": {"count": 2}}}, "lines.1.name"),
    ({"$inc": {"lines.0.count": -5}}, "lines.0.count"),
]


@pytest.mark.parametrize(("update", "path"), UPDATES, ids=[str(update) for update, _ in UPDATES])
@pytest.mark.parametrize("where", [None, {"total": 1}])
async def test_an_update_is_refused_by_its_outcome_and_leaves_no_trace(
    typed: Service, update: dict[str, Any], path: str | None, where: dict[str, Any] | None
) -> None:
    """With a condition it is in a transaction already."""
    before = {"_id": "a", "state": "open", "total": 1.0, "lines": [{"name": "x", "count": 1, "parts": []}]}
    typed.database.orders.insert_one(before)
    condition = {} if where is None else {"where": where}
    async with wired(typed.url) as wire:
        view = await wire.subscribe("orders")
        answer = await wire.ask(type="update", collection="orders", key="a", update=update, **condition)
        if path is None:
            await wire.ask(type="ping", position=answer["position"])
            assert view.documents['"a"'] == orders(typed)[0]
    if path is None:
        assert (answer["type"], answer["modified"]) == ("result", 1)
        assert orders(typed) != [before]
    else:
        assert answer["code"] == "validation_failed"
        assert [error["path"] for error in answer["details"]["errors"]] == [path]
        assert orders(typed) == [before]


async def test_patch_is_checked_as_well_and_so_is_what_an_upsert_makes(typed: Service) -> None:
    path = f"{typed.documents}/a"
    refused = await typed.http.patch(f"{path}?upsert=true", json={"$set": {"state": "paid"}})
    made = await typed.http.patch(f"{path}?upsert=true", json={"$set": {"total": 1}})
    missing = await typed.http.patch(f"{typed.documents}/nobody", json={"$set": {"total": 1}})
    assert [refused.status_code, made.status_code, missing.status_code] == [422, 201, 404]
    assert refused.json()["details"]["errors"] == [{"path": "total", "message": "Field required"}]
    assert orders(typed) == [{"_id": "a", "total": 1}]


async def test_fields_of_other_programs_survive_an_update(typed: Service) -> None:
    typed.database.orders.insert_one({"_id": "a", "total": 1.0, "theirs": Decimal128("1.5")})
    assert (await typed.http.patch(f"{typed.documents}/a", json={"$inc": {"total": 1}})).status_code == 200
    assert orders(typed) == [{"_id": "a", "total": 2.0, "theirs": Decimal128("1.5")}]


async def test_the_description_has_the_models_schema_at_a_path_of_the_collection(typed: Service) -> None:
    paths = (await typed.http.get("/openapi.json")).json()["paths"]
    path = typed.path("/v1/collections/orders/documents")
    for method, where in (("post", path), ("put", f"{path}/{{key}}")):
        operation = paths[where][method]
        assert not any(one["name"] == "collection" for one in operation.get("parameters", []))
        assert "422" in operation["responses"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        text = str(schema)
        assert "$ref" not in text
        found = schema if "properties" in schema else next(one for one in schema["oneOf"] if "properties" in one)
        assert found["required"] == ["total"]
        assert found["properties"]["customer"]["anyOf"][0]["required"] == ["$oid"]
        assert found["properties"]["lines"]["items"]["properties"]["count"]["minimum"] == 1
        assert found["properties"]["state"]["enum"] == ["open", "paid"]
    assert typed.path("/v1/collections/customers/documents") not in paths
    assert typed.path("/v1/collections/{collection}/documents") in paths


async def test_the_path_of_its_own_is_the_general_one(typed: Service) -> None:
    made = await typed.http.post(typed.documents, json={"_id": "a", "total": 1})
    assert made.headers["location"] == f"{typed.documents}/a"
    unknown = await typed.http.post(f"{typed.documents}?unknown=1", json={"total": 1})
    foreign = await typed.http.post(typed.documents, json={"total": 1}, headers={"Host": "rebound.example"})
    listed = await typed.http.get(typed.documents)
    assert (unknown.status_code, unknown.json()["code"]) == (422, "invalid_request")
    assert (foreign.status_code, foreign.json()["code"]) == (403, "forbidden")
    assert [document["_id"] for document in listed.json()["documents"]] == ["a"]


# ---------------------------------------------------------------------------------------------- which are served at all


async def test_a_collection_that_is_not_configured_is_refused_everywhere(typed: Service) -> None:
    typed.database.invoices.insert_one({"_id": 1})
    path = typed.path("/v1/collections/invoices/documents")
    http = typed.http
    over_http = [
        await http.get(path),
        await http.get(f"{path}/1"),
        await http.post(path, json={}),
        await http.put(f"{path}/1", json={}),
        await http.patch(f"{path}/1", json={"$set": {"a": 1}}),
        await http.delete(f"{path}/1"),
    ]
    async with wired(typed.url) as wire:
        over_socket = [
            await wire.ask(type="subscribe", collection="invoices"),
            await wire.ask(type="subscribe", mode="events", collection=["orders", "invoices"]),
            await wire.ask(type="insert", collection="invoices", document={}),
            await wire.ask(type="replace", collection="invoices", key=1, document={}),
            await wire.ask(type="update", collection="invoices", key=1, update={"$set": {"a": 1}}),
            await wire.ask(type="delete", collection="invoices", key=1),
        ]
    assert {answer.status_code for answer in over_http} == {422}
    told = over_socket + [answer.json() for answer in over_http]
    assert len(told) == 12
    assert {one["code"] for one in told} == {"unsupported_collection"}
    assert all("REALTIME_COLLECTIONS" in one.get("message", one.get("detail")) for one in told)
    assert list(typed.database.invoices.find()) == [{"_id": 1}]


async def test_the_list_names_those_that_are_served(typed: Service) -> None:
    for name in ("orders", "customers", "invoices"):
        typed.database[name].insert_one({})
    answer = (await typed.http.get(typed.path("/v1/collections"))).json()
    assert [one["name"] for one in answer["collections"]] == ["customers", "orders"]


async def test_everything_is_what_is_configured_live_and_after_a_return(typed: Service) -> None:
    async with wired(typed.url) as wire:
        start = wire.frames[0]["position"]
        await wire.subscribe("*", mode="events")
        for n in range(3):
            typed.database.invoices.insert_one({"_id": n})
            typed.database.customers.insert_one({"_id": n})
        # What the tests before wrote may still be on its way.
        await wire.when(lambda: [e["key"] for frame in wire.of("events") for e in frame["events"]][-3:] == [0, 1, 2])
    async with wired(typed.url) as back:
        await back.subscribe("*", mode="events", position=start)
        again = [event for frame in back.of("events") for event in frame["events"]]
    live = [event for frame in wire.of("events") for event in frame["events"]]
    assert [event["collection"] for event in live][-3:] == ["customers"] * 3
    assert {event["collection"] for event in live} <= {"customers", "orders"}
    assert [event["key"] for event in again if event["op"] == "insert"][-3:] == [0, 1, 2]
    assert {event["collection"] for event in again} <= {"customers", "orders"}


async def test_a_rename_onto_a_configured_collection_is_told(typed: Service) -> None:
    typed.database.customers.insert_one({"_id": "old"})
    typed.database.invoices.insert_one({"_id": "new"})
    async with wired(typed.url) as wire, wired(typed.url) as other:
        view = await wire.subscribe("customers")
        await other.subscribe("customers", mode="events")
        typed.database.invoices.rename("customers", dropTarget=True)
        await wire.when(lambda: view.live and list(view.documents) == ['"new"'])
        await other.when(lambda: bool(other.of("events")))
    assert view.resyncs == 1
    (event,) = other.of("events")[0]["events"]
    assert (event["op"], event["to"]) == ("rename", "customers")


async def test_with_others_all_are_served_and_the_model_holds(replica_set: ReplicaSet) -> None:
    configured = [Collection("orders", model=Order)]
    async with (
        hosting(replica_set, by_router, collections=configured, others=True) as service,
        wired(service.url) as wire,
    ):
        view = await wire.subscribe("invoices")
        assert (await wire.ask(type="insert", collection="invoices", document={"_id": 1}))["type"] == "result"
        await wire.when(lambda: bool(view.documents))
        refused = await wire.ask(type="insert", collection="orders", document={})
    assert refused["code"] == "validation_failed"


async def test_the_setting_names_them_too(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, collections="orders, customers", feed_await_ms=100) as service:
        refused = await service.http.post("/v1/collections/invoices/documents", json={})
        made = await service.http.post("/v1/collections/customers/documents", json={})
    assert (refused.json()["code"], made.status_code) == ("unsupported_collection", 201)
