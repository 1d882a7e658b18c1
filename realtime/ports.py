"""What the hub needs from outside and what it gives: Protocols, so that `mongo`, `web` and tests meet here only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from realtime.core.connection.outbox import Part
from realtime.core.live.events import Batch

Document = Mapping[str, Any]
Condition = Callable[[Document | None], bool]
"""Whether a write may go ahead, decided on the document as the write's own transaction sees it; None: there is none."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Documents of one collection at one cluster time, whole: `time` is theirs.

    `unless_changed_by`: there is no such collection, and MongoDB names no time for that. Then it was empty at `time`
    if no drop or rename between `time` and this says otherwise.
    """

    time: int
    documents: Sequence[Document]
    unless_changed_by: int | None = None


@dataclass(frozen=True, slots=True)
class CollectionFacts:
    """What a subscription needs to know of a collection before it is accepted."""

    exists: bool
    pre_images: bool


@dataclass(frozen=True, slots=True)
class Written:
    """A majority-committed write: its own cluster time, the document's key, and what MongoDB counted."""

    time: int
    key: Any
    matched: int | None = None
    modified: int | None = None
    upserted: bool | None = None


@dataclass(frozen=True, slots=True)
class Inserted:
    """Documents that one transaction inserted: its cluster time, and their keys in the order given."""

    time: int
    keys: Sequence[Any]


class VoidReadError(Exception):
    """A read at a fixed time cannot be had or cannot be trusted (codes 239 and 246, a collection gone meanwhile)."""


class Feed(Protocol):
    """Whole moments, in order, without end."""

    def batches(self) -> AsyncIterator[Batch]:
        """Batches until the feed is closed; upstream errors are mended inside and reported by `status`."""


class SnapshotReader(Protocol):
    """Reads whose time is known."""

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
    ) -> Snapshot:
        """All documents that match, at one time at or after `after`; `TooLargeError` with the count over `limit`.

        `cut`: no such error, but the first `limit` of them by `sort`. `fields`: a projection.
        """

    async def read_at(self, collection: str, keys: Sequence[Any], time: int) -> Snapshot:
        """The documents with these keys exactly at `time`; `VoidReadError` where that time cannot be read."""

    async def describe(self, collection: str) -> CollectionFacts:
        """What the collection is; `UnsupportedCollectionError` for what cannot be served live."""


@dataclass(frozen=True, slots=True)
class Past:
    """Every event after a cluster time, up to the last batch's."""

    after: int
    batches: Sequence[Batch]


class Oplog(Protocol):
    """What happened before the service looked."""

    async def read(
        self, after: int, until: int, *, wanted: Callable[[], bool], newest_bytes: int | None = None
    ) -> Past:
        """Every event after `after`, up to `until` at least. `HistoryLostError` with `details.oldest` where gone.

        With `newest_bytes` the past begins later where it has more than so many bytes. It ends early where it is no
        longer `wanted`.
        """

    async def oldest(self) -> int | None:
        """The cluster time at which it begins; None where that cannot be known."""


class Writer(Protocol):
    """Majority-committed writes: of one document each, or of many in one transaction.

    `where` and `match` are decided in one transaction with the write; `PreconditionFailedError` where one says no.
    """

    async def insert(self, collection: str, document: Document) -> Written: ...

    async def insert_many(self, collection: str, documents: Sequence[Document]) -> Inserted: ...

    async def replace(
        self,
        collection: str,
        key: Any,
        document: Document,
        *,
        where: Document | None = None,
        match: Condition | None = None,
        upsert: bool = False,
    ) -> Written: ...

    async def update(
        self,
        collection: str,
        key: Any,
        update: Document,
        *,
        where: Document | None = None,
        match: Condition | None = None,
        upsert: bool = False,
    ) -> Written: ...

    async def delete(
        self, collection: str, key: Any, *, where: Document | None = None, match: Condition | None = None
    ) -> Written: ...


class Sink(Protocol):
    """Where a connection's frames go: plain calls, in order, never waiting.

    What cannot be written at once waits in an outbox. Over its bound a channel lapses, which the sink tells its
    `Listener`; where none can make room, the sink closes the connection by itself.
    """

    def send(self, frame: bytes, part: Part | None = None) -> None:
        """Hand over one text frame (UTF-8 JSON); `part` says which channel's moment it belongs to."""

    def send_run(self, frames: Iterator[bytes]) -> None:
        """Hand over frames that are made as the transport takes them."""

    def close(self, code: int, reason: str) -> None:
        """End the connection after what was sent; `reason` is a code word of at most 40 bytes."""


class Listener(Protocol):
    """Who hears from a sink that its peer takes too little. Both are called in the middle of a `send`."""

    def lapsed(self, channel: int) -> None:
        """What waited of the channel was dropped; nothing of it is sent until `drained`."""

    def drained(self, lapsed: Mapping[int, int]) -> None:
        """Everything else was taken. Each lapsed channel, with the cluster time after which it was not told."""
