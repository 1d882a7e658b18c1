"""What the hub needs from outside and what it gives: Protocols, so that `mongo`, `web` and tests meet here only."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from realtime.core.access.principal import Ended, Principal
from realtime.core.access.tickets import Ticket
from realtime.core.connection.outbox import Claim, Part
from realtime.core.live.events import Batch
from realtime.core.live.gathered import Past
from realtime.core.mql.expressions.timezones import Named, Zones
from realtime.core.mql.writing import WriteRule
from realtime.errors import UnsupportedCollectionError

Document = Mapping[str, Any]
Condition = Callable[[bytes | None], bool]
"""Whether a write may go ahead, by the BSON of the document as the write's own transaction sees it; None: no such."""


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
    """What a subscription needs to know of a collection before it is accepted.

    `uuid` is the collection's own, whatever its name: a read that names it is of this collection or none.
    """

    exists: bool
    pre_images: bool
    capped: bool = False
    uuid: Any = None

    def check_snapshots(self, collection: str) -> None:
        """`UnsupportedCollectionError` where MongoDB reads nothing of it at a known time."""
        if self.capped:
            raise UnsupportedCollectionError(
                f"{collection} is a capped collection, of which MongoDB gives no snapshot: subscribe in mode events, "
                "or read it over HTTP as NDJSON",
                details={"collection": collection},
            )


@dataclass(frozen=True, slots=True)
class Written:
    """A majority-committed write: its own cluster time, the document's key, and what MongoDB counted.

    `image` is the BSON of the document as this write left it, whatever came after; None where that was not asked for.
    """

    time: int
    key: Any
    matched: int | None = None
    modified: int | None = None
    upserted: bool | None = None
    image: bytes | None = None


@dataclass(frozen=True, slots=True)
class Inserted:
    """Documents that one transaction inserted: its cluster time, and their keys in the order given."""

    time: int
    keys: Sequence[Any]


class VoidReadError(Exception):
    """A read cannot be had or cannot be trusted (codes 239 and 246, the collection is another one by now)."""


class Feed(Protocol):
    """Whole moments, in order, without end."""

    def batches(self) -> AsyncGenerator[Batch, None]:
        """Batches until the feed is closed; upstream errors are mended inside and reported by `status`."""

    async def rewind(self, time: int, *, step_over: bool) -> None:
        """After `batches` has ended by a bug: the next ones are everything after `time`.

        `step_over`: an event that cannot be decoded has a mark in its place (`realtime.core.live.stepping`).
        """


class WatchedFeed(Feed, Protocol):
    """A feed as whoever runs it sees it."""

    @property
    def replied_at(self) -> float | None:
        """The loop's time of the last word from where it reads: nothing that was told by then is still to come."""

    def check(self, now: float) -> None:
        """Called now and then with the loop's time: silence is no exception, and must be reported all the same."""

    def hasten(self) -> None:
        """The end is near: nothing may hold it up for long."""

    def close(self) -> None:
        """End `batches`."""


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
        facts: CollectionFacts | None = None,
        rule: Document | None = None,
        spare: int = 0,
    ) -> Snapshot:
        """All documents that match, at one time at or after `after`; `TooLargeError` with the count over `limit`.

        `spare`: so many more than `limit` are none too many.

        `cut`: no such error, but the first `limit` of them by `sort`. `fields`: a projection. `VoidReadError` where
        the collection is not the one of `facts`, which has been checked for snapshots.

        `rule`: which documents may be read at all. The selection is asked of those alone, and an error that one of the
        others could have caused says nothing of it.
        """

    async def read_at(self, collection: str, keys: Sequence[Any], time: int, *, uuid: Any = None) -> Snapshot:
        """The documents with these keys exactly at `time`; `VoidReadError` where that time cannot be read.

        So it is where the collection is not the one of `uuid`. `UnsupportedCollectionError` where it is capped.
        """

    async def zones(self, names: Named) -> Zones:
        """The offsets of time zones, as the server has them.

        `InvalidFilterError` for a name that it does not know, with the path at which that stands.
        """

    async def describe(self, collection: str) -> CollectionFacts:
        """What the collection is, read after this was called; `UnsupportedCollectionError` for what is none."""


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

    async def initiated(self) -> int | None:
        """The cluster time at which everything began; None where it reaches back less far, or that is not known."""


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
        image: bool = False,
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
        image: bool = False,
    ) -> Written: ...

    async def delete(
        self, collection: str, key: Any, *, where: Document | None = None, match: Condition | None = None
    ) -> Written: ...


class Membership(Protocol):
    """A set of values that a rule takes from another collection, as a question to MongoDB."""

    @property
    def collection(self) -> str: ...

    @property
    def selection(self) -> Document:
        """Which documents have the values."""

    @property
    def most(self) -> int:
        """How many values it may have."""

    def values(self, documents: Sequence[Document]) -> Sequence[Any] | None:
        """The values that they have, `most` + 1 of them being asked for; None: more than it may."""


class Ruling(Protocol):
    """What one principal may write."""

    def asks(self, collection: str) -> Sequence[Membership]:
        """What the rule of a collection has to know first, asked in the write's own transaction."""

    def rule(self, collection: str) -> WriteRule:
        """The rule where it asks nothing; else one that shows no more than that."""

    def placed(self, collection: str, found: Sequence[Sequence[Any] | None]) -> WriteRule:
        """The rule, with what was found of what it asks, in the same order."""


class Sink(Protocol):
    """Where a connection's frames go: plain calls, in order, never waiting.

    What cannot be written at once waits in an outbox. Over its bound a channel lapses, which the sink tells its
    `Listener`. `crowded`: so many frames of no channel wait that nothing more is taken from the peer for now.
    """

    max_frame: int | None
    """Bytes of the largest frame that its peer says it takes; None: it did not say."""

    @property
    def crowded(self) -> bool: ...

    def send(self, frame: bytes, part: Part | Claim | None = None) -> None:
        """Hand over one text frame (UTF-8 JSON); `part`: which channel's moment it belongs to, or what it claims."""

    def send_run(self, frames: Iterator[bytes]) -> None:
        """Hand over frames that are made as the transport takes them."""

    def lapse(self, channel: int, after: int) -> None:
        """Drop what waits of a channel, which was told up to a cluster time: its `Listener` makes it good later."""

    def withholds(self, channel: int) -> bool:
        """Whether the channel has lapsed: nothing of it is sent until its `Listener` heard that all else was taken."""

    def forget(self, channel: int) -> int | None:
        """Drop what waits of a channel for good; the cluster time up to which it was told, if not everything was."""

    def close(self, code: int, reason: str) -> None:
        """End the connection after what was sent; `reason` is a code word of at most 40 bytes."""


class Listener(Protocol):
    """Who hears from a sink that its peer takes too little. Both are called in the middle of a `send`."""

    def lapsed(self, channel: int) -> None:
        """What waited of the channel was dropped; nothing of it is sent until `drained`."""

    def drained(self, lapsed: Mapping[int, int]) -> None:
        """Everything else was taken. Each lapsed channel, with the cluster time after which it was not told."""


class Authenticator(Protocol):
    """From a token or a key to who asks by it. Nothing else of a connection is seen."""

    async def authenticate(self, token: str) -> Principal:
        """Who asks, who is not expired and not revoked.

        `UnauthenticatedError` with a `reason` for the audit log and a message for who asks. `UnavailableError` where
        it cannot be decided for now: revocations or keys cannot be read, the address of the keys is away.
        """


class OwnAuthenticator(Protocol):
    """The embedding application's own: it is given the connection, and knows its sessions and cookies."""

    async def __call__(self, connection: Any) -> Principal:
        """Who asks by this Starlette `HTTPConnection`; raises what `Authenticator.authenticate` does."""


class Tickets(Protocol):
    """What stands in the address of an event stream in place of a token; `ServiceError` where MongoDB is away."""

    async def issue(self, principal: Principal) -> Ticket:
        """A new one, for whoever asks."""

    async def open(self, text: str, stream: str, *, again: bool) -> tuple[Principal, str]:
        """Whose it is, and what `release` takes when the stream of this name has ended; from now on it is its alone.

        `again`: that stream was open before and goes on. `UnauthenticatedError` where the ticket does not serve,
        `UnavailableError` while the stream is open still.
        """

    async def release(self, name: str) -> None:
        """The stream has ended."""

    async def hold(self) -> None:
        """Without an end: that streams of this process are open is written down, so that they count as such."""


class Revocations(Protocol):
    """Who is let in no longer, as of now."""

    def refused(self, principal: Principal) -> str | None:
        """Why who was authenticated is not to be let in, as one word, or None.

        `UnavailableError` until revocations are read, and while they cannot be.
        """

    def on_revoked(self, tell: Callable[[Ended], None]) -> None:
        """`tell` is called with a predicate whenever principals that may have been let in end. Registered once.

        It is a plain call between batches of the change stream, and must not raise.
        """
