"""Query groups: everyone who asked for the same thing, and what a change means to it.

A group in query mode is a small machine. `loading`: it waits for its snapshot and collects the keys touched meanwhile.
`catching up`: its snapshot at S is in, the keys touched after S are being read at one later time; batches already
change its membership, but nobody is told. `live`: each batch becomes one moment on its channel. Back to `loading` is
a resync.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import bson

from realtime.core import ejson, protocol
from realtime.core.events import ChangeEvent, format_position, identity
from realtime.core.filters import Filter, stem
from realtime.core.journal import Entry
from realtime.core.moments import Settled, Touch
from realtime.core.projection import Projection
from realtime.core.values import CODEC

OWN_PREFIX = "realtime_"
"""Collections of the service's own: not to be had, not even by `*`."""

Images = Mapping[str, dict[str, Any] | None]
"""Documents by identity at the batch's time; None: gone."""


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked for, compiled. `collections` None: every collection. `key` names the effective query."""

    mode: Literal["query", "events"]
    collections: frozenset[str] | None
    filter: Filter
    projection: Projection
    operations: frozenset[str] | None
    principal: str
    key: str

    @classmethod
    def of(
        cls,
        *,
        mode: Literal["query", "events"],
        collections: frozenset[str] | None,
        filter: Filter,  # noqa: A002 - the protocol's own word
        projection: Projection,
        operations: frozenset[str] | None,
        principal: str,
    ) -> Query:
        """A query with its key: equal for equal queries of one principal."""
        canonical = bson.encode(
            {
                "mode": mode,
                "collections": None if collections is None else sorted(collections),
                "filter": filter.canonical,
                "projection": projection.source,
                "operations": None if operations is None else sorted(operations),
                "principal": principal,
            },
            codec_options=CODEC,
        )
        return cls(
            mode, collections, filter, projection, operations, principal, hashlib.sha256(canonical).hexdigest()[:32]
        )

    @property
    def collection(self) -> str:
        """The one collection of a query in query mode."""
        return next(iter(self.collections or ("",)))

    def covers(self, collection: str) -> bool:
        """Whether changes of this collection concern it; the service's own concern nobody."""
        if self.collections is None:
            return not collection.startswith(OWN_PREFIX)
        return collection in self.collections


class Phase(Enum):
    """Where a group is on its way to live."""

    LOADING = "loading"
    CATCHING_UP = "catching up"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class GroupBounds:
    """How large a group may grow."""

    documents: int
    bytes: int
    frame_bytes: int


class QueryGroup:
    """One distinct query in query mode: its documents, encoded, at `time`."""

    def __init__(self, query: Query, channel: int, epoch: str, bounds: GroupBounds) -> None:
        self.query = query
        self.channel = channel
        self.epoch = epoch
        self.bounds = bounds
        self.phase = Phase.LOADING
        self.time = 0
        self.documents: dict[str, bytes] = {}
        self.size = 0
        self.backlog: dict[str, Touch] = {}
        self._runs: list[bytes] | None = None

    @property
    def live(self) -> bool:
        """Whether its documents are exact and its subscribers are told of changes."""
        return self.phase is Phase.LIVE

    @property
    def position(self) -> str:
        """What its documents are exact at."""
        return format_position(self.epoch, self.time)

    @property
    def too_large(self) -> bool:
        """Whether it has outgrown its bounds."""
        return len(self.documents) > self.bounds.documents or self.size > self.bounds.bytes

    # -------------------------------------------------------------------------------------------- towards live

    def restart(self) -> None:
        """Forget everything: a new snapshot is to be read."""
        self.phase, self.time = Phase.LOADING, 0
        self.documents, self.size, self.backlog, self._runs = {}, 0, {}, None

    def put(self, document: dict[str, Any]) -> None:
        """Take a document of the snapshot."""
        self._hold(identity(document["_id"]), ejson.encode(self.query.projection.apply(document)))

    def loaded(self, time: int) -> list[Any]:
        """The snapshot at `time` is in. Returns the keys touched since, to be read at one later time."""
        self.phase, self.time = Phase.CATCHING_UP, time
        self.backlog = {name: touch for name, touch in self.backlog.items() if touch.time > time}
        return [touch.key for touch in self.backlog.values()]

    def caught_up(self, images: Images, time: int) -> None:
        """The keys of the backlog as they were at `time`, but for those that a later batch has settled."""
        for name in self.backlog:
            self._place(name, images.get(name))
        self.backlog.clear()
        self.phase, self.time = Phase.LIVE, max(self.time, time)

    def collect(self, settled: Settled) -> None:
        """While loading: remember what was touched."""
        self.backlog.update(settled.touches.get(self.query.collection, {}))

    # --------------------------------------------------------------------------------------------------- live

    def needs(self, touch: Touch) -> bool:
        """Whether this document has to be read to know what the touch means here."""
        if touch.exact or touch.time <= self.time or self.phase is Phase.LOADING:
            return False
        if touch.identity in self.backlog or touch.paths is None or self.query.filter.reads(touch.paths):
            return True
        return touch.identity in self.documents and self.query.projection.shows(touch.paths)

    def apply(self, settled: Settled, images: Images) -> list[bytes]:
        """Bring the membership to the batch's time. Returns the changes, leaves first."""
        leaves: list[bytes] = []
        rest: list[bytes] = []
        for touch in settled.touches.get(self.query.collection, {}).values():
            if touch.time <= self.time:
                continue
            if touch.exact:
                document = touch.document
            elif touch.identity in images:
                document = images[touch.identity]
            else:
                continue  # `needs` said no: neither the membership nor what is shown can have changed
            self.backlog.pop(touch.identity, None)
            self._change(touch, document, leaves, rest)
        self.time = max(self.time, settled.time)
        return leaves + rest

    def _change(self, touch: Touch, document: dict[str, Any] | None, leaves: list[bytes], rest: list[bytes]) -> None:
        name = touch.identity
        held = self.documents.get(name)
        if document is None or not self.query.filter.matches(document):
            if held is not None:
                self._drop(name)
                leaves.append(protocol.change_entry("leave", name))
            return
        encoded = self._encode(touch, document)
        if held == encoded:
            return
        self._hold(name, encoded)
        rest.append(protocol.change_entry("enter" if held is None else "update", name, encoded))

    def _encode(self, touch: Touch, document: dict[str, Any]) -> bytes:
        if self.query.projection.source:
            return ejson.encode(self.query.projection.apply(document))
        if touch.encoded is None:
            # A document has one state at a batch's end, so its bytes serve every group without a projection.
            touch.encoded = ejson.encode(document)
        return touch.encoded

    def _place(self, name: str, document: dict[str, Any] | None) -> None:
        if document is not None and self.query.filter.matches(document):
            self._hold(name, ejson.encode(self.query.projection.apply(document)))
        elif name in self.documents:
            self._drop(name)

    def _hold(self, name: str, encoded: bytes) -> None:
        held = self.documents.get(name)
        self.size += len(encoded) - (len(held) if held is not None else 0)
        self.documents[name] = encoded
        self._runs = None

    def _drop(self, name: str) -> None:
        self.size -= len(self.documents.pop(name))
        self._runs = None

    def since(self, names: Iterable[str]) -> list[bytes]:
        """The changes that bring a view up to now which differs in these documents at most: leaves, then puts."""
        gone = [name for name in names if name not in self.documents]
        held = [name for name in names if name in self.documents]
        return [protocol.change_entry("leave", name) for name in gone] + [
            protocol.change_entry("update", name, self.documents[name]) for name in held
        ]

    def runs(self) -> list[bytes]:
        """The documents as the bodies of snapshot frames, put together once and shared by all who ask."""
        if self._runs is None:
            self._runs = [b",".join(run) for run in protocol.split(self.documents.values(), self.bounds.frame_bytes)]
        return self._runs


class EventGroup:
    """One distinct query in events mode. It holds no documents; `time` is what its subscribers have been told of."""

    def __init__(self, query: Query, channel: int, epoch: str) -> None:
        self.query = query
        self.channel = channel
        self.epoch = epoch
        self.time = 0
        self.live = False
        self.deletes: Literal["matched", "all", "none"] = "all"

    def hears_updates(self, collection: str) -> bool:
        """Whether it needs the documents that this collection's updates lack."""
        operations = self.query.operations
        return self.query.covers(collection) and (operations is None or "update" in operations)

    @property
    def position(self) -> str:
        """Everything at or before has been sent."""
        return format_position(self.epoch, self.time)

    def apply(self, settled: Settled, images: Mapping[str, Images]) -> list[bytes]:
        """The matching events of a batch, encoded, in order."""
        entries = self.matching(Entry(settled, images), after=self.time)
        self.time = max(self.time, settled.time)
        return entries

    def matching(self, entry: Entry, *, after: int) -> list[bytes]:
        """The matching events of an entry of the journal after a time, encoded, in order."""
        entries: list[bytes] = []
        numbers: dict[tuple[bytes, int], int] = {}
        for event in self._in_order(entry.settled):
            if event.time <= after or not self._wants(event):
                continue
            fields = self._fields(event, entry, numbers)
            if fields is not None:
                entries.append(ejson.encode(fields))
        return entries

    def _in_order(self, settled: Settled) -> Iterable[ChangeEvent]:
        collections = self.query.collections
        if collections is not None and len(collections) == 1 and not settled.replaced and not settled.all_replaced:
            return settled.events.get(self.query.collection, ())
        return settled.order

    def _wants(self, event: ChangeEvent) -> bool:
        if self.query.operations is not None and event.op not in self.query.operations:
            return False
        if event.op == "dropDatabase":
            return True
        return self.query.covers(event.collection) or (event.to is not None and self.query.covers(event.to))

    def _fields(self, event: ChangeEvent, entry: Entry, numbers: dict[tuple[bytes, int], int]) -> dict[str, Any] | None:
        """The event as PROTOCOL 4.2 has it; None when the filter keeps it out."""
        fields: dict[str, Any] = {"op": event.op, "collection": event.collection}
        if event.identity is not None:
            fields["key"] = event.key
            if not self._show(event, entry, fields):
                return None
        if event.op == "update":
            self._describe(event, fields)
        if event.to is not None:
            fields["to"] = event.to
        if event.transaction is not None:
            fields["transaction"] = numbers.setdefault(event.transaction, len(numbers) + 1)
        fields["position"] = format_position(self.epoch, event.time)
        if event.wall_time is not None:
            fields["wall_time"] = event.wall_time
        return fields

    def _show(self, event: ChangeEvent, entry: Entry, fields: dict[str, Any]) -> bool:
        """Put the images into `fields`; False when the filter keeps the event out."""
        show, matches = self.query.projection.apply, self.query.filter.matches
        document, as_of = event.document, None
        if event.op == "update" and document is None:
            as_of, document = entry.image(event)
        if event.op == "delete":
            if event.before is not None and not matches(event.before):
                return False
        elif document is None:
            fields["partial"] = True
        elif matches(document):
            fields["document"] = show(document)
            if as_of is not None:
                fields["as_of"] = format_position(self.epoch, as_of)
        else:
            return False
        if event.before is not None and matches(event.before):
            fields["before"] = show(event.before)
        return True

    def _describe(self, event: ChangeEvent, fields: dict[str, Any]) -> None:
        shows = self.query.projection.shows

        def shown(path: str) -> bool:
            # A number in a path may be an element or a name: what either reading hides is not named.
            return shows(frozenset((path,))) and shows(frozenset((stem(path),)))

        fields["updated"] = [path for path in event.updated if shown(path)]
        fields["removed"] = [path for path in event.removed if shown(path)]


Group = QueryGroup | EventGroup
