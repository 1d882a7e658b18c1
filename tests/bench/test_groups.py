"""Ten thousand different queries at the cost of one: counts, ratios of one run, and bytes of an idle query."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from tests.bench.groups import (
    FEW_EQUAL,
    FEW_RANGES,
    MANY_EQUAL,
    MANY_RANGES,
    MOST_MATCHES,
    Cost,
    Stage,
    equalities,
    ranges,
)

pytestmark = pytest.mark.alone("measures processor time")

MOST_BYTES = 3 * 1024
TRIES = 3
"""Another process on the same core slows CPU time too, by its use of the caches: the best ratio counts."""


def cheap(few: Cost, many: Cost) -> None:
    """Filters are asked of groups that are touched and of hardly any other, however many there are."""
    for found in (few, many):
        assert 0.9 <= found.matches <= MOST_MATCHES
        assert found.evaluations <= found.matches + 2


@pytest.mark.long("100,000 queries are made and held")
async def test_100_000_equality_queries_cost_an_event_what_1_000_do() -> None:
    many = await equalities(MANY_EQUAL)
    ratios = []
    for _ in range(TRIES):
        few = await equalities(FEW_EQUAL)
        cheap(few, many)
        ratios.append(many.microseconds / few.microseconds)
    assert min(ratios) <= 1.5, ratios


@pytest.mark.long("thousands of queries are made and held")
async def test_2_000_range_queries_cost_an_event_at_most_three_times_what_200_do() -> None:
    ratios = []
    for _ in range(TRIES):
        few, many = await ranges(FEW_RANGES), await ranges(MANY_RANGES)
        cheap(few, many)
        ratios.append(many.microseconds / few.microseconds)
    assert min(ratios) <= 3, ratios


@pytest.mark.long("thousands of queries are made and held")
@pytest.mark.parametrize("queries", [5_000])
async def test_an_idle_query_of_its_own_takes_at_most_3_kb(queries: int) -> None:
    stage = Stage()
    filters = [{"customer": f"c{number}"} for number in range(queries)]
    gc.collect()
    tracemalloc.start()
    try:
        await stage.subscribe(filters)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert stage.owner.frames == 3 * queries
    assert 500 < held / queries <= MOST_BYTES
    await stage.hub.close()
