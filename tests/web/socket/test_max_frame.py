"""A client says the largest frame that it takes; what does not fit ends its subscription, never the connection."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from realtime import errors
from realtime.client import connect as client
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.web.entrance.test_sinks import PLAIN_LATER
from tests.wire import Wire

USUAL = 1 << 20
ADDRESS = "/v1/ws?max_frame="


class Taking:
    """A wire that takes frames up to its own bound, as a plain client does, and says so."""

    def __init__(self, service: Service, most: int) -> None:
        self._connecting = connect(
            service.url.replace("http", "ws") + f"{ADDRESS}{most}", max_size=most, compression=None
        )

    async def __aenter__(self) -> Wire:
        self.wire = Wire(await self._connecting.__aenter__())
        await self.wire.__aenter__()
        await self.wire.until(lambda frame: frame["type"] == "welcome")
        return self.wire

    async def __aexit__(self, *error: Any) -> None:
        await self.wire.__aexit__()
        await self._connecting.__aexit__(*error)


def together(service: Service, documents: list[dict[str, Any]]) -> None:
    """Insert them in one transaction."""
    with service.database.client.start_session() as session, session.start_transaction():
        service.database.orders.insert_many(documents, session=session)


def of_all_sizes(count: int, first: int = 0) -> list[dict[str, Any]]:
    chance = random.Random(7)
    return [{"_id": first + n, "text": "x" * chance.randrange(100, 3000)} for n in range(count)]


@pytest.mark.parametrize("plain", PLAIN_LATER)
@pytest.mark.parametrize("most", [4096, 50_000, USUAL, 8 * USUAL])
async def test_snapshot_moments_and_events_come_in_frames_of_that_size(
    replica_set: ReplicaSet, most: int, *, plain: bool
) -> None:
    async with serving(replica_set, feed_await_ms=100, plain_uvicorn=plain) as service:
        together(service, of_all_sizes(2000))
        async with Taking(service, most) as wire, Taking(service, USUAL) as usual:
            view = await wire.subscribe("orders")
            theirs = await usual.subscribe("orders")
            start = view.position
            await asyncio.to_thread(together, service, of_all_sizes(1500, 2000))
            for one, held in ((wire, view), (usual, theirs)):
                await one.when(lambda held=held: len(held.documents) == 3500)  # type: ignore[misc]  # reason: now
            assert view.documents == theirs.documents
            await wire.send(type="subscribe", id="e", mode="events", collection="orders", position=start)
            await wire.until(lambda frame: frame["type"] == "live" and frame["id"] == "e")
            told = [event["key"] for frame in wire.of("events") for event in frame["events"]]
        assert told == list(range(2000, 3500))
        kinds = {json.loads(text)["type"] for text in wire.raw if len(text) > min(most, USUAL) // 2}
        assert kinds == {"snapshot", "changes", "events"}
        assert max(len(text.encode()) for text in wire.raw) <= min(most, USUAL)


@pytest.mark.parametrize("size", [USUAL, USUAL + 1, 3 * USUAL])
async def test_a_document_over_it_ends_its_subscription_with_its_key_and_the_others_live_on(
    service: Service, size: int
) -> None:
    """Every client with the usual bound of 1 MiB ended with 1009, and again after each reconnect."""
    async with Taking(service, USUAL) as wire, Taking(service, 8 * USUAL) as wide:
        await wire.subscribe("orders")
        small = await wire.subscribe("orders", id="small", filter={"text": "small"})
        await wire.subscribe("orders", id="events", mode="events")
        everything = await wide.subscribe("orders")
        await asyncio.to_thread(service.database.orders.insert_one, {"_id": "large", "text": "x" * size})
        for name in ("s", "events"):
            ended = await wire.until(lambda frame, name=name: frame["type"] == "unsubscribed" and frame["id"] == name)  # type: ignore[misc]  # reason: its default binds it now
            assert (ended["code"], ended["details"]["key"], ended["details"]["limit"]) == ("too_large", "large", USUAL)
        again = await wire.ask(type="subscribe", id="again", collection="orders")
        assert (again["type"], again["code"], again["details"]["key"]) == ("error", "too_large", "large")
        without = await wire.subscribe("orders", id="without", projection={"text": 0})
        assert list(without.documents) == ['"large"']
        await asyncio.to_thread(service.database.orders.insert_one, {"_id": "small", "text": "small"})
        await wire.when(lambda: list(small.documents) == ['"small"'])
        await wide.when(lambda: len(everything.documents) == 2)
        assert (await wire.ask(type="ping"))["type"] == "pong"


async def test_the_python_client_raises_too_large_with_the_key_and_its_other_view_lives_on(service: Service) -> None:
    async with client(service.url, max_frame=5000) as rt, rt.query("orders", filter={"n": 1}) as small:
        async with rt.query("orders") as view:
            await rt.insert("orders", {"_id": 1, "n": 1, "text": "x" * 3000})
            assert (await anext(view)).changes[0].key == 1
            await asyncio.to_thread(service.database.orders.insert_one, {"_id": "large", "text": "x" * 5000})
            async with asyncio.timeout(15):
                with pytest.raises(errors.TooLargeError) as raised:
                    async for _ in view:
                        pass
        assert raised.value.details is not None
        assert raised.value.details["key"] == "large"
        await rt.insert("orders", {"_id": 2, "n": 1})
        async with asyncio.timeout(15):
            while len(small.documents) < 2:
                await anext(small)
        assert small.state == "live"


async def test_a_result_over_it_is_an_error_that_says_the_write_was_done(service: Service) -> None:
    key = "k" * 5000
    async with Taking(service, 4096) as wire:
        answer = await wire.ask(type="insert", collection="orders", document={"_id": key})
        assert (answer["type"], answer["code"]) == ("error", "too_large")
        assert answer["details"]["maybe_written"] is True
        assert service.database.orders.count_documents({"_id": key}) == 1
        assert (await wire.ask(type="ping"))["type"] == "pong"


@pytest.mark.parametrize("plain", PLAIN_LATER)
@pytest.mark.parametrize("given", ["4095", "", "1MiB", "-5000", "5e6", "5000&max_frame=6000"])
async def test_what_is_no_size_is_refused_by_an_error_of_the_protocol_and_not_to_be_tried_again(
    replica_set: ReplicaSet, given: str, *, plain: bool
) -> None:
    async with (
        serving(replica_set, feed_await_ms=100, plain_uvicorn=plain) as service,
        connect(service.url.replace("http", "ws") + ADDRESS + given) as socket,
    ):
        error = json.loads(await socket.recv())
        assert (error["type"], error["code"], error["retry"]) == ("error", "invalid_request", False)
        assert error["details"] == {"field": "max_frame", "limit": 4096}
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (4500, "invalid_request")
        assert not service.realtime.live().connections
