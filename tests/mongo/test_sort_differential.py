"""Sort keys against the real `find().sort()`: the same order over all types, by arrays and nested paths too.

Seeded anew in every run. To repeat one: REALTIME_TEST_SEED=… in front of pytest; every failure names its seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from realtime.core.bson import ejson
from realtime.core.bson.values import CODEC, order
from realtime.core.mql.sorting import UnsortableError, compile_sort
from tests.mongo.grammar import NAMES, Grammar, fresh_seed
from tests.replica_set import ReplicaSet

SETS, DOCUMENTS, SORTS = 60, 16, 40
PLACED = 20_000
"""Documents, at least, whose place in a sort is compared."""
Pattern = list[tuple[str, int]]
Documents = list[dict[str, Any]]


@pytest.fixture(scope="module")
def collection(replica_set: ReplicaSet) -> Iterator[Collection[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(replica_set.uri)
    name = f"coretest_sort_{fresh_seed():08x}"
    try:
        yield client[name].get_collection("documents", codec_options=CODEC)
    finally:
        client.drop_database(name)
        client.close()


def sorted_by_mongodb(collection: Collection[dict[str, Any]], pattern: Pattern) -> list[int] | str:
    try:
        return [document["_id"] for document in collection.find({}, {"_id": 1}).sort(pattern)]
    except OperationFailure as error:
        return str((error.details or {}).get("errmsg", error))


def sorted_by_us(documents: Documents, pattern: Pattern) -> list[int] | str:
    try:
        return [document["_id"] for document in sorted(documents, key=compile_sort(pattern))]
    except UnsortableError as error:
        return str(error)


def store(collection: Collection[dict[str, Any]], documents: Documents) -> Documents:
    collection.delete_many({})
    collection.insert_many(documents)
    return list(collection.find())


def difference(documents: Documents, pattern: Pattern, theirs: list[int] | str) -> str | None:
    """In words that can be repeated: the first two documents that stand otherwise."""
    ours = sorted_by_us(documents, pattern)
    if isinstance(ours, str) or isinstance(theirs, str):
        return None if type(ours) is type(theirs) else f"{pattern}\n  here: {ours}\n  there: {theirs}"
    if ours == theirs:
        return None
    by_key = {document["_id"]: ejson.encode(document).decode() for document in documents}
    place = next(place for place, key in enumerate(ours) if key != theirs[place])
    return f"{pattern} at {place}\n  here: {by_key[ours[place]]}\n  there: {by_key[theirs[place]]}"


def documents_of(grammar: Grammar) -> Documents:
    """In every other set one field alone holds arrays and objects, so that several paths can sort together."""
    if grammar.chance.random() < 0.5:
        return [grammar.document(key) for key in range(DOCUMENTS)]
    deep = grammar.chance.choice(NAMES)
    return [
        {"_id": key, **{name: grammar.scalar() for name in NAMES}, deep: grammar.value()} for key in range(DOCUMENTS)
    ]


def test_documents_are_sorted_as_find_sorts_them(collection: Collection[dict[str, Any]]) -> None:
    seed = fresh_seed()
    grammar = Grammar(random.Random(seed))
    placed = refused = several = 0
    differences: list[str] = []
    for _ in range(SETS):
        documents = store(collection, documents_of(grammar))
        for _ in range(SORTS):
            pattern = grammar.sort()
            theirs = sorted_by_mongodb(collection, pattern)
            found = difference(documents, pattern, theirs)
            differences += [found] if found is not None else []
            refused += isinstance(theirs, str)
            placed += 0 if isinstance(theirs, str) else len(theirs)
            several += 0 if isinstance(theirs, str) else len(pattern) > 2
    print(f"\nseed {seed}: {placed} documents placed, {several} sorts by several paths, {refused} sorts refused")  # noqa: T201 - the figures are shown with the test
    assert not differences, f"seed {seed}\n" + "\n".join(differences[:5])
    assert placed >= PLACED, f"seed {seed}: {placed}"
    assert several >= 200, f"seed {seed}: {several}"
    assert refused >= 20, f"seed {seed}: {refused}"


def test_values_are_ordered_as_find_orders_them(collection: Collection[dict[str, Any]]) -> None:
    """`core.bson.values` alone, over every type: one scalar or object a document."""
    seed = fresh_seed()
    grammar = Grammar(random.Random(seed))
    values = [grammar.value() for _ in range(3000)]
    wanted = [value for value in values if type(value) is not list]
    documents = store(collection, [{"_id": key, "a": value} for key, value in enumerate(wanted)])
    theirs = sorted_by_mongodb(collection, [("a", 1), ("_id", 1)])
    ours = [one["_id"] for one in sorted(documents, key=lambda one: (order(one["a"]), one["_id"]))]
    assert ours == theirs, f"seed {seed}"
    assert len(ours) >= 2000


def test_a_wrong_order_would_be_seen() -> None:
    documents: Documents = [{"_id": 1, "a": 2}, {"_id": 2, "a": 1}, {"_id": 3, "a": [1], "b": [1]}]
    assert difference(documents[:2], [("a", 1)], [2, 1]) is None
    assert "there: " in (difference(documents[:2], [("a", 1)], [1, 2]) or "")
    assert "there: no" in (difference(documents[:2], [("a", 1)], "no") or "")
    assert difference(documents, [("a", 1), ("b", 1)], "parallel") is None
    assert "side by side" in (difference(documents, [("a", 1), ("b", 1)], [1, 2, 3]) or "")
