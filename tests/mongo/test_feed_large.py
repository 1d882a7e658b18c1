"""Events over 16 MB: whole where MongoDB splits them (from 6.0.9 on), without their images where it does not.

Both for real: on the mongod of the other tests, and on 6.0.27.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.errors import PyMongoError

from realtime.core.live.events import to_timestamp
from realtime.mongo import client as clients
from realtime.mongo import feed as feeds
from realtime.mongo.oplog import OplogReader
from tests import second_mongod
from tests.mongo.commands import Commands, Documents, breakable, failing, mongod, now, plain, until, watch_commands
from tests.mongo.reading import FEED, IMAGES, SPLIT, Reading, reading, splits, transaction

pytestmark = [pytest.mark.usefixtures("hasty"), pytest.mark.timeout(120)]
LARGE = 9_000_000
ONE: dict[str, Any] = {"_id": "rs0", "settings": {"electionTimeoutMillis": 500}}


@pytest.fixture(scope="module")
async def newer_uri() -> AsyncIterator[str]:
    """6.0.27, whose commands may be made to fail."""
    with tempfile.TemporaryDirectory(prefix="realtime-mongo-") as directory:
        binary = await asyncio.to_thread(second_mongod.fetched)
        async with breakable(Path(directory), binary) as uri:
            yield uri


@pytest.fixture
def newer(newer_uri: str) -> Iterator[Documents]:
    with plain(newer_uri) as found:
        assert splits(found)
        yield found


NEWER = pytest.param("newer_uri", marks=pytest.mark.long("the same on another version"))


@pytest.fixture(params=["own_uri", NEWER], ids=["mongod", "6.0.27"])
def either_uri(request: pytest.FixtureRequest) -> str:
    uri: str = request.getfixturevalue(request.param)
    return uri


@pytest.fixture
def either(either_uri: str) -> Iterator[Documents]:
    with plain(either_uri) as found:
        yield found


def prepare(database: Documents) -> None:
    """A large document and a small one, with images."""
    database.create_collection("orders", **IMAGES)
    database.orders.insert_many([{"_id": "large", "text": "x" * LARGE, "n": 0}, {"_id": "small", "n": 0}])


def grow(database: Documents, n: int) -> None:
    """An event with both images of the large document: 18 MB."""
    database.orders.update_one({"_id": "large"}, {"$set": {"n": n}})


def seen(got: Reading) -> list[tuple[Any, Any, Any]]:
    """Key and `n` before and after, of the images that came; "-" without one."""
    return [
        (event.key, *("-" if image is None else image.get("n") for image in (event.before, event.document)))
        for event in got.events
    ]


def openings(commands: Commands) -> list[bool]:
    """Of each stream that the feed opened, whether it splits."""
    return [SPLIT in one["pipeline"] for one in commands.of("aggregate") if one.get("comment") == "realtime feed"]


def lost(got: Reading) -> int:
    return [batch.lost for batch in got.batches].count(True)


# ---------------------------------------------------------------------------------------------------------- in the feed


async def test_a_large_event_is_whole_where_mongodb_splits_it_and_the_next_ones_are_everywhere(
    either: Documents, either_uri: str
) -> None:
    prepare(either)
    whole = splits(either)
    async with reading(either, either_uri) as got:
        grow(either, 1)
        await got.has("large")
        either.orders.update_one({"_id": "small"}, {"$inc": {"n": 1}})
        await got.has("small")
    large, small = got.events
    assert (large.op, large.updated) == ("update", ("n",))
    if whole:
        assert large.document == {"_id": "large", "text": "x" * LARGE, "n": 1}
        assert large.before == {"_id": "large", "text": "x" * LARGE, "n": 0}
        assert large.size > 2 * LARGE
        assert got.feed.held_replies >= 1, "it came in more than one reply"
    else:
        assert (large.document, large.before) == (None, None)
    assert (small.before, small.document) == ({"_id": "small", "n": 0}, {"_id": "small", "n": 1})
    assert not lost(got)


@pytest.mark.parametrize("together", [False, True], ids=["alone", "in a transaction"])
@pytest.mark.parametrize("change", [{"n": 1}, {"text": "y" * LARGE}], ids=["small change", "large change"])
async def test_a_large_event_amid_others_costs_no_other_its_images(
    either: Documents, either_uri: str, change: dict[str, Any], together: bool
) -> None:
    either.create_collection("orders", **IMAGES)
    either.orders.insert_many({"_id": number} for number in range(6))
    either.orders.update_one({"_id": 3}, {"$set": {"text": "x" * LARGE}})
    whole = splits(either)

    def write() -> None:
        with either.client.start_session() as session, session.start_transaction() if together else session:
            for number in range(6):
                update = {"$set": change if number == 3 else {"n": 1}}
                either.orders.update_one({"_id": number}, update, session=session)

    async with reading(either, either_uri) as got:
        with failing(either, "getMore", "aggregate", errorCode=6, appName=FEED):
            await asyncio.to_thread(write)  # so that all six are there when the stream opens again
        await got.has(5, seconds=5)
        either.orders.update_one({"_id": 0}, {"$set": {"n": 2}})
        await got.when(lambda: len(got.events) > 6)
    assert got.keys == [*range(6), 0]
    assert got.events[-1].document == {"_id": 0, "n": 2}
    assert not lost(got)
    without = [] if whole else [3]
    assert [event.key for event in got.events if event.before is None] == without
    assert [event.key for event in got.events if event.document is None] == without
    if together:
        assert len({event.time for event in got.events[:6]}) == 1
    if whole:
        large = got.events[3]
        assert large.document == {"_id": 3, "text": "x" * LARGE, **change}
        assert large.before == {"_id": 3, "text": "x" * LARGE}


async def test_many_large_events_cost_one_refusal_and_all_are_whole(
    newer: Documents, newer_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(newer)
    commands = watch_commands(monkeypatch)
    async with reading(newer, newer_uri) as got:
        await got.idle()
        for n in range(1, 5):
            grow(newer, n)
            newer.orders.update_one({"_id": "small"}, {"$set": {"n": n}})
            await got.when(lambda n=n: len(got.events) == 2 * n)  # type: ignore[misc]  # reason: its default binds it now
    assert seen(got) == [(key, n - 1, n) for n in range(1, 5) for key in ("large", "small")]
    assert openings(commands) == [False, True]


async def test_when_no_large_event_comes_any_more_the_stream_no_longer_splits(
    newer: Documents, newer_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Splitting makes every event and every token larger."""
    monkeypatch.setattr(feeds, "SPLIT_SECONDS", 1)
    prepare(newer)
    commands = watch_commands(monkeypatch)
    async with reading(newer, newer_uri) as got:
        for n in (1, 2):
            grow(newer, n)
            await got.when(lambda n=n: [event.key for event in got.events].count("large") == n)  # type: ignore[misc]  # reason: its default binds it now

            def plainly(n: int = n) -> bool:
                newer.other.insert_one({})  # the cluster's clock goes on by what happens
                asked = openings(commands)
                return not asked[-1] and asked.count(True) == n

            await until(plainly)
    large = [one for one in seen(got) if one[0] == "large"]
    assert large == [("large", 0, 1), ("large", 1, 2)]
    assert not lost(got)


# ---------------------------------------------------------------------------------------------------- between fragments


@pytest.mark.parametrize("together", [False, True], ids=["alone", "in a transaction"])
async def test_a_stream_that_breaks_between_fragments_gives_the_event_once_and_whole(
    newer: Documents, newer_uri: str, together: bool
) -> None:
    """And so does a process that was ended there: the next one goes on from the position before the event."""
    prepare(newer)

    def write() -> None:
        with newer.client.start_session() as session, session.start_transaction() if together else session:
            newer.orders.insert_one({"_id": "first"}, session=session)
            newer.orders.update_one({"_id": "large"}, {"$set": {"n": 1}}, session=session)
            newer.orders.insert_one({"_id": "last"}, session=session)

    async with reading(newer, newer_uri) as got:
        with failing(newer, "getMore", "aggregate", errorCode=6, appName=FEED):
            await asyncio.to_thread(write)
            started = got.feed.time
            with failing(newer, "getMore", errorCode=237, appName=FEED) as fault:  # instead of the other
                last = _first_reply(newer, started)[-1]
                assert last["splitEvent"] == {"fragment": 1, "of": 2}, "what the opening brings ends amid the event"
                await asyncio.to_thread(fault.struck, 5)
                assert "large" not in got.keys
                position = got.feed.time
                again = await _read_back(newer, newer_uri, position)
        await got.has("last")
    assert seen(got) == [("first", "-", None), ("large", 0, 1), ("last", "-", None)]
    assert not lost(got)
    told = {event.key: event for event in again}
    assert told["large"].before == {"_id": "large", "text": "x" * LARGE, "n": 0}
    assert [event.time for event in again] == [event.time for event in got.events if event.time > position]


def _first_reply(database: Documents, start: int) -> list[dict[str, Any]]:
    """What the opening of a stream that splits brings."""
    images = {"fullDocument": "whenAvailable", "fullDocumentBeforeChange": "whenAvailable"}
    pipeline = [{"$changeStream": {**images, "startAtOperationTime": to_timestamp(start)}}, SPLIT]
    found: list[dict[str, Any]] = database.command("aggregate", 1, pipeline=pipeline, cursor={})["cursor"]["firstBatch"]
    return found


async def _read_back(database: Documents, uri: str, position: int) -> list[Any]:
    """As a process reads that knows a client's position and nothing else."""
    client = clients.open_feed_client(uri.replace("?", "?appname=another&"), far=True)
    try:
        reader = OplogReader(clients.database_of(client, database.name), batch_size=1000, max_bytes=2**28)
        past = await reader.read(position, now(database))
    finally:
        client.close()
    return [event for batch in past.batches for event in batch.events]


async def test_a_stream_that_breaks_after_the_last_fragment_goes_on_after_the_event(
    newer: Documents, newer_uri: str
) -> None:
    """A fragment's own token is refused by a stream that does not split, as lost history (280)."""
    prepare(newer)
    async with reading(newer, newer_uri) as got:
        grow(newer, 1)
        await got.has("large")
        with failing(newer, "getMore", times=3, errorCode=237, appName=FEED) as fault:
            await asyncio.to_thread(fault.struck, 3)
        newer.orders.insert_one({"_id": "after"})
        await got.has("after")
    assert got.keys == ["large", "after"]
    assert not lost(got)


async def test_history_is_read_back_past_a_large_event(either: Documents, either_uri: str) -> None:
    prepare(either)
    start = now(either)
    for n in range(1, 4):
        grow(either, n)
        either.orders.update_one({"_id": "small"}, {"$set": {"n": n}})
    events = await _read_back(either, either_uri, start)
    assert [event.key for event in events] == ["large", "small"] * 3
    whole = splits(either)
    assert [event.before is not None for event in events] == [whole, True] * 3


# ------------------------------------------------------------------------------------------------- what cannot be split


async def test_an_event_with_no_room_for_a_field_beside_its_key_comes_without_images_and_stops_nothing(
    newer: Documents, newer_uri: str
) -> None:
    """MongoDB refuses it by a code of its own (7182500): a field of nearly 16 MB, and a token that holds a long key."""
    prepare(newer)
    key = "k" * 3000
    newer.orders.insert_one({"_id": key, "text": "x" * 16_770_000, "n": 0})
    async with reading(newer, newer_uri) as got:
        with failing(newer, "getMore", "aggregate", errorCode=6, appName=FEED):
            newer.orders.update_one({"_id": key}, {"$set": {"n": 1}})
            await asyncio.to_thread(grow, newer, 1)
        await got.has("large")
        newer.orders.update_one({"_id": "small"}, {"$set": {"n": 1}})
        await got.has("small")
        grow(newer, 2)
        await got.when(lambda: len(got.events) == 4)
    # To split the second, the stream would have to begin at the first again.
    assert seen(got) == [(key, "-", "-"), ("large", "-", "-"), ("small", 0, 1), ("large", 1, 2)]
    assert not lost(got)


@pytest.mark.parametrize("held_bytes", [1200, 30_000_000])
async def test_what_has_no_room_until_its_moment_is_whole_comes_without_images_and_nothing_is_lost(
    either: Documents, either_uri: str, held_bytes: int
) -> None:
    """Two of 18 MB in one transaction; and what comes after it is whole again."""
    prepare(either)

    def write() -> None:
        with either.client.start_session() as session, session.start_transaction():
            for n in (1, 2):
                either.orders.update_one({"_id": "large"}, {"$set": {"n": n}}, session=session)

    async with reading(either, either_uri, held_bytes=held_bytes) as got:
        await asyncio.to_thread(write)
        await got.when(lambda: len(got.events) == 2)
        either.orders.update_one({"_id": "small"}, {"$set": {"n": 1}})
        await got.has("small")
    assert got.keys == ["large", "large", "small"]
    assert [event.updated for event in got.events] == [("n",)] * 3
    assert seen(got)[2] == ("small", 0, 1)
    assert not lost(got)


async def test_an_error_at_the_opening_after_a_break_amid_a_transaction_loses_nothing_of_its_beginning(
    own: Documents, own_uri: str
) -> None:
    own.create_collection("orders")
    async with reading(own, own_uri, batch_size=7) as got:
        with failing(own, "getMore", "aggregate", errorCode=6, appName=FEED):
            await asyncio.to_thread(transaction, own, "orders", list(range(20)))
            # Each instead of the one before, with no gap between them.
            with failing(own, "getMore", "aggregate", skip=2, errorCode=6, appName=FEED) as fault:
                await asyncio.to_thread(fault.struck, 3)
                held = got.feed.held_replies
                with failing(own, "aggregate", times=2, errorCode=10334, appName=FEED) as refused:
                    await asyncio.to_thread(refused.struck, 2)
        await got.has(19)
    assert held, "it broke amid the transaction"
    assert got.keys == list(range(20))


@pytest.mark.parametrize("splitting", [False, True])
async def test_a_database_that_is_dropped_in_a_full_reply_ends_the_stream_once(
    newer: Documents, newer_uri: str, splitting: bool
) -> None:
    """The reply is full by its bytes, so its last moment counted as one that may go on."""
    prepare(newer)

    def write() -> None:
        newer.orders.insert_one({"_id": "full", "text": "x" * 2_000_000})
        newer.client.drop_database(newer.name)

    async with reading(newer, newer_uri) as got:
        await got.idle()  # it has a token
        if splitting:
            grow(newer, 1)
            await got.has("large")
        with failing(newer, "getMore", "aggregate", errorCode=6, appName=FEED):
            await asyncio.to_thread(write)  # so that all of it is in one reply
        await got.when(lambda: got.events and got.events[-1].op == "dropDatabase")
        newer.orders.insert_one({"_id": "after"})
        await got.has("after")
    told = [(event.op, event.key) for event in got.events]
    wanted = [("insert", "full"), ("drop", None), ("dropDatabase", None), ("insert", "after")]
    assert told == [*([("update", "large")] if splitting else []), *wanted]
    assert not lost(got)


# ---------------------------------------------------------------------------------------------------- rolling upgrade


@pytest.mark.long("two versions of MongoDB take turns")
async def test_servers_that_split_and_that_do_not_take_turns_and_nothing_is_lost_or_repeated(
    directory: Path, binary: Path
) -> None:
    """Up and down again under one stream, each time with a large event as the last thing that was read."""
    newer = await asyncio.to_thread(second_mongod.fetched)
    servers = (binary, newer, binary, newer)
    whole: list[bool] = []
    async with contextlib.AsyncExitStack() as stack:
        async with _a_turn(directory, servers[0]) as address:
            with pymongo.MongoClient[dict[str, Any]](address, directConnection=True) as direct:
                direct.admin.command("replSetInitiate", ONE | {"members": [_member(address)]})
            uri = f"mongodb://{address}/?replicaSet=rs0&heartbeatFrequencyMS=500"
            client = stack.enter_context(pymongo.MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=5000))
            await until(lambda: _takes_writes(client))
            database = client["turns"]
            await asyncio.to_thread(prepare, database)
            got = await stack.enter_async_context(reading(database, uri))
            await _large_small_large(database, got, 0)
            whole.append(splits(database))
        for turn, server in enumerate(servers[1:], 1):
            async with _a_turn(directory, server, int(address.rpartition(":")[2])):
                await until(lambda: _takes_writes(client))
                await _large_small_large(database, got, turn)
                whole.append(splits(database))
                if turn == len(servers) - 1:
                    got.feed.close()  # while there is a server to close it at
                    await until(lambda: got.ended)
    expected = []
    for turn in range(len(servers)):
        large = [("large", 2 * turn + n, 2 * turn + n + 1) if whole[turn] else ("large", "-", "-") for n in (0, 1)]
        expected += [large[0], ("small", turn, turn + 1), large[1]]
    assert (whole[1], whole[3]) == (True, True)
    assert seen(got) == expected
    assert not lost(got)


def _a_turn(directory: Path, server: Path, port: int = 0) -> contextlib.AbstractAsyncContextManager[str]:
    """A server that opens no stream of the feed at first, so that a large event is what the next one begins with."""
    refusing = {"failCommands": ["aggregate"], "errorCode": 6, "appName": FEED}
    point = json.dumps({"mode": "alwaysOn", "data": refusing})
    parameters = ("--setParameter", "enableTestCommands=1", "--setParameter", f"failpoint.failCommand={point}")
    return mongod(directory, "--replSet", "rs0", *parameters, binary=server, port=port)


def _member(address: str) -> dict[str, Any]:
    return {"_id": 0, "host": address}


def _takes_writes(client: pymongo.MongoClient[dict[str, Any]]) -> bool:
    try:
        return bool(client.admin.command("hello")["isWritablePrimary"])
    except PyMongoError:
        return False


async def _large_small_large(database: Documents, got: Reading, turn: int) -> None:
    """Three events; returns when they have been read."""
    await asyncio.to_thread(grow, database, 2 * turn + 1)
    database.client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    await got.when(lambda: len(got.events) == 3 * turn + 1)
    await asyncio.to_thread(database.orders.update_one, {"_id": "small"}, {"$set": {"n": turn + 1}})
    await got.when(lambda: len(got.events) == 3 * turn + 2)
    await asyncio.to_thread(grow, database, 2 * turn + 2)
    await got.when(lambda: len(got.events) == 3 * turn + 3)
