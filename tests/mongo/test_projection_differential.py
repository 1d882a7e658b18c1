"""Compiled projections against the real `find`: the same fields in the same order, and the same ones refused.

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
from realtime.core.bson.stored import CODEC, Repeated
from realtime.core.mql.projection import compile_projection
from realtime.errors import ServiceError
from tests.chance import fresh_seed
from tests.mongo.differential import raw_of, read, store
from tests.mongo.grammar import ODD_VALUES, SHARES, Grammar, pairs, same
from tests.replica_set import ReplicaSet

DOCUMENTS, PROJECTIONS = 80, 60
PAIRS = pairs(20_000)

MIXED, NOTHING_LESS = {"a": 1, "b.c": 0}, {"nobody": 0}
"""In every run: one that is refused by both, and one that shows everything."""
SHOWN_WHOLE = [value for value in ODD_VALUES if not isinstance(value, Repeated)]
"""Of fields with equal names MongoDB shows all, and a JSON object has the first alone."""

Shown = dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def collection(replica_set: ReplicaSet) -> Iterator[Collection[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]] = MongoClient(replica_set.uri)
    name = f"coretest_projection_{fresh_seed():08x}"
    try:
        yield client[name].get_collection("documents", codec_options=CODEC)
    finally:
        client.drop_database(name)
        client.close()


def shown_by_mongodb(collection: Collection[dict[str, Any]], source: dict[str, Any]) -> Shown | str:
    """What `find` shows of each document, or what MongoDB says against the projection."""
    try:
        # `_id` may be hidden; the collection's own order is that of the keys.
        return dict(enumerate(read(raw_of(collection).find({}, source).sort("_id", 1))))
    except OperationFailure as error:
        return str((error.details or {}).get("errmsg", error))


def shown_by_us(documents: Shown, source: dict[str, Any]) -> Shown | str:
    try:
        apply = compile_projection(source).apply
    except ServiceError as error:
        return error.message
    return {key: apply(document) for key, document in documents.items()}


def difference(documents: Shown, source: dict[str, Any], theirs: Shown | str) -> str | None:
    """The first difference, in words that can be repeated."""
    ours = shown_by_us(documents, source)
    text = ejson.encode(source).decode()
    if isinstance(ours, str) or isinstance(theirs, str):
        return (
            None if type(ours) is type(theirs) else f"{text}\n  here: {str(ours)[:200]}\n  there: {str(theirs)[:200]}"
        )
    for key, document in documents.items():
        if not same(ours[key], theirs[key]):
            here, there = ejson.encode(ours[key]).decode(), ejson.encode(theirs[key]).decode()
            return f"{text}\n  of: {ejson.encode(document).decode()}\n  here: {here}\n  there: {there}"
    return None


@SHARES
def test_compiled_projections_show_what_find_shows(collection: Collection[dict[str, Any]], share: float) -> None:
    seed, wanted = fresh_seed(), round(PAIRS * share)
    grammar = Grammar(random.Random(seed), odd=SHOWN_WHOLE)
    compared = changed = refused = 0
    differences: list[str] = []
    while compared < wanted:
        documents = store(collection, [grammar.document(key) for key in range(DOCUMENTS)])
        for source in [MIXED, NOTHING_LESS, *(grammar.projection() for _ in range(PROJECTIONS))]:
            theirs = shown_by_mongodb(collection, source)
            found = difference(documents, source, theirs)
            differences += [found] if found is not None else []
            if isinstance(theirs, str):
                refused += 1
                continue
            compared += len(documents)
            changed += sum(not same(theirs[key], document) for key, document in documents.items())
    print(f"\nseed {seed}: {compared} pairs, {changed / compared:.0%} show less than all, {refused} refused")  # noqa: T201 - the figures are shown with the test
    assert not differences, f"seed {seed}\n" + "\n".join(differences[:5])
    assert 0.10 <= changed / compared < 1, f"seed {seed}: {changed} of {compared}"
    assert refused >= 1, f"seed {seed}: {refused} refused"


def test_no_projection_shows_everything(collection: Collection[dict[str, Any]]) -> None:
    grammar = Grammar(random.Random(1), odd=SHOWN_WHOLE)
    documents = store(collection, [grammar.document(key) for key in range(20)])
    assert difference(documents, {}, shown_by_mongodb(collection, {})) is None
    assert shown_by_us(documents, {}) == documents


def test_a_wrong_projection_would_be_seen() -> None:
    """The comparison itself sees a field too few, another order, another number type, and a refusal on one side."""
    documents = {0: {"_id": 0, "a": 1, "b": 2}}
    right = {0: {"_id": 0, "a": 1}}
    assert difference(documents, {"a": 1}, right) is None
    for wrong in ({"a": 1}, {"a": 1, "_id": 0}, {"_id": 0, "a": 1.0}, {"_id": 0, "a": 1, "b": 2}):
        assert "there: " in (difference(documents, {"a": 1}, {0: wrong}) or "")
    assert "there: no" in (difference(documents, {"a": 1}, "no") or "")
    assert "here: " in (difference(documents, {"a": 1, "b": 0}, right) or "")
    assert difference(documents, {"a": 1, "b": 0}, "no") is None
