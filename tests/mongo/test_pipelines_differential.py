"""Compiled pipelines against the real mongod's classic engine: the same rows, values, types and orders of fields.

The client's pipeline goes to MongoDB unchanged, and some as they are compiled back too. Seeded anew in every run. To
repeat one: REALTIME_TEST_SEED=… in front of pytest; every failure names its seed.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from realtime.core.bson.stored import CODEC
from realtime.core.bson.values import order
from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.mql.expressions.timezones import Zones
from realtime.core.mql.pipelines.compiling import compile_pipeline
from realtime.core.mql.pipelines.language import ACCUMULATORS, STAGES
from realtime.core.mql.pipelines.pipeline import Pipeline
from realtime.core.mql.pipelines.steps import NO_STAGES
from realtime.errors import ServiceError, UnsupportedOperatorError, UnsupportedValueError
from tests.chance import fresh_seed
from tests.evaluated import evaluated
from tests.mongo.differential import dialect_of, raw_of, read, store
from tests.mongo.grammar import SHARES, pairs
from tests.mongo.pipelines import Pipelines
from tests.mongo.test_expressions_differential import exactly, tables_of
from tests.replica_set import ReplicaSet

DOCUMENTS, TOGETHER = 14, 12
"""How many documents a pipeline is asked of, and how many pipelines of the same ones."""
WANTED = pairs(3_000)
MANY = 40

Row = dict[str, Any]


@pytest.fixture(scope="module")
def collection(replica_set: ReplicaSet) -> Iterator[Collection[Row]]:
    client: MongoClient[Row] = MongoClient(replica_set.uri)
    name = f"coretest_pipelines_{fresh_seed():08x}"
    try:
        yield client[name].get_collection("documents", codec_options=CODEC)
    finally:
        client.drop_database(name)
        client.close()


@dataclass
class Tally:
    """What a run has shown."""

    dialect: Dialect = NEWEST
    tables: Zones = field(default_factory=dict)
    compared: int = 0
    rows: int = 0
    changed: int = 0
    back: int = 0
    both_refuse: int = 0
    both_fail: int = 0
    sooner: int = 0
    """Failed here alone: MongoDB asks a later `$match` before what fails."""
    tied: int = 0
    """Two rows have one place, for arrays may share their least element: MongoDB has no order of them."""
    unsure: Counter[str] = field(default_factory=Counter)
    we_refuse: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def summary(self) -> str:
        return (
            f"{self.compared} pipelines compared, {self.rows} rows, {self.changed} of them made here; {self.back} sent "
            f"back; {self.both_refuse} refused and {self.both_fail} failed by both, {self.sooner} here alone; "
            f"{self.tied} tied; unsure {self.unsure.total()}: "
            f"{self.unsure.most_common(4)}; we refuse {self.we_refuse.total()}: {self.we_refuse.most_common(6)}"
        )


class Run:
    """Pipelines on documents that are made anew for every dozen."""

    def __init__(self, collection: Collection[Row], chance: random.Random) -> None:
        self.collection = collection
        self.chance = chance
        self.grammar = Pipelines(chance)
        self.tally = Tally(dialect_of(collection), tables_of(collection))

    def until(self, wanted: int) -> None:
        """So many pipelines that have rows on both sides."""
        while self.tally.compared < wanted and len(self.tally.differences) < MANY:
            documents = store(self.collection, [self.grammar.document(key) for key in range(DOCUMENTS)])
            for _ in range(TOGETHER):
                self.one(self.grammar.pipeline(), list(documents.values()))

    def one(self, source: list[Row], documents: list[Row]) -> None:
        tally = self.tally
        theirs = self.asked(source)
        try:
            pipeline = compile_pipeline(source, dialect=tally.dialect, tables=tally.tables)
        except ServiceError as error:
            self.refused(source, error, theirs)
            return
        try:
            ours = evaluated(pipeline, documents)
        except UnsupportedValueError as error:
            tally.unsure[str((error.details or {}).get("operator"))] += 1
            return
        except ServiceError as error:
            if isinstance(theirs, str):
                tally.both_fail += 1
            elif pipeline.before.selects or pipeline.between.selects or pipeline.after.selects:
                tally.sooner += 1
            else:
                tally.differences.append(f"{source}\n  here: {error.message}\n  there: {theirs}")
            return
        if isinstance(theirs, str):
            tally.differences.append(f"{source}\n  here: {ours}\n  there: {theirs}")
            return
        if tied(pipeline, documents):
            tally.tied += 1
            return
        self.compare(source, pipeline, documents, ours, theirs)

    def compare(self, source: list[Row], pipeline: Pipeline, documents: list[Row], ours: Any, theirs: Any) -> None:
        tally = self.tally
        tally.compared += 1
        tally.rows += len(ours)
        tally.changed += sum(row not in documents for row in ours)
        tally.words.update({word for stage in source for word in words_of(stage)})
        found = difference(pipeline, ours, theirs)
        if found is None and self.chance.random() < 0.25:
            tally.back += 1
            back = self.asked(pipeline.sent())
            found = f"compiled back: {back}" if isinstance(back, str) else difference(pipeline, ours, back)
        if found is not None:
            tally.differences.append(f"{source}\n  {found}\n  of: {documents}")

    def asked(self, source: list[Row]) -> list[Row] | str:
        """What MongoDB makes of the documents, or what it says against it."""
        try:
            return list(read(raw_of(self.collection).aggregate(source)))
        except OperationFailure as error:
            return str((error.details or {}).get("errmsg", error))

    def refused(self, source: list[Row], error: ServiceError, theirs: list[Row] | str) -> None:
        if isinstance(theirs, str):
            self.tally.both_refuse += 1
        elif isinstance(error, UnsupportedOperatorError):
            self.tally.we_refuse[error.message.partition("supported: it ")[2][:60]] += 1
        elif "whatever the document is" in error.message:
            self.tally.we_refuse["a constant that fails"] += 1
        else:
            self.tally.differences.append(f"{source}\n  here: {error.message}\n  there: accepted")


def words_of(source: Any) -> set[str]:
    """The stages and accumulators anywhere in there."""
    if isinstance(source, list):
        return {word for one in source for word in words_of(one)}
    if not isinstance(source, dict):
        return set()
    return {name for name in source if name in STAGES or name in ACCUMULATORS} | words_of(list(source.values()))


def difference(pipeline: Pipeline, ours: list[Row], theirs: list[Row]) -> str | None:
    """The first difference, in words: by place where the rows stand in an order, else by key."""
    if len(ours) != len(theirs):
        return f"here: {len(ours)} rows {ours}\n  there: {len(theirs)} rows {theirs}"
    if pipeline.order is None or by_count(pipeline):
        ours, theirs = (sorted(rows, key=lambda row: order(row.get("_id"))) for rows in (ours, theirs))
    operators = set() if pipeline.group is None else {one.operator for one in pipeline.group.accumulators}
    loosely = bool(operators & {"$addToSet", "$stdDevPop", "$stdDevSamp"})
    for mine, other in zip(ours, theirs, strict=True):
        if not (exactly(mine, other) or (loosely and close(mine, other))):
            return f"here: {mine}\n  there: {other}"
    return None


def by_count(pipeline: Pipeline) -> bool:
    """Whether the rows stand by how many there are alone in MongoDB."""
    names = [next(iter(stage)) for stage in pipeline.source]
    return "$sortByCount" in names and "$sort" not in names[names.index("$sortByCount") :]


def tied(pipeline: Pipeline, documents: list[Row]) -> bool:
    """Whether two rows have one place."""
    if pipeline.last is None or pipeline.group is None:
        return False
    rows = evaluated(replace(pipeline, last=None, shown=NO_STAGES), documents)
    places = sorted(map(pipeline.last.sort.place, rows))
    return any(one == other for one, other in pairwise(places))


def ordered(values: list[Any]) -> list[Any]:
    return sorted(values, key=order)


def close(one: Any, other: Any) -> bool:
    """As `exactly`, but for doubles, which may differ by 1e-12 of them, and the order of arrays, for some are sets."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(map(close, one.values(), other.values()))
    if type(one) is list and type(other) is list:
        return len(one) == len(other) and all(map(close, ordered(one), ordered(other)))
    if isinstance(one, float) and isinstance(other, float) and math.isfinite(one):
        return math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-12)
    return exactly(one, other)


@SHARES
def test_pipelines_give_what_mongodb_gives(collection: Collection[Row], share: float) -> None:
    seed, wanted = fresh_seed(), round(WANTED * share)
    run = Run(collection, random.Random(seed))
    run.until(wanted)
    tally = run.tally
    print(f"\nseed {seed}: {tally.summary()}")  # noqa: T201 - the figures are shown with the test
    assert not tally.differences, f"seed {seed}\n" + "\n".join(tally.differences[:5])
    assert tally.compared >= wanted
    assert tally.rows > tally.compared
    assert tally.changed > tally.rows / 2
    assert tally.back > wanted / 8
    refused, others = tally.we_refuse.total(), tally.unsure.total() + tally.sooner + tally.tied
    assert refused <= tally.compared * 0.12, f"seed {seed}: {tally.we_refuse}"
    assert others <= tally.compared * 0.06, f"seed {seed}: {tally.unsure}"
    least = wanted // 100
    assert [word for word in (*STAGES, *ACCUMULATORS) if tally.words[word] < least] == [], f"seed {seed}"


def test_a_wrong_row_would_be_seen(collection: Collection[Row]) -> None:
    """The comparison sees another value, type, order of fields and number of rows."""
    pipeline = compile_pipeline([{"$group": {"_id": "$a", "n": {"$sum": 1}}}])
    right: list[Row] = [{"_id": 1, "n": 2}, {"_id": 2, "n": 1}]
    assert difference(pipeline, right, right[::-1]) is None
    for wrong in ([{"_id": 1, "n": 2}], [{"_id": 1, "n": 2.0}, right[1]], [{"n": 2, "_id": 1}, right[1]]):
        assert difference(pipeline, right, wrong) is not None
    ordered_ = compile_pipeline([{"$group": {"_id": "$a", "n": {"$sum": 1}}}, {"$sort": {"n": -1}}])
    assert difference(ordered_, right, right) is None
    assert difference(ordered_, right, right[::-1]) is not None
    sets = compile_pipeline([{"$group": {"_id": None, "a": {"$addToSet": "$a"}, "s": {"$stdDevPop": "$a"}}}])
    assert difference(sets, [{"_id": None, "a": [1, 2], "s": 0.1}], [{"_id": None, "a": [2, 1], "s": 0.1}]) is None
    assert difference(sets, [{"_id": None, "a": [1, 2], "s": 0.1}], [{"_id": None, "a": [1], "s": 0.1}]) is not None
    assert difference(sets, [{"_id": None, "a": [], "s": 0.1}], [{"_id": None, "a": [], "s": 0.1 + 1e-10}]) is not None


SET: Row = {"$set": {"a": {"$literal": {"b": 1, "c": 2}}}}
PARTS: Row = {"$project": {"p": 1, "a.b": 1, "z": 1}}
AGAIN: Row = {"$set": {"a": {"$literal": {"b": 3, "c": 4}}}}
UNWOUND: list[Row] = [{"$unwind": {"path": "$r", "includeArrayIndex": "a.b"}}]
TAKEN: list[list[Row]] = [
    [{"$set": {"k": "$a"}}, SET, PARTS],
    [SET, {"$set": {"k": {"$type": "$a"}}}, PARTS],
    [SET, {"$set": {"k": [{"x": "$a"}]}}, PARTS],
    [SET, {"$set": {"k": "$$ROOT"}}, PARTS],
    [{"$set": {"a": {"$ifNull": ["$a.q", {"b": 1}]}, "k": {"$ifNull": ["$a", 1]}}}, PARTS],
    [{"$set": {"a": {"$cond": [{"$eq": ["$a", 3]}, 1, {"b": 1}]}}}, PARTS],
    [{"$set": {"a": {"$cond": {"then": 1, "else": {"b": 1}, "if": {"$eq": ["$a", 3]}}}}}, PARTS],
    [SET, {"$set": {"a.x": 1}}, PARTS],
    [{"$set": {"a": {"b": 1}}}, PARTS],
    [SET, {"$project": {"p": 1, "a": {"b": "$a.b"}, "z": 1}}],
    [SET, {"$project": {"p": 1, "a.b": 1, "z": 1, "n": "$a"}}],
    [SET, {"$project": {"p": 1, "a": 1, "z": 1}}, PARTS],
    [SET, {"$project": {"p": 1, "z": 1, "q": "$a.b"}}],
    [SET, {"$project": {"z": 0}}, {"$project": {"a": 1}}, PARTS],
    [SET, {"$replaceWith": "$$ROOT"}, PARTS],
    [SET, {"$replaceWith": {"_id": "$_id", "p": "$p", "a": "$a", "z": "$z"}}, PARTS],
    [*UNWOUND, {"$project": {"p": 1, "a": 1, "z": 1}}, {"$group": {"_id": "$$ROOT"}}],
]
"""`PARTS` behind what is read as a whole, or what is read no more by what it says."""
LEFT: list[list[Row]] = [
    [SET, PARTS],
    [{"$match": {"a": 5}}, SET, PARTS],
    [{"$set": {"k": 1}}, {"$match": {"a": 5}}, SET, PARTS],
    [SET, {"$match": {"a.b": 1}}, PARTS],
    [{"$set": {"a": "$o"}}, {"$match": {"a.b": 1}}, PARTS],
    [{"$set": {"k": "$a.b"}}, SET, PARTS],
    [SET, AGAIN, PARTS],
    [{"$unset": "a"}, SET, PARTS],
    [SET, {"$unset": "a.c"}, PARTS],
    [{"$set": {"a": {"$ifNull": [{"$literal": {"b": 1}}, "$a"]}}}, PARTS],
    [{"$set": {"a": {"$cond": [True, {"b": 1}, "$a"]}}}, PARTS],
    [{"$set": {"a": {"$cond": {"if": True, "then": {"b": 1}, "else": "$a"}}}}, PARTS],
    [SET, {"$set": {"k": {"$and": [False, "$a"]}}}, PARTS],
    [SET, {"$set": {"k": {"$or": ["$a", True]}}}, PARTS],
    [SET, {"$set": {"k": {"$switch": {"branches": [{"case": True, "then": 1}, {"case": "$a", "then": 2}]}}}}, PARTS],
    [{"$sort": {"a": 1, "_id": 1}}, {"$limit": 3}, SET, PARTS],
    [SET, PARTS, {"$group": {"_id": "$$ROOT"}}],
    [*UNWOUND, PARTS, {"$group": {"_id": "$$ROOT"}}],
]
"""Of `a` MongoDB reads the parts alone: a document in which it is a number has no place for what is set."""
READ = [
    {"_id": 1, "p": 1, "a": 5, "z": 9, "o": {"b": 1}, "r": [1]},
    {"_id": 2, "p": 1, "a": {"d": 1}, "z": 9, "r": [2]},
]


@pytest.mark.parametrize("source", TAKEN, ids=repr)
def test_what_is_read_as_a_whole_keeps_its_place_for_parts_of_it(
    collection: Collection[Row], source: list[Row]
) -> None:
    run = Run(collection, random.Random(1))
    documents = store(collection, READ)
    run.one(source, list(documents.values()))
    assert not run.tally.differences, run.tally.differences
    assert run.tally.compared == 1
    assert run.tally.rows == len(READ)


@pytest.mark.parametrize("source", LEFT, ids=repr)
def test_of_what_is_read_in_parts_alone_no_place_is_told(collection: Collection[Row], source: list[Row]) -> None:
    """MongoDB puts it at the end of the one document, and keeps its place in the other one."""
    store(collection, READ)
    rows = [row["_id"] if "$group" in source[-1] else row for row in raw_of(collection).aggregate(source)]
    found = {row["_id"]: list(row) for row in rows}
    assert found[1] == ["_id", "p", "z", "a"]
    assert 2 not in found or found[2] == ["_id", "p", "a", "z"]
    with pytest.raises(UnsupportedOperatorError, match=r"before this one"):
        compile_pipeline(source)
    at = source.index(PARTS)
    whole: Row = {"$project": {"p": 1, "a": 1, "z": 1}}
    mended = Run(collection, random.Random(1))
    mended.one([*source[:at], whole, *source[at:]], READ)
    assert (mended.tally.compared, mended.tally.differences) == (1, []), "as the refusal says"
