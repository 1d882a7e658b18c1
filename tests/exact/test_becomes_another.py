"""A name that becomes something else while it is subscribed to: its subscriptions end, and nothing false is shown.

Sabotage: `make sabotage`, rows "becomes".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from pymongo.synchronous.database import Database

from realtime.hub.pipe import Pipe
from tests.checker import Asked, Frame, judge
from tests.exact.ear import Ear, listening
from tests.exact.ledger import Ledger, insert, update
from tests.mongo.commands import now
from tests.replica_set import ReplicaSet
from tests.serving import serving

Documents = Database[dict[str, Any]]
Change = Callable[[Documents], Any]
BATCHES = pytest.mark.parametrize("batch_size", [1000, 1])
pytestmark = pytest.mark.timeout(90)


def view(database: Documents) -> None:
    database.command("create", "name", viewOn="other", pipeline=[])


def time_series(database: Documents) -> None:
    database.command("create", "name", timeseries={"timeField": "at"})


def collation(database: Documents) -> None:
    database.command("create", "name", collation={"locale": "de", "strength": 2})


def collation_in_a_transaction(database: Documents) -> None:
    """With its first document, at one cluster time."""
    with database.client.start_session() as session, session.start_transaction():
        made = database.create_collection("name", collation={"locale": "de"}, session=session)
        made.insert_one({"_id": "within", "n": 9}, session=session)


def renamed_onto(database: Documents) -> None:
    """Without a `create` of this name."""
    database.command("create", "elsewhere", collation={"locale": "de"})
    database["elsewhere"].rename("name")


def capped(database: Documents) -> None:
    database.command("create", "name", capped=True, size=100_000)


def capped_copy(database: Documents) -> None:
    """Its documents come without events."""
    database.command("cloneCollectionAsCapped", "other", toCollection="name", size=100_000)


def converted(database: Documents) -> None:
    database["name"].insert_one({"_id": "kept", "n": 1})
    database.command("convertToCapped", "name", size=100_000)


def made_over(database: Documents) -> None:
    """A collection for a moment, with a document of the view's key, then the view."""
    database["name"].insert_one({"_id": 1, "n": 5})
    database["name"].update_one({"_id": 1}, {"$set": {"n": 6}})
    database["name"].drop()
    view(database)


def a_document(database: Documents) -> None:
    database["name"].insert_one({"_id": 1, "n": 1})


def view_of_a_capped(database: Documents) -> None:
    """No snapshot of it can ever be had."""
    database.command("create", "log", capped=True, size=100_000)
    database.command("create", "name", viewOn="log", pipeline=[])


def view_that_fails(database: Documents) -> None:
    """Whenever it is read."""
    database.command("create", "name", viewOn="other", pipeline=[{"$set": {"n": {"$divide": ["$n", 0]}}}])


def in_a_database_made_anew(database: Documents) -> None:
    """Behind the end of the stream, which `dropDatabase` is."""
    database.client.drop_database(database.name)
    database.other.insert_one({"_id": 0, "n": 100})
    view(database)


NEITHER: list[Change] = [
    view,
    time_series,
    collation,
    collation_in_a_transaction,
    renamed_onto,
    made_over,
    in_a_database_made_anew,
]
"""What is served in neither mode."""
EVENTS_ONLY: list[Change] = [capped, capped_copy, converted]
QUERIES: dict[str, dict[str, Any]] = {
    "all": {},
    "high": {"filter": {"n": {"$gte": 5}}},
    "window": {"sort": [["n", -1]], "limit": 2},
    "rows": {"group": {"by": ["n"], "count": True}},
    "throttled": {"throttle": 50},
}


async def subscribe(ear: Ear) -> None:
    for name, fields in QUERIES.items():
        await ear.subscribe(name, "name", **fields)
    await ear.subscribe("events", "name", mode="events")
    await ear.subscribe("two", ["other", "name"], mode="events")


def ending(ear: Ear, *names: str) -> asyncio.Future[list[Frame]]:
    """The frames that end these."""
    return asyncio.gather(
        *(ear.coming(lambda got, name=name: got["type"] == "unsubscribed" and got.get("id") == name) for name in names)  # type: ignore[misc]  # reason: its default binds it now
    )


def shown(ear: Ear) -> list[Any]:
    """Every document that a query was given."""
    given = [one for frame in ear.of("snapshot") for one in frame["documents"]]
    return given + [one["document"] for frame in ear.of("changes") for one in frame["changes"] if "document" in one]


async def refused(ear: Ear, name: str, **fields: Any) -> None:
    answer = await ear.ask(type="subscribe", id=name, collection="name", **fields)
    assert (answer["type"], answer["code"], answer["retry"]) == ("error", "unsupported_collection", False)
    assert answer["details"] == {"collection": "name"}


def one_after_another(database: Documents, change: Change, before: str) -> None:
    if before == "a collection":
        database["name"].drop()
    change(database)


@pytest.mark.parametrize("before", ["nothing", "a collection"])
@pytest.mark.parametrize("change", NEITHER)
async def test_a_name_that_becomes_what_cannot_be_served_ends_its_subscriptions(
    replica_set: ReplicaSet, change: Change, before: str
) -> None:
    """It was live, empty or stale, for ever, while mongod showed documents."""
    async with serving(replica_set, feed_await_ms=100) as service, listening(service.url) as ear:
        database = service.database
        database.other.insert_many([{"_id": n, "n": 100 + n} for n in range(3)])
        if before == "a collection":
            database["name"].insert_many([{"_id": n, "n": n} for n in range(5)])
        await subscribe(ear)
        await ear.subscribe("every", "*", mode="events")
        ended = ending(ear, *QUERIES, "events", "two")
        await asyncio.to_thread(one_after_another, database, change, before)
        async with asyncio.timeout(20):
            frames = await ended
        assert {(frame["code"], frame["retry"]) for frame in frames} == {("unsupported_collection", False)}
        assert all("name " in frame["message"] for frame in frames)
        for mode in ("query", "events"):
            await refused(ear, f"again {mode}", mode=mode)
        await ear.fence(now(database))
        await lives_on(ear, database)
    assert not [one for one in shown(ear) if one.get("n", 0) >= 100], "rows of a view, as if they were live"


async def test_where_collections_are_configured_what_they_become_is_heard_of_too(replica_set: ReplicaSet) -> None:
    settings: dict[str, Any] = {"collections": "name, other", "feed_batch_size": 1}
    async with serving(replica_set, feed_await_ms=100, **settings) as service, listening(service.url) as ear:
        await subscribe(ear)
        for change, names in ((capped, list(QUERIES)), (converted, []), (view, ["events", "two"])):
            ended = ending(ear, *names)
            await asyncio.to_thread(one_after_another, service.database, change, "a collection")
            async with asyncio.timeout(20):
                await ended
        await ear.fence(now(service.database))
    assert {frame["code"] for frame in ear.of("unsubscribed")} == {"unsupported_collection"}
    assert len(ear.of("unsubscribed")) == len(QUERIES) + 2


@pytest.mark.parametrize("change", EVENTS_ONLY)
async def test_a_name_that_becomes_capped_ends_its_queries_and_its_events_go_on(
    replica_set: ReplicaSet, change: Change
) -> None:
    """It answered `unavailable`, `retry: true`, for ever; a capped copy's documents come without events."""
    async with serving(replica_set, feed_await_ms=100) as service, listening(service.url) as ear:
        database = service.database
        database.other.insert_many([{"_id": n, "n": 100 + n} for n in range(3)])
        await subscribe(ear)
        ended = ending(ear, *QUERIES)
        await asyncio.to_thread(change, database)
        async with asyncio.timeout(20):
            frames = await ended
        assert {(frame["code"], frame["retry"]) for frame in frames} == {("unsupported_collection", False)}
        assert all("NDJSON" in frame["message"] for frame in frames)
        await refused(ear, "again")
        await lives_on(ear, database)
    assert {frame["id"] for frame in ear.of("unsubscribed")} == set(QUERIES)


async def lives_on(ear: Ear, database: Documents) -> None:
    """The service and this connection; the name is served again when it is a plain collection again."""
    if "name" in database.list_collection_names():
        await asyncio.to_thread(database["name"].drop)
    for mode in ("query", "events"):
        await ear.subscribe(f"after {mode}", "name", mode=mode)
    arrived = [
        ear.coming(lambda got: got["type"] == "changes" and got["changes"][0]["key"] == "after"),
        ear.coming(lambda got: got["type"] == "events" and got["events"][0].get("key") == "after"),
    ]
    await asyncio.to_thread(database["name"].insert_one, {"_id": "after", "n": 7})
    async with asyncio.timeout(20):
        await asyncio.gather(*arrived)
    told = {one["op"] for frame in ear.of("events") for one in frame["events"]}
    assert told <= {"insert", "update", "delete", "drop", "rename", "dropDatabase"}, "`create` is told to nobody"
    assert told


@BATCHES
async def test_what_is_still_a_plain_collection_goes_on_as_if_nothing_had_been(
    replica_set: ReplicaSet, batch_size: int
) -> None:
    """`create` by itself, clustered, in a transaction, validated, indexed; `modify`: no `resync`, no end, no event."""
    async with (
        serving(replica_set, feed_await_ms=100, feed_batch_size=batch_size) as service,
        AsyncExitStack() as stack,
    ):
        ledger, ear = Ledger(service.database), await stack.enter_async_context(listening(service.url))
        names = ("name", "clustered", "within", "checked")
        for name in names:
            await ear.subscribe(name, name)
        await ear.subscribe("events", list(names), mode="events")
        await ear.subscribe("every", "*", mode="events")
        database = service.database
        database.create_collection("name")
        database.command("create", "clustered", clusteredIndex={"key": {"_id": 1}, "unique": True})
        database.create_collection("checked", validator={"n": {"$gte": 0}}, collation={"locale": "simple"})
        for name in names:
            # The first document of `within` makes its collection, in the same transaction.
            ledger.together([insert(name, f"{name} {n}", n=n) for n in range(3)])
        database.command("collMod", "name", changeStreamPreAndPostImages={"enabled": True})
        database["name"].create_index("n")
        for name in names:
            ledger.one(update(name, f"{name} 1", n=10))
        await ear.settle(ledger.last)
        asked = [Asked(name, (name,)) for name in names]
        asked += [Asked("events", names, "events"), Asked("every", (), "events")]
        figures = judge(ear.frames, asked, ledger.truth()).accept()
    assert figures["resync"] == 0
    assert figures["told"] == figures["expected"] == 2 * 4 * 4


@pytest.mark.parametrize("change", [view, view_of_a_capped, view_that_fails, capped])
async def test_rows_of_a_view_are_no_images_of_a_collection_of_its_name(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    """An update's document was read when its collection had become a view: by key, at the update's time, of another."""
    reached, goes_on = asyncio.Event(), asyncio.Event()
    read = Pipe._read

    async def late(self: Pipe, collection: str, *given: Any) -> Any:
        if collection == "name" and not reached.is_set():
            reached.set()
            await goes_on.wait()
        return await read(self, collection, *given)

    monkeypatch.setattr(Pipe, "_read", late)
    async with serving(replica_set, feed_await_ms=100) as service, listening(service.url) as ear:
        database = service.database
        database.other.insert_one({"_id": 1, "n": 100})
        database["name"].insert_one({"_id": 1, "n": 1})
        await ear.subscribe("all", "name")
        await ear.subscribe("every", "*", mode="events")
        ended = ending(ear, "all")
        await asyncio.to_thread(database["name"].update_one, {"_id": 1}, {"$set": {"n": 2}})
        async with asyncio.timeout(20):
            await reached.wait()
        await asyncio.to_thread(one_after_another, database, change, "a collection")
        goes_on.set()
        async with asyncio.timeout(20):
            (frame,) = await ended
        await ear.fence(now(database))
    assert frame["code"] == "unsupported_collection"
    assert [one["n"] for one in shown(ear)] == [1]
    told = [one for frame in ear.of("events") for one in frame["events"] if one["op"] != "insert"]
    assert [(one["op"], one.get("partial", False)) for one in told] == [("update", True), ("drop", False)]


@pytest.mark.parametrize("existed", [False, True])
async def test_a_view_made_while_its_name_is_described_or_read_is_not_served(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch, existed: bool
) -> None:
    """Rows of it were in the snapshot, at a time after that of every event that could have said so."""
    answered = asyncio.Event()
    deliver = Pipe._deliver

    async def held(self: Pipe, *given: Any) -> Any:
        await answered.wait()
        return await deliver(self, *given)

    async with serving(replica_set, feed_await_ms=100) as service, listening(service.url) as ear:
        database, reader = service.database, service.realtime.live().reader
        database.other.insert_one({"_id": 1, "n": 100})
        if existed:
            a_document(database)
        await ear.fence(now(database))
        describe = reader.describe
        once: list[str] = []

        async def slow(collection: str) -> Any:
            facts = await describe(collection)
            if not once:
                once.append(collection)
                await asyncio.to_thread(one_after_another, database, view, "a collection")
            return facts

        monkeypatch.setattr(reader, "describe", slow)
        monkeypatch.setattr(Pipe, "_deliver", held)
        await refused(ear, "during")
        answered.set()
    assert once == ["name"]
    assert shown(ear) == []


async def test_an_events_subscription_resumes_across_what_a_name_was_in_between(replica_set: ReplicaSet) -> None:
    """A view that came and went: every event of the collections before and after it, from memory and from the oplog."""
    for journal_bytes in (0, 1 << 20):
        async with (
            serving(replica_set, feed_await_ms=100, journal_bytes=journal_bytes) as service,
            AsyncExitStack() as stack,
        ):
            ledger, ear = Ledger(service.database), await stack.enter_async_context(listening(service.url))
            await ear.subscribe("first", "name", mode="events")
            start = ear.frames[0]["position"]
            ledger.one(insert("name", "before", n=1))
            ledger.one(update("name", "before", n=2))
            ledger.catalogue("drop", "name")
            view(service.database)
            service.database["name"].drop()
            ledger.one(insert("name", "after", n=1))
            await ear.fence(ledger.last)
            await ear.subscribe("again", "name", mode="events", position=start)
            await ear.subscribe("every", "*", mode="events", position=start)
            await ear.fence(ledger.last)
            asked = [Asked("again", ("name",), "events", after=start), Asked("every", (), "events", after=start)]
            frames = [frame for frame in ear.frames if frame.get("id") in {"again", "every"}]
            figures = judge(frames, asked, ledger.truth()).accept()
        assert figures["told"] == figures["expected"] == 2 * 4
