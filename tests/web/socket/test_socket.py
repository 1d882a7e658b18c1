"""The WebSocket, as a client that is not ours sees it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from realtime import metrics
from realtime.settings import load
from realtime.web.server import bind
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import Wire, key_text, wired


def ops(wire: Wire) -> list[tuple[str, str]]:
    """Operation and key of every change received live."""
    return [(one["op"], key_text(one["key"])) for frame in wire.of("changes") for one in frame["changes"]]


def counted(counter: Any) -> float:
    """A counter's value now."""
    return float(counter._value.get())


async def test_welcome_names_the_protocol_the_limits_and_a_position(service: Service) -> None:
    async with wired(service.url) as wire:
        welcome = wire.frames[0]
    assert welcome["protocol"] == 1
    assert len(welcome["position"]) == 25
    assert welcome["limits"]["subscriptions"] == 1000
    assert welcome["principal"] == "anonymous"


async def test_snapshot_then_live_then_every_change_once(service: Service) -> None:
    service.database.orders.insert_many({"_id": number, "open": number % 2 == 0} for number in range(10))
    async with wired(service.url) as wire:
        view = await wire.subscribe("orders", filter={"open": True})
        assert sorted(view.documents) == ["0", "2", "4", "6", "8"]
        service.database.orders.insert_one({"_id": 20, "open": True})
        service.database.orders.insert_one({"_id": 21, "open": False})
        await wire.when(lambda: "20" in view.documents)
    assert ops(wire) == [("enter", "20")]


async def test_an_update_that_no_longer_matches_leaves_and_so_does_a_delete(service: Service) -> None:
    orders = service.database.orders
    orders.insert_many([{"_id": "a", "total": 50}, {"_id": "b", "total": 60}])
    async with wired(service.url) as wire:
        view = await wire.subscribe("orders", filter={"total": {"$gte": 50}})
        orders.update_one({"_id": "a"}, {"$set": {"total": 55}})
        await wire.when(lambda: view.documents['"a"']["total"] == 55)
        orders.update_one({"_id": "a"}, {"$set": {"total": 1}})
        await wire.when(lambda: '"a"' not in view.documents)
        orders.delete_one({"_id": "b"})
        await wire.when(lambda: not view.documents)
    assert ops(wire) == [("update", '"a"'), ("leave", '"a"'), ("leave", '"b"')]


async def test_a_transaction_over_four_documents_arrives_as_one_moment(service: Service) -> None:
    orders = service.database.orders
    orders.insert_many({"_id": number, "total": 100} for number in range(4))
    async with wired(service.url) as wire, wired(service.url) as other:
        await wire.subscribe("orders")
        await other.subscribe("orders", mode="events")
        with service.database.client.start_session() as session, session.start_transaction():
            for number in range(4):
                orders.update_one({"_id": number}, {"$inc": {"total": number + 1}}, session=session)
        await wire.until(lambda frame: frame["type"] == "changes")
        await other.until(lambda frame: "update" in [event["op"] for event in frame.get("events", ())])
        service.database.orders.insert_one({"_id": "after"})
        await wire.when(lambda: ("enter", '"after"') in ops(wire))
    moments = wire.of("changes")
    assert [len(frame["changes"]) for frame in moments] == [4, 1]
    # It may have begun before the inserts had passed.
    events = [event for frame in other.of("events") for event in frame["events"] if event["op"] == "update"]
    assert [event["transaction"] for event in events] == [1, 1, 1, 1]
    assert len({event["position"] for event in events}) == 1


async def test_writes_over_the_socket_are_answered_in_order_with_their_positions(service: Service) -> None:
    async with wired(service.url) as wire:
        view = await wire.subscribe("orders")
        await wire.send(type="insert", id="1", collection="orders", document={"_id": "k", "n": 1})
        await wire.send(type="update", id="2", collection="orders", key="k", update={"$inc": {"n": 1}})
        await wire.send(type="replace", id="3", collection="orders", key="k", document={"n": 10})
        await wire.send(type="delete", id="4", collection="orders", key="k")
        await wire.until(lambda frame: frame.get("id") == "4" and frame["type"] == "result")
        answers = wire.of("result")
        pong = await wire.ask(type="ping", position=answers[-1]["position"])
        assert pong["type"] == "pong"
        # The delete's own position, which its answer's may be past: other programs write as well.
        # Those that the feed met together are one moment, what became of them all.
        assert view.documents == {}
        assert view.moments <= 4
    assert [answer["id"] for answer in answers] == ["1", "2", "3", "4"]
    positions = [answer["position"] for answer in answers]
    assert positions == sorted(set(positions))
    assert answers[1] == {
        "type": "result",
        "id": "2",
        "position": positions[1],
        "key": "k",
        "matched": 1,
        "modified": 1,
    }


async def test_upsert_says_whether_it_made_one(service: Service) -> None:
    async with wired(service.url) as wire:
        made = await wire.ask(type="update", collection="orders", key=7, update={"$set": {"a": 1}}, upsert=True)
        again = await wire.ask(type="replace", collection="orders", key=7, document={"a": 2}, upsert=True)
    assert (made["upserted"], made["matched"]) == (True, 0)
    assert (again["upserted"], again["matched"]) == (False, 1)
    assert service.database.orders.find_one({"_id": 7}) == {"_id": 7, "a": 2}


async def test_where_decides_with_the_write_and_writes_nothing_when_it_fails(service: Service) -> None:
    service.database.orders.insert_one({"_id": 1, "version": 3})
    async with wired(service.url) as wire:
        change = {"collection": "orders", "key": 1, "update": {"$inc": {"version": 1}}}
        done = await wire.ask(type="update", where={"version": 3}, **change)
        refused = await wire.ask(type="update", where={"version": 3}, upsert=True, **change)
        gone = await wire.ask(type="delete", collection="orders", key=2, where={"version": 3})
        absent = await wire.ask(
            type="replace", collection="orders", key=2, document={}, where={"version": 3}, upsert=True
        )
    assert done["type"] == "result"
    assert refused["code"] == "precondition_failed"
    assert gone["code"] == "not_found"
    assert absent["code"] == "precondition_failed"
    assert list(service.database.orders.find()) == [{"_id": 1, "version": 4}]


async def test_two_subscriptions_to_one_query_share_frames_and_do_not_disturb_each_other(service: Service) -> None:
    async with wired(service.url) as wire:
        first = await wire.subscribe("orders", id="one")
        second = await wire.subscribe("orders", id="two")
        assert first.channel == second.channel
        service.database.orders.insert_one({"_id": 1})
        await wire.when(lambda: bool(first.documents and second.documents))
        assert len(wire.of("changes")) == 1
        assert (await wire.ask(type="unsubscribe", id="one"))["type"] == "unsubscribed"
        service.database.orders.insert_one({"_id": 2})
        await wire.when(lambda: len(second.documents) == 2)
        third = await wire.subscribe("orders", id="one")
    assert sorted(third.documents) == ["1", "2"]


async def test_200_clients_on_one_query_get_identical_bytes_encoded_once(service: Service) -> None:
    clients, writes = 200, 5
    wires = []
    async with asyncio.timeout(60):
        stack = [wired(service.url) for _ in range(clients)]
        wires = await asyncio.gather(*(one.__aenter__() for one in stack))
        try:
            views = await asyncio.gather(*(wire.subscribe("orders", filter={"open": True}) for wire in wires))
            encoded, delivered = counted(metrics.ENCODED), counted(metrics.DELIVERED)
            for number in range(writes):
                before = [view.moments for view in views]
                service.database.orders.insert_one({"_id": number, "open": True})
                await asyncio.gather(
                    *(
                        wire.when(lambda view=view, was=was: view.moments > was)  # type: ignore[misc]  # reason: its default binds it now
                        for wire, view, was in zip(wires, views, before, strict=True)
                    )
                )
        finally:
            await asyncio.gather(*(one.__aexit__(None, None, None) for one in stack))
    live = {tuple(text for text in wire.raw if '"type":"changes"' in text) for wire in wires}
    assert len(live) == 1
    assert len(next(iter(live))) == writes
    assert counted(metrics.ENCODED) - encoded == writes
    assert counted(metrics.DELIVERED) - delivered == writes * clients


async def test_the_projection_hides_and_what_it_hides_sends_nothing(service: Service) -> None:
    orders = service.database.orders
    orders.insert_one({"_id": 1, "shown": 1, "hidden": 1})
    async with wired(service.url) as wire:
        view = await wire.subscribe("orders", projection={"shown": 1})
        orders.update_one({"_id": 1}, {"$set": {"hidden": 2}})
        orders.update_one({"_id": 1}, {"$set": {"shown": 2}})
        await wire.when(lambda: view.documents["1"] == {"_id": 1, "shown": 2})
    assert ops(wire) == [("update", "1")]


async def test_heartbeats_come_with_newer_positions_although_nothing_matches(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, heartbeat_seconds=0.3) as service, wired(service.url) as wire:
        await wire.subscribe("orders", filter={"never": True})
        service.database.orders.insert_one({"_id": 1})
        service.database.other.insert_one({"_id": 1})
        await wire.when(lambda: len(wire.of("heartbeat")) >= 4)
    beats = [frame["position"] for frame in wire.of("heartbeat")]
    assert beats == sorted(beats)
    assert beats[-1] > wire.frames[0]["position"]
    assert not wire.of("changes")


@pytest.mark.alone("measures time")
async def test_an_isolated_insert_waits_for_no_timeout_and_a_slow_drip_flows(replica_set: ReplicaSet) -> None:
    """The stream's await time is 1 s: waiting for emptiness would show as a second's delay, or as nothing at all."""
    loop = asyncio.get_running_loop()
    async with serving(replica_set, feed_await_ms=1000) as service, wired(service.url) as wire:
        view = await wire.subscribe("orders")
        delays = []
        for number in range(20):
            await asyncio.sleep(0.1)  # the drip: one insert every 100 ms
            began = loop.time()
            await asyncio.to_thread(service.database.orders.insert_one, {"_id": number})
            await wire.when(lambda number=number: str(number) in view.documents)  # type: ignore[misc]  # reason: its default binds it now
            delays.append(loop.time() - began)
        await asyncio.sleep(1.5)  # isolated: the stream is in the middle of an idle wait
        began = loop.time()
        await asyncio.to_thread(service.database.orders.insert_one, {"_id": "alone"})
        await wire.when(lambda: '"alone"' in view.documents)
        alone = loop.time() - began
    assert len(delays) == 20
    assert sorted(delays)[10] < 0.3
    assert alone < 0.6


async def test_many_documents_come_in_bounded_chunks_of_one_snapshot(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, frame_bytes=8192) as service:
        service.database.orders.insert_many({"_id": number, "text": "x" * 200} for number in range(500))
        service.database.orders.insert_one({"_id": "large", "text": "x" * 20_000})
        async with wired(service.url) as wire:
            view = await wire.subscribe("orders")
            chunks = wire.of("snapshot")
            for number in range(500):
                service.database.orders.delete_one({"_id": number})
            await wire.when(lambda: len(view.documents) == 1)
    assert len(chunks) > 10
    assert [chunk["first"] for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
    assert [chunk["last"] for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert ["position" in chunk for chunk in chunks] == [chunk["last"] for chunk in chunks]
    sizes = [len(text) for text in wire.raw if '"snapshot"' in text]
    assert sum(size > 8192 + 300 for size in sizes) == 1


async def test_a_large_moment_is_split_and_counts_as_one(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, frame_bytes=8192) as service, wired(service.url) as wire:
        service.database.create_collection("orders")
        view = await wire.subscribe("orders")
        with service.database.client.start_session() as session, session.start_transaction():
            service.database.orders.insert_many(
                ({"_id": number, "text": "x" * 200} for number in range(300)), session=session
            )
        await wire.when(lambda: len(view.documents) == 300)
    frames = wire.of("changes")
    assert len(frames) > 5
    assert [frame.get("more", False) for frame in frames] == [True] * (len(frames) - 1) + [False]
    assert view.moments == 1


async def test_two_small_frames_in_a_row_wait_for_no_acknowledgement() -> None:
    """Nagle's algorithm: the second one would be held back until the peer has acknowledged the first, for 40 ms."""
    listening = bind(load(port=0))
    with listening:
        listening.listen()
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
