"""A feed under test, the databases it reads, and what really happened there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from pymongo.errors import OperationFailure

from realtime.core.live.events import Batch, ChangeEvent, to_time, to_timestamp
from realtime.core.upstream.health import FeedStatus
from realtime.mongo import client as clients
from realtime.mongo.feed import ChangeFeed
from tests.mongo.commands import SECONDS, Documents, now, until

FEED = "realtime-feed"
NO_PRIMARY = [189, 10107, 13435, 13436, 11602, 91, 11600]
RESUMABLE = [43, 50]
REOPENED = [237, 11601, 175, 202, 6, 7, 89, 262, 9001, 63, 150, 133, 234]
LOST = [286, 280, 260, 136]
SPLIT: dict[str, Any] = {"$changeStreamSplitLargeEvent": {}}
IMAGES: dict[str, Any] = {"changeStreamPreAndPostImages": {"enabled": True}}


class Reading:
    """A feed under way and what it has handed over."""

    def __init__(self, feed: ChangeFeed, statuses: list[FeedStatus]) -> None:
        self.feed = feed
        self.statuses = statuses
        self.batches: list[Batch] = []
        self.ended = False
        self._news = asyncio.Condition()

    @property
    def events(self) -> list[ChangeEvent]:
        return [event for batch in self.batches for event in batch.events]

    @property
    def keys(self) -> list[Any]:
        return [event.key for event in self.events]

    async def read(self) -> None:
        """Until the feed ends; every batch is checked against the promises that hold for each."""
        try:
            async for batch in self.feed.batches():
                before = self.batches[-1].time if self.batches else 0
                times = [event.time for event in batch.events]
                assert batch.time > before or (batch.lost and batch.time == before), "positions rise"
                assert times == sorted(times), "in order"
                assert all(before < time <= batch.time for time in times), "complete up to its position, and no repeat"
                self.batches.append(batch)
                await self._tell()
        finally:
            self.ended = True
            await self._tell()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def when(self, true: Callable[[], Any], *, seconds: float = SECONDS) -> None:
        """Until it holds of what was handed over."""
        async with self._news, asyncio.timeout(seconds):
            await self._news.wait_for(lambda: true() or self.ended)
        assert true(), "the feed ended before it held"

    async def has(self, key: Any, *, seconds: float = SECONDS) -> None:
        """Until an event of this key is there."""
        await self.when(lambda: key in self.keys, seconds=seconds)

    async def idle(self) -> None:
        """Until the feed waits inside a step: two replies with nothing new have come."""
        replies = self.feed.replies
        await until(lambda: self.feed.replies >= replies + 2)


@contextlib.asynccontextmanager
async def reading(database: Documents, uri: str, *, await_ms: int = 50, **options: Any) -> AsyncIterator[Reading]:
    """A feed of this database from now on; closed, and waited for, at the end."""
    client = clients.open_feed_client(uri)
    statuses: list[FeedStatus] = []
    motors = clients.database_of(client, database.name)
    feed = ChangeFeed(client, motors, start=now(database), await_ms=await_ms, on_status=statuses.append, **options)
    got = Reading(feed, statuses)
    task = asyncio.create_task(got.read())
    try:
        yield got
    finally:
        feed.close()
        await task
        client.close()


def transaction(database: Documents, collection: str, keys: list[Any]) -> None:
    """Insert documents with these keys in one transaction."""
    with database.client.start_session() as session, session.start_transaction():
        database[collection].insert_many(({"_id": key} for key in keys), session=session)


def truth(database: Documents, start: int, last: Any) -> list[tuple[str, str, Any, int]]:
    """What a plain change stream says happened after `start`, up to the insert of the key `last`."""
    told = []
    with database.watch(start_at_operation_time=to_timestamp(start + 1), batch_size=500) as stream:
        for event in stream:
            key = event.get("documentKey", {}).get("_id")
            told.append((event["operationType"], event["ns"]["coll"], key, to_time(event["clusterTime"])))
            if key == last:
                break
    return told


def shown(events: list[ChangeEvent]) -> list[tuple[str, str, Any, int]]:
    return [(event.op, event.collection, event.key, event.time) for event in events]


def splits(database: Documents) -> bool:
    """Whether this server splits large events, by asking it."""
    try:
        with database.watch([SPLIT]):
            return True
    except OperationFailure as error:
        if error.code != 40324:  # an unknown stage
            raise
        return False
