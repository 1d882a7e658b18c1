"""The feed and an event that cannot be decoded: it raises, goes back, and marks it by what the event begins with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp

import realtime.core.live.decoding
from realtime.core.live.events import STEPPED_OVER, Batch, ChangeEvent
from realtime.core.live.events import parse_event as parse
from realtime.core.live.stepping import EVERY
from realtime.core.live.undecodable import marks
from realtime.mongo import client as clients
from realtime.mongo.feed import ChangeFeed
from realtime.mongo.oplog import OplogReader
from tests.mongo.commands import Documents, now
from tests.mongo.reading import shown, transaction, truth

POISON = "poison"


class OurBugError(Exception):
    """Raised in our own code."""


@pytest.fixture(autouse=True)
def undecodable(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse_event(raw: Any, *given: Any) -> ChangeEvent | None:
        if raw.get("documentKey", {}).get("_id") == POISON:
            raise OurBugError
        return parse(raw, *given)

    monkeypatch.setattr(realtime.core.live.decoding, "parse_event", parse_event)


@asynccontextmanager
async def feeding(database: Documents, uri: str, **options: Any) -> AsyncIterator[ChangeFeed]:
    client = clients.open_feed_client(uri)
    try:
        motors = clients.database_of(client, database.name)
        yield ChangeFeed(client, motors, start=now(database), await_ms=20, **options)
    finally:
        client.close()


async def read(feed: ChangeFeed, last: Any) -> list[Batch]:
    """Until the event of this key has come, or the feed raises."""
    batches: list[Batch] = []
    async with asyncio.timeout(20), aclosing(feed.batches()) as coming:
        async for batch in coming:
            batches.append(batch)
            if any(event.key == last for event in batch.events):
                break
    return batches


def of(batches: list[Batch]) -> list[ChangeEvent]:
    return [event for batch in batches for event in batch.events]


def write(database: Documents) -> None:
    database.orders.insert_one({"_id": "before"})
    with database.client.start_session() as session, session.start_transaction():
        database.others.insert_one({"_id": "with it"}, session=session)
        database.orders.insert_one({"_id": POISON}, session=session)
        database.others.insert_one({"_id": "with it too"}, session=session)
    transaction(database, "orders", list(range(20)))
    database.orders.insert_one({"_id": "last"})


@pytest.mark.parametrize("batch_size", [1000, 7, 1])
async def test_what_cannot_be_decoded_is_raised_until_it_may_be_marked_and_the_rest_is_whole(
    own: Documents, own_uri: str, batch_size: int
) -> None:
    start = now(own)
    async with feeding(own, own_uri, batch_size=batch_size) as feed:
        write(own)
        expected = truth(own, start, "last")
        taken: list[Batch] = []
        for _ in range(2):
            with pytest.raises(OurBugError):
                taken += await read(feed, "last")
            await feed.rewind(taken[-1].time if taken else start, step_over=False)
        await feed.rewind(taken[-1].time if taken else start, step_over=True)
        taken += await read(feed, "last")
        assert len(expected) == 25
        (poison,) = [one for one in expected if one[2] == POISON]
        assert shown(of(taken)) == [
            (STEPPED_OVER, "orders", None, one[3]) if one is poison else one for one in expected
        ]
        # Its moment is whole: the mark came with the others of its transaction.
        (moment,) = [batch for batch in taken if any(event.op == STEPPED_OVER for event in batch.events)]
        assert [event.key for event in moment.events if event.time == poison[3]] == ["with it", None, "with it too"]


@pytest.mark.parametrize("batch_size", [1000, 1])
async def test_what_was_stepped_over_is_no_obstacle_to_who_opens_at_its_time(
    own: Documents, own_uri: str, batch_size: int
) -> None:
    """A stream that is opened at a time gives what happened at that time again."""
    async with feeding(own, own_uri, batch_size=batch_size) as feed:
        own.orders.insert_one({"_id": POISON})
        time = now(own)
        own.orders.insert_one({"_id": "first"})
        await feed.rewind(feed.time, step_over=True)
        (mark,) = [event for event in of(await read(feed, "first")) if event.op == STEPPED_OVER]
        assert mark.time <= time
        await feed.rewind(mark.time, step_over=False)
        assert [event.key for event in of(await read(feed, "first"))] == ["first"]
        own.orders.delete_one({"_id": POISON})
        own.orders.insert_one({"_id": "second"})
        with pytest.raises(OurBugError):
            await read(feed, "second")
        # What comes again is not the one that it may mark.
        await feed.rewind(mark.time, step_over=True)
        told = of(await read(feed, "second"))
        assert [event.op for event in told] == ["insert", STEPPED_OVER, "insert"]


async def test_only_what_it_was_to_mark_is_marked_and_the_next_is_raised_again(own: Documents, own_uri: str) -> None:
    async with feeding(own, own_uri) as feed:
        await feed.rewind(feed.time, step_over=True)
        own.orders.insert_one({"_id": POISON})
        own.orders.insert_one({"_id": "first"})
        assert [event.op for event in of(await read(feed, "first"))] == [STEPPED_OVER, "insert"]
        own.orders.delete_one({"_id": POISON})
        own.orders.insert_one({"_id": "second"})
        with pytest.raises(OurBugError):
            await read(feed, "second")


def idle_cursors(database: Documents) -> int:
    """Change streams of this database that wait at the server for somebody to ask on."""
    mine = {"type": "idleCursor", "ns": f"{database.name}.$cmd.aggregate"}
    stages: list[dict[str, Any]] = [{"$currentOp": {"idleCursors": True, "allUsers": True}}, {"$match": mine}]
    return len(list(database.client.admin.aggregate(stages)))


async def test_a_feed_that_goes_back_has_no_cursor_left_at_the_server(own: Documents, own_uri: str) -> None:
    async with feeding(own, own_uri) as feed:
        start = feed.time
        own.orders.insert_one({"_id": 1})
        before = idle_cursors(own)
        for _ in range(3):
            batches = feed.batches()
            async with asyncio.timeout(20):
                while not (await anext(batches)).events:
                    pass
            await batches.aclose()
            assert idle_cursors(own) == before + 1
            await feed.rewind(start, step_over=False)
            assert idle_cursors(own) == before


async def test_what_is_read_back_from_the_oplog_is_marked_at_once(own: Documents, own_uri: str) -> None:
    start = now(own)
    write(own)
    until = now(own)
    own.orders.insert_one({"_id": "behind"})
    client = clients.open_feed_client(own_uri)
    try:
        motors = clients.database_of(client, own.name)
        past = await OplogReader(motors, batch_size=7, max_bytes=1 << 20).read(start, until)
    finally:
        client.close()
    events = [event for batch in past.batches for event in batch.events]
    assert [event.collection for event in events if event.op == STEPPED_OVER] == ["orders"]
    assert [event.key for event in events if event.op == "insert"][:3] == ["before", "with it", "with it too"]


def raw(**fields: Any) -> RawBSONDocument:
    return RawBSONDocument(bson.encode(fields))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (raw(clusterTime=Timestamp(1, 2), ns={"db": "d", "coll": "orders"}), [("orders", 1 << 32 | 2)]),
        (
            raw(clusterTime=Timestamp(1, 2), ns={"db": "d", "coll": "a"}, to={"db": "d", "coll": "b"}),
            [("a", 1 << 32 | 2), ("b", 1 << 32 | 2)],
        ),
        (raw(clusterTime=Timestamp(1, 2), ns={"db": "d"}), [(EVERY, 1 << 32 | 2)]),
        (raw(ns={"db": "d", "coll": "orders"}), [(EVERY, 99)]),
        (raw(clusterTime="never", ns={"db": "d", "coll": "orders"}), [(EVERY, 99)]),
        (raw(clusterTime=Timestamp(1, 2), ns=5), [(EVERY, 99)]),
    ],
)
def test_a_mark_names_what_the_event_begins_with_and_every_collection_where_that_says_nothing(
    document: RawBSONDocument, expected: list[tuple[str, int]]
) -> None:
    assert [(one.collection, one.time) for one in marks(document, 99)] == expected
