"""Documents, filters and projections at random, over many BSON types, close enough to each other to match often."""

from __future__ import annotations

import datetime as dt
import os
import random
import uuid
from typing import Any

from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from realtime.core.values import order

SCALARS: list[Any] = [
    *(0, 1, 2, -1, 2**31 - 1),
    *(0.0, -0.0, 1.0, 2.5, 0.1, float("nan"), float("inf"), float("-inf"), 2.0**53),
    *(Int64(1), Int64(2), Int64(2**53 + 1), Int64(2**60), Int64(-(2**63))),
    *(Decimal128(text) for text in ("1.0", "1.00", "2.5", "0.1", "NaN", "-0", "Infinity", "9007199254740993")),
    *("", "a", "b", "ab", "A", "é", "\U0001f600", "1"),
    *(True, False, None, None),
    *(dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(1960, 1, 1, tzinfo=dt.UTC), DatetimeMS(2**50)),
    *(ObjectId("5" * 24), ObjectId("6" * 24)),
    *(MinKey(), MaxKey()),
    *(b"", b"x", b"xy", Binary(b"x", 5), uuid.UUID(int=5), uuid.UUID(int=6)),
    *(Timestamp(1, 2), Timestamp(1, 3)),
    *(Code("f()"), Code("f()", {"a": 1})),
]
PATTERNS = [Regex("a", ""), Regex("a", "i")]
"""Stored regular expressions; as an operand they are not supported yet."""
NAMES = ["a", "b", "c", "0", "1"]
ODD_NAMES = ["", "01", "-1", "é"]
TRUTHS: list[Any] = [True, False, 0, 1, 0.0, None, "", "x", {}, [], Decimal128("0"), Decimal128("NaN"), MinKey()]


def fresh_seed() -> int:
    """A new seed for every run, unless one is given to be run again."""
    return int(os.environ.get("REALTIME_TEST_SEED") or random.SystemRandom().randrange(2**32))


class Grammar:
    """Makes everything from one source of chance, so that a seed repeats a run."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def name(self) -> str:
        return self.chance.choice(ODD_NAMES if self.chance.random() < 0.03 else NAMES)

    def path(self) -> str:
        return ".".join(self.name() for _ in range(self.chance.choice([1, 1, 1, 2, 2, 3])))

    def value(self, depth: int = 3, *, stored: bool = False) -> Any:
        dice = self.chance.random()
        if depth and dice < 0.22:
            return [self.value(depth - 1, stored=stored) for _ in range(self.chance.randrange(4))]
        if depth and dice < 0.44:
            return {self.name(): self.value(depth - 1, stored=stored) for _ in range(self.chance.randrange(4))}
        if stored and dice > 0.98:
            return self.chance.choice(PATTERNS)
        # The first few more often, so that values meet.
        return self.chance.choice(SCALARS[:8] if self.chance.random() < 0.3 else SCALARS)

    def document(self, key: int) -> dict[str, Any]:
        fields = {name: self.value(stored=True) for name in [*NAMES, *ODD_NAMES[:2]] if self.chance.random() < 0.6}
        return {"_id": key, **fields}

    # ----------------------------------------------------------------------------------------------------- filters

    def filter(self, depth: int = 2) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for _ in range(self.chance.choice([1, 1, 1, 2])):
            if depth and self.chance.random() < 0.25:
                parts = [self.filter(depth - 1) for _ in range(self.chance.choice([1, 2, 3]))]
                made[self.chance.choice(["$and", "$or", "$nor"])] = parts
            else:
                made[self.path()] = self.operators() if self.chance.random() < 0.75 else self.operand()
        if self.chance.random() < 0.03:
            made["$comment"] = "by chance"
        return made

    def operators(self, depth: int = 2) -> dict[str, Any]:
        made = self.operator(depth)
        return {**made, **self.operator(depth)} if self.chance.random() < 0.2 else made

    def operator(self, depth: int) -> dict[str, Any]:
        name = self.chance.choice(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$not", "$exists"])
        if name in {"$in", "$nin"}:
            return {name: [self.operand() for _ in range(self.chance.randrange(5))]}
        if name == "$exists":
            return {name: self.chance.choice(TRUTHS)}
        if name == "$not":
            return {name: self.operators(depth - 1)} if depth else self.operator(0)
        return {name: self.operand()}

    def operand(self) -> Any:
        return self.value(2)

    def broken_filter(self) -> dict[str, Any]:
        """A filter that breaks one of the language's rules, most of the time."""
        value = self.operand()
        broken: Any = self.chance.choice(
            [
                {"$in": value},
                {"$nin": value},
                {"$in": [1, {"$gt": 1}]},
                {"$not": value},
                {"$not": {}},
                {"$not": {"a": 1}},
                {"$not": {"$in": value}},
                {"$gt": 1, "a": value},
                {"$eq": 1, "$not": value},
                {"$exists": value},
                {"a": 1, "$gt": 1},
            ]
        )
        whole: dict[str, Any] = self.chance.choice(
            [
                {self.path(): broken},
                {self.path(): broken},
                {self.chance.choice(["$and", "$or", "$nor"]): value},
                {self.chance.choice(["$and", "$or", "$nor"]): []},
                {"$or": [{"a": 1}, {self.path(): broken}]},
                {"$and": [{"a": 1}, value]},
            ]
        )
        return whole

    # ------------------------------------------------------------------------------------------------- projections

    def projection(self) -> dict[str, Any]:
        """Inclusion or exclusion of a few paths; now and then mixed, which is refused."""
        shown = self.chance.random() < 0.5
        made: dict[str, Any] = {}
        for _ in range(self.chance.choice([1, 1, 2, 3])):
            flag = shown if self.chance.random() < 0.95 else not shown
            made[self.path()] = self.flag(flag)
        if self.chance.random() < 0.3:
            made["_id"] = self.flag(self.chance.random() < 0.5)
        if self.chance.random() < 0.15:
            made[self.name()] = {self.name(): self.flag(shown), self.name(): {self.name(): self.flag(shown)}}
        if self.chance.random() < 0.02:
            made[self.name()] = {}
        items = list(made.items())
        self.chance.shuffle(items)
        return dict(items)

    def flag(self, shown: bool) -> Any:
        truths: list[Any] = [1, True, 1.5, -1, Int64(2), Decimal128("1"), float("nan")]
        return self.chance.choice(truths if shown else [0, False, 0.0, Int64(0), Decimal128("0")])


def same(one: Any, other: Any) -> bool:
    """Equal as BSON has it, names in the same order, and of the same type."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and order(one) == order(other)
