"""What is lost and what is repeated is found, whatever the order; views are judged at their end."""

from __future__ import annotations

import random
from typing import Any

import pytest

from realtime.bench.counting import Arrivals, Rows, Window, counter_of
from realtime.bench.plan import WINDOW, Plan, Query, key_of
from tests.chance import fresh_seed

PLAN = Plan("bench_x", 1, 1, {"filters": 3, "windows": 2, "groups": 2, "events": 3}, 10, 1, 10, 5)


def entry(op: str, n: int) -> dict[str, Any]:
    return {"op": op, "key": key_of(n), "document": PLAN.document(n, at=1000 + n)}


@pytest.mark.parametrize(("kind", "op"), [("filters", "enter"), ("events", "insert")])
def test_losses_and_repeats_are_counted_in_any_order(kind: str, op: str) -> None:
    chance = random.Random(fresh_seed())
    for _ in range(200):
        query = Query(kind, chance.randrange(3), 3)
        right = list(range(query.index, 60, 3))
        lost = set(chance.sample(right, chance.randrange(4)))
        came = [n for n in right if n not in lost]
        again = chance.sample(came, chance.randrange(4))
        told = [*came, *again]
        chance.shuffle(told)
        counter = counter_of(query)
        assert [counter.take(entry(op, n)) for n in told] == [1000 + n for n in told]
        assert (counter.lost(60), counter.repeated) == (len(lost), len(again))


def test_what_a_snapshot_shows_again_is_not_repeated_and_what_only_it_shows_is_not_lost() -> None:
    counter = Arrivals(Query("filters", 0, 1))
    counter.take(entry("enter", 0))
    counter.restart()
    for n in (0, 1, 2):
        counter.shown(PLAN.document(n, 0))
    assert (counter.lost(3), counter.repeated) == (0, 0)


def test_leaves_and_updates_are_no_deliveries_of_a_filter() -> None:
    counter = Arrivals(Query("filters", 0, 1))
    assert counter.take({"op": "leave", "key": "n0"}) is None
    assert counter.lost(1) == 1


def test_a_window_is_right_when_it_shows_the_newest_and_wrong_when_it_does_not() -> None:
    counter = Window(Query("windows", 1, 2))
    newest = list(range(1, 60, 2))[-WINDOW:]
    for n in newest:
        assert counter.take(entry("enter", n)) == 1000 + n
    assert counter.lost(60) == 0
    counter.take({"op": "leave", "key": key_of(newest[0])})
    assert counter.lost(60) == 1
    counter.restart()
    assert counter.lost(60) == WINDOW
    for n in newest:
        counter.shown(PLAN.document(n, 0))
    assert (counter.lost(60), counter.repeated) == (0, 0)
    counter.take(entry("enter", newest[0]))
    assert counter.repeated == 1


def test_a_row_of_a_pipeline_has_its_time_in_a_field_of_its_own() -> None:
    counter = counter_of(Query("pipelines", 0, 2))
    assert counter.take({"op": "update", "key": 0, "document": {"_id": 0, "count": 30, "at": 77}}) == 77
    assert (counter.lost(60), counter.lost(58)) == (0, 1)


def test_a_row_is_right_when_it_counts_everything() -> None:
    counter = Rows(Query("groups", 1, 2))
    assert counter.take({"op": "update", "key": {}, "document": {"count": 29, "max": {"at": 77}}}) == 77
    assert counter.lost(60) == 1
    counter.shown({"count": 30, "max": {"at": 78}})
    assert counter.lost(60) == 0
    counter.take({"op": "leave", "key": {}})
    assert counter.lost(60) == 30
