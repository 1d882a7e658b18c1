"""What ten thousand different queries cost: `python -m tests.bench.groups`. Ratios of one run, counts, bytes a query.

A hub without sockets or MongoDB: queries come in as frames through a session, as those of a connection do, batches go
through `plan` and `dispatch`. CPU time of this thread, the best of rounds.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import REGISTRY

from realtime.core.bson.keys import identity
from realtime.core.connection.outbox import Claim, Part
from realtime.core.connection.session import Limits, OpenSubscription, Session
from realtime.core.live.events import Batch, ChangeEvent
from realtime.core.live.journal import Journal
from realtime.core.live.query import GroupBounds
from realtime.core.mql.expressions.timezones import UTC, Named, Zones
from realtime.core.mql.filters import Bounds
from realtime.hub.history import History
from realtime.hub.hub import Hub
from realtime.hub.roster import Subscription
from realtime.ports import CollectionFacts, Document, Snapshot

START = 1000
COLLECTION = "orders"
EVENTS = 300
AT_ONCE = 1000
MOST_MATCHES = 5

FEW_EQUAL, MANY_EQUAL = 1_000, 100_000
FEW_RANGES, MANY_RANGES = 200, 2_000


class Empty:
    """A MongoDB without documents."""

    async def find(
        self,
        collection: str,
        selection: Document,
        *,
        after: int,
        limit: int,
        sort: Mapping[str, int] | None = None,
        cut: bool = False,
        fields: Document | None = None,
        facts: CollectionFacts | None = None,
        rule: Mapping[str, Any] | None = None,
        spare: int = 0,
    ) -> Snapshot:
        return Snapshot(after, [])

    async def read_at(self, collection: str, keys: Sequence[Any], time: int, *, uuid: Any = None) -> Snapshot:
        return Snapshot(time, [])

    async def zones(self, names: Named) -> Zones:
        return dict.fromkeys(names, UTC)

    async def describe(self, collection: str) -> CollectionFacts:
        return CollectionFacts(exists=True, pre_images=False)


class Everyone:
    """One connection that holds all of the subscriptions, and counts what it is sent."""

    crowded = False
    max_frame: int | None = None

    def __init__(self) -> None:
        self.frames = 0

    @property
    def sink(self) -> Everyone:
        return self

    @sink.setter
    def sink(self, sink: Any) -> None:
        raise AttributeError("its own sink")

    def send(self, frame: bytes, part: Part | Claim | None = None) -> None:
        self.frames += 1

    def send_run(self, frames: Iterator[bytes]) -> None:
        self.frames += sum(1 for _ in frames)

    def withholds(self, channel: int) -> bool:
        return False

    def forget(self, channel: int) -> int | None:
        return None

    def lapse(self, channel: int, after: int) -> None:
        raise AssertionError("nothing waits here")

    def close(self, code: int, reason: str) -> None:
        raise AssertionError("nobody closes it")

    def subscription_ended(self, subscription_id: str) -> None:
        raise AssertionError("nobody ends it")


@dataclass(frozen=True, slots=True)
class Cost:
    """What `EVENTS` events cost, each a batch of its own: microseconds of CPU and filters asked, an event."""

    queries: int
    microseconds: float
    evaluations: float
    matches: float
    bytes: float
    """Resident memory a query, before any event; of many alone, as the process keeps what earlier ones gave back."""


def resident() -> int:
    """Bytes of resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def counted() -> float:
    return REGISTRY.get_sample_value("realtime_filter_evaluations_total") or 0.0


class Stage:
    """A hub with one connection, and the time of its feed."""

    def __init__(self) -> None:
        bounds = GroupBounds(documents=10_000, bytes=64 << 20, frame_bytes=1 << 20)
        history = History(Journal(START, max_bytes=1 << 20, max_seconds=300), None)
        self.hub = Hub(Empty(), history, epoch="0123ABCD", time=START, bounds=bounds)
        self.owner = Everyone()
        self.session = Session("s", Limits(1 << 20, 1_000_000, 10_000, 64, Bounds()), "0123ABCD")
        self.time = START

    async def subscribe(self, filters: Sequence[dict[str, Any]]) -> None:
        """Each filter a query group of its own, live."""
        for start in range(0, len(filters), AT_ONCE):
            for number, selection in enumerate(filters[start : start + AT_ONCE], start):
                self._open({"type": "subscribe", "id": str(number), "collection": COLLECTION, "filter": selection})
            while self.hub.groups.tasks:
                await asyncio.sleep(0)
        assert len(self.hub.router) == len(filters)
        assert all(group.live for group in self.hub.router.query_groups(COLLECTION))

    def _open(self, frame: dict[str, Any]) -> None:
        (effect,) = self.session.receive(orjson.dumps(frame))
        assert isinstance(effect, OpenSubscription), effect
        self.hub.attach(Subscription(effect.id, self.owner, effect.query, effect.after))

    def write(self, op: str, document: dict[str, Any]) -> None:
        """One batch of one event, as the pipe takes it; it needs no images."""
        self.time += 1
        key = document["_id"]
        told = None if op == "delete" else document
        event = ChangeEvent(op, COLLECTION, self.time, key=key, identity=identity(key), document=told)
        plan = self.hub.plan(Batch((event,), self.time))
        assert plan.reads == {}
        self.hub.dispatch(plan, {})


async def cost(filters: Sequence[dict[str, Any]], documents: Sequence[dict[str, Any]], *, rounds: int = 5) -> Cost:
    """Each document is inserted and deleted again; the best round counts."""
    gc.collect()
    before = resident()
    stage = Stage()
    await stage.subscribe(filters)
    gc.collect()
    used = resident() - before
    frames, evaluations, best = stage.owner.frames, counted(), float("inf")
    gc.disable()
    try:
        for _ in range(rounds):
            began = time.thread_time()
            for document in documents:
                stage.write("insert", document)
                stage.write("delete", document)
            best = min(best, time.thread_time() - began)
    finally:
        gc.enable()
    events = 2 * len(documents)
    cost = Cost(
        len(filters),
        best / events * 1e6,
        (counted() - evaluations) / events / rounds,
        (stage.owner.frames - frames) / events / rounds,
        used / len(filters),
    )
    await stage.hub.close()
    return cost


def document(number: int, **more: Any) -> dict[str, Any]:
    """An order of ten fields."""
    return {"_id": number, **{f"field{place}": place for place in range(7)}, "status": "open", **more}


async def equalities(queries: int, *, rounds: int = 5) -> Cost:
    """Everybody watches one customer of their own; each event is of a customer that somebody watches."""
    dice = random.Random(7)
    filters = [{"customer": f"c{number}"} for number in range(queries)]
    documents = [document(number, customer=f"c{dice.randrange(FEW_EQUAL)}") for number in range(EVENTS)]
    return await cost(filters, documents, rounds=rounds)


async def ranges(queries: int, *, rounds: int = 5) -> Cost:
    """Ranges of a total that overlap five deep, wherever the total lies."""
    filters = [{"total": {"$gte": number, "$lt": number + MOST_MATCHES}} for number in range(queries)]
    dice = random.Random(7)
    documents = [document(number, total=dice.uniform(0, queries)) for number in range(EVENTS)]
    return await cost(filters, documents, rounds=rounds)


async def main() -> None:
    sys.stdout.write(f"{'queries':28} {'µs an event':>12} {'asked':>7} {'told':>7} {'ratio':>7} {'bytes each':>11}\n")
    for name, measure, sizes in (
        ("equality", equalities, (FEW_EQUAL, MANY_EQUAL)),
        ("ranges", ranges, (FEW_RANGES, MANY_RANGES)),
    ):
        first = 0.0
        for size in sizes:
            found = await measure(size)
            first = first or found.microseconds
            sys.stdout.write(
                f"{size:>10,} {name:17} {found.microseconds:12.1f} {found.evaluations:7.2f} {found.matches:7.2f} "
                f"{found.microseconds / first:7.2f} {f'{found.bytes:.0f}' if size >= MANY_EQUAL else '':>11}\n"
            )


if __name__ == "__main__":
    asyncio.run(main())
