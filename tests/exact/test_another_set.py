"""`REALTIME_EPOCH` says that a history goes on, and the replica set is a fresh one: nothing of before is recovered.

To MongoDB nothing was before a set's first entry, so it takes every earlier time for one from which all can be had.

Sabotage: `make sabotage`, rows "another set".
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from realtime.mongo import embedded
from tests.checker import Asked, judge
from tests.exact.ear import Ear, listening
from tests.exact.ledger import Ledger, delete, insert, update
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.streams import streaming

EPOCH = "0123ABCD"
pytestmark = pytest.mark.timeout(120)


@asynccontextmanager
async def a_set(home: Path, **settings: Any) -> AsyncIterator[Service]:
    """A replica set of its own and a service that is told how its history is called."""
    async with embedded.running(home) as mongo:
        own = ReplicaSet(uri=mongo.uri, lane="embedded", can_fail_commands=False)
        async with serving(own, feed_await_ms=100, epoch=EPOCH, **settings) as service:
            yield service


@dataclass(frozen=True, slots=True)
class Before:
    """What a client kept of a set whose data is gone: a view of four documents at a position."""

    position: str
    query: str


async def before(home: Path) -> Before:
    async with a_set(home) as service, listening(service.url) as ear:
        ledger = Ledger(service.database)
        await ear.subscribe("q", "docs")
        for number in range(4):
            ledger.one(insert("docs", f"gone {number}", n=number))
        await ear.fence(ledger.last)
        assert len([one for frame in ear.of("changes") for one in frame["changes"]]) == 4
        return Before(f"{EPOCH}-{ledger.last:016X}", str(ear.of("subscribed")[0]["query"]))


@pytest.mark.long("starts several mongods")
@pytest.mark.parametrize("journal_bytes", [0, 1 << 20])
async def test_a_position_from_before_the_first_entry_of_the_oplog_is_never_recovered(
    tmp_path: Path, journal_bytes: int
) -> None:
    """`recovered: true`, and four documents that are gone, as events and in the view."""
    kept = await before(tmp_path / "one")
    async with a_set(tmp_path / "other", journal_bytes=journal_bytes) as service, AsyncExitStack() as stack:
        ledger = Ledger(service.database)
        ledger.one(insert("docs", "first", n=1))
        ear = await stack.enter_async_context(listening(service.url))
        await ear.fence(ledger.last)
        here = f"{EPOCH}-{ledger.last:016X}"
        ledger.one(insert("docs", "second", n=2))
        ledger.one(update("docs", "first", n=3))
        ledger.one(insert("docs", "third", n=2))
        ledger.one(delete("docs", "third"))
        await ear.fence(ledger.last)
        await ear.subscribe("q", "docs", position=kept.position, query=kept.query)
        assert ear.of("subscribed", "q")[0]["recovered"] is False
        assert {one["_id"] for one in ear.of("snapshot", "q")[0]["documents"]} == {"first", "second"}
        refused = await ear.ask(type="subscribe", id="e", collection="docs", mode="events", position=kept.position)
        assert (refused["code"], refused["retry"]) == ("history_lost", False)
        assert refused["details"]["oldest"]["$date"] > "2026"
        await those_of_this_set(ear, ledger, kept, here)
        await over_server_sent_events(service, kept)


async def those_of_this_set(ear: Ear, ledger: Ledger, kept: Before, here: str) -> None:
    """A position of this set is recovered, and since a date is all that this MongoDB ever had."""
    await ear.subscribe("eh", "docs", mode="events", position=here)
    await ear.subscribe("qh", "docs", position=here, query=kept.query)
    assert [ear.of("subscribed", name)[0]["recovered"] for name in ("eh", "qh")] == [True, True]
    held = {'"first"': {"_id": "first", "n": 1}}
    asked = [Asked("eh", ("docs",), "events", after=here), Asked("qh", ("docs",), after=here, held=held)]
    frames = [frame for frame in ear.frames if frame.get("id") in {"eh", "qh"}]
    assert judge(frames, asked, ledger.truth()).accept()["told"] == 4
    await ear.subscribe("since", "docs", mode="events", since={"$date": "2020-01-01T00:00:00Z"})
    told = [event["key"] for frame in ear.of("events", "since") for event in frame["events"]]
    assert told == ["first", "second", "first", "third", "third"]


async def over_server_sent_events(service: Service, kept: Before) -> None:
    given = {"last_id": kept.position}
    async with streaming(service.url, "/v1/collections/docs/events", **given) as events:
        await events.when(lambda: events.of("error"))
    async with streaming(service.url, "/v1/collections/docs/documents", **given) as query:
        await query.when(lambda: query.of("live"))
    assert events.of("error")[0].frame["code"] == "history_lost"
    assert query.of("subscribed")[0].frame["recovered"] is False


@pytest.mark.long("starts several mongods")
async def test_a_service_whose_mongodb_is_exchanged_for_an_empty_one_says_that_history_is_lost(tmp_path: Path) -> None:
    """At the same address, while it runs: its stream went on, and its views kept four documents that are gone."""
    async with AsyncExitStack() as stack:
        async with embedded.running(tmp_path) as mongo:
            own = ReplicaSet(uri=mongo.uri, lane="embedded", can_fail_commands=False)
            service = await stack.enter_async_context(serving(own, feed_await_ms=100, epoch=EPOCH))
            ear = await stack.enter_async_context(listening(service.url))
            await ear.subscribe("q", "docs")
            await ear.subscribe("e", "docs", mode="events")
            for number in range(4):
                service.database["docs"].insert_one({"_id": f"gone {number}"})
            kinds = [("resync", "q"), ("unsubscribed", "e"), ("live", "q")]
            coming = [
                ear.coming(lambda frame, kind=kind, name=name: frame["type"] == kind and frame.get("id") == name)  # type: ignore[misc]  # reason: its default binds it now
                for kind, name in kinds
            ]
        shutil.rmtree(tmp_path / "mongodb")
        async with embedded.running(tmp_path) as again:
            assert again.uri == mongo.uri
            async with asyncio.timeout(30):
                resync, ended, live = await asyncio.gather(*coming)
            shown = [one for frame in ear.of("snapshot", "q") for one in frame["documents"]]
            assert (resync["reason"], ended["code"], shown) == ("history_lost", "history_lost", [])
            arrived = ear.coming(lambda frame: frame["type"] == "changes" and frame["changes"][0]["key"] == "new")
            await asyncio.to_thread(service.database["docs"].insert_one, {"_id": "new"})
            async with asyncio.timeout(30):
                assert (await arrived)["position"] > live["position"]
            await stack.aclose()
