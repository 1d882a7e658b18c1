"""A node's history on a real nats-server: from the stream where it has everything, else from the oplog."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from nats.aio.client import Client

from realtime.core.live.gathered import Past
from realtime.core.relay.message import PART_BYTES, Message
from realtime.errors import HistoryLostError
from realtime.nats import history as histories
from realtime.nats.connection import close, connect
from realtime.nats.history import StreamHistory
from realtime.nats.line import Line
from tests.nats_server import NatsServer
from tests.relay.connecting import IDENTITY, access_to
from tests.relay.following import OplogOf, event, message, relaying


@asynccontextmanager
async def history(url: str, oplog: OplogOf, max_bytes: int = 1 << 20) -> AsyncIterator[StreamHistory]:
    async def made(on_closed: Callable[[], None], on_error: Callable[[Exception], None]) -> Client:
        return await connect(access_to(url), "node", on_closed=on_closed, on_error=on_error)

    line = Line(made, close)
    try:
        yield StreamHistory(line, IDENTITY, oplog, max_bytes=max_bytes)
    finally:
        await line.close()


async def read(past: StreamHistory, after: int, until: int, **more: int) -> Past:
    return await past.read(after, until, wanted=lambda: True, **more)


def keys(past: Past) -> list[object]:
    return [one.key for batch in past.batches for one in batch.events]


@pytest.fixture(params=[1, 3, 128], ids=lambda most: f"{most} at a time")
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "RUN_MESSAGES", request.param)


@pytest.mark.usefixtures("run")
async def test_what_the_stream_has_is_not_asked_of_the_oplog(nats: NatsServer) -> None:
    oplog = OplogOf()
    async with relaying(nats.url) as relay, history(nats.url, oplog) as past:
        await relay.publish(*(message(moment, moment) for moment in range(10, 40)))
        found = await read(past, 20, 30)
        assert (found.after, keys(found)) == (20, list(range(21, 31)))
    assert oplog.asked == []


async def test_from_amid_a_batch_it_is_the_rest_of_it(nats: NatsServer) -> None:
    oplog = OplogOf()
    async with relaying(nats.url) as relay, history(nats.url, oplog) as past:
        both = Message(14, events=(event(11, "before"), event(13, "after")), collections=frozenset({"items"}))
        await relay.publish(message(10), both)
        assert keys(await read(past, 11, 14)) == ["after"]
    assert oplog.asked == []


async def test_a_batch_of_several_parts_is_found_by_any_of_them(nats: NatsServer) -> None:
    oplog = OplogOf()
    async with relaying(nats.url) as relay, history(nats.url, oplog, 1 << 30) as past:
        events = tuple(event(11, number, more="x" * (PART_BYTES // 2)) for number in range(9))
        await relay.publish(message(10), Message(11, events=events, collections=frozenset({"items"})), message(12, 12))
        assert keys(await read(past, 10, 12)) == [*range(9), 12]
    assert oplog.asked == []


async def test_where_the_stream_begins_later_it_is_the_oplogs(nats: NatsServer) -> None:
    oplog = OplogOf()
    async with relaying(nats.url) as relay, history(nats.url, oplog) as past:
        await relay.publish(*(message(moment, moment) for moment in range(10, 20)))
        await relay.trim(before=4)
        await read(past, 9, 15)
        await read(past, 12, 15)
        assert oplog.asked == [(9, 15), (12, 15)]
        assert keys(await read(past, 13, 15)) == [14, 15]
    assert len(oplog.asked) == 2


async def test_where_the_stream_ends_before_it_is_the_oplogs(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "LAG_SECONDS", (0.0,))
    oplog = OplogOf()
    async with relaying(nats.url) as relay, history(nats.url, oplog) as past:
        await relay.publish(*(message(moment, moment) for moment in range(10, 20)))
        await read(past, 15, 30)
    assert oplog.asked == [(15, 30)]


async def test_without_a_stream_or_a_server_it_is_the_oplogs(nats: NatsServer) -> None:
    oplog = OplogOf()
    async with history(nats.url, oplog) as past:
        await read(past, 1, 2)
        nats.kill()
        await read(past, 2, 3)
    assert oplog.asked == [(1, 2), (2, 3)]


async def test_across_what_a_relay_lost_it_is_from_nowhere(nats: NatsServer) -> None:
    oplog = OplogOf()
    async with relaying(nats.url) as relay, history(nats.url, oplog) as past:
        await relay.publish(message(10), message(11, 11), message(12, lost=True), message(13, 13), message(14, 14))
        with pytest.raises(HistoryLostError):
            await read(past, 10, 14)
        assert keys(await read(past, 12, 14)) == [13, 14]
    assert oplog.asked == []


async def test_more_than_its_bytes_is_refused_and_with_newest_bytes_the_older_is_let_go(nats: NatsServer) -> None:
    oplog = OplogOf()
    size = len(event(10, 10))
    async with relaying(nats.url) as relay, history(nats.url, oplog, 5 * size) as past:
        await relay.publish(*(message(moment, moment) for moment in range(10, 30)))
        assert keys(await read(past, 10, 15)) == [11, 12, 13, 14, 15]
        with pytest.raises(HistoryLostError, match="more than"):
            await read(past, 10, 16)
        found = await read(past, 10, 20, newest_bytes=3 * size)
        assert (found.after, keys(found)) == (17, [18, 19, 20])
    assert oplog.asked == []


async def test_that_nobody_wants_it_any_more_ends_it(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "RUN_MESSAGES", 1)
    async with relaying(nats.url) as relay, history(nats.url, OplogOf()) as past:
        await relay.publish(*(message(moment, moment) for moment in range(10, 20)))
        found = await past.read(10, 19, wanted=lambda: False)
        assert keys(found) == [11]
