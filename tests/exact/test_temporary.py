"""What MongoDB writes to collections of its own on the way to a user's: not told, and what becomes of it is.

Sabotage: `make sabotage`, rows "temporary".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from pymongo.errors import OperationFailure
from pymongo.synchronous.database import Database

from realtime import metrics
from tests.checker import Asked, judge
from tests.exact.ear import Ear, listening
from tests.exact.ledger import Ledger, insert
from tests.exact.test_join import counted
from tests.mongo.commands import now
from tests.replica_set import ReplicaSet
from tests.serving import serving

Documents = Database[dict[str, Any]]
pytestmark = pytest.mark.timeout(90)


def out(database: Documents) -> None:
    database["source"].aggregate([{"$out": "target"}])


def out_from_elsewhere(database: Documents) -> None:
    database.client[f"{database.name}_other"]["source"].aggregate([{"$out": {"db": database.name, "coll": "target"}}])


def map_reduce(database: Documents) -> None:
    reduce = "function(key, values) { return 1; }"
    database.command(
        "mapReduce", "source", map="function() { emit(this._id, 1); }", reduce=reduce, out={"replace": "target"}
    )


def renamed_from_elsewhere(database: Documents) -> None:
    other = f"{database.name}_other"
    database.client.admin.command("renameCollection", f"{other}.source", to=f"{database.name}.target", dropTarget=True)


WAYS: list[Callable[[Documents], None]] = [out, out_from_elsewhere, map_reduce, renamed_from_elsewhere]


async def every_and_target(ear: Ear) -> None:
    await ear.subscribe("every", "*", mode="events")
    await ear.subscribe("named", "target", mode="events")
    await ear.subscribe("view", "target")


def told(ear: Ear, name: str) -> list[tuple[str, str, Any]]:
    """Operation, collection and key or target of each event of one subscription, live or replayed."""
    replayed = [frame for frame in ear.of("events") if frame.get("id") == name]
    channels = [frame["channel"] for frame in ear.of("subscribed", name)]
    frames = replayed or [frame for frame in ear.of("events") if frame.get("channel") in channels]
    events = [event for frame in frames for event in frame["events"]]
    return [(one["op"], one["collection"], one.get("key", one.get("to"))) for one in events]


@pytest.mark.parametrize("journal_bytes", [0, 1 << 20])
@pytest.mark.parametrize("way", WAYS)
async def test_all_collections_are_told_the_rename_onto_the_target_and_nothing_before_it(
    replica_set: ReplicaSet, way: Callable[[Documents], None], journal_bytes: int
) -> None:
    """Live and after a return. It was told every insert into `tmp.agg_out.…`."""
    async with (
        serving(replica_set, feed_await_ms=100, journal_bytes=journal_bytes) as service,
        AsyncExitStack() as stack,
    ):
        database = service.database
        other = database.client[f"{database.name}_other"]
        stack.callback(database.client.drop_database, other.name)
        for name, where in (("source", database), ("source", other), ("target", database)):
            where[name].insert_many([{"_id": f"{name} {n}", "n": n} for n in range(3)])
        ear = await stack.enter_async_context(listening(service.url))
        await ear.fence(now(database))
        await every_and_target(ear)
        start = ear.of("live", "every")[0]["position"]
        again = ear.coming(lambda frame: frame["type"] == "resync" and frame["id"] == "view")
        await asyncio.to_thread(way, database)
        async with asyncio.timeout(20):
            assert (await again)["reason"] == "collection_replaced"
        await asyncio.to_thread(database["target"].insert_one, {"_id": "last"})
        await ear.settle(now(database))
        await ear.subscribe("back", "*", mode="events", position=start)
        shown = [one["_id"] for frame in ear.of("snapshot", "view")[1:] for one in frame["documents"]]
        for name in ("every", "named", "back"):
            rename, last = told(ear, name)
            assert (rename[0], rename[1][:3], rename[2]) == ("rename", "tmp", "target")
            assert last == ("insert", "target", "last")
    assert set(shown) - {"last"} == {f"source {n}" for n in range(3)}


async def test_what_is_written_on_the_way_is_not_even_read(replica_set: ReplicaSet) -> None:
    """A `$out` of many documents is one event, and leaves the history in memory to others."""
    async with serving(replica_set, feed_await_ms=100) as service, listening(service.url) as ear:
        database = service.database
        database["source"].insert_many([{"_id": n, "text": "x" * 1000} for n in range(3000)])
        await ear.subscribe("every", "*", mode="events")
        await ear.fence(now(database))
        before = counted(metrics.EVENTS)
        await asyncio.to_thread(out, database)
        await ear.fence(now(database))
        assert counted(metrics.EVENTS) - before == 1


async def test_a_write_that_fails_on_the_way_is_told_nothing_of(replica_set: ReplicaSet) -> None:
    """Its temporary collection is dropped."""
    async with serving(replica_set, feed_await_ms=100) as service, listening(service.url) as ear:
        ledger = Ledger(service.database)
        ledger.one(insert("source", 1, n=0))
        await ear.fence(ledger.last)
        await ear.subscribe("every", "*", mode="events")
        stages: list[dict[str, Any]] = [
            {"$unionWith": {"pipeline": [{"$documents": [{"_id": 2}, {"_id": 2}]}]}},
            {"$out": "target"},
        ]
        with pytest.raises(OperationFailure, match="duplicate key"):
            await asyncio.to_thread(ledger.database["source"].aggregate, stages)
        ledger.one(insert("source", 3, n=0))
        await ear.settle(ledger.last)
        figures = judge(ear.frames, [Asked("every", (), "events")], ledger.truth()).accept()
    assert figures["told"] == figures["expected"] == 1


async def test_mongodbs_own_names_are_not_to_be_had_and_not_listed(replica_set: ReplicaSet) -> None:
    names = ["tmp.agg_out.1", "tmpabcde.convertToCapped.orders", "tmpabcde.renameCollection"]
    async with serving(replica_set, feed_await_ms=100) as service, listening(service.url) as ear:
        for name in [*names, "tmp.mine"]:
            service.database[name].insert_one({"_id": 1})
        service.database.create_collection("collated", collation={"locale": "de"})
        listed = (await service.http.get("/v1/collections")).json()["collections"]
        for name in names:
            for mode in ("query", "events"):
                answer = await ear.ask(type="subscribe", collection=name, mode=mode)
                assert answer["code"] == "unsupported_collection"
            assert (await service.http.get(f"/v1/collections/{name}/documents")).status_code == 422
        await ear.subscribe("mine", "tmp.mine")
    assert [one["name"] for one in listed] == ["tmp.mine"], "nor is what cannot be subscribed to in either mode"
