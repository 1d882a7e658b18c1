"""How frames reach the socket: by plain writes under our server, by a task under any other; the same to see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from realtime import metrics
from realtime.core.connection.outbox import Outbox
from realtime.web.socket.uvicorn_sink import TransportSink
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import wired

LANES = [pytest.param(False, id="our server"), pytest.param(True, id="plain uvicorn")]
PLAIN_LATER = [
    LANES[0],
    pytest.param(True, id="plain uvicorn", marks=pytest.mark.long("the same, under another server")),
]


def counted(counter: Any) -> float:
    """A counter's value now."""
    return float(counter._value.get())


async def stalled(url: str, mode: str) -> ClientConnection:
    """A client that subscribes to everything and then reads no further."""
    socket = await connect(url.replace("http", "ws") + "/v1/ws", max_queue=1, max_size=None, compression=None)
    await socket.recv()
    await socket.send(json.dumps({"type": "subscribe", "id": "s", "mode": mode, "collection": "orders"}))
    while json.loads(await socket.recv())["type"] != "live":
        pass
    return socket


async def rest_of(socket: ClientConnection) -> tuple[list[dict[str, Any]], int | None]:
    """Everything that still comes, and the close code."""
    frames = []
    try:
        while True:
            frames.append(json.loads(await socket.recv()))
    except ConnectionClosed:
        return frames, socket.close_code


async def until_lapsed(service: Service, before: float, then: Callable[[int], Awaitable[object]]) -> int:
    """Write documents of 100 kB until a channel lapses, and some more; how many. `then` waits for who does read."""
    written = 0
    async with asyncio.timeout(60):
        while written < 20 or counted(metrics.LAPSES) == before or written % 40:
            texts = [{"_id": written + n, "n": 0, "text": "x" * 100_000} for n in range(10)]
            await asyncio.to_thread(service.database.orders.insert_many, texts)
            written += 10
            await then(written)
    return written


@pytest.mark.alone("on a busy machine it takes too little a second time, and is told so a second time")
@pytest.mark.parametrize("plain", PLAIN_LATER)
async def test_a_slow_consumer_gets_one_resync_when_it_reads_again_and_nobody_else_notices(
    replica_set: ReplicaSet, *, plain: bool
) -> None:
    settings = {"outbox_bytes": 65536, "feed_await_ms": 100, "plain_uvicorn": plain}
    async with serving(replica_set, **settings) as service:
        lapses, reads, closed = (
            counted(one) for one in (metrics.LAPSES, metrics.SNAPSHOT_READS, metrics.SLOW_CONSUMERS)
        )
        slow = await stalled(service.url, mode="query")
        async with wired(service.url) as good:
            view = await good.subscribe("orders")
            written = await until_lapsed(service, lapses, lambda count: good.when(lambda: len(view.documents) == count))
            frames = [json.loads(await slow.recv())]
            while frames[-1]["type"] != "live":
                frames.append(json.loads(await slow.recv()))
            kinds = [frame["type"] for frame in frames]
            keys = [one["_id"] for frame in frames if frame["type"] == "snapshot" for one in frame["documents"]]
            told = sum(len(frame["changes"]) for frame in frames if frame["type"] == "changes")
            assert 0 < told < written
            assert kinds.count("resync") == 1
            assert frames[kinds.index("resync")]["reason"] == "slow_consumer"
            # The resync may have come before the last was written; then the rest follows one by one.
            while len(keys) < written:
                frame = json.loads(await slow.recv())
                assert frame["type"] in {"changes", "heartbeat"}
                keys += [change["key"] for change in frame.get("changes", ())]
            assert sorted(keys) == list(range(written))
            await asyncio.to_thread(service.database.orders.insert_one, {"_id": "after"})
            after = json.loads(await slow.recv())
            assert [change["key"] for change in after["changes"]] == ["after"]
            assert not good.of("resync")
        assert counted(metrics.LAPSES) == lapses + 1
        assert counted(metrics.SLOW_CONSUMERS) == closed
        assert counted(metrics.SNAPSHOT_READS) <= reads + 2
        await slow.close()


@pytest.mark.parametrize("plain", LANES)
async def test_a_bug_while_a_connection_drains_closes_it_and_nobody_else_notices(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch, *, plain: bool
) -> None:
    """Nobody waits for it there: what is queued would never be sent, and the peer would not hear of it."""
    original, fails = Outbox.pull, [False]

    def pull(outbox: Outbox) -> bytes | None:
        if fails[0] and outbox:
            fails[0] = False
            raise ZeroDivisionError
        return original(outbox)

    async with serving(replica_set, feed_await_ms=100, plain_uvicorn=plain) as service, wired(service.url) as good:
        view = await good.subscribe("orders")
        slow = await stalled(service.url, mode="query")
        written = 0
        connections = service.realtime.live().connections
        while not any(one.sink._outbox for one in connections):  # type: ignore[attr-defined]  # reason: of our sinks
            texts = [{"_id": written + number, "text": "x" * 100_000} for number in range(10)]
            await asyncio.to_thread(service.database.orders.insert_many, texts)
            written += 10
            await good.when(lambda count=written: len(view.documents) == count)  # type: ignore[misc]  # reason: now
        monkeypatch.setattr(Outbox, "pull", pull)
        fails[0] = True
        async with asyncio.timeout(20):
            frames, code = await rest_of(slow)
        assert not fails[0]
        assert code in {1006, 1011}
        assert sum(len(frame.get("changes", ())) for frame in frames) < written
        await asyncio.to_thread(service.database.orders.insert_one, {"_id": "after"})
        await good.when(lambda: '"after"' in view.documents)
        assert not good.of("resync")


@pytest.mark.parametrize("plain", PLAIN_LATER)
async def test_a_slow_consumer_of_events_goes_on_from_the_journal_without_gap_or_repeat(
    replica_set: ReplicaSet, *, plain: bool
) -> None:
    settings = {"outbox_bytes": 65536, "feed_await_ms": 100, "plain_uvicorn": plain}
    async with serving(replica_set, **settings) as service:
        lapses = counted(metrics.LAPSES)
        slow = await stalled(service.url, mode="events")
        async with wired(service.url) as good:
            view = await good.subscribe("orders")
            written = await until_lapsed(service, lapses, lambda count: good.when(lambda: len(view.documents) == count))
        keys: list[int] = []
        positions: list[str] = []
        async with asyncio.timeout(30):
            while len(keys) < written:
                frame = json.loads(await slow.recv())
                assert frame["type"] in {"events", "heartbeat"}
                keys += [event["key"] for event in frame.get("events", ())]
                positions += [event["position"] for event in frame.get("events", ())]
        assert keys == list(range(written))
        assert positions == sorted(positions)
        assert counted(metrics.LAPSES) >= lapses + 1
        await slow.close()


@pytest.mark.parametrize("plain", PLAIN_LATER)
async def test_events_that_the_journal_no_longer_has_end_and_are_resumed_from_the_oplog_without_gap_or_repeat(
    replica_set: ReplicaSet, *, plain: bool
) -> None:
    settings = {"outbox_bytes": 65536, "feed_await_ms": 100, "journal_bytes": 1_000_000, "plain_uvicorn": plain}
    async with serving(replica_set, **settings) as service:
        lapses, closed = counted(metrics.LAPSES), counted(metrics.SLOW_CONSUMERS)
        slow = await stalled(service.url, mode="events")
        async with wired(service.url) as good:
            view = await good.subscribe("orders")
            written = await until_lapsed(service, lapses, lambda count: good.when(lambda: len(view.documents) == count))
        keys: list[int] = []
        ends = 0
        async with asyncio.timeout(60):
            while len(keys) < written:
                frame = json.loads(await slow.recv())
                assert frame["type"] not in {"closing", "error"}, frame
                keys += [event["key"] for event in frame.get("events", ())]
                if frame["type"] == "unsubscribed":
                    assert (frame["code"], frame["retry"]) == ("unavailable", True)
                    ends += 1
                    again = {"type": "subscribe", "id": "s", "mode": "events", "collection": "orders"}
                    await slow.send(json.dumps({**again, "position": frame["position"]}))
        assert ends > 0
        assert keys == list(range(written))
        await slow.close()
    assert counted(metrics.SLOW_CONSUMERS) == closed


@pytest.mark.parametrize("plain", PLAIN_LATER)
async def test_a_snapshot_far_larger_than_the_outbox_reaches_a_client_that_reads(
    replica_set: ReplicaSet, *, plain: bool
) -> None:
    settings = {"outbox_bytes": 65536, "feed_await_ms": 100, "plain_uvicorn": plain}
    async with serving(replica_set, **settings) as service:
        for start in range(0, 300, 50):
            service.database.orders.insert_many({"_id": n, "text": "x" * 50_000} for n in range(start, start + 50))
        async with wired(service.url) as wire:
            view = await wire.subscribe("orders")
            assert len(view.documents) == 300
            service.database.orders.insert_one({"_id": "after"})
            await wire.when(lambda: '"after"' in view.documents)
    assert not wire.of("closing")


@pytest.mark.parametrize("plain", PLAIN_LATER)
async def test_frames_keep_their_order_whatever_path_they_take(replica_set: ReplicaSet, *, plain: bool) -> None:
    async with serving(replica_set, feed_await_ms=100, plain_uvicorn=plain) as service, wired(service.url) as wire:
        view = await wire.subscribe("orders")
        kind = {type(one.sink) for one in service.realtime.live().connections}
        for n in range(300):
            await wire.send(type="insert", id=f"w{n}", collection="orders", document={"_id": n, "text": "x" * 500})
            await wire.until(lambda frame, n=n: frame.get("id") == f"w{n}")  # type: ignore[misc]  # reason: its default binds it now
        await wire.when(lambda: len(view.documents) == 300)
    positions = [frame["position"] for frame in wire.of("changes")]
    keys = [change["key"] for frame in wire.of("changes") for change in frame["changes"]]
    assert keys == list(range(300))
    assert positions == sorted(set(positions))
    assert (kind == {TransportSink}) is not plain


@pytest.mark.alone("gone within 30 s")
@pytest.mark.long("what it waits for takes 20 s")
async def test_a_client_that_never_reads_again_is_gone_within_30_seconds(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, outbox_bytes=65536, feed_await_ms=100) as service:
        lapses = counted(metrics.LAPSES)
        slow = await stalled(service.url, mode="events")
        async with wired(service.url) as good:
            view = await good.subscribe("orders")
            await until_lapsed(service, lapses, lambda count: good.when(lambda: len(view.documents) == count))
            began = asyncio.get_running_loop().time()
            while len(service.realtime.live().connections) > 1:
                await asyncio.sleep(0.1)
            took = asyncio.get_running_loop().time() - began
            assert len(service.realtime.live().connections) == 1
        slow.transport.abort()
    assert 1 < took < 30


async def test_sessions_end_with_their_sockets(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, linger_seconds=0, feed_await_ms=100) as service:  # groups end with them
        await _sessions_end(service)


async def _sessions_end(service: Service) -> None:
    for _ in range(20):
        async with wired(service.url) as wire:
            await wire.subscribe("orders")
    async with asyncio.timeout(10):
        while service.realtime.live().connections:
            await asyncio.sleep(0.01)
    hub = service.realtime.live().hub
    assert hub.roster.count == 0
    assert len(hub.router) == 0
