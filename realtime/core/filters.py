"""MongoDB's filter language, compiled once: `compile_filter(filter).matches(document)`.

The parser is an allow-list. What it does not know is refused by name and path, before anything reaches MongoDB, so a
live filter never differs from the `find` it stands for. Evaluation follows MongoDB's own path rules: an array in the
middle of a path is entered, element by element and by numeric component; at its end both the elements and the array
itself are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from bson.code import Code
from bson.dbref import DBRef
from bson.regex import Regex

from realtime.core import ejson
from realtime.core.values import MAX_KEY, MIN_KEY, MISSING, NULL, NUMBER, Order, is_nan, order
from realtime.errors import InvalidFilterError, UnsupportedOperatorError

Predicate = Callable[[Any], bool]
Matcher = Callable[[dict[str, Any]], bool]

LOGICAL = frozenset({"$and", "$or", "$nor"})
FIELD_OPERATORS = frozenset({"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$not", "$exists"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a filter may be: nesting of logical operators, conditions plus list elements."""

    depth: int = 16
    nodes: int = 1000


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter. `paths` are the dotted paths it reads, numeric components left out (see `stem`)."""

    source: dict[str, Any]
    matches: Matcher
    paths: frozenset[str]

    def reads(self, touched: frozenset[str]) -> bool:
        """Whether an update of these paths may change what the filter says, by prefix both ways."""
        stems = {stem(path) for path in touched}
        return any(overlaps(path, other) for path in self.paths for other in stems)


def compile_filter(source: Any, bounds: Bounds | None = None) -> Filter:
    """Compile a filter document.

    Raises `UnsupportedOperatorError` or `InvalidFilterError`; `details` names operator and path.
    """
    if source is None:
        source = {}
    compiler = _Compiler(bounds or Bounds())
    matches = compiler.document(source, "", 0)
    return Filter(source, matches, frozenset(compiler.paths))


def stem(path: str) -> str:
    """A dotted path without the numeric components after the first: `items.0.qty` is `items.qty`."""
    first, *rest = path.split(".")
    return ".".join([first, *(part for part in rest if not part.isdigit())])


def overlaps(one: str, other: str) -> bool:
    """Whether one path is the other, or lies inside it."""
    return one == other or one.startswith(other + ".") or other.startswith(one + ".")


class _Compiler:
    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.paths: set[str] = set()
        self.nodes = 0

    def document(self, source: Any, at: str, level: int) -> Matcher:
        """A whole filter document: all of its conditions."""
        if not isinstance(source, dict):
            _invalid(at, f"a filter is an object, not {_kind(source)}")
        if level > self.bounds.depth:
            _invalid(at, f"nested deeper than {self.bounds.depth}")
        return _every([self.condition(name, value, at, level) for name, value in source.items()])

    def condition(self, name: str, value: Any, at: str, level: int) -> Matcher:
        """One entry of a filter document: a logical operator or a path."""
        here = f"{at}.{name}" if at else name
        self.count(here)
        if name in LOGICAL:
            return self.logical(name, value, here, level)
        if name == "$comment":
            return _always
        if name.startswith("$"):
            _unsupported(name, here)
        if "\0" in name:
            _invalid(here, "a path has no NUL character")
        self.paths.add(stem(name))
        predicate = self.predicate(value, here, level)
        return predicate(name)

    def logical(self, name: str, value: Any, here: str, level: int) -> Matcher:
        if not isinstance(value, list) or not value:
            _invalid(here, f"{name} takes a list of at least one filter")
        parts = [self.document(part, f"{here}.{index}", level + 1) for index, part in enumerate(value)]
        if name == "$and":
            return _every(parts)
        anyone = _some(parts)
        return anyone if name == "$or" else _negate(anyone)

    def predicate(self, value: Any, here: str, level: int) -> Callable[[str], Matcher]:
        """What stands at a path: an object of operators, or a value to be equal to."""
        if not _is_operators(value):
            _refuse_regex(value, here)
            return self.field("$eq", value, here, level)
        if level > self.bounds.depth:
            _invalid(here, f"nested deeper than {self.bounds.depth}")
        made = []
        for name, operand in value.items():
            where = f"{here}.{name}"
            self.count(where)
            if not name.startswith("$"):
                _invalid(where, "operators and fields cannot stand side by side")
            if name not in FIELD_OPERATORS:
                _unsupported(name, where)
            made.append(self.field(name, operand, where, level))
        return lambda path: _every([one(path) for one in made])

    def field(self, name: str, operand: Any, here: str, level: int) -> Callable[[str], Matcher]:
        """One operator at a path."""
        _refuse_nul(operand, here)
        if name == "$not":
            if not _is_operators(operand) or not operand:
                _refuse_regex(operand, here)
                _invalid(here, "$not takes an object of operators")
            inner = self.predicate(operand, here, level + 1)
            return lambda path: _negate(inner(path))
        if name == "$exists":
            return _exists if _truthy(operand) else lambda path: _negate(_exists(path))
        if name in {"$in", "$nin"}:
            among = self.among(name, operand, here)
            return (
                (lambda path: _any_leaf(path, among)) if name == "$in" else lambda path: _negate(_any_leaf(path, among))
            )
        if name in {"$ne", "$eq"}:
            _refuse_regex(operand, here)
            equal = _equal(operand)
            return (
                (lambda path: _any_leaf(path, equal)) if name == "$eq" else lambda path: _negate(_any_leaf(path, equal))
            )
        _refuse_regex(operand, here)
        compared = _compare(name, operand)
        return lambda path: _any_leaf(path, compared)

    def among(self, name: str, operand: Any, here: str) -> Predicate:
        if not isinstance(operand, list):
            _invalid(here, f"{name} takes a list, not {_kind(operand)}")
        for index, element in enumerate(operand):
            where = f"{here}.{index}"
            self.count(where)
            _refuse_regex(element, where)
            if _is_operators(element) and element:
                _invalid(where, f"{name} takes values, not operators")
        wanted = {order(element) for element in operand}
        return lambda value: order(value) in wanted

    def count(self, here: str) -> None:
        self.nodes += 1
        if self.nodes > self.bounds.nodes:
            _invalid(here, f"more than {self.bounds.nodes} conditions and list elements")


# ---------------------------------------------------------------------------------------------------- predicates


def _equal(operand: Any) -> Predicate:
    if type(operand) is str:
        return lambda value: type(value) is str and value == operand
    wanted = order(operand)
    if wanted[0] == NULL:
        return lambda value: value is None or value is MISSING
    return lambda value: order(value) == wanted


def _compare(name: str, operand: Any) -> Predicate:
    """`$gt` and its relatives, within the operand's type bracket; MinKey and MaxKey compare with every type."""
    wanted = order(operand)
    including = name in {"$gte", "$lte"}
    below = name in {"$lt", "$lte"}
    if is_nan(operand):
        # NaN is below every number when sorting, but `find` compares it with nothing but itself.
        return (lambda value: order(value) == wanted) if including else _never
    if wanted[0] in _EXTREMES:
        return _compare_extreme(wanted, including=including, below=below)
    if wanted[0] == NULL:
        return (lambda value: value is None or value is MISSING) if including else _never

    def compared(value: Any) -> bool:
        if value is MISSING or is_nan(value):
            return False
        placed = order(value)
        if placed[0] != wanted[0]:
            return False
        if placed == wanted:
            return including
        return bool(placed < wanted) if below else bool(placed > wanted)

    return compared


def _compare_extreme(wanted: Order, *, including: bool, below: bool) -> Predicate:
    def compared(value: Any) -> bool:
        placed = order(value)
        if placed == wanted:
            return including
        return bool(placed < wanted) if below else bool(placed > wanted)

    return compared


_EXTREMES = frozenset({MIN_KEY, MAX_KEY})


def _always(_: Any) -> bool:
    return True


def _never(_: Any) -> bool:
    return False


def _truthy(operand: Any) -> bool:
    """MongoDB's truth: numbers other than zero, and every value that is no number, false, null or undefined."""
    rank, value = order(operand)
    if rank == NUMBER:
        return bool(value != (1, 0))
    return operand is not None and operand is not False


# ------------------------------------------------------------------------------------------------------ matchers


def _every(parts: list[Matcher]) -> Matcher:
    if not parts:
        return _always
    if len(parts) == 1:
        return parts[0]
    return lambda document: all(part(document) for part in parts)


def _some(parts: list[Matcher]) -> Matcher:
    if len(parts) == 1:
        return parts[0]
    return lambda document: any(part(document) for part in parts)


def _negate(part: Matcher) -> Matcher:
    return lambda document: not part(document)


def _any_leaf(path: str, predicate: Predicate) -> Matcher:
    if "." in path:
        parts = tuple(path.split("."))
        return lambda document: any(predicate(value) for value in leaves(document, parts, 0, enter=True))

    def matches(document: dict[str, Any]) -> bool:
        value = document.get(path, MISSING)
        if type(value) is list:
            return any(predicate(inner) for inner in value) or predicate(value)
        return predicate(value)

    return matches


def _exists(path: str) -> Matcher:
    if "." in path:
        parts = tuple(path.split("."))
        return lambda document: any(value is not MISSING for value in leaves(document, parts, 0, enter=False))
    return lambda document: path in document


def leaves(node: Any, parts: tuple[str, ...], start: int, *, enter: bool) -> Iterator[Any]:
    """The values that MongoDB looks at for a path, `MISSING` among them; `enter`: also the elements of a last array.

    Follows MongoDB's BSONElementIterator: objects are walked until an array turns up. In an array in the middle of
    the path every object is searched for the rest of it, and a numeric component also picks the element it counts.
    """
    for index in range(start, len(parts)):
        if type(node) is list:
            if parts[index:] == ("",):
                break  # at an array MongoDB takes a final dot for the end of the path
            yield from _array_leaves(node, parts, index, enter=enter)
            return
        if isinstance(node, DBRef):
            node = node.as_doc()  # the driver's own type for an object that begins with $ref and $id
        if not isinstance(node, dict) or parts[index] not in node:
            yield MISSING
            return
        node = node[parts[index]]
    if enter and type(node) is list:
        yield from node
    yield node


def _array_leaves(array: list[Any], parts: tuple[str, ...], index: int, *, enter: bool) -> Iterator[Any]:
    name = parts[index]
    picked = int(name) if name.isdecimal() and (name == "0" or name[0] != "0") else -1
    for place, element in enumerate(array):
        if isinstance(element, dict | DBRef):
            yield from leaves(element, parts, index, enter=enter)
        if place == picked:
            if index + 1 == len(parts):
                yield element  # a last array picked by its number is not entered
            elif isinstance(element, dict | list | DBRef):
                yield from leaves(element, parts, index + 1, enter=enter)


# ------------------------------------------------------------------------------------------------------- refusals


def _is_operators(value: Any) -> bool:
    """An object whose first field is an operator; `{}` is a value."""
    return isinstance(value, dict) and bool(value) and next(iter(value)).startswith("$")


def _refuse_regex(value: Any, here: str) -> None:
    if isinstance(value, Regex):
        _unsupported("$regularExpression", here)


def _refuse_nul(value: Any, here: str) -> None:
    """Field names inside a value; BSON ends a name at its first NUL."""
    if isinstance(value, Code):
        value = value.scope
    if isinstance(value, dict):
        for name, inner in value.items():
            if "\0" in name:
                _invalid(here, "a field name has no NUL character")
            _refuse_nul(inner, here)
    elif isinstance(value, list):
        for inner in value:
            _refuse_nul(inner, here)


def _unsupported(name: str, here: str) -> NoReturn:
    known = ", ".join(sorted(LOGICAL | FIELD_OPERATORS))
    raise UnsupportedOperatorError(
        f"{name}{'' if here == name else f' at {here}'} is not supported; what is: {known}",
        details={"operator": name, "path": here},
    )


def _invalid(here: str, reason: str) -> NoReturn:
    raise InvalidFilterError(f"{reason} (at {here or 'the top'})", details={"path": here})


def _kind(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {ejson.encode(value).decode()[:40]}"
