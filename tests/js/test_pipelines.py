"""The browser client's pipelines, at the real service."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.js.conftest import run
from tests.serving import Service

PIPELINES: dict[str, list[dict[str, Any]]] = {
    "cities": [
        {"$unwind": "$lines"},
        {"$group": {"_id": "$city", "sum": {"$sum": {"$multiply": ["$lines.price", "$lines.qty"]}}}},
        {"$sort": {"sum": -1, "_id": 1}},
    ],
    "first": [{"$sort": {"n": -1, "_id": 1}}, {"$limit": 3}, {"$project": {"n": 1}}],
    "open": [{"$match": {"open": True}}, {"$count": "open"}],
    "none": [{"$match": {"open": "never"}}, {"$count": "open"}],
}


async def test_rows_are_those_of_mongodb_and_keep_true(service: Service, workshop: Path) -> None:
    orders = service.database.orders
    cities = ("Oslo", "Porto")
    orders.insert_many(
        {"_id": n, "n": n, "city": cities[n % 2], "open": n % 3 == 0, "lines": [{"price": 2, "qty": n}]}
        for n in range(20)
    )
    before = {name: list(orders.aggregate(stages)) for name, stages in PIPELINES.items()}
    told = json.loads(await asyncio.to_thread(run, ["node", "pipelines.mjs", service.url], workshop))
    after = {name: list(orders.aggregate(stages)) for name, stages in PIPELINES.items()}
    assert orders.count_documents({}) == 40
    for shown, expected in ((told["before"], before), (told["after"], after)):
        assert {name: [row for _, row in rows] for name, rows in shown.items()} == expected
        assert all(key == row.get("_id") for rows in shown.values() for key, row in rows)
    assert told["once"] == after
    assert (before["none"], before["open"] == after["open"]) == ([], False)
    assert told["refused"] == "unsupported_operator"
