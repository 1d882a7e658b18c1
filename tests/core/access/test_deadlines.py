"""Deadlines of many connections in one heap."""

from __future__ import annotations

import random

from realtime.core.access.deadlines import Deadlines


def test_what_is_due_comes_in_order_and_once() -> None:
    one = Deadlines()
    for key, at in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("never", None)):
        one.set(key, at)
    assert (len(one), one.next) == (3, 1.0)
    assert one.due(0.9) == []
    assert one.due(2.0) == ["a", "b"]
    assert (one.due(2.0), one.next) == ([], 3.0)
    assert one.due(9.0) == ["c"]
    assert (len(one), one.next) == (0, None)


def test_a_deadline_set_anew_counts_alone_and_one_taken_back_does_not() -> None:
    one = Deadlines()
    one.set("renewed", 1.0)
    one.set("renewed", 5.0)
    one.set("gone", 2.0)
    one.set("gone", None)
    assert (one.next, one.due(4.0)) == (5.0, [])
    one.set("renewed", 3.0)
    assert one.due(4.0) == ["renewed"]


def test_a_crowd_that_renews_and_goes_leaves_no_heap_behind() -> None:
    one, chance = Deadlines(), random.Random(16)
    expected: dict[int, float] = {}
    for _ in range(20_000):
        key = chance.randrange(100)
        at = chance.choice([None, chance.random() * 100])
        one.set(key, at)
        expected.pop(key, None)
        if at is not None:
            expected[key] = at
        assert len(one._heap) <= 2 * len(expected) + 65
    assert len(one) == len(expected)
    assert one.due(100.0) == sorted(expected, key=lambda key: expected[key])
