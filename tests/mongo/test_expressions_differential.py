"""Compiled expressions against the real mongod: the same values, types and orders of fields, and the same ones failing.

Each is asked in three ways: as `$expr` of a `find`, in the projection of a `find`, and in an `aggregate`. Seeded anew
in every run. To repeat one: REALTIME_TEST_SEED=… in front of pytest; every failure names its seed.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from realtime.core.bson.stored import CODEC
from realtime.core.bson.values import MISSING, order
from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.mql.expressions.compiling import OPERATORS, REFUSED
from realtime.core.mql.expressions.evaluation import Expression, compile_expression
from realtime.core.mql.expressions.numbers import truthy
from realtime.core.mql.expressions.timezones import Zone, Zones, search
from realtime.core.mql.operators import type_code
from realtime.errors import InvalidDocumentError, ServiceError, UnsupportedOperatorError
from realtime.mongo.zones import question, seconds
from tests.chance import fresh_seed
from tests.core.mql.expressions.test_corners import CASES, FAILING
from tests.mongo.differential import Documents, dialect_of, raw_of, read, store
from tests.mongo.expressions import OPERANDS, PLACES, Expressions
from tests.mongo.grammar import SHARES, pairs
from tests.replica_set import ReplicaSet

DOCUMENTS = 12
PAIRS = pairs(30_000)
VALUES, FAILURES = 100, 30
"""Pairs with a value, and failing ones, of every operator at least, among so many."""
MANY, PATIENCE = 60, 60
WAYS = ("$expr", "find", "aggregate")
FAILS = "fails"
NEVER_FAIL = {
    *("$and", "$avg", "$cmp", "$cond", "$const", "$eq", "$gt", "$gte", "$ifNull", "$isArray", "$isNumber", "$let"),
    *("$literal", "$lt", "$lte", "$max", "$min", "$ne", "$not", "$or", "$stdDevPop", "$stdDevSamp", "$sum"),
    *("$toBool", "$type"),
}
"""Operators that have a value of everything; what stands inside of them may still fail."""


@pytest.fixture(scope="module")
def collection(replica_set: ReplicaSet) -> Iterator[Collection[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(replica_set.uri)
    name = f"coretest_expressions_{fresh_seed():08x}"
    try:
        yield client[name].get_collection("documents", codec_options=CODEC)
    finally:
        client.drop_database(name)
        client.close()


@dataclass
class Tally:
    """What a run has shown, by the outermost operator."""

    dialect: Dialect = NEWEST
    tables: Zones = field(default_factory=dict)
    pairs: int = 0
    values: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    unsure: Counter[str] = field(default_factory=Counter)
    we_refuse: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    both_refuse: int = 0
    differences: list[str] = field(default_factory=list)


# ------------------------------------------------------------------------------------------------------------- exactly


def exactly(one: Any, other: Any) -> bool:
    """The same value, type and order of fields; of NaN there is one."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(map(exactly, one.values(), other.values()))
    if type(one) is list and type(other) is list:
        return len(one) == len(other) and all(map(exactly, one, other))
    if one is MISSING or other is MISSING:
        return one is other
    if type_code(one) != type_code(other):
        return False
    if isinstance(one, float) and isinstance(other, float):
        return repr(one) == repr(other)
    if isinstance(one, Decimal128) and isinstance(other, Decimal128):
        return str(one).replace("-NaN", "NaN") == str(other).replace("-NaN", "NaN")
    return bool(order(one) == order(other))


# -------------------------------------------------------------------------------------------------------------- asking


def asked(collection: Collection[dict[str, Any]], way: str, source: Any, where: dict[str, Any]) -> dict[int, Any]:
    """What MongoDB makes of the documents, by key; raises where one of them fails."""
    raw = raw_of(collection)
    if way == "$expr":
        found = {one["_id"] for one in read(raw.find({**where, "$expr": source}, {"_id": 1}))}
        return {one["_id"]: one["_id"] in found for one in read(raw.find(where, {"_id": 1}))}
    inside = {"$let": {"vars": {}, "in": source}}
    by_find = way == "find"
    rows = (
        raw.find(where, {"_id": 1, "r": inside})
        if by_find
        else raw.aggregate([{"$match": where}, {"$project": {"_id": 1, "r": inside}}])
    )
    return {one["_id"]: one.get("r", MISSING) for one in read(rows)}


def theirs(collection: Collection[dict[str, Any]], way: str, source: Any, documents: Documents) -> dict[int, Any] | str:
    """By key the value, or FAILS; or what MongoDB says against the expression itself."""
    try:
        return asked(collection, way, source, {})
    except OperationFailure:
        pass
    try:
        asked(collection, way, source, {"_id": -1})
    except OperationFailure as error:
        return str((error.details or {}).get("errmsg", error))
    found: dict[int, Any] = {}
    for key in documents:
        try:
            found.update(asked(collection, way, source, {"_id": key}))
        except OperationFailure:
            found[key] = FAILS
    return found


def ours(expression: Expression, document: dict[str, Any]) -> Any:
    """The value, FAILS, or the error where it is not certain."""
    try:
        return expression.value(document)
    except InvalidDocumentError:
        return FAILS
    except ServiceError as error:
        return error


def compare(tally: Tally, name: str, source: Any, way: str, documents: Documents, found: dict[int, Any] | str) -> None:
    """One expression on all documents."""
    tally.asked += 1
    text = f"{way} {shown(source)}"
    try:
        expression = compile_expression(source, dialect=tally.dialect, tables=tally.tables)
    except ServiceError as error:
        if isinstance(found, str):
            tally.both_refuse += 1
            tally.failures[name] += len(documents)
        elif isinstance(error, UnsupportedOperatorError) or "whatever the document is" in error.message:
            tally.we_refuse[f"{name}: {error.message[:80]}"] += 1
        else:
            tally.differences.append(f"{text}\n  here: {error.message}\n  there: accepted")
        return
    if isinstance(found, str) and all(_no_value(ours(expression, document)) for document in documents.values()):
        tally.both_refuse += 1  # MongoDB sees a constant that fails, before any document does
        return
    if isinstance(found, str):
        tally.differences.append(f"{text}\n  here: accepted\n  there: {found}")
        return
    for key, document in documents.items():
        tally.pairs += 1
        mine, other = ours(expression, document), found[key]
        if isinstance(mine, ServiceError):
            tally.unsure[f"{name}: {mine.details}"[:60]] += 1
            continue
        tally.failures[name] += mine is FAILS
        tally.values[name] += mine is not FAILS
        if way == "$expr" and mine is not FAILS:
            mine = truthy(mine)
        if not (mine is other if FAILS in (mine, other) else exactly(mine, other)):
            read_ = {path: document.get(path.split(".")[0], MISSING) for path in expression.paths}
            tally.differences.append(f"{text}\n  of: {shown(read_)}\n  here: {shown(mine)}\n  there: {shown(other)}")
            return


def _no_value(mine: Any) -> bool:
    return mine is FAILS or isinstance(mine, ServiceError)


def shown(value: Any) -> str:
    """In words, types and all."""
    return repr(value)


def tables_of(collection: Collection[dict[str, Any]]) -> Zones:
    """The zones of the grammar as this server has them."""
    return {name: zone_at(collection, name) for name in PLACES}


def zone_at(collection: Collection[dict[str, Any]], name: str) -> Zone:
    looking = search()
    times = next(looking)
    try:
        while True:
            [row] = collection.database.aggregate(question(name, times))
            times = looking.send(seconds(row))
    except StopIteration as found:
        return cast(Zone, found.value)


class Run:
    """Expressions of every operator on documents that are made anew for each round."""

    def __init__(self, collection: Collection[dict[str, Any]], chance: random.Random) -> None:
        self.collection = collection
        self.grammar = Expressions(chance)
        self.tally = Tally(dialect_of(collection), tables_of(collection))
        self.turn = self.values = self.failures = 0

    def round(self, names: Iterable[str], *, broken: float | None = None) -> None:
        """One expression for each of these operators; `broken`: how many arguments are of any type."""
        documents = store(self.collection, [self.grammar.document(key) for key in range(DOCUMENTS)])
        for name in names:
            self.turn += 1
            share = (0.35 if self.turn % 4 == 0 else 0.0) if broken is None else broken
            source = self.grammar.of(name, depth=self.turn % 3, broken=share)
            way = WAYS[self.turn // 7 % 3]
            found = theirs(self.collection, way, source, documents)
            compare(self.tally, name, source, way, documents, found)

    def seldom(self, counter: Counter[str], names: Iterable[str], least: int) -> list[str]:
        """Operators that have fewer."""
        return [name for name in names if counter[name] < least]

    def until(self, wanted: int) -> None:
        """So many pairs, and then on until each operator has its share, on purpose."""
        self.values, self.failures = (round(least * min(1.0, wanted / 30_000)) for least in (VALUES, FAILURES))
        names = sorted(OPERANDS)
        while self.tally.pairs < wanted and len(self.tally.differences) < MANY:
            self.round(names)
        for _ in range(PATIENCE):
            without = self.seldom(self.tally.values, names, self.values)
            failing = self.seldom(self.tally.failures, set(names) - NEVER_FAIL, self.failures)
            if not (without or failing):
                break
            self.round(without, broken=0.0)
            self.round(failing, broken=0.8)


@SHARES
def test_expressions_give_what_mongodb_gives(collection: Collection[dict[str, Any]], share: float) -> None:
    seed = fresh_seed()
    run = Run(collection, random.Random(seed))
    run.until(round(PAIRS * share))
    tally = run.tally
    refused = tally.we_refuse.total()
    print(f"\nseed {seed}: {tally.pairs} pairs, {tally.asked} expressions, {tally.both_refuse} refused by both")  # noqa: T201 - the figures are shown with the test
    print(f"unsure {tally.unsure.total()}; we refuse {refused}: {tally.we_refuse.most_common(9)}")  # noqa: T201 - as above
    assert not tally.differences, f"seed {seed}\n" + "\n".join(tally.differences)
    # Two of a hundred, and what chance adds to so few.
    assert refused <= tally.asked * 0.02 + 5 * math.sqrt(tally.asked * 0.02), f"seed {seed}: {tally.we_refuse}"
    assert tally.unsure.total() <= tally.pairs * 0.04, f"seed {seed}: {tally.unsure}"
    assert run.seldom(tally.values, OPERANDS, run.values) == [], f"seed {seed}"
    assert run.seldom(tally.failures, set(OPERANDS) - NEVER_FAIL, run.failures) == [], f"seed {seed}"


def test_every_name_that_the_server_counts_is_served_or_refused(collection: Collection[dict[str, Any]]) -> None:
    status = collection.database.client.admin.command("serverStatus")
    # A server of the tests, which may be told to fail, counts one more of its own.
    names = set(status["metrics"]["operatorCounters"]["expressions"]) - {"$_testApiVersion"}
    assert len(names) >= 140
    assert {name for name in names ^ (OPERATORS.keys() | REFUSED.keys()) if not name.startswith("$_internal")} == set()
    assert OPERATORS.keys() == OPERANDS.keys()
    assert len(REFUSED) <= 12


def test_the_corners_are_the_servers(collection: Collection[dict[str, Any]]) -> None:
    """tests/core/mql/expressions/test_corners.py says that a server answers like that."""
    dialect, wrong = dialect_of(collection), []
    for source, document, *_ in [*CASES, *FAILING]:
        documents = store(collection, [{"_id": 1, **document}])
        found = theirs(collection, "aggregate", source, documents)
        expression = compile_expression(source, dialect=dialect)
        mine, other = ours(expression, documents[1]), FAILS if isinstance(found, str) else found[1]
        if not (mine is other if FAILS in (mine, other) else exactly(mine, other)):
            wrong.append(f"{source} {document}\n  here: {mine}\n  there: {other}")
    assert not wrong, "\n".join(wrong)


def test_a_wrong_value_would_be_seen() -> None:
    """The comparison sees another type of number, another order of fields, a sign of zero, and what is missing."""
    for one, other in ((1, Int64(1)), (1, 1.0), (0.0, -0.0), (None, MISSING), ({"a": 1, "b": 2}, {"b": 2, "a": 1})):
        assert not exactly(one, other)
        assert not exactly([one], [other])
        assert exactly(one, one)
    assert exactly(float("nan"), float("nan"))
    assert not exactly(Decimal128("1.0"), Decimal128("1.00"))
