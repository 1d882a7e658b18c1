"""A delivery costs what writing it to the socket costs, and little beside; in bulk a small part of that."""

from __future__ import annotations

import pytest

from tests.bench.fanout import measure

pytestmark = pytest.mark.alone("measures processor time")


@pytest.mark.long("writes to hundreds of sockets, twice")
async def test_a_delivery_costs_little_beside_the_write_and_in_bulk_a_tenth() -> None:
    costs = [await measure(connections=200, moments=60) for _ in range(2)]
    assert min(cost.alone / cost.least for cost in costs) <= 2.5, costs
    assert min(cost.in_bulk / cost.alone for cost in costs) <= 0.1, costs
