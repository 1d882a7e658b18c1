"""Reads under a rule: a document that the rule leaves out cannot make them fail, and is in no error."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from realtime.errors import InvalidDocumentError, ServiceError
from realtime.mongo.snapshot import MongoReader
from tests.mongo.commands import Documents, now
from tests.mongo.test_snapshot import reader

__all__ = ["reader"]

MINE = {"owner": "me"}
INVERSE = {"$expr": {"$gt": [{"$divide": [1, "$n"]}, 0]}}
FAILING = {"$or": [INVERSE, {"x": 1}]}
"""MongoDB asks it before an equality, and it fails of the others' document."""
Read = Callable[[MongoReader, Documents, dict[str, Any], dict[str, Any]], Coroutine[Any, Any, list[Any]]]


async def by_find(reader: MongoReader, database: Documents, selection: Any, rule: Any) -> list[Any]:
    found = await reader.find(
        "notes", selection, after=now(database), limit=100, sort={"_id": 1}, fields={"n": 1}, rule=rule
    )
    return [document["_id"] for document in found.documents]


async def by_page(reader: MongoReader, _: Documents, selection: Any, rule: Any) -> list[Any]:
    options = {"filter": selection, "sort": {"_id": -1}, "skip": 1, "limit": 2, "projection": {"n": 1}}
    page = await reader.page("notes", options, rule)
    assert all(document.keys() <= {"_id", "n"} for document in page.documents)
    return [document["_id"] for document in page.documents]


async def by_count(reader: MongoReader, database: Documents, selection: Any, rule: Any) -> list[Any]:
    return [await reader.count("notes", selection, now(database), rule)]


async def by_stream(reader: MongoReader, _: Documents, selection: Any, rule: Any) -> list[Any]:
    stream = await reader.stream("notes", {"filter": selection, "sort": {"_id": 1}}, rule)
    try:
        return [document["_id"] for part in [part async for part in stream.slices()] for document in part]
    finally:
        await stream.close()


@pytest.fixture
async def notes(database: Documents) -> Documents:
    others = [{"_id": f"secret {n}", "owner": "else", "n": 0} for n in range(5)]
    database.notes.insert_many([*others, *({"_id": n, "owner": "me", "n": n} for n in range(1, 251))])
    return database


READS: dict[str, tuple[Read, list[Any]]] = {
    "find": (by_find, list(range(1, 101))),
    "page": (by_page, [99, 98]),
    "count": (by_count, [100]),
    "stream": (by_stream, list(range(1, 101))),
}


@pytest.mark.parametrize("name", READS)
async def test_a_hidden_document_makes_no_read_fail(notes: Documents, reader: MongoReader, name: str) -> None:
    read, expected = READS[name]
    asked = {**FAILING, "n": {"$lte": 100}}
    with pytest.raises(OperationFailure):
        list(notes.notes.find({"$and": [MINE, asked]}))  # as one filter it does
    assert await read(reader, notes, asked, MINE) == expected
    assert await read(reader, notes, {"n": {"$lte": 100}}, MINE) == expected  # nothing can fail: an ordinary find


async def test_all_of_a_large_answer_is_read_at_one_time(notes: Documents, reader: MongoReader) -> None:
    """An aggregate's batches, beyond the first."""
    notes.notes.insert_many({"_id": n, "owner": "me", "n": n} for n in range(251, 2501))
    found = await reader.find("notes", FAILING, after=now(notes), limit=5000, rule=MINE)
    assert len(found.documents) == 2500
    assert len(await by_stream(reader, notes, FAILING, MINE)) == 2500


@pytest.mark.parametrize("name", READS)
async def test_what_a_hidden_document_does_is_told_without_a_word_on_it(
    notes: Documents, reader: MongoReader, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    read, _ = READS[name]
    with pytest.raises(ServiceError) as failed:
        await read(reader, notes, {}, FAILING)
    assert type(failed.value) is InvalidDocumentError
    assert failed.value.details is None
    for word in ("secret", "divide", "$"):
        assert word not in failed.value.message.replace('{"$convert"', "").replace("$ifNull", "").replace("$cond", "")


@pytest.mark.parametrize("name", READS)
async def test_words_of_mongodb_are_for_the_log_alone(
    notes: Documents, reader: MongoReader, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    read, _ = READS[name]
    with pytest.raises(ServiceError) as failed:
        await read(reader, notes, {"n": {"$badOperator": "secret"}}, MINE)
    assert "secret" not in failed.value.message
    assert "badOperator" not in failed.value.message
    assert "badOperator" in caplog.text


async def test_without_a_collection_nothing_is_found(database: Documents, reader: MongoReader) -> None:
    for read, _ in READS.values():
        assert await read(reader, database, FAILING, MINE) in ([], [0])
