"""MongoDB, the feed and the browsers as the hub sees them, in memory and exact.

`Store` keeps every version of every document with its cluster time, so what `find` and `read_at` answer at a time is
what MongoDB would. Its reads can be held at a gate, so that a test decides what happens while one is under way.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from realtime.core.bson.keys import identity
from realtime.core.connection.outbox import Claim, Part
from realtime.core.live.events import UNSENT, Batch, ChangeEvent
from realtime.core.live.journal import Journal
from realtime.core.live.query import GroupBounds
from realtime.core.live.stepping import mark
from realtime.core.mql.dialect import NEWEST
from realtime.core.mql.expressions.timezones import UTC, Named, Zones
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.ordering import parse_sort
from realtime.core.mql.projection import compile_projection
from realtime.errors import TooLargeError
from realtime.hub.history import History
from realtime.hub.hub import Hub
from realtime.hub.pipe import Pipe
from realtime.hub.roster import Subscription
from realtime.hub.slicing import Pace
from realtime.ports import CollectionFacts, Document, Snapshot
from tests.core.examples import EPOCH

START = 100
PIPE = "pipe"
"""Name of the task that takes batches; a `read_at` in it is for a batch's images, elsewhere it is to catch up."""


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until the condition holds; it takes no time, so a thousand turns are for ever."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("this never came about")


async def rest() -> None:
    """Let everything run that can run without waiting for a gate."""
    for _ in range(30):
        await asyncio.sleep(0)


@dataclass(slots=True)
class Read:
    """A read that the store was asked for: `find`, `images` or `catch up`."""

    kind: str
    collection: str
    keys: list[Any]
    time: int


class Store:
    """A versioned database; a `SnapshotReader`."""

    def __init__(self) -> None:
        self.now = START
        self.dialect = NEWEST
        self.lead = 10**6
        """How far after the least time a `find` may answer; never after `now`."""
        self.reads: list[Read] = []
        self.facts: dict[str, CollectionFacts] = {}
        self.faults: dict[str, list[Exception]] = defaultdict(list)
        """Raised, first to last, by the reads of a kind before they answer."""
        self.cancelled: list[str] = []
        self.unless_changed_by: int | None = None
        self._gates: dict[str, asyncio.Event] = {}
        self._waiting: dict[str, int] = defaultdict(int)
        self._versions: dict[str, dict[str, list[tuple[int, dict[str, Any] | None]]]] = defaultdict(dict)
        self._pending: list[ChangeEvent] = []
        self._transaction: tuple[bytes, int] | None = None
        self._transactions = 0

    # ------------------------------------------------------------------------------------------------------ writes

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside share one cluster time."""
        self.now += 1
        self._transactions += 1
        self._transaction = (b"session", self._transactions)
        yield
        self._transaction = None

    def insert(self, collection: str, document: dict[str, Any]) -> None:
        self._write("insert", collection, document["_id"], document, told=document)

    def replace(self, collection: str, document: dict[str, Any]) -> None:
        self._write("replace", collection, document["_id"], document, told=document)

    def update(self, collection: str, key: Any, **fields: Any) -> None:
        """Set fields; the event has no document, as where the collection keeps no images."""
        before = self.at(collection, self.now)[identity(key)]
        self._write("update", collection, key, {**before, **fields}, updated=tuple(fields))

    def delete(self, collection: str, key: Any) -> None:
        self._write("delete", collection, key, None)

    def drop(self, collection: str) -> None:
        self._namespace("drop", collection)
        self._forget(collection)

    def rename(self, collection: str, to: str) -> None:
        documents = self.at(collection, self.now)
        self._namespace("rename", collection, to=to)
        self._forget(collection)
        self._forget(to)
        for name, document in documents.items():
            self._versions[to].setdefault(name, []).append((self.now, document))

    def drop_database(self) -> None:
        self._namespace("dropDatabase", "")
        for collection in list(self._versions):
            self._forget(collection)

    def lose(self, collection: str, key: Any) -> None:
        """A document is gone at the present time and no event says so, as in a collection made anew."""
        self._versions[collection][identity(key)].append((self.now, None))

    def pass_time(self) -> None:
        """Something happened that is not ours."""
        self.now += 1

    def batch(self, *, lost: bool = False) -> Batch:
        """Everything since the last batch."""
        events, self._pending = tuple(self._pending), []
        return Batch(events, self.now, lost)

    def _write(
        self,
        op: str,
        collection: str,
        key: Any,
        state: dict[str, Any] | None,
        *,
        told: dict[str, Any] | None = None,
        updated: tuple[str, ...] = (),
    ) -> None:
        if self._transaction is None:
            self.now += 1
        name = identity(key)
        self._versions[collection].setdefault(name, []).append((self.now, state))
        self._pending.append(
            ChangeEvent(
                op,
                collection,
                self.now,
                key=key,
                identity=name,
                document=told,
                updated=updated,
                transaction=self._transaction,
            )
        )

    def create(self, collection: str, kind: str | None) -> None:
        """The event alone: what the name then stands for is what `facts` and `faults` say."""
        self._namespace("create", collection, kind=kind)

    def _namespace(self, op: str, collection: str, to: str | None = None, kind: str | None = None) -> None:
        self.now += 1
        self._pending.append(ChangeEvent(op, collection, self.now, to=to, kind=kind))

    def _forget(self, collection: str) -> None:
        for versions in self._versions[collection].values():
            versions.append((self.now, None))

    # ------------------------------------------------------------------------------------------------------- reads

    def at(self, collection: str, time: int) -> dict[str, dict[str, Any]]:
        """The documents of a collection at a cluster time, by identity."""
        found = {}
        for name, versions in self._versions[collection].items():
            past = [document for written, document in versions if written <= time]
            if past and past[-1] is not None:
                found[name] = past[-1]
        return found

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
        await self._pass("find", collection, [], after)
        time = max(after, min(self.now, after + self.lead))
        asked = {"$and": [dict(rule), dict(selection)]} if rule else dict(selection)
        matches = compile_filter(asked, dialect=self.dialect).matches
        documents = [document for document in self.at(collection, time).values() if matches(document)]
        if sort is not None:
            documents.sort(key=parse_sort(dict(sort)).place)
        if cut:
            documents = documents[: limit + spare]
        if len(documents) > limit + spare:
            raise TooLargeError("too large", details={"count": len(documents), "limit": limit})
        if fields is not None:
            documents = [compile_projection(dict(fields)).apply(document) for document in documents]
        return Snapshot(time, documents, self.unless_changed_by)

    async def read_at(self, collection: str, keys: Sequence[Any], time: int, *, uuid: Any = None) -> Snapshot:
        task = asyncio.current_task()
        kind = "images" if task is not None and task.get_name() == PIPE else "catch up"
        await self._pass(kind, collection, list(keys), time)
        wanted = {identity(key) for key in keys}
        assert time <= self.now, "a time that has not been"
        return Snapshot(time, [document for name, document in self.at(collection, time).items() if name in wanted])

    async def zones(self, names: Named) -> Zones:
        return dict.fromkeys(names, UTC)

    async def describe(self, collection: str) -> CollectionFacts:
        await self._pass("describe", collection, [], 0)
        return self.facts.get(collection, CollectionFacts(exists=True, pre_images=False))

    async def _pass(self, kind: str, collection: str, keys: list[Any], time: int) -> None:
        self.reads.append(Read(kind, collection, keys, time))
        self._waiting[kind] += 1
        try:
            if kind in self._gates:
                await self._gates[kind].wait()
            else:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(kind)
            raise
        finally:
            self._waiting[kind] -= 1
        if self.faults[kind]:
            raise self.faults[kind].pop(0)

    def hold(self, *kinds: str) -> None:
        """Let reads of these kinds wait from now on."""
        for kind in kinds:
            self._gates[kind] = asyncio.Event()

    def let_go(self, *kinds: str) -> None:
        """Let those that wait go on; later ones do not wait."""
        for kind in kinds:
            self._gates.pop(kind).set()

    def waits(self, kind: str) -> bool:
        """Whether a read of this kind is held."""
        return self._waiting[kind] > 0

    def reads_of(self, kind: str) -> list[Read]:
        return [read for read in self.reads if read.kind == kind]


class Stream:
    """A `Feed` whose batches the test puts in. It keeps them, as the oplog does, and can go back.

    `undecodable`: whether an event can only be marked, and is raised for before that; `unsent`: whether it came as a
    mark already, for its size.
    """

    def __init__(self) -> None:
        self.undecodable: Callable[[ChangeEvent], bool] = lambda _: False
        self.unsent: Callable[[ChangeEvent], bool] = lambda _: False
        self.rewound: list[tuple[int, bool]] = []
        self._batches: list[Batch] = []
        self._next = self._furthest = 0
        self._time = 0
        self._marking = False
        self._news = asyncio.Event()
        self._closed = False

    async def batches(self) -> AsyncGenerator[Batch, None]:
        while True:
            while self._next < len(self._batches):
                batch = self._batches[self._next]
                self._next += 1
                if batch.time <= self._time and self._next <= self._furthest:
                    continue  # it has been taken, and is not asked for again
                yield self._decoded(batch)
                self._time, self._furthest = batch.time, max(self._furthest, self._next)
            if self._closed:
                return
            self._news.clear()
            await self._news.wait()

    def _decoded(self, batch: Batch) -> Batch:
        events = [
            mark(event.collection, event.time, UNSENT) if self.unsent(event) else event
            for event in batch.events
            if event.time > self._time
        ]
        if any(map(self.undecodable, events)):
            if not self._marking:
                raise ValueError("a feed's own: this cannot be decoded")
            self._marking = False
            events = [mark(event.collection, event.time) if self.undecodable(event) else event for event in events]
        return replace(batch, events=tuple(events))

    async def rewind(self, time: int, *, step_over: bool) -> None:
        self.rewound.append((time, step_over))
        self._next, self._time, self._marking = 0, time, step_over

    def put(self, batch: Batch) -> None:
        self._batches.append(batch)
        self._news.set()

    def close(self) -> None:
        self._closed = True
        self._news.set()


class Peer:
    """A connection and its sink in one. Frames of a run are made when they are looked at, as a slow transport does."""

    crowded = False
    max_frame: int | None = None

    def __init__(self) -> None:
        self.ended: list[str] = []
        self._sent: list[bytes | Iterator[bytes]] = []

    @property
    def sink(self) -> Peer:
        return self

    @sink.setter
    def sink(self, sink: Any) -> None:
        raise AttributeError("a peer is its own sink")

    @property
    def frames(self) -> list[bytes]:
        """Everything sent so far, in order."""
        made: list[bytes] = []
        for entry in self._sent:
            made += [entry] if isinstance(entry, bytes) else entry
        self._sent = list(made)
        return made

    def send(self, frame: bytes, part: Part | Claim | None = None) -> None:
        self._sent.append(frame)

    def send_run(self, frames: Iterator[bytes]) -> None:
        self._sent.append(frames)

    def lapse(self, channel: int, after: int) -> None:
        raise AssertionError(f"nothing waits here (channel {channel}, told up to {after})")

    def withholds(self, channel: int) -> bool:
        return False

    def forget(self, channel: int) -> int | None:
        return None

    def close(self, code: int, reason: str) -> None:
        raise AssertionError(f"the hub closes no connection ({code} {reason})")

    def subscription_ended(self, subscription_id: str) -> None:
        self.ended.append(subscription_id)

    def moments(self) -> list[bytes]:
        """The frames that carry a channel, as they were handed over."""
        return [frame for frame in self.frames if frame.startswith((b'{"type":"changes"', b'{"type":"events"'))]


class Steady(Pace):
    """Cuts no batch because this machine was slow: scripts count on what comes in one."""

    def took(self, events: int, seconds: float) -> None:
        """Learn nothing."""


class Service:
    """A hub at work on a store. A group goes with its last subscriber, unless `linger_seconds` says otherwise."""

    def __init__(
        self,
        pace: Pace | None = None,
        /,
        *,
        documents: int = 1000,
        bytes: int = 1 << 20,  # noqa: A002 - as `GroupBounds` has it
        frame_bytes: int = 1 << 20,
        linger_seconds: float = 0.0,
        **more: int,
    ) -> None:
        self.store = Store()
        self.stream = Stream()
        self.bounds = GroupBounds(documents, bytes, frame_bytes, linger_seconds=linger_seconds, **more)
        history = History(Journal(START, max_bytes=1 << 20, max_seconds=300), None)
        self.hub = Hub(self.store, history, epoch=EPOCH, time=START, bounds=self.bounds)
        self.stuck: list[str | None] = []
        self.pipe = Pipe(self.hub, self.store, on_stuck=self.stuck.append, pace=pace or Steady())
        self._pipe: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Service:
        self._pipe = asyncio.create_task(self.pipe.run(self.stream), name=PIPE)
        return self

    async def __aexit__(self, *_: object) -> None:
        for kind in ("describe", "find", "images", "catch up"):
            self.store.hold(kind)
            self.store.let_go(kind)
        self.stream.close()
        self.pipe.close()
        await self.hub.close()
        assert self._pipe is not None
        await self._pipe

    def put(self, *, lost: bool = False) -> Batch:
        """Hand everything written since the last batch to the feed."""
        batch = self.store.batch(lost=lost)
        self.stream.put(batch)
        return batch

    async def flow(self, *, lost: bool = False) -> None:
        """The same, and wait until it is dispatched and what follows from it has run."""
        batch = self.put(lost=lost)
        await until(lambda: self.hub.time == batch.time)
        await rest()

    def attach(self, subscription: Subscription) -> None:
        self.hub.attach(subscription)

    async def subscribed(self, subscription: Subscription) -> Subscription:
        """Attach, and wait until it is live."""
        self.hub.attach(subscription)
        await until(lambda: subscription.live)
        return subscription
