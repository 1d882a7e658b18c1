"""Values in order with how often each is there."""

from __future__ import annotations

import random

from bson.decimal128 import Decimal128

from realtime.core.bson.values import order
from realtime.core.live.pipelines.multiset import Multiset
from tests.chance import fresh_seed, share

STEPS = share(2000)


def test_values_that_are_equal_by_bson_are_one_and_shown_as_the_first_of_them() -> None:
    made = Multiset()
    assert not made
    for value in (1.0, 1, Decimal128("1.00"), 0):
        made.add(order(value), value)
    assert [repr(value) for value in made.first(9)] == ["0", "1.0", "1.0", "1.0"]
    made.remove(order(1.0))
    assert [repr(value) for value in made.last(2)] == ["1.0", "1.0"]
    for value in (1, 1, 0):
        made.remove(order(value))
    assert not made


def test_both_ends_are_those_of_all_that_was_put_in_and_not_taken_out() -> None:
    seed = fresh_seed()
    chance = random.Random(seed)
    made, held = Multiset(), list[object]()
    values = [3, 1, 2.5, "a", "b", None, True, [1], {"a": 1}, -7]
    sizes = 0
    for _ in range(STEPS):
        if held and chance.random() < 0.5:
            gone = held.pop(chance.randrange(len(held)))
            made.remove(order(gone))
        else:
            value = chance.choice(values)
            held.append(value)
            made.add(order(value), value)
        held.sort(key=order)
        count = chance.randrange(1, 6)
        assert made.first(count) == held[:count], seed
        assert made.last(count) == held[::-1][:count], seed
        if held:
            assert (made.least(), made.greatest()) == (held[0], held[-1]), seed
            sizes = max(sizes, len(held))
    assert sizes >= 5
