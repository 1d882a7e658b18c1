"""`after`: pages that go on exactly where the one before ended, in constant time however deep."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId

from tests.mongo.commands import Commands, watch_commands
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
Index = list[tuple[str, int]]


@pytest.fixture(scope="module")
async def shared(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    """One service for all tests here."""
    async with serving(replica_set, feed_await_ms=100) as running:
        yield running


@pytest.fixture
def service(shared: Service) -> Service:
    """The service, its collections empty and without indexes."""
    for name in ("orders", "others"):
        shared.database.drop_collection(name)
    return shared


async def pages(service: Service, **parameters: Any) -> list[list[Any]]:
    """Every page, by `next`, until it is null."""
    found: list[list[Any]] = []
    after: dict[str, str] = {}
    while True:
        answer = await service.http.get(service.documents, params={**parameters, **after})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found.append(body["documents"])
        assert len(found) < 500
        if body["next"] is None:
            return found
        after = {"after": body["next"]}


def in_order(service: Service, sort: Index, selection: dict[str, Any] | None = None) -> list[Any]:
    return [one["_id"] for one in service.database.orders.find(selection or {}).sort(sort)]


SORTS: list[Index] = [
    [("_id", 1)],
    [("_id", -1)],
    [("n", 1)],
    [("n", -1)],
    [("n", -1), ("_id", -1)],
    [("text", 1), ("n", -1)],
    [("text", -1), ("n", -1), ("_id", -1)],
    [("at", -1), ("text", 1)],
    [("in.side", 1)],
    [("_id", -1), ("n", 1)],
]


@pytest.mark.parametrize("indexed", [False, True], ids=["without index", "indexed"])
@pytest.mark.parametrize("sort", SORTS, ids=str)
async def test_the_pages_together_are_the_whole_result_in_order(
    service: Service, sort: Index, *, indexed: bool
) -> None:
    """Ties that span pages, numbers of several widths, with and without a filter."""
    chance = random.Random(5)
    numbers = [0, 1, 1.5, Int64(1), Decimal128("1.5"), -3, 2.0, float("inf"), -0.0]
    service.database.orders.insert_many(
        {
            "_id": chance.random(),
            "n": chance.choice(numbers),
            "text": chance.choice(["", "a", "b", "é", "$x"]),
            "at": NOW + dt.timedelta(days=chance.randrange(5)),
            "in": {"side": chance.randrange(9)},
            "half": n % 2,
        }
        for n in range(230)
    )
    if indexed and sort[0][0] != "_id":
        service.database.orders.create_index([*sort, *([] if ("_id" in dict(sort)) else [("_id", 1)])])
    given = json.dumps(sort)
    expected = in_order(service, [*sort, *([] if ("_id" in dict(sort)) else [("_id", 1)])])
    found = await pages(service, sort=given, limit=20)
    assert [one["_id"] for page in found for one in page] == expected
    assert [len(page) for page in found] == [20] * 11 + [10]
    half = await pages(service, sort=given, limit=23, filter='{"half": 1}', projection='{"half": 1, "_id": 1}')
    assert [one["_id"] for page in half for one in page] == [key for key in expected if key in keys_of_half(service)]
    assert all(one.keys() == {"_id", "half"} for page in half for one in page)
    assert len(half) == 6  # 115 documents are five full pages, and one that says that there are no more


def keys_of_half(service: Service) -> set[Any]:
    return {one["_id"] for one in service.database.orders.find({"half": 1})}


@pytest.mark.parametrize("direction", [1, -1])
async def test_documents_keys_of_every_type_are_paged_through(service: Service, direction: int) -> None:
    keys: list[Any] = [
        None, MinKey(), MaxKey(), 1, 2.5, float("nan"), Decimal128("3"), "", "$a", "z", {"a": 1}, {"a": {"$b": 1}},
        b"x", ObjectId(), False, True, NOW,
    ]  # fmt: skip
    service.database.orders.insert_many({"_id": key, "place": place} for place, key in enumerate(keys) if place != 11)
    expected = [one["place"] for one in service.database.orders.find().sort("_id", direction)]
    for limit in (1, 3):
        found = await pages(
            service, sort=json.dumps([["_id", direction]]), limit=limit, projection='{"place": 1, "_id": 0}'
        )
        assert [one["place"] for page in found for one in page] == expected
    assert len(expected) == 16


ODD: list[Any] = [None, [1, 99], [], "x", True, {"a": 1}, float("nan"), NOW, MaxKey(), MinKey(), "missing"]


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("odd", ODD, ids=repr)
async def test_a_sort_key_of_another_type_anywhere_is_refused_and_never_left_out(
    service: Service, odd: Any, direction: int
) -> None:
    """Among numbers: whoever pages to the end is told; nobody gets an end without the document."""
    service.database.orders.insert_many({"_id": n, "n": n // 3} for n in range(60))
    document: dict[str, Any] = {"_id": "odd"} if odd == "missing" else {"_id": "odd", "n": odd}
    service.database.orders.insert_one(document)
    after: dict[str, str] = {}
    for _ in range(20):
        answer = await service.http.get(
            service.documents, params={"sort": json.dumps([["n", direction]]), "limit": "10", **after}
        )
        if answer.status_code != 200:
            break
        assert answer.json()["next"] is not None, "an end without the odd one"
        after = {"after": answer.json()["next"]}
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["details"] == {"field": "after", "path": "n"}
    assert "scalars of one type" in answer.json()["detail"]


async def test_a_cursor_goes_with_its_collection_filter_and_sort(service: Service) -> None:
    for name in ("orders", "others"):
        service.database[name].insert_many({"_id": n, "n": n} for n in range(30))
    first = await service.http.get(service.documents, params={"sort": '[["n",1]]', "limit": "10"})
    cursor = first.json()["next"]
    foreign: list[tuple[str, dict[str, str]]] = [
        (service.documents, {"sort": '[["n",-1]]'}),
        (service.documents, {"sort": '[["m",1]]'}),
        (service.documents, {}),
        (service.documents, {"sort": '[["n",1]]', "filter": '{"n": {"$gt": 3}}'}),
        ("/v1/collections/others/documents", {"sort": '[["n",1]]'}),
        (service.documents, {"sort": '[["n",1]]', "skip": "1"}),
    ]
    for path, parameters in foreign:
        answer = await service.http.get(path, params={**parameters, "after": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), parameters
    good = await service.http.get(service.documents, params={"sort": '[["n",1]]', "limit": "5", "after": cursor})
    assert [one["n"] for one in good.json()["documents"]] == [10, 11, 12, 13, 14]


async def test_pages_go_on_exactly_while_others_write(service: Service) -> None:
    """What was there all along comes once, whatever is inserted and deleted meanwhile."""
    service.database.orders.insert_many({"_id": n, "n": n // 4} for n in range(0, 1000, 2))
    stop = asyncio.Event()
    written = 0

    async def write() -> None:
        nonlocal written
        chance = random.Random(3)
        while not stop.is_set():
            n = chance.randrange(1, 1000, 2)
            await asyncio.to_thread(service.database.orders.replace_one, {"_id": n}, {"n": n // 4}, upsert=True)
            await asyncio.to_thread(service.database.orders.delete_one, {"_id": chance.randrange(1, 1000, 2)})
            written += 1

    writing = asyncio.create_task(write())
    found = await pages(service, sort='[["n",1]]', limit=7)
    stop.set()
    await writing
    even = [one["_id"] for page in found for one in page if one["_id"] % 2 == 0]
    assert even == list(range(0, 1000, 2))
    assert written > 20


# ------------------------------------------------------------------------------------------------------------- its cost


async def examined(service: Service, commands: Commands, parameters: dict[str, str]) -> tuple[int, int]:
    """Keys that MongoDB examined for the page, by `explain` of the very command that was sent, and its documents."""
    commands.sent.clear()
    answer = await service.http.get(service.documents, params=parameters)
    assert answer.status_code == 200, answer.text
    (sent,) = commands.of("find")
    options = {name: sent[name] for name in ("filter", "sort", "limit", "projection", "hint") if name in sent}
    explain: dict[str, Any] = {"explain": {"find": "orders", **options}, "verbosity": "executionStats"}
    explained = service.database.command(explain)["executionStats"]
    assert explained["nReturned"] == len(answer.json()["documents"])
    return explained["totalKeysExamined"], explained["totalDocsExamined"]


DEEP = 10_000
COSTS: list[tuple[str, Index, Index | None, int]] = [
    ("_id", [("_id", 1)], None, 0),
    ("_id, down", [("_id", -1)], None, 0),
    ("one key", [("n", 1)], [("n", 1), ("_id", 1)], 1),
    ("one key, down", [("n", -1)], [("n", -1), ("_id", 1)], 1),
    ("one key, down, by an index that goes up", [("n", -1), ("_id", -1)], [("n", 1), ("_id", 1)], 1),
    ("two keys", [("group", 1), ("n", 1)], [("group", 1), ("n", 1), ("_id", 1)], 3),
]


@pytest.mark.long("ten thousand pages deep")
async def test_a_page_10_000_deep_examines_at_most_limit_and_one_key(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `_id`, or by a key with an index on it and `_id`. Every further key costs two more."""
    commands = watch_commands(monkeypatch)
    async with serving(replica_set, feed_await_ms=100) as service:
        service.database.orders.insert_many({"_id": n, "n": n // 3, "group": n // 5000} for n in range(2 * DEEP))
        limit = 100
        for name, sort, index, more in COSTS:
            if index is not None:
                service.database.orders.create_index(index)
            parameters = {"sort": json.dumps(sort), "limit": "100"}
            deep = await service.http.get(service.documents, params={**parameters, "limit": "1", "skip": str(DEEP - 1)})
            keys, documents = await examined(service, commands, {**parameters, "after": deep.json()["next"]})
            assert limit <= keys <= limit + more, (name, keys)
            assert documents <= limit + 2 * max(more, 1), (name, documents)
            if index is not None:
                service.database.orders.drop_index(index)


async def test_with_a_filter_that_has_its_index_the_page_costs_no_more(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = watch_commands(monkeypatch)
    async with serving(replica_set, feed_await_ms=100) as service:
        service.database.orders.insert_many({"_id": n, "n": n // 3, "kind": n % 20} for n in range(DEEP))
        service.database.orders.create_index([("kind", 1), ("n", 1), ("_id", 1)])
        parameters = {"sort": '[["n",1]]', "filter": '{"kind": 7}', "limit": "50"}
        first = await service.http.get(service.documents, params={**parameters, "skip": "300"})
        keys, _ = await examined(service, commands, {**parameters, "after": first.json()["next"]})
    assert 50 <= keys <= 51


@pytest.mark.parametrize("sort", [[["i", 1]], [["_id", -1]], [["_id.x", 1]]], ids=["i", "whole", "part"])
@pytest.mark.parametrize("projection", [{"_id.y": 0}, {"_id": {"x": 0}}, {"_id.x": 1}, {"i": 1, "_id.y": 1}])
async def test_a_page_that_shows_a_part_of_its_keys_goes_on_exactly(
    service: Service, sort: list[Any], projection: dict[str, Any]
) -> None:
    """The cursor was made of the part: pages repeated documents, left some out, or had no end."""
    keys = [{"x": number % 3, "y": number // 3} for number in range(12)]
    service.database.orders.insert_many([{"_id": key, "i": number % 5} for number, key in enumerate(keys)])
    given = {"sort": json.dumps(sort), "projection": json.dumps(projection)}
    found = [one for page in await pages(service, **given, limit=5) for one in page]
    whole = await service.http.get(service.documents, params={**given, "limit": 100})
    assert found == whole.json()["documents"]
    assert len(found) == len(keys)
    assert all(len(one["_id"]) == 1 for one in found)
