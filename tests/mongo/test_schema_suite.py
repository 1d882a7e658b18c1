"""`$jsonSchema` here and in MongoDB on the published JSON Schema Test Suite, draft 4, which MongoDB says it follows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from realtime.core.bson.stored import CODEC
from tests.chance import fresh_seed
from tests.mongo.differential import Tally, compare, dialect_of, found_by_mongodb, store
from tests.mongo.schema_suite import cases
from tests.replica_set import ReplicaSet

FIELD = "value"
UNKNOWN = ('"$ref"', '"format"', '"default"', '"definitions"', '"id"', '"$schema"', '"integer"', "\\\\")
"""What MongoDB refuses of the draft: these words, the type `integer`, and patterns that are ECMAScript's alone."""
BLANKS = ("\\s matches whitespace", "\\S matches everything but whitespace")
"""Where MongoDB says otherwise than the suite: blanks beyond ASCII are none to its regular expressions."""


@pytest.fixture(scope="module")
def collection(replica_set: ReplicaSet) -> Iterator[Collection[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(replica_set.uri)
    name = f"coretest_schemasuite_{fresh_seed():08x}"
    try:
        yield client[name].get_collection("documents", codec_options=CODEC)
    finally:
        client.drop_database(name)
        client.close()


def test_the_published_suite_is_decided_as_mongodb_decides_it(collection: Collection[dict[str, Any]]) -> None:
    """Each value stands in a field, since MongoDB's schemas are about documents; `find` and the filter here agree."""
    tally, differs, refused = Tally(dialect_of(collection)), set[str](), Counter[str]()
    for case in cases():
        source = {"$jsonSchema": {"properties": {FIELD: case.schema}}}
        documents = store(collection, [{"_id": place, FIELD: value} for place, value in enumerate(case.values)])
        theirs = found_by_mongodb(collection, source)
        compare(documents, source, theirs, tally)
        if isinstance(theirs, str):
            refused[next((word for word in UNKNOWN if word in json.dumps(case.schema)), case.name)] += 1
        elif theirs != {place for place, valid in enumerate(case.valid) if valid}:
            differs.add(case.name)
    shown = f"{tally.table()}\nother than the suite says: {differs}\nrefused by both: {refused}"
    assert tally.differences == [], shown
    assert tally.pairs >= 450, shown
    assert min(tally.matching, tally.pairs - tally.matching) >= 180, shown
    assert tally.both_refuse == refused.total() >= 50, shown
    assert refused.keys() <= set(UNKNOWN), shown
    assert tally.we_refuse.total() <= 2, shown
    assert {name for name in differs if not name.endswith(BLANKS)} == set(), shown
