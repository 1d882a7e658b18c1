"""A connection with a JSON Web Token costs at most 1.3 times what one costs where nobody is asked."""

from __future__ import annotations

import pytest

from tests.bench.admission import measured
from tests.exact.conftest import Say, say
from tests.replica_set import ReplicaSet

__all__ = ["say"]
MOST = 1.3
PAIRS = 5


@pytest.mark.timeout(300)
@pytest.mark.alone("measures processor time")
@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
async def test_a_connection_with_a_token_costs_at_most_1_3_times_one_without(
    replica_set: ReplicaSet, algorithm: str, say: Say
) -> None:
    found = await measured(replica_set.uri, algorithm, PAIRS)
    say(found.row())
    assert found.without > 0
    assert found.ratio <= MOST
