"""A node's feed under test, a stream that a test fills by hand, and an oplog that says what was asked of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import bson
from nats.aio.client import Client

from realtime.core.live.events import Batch, ChangeEvent, to_date, to_timestamp
from realtime.core.live.gathered import Past
from realtime.core.relay.message import Message, pack
from realtime.core.upstream.health import FeedStatus
from realtime.errors import HistoryLostError
from realtime.nats import stream
from realtime.nats.connection import close, connect
from realtime.nats.feed import JetStreamFeed
from realtime.nats.line import Line
from tests.core.examples import insert
from tests.relay.connecting import IDENTITY, LIMITS, access_to, connection

SECONDS = 30.0
"""Longest wait for anything; only a failing test takes it."""


def event(moment: int, key: Any, collection: str = "items", op: str = "insert", **more: Any) -> bytes:
    """A document of the change stream."""
    document = {"_id": key, "at": moment} if op == "insert" else None
    fields = {
        "operationType": op,
        "clusterTime": to_timestamp(moment),
        "ns": {"db": IDENTITY.database, "coll": collection},
        "documentKey": {"_id": key},
        **({"fullDocument": document} if document else {}),
        **more,
    }
    return bson.encode(fields)


def message(moment: int, *keys: Any, lost: bool = False, **more: Any) -> Message:
    """A batch that ends at `moment`, with an insert of each key at that time."""
    events = tuple(event(moment, key) for key in keys)
    return Message(moment, events=events, collections=frozenset({"items"} if keys else ()), lost=lost, **more)


class Relay:
    """Publishes what it is told to; the parts of one message are stored one by one."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def make(self) -> None:
        await stream.ensure(self.client, IDENTITY, LIMITS)

    async def publish(self, *messages: Message) -> None:
        for one in messages:
            for part in pack(one, IDENTITY.epoch):
                await self.client.request(IDENTITY.subject, part.payload, headers=part.headers, timeout=10)

    async def remove(self) -> None:
        await stream.ask(self.client, f"STREAM.DELETE.{IDENTITY.stream}")

    async def trim(self, before: int) -> None:
        """Everything before this sequence goes."""
        await stream.ask(self.client, f"STREAM.PURGE.{IDENTITY.stream}", {"seq": before})


@contextlib.asynccontextmanager
async def relaying(url: str) -> AsyncIterator[Relay]:
    """With a stream."""
    async with connection(url) as client:
        relay = Relay(client)
        await relay.make()
        yield relay


class OplogOf:
    """An `Oplog` of an insert at every time: `gone` where it does not reach back so far."""

    def __init__(self, *, gone: bool = False) -> None:
        self.gone = gone
        self.asked: list[tuple[int, int]] = []

    async def read(
        self, after: int, until: int, *, wanted: Callable[[], bool], newest_bytes: int | None = None
    ) -> Past:
        self.asked.append((after, until))
        if self.gone:
            raise HistoryLostError("gone", details={"oldest": to_date(until)})
        beyond = until + 2
        events = tuple(insert(moment, {"_id": f"oplog {moment}"}) for moment in range(after + 1, beyond + 1))
        return Past(after, (Batch(events, beyond),))

    async def oldest(self) -> int | None:
        return None

    async def initiated(self) -> int | None:
        return None


class Following:
    """A feed under way and what it has handed over, each batch checked against what holds for all."""

    def __init__(self) -> None:
        self.feed: JetStreamFeed
        self.batches: list[Batch] = []
        self.statuses: list[FeedStatus] = []
        self._news = asyncio.Condition()
        self.pause = asyncio.Event()
        self.pause.set()

    @property
    def events(self) -> Sequence[ChangeEvent]:
        return [one for batch in self.batches for one in batch.events]

    @property
    def keys(self) -> list[Any]:
        return [one.key for one in self.events]

    @property
    def lost(self) -> list[int]:
        return [batch.time for batch in self.batches if batch.lost]

    async def read(self) -> None:
        async for batch in self.feed.batches():
            before = self.batches[-1].time if self.batches else 0
            times = [one.time for one in batch.events]
            assert batch.time > before or batch.lost, "positions rise"
            assert times == sorted(times), "in order"
            assert all(before < moment <= batch.time for moment in times), "complete up to its position, no repeat"
            self.batches.append(batch)
            async with self._news:
                self._news.notify_all()
            await self.pause.wait()

    async def at(self, moment: int) -> None:
        """Until everything up to this time was handed over."""
        async with self._news, asyncio.timeout(SECONDS):
            await self._news.wait_for(lambda: self.batches and self.batches[-1].time >= moment)

    async def says(self, up: bool) -> FeedStatus:
        """Until its last word is this."""
        deadline = time.monotonic() + SECONDS
        while not self.statuses or self.statuses[-1].up is not up:
            assert time.monotonic() < deadline, self.statuses
            await asyncio.sleep(0.02)
            self.feed.check(asyncio.get_running_loop().time())
        return self.statuses[-1]


@contextlib.asynccontextmanager
async def unread(url: str, *, start: int, oplog: OplogOf | None = None, **options: Any) -> AsyncIterator[JetStreamFeed]:
    """A node's feed on this server, whose batches the test takes."""

    async def made(on_closed: Callable[[], None], on_error: Callable[[Exception], None]) -> Client:
        return await connect(access_to(url), "node", on_closed=on_closed, on_error=on_error)

    line = Line(made, close)
    try:
        yield JetStreamFeed(line, options.pop("identity", IDENTITY), start=start, oplog=oplog or OplogOf(), **options)
    finally:
        await line.close()


@contextlib.asynccontextmanager
async def following(url: str, *, start: int, **options: Any) -> AsyncIterator[Following]:
    """The same under way; closed, and waited for, at the end."""
    got = Following()
    async with unread(url, start=start, on_status=got.statuses.append, **options) as got.feed:
        task = asyncio.create_task(got.read())
        try:
            yield got
        finally:
            got.pause.set()
            got.feed.close()
            await asyncio.wait_for(task, SECONDS)
