"""The matrix of issue 17: nobody receives what `find` under their rule would not return at that position.

Sabotage: `make sabotage`, rows "rules".
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.chance import fresh_seed
from tests.exact.conftest import Say, say
from tests.replica_set import ReplicaSet
from tests.rules.cells import CHANGES, CIRCUMSTANCES, WAYS, WHO, Cell, pairwise, product
from tests.rules.matrix import run_cells

__all__ = ["say"]

WHOLE = "REALTIME_TEST_RULES_MATRIX"
"""Set to `whole`: every cell, in portions; else every pair of two values."""
A_PORTION = 88
LEAST = 20
TRIES = 3
"""A cell in which little happened by chance is run again, by another seed, and what was seen counts together."""


SHARES = [
    pytest.param(3, id="a third"),
    pytest.param(1, id="every pair", marks=pytest.mark.long("the same as beside it, three times as much")),
]


def portions(share: int) -> list[list[Cell]]:
    """The cells of each run. `share`: one in so many of those that have every pair, of each circumstance."""
    if os.environ.get(WHOLE) != "whole" or share > 1:
        return [sorted(pairwise(product(), fresh_seed()), key=lambda cell: cell.circumstance)[::share]]
    cells = product()
    return [cells[begin : begin + A_PORTION] for begin in range(0, len(cells), A_PORTION)]


def lacks(figures: Counter[str]) -> bool:
    """Whether too little was shown in a cell, or withheld, for it to prove anything."""
    return min(figures["shown"], figures["withheld"]) < LEAST


@pytest.mark.timeout(7200 if os.environ.get(WHOLE) else 180)
@pytest.mark.parametrize("share", SHARES)
async def test_nobody_is_told_what_find_under_their_rule_would_not_return(
    replica_set: ReplicaSet, tmp_path: Path, say: Say, share: int
) -> None:
    seed = fresh_seed()
    totals: Counter[str] = Counter()
    few: list[str] = []
    for number, cells in enumerate(portions(share)):
        seen: dict[str, Counter[str]] = {str(cell): Counter() for cell in cells}
        left = cells
        for again in range(TRIES):
            chance = seed + number + again * 1000
            found, figures = await run_cells(replica_set, left, chance, tmp_path)
            assert not found, f"seed {chance}: {len(found)} violations:\n" + "\n".join(map(str, found[:12]))
            for name, one in figures.items():
                seen[name] += one
            left = [cell for cell in left if lacks(seen[str(cell)])]
            if not left:
                break
        totals += sum(seen.values(), Counter[str]())
        totals["cells"] += len(seen)
        print(f"portion {number + 1}: {dict(totals)}", flush=True)  # noqa: T201 - the whole takes ten minutes
        few += [f"{name}: {one}" for name, one in seen.items() if lacks(one)]
    say(f"{dict(totals)}, seed {seed}")
    assert not few, few
    # A handful of cells come back by a position that is still there, and some of them are told anew all the same.
    assert totals["recovered"] > 0 or share > 1
    assert totals["resync"] > 0
    assert totals["writes by the service"] > 0


def test_every_pair_of_values_that_can_meet_does() -> None:
    cells = pairwise(product(), 7)
    assert len(cells) < 120
    for values, of in ((WHO, "who"), (WAYS, "way"), (CIRCUMSTANCES, "circumstance"), (CHANGES, "change")):
        assert {getattr(cell, of) for cell in cells} == set(values)
    met = {(cell.way, cell.change) for cell in cells}
    assert met == {(cell.way, cell.change) for cell in product()}
    assert len(met) >= (len(WAYS) - 1) * len(CHANGES)
