"""Latencies, counted in buckets whose width is a sixty-fourth of what they hold: bounded memory, sums by addition.

Pure. Latencies are microseconds; a percentile is the upper end of its bucket, so at most 1.6 % too much.
"""

from __future__ import annotations

from collections.abc import Iterable

_BITS = 6
_EXACT = 1 << (_BITS + 1)
"""Below this every microsecond has a bucket of its own."""
_MOST = 1 << 36
"""Nineteen hours; what took longer is counted as that."""


def bucket_of(microseconds: int) -> int:
    """The number of the bucket; what is negative counts as nothing."""
    value = min(max(microseconds, 0), _MOST)
    if value < _EXACT:
        return value
    shift = value.bit_length() - _BITS - 1
    return (shift << _BITS) + (value >> shift)


def upper_end_of(bucket: int) -> int:
    """The largest latency that is counted there."""
    if bucket < _EXACT:
        return bucket
    shift = (bucket >> _BITS) - 1
    return (((bucket & ((1 << _BITS) - 1)) + (1 << _BITS) + 1) << shift) - 1


class Latencies:
    """How many were in each bucket."""

    __slots__ = ("counts",)

    def __init__(self, counts: Iterable[tuple[int, int]] = ()) -> None:
        self.counts: dict[int, int] = dict(counts)

    def add(self, microseconds: int) -> None:
        """One more."""
        bucket = bucket_of(microseconds)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    def take(self, others: Latencies) -> None:
        """All of others as well."""
        for bucket, count in others.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def pairs(self) -> list[tuple[int, int]]:
        """As they travel between processes."""
        return list(self.counts.items())

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def percentile(self, share: float) -> int | None:
        """Microseconds within which this share of all came, `share` between 0 and 1; None where there are none."""
        total = self.total
        if not total:
            return None
        wanted, seen, last = share * total, 0, 0
        for last in sorted(self.counts):
            seen += self.counts[last]
            if seen >= wanted:
                break
        return upper_end_of(last)
