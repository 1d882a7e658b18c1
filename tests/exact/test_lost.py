"""FAULTS section 3: the oplog rolled while the service is down or frozen (6), and beside a quiet collection (7).

Sabotage: `make sabotage`, rows "lost".
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymongo
import pytest

from tests.checker import Asked, Frame, judge
from tests.exact.conftest import Say
from tests.exact.ear import Ear, listening, passed
from tests.exact.ledger import Ledger, insert, to_int
from tests.exact.test_join import BATCHES, resynced
from tests.gated_oplog import GatedOplog
from tests.replica_set import ReplicaSet
from tests.serving import process, serving
from tests.truth import time_of

Client = pymongo.MongoClient[dict[str, Any]]
pytestmark = pytest.mark.timeout(90)
ASKED = [Asked("one", ("docs",)), Asked("two", ("docs",), matches=lambda one: bool(one["n"] >= 5))]
TOLD_SECONDS = 5.0
EVENTS = Asked("events", ("docs",), "events")


def oldest(client: Client, end: int = 1) -> int:
    """Where the oplog begins; with `end` -1, where it ends."""
    entry = client["local"]["oplog.rs"].find_one({}, {"ts": 1}, sort=[("$natural", end)])
    assert entry is not None
    return to_int(entry["ts"])


def roll(client: Client, past: int, reached: Callable[[], int] | None = None) -> int:
    """Write to a neighbour until the oplog begins after a time; how many documents that took.

    `reached`: the time of a feed that is not to be left behind. On a busy machine the oplog's one megabyte would
    overtake it, and history would rightly be lost.
    """
    filler = client["neighbour"]["filler"]
    written = 0
    while oldest(client) <= past:
        filler.insert_many([{"text": "x" * 2000} for _ in range(500)])
        written += 500
        assert written < 200_000
        end, deadline = oldest(client, -1), time.monotonic() + 10
        while reached is not None and reached() < end:
            assert time.monotonic() < deadline
            time.sleep(0.002)  # the feed is another thread's
    return written


def await_idle(client: Client) -> None:
    """Until no step of the feed is with MongoDB: the one under way at the freeze still moves its cursor."""
    mine = {"appName": "realtime-feed", "active": True, "command.getMore": {"$exists": True}}
    deadline = time.monotonic() + 10
    while list(client.admin.aggregate([{"$currentOp": {"allUsers": True}}, {"$match": mine}])):
        assert time.monotonic() < deadline
        time.sleep(0.02)  # another process's step has no event to await


def of_type(kind: str, name: str) -> Callable[[Frame], bool]:
    """A frame of one type for one subscription."""
    return lambda frame: frame["type"] == kind and frame.get("id") == name


async def subscribe(ear: Ear, url: str, written: int) -> None:
    """Two queries, and the events after what has been written."""
    await passed(url, written)
    await ear.subscribe("one", "docs")
    await ear.subscribe("two", "docs", filter={"n": {"$gte": 5}})
    await ear.subscribe("events", "docs", mode="events")


@BATCHES
async def test_positions_older_than_the_oplog_are_answered_and_the_client_goes_on(
    own_replica_set: ReplicaSet, batch_size: int, say: Say
) -> None:
    """6, down: the oplog is rolled while the service is away."""
    settings: dict[str, Any] = {"feed_await_ms": 100, "feed_batch_size": batch_size, "database": "t_rolled"}
    with Client(own_replica_set.uri) as client:
        ledger = Ledger(client["t_rolled"])
        ledger.bulk("docs", [{"_id": n, "n": n} for n in range(10)])
        async with serving(own_replica_set, keep=True, **settings) as service, listening(service.url) as ear:
            position = (await ear.subscribe("one", "docs"))["position"]
            query = ear.of("subscribed")[0]["query"]
        ledger.one(insert("docs", "missed", n=1))
        written = await asyncio.to_thread(roll, client, ledger.last)
        request = {"type": "subscribe", "id": "e", "mode": "events", "collection": "docs", "position": position}
        async with serving(own_replica_set, **settings) as service, listening(service.url) as ear:
            await ear.subscribe("one", "docs", position=position, query=query)
            answers = [await ear.ask(**request) for _ in range(2)]
            begins = dt.datetime.fromtimestamp(oldest(client) >> 32, dt.UTC)
            ledger.one(insert("docs", "after", n=2))
            await ear.fence(ledger.last)
            figures = judge(ear.frames, [ASKED[0]], ledger.truth()).accept()
    say(f"{written} documents rolled the oplog; {answers[0]['message']}: {answers[0]['details']}; {dict(figures)}")
    assert ear.of("subscribed")[0]["recovered"] is False
    assert [(answer["type"], answer["code"]) for answer in answers] == [("error", "history_lost")] * 2
    told = dt.datetime.fromisoformat(answers[0]["details"]["oldest"]["$date"])
    assert abs((told - begins).total_seconds()) <= 5
    assert time_of(position) >> 32 < told.timestamp() + 1
    assert figures["snapshot"] == 1
    assert figures["enter"] == 1


@pytest.mark.long("a service that is frozen until the oplog has rolled")
@BATCHES
async def test_a_frozen_service_that_lost_the_oplog_says_so_once(
    own_replica_set: ReplicaSet, tmp_path: Path, batch_size: int, say: Say
) -> None:
    """6, up but frozen: one `resync` a query subscription, one `history_lost` an events subscription, no loop."""
    options = ("--port", "0", "--mongodb-uri", own_replica_set.uri, "--database", "t_frozen")
    given = {"REALTIME_FEED_BATCH_SIZE": str(batch_size)}
    with Client(own_replica_set.uri) as client:
        ledger = Ledger(client["t_frozen"])
        ledger.bulk("docs", [{"_id": n, "n": n} for n in range(10)])
        async with process("serve", *options, home=tmp_path, **given) as service, listening(service.url) as ear:
            await subscribe(ear, service.url, ledger.last)
            service.process.send_signal(signal.SIGSTOP)
            try:
                await asyncio.to_thread(await_idle, client)
                ledger.one(insert("docs", "missed", n=7))
                written = await asyncio.to_thread(roll, client, ledger.last)
                told = [ear.coming(of_type("resync", name)) for name in ("one", "two")]
                told.append(ear.coming(of_type("unsubscribed", "events")))
            finally:
                service.process.send_signal(signal.SIGCONT)
            # Nothing is written meanwhile: it must not need an event of this database to be told.
            async with asyncio.timeout(TOLD_SECONDS):
                await asyncio.gather(*told)
            await ear.subscribe("again", "docs", mode="events")
            for number in range(20):
                ledger.one(insert("docs", f"after {number}", n=number))
            await ear.settle(ledger.last)
            asked = [*ASKED, EVENTS, Asked("again", ("docs",), "events")]
            figures = judge(ear.frames, asked, ledger.truth()).accept()
    lost = [line for line in service.output if "going on from now" in line]
    say(f"{written} documents rolled the oplog; {dict(figures)}")
    assert sorted(frame["id"] for frame in ear.of("resync")) == ["one", "two"]
    assert [(frame["id"], frame["code"]) for frame in ear.of("unsubscribed")] == [("events", "history_lost")]
    assert len(lost) == 1
    assert figures["told"] == figures["expected"] == 20


@BATCHES
async def test_a_quiet_collection_survives_a_neighbour_that_turns_the_oplog_over(
    own_replica_set: ReplicaSet, batch_size: int, say: Say
) -> None:
    """7: the last event's token has long left the oplog when the stream is cut."""
    before = resynced()
    cut = {"failCommands": ["getMore"], "appName": "realtime-feed", "closeConnection": True}
    with Client(own_replica_set.uri) as client:
        async with (
            serving(own_replica_set, feed_await_ms=100, feed_batch_size=batch_size) as service,
            listening(service.url) as ear,
        ):
            ledger, hub = Ledger(service.database), service.realtime.live().hub
            ledger.bulk("docs", [{"_id": n, "n": n} for n in range(10)])
            await subscribe(ear, service.url, ledger.last)
            ledger.one(insert("docs", "quiet from here", n=8))
            await ear.fence(ledger.last)
            written = await asyncio.to_thread(roll, client, ledger.last, lambda: hub.time)
            point = {"configureFailPoint": "failCommand", "mode": {"times": 2}, "data": cut}
            entered = client.admin.command(point)["count"]
            # Cut while it knows nothing newer than what the oplog no longer holds.
            until = {"waitForFailPoint": "failCommand", "timesEntered": entered + 2, "maxTimeMS": 10_000}
            await asyncio.to_thread(client.admin.command, until)
            ledger.one(insert("docs", "through the cut", n=8))
            await ear.fence(ledger.last)
            written += await asyncio.to_thread(roll, client, ledger.last, lambda: hub.time)
            with contextlib.suppress(pymongo.errors.AutoReconnect):
                client.admin.command({"replSetStepDown": 1, "force": True})
            await asyncio.to_thread(ledger.one, insert("docs", "after the step-down", n=8))
            await ear.fence(ledger.last)
            figures = judge(ear.frames, [*ASKED, EVENTS], ledger.truth()).accept()
    say(f"{written} documents rolled the oplog; {dict(figures)}")
    assert resynced() == before
    assert not ear.of("resync")
    assert not ear.of("unsubscribed")
    assert figures["told"] == figures["expected"] == 3


HELD = 256 * 1024
LARGE = 2500
"""Documents in one transaction, of some 300 bytes each as events: a full reply of them passes the bound."""


@BATCHES
async def test_a_transaction_too_large_to_hold_is_told_as_lost(
    replica_set: ReplicaSet, batch_size: int, say: Say
) -> None:
    """Nothing of it is told by halves: queries are read again, events end, also for those who resume across it."""
    settings = {"feed_await_ms": 100, "feed_batch_size": batch_size, "transaction_bytes": HELD}
    async with (
        serving(replica_set, **settings) as service,
        listening(service.url) as ear,
        listening(service.url) as late,
    ):
        ledger = Ledger(service.database)
        ledger.bulk("docs", [{"_id": n, "n": n} for n in range(10)])
        await subscribe(ear, service.url, ledger.last)
        before, query = ear.of("live")[0]["position"], ear.of("subscribed")[0]["query"]
        told = [ear.coming(of_type("resync", name)) for name in ("one", "two")]
        told.append(ear.coming(of_type("unsubscribed", "events")))
        large = ledger.together([insert("docs", f"large {n}", n=n) for n in range(LARGE)])
        async with asyncio.timeout(TOLD_SECONDS):
            await asyncio.gather(*told)
        await ear.settle(large)
        # It is a transaction of the ordinary size that comes through whole.
        await ear.subscribe("again", "docs", mode="events")
        ledger.together([insert("docs", f"after {n}", n=n) for n in range(20)])
        await ear.settle(ledger.last)
        asked = [*ASKED, EVENTS, Asked("again", ("docs",), "events")]
        figures = judge(ear.frames, asked, ledger.truth()).accept()
        # Across it nothing can be told one by one; after it everything can.
        request = {"type": "subscribe", "id": "e", "mode": "events", "collection": "docs", "position": before}
        across = await late.ask(**request)
        await late.subscribe("one", "docs", position=before, query=query)
        after = str(next(frame for frame in ear.of("live") if frame["id"] == "again")["position"])
        await late.subscribe("e", "docs", mode="events", position=after)
        resumed = [ASKED[0], Asked("e", ("docs",), "events", after=after)]
        frames = [frame for frame in late.frames if frame is not across]
        again = judge(frames, resumed, ledger.truth()).accept()
    say(f"{dict(figures)}; across it {across['message']}; {dict(again)}")
    assert sorted(frame["id"] for frame in ear.of("resync")) == ["one", "two"]
    assert [(frame["id"], frame["code"]) for frame in ear.of("unsubscribed")] == [("events", "history_lost")]
    assert figures["told"] == figures["expected"] == 20
    assert figures["enter"] == 20 + 15
    assert (across["type"], across["code"]) == ("error", "history_lost")
    assert [frame["recovered"] for frame in late.of("subscribed")] == [False, True]
    assert again["told"] == again["expected"] == 20


@BATCHES
async def test_one_ancient_position_spoils_nobody_elses_history(
    own_replica_set: ReplicaSet, batch_size: int, say: Say
) -> None:
    """Single flight begins at the oldest position that waits; where that one is lost the others are not."""
    asked: list[Asked] = []
    kinds: dict[str, list[str]] = {"ancient": [], "good": []}
    with Client(own_replica_set.uri) as client:
        async with serving(own_replica_set, feed_await_ms=100, journal_bytes=0, feed_batch_size=batch_size) as service:
            ledger = Ledger(service.database)
            first = ledger.one(insert("docs", "ancient", n=0))
            async with listening(service.url) as ear:
                await ear.fence(ledger.last)
                await asyncio.to_thread(roll, client, first)
                for number in range(20):
                    ledger.one(insert("docs", number, n=number))
                await ear.fence(ledger.last)
                epoch = ear.frames[0]["position"][:8]
                waits = []
                # Nobody's read begins before everybody waits.
                history = service.realtime.live().hub.history
                assert history._oplog is not None
                gate = history._oplog = GatedOplog(history._oplog)
                # From new to old, so that each needs a read of its own unless another one's reaches back further.
                for number, position in enumerate(sorted(ledger.commits[1:], reverse=True)):
                    for kind, at in (("good", position), ("ancient", first)):
                        name, text = f"{kind} {number}", f"{epoch}-{at:016X}"
                        if kind == "good":
                            asked.append(Asked(name, ("docs",), "events", after=text))
                        waits.append((kind, ear.coming(answer_to(name))))
                        await ear.send(type="subscribe", id=name, mode="events", collection="docs", position=text)
                await ear.ask(type="ping")
                gate.open.set()
                async with asyncio.timeout(30):
                    for kind, wait in waits:
                        frame = await wait
                        kinds[kind].append(str(frame.get("code", frame["type"])))
                await ear.fence(ledger.last)
                figures = judge(ear.frames, asked, ledger.truth()).accept()
    say(str(dict(figures)))
    assert kinds == {"ancient": ["history_lost"] * 20, "good": ["live"] * 20}
    # The first who came, the oldest, whose history is gone, and the oldest of the others.
    assert 2 <= gate.reads <= 3
    assert figures["told"] == figures["expected"] == sum(range(20))


def answer_to(name: str) -> Callable[[Frame], bool]:
    """How a subscription began, or why not."""
    return lambda frame: frame.get("id") == name and frame["type"] in {"live", "error"}
