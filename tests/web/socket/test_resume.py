"""Going on from a position: exactly what happened since, from memory or from the oplog, then live."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from realtime import metrics
from realtime.hub import resume
from tests.gated_oplog import GatedOplog
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import Wire, wired


def counted(counter: Any) -> float:
    """A counter's value now."""
    return float(counter._value.get())


def received(wire: Wire) -> list[tuple[str, str, str]]:
    """Every event: operation, key, position."""
    return [
        (event["op"], json.dumps(event.get("key")), event["position"])
        for frame in wire.of("events")
        for event in frame["events"]
    ]


def write_history(service: Service, rounds: int) -> int:
    """Inserts, updates, deletes, and transactions of four; returns how many events that makes."""
    orders, events = service.database.orders, 0
    client = service.database.client
    for n in range(rounds):
        orders.insert_one({"_id": n, "n": 0})
        orders.update_one({"_id": n}, {"$inc": {"n": 1}})
        with client.start_session() as session, session.start_transaction():
            for part in range(4):
                orders.insert_one({"_id": f"{n}-{part}"}, session=session)
        orders.delete_one({"_id": f"{n}-0"})
        events += 7
    return events


async def live_events(service: Service, wire: Wire, count: int) -> list[tuple[str, str, str]]:
    """All events, as somebody who was there all the time saw them."""
    await wire.when(lambda: len(received(wire)) >= count)
    return received(wire)


LANES = [pytest.param({}, id="journal"), pytest.param({"journal_bytes": 0}, id="oplog")]


@pytest.mark.parametrize("settings", LANES)
async def test_events_resumed_at_every_position_are_exactly_the_rest(
    replica_set: ReplicaSet, settings: dict[str, Any]
) -> None:
    async with serving(replica_set, feed_await_ms=100, **settings) as service, wired(service.url) as witness:
        await witness.subscribe("orders", mode="events")
        count = await asyncio.to_thread(write_history, service, 25)
        seen = await live_events(service, witness, count)
        assert len(seen) == count
        start = witness.frames[0]["position"]
        positions = sorted({start, *(position for _, _, position in seen)})
        before = counted(metrics.CATCH_UPS)
        async with wired(service.url) as wire:
            for number, position in enumerate(positions):
                wire.frames.clear()
                await wire.subscribe("orders", id=f"s{number}", mode="events", position=position)
                assert wire.of("subscribed")[0]["recovered"] is True
                assert received(wire) == [event for event in seen if event[2] > position]
                await wire.ask(type="unsubscribe", id=f"s{number}")
        assert (counted(metrics.CATCH_UPS) > before) == bool(settings)
    assert len(positions) > 75


@pytest.mark.parametrize("settings", LANES)
async def test_a_query_resumed_gets_only_what_changed_and_is_exact(
    replica_set: ReplicaSet, settings: dict[str, Any]
) -> None:
    async with serving(replica_set, feed_await_ms=100, **settings) as service, wired(service.url) as witness:
        orders = service.database.orders
        orders.insert_many({"_id": n, "open": True} for n in range(100))
        view = await witness.subscribe("orders", filter={"open": True})
        query = witness.of("subscribed")[0]["query"]
        position, held = view.position, dict(view.documents)
        orders.update_many({"_id": {"$lt": 10}}, {"$set": {"open": False}})
        orders.update_one({"_id": 50}, {"$set": {"n": 1}})
        orders.delete_one({"_id": 60})
        orders.insert_one({"_id": 200, "open": True})
        await witness.when(lambda: "200" in view.documents)
        async with wired(service.url) as wire:
            await wire.send(
                type="subscribe", id="s", collection="orders", filter={"open": True}, position=position, query=query
            )
            await wire.until(lambda frame: frame["type"] == "live")
            changes = [change for frame in wire.of("changes") for change in frame["changes"]]
            subscribed = wire.of("subscribed")[0]
            snapshots = wire.of("snapshot")
        for change in changes:
            if change["op"] == "leave":
                held.pop(json.dumps(change["key"]), None)
            else:
                held[json.dumps(change["key"])] = change["document"]
    assert subscribed["recovered"] is True
    assert snapshots == []
    assert len(changes) == 13
    assert held == view.documents


async def test_a_query_whose_collection_was_dropped_meanwhile_gets_a_snapshot(service: Service) -> None:
    async with wired(service.url) as wire:
        service.database.orders.insert_one({"_id": 1})
        view = await wire.subscribe("orders")
        query, position = wire.of("subscribed")[0]["query"], view.position
        service.database.orders.drop()
        service.database.orders.insert_one({"_id": 2})
        await wire.when(lambda: list(view.documents) == ["2"])
        again = await wire.subscribe("orders", id="again", position=position, query=query)
        assert wire.of("subscribed")[-1]["recovered"] is False
        assert list(again.documents) == ["2"]


async def test_positions_survive_a_restart_of_the_service(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, feed_await_ms=100, keep=True) as service, wired(service.url) as witness:
        await witness.subscribe("orders", mode="events")
        view = await witness.subscribe("orders", id="q")
        query = witness.of("subscribed")[1]["query"]
        position = view.position
        count = await asyncio.to_thread(write_history, service, 5)
        seen = await live_events(service, witness, count)
        name = service.database.name
    async with serving(replica_set, feed_await_ms=100, database=name) as service, wired(service.url) as wire:
        await wire.subscribe("orders", mode="events", position=position)
        assert received(wire) == seen
        await wire.subscribe("orders", id="q", position=position, query=query)
        assert [frame["recovered"] for frame in wire.of("subscribed")] == [True, True]
        service.database.orders.insert_one({"_id": "after"})
        await wire.when(lambda: ("insert", '"after"') in [event[:2] for event in received(wire)])


async def test_a_position_of_a_write_that_the_feed_has_not_reached_is_waited_for(service: Service) -> None:
    async with wired(service.url) as wire:
        await wire.subscribe("orders")
        answer = await wire.ask(type="insert", collection="orders", document={"_id": 1})
        await wire.subscribe("orders", id="e", mode="events", position=answer["position"])
        assert received(wire) == []
        assert wire.of("subscribed")[-1]["recovered"] is True
        await wire.ask(type="insert", collection="orders", document={"_id": 2})
        await wire.when(lambda: bool(received(wire)))
    assert [event[:2] for event in received(wire)] == [("insert", "2")]


async def test_since_a_date_is_everything_after_it(service: Service) -> None:
    service.database.orders.insert_many({"_id": n} for n in range(3))
    async with wired(service.url) as wire:
        await wire.subscribe("orders", mode="events", since={"$date": "2020-01-01T00:00:00Z"})
        assert [event[1] for event in received(wire)] == ["0", "1", "2"]


async def test_a_crowd_with_old_positions_costs_one_read_of_the_oplog(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, feed_await_ms=100, journal_bytes=0) as service, wired(service.url) as witness:
        start = witness.frames[0]["position"]
        await witness.subscribe("orders", mode="events")
        count = await asyncio.to_thread(write_history, service, 10)
        seen = await live_events(service, witness, count)
        before = counted(metrics.CATCH_UPS)
        async with wired(service.url) as wire:
            ids = [f"s{n}" for n in range(50)]
            for name in ids:
                await wire.send(type="subscribe", id=name, mode="events", collection="orders", position=start)
            await wire.when(lambda: len(wire.of("live")) == 50)
            for name in ids:
                mine = [frame for frame in wire.of("events") if frame.get("id") == name]
                assert sum(len(frame["events"]) for frame in mine) == len(seen)
        assert counted(metrics.CATCH_UPS) - before == 1


async def test_a_query_takes_a_snapshot_where_the_oplog_takes_long_and_events_wait(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "PATIENCE_SECONDS", 0.1)
    async with serving(replica_set, feed_await_ms=100, journal_bytes=0) as service, wired(service.url) as wire:
        await wire.subscribe("orders", id="first")
        query, start = wire.of("subscribed")[0]["query"], wire.frames[0]["position"]
        await asyncio.to_thread(service.database.orders.insert_many, [{"_id": n} for n in range(10)])
        await wire.when(lambda: len([one for frame in wire.of("changes") for one in frame["changes"]]) == 10)
        history = service.realtime.live().hub.history
        assert history._oplog is not None
        gate = history._oplog = GatedOplog(history._oplog)
        again = await wire.subscribe("orders", id="again", position=start, query=query)
        assert wire.of("subscribed")[-1]["recovered"] is False
        assert len(again.documents) == 10
        await wire.send(type="subscribe", id="events", mode="events", collection="orders", position=start)
        await wire.ask(type="ping")
        assert [frame["id"] for frame in wire.of("live")] == ["first", "again"]
        gate.open.set()
        await wire.when(lambda: len(received(wire)) == 10)
        assert gate.reads == 1, "what was being read for the query is what the events had waited for"
