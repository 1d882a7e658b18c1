"""`get`, `find` and `count` once: exact, with what this client wrote, bounded, and gone when they are answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from bson import Int64, ObjectId
from websockets.exceptions import ConnectionClosed

from realtime import errors
from realtime.client import connect
from tests.client.scripted import PATIENCE, Line, idle, quick
from tests.client.scripted import service as scripted
from tests.serving import Service, service

__all__ = ["service"]

ROUNDS = 60


def at(time: int) -> str:
    return f"0000ABCD-{time:016X}"


async def serve(line: Line, *documents: dict[str, Any], time: int = 10) -> dict[str, Any]:
    """Answer a subscription with these documents at a time."""
    asked = await line.hear("subscribe")
    name = asked["id"]
    await line.say(type="subscribed", id=name, channel=7, recovered=False, query="h")
    await line.say(type="snapshot", id=name, documents=list(documents), first=True, last=True, position=at(time))
    await line.say(type="live", id=name, position=at(time))
    return asked


async def test_a_document_its_absence_a_list_and_a_number_are_read_and_nothing_stays(service: Service) -> None:
    keys: list[Any] = ["a", 7, Int64(2**60), ObjectId(), None, {"2": 1, "1": 2}, {"eq": {"a": [1]}}]
    service.database.orders.insert_many([{"_id": key, "n": n, "b": n % 2} for n, key in enumerate(keys)])
    async with connect(service.url) as rt:
        for n, key in enumerate(keys):
            assert await rt.get("orders", key) == {"_id": key, "n": n, "b": n % 2}
        assert await rt.get("orders", 7.0, projection={"b": 0}) == {"_id": 7, "n": 1}
        for absent in ("b", 8, ObjectId(), {"1": 2, "2": 1}, True):
            assert await rt.get("orders", absent) is None
        found = await rt.find("orders", filter={"b": 1}, sort={"n": -1}, limit=2, projection={"n": 1})
        assert [document["n"] for document in found] == [5, 3]
        assert len(await rt.find("orders")) == len(keys)
        assert await rt.find("nothing") == []
        assert [await rt.count("orders"), await rt.count("orders", {"b": 1}), await rt.count("nothing")] == [7, 3, 0]
        (connection,) = service.realtime.live().connections
        async with asyncio.timeout(PATIENCE):
            while service.realtime.live().hub.roster.of(connection):
                await asyncio.sleep(0.01)


async def test_a_read_has_every_write_that_was_answered_before_it(service: Service) -> None:
    held = {"by": [], "count": True}
    async with (
        connect(service.url) as rt,
        connect(service.url) as other,
        other.query("orders", group=held),  # so that the service answers from what it holds
        other.query("orders", filter={"done": True}),
    ):
        for n in range(ROUNDS):
            await rt.insert("orders", {"_id": n})
            assert await rt.count("orders") == n + 1
            assert await rt.get("orders", n) == {"_id": n}
            await rt.update("orders", n, {"$set": {"done": True}})
            assert len(await rt.find("orders", filter={"done": True})) == n + 1


async def test_what_is_refused_is_raised_by_its_code(service: Service) -> None:
    service.database.orders.insert_many([{"_id": n} for n in range(11)])
    async with connect(service.url) as rt:
        with pytest.raises(errors.UnsupportedOperatorError):
            await rt.find("orders", filter={"$where": "1"})
        with pytest.raises(errors.UnsupportedCollectionError):
            await rt.count("system.views")
        with pytest.raises(errors.InvalidRequestError, match="limit"):
            await rt.find("orders", limit=10_001)
        with pytest.raises(errors.InvalidRequestError, match="no form in JSON"):
            await rt.get("orders", {"$opaque": "AAAA", "shown": "x"})
        assert await rt.count("orders") == 11


async def test_a_view_that_is_older_than_an_own_write_is_waited_for() -> None:
    async def script(line: Line) -> None:
        name = (await line.hear("insert"))["id"]
        await line.say(type="result", id=name, position=at(20), key=1)
        asked = await serve(line, time=19)
        fence = await line.hear("ping")
        assert fence["position"] == at(20)
        change = {"op": "enter", "key": 1, "document": {"_id": 1}}
        await line.say(type="changes", channel=7, changes=[change], position=at(20))
        await line.say(type="pong", id=fence["id"], position=at(20))
        assert (await line.hear("unsubscribe"))["id"] == asked["id"]
        await serve(line, {"_id": 1}, time=20)  # new enough: nobody asks
        await line.hear("unsubscribe")
        await serve(line, {"_id": 2}, time=30)
        await line.hear("unsubscribe")
        await idle(line)

    async with scripted(script) as url, quick(url) as rt:
        await rt.insert("orders", {"_id": 1})
        assert await rt.find("orders") == [{"_id": 1}]
        assert await rt.find("orders") == [{"_id": 1}]
        assert await rt.get("orders", 2) == {"_id": 2}


async def test_a_write_of_another_history_is_not_waited_for() -> None:
    async def script(line: Line) -> None:
        if line.number == 1:
            name = (await line.hear("insert"))["id"]
            await line.say(type="result", id=name, position="FFFFFFFF-0000000000000001", key=1)
            await line.socket.close(1012)
            return
        await serve(line, {"_id": 5}, time=10)
        await line.hear("unsubscribe")
        await idle(line)

    async with scripted(script) as url, quick(url) as rt:
        await rt.insert("orders", {"_id": 1})
        assert await rt.find("orders") == [{"_id": 5}]


async def test_a_read_over_a_lost_connection_is_asked_again_and_comes_once() -> None:
    async def script(line: Line) -> None:
        if line.number == 1:
            await line.hear("subscribe")
            line.socket.transport.abort()
            return
        await serve(line, {"_id": 1})
        await line.hear("unsubscribe")
        await idle(line)

    async with scripted(script) as url, quick(url) as rt:
        assert await rt.find("orders") == [{"_id": 1}]


async def test_a_read_that_nobody_answers_ends_in_time_and_takes_its_subscription_along() -> None:
    gone = asyncio.Event()

    async def script(line: Line) -> None:
        asked = await line.hear("subscribe")
        assert (await line.hear("unsubscribe"))["id"] == asked["id"]
        gone.set()
        await idle(line)

    async with scripted(script) as url, quick(url, request_timeout=0.3) as rt:
        with pytest.raises(errors.TimedOutError, match="no answer"):
            await rt.find("orders")
        async with asyncio.timeout(PATIENCE):
            await gone.wait()


async def test_a_hundred_reads_at_once_are_asked_a_few_at_a_time() -> None:
    held: list[int] = [0]

    async def script(line: Line) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame = json.loads(await line.socket.recv())
                held.append(held[-1] + (1 if frame["type"] == "subscribe" else -1))
                if frame["type"] == "subscribe":
                    name = frame["id"]
                    await line.say(type="subscribed", id=name, channel=7, recovered=False, query="h")
                    await line.say(type="snapshot", id=name, documents=[], first=True, last=True, position=at(10))
                    await line.say(type="live", id=name, position=at(10))

    async with scripted(script) as url, quick(url) as rt:
        assert await asyncio.gather(*(rt.get("orders", n) for n in range(100))) == [None] * 100
    assert len(held) > 100
    assert 1 < max(held) <= 32
