"""The probes against a real server: it answers as some row says, as its `find` decides, and to whoever may read."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from realtime.core.bson.stored import CODEC
from realtime.core.mql.dialect import NEWEST, PROBES, Dialect, Probe, hear, known_of
from realtime.mongo import client as clients
from realtime.mongo.dialect import Attentive, Interpreter, asked, primary_of
from realtime.mongo.feed import ChangeFeed
from tests.mongo.commands import Documents, failing, mongod, now, until, watch_commands
from tests.mongo.test_examination import account, guarded
from tests.replica_set import ReplicaSet

__all__ = ["guarded"]

REFUSED, ELECTION, INTERRUPTED, CURSOR_GONE = 13, 11602, 11601, 43
OTHER = Dialect(any_decimal_has_bits=not NEWEST.any_decimal_has_bits)


async def answered(uri: str, name: str) -> dict[str, Any]:
    client, database = clients.open_database(uri, name)
    try:
        return dict(await asked(database))
    finally:
        clients.close(client)


async def test_the_server_answers_as_a_row_says_that_has_seen_its_version(
    replica_set: ReplicaSet, database: Documents
) -> None:
    answers = await answered(replica_set.uri, database.name)
    heard = hear(answers)
    assert heard.odd == {}
    assert set(answers) == {probe.field for probe in PROBES}
    version = database.client.server_info()["version"]
    seen = {row for probe in PROBES for known in probe.known for row in known.versions}
    if version in seen:
        assert all(version in known_of(probe, heard.dialect).versions for probe in PROBES)
    assert database.list_collection_names() == []


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
async def test_find_on_stored_documents_decides_as_the_probe_says(
    replica_set: ReplicaSet, database: Documents, probe: Probe
) -> None:
    """Live reads are `find`s: a probe that another engine answers would be worth nothing."""
    stored = database.get_collection("documents", codec_options=CODEC)
    stored.insert_many([dict(document) for document in probe.documents])
    stages = [*map(dict, probe.stages), {"$match": dict(probe.filter)}]
    asked_ = stored.aggregate(stages) if probe.stages else stored.find(dict(probe.filter))
    found = {document["_id"] for document in asked_}
    assert (await answered(replica_set.uri, database.name))[probe.field] == found


async def test_whoever_may_read_the_database_may_ask_and_a_stranger_is_an_answer(guarded: str) -> None:
    for user in ("root", "writer", "reader"):
        assert hear(await answered(account(user, guarded), "shop")).odd == {}
    stranger = hear(await answered(account("stranger", guarded), "shop"), OTHER)
    for words in stranger.odd.values():
        assert "not authorized" in words
    assert stranger.dialect == OTHER or not stranger.odd


# ------------------------------------------------------------------------------------------------------ in the stream


@pytest.fixture
def heard() -> list[tuple[Dialect, int]]:
    return []


@pytest.fixture
async def interpreter(heard: list[tuple[Dialect, int]]) -> Interpreter:
    """One that was told another dialect than the server's at the start."""
    return Interpreter(OTHER, lambda dialect, time: heard.append((dialect, time)))


@pytest.fixture
async def feed(own: Documents, own_uri: str, interpreter: Interpreter) -> AsyncIterator[ChangeFeed]:
    client = clients.open_feed_client(own_uri)
    database = clients.database_of(client, own.name)
    made = ChangeFeed(client, database, start=now(own), await_ms=20, on_open=interpreter.ask)
    try:
        yield made
    finally:
        made.close()
        clients.close(client)


async def test_a_stream_hands_nothing_over_before_its_server_was_asked(
    own: Documents,
    own_uri: str,
    feed: ChangeFeed,
    interpreter: Interpreter,
    heard: list[tuple[Dialect, int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    began = now(own)
    own_dialect = hear(await answered(own_uri, own.name)).dialect
    interpreter.dialect = other = replace(own_dialect, any_decimal_has_bits=not own_dialect.any_decimal_has_bits)
    own["items"].insert_one({"_id": 1})
    batches = feed.batches()
    with caplog.at_level(logging.WARNING, "realtime.dialect"):
        first = await anext(batches)
    assert len(heard) == 1
    dialect, time = heard[0]
    assert dialect == interpreter.dialect != other
    assert time >= began
    (line,) = [record.getMessage() for record in caplog.records if record.name == "realtime.dialect"]
    assert line.startswith("the primary decides otherwise now, as MongoDB ")
    while not first.events:
        first = await anext(batches)
    assert len(heard) == 1  # not again with every reply
    feed.close()
    async for _ in batches:
        pass


async def test_every_stream_that_is_opened_again_asks_again(
    own: Documents, feed: ChangeFeed, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    own["items"].insert_one({"_id": 0})
    batches = feed.batches()
    await anext(batches)
    asked_again: list[Any] = []

    async def ask(database: Any, session: Any) -> None:
        asked_again.append((database.name, session.operation_time))

    monkeypatch.setattr(feed, "_on_open", ask)
    with failing(own, "getMore", times=1, errorCode=CURSOR_GONE, appName="realtime-feed"):
        own["items"].insert_one({"_id": 1})
        batch = await anext(batches)
        while not batch.events:
            batch = await anext(batches)
    assert [name for name, _ in asked_again] == [own.name]
    assert asked_again[0][1] is not None
    feed.close()
    async for _ in batches:
        pass


async def test_a_server_that_cannot_be_asked_is_named_once_and_the_stream_goes_on(
    own: Documents, own_uri: str, interpreter: Interpreter, caplog: pytest.LogCaptureFixture
) -> None:
    client, database = clients.open_database(own_uri, own.name, app="asker")
    try:
        async with await client.start_session(causal_consistency=False) as session:
            with (
                failing(own, "aggregate", errorCode=REFUSED, appName="asker") as fault,
                caplog.at_level(logging.WARNING, "realtime.dialect"),
            ):
                for _ in range(2):
                    await interpreter.ask(database, session)
            assert fault.hits == 2 * len(PROBES)
            assert [record.getMessage().partition(":")[0] for record in caplog.records] == [one.name for one in PROBES]
            assert interpreter.dialect == OTHER
            for passing in (ELECTION, INTERRUPTED):
                with failing(own, "aggregate", errorCode=passing, appName="asker"), pytest.raises(PyMongoError):
                    await asked(database)
    finally:
        clients.close(client)


async def test_what_is_asked_is_one_aggregate_on_the_database_each(
    replica_set: ReplicaSet, database: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = watch_commands(monkeypatch)
    await answered(replica_set.uri, database.name)
    sent = commands.of("aggregate")
    assert [command["aggregate"] for command in sent] == [1] * len(PROBES)
    assert [next(iter(stage)) for stage in sent[0]["pipeline"]] == ["$documents", "$match", "$project"]
    assert commands.of("insert", "update", "delete", "create", "find") == []


async def test_a_primary_is_asked_once_and_again_when_it_is_another_one_or_was_restarted(directory: Path) -> None:
    """Who follows a relay has no stream that ends with the old one."""
    asks: list[Any] = []

    async def ask(database: Any, session: Any) -> None:
        await database.command("ping", session=session)
        asks.append(session)

    async with mongod(directory) as address:
        client, database = clients.open_database(f"mongodb://{address}/?directConnection=true", "shop")
        await database.command("ping")
        attentive = Attentive(client, database, ask)
        for _ in range(3):
            await attentive.look()
        assert len(asks) == 1
    try:
        await until(lambda: primary_of(client) is None)
        await attentive.look()
        assert len(asks) == 1
        async with mongod(directory, port=int(address.rpartition(":")[2])):
            await until(lambda: primary_of(client) is not None)
            for _ in range(3):
                await attentive.look()
            assert len(asks) == 2
    finally:
        clients.close(client)
