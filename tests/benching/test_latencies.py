"""Latencies in buckets: bounded, and at most a sixty-fourth from what they were."""

from __future__ import annotations

import random

import pytest

from realtime.bench.latencies import Latencies, bucket_of, upper_end_of
from tests.chance import fresh_seed


def test_every_latency_is_in_its_bucket_and_no_bucket_is_wider_than_a_sixty_fourth() -> None:
    chance = random.Random(fresh_seed())
    for value in [*range(3000), *(chance.randrange(1 << 36) for _ in range(3000))]:
        bucket = bucket_of(value)
        assert value <= upper_end_of(bucket) <= value + value / 64
        assert bucket == 0 or upper_end_of(bucket - 1) < value


def test_what_cannot_be_counts_as_the_nearest_that_can() -> None:
    assert bucket_of(-5) == 0
    assert bucket_of(1 << 60) == bucket_of(1 << 36)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 1.0])
def test_percentiles_are_those_of_the_sorted_values(share: float) -> None:
    chance = random.Random(fresh_seed())
    values = sorted(round(chance.expovariate(1 / 5000)) for _ in range(2000))
    told = Latencies()
    for value in values:
        told.add(value)
    right = values[max(round(share * len(values)) - 1, 0)]
    found = told.percentile(share)
    assert found is not None
    assert right <= found <= right * 65 / 64 + 1


def test_parts_of_several_processes_add_up() -> None:
    one, other = Latencies([(3, 2)]), Latencies([(3, 1), (9, 4)])
    one.take(Latencies(other.pairs()))
    assert (one.total, dict(one.pairs())) == (7, {3: 3, 9: 4})
    assert Latencies().percentile(0.5) is None
