"""Unix seconds as dates."""

from __future__ import annotations

import pytest

from realtime.core.access.dates import date


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, None), (0, 1970), (-5, 1970), (1e300, 9999), (float("inf"), 9999), (1_700_000_000, 2023)],
)
def test_any_time_has_a_date(seconds: float | None, shown: int | None) -> None:
    found = date(seconds)
    assert (None if found is None else found.year) == shown
