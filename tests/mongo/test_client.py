"""The clients: the URI's options before ours, a pool for the feed alone, and a codec that no document breaks."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

import bson
import pytest
from bson.binary import Binary, UuidRepresentation
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure
from pymongo.synchronous.collection import Collection

from realtime.core.bson import stored
from realtime.core.bson.stored import Broken
from realtime.core.live.events import ChangeEvent
from realtime.errors import ConfigurationError
from realtime.mongo import client as clients
from realtime.mongo.feed import ChangeFeed
from tests.mongo.commands import SECONDS, Documents, now, plain
from tests.replica_set import ReplicaSet

UNUSED = "mongodb://127.0.0.1:1/"


@pytest.fixture
def database(replica_set: ReplicaSet) -> Iterator[Documents]:
    with plain(replica_set.uri) as found:
        yield found


def options(uri: str, *, feed: bool = False) -> dict[str, Any]:
    """What the driver made of our options and the URI's; times in seconds, as the driver has them."""
    client = clients.open_feed_client(uri) if feed else clients.open_client(uri)
    found = client.options
    client.close()
    return {
        "app": found.pool_options.appname,
        "selection": found.server_selection_timeout,
        "connect": found.pool_options.connect_timeout,
        "socket": found.pool_options.socket_timeout,
        "retry_writes": found.retry_writes,
        "retry_reads": found.retry_reads,
        "pool": found.pool_options.max_pool_size,
        "read_preference": found.read_preference.mongos_mode,
    }


async def test_ours_are_short_enough_for_a_service() -> None:
    ours = options(UNUSED)
    assert (ours["selection"], ours["connect"], ours["socket"]) == (5, 3, 6)
    assert (ours["app"], ours["retry_writes"], ours["retry_reads"]) == ("realtime", True, True)


async def test_the_feeds_own_has_a_small_pool_and_waits_longer_than_its_stream() -> None:
    feeds = options(UNUSED, feed=True)
    assert (feeds["app"], feeds["pool"]) == ("realtime-feed", 2)
    assert feeds["socket"] > 1, "the await time"


@pytest.mark.parametrize("feed", [False, True], ids=["requests", "feed"])
async def test_the_options_of_the_uri_win_over_ours(feed: bool) -> None:
    uri = (
        f"{UNUSED}?serverSelectionTimeoutMS=111&connectTimeoutMS=222&socketTimeoutMS=3333&retryWrites=false"
        "&retryReads=false&appName=mine&maxPoolSize=50&readPreference=secondary"
    )
    got = options(uri, feed=feed)
    assert (got["selection"], got["connect"], got["socket"]) == (0.111, 0.222, 3.333)
    assert (got["app"], got["retry_writes"], got["retry_reads"]) == ("mine", False, False)
    assert got["read_preference"] == "secondary"
    assert got["pool"] == (2 if feed else 50), "the feed's pool is its own matter"


async def test_the_case_of_an_option_does_not_matter() -> None:
    assert options(f"{UNUSED}?SERVERSELECTIONTIMEOUTMS=111&APPNAME=mine")["selection"] == 0.111


async def test_the_feed_shares_no_pool_with_the_requests(replica_set: ReplicaSet) -> None:
    requests, feed = clients.open_client(replica_set.uri), clients.open_feed_client(replica_set.uri)
    ids = [client._topology._topology_id for client in (requests.delegate, feed.delegate)]
    requests.close()
    feed.close()
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "localhost:27017",
        "http://user:pa55word@host",
        "mongodb://",
        "mongodb://user:pa55word@",
        "mongodb://user:pa55word@host:port/",
        "mongodb://user:pa55word@host:99999/",
        "mongodb://user:x@pa55word@host/",
        "mongodb://user:x:pa55word@host/",
        "mongodb://user:%zzpa55word@host/",
        "mongodb://user:x/pa55word@host/",
        "mongodb://user:12/pa55word@host",
        "mongodb://user:x?pa55word@host/",
        "mongodb://user:pa55word@host/?connectTimeoutMS=soon",
        "mongodb://user:pa55word@host/?nosuchoption=1",
        "mongodb://user:pa55word@host/?authMechanism=NONE",
        "mongodb://user:pa55word@one,two/?directConnection=true",
        "mongodb://user:pa55word@host/?tls=true&tlsCAFile=/no/such/file",
        "mongodb+srv://user:pa55word@one,two/",
        "mongodb+srv://user:pa55word@host:27017/",
    ],
)
async def test_a_uri_that_cannot_be_used_is_one_line_that_names_the_setting_and_never_the_password(uri: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        clients.open_client(uri).close()
    line = str(refused.value)
    assert line.startswith("REALTIME_MONGODB_URI cannot be used: ")
    assert len(line) > len("REALTIME_MONGODB_URI cannot be used: ") + 10
    assert "\n" not in line
    assert "pa55word" not in line
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("mongodb://host/shop", "shop"),
        ("mongodb://host/shop?replicaSet=rs0", "shop"),
        ("mongodb://host", None),
        ("mongodb://host/", None),
        ("mongodb://host/?replicaSet=rs0", None),
    ],
)
def test_the_database_that_a_uri_names(uri: str, name: str | None) -> None:
    assert clients.database_in(uri) == name


# ---------------------------------------------------------------------------------------------------------------- codec


def odd_documents() -> list[bytes]:
    """What other drivers write and Python has no value for, or only by the right option."""
    after_9999 = bson.encode({"_id": "date", "at": DatetimeMS(253_402_300_800_000)})
    before_1 = bson.encode({"_id": "before", "at": DatetimeMS(-62_135_596_800_001)})
    invalid_text = bson.encode({"_id": "text", "name": "a?b"}).replace(b"a?b", b"a\xffb")
    invalid_name = bson.encode({"_id": "name", "a?b": 1}).replace(b"a?b", b"a\xffb")
    identifier = bson.encode({"_id": "uuid", "u": Binary.from_uuid(UUID, UuidRepresentation.STANDARD)})
    old_identifier = bson.encode({"_id": "old uuid", "u": Binary.from_uuid(UUID, UuidRepresentation.JAVA_LEGACY)})
    aware = bson.encode({"_id": "aware", "at": dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)})
    return [after_9999, before_1, invalid_text, invalid_name, identifier, old_identifier, aware]


UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


async def test_no_document_of_another_driver_ends_the_feed(database: Documents, replica_set: ReplicaSet) -> None:
    """One date past 9999 or one broken string ended the stream at every resume, without these options."""
    client = clients.open_feed_client(replica_set.uri)
    feed = ChangeFeed(client, clients.database_of(client, database.name), start=now(database), await_ms=100)
    events: list[ChangeEvent] = []

    async def read() -> None:
        async for batch in feed.batches():
            events.extend(batch.events)
            if events and events[-1].key == "last":
                feed.close()

    task = asyncio.create_task(read())
    written = odd_documents()
    for number in range(100):
        database.orders.insert_one({"_id": number})
        if number % 10 == 0 and number // 10 < len(written):
            database.orders.insert_one(RawBSONDocument(written[number // 10]))
    database.orders.insert_one({"_id": "last"})
    async with asyncio.timeout(SECONDS):
        await task
    client.close()
    assert len(events) == 100 + len(written) + 1
    assert [event.key for event in events if isinstance(event.key, int)] == list(range(100))
    got = {event.key: event.document for event in events}
    assert got["date"] == {"_id": "date", "at": DatetimeMS(253_402_300_800_000)}
    assert got["before"] == {"_id": "before", "at": DatetimeMS(-62_135_596_800_001)}
    # As they are stored; how they are shown is the matter of core/ejson.py.
    assert got["text"] == {"_id": "text", "name": Broken("a\udcffb")}
    assert got["name"] == {"_id": "name", "a\udcffb": 1}
    assert got["uuid"] == {"_id": "uuid", "u": Binary(UUID.bytes, 4)}
    assert got["old uuid"] == {"_id": "old uuid", "u": Binary.from_uuid(UUID, UuidRepresentation.JAVA_LEGACY)}
    assert got["aware"] == {"_id": "aware", "at": dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)}


async def test_what_is_read_is_written_back_the_same(database: Documents, replica_set: ReplicaSet) -> None:
    client, motors = clients.open_database(replica_set.uri, database.name)
    database.orders.insert_many(RawBSONDocument(one) for one in odd_documents())
    found = {one["_id"]: one async for one in motors.orders.find().sort("$natural", 1)}
    await motors.copies.insert_many(list(found.values()))
    client.close()
    assert len(found) == len(odd_documents())
    assert found["uuid"]["u"] == UUID
    copies: Collection[Any] = database.get_collection("copies", clients.RAW)
    raw = [bytes(one.raw) for one in copies.find().sort("$natural", 1)]
    assert (raw[:2], raw[4:]) == (odd_documents()[:2], odd_documents()[4:]), "but for the broken strings, byte by byte"


async def test_a_refusal_may_quote_text_that_is_no_utf_8(database: Documents, replica_set: ReplicaSet) -> None:
    """It is one of MongoDB's errors, whose code says what to do, and none of the driver's decoder."""
    database.odd.insert_one(RawBSONDocument(stored.encode({"_id": 1, "x": Broken("\udcff")})))
    client, motors = clients.open_database(replica_set.uri, database.name)
    command = {"findAndModify": "odd", "query": {"_id": 1}, "update": {"$set": {"x.y": 1}}}
    try:
        with pytest.raises(OperationFailure, match="Cannot create field 'y'") as refused:
            await motors.command(command, codec_options=clients.RAW)
    finally:
        client.close()
    assert refused.value.code == 28
