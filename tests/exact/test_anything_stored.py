"""Whatever MongoDB stores is told, exactly; and nobody else notices.

Documents and values of every class of BSON are stored at every place, in every way that drivers have: see `raw_bson`
and `storing`. Meanwhile 60 queries of another collection are compared with MongoDB at their own positions, and the
subscribers of the same collections with what MongoDB answers them. Then the service starts again, and everybody comes
back from before all of it.

REALTIME_TEST_PAIRS=500000 makes it a long one, REALTIME_TEST_SEED repeats a run. Sabotage: `make sabotage`, rows
"odd".
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.chance import fresh_seed
from tests.exact import raw_bson
from tests.exact.conftest import Say
from tests.exact.ear import Ear, listening
from tests.exact.followers import Followers, Told
from tests.exact.odd_views import EVENTS, QUERIES, Asked, Happened, Query, heard
from tests.exact.raw_bson import RawBson
from tests.exact.sortedview import Folding
from tests.exact.storing import COLLECTIONS, STORED, Storing, Written, table
from tests.exact.test_windows import POOL, Truth, Writer, compare, queries
from tests.mongo.grammar import pairs
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.truth import name_of, time_of

INPUTS = pairs(20_000)
"""Documents and values, at least."""
BETWEEN_RESTARTS = 10_000
ROUND = 2500
KEPT = 400
STEPS = 8
"""Writes of the other collection in a round."""
OTHERS = "items"
SETTINGS: dict[str, Any] = {
    "feed_await_ms": 100,
    "heartbeat_seconds": 0.5,
    "outbox_bytes": 1 << 25,
    "documents": 100_000,
    "keep": True,
}


@dataclass(slots=True)
class Run:
    """One run: what is stored, what is compared, and what differed."""

    seed: int
    database: str
    storing: Storing
    items: Writer
    beside: Writer
    figures: Counter[str] = field(default_factory=Counter)
    different: list[str] = field(default_factory=list)

    def use(self, service: Service) -> None:
        """Write by the connection of this service's fixture."""
        self.storing.database = service.database
        for writer in (self.items, self.beside):
            writer.service, writer.items = service, service.database[OTHERS]

    def found(self, where: str, difference: str | None) -> None:
        self.figures["compared"] += 1
        if difference is not None:
            self.different.append(f"{where}: {difference}")

    def check(self) -> None:
        shown = "\n".join(self.different[:6])
        assert not self.different, f"seed {self.seed}: {len(self.different)} differ\n{shown}"


@dataclass(slots=True)
class Before:
    """What everybody had before anything odd was stored."""

    position: str
    views: dict[str, tuple[dict[str, Any], str, str]]
    """Documents, query and position, by subscription."""
    told: dict[str, list[str]] = field(default_factory=dict)
    """What was told since, filled in at the end."""


# ---------------------------------------------------------------------------------------------------------- the rounds


@asynccontextmanager
async def following(service: Service, chance: random.Random) -> AsyncIterator[dict[str, Followers]]:
    """Everybody, subscribed."""
    async with AsyncExitStack() as stack:
        ears = {
            name: await stack.enter_async_context(listening(service.url)) for name in ("others", *COLLECTIONS, "events")
        }
        everybody = {name: Followers(ear) for name, ear in ears.items()}
        samples = {"moment": 0.04, "heartbeat": 0.02, "snapshot": 1.0}
        for name, query in queries().items():
            await everybody["others"].view(name, OTHERS, query, lambda why: chance.random() < samples[why])
        for collection in COLLECTIONS:
            for name, query in QUERIES.items():
                await everybody[collection].view(name, collection, query)
        for name, query in EVENTS.items():
            await everybody["events"].hear(name, query)
        yield everybody


async def other_writes(run: Run, number: int) -> None:
    for step in range(1, STEPS + 1):
        await asyncio.to_thread(run.items.step, number * STEPS + step)


async def odd_writes(run: Run) -> None:
    await asyncio.to_thread(run.storing.round, ROUND)
    for _ in range(4):
        beside = {OTHERS: [run.beside.document() for _ in range(2)]}
        await asyncio.to_thread(run.storing.transaction, 12, beside)
    await asyncio.to_thread(run.storing.thin_out, KEPT)


async def one_round(run: Run, everybody: dict[str, Followers], number: int) -> None:
    """Write, wait until everybody was told, compare."""
    await asyncio.gather(other_writes(run, number), odd_writes(run))
    last = max(run.storing.last, run.items.last)
    for followers in everybody.values():
        await followers.reach(last)
    await asyncio.to_thread(compare_all, run, everybody)
    run.check()


def compare_all(run: Run, everybody: dict[str, Followers]) -> None:
    """The other collection at the views' own positions, the same ones as they are now."""
    others = everybody["others"]
    asked = {name: query for name, (_, query) in others.asked.items()}
    compared, different = compare(list(others.views.values()), asked, Truth(run.storing.database))
    run.figures["views of others"] += compared.total()
    run.different += different
    for view in others.views.values():
        view.seen.clear()
    mongodb = Asked(run.storing.database)
    for collection in COLLECTIONS:
        for name, (_, query) in everybody[collection].asked.items():
            run.found(f"{collection}, {name}", mongodb.difference(collection, query, everybody[collection].views[name]))
    run.figures["documents compared"] += mongodb.documents


def before(everybody: dict[str, Followers]) -> Before:
    """As it is now."""
    views: dict[str, tuple[dict[str, Any], str, str]] = {}
    for collection in COLLECTIONS:
        followers = everybody[collection]
        followers.take()
        for name, view in followers.views.items():
            views[f"{collection}, {name}"] = (dict(view.documents), *followers.answers[name])
    events = everybody["events"]
    events.take()
    return Before(min(told.live_at for told in events.told.values()), views)


def check_events(run: Run, told: Iterable[Told], then: Before) -> None:
    """Each event once and as it was, by MongoDB's own stream."""
    happened = Happened(run.storing.database, time_of(then.position), run.storing.last)
    for one in told:
        then.told[one.id] = heard(one.events, EVENTS[one.id])
        there = happened.lines(EVENTS[one.id])
        run.figures["events"] += len(there)
        run.found(f"events, {one.id}", differing(then.told[one.id], there))
    run.check()


# ---------------------------------------------------------------------------------------------------------- afterwards


async def come_back(run: Run, service: Service, then: Before) -> None:
    """Everybody comes back to a service that starts anew, from before all of it."""
    async with listening(service.url) as events, AsyncExitStack() as stack:
        followers = Followers(events)
        for name, query in EVENTS.items():
            await followers.hear(name, query, position=then.position)
        await followers.reach(run.storing.last)
        for told in followers.told.values():
            lines = heard(told.events, EVENTS[told.id])
            run.figures["events told again"] += len(lines)
            run.found(f"resumed {told.id}", differing(lines, then.told[told.id]))
        mongodb = Asked(run.storing.database)
        for collection in COLLECTIONS:
            ear = await stack.enter_async_context(listening(service.url))
            for name, query in QUERIES.items():
                held, key, position = then.views[f"{collection}, {name}"]
                await ear.subscribe(name, collection, **query, position=position, query=key)
                await ear.settle(run.storing.last)
                view = brought_up(ear, name, query, held)
                run.figures["recovered"] += ear.of("subscribed", name)[0]["recovered"]
                run.found(
                    f"resumed {collection}, {name}",
                    await asyncio.to_thread(mongodb.difference, collection, query, view),
                )
    run.check()


def brought_up(ear: Ear, name: str, query: Query, held: dict[str, Any]) -> Folding:
    """What a client makes of a view that it held, or of the new snapshot."""
    view = Folding(name, "sort" in query or "limit" in query, lambda _: False)
    if not ear.of("subscribed", name)[0]["recovered"]:
        for frame in ear.frames:
            view.take(frame)
        return view
    view.documents = dict(held)
    for frame in ear.of("changes", name):
        for change in frame["changes"]:
            view.documents.pop(name_of(change["key"]), None)
            if change["op"] != "leave":
                view.documents[name_of(change["key"])] = change["document"]
    view.keys = list(view.documents)
    return view


def differing(here: list[str], there: list[str]) -> str | None:
    """The first difference of two lists, or None."""
    if here == there:
        return None
    at = next((at for at, (one, other) in enumerate(zip(here, there, strict=False)) if one != other), None)
    if at is None:
        return f"{len(here)} told, {len(there)} there"
    return f"at {at} of {len(there)}: told {here[at][:300]}\n  there {there[at][:300]}"


# ------------------------------------------------------------------------------------------------------------ the test


def errors(records: Iterable[logging.LogRecord]) -> list[str]:
    """What the service, or the loop, logged as an error."""
    return [record.getMessage() for record in records if record.levelno >= logging.ERROR]


def check_classes(written: Written) -> None:
    """Everything was tried, and nearly everything is stored."""
    for kind in raw_bson.VALUES:
        assert written.of(kind=kind) >= 5, kind
        for place in raw_bson.ALL_PLACES:
            assert written.of(kind=kind, place=place) or (kind, place) in raw_bson.APART, (kind, place)
    refused = [kind for kind in raw_bson.VALUES if not written.of(kind=kind, what=STORED)]
    assert len(refused) <= 1, refused  # 6.0.27 looks into columns
    for how in (*raw_bson.UPDATES, "insert", "upsert", "transaction"):
        assert written.of(how=how, what=STORED) >= 20, how
    assert written.of(what=STORED) >= 0.9 * written.inputs


@pytest.mark.long("20,000 documents, each compared")
@pytest.mark.alone("keeps both cores busy")
@pytest.mark.timeout(3 * 3600)
async def test_whatever_mongodb_stores_is_told_and_nobody_else_notices(
    replica_set: ReplicaSet, say: Say, caplog: pytest.LogCaptureFixture
) -> None:
    seed = fresh_seed()
    chance = random.Random(seed)
    phases = math.ceil(INPUTS / BETWEEN_RESTARTS)
    then: Before | None = None
    run: Run | None = None
    name = f"t_stored_{seed:08x}"
    for phase in range(phases + 1):
        async with serving(replica_set, database=name, **{**SETTINGS, "keep": phase < phases}) as service:
            if run is None:
                run = begin(service, seed, chance)
            run.use(service)
            if then is not None:
                await come_back(run, service, then)
            if phase == phases:
                break
            async with following(service, chance) as everybody:
                then = before(everybody)
                wanted = min(INPUTS, (phase + 1) * BETWEEN_RESTARTS)
                while run.storing.written.inputs < wanted:
                    run.figures["rounds"] += 1
                    await one_round(run, everybody, run.figures["rounds"])
                await asyncio.to_thread(run.storing.wrong)
                await everybody["events"].reach(run.storing.last)
                await asyncio.to_thread(check_events, run, everybody["events"].told.values(), then)
    assert run is not None
    written = run.storing.written
    say(f"seed {seed}: {written.inputs} inputs, {dict(run.figures)}; transactions {dict(run.storing.transactions)}")
    say(f"\n{table(written)}")
    check_classes(written)
    assert errors(caplog.records) == []
    assert run.storing.transactions["committed"] >= run.figures["rounds"] // 2
    assert run.figures["views of others"] >= 60
    assert run.figures["events told again"] >= INPUTS
    assert run.figures["documents compared"] >= INPUTS


def begin(service: Service, seed: int, chance: random.Random) -> Run:
    """Collections, and documents for others to look at."""
    storing = Storing(service.database, RawBson(random.Random(chance.random())))
    storing.prepare()
    items, beside = (Writer(service, random.Random(chance.random())) for _ in range(2))
    items.items = beside.items = service.database[OTHERS]
    items.items.insert_many([items.document() for _ in range(POOL)])
    beside.keys = 10**6
    return Run(seed, service.database.name, storing, items, beside)
