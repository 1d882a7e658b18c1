"""One language for all who filter: a live query, the list over HTTP, and the condition of a write."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.serving import Service
from tests.wire import wired

DOCUMENT = {
    "_id": 1,
    "name": "Ada L.",
    "tags": ["x", "y"],
    "items": [{"sku": "a", "n": 1}, {"sku": "b", "n": 7}],
    "bits": 5,
}
OTHER = {"_id": 2, "name": "Bob", "tags": ["y"], "items": [{"sku": "a", "n": 7}], "bits": 2}

ONE: list[dict[str, Any]] = [
    {"name": {"$regex": "^ada\\s", "$options": "i"}},
    {"name": {"$regularExpression": {"pattern": "L\\.$", "options": ""}}},
    {"name": {"$in": [5, {"$regularExpression": {"pattern": "^A", "options": ""}}]}},
    {"items": {"$elemMatch": {"sku": "b", "n": {"$mod": [7, 0]}}}},
    {"tags": {"$all": ["x", "y"], "$size": 2}},
    {"bits": {"$bitsAllSet": [0, 2], "$type": "int"}},
    {"name": {"$not": {"$regex": "^B"}}, "$comment": "all of these find the first"},
]


@pytest.mark.parametrize("source", ONE, ids=lambda source: json.dumps(source)[:40])
async def test_every_entrance_decides_alike(service: Service, source: dict[str, Any]) -> None:
    service.database.orders.insert_many([DOCUMENT, OTHER])
    async with wired(service.url) as wire:
        view = await wire.subscribe("orders", filter=source)
        assert view.documents == {"1": DOCUMENT}
        listed = await service.http.get(service.documents, params={"filter": json.dumps(source)})
        assert listed.json()["documents"] == [DOCUMENT]
        change = {"$set": {"seen": True}}
        first = await wire.ask(type="update", collection="orders", key=1, update=change, where=source)
        second = await wire.ask(type="update", collection="orders", key=2, update=change, where=source)
        assert (first["type"], second.get("code")) == ("result", "precondition_failed")
        await wire.ask(type="ping", position=first["position"])
        assert view.documents == {"1": {**DOCUMENT, "seen": True}}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"$where": "true"}, "$where", "$where"),
    ({"a": {"$elemMatch": {"$or": [{"$expr": 1}]}}}, "$expr", "a.$elemMatch.$or.0.$expr"),
    ({"a": {"$regex": "(?<=b)"}}, "$regex", "a.$regex"),
    ({"": {"$not": {"$elemMatch": {"a": 1}}}}, "$elemMatch", ".$not.$elemMatch"),
]


@pytest.mark.parametrize(("source", "operator", "path"), REFUSED, ids=lambda value: json.dumps(value)[:30])
async def test_every_entrance_refuses_alike_by_name_and_path(
    service: Service, source: dict[str, Any], operator: str, path: str
) -> None:
    """What the compiler refuses gets to MongoDB by none of them."""
    async with wired(service.url) as wire:
        subscribed = await wire.ask(type="subscribe", collection="orders", filter=source)
        events = await wire.ask(type="subscribe", mode="events", collection="orders", filter=source)
        deleted = await wire.ask(type="delete", collection="orders", key=1, where=source)
    listed = (await service.http.get(service.documents, params={"filter": json.dumps(source)})).json()
    for answer in (subscribed, events, deleted, listed):
        assert answer["code"] == "unsupported_operator", answer
        assert answer["details"] == {"operator": operator, "path": path}


async def test_every_entrance_refuses_a_zone_that_the_server_does_not_know_by_its_path(service: Service) -> None:
    """Also where no document needs it, of which MongoDB says nothing, and where one does, which MongoDB blames."""
    hour = {"$hour": {"date": {"$toDate": "$_id"}, "timezone": "Nowhere/Atall"}}
    by_filter, by_projection = {"$expr": {"$eq": [hour, 5]}}, {"h": hour}
    url, told = service.documents, []
    for more in ({}, {"_id": "nobody"}):
        async with wired(service.url) as wire:
            told += [
                await wire.ask(type="subscribe", collection="orders", filter=by_filter | more),
                await wire.ask(type="subscribe", mode="events", collection="orders", filter=by_filter | more),
                await wire.ask(type="delete", collection="orders", key="nobody", where=by_filter | more),
            ]
        for accept in ("application/json", "application/x-ndjson"):
            text = json.dumps(by_filter | more)
            told.append((await service.http.get(url, params={"filter": text}, headers={"Accept": accept})).json())
    assert len(told) == 10
    for answer in told:
        assert (answer["code"], answer["details"]) == ("invalid_filter", {"path": "$expr.$eq.0.$hour.timezone"}), answer
    shown = (await service.http.get(url, params={"projection": json.dumps(by_projection), "sort": "h"})).json()
    assert (shown["code"], shown["details"]) == ("invalid_filter", {"path": "h.$hour.timezone"})


async def test_filters_that_ask_the_same_share_a_channel(service: Service) -> None:
    sources: list[dict[str, Any]] = [
        {"name": "Bob", "bits": {"$gt": 1, "$lt": 3}},
        {"$and": [{"bits": {"$lt": 3}}, {"bits": {"$gt": 1}}], "name": {"$eq": "Bob"}, "$comment": "the same"},
        {"name": "Bob", "bits": {"$gt": 1, "$lt": 4}},
    ]
    service.database.orders.insert_many([DOCUMENT, OTHER])
    async with wired(service.url) as wire:
        views = [await wire.subscribe("orders", id=f"s{n}", filter=source) for n, source in enumerate(sources)]
        assert [view.documents for view in views] == [{"2": OTHER}] * 3
    assert views[0].channel == views[1].channel != views[2].channel
