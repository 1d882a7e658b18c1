"""A compiled pipeline, in the order in which its parts are kept: see `Pipeline`.

What one document becomes (`Stages`), which rows are the first (`Top`), and what rows are made of (`Group`) is told
apart, so that a change of one document touches only what is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from realtime.core.mql.filters import Filter
from realtime.core.mql.ordering import Sort
from realtime.core.mql.sorting import SortKey

Document = dict[str, Any]
Stage = dict[str, Any]
"""One stage as MongoDB takes it: an object with one field."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a pipeline may be, and what it may make of one document."""

    stages: int = 32
    nodes: int = 1000
    """Parts of expressions and conditions, and paths, of all stages together."""
    accumulators: int = 32
    boundaries: int = 200
    """Of a `$bucket`."""
    several: int = 1000
    """The `n` of `$minN`, `$topN` and their relatives."""
    rows: int = 10_000
    """What `$unwind` may make of one document."""
    bytes: int = 16 * 1024 * 1024
    """What one document may grow to between two stages."""


Run = Callable[[Document], Sequence[Document]]
"""What a stage makes of a document: none, itself changed, or several. The document itself is left as it is."""


@dataclass(frozen=True, slots=True)
class Step:
    """One stage that takes each document for itself. `source`: as it is sent to MongoDB."""

    name: str
    source: Stage
    run: Run


@dataclass(frozen=True, slots=True)
class Stages:
    """Stages in a row, each of which takes each document for itself."""

    steps: tuple[Step, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def empty(self) -> bool:
        """Whether a document stays as it is."""
        return not self.steps

    @property
    def unwinds(self) -> bool:
        """Whether there may be several of one document."""
        return any(step.name == "$unwind" for step in self.steps)

    @property
    def selects(self) -> bool:
        """Whether there may be none of one document that has no array: one of the stages is a `$match`."""
        return any(step.name == "$match" for step in self.steps)

    def run(self, document: Document) -> list[Document]:
        """What becomes of a document, in MongoDB's order. The document is not changed; parts of it may be shared.

        `ServiceError` where an expression has no value of it (`invalid_document`, `unsupported_value`), or where it
        becomes more than the bounds (`too_large`).
        """
        raise NotImplementedError


NO_STAGES = Stages()


@dataclass(frozen=True, slots=True)
class Top:
    """A `$sort` with what follows it: `skip` rows are left out, then at most `limit` are taken (None: all).

    `sort` ends with `_id`, and `sort.place(row)` is a row's place; it raises `InvalidRequestError` where MongoDB fails.
    """

    sort: Sort
    skip: int = 0
    limit: int | None = None

    @property
    def source(self) -> list[Stage]:
        """As it is sent to MongoDB."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Accumulator:
    """One field of a row that is made of documents.

    `operator`: `$sum $avg $min $max $count $stdDevPop $stdDevSamp $addToSet $minN $maxN $top $topN $bottom $bottomN`.
    `value(document)` is the argument, `MISSING` where it has none (of `$top…` it is `output`, never `MISSING` but
    null; of `$count` always 1). `count`: the `n` of those that have one. `place(document)`: of `$top…` its place by
    `sortBy`, which ends with `_id`; contributions of one document with one place stay in their order. Both raise
    `ServiceError` as `Stages.run` does.
    """

    name: str
    operator: str
    value: Callable[[Document], Any]
    count: int | None = None
    place: Callable[[Document], SortKey] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Rows made of documents: `$group`, and `$bucket`, `$sortByCount` (a `last` goes with it), `$count`.

    `key(document)`: the value to group by, null where it is missing; equal by BSON's equality is one row. It raises
    `ServiceError` as `Stages.run` does. `keyed` False: the row does not show its key, which is null (`$count`).
    """

    key: Callable[[Document], Any]
    accumulators: tuple[Accumulator, ...]
    source: Stage
    keyed: bool = True

    def row(self, key: Any, values: Sequence[Any]) -> Document:
        """The row with these values of its accumulators, as MongoDB shows it."""
        shown = {"_id": key} if self.keyed else {}
        return {**shown, **{one.name: value for one, value in zip(self.accumulators, values, strict=True)}}


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A compiled pipeline. A document goes through its parts from above to below.

    Documents that match are found by `match`, become what `before` makes of them, of which `first` takes some, go
    through `between` and make rows by `group`; `after` may let go of some of those, `last` orders them and takes some,
    and `shown` says how they look. Without `group` the documents are the rows, each of which keeps its `_id`.

    `source`: the stages as they were sent. `paths`: what is read of a document beside `match`, None for all of it.
    """

    source: list[Stage]
    match: Filter
    before: Stages = NO_STAGES
    first: Top | None = None
    between: Stages = NO_STAGES
    group: Group | None = None
    after: Stages = NO_STAGES
    last: Top | None = None
    shown: Stages = NO_STAGES
    paths: frozenset[str] | None = None
    computes: bool = False
    asks: frozenset[str] = frozenset()
    zones: Mapping[str, str] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether it is nothing but `match`: the plain query."""
        raise NotImplementedError

    @property
    def canonical(self) -> bytes:
        """Equal for pipelines that ask the same, for a query's key."""
        raise NotImplementedError

    @property
    def order(self) -> Top | None:
        """By what the rows stand: `last`, or `first` where nothing comes between; None: in no order."""
        raise NotImplementedError

    @property
    def fields(self) -> dict[str, int] | None:
        """A projection for `find` that shows what it reads beside `match`; None for whole documents."""
        raise NotImplementedError

    def reads(self, touched: frozenset[str]) -> bool:
        """Whether an update of these paths may change what becomes of a document that matches before and after."""
        raise NotImplementedError

    def spoken(self, dialect: Any) -> Pipeline:
        """The same as a server of this dialect means it; itself where that is no other meaning."""
        raise NotImplementedError

    def told(self, tables: Any) -> Pipeline:
        """The same with these zones' offsets known; itself where it names none."""
        raise NotImplementedError

    def sent(self, rule: Mapping[str, Any] | None = None, cut: Sequence[Stage] = ()) -> list[Stage]:
        """The stages for MongoDB's `aggregate`: the rule, the rows of `match`, the cut, and then the rest.

        Only what was taken here is in it. The rule stands apart from what was asked as in `realtime/mongo/ruled.py`.
        """
        raise NotImplementedError
