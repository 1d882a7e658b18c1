"""`$expr` and computed projections, live: every view is what `find` gives; what fails ends its own query alone."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import pytest
from bson.decimal128 import Decimal128

from realtime.core.bson import ejson
from realtime.core.mql.filters import compile_filter
from tests.chance import fresh_seed
from tests.exact.conftest import Say
from tests.exact.test_filters import Chaos, fence, followed
from tests.mongo.grammar import NAMES, Grammar
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import Wire, wired

VIEWS, STEPS, DOCUMENTS = 60, 60, 25
pytestmark = pytest.mark.timeout(120)


class Safe:
    """Expressions that have a value of every document, whatever it holds."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def path(self) -> str:
        return "$" + ".".join(self.chance.choice(NAMES) for _ in range(self.chance.choice([1, 1, 1, 2])))

    def number(self) -> Any:
        made = {"$convert": {"input": self.path(), "to": "double", "onError": 0, "onNull": 1}}
        guarded = {"$cond": [{"$isNumber": self.path()}, 1, 2]}
        return self.chance.choice([made, guarded, self.chance.choice([0, 1, 2.5, 7])])

    def array(self) -> Any:
        path = self.path()
        return {"$cond": [{"$isArray": path}, path, [path]]}

    def condition(self, depth: int = 1) -> Any:
        chance = self.chance
        if depth and chance.random() < 0.3:
            name = chance.choice(["$and", "$or"])
            return {name: [self.condition(0), self.condition(0)]}
        return chance.choice(
            [
                {chance.choice(["$gt", "$lt", "$gte", "$ne"]): [self.path(), self.path()]},
                {"$eq": [self.path(), chance.choice([1, 2, "a", "b", True])]},
                {"$lt": [{"$cmp": [self.path(), self.path()]}, 1]},
                {"$in": [{"$type": self.path()}, ["string", "int", "array", "missing"]]},
                {"$gt": [{"$size": self.array()}, 1]},
                {"$gt": [{"$add": [{"$abs": self.number()}, self.number()]}, {"$multiply": [self.number(), 2]}]},
                {"$anyElementTrue": [{"$map": {"input": self.array(), "in": {"$eq": ["$$this", self.path()]}}}]},
                {"$not": [self.path()]},
            ]
        )

    def projection(self) -> dict[str, Any]:
        chance = self.chance
        made: dict[str, Any] = {
            "x": {"$multiply": [self.number(), self.number()]},
            "y": {"$type": self.path()},
            "z": {"$filter": {"input": self.array(), "cond": {"$ne": ["$$this", None]}}},
            "v.w": self.path(),
            "u": {"$mergeObjects": [{"k": self.number()}, {"l": {"$isArray": self.path()}}]},
        }
        names = chance.sample(sorted(made), 3)
        return {**({chance.choice(NAMES): 1} if chance.random() < 0.5 else {}), **{one: made[one] for one in names}}


def chosen(safe: Safe, stored: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A filter that some documents match, and for every other one a projection that computes."""
    for _ in range(200):
        source = {"$expr": safe.condition()}
        if safe.chance.random() < 0.3:
            source = {safe.chance.choice(NAMES): {"$exists": True}, **source}
        share = sum(map(compile_filter(source).matches, stored)) / len(stored)
        if 0.08 <= share <= 0.92:
            break
    shown = safe.projection() if safe.chance.random() < 0.5 else {}
    return ejson.decode(ejson.encode(source)), ejson.decode(ejson.encode(shown))


async def test_every_view_by_expressions_is_what_find_gives(replica_set: ReplicaSet, say: Say) -> None:
    seed = fresh_seed()
    chance = random.Random(seed)
    grammar, safe = Grammar(chance, odd=()), Safe(chance)
    async with serving(replica_set, feed_await_ms=100) as service, wired(service.url) as wire:
        chaos = Chaos(service, grammar)
        chaos.collection.insert_many([grammar.document(key) for key in range(DOCUMENTS)])
        asked = [chosen(safe, list(chaos.find())) for _ in range(VIEWS)]
        compared, held = await followed(wire, chaos, asked, [chaos.step] * STEPS, f"seed {seed}")
        ops = Counter(change["op"] for frame in wire.of("changes") for change in frame["changes"])
        assert wire.of("resync") == []
        assert wire.of("unsubscribed") == []
    say(f"seed {seed}: {compared} views, {held} documents in them, {dict(ops)}")
    assert compared == VIEWS * STEPS
    assert held / compared > 1
    assert min(ops["enter"], ops["update"], ops["leave"]) >= 30


# ------------------------------------------------------------------------------------------------------------ failing


def put(service: Service, key: int, **fields: Any) -> int:
    """Store a document by another program; the cluster time after it."""
    with service.database.client.start_session() as session:
        service.database.docs.replace_one({"_id": key}, fields, upsert=True, session=session)
        assert session.operation_time is not None
        return session.operation_time.time << 32 | session.operation_time.inc


async def write(service: Service, wire: Wire, key: int, **fields: Any) -> None:
    await fence(wire, await asyncio.to_thread(put, service, key, **fields))


RATIO = {"$expr": {"$gt": [{"$divide": [10, "$a"]}, 1]}}


async def test_a_document_that_fails_ends_the_query_that_meets_it_and_no_other(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, feed_await_ms=100) as service, wired(service.url) as wire:
        await asyncio.to_thread(put, service, 1, a=2)
        ratio = await wire.subscribe("docs", id="ratio", filter=RATIO)
        plain = await wire.subscribe("docs", id="plain", filter={"a": {"$lt": 5}})
        behind = await wire.subscribe("docs", id="behind", filter={"b": 1, **RATIO})
        shown = await wire.subscribe("docs", id="shown", projection={"r": {"$divide": [10, "$a"]}})
        events = await wire.ask(type="subscribe", id="events", mode="events", collection="docs", filter=RATIO)
        assert events["type"] == "subscribed"
        assert (sorted(ratio.documents), shown.documents["1"]) == (["1"], {"_id": 1, "r": 5.0})
        await write(service, wire, 2, a=0)
        ended = {frame["id"]: frame for frame in wire.of("unsubscribed")}
        assert sorted(ended) == ["events", "ratio", "shown"]
        for frame in ended.values():
            assert frame["code"] == "invalid_document"
            assert frame["details"] == {"operator": "$divide", "key": 2}
        await write(service, wire, 3, a=4, b=1)
        assert sorted(plain.documents) == ["1", "2", "3"]
        assert sorted(behind.documents) == ["3"]
        refused = await wire.ask(type="subscribe", id="again", collection="docs", filter=RATIO)
        assert (refused["type"], refused["code"]) == ("error", "invalid_document")
        assert "details" not in refused


async def test_what_is_not_certain_ends_the_query(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, feed_await_ms=100) as service, wired(service.url) as wire:
        view = await wire.subscribe("docs", id="exp", filter={"$expr": {"$gt": [{"$exp": "$a"}, 1]}})
        await write(service, wire, 1, a=1)
        assert sorted(view.documents) == ["1"]
        await write(service, wire, 2, a=Decimal128("1"))
        (ended,) = wire.of("unsubscribed")
        assert (ended["id"], ended["code"]) == ("exp", "unsupported_value")
        assert ended["details"] == {"operator": "$exp", "key": 2}


async def test_what_is_not_certain_here_is_mongodbs_to_answer_where_it_evaluates(replica_set: ReplicaSet) -> None:
    """The filter of a snapshot, and of pages; the example of docs/protocol.md is refused."""
    dear, shown = {"$expr": {"$gt": [{"$exp": "$a"}, 1]}}, {"e": {"$exp": "$a"}}
    async with serving(replica_set, feed_await_ms=100) as service, wired(service.url) as wire:
        await asyncio.to_thread(put, service, 1, a=Decimal128("1"))
        url = "/v1/collections/docs/documents"
        asked = {"filter": json.dumps(dear), "projection": json.dumps(shown)}
        page = await service.http.get(url, params={**asked, "count": "true"})
        assert (page.status_code, page.json()["count"]) == (200, 1)
        assert page.json()["documents"][0]["e"]["$numberDecimal"].startswith("2.718281828")
        lines = await service.http.get(url, params=asked, headers={"Accept": "application/x-ndjson"})
        assert '"e":{"$numberDecimal":"2.718281828' in lines.text
        hidden = await service.http.get(url, params={"sort": "a", "projection": json.dumps(shown)})
        assert (hidden.status_code, hidden.json()["code"]) == (422, "unsupported_value")
        view = await wire.subscribe("docs", id="dear", filter=dear)
        assert sorted(view.documents) == ["1"]
        refused = await wire.ask(type="subscribe", id="shown", collection="docs", projection=shown)
        assert (refused["type"], refused["code"]) == ("error", "unsupported_value")


@pytest.mark.parametrize(
    ("costly", "operator"),
    [
        ({"$map": {"input": "$a", "in": {"$add": ["$$this", 1, 2]}}}, "$map"),
        ({"$map": {"input": "$a", "in": {"$eq": ["$$this", "$t"]}}}, "$t"),
        ({"$concatArrays": ["$a", [{"$concat": ["$t", "$t", "$t", "$t"]}]]}, "$concat"),
        ({"$split": [{"$replaceAll": {"input": "$t", "find": "x", "replacement": "$t"}}, "y"]}, "$replaceAll"),
        ({"$regexFindAll": {"input": "$t", "regex": "x"}}, "$regexFindAll"),
    ],
)
async def test_what_is_over_a_bound_ends_its_own_query_alone(
    replica_set: ReplicaSet, costly: Any, operator: str
) -> None:
    async with serving(replica_set, feed_await_ms=100) as service, wired(service.url) as wire:
        await asyncio.to_thread(put, service, 1, a=[1], t="x")
        view = await wire.subscribe("docs", id="costly", filter={"$expr": {"$gte": [{"$size": costly}, 0]}})
        plain = await wire.subscribe("docs", id="plain")
        assert sorted(view.documents) == ["1"]
        await write(service, wire, 2, a=[1] * 3000, t="x" * 300_000)
        (ended,) = wire.of("unsubscribed")
        assert (ended["id"], ended["code"]) == ("costly", "too_large")
        assert ended["details"] == {"operator": operator, "key": 2}
        assert sorted(plain.documents) == ["1", "2"]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ({"$expr": {"$divide": [1, 0]}}, "invalid_filter"),
        ({"$expr": {"$rand": {}}}, "unsupported_operator"),
        ({"$expr": {"$lt": ["$a", "$$NOW"]}}, "unsupported_operator"),
        ({"a": {"$elemMatch": {"$expr": True}}}, "unsupported_operator"),
        ({"$expr": {"$hour": {"date": "$d", "timezone": "Nowhere/Atall"}}}, "invalid_filter"),
    ],
)
async def test_what_cannot_be_served_is_refused_when_it_is_asked(
    replica_set: ReplicaSet, source: dict[str, Any], code: str
) -> None:
    async with serving(replica_set, feed_await_ms=100) as service, wired(service.url) as wire:
        await asyncio.to_thread(put, service, 1, a=1)
        refused = await wire.ask(type="subscribe", id="x", collection="docs", filter=source)
        assert (refused["type"], refused["code"]) == ("error", code)


async def test_a_time_zone_is_the_servers(replica_set: ReplicaSet) -> None:
    """By the hour in a zone with a time change between two documents."""
    hour = {"$hour": {"date": {"$toDate": "$ms"}, "timezone": "Europe/Berlin"}}
    async with serving(replica_set, feed_await_ms=100) as service, wired(service.url) as wire:
        # 2021-03-28, half past midnight and half past one in Greenwich: 1:30 and 3:30 in Berlin.
        view = await wire.subscribe("docs", filter={"$expr": {"$gte": [hour, 1]}}, projection={"hour": hour})
        await write(service, wire, 1, ms=1616891400000.0)
        await write(service, wire, 2, ms=1616895000000.0)
        assert {key: one["hour"] for key, one in view.documents.items()} == {"1": 1, "2": 3}
        again = await wire.subscribe("docs", id="again", projection={"hour": hour})
        assert {key: one["hour"] for key, one in again.documents.items()} == {"1": 1, "2": 3}


async def test_expressions_over_http_and_in_where(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, feed_await_ms=100) as service, wired(service.url) as wire:
        for key, a in ((1, 2), (2, 5), (3, 20)):
            await asyncio.to_thread(put, service, key, a=a)
        url = "/v1/collections/docs/documents"
        shown = json.dumps({"r": {"$multiply": ["$a", 2]}})
        page = await service.http.get(url, params={"filter": json.dumps(RATIO), "projection": shown})
        assert page.json()["documents"] == [{"_id": 1, "r": 4}, {"_id": 2, "r": 10}]
        # Sorted by what the projection hides, or computes: it is applied here.
        page = await service.http.get(url, params={"sort": "-a", "projection": json.dumps({"a": {"$add": ["$a", 1]}})})
        assert page.json()["documents"] == [{"_id": 3, "a": 21}, {"_id": 2, "a": 6}, {"_id": 1, "a": 3}]
        lines = await service.http.get(
            url, params={"filter": json.dumps(RATIO)}, headers={"Accept": "application/x-ndjson"}
        )
        assert lines.text.count('"_id"') == 2
        change = {"type": "update", "collection": "docs", "key": 1, "update": {"$set": {"b": 1}}}
        refused = await wire.ask(**change, where={"$expr": {"$gt": ["$a", 2]}})
        assert refused["code"] == "precondition_failed"
        done = await wire.ask(**change, where={"$expr": {"$lte": ["$a", 2]}})
        assert done["type"] == "result"
        await asyncio.to_thread(put, service, 4, a=0)
        failed = await service.http.get(url, params={"filter": json.dumps(RATIO)})
        assert (failed.status_code, failed.json()["code"]) == (422, "invalid_document")
        failing = await wire.ask(**{**change, "key": 4}, where=RATIO)
        assert failing["code"] == "invalid_document"
