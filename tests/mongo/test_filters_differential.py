"""Compiled filters against the real `find`: the same documents, and the same filters refused.

Seeded anew in every run. To repeat one: REALTIME_TEST_SEED=… in front of pytest; every failure names its seed.
REALTIME_TEST_PAIRS=2000000 makes it a long run. A difference is also appended to tests/vectors/filters.new.jsonl: give
it its expectation, move it to filters.jsonl, and it is replayed for ever.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.collection import Collection

from realtime.core.bson.stored import CODEC
from tests.chance import fresh_seed
from tests.mongo import differential
from tests.mongo.differential import Documents, Tally, compare, dialect_of, found_by_mongodb, found_by_us, store
from tests.mongo.grammar import SHARES, Grammar, pairs
from tests.replica_set import ReplicaSet

DOCUMENTS, FILTERS = 60, 300
USUAL = 60_000
PAIRS = pairs(USUAL)
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


def least(wanted: int) -> int:
    """Pairs that match, and that do not, of every operator and type."""
    return min(200, wanted // 300)


def run(collection: Collection[dict[str, Any]], chance: random.Random, wanted: int) -> Tally:
    """At least so many pairs; up to three times as many, or as usual, until every operator and type had its share."""
    tally = Tally(dialect_of(collection))
    while tally.pairs < wanted or (tally.seldom(least(wanted)) and tally.pairs < max(3 * wanted, USUAL)):
        if len(tally.differences) >= 50:
            break
        grammar = Grammar(chance)
        documents = store(collection, [grammar.document(key) for key in range(DOCUMENTS)])
        for _ in range(min(FILTERS, wanted // DOCUMENTS)):
            source = grammar.filter()
            compare(documents, source, found_by_mongodb(collection, source), tally)
    return tally


@pytest.mark.timeout(3600 if PAIRS > 1_000_000 else 120)
@SHARES
def test_compiled_filters_match_what_find_finds(collection: Collection[dict[str, Any]], share: float) -> None:
    chosen, wanted = fresh_seed(), round(PAIRS * share)
    tally = run(collection, random.Random(chosen), wanted)
    print(f"\nseed {chosen}: {tally.table()}")  # noqa: T201 - the figures are shown with the test
    assert not tally.differences, f"seed {chosen}\n" + "\n".join(tally.differences[:5])
    assert tally.pairs >= wanted, f"seed {chosen}: {tally.pairs} pairs"
    # A third matches; in the shortest run, of 200 filters, the share varies by a tenth of itself.
    assert 0.15 <= tally.matching / tally.pairs <= 0.75, f"seed {chosen}: {tally.matching} of {tally.pairs}"
    assert tally.seldom(least(wanted)) == [], f"seed {chosen}\n{tally.table()}"
    assert tally.we_refuse.total() <= 0.02 * tally.filters + 12, f"seed {chosen}\n{tally.table()}"
    unlisted = [reason for reason in tally.we_refuse if not reason.startswith(LISTED)]
    assert unlisted == [], f"seed {chosen}: {unlisted}"


def test_what_mongodb_refuses_is_refused_and_nothing_else(collection: Collection[dict[str, Any]]) -> None:
    chosen = fresh_seed()
    grammar = Grammar(random.Random(chosen))
    tally = Tally(dialect_of(collection))
    documents = store(collection, [grammar.document(key) for key in range(3)])
    for _ in range(BROKEN):
        source = grammar.broken_filter()
        compare(documents, source, found_by_mongodb(collection, source), tally)
    assert not tally.differences, f"seed {chosen}\n" + "\n".join(tally.differences[:5])
    assert tally.both_refuse >= BROKEN / 2, f"seed {chosen}: {tally.both_refuse} refused"
    assert tally.pairs >= 200, f"seed {chosen}: {tally.pairs} pairs accepted"
    unlisted = [reason for reason in tally.we_refuse if not reason.startswith(LISTED)]
    assert unlisted == [], f"seed {chosen}: {unlisted}"


@SHARES
def test_hypothesis_finds_no_smaller_difference(collection: Collection[dict[str, Any]], share: float) -> None:
    """The same grammar with Hypothesis for its chance: what it finds, it shrinks."""
    seen, dialect = 0, dialect_of(collection)

    @seed(fresh_seed())
    @settings(max_examples=round(150 * share), deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def check(chance: random.Random) -> None:
        nonlocal seen
        grammar, tally = Grammar(chance), Tally(dialect)
        documents = store(collection, [grammar.document(key) for key in range(2)])
        source = grammar.filter()
        compare(documents, source, found_by_mongodb(collection, source), tally)
        assert tally.differences == []
        seen += tally.pairs

    check()
    assert seen >= 60 * share  # of 300; that many are refused by both in no run


def test_every_kept_case_is_decided_as_mongodb_decides_it(collection: Collection[dict[str, Any]]) -> None:
    dialect, cases = dialect_of(collection), list(differential.vectors("filters"))
    # What holds of another server's dialect is decided in tests/core/mql/test_vectors.py alone.
    cases = [case for case in cases if case.get("dialect", {}).items() <= asdict(dialect).items()]
    assert any("dialect" in case for case in cases)
    for case in cases:
        documents = store(collection, [case["document"]])
        theirs = found_by_mongodb(collection, case["filter"])
        ours = found_by_us(documents, case["filter"], dialect)
        expected = {"match": [case["document"]["_id"]], "no match": [], "refused": None, "unsupported": None}[
            case["expected"]
        ]
        if case["expected"] != "unsupported":
            assert (None if isinstance(theirs, str) else list(theirs)) == expected, case
        assert (None if not isinstance(ours, set) else list(ours)) == expected, case
    assert len(cases) >= 100


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
