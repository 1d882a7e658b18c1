"""What live pipelines cost: as much over many documents as over few. `python -m tests.bench.pipelines` prints it."""

from __future__ import annotations

import pytest

from tests.bench.pipelines import ONE, ROWS, SMALL, measured, routed
from tests.exact.conftest import Say, say

__all__ = ["say"]
MOST = 2.0


@pytest.mark.long("a hundred thousand documents")
@pytest.mark.alone("measures a processor")
@pytest.mark.timeout(300)
def test_an_event_costs_as_much_over_many_documents_as_over_few(say: Say) -> None:
    small, rows, one = measured((SMALL, ROWS, ONE), 1)
    say(f"{small} {rows} {one}")
    # What changed is encoded, and nothing beside it: in the one row of a thousand kinds as few values as in ten rows.
    assert small.rows == rows.rows == one.rows == 1
    assert small.told >= 0.9
    assert one.encoded <= small.encoded
    assert rows.encoded <= small.encoded * 1.1
    assert rows.microseconds <= MOST * small.microseconds
    assert one.microseconds <= MOST * small.microseconds


def test_a_thousand_leading_matches_are_found_by_the_index() -> None:
    assert routed(1_000, 200) == 1.0
