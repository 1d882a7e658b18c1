"""Query groups: everyone who asked for the same thing, and what a change means to it.

A group in query mode is a small machine. `loading`: it waits for its snapshot and collects the keys touched meanwhile.
`catching up`: its snapshot at S is in, the keys touched after S are being read at one later time; batches already
change its membership, but nobody is told. `live`: each batch becomes one moment on its channel. Back to `loading` is
a resync.

A window whose spares have run out goes back to `loading` too, but its subscribers keep their view: what they have been
told, `told`, stays behind until the new snapshot is in; then one moment leads from there to here. So with `throttle`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import Any

from realtime.core.bson import keys
from realtime.core.bson.keys import identity
from realtime.core.live.aggregate import Aggregate, projected
from realtime.core.live.asked import Query
from realtime.core.live.departures import Departures
from realtime.core.live.events import format_position
from realtime.core.live.journal import Entry
from realtime.core.live.leaves import Leaves, unheld
from realtime.core.live.members import Values
from realtime.core.live.moments import Settled, Touch
from realtime.core.live.pipelines.flow import Flow
from realtime.core.live.pipelines.singly import Singly
from realtime.core.live.result import Documents, Encode, Result
from realtime.core.live.window import Window
from realtime.core.wire import protocol

__all__ = ["GroupBounds", "Images", "Late", "Phase", "Query", "QueryGroup", "Wanted"]

Images = Mapping[str, dict[str, Any] | None]
"""Documents by identity at the batch's time; None: gone."""
Late = tuple[Touch, dict[str, Any] | None]
"""What touched a document, and the document as it was afterwards; None: gone."""


class Phase(Enum):
    """Where a group is on its way to live."""

    LOADING = "loading"
    CATCHING_UP = "catching up"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class GroupBounds:
    """How large groups may grow, and how long one stays that nobody is subscribed to.

    A group: documents that are shown, bytes and documents kept, documents that rows are made of, bytes of one row of a
    pipeline. All of them together: `all_bytes`.
    """

    documents: int
    bytes: int
    frame_bytes: int
    grouped: int = 100_000
    kept: int = 100_000
    all_bytes: int = 512 * 1024 * 1024
    row_bytes: int = 1024 * 1024
    linger_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a snapshot for a group has to read. `cut`: the first `limit` documents, however many there are.

    `rule`: which documents may be read at all; the selection is asked of those alone.
    """

    selection: dict[str, Any]
    limit: int
    sort: dict[str, int] | None = None
    cut: bool = False
    fields: dict[str, int] | None = None
    rule: dict[str, Any] = field(default_factory=dict)


class QueryGroup:
    """One distinct query in query mode: its result at `time`, of which its subscribers know `told`."""

    __slots__ = (
        "_runs",
        "backlog",
        "bounds",
        "channel",
        "departures",
        "epoch",
        "late",
        "leaves",
        "phase",
        "query",
        "result",
        "time",
        "told",
    )

    def __init__(self, query: Query, channel: int, epoch: str, bounds: GroupBounds) -> None:
        self.query = query
        self.channel = channel
        self.epoch = epoch
        most = bounds.documents if query.most is None else min(query.most, bounds.documents)
        self.bounds = replace(bounds, documents=most) if most < bounds.documents else bounds
        self.phase = Phase.LOADING
        self.time = 0
        self.told = 0
        self.result = _result(query, self.bounds)
        self.backlog: dict[str, Touch] = {}
        self.late: dict[str, Late] = {}
        self._runs: list[bytes] | None = None
        self.departures = Departures() if query.filter.moving is not None else None
        self.leaves: Leaves | None = None
        """Kept for who is under a rule, and may not be told of every document that somebody changed."""

    @property
    def documents(self) -> Mapping[str, bytes]:
        """What it holds that is sent, by identity."""
        return self.result.documents

    @property
    def size(self) -> int:
        """Bytes held."""
        return self.result.size

    @property
    def live(self) -> bool:
        """Whether its documents are exact and its subscribers are told of changes."""
        return self.phase is Phase.LIVE

    @property
    def position(self) -> str:
        """What its subscribers have been told."""
        return format_position(self.epoch, self.told)

    @property
    def pending(self) -> bool:
        """Whether there may be changes that its subscribers have not been told."""
        return bool(self.late) or self.result.pending

    @property
    def short(self) -> bool:
        """Whether its window has run out of spares, and has to be read again before anybody can be told."""
        return self.result.short

    @property
    def recoverable(self) -> bool:
        """Whether somebody who was away can be told what changed, document by document."""
        return self.query.resumes and self.keeps and self.live and not self.pending

    @property
    def keeps(self) -> bool:
        """Whether it holds its documents' bytes, and so can give a snapshot without MongoDB."""
        return not isinstance(self.result, Documents) or self.result.kept

    @property
    def may_stop_keeping(self) -> bool:
        """Whether it could go on without them: a window shows documents that no event brings, rows are few."""
        goes_without = isinstance(self.result, Documents) and self.result.kept and not self.query.throttle
        return goes_without and self.live and not self.late

    def stop_keeping(self) -> None:
        """From here on digests take the place of its documents' bytes, until it is read again."""
        if isinstance(self.result, Documents):
            self.result.forget_bytes()
            self._runs = None

    @property
    def keeps_too_much(self) -> bool:
        """Whether what it keeps is over its bounds."""
        return self.result.size > self.bounds.bytes or len(self.documents) > self.bounds.kept

    @property
    def too_large(self) -> bool:
        """Whether it has outgrown its bounds; a window's spares count in bytes only."""
        bounds, result = self.bounds, self.result
        if self._outnumbered is not None:
            return True
        goes_without = isinstance(result, Documents) and not self.query.throttle
        return result.size > (bounds.all_bytes if goes_without else bounds.bytes)

    @property
    def outgrown(self) -> tuple[int, int]:
        """What there are too many of, and how many there may be; where it is bytes, of what it is made of."""
        return self._outnumbered or (self.result.count, self.wanted.limit)

    @property
    def _outnumbered(self) -> tuple[int, int] | None:
        bounds, result, query = self.bounds, self.result, self.query
        made = result.count if isinstance(result, Aggregate | Flow) else 0
        if isinstance(result, Singly):
            made = len(result.names())
        shown = result.rows if isinstance(result, Aggregate | Flow) else result.count
        if made > bounds.grouped:
            return made, bounds.grouped
        return (shown, bounds.documents) if query.limit is None and shown > bounds.documents else None

    def advance(self, time: int) -> None:
        """Everything up to `time` has been dispatched; where nothing waits to be told, it is told by that."""
        self._come_to(time)
        if not self.pending:
            self.told = max(self.told, self.time)

    def _come_to(self, time: int) -> None:
        """From here on it is as of this time: what has left by then is let go."""
        self.time = max(self.time, time)
        if self.departures is not None:
            self.departures.let_go(self.query.filter, self.result, self.time)

    def reached(self, time: int) -> int:
        """What its subscribers are at, `time` being what has been dispatched."""
        return self.told if self.pending or not self.live else max(time, self.told)

    # -------------------------------------------------------------------------------------------- towards live

    @property
    def wanted(self) -> Wanted:
        """What its snapshot has to read."""
        query, source, rule = self.query, self.query.filter.asked, self.query.filter.rule
        if query.grouping is not None:
            moved = () if query.filter.moving is None else query.filter.moving.paths
            return Wanted(source, self.bounds.grouped, fields=projected({*query.grouping.paths, *moved}), rule=rule)
        if query.pipeline is not None:
            return Wanted(source, self.bounds.grouped, fields=_fields(query), rule=rule)
        if isinstance(self.result, Window) and self.result.room is not None and query.sort is not None:
            return Wanted(source, self.result.room, sort=query.sort.source, cut=True, rule=rule)
        return Wanted(source, self.bounds.documents, rule=rule)

    def restart(self) -> None:
        """Forget everything: nobody has a view any more, and a new snapshot is to be read."""
        self.result = _result(self.query, self.bounds)
        self.told, self._runs = 0, None
        self.reload()

    def reload(self) -> None:
        """A new snapshot is to be read; what was told stays, and is the view that the next moment goes out from."""
        self.phase, self.time = Phase.LOADING, 0
        self.result.reload()
        self.backlog, self.late = {}, {}
        if self.departures is not None:
            self.departures.clear()

    def means(self, query: Query) -> None:
        """What it asks for means this now, before a snapshot is put."""
        self.query = query
        if query.pipeline is not None and isinstance(self.result, Flow | Singly):
            self.result.means(query.pipeline, query.projection)

    def put(self, document: dict[str, Any], time: int = 0) -> None:
        """Take a document of the snapshot at `time`; one that had left by then was read with the rest, and is not."""
        name = identity(document["_id"])
        if self.departures is None or self.departures.stays(self.query.filter, name, document, time):
            self.result.put(name, document, self._show)

    def steps(self) -> Iterator[None]:
        """What hangs on all of the snapshot that was put, made in small steps."""
        return self.result.steps() if isinstance(self.result, Flow) else iter(())

    def loaded(self, time: int, count: int = 0) -> list[Any]:
        """The snapshot of `count` documents at `time` is in. Returns the keys touched since, to be read at one time."""
        self.phase = Phase.CATCHING_UP
        self.result.loaded(count)
        if self.departures is not None:
            self.departures.begin(time)
        self._come_to(time)
        self.backlog = {name: touch for name, touch in self.backlog.items() if touch.time > time}
        return [touch.key for touch in self.backlog.values()]

    def caught_up(self, images: Images, time: int) -> None:
        """The keys of the backlog as they were at `time`, but for those that a later batch has settled."""
        for name in self.backlog:
            self._place(name, images.get(name), self._show, time)
        self.backlog.clear()
        self._come_to(time)
        if self.short:
            return
        self.phase = Phase.LIVE
        if self.leaves is not None:
            self.leaves.begin(self.time)
        if not self.told:
            self.result.settle()
            self.told = self.time

    def collect(self, settled: Settled) -> None:
        """While loading: remember what was touched."""
        self.backlog.update(settled.touches.get(self.query.collection, {}))

    # --------------------------------------------------------------------------------------------------- live

    def needs(self, touch: Touch) -> bool:
        """Whether this document has to be read to know what the touch means here."""
        if touch.exact or touch.time <= self.time or self.phase is Phase.LOADING:
            return False
        if touch.identity in self.backlog or touch.identity in self.late:
            return True
        if touch.paths is None or self.query.filter.reads(touch.paths):
            return True
        return self.result.reads(touch.identity, touch.paths)

    def apply(self, settled: Settled, images: Images, touches: Iterable[Touch] | None = None) -> list[bytes]:
        """Bring what it holds to the batch's time. Returns the changes, unless they have to wait.

        `touches`: those of the batch that can concern it, where that is known.
        """
        for touch, document in self._states(settled, images, touches):
            self.backlog.pop(touch.identity, None)
            self._place(touch.identity, document, partial(self._show_touched, touch), settled.time)
        self._come_to(settled.time)
        waits = not self.live or self.short or bool(self.query.throttle)
        return [] if waits else self.changes()

    def _states(self, settled: Settled, images: Images, touches: Iterable[Touch] | None) -> Iterator[Late]:
        for touch in settled.touches.get(self.query.collection, {}).values() if touches is None else touches:
            if touch.time <= self.time:
                continue
            if touch.exact:
                yield touch, touch.document
            elif touch.identity in images:
                yield touch, images[touch.identity]
            # Else `needs` said no: neither the membership nor what is shown can have changed.

    def defer(self, settled: Settled, images: Images, touches: Iterable[Touch]) -> None:
        """Take what a batch touched, to be judged later: a document's last state, whatever it was between."""
        watch = self.result.watch
        for touch, document in self._states(settled, images, touches):
            self.late[touch.identity] = touch, document
            if watch is not None:
                watch.hold(touch.identity)  # what becomes of it concerns this group until it is judged
        self._come_to(settled.time)

    def judge(self) -> None:
        """One of the documents that wait for it, the first that came."""
        name = next(iter(self.late))
        touch, document = self.late.pop(name)
        try:
            self._place(name, document, partial(self._show_touched, touch), self.time)
        finally:
            if self.result.watch is not None and name not in self.result.names():
                self.result.watch.let_go(name)

    def names(self) -> Collection[str]:
        """The documents that it holds, or that wait to be judged, by identity."""
        held = self.result.names()
        return {*held, *self.late} if self.late else held

    def changes(self) -> list[bytes]:
        """From what was told to what it holds; from here on that is told."""
        if self.leaves is not None and isinstance(self.result, Documents):
            self.leaves.note(self.result.leaving(), self.time)
        changes = self.result.changes()
        if changes:
            self._runs = None
        self.told = max(self.told, self.time)
        return changes

    def _place(self, name: str, document: dict[str, Any] | None, encode: Encode, time: int) -> None:
        if document is not None and self._matches(name, document, max(time, self.time)):
            self.result.put(name, document, encode)
        else:
            self.result.drop(name)

    def _matches(self, name: str, document: dict[str, Any], time: int) -> bool:
        if self.departures is None:
            return self.query.filter.matches(document)
        return self.departures.admits(self.query.filter, name, document, time)

    def _show(self, document: dict[str, Any]) -> bytes:
        return keys.shown(self.query.projection.apply(document))

    def _show_touched(self, touch: Touch, document: dict[str, Any]) -> bytes:
        if not self.query.projection.everything:
            return self._show(document)
        if touch.encoded is None:
            # A document has one state at a batch's end, so its bytes serve every group without a projection.
            touch.encoded = keys.shown(document)
        return touch.encoded

    def remember(self) -> None:
        """From now on it is known who was told to let go of what."""
        if self.leaves is None:
            self.leaves = Leaves()
            self.leaves.begin(self.told)

    def held_since(self, names: Iterable[str], entries: Iterable[Entry], after: int) -> list[str] | None:
        """Those of these documents which somebody who was at `after` may have held, or may see now; None: not known."""
        left = None if self.leaves is None else self.leaves.after(after)
        if left is not None:
            return [name for name in names if name in left or name in self.documents]
        names = list(names)
        if all(name in self.documents for name in names):
            return names
        if self.query.pipeline is not None:
            return None  # a stage may have let it go, whatever the filter said of it
        out = unheld(self.query.filter, entries, self.query.collection, after)
        known = all(name in self.documents or name in out for name in names)
        return [name for name in names if name in self.documents] if known else None

    def departed(self, after: int) -> dict[str, None] | None:
        """The documents that left after a time because time went on; None: not known."""
        return {} if self.departures is None else self.departures.since(after)

    def since(self, names: Iterable[str]) -> list[bytes]:
        """The changes that bring a view up to now which differs in these documents at most: leaves, then puts."""
        gone = [name for name in names if name not in self.documents]
        held = [name for name in names if name in self.documents]
        return [protocol.change_entry("leave", name) for name in gone] + [
            protocol.change_entry("update", name, self.documents[name]) for name in held
        ]

    def runs(self) -> list[bytes]:
        """What was told as the bodies of snapshot frames, put together once and shared by all who ask."""
        if self._runs is None:
            self._runs = [b",".join(run) for run in protocol.split(self.result.told(), self.bounds.frame_bytes)]
        return self._runs


def _fields(query: Query) -> dict[str, int] | None:
    """The projection that shows what a pipeline reads; None: whole documents. What is cut goes by what rules read."""
    fields = None if query.pipeline is None or not query.projection.everything else query.pipeline.fields
    moving = query.filter.moving
    if fields is None or moving is None:
        return fields
    return {**fields, **{path.split(".")[0]: 1 for path in moving.paths}}


def _result(query: Query, bounds: GroupBounds) -> Result:
    """An empty result of the kind that the query asks for."""
    if query.members is not None:
        return Values(query.members)
    pipeline = query.pipeline
    if pipeline is not None:
        if query.resumes:
            return Singly(pipeline, query.projection)
        # Documents of one moment come one after the other: in its middle there may be more than before and after it.
        most, most_bytes = 2 * bounds.grouped, 2 * bounds.bytes
        return Flow(pipeline, query.projection, most=most, most_bytes=most_bytes, row_bytes=bounds.row_bytes)
    if query.grouping is not None:
        return Aggregate(query.grouping)
    if query.sort is not None:
        return Window(query.sort, query.limit, query.projection)
    return Documents(query.projection)
