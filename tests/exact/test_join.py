"""Joining under load: nothing missed, nothing twice, no half of a transaction, whatever the reply's size.

Sabotage: `make sabotage`, rows "join".
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from realtime import metrics
from realtime.mongo.feed import ChangeFeed
from tests.checker import Asked, Frame, everything, judge
from tests.exact.conftest import Say
from tests.exact.ear import Ear, listening
from tests.exact.ledger import Ledger, Op, delete, insert, reader, update
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.truth import Document, time_of

CLIENTS = 200
TRANSACTIONS = 260
"""Of each of two writers."""
ACCOUNTS = 20
MAY_LAG = 30
"""A writer waits for the clients that were to join so many commits ago."""
AGAIN = pytest.mark.long("like the one beside it, which is the harder one")
BATCHES = pytest.mark.parametrize("batch_size", [pytest.param(1000, marks=AGAIN), 7])


def counted(counter: Any) -> float:
    """A counter's value now."""
    return float(counter._value.get())


class Turnstile:
    """Lets each client in when its commit has come, and holds writers that are too far ahead of the clients."""

    def __init__(self, turns: list[int]) -> None:
        self.loop = asyncio.get_running_loop()
        self.turns = sorted(turns)
        self.opened = [asyncio.Event() for _ in turns]
        self.joined = 0
        self.commits = 0
        self._lock = threading.Condition()

    def committed(self) -> None:
        """A writer's turn, in its thread."""
        with self._lock:
            self.commits += 1
            for turn, event in zip(self.turns, self.opened, strict=True):
                if turn == self.commits:
                    self.loop.call_soon_threadsafe(event.set)
            due = sum(turn <= self.commits - MAY_LAG for turn in self.turns)
            assert self._lock.wait_for(lambda: self.joined >= due, timeout=60)

    def client_is_live(self) -> None:
        with self._lock:
            self.joined += 1
            self._lock.notify_all()


def transfers(ledger: Ledger, part: int, turnstile: Turnstile) -> None:
    """Four-document transactions over a writer's own accounts, which keep the sum of all balances."""
    dice = random.Random(part)
    balances: dict[Any, int] = {f"{part}-{n}": 100 for n in range(ACCOUNTS)}
    for number in range(TRANSACTIONS):
        one, two, three, four = dice.sample(sorted(balances), 4)
        amount = dice.randrange(1, 60)
        moved: list[Op]
        if number % 5 == 4:
            fresh = f"{part}-new-{number}"
            left = balances.pop(four)
            balances[fresh] = amount
            balances[one] -= amount
            balances[two] += left
            moved = [
                insert("accounts", fresh, part=part, balance=amount),
                update("accounts", one, balance=balances[one]),
                delete("accounts", four),
                update("accounts", two, balance=balances[two]),
            ]
        else:
            for key, by in ((one, amount), (two, -amount), (three, 2 * amount), (four, -2 * amount)):
                balances[key] += by
            moved = [update("accounts", key, balance=balances[key]) for key in (one, two, three, four)]
        ledger.together(moved)
        # A transaction takes a time for each of its changes; a single write's is the very next one.
        ledger.one(update("accounts", one, note=number))
        turnstile.committed()


@dataclass(slots=True)
class Joiner:
    """One client, what it asks for, and when it was live."""

    number: int
    ear: Ear | None = None
    asked: list[Asked] = field(default_factory=list)
    live: str = ""
    commits_between: int = 0

    def query(self) -> tuple[dict[str, Any], Callable[[Document], bool]]:
        """A filter, and the same by the checker's own hands. Two in three are asked by nobody else."""
        bound = 40 + self.number
        if self.number % 3 == 0:
            return {}, everything
        if self.number % 3 == 1:
            return {"balance": {"$gte": bound}}, lambda one: one["balance"] >= bound
        part = self.number % 2
        return {"part": part, "balance": {"$lt": bound}}, lambda one: one["part"] == part and one["balance"] < bound

    async def join(self, url: str, stack: AsyncExitStack, turnstile: Turnstile) -> None:
        await turnstile.opened[self.number].wait()
        self.ear = await stack.enter_async_context(listening(url))
        before = turnstile.commits
        selection, matches = self.query()
        self.live = (await self.ear.subscribe("q", "accounts", filter=selection))["position"]
        self.asked.append(Asked("q", ("accounts",), matches=matches))
        if self.number % 6 == 1:
            await self.ear.subscribe("all", "accounts")
            self.asked.append(Asked("all", ("accounts",)))
        if self.number % 8 == 0:
            await self.ear.subscribe("e", "accounts", mode="events")
            self.asked.append(Asked("e", ("accounts",), mode="events"))
        self.commits_between = turnstile.commits - before
        turnstile.client_is_live()


def drawn(joiners: list[Joiner], first: int, last: int) -> dict[int, set[str]]:
    """50 frames between the first and the last write, 25 of them with an update, by client."""
    dice = random.Random(7)
    frames: list[tuple[int, Frame]] = [
        (joiner.number, frame)
        for joiner in joiners
        if joiner.ear is not None
        for frame in joiner.ear.of("changes")
        if "position" in frame and first < time_of(frame["position"]) < last
    ]
    updating = [one for one in frames if any(change["op"] == "update" for change in one[1]["changes"])]
    chosen: dict[int, set[str]] = {}
    for number, frame in dice.sample(updating, 25) + dice.sample(frames, 35):
        chosen.setdefault(number, set()).add(frame["position"])
    return chosen


@pytest.mark.long("200 clients; those that join the transactions below are in make test")
@pytest.mark.alone("how much happens beside them depends on what else the machine does")
@pytest.mark.parametrize("batch_size", [1000, 7])
async def test_200_clients_join_under_transactions_without_gap_or_repeat(
    replica_set: ReplicaSet, batch_size: int, say: Say
) -> None:
    images, resyncs = counted(metrics.IMAGES), resynced()
    async with (
        serving(replica_set, feed_await_ms=100, feed_batch_size=batch_size) as service,
        AsyncExitStack() as stack,
    ):
        ledger = Ledger(service.database)
        for part in (0, 1):
            ledger.bulk("accounts", [{"_id": f"{part}-{n}", "part": part, "balance": 100} for n in range(ACCOUNTS)])
        dice = random.Random(1)
        turnstile = Turnstile([dice.randrange(1, 2 * TRANSACTIONS - 2 * MAY_LAG) for _ in range(CLIENTS)])
        joiners = [Joiner(number) for number in range(CLIENTS)]
        first = ledger.last
        await asyncio.gather(
            *(asyncio.to_thread(transfers, ledger, part, turnstile) for part in (0, 1)),
            *(joiner.join(service.url, stack, turnstile) for joiner in joiners),
        )
        last = ledger.last
        await asyncio.gather(*(joiner.ear.fence(last) for joiner in joiners if joiner.ear is not None))
        images = counted(metrics.IMAGES) - images
        figures = await asyncio.to_thread(judged, service, ledger, joiners, first, last)
    between = sum(first < time_of(joiner.live) < last for joiner in joiners)
    busy = sum(joiner.commits_between > 0 for joiner in joiners)
    say(f"{between} joins between commits, {busy} with commits inside, {images:.0f} images, {dict(figures)}")
    assert between >= 150
    assert busy >= 100
    assert len(set(ledger.commits)) >= 500
    assert images >= 200
    assert resynced() == resyncs
    assert figures["resync"] == 0
    assert figures["sampled"] >= 50
    assert figures["sampled with an update"] >= 20
    # Of moments, of which there are fewer where batches are larger; it was 4,984 once.
    assert figures["invariant held"] >= 3000
    assert figures["expected"] == figures["told"] > 5000


def resynced() -> float:
    return float(
        sum(
            sample.value
            for family in metrics.RESYNCS.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        )
    )


def judged(service: Service, ledger: Ledger, joiners: list[Joiner], first: int, last: int) -> Any:
    """Every client's frames before the checker; what it looked at, summed up."""
    truth, read = ledger.truth(), reader(service.database)
    chosen = drawn(joiners, first, last)
    total: Any = None
    for joiner in joiners:
        assert joiner.ear is not None
        sample = chosen.get(joiner.number, set())
        joiner.asked[0].sample = frozenset(sample)
        figures = judge(joiner.ear.frames, joiner.asked, truth, read=read).accept()
        figures["sampled with an update"] += sum(
            frame.get("position") in sample and any(change["op"] == "update" for change in frame["changes"])
            for frame in joiner.ear.of("changes")
        )
        for one in joiner.asked:
            if one.mode == "query" and one.matches is everything:
                figures["invariant held"] += sums_hold(joiner.ear, one.id)
        total = figures if total is None else total + figures
    total["resync"] += 0
    return total


def sums_hold(ear: Ear, name: str) -> int:
    """Fold the frames of a view of everything: no moment shows money made or lost. How often that was looked at."""
    balances: dict[str, int] = {}
    held = 0
    channel = ear.of("subscribed", name)[0]["channel"]
    for frame in ear.frames:
        if name != frame.get("id") and channel != frame.get("channel"):
            continue
        if frame["type"] == "snapshot":
            balances = {one["_id"]: one["balance"] for one in frame["documents"]}
        elif frame["type"] == "changes":
            for change in frame["changes"]:
                if change["op"] == "leave":
                    del balances[change["key"]]
                else:
                    balances[change["key"]] = change["document"]["balance"]
        else:
            continue
        assert sum(balances.values()) == 2 * ACCOUNTS * 100
        held += 1
    return held


SLOW_MS = 40
DOCUMENTS = 1500
"""More than one reply of a snapshot."""


@pytest.mark.alone("a snapshot waits 40 ms, and the feed has to be past it by then")
@BATCHES
async def test_what_is_dispatched_while_a_snapshot_is_read_is_caught_up(
    own_replica_set: ReplicaSet, batch_size: int, say: Say
) -> None:
    """The snapshot is at S, its second half comes late, and the feed is past S by then."""
    slow = {"failCommands": ["getMore"], "appName": "realtime", "blockConnection": True, "blockTimeMS": SLOW_MS}
    reads, joins = counted(metrics.SNAPSHOT_READS), 25
    async with (
        serving(own_replica_set, feed_await_ms=100, feed_batch_size=batch_size) as service,
        AsyncExitStack() as stack,
    ):
        ledger, stop = Ledger(service.database), threading.Event()
        ledger.bulk("docs", [{"_id": n, "n": 0} for n in range(DOCUMENTS)])

        def write() -> None:
            number, hub = 0, service.realtime.live().hub
            while not stop.wait(0.002):
                if hub.time < ledger.last:
                    continue  # a feed that falls behind, in small batches on a busy machine, is never past S
                number += 1
                keys = [(number * step) % DOCUMENTS for step in (1, 7, 11, 13)]
                ledger.together([update("docs", key, n=number) for key in sorted(set(keys))])
                ledger.one(update("docs", (number * 17) % DOCUMENTS, n=-number))
                ledger.together([delete("docs", number % DOCUMENTS), insert("docs", number % DOCUMENTS, n=number)])

        admin = service.database.client.admin
        admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": slow})
        writing, ears, asked = asyncio.create_task(asyncio.to_thread(write)), [], []
        try:
            for number in range(joins):
                ear = await stack.enter_async_context(listening(service.url))
                await ear.subscribe("q", "docs", filter={"n": {"$ne": 1_000_000 + number}})
                ears.append(ear)
                asked.append(Asked("q", ("docs",)))
        finally:
            stop.set()
            await writing
            admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        await asyncio.gather(*(ear.fence(ledger.last) for ear in ears))
        truth = ledger.truth()
        every = sum(
            (judge(ear.frames, [one], truth).accept() for ear, one in zip(ears, asked, strict=True)), Counter[str]()
        )
    caught_up = counted(metrics.SNAPSHOT_READS) - reads - joins
    say(f"{caught_up:.0f} of {joins} joins caught up, {dict(every)}")
    assert caught_up >= joins // 2
    assert every["resync"] == 0
    assert every["update"] > 1000


LARGE = 40
"""Documents of 1 MB in one transaction."""


def light(document: Document) -> Document:
    """The projection {"n": 1}."""
    return {field: document[field] for field in ("_id", "n") if field in document}


def steps(ledger: Ledger) -> list[Callable[[], int]]:
    """Transactions of 4, 20 and 2,500 documents, and one of 40 MB: each made, changed, and partly taken away."""
    made: list[Callable[[], int]] = []
    for size in (4, 20, 2500):
        keys = [f"{size}-{n}" for n in range(size)]
        made.append(lambda keys=keys: ledger.together([insert("docs", key, n=0) for key in keys]))  # type: ignore[misc]  # reason: its default binds it now
        made.append(lambda keys=keys: ledger.together([update("docs", key, n=1) for key in keys]))  # type: ignore[misc]  # reason: its default binds it now
        made.append(lambda keys=keys: ledger.together([delete("docs", key) for key in keys[::2]]))  # type: ignore[misc]  # reason: its default binds it now
    blob = "x" * 1024 * 1024
    made.append(lambda: ledger.together([insert("large", n, n=0, blob=blob) for n in range(LARGE)]))
    made.append(lambda: ledger.together([update("large", n, n=1) for n in range(LARGE)]))
    made.append(lambda: ledger.together([delete("large", n) for n in range(0, LARGE, 2)]))
    return made


@BATCHES
async def test_transactions_of_any_size_are_one_moment_for_all_who_join_meanwhile(
    replica_set: ReplicaSet, batch_size: int, say: Say
) -> None:
    asked = [
        Asked("docs", ("docs",)),
        Asked("large", ("large",), shows=light),
        Asked("events", ("docs", "large"), mode="events", shows=light),
    ]

    async def join(ear: Ear) -> None:
        await ear.subscribe("docs", "docs")
        await ear.subscribe("large", "large", projection={"n": 1})
        await ear.subscribe("events", ["docs", "large"], mode="events", projection={"n": 1})

    async with (
        serving(replica_set, feed_await_ms=100, feed_batch_size=batch_size) as service,
        AsyncExitStack() as stack,
    ):
        for name in ("docs", "large"):
            service.database.create_collection(name)
        ledger = Ledger(service.database, light={"blob"})
        ears = [await stack.enter_async_context(listening(service.url)) for _ in range(13)]
        await join(ears[0])
        for step, ear in zip(steps(ledger), ears[1:], strict=True):
            await asyncio.gather(asyncio.to_thread(step), join(ear))
        await asyncio.gather(*(ear.fence(ledger.last) for ear in ears))
        truth, feed = ledger.truth(), service.realtime._feed
        verdicts = [judge(ear.frames, asked, truth).accept() for ear in ears]
        # By NATS it is the relay's feed that holds them.
        held = feed.held_replies if isinstance(feed, ChangeFeed) else 1
    first, every = verdicts[0], sum(verdicts[1:], verdicts[0])
    say(f"{len(ledger.writes)} writes in {len(ledger.commits)} transactions, {held} replies held, {dict(every)}")
    assert first["moments"] >= 12  # moments that one reply brings may come as one
    assert first["told"] == len(ledger.writes) == 2 * (4 + 20 + 2500 + LARGE) + (4 + 20 + 2500 + LARGE) // 2
    assert every["resync"] == 0
    assert held > 0
