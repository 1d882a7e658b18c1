"""Each message is stored once or not at all, whatever becomes of connections, servers and other relays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import bson
import pytest

from realtime.core.relay.message import PART_BYTES, Message
from realtime.errors import ConfigurationError
from realtime.nats import publisher as publishing
from realtime.nats import stream
from realtime.nats.publisher import OvertakenError, Place, Publisher
from tests.nats_server import NatsServer
from tests.relay.connecting import IDENTITY, LIMITS, access_to, connection, put, stored

SECONDS = 30


def message(time: int, size: int = 10) -> Message:
    return Message(time, events=(bson.encode({"_id": time, "data": random.Random(time).randbytes(size)}),))


def publisher_at(nats: NatsServer, place: Place | None = None, states: list[str | None] | None = None) -> Publisher:
    on_state = (lambda _: None) if states is None else states.append
    return Publisher(access_to(nats.url), IDENTITY, LIMITS, place, on_state=on_state)


@asynccontextmanager
async def running(publisher: Publisher) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(publisher.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def drained(publisher: Publisher) -> None:
    async with asyncio.timeout(SECONDS):
        await publisher.drained()


async def drained_or_over(publisher: Publisher, task: asyncio.Task[None]) -> None:
    """Until all is stored, or its `running` has ended, as where it was overtaken: then nothing drains it any more."""
    draining = asyncio.create_task(drained(publisher))
    await asyncio.wait({task, draining}, return_when=asyncio.FIRST_COMPLETED)
    if draining.cancel():
        await asyncio.gather(draining, return_exceptions=True)
    else:
        await draining


async def read(nats: NatsServer) -> list[Message]:
    async with connection(nats.url) as client:
        return await stored(client)


async def test_messages_are_stored_in_order_and_together_where_they_waited_together(nats: NatsServer) -> None:
    publisher = publisher_at(nats)
    messages = [message(time) for time in range(1, 200)]
    for each in messages:
        await put(publisher, each)
    assert publisher.waiting == len(messages)
    async with running(publisher):
        await drained(publisher)
        assert (publisher.waiting, publisher.waiting_bytes, publisher.place) == (0, 0, Place(199, 199))
    assert await read(nats) == messages


async def test_a_large_message_is_stored_whole_between_small_ones(nats: NatsServer) -> None:
    publisher = publisher_at(nats)
    messages = [message(1), message(2, 5 * PART_BYTES), message(3), message(4, 2 * PART_BYTES)]
    async with running(publisher):
        for each in messages:
            await put(publisher, each)
        await drained(publisher)
    assert await read(nats) == messages


async def test_a_window_that_is_full_makes_wait(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = publisher_at(nats)
    for time in range(1, publishing.WINDOW_MESSAGES + 1):
        await put(publisher, message(time))
    waits = asyncio.create_task(put(publisher, message(1000)))
    await asyncio.sleep(0)
    assert not waits.done()
    async with running(publisher):
        async with asyncio.timeout(SECONDS):
            await waits
        await drained(publisher)
    assert len(await read(nats)) == publishing.WINDOW_MESSAGES + 1
    monkeypatch.setattr(publishing, "WINDOW_BYTES", 1000)
    await put(publisher, message(2001, 5000))
    waits = asyncio.create_task(put(publisher, message(2002)))
    await asyncio.sleep(0)
    assert not waits.done()
    waits.cancel()


async def test_another_relay_is_noticed_and_nothing_of_what_follows_is_stored(nats: NatsServer) -> None:
    first, second = publisher_at(nats), None
    async with running(first) as task:
        await put(first, message(1))
        await drained(first)
        second = publisher_at(nats, first.place)
        async with running(second):
            for time in range(2, 6):
                await put(second, message(time * 100))
            await drained(second)
            for time in range(2, 100):
                await put(first, message(time))
            with pytest.raises(OvertakenError):
                async with asyncio.timeout(SECONDS):
                    await task
            await put(second, message(600))
            await drained(second)
    assert [each.time for each in await read(nats)] == [1, 200, 300, 400, 500, 600]


async def test_two_relays_at_once_leave_one_chain_of_one_relay_at_a_time(nats: NatsServer) -> None:
    """Both publish without an end; each message of either stands behind the one it was made to follow."""
    for seed in range(10):
        random.seed(seed)
        async with connection(nats.url) as client:
            state = await stream.ensure(client, IDENTITY, LIMITS)
            last = await stream.last(client, IDENTITY, state)
        place = None if last is None else Place.of(last)
        begin = 0 if place is None else place.time
        chains: list[list[int]] = []

        async def relay(
            number: int, place: Place | None = place, begin: int = begin, chains: list[list[int]] = chains
        ) -> None:
            publisher = publisher_at(nats, place)
            async with running(publisher) as task:
                chain = [begin + 1000 * step + number for step in range(1, 31)]
                chains.append(chain)
                for time in chain:
                    await put(publisher, message(time))
                    await asyncio.sleep(random.random() / 500)
                await drained_or_over(publisher, task)

        await asyncio.gather(relay(1), relay(2))
        times = [each.time for each in await read(nats) if each.time > begin]
        assert times in chains


async def test_a_server_that_is_killed_and_comes_back_has_each_message_once(nats: NatsServer) -> None:
    states: list[str | None] = []
    publisher = publisher_at(nats, states=states)
    messages = [message(time, 2000) for time in range(1, 401)]
    async with running(publisher):
        for each in messages:
            await put(publisher, each)
            if each.time % 100 == 50:
                await asyncio.to_thread(nats.kill)
                await asyncio.to_thread(nats.start)
        await drained(publisher)
    assert await read(nats) == messages


async def test_a_frozen_server_is_said_to_be_away_and_has_each_message_once(nats: NatsServer) -> None:
    states: list[str | None] = []
    publisher = publisher_at(nats, states=states)
    messages = [message(time, 20_000) for time in range(1, 101)]
    async with running(publisher):
        for each in messages[:50]:
            await put(publisher, each)
        await drained(publisher)
        nats.freeze()
        try:
            for each in messages[50:]:
                await put(publisher, each)
            async with asyncio.timeout(SECONDS):
                while not states:
                    await asyncio.sleep(0.05)
            assert states[0] is not None
        finally:
            nats.thaw()
        await drained(publisher)
        assert states[-1] is None
    assert await read(nats) == messages


async def test_an_answer_that_comes_too_late_stores_nothing_twice(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "ACKNOWLEDGED_SECONDS", 0.0001)
    publisher = publisher_at(nats)
    messages = [message(time, 2000) for time in range(1, 60)]
    async with running(publisher):
        for each in messages:
            await put(publisher, each)
        await drained(publisher)
    assert await read(nats) == messages


async def test_a_stream_that_was_deleted_is_made_anew_and_goes_on(nats: NatsServer) -> None:
    publisher = publisher_at(nats)
    async with running(publisher), connection(nats.url) as client:
        await put(publisher, message(1))
        await drained(publisher)
        await stream.ask(client, f"STREAM.DELETE.{IDENTITY.stream}")
        await put(publisher, message(2))
        await put(publisher, message(3))
        await drained(publisher)
    assert [each.time for each in await read(nats)] == [2, 3]


async def test_a_stream_that_was_emptied_goes_on_after_its_last_number(nats: NatsServer) -> None:
    publisher = publisher_at(nats)
    async with running(publisher), connection(nats.url) as client:
        await put(publisher, message(1))
        await drained(publisher)
        await stream.ask(client, f"STREAM.PURGE.{IDENTITY.stream}")
        await put(publisher, message(2))
        await drained(publisher)
        assert publisher.place == Place(2, 2)
    # One that does not know what was there cannot know what of its own was.
    async with connection(nats.url) as client:
        await stream.ask(client, f"STREAM.PURGE.{IDENTITY.stream}")
    other = publisher_at(nats, Place(1, 1))
    async with running(other) as task:
        with pytest.raises(OvertakenError, match="emptied"):
            async with asyncio.timeout(SECONDS):
                await task


async def test_a_stream_that_was_changed_meanwhile_ends_the_publisher(nats: NatsServer) -> None:
    async with connection(nats.url) as client:
        config = {"name": IDENTITY.stream, **stream.configured(IDENTITY, LIMITS), "metadata": IDENTITY.metadata}
        await stream.ask(client, f"STREAM.CREATE.{IDENTITY.stream}", config | {"max_msg_size": -1})
    with pytest.raises(ConfigurationError, match="max_msg_size"):
        async with asyncio.timeout(SECONDS):
            await publisher_at(nats).run()


async def test_lost_at_the_time_of_the_last_message_is_another_message(nats: NatsServer) -> None:
    publisher = publisher_at(nats)
    async with running(publisher):
        await put(publisher, Message(7))
        await drained(publisher)
        nats.kill()
        await put(publisher, Message(7, lost=True))
        await asyncio.to_thread(nats.start)
        await drained(publisher)
        assert publisher.place == Place(2, 7, lost=True)
    assert await read(nats) == [Message(7), Message(7, lost=True)]
