"""Today's `group` beside pipelines: its rows, and what it tells of them, are the bytes that they were before.

`python -m tests.core.live.test_group_recorded` records anew, from the `realtime` that is found first.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64

from realtime.core.live.query import GroupBounds, QueryGroup
from tests.core.examples import brought_up, delete, query, replace, settled

RECORDED = Path(__file__).parents[2] / "vectors" / "groups.jsonl"
GROUPS: list[dict[str, Any]] = [
    {"by": ["status"], "count": True, "sum": ["total"]},
    {"by": ["status", "at.city"], "avg": ["total"], "min": ["total", "name"], "max": ["total"]},
    {"by": [], "count": True, "max": ["at.city"], "sum": ["lines.price"]},
    {"by": ["at.city"], "count": False},
]
TOTALS = [1, 2.5, Int64(7), Decimal128("1.10"), "x", None, float("inf"), 2**31, -3, [1]]
BOUNDS = GroupBounds(documents=1000, bytes=1 << 20, frame_bytes=1 << 20)


def document(chance: random.Random, key: int) -> dict[str, Any]:
    made: dict[str, Any] = {"_id": key, "status": chance.choice(["open", "paid", None, 1, 1.0])}
    if chance.random() < 0.8:
        made["total"] = chance.choice(TOTALS)
    if chance.random() < 0.6:
        made["at"] = chance.choice([{"city": "Rome"}, {"city": None}, {}, [{"city": "Oslo"}, {"city": 5}]])
    if chance.random() < 0.3:
        made["name"] = chance.choice("abc")
    return made


def told() -> Iterator[bytes]:
    """What groups tell over the same steps: their snapshot, then each moment."""
    chance = random.Random(20261201)
    first = [document(chance, key) for key in range(8)]
    groups = [brought_up(QueryGroup(query(group=source), 1, "0123ABCD", BOUNDS), *first) for source in GROUPS]
    for group in groups:
        yield b"[" + b",".join(group.result.told()) + b"]"
    for time in range(11, 90):
        events = [
            delete(time, key) if chance.random() < 0.25 else replace(time, document(chance, key))
            for key in chance.sample(range(12), chance.choice([1, 1, 2, 4]))
        ]
        for group in groups:
            yield b"[" + b",".join(group.apply(settled(*events), {})) + b"]"


def test_what_a_group_tells_is_byte_for_byte_what_it_told_before_there_were_pipelines() -> None:
    recorded = RECORDED.read_bytes().splitlines()
    assert list(told()) == recorded
    assert sum(len(line) > 2 for line in recorded) > 200


if __name__ == "__main__":
    RECORDED.write_bytes(b"".join(line + b"\n" for line in told()))
