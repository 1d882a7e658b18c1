"""The demo's shop: bounded, whole steps, and what it says it does to MongoDB is what it remembers."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pymongo

from realtime.demo.shop import LEAST, MOST, NEXT, OWN, Shop, Till, money
from realtime.mongo.client import open_database
from tests.replica_set import ReplicaSet

AT = datetime(2026, 11, 22, tzinfo=UTC)


def test_it_fills_up_and_stays_within_its_bounds_with_every_status_and_kind_of_change() -> None:
    shop, kinds, statuses = Shop([], random.Random(1)), Counter[str](), Counter[str]()
    for number in range(600):
        step = shop.step(AT)
        kinds += Counter(insert=len(step.inserts), update=len(step.updates), delete=len(step.deletes))
        named = [*(one["_id"] for one in step.inserts), *step.updates, *step.deletes]
        assert len(named) == len(set(named)) > 0, "each order at most once in a transaction"
        assert len(shop.statuses) <= MOST
        assert number < 5 or len(shop.statuses) >= LEAST
        statuses += Counter(shop.statuses.values())
    assert min(kinds.values()) > 300
    assert set(statuses) == {*NEXT, *NEXT.values(), "cancelled"}


def test_it_goes_on_with_what_is_stored_and_numbers_none_twice() -> None:
    shop = Shop([{"_id": "shop-000041", "status": "open"}, {"_id": "shop-x", "status": "sent"}], random.Random(1))
    assert shop.step(AT).inserts[0]["_id"] == "shop-000042"
    assert str(money(1205)) == "12.05"


async def test_what_is_stored_is_what_it_remembers_and_others_orders_are_left_alone(replica_set: ReplicaSet) -> None:
    client, database = open_database(replica_set.uri, "t_shop")
    orders: Any = pymongo.MongoClient(replica_set.uri)["t_shop"].orders
    orders.delete_many({})
    orders.insert_many([{"_id": "mine", "status": "open"}, {"_id": 7}])
    try:
        till = Till(client, database, random.Random(2))
        for _ in range(60):
            await till.write(AT)
        held = {one["_id"]: one["status"] for one in orders.find(OWN)}
        assert till._shop is not None
        assert held == till._shop.statuses
        assert LEAST <= len(held) <= MOST
        again = Till(client, database, random.Random(3))
        await again.write(AT)
        assert orders.count_documents(OWN) >= LEAST
        assert orders.count_documents({}) - orders.count_documents(OWN) == 2
        assert orders.find_one({"_id": "mine"}) == {"_id": "mine", "status": "open"}
    finally:
        orders.database.client.drop_database("t_shop")
        orders.database.client.close()
        client.close()
