"""A compiled pipeline, in the order in which its parts are kept: see `Pipeline`.

What one document becomes (`Stages`), which rows are the first (`Top`), and what rows are made of (`Group`) is told
apart, so that a change of one document touches only what is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson

from realtime.core.bson.stored import CODEC
from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.mql.expressions.timezones import NO_NAMES, NO_ZONES, Named, Zones
from realtime.core.mql.filters import Filter, may_fail
from realtime.core.mql.ordering import Sort
from realtime.core.mql.paths import overlaps, stem
from realtime.core.mql.pipelines.steps import NO_STAGES, Document, Stage, Stages
from realtime.core.mql.sorting import SortKey

EVERY = 2**63 - 1
"""A limit that nothing reaches: MongoDB moves no condition from behind one to before it."""


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
        return [
            {"$sort": self.sort.source},
            *([{"$skip": self.skip}] if self.skip else []),
            *([{"$limit": self.limit}] if self.limit is not None else []),
        ]


@dataclass(frozen=True, slots=True)
class Accumulator:
    """One field of a row that is made of documents.

    `operator`: one of `language.ACCUMULATORS`. `value(document)` is the argument, `MISSING` where it has none (of
    `$top` and its relatives it is `output`, null where that is missing; of `$count` always 1). `count`: the `n` of
    those that have one. `place(document)`: of `$top` and its relatives the place by `sortBy`, which ends with `_id`;
    contributions of one document with one place stay in their order (see `chosen`). `value` raises `ServiceError` as
    `Stages.run` does, `place` `InvalidRequestError` too, as that of a sort.
    """

    name: str
    operator: str
    value: Callable[[Document], Any]
    count: int | None = None
    place: Callable[[Document], SortKey] | None = None

    def chosen(self, ordered: Sequence[tuple[SortKey, Any]]) -> Any:
        """What `$top` and its relatives show of places with values, in order, those of one place as they came.

        Of the last ones with one place that do not all fit, MongoDB keeps those that came first.
        """
        count = self.count or 1
        if self.operator in {"$top", "$topN"}:
            found = [value for _, value in ordered[:count]]
        else:
            cut = max(len(ordered) - count, 0)
            place, start = ordered[cut][0], cut
            while start and ordered[start - 1][0] == place:
                start -= 1
            end = cut
            while end < len(ordered) and ordered[end][0] == place:
                end += 1
            found = [value for _, value in (*ordered[start : start + end - cut], *ordered[end:])]
        return found if self.count is not None else found[0]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows made of documents: by `$group`, `$bucket`, `$sortByCount` or `$count`.

    `key(document)`: the value to group by, null where it is missing; equal by BSON's equality is one row. It raises
    `ServiceError` as `Stages.run` does. `keyed` False: the row does not show its key, which is null (`$count`).
    """

    key: Callable[[Document], Any]
    accumulators: tuple[Accumulator, ...]
    source: Stage
    keyed: bool = True

    def row(self, key: Any, values: Iterable[Any]) -> Document:
        """The row with these values of its accumulators, as MongoDB shows it."""
        shown = {"_id": key} if self.keyed else {}
        return {**shown, **{one.name: value for one, value in zip(self.accumulators, values, strict=True)}}


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A compiled pipeline. A document goes through its parts from above to below.

    Documents that match are found by `match`, become what `before` makes of them, of which `first` takes some, go
    through `between` and make rows by `group`; `after` may let go of some of those, `last` orders them and takes some,
    and `shown` says how they look. Without `group` the documents are the rows, each of which keeps its `_id`, and
    `between`, `last` and `shown` follow each other.

    `source`: the stages as they were sent. `match.moving`: conditions of it that time moves. `paths`: what is read of a
    document beside `match`, numeric components left out; None for all of it. `computes`: what a document costs goes
    with what is in it.
    """

    source: list[Any]
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
    zones: Named = field(default_factory=lambda: NO_NAMES)
    dialect: Dialect = NEWEST
    tables: Zones = field(default_factory=lambda: NO_ZONES)
    again: Callable[[Dialect, Zones], Pipeline] | None = None
    """Compiles it anew."""

    @property
    def plain(self) -> bool:
        """Whether it is nothing but `match`: the plain query."""
        return not self._beyond()

    @property
    def canonical(self) -> bytes:
        """Equal for pipelines that ask the same, for a query's key."""
        return bson.encode({"match": self.match.canonical, "stages": self._beyond()}, codec_options=CODEC)

    @property
    def order(self) -> Top | None:
        """By what the rows stand in order: `last`, or `first` where no `group` comes behind it; None: by nothing."""
        return self.last or (self.first if self.group is None else None)

    @property
    def fields(self) -> dict[str, int] | None:
        """A projection for `find` that shows what it reads beside `match`; None for whole documents."""
        if self.paths is None:
            return None
        names = {path.split(".")[0] for path in self.paths}
        if any(not name or name.startswith("$") for name in names):
            return None
        return {"_id": 1} | dict.fromkeys(sorted(names), 1)

    def reads(self, touched: frozenset[str]) -> bool:
        """Whether an update of these paths may change what becomes of a document that matches before and after."""
        if self.paths is None:
            return True
        stems = {stem(path) for path in touched}
        return any(overlaps(path, other) for path in self.paths for other in stems)

    def spoken(self, dialect: Dialect) -> Pipeline:
        """The same as a server of this dialect means it; itself where that is no other meaning."""
        if self.again is None or not self.asks & self.dialect.differs(dialect):
            return self
        return self.again(dialect, self.tables)

    def told(self, tables: Zones) -> Pipeline:
        """The same with these zones' offsets known; itself where it names none."""
        return self if self.again is None or not self.zones else self.again(self.dialect, tables)

    def sent(
        self, rule: Mapping[str, Any] | None = None, cut: Sequence[Stage] = (), second: int | None = None
    ) -> list[Stage]:
        """The stages for MongoDB's `aggregate`: the rule, the rows of `match`, the cut, and then the rest.

        Only what was taken here is in it. The rule stands apart from what was asked, so that none of that is asked of
        a document that it leaves out (see `realtime/mongo/ruled.py`). `cut` hides fields before the client's own
        stages (`hidden.py`). `second`: what is sent in place of `$$NOW`.
        """
        asked = self.match.asked if second is None else self.match.asked_at(second)
        match = [{"$match": asked}] if asked else []
        rest = [*cut, *self._beyond()]
        if not rule:
            return [*match, *rest]
        if match and not may_fail(asked):
            match, rule = [], {"$and": [rule, asked]}
        return [{"$match": rule}, *([{"$limit": EVERY}] if match or rest else []), *match, *rest]

    def _beyond(self) -> list[Stage]:
        """Everything behind `match`, as it is sent."""
        return [
            *self.before.source,
            *([] if self.first is None else self.first.source),
            *self.between.source,
            *([] if self.group is None else [self.group.source]),
            *self.after.source,
            *([] if self.last is None else self.last.source),
            *self.shown.source,
        ]


__all__ = ["Accumulator", "Document", "Group", "Pipeline", "Stage", "Stages", "Top"]
