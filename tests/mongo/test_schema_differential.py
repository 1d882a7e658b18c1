"""`$jsonSchema` compiled here against the real `find`: the same documents, and the same schemas refused.

Seeded anew in every run. To repeat one: REALTIME_TEST_SEED=… in front of pytest; every failure names its seed. A
difference is also appended to tests/vectors/filters.new.jsonl, as those of other filters.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from realtime.core.bson.stored import CODEC
from realtime.core.mql.schemas.keywords import KEYWORDS
from tests.chance import fresh_seed
from tests.core.mql.schemas.test_corners import cases
from tests.mongo.differential import Tally, compare, dialect_of, found_by_mongodb, store
from tests.mongo.grammar import SHARES, Grammar, pairs
from tests.mongo.patterns import Patterns
from tests.mongo.schemas import FOREIGN, Schemas, keywords_of
from tests.replica_set import ReplicaSet

DOCUMENTS, SCHEMAS = 40, 100
USUAL = 20_000
PAIRS = pairs(USUAL)
BROKEN = 1000
LISTED = (
    "would need",  # a construct of a regular expression, which the message names
    "takes no documents with a name that is empty",  # not every mongod takes them, wherever they stand
)
"""Reasons to refuse what MongoDB takes."""


class Keywords(Tally):
    """Counted by keywords."""

    def count(self, source: dict[str, Any], matching: int, of: int) -> None:
        self.pairs += of
        self.matching += matching
        for name in keywords_of(source):
            self.hits[name] += matching
            self.misses[name] += of - matching

    def seldom(self, least: int = 100) -> list[str]:
        return [name for name in KEYWORDS if min(self.hits[name], self.misses[name]) < least]

    def table(self) -> str:
        rows = [f"{name:20} {self.hits[name]:8} {self.misses[name]:8}" for name in KEYWORDS]
        said = f"{self.filters} schemas, {self.pairs} pairs, {self.matching / max(self.pairs, 1):.0%} match; "
        said += f"{self.both_refuse} refused by both; by us alone {dict(self.we_refuse)}"
        return "\n".join([said, *rows])


@pytest.fixture(scope="module")
def collection(replica_set: ReplicaSet) -> Iterator[Collection[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(replica_set.uri)
    name = f"coretest_schemas_{fresh_seed():08x}"
    try:
        yield client[name].get_collection("documents", codec_options=CODEC)
    finally:
        client.drop_database(name)
        client.close()


@pytest.mark.timeout(3600 if PAIRS > 1_000_000 else 120)
@SHARES
def test_compiled_schemas_match_what_find_finds(collection: Collection[dict[str, Any]], share: float) -> None:
    chosen, wanted = fresh_seed(), round(PAIRS * share)
    chance, tally, floor = random.Random(chosen), Keywords(dialect_of(collection)), min(100, wanted // 200)
    # Up to three times as many pairs, or as usual, until every keyword had its share.
    while tally.pairs < wanted or (tally.seldom(floor) and tally.pairs < max(3 * wanted, USUAL)):
        if len(tally.differences) >= 50:
            break
        schemas = Schemas(Grammar(chance))
        documents = store(collection, [schemas.document(number) for number in range(DOCUMENTS)])
        for _ in range(min(SCHEMAS, max(wanted // DOCUMENTS, 1))):
            source = schemas.filter()
            compare(documents, source, found_by_mongodb(collection, source), tally)
    print(f"\nseed {chosen}: {tally.table()}")  # noqa: T201 - the figures are shown with the test
    assert not tally.differences, f"seed {chosen}\n" + "\n".join(tally.differences[:5])
    assert tally.pairs >= wanted, f"seed {chosen}: {tally.pairs} pairs"
    assert 0.15 <= tally.matching / tally.pairs <= 0.85, f"seed {chosen}: {tally.matching} of {tally.pairs}"
    assert tally.seldom(floor) == [], f"seed {chosen}\n{tally.table()}"
    assert tally.we_refuse.total() <= 0.02 * tally.filters + 12, f"seed {chosen}\n{tally.table()}"
    assert [reason for reason in tally.we_refuse if not reason.startswith(LISTED)] == [], f"seed {chosen}"


def test_what_mongodb_refuses_of_schemas_is_refused_and_nothing_else(collection: Collection[dict[str, Any]]) -> None:
    chosen = fresh_seed()
    schemas, tally = Schemas(Grammar(random.Random(chosen))), Keywords(dialect_of(collection))
    documents = store(collection, [schemas.document(number) for number in range(3)])
    for _ in range(BROKEN):
        source = schemas.broken()
        compare(documents, source, found_by_mongodb(collection, source), tally)
    assert not tally.differences, f"seed {chosen}\n" + "\n".join(tally.differences[:5])
    assert tally.both_refuse >= BROKEN / 2, f"seed {chosen}: {tally.both_refuse} refused"
    assert tally.pairs >= BROKEN / 10, f"seed {chosen}: {tally.pairs} pairs accepted"
    assert [reason for reason in tally.we_refuse if not reason.startswith(LISTED)] == [], f"seed {chosen}"


def test_every_keyword_of_other_drafts_is_refused_by_both(collection: Collection[dict[str, Any]]) -> None:
    tally = Keywords(dialect_of(collection))
    documents = store(collection, [{"_id": 1}])
    for name in FOREIGN:
        schemas: list[dict[str, Any]] = [{name: {}}, {"properties": {"a": {name: "x"}}}]
        for source in ({"$jsonSchema": schema} for schema in schemas):
            compare(documents, source, found_by_mongodb(collection, source), tally)
    assert (tally.differences, tally.both_refuse) == ([], 2 * len(FOREIGN))


@SHARES
def test_patterns_look_at_the_bytes_of_names(collection: Collection[dict[str, Any]], share: float) -> None:
    """`patternProperties` on names of every kind of character; one field of each document is what it asks about."""
    chosen, wanted = fresh_seed(), round(PAIRS * share * 0.5)
    chance, tally = random.Random(chosen), Keywords(dialect_of(collection))
    patterns = Patterns(chance, refused=0)
    while tally.pairs < wanted:
        names = [patterns.text().replace("\0", "") for _ in range(80)] + ["\udcc3", "\udca9a", "a\udcff"]
        documents = store(collection, [{"_id": place, name: True} for place, name in enumerate(names)])
        for _ in range(60):
            source = {"$jsonSchema": {"patternProperties": {patterns.pattern(): {"not": {"type": "boolean"}}}}}
            compare(documents, source, found_by_mongodb(collection, source), tally)
    assert not tally.differences, f"seed {chosen}\n" + "\n".join(tally.differences[:5])
    assert 0.1 <= tally.matching / tally.pairs <= 0.9, f"seed {chosen}: {tally.matching} of {tally.pairs}"
    assert tally.we_refuse.total() <= 0.1 * tally.filters, f"seed {chosen}: {tally.we_refuse}"


def test_every_corner_is_as_it_is_noted(collection: Collection[dict[str, Any]]) -> None:
    """tests/core/mql/schemas/test_corners.py says that a server decides like that."""
    asked = 0
    for name, schema, parts in cases(dialect_of(collection)):
        stored = [document for part in parts for document in part]
        expected = {place for place in range(len(stored)) if place < len(parts[0])}
        store(collection, [{"_id": place, **document} for place, document in enumerate(stored)])
        assert found_by_mongodb(collection, {"$jsonSchema": schema}) == expected, name
        asked += len(stored)
    assert asked >= 250
