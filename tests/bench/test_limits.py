"""A limit costs at most 2 µs each time it is asked, which is what a frame may cost."""

from __future__ import annotations

import pytest

from tests.bench.limits import cost, kinds

MOST_MICROSECONDS = 2.0


@pytest.mark.alone("measures processor time")
@pytest.mark.parametrize("name", kinds())
def test_a_limit_is_asked_within_two_microseconds(name: str) -> None:
    ask = kinds()[name]
    assert min(cost(ask, 2.0) for _ in range(3)) <= MOST_MICROSECONDS
