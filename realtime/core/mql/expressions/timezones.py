"""Offsets of time zones, as the server at hand has them: a pure table that is given to the compiler.

Every mongod brings its own table of zones, and they differ. So the offsets are asked of the server
(`question`, realtime/mongo/zones.py), from 1970 to 2037; what lies beyond is not decided.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

FIRST, LAST = 0, 2_145_916_800_000
"""1970-01-01 and 2038-01-01, in milliseconds."""
_FIXED = re.compile(r"([+-])(\d{2})(?::?(\d{2}))?\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_+/-]{1,64}\Z", re.ASCII)


class UnknownTimeError(Exception):
    """A time of which the offset is not known."""


@dataclass(frozen=True, slots=True)
class Zone:
    """Seconds east of Greenwich: `offsets[i]` holds from `starts[i]` (milliseconds) on. `fixed`: at any time."""

    starts: tuple[int, ...]
    offsets: tuple[int, ...]
    fixed: bool = False

    def offset(self, millis: int) -> int:
        """At a time in UTC."""
        if self.fixed:
            return self.offsets[0]
        if not FIRST <= millis < LAST:
            raise UnknownTimeError
        return self.offsets[bisect_right(self.starts, millis) - 1]

    def local(self, millis: int) -> int:
        """Milliseconds on the clock on the wall."""
        return millis + 1000 * self.offset(millis)

    def utc(self, local: int) -> int:
        """The time of a clock on the wall; of two the later one, and where it is turned on as if it were not yet."""
        if self.fixed:
            return local - 1000 * self.offsets[0]
        before, after = self.offset(local - 86_400_000), self.offset(local + 86_400_000)
        for offset in (after, before):
            guess = local - 1000 * offset
            if self.offset(guess) == offset:
                return guess
        return local - 1000 * before


UTC: Final = Zone((FIRST,), (0,), fixed=True)
Zones = Mapping[str, Zone]
NO_ZONES: Final[Zones] = {}


def fixed_zone(name: str) -> Zone | None:
    """A zone that is written as its offset, or is Greenwich's; None for names of places."""
    if name in {"UTC", "GMT"}:
        return UTC
    found = _FIXED.match(name)
    if found is None:
        return None
    seconds = int(found[2]) * 3600 + int(found[3] or 0) * 60
    return Zone((FIRST,), (-seconds if found[1] == "-" else seconds,), fixed=True)


def is_name(name: str) -> bool:
    """Whether it may be the name of a zone, to be asked of the server."""
    return bool(_NAME.match(name))


def zone_of(samples: Sequence[tuple[int, int]]) -> Zone:
    """Of times (milliseconds, ascending) and the offset that holds from each on."""
    starts: list[int] = []
    offsets: list[int] = []
    for start, offset in samples:
        if not offsets or offsets[-1] != offset:
            starts.append(start)
            offsets.append(offset)
    return Zone(tuple(starts), tuple(offsets))
