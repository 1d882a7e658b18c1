"""Sort patterns against the real `find().sort()`: the same order, and the same documents refused.

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

from realtime.core import ejson
from realtime.core.sorting import compile_sort
from realtime.core.values import CODEC
from realtime.errors import ServiceError
from tests.mongo.grammar import Grammar, fresh_seed
from tests.replica_set import ReplicaSet

ROUNDS, DOCUMENTS, SORTS, REFUSED_TRIED = 3, 100, 150, 2

Documents = dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def collection(replica_set: ReplicaSet) -> Iterator[Collection[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(replica_set.uri)
    name = f"coretest_sorting_{fresh_seed():08x}"
    try:
        yield client[name].get_collection("documents", codec_options=CODEC)
    finally:
        client.drop_database(name)
        client.close()


def pattern(grammar: Grammar) -> list[list[Any]]:
    """One key or several, of which some go through the same array."""
    chance = grammar.chance
    paths = {grammar.path() for _ in range(chance.choice([1, 1, 2, 2, 3]))}
    if chance.random() < 0.4:
        first = grammar.name()
        paths = {f"{first}.{grammar.name()}" for _ in range(chance.choice([1, 2, 3]))}
    if chance.random() < 0.1:
        paths.add("_id")
    wanted = [path for path in sorted(paths) if ".." not in f".{path}."] or ["a"]
    chance.shuffle(wanted)
    return [[path, chance.choice([1, -1])] for path in wanted]


def places(documents: Documents, source: list[list[Any]]) -> tuple[list[int], list[int]]:
    """The keys of the documents in our order, and of those that we refuse to sort."""
    place = compile_sort(source).place
    placed, refused = [], []
    for key, document in documents.items():
        try:
            placed.append((place(document), key))
        except ServiceError:
            refused.append(key)
    return [key for _, key in sorted(placed)], refused


def order_of(collection: Collection[dict[str, Any]], source: list[list[Any]], keys: list[int]) -> list[int] | None:
    """MongoDB's order of these documents; None when it refuses."""
    sort = [tuple(pair) for pair in source]
    sort += [] if "_id" in dict(sort) else [("_id", 1)]
    try:
        return [found["_id"] for found in collection.find({"_id": {"$in": keys}}, {"_id": 1}).sort(sort)]
    except OperationFailure:
        return None


def test_compiled_sorts_order_as_find_does(collection: Collection[dict[str, Any]]) -> None:
    seed = fresh_seed()
    grammar = Grammar(random.Random(seed))
    ordered = refused = by_array = 0
    differences: list[str] = []
    for _ in range(ROUNDS):
        collection.drop()
        collection.insert_many([grammar.document(key) for key in range(DOCUMENTS)])
        documents = {document["_id"]: document for document in collection.find().sort("_id", 1)}
        for _ in range(SORTS):
            source = pattern(grammar)
            ours, not_ours = places(documents, source)
            theirs = order_of(collection, source, ours)
            ordered += len(ours)
            by_array += sum(b'":[' in ejson.encode(documents[key]) for key in ours)
            if ours != theirs:
                at = next((i for i, pair in enumerate(zip(ours, theirs or [], strict=False)) if pair[0] != pair[1]), 0)
                pair = [ejson.encode(documents[key]).decode() for key in (ours[at], (theirs or ours)[at])]
                differences.append(f"{source}\n  here:  {pair[0]}\n  there: {pair[1] if theirs else 'refused'}")
            for key in not_ours[:REFUSED_TRIED]:
                refused += 1
                if order_of(collection, source, [key]) is not None:
                    differences.append(f"{source}\n  refused here alone: {ejson.encode(documents[key]).decode()}")
    print(f"\nseed {seed}: {ordered} placed, {by_array} of them with arrays, {refused} refused")  # noqa: T201 - the figures are shown with the test
    assert not differences, f"seed {seed}: {len(differences)}\n" + "\n".join(differences[:5])
    assert ordered >= 20_000
    assert by_array >= 10_000
    assert refused >= 50


def test_a_wrong_order_would_be_seen(collection: Collection[dict[str, Any]]) -> None:
    """Arrays by their least element upwards and their greatest downwards; an empty one is below null."""
    collection.drop()
    documents: Documents = {
        1: {"_id": 1, "a": [5, 1]},
        2: {"_id": 2, "a": 3},
        3: {"_id": 3, "a": []},
        4: {"_id": 4},
        5: {"_id": 5, "a": [2, 4]},
    }
    collection.insert_many(documents.values())
    for source, expected in (([["a", 1]], [3, 4, 1, 5, 2]), ([["a", -1]], [1, 5, 2, 4, 3])):
        assert places(documents, source)[0] == expected == order_of(collection, source, list(documents))
