"""Projections, compiled once: `compile_projection(source).apply(document)`.

Inclusion or exclusion by dotted path, through arrays, and `_id`, with `find`'s meaning: an inclusion keeps the
document's own order, enters every object of an array and drops what is no object; an exclusion keeps it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from bson.dbref import DBRef
from bson.decimal128 import Decimal128

from realtime.core.mql.filters import overlaps, stem
from realtime.errors import InvalidRequestError, UnsupportedOperatorError

Apply = Callable[[dict[str, Any]], dict[str, Any]]
Tree = dict[str, Any]
"""Field name to True (the whole field) or to the tree below it."""

MAX_PATHS = 200
REFERENCE = frozenset({"$ref", "$id", "$db"})
"""The fields of a DBRef: names, although they look like operators."""


@dataclass(frozen=True, slots=True)
class Projection:
    """A compiled projection; `shows(stems)` says whether an update of these paths can be seen through it."""

    source: dict[str, Any]
    apply: Apply
    shows: Callable[[frozenset[str]], bool]


EVERYTHING = Projection({}, lambda document: document, lambda _: True)
"""What nearly every query asks for; one for all of them."""


def compile_projection(source: Any) -> Projection:
    """Compile a projection document; None and `{}` show everything.

    Raises `InvalidRequestError` or `UnsupportedOperatorError`; `details` names the path.
    """
    if source is None or source == {}:
        return EVERYTHING
    if not isinstance(source, dict):
        _invalid("", "a projection is an object of paths with 1 or 0")
    paths: dict[str, bool] = {}
    _flatten(source, "", paths)
    show_id = paths.pop("_id", None)
    if len(set(paths.values())) > 1:
        path = next(name for name, shown in paths.items() if not shown)
        _invalid(path, "inclusion and exclusion cannot be mixed, but for _id")
    including = next(iter(paths.values())) if paths else show_id is True
    tree = _grow(paths)
    if including == (show_id is not False):
        # An inclusion shows _id unless told not to; an exclusion hides it only when told to.
        tree.setdefault("_id", True)
    stems = frozenset(map(stem, paths))
    if including:
        return Projection(
            source,
            lambda document: _include(document, tree),
            lambda touched: any(overlaps(path, stem(other)) for path in stems for other in touched),
        )
    return Projection(
        source,
        lambda document: _exclude(document, tree),
        # By the whole path: a number in it may be an element, which is hidden too, or a name, which is not.
        lambda touched: any(not any(_inside(other, path) for path in paths) for other in touched),
    )


def _inside(path: str, hidden: str) -> bool:
    return path == hidden or path.startswith(hidden + ".")


def _flatten(source: dict[str, Any], prefix: str, paths: dict[str, bool]) -> None:
    for name, value in source.items():
        path = prefix + name
        if any(part.startswith("$") and part not in REFERENCE for part in name.split(".")):
            raise UnsupportedOperatorError(
                f"{name} at {path} is not supported: a projection includes or excludes paths",
                details={"operator": name, "path": path},
            )
        if not name or "\0" in name or ".." in f".{name}.":
            _invalid(path, "an empty path component")
        if isinstance(value, dict) and value:
            _flatten(value, path + ".", paths)
        elif path in paths:
            _invalid(path, "stands twice")
        elif isinstance(value, bool | int | float | Decimal128):
            paths[path] = bool(value.to_decimal() if isinstance(value, Decimal128) else value)
        else:
            _invalid(path, "a projection takes 1 or 0")
        if len(paths) > MAX_PATHS:
            _invalid(path, f"more than {MAX_PATHS} paths")


def _grow(paths: dict[str, bool]) -> Tree:
    tree: Tree = {}
    for path in paths:
        *parents, last = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if node is True:
                _invalid(path, "lies inside another path of the projection")
        if last in node:
            _invalid(path, "lies around another path of the projection")
        node[last] = True
    return tree


def _include(document: dict[str, Any], tree: Tree) -> dict[str, Any]:
    shown = {}
    for name, stored in document.items():
        below = tree.get(name)
        value = _opened(stored) if below is not True else stored
        if below is True:
            shown[name] = value
        elif below is not None and isinstance(value, dict):
            shown[name] = _include(value, below)
        elif below is not None and isinstance(value, list):
            shown[name] = _include_array(value, below)
    return shown


def _include_array(array: list[Any], tree: Tree) -> list[Any]:
    shown: list[Any] = []
    for value in map(_opened, array):
        if isinstance(value, dict):
            shown.append(_include(value, tree))
        elif isinstance(value, list):
            shown.append(_include_array(value, tree))
    return shown


def _opened(value: Any) -> Any:
    """The driver's own type for an object that begins with $ref and $id, as that object."""
    return value.as_doc() if isinstance(value, DBRef) else value


def _exclude(document: dict[str, Any], tree: Tree) -> dict[str, Any]:
    return {
        name: _exclude_value(value, tree.get(name)) for name, value in document.items() if tree.get(name) is not True
    }


def _exclude_value(value: Any, tree: Tree | None) -> Any:
    if tree is None:
        return value
    value = _opened(value)
    if isinstance(value, dict):
        return _exclude(value, tree)
    if isinstance(value, list):
        return [_exclude_value(inner, tree) for inner in value]
    return value


def _invalid(path: str, reason: str) -> NoReturn:
    raise InvalidRequestError(
        f"projection: {reason} (at {path or 'the top'})", details={"field": "projection", "path": path}
    )
