"""Exceptions in our own code, injected into a whole service on a real MongoDB: what they take along, judged.

Sabotage: `make sabotage`, rows "walls".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pymongo
import pytest

import realtime.core.live.decoding
import realtime.hub.plan
from realtime.core.live.events import Batch, ChangeEvent
from realtime.core.live.events import parse_event as parse
from realtime.core.live.moments import Settled
from realtime.core.live.moments import settle as fold
from realtime.core.live.query import QueryGroup
from realtime.hub.outcomes import Outcome
from realtime.hub.teller import Teller
from realtime.mongo.snapshot import MongoReader
from tests.checker import Asked, judge
from tests.exact.conftest import Say
from tests.exact.ear import Ear, listening
from tests.exact.ledger import Ledger, insert, update
from tests.exact.test_join import BATCHES
from tests.replica_set import ReplicaSet
from tests.serving import serving

POISON = "poison"
pytestmark = pytest.mark.timeout(90)


class OurBugError(Exception):
    """Raised in our own code."""


def decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    original = parse

    def parse_event(raw: Any, *given: Any) -> ChangeEvent | None:
        if raw.get("documentKey", {}).get("_id") == POISON:
            raise OurBugError
        return original(raw, *given)

    monkeypatch.setattr(realtime.core.live.decoding, "parse_event", parse_event)


def settling(monkeypatch: pytest.MonkeyPatch) -> None:
    original = fold

    def settle(batch: Batch) -> Any:
        if any(event.key == POISON for event in batch.events):
            raise OurBugError
        return original(batch)

    monkeypatch.setattr(realtime.hub.plan, "settle", settle)


def reading_images(monkeypatch: pytest.MonkeyPatch) -> None:
    original = MongoReader.read_at

    async def read_at(reader: MongoReader, collection: str, keys: Any, time: int, **more: Any) -> Any:
        task = asyncio.current_task()
        if POISON in keys and task is not None and task.get_name() == "feed":
            raise OurBugError
        return await original(reader, collection, keys, time, **more)

    monkeypatch.setattr(MongoReader, "read_at", read_at)


def dispatching(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its queries have been told and before its events are."""
    original = Teller._tell_events

    def tell_events(teller: Teller, settled: Any, images: Any) -> Iterator[Outcome]:
        if any(event.key == POISON for event in settled.order):
            raise OurBugError
        return original(teller, settled, images)

    monkeypatch.setattr(Teller, "_tell_events", tell_events)


PLACES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "decode": decoding,
    "settle": settling,
    "images": reading_images,
    "dispatch": dispatching,
}


def write(ledger: Ledger, begin: int) -> None:
    """Fifty moments of both collections, transactions among them, amid them the one that cannot be told."""
    for number in range(begin, begin + 25):
        ledger.one(insert("docs", number, n=number))
        ledger.together([insert("others", number, n=number), update("others", "same", n=number)])
        if number == begin + 12:
            ledger.one(update("docs", POISON, n=number))


async def everybody(ear: Ear, other: Ear) -> None:
    await ear.subscribe("one", "docs")
    await ear.subscribe("events", "docs", mode="events")
    await other.subscribe("view", "others")
    await other.subscribe("told", "others", mode="events")


VIEW, TOLD = Asked("view", ("others",)), Asked("told", ("others",), "events")


@pytest.mark.parametrize("place", PLACES)
@BATCHES
async def test_a_moment_that_cannot_be_told_concerns_its_collection_alone_and_the_service_goes_on(
    replica_set: ReplicaSet, place: str, batch_size: int, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    async with (
        serving(replica_set, feed_await_ms=100, feed_batch_size=batch_size) as service,
        listening(service.url) as ear,
        listening(service.url) as other,
        listening(service.url) as late,
    ):
        ledger = Ledger(service.database)
        ledger.together([insert("docs", POISON, n=-1), insert("others", "same", n=-1)])
        await ear.fence(ledger.last)
        await everybody(ear, other)
        position = ear.of("live", "one")[0]["position"]
        PLACES[place](monkeypatch)
        await asyncio.to_thread(write, ledger, 0)
        await other.fence(ledger.last)
        await ear.settle(ledger.last)
        # It still cannot be told: who comes now, and who resumes across it.
        await late.subscribe("new", "docs")
        await late.subscribe("new events", "docs", mode="events")
        refused = await late.ask(type="subscribe", id="old", mode="events", collection="docs", position=position)
        await late.subscribe("told", "others", mode="events", position=position)
        for number in range(100, 110):
            ledger.one(insert("docs", number, n=number))
            ledger.one(insert("others", number, n=number))
        await asyncio.gather(*(one.settle(ledger.last) for one in (ear, other, late)))
        truth = ledger.truth()
    told = judge(other.frames, [VIEW, TOLD], truth).accept()
    mine = judge(ear.frames, [Asked("one", ("docs",)), Asked("events", ("docs",), "events")], truth).accept()
    asked = [Asked("new", ("docs",)), Asked("new events", ("docs",), "events")]
    again = judge(late.frames, [*asked, Asked("told", ("others",), "events", after=position)], truth).accept()
    say(f"others {dict(told)}; its own {dict(mine)}; late {dict(again)}")
    assert told["told"] == told["expected"] == 60
    assert again["told"] == again["expected"] == 70
    assert not [kind for kind in ("resync", "unsubscribed", "status") if other.of(kind)]
    # Where it failed after the view had been told, that is exact: nothing to read again, and nothing told twice.
    assert [frame["reason"] for frame in ear.of("resync")] == ([] if place == "dispatch" else ["internal"])
    (ended,) = ear.of("unsubscribed")
    assert (ended["id"], ended["code"], refused["code"]) == ("events", "history_lost", "history_lost")
    assert mine["told"] == mine["expected"] == 13
    assert not ear.of("status")


async def test_after_a_restart_who_resumes_from_before_it_is_answered_and_the_others_miss_nothing(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    """The oplog has it still, and it can be decoded as little as before."""
    settings: dict[str, Any] = {"feed_await_ms": 100, "database": "t_walls", "journal_bytes": 0}
    client = pymongo.MongoClient[dict[str, Any]](replica_set.uri)
    ledger = Ledger(client["t_walls"])
    async with serving(replica_set, keep=True, **settings) as service, listening(service.url) as ear:
        ledger.together([insert("docs", POISON, n=-1), insert("others", "same", n=-1)])
        await ear.fence(ledger.last)
        await ear.subscribe("one", "docs")
        await ear.subscribe("told", "others", mode="events")
        position, subscribed = ear.of("live", "told")[0]["position"], ear.of("subscribed", "one")[0]
    await asyncio.to_thread(write, ledger, 0)
    decoding(monkeypatch)
    async with serving(replica_set, **settings) as service, listening(service.url) as ear:
        refused = await ear.ask(type="subscribe", id="old", mode="events", collection="docs", position=position)
        await ear.subscribe("one", "docs", position=position, query=subscribed["query"])
        await ear.subscribe("told", "others", mode="events", position=position)
        ledger.one(insert("others", "last", n=0))
        await ear.fence(ledger.last)
        asked = [Asked("one", ("docs",)), Asked("told", ("others",), "events", after=position)]
        figures = judge(ear.frames, asked, ledger.truth()).accept()
    client.close()
    say(f"{dict(figures)}; {refused['message']}")
    assert (refused["type"], refused["code"]) == ("error", "history_lost")
    assert [frame["recovered"] for frame in ear.of("subscribed")] == [False, True]
    assert figures["told"] == figures["expected"] == 51


async def test_a_bug_in_one_query_is_that_querys_alone(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    """It is read again at the first, and ends at the second in a row."""
    original = QueryGroup.apply

    def apply(group: QueryGroup, settled: Settled, *given: Any) -> list[bytes]:
        if group.query.filter.source and group.live and any(event.key in {20, 21} for event in settled.order):
            raise OurBugError
        return original(group, settled, *given)

    monkeypatch.setattr(QueryGroup, "apply", apply)
    async with serving(replica_set, feed_await_ms=100) as service, listening(service.url) as ear:
        ledger = Ledger(service.database)
        ledger.one(insert("docs", POISON, n=-1))
        await ear.fence(ledger.last)
        await ear.subscribe("bad", "docs", filter={"n": {"$gte": -5}})
        await ear.subscribe("good", "docs")
        await ear.subscribe("events", "docs", mode="events")
        for number in range(40):
            ledger.one(insert("docs", number, n=number))
            await ear.settle(ledger.last)
        asked = [Asked("bad", ("docs",)), Asked("good", ("docs",)), Asked("events", ("docs",), "events")]
        figures = judge(ear.frames, asked, ledger.truth()).accept()
        ended = ear.of("unsubscribed")
        await ear.subscribe("bad", "docs", filter={"n": {"$gte": -5}})
    say(f"{dict(figures)}")
    assert [(frame["id"], frame["reason"]) for frame in ear.of("resync")] == [("bad", "internal")]
    assert [(frame["id"], frame["code"], frame["retry"]) for frame in ended] == [("bad", "internal", True)]
    assert figures["told"] == figures["expected"] == 40
