"""Reads whose time is known, against a real mongod: what they show is what was there at that time, all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import bson
import pytest

from realtime.core.live.events import to_time, to_timestamp
from realtime.errors import NotFoundError, ServiceError, TooLargeError, UnavailableError, UnsupportedCollectionError
from realtime.mongo import client as clients
from realtime.mongo.faults import Gate
from realtime.mongo.snapshot import SNAPSHOT_TRIES, MongoReader
from realtime.ports import Snapshot, VoidReadError
from tests.mongo.commands import SECONDS, Documents, failing, now, watch_commands
from tests.replica_set import ReplicaSet

APP = "realtime"


def reader_of(uri: str, database: Documents) -> Iterator[MongoReader]:
    client, motors = clients.open_database(uri, database.name)
    yield MongoReader(client, motors, Gate(10))
    client.close()


@pytest.fixture
async def reader(replica_set: ReplicaSet, database: Documents) -> AsyncIterator[MongoReader]:
    for made in reader_of(replica_set.uri, database):
        yield made


@pytest.fixture
async def own_reader(own_uri: str, own: Documents) -> AsyncIterator[MongoReader]:
    for made in reader_of(own_uri, own):
        yield made


def at(database: Documents, collection: str, time: int) -> list[Any]:
    """The collection at a cluster time, by a plain command, by `_id`."""
    concern = {"level": "snapshot", "atClusterTime": to_timestamp(time)}
    reply = database.command({"find": collection, "sort": {"_id": 1}, "batchSize": 100_000, "readConcern": concern})
    assert reply["cursor"]["id"] == 0
    return list(reply["cursor"]["firstBatch"])


def by_key(documents: Any) -> list[Any]:
    return sorted((dict(document) for document in documents), key=lambda document: str(document["_id"]))


# ----------------------------------------------------------------------------------------------------------------- find


async def test_of_many_finds_that_come_together_few_are_with_mongodb_at_once(
    database: Documents, reader: MongoReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is told whole all the same; how many are under way is counted where the command is sent."""
    database.items.insert_many([{"_id": number} for number in range(100)])
    under_way, most, send = 0, 0, reader._with_new_times

    async def counted(*arguments: Any) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await send(*arguments)
        finally:
            under_way -= 1

    monkeypatch.setattr(reader, "_with_new_times", counted)
    after = now(database)
    found = await asyncio.gather(*(reader.find("items", {"_id": n}, after=after, limit=1) for n in range(100)))
    assert [one.documents[0]["_id"] for one in found] == list(range(100))
    assert most == max(1, clients.WORKERS - 4)


async def test_find_shows_what_was_there_at_its_own_time_while_others_write(
    database: Documents, reader: MongoReader
) -> None:
    """Four documents always sum to 400, whatever moment is read."""
    database.orders.insert_many({"_id": number, "total": 100} for number in range(4))
    stop = asyncio.Event()

    def write() -> int:
        done = 0
        while not stop.is_set():
            with database.client.start_session() as session, session.start_transaction():
                database.orders.update_one({"_id": done % 4}, {"$inc": {"total": -1}}, session=session)
                database.orders.update_one({"_id": (done + 1) % 4}, {"$inc": {"total": 1}}, session=session)
            done += 1
        return done

    writing = asyncio.create_task(asyncio.to_thread(write))
    after = now(database)
    snapshots: list[Snapshot] = []
    async with asyncio.timeout(SECONDS):
        while len({snapshot.time for snapshot in snapshots}) < 20:
            snapshots.append(await reader.find("orders", {}, after=after, limit=10))
            after = snapshots[-1].time
    stop.set()
    assert await writing > 10
    for snapshot in snapshots:
        assert by_key(snapshot.documents) == at(database, "orders", snapshot.time)
        assert sum(document["total"] for document in snapshot.documents) == 400
        assert snapshot.unless_changed_by is None


async def test_find_is_at_or_after_the_time_asked_for(database: Documents, reader: MongoReader) -> None:
    database.create_collection("orders")
    for number in range(10):
        database.orders.insert_one({"_id": number})
        after = now(database)
        snapshot = await reader.find("orders", {}, after=after, limit=100)
        assert snapshot.time >= after
        assert len(snapshot.documents) == number + 1


async def test_find_takes_only_what_matches(database: Documents, reader: MongoReader) -> None:
    database.orders.insert_many({"_id": number, "open": number % 2 == 0} for number in range(10))
    snapshot = await reader.find("orders", {"open": True}, after=now(database), limit=100)
    assert [document["_id"] for document in by_key(snapshot.documents)] == [0, 2, 4, 6, 8]


async def test_a_window_is_the_first_documents_in_their_order_however_many_there_are(
    database: Documents, reader: MongoReader
) -> None:
    """Over several batches of the cursor, all at one time; more than a command's own batch."""
    database.orders.insert_many({"_id": number, "n": number * 7919 % 3001, "x": "y" * 50} for number in range(3000))
    after = now(database)
    sort = {"n": -1, "_id": 1}
    snapshot = await reader.find("orders", {"n": {"$gt": 5}}, after=after, limit=2500, sort=sort, cut=True)
    database.orders.delete_many({})
    right = sorted((n * 7919 % 3001 for n in range(3000)), reverse=True)[:2500]
    assert [document["n"] for document in snapshot.documents] == right
    assert snapshot.time >= after
    fewer = await reader.find("orders", {}, after=now(database), limit=5, sort=sort, cut=True)
    assert len(fewer.documents) == 0


async def test_only_the_fields_asked_for_are_read(database: Documents, reader: MongoReader) -> None:
    database.orders.insert_one({"_id": 1, "a": {"b": 1, "c": 2}, "d": 3})
    snapshot = await reader.find("orders", {"d": 3}, after=now(database), limit=5, fields={"_id": 1, "a.b": 1})
    assert [dict(document) for document in snapshot.documents] == [{"_id": 1, "a": {"b": 1}}]


async def test_a_document_that_cannot_be_sorted_is_the_requests_fault(database: Documents, reader: MongoReader) -> None:
    database.orders.insert_many([{"_id": 1, "a": [1], "b": [2]}, {"_id": 2}])
    with pytest.raises(ServiceError, match="two arrays side by side") as refused:
        await reader.find("orders", {}, after=now(database), limit=5, sort={"a": 1, "b": 1, "_id": 1}, cut=True)
    assert not refused.value.retry


async def test_a_result_over_the_limit_is_refused_with_its_count(database: Documents, reader: MongoReader) -> None:
    database.orders.insert_many({"_id": number, "open": number < 25} for number in range(40))
    exactly = await reader.find("orders", {"open": True}, after=now(database), limit=25)
    assert len(exactly.documents) == 25
    with pytest.raises(TooLargeError, match="25 documents") as refused:
        await reader.find("orders", {"open": True}, after=now(database), limit=24)
    assert refused.value.details == {"count": 25, "limit": 24}


async def test_a_collection_that_is_not_there_is_empty_unless_it_changed(
    database: Documents, reader: MongoReader
) -> None:
    """MongoDB names no time for it; the reply's own is the bound up to which the hub has to look for a change."""
    database.other.insert_one({"_id": 1})
    after = now(database)
    snapshot = await reader.find("nothing", {}, after=after, limit=10)
    assert (snapshot.time, list(snapshot.documents)) == (after, [])
    assert snapshot.unless_changed_by is not None
    assert snapshot.unless_changed_by >= after


async def test_an_empty_collection_has_a_time(database: Documents, reader: MongoReader) -> None:
    database.create_collection("empty")
    after = now(database)
    snapshot = await reader.find("empty", {}, after=after, limit=10)
    assert snapshot.time >= after
    assert (list(snapshot.documents), snapshot.unless_changed_by) == ([], None)


@pytest.mark.parametrize("code", [239, 246])
async def test_a_time_that_cannot_be_read_is_tried_again_with_another(
    own: Documents, own_reader: MongoReader, code: int
) -> None:
    own.orders.insert_one({"_id": 1})
    with failing(own, "find", times=SNAPSHOT_TRIES - 1, errorCode=code, appName=APP) as fault:
        snapshot = await own_reader.find("orders", {}, after=now(own), limit=10)
    assert fault.hits == SNAPSHOT_TRIES - 1
    assert list(snapshot.documents) == [{"_id": 1}]
    with failing(own, "find", errorCode=code, appName=APP) as fault, pytest.raises(UnavailableError):
        await own_reader.find("orders", {}, after=now(own), limit=10)
    assert fault.hits == SNAPSHOT_TRIES


# -------------------------------------------------------------------------------------------------------------- read_at


async def test_read_at_shows_an_old_time_exactly(database: Documents, reader: MongoReader) -> None:
    """Each of 20 versions as it was, although the document has changed since and another one is gone."""
    database.orders.insert_many([{"_id": 1, "n": 0}, {"_id": "gone"}])
    times = []
    for number in range(1, 21):
        database.orders.update_one({"_id": 1}, {"$set": {"n": number}})
        times.append(now(database))
    database.orders.delete_one({"_id": "gone"})
    deleted = now(database)
    database.orders.update_one({"_id": 1}, {"$set": {"n": -1}})
    for number, time in enumerate(times, 1):
        snapshot = await reader.read_at("orders", [1, "gone", "never"], time)
        assert snapshot.time == time
        assert by_key(snapshot.documents) == [{"_id": 1, "n": number}, {"_id": "gone"}]
    snapshot = await reader.read_at("orders", [1, "gone"], deleted)
    assert list(snapshot.documents) == [{"_id": 1, "n": 20}]


async def test_read_at_takes_keys_as_values(database: Documents, reader: MongoReader) -> None:
    keys: list[Any] = [1, "1", None, {"a": [1]}, bson.ObjectId(), 1.5]
    database.orders.insert_many({"_id": key} for key in [*keys, 2, "2", {"a": 1}])
    snapshot = await reader.read_at("orders", keys, now(database))
    assert sorted(str(document["_id"]) for document in snapshot.documents) == sorted(map(str, keys))


@pytest.mark.parametrize(("count", "size"), [(2_500, 10), (20, 1_000_000)], ids=["2500 documents", "20 MB"])
async def test_more_than_one_reply_is_read_to_the_end_at_one_time(
    database: Documents,
    reader: MongoReader,
    monkeypatch: pytest.MonkeyPatch,
    replica_set: ReplicaSet,
    count: int,
    size: int,
) -> None:
    commands = watch_commands(monkeypatch)
    database.orders.insert_many({"_id": number, "text": "x" * size} for number in range(count))
    for watched in reader_of(replica_set.uri, database):
        time = now(database)
        database.orders.update_many({}, {"$set": {"later": True}})
        read = await watched.read_at("orders", list(range(count)), time)
        found = await watched.find("orders", {}, after=now(database), limit=count)
    assert [document["_id"] for document in read.documents if "later" not in document] == list(range(count))
    assert len([document for document in found.documents if document["later"]]) == count
    assert len(commands.of("getMore")) >= 2


@pytest.mark.parametrize("change", ["createIndex", "dropIndex", "collMod", "renamed and back"])
async def test_a_change_of_the_catalogue_leaves_the_read_exact_or_voids_it(
    database: Documents, reader: MongoReader, change: str
) -> None:
    """Which of the two depends on the server's version; a newer time can always be read."""
    database.orders.insert_many({"_id": number, "n": 1} for number in range(5))
    database.orders.create_index("m", name="old")
    before = now(database)
    assert len((await reader.read_at("orders", [1], before)).documents) == 1
    if change == "createIndex":
        database.orders.create_index("n")
    elif change == "dropIndex":
        database.orders.drop_index("old")
    elif change == "collMod":
        database.command("collMod", "orders", validator={"n": {"$gt": 0}})
    else:
        database.orders.rename("away")
        database.away.rename("orders")
    database.orders.update_many({}, {"$set": {"n": 2}})
    try:
        snapshot = await reader.read_at("orders", list(range(5)), before)
    except VoidReadError as void:
        assert "246" in str(void)  # noqa: PT017 - raising it is one of two right answers
    else:
        assert by_key(snapshot.documents) == [{"_id": number, "n": 1} for number in range(5)]
    newer = await reader.read_at("orders", list(range(5)), now(database))
    assert by_key(newer.documents) == [{"_id": number, "n": 2} for number in range(5)]


async def test_a_dropped_collection_voids_the_read(database: Documents, reader: MongoReader) -> None:
    database.orders.insert_one({"_id": 1})
    before = now(database)
    database.orders.drop()
    with pytest.raises(VoidReadError, match="gone"):
        await reader.read_at("orders", [1], before)


async def test_a_collection_dropped_and_made_anew_voids_the_read(database: Documents, reader: MongoReader) -> None:
    database.orders.insert_one({"_id": 1, "version": "old"})
    before = now(database)
    database.orders.drop()
    database.orders.insert_one({"_id": 1, "version": "new"})
    with pytest.raises(VoidReadError, match="246"):
        await reader.read_at("orders", [1], before)


async def test_a_collection_renamed_away_voids_the_read(database: Documents, reader: MongoReader) -> None:
    database.orders.insert_one({"_id": 1})
    before = now(database)
    database.orders.rename("elsewhere")
    with pytest.raises(VoidReadError):
        await reader.read_at("orders", [1], before)


async def test_a_time_too_old_voids_the_read_at_once(own: Documents, own_reader: MongoReader) -> None:
    """It is final for that time: no second try."""
    own.orders.insert_one({"_id": 1})
    with failing(own, "find", errorCode=239, appName=APP) as fault, pytest.raises(VoidReadError, match="239"):
        await own_reader.read_at("orders", [1], now(own))
    assert fault.hits == 1


async def test_a_read_that_breaks_is_unavailable_and_never_half(own: Documents, own_reader: MongoReader) -> None:
    own.orders.insert_many({"_id": number} for number in range(1500))
    after = now(own)
    with (
        failing(own, "getMore", times=1, closeConnection=True, appName=APP) as fault,
        pytest.raises(UnavailableError),
    ):
        await own_reader.find("orders", {}, after=after, limit=2000)
    assert fault.hits == 1


# -------------------------------------------------------------------------------------------------------- what they are


async def test_describe_says_whether_there_are_pre_images(database: Documents, reader: MongoReader) -> None:
    database.create_collection("plain")
    database.create_collection("images", changeStreamPreAndPostImages={"enabled": True})
    database.create_collection("off", changeStreamPreAndPostImages={"enabled": False})
    database.create_collection("simple", collation={"locale": "simple"})
    facts = {name: await reader.describe(name) for name in ("plain", "images", "off", "simple", "missing")}
    assert {name: fact.pre_images for name, fact in facts.items()} == {
        "plain": False,
        "images": True,
        "off": False,
        "simple": False,
        "missing": False,
    }
    assert [name for name, fact in facts.items() if not fact.exists] == ["missing"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"viewOn": "orders", "pipeline": []}, "view"),
        ({"timeseries": {"timeField": "at"}}, "timeseries"),
        ({"collation": {"locale": "en", "strength": 2}}, "collation"),
    ],
    ids=["view", "time series", "collation"],
)
async def test_what_cannot_be_served_live_is_refused_by_name(
    database: Documents, reader: MongoReader, options: dict[str, Any], word: str
) -> None:
    database.create_collection("special", **options)
    with pytest.raises(UnsupportedCollectionError, match=f"special .*{word}") as refused:
        await reader.describe("special")
    assert refused.value.details == {"collection": "special"}


async def test_collections_are_listed_by_name_without_the_systems_and_our_own(
    database: Documents, reader: MongoReader
) -> None:
    database.zebra.insert_many([{}, {}])
    database.apple.insert_one({})
    database.realtime_requests.insert_one({})
    database.create_collection("view", viewOn="zebra", pipeline=[])  # makes system.views
    database.create_collection("series", timeseries={"timeField": "at"})  # makes system.buckets.series
    assert any(name.startswith("system.") for name in database.list_collection_names())
    before = to_time(database.client.admin.command("ping")["operationTime"])
    found = await reader.collections()
    assert [(name, count) for name, count, _ in found] == [("apple", 1), ("zebra", 2)]
    assert all(time is not None and before <= time for _, _, time in found)


async def test_of_collections_that_are_not_counted_there_is_no_count_and_of_others_no_name(
    database: Documents, reader: MongoReader
) -> None:
    for name in "abc":
        database[name].insert_one({})
    found = await reader.collections(lambda name: name != "a", lambda name: name == "c")
    assert [(name, count) for name, count, _ in found] == [("b", None), ("c", 1)]


# ------------------------------------------------------------------------------------------------------------- one page


async def test_a_page_has_its_order_window_and_fields_at_one_time(database: Documents, reader: MongoReader) -> None:
    database.orders.insert_many({"_id": number, "n": -number, "open": number < 30} for number in range(50))
    written = now(database)
    page = await reader.page(
        "orders", {"filter": {"open": True}, "sort": {"n": 1}, "skip": 5, "limit": 3, "projection": {"n": 0}}
    )
    assert page.documents == [{"_id": number, "open": True} for number in (24, 23, 22)]
    assert page.time >= written
    assert [one["_id"] for one in at(database, "orders", page.time)] == list(range(50))


async def test_a_page_of_no_collection_is_empty_and_has_a_time(database: Documents, reader: MongoReader) -> None:
    database.other.insert_one({})
    page = await reader.page("nothing", {"filter": {}, "limit": 3})
    assert page.documents == []
    assert page.time > to_time(bson.Timestamp(1, 0))


async def test_a_page_over_1000_documents_is_whole(database: Documents, reader: MongoReader) -> None:
    database.orders.insert_many({"_id": number} for number in range(2300))
    page = await reader.page("orders", {"filter": {}, "sort": {"_id": 1}, "limit": 2200})
    assert [document["_id"] for document in page.documents] == list(range(2200))


async def test_get_is_one_document_by_its_key_and_no_other(database: Documents, reader: MongoReader) -> None:
    database.orders.insert_many([{"_id": 1, "n": 1}, {"_id": "1", "n": 2}])
    assert bson.decode(await reader.get("orders", "1")) == {"_id": "1", "n": 2}
    for key in ({"$gt": 0}, bson.Regex(".*"), 2, [1, "1"]):
        with pytest.raises(NotFoundError):
            await reader.get("orders", key)
