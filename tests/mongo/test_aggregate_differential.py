"""Live rows against the real `$group`: the same rows, sums, averages, least and greatest values, of the same types.

Seeded anew in every run. To repeat one: REALTIME_TEST_SEED=… in front of pytest; every failure names its seed.

MongoDB has two engines for `$group`, and 6.0 may use either for the same stage. One tells objects apart by every field,
as rows do here, the other looks of a name that stands twice at the first field alone. Where the server at hand uses
that one, documents have no such objects.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from pymongo import MongoClient
from pymongo.collection import Collection

from realtime.core.bson import ejson
from realtime.core.bson.keys import identity
from realtime.core.bson.stored import CODEC, UNDEFINED_VALUE, Repeated
from realtime.core.bson.values import order
from realtime.core.live.aggregate import Aggregate, compile_grouping
from tests.chance import fresh_seed
from tests.mongo.differential import raw_of, read, store
from tests.mongo.grammar import SHARES, Grammar, pairs
from tests.replica_set import ReplicaSet

DOCUMENTS, GROUPINGS = 150, 60
ROWS = pairs(8000)
NUMBERS: list[Any] = [
    *(0, 1, 7, -3, 2**31 - 1, Int64(5), Int64(2**53 + 1)),
    *(0.1, 0.2, 0.25, 19.99, -0.0, 1e15, 123456.789, 1e-7),
    *(Decimal128(text) for text in ("0.10", "1.1", "-7", "1E+3", "12345678901234567890.5", "0")),
]
WHOLE: list[Any] = [0, 1, 7, -3, 2**31 - 1, Int64(5), Int64(2**62), Int64(2**62 + 1), Int64(-(2**63))]
"""Not beside doubles: MongoDB loses 0.1 in 2 ** 63 + 0.1 - 2 ** 63, and the exact sum does not."""
ODD: list[Any] = [
    *(float("nan"), float("inf"), float("-inf"), True, "1", None),
    *(Decimal128("NaN"), Decimal128("sNaN"), Decimal128("Infinity")),
]

Documents = list[dict[str, Any]]
Rows = dict[Any, dict[str, Any]]


@pytest.fixture(scope="module")
def collection(replica_set: ReplicaSet) -> Iterator[Collection[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(replica_set.uri)
    name = f"coretest_aggregate_{fresh_seed():08x}"
    try:
        yield client[name].get_collection("documents", codec_options=CODEC)
    finally:
        client.drop_database(name)
        client.close()


def document(grammar: Grammar, key: int) -> dict[str, Any]:
    """Odd values and nested ones from the grammar; of two fields, numbers that add up."""
    chance = grammar.chance
    made = {**grammar.document(key), "n": chance.choice(NUMBERS), "kind": chance.choice([1, 1.0, "x", None])}
    if chance.random() < 0.2:
        made["n"] = chance.choice(ODD) if chance.random() < 0.2 else grammar.value(1)
    if chance.random() < 0.2:
        del made["kind"]
    made["d"] = chance.choice([number for number in NUMBERS if not isinstance(number, Decimal128)])
    made["whole"] = chance.choice(WHOLE)
    made["exact"] = chance.choice([*NUMBERS[-6:], *WHOLE])
    made["list"] = [{"q": chance.choice(NUMBERS)} for _ in range(chance.randrange(3))]
    return made


def groups_by_every_field(collection: Collection[dict[str, Any]]) -> bool:
    """Whether `$group` tells objects apart that differ in the second field of a name alone."""
    store(collection, [{"_id": key, "a": Repeated([("x", 1), ("x", key)])} for key in range(2)])
    rows = len(list(raw_of(collection).aggregate([{"$group": {"_id": "$a"}}])))
    assert rows in {1, 2}
    return rows == 2


def told_apart(value: Any) -> Any:
    """The value with the first field of every name, and none that is undefined: the classic engine makes one row of
    that and of a field that is missing, and shows whichever came first (docs/operators.md, "What cannot be told")."""
    if isinstance(value, dict):
        return {name: told_apart(inner) for name, inner in value.items() if inner is not UNDEFINED_VALUE}
    return [told_apart(inner) for inner in value] if isinstance(value, list) else value


def made(grammar: Grammar, count: int, *, whole: bool) -> Documents:
    """So many documents; `whole`: with objects in which a name stands twice, and with fields that are undefined."""
    documents = [document(grammar, key) for key in range(count)]
    return documents if whole else [told_apart(one) for one in documents]


def grouping(grammar: Grammar) -> dict[str, Any]:
    chance = grammar.chance
    paths = ["n", "n", "d", "d", "exact", "exact", "whole", "list.q", grammar.path(), grammar.path()]
    wanted = [path for path in paths if ".." not in f".{path}." and "$" not in path]
    made: dict[str, Any] = {"by": chance.choice([[], ["kind"], ["kind"], ["a"], ["kind", "b"], wanted[-1:]])}
    for name in ("sum", "avg", "min", "max"):
        if chance.random() < 0.7:
            made[name] = sorted({chance.choice(wanted) for _ in range(2)})
    return {**made, "count": chance.random() < 0.8}


def by_mongodb(collection: Collection[dict[str, Any]], source: dict[str, Any]) -> Rows:
    stage: dict[str, Any] = {"_id": {f"k{index}": f"${path}" for index, path in enumerate(source["by"])}}
    if source["count"]:
        stage["count"] = {"$sum": 1}
    for name in ("sum", "avg", "min", "max"):
        for index, path in enumerate(source.get(name, ())):
            stage[f"{name}{index}"] = {f"${name}": f"${path}"}
    rows: Rows = {}
    for found in read(raw_of(collection).aggregate([{"$group": stage}])):
        shown: dict[str, Any] = {
            "_id": {
                path: found["_id"][f"k{index}"]
                for index, path in enumerate(source["by"])
                if f"k{index}" in found["_id"]
            }
        }
        if source["count"]:
            shown["count"] = found["count"]
        for name in ("sum", "avg", "min", "max"):
            if source.get(name):
                shown[name] = {path: found[f"{name}{index}"] for index, path in enumerate(source[name])}
        rows[order(shown["_id"])] = shown
    return rows


def by_us(chance: random.Random, documents: Documents, others: Documents, source: dict[str, Any]) -> Rows:
    """Put in any order, with other documents and other states before, that are gone in the end."""
    rows = Aggregate(compile_grouping(source))
    steps: list[tuple[str, dict[str, Any] | None]] = []
    for one in documents:
        name = identity(one["_id"])
        past: list[dict[str, Any] | None] = [chance.choice([*others, None]) for _ in range(chance.choice([0, 0, 1, 2]))]
        steps += [(name, state) for state in past] + [(name, one)]
    for one in others:
        steps += [(identity(f"other {one['_id']}"), one), (identity(f"other {one['_id']}"), None)]
    turns = [name for name, _ in steps]
    chance.shuffle(turns)
    queues: dict[str, list[dict[str, Any] | None]] = {}
    for name, state in steps:
        queues.setdefault(name, []).append(state)
    for name in turns:
        state = queues[name].pop(0)
        if state is None:
            rows.drop(name)
        else:
            rows.put(name, state, ejson.encode)
    assert rows.count == len(documents)
    return {order(row.shown): {**rows._shown(row), "reach": reach(rows, row)} for row in rows._rows.values()}


class Reach(NamedTuple):
    """How far numbers can get on the way to their sum: doubles and integers; decimals, and how many those are."""

    binary: float = 0.0
    decimal: Decimal = Decimal(0)
    decimals: int = 0


def reach(rows: Aggregate, row: Any) -> dict[str, Reach]:
    """By path."""
    found: dict[str, Reach] = {}
    for part in rows._parts.values():
        for path, value in zip(rows.grouping.totals, part.totals, strict=True):
            so_far = found.get(path, Reach())
            if part.row is row and isinstance(value, int | float) and math.isfinite(value):
                found[path] = so_far._replace(binary=so_far.binary + abs(float(value)))
            elif part.row is row and isinstance(value, Decimal128) and value.to_decimal().is_finite():
                magnitude = abs(value.to_decimal())
                found[path] = so_far._replace(decimal=so_far.decimal + magnitude, decimals=so_far.decimals + 1)
    return found


def close(one: Any, other: Any, far: Reach) -> bool:
    """Equal and of the same type. MongoDB's numbers may be off by the last digits of what they got to on the way."""
    if isinstance(one, float) and isinstance(other, float):
        return order(one) == order(other) or math.isclose(one, other, rel_tol=2**-51, abs_tol=far.binary * 2**-52)
    if isinstance(one, Decimal128) and isinstance(other, Decimal128):
        # Doubles among them were added with 106 bits, and each decimal was rounded to 34 digits of the sum up to it.
        here, there = one.to_decimal(), other.to_decimal()
        widest = max((abs(value) for value in (here, there, far.decimal) if value.is_finite()), default=Decimal(0))
        unit = Decimal(1).scaleb(max(widest.adjusted() - 33, -6176))
        return order(one) == order(other) or abs(here - there) <= Decimal(far.binary * 2**-104) + unit * (
            far.decimals + 1
        )
    return isinstance(one, float | Decimal128) is isinstance(other, float | Decimal128) and order(one) == order(other)


def difference(ours: Rows, theirs: Rows, tally: Counter[str], *, newer: bool) -> str | None:
    """What is otherwise; `newer`: by MongoDB's newer engine, whose averages of integers are not rounded on the way."""
    if ours.keys() != theirs.keys():
        return f"rows {sorted(map(str, ours.keys() ^ theirs.keys()))[:3]}"
    for key, row in theirs.items():
        far = ours[key].pop("reach")
        if list(row) != list(ours[key]):
            return f"{list(ours[key])} instead of {list(row)}"
        for name, values in row.items():
            if name in {"_id", "count", "min", "max"}:
                same = order(values) == order(ours[key][name])
            else:
                same = all(
                    close(ours[key][name][path], value, far.get(path, Reach())) for path, value in values.items()
                )
                if newer or name == "sum":
                    # Of integers and decimals even the zeros at the end are the same.
                    same = same and str(values.get("exact")) == str(ours[key][name].get("exact"))
                for path, value in values.items():
                    tally[type(value).__name__] += 1
                    tally["shown"] += 1
                    tally["to the last digit"] += str(value) == str(ours[key][name][path])
            if not same:
                return f"{row['_id']} {name}: here {ours[key][name]}, there {values}"
    tally["rows"] += len(theirs)
    return None


@SHARES
def test_rows_are_those_of_group(collection: Collection[dict[str, Any]], share: float) -> None:
    seed, wanted = fresh_seed(), round(ROWS * share)
    chance = random.Random(seed)
    grammar = Grammar(chance)
    tally: Counter[str] = Counter()
    differences: list[str] = []
    whole = groups_by_every_field(collection)
    while tally["rows"] < wanted:
        documents = list(store(collection, made(grammar, DOCUMENTS, whole=whole)).values())
        others = made(grammar, 60, whole=whole)
        for _ in range(GROUPINGS):
            source = grouping(grammar)
            here = by_us(chance, documents, others, source)
            found = difference(here, by_mongodb(collection, source), tally, newer=whole)
            differences += [f"{source}\n  {found}"] if found is not None else []
    print(f"\nseed {seed}: {dict(tally)}")  # noqa: T201 - the figures are shown with the test
    assert not differences, f"seed {seed}: {len(differences)}\n" + "\n".join(differences[:8])
    assert tally["to the last digit"] >= 0.99 * tally["shown"]
    assert min(tally[name] for name in ("int", "Int64", "float", "Decimal128")) >= wanted // 40, tally
