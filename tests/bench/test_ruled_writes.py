"""What a write costs under a rule, as a bound."""

from __future__ import annotations

import pytest

from tests.bench.ruled_writes import WRITES_OF, ratios
from tests.replica_set import ReplicaSet

MOST = 1.6
MOST_OF_A_REPLACEMENT = 1.8
"""It reads the document first, of which its writer does not see all: 1.55 with nothing beside it."""


@pytest.mark.long("thousands of writes, each way")
@pytest.mark.alone("measures the processor that writes take")
async def test_a_write_under_a_rule_takes_at_most_so_much_more_of_the_processor(replica_set: ReplicaSet) -> None:
    found = {kind: cpu for kind, (cpu, _) in (await ratios(replica_set.uri)).items()}
    replaced = found.pop("replace")
    assert len(found) == len(WRITES_OF) - 1 >= 5
    assert max(found.values()) <= MOST, found
    assert replaced <= MOST_OF_A_REPLACEMENT
