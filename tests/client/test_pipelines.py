"""Pipelines of the Python client, at the real service: views, moments, reads once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from realtime import errors
from realtime.client import View, connect
from realtime.client.rows import text_of
from tests.client.scripted import PATIENCE
from tests.serving import Service, service

__all__ = ["service"]

Stages = list[dict[str, Any]]
CITIES: Stages = [
    {"$match": {"status": {"$ne": "cancelled"}}},
    {"$unwind": "$lines"},
    {"$group": {"_id": "$city", "sum": {"$sum": {"$multiply": ["$lines.price", "$lines.qty"]}}}},
    {"$match": {"sum": {"$gt": 0}}},
    {"$sort": {"sum": -1, "_id": 1}},
    {"$limit": 3},
]
COUNT: Stages = [{"$match": {"status": "open"}}, {"$count": "open"}]
ROWS: Stages = [{"$match": {"status": "open"}}, {"$set": {"twice": {"$add": ["$n", "$n"]}}}, {"$unset": "lines"}]


def order(number: int) -> dict[str, Any]:
    return {
        "_id": number,
        "n": number,
        "city": ("Oslo", "Porto", "Riga", "Turin")[number % 4],
        "status": ("open", "sent", "cancelled")[number % 3],
        "lines": [{"price": 1 + number % 5, "qty": number % 7}, {"price": 2, "qty": 1}],
    }


def by_key(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: text_of(row.get("_id")))


async def test_a_view_shows_what_mongodb_does_and_its_moments_lead_there(service: Service) -> None:
    orders = service.database.orders
    orders.insert_many(order(number) for number in range(50))
    async with connect(service.url) as rt:
        cities, count, rows = (rt.query("orders", pipeline=stages) for stages in (CITIES, COUNT, ROWS))
        async with cities, count, rows:
            assert (cities.ordered, count.ordered, rows.ordered) == (True, False, False)
            assert cities.documents == list(orders.aggregate(CITIES)) != []
            assert count.documents == list(orders.aggregate(COUNT)) == [count.get(None)]
            assert by_key(rows.documents) == by_key(list(orders.aggregate(ROWS)))
            shown = list(cities.documents)
            for number in range(50, 60):
                await rt.insert("orders", order(number))
            for number in range(0, 50, 5):
                await rt.update("orders", number, {"$set": {"status": "open", "lines.0.qty": 40 - number}})
            last = await rt.delete("orders", 3)
            await rt.settled(last.position)
            assert cities.documents == list(orders.aggregate(CITIES)) != shown
            assert count.documents == list(orders.aggregate(COUNT))
            assert by_key(rows.documents) == by_key(list(orders.aggregate(ROWS)))
            await folded(cities, shown, last.position)
        assert await rt.aggregate("orders", CITIES) == list(orders.aggregate(CITIES))
        assert await rt.aggregate("orders", COUNT) == list(orders.aggregate(COUNT))
        assert await rt.aggregate("nothing", COUNT) == []


async def folded(view: View, shown: list[Any], position: str) -> None:
    """The moments since `shown`, folded by hand as the protocol says, give what the view shows."""
    async with asyncio.timeout(PATIENCE):
        async for moment in view:
            named = {text_of(change.key) for change in moment.changes}
            shown = [row for row in shown if text_of(row["_id"]) not in named]
            for change in moment.changes:
                if change.op != "leave":
                    assert change.index is not None
                    shown.insert(change.index, change.document)
            if moment.position >= position or shown == view.documents:
                break
    assert shown == view.documents


async def test_the_one_row_of_a_count_comes_and_goes_under_the_key_null(service: Service) -> None:
    async with connect(service.url) as rt, rt.query("orders", pipeline=COUNT) as view:
        assert view.documents == []
        for write, told in (
            (rt.insert("orders", {"_id": 1, "status": "open"}), ("enter", {"open": 1})),
            (rt.insert("orders", {"_id": 2, "status": "open"}), ("update", {"open": 2})),
            (rt.delete("orders", 2), ("update", {"open": 1})),
            (rt.delete("orders", 1), ("leave", None)),
        ):
            await write
            async with asyncio.timeout(PATIENCE):
                (change,) = (await anext(view)).changes
            assert (change.op, change.key, change.document) == (told[0], None, told[1])
        assert view.documents == []


@pytest.mark.parametrize(
    ("stages", "kind"),
    [
        ([{"$lookup": {"from": "a", "as": "b"}}], errors.UnsupportedOperatorError),
        ([{"$match": {"$and": []}}], errors.InvalidFilterError),
        ([{"$group": {"_id": None, "a": {"$push": "$a"}}}], errors.UnsupportedOperatorError),
    ],
)
async def test_what_cannot_be_followed_is_refused_where_it_stands(
    service: Service, stages: Stages, kind: type[errors.ServiceError]
) -> None:
    async with connect(service.url) as rt:
        with pytest.raises(kind) as refused:
            await rt.aggregate("orders", stages)
    assert "pipeline.0." in refused.value.message
