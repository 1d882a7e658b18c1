"""A bug of ours is answered with a reference under which it was logged, and ends nothing else."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable

import pytest

from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import wired


async def test_a_bug_in_a_write_is_internal_with_its_reference(
    service: Service, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with wired(service.url) as wire:
        view = await wire.subscribe("orders")
        monkeypatch.setattr(service.realtime.live().writer, "insert", broken)
        over_socket = await wire.ask(type="insert", collection="orders", document={})
        over_http = await service.http.post(service.documents, json={})
        monkeypatch.undo()
        assert (await wire.ask(type="insert", collection="orders", document={"_id": 1}))["type"] == "result"
        await wire.when(lambda: "1" in view.documents)
    references = [over_socket["message"].split()[-1], over_http.json()["detail"].split()[-1]]
    assert (over_socket["code"], over_http.json()["code"], over_http.status_code) == ("internal", "internal", 500)
    assert all(len(reference) == 8 and reference in caplog.text for reference in references)
    assert "ZeroDivisionError" in caplog.text


async def test_a_bug_in_a_read_is_internal_for_those_who_wait(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    async with wired(service.url) as wire:
        good = await wire.subscribe("orders", id="good")
        with monkeypatch.context() as patched:
            patched.setattr(service.realtime.live().reader, "find", broken)
            answer = await wire.ask(type="subscribe", id="bad", collection="orders", filter={"a": 1})
        assert answer["code"] == "internal"
        service.database.orders.insert_one({"_id": 1})
        await wire.when(lambda: "1" in good.documents)
        await wire.subscribe("orders", id="bad", filter={"a": 1})


async def test_a_bug_in_a_frame_is_answered_under_its_id(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with wired(service.url) as wire:
        with monkeypatch.context() as patched:
            patched.setattr("realtime.core.connection.session.Session.receive", broken)
            answer = await wire.ask(type="subscribe", id="mine", collection="orders")
        assert (answer["id"], answer["code"]) == ("mine", "internal")
        await wire.subscribe("orders", id="mine")


async def test_a_bug_in_what_beats_and_watches_ends_neither(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed: Counter[str] = Counter()

    def failing(name: str) -> Callable[..., None]:
        def broken(*_: object) -> None:
            failed[name] += 1
            raise ZeroDivisionError

        return broken

    monkeypatch.setattr("realtime.hub.hub.Hub.heartbeat", failing("heartbeat"))
    monkeypatch.setattr("realtime.operations.health.Health.tick", failing("tick"))
    async with serving(replica_set, heartbeat_seconds=0.2), asyncio.timeout(20):
        while failed["heartbeat"] < 2 or failed["tick"] < 2:
            await asyncio.sleep(0.05)  # they have clocks of their own
    assert {"heartbeat failed", "health failed"} <= {one.getMessage().split(",")[0] for one in caplog.records}


async def test_uuids_in_filters_and_keys_are_served(service: Service) -> None:
    """The raw reads' codec knew no UUIDs: one in a live query's filter, or as a key to be read, was `internal`."""
    one, other = ({"$uuid": f"00000000-0000-4000-8000-00000000000{digit}"} for digit in "12")
    async with wired(service.url) as wire:
        view = await wire.subscribe("orders", filter={"owner": {"$in": [one, 5]}})
        inserted = await wire.ask(type="insert", collection="orders", document={"_id": other, "owner": one, "n": 1})
        assert inserted["type"] == "result", inserted
        updated = await wire.ask(type="update", collection="orders", key=other, update={"$inc": {"n": 1}})
        await wire.ask(type="ping", position=updated["position"])
        assert [document["n"] for document in view.documents.values()] == [2]
    listed = await service.http.get(service.documents, params={"filter": json.dumps({"owner": one})})
    assert len(listed.json()["documents"]) == 1
