"""Queries that time moves against the real MongoDB, whose clock the tests set: two hours in a minute.

The cluster's time is put forward by a session, as a client of another shard would, on a mongod of the tests' own. At
each position that a view was given it is compared with `aggregate` there, of the client's own filter as it was sent:
`runtimeConstants` says what `$$NOW` is, the second of the position. The engine is the classic one.

Sabotage: `make sabotage`, rows "moving".
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bson import json_util
from bson.binary import Binary
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.timestamp import Timestamp
from pymongo.synchronous.database import Database

from tests import second_mongod
from tests.chance import fresh_seed
from tests.exact.conftest import Say
from tests.exact.ear import Ear, listening
from tests.exact.ledger import to_int, to_timestamp
from tests.exact.sortedview import Folding
from tests.replica_set import CLASSIC, TEST_COMMANDS, ReplicaSet
from tests.serving import Service, serving
from tests.truth import time_of

Query = dict[str, Any]
MINUTE, QUARTER, DAY = 60, 900, 86_400
HOURS = 2 * 3600
DOCUMENTS, TURNS = 60, 24
CLOCK = (
    *("--setParameter", "maxAcceptableLogicalClockDriftSecs=315360000"),
    *("--setParameter", "minSnapshotHistoryWindowInSeconds=86400"),
)
pytestmark = pytest.mark.timeout(240)


async def clocked(binary: Path | None) -> AsyncIterator[ReplicaSet]:
    """One whose time may be set, and whose snapshots reach back over all of a test."""
    from realtime.mongo import embedded

    with tempfile.TemporaryDirectory(prefix="realtime-exact-") as directory:
        async with embedded.running(Path(directory), binary, extra_args=(*TEST_COMMANDS, *CLASSIC, *CLOCK)) as mongo:
            yield ReplicaSet(mongo.uri, "embedded", can_fail_commands=True, pid=mongo.pid)


NEWER = pytest.param(True, marks=pytest.mark.long("the same on another version"))


@pytest.fixture(params=[False, NEWER], ids=["usual", "6.0.27"])
async def clock(request: pytest.FixtureRequest) -> AsyncIterator[ReplicaSet]:
    async for made in clocked(await asyncio.to_thread(second_mongod.fetched) if request.param else None):
        yield made


# ------------------------------------------------------------------------------------------------------------- queries


def since(bound: Any, *, path: str = "$at", strict: bool = False, mirrored: bool = False) -> dict[str, Any]:
    if mirrored:
        return {"$expr": {"$lt" if strict else "$lte": [bound, path]}}
    return {"$expr": {"$gt" if strict else "$gte": [path, bound]}}


def less(seconds: int) -> dict[str, Any]:
    return {"$subtract": ["$$NOW", seconds * 1000]}


def units(unit: str, amount: int) -> dict[str, Any]:
    return {"$dateSubtract": {"startDate": "$$NOW", "unit": unit, "amount": amount}}


def cut(bound: Any, unit: str, **more: Any) -> dict[str, Any]:
    return {"$dateTrunc": {"date": bound, "unit": unit, **more}}


ODD = {"$expr": {"$eq": [{"$mod": [{"$ifNull": ["$n", 0]}, 2]}, 1]}}


def queries() -> dict[str, Query]:
    """Twenty: views, windows and rows over a minute, a quarter of an hour and a day; both clients' forms."""
    return {
        "minute": {"last": {"path": "at", "seconds": MINUTE}},
        "minute, strict": {"filter": since(less(MINUTE), strict=True)},
        "minute, mirrored": {"filter": since(units("minute", 1), mirrored=True)},
        "minute, team": {"filter": {"team": "a", **since(less(MINUTE))}},
        "minute, cut": {"filter": since(cut("$$NOW", "minute"))},
        "minute, top": {"filter": since(less(MINUTE)), "sort": [["n", -1]], "limit": 3},
        "minute, rows": {"filter": since(less(MINUTE)), "group": {"by": ["team"], "count": True, "max": ["n"]}},
        "minute, throttled": {"filter": since(less(MINUTE)), "throttle": 50},
        "minute, odd": {"filter": {"$and": [since(less(MINUTE)), ODD]}},
        "quarter": {"filter": since(units("minute", 15)), "projection": {"at": 1}},
        "quarter, hidden": {"last": {"path": "at", "seconds": QUARTER}, "projection": {"at": 0}},
        "quarter, cut": {"filter": since(cut(less(QUARTER), "minute", binSize=5), strict=True)},
        "quarter, oldest": {"filter": since(less(QUARTER)), "sort": [["at", 1]], "limit": 4},
        "quarter, rows": {
            "filter": since(less(QUARTER)),
            "group": {"by": ["team"], "count": True, "sum": ["n"], "min": ["n", "at"]},
        },
        "quarter, inside": {"filter": since(less(QUARTER), path="$in.at")},
        "quarter, two": {"filter": {"$and": [since(less(QUARTER)), since(less(MINUTE), path="$in.at")]}},
        "day": {"filter": since(units("hour", 24)), "sort": {"at": -1}, "limit": 5},
        "day, Berlin": {"filter": since(cut("$$NOW", "day", timezone="Europe/Berlin"))},
        "day, hours": {"filter": since(cut(units("day", 1), "hour", binSize=6), mirrored=True, strict=True)},
        "not over": {"filter": since("$$NOW"), "group": {"by": [], "count": True, "min": ["at"]}},
    }


def pipelines() -> dict[str, Query]:
    """Rows and documents that time takes from, made by stages; sums of whole numbers, and no ties."""
    best = {"$topN": {"n": 2, "sortBy": {"n": -1, "_id": 1}, "output": ["$_id", "$n"]}}
    newest = {"n": {"$sum": "$n"}, "newest": {"$max": "$at"}, "least": {"$min": "$n"}, "best": best}
    fifth = {"$mod": [{"$ifNull": ["$n", 0]}, 5]}
    return {
        "rows": {"pipeline": [{"$match": since(less(MINUTE))}, {"$group": {"_id": "$team", **newest}}]},
        "having": {
            "pipeline": [
                {"$match": since(units("minute", 15))},
                {"$group": {"_id": fifth, "count": {"$count": {}}}},
                {"$match": {"count": {"$gte": 3}}},
                {"$sort": {"count": -1, "_id": 1}},
            ]
        },
        "top": {
            "pipeline": [
                {"$match": since(less(QUARTER))},
                {"$set": {"half": {"$divide": ["$n", 2]}}},
                {"$sort": {"half": -1, "_id": 1}},
                {"$limit": 4},
                {"$project": {"half": 1, "team": 1}},
            ]
        },
        "unwound": {
            "pipeline": [
                {"$match": {"team": "a", **since(less(MINUTE))}},
                {"$unwind": "$in"},
                {"$group": {"_id": {"$type": "$in.at"}, "count": {"$sum": 1}, "most": {"$max": "$n"}}},
            ]
        },
        "shown": {"pipeline": [{"$match": since(cut("$$NOW", "minute"))}, {"$set": {"n": {"$add": ["$n", 1]}}}]},
    }


def ordered(query: Query) -> bool:
    """Whether what it finds is in an order."""
    return "sort" in query or any("$sort" in stage for stage in query.get("pipeline", ()))


# ------------------------------------------------------------------------------------------------------------- writing


class World:
    """Documents with dates, the cluster's clock, and which seconds something leaves in."""

    def __init__(self, service: Service, chance: random.Random) -> None:
        self.database = service.database
        self.chance = chance
        self.begin = int(time.time()) + 1000
        self.second = self.begin
        self.last = self.keys = 0
        self.kinds: Counter[str] = Counter()

    def at(self, seconds: float) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.second, dt.UTC) + dt.timedelta(milliseconds=int(seconds * 1000))

    def value(self) -> Any:
        """Dates about to leave one of the queries, for the most part; and what is no date."""
        chance = self.chance
        ago = chance.choice((MINUTE, MINUTE, QUARTER, QUARTER, DAY))
        soon = chance.randrange(1200) + chance.choice((0, 0.001, 0.999))
        date = self.at(soon - ago)
        if chance.random() < 0.8:
            return date
        return chance.choice(
            [None, "2099-01-01", 5, True, [date], {"at": date}, MaxKey(), Timestamp(1, 1), self.at(DAY)]
        )

    def document(self) -> dict[str, Any]:
        self.keys += 1
        made = {"_id": self.keys, "team": self.chance.choice("ab"), "n": self.chance.randrange(100), "at": self.value()}
        inside = {"at": self.value()}
        return made | {"in": [inside] if self.chance.random() < 0.2 else inside}

    def fill(self) -> None:
        self.come(self.begin)
        self.database.items.insert_many([self.document() for _ in range(DOCUMENTS)])

    def come(self, second: int) -> None:
        """The cluster's time is at least this second, by an entry of the oplog that is of no collection."""
        self.second = max(self.second, second)
        with self.database.client.start_session() as session:
            signature = {"hash": Binary(bytes(20)), "keyId": Int64(0)}
            session.advance_cluster_time({"clusterTime": Timestamp(self.second, 1), "signature": signature})
            self.database.client.admin.command({"appendOplogNote": 1, "data": {"to": self.second}}, session=session)
            self._note(session)

    def write(self) -> None:
        """One write of any kind, or several in one transaction."""
        with self.database.client.start_session() as session:
            if self.chance.random() < 0.2:
                with session.start_transaction():
                    for _ in range(3):
                        self._one(session)
                self.kinds["transaction"] += 1
            else:
                self._one(session)
            self._note(session)

    def _one(self, session: Any) -> None:
        chance, items = self.chance, self.database.items
        kind = chance.choices(["insert", "at", "n", "in", "unset", "replace", "delete"], [5, 5, 2, 2, 1, 1, 3])[0]
        self.kinds[kind] += 1
        some = items.aggregate([{"$sample": {"size": 1}}, {"$project": {"_id": 1}}]).try_next()
        if kind == "insert" or some is None:
            items.insert_one(self.document(), session=session)
        elif kind == "delete":
            items.delete_one(some, session=session)
        elif kind == "replace":
            items.replace_one(some, self.document() | some, session=session)
        elif kind == "unset":
            items.update_one(some, {"$unset": {"at": 1}}, session=session)
        else:
            value = {"at": self.value(), "n": chance.randrange(100), "in": {"at": self.value()}}[kind]
            items.update_one(some, {"$set": {kind: value}}, session=session)

    def _note(self, session: Any) -> None:
        self.last = max(self.last, to_int(session.operation_time))

    def leaving(self) -> int:
        """The next second in which a document leaves the last minute or quarter of an hour, if that is near."""
        found = []
        for document in self.database.items.find({"at": {"$type": "date", "$not": {"$type": "array"}}}, {"at": 1}):
            millis = int(document["at"].replace(tzinfo=dt.UTC).timestamp() * 1000)
            found += [millis // 1000 + ago + 1 for ago in (MINUTE, QUARTER)]
        near = [second for second in found if self.second < second <= self.second + 200]
        return min(near, default=self.second + 60)


# ----------------------------------------------------------------------------------------------------------- the truth


def to_json(value: Any) -> Any:
    return json.loads(json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS))


class Truth:
    """What MongoDB answers at a cluster time, if its second is now."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self.database = database

    def __call__(self, query: Query, moment: int) -> list[Any]:
        last = query.get("last")
        sent = query.get("filter", {}) if last is None else since(less(last["seconds"]), path=f"${last['path']}")
        pipeline: list[dict[str, Any]] = [{"$match": sent}]
        if "pipeline" in query:
            pipeline = query["pipeline"]
        elif "group" in query:
            pipeline.append({"$group": self._group(query["group"])})
        else:
            pipeline.append({"$sort": {**dict(query.get("sort", {})), "_id": 1}})
            pipeline += [{"$limit": query["limit"]}] if "limit" in query else []
            pipeline += [{"$project": query["projection"]}] if "projection" in query else []
        time = to_timestamp(moment)
        command = {
            "aggregate": "items",
            "pipeline": pipeline,
            "cursor": {"batchSize": 10_000},
            "readConcern": {"level": "snapshot", "atClusterTime": time},
            "runtimeConstants": {"localNow": dt.datetime.fromtimestamp(time.time, dt.UTC), "clusterTime": time},
        }
        with self.database.client.start_session(causal_consistency=False) as session:
            found = self.database.command(command, session=session)["cursor"]["firstBatch"]
        if "group" in query:
            found = [self._row(query["group"], row) for row in found]
        found = to_json(found)
        if not ordered(query):
            found.sort(key=lambda document: json.dumps(document["_id"], sort_keys=True))
        return list(found)

    def _group(self, group: dict[str, Any]) -> dict[str, Any]:
        by = {path: f"${path}" for path in group["by"]}
        made: dict[str, Any] = {"_id": by[group["by"][0]] if by else None, "count": {"$sum": 1}}
        for name in ("sum", "min", "max"):
            made |= {f"{name} {path}": {f"${name}": f"${path}"} for path in group.get(name, ())}
        return made

    def _row(self, group: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
        made = {"_id": {group["by"][0]: row["_id"]} if group["by"] else {}, "count": row["count"]}
        for name in ("sum", "min", "max"):
            if name in group:
                made[name] = {path: row[f"{name} {path}"] for path in group[name]}
        return made


def folded(ear: Ear, asked: dict[str, Query]) -> dict[str, Folding]:
    """Each view with all that it was at, position by position: a `pong` says of all of them that they are there."""
    views = {name: Folding(name, ordered(query), lambda _: True) for name, query in asked.items()}
    for frame in ear.frames:
        reached = frame | {"type": "heartbeat"} if frame["type"] == "pong" else frame
        for view in views.values():
            view.take(reached)
    return views


def compare(views: dict[str, Folding], asked: dict[str, Query], truth: Truth) -> tuple[int, list[str]]:
    """How many views were compared, and those that differ. What MongoDB was asked once is not asked again."""
    compared, different = 0, []
    for name, view in views.items():
        for position, _, documents in view.seen:
            compared += 1
            right = truth(asked[name], time_of(position))
            held = (
                documents if view.ordered else sorted(documents, key=lambda one: json.dumps(one["_id"], sort_keys=True))
            )
            if held != right:
                different.append(f"{name} at {position}: {held} is not {right}")
    return compared, different


# ----------------------------------------------------------------------------------------------------------- the tests


async def hours(world: World, ears: list[Ear], turns: int) -> int:
    """Two hours in as many turns: to a second before something leaves, then it, then the one after; and a leap."""
    leap = HOURS // turns
    for turn in range(turns):
        second = await asyncio.to_thread(world.leaving)
        for step in (second - 1, second, second + 1):
            await asyncio.to_thread(world.come, step)
            await asyncio.gather(*(ear.settle(world.last) for ear in ears))
        for _ in range(world.chance.randrange(4)):
            await asyncio.to_thread(world.write)
        await asyncio.to_thread(world.come, max(world.second, world.begin + leap * (turn + 1)))
        await asyncio.gather(*(ear.settle(world.last) for ear in ears))
    return world.second - world.begin


async def test_two_hours_of_leaving_are_exact_and_two_services_agree(clock: ReplicaSet, say: Say) -> None:
    asked = queries()
    assert len(asked) == 20
    compared, told = await agreeing(clock, say, asked, TURNS)
    assert compared > 2000
    assert told["leave"] > 200


async def test_pipelines_of_two_services_are_exact_and_agree_while_time_takes_from_them(
    clock: ReplicaSet, say: Say
) -> None:
    compared, told = await agreeing(clock, say, pipelines(), TURNS // 3)
    assert compared > 80
    assert told["leave"] > 10
    assert told["update"] > 5


async def agreeing(clock: ReplicaSet, say: Say, asked: dict[str, Query], turns: int) -> tuple[int, Counter[str]]:
    """Two services over two hours: how many views of the first were compared, and which changes it told."""
    seed = fresh_seed()
    shared = {"feed_await_ms": 50, "heartbeat_seconds": 0.2}
    async with (
        serving(clock, **shared) as service,
        serving(clock, database=service.database.name, keep=True, **shared) as other,
    ):
        world = World(service, random.Random(seed))
        await asyncio.to_thread(world.fill)
        async with listening(service.url) as one, listening(other.url) as two:
            await one.fence(world.last)
            for name, query in asked.items():
                await one.subscribe(name, "items", **query)
                await two.subscribe(name, "items", **query)
            passed = await hours(world, [one, two], turns)
            truth = Truth(service.database)
            first, second = folded(one, asked), folded(two, asked)
            compared, different = await asyncio.to_thread(compare, first, asked, truth)
            assert different == [], f"seed {seed}: {len(different)} of {compared}\n" + "\n".join(different[:4])
            again, different = await asyncio.to_thread(compare, second, asked, truth)
            assert different == [], f"seed {seed}, the other: {len(different)} of {again}\n" + "\n".join(different[:4])
            for name in asked:
                assert first[name].documents == second[name].documents, name
            told = Counter(change["op"] for frame in one.of("changes") for change in frame["changes"])
            assert one.of("resync") + two.of("resync") + one.of("unsubscribed") == []
    say(f"seed {seed}: {passed} s, {compared} + {again} views compared, told {dict(told)}, {dict(world.kinds)}")
    assert passed >= HOURS
    return compared, told


async def test_a_view_without_writes_empties_by_the_oplog_alone(clock: ReplicaSet) -> None:
    asked = {"minute": queries()["minute"], "rows": queries()["minute, rows"], "top": queries()["minute, top"]}
    async with serving(clock, feed_await_ms=50, heartbeat_seconds=0.2) as service, listening(service.url) as ear:
        world = World(service, random.Random(1))
        await asyncio.to_thread(world.come, world.begin)
        documents = [{"_id": number, "n": number, "team": "a", "at": world.at(number)} for number in range(30)]
        await asyncio.to_thread(service.database.items.insert_many, documents)
        await asyncio.to_thread(world.come, world.begin + 1)
        await ear.fence(world.last)
        for name, query in asked.items():
            await ear.subscribe(name, "items", **query)
        assert len(folded(ear, asked)["minute"].documents) == 30
        for second in (59, 60, 61, 62, 75, 89, 90):
            await asyncio.to_thread(world.come, world.begin + second)
            await ear.settle(world.last)
            left = max(0, min(30, second - 60))
            views = folded(ear, asked)
            assert len(views["minute"].documents) == 30 - left
            assert [row["count"] for row in views["rows"].documents.values()] == ([30 - left] if left < 30 else [])
            assert len(views["top"].documents) == min(3, 30 - left)
        compared, different = await asyncio.to_thread(compare, folded(ear, asked), asked, Truth(service.database))
        assert different == []
        assert compared > 20


async def test_who_comes_back_across_leaves_is_told_of_them(clock: ReplicaSet, say: Say) -> None:
    seed = fresh_seed()
    asked = {name: query for name, query in queries().items() if not {"sort", "group", "throttle"} & query.keys()}
    recovered = 0
    async with serving(clock, feed_await_ms=50, heartbeat_seconds=0.2) as service, listening(service.url) as stays:
        world = World(service, random.Random(seed))
        await asyncio.to_thread(world.fill)
        truth = Truth(service.database)
        await stays.fence(world.last)
        for name, query in asked.items():
            await stays.subscribe(name, "items", **query)
        for turn in range(4):
            async with listening(service.url) as leaves:
                for name, query in asked.items():
                    await leaves.subscribe(name, "items", **query)
                await leaves.settle(world.last)
                views = folded(leaves, asked)
                keys = {frame["id"]: frame["query"] for frame in leaves.of("subscribed")}
            for _ in range(3):
                await asyncio.to_thread(world.come, await asyncio.to_thread(world.leaving))
                await asyncio.to_thread(world.write)
            await stays.settle(world.last)
            async with listening(service.url) as back:
                for name, query in asked.items():
                    await back.subscribe(name, "items", position=views[name].position, query=keys[name], **query)
                await back.settle(world.last)
                for frame in back.frames:
                    if frame["type"] == "subscribed":
                        assert frame["recovered"], (seed, turn, frame)
                        recovered += 1
                held = {name: dict(view.documents) for name, view in views.items()}
                for frame in back.of("changes"):
                    for change in frame["changes"] if "id" in frame else ():
                        key = json.dumps(change["key"])
                        held[frame["id"]].pop(key, None)
                        if change["op"] != "leave":
                            held[frame["id"]][key] = change["document"]
                for frame in back.of("live"):
                    right = await asyncio.to_thread(truth, asked[frame["id"]], time_of(frame["position"]))
                    shown = sorted(held[frame["id"]].values(), key=lambda one: json.dumps(one["_id"]))
                    assert shown == right, (seed, turn, frame["id"])
    say(f"seed {seed}: {recovered} came back across leaves")
    assert recovered == 4 * len(asked) >= 48
