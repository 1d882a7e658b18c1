"""The stream of a relay on a real nats-server: made, refused where it differs, read by number and by time."""

from __future__ import annotations

from dataclasses import replace

import bson
import pytest
from nats.aio.client import Client

from realtime.core.relay.message import PART_BYTES, FormatError, Message, pack
from realtime.nats import stream
from realtime.nats.stream import Limits, StreamError, UnansweredError
from tests.nats_server import NatsServer
from tests.relay.connecting import IDENTITY, LIMITS, connection


async def published(client: Client, *times: int) -> None:
    for time in times:
        for part in pack(Message(time), IDENTITY.epoch):
            await client.request(IDENTITY.subject, part.payload, headers=part.headers, timeout=5)


async def test_a_stream_is_made_once_and_taken_again(nats: NatsServer) -> None:
    async with connection(nats.url) as client:
        assert await stream.look(client, IDENTITY) is None
        made = await stream.ensure(client, IDENTITY, LIMITS)
        again = await stream.ensure(client, IDENTITY, LIMITS)
        assert (made.created, made.messages, made.last) == (again.created, 0, 0)
        assert IDENTITY.refuses(again.metadata) is None
        assert await stream.last(client, IDENTITY, made) is None


@pytest.mark.parametrize("change", [{"collections": frozenset({"a"})}, {"replica_set": "rs1"}, {"images": False}])
async def test_another_ones_stream_is_refused(nats: NatsServer, change: dict[str, object]) -> None:
    async with connection(nats.url) as client:
        await stream.ensure(client, IDENTITY, LIMITS)
        with pytest.raises(StreamError, match="is another one's"):
            await stream.ensure(client, replace(IDENTITY, **change), LIMITS)  # type: ignore[arg-type]  # from a table


async def test_a_stream_with_other_limits_is_refused_and_the_setting_named(nats: NatsServer) -> None:
    async with connection(nats.url) as client:
        await stream.ensure(client, IDENTITY, LIMITS)
        with pytest.raises(StreamError, match=r"max_bytes is 268435456 .* set REALTIME_NATS_BYTES to what it has"):
            await stream.ensure(client, IDENTITY, Limits(1 << 30, 3600))
        with pytest.raises(StreamError, match="REALTIME_NATS_AGE_SECONDS"):
            await stream.ensure(client, IDENTITY, Limits(256 << 20, 60))


@pytest.mark.parametrize("change", [{"max_msg_size": -1}, {"allow_atomic": False}, {"discard": "new"}])
async def test_a_stream_that_would_break_a_promise_is_refused(nats: NatsServer, change: dict[str, object]) -> None:
    config = {"name": IDENTITY.stream, **stream.configured(IDENTITY, LIMITS), "metadata": IDENTITY.metadata, **change}
    async with connection(nats.url) as client:
        await stream.ask(client, f"STREAM.CREATE.{IDENTITY.stream}", config)
        with pytest.raises(StreamError, match=f"{next(iter(change))} is .*nats stream rm"):
            await stream.ensure(client, IDENTITY, LIMITS)


async def test_a_stream_for_which_there_is_no_room_names_the_mend(nats: NatsServer) -> None:
    async with connection(nats.url) as client:
        with pytest.raises(StreamError, match="REALTIME_NATS_BYTES"):
            await stream.ensure(client, IDENTITY, Limits(1 << 50, 3600))


async def test_messages_are_found_by_number_and_by_time_also_where_some_are_gone(nats: NatsServer) -> None:
    async with connection(nats.url) as client:
        await stream.ensure(client, IDENTITY, LIMITS)
        times = list(range(10, 310, 10))
        await published(client, *times)
        # Taken out one by one in the middle, and trimmed at the beginning.
        for gone in (7, 8, 9, 20):
            await stream.ask(client, f"STREAM.MSG.DELETE.{IDENTITY.stream}", {"seq": gone, "no_erase": True})
        await stream.ask(client, f"STREAM.PURGE.{IDENTITY.stream}", {"seq": 4})
        state = await stream.ensure(client, IDENTITY, LIMITS)
        kept = {n: time for n, time in enumerate(times, 1) if n >= 4 and n not in {7, 8, 9, 20}}
        assert (state.first, state.last, state.messages, state.deleted) == (4, 30, len(kept), 4)
        for time in range(0, 320, 5):
            found = await stream.first_after(client, IDENTITY, state, time)
            wanted = next((n for n, each in kept.items() if each > time), None)
            assert (None if found is None else found.sequence) == wanted
        newest = await stream.last(client, IDENTITY, state)
        assert newest is not None
        assert (newest.sequence, newest.head.time) == (30, 300)
        assert await stream.get(client, IDENTITY, 31) is None


async def test_the_newest_of_which_the_last_was_taken_out_is_the_one_before(nats: NatsServer) -> None:
    async with connection(nats.url) as client:
        await stream.ensure(client, IDENTITY, LIMITS)
        await published(client, 10, 20, 30)
        await stream.ask(client, f"STREAM.MSG.DELETE.{IDENTITY.stream}", {"seq": 3})
        state = await stream.ensure(client, IDENTITY, LIMITS)
        newest = await stream.last(client, IDENTITY, state)
        assert newest is not None
        assert (newest.sequence, newest.head.time) == (2, 20)


async def test_a_replica_that_has_not_got_the_newest_is_no_answer(nats: NatsServer) -> None:
    async with connection(nats.url) as client:
        state = await stream.ensure(client, IDENTITY, LIMITS)
        with pytest.raises(UnansweredError, match="behind its leader"):
            await stream.last(client, IDENTITY, replace(state, messages=1, last=1))
        await published(client, 10)
        state = await stream.ensure(client, IDENTITY, LIMITS)
        with pytest.raises(UnansweredError, match="behind its leader"):
            await stream.last(client, IDENTITY, replace(state, last=2))


async def test_what_is_not_a_relays_is_a_format_error(nats: NatsServer) -> None:
    async with connection(nats.url) as client:
        state = await stream.ensure(client, IDENTITY, LIMITS)
        await client.request(IDENTITY.subject, b"hello", timeout=5)
        state = await stream.ensure(client, IDENTITY, LIMITS)
        with pytest.raises(FormatError, match="nothing else may publish here"):
            await stream.last(client, IDENTITY, state)
        with pytest.raises(FormatError):
            await stream.first_after(client, IDENTITY, state, 0)


async def test_a_server_without_jetstream_and_one_that_is_frozen_do_not_answer(nats: NatsServer) -> None:
    async with connection(nats.url) as client:
        nats.freeze()
        try:
            with pytest.raises(UnansweredError, match="within 2 s"):
                await stream.ensure(client, IDENTITY, LIMITS)
        finally:
            nats.thaw()


async def test_the_newest_message_of_which_parts_are_missing_is_not_the_last(nats: NatsServer) -> None:
    async with connection(nats.url) as client:
        await stream.ensure(client, IDENTITY, LIMITS)
        event = bson.encode({"data": b"x" * 3 * PART_BYTES})
        parts = pack(Message(20, events=(event,)), IDENTITY.epoch)

        async def cut(count: int) -> None:
            for part in parts[:count]:
                await client.request(IDENTITY.subject, part.payload, headers=part.headers, timeout=5)

        await cut(2)
        assert await stream.last(client, IDENTITY, await stream.ensure(client, IDENTITY, LIMITS)) is None
        await published(client, 10)
        await cut(3)
        await cut(1)
        state = await stream.ensure(client, IDENTITY, LIMITS)
        newest = await stream.last(client, IDENTITY, state)
        assert newest is not None
        assert (newest.sequence, newest.head.time, state.last) == (3, 10, 7)
        await cut(4)
        newest = await stream.last(client, IDENTITY, await stream.ensure(client, IDENTITY, LIMITS))
        assert newest is not None
        assert (newest.sequence, newest.head.time) == (11, 20)
