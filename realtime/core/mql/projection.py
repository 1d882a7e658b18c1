"""Projections, compiled once: `compile_projection(source).apply(document)`.

Inclusion or exclusion by dotted path, through arrays, and `_id`, with `find`'s meaning: an inclusion keeps the
document's own order, enters every object of an array and drops what is no object; an exclusion keeps it. Beside an
inclusion, or alone, a path may be computed by an expression: it stands behind what is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from bson.decimal128 import Decimal128

from realtime.core.bson.values import MISSING
from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.mql.expressions.evaluation import NO_ZONES, Expression, Named, Zones, compile_expression
from realtime.core.mql.filters import overlaps, stem
from realtime.core.mql.language import REFERENCE
from realtime.core.mql.membership import Found
from realtime.errors import InvalidRequestError, UnsupportedOperatorError

Apply = Callable[[dict[str, Any]], dict[str, Any]]
Tree = dict[str, Any]
"""Field name to True (the whole field), to an expression or to the tree below it."""
FIND_ALONE = {
    "$slice": 'it is `find`\'s own here; put {"$let": {"vars": {}, "in": …}} around the expression',
    "$elemMatch": "it is no expression; $filter is",
    "$meta": "it is about a search or an index",
}
"""Operators of `find`'s projections that are no expressions there, or mean something else."""

MAX_PATHS = 200


@dataclass(frozen=True, slots=True)
class Projection:
    """A compiled projection; `shows(stems)` says whether an update of these paths can be seen through it.

    `apply` raises `ServiceError` where a path of `computed` has no value. `asks`, `zones`: as of a filter.
    """

    source: dict[str, Any]
    apply: Apply
    shows: Callable[[frozenset[str]], bool]
    shows_id: bool = True
    computed: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    """The paths that it leaves out by name, but `_id` as a whole."""
    asks: frozenset[str] = frozenset()
    zones: Named = field(default_factory=dict)
    dialect: Dialect = NEWEST
    tables: Zones = field(default_factory=dict)
    reads: frozenset[str] = frozenset()
    """The paths that its expressions read."""

    @property
    def everything(self) -> bool:
        """Whether a document is shown as it is."""
        return not self.source

    def spoken(self, dialect: Dialect) -> Projection:
        """The same projection as a server of this dialect means it; itself where that is no other meaning."""
        if not self.asks & self.dialect.differs(dialect):
            return self
        return compile_projection(self.source, dialect, self.tables)

    def filled(self, _found: Found) -> Projection:
        """The same projection with these values in place of a rule's sets: it has none."""
        return self

    def told(self, tables: Zones) -> Projection:
        """The same projection with these zones' offsets known."""
        return compile_projection(self.source, self.dialect, tables) if self.zones else self


EVERYTHING = Projection({}, lambda document: document, lambda _: True)
"""What nearly every query asks for; one for all of them."""


@dataclass(slots=True)
class _Paths:
    """What a projection says of paths: shown or hidden, and computed."""

    shown: dict[str, bool]
    computed: dict[str, Expression]
    dialect: Dialect
    tables: Zones


def compile_projection(source: Any, dialect: Dialect = NEWEST, tables: Zones = NO_ZONES) -> Projection:
    """Compile a projection document; None and `{}` show everything.

    Raises `InvalidRequestError`, `InvalidFilterError` or `UnsupportedOperatorError`; `details` names the path.
    """
    if source is None or source == {}:
        return EVERYTHING
    if not isinstance(source, dict):
        _invalid("", "a projection is an object of paths with 1, 0 or an expression")
    found = _Paths({}, {}, dialect, tables)
    _flatten(source, "", found)
    paths, computed = found.shown, found.computed
    show_id = paths.pop("_id", None)
    if len({*paths.values(), *([True] if computed else [])}) > 1:
        path = next(name for name, shown in paths.items() if not shown)
        _invalid(path, "inclusion and exclusion cannot be mixed, but for _id; what is computed goes with an inclusion")
    including = bool(computed) or (next(iter(paths.values())) if paths else show_id is True)
    tree = _grow(paths, computed)
    if including == (show_id is not False):
        # An inclusion shows _id unless told not to; an exclusion hides it only when told to.
        tree.setdefault("_id", True)
    read = frozenset().union(*(one.paths for one in computed.values()))
    return Projection(
        source,
        _applying(tree, including=including, computes=bool(computed)),
        _showing(paths, read, including=including),
        shows_id=show_id is not False,
        computed=frozenset(computed),
        hidden=frozenset(path for path, shown in paths.items() if not shown),
        asks=frozenset().union(*(one.asks for one in computed.values())),
        zones={name: path for one in computed.values() for name, path in one.zones.items()},
        dialect=dialect,
        tables=tables,
        reads=read,
    )


def _applying(tree: Tree, *, including: bool, computes: bool) -> Apply:
    if not including:
        return lambda document: _exclude(document, tree)
    if not computes:
        return lambda document: _include(document, tree)
    return lambda document: _compute(document, _include(document, tree), tree)


def _showing(paths: Mapping[str, bool], read: frozenset[str], *, including: bool) -> Callable[[frozenset[str]], bool]:
    stems = frozenset(map(stem, paths)) | read
    if including:
        return lambda touched: any(overlaps(path, stem(other)) for path in stems for other in touched)
    # By the whole path of an update: a number in it may be an element, or a name. One in a projection is a name, and
    # what looks the same may be an element, which is shown: such a path hides nothing for certain.
    hidden = [path for path in paths if stem(path) == path]
    return lambda touched: any(not any(_inside(other, path) for path in hidden) for other in touched)


def _inside(path: str, hidden: str) -> bool:
    return path == hidden or path.startswith(hidden + ".")


def _is_expression(value: dict[str, Any]) -> bool:
    """Whether it is an expression and no tree of paths: those of a reference are names of fields."""
    first = next(iter(value))
    return first.startswith("$") and first not in REFERENCE


def _flatten(source: dict[str, Any], prefix: str, found: _Paths) -> None:
    for name, value in source.items():
        path = prefix + name
        if any(part.startswith("$") and part not in REFERENCE for part in name.split(".")):
            raise UnsupportedOperatorError(
                f"{name} at {path} is not supported: a projection includes, excludes or computes paths",
                details={"operator": name, "path": path},
            )
        if not name or "\0" in name or ".." in f".{name}.":
            _invalid(path, "an empty path component")
        if isinstance(value, dict) and value and not _is_expression(value):
            _flatten(value, path + ".", found)
        elif path in found.shown or path in found.computed:
            _invalid(path, "stands twice")
        elif isinstance(value, bool | int | float | Decimal128):
            found.shown[path] = bool(value.to_decimal() if isinstance(value, Decimal128) else value)
        elif value == {}:
            _invalid(path, "a projection takes 1, 0 or an expression")
        else:
            found.computed[path] = _expression(value, path, found)
        if len(found.shown) + len(found.computed) > MAX_PATHS:
            _invalid(path, f"more than {MAX_PATHS} paths")


def _expression(value: Any, path: str, found: _Paths) -> Expression:
    if path == "_id":
        _invalid(path, "_id is shown as it is, or not at all")
    name = next(iter(value), "") if isinstance(value, dict) else ""
    if name in FIND_ALONE:
        raise UnsupportedOperatorError(
            f"{name} at {path}.{name} is not supported: {FIND_ALONE[name]}",
            details={"operator": name, "path": f"{path}.{name}"},
        )
    return compile_expression(value, path, found.dialect, tables=found.tables)


def _grow(paths: Mapping[str, bool], computed: Mapping[str, Expression]) -> Tree:
    tree: Tree = {}
    for path in (*paths, *computed):
        *parents, last = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                _invalid(path, "lies inside another path of the projection")
        if last in node:
            _invalid(path, "lies around another path of the projection")
        node[last] = computed.get(path, True)
    return tree


def _include(document: dict[str, Any], tree: Tree) -> dict[str, Any]:
    shown = {}
    for name, stored in document.items():
        below = tree.get(name)
        if below is True:
            shown[name] = stored
        elif isinstance(below, dict) and isinstance(stored, dict):
            shown[name] = _include(stored, below)
        elif isinstance(below, dict) and isinstance(stored, list):
            shown[name] = _include_array(stored, below, whole=_computes(below))
        elif isinstance(below, dict) and _computes(below):
            shown[name] = None  # in its place there will be an object with what is computed
    return shown


def _computes(tree: Tree) -> bool:
    return any(isinstance(one, Expression) or (isinstance(one, dict) and _computes(one)) for one in tree.values())


def _compute(root: dict[str, Any], shown: dict[str, Any], tree: Tree) -> dict[str, Any]:
    """What is shown, with what is computed of the whole document: in place of what is there, or behind it."""
    for name, below in tree.items():
        if isinstance(below, Expression):
            value = below.value(root)
            if value is not MISSING:
                shown[name] = value
            else:
                shown.pop(name, None)
        elif isinstance(below, dict) and _computes(below):
            shown[name] = _compute_in(root, shown.get(name), below)
    return shown


def _compute_in(root: dict[str, Any], value: Any, tree: Tree) -> Any:
    if isinstance(value, dict):
        return _compute(root, value, tree)
    if isinstance(value, list):
        return [_compute_in(root, one, tree) for one in value]
    return _compute(root, {}, tree)


def _include_array(array: list[Any], tree: Tree, *, whole: bool) -> list[Any]:
    """`whole`: something is computed in there, which takes the place of what is no object."""
    shown: list[Any] = []
    for value in array:
        if isinstance(value, dict):
            shown.append(_include(value, tree))
        elif isinstance(value, list):
            shown.append(_include_array(value, tree, whole=whole))
        elif whole:
            shown.append(None)
    return shown


def _exclude(document: dict[str, Any], tree: Tree) -> dict[str, Any]:
    return {
        name: _exclude_value(value, tree.get(name)) for name, value in document.items() if tree.get(name) is not True
    }


def _exclude_value(value: Any, tree: Tree | None) -> Any:
    if tree is None:
        return value
    if isinstance(value, dict):
        return _exclude(value, tree)
    if isinstance(value, list):
        return [_exclude_value(inner, tree) for inner in value]
    return value


def _invalid(path: str, reason: str) -> NoReturn:
    raise InvalidRequestError(
        f"projection: {reason} (at {path or 'the top'})", details={"field": "projection", "path": path}
    )
