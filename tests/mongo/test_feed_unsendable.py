"""Events that no reply of MongoDB's has room for, whatever is left out, stop nothing: they are told as what they are.

Both for real: on the mongod of the other tests, and on 6.0.27. MongoDB sends an event's document, its key, and a resume
token that holds the key in hex; and that token once more beside the events.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import bson
import pytest

from realtime.core.live.events import UNSENT
from realtime.core.live.gathered import Past
from realtime.errors import HistoryLostError
from realtime.mongo import client as clients
from realtime.mongo import feed as feeds
from realtime.mongo.oplog import OplogReader
from tests import second_mongod
from tests.mongo.commands import Documents, breakable, failing, now, plain
from tests.mongo.reading import FEED, IMAGES, Reading, reading

pytestmark = pytest.mark.timeout(120)
MOST = 16 * 1024 * 1024
SOME_KB, SOME_MB, MANY_MB = "k" * 8000, "k" * 3_300_000, "k" * 5_000_000
"""A key that leaves no room beside a document near 16 MB; one that leaves none for itself but in a token; and one of
which no reply has room for the token."""


@pytest.fixture(scope="module")
async def newer_uri() -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory(prefix="realtime-mongo-") as directory:
        binary = await asyncio.to_thread(second_mongod.fetched)
        async with breakable(Path(directory), binary) as uri:
            yield uri


LARGER = pytest.param(SOME_MB, marks=pytest.mark.long("a larger key again"))
NEWER = pytest.param("newer_uri", marks=pytest.mark.long("documents of 16 MB again, on another version"))


@pytest.fixture(params=["own_uri", NEWER], ids=["mongod", "6.0.27"])
def uri(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def database(uri: str) -> Iterator[Documents]:
    with plain(uri) as found:
        found.create_collection("large", **IMAGES)
        found.create_collection("small", **IMAGES)
        yield found


def full(key: str, n: int = 0) -> dict[str, Any]:
    """As large as a document may be."""
    document = {"_id": key, "n": n, "text": ""}
    return {**document, "text": "x" * (MOST - len(bson.encode(document)))}


def together(database: Documents, key: str) -> None:
    with database.client.start_session() as session, session.start_transaction():
        database.small.insert_one({"_id": "amid"}, session=session)
        database.large.insert_one({"_id": key}, session=session)
        database.small.insert_one({"_id": "amid too"}, session=session)


def is_up(got: Reading) -> bool:
    """In the end. Where 6.0.5 closes the connection instead of refusing, six times may take the 3 s that are told."""
    return [status.up for status in got.statuses] in ([], [False, True], [False, True] * 2)


def told(got: Reading) -> list[tuple[str, str, Any]]:
    return [(event.op, event.collection, event.key) for event in got.events]


MARK = (UNSENT, "large", None)
WRITES = {
    "a document near 16 MB, a key of some KB": lambda database: database.large.insert_one(full(SOME_KB)),
    "the same by upsert": lambda database: database.large.replace_one({"_id": SOME_KB}, full(SOME_KB), upsert=True),
    "a key of some MB": lambda database: database.large.insert_one({"_id": SOME_MB}),
    "a key of some MB in an upsert": lambda database: database.large.update_one(
        {"_id": SOME_MB}, {"$set": {"n": 1}}, upsert=True
    ),
}


UPSERTS = pytest.mark.long("the same document by another write")


@pytest.mark.parametrize(
    "write",
    [pytest.param(write, id=name, marks=[UPSERTS] if "upsert" in name else []) for name, write in WRITES.items()],
)
async def test_an_insert_that_has_no_room_in_any_reply_stopped_the_feed_for_good(
    database: Documents, uri: str, write: Any
) -> None:
    """It is a mark of its collection at its time; what is beside it is whole, and the feed goes on."""
    async with reading(database, uri) as got:
        await got.idle()
        with failing(database, "getMore", "aggregate", errorCode=6, appName=FEED):
            database.small.insert_one({"_id": "before"})
            await asyncio.to_thread(write, database)
        # Not before: a reply that ends with the next event has a short token beside the events.
        await got.when(lambda: len(got.events) == 2)
        database.small.insert_one({"_id": "after"})
        await got.has("after")
        database.small.update_one({"_id": "after"}, {"$set": {"n": 1}})
        await got.when(lambda: got.events[-1].op == "update")
    assert told(got) == [
        ("insert", "small", "before"),
        MARK,
        ("insert", "small", "after"),
        ("update", "small", "after"),
    ]
    assert got.events[-1].before == {"_id": "after"}
    assert not [batch for batch in got.batches if batch.lost]
    assert is_up(got)


@pytest.mark.parametrize("key", [SOME_KB, LARGER], ids=["some KB", "some MB"])
async def test_what_happens_to_such_a_document_later_is_told_or_marked(database: Documents, uri: str, key: str) -> None:
    """Update, replace, delete."""
    write = full if key == SOME_KB else (lambda key, n=0: {"_id": key, "n": n})
    await asyncio.to_thread(database.large.insert_one, write(key))
    async with reading(database, uri) as got:
        await asyncio.to_thread(database.large.update_one, {"_id": key}, {"$set": {"n": 1}})
        await got.when(lambda: len(got.events) == 1)
        await asyncio.to_thread(database.large.replace_one, {"_id": key}, write(key, 2))
        await got.when(lambda: len(got.events) == 2)
        await asyncio.to_thread(database.large.delete_one, {"_id": key})
        await got.when(lambda: len(got.events) == 3)
        database.small.insert_one({"_id": "after"})
        await got.has("after")
    *large, after = got.events
    assert [event.collection for event in large] == ["large"] * 3
    assert large[1].op == UNSENT
    assert {event.op for event in large} <= {UNSENT, "update", "delete"}
    assert after.document == {"_id": "after"}
    assert not [batch for batch in got.batches if batch.lost]
    assert is_up(got)


@pytest.mark.parametrize("key", [SOME_MB, MANY_MB], ids=["some MB", "many MB"])
async def test_in_a_transaction_it_is_a_mark_in_its_moment_or_the_moment_is_lost(
    database: Documents, uri: str, key: str
) -> None:
    async with reading(database, uri, batch_size=1) as got:
        await got.idle()
        await asyncio.to_thread(together, database, key)
        database.small.insert_one({"_id": "after"})
        await got.when(lambda: got.keys[-1:] == ["after"] or any(batch.lost for batch in got.batches))
        database.small.insert_one({"_id": "later"})
        await got.has("later")
    lost = [batch.lost for batch in got.batches].count(True)
    if key == SOME_MB:
        assert told(got)[:3] == [("insert", "small", "amid"), MARK, ("insert", "small", "amid too")]
        assert len({event.time for event in got.events[:3]}) == 1
        assert not lost
    else:
        assert lost == 1
        assert not [event for event in got.events if event.key in ("amid", "amid too")], "half a moment is none"
    assert got.events[-1].document == {"_id": "later"}
    assert is_up(got)


async def test_an_event_whose_token_has_no_room_costs_everybody_a_look_and_the_feed_nothing(
    database: Documents, uri: str
) -> None:
    """Insert and delete; the second as the last thing that happens for a while."""
    async with reading(database, uri) as got:
        await got.idle()
        before = now(database)
        await asyncio.to_thread(database.large.insert_one, {"_id": MANY_MB})
        written = now(database)
        await got.when(lambda: got.feed.time >= written)
        await asyncio.to_thread(database.large.delete_one, {"_id": MANY_MB})
        deleted = now(database)
        await got.when(lambda: got.feed.time >= deleted)
        database.small.insert_one({"_id": "after"})
        await got.has("after")
    lost = [batch.time for batch in got.batches if batch.lost]
    assert len(lost) == 2
    assert before < lost[0] < deleted <= lost[1]
    assert told(got) == [("insert", "small", "after")]
    assert is_up(got)


async def test_two_such_events_after_one_that_can_be_marked_are_passed(database: Documents, uri: str) -> None:
    """MongoDB does not find the token of an event where that is left out, and says that history is lost."""
    async with reading(database, uri) as got:
        await got.idle()
        with failing(database, "getMore", "aggregate", errorCode=6, appName=FEED):
            for key in (SOME_MB, MANY_MB, MANY_MB + "2"):
                await asyncio.to_thread(database.large.insert_one, {"_id": key})
            for key in ("next", "after"):
                database.small.insert_one({"_id": key})
        # It was there before: from where history is lost for good, only what comes from now on is told.
        await got.has("after")
    assert [batch.lost for batch in got.batches].count(True) == 1
    assert is_up(got)


@pytest.mark.usefixtures("hasty")
async def test_the_steps_past_one_event_are_no_silence(
    own: Documents, own_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MongoDB answers each of them. How long they take together is for nobody to hear of, were it longer than this."""
    monkeypatch.setattr(feeds, "DEGRADED_AFTER_SECONDS", 1e-6)
    async with reading(own, own_uri) as got:
        await got.idle()
        with failing(own, "getMore", "aggregate", times=2, errorCode=10334, appName=FEED) as fault:
            await asyncio.to_thread(fault.struck, 2)
            own.small.insert_one({"_id": "after"})
            await got.has("after")
    assert fault.hits == 2
    assert got.statuses == []


# ------------------------------------------------------------------------------------------------------- read back


async def _read_back(database: Documents, uri: str, position: int) -> Past:
    client = clients.open_feed_client(uri.replace("?", "?appname=another&"), far=True)
    try:
        reader = OplogReader(clients.database_of(client, database.name), batch_size=1000, max_bytes=2**28)
        return await reader.read(position, now(database))
    finally:
        client.close()


@pytest.mark.parametrize("key", [SOME_KB, LARGER], ids=["some KB", "some MB"])
async def test_who_resumes_from_before_it_is_told_of_the_mark(database: Documents, uri: str, key: str) -> None:
    start = now(database)
    database.small.insert_one({"_id": "before"})
    await asyncio.to_thread(database.large.insert_one, full(key) if key == SOME_KB else {"_id": key})
    past = await _read_back(database, uri, start)
    events = [(event.op, event.collection, event.key) for batch in past.batches for event in batch.events]
    assert events == [("insert", "small", "before"), MARK]


@pytest.mark.long("reads the whole oplog of such documents")
async def test_who_resumes_from_before_what_cannot_even_be_named_is_told_that_history_is_lost(
    database: Documents, uri: str
) -> None:
    start = now(database)
    await asyncio.to_thread(database.large.insert_one, {"_id": MANY_MB})
    database.small.insert_one({"_id": "after"})
    with pytest.raises(HistoryLostError, match="could not be sent"):
        await _read_back(database, uri, start)
