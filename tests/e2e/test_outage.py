"""MongoDB frozen, and how many clients the service has. A mongod of its own, because it is stopped."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import monitoring

from realtime.mongo import embedded
from tests.replica_set import ReplicaSet
from tests.serving import process, serving
from tests.wire import wired


@pytest.fixture
async def own_set(tmp_path: Path) -> AsyncIterator[ReplicaSet]:
    """A replica set that a test may freeze."""
    async with embedded.running(tmp_path) as mongo:
        yield ReplicaSet(uri=mongo.uri, lane="embedded", can_fail_commands=False, pid=mongo.pid)


@contextmanager
def frozen(pid: int | None) -> Any:
    """mongod neither answers nor closes its sockets."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.alone("measures time")
async def test_a_frozen_mongodb_is_503_within_6_seconds_and_heals_by_itself(own_set: ReplicaSet) -> None:
    """More requests than Motor has threads: none of them may wait for a thread beyond its time."""
    loop = asyncio.get_running_loop()
    async with serving(own_set, heartbeat_seconds=0.5) as service, wired(service.url) as wire:
        view = await wire.subscribe("orders")
        with frozen(own_set.pid):
            began = loop.time()
            requests = [service.http.post(service.documents, json={"_id": n}) for n in range(15)]
            requests += [service.http.get(f"{service.documents}/a") for _ in range(15)]
            requests += [service.http.get(service.documents) for _ in range(5)]
            asked = wire.ask(type="insert", collection="orders", document={"_id": "socket"})
            answers, over_socket = await asyncio.gather(asyncio.gather(*requests), asked)
            took = loop.time() - began
            degraded = await wire.until(lambda frame: frame["type"] == "status")
        statuses = [answer.status_code for answer in answers]
        assert statuses == [503] * 35
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
        assert (over_socket["code"], over_socket["retry"]) == ("unavailable", True)
        assert took < 6
        assert degraded["feed"] == "degraded"
        await wire.until(lambda frame: frame["type"] == "status" and frame["feed"] == "up", seconds=30)
        await asyncio.to_thread(service.database.orders.insert_one, {"_id": "after"})
        await wire.when(lambda: '"after"' in view.documents)
        shown = set(view.documents)
        stored = {
            f'"{one["_id"]}"' if isinstance(one["_id"], str) else str(one["_id"])
            for one in service.database.orders.find()
        }
        assert shown == stored


@pytest.mark.long("what it waits for takes its time")
@pytest.mark.alone("measures time")
async def test_sigterm_ends_within_10_seconds_although_mongodb_is_frozen_and_requests_wait(
    own_set: ReplicaSet, tmp_path: Path
) -> None:
    """With the defaults: a request may take longer than it does to hear of the end, and is answered."""
    async with (
        process("serve", "--port", "0", "--mongodb-uri", own_set.uri, home=tmp_path) as service,
        httpx.AsyncClient(base_url=service.url, timeout=30) as http,
    ):
        with frozen(own_set.pid):
            path = "/v1/collections/orders/documents"
            sent = asyncio.Queue[None]()

            async def trace(event: str, _: Any) -> None:
                if event == "http11.send_request_body.complete":
                    sent.put_nowait(None)

            told = {"trace": trace}
            requests = [asyncio.create_task(http.post(path, json={}, extensions=told)) for _ in range(5)]
            for _ in requests:
                await sent.get()
            # Answered after all that was sent before it has been read: they wait for MongoDB, which says nothing.
            assert (await http.get("/healthz")).status_code == 200
            service.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                answers = await asyncio.gather(*requests)
                assert await service.process.wait() == 0
    assert [answer.status_code for answer in answers] == [503] * 5
    assert "Traceback" not in "".join(service.output)


class Counted(monitoring.CommandListener, monitoring.ServerListener):
    """Which client (topology) sent which command."""

    def __init__(self) -> None:
        self.topologies: set[Any] = set()
        self.commands: list[tuple[str, str]] = []

    def opened(self, event: Any) -> None:
        self.topologies.add(event.topology_id)

    def started(self, event: Any) -> None:
        self.commands.append((event.command_name, event.command.get("collection", "")))

    def closed(self, event: Any) -> None:
        pass

    def description_changed(self, event: Any) -> None:
        pass

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


async def test_all_requests_go_through_one_client_and_the_feed_has_its_own(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted()
    # The driver's own registry of listeners has no way to leave it again: take it back as it was.
    listeners = monitoring._LISTENERS
    for name in ("command_listeners", "server_listeners"):
        monkeypatch.setattr(monitoring, "_LISTENERS", listeners._replace(**{name: [counted]}))
        listeners = monitoring._LISTENERS
    async with serving(replica_set, feed_await_ms=100) as service, wired(service.url) as wire:
        # The test's own client was opened under the listeners too; it is told apart by its number.
        clients = len(counted.topologies)
        await wire.subscribe("orders")
        for n in range(20):
            assert (await service.http.post(service.documents, json={"_id": n})).status_code == 201
            assert (await service.http.get(f"{service.documents}/x")).status_code == 404
            assert (await wire.ask(type="insert", collection="orders", document={"_id": f"w{n}"}))["type"] == "result"
        await service.http.get(service.documents)
        assert len(counted.topologies) == clients
    names = {name for name, _ in counted.commands}
    assert {"insert", "find", "aggregate", "getMore"} <= names
    assert sum(name == "insert" for name, _ in counted.commands) == 40
    assert clients <= 4, "one for all requests; the feed's, for short waits and for long ones; and the test's own"
