"""Three nats-servers: what was put is stored once, whichever of them is killed or frozen meanwhile."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import bson
import pytest

from realtime import settings
from realtime.core.relay.message import PART_BYTES, Message, pack
from realtime.nats import follower as followers
from realtime.nats import stream
from realtime.nats.access import Access, access_of
from realtime.nats.connection import close, connect
from realtime.nats.follower import Follower, GoneError
from realtime.nats.publisher import Publisher
from realtime.nats.stream import Limits
from tests.nats.servers import leader_of, three
from tests.nats_server import NatsServer
from tests.relay.connecting import IDENTITY, stored

SECONDS = 60
LIMITS = Limits(max_bytes=128 << 20, max_age=3600, replicas=3)


@pytest.mark.long("three servers, of which one is frozen")
async def test_who_reads_is_not_held_up_by_a_leader_that_is_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another leads, and still it is asked by chance, for messages and to keep consumers."""
    async with three(tmp_path) as servers:
        access = access_of(settings.load(nats=",".join(server.url for server in servers)))
        async with publishing(access) as publisher, asyncio.timeout(SECONDS):
            for number in range(1, 41):
                await publisher.put(number, pack(Message(number), IDENTITY.epoch))
            await publisher.drained()
        frozen = await leader_of(access, servers, IDENTITY.stream)
        others = [server for server in servers if server is not frozen]
        frozen.freeze()
        try:
            there = access_of(settings.load(nats=",".join(server.url for server in others)))
            await leader_of(there, others, IDENTITY.stream)
            # As good as for ever; and so many tries that chance does not matter.
            monkeypatch.setattr(stream, "ANSWER_SECONDS", 600)
            monkeypatch.setattr(stream, "DIRECT_TRIES", 40)
            monkeypatch.setattr(followers, "TRIES", 40)
            async with asyncio.timeout(SECONDS):
                for server in others:
                    await read(access_of(settings.load(nats=server.url)))
        finally:
            frozen.thaw()


def leads_all(server: NatsServer) -> bool:
    """Whether it decides which server keeps what: the leader of the metadata."""
    told = [line for line in server.log.splitlines() if "metadata leader" in line]
    return bool(told) and "Self is new" in told[-1]


@pytest.mark.long("three servers, of which one is frozen")
async def test_a_consumer_that_a_frozen_server_is_to_keep_is_made_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that leads nothing, so that everything else goes on."""
    async with three(tmp_path) as servers:
        access = access_of(settings.load(nats=",".join(server.url for server in servers)))
        async with publishing(access) as publisher, asyncio.timeout(SECONDS):
            await publisher.put(1, pack(Message(1), IDENTITY.epoch))
            await publisher.drained()
        leader = await leader_of(access, servers, IDENTITY.stream)
        frozen = next(server for server in servers if server is not leader and not leads_all(server))
        client = await connect(access_of(settings.load(nats=leader.url)), "tests")
        monkeypatch.setattr(stream, "ANSWER_SECONDS", 600)
        monkeypatch.setattr(followers, "TRIES", 40)
        frozen.freeze()
        try:
            async with asyncio.timeout(SECONDS):
                for _ in range(20):
                    await Follower(client, IDENTITY, 1).open()
        finally:
            frozen.thaw()
            await close(client)


async def read(access: Access) -> None:
    """Forty messages by their numbers, and from ten of them on."""
    client = await connect(access, "tests")
    try:
        for sequence in range(1, 41):
            found = await stream.get(client, IDENTITY, sequence)
            assert found is not None
            assert found.sequence == sequence
        for start in range(1, 11):
            message = None
            while message is None:
                # A consumer that is there is not known to every server at once.
                with suppress(GoneError):
                    follower = Follower(client, IDENTITY, start)
                    await follower.open()
                    message = await follower.next()
            assert message.sequence == start
    finally:
        await close(client)


@asynccontextmanager
async def publishing(access: Access) -> AsyncIterator[Publisher]:
    publisher = Publisher(access, IDENTITY, LIMITS, None)

    async def run() -> None:
        """A cluster that has just started refuses to make streams for a while, as a stream's error."""
        while True:
            with suppress(stream.StreamError):
                await publisher.run()
            await asyncio.sleep(0.2)

    task = asyncio.create_task(run())
    try:
        yield publisher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.long("three servers, and three elections in a row: half a minute each")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_the_leader_may_be_killed_or_frozen_again_and_again(tmp_path: Path, number: signal.Signals) -> None:
    async with three(tmp_path) as servers:
        access = access_of(settings.load(nats=",".join(server.url for server in servers)))
        messages: list[Message] = []
        pauses: list[float] = []

        async def put(publisher: Publisher) -> None:
            for _ in range(40):
                size = 2 * PART_BYTES if len(messages) % 10 == 9 else 1000
                data = {"_id": len(messages), "data": b"\7" * size}
                messages.append(Message(len(messages) + 1, events=(bson.encode(data),)))
                await publisher.put(len(messages), pack(messages[-1], IDENTITY.epoch))

        async with publishing(access) as publisher, asyncio.timeout(4 * SECONDS):
            await put(publisher)
            await publisher.drained()
            for _ in range(3):
                away = await leader_of(access, servers, IDENTITY.stream)
                working = asyncio.create_task(put(publisher))
                away.send(number)
                began = time.monotonic()
                await working
                await publisher.drained()
                pauses.append(time.monotonic() - began)
                if number == signal.SIGKILL:
                    await asyncio.to_thread(away.kill, number)
                    await asyncio.to_thread(away.start)
                else:
                    away.send(signal.SIGCONT)
        client = await connect(access, "tests")
        try:
            assert await stored(client) == messages
        finally:
            await close(client)
        assert len(messages) == 160
        assert len(pauses) == 3
