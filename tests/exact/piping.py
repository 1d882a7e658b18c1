"""Pipelines at random over documents at random, a view folded in its order, and what `aggregate` answers at a time."""

from __future__ import annotations

import json
import math
import random
from itertools import cycle
from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64
from pymongo.synchronous.database import Database

from realtime.core.bson import ejson
from realtime.core.bson.values import order
from realtime.core.mql.pipelines.compiling import compile_pipeline
from realtime.errors import ServiceError
from realtime.mongo.client import RAW
from tests.exact.ledger import to_timestamp
from tests.exact.sortedview import Folding
from tests.exact.test_expressions import Safe
from tests.mongo.differential import read
from tests.mongo.grammar import Grammar
from tests.truth import name_of

Document = dict[str, Any]
Pipeline = list[Document]
SCALARS: list[Any] = [0, 1, 1.0, 2, 3, 2.5, -4, 7, Int64(5), Decimal128("2.5"), "a", "b", "ab", "", True, False, None]
OPERATORS = ["$sum", "$avg", "$min", "$max", "$count", "$stdDevPop", "$stdDevSamp", "$addToSet", "$minN", "$maxN",
             "$top", "$topN", "$bottom", "$bottomN"]  # fmt: skip


class Sales(Grammar):
    """Documents whose fields are mostly there, of values that meet, with sums that every order of adding agrees on."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance, odd=())

    def scalar(self) -> Any:
        return self.chance.choice(SCALARS)

    def value(self, depth: int = 3) -> Any:
        dice = self.chance.random()
        if depth and dice < 0.15:
            return [self.value(depth - 1) for _ in range(self.chance.randrange(4))]
        if depth and dice < 0.3:
            return {self.chance.choice("ab"): self.value(depth - 1) for _ in range(self.chance.randrange(3))}
        return self.scalar()

    def document(self, key: int) -> Document:
        made: Document = {"_id": key}
        if self.chance.random() < 0.9:
            made["a"] = self.chance.choice(["a", "b", "ab", 1, 1.0, None])
        if self.chance.random() < 0.9:
            made["b"] = self.chance.choice([0, 1, 2, 3, 2.5, 7, Int64(5)])
        if self.chance.random() < 0.8:
            made["c"] = [self.value(1) for _ in range(self.chance.randrange(4))]
        if self.chance.random() < 0.4:
            made[self.chance.choice("01")] = self.value(2)
        self.documents.append(made)
        return made


class Pipes:
    """Makes pipelines that no document makes fail, each with all of what may stand in it now and then."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.safe = Safe(chance)
        self.operators = cycle(chance.sample(OPERATORS, len(OPERATORS)))

    def pipeline(self, kind: str) -> Pipeline:
        """One of `KINDS`."""
        chance = self.chance
        made: Pipeline = [{"$match": self.match()}] if chance.random() < 0.6 else []
        if kind == "documents":
            return [*made, *self.steps(1, 3)]
        if kind == "sorted":
            top = self.top(must=chance.random() < 0.7)
            having = [{"$match": self.match()}] if chance.random() < 0.3 and "$limit" in top[-1] else []
            return [*made, *self.steps(0, 2), *top, *having, *self.shown(0)]
        made += self.steps(0, 2)
        if kind == "rows of some":
            made += [*self.top(must=True), *self.steps(0, 1)]
        path = chance.choice(["$c", "$c", {"path": "$c", "preserveNullAndEmptyArrays": True, "includeArrayIndex": "i"}])
        made += [{"$unwind": path}] if chance.random() < 0.35 else []
        # What `$top` sorts by is no array, at which MongoDB 6.0.5 fails.
        made += [{"$set": {"k": self.safe.number()}}, self.group()]
        (name,) = made[-1]
        if name == "$group":
            made += self.having()
        if name in {"$group", "$bucket"} and chance.random() < 0.4:
            made += [
                {"$sort": {chance.choice(["x0", "n"]): chance.choice([1, -1]), "_id": 1}},
                *([{"$skip": 1}] if chance.random() < 0.3 else []),
                *([{"$limit": chance.choice([1, 2, 4])}] if chance.random() < 0.8 else []),
            ]
        return made

    def match(self) -> Document:
        chance = self.chance
        return chance.choice(
            [
                {"a": {"$in": chance.sample(["a", "b", "ab", 1, None], 3)}},
                {"b": {chance.choice(["$gte", "$lt", "$ne"]): chance.choice([0, 1, 2, 3])}},
                {"_id": {"$mod": [chance.choice([2, 3]), 1]}},
                {"c": {"$exists": True}},
                {"c.0": {"$type": ["string", "number"]}},
                {"$expr": self.safe.condition()},
            ]
        )

    def steps(self, least: int, most: int) -> Pipeline:
        return [self.step() for _ in range(self.chance.randrange(least, most + 1))]

    def step(self) -> Document:
        safe, chance = self.safe, self.chance
        steps: list[Document] = [
            {chance.choice(["$set", "$addFields"]): {"x": self.sum(), "b": safe.number()}},
            {"$set": {"c": safe.array(), "y.z": safe.path()}},
            {"$project": {"a": 1, "b": 1, "c": 1, "x": {"$isArray": safe.path()}}},
            {"$project": {"0": 0, "1": 0}},
            {"$unset": chance.choice(["0", "c.a", ["0", "1"]])},
            {"$match": self.match()},
            {"$replaceWith": {"$mergeObjects": ["$$ROOT", {"r": safe.path(), "_id": "$_id"}]}},
            {"$set": {"p": {"$size": {"$objectToArray": "$$ROOT"}}}},
        ]
        return chance.choice(steps)

    def sum(self) -> Document:
        return {"$add": [self.safe.number(), {"$multiply": [self.safe.number(), 2]}]}

    def top(self, *, must: bool) -> Pipeline:
        chance = self.chance
        sort = {"$sort": {chance.choice(["a", "b", "c", "x"]): chance.choice([1, -1]), "_id": chance.choice([1, -1])}}
        limit = [{"$limit": chance.choice([1, 3, 5, 12])}] if must or chance.random() < 0.3 else []
        return [sort, *([{"$skip": chance.choice([1, 3])}] if limit and chance.random() < 0.4 else []), *limit]

    def shown(self, least: int) -> Pipeline:
        one: Document = self.chance.choice([{"$project": {"b": 1, "c": 1}}, {"$set": {"w": {"$isArray": "$c"}}}])
        return [one for _ in range(self.chance.randrange(least, 2))]

    def group(self) -> Document:
        chance = self.chance
        dice = chance.random()
        if dice < 0.08:
            return {"$count": "n"}
        if dice < 0.16:
            return {"$sortByCount": chance.choice([{"$type": self.safe.path()}, "$k"])}
        accumulators = {f"x{index}": self.accumulator() for index in range(chance.randrange(1, 4))}
        if dice < 0.3:
            number = {"$convert": {"input": "$b", "to": "double", "onError": 0, "onNull": 1}}
            bounds: Document = {"groupBy": number, "boundaries": [0, 2, 3.5, 8], "default": "else"}
            return {"$bucket": {**bounds, "output": {**accumulators, "n": {"$sum": 1}}}}
        return {"$group": {"_id": self.key(), **accumulators, "n": {"$sum": 1}}}

    def key(self) -> Any:
        """In an object: rows whose `_id` are arrays stand at one place of a `$sort` where these share an element."""
        safe, chance = self.safe, self.chance
        chosen = chance.choice(["$a", "$a", "$b", "$c", {"$isArray": "$c"}, safe.condition()])
        return {"k": chosen} if isinstance(chosen, str) else chosen

    def accumulator(self) -> Document:
        chance, name = self.chance, next(self.operators)
        # Exact in every order: whole numbers and halves.
        number = chance.choice(["$b", "$b", {"$multiply": [self.safe.number(), 2]}, "$c", 1])
        value = chance.choice(["$a", "$b", "$c", self.safe.path(), self.safe.array()])
        count = chance.choice([1, 2, 3])
        # Of what is the same in all that `$unwind` makes of a document, for these stand at one place.
        ranked = {"sortBy": {"k": chance.choice([1, -1]), "_id": 1}, "output": chance.choice(["$b", "$_id"])}
        if name == "$count":
            return {name: {}}
        if name in {"$minN", "$maxN"}:
            return {name: {"n": count, "input": value}}
        if name in {"$top", "$bottom"}:
            return {name: ranked}
        if name in {"$topN", "$bottomN"}:
            return {name: {"n": count, **ranked}}
        return {name: number if name in {"$sum", "$avg", "$stdDevPop", "$stdDevSamp"} else value}

    def having(self) -> Pipeline:
        chance = self.chance
        return chance.choice(
            [
                [],
                [{"$match": {"n": {"$gte": chance.choice([2, 3])}}}],
                [{"$match": {"$expr": {"$gt": ["$n", 1]}}}, {"$set": {"s": {"$add": ["$n", 1]}}}],
                [{"$project": {"x0": 1, "n": 1, "one": {"$eq": ["$n", 1]}}}],
            ]
        )


KINDS = ["documents", "documents", "sorted", "rows", "rows", "rows", "rows of some"]


def chosen(pipes: Pipes, number: int) -> Pipeline:
    """One that the service takes, as it will read it."""
    while True:
        made = pipes.pipeline(KINDS[number % len(KINDS)])
        try:
            if compile_pipeline(made).plain:
                continue
        except ServiceError:
            continue
        return list(ejson.decode(ejson.encode(made)))


class Piped(Folding):
    """A view of a pipeline; the row of a `$count` has its key beside it."""

    def _snapshot(self, frame: Any) -> None:
        if frame["first"]:
            self.keys, self.documents = [], {}
        keys = frame.get("keys") or [document["_id"] for document in frame["documents"]]
        for key, document in zip(keys, frame["documents"], strict=True):
            self._put(name_of(key), document, len(self.keys))
        if frame["last"]:
            self._reach(frame["position"], "snapshot")

    def _changes(self, frame: Any) -> None:
        if self.live:
            super()._changes(frame)
            return
        # What changed since its position, which may name documents that it has not, or has already.
        for change in frame["changes"]:
            name = name_of(change["key"])
            if name in self.documents:
                self.keys.remove(name)
                del self.documents[name]
            if change["op"] != "leave":
                self._put(name, change["document"], len(self.keys))
        if "position" in frame:
            self._reach(frame["position"], "replay")

    def view(self) -> list[Any]:
        """What it shows now."""
        return [self.documents[name] for name in self.keys]

    def _reach(self, position: str, why: str) -> None:
        self.position = position
        self.figures[f"at a {why}"] += 1
        if self.chosen(why):
            self.seen.append((position, why, self.view()))


def answered(database: Database[Any], collection: str, pipeline: Pipeline, time: int) -> list[Document]:
    """What `aggregate` gives at a cluster time, as it is stored."""
    concern = {"level": "snapshot", "atClusterTime": to_timestamp(time)}
    command = {"aggregate": collection, "pipeline": pipeline, "cursor": {"batchSize": 100_000}}
    with database.client.start_session(causal_consistency=False) as session:
        reply = database.command({**command, "readConcern": concern}, codec_options=RAW, session=session)
    assert not reply["cursor"]["id"]
    return list(read(reply["cursor"]["firstBatch"]))


def alike(shown: Any, wanted: Any) -> bool:
    """Equal by BSON, a double to 1e-12; shown as JSON, wanted as it is stored."""
    return _alike(ejson.decode(json.dumps(shown)), wanted)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_alike(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, int | float) and isinstance(other, float) and not isinstance(one, bool):
        return math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-12) or (math.isnan(one) and math.isnan(other))
    return order(one) == order(other)


def sets(pipeline: Pipeline) -> list[str]:
    """The fields of a row that show an `$addToSet`, whose order MongoDB does not tell."""
    for stage in pipeline:
        for operand in stage.values():
            given = operand.get("output", operand) if isinstance(operand, dict) else {}
            found = [name for name, one in given.items() if isinstance(one, dict) and "$addToSet" in one]
            if found:
                return found
    return []


def agree(pipeline: Pipeline, shown: list[Any], wanted: list[Document], *, ordered: bool) -> bool:
    """Whether a view is what `aggregate` gives, in its order where it has one."""
    for row in wanted:
        for name in sets(pipeline):
            if isinstance(row.get(name), list):
                row[name] = sorted(row[name], key=order)
    if "$sortByCount" in pipeline[-1]:
        # Of rows of one count MongoDB says no order, and `_id` ends every sort here.
        wanted = sorted(wanted, key=lambda row: (-row["count"], order(row["_id"])))
    if not ordered:
        shown = sorted(shown, key=lambda row: order(ejson.decode(json.dumps(row.get("_id")))))
        wanted = sorted(wanted, key=lambda row: order(row.get("_id")))
    return len(shown) == len(wanted) and all(map(alike, shown, wanted))
