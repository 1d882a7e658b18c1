"""A change that MongoDB cannot send in any form ended the feed for everybody: now it costs its own collection a look.

Sabotage: `make sabotage`, rows "unsendable".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import bson
import pytest

from realtime.core.bson.keys import KEY_BYTES
from tests.exact.ear import PATIENCE, Ear, listening
from tests.exact.test_stored import heard
from tests.mongo.commands import now
from tests.replica_set import ReplicaSet
from tests.serving import Service, service, serving

__all__ = ["service"]
pytestmark = pytest.mark.timeout(120)
MOST = 16 * 1024 * 1024
SOME_KB, SOME_MB, MANY_MB = "k" * 8000, "k" * 3_300_000, "k" * 5_000_000


def full(key: str) -> dict[str, Any]:
    document = {"_id": key, "text": ""}
    return {**document, "text": "x" * (MOST - len(bson.encode(document)))}


def in_a_transaction(service: Service, key: str) -> None:
    with service.database.client.start_session() as session, session.start_transaction():
        service.database.docs.insert_one({"_id": "amid"}, session=session)
        service.database.docs.insert_one({"_id": key}, session=session)


# What is written, and whether it can still be said where it happened.
CASES: dict[str, tuple[Callable[[Service], Any], bool]] = {
    "near 16 MB with a key of some KB": (lambda service: service.database.docs.insert_one(full(SOME_KB)), True),
    "the same by upsert": (
        lambda service: service.database.docs.replace_one({"_id": SOME_KB}, full(SOME_KB), upsert=True),
        True,
    ),
    "a key of some MB": (lambda service: service.database.docs.insert_one({"_id": SOME_MB}), True),
    "a key of many MB": (lambda service: service.database.docs.insert_one({"_id": MANY_MB}), False),
    "a key of many MB in a transaction": (lambda service: in_a_transaction(service, MANY_MB), False),
}


async def read_again(ear: Ear, service: Service) -> None:
    """The view ends as `find` has it, or says that it is too large for one."""
    async with asyncio.timeout(PATIENCE):
        resync = next((frame for frame in ear.of("resync") if frame["id"] == "v"), None)
        resync = resync or await ear.coming(lambda frame: frame["type"] == "resync" and frame["id"] == "v")
    assert resync["reason"] == "history_lost"
    ends = {"live", "unsubscribed"}

    def after() -> list[dict[str, Any]]:
        mine = [frame for frame in ear.frames if frame.get("id") == "v"]
        return mine[mine.index(resync) :]

    async with asyncio.timeout(PATIENCE):
        if not any(frame["type"] in ends for frame in after()):
            await ear.coming(lambda frame: frame.get("id") == "v" and frame["type"] in ends)
    (end,) = [frame for frame in after() if frame["type"] in ends]
    if end["type"] == "unsubscribed":
        assert end["code"] == "too_large"
        return
    shown = [one["_id"] for frame in after() if frame["type"] == "snapshot" for one in frame["documents"]]
    found = [one["_id"] for one in service.database.docs.find({}, {"_id": 1})]
    assert sorted(shown) == sorted(found)
    assert len(found) >= 2


def is_up(ear: Ear) -> bool:
    """In the end. Where 6.0.5 closes the connection instead of refusing, six times may take the 3 s that are told."""
    return [frame["feed"] for frame in ear.of("status")] in ([], ["degraded", "up"], ["degraded", "up"] * 2)


UPSERTS = pytest.mark.long("the same document by another write")


@pytest.mark.parametrize(
    ("write", "named"),
    [pytest.param(*case, id=name, marks=[UPSERTS] if "upsert" in name else []) for name, case in CASES.items()],
)
async def test_one_insert_of_another_program_ended_the_feed_for_everybody(
    either_replica_set: ReplicaSet, write: Callable[[Service], Any], named: bool
) -> None:
    async with serving(either_replica_set, feed_await_ms=100, keep=True) as service:
        service.database.docs.insert_one({"_id": "a"})
        async with listening(service.url) as other, listening(service.url) as ear, listening(service.url) as deaf:
            await other.subscribe("q", "quiet")
            await deaf.subscribe("e", "quiet", mode="events")
            before = (await ear.subscribe("e", "docs", mode="events"))["position"]
            await ear.subscribe("v", "docs")
            ended = ear.coming(lambda frame: frame["type"] == "unsubscribed" and frame["id"] == "e")
            await asyncio.to_thread(write, service)
            async with asyncio.timeout(PATIENCE):
                assert (await ended)["code"] == "history_lost"
            await read_again(ear, service)
            service.database.quiet.insert_one({"_id": 7})
            await other.fence(now(service.database))
            frames = [*other.of("changes"), *other.of("snapshot")]
            told = [one for frame in frames for one in (frame.get("changes") or frame["documents"])]
            assert [one.get("key", one.get("_id")) for one in told].count(7) == 1
            assert bool(other.of("resync")) is not named, "everybody else notices nothing, where it could be named"
            assert bool(deaf.of("unsubscribed")) is not named
            await heard(other, service, 8)
            # New ones go live, and events have their images again.
            await ear.subscribe("again", "docs", mode="events")
            service.database.docs.insert_one({"_id": "after"})
            await ear.fence(now(service.database))
            events = [one for frame in ear.of("events") for one in frame["events"] if one["key"] == "after"]
            assert [one["document"] for one in events] == [{"_id": "after"}]
            for one in (other, ear, deaf):
                assert is_up(one)
        name = service.database.name
    # A restart heals, and a resume from before it gets its answer.
    async with (
        serving(either_replica_set, feed_await_ms=100, database=name) as service,
        listening(service.url) as ear,
        listening(service.url) as other,
    ):
        answered = ear.coming(lambda frame: frame.get("id") == "e" and frame["type"] in {"error", "live"})
        await ear.send(type="subscribe", id="e", collection="docs", mode="events", position=before)
        async with asyncio.timeout(PATIENCE):
            answer = await answered
        if answer["type"] == "live":
            # Where a reply goes on past it, there was room after all: then it is told as it is.
            assert SOME_MB in [one["key"] for frame in ear.of("events") for one in frame["events"]]
        else:
            assert answer["code"] == "history_lost"
        await other.subscribe("q", "quiet", position=before)
        await other.subscribe("e", "docs", mode="events")
        await heard(other, service, 9)
        assert is_up(ear)


# ------------------------------------------------------------------------------------------------ what is written here


def long_key(size: int) -> str:
    return "k" * (size - len(bson.encode({"_id": ""})))


async def test_a_key_is_bounded_where_it_is_written(service: Service) -> None:
    """Over HTTP and over WebSocket, insert and list; at the bound it is taken, and heard of."""
    path = service.path("/v1/collections/docs/documents")
    longest = long_key(KEY_BYTES)
    for body, index in (({"_id": longest + "k"}, None), ([{"_id": 1}, {"_id": longest + "k"}], 1)):
        refused = await service.http.post(path, content=json.dumps(body))
        assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
        assert refused.json()["details"]["limit"] == KEY_BYTES
        assert refused.json()["details"].get("index") == index
        assert f"at most {KEY_BYTES} bytes" in refused.json()["detail"]
    assert not service.database.docs.count_documents({})
    async with listening(service.url) as ear:
        await ear.subscribe("e", "docs", mode="events")
        made = await service.http.post(path, content=json.dumps({"_id": longest}))
        # It was a header longer than a client reads.
        assert (made.status_code, made.json()["keys"], made.headers.get("Location")) == (201, [longest], None)
        await ear.fence(now(service.database))
        assert [one["key"] for frame in ear.of("events") for one in frame["events"]] == [longest]


async def test_a_key_is_bounded_over_websocket(replica_set: ReplicaSet) -> None:
    key = long_key(KEY_BYTES + 1)
    async with serving(replica_set, frame_bytes=4 * 1024 * 1024) as service, listening(service.url) as ear:
        for frame in (
            {"type": "insert", "document": {"_id": key}},
            {"type": "replace", "key": key, "document": {}, "upsert": True},
            {"type": "update", "key": key, "update": {"$set": {"a": 1}}, "upsert": True},
            {"type": "replace", "key": key, "document": {"_id": key}},
        ):
            answer = await ear.ask(collection="docs", **frame)
            assert (answer["type"], answer["code"]) == ("error", "too_large"), frame["type"]
            assert answer["details"]["limit"] == KEY_BYTES
        # One that another program stored may be deleted.
        service.database.docs.insert_one({"_id": key})
        assert (await ear.ask(type="delete", collection="docs", key=key))["type"] == "result"
        assert not service.database.docs.count_documents({})
