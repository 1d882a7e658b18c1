"""How large a pipeline may be, and what it may make of one document."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """`taken`: it was looked at before, and is compiled again for another dialect or with its zones."""

    stages: int = 32
    nodes: int = 1000
    """Parts of expressions and conditions, and paths, of all stages together."""
    accumulators: int = 32
    boundaries: int = 200
    """Of a `$bucket`."""
    several: int = 1000
    """The `n` of `$minN`, `$topN` and their relatives."""
    skipped: int = 100_000
    """Rows that are left out by a `$skip`."""
    rows: int = 10_000
    """What `$unwind` may make of one document."""
    bytes: int = 16 * 1024 * 1024
    """What one document may grow to."""
    steps: int = 200_000
    """What one document may cost: one for each part of an expression for each row, and what expressions count."""
    taken: bool = False
