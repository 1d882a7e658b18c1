"""Sums and averages: MongoDB's types and roundings, and nothing left behind by what was taken out.

`tests/mongo/test_aggregate_differential.py` compares with the real `$group`.
"""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from realtime.core.live.totals import Total, is_number

INF, NAN = float("inf"), float("nan")
D = Decimal128


def total(*values: Any) -> Total:
    made = Total()
    for value in values:
        made.add(value)
    return made


SUMS: list[tuple[list[Any], Any]] = [
    ([], 0),
    ([1, 2], 3),
    ([2**31 - 1, 1], 2**31),
    ([1, Int64(2)], Int64(3)),
    ([Int64(2**62), Int64(2**62)], float(2**63)),
    ([Int64(2**62), Int64(2**62), -1], Int64(2**63 - 1)),
    ([2**31, 0.5], 2147483648.5),
    ([0.1] * 10, 1.0),
    ([-0.0], 0.0),
    ([1e308, 1e308], INF),
    ([-1e308, -1e308], -INF),
    ([1e19, 21.2, -1e19], 21.2),
    ([INF, 1], INF),
    ([INF, -INF], NAN),
    ([NAN, 1], NAN),
    ([1, "2", None, True, [3], {"x": 4}], 1),
    ([D("1.10"), D("2.2")], D("3.30")),
    ([D("1.5"), 1], D("2.5")),
    ([D("1.5"), 0.25], D("1.75")),
    ([D("1E+3"), 0], D("1000")),
    ([D("Infinity"), 1.0], D("Infinity")),
    ([D("-Infinity")], D("-Infinity")),
    ([D("sNaN"), 1], D("NaN")),
    ([D("sNaN"), D("Infinity"), NAN], D("NaN")),
    ([D("1"), INF, -INF], D("NaN")),
    ([D("9.99E+6144"), D("9.99E+6144")], D("Infinity")),
    ([D("1"), 1e308, 1e308], D("Infinity")),
    ([D("1234567890123456789012345678901234"), D("0.5")], D("1234567890123456789012345678901234")),
]


@pytest.mark.parametrize(("values", "expected"), SUMS, ids=str)
def test_a_sum_has_the_type_and_the_digits_that_mongodb_gives_it(values: list[Any], expected: Any) -> None:
    for chosen in (values, values[::-1]):
        result = total(*chosen).sum()
        assert type(result) is type(expected)
        assert str(result) == str(expected)


AVERAGES: list[tuple[list[Any], Any]] = [
    ([], None),
    (["x", None], None),
    ([1, 2], 1.5),
    ([Int64(1)], 1.0),
    ([0.1, 0.2, "x"], 0.15000000000000002),
    ([D("1"), D("2"), 1], D("1.333333333333333333333333333333333")),
    ([INF, 1], INF),
    ([D("NaN"), 1], D("NaN")),
    ([D("sNaN"), 1], D("NaN")),
]


@pytest.mark.parametrize(("values", "expected"), AVERAGES, ids=str)
def test_an_average_is_a_double_or_a_decimal(values: list[Any], expected: Any) -> None:
    result = total(*values).average()
    assert type(result) is type(expected)
    assert str(result) == str(expected)


def test_what_is_taken_out_leaves_nothing_behind() -> None:
    chance = random.Random(7)
    pool: list[Any] = [
        0.1,
        1e300,
        -1e300,
        5e-324,
        3,
        Int64(2**62),
        D("1.000"),
        D("1E-6000"),
        D("9E+6000"),
        INF,
        NAN,
        D("NaN"),
        D("sNaN"),
    ]
    for _ in range(200):
        kept = [chance.choice([0.1, 0.25, 7, Int64(9), D("2.5")]) for _ in range(chance.randrange(5))]
        gone = [chance.choice(pool) for _ in range(6)]
        made = total()
        for value in chance.sample([*kept, *gone], len(kept) + len(gone)):
            made.add(value)
        for value in gone:
            made.add(value, -1)
        alone = total(*kept)
        assert str(made.sum()) == str(alone.sum())
        assert type(made.sum()) is type(alone.sum())
        assert str(made.average()) == str(alone.average())


def test_doubles_do_not_drift() -> None:
    chance = random.Random(8)
    made, held = Total(), [0.1]
    made.add(0.1)
    for _ in range(5000):
        value = chance.uniform(-1, 1) * 10 ** chance.randrange(-5, 12)
        made.add(value)
        held.append(value)
        if len(held) > 20:
            made.add(held.pop(0), -1)
        assert made.sum() == math.fsum(held)


def test_numbers_are_of_four_types() -> None:
    assert all(map(is_number, [1, 1.0, Int64(1), D("1")]))
    assert not any(map(is_number, [True, None, "1", [1], {}]))
