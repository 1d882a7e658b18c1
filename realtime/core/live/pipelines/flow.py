"""The result of a pipeline that groups or sorts: its parts in a chain, each of which hands on only what changed.

What becomes of a document by itself is made as it is put. What hangs on others (which are inside, what a row shows) is
made when all of a moment has been put: what would be there in the middle of a moment is shown to nobody, and where an
expression has no value of that, nothing ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from realtime.core.bson import ejson, keys, stored
from realtime.core.live.pipelines.rows import Rows
from realtime.core.live.pipelines.slice import Item, Slice
from realtime.core.live.result import Documents, Encode, Watch
from realtime.core.live.window import Window
from realtime.core.mql.ordering import Sort
from realtime.core.mql.pipelines.pipeline import Document, Pipeline
from realtime.core.mql.projection import EVERYTHING, Projection
from realtime.core.mql.sorting import SortKey
from realtime.errors import TooLargeError

PLACED = Sort((), lambda _: ())
"""Of a view in order that is told each document's place."""


class Flow:
    """Documents that match, what they are made into, and what was told of that.

    It ends with `TooLargeError` over `most` contributions or `most_bytes` in the middle of a moment, which no moment
    that is not too large gets to; and by a row over `row_bytes`.
    """

    short = False

    def __init__(
        self, pipeline: Pipeline, projection: Projection, *, most: int, most_bytes: int, row_bytes: int
    ) -> None:
        """`projection` is what is seen of a document before the first stage."""
        self.watch: Watch | None = None
        self._bounds = most, most_bytes, row_bytes
        ordered = pipeline.order is not None
        self._view: Documents | Window = Window(PLACED, None, EVERYTHING) if ordered else Documents(EVERYTHING)
        self._begin(pipeline, projection)

    def _begin(self, pipeline: Pipeline, projection: Projection) -> None:
        self._pipeline, self._projection = pipeline, projection
        self._names: dict[str, None] = {}
        self._first: Slice | None = None if pipeline.first is None else Slice(pipeline.first)
        self._rows: Rows | None = None if pipeline.group is None else Rows(pipeline.group)
        self._last: Slice | None = None if pipeline.last is None else Slice(pipeline.last)

    def means(self, pipeline: Pipeline, projection: Projection) -> None:
        """It is this now, before anything is put; what was told stays."""
        self._begin(pipeline, projection)

    @property
    def documents(self) -> Mapping[str, bytes]:
        """What is shown, rows or documents."""
        return self._view.documents

    @property
    def size(self) -> int:
        """Bytes of what is shown, and about those that are kept for it."""
        parts = (self._first, self._rows, self._last)
        return self._view.size + sum(part.size for part in parts if part is not None)

    @property
    def count(self) -> int:
        """Documents that match, or contributions where `$unwind` makes more of them."""
        return max(len(self._names), 0 if self._rows is None else self._rows.contributions)

    @property
    def rows(self) -> int:
        """Rows, shown or not."""
        return max(self._view.count, 0 if self._rows is None else len(self._rows))

    @property
    def pending(self) -> bool:
        """Whether a change has not been told."""
        parts = (self._first, self._rows, self._last, self._view)
        return any(part.pending for part in parts if part is not None)

    def names(self) -> Collection[str]:
        """The documents that match."""
        return self._names

    def reads(self, name: str, touched: frozenset[str]) -> bool:
        """What is made of a document that matches."""
        return name in self._names and self._projection.shows(touched) and self._pipeline.reads(touched)

    def loaded(self, count: int) -> None:
        """Everything that matches has been put."""

    # --------------------------------------------------------------------------------------------------- documents in

    def put(self, name: str, document: dict[str, Any], encode: Encode) -> None:
        """The document is this now. `ServiceError` where an expression has no value of it."""
        made = self._pipeline.before.run(self._projection.apply(document))
        if name not in self._names:
            self._names[name] = None
            if self.watch is not None:
                self.watch.hold(name)
        self._take(name, made)

    def drop(self, name: str) -> None:
        """The document does not match, or is gone."""
        if name not in self._names:
            return
        del self._names[name]
        if self.watch is not None:
            self.watch.let_go(name)
        self._take(name, ())

    def _take(self, name: str, made: Sequence[Document]) -> None:
        if self._first is None:
            self._pass_on(name, made)
        else:
            self._place(self._first, name, made)
        most, most_bytes, _ = self._bounds
        if self.count > most or self.size > most_bytes:
            raise TooLargeError(
                f"the pipeline makes too much of the documents that match ({self.count} contributions, {self.size} "
                "bytes): narrow its first $match",
                details={"count": self.count, "limit": most},
            )

    def _place(self, among: Slice, name: str, made: Sequence[Document]) -> None:
        """Where a document or a row stands now, if it is there."""
        if not made:
            among.drop(name)
            return
        document = made[0]
        place = among.sort.place(document)
        if self._rows is not None and among is self._last:
            among.put(Item(name, place, document, 0))
            return
        # As BSON, which takes a third of the room.
        packed = stored.encode(document)
        held = among.get(name)
        if held is None or held.payload != packed:
            among.put(Item(name, place, packed, len(packed)))

    # ------------------------------------------------------------------------------------------------------- handed on

    def steps(self) -> Iterator[None]:
        """Make what hangs on what was put, in small steps. `ServiceError` where an expression has no value of a row."""
        for name, item in () if self._first is None else self._first.changed():
            self._pass_on(name, () if item is None else (_unpacked(item),))
            yield
        for name, row in () if self._rows is None else self._rows.changed():
            self._pass_row(name, row)
            yield
        for name, item in () if self._last is None else self._last.changed():
            self._show(name, None if item is None else _unpacked(item))
            yield

    def _pass_on(self, name: str, made: Sequence[Document]) -> None:
        """What the document of this name became, before the rows."""
        through = [one for document in made for one in self._pipeline.between.run(document)]
        if self._rows is not None:
            self._rows.put(name, through)
        else:
            self._pass_row(name, through[0] if through else None)

    def _pass_row(self, name: str, row: Document | None) -> None:
        rows = () if row is None else self._pipeline.after.run(row)
        if self._last is not None:
            self._place(self._last, name, rows)
        else:
            self._show(name, rows[0] if rows else None)

    def _show(self, name: str, row: Document | None) -> None:
        if row is None:
            self._view.drop(name)
            return
        encoded = self._encoded(name, self._pipeline.shown.run(row)[0])
        if isinstance(self._view, Window):
            among = self._first if self._last is None else self._last
            self._view.hold((_place_of(among, name), name), encoded)
        else:
            self._view.hold(name, encoded)

    def _encoded(self, name: str, row: Document) -> bytes:
        """A row as JSON: lists of it that are as they were are not encoded again."""
        if self._rows is None:
            return keys.shown(row)
        texts = self._rows.texts(name)
        encoded = _joined(keys.with_marks(row).items(), texts) if texts else keys.shown(row)
        most = self._bounds[2]
        if len(encoded) > most:
            raise TooLargeError(
                f"a row has outgrown a live query ({len(encoded)} bytes): let its accumulators hold less",
                details={"count": len(encoded), "limit": most},
            )
        return encoded

    # ----------------------------------------------------------------------------------------------------- telling

    def changes(self) -> list[bytes]:
        """From what was told to what is there. Raises as `steps`."""
        self._make()
        return self._view.changes()

    def _make(self) -> None:
        for _ in self.steps():
            pass

    def told(self) -> Iterable[bytes]:
        """What was told, in its order where there is one."""
        return self._view.told()

    def settle(self) -> None:
        """What is there is what was told. Raises as `steps`."""
        self._make()
        self._view.settle()

    def reload(self) -> None:
        """Hold nothing."""
        self._begin(self._pipeline, self._projection)
        self._view.reload()


def _place_of(among: Slice | None, name: str) -> SortKey:
    """Where one stands that is shown in order."""
    item = None if among is None else among.get(name)
    return () if item is None else item.place


def _unpacked(item: Item) -> Document:
    return stored.decode(item.payload) if isinstance(item.payload, bytes) else item.payload


def _joined(fields: Iterable[tuple[str, Any]], texts: Mapping[int, bytes]) -> bytes:
    parts = (b"%b:%b" % (ejson.encode(name), texts.get(id(value)) or ejson.encode(value)) for name, value in fields)
    return b"{%b}" % b",".join(parts)
