"""Pipelines at random, by types, of all that is followed: most have a value of every document, and some fail.

Every `$sort` and `sortBy` ends with `_id`, so that MongoDB has no ties to decide by chance.
"""

from __future__ import annotations

import random
from typing import Any

from tests.mongo.expressions import FIELDS, Expressions

NAMES = [*FIELDS.values(), "o.a", "o.z", "os.a", "os.z", "z", "z.a", "y", "y.w"]
"""Paths that stages set, show and sort by."""
KINDS = ["int", "number", "text", "array", "object", "date", "bool", "any", "numbers", "small"]
FILTERS: list[dict[str, Any]] = [
    {"i": {"$gt": 0}}, {"t": True}, {"s": {"$exists": True}}, {"q": {"$in": [0, 1, 2]}}, {"$expr": {"$gt": ["$n", 1]}},
    {"ns": {"$size": 2}}, {"$or": [{"i": {"$lt": 5}}, {"o.a": 1}]}, {"x": {"$type": "number"}}, {"z": None}, {},
    {"os.a": {"$gte": 1}}, {"y.w": {"$ne": None}},
]  # fmt: skip
ROWS: list[dict[str, Any]] = [
    {"v0": {"$gte": 1}}, {"v1": {"$ne": None}}, {"_id": {"$ne": None}}, {"$expr": {"$lt": ["$v0", 5]}},
    {"_id": {"$type": "number"}}, {"count": {"$gte": 2}}, {"v1": {"$exists": True}},
]  # fmt: skip


class Pipelines:
    """Makes documents and pipelines from one source of chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.expressions = Expressions(chance)

    def document(self, key: int) -> dict[str, Any]:
        """With arrays of objects and of arrays here and there, for paths to go through."""
        made = self.expressions.document(key)
        if self.chance.random() < 0.3:
            made["z"] = self.chance.choice([[1, {"a": 2}, [{"a": 3}]], [], {"a": 1, "b": {"c": 2}}, [[]], 5, None])
        if self.chance.random() < 0.3:
            made["y"] = self.chance.choice(
                [{"w": [3, 1]}, {"w": {"a": 1}}, [{"w": 1}, {"w": 2}], {}, {"w": None}, 5, None]
            )
        names = list(made)[1:]
        self.chance.shuffle(names)
        return {"_id": made["_id"], **{name: made[name] for name in names}}

    def pipeline(self) -> list[dict[str, Any]]:
        """One of any shape."""
        self.expressions.broken = 0.15 if self.chance.random() < 0.15 else 0.0
        grouped = self.chance.random() < 0.6
        stages = [{"$match": self.chance.choice(FILTERS)} for _ in range(self.chance.choice([0, 0, 1, 1, 2]))]
        topped = self.chance.random() < 0.35
        remakes = grouped and not topped
        stages += self.steps(self.chance.choice([0, 1, 1, 2, 3]), unwinds=grouped and not topped, remakes=remakes)
        if topped:
            stages += self.top(NAMES, limits=True)
            stages += self.steps(self.chance.choice([0, 0, 1, 2]), unwinds=grouped, remakes=False)
        return [*stages, *(self.grouped() if grouped else [])]

    def grouped(self) -> list[dict[str, Any]]:
        """A group with what is behind it."""
        stages = [self.group()]
        names = ["v0", "v1", "count", "_id", "v0.a", "w"]
        rows = [{"$match": self.chance.choice(ROWS)} for _ in range(self.chance.choice([0, 0, 1]))]
        rows += [self.of_rows() for _ in range(self.chance.choice([0, 0, 1, 2]))]
        if self.chance.random() < 0.4:
            rows += [*self.top(names, limits=False), *(self.of_rows() for _ in range(self.chance.choice([0, 0, 1])))]
        return stages + rows

    # ------------------------------------------------------------------------------------------------------- stages

    def steps(self, count: int, *, unwinds: bool, remakes: bool) -> list[dict[str, Any]]:
        """So many stages that take each document for itself; `remakes`: the key need not stay."""
        makers = [self.set, self.set, self.set, self.project, self.project, self.unset, self.match]
        if unwinds:
            makers += [self.unwind, self.unwind]
        if remakes:
            makers += [self.replaced]
        else:
            makers += [self.kept]
        return [self.chance.choice(makers)() for _ in range(count)]

    def match(self) -> dict[str, Any]:
        return {"$match": self.chance.choice(FILTERS)}

    def value(self, depth: int | None = None) -> Any:
        """An expression of any kind."""
        depth = self.chance.choice([0, 1, 1, 2]) if depth is None else depth
        if self.chance.random() < 0.08:
            return self.chance.choice(["$$ROOT", "$$REMOVE", {"a": "$i", "z": "$missing"}, ["$i", "$missing"], "$o"])
        return self.expressions.an(self.chance.choice(KINDS), depth)

    def set(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for _ in range(self.chance.choice([1, 1, 2, 3])):
            made[self.chance.choice(NAMES)] = self.value()
        if self.chance.random() < 0.15:
            made[self.chance.choice(["o", "os", "z", "y"])] = {"a": self.value(0), "b": {"c": self.value(0)}}
        return {self.chance.choice(["$set", "$addFields"]): made}

    def project(self) -> dict[str, Any]:
        if self.chance.random() < 0.3:
            hidden = self.chance.sample(NAMES, self.chance.choice([1, 2, 3]))
            return {"$project": dict.fromkeys(hidden, 0)}
        made: dict[str, Any] = {}
        for name in self.chance.sample(NAMES, self.chance.choice([2, 4, 6])):
            made[name] = 1 if self.chance.random() < 0.7 else self.value()
        if self.chance.random() < 0.2:
            made[self.chance.choice(["o", "os", "z", "y"])] = {"a": self.value(0), "b": 1}
        if self.chance.random() < 0.04:
            made["_id"] = self.chance.choice([0, 1, "$i"])
        return {"$project": made}

    def unset(self) -> dict[str, Any]:
        names = self.chance.sample(NAMES, self.chance.choice([1, 1, 2]))
        return {"$unset": names[0] if len(names) == 1 else names}

    def unwind(self) -> dict[str, Any]:
        path = "$" + self.chance.choice(["a", "ns", "ss", "os", "p", "z", "o.a", "y.w", "i"])
        if self.chance.random() < 0.5:
            return {"$unwind": path}
        made: dict[str, Any] = {"path": path, "preserveNullAndEmptyArrays": self.chance.random() < 0.7}
        if self.chance.random() < 0.5:
            made["includeArrayIndex"] = self.chance.choice(["w", "x", "y.v", "o.k"])
        return {"$unwind": made}

    def replaced(self) -> dict[str, Any]:
        root = self.chance.choice(
            ["$o", "$y", {"$mergeObjects": ["$o", {"z": "$i"}]}, {"i": "$i", "o": "$o", "s": "$missing"}, "$$ROOT"]
        )
        return self.chance.choice([{"$replaceWith": root}, {"$replaceRoot": {"newRoot": root}}])

    def kept(self) -> dict[str, Any]:
        root = self.chance.choice(
            [
                {"$mergeObjects": ["$o", {"z": "$i", "_id": "$_id"}]},
                {"s": "$missing", "_id": "$_id", "i": "$i", "o": "$o"},
                {"$mergeObjects": [{"k": 1}, "$$ROOT"]},
            ]
        )
        return self.chance.choice([{"$replaceWith": root}, {"$replaceRoot": {"newRoot": root}}])

    def sort(self, names: list[str]) -> dict[str, int]:
        """One or two paths, and `_id`."""
        made = {name: self.chance.choice([1, -1]) for name in self.chance.sample(names, self.chance.choice([1, 1, 2]))}
        made.pop("_id", None)
        return {**made, "_id": self.chance.choice([1, -1])}

    def top(self, names: list[str], *, limits: bool) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = [{"$sort": self.sort(names)}]
        if self.chance.random() < 0.4:
            made.append({"$skip": self.chance.choice([0, 1, 3])})
        if limits or self.chance.random() < 0.6:
            made.append({"$limit": self.chance.choice([1, 2, 5, 9])})
        return made

    # ------------------------------------------------------------------------------------------------------- groups

    def group(self) -> dict[str, Any]:
        dice = self.chance.random()
        if dice < 0.06:
            return {"$count": "n"}
        if dice < 0.14:
            return {"$sortByCount": self.chance.choice(["$q", "$t", {"$type": "$x"}, "$o.a", "$missing"])}
        if dice < 0.26:
            return {"$bucket": self.bucket()}
        accumulators = {f"v{index}": self.accumulator() for index in range(self.chance.choice([0, 1, 2, 2, 3]))}
        return {"$group": {"_id": self.key(), **accumulators}}

    def key(self) -> Any:
        return self.chance.choice(
            ["$q", "$t", "$i", "$o.a", None, "$missing", {"q": "$q"}, {"t": "$t", "m": "$missing"}, {"$type": "$x"},
             {"a": "$t", "b": {"c": "$missing"}}, ["$t", "$missing"], "$x", {}, {"m": "$missing"}, "$os.a"]
        )  # fmt: skip

    def bucket(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "groupBy": self.chance.choice(["$i", "$n", "$q", {"$ifNull": ["$f", 3]}, "$s"]),
            "boundaries": self.chance.choice([[-5, 0, 2.5, 100], [0, 1], ["", "a", "b"], [-(2**31), 2**31]]),
        }
        if self.chance.random() < 0.9:
            made["default"] = self.chance.choice(["zzz", 10**6, None, [1]])
        if self.chance.random() < 0.6:
            made["output"] = {f"v{index}": self.accumulator() for index in range(self.chance.choice([0, 1, 2]))}
        return made

    def accumulator(self) -> dict[str, Any]:
        name = self.chance.choice(
            ["$sum", "$avg", "$min", "$max", "$count", "$stdDevPop", "$stdDevSamp", "$addToSet", "$minN", "$maxN",
             "$top", "$topN", "$bottom", "$bottomN"]
        )  # fmt: skip
        if name == "$count":
            return {name: {}}
        if name in {"$minN", "$maxN"}:
            return {name: {"n": self.chance.choice([1, 2, 3, 2.0, 50]), "input": self.argument()}}
        if name in {"$top", "$bottom"}:
            return {name: {"sortBy": self.sort(NAMES), "output": self.argument()}}
        if name in {"$topN", "$bottomN"}:
            n = self.chance.choice([1, 2, 3, 50])
            return {name: {"n": n, "sortBy": self.sort(NAMES), "output": self.argument()}}
        if name in {"$sum", "$avg", "$stdDevPop", "$stdDevSamp"} and self.chance.random() < 0.6:
            return {name: self.expressions.an("number", self.chance.choice([0, 0, 1]))}
        return {name: self.argument()}

    def argument(self) -> Any:
        if self.chance.random() < 0.15:
            return self.chance.choice(["$_id", {"k": "$_id", "m": "$missing"}, "$missing", 1])
        made = self.value(self.chance.choice([0, 0, 1]))
        return made if not isinstance(made, list) else {"$literal": 1}

    def of_rows(self) -> dict[str, Any]:
        return self.chance.choice(
            [
                {"$set": {"w": "$v0", "v1": {"$ifNull": ["$v1", "none"]}}},
                {"$set": {"w": {"k": "$_id", "n": {"$type": "$v1"}}}},
                {"$project": {"v0": 1, "key": "$_id"}},
                {"$project": {"v1": 0}},
                {"$unset": ["v0"]},
                {"$set": {"v0.a": "$v1"}},
                {"$set": {"v0": "$$REMOVE"}},
                {"$replaceRoot": {"newRoot": {"_id": "$_id", "v1": "$v1", "v0": "$v0"}}},
            ]
        )
