"""Compiled filters against the real `find`: the same documents, and the same filters refused.

Seeded anew in every run. To repeat one: REALTIME_TEST_SEED=… in front of pytest; every failure names its seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from realtime.core import ejson
from realtime.core.filters import FIELD_OPERATORS, LOGICAL, compile_filter
from realtime.core.values import CODEC
from realtime.errors import ServiceError
from tests.mongo.grammar import Grammar, fresh_seed
from tests.replica_set import ReplicaSet

ROUNDS, DOCUMENTS, FILTERS = 3, 120, 150
PAIRS = 20_000
OPERATORS = sorted(FIELD_OPERATORS | LOGICAL)

Documents = dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def collection(replica_set: ReplicaSet) -> Iterator[Collection[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(replica_set.uri)
    name = f"coretest_filters_{fresh_seed():08x}"
    try:
        yield client[name].get_collection("documents", codec_options=CODEC)
    finally:
        client.drop_database(name)
        client.close()


@dataclass
class Tally:
    """What a run has shown; pairs are of a filter and a document."""

    pairs: int = 0
    matching: int = 0
    refused: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def count(self, source: dict[str, Any], matching: int, of: int) -> None:
        self.pairs += of
        self.matching += matching
        for operator in operators_of(source):
            self.hits[operator] += matching
            self.misses[operator] += of - matching

    def table(self) -> str:
        rows = [f"{name:8} {self.hits[name]:7} {self.misses[name]:7}" for name in OPERATORS]
        return "\n".join(["operator    hits  misses", *rows])


def operators_of(source: Any) -> set[str]:
    """The operators anywhere in a filter; a plain value at a path is `$eq`."""
    found: set[str] = set()
    for name, value in source.items():
        if name in LOGICAL:
            found.add(name)
            for part in value if isinstance(value, list) else []:
                if isinstance(part, dict):
                    found |= operators_of(part)
        elif isinstance(value, dict) and value and next(iter(value)).startswith("$"):
            found |= set(value)
            if isinstance(value.get("$not"), dict):
                found |= operators_of({name: value["$not"]})
        else:
            found.add("$eq")
    return found


def found_by_mongodb(collection: Collection[dict[str, Any]], source: dict[str, Any]) -> set[int] | str:
    """The keys that `find` gives, or what MongoDB says against the filter."""
    try:
        return {document["_id"] for document in collection.find(source, {"_id": 1})}
    except OperationFailure as error:
        return str((error.details or {}).get("errmsg", error))


def found_by_us(documents: Documents, source: dict[str, Any]) -> set[int] | str:
    try:
        matches = compile_filter(source).matches
    except ServiceError as error:
        return error.message
    return {key for key, document in documents.items() if matches(document)}


def compare(documents: Documents, source: dict[str, Any], theirs: set[int] | str, tally: Tally) -> None:
    ours = found_by_us(documents, source)
    text = ejson.encode(source).decode()
    if isinstance(ours, str) or isinstance(theirs, str):
        tally.refused += 1
        if isinstance(ours, str) is not isinstance(theirs, str):
            tally.differences.append(f"{text}\n  here: {ours}\n  there: {theirs}")
        return
    tally.count(source, len(ours), len(documents))
    for key in sorted(ours ^ theirs)[:1]:
        whose = "here alone" if key in ours else "there alone"
        tally.differences.append(f"{text}\n  matches {whose}: {ejson.encode(documents[key]).decode()}")


def run(collection: Collection[dict[str, Any]], grammar: Grammar) -> Tally:
    tally = Tally()
    for _ in range(ROUNDS):
        collection.drop()
        collection.insert_many([grammar.document(key) for key in range(DOCUMENTS)])
        # As MongoDB hands them over: that is what the service matches.
        documents = {document["_id"]: document for document in collection.find()}
        for _ in range(FILTERS):
            source = grammar.filter()
            compare(documents, source, found_by_mongodb(collection, source), tally)
    return tally


def test_compiled_filters_match_what_find_finds(collection: Collection[dict[str, Any]]) -> None:
    seed = fresh_seed()
    tally = run(collection, Grammar(random.Random(seed)))
    print(f"\nseed {seed}: {tally.pairs} pairs, {tally.matching / tally.pairs:.0%} match\n{tally.table()}")  # noqa: T201 - the figures are shown with the test
    assert not tally.differences, f"seed {seed}\n" + "\n".join(tally.differences[:5])
    assert tally.pairs >= PAIRS, f"seed {seed}: {tally.pairs} pairs"
    assert 0.10 <= tally.matching / tally.pairs <= 0.75, f"seed {seed}: {tally.matching} of {tally.pairs}"
    seldom = [name for name in OPERATORS if min(tally.hits[name], tally.misses[name]) < 200]
    assert seldom == [], f"seed {seed}\n{tally.table()}"


def test_what_mongodb_refuses_is_refused_and_nothing_else(collection: Collection[dict[str, Any]]) -> None:
    seed = fresh_seed()
    grammar = Grammar(random.Random(seed))
    tally = Tally()
    collection.drop()
    collection.insert_one(grammar.document(1))
    documents = {document["_id"]: document for document in collection.find()}
    for _ in range(300):
        source = grammar.broken_filter()
        compare(documents, source, found_by_mongodb(collection, source), tally)
    assert not tally.differences, f"seed {seed}\n" + "\n".join(tally.differences[:5])
    # About half of them are accepted after all, as `{$in: []}` is.
    assert tally.refused >= 100, f"seed {seed}: {tally.refused} refused"
    assert tally.pairs >= 20, f"seed {seed}: {tally.pairs} accepted"


def test_a_wrong_filter_would_be_seen(collection: Collection[dict[str, Any]]) -> None:
    """The comparison itself: given another filter's result it reports a difference, in words that can be repeated."""
    tally = Tally()
    documents: Documents = {1: {"_id": 1, "a": 1}, 2: {"_id": 2, "a": "x"}}
    compare(documents, {"a": 1}, {1, 2}, tally)
    compare(documents, {"a": 1}, set(), tally)
    compare(documents, {"a": 1}, "no", tally)
    compare(documents, {"a": {"$in": 1}}, {1}, tally)
    compare(documents, {"a": 1}, {1}, tally)
    assert [difference.splitlines()[0] for difference in tally.differences] == [
        '{"a":1}',
        '{"a":1}',
        '{"a":1}',
        '{"a":{"$in":1}}',
    ]
    assert 'there alone: {"_id":2,"a":"x"}' in tally.differences[0]
    assert 'here alone: {"_id":1,"a":1}' in tally.differences[1]
