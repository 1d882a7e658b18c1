"""Offsets of time zones, as the server at hand has them: a pure table that is given to the compiler.

Every mongod brings its own table of zones, and they differ. So the offsets are asked of the server
(realtime/mongo/zones.py), from 1970 to 2037; what lies beyond is not decided.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

FIRST, LAST = 0, 2_145_916_800_000
"""1970-01-01 and 2038-01-01, in milliseconds."""
_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
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
Named = Mapping[str, str]
"""Names of zones to be asked of the server, each with the path of a filter or projection at which it stands."""
NO_NAMES: Final[Named] = {}


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


Search = Generator[Sequence[int], Sequence[int], Zone]


def search() -> Search:
    """Finds a zone by its offsets: yields times (milliseconds), is sent the offset at each (seconds).

    Three questions: at each midnight, at each hour of a day in which it changes, at each minute of such an hour. These
    are 35,000 times and not the 36 million minutes. A change that is taken back within a day is not seen.
    """
    samples: dict[int, int] = {}
    asked: Sequence[int] = range(FIRST, LAST + 1, _DAY)
    for finer in (_HOUR, _MINUTE):
        samples.update(zip(asked, (yield asked) if asked else (), strict=True))
        asked = [time for one, other in _changes(samples) for time in range(one + finer, other, finer)]
    samples.update(zip(asked, (yield asked) if asked else (), strict=True))
    return zone_of(sorted(samples.items()))


def _changes(samples: Mapping[int, int]) -> list[tuple[int, int]]:
    """The neighbouring times between which the offset changes."""
    return [(one, other) for one, other in pairwise(sorted(samples)) if samples[one] != samples[other]]
