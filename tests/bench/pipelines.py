"""What an event on a live pipeline costs: `python -m tests.bench.pipelines`. Ratios of one run, and counts.

A query group without sockets or MongoDB: an event goes in as a batch of its own and comes out as the frames of a
moment. CPU time of this thread, small and large in turn, the median of rounds.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from realtime.core.bson import ejson
from realtime.core.live.moments import Touch
from realtime.core.live.query import GroupBounds, QueryGroup
from realtime.core.live.router import Router
from realtime.core.mql.pipelines.pipeline import Group
from realtime.core.wire import protocol
from tests.core.examples import EPOCH, brought_up, insert, piped, replace, settled

Document = dict[str, Any]
BOUNDS = GroupBounds(documents=10_000, bytes=1 << 30, frame_bytes=1 << 20)
FEW, MANY = 1_000, 100_000
EVENTS, ROUNDS = 300, 7
STAGES: list[Document] = [
    {"$match": {"open": True}},
    {
        "$group": {
            "_id": "$row",
            "n": {"$sum": 1},
            "total": {"$sum": "$total"},
            "spread": {"$stdDevPop": "$total"},
            "least": {"$min": "$total"},
            "kinds": {"$addToSet": "$kind"},
            "best": {"$topN": {"n": 10, "sortBy": {"total": -1}, "output": {"who": "$_id", "total": "$total"}}},
        }
    },
]


@dataclass(frozen=True, slots=True)
class Shape:
    """So many documents in so many rows, of so many kinds."""

    documents: int
    rows: int
    kinds: int

    def document(self, key: int, chance: random.Random) -> Document:
        kind = f"kind {key // self.rows % self.kinds}"
        return {"_id": key, "open": True, "row": key % self.rows, "total": chance.randrange(1_000_000), "kind": kind}


SMALL, ROWS, ONE = Shape(FEW, 10, 10), Shape(MANY, 1_000, 10), Shape(MANY, 1, 1_000)
"""A thousand documents in ten rows; a hundred thousand in a thousand; all of them in one, of a thousand kinds."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of an event: microseconds of CPU, values encoded, rows made, changes told."""

    microseconds: float
    encoded: float
    rows: float
    told: float


class Run:
    """A live group of one shape, and events on its documents."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape = shape
        self.chance = random.Random(seed)
        self.group = brought_up(group_of(STAGES), *(shape.document(key, self.chance) for key in range(shape.documents)))
        self.time = 10
        self.told = 0

    def event(self) -> None:
        """A document has another total."""
        self.time += 1
        document = self.shape.document(self.chance.randrange(self.shape.documents), self.chance)
        changes = self.group.apply(settled(replace(self.time, document)), {})
        if changes:
            list(protocol.moment_frames("changes", b'"channel":1', changes, self.group.position, BOUNDS.frame_bytes))
        self.told += len(changes)

    def timed(self) -> float:
        """Microseconds of an event, of a round."""
        began = time.thread_time()
        for _ in range(EVENTS):
            self.event()
        return (time.thread_time() - began) / EVENTS * 1e6

    def counted(self) -> tuple[float, float, float]:
        """Values encoded, rows made and changes told, an event."""
        with counting() as counts:
            before = self.told
            for _ in range(EVENTS):
                self.event()
        return counts["encoded"] / EVENTS, counts["rows"] / EVENTS, (self.told - before) / EVENTS


@contextmanager
def counting() -> Iterator[dict[str, int]]:
    """How many values are encoded, those inside of lists and objects too, and rows made."""
    counts = {"encoded": 0, "rows": 0}
    encode, row = ejson.encode, Group.row

    def encoding(value: Any) -> bytes:
        counts["encoded"] += _values(value)
        return encode(value)

    def rowing(self: Group, *given: Any) -> Document:
        counts["rows"] += 1
        return row(self, *given)

    ejson.encode, Group.row = encoding, rowing  # type: ignore[method-assign, assignment]  # reason: counted here alone
    try:
        yield counts
    finally:
        ejson.encode, Group.row = encode, row  # type: ignore[method-assign]  # reason: as they were


def _values(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_values, value.values()))
    return sum(map(_values, value)) if isinstance(value, list) else 1


def group_of(stages: list[Document], channel: int = 1) -> QueryGroup:
    return QueryGroup(piped(*stages), channel, EPOCH, BOUNDS)


def measured(shapes: tuple[Shape, ...], seed: int) -> list[Cost]:
    """The costs of shapes, their rounds in turn."""
    runs = [Run(shape, seed) for shape in shapes]
    gc.collect()
    gc.freeze()
    try:
        counts = [run.counted() for run in runs]
        times = [[run.timed() for run in runs] for _ in range(ROUNDS)]
    finally:
        gc.unfreeze()
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    return [Cost(median, *counted) for median, counted in zip(medians, counts, strict=True)]


def routed(pipelines: int, events: int) -> float:
    """Groups that a document is a candidate for, each document matching the leading `$match` of one."""
    router = Router()
    for number in range(pipelines):
        group = group_of([{"$match": {"shop": number, "open": True}}, *STAGES[1:]], number)
        router.add(group)
        brought_up(group)
        router.settle(group)
    found = 0
    for number in range(events):
        document = {"_id": number, "shop": number % pipelines, "open": True, "row": 1, "total": 1}
        (touch,) = settled(insert(11 + number, document)).touches["items"].values()
        assert isinstance(touch, Touch)
        routes = router.routes("items", [touch], {})
        assert any(group.query.filter.matches(document) for group in routes)
        found += len(routes)
    return found / events


def main() -> None:
    names = ("1,000 in 10 rows", "100,000 in 1,000 rows", "100,000 in one row of 1,000 kinds")
    for name, cost in zip(names, measured((SMALL, ROWS, ONE), 1), strict=True):
        print(f"{name}: {cost}")  # noqa: T201 - it is what this is for
    print(f"1,000 leading $match: {routed(1_000, 200)} groups an event")  # noqa: T201 - as above


if __name__ == "__main__":
    main()
