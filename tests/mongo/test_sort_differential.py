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
from realtime.core.bson.stored import CODEC, Repeated, repeats
from realtime.core.bson.values import order
from realtime.core.mql.sorting import UnsortableError, compile_sort
from tests.chance import fresh_seed
from tests.mongo import differential
from tests.mongo.grammar import NAMES, SHARES, Grammar, pairs
from tests.replica_set import ReplicaSet

DOCUMENTS, SORTS = 16, 40
PLACED = pairs(30_000)
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
    return list(differential.store(collection, documents).values())


def difference(documents: Documents, pattern: Pattern, theirs: list[int] | str) -> str | None:
    """In words that can be repeated: the first two documents that stand otherwise.

    Those in which a name stands twice are left out: MongoDB has two orders for them, below.
    """
    ours = sorted_by_us(documents, pattern)
    if isinstance(ours, str) or isinstance(theirs, str):
        return None if type(ours) is type(theirs) else f"{pattern}\n  here: {ours}\n  there: {theirs}"
    twofold = {document["_id"] for document in documents if repeats(document)}
    ours, theirs = ([one for one in both if one not in twofold] for both in (ours, theirs))
    if ours == theirs:
        return None
    by_key = {document["_id"]: ejson.encode(document).decode() for document in documents}
    place = next(place for place, key in enumerate(ours) if key != theirs[place])
    return f"{pattern} at {place}\n  here: {by_key[ours[place]]}\n  there: {by_key[theirs[place]]}"


def documents_of(grammar: Grammar) -> tuple[Documents, list[Pattern]]:
    """And sorts. In every other set one field alone holds arrays and objects, so that several paths can sort together.

    One of the sorts there is by several paths on purpose, and in the others one is by two arrays, which none can be.
    """
    chance = grammar.chance
    if chance.random() < 0.5:
        documents = [grammar.document(key) for key in range(DOCUMENTS - 1)]
        one, other = chance.sample(NAMES, 2)
        chosen: Pattern = [(one, 1), (other, chance.choice([1, -1])), ("_id", 1)]
        documents.append({"_id": DOCUMENTS, one: [1, 2], other: [3, 4]})
    else:
        deep, other = chance.sample(NAMES, 2)
        documents = [
            {"_id": key, **{name: grammar.scalar() for name in NAMES}, deep: grammar.value()}
            for key in range(DOCUMENTS)
        ]
        chosen = [(deep, chance.choice([1, -1])), (other, 1), ("_id", 1)]
    return documents, [chosen, *(grammar.sort() for _ in range(SORTS - 1))]


@SHARES
def test_documents_are_sorted_as_find_sorts_them(collection: Collection[dict[str, Any]], share: float) -> None:
    seed, wanted = fresh_seed(), round(PLACED * share)
    grammar = Grammar(random.Random(seed))
    placed = refused = several = sets = 0
    differences: list[str] = []
    while placed < wanted:
        made, patterns = documents_of(grammar)
        documents = store(collection, made)
        sets += 1
        for pattern in patterns:
            theirs = sorted_by_mongodb(collection, pattern)
            found = difference(documents, pattern, theirs)
            differences += [found] if found is not None else []
            refused += isinstance(theirs, str)
            placed += 0 if isinstance(theirs, str) else len(theirs)
            several += 0 if isinstance(theirs, str) else len(pattern) > 2
    print(f"\nseed {seed}: {placed} documents placed, {several} sorts by several paths, {refused} sorts refused")  # noqa: T201 - the figures are shown with the test
    assert not differences, f"seed {seed}\n" + "\n".join(differences[:5])
    # One of them in every set, made on purpose.
    assert several + refused >= sets >= 1, f"seed {seed}: {several}, {refused}"


def test_values_are_ordered_as_find_orders_them(collection: Collection[dict[str, Any]]) -> None:
    """`core.values` alone, over every type: one scalar or object a document."""
    seed = fresh_seed()
    grammar = Grammar(random.Random(seed))
    values = [grammar.value() for _ in range(3000)]
    wanted = [value for value in values if type(value) is not list and not repeats(value)]
    documents = store(collection, [{"_id": key, "a": value} for key, value in enumerate(wanted)])
    theirs = sorted_by_mongodb(collection, [("a", 1), ("_id", 1)])
    ours = [one["_id"] for one in sorted(documents, key=lambda one: (order(one["a"]), one["_id"]))]
    by_key = {one["_id"]: one["a"] for one in documents}
    assert ours == theirs, (
        f"seed {seed}: "
        + "; ".join(
            f"{by_key[one]!r} before {by_key[other]!r}" for one, other in zip(ours, theirs, strict=True) if one != other
        )[:400]
    )
    assert len(ours) >= 2000


def test_names_that_stand_twice_are_ordered_as_an_index_orders_them(collection: Collection[dict[str, Any]]) -> None:
    """A sort in memory takes the first of equal names for the others as well, and has ties where an index has none."""
    collection.drop()
    pairs_of: list[list[tuple[str, Any]]] = [
        [("a", 0), ("a", 9)],
        [("a", 1), ("a", 2)],
        [("a", 1), ("a", 1)],
        [("a", 1), ("b", 2), ("a", "x")],
        [("a", 1), ("b", 2), ("a", 5)],
        [("a", [1]), ("a", {"b": 1})],
        [("a", [1]), ("c", {})],
    ]
    documents = store(collection, [{"_id": key, "a": Repeated(one)} for key, one in enumerate(pairs_of)])
    collection.create_index([("a", 1), ("_id", 1)])
    found = collection.find({}, {"_id": 1}).sort([("a", 1), ("_id", 1)])
    by_index, in_memory = ([one["_id"] for one in found.clone().hint(hint)] for hint in ("a_1__id_1", {"$natural": 1}))
    ours = sorted_by_us(documents, [("a", 1), ("_id", 1)])
    assert ours == by_index != in_memory
    assert len(by_index) == len(pairs_of)


def test_a_wrong_order_would_be_seen() -> None:
    documents: Documents = [{"_id": 1, "a": 2}, {"_id": 2, "a": 1}, {"_id": 3, "a": [1], "b": [1]}]
    assert difference(documents[:2], [("a", 1)], [2, 1]) is None
    assert "there: " in (difference(documents[:2], [("a", 1)], [1, 2]) or "")
    assert "there: no" in (difference(documents[:2], [("a", 1)], "no") or "")
    assert difference(documents, [("a", 1), ("b", 1)], "parallel") is None
    assert "side by side" in (difference(documents, [("a", 1), ("b", 1)], [1, 2, 3]) or "")
