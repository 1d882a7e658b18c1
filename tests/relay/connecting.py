"""Connections of the tests' own to a nats-server, and what stands in a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats
from nats.aio.client import Client

from realtime.core.relay.identity import Identity
from realtime.core.relay.message import Gatherer, Message, pack
from realtime.nats import stream
from realtime.nats.publisher import Connect, Publisher
from realtime.nats.stream import Limits

IDENTITY = Identity("0A1B2C3D", "shop", "rs0")
LIMITS = Limits(max_bytes=256 << 20, max_age=3600)


async def connected(url: str, **options: Any) -> Client:
    return await nats.connect(url, allow_reconnect=False, connect_timeout=2, **options)


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[Client]:
    client = await connected(url)
    try:
        yield client
    finally:
        await client.close()


def connect_to(url: str) -> Connect:
    """How a publisher of the tests makes its connections."""

    async def connect(on_closed: Callable[[], None], on_error: Callable[[Exception], None]) -> Client:
        async def closed() -> None:
            on_closed()

        async def said(error: Exception) -> None:
            on_error(error)

        return await connected(url, closed_cb=closed, error_cb=said)

    return connect


async def closed(client: Client) -> None:
    await client.close()


async def put(publisher: Publisher, message: Message) -> None:
    await publisher.put(message.time, pack(message, IDENTITY.epoch), lost=message.lost)


async def stored(client: Client, identity: Identity = IDENTITY) -> list[Message]:
    """Every message that the stream holds, in order, put together; its sequences are looked at too."""
    state = await stream.look(client, identity)
    assert state is not None
    gatherer, messages, sequence = Gatherer(), [], state.first
    while sequence <= state.last:
        found = await stream.get(client, identity, sequence)
        assert found is not None
        assert found.sequence == sequence
        message = gatherer.add(sequence, found.headers, found.payload)
        messages += [message] if message is not None else []
        sequence += 1
    assert not gatherer.amid
    assert gatherer.skipped == 0
    return messages
