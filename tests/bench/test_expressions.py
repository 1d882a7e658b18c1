"""Expressions are cheap: a filter of five operators within 10 µs, and no operator out of all proportion."""

from __future__ import annotations

import statistics

import pytest

from realtime.core.mql.expressions.compiling import OPERATORS
from realtime.core.mql.filters import compile_filter
from tests.bench.expressions import FIVE, by_operator
from tests.bench.filters import DOCUMENT, cost, unit

pytestmark = pytest.mark.alone("measures processor time")

TEN_MICROSECONDS = 10.0
MOST_LOOKUPS = 1000
"""Of a plain lookup's time, for the median of any single operator."""


def test_a_filter_of_five_operators_takes_at_most_ten_microseconds() -> None:
    matches = compile_filter(FIVE).matches
    assert matches(DOCUMENT)
    assert sum(f"'{name}'" in str(FIVE) for name in OPERATORS) == 5
    # The best of three medians, as for plain filters.
    assert min(cost(matches, DOCUMENT) for _ in range(3)) <= TEN_MICROSECONDS


def test_no_operator_is_out_of_proportion() -> None:
    one, found = unit(), by_operator()
    assert found.keys() == OPERATORS.keys()
    dear = {name: cost_ for name, costs in found.items() if (cost_ := statistics.median(costs)) / one > MOST_LOOKUPS}
    assert not dear
