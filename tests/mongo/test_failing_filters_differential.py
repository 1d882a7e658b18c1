"""Which failure of an expression counts, beside what `find` makes of the same filter, with an index and without.

In which order `find` asks conditions is its own affair: branches first, by kinds of conditions, and what an index
decides before all others. What it gives is given here; where it fails, the failure may count for nothing here.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure

from realtime.core.mql.filters import compile_filter
from realtime.errors import InvalidDocumentError
from tests.chance import fresh_seed
from tests.replica_set import ReplicaSet

FILTERS = 60
PLAIN: list[dict[str, Any]] = [{"x": 1}, {"y": 1}, {"x": {"$ne": 1}}, {"x": {"$in": [1, 2]}}, {"y": {"$gt": 0}}]
EXPRESSIONS: list[dict[str, Any]] = [
    {"$expr": {"$gt": [{"$divide": [1, "$z"]}, 0]}},
    {"$expr": {"$gt": [{"$divide": [1, "$w"]}, 0]}},
    {"$expr": {"$eq": ["$x", 1]}},
    {"$expr": {"$lt": ["$y", {"$size": "$z"}]}},
]
DOCUMENTS = [
    {"_id": key, "x": x, "y": y, "z": z, "w": w}
    for key, (x, y, z, w) in enumerate(product((0, 1, 2), (0, 1), (0, 2), (0, 1)))
]
FAILS = "fails"


@pytest.fixture(scope="module")
def database(replica_set: ReplicaSet) -> Iterator[Database[dict[str, Any]]]:
    """A collection for each document, so that what fails is that one; those of odd keys have an index."""
    with MongoClient[dict[str, Any]](replica_set.uri) as client:
        name = f"coretest_failing_{fresh_seed():08x}"
        try:
            for document in DOCUMENTS:
                client[name][f"of{document['_id']}"].insert_one(document)
                if document["_id"] % 2:
                    client[name][f"of{document['_id']}"].create_index("x")
            yield client[name]
        finally:
            client.drop_database(name)


def made(chance: random.Random, depth: int) -> dict[str, Any]:
    dice = chance.random()
    if depth == 0 or dice < 0.2:
        return chance.choice(PLAIN)
    if dice < 0.45:
        return chance.choice(EXPRESSIONS)
    if dice < 0.85:
        branches = [made(chance, depth - 1) for _ in range(chance.randint(1, 3))]
        return {chance.choice(["$or", "$and", "$or", "$nor"]): branches}
    return {**made(chance, depth - 1), **made(chance, depth - 1)}


def test_what_find_gives_is_given(database: Database[dict[str, Any]]) -> None:
    seed = fresh_seed()
    chance = random.Random(seed)
    counts: Counter[tuple[str, str]] = Counter()
    for _ in range(FILTERS):
        source = made(chance, 3)
        compiled = compile_filter(source)
        for document in DOCUMENTS:
            theirs = ours = FAILS
            with suppress(OperationFailure):
                theirs = str(bool(list(database[f"of{document['_id']}"].find(source))))
            with suppress(InvalidDocumentError):
                ours = str(compiled.matches(document))
            counts[theirs, ours] += 1
            assert theirs in {ours, FAILS}, f"seed {seed}: {source} of {document}: here {ours}, there {theirs}"
    print(f"\nseed {seed}: {dict(counts)}")  # noqa: T201 - the figures are shown with the test
    assert counts[FAILS, FAILS] >= 20, f"seed {seed}: {counts}"
    assert counts["True", "True"] + counts["False", "False"] >= 300, f"seed {seed}: {counts}"
