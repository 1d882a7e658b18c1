"""Times of principals and tickets, which are unix seconds, as the dates that travel."""

from __future__ import annotations

import datetime as dt

_LAST_SECOND = 253402300799.0
"""Of the year 9999."""


def date(seconds: float | None) -> dt.datetime | None:
    """Unix seconds as a date; what no date can say is the first of all or the last."""
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(max(0.0, min(seconds, _LAST_SECOND)), dt.UTC)
