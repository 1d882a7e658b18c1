"""What a write costs under a rule, as a bound."""

from __future__ import annotations

import pytest

from tests.bench.ruled_writes import WRITES_OF, ratios
from tests.replica_set import ReplicaSet

MOST = 1.6
TRANSACTED = {"replace"}
"""A replacement by whoever does not see all of the document reads it first, in a transaction."""


@pytest.mark.alone("measures the processor that writes take")
async def test_a_write_under_a_rule_takes_at_most_so_much_more_of_the_processor(replica_set: ReplicaSet) -> None:
    found = await ratios(replica_set.uri)
    bounded = {kind: cpu for kind, (cpu, _) in found.items() if kind not in TRANSACTED}
    assert len(bounded) == len(WRITES_OF) - 1 >= 5
    assert max(bounded.values()) <= MOST, found
