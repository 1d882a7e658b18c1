"""Connections of the tests' own to a nats-server, and what stands in a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client

from realtime import settings
from realtime.core.relay.identity import Identity
from realtime.core.relay.message import Gatherer, Message, pack
from realtime.nats import stream
from realtime.nats.access import Access, access_of
from realtime.nats.connection import Connection, close, connect
from realtime.nats.publisher import Publisher
from realtime.nats.stream import Limits

IDENTITY = Identity("0A1B2C3D", "shop", "rs0")
LIMITS = Limits(max_bytes=256 << 20, max_age=3600)


def access_to(url: str) -> Access:
    return access_of(settings.load(nats=url))


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[Connection]:
    client = await connect(access_to(url), "tests")
    try:
        yield client
    finally:
        await close(client)


async def put(publisher: Publisher, message: Message) -> None:
    await publisher.put(message.time, pack(message, IDENTITY.epoch), lost=message.lost)


async def stored(client: Client, identity: Identity = IDENTITY) -> list[Message]:
    """Every message that the stream holds, in order, put together; its sequences are looked at too."""
    state = await stream.look(client, identity)
    assert state is not None
    # A stream that is new says 0.
    gatherer, messages, sequence = Gatherer(), [], max(1, state.first)
    while sequence <= state.last or gatherer.amid:
        if sequence > state.last:
            # Parts are stored one after the other, and this is between two of them.
            state = await stream.look(client, identity)
            assert state is not None
            continue
        found = await stream.get(client, identity, sequence)
        assert found is not None
        assert found.sequence == sequence
        message = gatherer.add(sequence, found.headers, found.payload)
        messages += [message] if message is not None else []
        sequence += 1
    return messages
