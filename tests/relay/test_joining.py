"""A node joins a stream: it waits for it, begins where it ends, says what it needs, and refuses another one's."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace

import pytest

from realtime.core.relay.identity import Identity
from realtime.errors import ConfigurationError
from realtime.nats import needs
from realtime.nats import node as nodes
from realtime.nats.needs import Needs
from tests.nats_server import NatsServer
from tests.relay.connecting import IDENTITY, access_to, connection
from tests.relay.following import message, relaying


async def joins(nats: NatsServer, now: int, identity: Identity = IDENTITY) -> int:
    """Where it begins."""
    async with nodes.joined(access_to(nats.url), identity, now) as node:
        return node.start


async def test_it_begins_at_the_newest_message_and_never_after_mongodbs_time(nats: NatsServer) -> None:
    """After it would be silence until the stream is there; and what others gave out it has not told."""
    async with relaying(nats.url) as relay:
        assert await joins(nats, 77) == 77
        await relay.publish(message(10), message(20))
        assert await joins(nats, 77) == 20
        assert await joins(nats, 15) == 15


async def test_it_waits_for_nats_and_for_the_stream(nats: NatsServer) -> None:
    nats.kill()
    joining = asyncio.create_task(joins(nats, 77))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(nats.start)
    await asyncio.sleep(0.5)
    assert not joining.done()
    async with relaying(nats.url):
        assert await joining == 77


async def test_without_nats_or_a_stream_it_says_what_is_missing(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(nodes, "START_SECONDS", 0.3)
    caplog.set_level(logging.INFO, "realtime.nats")
    waited = r"waited 0\.3 s for the relay's stream \(start a relay first, or have whoever starts this start it again"
    missing = r"start a relay of this database .*, or is --database or REALTIME_EPOCH another one than the relay's\?"
    async with relaying(nats.url):
        for other in (replace(IDENTITY, database="shop2"), replace(IDENTITY, epoch="FFFFFFFF")):
            with pytest.raises(ConfigurationError, match=f"{waited} .*{missing}$"):
                await joins(nats, 77, other)
    said = [(record.levelname, record.getMessage()) for record in caplog.records if "waiting" in record.getMessage()]
    assert [level for level, _ in said] == ["WARNING", "WARNING"]
    assert "waiting up to 0.3 s for the relay's stream: NATS has no stream realtime-1-" in said[0][1]
    nats.kill()
    with pytest.raises(ConfigurationError, match=f"{waited} .*no NATS server answers"):
        await joins(nats, 77)


async def test_another_ones_stream_is_refused_at_once(nats: NatsServer) -> None:
    async with relaying(nats.url):
        with pytest.raises(ConfigurationError, match="is another one's: its replica set"):
            await joins(nats, 77, replace(IDENTITY, replica_set="rs9"))


async def test_what_it_needs_is_said_at_once_when_it_changes_and_again_and_again(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "SAY_SECONDS", 0.5)
    heard, wanted = Needs(IDENTITY, asyncio.get_running_loop().time), frozenset({"items"})
    said: list[bytes] = []
    monkeypatch.setattr(heard, "hear", lambda node, value: said.append(value))
    async with (
        relaying(nats.url),
        connection(nats.url) as client,
        nodes.joined(access_to(nats.url), IDENTITY, 1) as node,
    ):
        await heard.prepare(client, 1)
        await heard.listen(client)
        saying = asyncio.create_task(node.say_needs(lambda: wanted))
        try:
            async with asyncio.timeout(20):
                while len(said) < 3:
                    await asyncio.sleep(0.02)
                wanted = frozenset({"items", "others"})
                while said[-1] != b'["items", "others"]':
                    await asyncio.sleep(0.02)
        finally:
            saying.cancel()
            with suppress(asyncio.CancelledError):
                await saying
    assert said[:3] == [b'["items"]'] * 3
