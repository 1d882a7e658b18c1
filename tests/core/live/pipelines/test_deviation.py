"""Standard deviations of numbers that come and go: exact, whatever came before."""

from __future__ import annotations

import math
import random
import statistics
from fractions import Fraction
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from realtime.core.live.pipelines.deviation import Deviation
from tests.chance import fresh_seed, share

ROUNDS = share(200)


def of(*values: Any, sample: bool = False) -> float | None:
    made = Deviation(sample=sample)
    for value in values:
        made.add(value)
    return made.value()


@pytest.mark.parametrize(
    ("values", "population", "sample"),
    [
        ([], None, None),
        ([5], 0.0, None),
        ([1, 3], 1.0, math.sqrt(2)),
        ([2, Int64(4), 4.0, Decimal128("4"), 5, 5, 7, 9], 2.0, math.sqrt(32 / 7)),
        ([1e16, 1e16 + 2], 1.0, math.sqrt(2)),
        ([1e200, -1e200], math.inf, math.inf),
    ],
)
def test_it_is_that_of_the_numbers(values: list[Any], population: float | None, sample: float | None) -> None:
    assert of(*values) == population
    assert of(*values, sample=True) == sample


@pytest.mark.parametrize("odd", [math.inf, -math.inf, math.nan, Decimal128("NaN"), Decimal128("9E+400")])
def test_of_what_is_not_finite_there_is_none_until_that_is_gone(odd: Any) -> None:
    made = Deviation(sample=False)
    for value in (1, 3, odd):
        made.add(value)
    assert math.isnan(made.value() or 0)
    made.add(odd, -1)
    assert made.value() == 1.0


def test_nothing_is_left_of_what_was_taken_out() -> None:
    seed = fresh_seed()
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        made = Deviation(sample=True)
        gone = [chance.uniform(-1, 1) * 10 ** chance.randrange(-20, 60) for _ in range(5)]
        kept = [chance.choice([chance.uniform(-9, 9), chance.randrange(9)]) for _ in range(chance.randrange(2, 6))]
        for value in gone + kept:
            made.add(value)
        for value in gone:
            made.add(value, -1)
        exact = statistics.variance(map(Fraction, kept))
        assert made.value() == pytest.approx(math.sqrt(exact), rel=1e-15, abs=0), seed
