"""Paths that a stage sets, shows or hides, as trees: how they are written, and what they make of a document.

Unlike in `find`, `$set` goes into every element of an array and makes an object of what is none. MongoDB keeps the
place of a field that is taken out: where it may come back, `MISSING` stands there meanwhile (`holes`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from bson.decimal128 import Decimal128

from realtime.core.bson.values import MISSING
from realtime.core.mql.expressions.outcomes import unsure
from realtime.core.mql.expressions.scope import Evaluate, Scope
from realtime.core.mql.language import invalid
from realtime.core.mql.pipelines.context import MAX_COMPONENTS, Context, Part, check_path, plain

Holes = Collection[str]
"""Paths of which the places are kept while nothing is there; filled when all stages are known."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A path that is computed."""

    path: str
    evaluate: Evaluate


@dataclass(slots=True)
class Branch:
    """Names, each with True (the whole field), what is computed, or the branch below. `computes`: somewhere in it."""

    path: str = ""
    below: dict[str, bool | Leaf | Branch] = field(default_factory=dict)
    computes: bool = False


@dataclass(slots=True)
class Paths:
    """What a stage says of paths, in the order in which they are written."""

    flags: dict[str, bool] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    @property
    def sets(self) -> tuple[str, ...]:
        """Those that are computed."""
        return tuple(self.parts)

    @property
    def may_miss(self) -> frozenset[str]:
        """Those that are computed and may be missing."""
        return frozenset(path for path, part in self.parts.items() if part.misses)

    @property
    def copies(self) -> frozenset[str]:
        """Those with dots that are another field as it is: MongoDB may ask that one in their place."""
        return frozenset(path for path, part in self.parts.items() if "." in path and part.field)

    @property
    def around(self) -> frozenset[str]:
        """Those that others lie in."""
        parts = [path.split(".") for path in self.order]
        return frozenset(".".join(names[:length]) for names in parts for length in range(1, len(names)))

    def add(self, path: str, said: bool | Part, here: str) -> None:
        """One more; twice is refused."""
        if path in self.flags or path in self.parts:
            invalid(here, f"{path} stands twice")
        self.order.append(path)
        if isinstance(said, bool):
            self.flags[path] = said
        else:
            self.parts[path] = said

    def tree(self, paths: Collection[str], here: str) -> Branch:
        """These of them as a tree; a path inside of another one is refused."""
        root = Branch()
        for path in paths:
            self._grow(root, path, here)
        return root

    def _grow(self, root: Branch, path: str, here: str) -> None:
        *parents, last = path.split(".")
        node, part = root, self.parts.get(path)
        node.computes = node.computes or part is not None
        for index, name in enumerate(parents):
            inner = node.below.setdefault(name, Branch(".".join(parents[: index + 1])))
            if not isinstance(inner, Branch):
                invalid(f"{here}.{path}", f"lies inside of {'.'.join(parents[: index + 1])}, which stands there too")
            node = inner
            node.computes = node.computes or part is not None
        if last in node.below:
            invalid(f"{here}.{path}", "lies around another path of the stage")
        node.below[last] = True if part is None else Leaf(path, part.evaluate)


# --------------------------------------------------------------------------------------------------------- written


def set_paths(source: Any, here: str, context: Context) -> Paths:
    """What `$set` says: an object of paths with expressions; an object in it is paths further down."""
    if not isinstance(source, dict):
        invalid(here, "takes an object of paths with expressions")
    found = Paths()
    for name, value in source.items():
        check_path(name, f"{here}.{name}")
        _set_below(name, value, f"{here}.{name}", context, found)
    return found


def _set_below(path: str, value: Any, here: str, context: Context, found: Paths) -> None:
    context.count(here, 1)
    if value == {} and isinstance(value, dict):
        invalid(here, 'an empty object sets nothing: {"$literal": {}} makes one')
    if not _is_tree(value):
        found.add(path, context.expression(value, here), here)
        return
    for name, inner in value.items():
        if "." in name:
            invalid(f"{here}.{name}", "a path with dots stands at the top, not in an object")
        _check_deeper(f"{path}.{name}", name, f"{here}.{name}")
        _set_below(f"{path}.{name}", inner, f"{here}.{name}", context, found)


def project_paths(source: Any, here: str, context: Context) -> Paths:
    """What `$project` says: paths with 1, 0 or an expression."""
    if not isinstance(source, dict) or not source:
        invalid(here, "takes an object of paths with 1, 0 or an expression, at least one")
    found = Paths()
    for name, value in source.items():
        check_path(name, f"{here}.{name}")
        _project_below(name, value, f"{here}.{name}", context, found)
    return found


def _project_below(path: str, value: Any, here: str, context: Context, found: Paths) -> None:
    context.count(here, 1)
    if value == {} and isinstance(value, dict):
        invalid(here, "takes 1, 0 or an expression, not an empty object")
    if isinstance(value, bool | int | float | Decimal128):
        found.add(path, bool(value.to_decimal() if isinstance(value, Decimal128) else value), here)
    elif _is_tree(value):
        for name, inner in value.items():
            _check_deeper(f"{path}.{name}", name, f"{here}.{name}")
            _project_below(f"{path}.{name}", inner, f"{here}.{name}", context, found)
    else:
        found.add(path, context.expression(value, here), here)


def _is_tree(value: Any) -> bool:
    """Whether it is an object of paths, and no expression."""
    return isinstance(value, dict) and not next(iter(value)).startswith("$")


def _check_deeper(path: str, name: str, here: str) -> None:
    check_path(name, here)
    if path.count(".") >= MAX_COMPONENTS:
        invalid(here, f"a path of more than {MAX_COMPONENTS} components")


# ------------------------------------------------------------------------------------------------------------ made

Make = Callable[[dict[str, Any], Scope], dict[str, Any]]
"""From a document and the scope in which expressions are evaluated to what becomes of it."""


def setting(name: str, tree: Branch, holes: Holes) -> Make:
    """What `$set` makes of a document."""

    def put(document: dict[str, Any], branch: Branch, scope: Scope) -> dict[str, Any]:
        shown = dict(plain(name, document))
        _compute(shown, branch, scope, holes, put_in)
        return shown

    def put_in(value: Any, branch: Branch, scope: Scope) -> Any:
        if isinstance(value, dict):
            return put(value, branch, scope)
        if type(value) is list:
            return [put_in(one, branch, scope) for one in value]
        return put({}, branch, scope)

    return lambda document, scope: put(document, tree, scope)


def including(name: str, tree: Branch, holes: Holes, watched: Holes) -> Make:
    """What an inclusion makes of a document, with what is computed behind it. `watched`: paths that are read later."""

    def compute_in(value: Any, branch: Branch, scope: Scope) -> Any:
        if type(value) is list:
            return [compute_in(one, branch, scope) for one in value]
        if not isinstance(value, dict) and not branch.computes:
            return value
        shown = value if isinstance(value, dict) else {}
        _compute(shown, branch, scope, holes, compute_in)
        return shown

    def make(document: dict[str, Any], scope: Scope) -> dict[str, Any]:
        shown = _Inclusion(name, holes if tree.computes else (), watched).object(document, tree)
        _compute(shown, tree, scope, holes, compute_in)
        return shown

    return make


@dataclass(frozen=True, slots=True)
class _Inclusion:
    """What is shown of values, before anything is computed."""

    name: str
    holes: Holes
    watched: Holes

    def object(self, document: dict[str, Any], branch: Branch) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for field_, stored in plain(self.name, document).items():
            below = branch.below.get(field_)
            if stored is MISSING or below is None or isinstance(below, Leaf):
                continue
            value = self.value(stored, below) if isinstance(below, Branch) else stored
            if value is not MISSING or (isinstance(below, Branch) and (below.computes or below.path in self.holes)):
                shown[field_] = value  # also where nothing is left: what is computed below takes its place
        return shown

    def value(self, value: Any, branch: Branch) -> Any:
        """`MISSING` for what is no object."""
        if isinstance(value, dict):
            return self.object(value, branch)
        if type(value) is not list:
            return MISSING
        inner = [self.value(one, branch) for one in value]
        if branch.computes or branch.path in self.holes:
            return inner
        some = [one for one in inner if one is not MISSING]
        if len(some) < len(inner) and branch.path in self.watched:
            unsure(self.name, "shows parts of an array's objects beside what is none, which MongoDB may still count")
        return some


def _compute(
    shown: dict[str, Any],
    branch: Branch,
    scope: Scope,
    holes: Holes,
    inside: Callable[[Any, Branch, Scope], Any],
) -> None:
    for name, below in branch.below.items():
        if isinstance(below, Branch):
            found = shown.get(name, MISSING)
            # Where something is computed anywhere, a place is kept for what is shown and not there, too.
            if below.computes or below.path in holes or (holes and found is not MISSING):
                shown[name] = inside(found, below, scope)
        elif isinstance(below, Leaf):
            value = below.evaluate(scope)
            if value is not MISSING or below.path in holes:
                shown[name] = value
            else:
                shown.pop(name, None)


def excluding(name: str, tree: Branch, holes: Holes) -> Make:
    """What an exclusion leaves of a document."""

    def without(document: dict[str, Any], branch: Branch) -> dict[str, Any]:
        shown = {}
        for field_, value in plain(name, document).items():
            below = branch.below.get(field_)
            if below is None:
                shown[field_] = value
            elif isinstance(below, Branch):
                shown[field_] = without_in(value, below)
            elif (f"{branch.path}.{field_}" if branch.path else field_) in holes:
                shown[field_] = MISSING
        return shown

    def without_in(value: Any, branch: Branch) -> Any:
        if isinstance(value, dict):
            return without(value, branch)
        return [without_in(one, branch) for one in value] if type(value) is list else value

    return lambda document, _: without(document, tree)
