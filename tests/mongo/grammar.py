"""Documents, filters, projections and sorts at random, over all BSON types, close enough to each other to match often.

`Grammar.filter` looks into the documents that it made: half of its operands and most of its paths are theirs.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
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

from realtime.core.bson.stored import (
    UNDEFINED_VALUE,
    Broken,
    BrokenSymbol,
    OddBinary,
    OddRegex,
    Pointer,
    Repeated,
    Symbol,
    Undefined,
)
from realtime.core.bson.values import order
from realtime.core.mql.language import BITS, BSON_TYPES, COMPARISONS, FIELD_OPERATORS
from tests.mongo.patterns import Patterns

DAYS = [dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(1960, 1, 1, microsecond=1000, tzinfo=dt.UTC)]
POOLS: dict[str, list[Any]] = {
    "int": [0, 1, 2, 3, 5, -1, -4, 7, 20, 2**31 - 1],
    "long": [Int64(1), Int64(2), Int64(5), Int64(2**53 + 1), Int64(2**62), Int64(-(2**63))],
    "double": [0.0, -0.0, 1.0, 2.5, -4.0, 0.1, float("nan"), float("inf"), float("-inf"), 2.0**53, 2.0**63, 1e300],
    "decimal": [
        Decimal128(text)
        for text in ("1.0", "1.00", "2.5", "0.1", "5", "-0", "NaN", "Infinity", "9007199254740993", "1E+6000", "-1.5")
    ],
    "string": ["", "a", "b", "ab", "A", "B\n", "é", "\U0001f600", "1", "a b", "b\nA", "a\0b"],
    "bool": [True, False],
    "null": [None],
    "date": [*DAYS, DatetimeMS(2**50), DatetimeMS(-(2**50))],
    "objectId": [ObjectId("5" * 24), ObjectId("6" * 24)],
    "minKey": [MinKey()],
    "maxKey": [MaxKey()],
    "binData": [b"", b"x", b"\x05\x80", Binary(b"x", 5), Binary(b"\x05", 2), uuid.UUID(int=5), uuid.UUID(int=6 << 70)],
    "timestamp": [Timestamp(1, 2), Timestamp(1, 3)],
    "javascript": [Code("f()"), Code("g()")],
    "javascriptWithScope": [Code("f()", {"a": 1}), Code("f()", {})],
    "regex": [Regex("a", ""), Regex("a", "i"), Regex("b", "im")],
}
NAMES = ["a", "b", "c", "0", "1"]
ODD_VALUES: list[Any] = [
    UNDEFINED_VALUE,
    Symbol("a"),
    Symbol("ab"),
    Broken("\udcff"),
    Broken("a\udcfe"),
    BrokenSymbol("a\udcff"),
    Pointer("a", ObjectId("5" * 24)),
    Pointer("ab", ObjectId("4" * 24)),
    OddBinary(b"xx"),
    OddBinary(b"\x07\0\0\0x"),
    OddRegex("a", "xi"),
    OddRegex("a", "q"),
    Repeated([("a", 1), ("b", 2), ("a", 5)]),
    Repeated([("a", [1]), ("a", {"b": 1})]),
    {utf8.decode("utf-8", "surrogateescape"): 1 for utf8 in (b"\xff", b"\xfe")},
    Binary(b"12345", 4),
    Binary(b"12345", 3),
    {"a": UNDEFINED_VALUE},
    [UNDEFINED_VALUE, 1],
]
"""What drivers store and clients cannot say."""
ODD_NAMES = ["", "01", "-1", "é", "$ref"]
TRUTHS: list[Any] = [True, False, 0, 1, 0.0, None, "", "x", {}, [], Decimal128("0"), Decimal128("NaN"), MinKey()]
INTEGERS: list[Any] = [0, 1, 2, 3, 5, 1.0, Int64(2), Decimal128("2"), -0.0]
BROKEN_NUMBERS: list[Any] = [-1, 1.5, None, "1", float("nan"), 2**31, 2**40, Decimal128("0.5"), True, 1e300]


def pairs(usual: int) -> int:
    """How many pairs a differential compares at least: REALTIME_TEST_PAIRS, where `0.1` is a tenth of the usual."""
    wanted = os.environ.get("REALTIME_TEST_PAIRS") or "1.0"
    return round(usual * float(wanted)) if "." in wanted else int(wanted)


SHARES = pytest.mark.parametrize(
    "share",
    [
        pytest.param(0.2, id="a fifth"),
        pytest.param(1.0, id="whole", marks=pytest.mark.long("the same as beside it, five times as much")),
    ],
)
"""How much of the usual number of pairs a differential compares."""


class Grammar:
    """Makes everything from one source of chance, so that a seed repeats a run."""

    def __init__(self, chance: random.Random, *, odd: Sequence[Any] = ODD_VALUES) -> None:
        """`odd`: what is among its documents that no client can write; `stored.encode` can."""
        self.chance = chance
        self.odd = odd
        self.patterns = Patterns(chance, refused=0.004)
        self.documents: list[dict[str, Any]] = []
        self.hint: Any = None

    # --------------------------------------------------------------------------------------------------- documents

    def name(self) -> str:
        return self.chance.choice(ODD_NAMES if self.chance.random() < 0.03 else NAMES)

    def scalar(self) -> Any:
        dice = self.chance.random()
        if dice < 0.15:
            return self.patterns.text()
        # Numbers and text more often, so that values meet.
        kinds = ["int", "string", "double", "long"] if dice < 0.45 else list(POOLS)
        return self.chance.choice(POOLS[self.chance.choice(kinds)])

    def value(self, depth: int = 3) -> Any:
        dice = self.chance.random()
        if depth and dice < 0.24:
            return [self.value(depth - 1) for _ in range(self.chance.randrange(4))]
        if depth and dice < 0.44:
            return {self.name(): self.value(depth - 1) for _ in range(self.chance.randrange(4))}
        if dice > 0.99:
            return self.chance.choice([{"$ref": "a", "$id": 1}, {"$id": "b", "$ref": "a"}])
        if self.odd and dice > 0.97:
            return self.chance.choice(self.odd)
        return self.scalar()

    def document(self, key: int) -> dict[str, Any]:
        odd = [name for name in ODD_NAMES[:2] if self.chance.random() < 0.1]
        fields = {name: self.value() for name in [*NAMES, *odd] if self.chance.random() < 0.8}
        made = {"_id": key, **fields}
        self.documents.append(made)
        return made

    # ------------------------------------------------------------------------------------------------------- paths

    def path(self) -> str:
        """Most of the time one that a document has; what it has there is the next operand's hint."""
        if self.documents and self.chance.random() < 0.8:
            path, self.hint = self.walk()
            return path
        return ".".join(self.name() for _ in range(self.chance.choice([1, 1, 1, 2, 2, 3])))

    def walk(self) -> tuple[str, Any]:
        """A path into one of the documents, numbers of elements named or left out, and what is there."""
        node: Any = self.chance.choice(self.documents)
        parts: list[str] = []
        while True:
            if isinstance(node, dict) and node and all(map(_printable, node)):
                name = self.chance.choice(list(node))
                parts.append(name)
                node = node[name]
            elif type(node) is list and node and parts:
                place = self.chance.randrange(len(node))
                if self.chance.random() < 0.25:
                    parts.append(str(place))
                node = node[place]
            else:
                break
            if parts and self.chance.random() < 0.5:
                break
        return ".".join(parts), node if sayable(node) else self.chance.choice(POOLS["int"])

    def operand(self) -> Any:
        dice = self.chance.random()
        if dice < 0.4:
            return self.hint
        made = self.walk()[1] if self.documents and dice < 0.7 else self.value(2)
        return made if sayable(made) else 2

    def value_operand(self) -> Any:
        """No regular expression, and nothing that looks like operators."""
        made = self.operand()
        return self.chance.choice(POOLS["int"]) if isinstance(made, Regex) or _like_operators(made) else made

    # ----------------------------------------------------------------------------------------------------- filters

    def filter(self) -> dict[str, Any]:
        """Some are turned around as a whole, so that a quarter of all pairs or more match."""
        made = self.conditions()
        return {"$nor": [made]} if self.chance.random() < 0.3 else made

    def conditions(self, depth: int = 2) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for _ in range(self.chance.choice([1, 1, 1, 2])):
            if depth and self.chance.random() < 0.25:
                parts = [self.conditions(depth - 1) for _ in range(self.chance.choice([1, 2, 3]))]
                made[self.chance.choice(["$and", "$or", "$nor"])] = parts
            elif self.chance.random() < 0.2 and self.documents:
                path, operand = self.walk()
                made[_field(path)] = operand if not _like_operators(operand) else 1
            else:
                made.update(self.condition())
        if self.chance.random() < 0.03:
            made["$comment"] = "by chance"
        return made

    def condition(self) -> dict[str, Any]:
        path, condition = self.path(), self.operators() if self.chance.random() < 0.9 else self.value_operand()
        # `$elemMatch` is refused at the empty name; tests/core/mql/test_operators.py has that.
        return {_field(path) if path or "$elemMatch" not in repr(condition) else "a": condition}

    def operators(self, depth: int = 2) -> dict[str, Any]:
        made = self.operator(depth)
        return {**self.operator(depth), **made} if self.chance.random() < 0.15 else made

    def operator(self, depth: int) -> dict[str, Any]:
        name = self.chance.choice([one for one in FIELD_OPERATORS if one != "$options"])
        if name in COMPARISONS or name in {"$eq", "$ne"}:
            return {name: self.operand() if name == "$eq" else self.value_operand()}
        if name in BITS:
            return {name: self.bits()}
        if name in {"$not", "$elemMatch"} and not depth:
            return {"$exists": True}
        return self._makers()[name](depth)

    def _makers(self) -> dict[str, Callable[[int], dict[str, Any]]]:
        return {
            "$in": lambda _: {"$in": self.several()},
            "$nin": lambda _: {"$nin": self.several()},
            "$exists": lambda _: {"$exists": self.chance.choice(TRUTHS)},
            "$type": lambda _: {"$type": self.type()},
            "$regex": lambda _: self.regex(),
            "$mod": lambda _: {
                "$mod": [self.chance.choice([1, 2, 3, -2, 4.9, Int64(5), Decimal128("2")]), self.small()]
            },
            "$size": lambda _: {"$size": self.chance.choice(INTEGERS)},
            "$not": lambda depth: {"$not": self.operators(depth - 1) if self.chance.random() < 0.8 else self.a_regex()},
            "$all": self.all_of,
            "$elemMatch": self.elem_match,
        }

    def small(self) -> Any:
        return self.chance.choice([0, 0, 0, 1, 1, 2, -1, 1.9, Decimal128("0.4")])

    def several(self) -> list[Any]:
        made = [self.value_operand() for _ in range(self.chance.choice([0, 1, 2, 3, 5]))]
        return [*made, self.a_regex()] if self.chance.random() < 0.2 else made

    def type(self) -> Any:
        names = [*BSON_TYPES, *BSON_TYPES, "number", 1, 2, 3, 4, 16, Int64(18), 10.0, Decimal128("2"), -1, 127]
        if self.chance.random() < 0.3:
            return [self.chance.choice(names) for _ in range(self.chance.choice([1, 2, 4]))]
        return self.chance.choice(names)

    def a_regex(self) -> Regex[str]:
        return Regex(self.patterns.pattern(1), self.patterns.options())

    def regex(self) -> dict[str, Any]:
        pattern, options = self.patterns.pattern(), self.patterns.options()
        made: dict[str, Any] = self.chance.choice(
            [
                {"$regex": pattern},
                {"$regex": pattern, "$options": options},
                {"$options": options, "$regex": pattern},
                {"$regex": Regex(pattern, options)},
                {"$regex": Regex(pattern), "$options": options},
            ]
        )
        return made

    def all_of(self, depth: int) -> dict[str, Any]:
        if depth and self.chance.random() < 0.35:
            return {"$all": [self.elem_match(depth - 1) for _ in range(self.chance.choice([1, 1, 2]))]}
        if self.documents and self.chance.random() < 0.5:
            found = self.walk()[1]
            if type(found) is list and found and not any(map(_like_operators, found)):
                return {"$all": self.chance.sample(found, self.chance.randrange(1, len(found) + 1))}
        values = [self.value_operand() for _ in range(self.chance.choice([0, 1, 1, 2]))]
        return {"$all": [*values, self.a_regex()] if self.chance.random() < 0.2 else values}

    def elem_match(self, depth: int) -> dict[str, Any]:
        if depth and self.chance.random() < 0.4:
            return {"$elemMatch": self.conditions(0) if self.chance.random() < 0.9 else {}}
        return {"$elemMatch": self.operators(max(depth - 1, 0))}

    def bits(self) -> Any:
        return self.chance.choice(
            [
                0,
                1,
                2,
                5,
                5.0,
                Int64(2**62),
                Decimal128("4"),
                [0],
                [0, 2],
                [1, 64, 200],
                [],
                [63],
                [15.0],
                b"\x05",
                b"",
                b"\x00\x80",
            ]
        )

    # ------------------------------------------------------------------------------------------------------ broken

    def broken_filter(self) -> dict[str, Any]:
        """A filter that breaks one of the language's rules, most of the time."""
        value, number = self.operand(), self.chance.choice(BROKEN_NUMBERS)
        path = self.path() or "a"
        broken: Any = self.chance.choice(
            [
                *({"$in": value}, {"$nin": value}, {"$in": [1, {"$gt": 1}]}, {"$not": value}, {"$not": {}}),
                *({"$not": {"a": 1}}, {"$not": {"$in": value}}, {"$gt": 1, "a": value}, {"$eq": 1, "$not": value}),
                *({"$exists": value}, {"a": 1, "$gt": 1}, {"$gt": Regex("a")}, {"$ne": Regex("a")}),
                *({"$size": value}, {"$size": number}, {"$mod": value}, {"$mod": [number, number]}, {"$mod": [2]}),
                *({"$mod": [1, 2, 3]}, {"$mod": [0, 1]}, {"$type": value}, {"$type": number}, {"$type": [number]}),
                *({"$bitsAllSet": value}, {"$bitsAnyClear": number}, {"$bitsAnySet": [number]}, {"$all": value}),
                *({"$bitsAllClear": [1, value]}, {"$all": [1, {"$elemMatch": {}}]}, {"$all": [{"$gt": 1}]}),
                *({"$all": [{"$elemMatch": {}}, 1]}, {"$elemMatch": value}, {"$elemMatch": {"$gt": 1, "a": 1}}),
                *({"$elemMatch": {"$and": value}}, {"$elemMatch": {"$and": [{"$gt": 1}]}}, {"$regex": value}),
                *({"$options": "i"}, {"$regex": "a", "$options": value}, {"$regex": Regex("a", "i"), "$options": ""}),
                *({"$regex": "a", "$options": "l"}, {"$regex": "("}, {"$regex": "a\0"}, {"$regex": "[b-a]"}),
                *({"$regex": "a{2,1}"}, {"$regex": "*"}, {"$regex": "a|)"}, {"$regex": "\\"}, {"$regex": "[a"}),
                *({"$comment": "x"}, {"$nonsense": 1}, {"$elemMatch": {"$comment": 1, "$gt": 1}}, {"$ref": "a"}),
                *({"$ref": "a", "$id": 1}, {"$id": 1}, {"$in": [{"$ref": "a", "$id": 1}, {"$ref": "a"}]}),
                *({"$type": []}, {"$type": ["number", "nothing"]}, {"$not": Regex("(")}, {"$in": [Regex("(")]}),
            ]
        )
        logical = self.chance.choice(["$and", "$or", "$nor"])
        whole: dict[str, Any] = self.chance.choice(
            [
                *([{_field(path): broken}] * 6),
                *({logical: value}, {logical: []}, {"$or": [{"a": 1}, {_field(path): broken}]}),
                *({"$and": [{"a": 1}, value]}, {"$nonsense": 1}, {"a": {"$elemMatch": {"b": broken}}}),
                {"a": {"$not": {"$elemMatch": broken if isinstance(broken, dict) else {}}}},
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
            made[".".join(self.name() for _ in range(self.chance.choice([1, 1, 1, 2, 2, 3])))] = self.flag(flag)
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

    # ------------------------------------------------------------------------------------------------------- sorts

    def sort(self) -> list[tuple[str, int]]:
        """One to three paths, those of one sort mostly through the same field, `_id` last."""
        names: dict[str, int] = {}
        first = self.chance.choice(NAMES)
        for _ in range(self.chance.choice([1, 1, 2, 3])):
            begin = first if self.chance.random() < 0.7 else self.chance.choice(NAMES)
            rest = [self.chance.choice(NAMES) for _ in range(self.chance.choice([0, 1, 1, 2]))]
            names[".".join([begin, *rest])] = self.chance.choice([1, -1])
        return [*names.items(), ("_id", self.chance.choice([1, -1]))]


def sayable(value: Any) -> bool:
    """Whether a client can write it."""
    if isinstance(value, Undefined | Symbol | Broken | Pointer | OddBinary | OddRegex | Repeated):
        return False
    if isinstance(value, dict):
        return all(map(sayable, value.values())) and all(map(_printable, value))
    return all(map(sayable, value)) if isinstance(value, list) else True


def _printable(name: str) -> bool:
    """Whether a name is UTF-8."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _field(path: str) -> str:
    """A path that is no operator."""
    return path if not path.startswith("$") else f"a.{path}"


def _like_operators(value: Any) -> bool:
    return isinstance(value, dict) and next(iter(value), "").startswith("$")


def same(one: Any, other: Any) -> bool:
    """Equal as BSON has it, names in the same order, and of the same type."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and order(one) == order(other)
