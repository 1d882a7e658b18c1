"""Who subscribes to what, and how many deliveries are right."""

from __future__ import annotations

import random

import orjson

from realtime.bench.generator import Orders
from realtime.bench.plan import KINDS, Plan
from tests.chance import fresh_seed

LIMITS = {"subscriptions": 1000, "documents": 10_000}


def plan(**given: object) -> Plan:
    usual: dict[str, object] = {
        "collection": "bench_x", "connections": 10, "subscriptions": 1, "queries": {"filters": 1}, "rate": 10.0,
        "batch": 1, "seconds": 2.0, "payload": 10,
    }  # fmt: skip
    return Plan(**{**usual, **given})  # type: ignore[arg-type]  # reason: each test gives what it is about


def test_the_deliveries_that_are_right_are_those_that_are_counted_one_by_one() -> None:
    chance = random.Random(fresh_seed())
    for _ in range(100):
        queries = {kind: chance.randrange(1, 5) for kind in KINDS if chance.random() < 0.7} or {"events": 2}
        most = sum(queries.values())
        asked = plan(queries=queries, connections=chance.randrange(1, 30), subscriptions=chance.randrange(1, most + 1))
        distinct = asked.distinct
        right = sum(
            asked.document(n, 0)[query.kind] == query.index
            for n in range(asked.total)
            for number in range(asked.connections)
            for query in asked.of_connection(number, distinct)
            if query.kind in {"filters", "events"}
        )
        assert asked.deliveries(asked.total) == right


def test_a_connection_asks_no_query_twice_and_every_query_is_asked() -> None:
    asked = plan(queries={"filters": 3, "windows": 1, "events": 2}, connections=4, subscriptions=5)
    distinct = asked.distinct
    each = [asked.of_connection(number, distinct) for number in range(4)]
    assert all(len(set(some)) == 5 for some in each)
    assert {query for some in each for query in some} == set(distinct)
    assert len(distinct) == 6


def test_whole_batches_are_written_and_at_least_one() -> None:
    assert plan(rate=10, seconds=2, batch=3).total == 21
    assert plan(rate=1, seconds=0.1, batch=50).total == 50


def test_what_a_service_cannot_hold_is_refused_with_the_option_that_mends_it() -> None:
    assert plan(rate=400, seconds=20).wrong(LIMITS) is None
    assert "--filters" in (plan(rate=1000, seconds=20).wrong(LIMITS) or "")
    assert plan(rate=1000, seconds=20, queries={"events": 1}).wrong(LIMITS) is None
    assert "--groups" in (plan(rate=10_000, seconds=20, queries={"groups": 1}).wrong(LIMITS) or "")
    wide = plan(queries={"events": 2000}, subscriptions=1001)
    assert "REALTIME_SUBSCRIPTIONS" in (wide.wrong(LIMITS) or "")


def test_orders_travel_whole_and_their_tokens_are_not_shown() -> None:
    orders = Orders(plan(fields={"team": "a"}), "http://x:1", 3, 4, ["secret"], 9.0, 7)
    assert Orders.of_line(orders.as_line()) == orders
    assert orjson.loads(orders.as_line())["tokens"] == ["secret"]
    assert "secret" not in repr(orders)
