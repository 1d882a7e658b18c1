"""From a client's list of stages to a `Pipeline`; what cannot be followed is refused by name and place."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from typing import Any

from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.mql.expressions.numbers import as_long
from realtime.core.mql.expressions.timezones import NO_ZONES, Zones
from realtime.core.mql.filters import Filter, compile_filter
from realtime.core.mql.language import invalid, unsupported
from realtime.core.mql.ordering import Sort
from realtime.core.mql.paths import WHOLE, stem
from realtime.core.mql.pipelines.bounds import Bounds
from realtime.core.mql.pipelines.context import Context
from realtime.core.mql.pipelines.grouping import Grouped, parse_group
from realtime.core.mql.pipelines.language import GROUPS, PER_DOCUMENT, REFUSED, STAGES
from realtime.core.mql.pipelines.pipeline import Pipeline, Top
from realtime.core.mql.pipelines.places import Ghosts, check_apart, keep
from realtime.core.mql.pipelines.stages import of_id, parse_stage
from realtime.core.mql.pipelines.steps import Stages, Step

__all__ = ["Bounds", "compile_pipeline"]


def compile_pipeline(
    source: Any,
    bounds: Bounds | None = None,
    dialect: Dialect = NEWEST,
    tables: Zones = NO_ZONES,
    *,
    here: str = "pipeline",
) -> Pipeline:
    """Compile a list of stages; `here` is where it stands in a request.

    Time may move conditions of a leading `$match`, which are then in `match.moving`; `$$NOW` is refused anywhere else.
    Raises `InvalidFilterError` for what MongoDB refuses too, `UnsupportedOperatorError` for what
    cannot be followed; `details` has the `path` (`pipeline.2.$lookup`), and the `operator`.
    """
    if not isinstance(source, list):
        invalid(here, "a pipeline is a list of stages")
    bounds = bounds or Bounds()
    if len(source) > bounds.stages and not bounds.taken:
        invalid(here, f"a pipeline of more than {bounds.stages} stages")
    compiler = _Compiler(Context(bounds, dialect, tables), here)
    compiler.check(source)
    again = partial(_again, source, replace(bounds, taken=True), here)
    return replace(compiler.compile(source), again=again)


def _again(source: list[Any], bounds: Bounds, here: str, dialect: Dialect, tables: Zones) -> Pipeline:
    """What was looked at before, for another dialect or with its zones."""
    return compile_pipeline(source, bounds, dialect, tables, here=here)


class _Compiler:
    """Goes through the stages once, from segment to segment."""

    def __init__(self, context: Context, here: str) -> None:
        self.context = context
        self.here = here
        self.stages: list[tuple[str, Any, str]] = []
        self.at = 0
        self.keeps = True
        self.ghosts = Ghosts()
        self.paths: set[str] = set()
        self.closed = False

    def check(self, stages: list[Any]) -> None:
        """Take the stages; what is no stage, or is none that can be followed, is refused."""
        for index, stage in enumerate(stages):
            here = f"{self.here}.{index}"
            if not isinstance(stage, dict) or len(stage) != 1:
                invalid(here, "a stage is an object of one field: its name, with what it takes")
            name, operand = next(iter(stage.items()))
            here = f"{here}.{name}"
            if name not in STAGES:
                known = f"is no stage that is known here; there are: {', '.join(STAGES)}"
                unsupported(name, here, REFUSED.get(name, known))
            self.stages.append((name, operand, here))

    # ----------------------------------------------------------------------------------------------------- segments

    def compile(self, source: list[Any]) -> Pipeline:
        """All of it."""
        match = self.match()
        before = self.steps()
        grouped = any(name in GROUPS for name, _, _ in self.stages[self.at :])
        pipeline = self.grouped(before) if grouped else self.ungrouped(before)
        self.end(grouped=grouped)
        paths = frozenset(self.paths)
        return replace(
            pipeline,
            source=source,
            match=match,
            paths=paths if self.closed and WHOLE not in paths else None,
            computes=self.context.computes,
            asks=frozenset(self.context.asks),
            zones=self.context.zones,
            dialect=self.context.dialect,
            tables=self.context.tables,
        )

    def match(self) -> Filter:
        """The leading `$match` stages, as one filter."""
        found = []
        while self.next() == "$match":
            _, source, here = self.take()
            compiled = self.context.filter(source, here, moving=True)
            found += [compiled] if source else []
        if len(found) == 1:
            return found[0]
        nodes = self.context.nodes
        joined = self.context.filter({"$and": [one.source for one in found]} if found else {}, self.here, moving=True)
        self.context.nodes = nodes  # they have been counted
        return joined

    def ungrouped(self, before: list[Step]) -> Pipeline:
        """Documents stay the rows."""
        first = last = None
        between: list[Step] = []
        if self.next() == "$sort":
            last = self.top()
            rest = [name for name, _, _ in self.stages[self.at :]]
            if last.limit is not None and ("$match" in rest or "$sort" in rest):
                first, last = last, None
                between = self.steps()
                last = self.top() if self.next() == "$sort" else None
        shown = self.rows() if last is not None else []
        for step in (*before, *between, *shown):
            self.check_row(step)
        check_apart(before, between)
        check_apart([*before, *between], shown)
        return self.parts(before=before, first=first, between=between, last=last, shown=shown)

    def grouped(self, before: list[Step]) -> Pipeline:
        """Rows are made of documents."""
        first, between = None, []
        if self.next() == "$sort":
            _, _, here = self.stages[self.at]
            first = self.first(here, unwound=any(step.name == "$unwind" for step in before))
            between = self.steps()
            check_apart(before, between)
        if self.next() not in GROUPS:
            return self.parts()  # which the end of it says
        name, operand, here = self.take()
        found = parse_group(name, operand, here, self.context, keeps=self.keeps)
        self.paths |= set() if self.closed else found.paths
        self.closed = True
        self.ghosts.check_put(operand, name, here)
        self.ghosts.regroup(found.paths, found.made)
        documents = self.parts(before=before, first=first, between=between)
        self.keeps = True
        return replace(documents, group=found.group, **self.behind(found))

    def first(self, here: str, *, unwound: bool) -> Top:
        """The `$sort` before a group, with the `$limit` by which it means something."""
        if unwound:
            unsupported("$sort", here, "is behind $unwind, of which several rows have one place: put $group between")
        if not self.keeps:
            unsupported("$sort", here, "is behind a stage that changes _id, which ends it: keep _id up to here")
        top = self.top()
        if top.limit is None:
            unsupported("$sort", here, "decides nothing before a $group without a $limit right behind it: leave it out")
        return top

    def behind(self, found: Grouped) -> dict[str, Any]:
        """What is said of the rows of a group: which stay, their order, and how they look."""
        last, after, shown = None, [], []
        own = found.order is not None and (
            self.next() in {"$skip", "$limit"} or all(name != "$sort" for name, _, _ in self.stages[self.at :])
        )
        if not own:
            after = self.steps()
            last = self.top() if self.next() == "$sort" else None
        else:
            # Its rows are in an order already, which a condition about them leaves as it is.
            after = self.steps({"$match"})
            last = self.top(self.context.sort(found.order, self.here))
        shown = self.rows() if last is not None else []
        for step in (*after, *shown):
            self.check_row(step, keyed=found.group.keyed)
            if found.copied and step.asks and any(path == WHOLE or of_id(path) for path in step.paths):
                unsupported(
                    "$match",
                    step.at,
                    f"asks {', '.join(sorted(step.asks))} of _id, a field of the documents, where MongoDB leaves out "
                    'those without it before they are grouped: group by {"$ifNull": […, null]}',
                )
        check_apart(after, shown)
        return {"after": self.run(after, named=False), "last": last, "shown": self.run(shown, named=False)}

    def parts(
        self,
        *,
        before: list[Step] | None = None,
        first: Top | None = None,
        between: list[Step] | None = None,
        last: Top | None = None,
        shown: list[Step] | None = None,
    ) -> Pipeline:
        return Pipeline(
            [],
            NO_FILTER,
            before=self.run(before or []),
            first=first,
            between=self.run(between or []),
            last=last,
            shown=self.run(shown or []),
        )

    # ------------------------------------------------------------------------------------------------------- stages

    def next(self) -> str | None:
        """The name of the stage that comes next."""
        return self.stages[self.at][0] if self.at < len(self.stages) else None

    def take(self) -> tuple[str, Any, str]:
        """The stage that comes next, with what it takes and its place."""
        self.at += 1
        return self.stages[self.at - 1]

    def steps(self, names: Collection[str] = PER_DOCUMENT) -> list[Step]:
        """The stages from here on that take each document for itself."""
        found = []
        while self.next() in names:
            step = parse_stage(*self.take(), self.context)
            self.ghosts.look(step)
            self.paths |= set() if self.closed else step.paths
            self.closed = self.closed or step.closes
            self.keeps = self.keeps and step.keeps
            found.append(step)
        return found

    def rows(self) -> list[Step]:
        """The stages behind the order of the rows, which let go of none."""
        found = self.steps()
        for step in found:
            if step.name == "$match":
                unsupported(
                    "$match", step.at, "stands behind what orders the rows: put it before the $sort, or right behind "
                    "$bucket or $sortByCount"
                )  # fmt: skip
        return found

    def run(self, steps: list[Step], *, named: bool = True) -> Stages:
        """The steps as one run; `named`: it is given documents, whose `_id` an error may name."""
        return keep(steps, self.context, named=named)

    def top(self, sort: Sort | None = None) -> Top:
        """A `$sort` with the `$skip` and `$limit` right behind it, or those of an order that is there already."""
        if sort is None:
            _, source, here = self.take()
            if source == {}:
                invalid(here, "a sort has at least one path")
            sort = self.context.sort(source, here)
            self.paths |= set() if self.closed else {stem(path) for path, _ in sort.pairs}
        skip, limit = 0, None
        if self.next() == "$skip":
            _, source, here = self.take()
            skip = _whole(source, here, least=0)
            if skip > self.context.bounds.skipped:
                invalid(here, f"skips more than {self.context.bounds.skipped} rows")
        if self.next() == "$limit":
            _, source, here = self.take()
            limit = _whole(source, here, least=1)
        return Top(sort, skip, limit)

    # ------------------------------------------------------------------------------------------------------ refusing

    def check_row(self, step: Step, *, keyed: bool = True) -> None:
        """Refuse what would leave rows without the one key that they have."""
        if step.name == "$unwind":
            unsupported(
                "$unwind", step.at, "makes several rows of one, which have one _id: a $group has to follow it, and "
                "none to be before"
            )  # fmt: skip
        if step.keeps or (not keyed and not step.remakes and not any(map(of_id, step.sets))):
            return
        if step.remakes:
            mend = 'put "_id": "$_id" into the new document, or {"$mergeObjects": […, {"_id": "$_id"}]}'
        else:
            mend = "leave _id as it is, put what it should be into another field, and hide _id where it is shown"
        unsupported(step.name, step.at, f"changes _id, by which the rows are known: {mend}")

    def end(self, *, grouped: bool) -> None:
        """Refuse what is left over, by why it cannot stand there."""
        if self.at == len(self.stages):
            return
        name, _, here = self.stages[self.at]
        if name == "$skip" and self.at and self.stages[self.at - 1][0] == "$limit":
            reason = "stands behind $limit: put it before, with the $limit made less by as much"
        elif name in {"$skip", "$limit"}:
            reason = "stands without a $sort right before it, so nothing says which rows they are: put a $sort there"
        elif name in GROUPS:
            reason = "is a second group: one is followed"
        else:
            reason = f"is one $sort more than is followed {'behind' if grouped else 'without'} a $group: leave one out"
        unsupported(name, here, reason)


NO_FILTER = compile_filter({})


def _whole(source: Any, here: str, *, least: int) -> int:
    number = as_long(source)
    if number is None or number < least:
        invalid(here, f"takes a whole number, {least} or more")
    return number
