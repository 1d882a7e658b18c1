"""Dates in texts: ISO 8601 without a format. What else MongoDB may take there is not guessed."""

from __future__ import annotations

import re

from realtime.core.mql.expressions.calendar import days_of, length_of
from realtime.core.mql.expressions.outcomes import unsure

_ISO = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?(Z|[+-]\d{2}:?\d{2})?)?\Z", re.ASCII
)


def iso_millis(name: str, text: str, offset: int) -> int:
    """Milliseconds of a date in ISO 8601; `offset`: of the zone in seconds, where the text names none."""
    found = _ISO.match(text)
    if not found:
        unsure(name, "has a text that is no date of ISO 8601, of which MongoDB may make one")
    year, month, day = (int(found[at]) for at in (1, 2, 3))
    hour, minute, second = (int(found[at] or 0) for at in (4, 5, 6))
    if not (1 <= month <= 12 and 1 <= day <= length_of(year, month) and hour < 24 and minute < 60 and second < 60):
        unsure(name, "has a text with a day or a time that does not exist, of which MongoDB may make one")
    millisecond = int(((found[7] or "") + "000")[:3])
    seconds = days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
    zone = found[8]
    if zone is not None:
        digits = zone[1:].replace(":", "")
        offset = 0 if zone == "Z" else (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if zone[0] == "-" else 1)
    return (seconds - offset) * 1000 + millisecond
