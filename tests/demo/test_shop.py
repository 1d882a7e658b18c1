"""The demo's shop: bounded, whole steps, and what it says it does to MongoDB is what it remembers."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo

from realtime.demo.shop import KEPT, LEAST, MOST, NEXT, OWN, PRODUCTS, Shop, Till, money, past
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


def test_an_order_comes_to_what_its_lines_do_and_is_sold_as_it_is_placed() -> None:
    shop, sold = Shop([], random.Random(4)), Counter[str]()
    for _ in range(200):
        step = shop.step(AT)
        assert [one["_id"] for one in step.sold] == [one["_id"] for one in step.inserts]
        assert set(step.added) <= set(step.updates)
        assert set(step.returned) == {key for key, one in step.updates.items() if "cancelled" in str(one)}
        for order in step.inserts:
            lines = order["items"]
            assert order["total"].to_decimal() == sum(line["price"].to_decimal() * line["qty"] for line in lines)
            sold.update(line["product"] for line in lines)
    assert set(sold) == set(PRODUCTS)
    assert sold.most_common(1)[0][0] in list(PRODUCTS)[:3]  # there are ten that are sold best


def test_a_shop_that_opens_has_half_an_hour_behind_it() -> None:
    sales = past(random.Random(5), AT)
    assert len({sale["_id"] for sale in sales}) == len(sales)
    minutes = Counter((AT - sale["at"]).total_seconds() // 60 for sale in sales)
    assert set(minutes) == set(range(int(KEPT.total_seconds()) // 60))
    assert 50 < min(minutes.values()) <= max(minutes.values()) < 200


async def test_sales_stay_half_an_hour_unless_they_are_cancelled(replica_set: ReplicaSet) -> None:
    client, database = open_database(replica_set.uri, "t_sales")
    client_of_ours: Any = pymongo.MongoClient(replica_set.uri)
    sales, orders = client_of_ours["t_sales"].sales, client_of_ours["t_sales"].orders
    try:
        till = Till(client, database, random.Random(6))
        await till.write(AT)
        opened = sales.count_documents({})
        assert opened > 2000
        for number in range(40):
            await till.write(AT + timedelta(seconds=number))
        kept = {one["_id"]: one for one in orders.find(OWN)}
        sold = {one["_id"]: one for one in sales.find(OWN)}
        assert {key for key, one in kept.items() if one["status"] != "cancelled"} <= set(sold)
        assert not {key for key, one in kept.items() if one["status"] == "cancelled"} & set(sold)
        assert all(sold[key]["items"] == one["items"] for key, one in kept.items() if key in sold)
        await till.write(AT + KEPT + timedelta(seconds=20))
        left = list(sales.find({}, {"at": 1}))
        assert 0 < len(left) < opened
        assert min(one["at"] for one in left) >= (AT + timedelta(seconds=20)).replace(tzinfo=None)
        assert "at_1" in sales.index_information()
    finally:
        client_of_ours.drop_database("t_sales")
        client_of_ours.close()
        client.close()


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
