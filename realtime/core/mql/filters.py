"""MongoDB's filter language, compiled once: `compile_filter(filter).matches(document)`.

The compiler is an allow-list. What it does not know is refused by name and path, before anything reaches MongoDB, so
a live filter never differs from the `find` it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from bson.code import Code
from bson.dbref import DBRef
from bson.regex import Regex

from realtime.core.bson.values import Order
from realtime.core.mql import operators
from realtime.core.mql.demands import Range, canonical, equalities, ranges
from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.mql.expressions.evaluation import NO_NAMES, NO_ZONES, Expression, Named, Zones, compile_expression
from realtime.core.mql.expressions.numbers import truthy
from realtime.core.mql.language import (
    BITS,
    COMMENT,
    COMPARISONS,
    EXPRESSION,
    FIELD_OPERATORS,
    LOGICAL,
    SCHEMA,
    invalid,
    is_operators,
    kind,
    unsupported,
)
from realtime.core.mql.membership import Found, Members
from realtime.core.mql.moving import Compiled, Moving, compile_moving, pinned, shape_of
from realtime.core.mql.operators import Condition, Every, Leaf, Negated
from realtime.core.mql.paths import Matcher, Predicate, as_document, every, negate, overlaps, some, stem
from realtime.core.mql.schemas.schema import compile_schema
from realtime.core.mql.undecided import unless_decided

__all__ = ["UNBOUNDED", "Bounds", "Filter", "compile_filter", "may_fail", "overlaps", "stem"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a filter may be: nesting of logical operators, conditions plus list elements."""

    depth: int = 16
    nodes: int = 1000


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter. `paths` are the dotted paths it reads, numeric components left out (see `stem`); `named` are
    the same with them, as far as they are told.

    `asks`: the fields of the dialect that decide what it means; another dialect in other fields changes nothing.
    `zones`: time zones whose offsets it needs to know, and the path at which each is named; until it is `told`, what
    needs them is not decided. `computes`: it holds an expression or a schema, whose cost goes with the document.
    `matches` raises `ServiceError` where an expression has no value of a document. `moving`: conditions that time
    moves, of which `matches` says nothing.
    """

    source: dict[str, Any]
    matches: Matcher
    paths: frozenset[str]
    asks: frozenset[str] = frozenset()
    dialect: Dialect = NEWEST
    zones: Named = field(default_factory=dict)
    tables: Zones = field(default_factory=dict)
    named: frozenset[str] = frozenset()
    computes: bool = False
    moving: Moving | None = None

    @property
    def rule(self) -> dict[str, Any]:
        """What is asked of a document before anything else, for MongoDB: nothing. See `realtime.core.mql.vision`."""
        return {}

    @property
    def asked(self) -> dict[str, Any]:
        """What is asked beside the rule, for MongoDB."""
        return self.source

    def asked_at(self, second: int) -> dict[str, Any]:
        """The same with `$$NOW` as the literal of a second: what matches then, and of what matches later all of it."""
        return self.asked if self.moving is None else pinned(self.asked, second)

    def reads(self, touched: frozenset[str]) -> bool:
        """Whether an update of these paths may change what the filter says, by prefix both ways."""
        stems = {stem(path) for path in touched}
        return any(overlaps(path, other) for path in self.paths for other in stems)

    def spoken(self, dialect: Dialect) -> Filter:
        """The same filter as a server of this dialect means it; itself where that is no other meaning."""
        if not self.asks & self.dialect.differs(dialect):
            return self
        return self._again(dialect, self.tables)

    def told(self, tables: Zones) -> Filter:
        """The same filter with these zones' offsets known."""
        return self._again(self.dialect, tables) if self.zones else self

    def _again(self, dialect: Dialect, tables: Zones) -> Filter:
        # Its bounds were looked at when it was taken.
        return compile_filter(self.source, UNBOUNDED, dialect, tables, moving=self.moving is not None)

    def filled(self, _found: Found) -> Filter:
        """The same filter with these values in place of a rule's sets: it has none. See `realtime.core.mql.vision`."""
        return self

    @property
    def sets(self) -> tuple[Members, ...]:
        """What a rule in it asks of other collections: nothing."""
        return ()

    @property
    def canonical(self) -> bytes:
        """Equal for filters that ask the same, however their conditions are ordered or put into `$and`."""
        return canonical(self.source)

    @property
    def equalities(self) -> Mapping[str, frozenset[Order]]:
        """By path, values of which every matching document has one there (`demands.probe` gives what it has)."""
        return equalities(self.source)

    @property
    def ranges(self) -> Mapping[str, tuple[Range, ...]]:
        """By path, ranges in each of which every matching document has a value there."""
        return ranges(self.source)


UNBOUNDED = Bounds(depth=1 << 30, nodes=1 << 30)
"""Of what was looked at before, or is the operator's own."""


def compile_filter(
    source: Any,
    bounds: Bounds | None = None,
    dialect: Dialect = NEWEST,
    tables: Zones = NO_ZONES,
    *,
    moving: bool = False,
    at: str = "",
) -> Filter:
    """Compile a filter document, to mean what a server of this dialect means by it. `at`: where it stands itself.

    `moving`: time may move some of its conditions, which are then in `Filter.moving`; else `$$NOW` is refused.

    Raises `UnsupportedOperatorError` or `InvalidFilterError`; `details` names operator and path.
    """
    if source is None:
        source = {}
    compiler = _Compiler(bounds or Bounds(), dialect, tables)
    compiler.moves = moving
    matches = compiler.document(source, at, 0)
    paths, asks, named = (_shared(frozenset(found)) for found in (compiler.paths, compiler.asks, compiler.named))
    found = compiler.moved
    moved = Moving([one.condition for one in found], frozenset(one.path for one in found)) if found else None
    return Filter(source, matches, paths, asks, dialect, compiler.zones, tables, named, compiler.computes, moved)


@lru_cache(maxsize=1024)
def _shared(names: frozenset[str]) -> frozenset[str]:
    """One set for all filters that read the same paths: a hundred thousand of them do."""
    return names


class _Compiler:
    def __init__(self, bounds: Bounds, dialect: Dialect, tables: Zones) -> None:
        self.bounds = bounds
        self.dialect = dialect
        self.tables = tables
        self.zones: Named = NO_NAMES
        self.asks: set[str] = set()
        self.paths: set[str] = set()
        self.named: set[str] = set()
        self.nodes = 0
        self.nameless = False
        self.computes = False
        self.moves = False
        self.moved: list[Compiled] = []

    # ----------------------------------------------------------------------------------------------- documents

    def document(self, source: Any, at: str, level: int, *, inside: bool = False) -> Matcher:
        """A whole filter document: all of its conditions. `inside` an `$elemMatch`, whose own path covers its paths."""
        if not isinstance(source, dict):
            invalid(at, f"a filter is an object, not {kind(source)}")
        self.check_level(at, level)
        # An expression may fail, which counts only where everything else matches: it is asked last, as `find` does.
        plain = {name: value for name, value in source.items() if not holds_expression(name, value)}
        parts = list(self.conditions(plain, at, level, inside=inside))
        rest = {name: value for name, value in source.items() if name not in plain}
        return every([*parts, *unless_decided(list(self.conditions(rest, at, level, inside=inside)), by=False)])

    def conditions(self, source: dict[str, Any], at: str, level: int, *, inside: bool) -> Iterator[Matcher]:
        for name, value in source.items():
            here = f"{at}.{name}" if at else name
            self.count(here)
            if name in LOGICAL:
                yield self.logical(name, value, here, level, inside=inside)
            elif name == EXPRESSION:
                if not self.moving(value, here, inside=inside):
                    yield self.expression(value, here, inside=inside)
            elif name == SCHEMA:
                yield self.schema(value, here, inside=inside)
            elif name == COMMENT:
                _refuse_nul(value, here)
            elif name.startswith("$"):
                unsupported(name, here)
            else:
                if "\0" in name:
                    invalid(here, "a path has no NUL character")
                if not inside:
                    self.paths.add(stem(name))
                    self.named.add(name)
                outer, self.nameless = self.nameless, name == ""
                yield self.condition(value, here, level).at(name)
                self.nameless = outer

    def logical(self, name: str, value: Any, here: str, level: int, *, inside: bool) -> Matcher:
        if not isinstance(value, list) or not value:
            invalid(here, f"{name} takes a list of at least one filter")
        parts: list[Matcher] = []
        rest: list[Matcher] = []
        outer, self.moves = self.moves, self.moves and name == "$and"
        for index, one in enumerate(value):
            asked_last = rest if holds_expression(name, [one]) else parts
            asked_last.append(self.document(one, f"{here}.{index}", level + 1, inside=inside))
        self.moves = outer
        parts += unless_decided(rest, by=name != "$and")
        if name == "$and":
            return every(parts)
        anyone = some(parts)
        return anyone if name == "$or" else negate(anyone)

    def expression(self, value: Any, here: str, *, inside: bool) -> Matcher:
        if inside:
            unsupported(
                EXPRESSION, here, "is of a whole document: it stands at the top, or in $and, $or and $nor there"
            )
        _refuse_nul(value, here)
        self.computes = True
        compiled = compile_expression(value, here, self.dialect, tables=self.tables)
        self.note(compiled)
        evaluate = compiled.value
        return lambda document: truthy(evaluate(document))

    def moving(self, value: Any, here: str, *, inside: bool) -> bool:
        """Whether it is a condition that time moves, which is noted."""
        shape = shape_of(value) if self.moves and not inside else None
        if shape is None:
            return False
        compiled = compile_moving(shape, here, self.dialect, self.tables)
        self.moved.append(compiled)
        self.note(compiled)
        return True

    def note(self, compiled: Compiled | Expression) -> None:
        """What an expression reads and asks, the filter does."""
        self.paths |= compiled.paths
        self.named |= compiled.paths
        self.asks |= compiled.asks
        self.zones = {**compiled.zones, **self.zones}

    def schema(self, value: Any, here: str, *, inside: bool) -> Matcher:
        _refuse_nul(value, here)
        self.computes = True
        matches, paths = compile_schema(value, here, self)
        self.paths |= frozenset() if inside else paths
        self.named |= frozenset() if inside else paths
        return matches

    # -------------------------------------------------------------------------------------------------- fields

    def condition(self, value: Any, here: str, level: int) -> Condition:
        """What stands at a path: an object of operators, a regular expression, or a value to be equal to."""
        if is_operators(value):
            return self.operators(value, here, level)
        if isinstance(value, Regex):
            return Leaf(operators.of_regex(value, here))
        return Leaf(self.equal(value, here))

    def operators(self, value: dict[str, Any], here: str, level: int) -> Condition:
        self.check_level(here, level)
        parts: list[Condition] = []
        for name, operand in value.items():
            where = f"{here}.{name}"
            self.count(where)
            if not name.startswith("$"):
                invalid(where, "operators and fields cannot stand side by side")
            if name not in FIELD_OPERATORS:
                unsupported(name, where)
            if name == "$regex":
                if not isinstance(value.get("$options", ""), str):
                    invalid(where, f"$options takes a string, not {kind(value['$options'])}")
                # Empty options that stand first are none to MongoDB, which looks at what it has read so far.
                none = value.get("$options") == "" and next(one for one in value if one in PAIR) == "$options"
                parts.append(Leaf(self.regex(operand, None if none else value.get("$options"), where)))
            elif name == "$options":
                if "$regex" not in value:
                    invalid(where, "$options stands beside $regex")
            else:
                parts.append(self.operator(name, operand, where, level))
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def operator(self, name: str, operand: Any, here: str, level: int) -> Condition:
        """One operator; those that hold conditions take the level."""
        if name in {"$not", "$all", "$elemMatch"}:
            nested = {"$not": self.negation, "$all": self.all_of, "$elemMatch": self.elem_match}
            return nested[name](operand, here, level)
        if name in {"$in", "$nin"}:
            found = self.among(name, operand, here)
            return found if name == "$in" else Negated(found)
        if name == "$eq":
            return Leaf(self.equal(operand, here))
        if name == "$ne":
            _refuse_regex(name, operand, here)
            return Negated(Leaf(self.equal(operand, here)))
        if name in COMPARISONS:
            _refuse_regex(name, operand, here)
            _refuse_nul(operand, here)
            return Leaf(operators.compare(name, operand))
        if name in BITS:
            self.count(here, len(operand) if isinstance(operand, list) else 0)
            return operators.bits(name, operand, here, any_decimal=self.says("any_decimal_has_bits"))
        if name == "$exists":
            _refuse_nul(operand, here)
            return operators.exists(operand)
        simple = {"$size": operators.size, "$mod": operators.mod, "$type": operators.of_type}
        return simple[name](operand, here)

    def equal(self, operand: Any, here: str) -> Predicate:
        _refuse_nul(operand, here)
        return operators.equal(operand)

    def negation(self, operand: Any, here: str, level: int) -> Condition:
        if isinstance(operand, Regex):
            return Negated(Leaf(operators.of_regex(operand, here)))
        if not isinstance(operand, dict) or not operand:
            invalid(here, "$not takes an object of operators or a regular expression")
        return Negated(self.operators(operand, here, level + 1))

    def regex(self, operand: Any, options: str | None, here: str) -> Predicate:
        if isinstance(operand, Regex):
            if operand.flags and options is not None:
                invalid(here, "options stand in the regular expression or in $options, not in both")
            if options is None:
                return operators.of_regex(operand, here)
            return operators.regular_expression(operand.pattern, options, here)
        if type(operand) is not str:
            invalid(here, f"$regex takes a string or a regular expression, not {kind(operand)}")
        return operators.regular_expression(operand, options or "", here)

    # --------------------------------------------------------------------------------------------------- lists

    def elements(self, name: str, operand: Any, here: str) -> Iterator[tuple[str, Any]]:
        """The elements of a list operand, counted, with their paths."""
        if not isinstance(operand, list):
            invalid(here, f"{name} takes a list, not {kind(operand)}")
        for index, element in enumerate(operand):
            self.count(f"{here}.{index}")
            yield f"{here}.{index}", element

    def among(self, name: str, operand: Any, here: str) -> Condition:
        values, expressions = [], []
        for where, element in self.elements(name, operand, here):
            if isinstance(element, Regex):
                expressions.append(operators.of_regex(element, where))
                continue
            if is_operators(element):
                invalid(where, f"{name} takes values, not operators")
            _refuse_nul(element, where)
            values.append(element)
        equal = operators.among(values)
        return Leaf(some([equal, *expressions]) if expressions else equal)

    def all_of(self, operand: Any, here: str, level: int) -> Condition:
        elements = list(self.elements("$all", operand, here))
        if not elements:
            return operators.NOTHING
        if _is_elem_match(elements[0][1]):
            for where, element in elements:
                if not _is_elem_match(element):
                    invalid(where, "in $all either all elements are $elemMatch or none is")
                if len(element) > 1:
                    # MongoDB takes it and forgets what stands there.
                    unsupported("$all", where, "would forget what stands beside $elemMatch")
            return Every(
                tuple(self.elem_match(one["$elemMatch"], f"{where}.$elemMatch", level + 1) for where, one in elements)
            )
        for where, element in elements:
            if is_operators(element):
                if next(iter(element)) in FIELD_OPERATORS:
                    invalid(where, "$all takes values, not operators")
                unsupported("$all", where, "takes no value that looks like an operator")
        return Every(tuple(self.condition(element, where, level) for where, element in elements))

    def elem_match(self, operand: Any, here: str, level: int) -> Condition:
        if not isinstance(operand, dict):
            invalid(here, f"$elemMatch takes an object, not {kind(operand)}")
        if self.nameless:
            # Versions of mongod do not agree on it there, and not each of them can decide it.
            unsupported("$elemMatch", here, "is not taken at a field whose name is empty")
        if is_operators(operand) and next(iter(operand)) in FIELD_OPERATORS:
            single = self.operators(operand, here, level + 1).single
            return Leaf(lambda value: type(value) is list and any(map(single, value)), enter=False)
        matches = self.document(operand, here, level + 1, inside=True)
        return Leaf(partial(_has_object, matches), enter=False)

    # ------------------------------------------------------------------------------------------------- dialect

    def says(self, field: str) -> Any:
        """What the dialect says; from then on the filter depends on it."""
        self.asks.add(field)
        return getattr(self.dialect, field)

    # -------------------------------------------------------------------------------------------------- bounds

    def check_level(self, here: str, level: int) -> None:
        if level > self.bounds.depth:
            invalid(here, f"nested deeper than {self.bounds.depth}")

    def count(self, here: str, several: int = 1) -> None:
        self.nodes += several
        if self.nodes > self.bounds.nodes:
            invalid(here, f"more than {self.bounds.nodes} conditions and list elements")


PAIR = frozenset({"$regex", "$options"})


def holds_expression(name: str, value: Any) -> bool:
    """Whether a condition is an expression, or a list of filters with one in it."""
    if name == EXPRESSION:
        return True
    if name not in LOGICAL or not isinstance(value, list):
        return False
    return any(holds_expression(*one) for part in value if isinstance(part, dict) for one in part.items())


def may_fail(source: Mapping[str, Any]) -> bool:
    """Whether a condition of a filter is an expression, which may have no value of a document."""
    return any(holds_expression(*one) for one in source.items())


def _has_object(matches: Matcher, value: Any) -> bool:
    if type(value) is not list:
        return False
    for element in value:
        document = as_document(element)
        if document is not None and matches(document):
            return True
    return False


def _is_elem_match(element: Any) -> bool:
    return isinstance(element, dict) and next(iter(element), "") == "$elemMatch"


def _refuse_regex(name: str, operand: Any, here: str) -> None:
    if isinstance(operand, Regex):
        invalid(here, f"{name} takes no regular expression")


def _refuse_nul(value: Any, here: str) -> None:
    """Field names inside a value; BSON ends a name at its first NUL."""
    if isinstance(value, Code):
        value = value.scope
    elif isinstance(value, DBRef):
        value = value.as_doc()
    if isinstance(value, dict):
        for name, inner in value.items():
            if "\0" in name:
                invalid(here, "a field name has no NUL character")
            _refuse_nul(inner, here)
    elif isinstance(value, list):
        for inner in value:
            _refuse_nul(inner, here)
