"""FAULTS section 3: events that no driver should choke on (10), and positions that are none (11).

Sabotage: `make sabotage`, rows "poison".
"""

from __future__ import annotations

import asyncio
from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument

from realtime import metrics
from tests.checker import Asked, judge
from tests.exact.conftest import Say
from tests.exact.ear import listening, passed
from tests.exact.ledger import Ledger, insert, to_int, update
from tests.exact.test_crowd import reads
from tests.exact.test_join import BATCHES, counted, light
from tests.exact.test_lost import ASKED, EVENTS, subscribe
from tests.mongo.reading import splits
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.truth import time_of

LARGE = 10 * 1024 * 1024
pytestmark = pytest.mark.timeout(90)


def odd(key: str, value: Any) -> RawBSONDocument:
    """A document from another driver; broken UTF-8 where the text says so."""
    broken = bson.encode({"_id": key, "n": 0, "odd": value}).replace(b"BROKEN", b"\xff\xfe\xfd\xfc\xc0\x80")
    return RawBSONDocument(broken)


def write_poison(service: Service, ledger: Ledger) -> None:
    """A thousand inserts, and amid them an update whose event passes 16 MB, a far date, and broken text."""
    for number in range(500):
        ledger.one(insert("docs", number, n=number))
    ledger.one(update("docs", "large", n=1, blob="y" * LARGE))
    for key, value in (("date", DatetimeMS(300_000_000_000_000)), ("text", "BROKEN")):
        service.database.docs.insert_one(odd(key, value))
        wanted = {"ns": f"{service.database.name}.docs", "o._id": key}
        entry = service.database.client["local"]["oplog.rs"].find_one(wanted, {"ts": 1})
        assert entry is not None
        ledger.made("docs", key, {"_id": key, "n": 0}, to_int(entry["ts"]))
    for number in range(500, 1000):
        ledger.one(insert("docs", number, n=number))


@BATCHES
async def test_poison_events_amid_a_thousand_stop_nothing(
    either_replica_set: ReplicaSet, batch_size: int, say: Say
) -> None:
    """10: an event over 16 MB, a date past 9999 and broken UTF-8."""
    replica_set = either_replica_set
    asked = [Asked("one", ("docs",), shows=light), Asked("events", ("docs",), "events", shows=light)]
    async with (
        serving(replica_set, feed_await_ms=100, feed_batch_size=batch_size, journal_bytes=0) as service,
        listening(service.url) as ear,
        listening(service.url) as other,
        listening(service.url) as late,
    ):
        service.database.create_collection("docs", changeStreamPreAndPostImages={"enabled": True})
        whole = await asyncio.to_thread(splits, service.database)
        ledger = Ledger(service.database, light={"blob", "odd"})
        ledger.one(insert("docs", "large", n=0, blob="x" * LARGE))
        await passed(service.url, ledger.last)
        await ear.subscribe("one", "docs", projection={"n": 1})
        await ear.subscribe("events", "docs", mode="events", projection={"n": 1})
        await other.subscribe("odd", "docs", mode="events", filter={"odd": {"$exists": True}})
        await asyncio.to_thread(write_poison, service, ledger)
        # And the feed goes on with full images.
        ledger.one(update("docs", 7, n=-7))
        await asyncio.gather(ear.fence(ledger.last), other.fence(ledger.last))
        figures = judge(ear.frames, asked, ledger.truth()).accept()
        # Whoever resumes further back than the journal comes past the same event in the oplog.
        position = ear.of("live")[0]["position"]
        await late.subscribe("events", "docs", mode="events", projection={"n": 1}, position=position)
        resumed = Asked("events", ("docs",), "events", shows=light, after=position)
        again = judge(late.frames, [resumed], ledger.truth()).accept()
    told = [one for frame in ear.of("events") for one in frame["events"]]
    odds = [one["document"]["odd"] for frame in other.of("events") for one in frame["events"]]
    large, plain = [one for one in told if one["op"] == "update"]
    say(f"{dict(figures)}; the large one: { {name: large[name] for name in large if name != 'updated'} }")
    assert odds == [{"$date": {"$numberLong": "300000000000000"}}, "\ufffd" * 6]
    assert figures["told"] == figures["expected"] == 1004
    assert again["told"] == again["expected"] == 1004
    assert large["key"] == "large"
    if whole:
        assert (large["before"], large["document"]) == ({"_id": "large", "n": 0}, {"_id": "large", "n": 1})
        assert "as_of" not in large
    else:
        assert "before" not in large
        # Not in the event any more: read at a later position that it names, which the checker has compared.
        assert "document" not in large or "as_of" in large
    assert (plain["before"], plain["document"]) == ({"_id": 7, "n": 7}, {"_id": 7, "n": -7})
    assert "as_of" not in plain
    assert not ear.of("resync")
    assert not ear.of("unsubscribed")
    assert not ear.of("status")


@pytest.mark.long("documents of 16 MB, and a restart")
async def test_an_event_over_16_mb_reaches_its_subscribers_whole_live_and_after_a_restart(
    newer_replica_set: ReplicaSet, say: Say
) -> None:
    """Both images and the change, 30 MB; far over what a connection may have waiting."""
    name = "t_large"
    told: list[list[dict[str, Any]]] = []
    position = ""
    for turn in range(2):
        async with (
            serving(newer_replica_set, feed_await_ms=100, database=name, keep=turn == 0) as service,
            listening(service.url) as ear,
        ):
            if turn == 0:
                service.database.create_collection("docs", changeStreamPreAndPostImages={"enabled": True})
                assert await asyncio.to_thread(splits, service.database)
                ledger = Ledger(service.database, light={"blob"})
                ledger.one(insert("docs", "large", n=0, blob="x" * LARGE))
                await ear.subscribe("events", "docs", mode="events")
                position = ear.of("live")[0]["position"]
                ledger.one(update("docs", "large", n=1, blob="y" * LARGE))
                ledger.one(insert("docs", "after", n=0))
            else:
                await ear.subscribe("events", "docs", mode="events", position=position)
            await ear.fence(ledger.last)
            told.append([one for frame in ear.of("events") for one in frame["events"]])
            assert not ear.of("unsubscribed")
    say(f"told {[[one['key'] for one in events] for events in told]}")
    for events in told:
        large, after = events[-2:]  # perhaps the insert before them
        assert (large["op"], large["key"], after["key"]) == ("update", "large", "after")
        assert large["before"] == {"_id": "large", "n": 0, "blob": "x" * LARGE}
        assert large["document"] == {"_id": "large", "n": 1, "blob": "y" * LARGE}
        assert (sorted(large["updated"]), large.get("partial"), large.get("as_of")) == (["blob", "n"], None, None)
    assert told[0] == told[1]


def bad_positions(good: str) -> list[str]:
    """25 that are none: malformed, of another deployment, from the future, resume tokens."""
    epoch, clock = good[:8], good[9:]
    ahead = f"{epoch}-{time_of(good) + (3600 << 32):016X}"
    malformed = ["", " ", "x", good[:-1], f"{good}0", f"{good[:8]}-{'g' * 16}", f" {good[1:]}", f"{epoch}_{clock}"]
    malformed += [f"{epoch}-{'-' * 16}", f"{epoch}-+{clock[1:]}", f"{epoch}- {clock[1:]}", f"{good}\n", "$where"]
    malformed += ["\u0660" * 8 + "-" + clock, "9" * 5000, '{"_data": "82"}', "8265A1B2C30000000A2B0229296E04"]
    malformed += ["82" + "0" * 60, good.replace("-", "\u2010")]
    foreign = [f"{'0' * 8}-{clock}", f"{'F' * 8}-{clock}", f"DEADBEEF-{clock}"]
    return [*malformed, *foreign, ahead, f"{epoch}-{'F' * 16}", f"{epoch}-7FFFFFFF00000001"]


@BATCHES
async def test_25_bad_positions_get_25_clear_answers_and_none_reaches_mongodb(
    own_replica_set: ReplicaSet, batch_size: int, say: Say
) -> None:
    """11: and nobody else notices."""
    async with (
        serving(own_replica_set, feed_await_ms=100, feed_batch_size=batch_size, journal_bytes=0) as service,
        listening(service.url) as witness,
        listening(service.url) as ear,
    ):
        ledger = Ledger(service.database)
        ledger.bulk("docs", [{"_id": n, "n": n} for n in range(10)])
        await subscribe(witness, service.url, ledger.last)
        await ear.subscribe("q", "docs")
        query, bad = ear.of("subscribed")[0]["query"], bad_positions(ear.of("live")[0]["position"])
        await ear.fence(ledger.last)
        before, heard = counted(metrics.CATCH_UPS), len(witness.frames)
        asked_before = reads(service.database.client)
        answers = [
            await ear.ask(type="subscribe", id=f"e{number}", mode="events", collection="docs", position=position)
            for number, position in enumerate(bad)
        ]
        for number, position in enumerate(bad):
            await ear.subscribe(f"q{number}", "docs", position=position, query=query)
        unheard = len(witness.frames) == heard
        await service.http.get(service.documents)
        asked_after = reads(service.database.client)
        ledger.one(insert("docs", "after", n=9))
        await witness.fence(ledger.last)
        figures = judge(witness.frames, [*ASKED, EVENTS], ledger.truth()).accept()
        read_back = counted(metrics.CATCH_UPS) - before
    commands = {name: asked_after[name] - asked_before[name] for name in asked_after}
    codes = [(answer["type"], answer.get("code")) for answer in answers]
    say(f"{len(bad)} positions: {sorted(set(codes))}; {commands}; {dict(figures)}")
    assert len(bad) == len(set(bad)) == len(answers) == 25
    assert set(codes) <= {("error", "invalid_position"), ("error", "invalid_request")}
    assert all(answer["message"] and not answer["retry"] for answer in answers)
    assert [frame["recovered"] for frame in ear.of("subscribed")] == [False] * 26
    # The one read is the page that was asked for in between, to show that reads are counted; where it is not known
    # any more, what kind of collection that is was asked as well.
    assert commands.pop("listCollections") <= 1
    assert commands == {"find": 1, "aggregate": 0, "count": 0, "distinct": 0}
    assert read_back == 0
    assert unheard
    assert figures["told"] == figures["expected"] == 1
