"""Compiled filters against the real `find`: the same documents, and the same filters refused.

Seeded anew in every run. To repeat one: REALTIME_TEST_SEED=… in front of pytest; every failure names its seed.
REALTIME_TEST_PAIRS=2000000 makes it a long run. A difference is also appended to tests/vectors/filters.new.jsonl: give
it its expectation, move it to filters.jsonl, and it is replayed for ever.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.collection import Collection

from realtime.core.bson.values import CODEC
from tests.mongo import differential
from tests.mongo.differential import Documents, Tally, compare, found_by_mongodb, found_by_us
from tests.mongo.grammar import Grammar, fresh_seed
from tests.replica_set import ReplicaSet

DOCUMENTS, FILTERS = 60, 300
PAIRS = int(os.environ.get("REALTIME_TEST_PAIRS") or 60_000)
BROKEN = 1500
LISTED = (
    "would need",  # a construct of a regular expression, which the message names
    "takes no value that looks like an operator",
    "would forget what stands beside $elemMatch",
    "is a field of a DBRef",
    "cannot tell the deprecated type",
)
"""Reasons to refuse what MongoDB takes; docs/operators.md has them."""


@pytest.fixture(scope="module")
def collection(replica_set: ReplicaSet) -> Iterator[Collection[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(replica_set.uri)
    name = f"coretest_filters_{fresh_seed():08x}"
    try:
        yield client[name].get_collection("documents", codec_options=CODEC)
    finally:
        client.drop_database(name)
        client.close()


def store(collection: Collection[dict[str, Any]], documents: list[dict[str, Any]]) -> Documents:
    """The documents as MongoDB hands them over: that is what the service matches."""
    collection.delete_many({})
    collection.insert_many(documents)
    return {document["_id"]: document for document in collection.find()}


def run(collection: Collection[dict[str, Any]], chance: random.Random, pairs: int) -> Tally:
    """At least so many pairs; up to three times as many, until every operator and type had its share of them."""
    tally = Tally()
    while tally.pairs < pairs or (tally.seldom() and tally.pairs < 3 * pairs):
        if len(tally.differences) >= 50:
            break
        grammar = Grammar(chance)
        documents = store(collection, [grammar.document(key) for key in range(DOCUMENTS)])
        for _ in range(FILTERS):
            source = grammar.filter()
            compare(documents, source, found_by_mongodb(collection, source), tally)
    return tally


@pytest.mark.timeout(3600 if PAIRS > 1_000_000 else 120)
def test_compiled_filters_match_what_find_finds(collection: Collection[dict[str, Any]]) -> None:
    chosen = fresh_seed()
    tally = run(collection, random.Random(chosen), PAIRS)
    print(f"\nseed {chosen}: {tally.table()}")  # noqa: T201 - the figures are shown with the test
    assert not tally.differences, f"seed {chosen}\n" + "\n".join(tally.differences[:5])
    assert tally.pairs >= 20_000, f"seed {chosen}: {tally.pairs} pairs"
    assert 0.25 <= tally.matching / tally.pairs <= 0.75, f"seed {chosen}: {tally.matching} of {tally.pairs}"
    assert tally.seldom() == [], f"seed {chosen}\n{tally.table()}"
    assert tally.we_refuse.total() <= 0.02 * tally.filters, f"seed {chosen}\n{tally.table()}"
    unlisted = [reason for reason in tally.we_refuse if not reason.startswith(LISTED)]
    assert unlisted == [], f"seed {chosen}: {unlisted}"


def test_what_mongodb_refuses_is_refused_and_nothing_else(collection: Collection[dict[str, Any]]) -> None:
    chosen = fresh_seed()
    grammar = Grammar(random.Random(chosen))
    tally = Tally()
    documents = store(collection, [grammar.document(key) for key in range(3)])
    for _ in range(BROKEN):
        source = grammar.broken_filter()
        compare(documents, source, found_by_mongodb(collection, source), tally)
    assert not tally.differences, f"seed {chosen}\n" + "\n".join(tally.differences[:5])
    assert tally.both_refuse >= BROKEN / 2, f"seed {chosen}: {tally.both_refuse} refused"
    assert tally.pairs >= 200, f"seed {chosen}: {tally.pairs} pairs accepted"
    unlisted = [reason for reason in tally.we_refuse if not reason.startswith(LISTED)]
    assert unlisted == [], f"seed {chosen}: {unlisted}"


def test_hypothesis_finds_no_smaller_difference(collection: Collection[dict[str, Any]]) -> None:
    """The same grammar with Hypothesis for its chance: what it finds, it shrinks."""
    seen = 0

    @seed(fresh_seed())
    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def check(chance: random.Random) -> None:
        nonlocal seen
        grammar, tally = Grammar(chance), Tally()
        documents = store(collection, [grammar.document(key) for key in range(2)])
        source = grammar.filter()
        compare(documents, source, found_by_mongodb(collection, source), tally)
        assert tally.differences == []
        seen += tally.pairs

    check()
    assert seen >= 200


def test_every_kept_case_is_decided_as_mongodb_decides_it(collection: Collection[dict[str, Any]]) -> None:
    cases = list(differential.vectors("filters"))
    for case in cases:
        documents = store(collection, [case["document"]])
        theirs = found_by_mongodb(collection, case["filter"])
        ours = found_by_us(documents, case["filter"])
        expected = {"match": [case["document"]["_id"]], "no match": [], "refused": None, "unsupported": None}[
            case["expected"]
        ]
        if case["expected"] != "unsupported":
            assert (None if isinstance(theirs, str) else list(theirs)) == expected, case
        assert (None if not isinstance(ours, set) else list(ours)) == expected, case
    assert len(cases) >= 1


def test_a_wrong_filter_would_be_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The comparison itself: given another filter's result it reports a difference, in words that can be repeated."""
    monkeypatch.setattr(differential, "VECTORS", tmp_path)
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
    assert 'there alone\n  of: {"_id":2,"a":"x"}' in tally.differences[0]
    assert 'here alone\n  of: {"_id":1,"a":1}' in tally.differences[1]
    assert len((tmp_path / "filters.new.jsonl").read_text().splitlines()) == 4
