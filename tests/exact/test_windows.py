"""Windows, throttled views and live rows against the real MongoDB: at every sampled position what it would answer.

Random writes of every kind go on while 60 queries are live; documents at the top of their orders are deleted in
bursts, so that windows use up their spares. Afterwards each sampled view, in its order, is compared with
`find().sort().limit()` or `$group` at the view's own cluster time.

Sabotage: `make sabotage`, rows "windows".
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from bson import json_util
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from pymongo.synchronous.database import Database

from realtime import metrics
from realtime.hub.hub import Hub
from realtime.hub.plan import Plan
from tests.chance import fresh_seed
from tests.exact.conftest import Say
from tests.exact.ear import listening
from tests.exact.ledger import to_int, to_timestamp
from tests.exact.sortedview import Folding
from tests.mongo.commands import Commands, watch_commands
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.truth import time_of

POOL = 250
"""Documents to begin with; inserts and deletes keep it about there."""
WRITES = 230
BURST_EVERY = 5
BURST = 40
"""Documents deleted at one end of an order in one transaction; small windows keep 20 spares."""
ORDERS = [
    [("score", -1)],
    [("score", 1)],
    [("tags", 1)],
    [("name", 1), ("score", -1)],
    [("at.x", 1), ("at.y", -1)],
    [("tags", -1), ("name", -1)],
    [("_id", 1)],
]
SAMPLES = {"moment": 30, "heartbeat": 12, "snapshot": 1}
"""Of each query's views, about so many are compared."""
ALWAYS = 5

Query = dict[str, Any]
SCORE, NAME, TAGS = ["score", -1], ["name", 1], ["tags", 1]


def queries() -> dict[str, Query]:
    """Sixty: windows by one key and by several, through arrays, with filters and projections; views; rows."""
    made: dict[str, Query] = {}
    for limit in (1, 3, 10, 20):
        made[f"top {limit}"] = {"sort": [SCORE], "limit": limit}
        made[f"last {limit}"] = {"sort": [["score", 1]], "limit": limit}
        made[f"names {limit}"] = {"sort": [["name", 1], SCORE], "limit": limit, "projection": {"name": 1}}
        made[f"hidden {limit}"] = {"sort": [SCORE], "limit": limit, "projection": {"score": 0, "tags": 0, "at": 0}}
        made[f"tags up {limit}"] = {"sort": [["tags", 1]], "limit": limit, "projection": {"tags": 1}}
        made[f"tags down {limit}"] = {"sort": [["tags", -1], ["name", -1]], "limit": limit}
        made[f"deep {limit}"] = {"sort": {"at.x": 1, "at.y": -1}, "limit": limit, "projection": {"at": 1}}
        made[f"by _id {limit}"] = {"limit": limit, "projection": {"team": 1}}
        made[f"throttled {limit}"] = {"sort": [SCORE], "limit": limit, "throttle": 400}
    for team in "abc":
        made[f"team {team}"] = {"filter": {"team": team}, "sort": [SCORE], "limit": 5}
        made[f"team {team} hidden"] = {
            "filter": {"team": team},
            "sort": [["score", 1], ["name", -1]],
            "limit": 4,
            "projection": {"name": 1},
        }
        made[f"rows of {team}"] = {"filter": {"team": team}, "group": {"by": ["name"], "count": True, "max": ["score"]}}
    made["mixed"] = {"sort": [["mixed", -1]], "limit": 8, "projection": {"mixed": 1}}
    made["mixed up"] = {"sort": [["mixed", 1]], "limit": 8}
    made["over"] = {"filter": {"score": {"$gt": 500}}, "sort": [["score", 1]], "limit": 6}
    made["wide"] = {"sort": [SCORE], "limit": 150, "projection": {"score": 1}}
    made["everything"] = {"sort": [NAME, SCORE], "projection": {"name": 1}}
    made["everything throttled"] = {"sort": [SCORE], "projection": {"tags": 1}, "throttle": 300}
    made["no order"] = {"filter": {"score": {"$gte": 300}}}
    made["no order throttled"] = {"filter": {"tags": 3}, "throttle": 500, "projection": {"tags": 1}}
    totals = {"sum": ["total", "score"], "avg": ["total", "score"], "min": ["total", "mixed"], "max": ["score", "at.x"]}
    made["sales"] = {"group": {"by": ["team"], "count": True, **totals}}
    made["sales throttled"] = {"group": {"by": ["team"], **totals}, "throttle": 400}
    made["of all"] = {"group": {"by": [], "count": True, **totals}}
    made["two keys"] = {"group": {"by": ["team", "at.x"], "count": True, "sum": ["total"]}}
    made["only whole"] = {"group": {"by": ["name"], "sum": ["score"], "avg": ["score"], "max": ["tags"]}}
    made["filtered rows"] = {"filter": {"score": {"$lt": 400}}, "group": {"by": ["team"], "sum": ["total"]}}
    made["extremes"] = {"group": {"by": ["team"], "min": ["score", "name"], "max": ["score", "name"]}}
    return made


# ------------------------------------------------------------------------------------------------------------ writing


class Writer:
    """Writes of every kind, by pymongo or over HTTP. `last`: the newest acknowledged cluster time."""

    def __init__(self, service: Service, chance: random.Random) -> None:
        self.service = service
        self.chance = chance
        self.items = service.database.items
        self.kinds: Counter[str] = Counter()
        self.last = self.keys = 0

    def value(self) -> Any:
        chance = self.chance
        whole, money = chance.randrange(9), Decimal128(f"{chance.randrange(500)}.{chance.randrange(100):02}")
        return chance.choice([None, whole, float(whole), Int64(whole), money, "x", [], [whole, 3], {"x": whole}, True])

    def total(self) -> Any:
        chance = self.chance
        return chance.choice([chance.randrange(1000), chance.randrange(1000) / 4, Int64(chance.randrange(10**12))])

    def fields(self) -> dict[str, Any]:
        chance = self.chance
        return {
            "team": chance.choice("abcd"),
            "name": chance.choice(["ada", "bob", "cyd", "dot", "eve"]),
            "score": chance.randrange(1000),
            "tags": [chance.randrange(12) for _ in range(chance.randrange(4))],
            "at": {"x": chance.randrange(5), "y": chance.randrange(5)},
            "mixed": self.value(),
            "total": self.total() if chance.random() < 0.9 else Decimal128(f"{chance.randrange(9)}.50"),
        }

    def document(self) -> dict[str, Any]:
        self.keys += 1
        return {"_id": self.chance.choice([self.keys, -self.keys, f"k{self.keys}"]), **self.fields()}

    def update(self) -> dict[str, Any]:
        chance, fields = self.chance, self.fields()
        field = chance.choice(list(fields))
        return chance.choice(
            [
                {"$set": {field: fields[field]}},
                {"$set": {field: fields[field]}},
                {"$inc": {"score": chance.choice([-40, -3, 2, 50])}},
                {"$inc": {"at.x": 1}},
                {"$mul": {"score": chance.choice([1, 2, 0])}},
                {"$min": {"score": chance.randrange(1000)}},
                {"$max": {"score": chance.randrange(1000)}},
                {"$unset": {chance.choice(["score", "tags", "mixed", "at", "total", "at.y"]): ""}},
                {"$rename": {"mixed": "other"}},
                {"$set": {"other": chance.random()}},
                {"$set": {"at": {"x": 1, "y": chance.randrange(5)}}},
                {"$currentDate": {"seen": True}},
            ]
        )

    def array_update(self) -> dict[str, Any]:
        chance = self.chance
        return chance.choice(
            [
                {"$push": {"tags": chance.randrange(12)}},
                {"$push": {"tags": {"$each": [3, 5], "$slice": -3}}},
                {"$addToSet": {"tags": chance.randrange(12)}},
                {"$pull": {"tags": {"$gt": 6}}},
                {"$pop": {"tags": 1}},
            ]
        )

    def one(self, session: Any = None) -> None:
        """One write by pymongo."""
        chance, items = self.chance, self.items
        kind = chance.choices(["insert", "update", "array", "replace", "delete"], [4, 9, 3, 2, 2])[0]
        self.kinds[kind] += 1
        if kind == "insert":
            items.insert_one(self.document(), session=session)
            return
        some = next(iter(items.aggregate([{"$sample": {"size": 1}}, {"$project": {"_id": 1}}])), None)
        if some is None:
            return
        if kind == "update":
            items.update_one({"_id": some["_id"], "score": {"$not": {"$gt": 10**6}}}, self.update(), session=session)
        elif kind == "array":
            items.update_one({"_id": some["_id"], "tags": {"$type": "array"}}, self.array_update(), session=session)
        elif kind == "replace":
            items.replace_one({"_id": some["_id"]}, self.fields(), session=session)
        else:
            items.delete_one({"_id": some["_id"]}, session=session)

    def burst(self) -> None:
        """Delete what stands first in somebody's order, in one transaction; then as many new ones."""
        number = self.kinds["burst"]
        order = ORDERS[number % len(ORDERS)]
        selection = {"team": self.chance.choice("abc")} if number % 4 == 3 else {}
        first = [found["_id"] for found in self.items.find(selection, {"_id": 1}).sort([*order, ("_id", 1)])[:BURST]]
        with self.service.database.client.start_session() as session:
            with session.start_transaction():
                self.items.delete_many({"_id": {"$in": first}}, session=session)
            self.items.insert_many([self.document() for _ in first], session=session)
            self.note(session)
        self.kinds["burst"] += 1

    def step(self, number: int) -> None:
        """A write of any kind, or several together."""
        if number % BURST_EVERY == 0:
            self.burst()
            return
        with self.service.database.client.start_session() as session:
            if self.chance.random() < 0.15:
                with session.start_transaction():
                    for _ in range(self.chance.randrange(2, 6)):
                        self.one(session)
                self.kinds["transaction"] += 1
            else:
                self.one(session)
            self.note(session)

    def note(self, session: Any) -> None:
        if session.operation_time is not None:
            self.last = max(self.last, to_int(session.operation_time))

    async def over_http(self) -> None:
        """A write by the service's own hands."""
        document = json.loads(json_util.dumps(self.document(), json_options=json_util.CANONICAL_JSON_OPTIONS))
        document["_id"] = f"h{self.keys}"
        path = "/v1/collections/items/documents"
        calls: list[tuple[str, str, Any]] = [
            ("POST", path, document),
            ("PATCH", f"{path}/h{self.keys}", {"$set": {"score": 2000 + self.keys}}),
            ("PUT", f"{path}/h{self.keys}", {"team": "a", "name": "web", "score": self.chance.randrange(1000)}),
        ]
        calls += [("DELETE", f"{path}/h{self.keys}", None)] if self.chance.random() < 0.5 else []
        for method, url, body in calls:
            answer = await self.service.http.request(method, url, json=body)
            assert answer.status_code < 300, answer.text
            self.last = max(self.last, time_of(answer.json()["position"]))
            self.kinds["over HTTP"] += 1


# ---------------------------------------------------------------------------------------------------------- the truth


def to_json(value: Any) -> Any:
    return json.loads(json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS))


class Truth:
    """What MongoDB answers at a cluster time."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self.database = database
        self.reads = 0

    def __call__(self, query: Query, time: int) -> list[Any]:
        self.reads += 1
        command = self._group(query) if "group" in query else self._find(query)
        concern = {"level": "snapshot", "atClusterTime": to_timestamp(time)}
        with self.database.client.start_session(causal_consistency=False) as session:
            reply = self.database.command({**command, "readConcern": concern}, session=session)
        assert not reply["cursor"]["id"]
        found = to_json(reply["cursor"]["firstBatch"])
        if "group" in query:
            found = [self._row(query["group"], row) for row in found]
        if "sort" not in query and "limit" not in query:
            found.sort(key=lambda document: json.dumps(document["_id"], sort_keys=True))
        return list(found)

    def _find(self, query: Query) -> dict[str, Any]:
        sort = dict(query.get("sort", {}))
        sort.setdefault("_id", 1)
        return {
            "find": "items",
            "filter": query.get("filter", {}),
            "projection": query.get("projection", {}),
            "sort": sort,
            "limit": query.get("limit", 0),
            "batchSize": 100_000,
        }

    def _group(self, query: Query) -> dict[str, Any]:
        group = query["group"]
        stage: dict[str, Any] = {"_id": {f"k{index}": f"${path}" for index, path in enumerate(group["by"])}}
        if group.get("count"):
            stage["count"] = {"$sum": 1}
        for name in ("sum", "avg", "min", "max"):
            for index, path in enumerate(group.get(name, ())):
                stage[f"{name}{index}"] = {f"${name}": f"${path}"}
        pipeline = [{"$match": query.get("filter", {})}, {"$group": stage}]
        return {"aggregate": "items", "pipeline": pipeline, "cursor": {"batchSize": 100_000}}

    def _row(self, group: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
        keys = enumerate(group["by"])
        row: dict[str, Any] = {"_id": {path: found["_id"][f"k{at}"] for at, path in keys if f"k{at}" in found["_id"]}}
        if group.get("count"):
            row["count"] = found["count"]
        for name in ("sum", "avg", "min", "max"):
            if name in group:
                row[name] = {path: found[f"{name}{at}"] for at, path in enumerate(group[name])}
        return row


def alike(query: Query, one: Any, other: Any) -> bool:
    """Equal as JSON; in rows, numbers that are equal but of another type, and the last bit of a double."""
    if one == other or "group" not in query:
        return bool(one == other)
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() == other.keys() == {"$numberDecimal"}:
            return bool(
                Decimal128(one["$numberDecimal"]).to_decimal() == Decimal128(other["$numberDecimal"]).to_decimal()
            )
        if "$numberDecimal" in (one.keys() ^ other.keys()):
            return False
        return list(one) == list(other) and all(alike(query, one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(lambda a, b: alike(query, a, b), one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=2**-51, abs=0)
    return number_of(one) is not None and number_of(one) == number_of(other)


def number_of(value: Any) -> Any:
    """The number that a JSON value stands for; least and greatest may be shown in any of the equal types."""
    if isinstance(value, dict) and value.keys() == {"$numberDecimal"}:
        return Decimal128(value["$numberDecimal"]).to_decimal()
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


# ----------------------------------------------------------------------------------------------------------- the test


class Watch:
    """What the service asked of MongoDB, and how many batches it took in."""

    def __init__(self, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands = commands
        self.underflows = metrics.UNDERFLOWS._value.get()
        self.images = metrics.IMAGE_READS._value.get()
        self.resyncs = self._resyncs()
        self.batches = 0
        plan = Hub.plan

        def counting(hub: Hub, batch: Any) -> Plan:
            made = plan(hub, batch)
            self.batches += bool(made.reads)
            return made

        monkeypatch.setattr(Hub, "plan", counting)

    def _resyncs(self) -> float:
        return sum(
            sample.value for one in metrics.RESYNCS.collect() for sample in one.samples if "total" in sample.name
        )

    def windows_read(self) -> int:
        """Sorted reads at a time that MongoDB picks: the snapshots of windows."""
        finds = self.commands.of("find")
        return sum("sort" in find and "afterClusterTime" in find.get("readConcern", {}) for find in finds)

    def figures(self) -> dict[str, float]:
        return {
            "underflows": metrics.UNDERFLOWS._value.get() - self.underflows,
            "image reads": metrics.IMAGE_READS._value.get() - self.images,
            "batches that need images": self.batches,
            "windows read": self.windows_read(),
            "resyncs": self._resyncs() - self.resyncs,
        }


def sampler(chance: random.Random, expected: int) -> Callable[[str], bool]:
    """Whether a view is compared: the first few; then about as many as `SAMPLES` says, of `expected` in all."""
    seen: Counter[str] = Counter()

    def sampled(why: str) -> bool:
        seen[why] += 1
        return seen[why] <= ALWAYS or chance.random() < SAMPLES[why] / (1 if why == "snapshot" else expected)

    return sampled


async def write(writer: Writer) -> None:
    for number in range(1, WRITES + 1):
        await asyncio.to_thread(writer.step, number)
        if number % 25 == 10:
            await writer.over_http()


@pytest.mark.long("2,400 views, each compared with MongoDB; a shorter run of both clients is beside it")
@pytest.mark.timeout(300)
async def test_every_sampled_view_is_what_mongodb_answers_there(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    seed = fresh_seed()
    chance = random.Random(seed)
    asked = queries()
    assert len(asked) == 60
    watch = Watch(watch_commands(monkeypatch), monkeypatch)
    async with serving(replica_set, feed_await_ms=100, heartbeat_seconds=0.3) as service:
        writer = Writer(service, random.Random(chance.random()))
        writer.items.insert_many([writer.document() for _ in range(POOL)])
        async with listening(service.url) as ear:
            for name, query in asked.items():
                await ear.subscribe(name, "items", **query)
            first = watch.windows_read()
            begin = asyncio.get_running_loop().time()
            await write(writer)
            await ear.fence(writer.last)
            elapsed = asyncio.get_running_loop().time() - begin
            figures = watch.figures()
        views = [
            Folding(name, "sort" in query or "limit" in query, sampler(chance, 75)) for name, query in asked.items()
        ]
        for frame in ear.frames:
            for view in views:
                view.take(frame)
        told = sum((view.figures for view in views), Counter[str]())
        compared, different = await asyncio.to_thread(compare, views, asked, Truth(service.database))
    say(f"seed {seed}: {dict(writer.kinds)}; {figures}; {dict(compared)} compared; told {dict(told)}")
    assert different == [], f"seed {seed}: {len(different)} of {compared.total()} differ\n" + "\n".join(different[:4])
    windows = sum("limit" in query for query in asked.values())
    assert first == windows
    assert figures["windows read"] == first + figures["underflows"]
    assert figures["image reads"] <= figures["batches that need images"]
    assert figures["resyncs"] == told["resync"] == 0
    assert figures["underflows"] >= 100
    assert compared["moment"] >= 1000
    assert compared["heartbeat"] >= 100
    assert all(view.figures["at a moment"] >= ALWAYS for view in views)
    check_throttle(views, asked, elapsed)


def compare(views: list[Folding], asked: dict[str, Query], truth: Truth) -> tuple[Counter[str], list[str]]:
    """How many views were compared, by what gave them their position, and those that differ."""
    compared: Counter[str] = Counter()
    different: list[str] = []
    for view in views:
        query = asked[view.id]
        for position, why, seen in view.seen:
            compared[why] += 1
            expected = truth(query, time_of(position))
            if not alike(query, seen, expected):
                pairs = zip(seen, expected, strict=False)
                at = next((i for i, (one, other) in enumerate(pairs) if not alike(query, one, other)), "the end")
                here = seen[at] if isinstance(at, int) else len(seen)
                there = expected[at] if isinstance(at, int) else len(expected)
                different.append(f"{view.id} at a {why}, {position}, from place {at}:\n  here  {here}\n  there {there}")
    return compared, different


def check_throttle(views: list[Folding], asked: dict[str, Query], elapsed: float) -> None:
    """Throttled queries were told as often as their time allows at most, and less often than the same ones without."""
    moments = {view.id: len(view.moments) for view in views}
    throttled = {name: asked[name]["throttle"] for name in moments if "throttle" in asked[name]}
    assert len(throttled) >= 6
    assert [name for name, time in throttled.items() if moments[name] > elapsed * 1000 / time + 2] == []
    assert moments["throttled 20"] < moments["top 20"]
    assert moments["sales throttled"] < moments["sales"]
