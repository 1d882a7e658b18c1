"""What a change of rules for 500 groups does, as counts. How long others wait is told, and not bounded so far."""

from __future__ import annotations

import statistics

import pytest

from tests.bench.exchanged import USERS, figures, told
from tests.replica_set import ReplicaSet

ROUNDS = 3


@pytest.mark.alone("measures how long writes are on their way")
@pytest.mark.long("500 sockets, and half a minute of writes")
@pytest.mark.timeout(300)
async def test_what_500_groups_come_to_by_other_rules_is_found_out_in_slices(replica_set: ReplicaSet) -> None:
    found = await figures(replica_set, ROUNDS)
    print(told(found))  # noqa: T201 - the figures of the run
    turns = found.turns
    assert len(turns.judged) == ROUNDS
    # Judged ahead in slices; what the half second for that does not suffice for, in the turn in which they change.
    assert len(turns.slices) >= 5 * ROUNDS
    assert sum(turns.judged) <= USERS * ROUNDS / 2
    # Taken in again in slices of 5 ms and one subscription; the turn of the change only silences.
    assert len(turns.taken) >= 3 * ROUNDS
    assert statistics.median(turns.taken) <= 0.01
    assert statistics.median(turns.switches) <= statistics.median(found.at_once.switches) / 2
