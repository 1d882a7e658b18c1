"""Collections made, dropped, renamed, replaced and indexed under load: told, followed, and exact all the while.

Sabotage: `make sabotage`, rows "catalogue".
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pymongo
import pytest

from realtime import metrics
from tests.checker import Asked, Frame, judge
from tests.exact.conftest import Say
from tests.exact.ear import Ear, listening
from tests.exact.ledger import Ledger, delete, insert, update
from tests.exact.test_join import BATCHES, counted
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.truth import Document, name_of

TOLD_SECONDS = 1.0
ROUNDS = 12
SLOW_MS = 60
LOAD_A_STEP = 10


class Load:
    """Updates, inserts, deletes and transactions on the collections under test, as fast as MongoDB takes them.

    `gate` keeps the order of the ledger that of MongoDB: a catalogue change takes it too, and follows within a
    millisecond on the writes whose images the service has still to read. A neighbour, with a gate of its own, goes on.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.gate = threading.Lock()
        self.neighbour = threading.Lock()
        self.stopping = threading.Event()
        self.news = threading.Condition()
        self.counts: Counter[str] = Counter()

    def run(self, collection: str) -> None:
        """Until told to stop, in a thread."""
        gate = self.neighbour if collection == "neighbour" else self.gate
        dice = random.Random(collection)
        number = 0
        while not self.stopping.is_set():
            number += 1
            with gate:
                self._write(collection, dice, number)
            with self.news:
                self.counts[collection] += 1
                self.news.notify_all()
            self.stopping.wait(0.002)

    def _write(self, collection: str, dice: random.Random, number: int) -> None:
        held = [one["_id"] for one in self.ledger.held(collection).values()]
        if len(held) < 8:
            self.ledger.one(insert(collection, f"{collection}-{number}", n=0, kind="load"))
        elif number % 7 == 0:
            self.ledger.one(delete(collection, dice.choice(held)))
        elif number % 3 == 0:
            keys = dice.sample(held, 4)
            self.ledger.together([update(collection, key, n=dice.randrange(10)) for key in keys])
        else:
            for key in dice.sample(held, 3):
                self.ledger.one(update(collection, key, n=dice.randrange(10)))

    def more(self) -> None:
        """Until there were so many writes more on both collections."""
        goal = {name: self.counts[name] + LOAD_A_STEP for name in ("stock", "neighbour")}
        with self.news:
            assert self.news.wait_for(lambda: all(self.counts[name] >= goal[name] for name in goal), timeout=30)

    def alone(self, change: Callable[[], Any], *, everywhere: bool = False) -> Any:
        """Carry out a catalogue change between two writes; `everywhere`: the neighbour waits too."""
        with self.gate, self.neighbour if everywhere else contextlib.nullcontext():
            return change()


def high(document: Document) -> bool:
    return bool(document.get("n", 0) >= 5)


ASKED = [
    Asked("all", ("stock",)),
    Asked("high", ("stock",), matches=high),
    Asked("away", ("away",)),
    Asked("fresh", ("fresh",)),
    Asked("events", ("stock", "away", "fresh"), mode="events"),
]


async def subscribe(ear: Ear) -> None:
    await ear.subscribe("all", "stock")
    await ear.subscribe("high", "stock", filter={"n": {"$gte": 5}})
    await ear.subscribe("away", "away")
    await ear.subscribe("fresh", "fresh")
    await ear.subscribe("events", ["stock", "away", "fresh"], mode="events")


@dataclass(slots=True)
class Step:
    """A catalogue change, the event that tells it, and the queries that are read again for it."""

    name: str
    change: Callable[[Ledger], Any]
    event: tuple[str, str] | None
    again: tuple[str, ...]
    everywhere: bool = False


def _create(ledger: Ledger) -> None:
    ledger.database.create_collection("fresh")


def _index(ledger: Ledger) -> None:
    ledger.database.stock.create_index("n")


STEPS = [
    Step("create", _create, None, ()),
    Step("createIndex", _index, None, ()),
    Step("drop", lambda ledger: ledger.catalogue("drop", "stock"), ("drop", "stock"), ("all", "high")),
    Step("rename", lambda ledger: ledger.catalogue("rename", "stock", "away"), ("rename", "stock"), ("all", "away")),
    Step("rename onto", lambda ledger: ledger.catalogue("rename", "spare", "stock"), ("rename", "spare"), ("all",)),
    Step("$out", lambda ledger: ledger.out("source", "stock"), ("rename", ""), ("all", "high")),
    Step("drop again", lambda ledger: ledger.catalogue("drop", "stock"), ("drop", "stock"), ("all", "high")),
    Step("dropDatabase", Ledger.drop_database, ("dropDatabase", ""), ("all", "high"), everywhere=True),
]


def tells(kind: str, wanted: Callable[[Any], bool]) -> Callable[[Frame], bool]:
    """A frame of events or changes with one that is wanted."""
    return lambda frame: frame["type"] == kind and any(wanted(one) for one in frame[kind])


async def carry_out(step: Step, load: Load, ear: Ear) -> float:
    """Make the change and the next insert; the longest that anybody waited to be told."""
    loop = asyncio.get_running_loop()
    told: list[asyncio.Future[Frame]] = []
    if step.event is not None:
        op, collection = step.event
        told.append(
            ear.coming(tells("events", lambda one: one["op"] == op and one["collection"].startswith(collection)))
        )
    for name in step.again:
        told.append(ear.coming(lambda frame, name=name: frame["type"] == "resync" and frame["id"] == name))  # type: ignore[misc]  # reason: its default binds it now
    await asyncio.to_thread(load.more)
    await asyncio.to_thread(load.alone, lambda: step.change(load.ledger), everywhere=step.everywhere)
    began = loop.time()
    if told:
        await asyncio.wait_for(asyncio.gather(*told), 5)
    waited = loop.time() - began
    key = f"after {step.name}"
    arrived = ear.coming(tells("events", lambda one: one.get("key") == key))
    where = "fresh" if step.name == "create" else "stock"
    await asyncio.to_thread(load.alone, lambda: load.ledger.one(insert(where, key, n=9)))
    began = loop.time()
    await asyncio.wait_for(arrived, 5)
    took = max(waited, loop.time() - began)
    # Who is still being read again when the next change comes is not told of it, and need not be.
    await ear.settle(load.ledger.last)
    return took


@pytest.mark.long("a load of its own")
@pytest.mark.alone("measures time")
@BATCHES
async def test_catalogue_changes_under_load_are_told_and_followed(
    replica_set: ReplicaSet, batch_size: int, say: Say
) -> None:
    async with (
        serving(replica_set, feed_await_ms=100, feed_batch_size=batch_size) as service,
        AsyncExitStack() as stack,
    ):
        ledger = Ledger(service.database)
        for name in ("stock", "spare", "source"):
            ledger.bulk(name, [{"_id": f"{name} {n}", "n": n % 10} for n in range(30)])
        load = Load(ledger)
        ears = [await stack.enter_async_context(listening(service.url)) for _ in range(3)]
        await asyncio.gather(*map(subscribe, ears))
        working = [
            asyncio.create_task(asyncio.to_thread(load.run, "stock")),
            asyncio.create_task(asyncio.to_thread(load.run, "neighbour")),
        ]
        try:
            waits = {step.name: round(await carry_out(step, load, ears[0]), 3) for step in STEPS}
        finally:
            load.stopping.set()
            await asyncio.gather(*working)
        for name in ("away", "fresh"):
            ledger.one(insert(name, "made anew", n=7))
        await asyncio.gather(*(ear.settle(ledger.last) for ear in ears))
        verdicts = [judge(ear.frames, ASKED, ledger.truth()).accept() for ear in ears]
        assert_final(service, ledger)
    every = sum(verdicts[1:], verdicts[0])
    say(f"told within {waits} s; {dict(load.counts)} writes of load, {dict(every)}")
    assert max(waits.values()) <= TOLD_SECONDS
    assert min(load.counts.values()) >= LOAD_A_STEP * len(STEPS)
    assert verdicts[0]["resync"] >= 9
    assert all(verdict["told"] == verdict["expected"] > 100 for verdict in verdicts)


def assert_final(service: Service, ledger: Ledger) -> None:
    """The checker's own memory is what MongoDB holds."""
    truth = ledger.truth()
    for name in ("stock", "away", "fresh"):
        stored = {name_of(one["_id"]): one for one in service.database[name].find()}
        assert stored == truth.at(name, ledger.last)
        assert stored


@contextmanager
def failing(client: pymongo.MongoClient[dict[str, Any]], mode: Any, **data: Any) -> Iterator[None]:
    """The service's reads fail, or wait, in MongoDB itself."""
    given = {"failCommands": ["find"], "appName": "realtime", **data}
    client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": given})
    try:
        yield
    finally:
        client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


def updates(ledger: Ledger, number: int) -> None:
    """Changes whose documents have to be read, and which are other ones again a moment later."""
    held = [one["_id"] for one in ledger.held("stock").values()]
    for step in range(20):
        ledger.one(update("stock", held[step % 2], n=(number + step) % 10, round=number))
    ledger.together([update("stock", key, n=(number + 1) % 10) for key in held[:4]])


def drop_and_create(ledger: Ledger, number: int) -> None:
    updates(ledger, number)
    ledger.catalogue("drop", "stock")
    ledger.together([insert("stock", n, n=n % 10, again=number) for n in range(40)])


def rename_and_back(ledger: Ledger, number: int) -> None:
    updates(ledger, number)
    ledger.catalogue("rename", "stock", "away")
    ledger.catalogue("rename", "away", "stock")


@contextmanager
def too_late(client: pymongo.MongoClient[dict[str, Any]], _: int) -> Iterator[None]:
    """The images are asked for when the collection is another one already."""
    with failing(client, "alwaysOn", blockConnection=True, blockTimeMS=SLOW_MS):
        yield


@contextmanager
def refused(client: pymongo.MongoClient[dict[str, Any]], number: int) -> Iterator[None]:
    """That time cannot be read any more."""
    with failing(client, {"times": 1}, errorCode=(239, 246)[number % 2]):
        yield


@BATCHES
@pytest.mark.parametrize(
    ("spoiled", "race"), [(refused, updates), (too_late, drop_and_create), (too_late, rename_and_back)]
)
async def test_images_that_cannot_be_read_at_their_time_are_exact_at_a_later_one(
    own_replica_set: ReplicaSet, batch_size: int, spoiled: Any, race: Callable[[Ledger, int], None], say: Say
) -> None:
    """T': MongoDB refuses the time, or the collection is dropped or renamed right behind updates without images."""
    before = counted(metrics.LATER_READS)
    async with (
        serving(own_replica_set, feed_await_ms=100, feed_batch_size=batch_size) as service,
        AsyncExitStack() as stack,
    ):
        ledger = Ledger(service.database)
        ledger.bulk("stock", [{"_id": n, "n": n % 10} for n in range(40)])
        ears = [await stack.enter_async_context(listening(service.url)) for _ in range(2)]
        await asyncio.gather(*map(subscribe, ears))
        number = 0
        # Where the machine is busy the change may come after the read: such a round shows nothing and does not count.
        while counted(metrics.LATER_READS) - before < ROUNDS and number < 3 * ROUNDS:
            number += 1
            with spoiled(service.database.client, number):
                await asyncio.to_thread(race, ledger, number)
                await asyncio.gather(*(ear.settle(ledger.last) for ear in ears))
        truth = ledger.truth()
        figures = [judge(ear.frames, ASKED, truth).accept() for ear in ears]
        stored = {name_of(one["_id"]): one for one in service.database.stock.find()}
        assert stored == truth.at("stock", ledger.last)
    later = counted(metrics.LATER_READS) - before
    say(f"{later:.0f} reads at a later time; {dict(figures[0])}")
    assert later >= ROUNDS
    if race is updates:
        assert figures[0]["resync"] == 0
        assert figures[0]["update"] > 10 * ROUNDS
    assert figures[0]["told"] == figures[0]["expected"] > 10 * ROUNDS


pytestmark = pytest.mark.timeout(90)
