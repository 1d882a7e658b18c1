"""What is known while a pipeline is compiled: the dialect, the zones, and how much there is of it so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from realtime.core.bson.stored import Repeated
from realtime.core.bson.values import MISSING
from realtime.core.mql import filters
from realtime.core.mql.dialect import Dialect
from realtime.core.mql.expressions import evaluation
from realtime.core.mql.expressions.compiling import Compiler
from realtime.core.mql.expressions.outcomes import ExcessError, unsure
from realtime.core.mql.expressions.scope import Bounds as ExpressionBounds
from realtime.core.mql.expressions.scope import Evaluate
from realtime.core.mql.expressions.timezones import Zones
from realtime.core.mql.filters import Filter, compile_filter
from realtime.core.mql.language import invalid
from realtime.core.mql.ordering import Sort, parse_sort
from realtime.core.mql.pipelines.bounds import Bounds
from realtime.errors import InvalidRequestError

_HEADINGS = evaluation.HEADINGS
"""Every operator is in the registry once this is imported."""
MAY_MISS = frozenset(
    {
        *("$arrayElemAt", "$cond", "$convert", "$dateFromString", "$first", "$getField", "$ifNull", "$last", "$let"),
        *("$reduce", "$switch"),
    }
)
"""Operators whose value may be missing, by their arguments; the others give null at least."""
MAX_COMPONENTS = 100
MAX_DEPTH = 180
"""How deep values may lie inside each other; a document of MongoDB's has at most so many levels."""


@dataclass(frozen=True, slots=True)
class Part:
    """A compiled expression: its value in a scope, `MISSING` where there is none.

    `made`: names in objects that it puts together whose values may be missing. `misses`: whether it may itself.
    `field`: it is a field of the document as it is, at its top.
    """

    evaluate: Evaluate
    paths: frozenset[str]
    made: frozenset[str]
    constant: bool
    value: Any
    misses: bool
    field: bool = False


@dataclass(slots=True)
class Context:
    """A pipeline being compiled; what it needs is noted as it is met."""

    bounds: Bounds
    dialect: Dialect
    tables: Zones
    asks: set[str] = field(default_factory=set)
    zones: dict[str, str] = field(default_factory=dict)
    nodes: int = 0
    variables: int = 0
    computes: bool = False

    def expression(self, source: Any, here: str) -> Part:
        """Any expression, as it stands at this place."""
        compiler = Compiler(self.dialect, ExpressionBounds(), self.tables)
        node = compiler.compile(source, here)
        self.count(here, compiler.nodes)
        self.asks |= compiler.asks
        self.zones = {**compiler.zones, **self.zones}
        self.variables = max(self.variables, compiler.variables)
        self.computes = self.computes or not node.constant
        misses = node.value is MISSING if node.constant else _misses(source)
        return Part(
            node.evaluate,
            frozenset(compiler.paths),
            frozenset(compiler.made),
            node.constant,
            node.value,
            misses,
            field=type(source) is str and node.path is not None and "." not in node.path,
        )

    def filter(self, source: Any, here: str, *, moving: bool = False) -> Filter:
        """A filter, as it stands at this place; `moving`: time may move conditions of it."""
        bounds = self._filter_bounds()
        compiled = compile_filter(source, bounds, self.dialect, self.tables, moving=moving, at=here)
        self.count(here, size_of(source))
        self.asks |= compiled.asks
        self.zones = {**compiled.zones, **self.zones}
        self.computes = self.computes or compiled.computes
        return compiled

    def _filter_bounds(self) -> filters.Bounds:
        return filters.UNBOUNDED if self.bounds.taken else filters.Bounds()

    def sort(self, source: Any, here: str) -> Sort:
        """The pattern of a `$sort` or a `sortBy`, completed by `_id`."""
        if not isinstance(source, dict):
            invalid(here, "a sort is an object of paths with 1 or -1")
        for path, direction in source.items():
            if isinstance(direction, dict):
                invalid(f"{here}.{path}", "the direction is 1 or -1; $meta is about a search")
            check_path(path, f"{here}.{path}")
        self.count(here, len(source))
        try:
            return parse_sort(source)
        except InvalidRequestError as error:
            invalid(here, error.message)

    def count(self, here: str, nodes: int) -> None:
        """Count parts; over the bound it is refused."""
        self.nodes += nodes
        if self.nodes > self.bounds.nodes and not self.bounds.taken:
            invalid(here, f"a pipeline of more than {self.bounds.nodes} parts of expressions, conditions and paths")

    def says(self, name: str) -> Any:
        """What the dialect says; from then on the pipeline depends on it."""
        self.asks.add(name)
        return getattr(self.dialect, name)


def size_of(source: Any) -> int:
    """About how many parts a filter has."""
    if isinstance(source, dict):
        return sum(1 + size_of(inner) for inner in source.values())
    return sum(map(size_of, source)) + len(source) if isinstance(source, list) else 0


def _misses(source: Any) -> bool:
    """Whether the value of what is no constant may be missing."""
    if isinstance(source, dict):
        return next(iter(source), "") in MAY_MISS
    return isinstance(source, str)


def check_path(path: Any, here: str) -> list[str]:
    """The components of a path that is set, shown or sorted by."""
    if type(path) is not str or not path or "\0" in path or ".." in f".{path}.":
        invalid(here, "no path: an empty component, or a NUL character")
    parts = path.split(".")
    if any(part.startswith("$") for part in parts):
        invalid(here, f"{path} is no path: a component begins with $; an expression stands behind the name of a field")
    if len(parts) > MAX_COMPONENTS:
        invalid(here, f"a path of more than {MAX_COMPONENTS} components")
    return parts


# ------------------------------------------------------------------------------------------------------- documents


def plain(operator: str, document: dict[str, Any]) -> dict[str, Any]:
    """An object that is copied field by field; not certain where a name stands twice."""
    if type(document) is Repeated:
        unsure(operator, "changes an object in which a name stands twice")
    return document


def solid(value: Any) -> Any:
    """A value without the places of what was taken out (see `Step.takes`)."""
    if type(value) is dict:
        return {name: solid(inner) for name, inner in value.items() if inner is not MISSING}
    return [solid(inner) for inner in value if inner is not MISSING] if type(value) is list else value


def check_size(operator: str, document: dict[str, Any], most: int) -> None:
    """`ExcessError` for what is larger or deeper than a document may be between two stages."""
    if _measured(operator, document, most, 0) > most:
        raise ExcessError(operator, f"makes a document of more than {most} bytes")


def _measured(operator: str, value: Any, most: int, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise ExcessError(operator, f"makes a document of more than {MAX_DEPTH} levels")
    if isinstance(value, dict | list):
        size = 8
        for inner in value.values() if isinstance(value, dict) else value:
            size += 16 + (_measured(operator, inner, most, depth + 1) if isinstance(inner, _SIZED) else 0)
            if size > most:
                break
        return size
    return len(value)


_SIZED = (dict, list, str, bytes)
