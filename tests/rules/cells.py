"""The matrix: who x by which way x under what circumstance x what changes their access. Pairwise, or the product."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WHO = ("ann", "bob", "eve")
QUERIES = ("ws query", "ws window", "ws group", "ws throttle", "ws stages", "ws rows", "sse query")
EVENTS = ("ws events", "sse events")
POLLS = ("list", "ndjson", "one", "aggregate")
WAYS = (*QUERIES, *EVENTS, *POLLS)
AWAY = ("journal", "oplog", "restart")
"""The reader is not there while its access changes, and comes back by position."""
CIRCUMSTANCES = ("fresh", *AWAY, "resync", "overflow")
CHANGES = tuple(f"{what} {direction}" for what in ("token", "rule", "set") for direction in ("gives", "takes"))
"""The access of single documents changes in every cell."""


@dataclass(frozen=True, slots=True)
class Cell:
    who: str
    way: str
    circumstance: str
    change: str

    @property
    def away(self) -> bool:
        return self.circumstance in AWAY

    @property
    def mode(self) -> str:
        return "events" if self.way in EVENTS else "poll" if self.way in POLLS else "query"

    def __str__(self) -> str:
        return f"{self.who}, {self.way}, {self.circumstance}, {self.change}"


def possible(cell: Cell) -> bool:
    """A request that is over at once neither resumes nor lags; only a socket lags without taking its writer along."""
    if cell.way == "aggregate" and (cell.who == "bob" or cell.change.startswith("token")):
        return False  # of several grants that show different fields it is refused
    if cell.mode == "poll":
        return cell.circumstance in {"fresh", "restart"}
    if cell.circumstance == "overflow":
        return cell.way.startswith("ws")
    return cell.circumstance != "resync" or cell.mode == "query"


def product() -> list[Cell]:
    """Every cell that can be."""
    return [
        cell
        for values in itertools.product(WHO, WAYS, CIRCUMSTANCES, CHANGES)
        for cell in [Cell(*values)]
        if possible(cell)
    ]


def pairs_of(cell: Cell) -> set[tuple[int, str, int, str]]:
    values = (cell.who, cell.way, cell.circumstance, cell.change)
    return {(a, values[a], b, values[b]) for a, b in itertools.combinations(range(4), 2)}


def pairwise(cells: Sequence[Cell], seed: int) -> list[Cell]:
    """A few of them in which every two values that can meet do: greedily, the cell with most new pairs."""
    return _covered(cells, pairs_of, seed)


def _covered(cells: Sequence[Cell], of: Callable[[Cell], set[tuple[int, str, int, str]]], seed: int) -> list[Cell]:
    order = list(cells)
    random.Random(seed).shuffle(order)
    open_pairs = set().union(*map(of, order))
    chosen = []
    while open_pairs:
        best = max(order, key=lambda cell: len(of(cell) & open_pairs))
        chosen.append(best)
        open_pairs -= of(best)
    return chosen
