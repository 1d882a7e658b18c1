"""Rows made of documents: `$group` and its short forms, with their accumulators as they are written."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from realtime.core.bson.stored import Undefined
from realtime.core.bson.values import MISSING, Order
from realtime.core.mql.expressions.compiling import compared
from realtime.core.mql.expressions.evaluation import told
from realtime.core.mql.expressions.numbers import as_long, type_name
from realtime.core.mql.expressions.outcomes import OutcomeError, fail, unsure
from realtime.core.mql.expressions.scope import Bounds as ExpressionBounds
from realtime.core.mql.expressions.scope import Evaluate, Scope
from realtime.core.mql.language import invalid, unsupported
from realtime.core.mql.ordering import Sort, unsortable
from realtime.core.mql.pipelines.context import Context, Part
from realtime.core.mql.pipelines.language import ACCUMULATORS, REFUSED_ACCUMULATORS
from realtime.core.mql.pipelines.pipeline import Accumulator, Document, Group
from realtime.core.mql.sorting import SortKey, UnsortableError, compile_sort

KEY = "_id"
TOPS = frozenset({"$top", "$topN", "$bottom", "$bottomN"})
EXTREMES = frozenset({"$minN", "$maxN"})


@dataclass(frozen=True, slots=True)
class Grouped:
    """A group, what is read for it, names in objects that it makes, and the order in which its rows stand.

    `copied`: its key, or a part of it, is a field of the documents as it is.
    """

    group: Group
    paths: frozenset[str]
    made: frozenset[str]
    order: dict[str, int] | None = None
    copied: bool = False


def parse_group(name: str, source: Any, here: str, context: Context, *, keeps: bool) -> Grouped:
    """One of `language.GROUPS`. `keeps`: the documents still have their `_id`, which ends every `sortBy`."""
    builder = _Builder(context, here, keeps=keeps)
    return _PARSERS[name](builder, source, here)


class _Builder:
    def __init__(self, context: Context, here: str, *, keeps: bool) -> None:
        self.context = context
        self.here = here
        self.keeps = keeps
        self.paths: set[str] = set()
        self.made: set[str] = set()
        self.source: dict[str, Any] = {}
        self.copied = False

    # --------------------------------------------------------------------------------------------------- stages

    def group(self, source: Any, here: str) -> Grouped:
        if not isinstance(source, dict) or KEY not in source:
            invalid(here, "takes an object with _id, what is grouped by; null makes one row of everything")
        key = self.key(source[KEY], f"{here}.{KEY}")
        accumulators = self.accumulators({name: one for name, one in source.items() if name != KEY}, here)
        return self.done(Group(key, accumulators, {"$group": {KEY: source[KEY], **self.source}}))

    def bucket(self, source: Any, here: str) -> Grouped:
        if not isinstance(source, dict) or not source.keys() >= {"groupBy", "boundaries"}:
            invalid(here, "takes an object with groupBy and boundaries")
        for option in source:
            if option not in {"groupBy", "boundaries", "default", "output"}:
                invalid(f"{here}.{option}", "$bucket takes groupBy, boundaries, default and output")
        by = self.computed(source["groupBy"], f"{here}.groupBy")
        values = self.boundaries(source["boundaries"], f"{here}.boundaries")
        places = [compared(value) for value in values]
        default: Any = MISSING
        if "default" in source:
            default = self.constant(source["default"], f"{here}.default")
            if places[0] <= compared(default) < places[-1]:
                invalid(f"{here}.default", "a value below the boundaries, the last of them, or above")
        output = source.get("output", {"count": {"$sum": 1}})
        if not isinstance(output, dict):
            invalid(f"{here}.output", "takes an object of fields with accumulators")
        accumulators = self.accumulators(output, f"{here}.output")
        sent = {**source, **({"output": self.source} if "output" in source else {})}
        key = self.evaluated(lambda scope: _ranged(by.evaluate(scope), values, places, default))
        return self.done(Group(key, accumulators, {"$bucket": sent}), {KEY: 1})

    def sort_by_count(self, source: Any, here: str) -> Grouped:
        part = self.computed(source, here)
        self.copied = part.field
        key = self.evaluated(_or_null(part.evaluate))
        counted = (Accumulator("count", "$sum", lambda _: 1),)
        return self.done(Group(key, counted, {"$sortByCount": source}), {"count": -1, KEY: 1})

    def count(self, source: Any, here: str) -> Grouped:
        if type(source) is not str or not source or source == KEY:
            invalid(here, "takes the name of the field that shows how many there are, other than _id")
        check_name(source, here)
        counted = (Accumulator(source, "$count", lambda _: 1),)
        return self.done(Group(lambda _: None, counted, {"$count": source}, keyed=False))

    def done(self, group: Group, order: dict[str, int] | None = None) -> Grouped:
        return Grouped(group, frozenset(self.paths), frozenset(self.made), order, self.copied)

    # ------------------------------------------------------------------------------------------------------ key

    def key(self, source: Any, here: str) -> Callable[[Document], Any]:
        written = isinstance(source, dict) and bool(source) and not next(iter(source)).startswith("$")
        if not written:
            part = self.part(source, here)
            self.copied = part.field
            return self.evaluated(_or_null(part.evaluate))
        for name, inner in source.items():
            check_name(name, f"{here}.{name}")
            if isinstance(inner, bool | int | float) or type_name(inner) == "decimal":
                invalid(f"{here}.{name}", 'takes an expression: {"$literal": …} for a number or a boolean')
        parts = {name: self.part(inner, f"{here}.{name}") for name, inner in source.items()}
        self.made |= {name for name, part in parts.items() if part.misses}
        self.copied = any(part.field for part in parts.values())
        each = tuple((name, part.evaluate) for name, part in parts.items())
        return self.evaluated(_only_key(*each[0]) if len(each) == 1 else _several_keys(each))

    # --------------------------------------------------------------------------------------------- accumulators

    def accumulators(self, source: Mapping[str, Any], here: str) -> tuple[Accumulator, ...]:
        if len(source) > self.context.bounds.accumulators:
            invalid(here, f"more than {self.context.bounds.accumulators} accumulators")
        return tuple(self.accumulator(name, one, f"{here}.{name}") for name, one in source.items())

    def accumulator(self, name: str, source: Any, here: str) -> Accumulator:
        check_name(name, here)
        if name == KEY:
            invalid(here, "_id is what is grouped by")
        if not isinstance(source, dict) or len(source) != 1:
            invalid(here, "takes an object with one accumulator")
        operator, operand = next(iter(source.items()))
        at = f"{here}.{operator}"
        if operator not in ACCUMULATORS:
            reason = REFUSED_ACCUMULATORS.get(operator, f"is no accumulator; there are: {', '.join(ACCUMULATORS)}")
            unsupported(operator, at, reason)
        self.context.count(at, 1)
        self.source[name] = source
        if operator in TOPS:
            return self.top(name, operator, operand, at)
        if operator in EXTREMES:
            given = self.options(operand, at, ("n", "input"))
            part = self.part(given["input"], f"{at}.input")
            return Accumulator(name, operator, self.evaluated(part.evaluate), self.several(given["n"], f"{at}.n"))
        if operator == "$count":
            if operand != {} or not isinstance(operand, dict):
                invalid(at, "$count takes an empty object")
            return Accumulator(name, operator, lambda _: 1)
        if isinstance(operand, list):
            invalid(at, f"{operator} takes one expression here, not a list")
        return Accumulator(name, operator, self.evaluated(self.part(operand, at).evaluate))

    def top(self, name: str, operator: str, operand: Any, at: str) -> Accumulator:
        several = operator.endswith("N")
        given = self.options(operand, at, ("n", "sortBy", "output") if several else ("sortBy", "output"))
        if not self.keeps:
            unsupported(
                operator, at, "is behind a stage that changes _id, which ends sortBy: keep _id as it is up to here"
            )
        sort = self.context.sort(given["sortBy"], f"{at}.sortBy")
        output = _or_null(self.part(given["output"], f"{at}.output").evaluate)
        count = self.several(given["n"], f"{at}.n") if several else None
        self.source[name] = {operator: {**given, "sortBy": sort.source}}
        return Accumulator(name, operator, self.evaluated(output), count, self.place(sort, f"{at}.sortBy"))

    def place(self, sort: Sort, here: str) -> Callable[[Document], SortKey]:
        """By the values that the paths have as expressions, among which `$top` sorts by itself."""
        parts = [self.part(f"${path}", f"{here}.{path}") for path, _ in sort.pairs]
        each = tuple(part.evaluate for part in parts)
        names = [str(index) for index in range(len(each))]
        flat = self.context.says("top_enters_arrays")
        key = compile_sort(
            [(name if flat else f"s.{name}", direction) for name, (_, direction) in zip(names, sort.pairs, strict=True)]
        )

        def keyed(scope: Scope) -> SortKey:
            values = [None if (value := one(scope)) is MISSING else value for one in each]
            try:
                return key(dict(zip(names, values, strict=True)) if flat else {"s": values})
            except UnsortableError as error:
                raise unsortable(str(error)) from None

        return self.evaluated(keyed)

    def options(self, operand: Any, at: str, names: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(operand, dict) or operand.keys() != set(names):
            invalid(at, f"takes an object with {', '.join(names)}")
        return operand

    def several(self, source: Any, here: str) -> int:
        count = as_long(self.constant(source, here))
        if count is None or count < 1:
            invalid(here, "a whole number above zero")
        if count > self.context.bounds.several:
            invalid(here, f"at most {self.context.bounds.several}")
        return count

    # -------------------------------------------------------------------------------------------------- parts

    def part(self, source: Any, here: str) -> Part:
        part = self.context.expression(source, here)
        self.paths |= part.paths
        self.made |= part.made
        return part

    def computed(self, source: Any, here: str) -> Part:
        """A path, or an object with an operator."""
        path = type(source) is str and source.startswith("$")
        operator = isinstance(source, dict) and next(iter(source), "").startswith("$")
        if not path and not operator:
            invalid(here, "takes a path that begins with $, or an object with an operator")
        return self.part(source, here)

    def constant(self, source: Any, here: str) -> Any:
        part = self.part(source, here)
        if not part.constant or part.value is MISSING:
            unsupported("n" if here.endswith(".n") else here.rpartition(".")[2], here, "has to be constant here")
        return part.value

    def boundaries(self, source: Any, here: str) -> list[Any]:
        if not isinstance(source, list) or not 2 <= len(source) <= self.context.bounds.boundaries:
            invalid(here, f"a list of 2 to {self.context.bounds.boundaries} values, ascending and of one type")
        values = [self.constant(one, f"{here}.{index}") for index, one in enumerate(source)]
        places = [compared(value) for value in values]
        for index, (one, other) in enumerate(pairwise(places)):
            if one[0] != other[0] or not one < other:
                invalid(f"{here}.{index + 1}", "boundaries are of one type, each greater than the one before")
        return values

    def evaluated(self, evaluate: Evaluate) -> Callable[[Document], Any]:
        """A function of a document; its error names the document where that still has its own `_id`."""
        context, keeps, bounds = self.context, self.keeps, ExpressionBounds()

        def value(document: Document) -> Any:
            try:
                return evaluate(Scope(document, context.variables, bounds))
            except OutcomeError as outcome:
                told(outcome, document if keeps else {})

        return value


def check_name(name: str, here: str) -> None:
    """The name of a field that is made."""
    if name.startswith("$") or "." in name or "\0" in name:
        invalid(here, "a field that is made has a name without dots, which no $ begins")


def _or_null(evaluate: Evaluate) -> Evaluate:
    def value(scope: Scope) -> Any:
        found = evaluate(scope)
        return None if found is MISSING else found

    return value


def _only_key(name: str, evaluate: Evaluate) -> Evaluate:
    """MongoDB groups by the value itself, so what is missing is null."""
    get = _or_null(evaluate)
    return lambda scope: {name: get(scope)}


def _several_keys(each: tuple[tuple[str, Evaluate], ...]) -> Evaluate:
    def key(scope: Scope) -> Any:
        made = {}
        for name, evaluate in each:
            value = evaluate(scope)
            if type(value) is Undefined:
                unsure(
                    "$group", "is by several values of which one is undefined, which is one row with what is missing"
                )
            if value is not MISSING:
                made[name] = value
        return made

    return key


def _ranged(value: Any, values: list[Any], places: list[Order], default: Any) -> Any:
    place = compared(value)
    if places[0] <= place < places[-1]:
        return values[bisect_right(places, place) - 1]
    if default is MISSING:
        fail("$bucket", "has a value outside of its boundaries, and no default")
    return default


_PARSERS: dict[str, Callable[[_Builder, Any, str], Grouped]] = {
    "$group": _Builder.group,
    "$bucket": _Builder.bucket,
    "$sortByCount": _Builder.sort_by_count,
    "$count": _Builder.count,
}
