"""Compiles an expression: a tree of closures over a `Scope`, the paths it reads, and what it asks of the dialect.

What each operator means stands in the files by heading, which put themselves into `OPERATORS` by `function` (arguments
are evaluated before it is called) and `form` (it takes its operand as it is written). A part without paths or
variables is computed once, when it is compiled; where that fails, the expression is refused, as MongoDB refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from bson.dbref import DBRef

from realtime.core.bson.values import MISSING, Order, order
from realtime.core.bson.values import UNDEFINED as UNDEFINED_RANK
from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.mql.expressions.outcomes import ExcessError, FailureError, UnsupportedError
from realtime.core.mql.expressions.scope import Bounds, Evaluate, Scope, reading_document, reading_variable, weight
from realtime.core.mql.expressions.timezones import Zones
from realtime.core.mql.language import invalid, unsupported
from realtime.core.mql.paths import WHOLE, stem


@dataclass(frozen=True, slots=True)
class Node:
    """A compiled part. `constant`: it gives `value` whatever the document is. `nodes`: how many it is made of.

    `flat`: the operands of an associative operator, which one of the same name around it takes in.
    """

    evaluate: Evaluate
    constant: bool = False
    value: Any = None
    nodes: int = 1
    name: str = ""
    flat: tuple[Node, ...] = ()
    path: str | None = None
    """Of a field of the document: where it is."""
    taken: frozenset[str] = frozenset()
    """Fields that may have been taken out of the object that it gives."""


def constant(value: Any, nodes: int = 1) -> Node:
    """A part that is always this value; in a loop it costs by its size, as what is read does."""
    return Node(lambda _: value, True, value, max(nodes, 1 + weight(value, MAX_CONSTANT) // 1024))


MAX_CONSTANT = 1 << 24


Build = Callable[["Compiler", Any, str], Node]
"""From the operand as it is written, and its place."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A row of `OPERATORS`; `heading` is the manual's."""

    name: str
    heading: str
    build: Build


OPERATORS: Final[dict[str, Operator]] = {}


def form(heading: str, *names: str) -> Callable[[Callable[[Compiler, str, Any, str], Node]], Any]:
    """Put in an operator that takes its operand as it is written: (compiler, name, operand, place)."""

    def put(build: Callable[[Compiler, str, Any, str], Node]) -> Any:
        for name in names:
            OPERATORS[name] = Operator(name, heading, partial(_named, build, name))
        return build

    return put


def _named(
    build: Callable[[Compiler, str, Any, str], Node], name: str, compiler: Compiler, operand: Any, here: str
) -> Node:
    return build(compiler, name, operand, here)


@dataclass(frozen=True, slots=True)
class Shape:
    """How many arguments a function takes, and how it may be rearranged.

    `makes`: its value may be larger than its arguments. `folds`: `nothing` to fold, neighbouring constants (`ordered`),
    or all constants, behind the rest (`any order`), as MongoDB's optimizer does; `kept`: of constants it is none to
    that either. `lazy`: it takes an iterator that
    evaluates them, for it may end at the first one, and what is not evaluated does not fail.
    """

    least: int = 1
    most: int | None = 1
    makes: bool = False
    folds: str = "nothing"
    lazy: bool = False


def function(heading: str, name: str, shape: Shape = Shape()) -> Callable[[Callable[..., Any]], Any]:
    """Put in an operator whose arguments are evaluated first; it takes them one by one."""

    def put(call: Callable[..., Any]) -> Any:
        def build(compiler: Compiler, operand: Any, here: str) -> Node:
            return applied(compiler, name, call, compiler.arguments(name, operand, here, shape), here, shape)

        OPERATORS[name] = Operator(name, heading, build)
        return call

    return put


def applied(
    compiler: Compiler, name: str, call: Callable[..., Any], parts: Sequence[Node], here: str, shape: Shape
) -> Node:
    """A call with these arguments; computed at once where all of them are constant."""
    nodes = 1 + sum(part.nodes for part in parts)
    if shape.folds == "kept":
        return compiler.kept(Node(_calling(name, call, parts, shape), nodes=nodes), parts, here)
    if shape.folds == "nothing" or compiler.as_written or all(part.constant for part in parts):
        return compiler.folded(Node(_calling(name, call, parts, shape), nodes=nodes), parts, here)
    gathered: list[Node] = []
    waiting: list[Node] = []

    def settle() -> None:
        if len(waiting) > 1:
            gathered.append(compiler.folded(Node(_calling(name, call, tuple(waiting), shape)), waiting, here))
        else:
            gathered.extend(waiting)
        waiting.clear()

    for part in (inner for one in parts for inner in (one.flat if one.name == name else (one,))):
        if part.constant:
            waiting.append(part)
            continue
        if shape.folds == "ordered":
            settle()
        gathered.append(part)
    settle()
    return Node(_calling(name, call, gathered, shape), nodes=nodes, name=name, flat=tuple(gathered))


def _calling(name: str, call: Callable[..., Any], parts: Sequence[Node], shape: Shape) -> Evaluate:
    evaluates = tuple(part.evaluate for part in parts)
    plain = (_lazily if shape.lazy else _eagerly)(call, evaluates)
    return (lambda scope: scope.made(name, plain(scope))) if shape.makes else plain


def _lazily(call: Callable[..., Any], evaluates: tuple[Evaluate, ...]) -> Evaluate:
    return lambda scope: call(one(scope) for one in evaluates)


def _eagerly(call: Callable[..., Any], evaluates: tuple[Evaluate, ...]) -> Evaluate:
    if len(evaluates) == 1:
        (only,) = evaluates
        return lambda scope: call(only(scope))
    if len(evaluates) == 2:
        first, second = evaluates
        return lambda scope: call(first(scope), second(scope))
    return lambda scope: call(*[one(scope) for one in evaluates])


@dataclass(slots=True)
class Compiler:
    """One expression being compiled; what it needs is noted as it is met."""

    dialect: Dialect = NEWEST
    bounds: Bounds = field(default_factory=Bounds)
    tables: Zones = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    asks: set[str] = field(default_factory=set)
    zones: dict[str, str] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    """Names in objects that are put together, whose values may be missing."""
    nodes: int = 0
    depth: int = 0
    loops: int = 0
    variables: int = 0
    as_written: bool = False
    """Whether MongoDB's optimizer does not look at what is compiled now."""

    # ------------------------------------------------------------------------------------------------------ language

    def compile(self, source: Any, here: str) -> Node:
        """Any expression."""
        self.nodes += 1
        if self.nodes > self.bounds.nodes:
            invalid(here, f"an expression of more than {self.bounds.nodes} parts")
        self.depth += 1
        if self.depth > self.bounds.depth:
            invalid(here, f"an expression nested deeper than {self.bounds.depth}")
        try:
            return self._compile(source, here)
        finally:
            self.depth -= 1

    def _compile(self, source: Any, here: str) -> Node:
        if type(source) is str and source.startswith("$"):
            return self._field(source, here)
        if isinstance(source, DBRef):
            source = source.as_doc()
        if isinstance(source, dict):
            return self._object(source, here)
        if type(source) is list:
            return self.array([self.compile(one, f"{here}.{index}") for index, one in enumerate(source)], here)
        return constant(source)

    def _field(self, source: str, here: str) -> Node:
        if "\0" in source:
            invalid(here, "a path has no NUL character")
        if source.startswith("$$"):
            name, _, path = source[2:].partition(".")
            if not name:
                invalid(here, "$$ stands before the name of a variable")
        else:
            name, path = "CURRENT", source[1:]
            if not path:
                invalid(here, "$ stands before a path")
        parts = path.split(".") if path or "." in source else []
        if any(not part or part.startswith("$") for part in parts):
            invalid(here, f"{source} is no path: an empty component, or one that begins with $")
        return self.variable(name, parts, here)

    def variable(self, name: str, parts: list[str], here: str) -> Node:
        """A variable, or a path into one."""
        if name == "REMOVE":
            return constant(MISSING)
        if name in self.names:
            slot = self.names[name]
            return Node(reading_variable(name, slot, tuple(parts)))
        if name in {"ROOT", "CURRENT"}:
            self.paths.add(stem(".".join(parts)) if parts else WHOLE)
            return Node(reading_document(tuple(parts)), path=".".join(parts) or None)
        if name in SYSTEM:
            unsupported(f"$${name}", here, SYSTEM[name])
        return invalid(here, f"there is no variable $${name}")

    def _object(self, source: dict[str, Any], here: str) -> Node:
        first = next(iter(source), "")
        if first.startswith("$"):
            if len(source) != 1:
                invalid(here, f"{first} stands alone in its object: an object with an operator has one field")
            return self.operator(first, source[first], f"{here}.{first}")
        parts = {}
        for name, inner in source.items():
            if name.startswith("$") or "." in name or "\0" in name:
                invalid(f"{here}.{name}", "a field that is made has a name without dots, which no $ begins")
            parts[name] = self.compile(inner, f"{here}.{name}")
        self.made.update(name for name, part in parts.items() if not part.constant)
        evaluates = tuple((name, part.evaluate) for name, part in parts.items())

        def build(scope: Scope) -> dict[str, Any]:
            made = {}
            for name, evaluate in evaluates:
                value = evaluate(scope)
                if value is not MISSING:
                    made[name] = value
            return made

        nodes = 1 + sum(part.nodes for part in parts.values())
        return self.folded(Node(build, nodes=nodes), list(parts.values()), here)

    def array(self, parts: Sequence[Node], here: str) -> Node:
        """A list of expressions: what is missing is null in there."""
        evaluates = tuple(part.evaluate for part in parts)

        def build(scope: Scope) -> list[Any]:
            values = [one(scope) for one in evaluates]
            return [None if value is MISSING else value for value in values]

        return self.folded(Node(build, nodes=1 + sum(part.nodes for part in parts)), parts, here)

    def operator(self, name: str, operand: Any, here: str) -> Node:
        """One operator with its operand."""
        known = OPERATORS.get(name)
        if known is None:
            unsupported(name, here, REFUSED.get(name, "is no expression that is known here; see docs/expressions.md"))
        return known.build(self, operand, here)

    # ----------------------------------------------------------------------------------------------------- arguments

    def arguments(self, name: str, operand: Any, here: str, shape: Shape) -> list[Node]:
        """The arguments of a function: a list of them, or the only one."""
        given = operand if type(operand) is list else [operand]
        if len(given) < shape.least or (shape.most is not None and len(given) > shape.most):
            most = "" if shape.most is None or shape.most == shape.least else f" to {shape.most}"
            more = " or more" if shape.most is None else ""
            invalid(here, f"{name} takes {shape.least}{most}{more} arguments, not {len(given)}")
        return [self.compile(one, f"{here}.{index}") for index, one in enumerate(given)]

    def fields(
        self, name: str, operand: Any, here: str, *, needs: Sequence[str], takes: Sequence[str]
    ) -> dict[str, Any]:
        """The named operands of an operator, as they are written."""
        if not isinstance(operand, dict):
            invalid(here, f"{name} takes an object with {', '.join(needs)}")
        for one in operand:
            if one not in needs and one not in takes:
                invalid(f"{here}.{one}", f"{name} takes {', '.join([*needs, *takes])}")
        for one in needs:
            if one not in operand:
                invalid(here, f"{name} needs {one}")
        return operand

    def folded(self, node: Node, parts: Sequence[Node], here: str) -> Node:
        """The node, or what it always gives where all its parts are constant."""
        if not all(part.constant for part in parts):
            return node
        try:
            return constant(node.evaluate(Scope({}, 0, self.bounds)), node.nodes)
        except FailureError as failure:
            invalid(here, f"{failure.operator} fails whatever the document is: {failure.reason}")
        except UnsupportedError as outcome:
            unsupported(outcome.operator, here, outcome.reason)
        except ExcessError as outcome:
            invalid(here, f"{outcome.operator} {outcome.reason}")

    def kept(self, node: Node, parts: Sequence[Node], here: str) -> Node:
        """As `folded`, of what MongoDB's optimizer takes for no constant: nothing around it is rearranged by it."""
        found = self.folded(node, parts, here)
        return Node(found.evaluate, nodes=found.nodes, taken=found.taken) if found.constant else found

    @contextmanager
    def unread(self) -> Iterator[None]:
        """What is compiled inside is evaluated as it is written: MongoDB's optimizer does not look into it."""
        outer, self.as_written = self.as_written, True
        try:
            yield
        finally:
            self.as_written = outer

    # ----------------------------------------------------------------------------------------------------- variables

    @contextmanager
    def bound(self, names: Sequence[str]) -> Iterator[list[int]]:
        """Variables for what is compiled inside; gives their numbers."""
        outer = self.names
        slots = list(range(self.variables, self.variables + len(names)))
        self.variables += len(names)
        self.names = {**outer, **dict(zip(names, slots, strict=True))}
        try:
            yield slots
        finally:
            self.names = outer

    @contextmanager
    def loop(self, name: str, here: str) -> Iterator[None]:
        """What is compiled inside is evaluated for each element."""
        self.loops += 1
        if self.loops > self.bounds.loops:
            invalid(here, f"{name}: at most {self.bounds.loops} loops inside of each other")
        try:
            yield
        finally:
            self.loops -= 1

    def says(self, name: str) -> Any:
        """What the dialect says; from then on the expression depends on it."""
        self.asks.add(name)
        return getattr(self.dialect, name)


def compared(value: Any) -> Order:
    """The place of a value in the order of expressions: what is missing is as undefined, below null."""
    return (UNDEFINED_RANK, 0) if value is MISSING else order(value)


SYSTEM: Final = {
    "NOW": 'moves on: a live query\'s filter takes it in a condition of its own, {$expr: {$gte: ["$path", BOUND]}}, '
    "where BOUND is $$NOW less a constant",
    "CLUSTER_TIME": "is of the cluster's clock",
    "JS_SCOPE": "belongs to code inside MongoDB",
    "IS_MR": "belongs to code inside MongoDB",
    "SEARCH_META": "belongs to a search index",
    "USER_ROLES": "is of whoever is connected to MongoDB, which is this service",
    "DESCEND": "belongs to $redact",
    "PRUNE": "belongs to $redact",
    "KEEP": "belongs to $redact",
}
"""Variables that are refused, with the reason."""

REFUSED: Final = {
    "$function": "runs code inside MongoDB",
    "$rand": "is decided by chance, so no view of it could be exact",
    "$meta": "is about a search or an index, not about the document",
    "$toHashedIndexKey": "is a hash of MongoDB's own for sharding",
    "$_internalJsEmit": "is MongoDB's own, for map-reduce",
    "$_internalFindAllValuesAtPath": "is MongoDB's own, for `distinct`",
    "$_internalFleEq": "is MongoDB's own, for encrypted fields",
}
"""Operators that the server counts and that are refused, with the reason."""
