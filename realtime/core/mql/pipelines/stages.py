"""Stages that take each document for itself, as they are written: `parse_stage` reads one.

What comes of a stage depends on those behind it in one thing: where a field that it takes out may come back, its place
is kept (`places.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bson.int64 import Int64

from realtime.core.bson.values import MISSING
from realtime.core.mql.expressions.numbers import nullish, type_name
from realtime.core.mql.expressions.outcomes import fail
from realtime.core.mql.expressions.scope import Scope
from realtime.core.mql.language import invalid
from realtime.core.mql.paths import stem
from realtime.core.mql.pipelines.context import Context, Part, check_path, plain
from realtime.core.mql.pipelines.steps import Document, Run, Stage, Step
from realtime.core.mql.pipelines.trees import Make, Paths, excluding, including, project_paths, set_paths, setting

KEY = "_id"


def of_id(path: str) -> bool:
    """Whether it is the key, or a part of it."""
    return path == KEY or path.startswith(f"{KEY}.")


# ---------------------------------------------------------------------------------------------------------- stages


def parse_stage(name: str, source: Any, here: str, context: Context) -> Step:
    """One of `language.PER_DOCUMENT`, by its name and what stands behind it. `here` names both."""
    before = context.nodes
    step = _PARSERS[name](source, here, context)
    return replace(step, cost=1 + context.nodes - before)


def _match(source: Any, here: str, context: Context) -> Step:
    found = context.filter(source, here)
    matches = found.matches

    def run(document: Document, scope: Scope) -> Sequence[Document]:
        return (document,) if matches(scope.root) else ()

    asks = frozenset(_operators(source) & TELLING)
    return Step("$match", {"$match": source}, run, here, paths=found.paths, asks=asks)


TELLING = frozenset({"$expr", "$type", "$exists", "$jsonSchema"})


def _operators(source: Any) -> set[str]:
    """The names that begin with $ anywhere in a filter."""
    if isinstance(source, dict):
        return {name for name in source if name.startswith("$")}.union(*map(_operators, source.values()))
    return set().union(*map(_operators, source)) if isinstance(source, list) else set()


def _set(source: Any, here: str, context: Context) -> Step:
    found = set_paths(source, here, context)
    holes: set[str] = set()
    return Step(
        "$set",
        {"$set": source},
        _one(setting("$set", found.tree(found.sets, here), holes)),
        here,
        paths=_read(found.parts.values()),
        sets=found.sets,
        takes=found.may_miss,
        made=_made(found.parts.values()),
        copies=found.copies,
        keeps=not any(map(of_id, found.sets)),
        grows=True,
        holes=holes,
    )


def _project(source: Any, here: str, context: Context) -> Step:
    found = project_paths(source, here, context)
    shows_key = found.flags.get(KEY)
    flags = {path: flag for path, flag in found.flags.items() if path != KEY}
    shown = {*flags.values(), *([True] if found.parts else [])}
    if len(shown) > 1:
        wrong = next(path for path, flag in flags.items() if not flag)
        invalid(f"{here}.{wrong}", "an inclusion hides nothing but _id, and an exclusion computes nothing")
    including_ = shown == {True} or (not shown and bool(shows_key))
    if including_:
        return _inclusion(source, here, found)
    hidden = [path for path, flag in found.flags.items() if not flag]
    return _exclusion(source, hidden, found, here)


def _inclusion(source: Stage, here: str, found: Paths) -> Step:
    holes: set[str] = set()
    watched: set[str] = set()
    inner = any(path.startswith(f"{KEY}.") for path in found.order)
    shows_key = found.flags.get(KEY, not inner)
    paths = [path for path in found.order if path != KEY or path in found.parts]
    tree = found.tree([KEY, *paths] if shows_key and KEY not in found.parts else paths, here)
    read = _read(found.parts.values()) | {stem(path) for path, flag in found.flags.items() if flag}
    return Step(
        "$project",
        {"$project": source},
        _one(including("$project", tree, holes, watched)),
        here,
        paths=read,
        sets=found.sets,
        takes=found.may_miss | (found.around if found.parts else frozenset()),
        made=_made(found.parts.values()),
        copies=found.copies,
        closes=True,
        keeps=shows_key and not any(map(of_id, found.sets)),
        grows=bool(found.parts),
        holes=holes,
        parts=found.around,
        watched=watched,
    )


def _exclusion(source: Stage, hidden: list[str], found: Paths, here: str) -> Step:
    holes: set[str] = set()
    return Step(
        "$project",
        {"$project": source},
        _one(excluding("$project", found.tree(hidden, here), holes)),
        here,
        takes=frozenset(hidden),
        keeps=not any(map(of_id, hidden)),
        holes=holes,
    )


def _unset(source: Any, here: str, context: Context) -> Step:
    given = source if isinstance(source, list) else [source]
    if not given or not all(type(path) is str for path in given):
        invalid(here, "takes a path, or a list of at least one")
    for path in given:
        check_path(path, here)
    found = project_paths(dict.fromkeys(given, 0), here, context)
    if len(found.order) < len(given):
        invalid(here, "a path stands twice")
    return _exclusion(dict.fromkeys(given, 0), list(given), found, here)


def _replace_root(source: Any, here: str, context: Context) -> Step:
    if not isinstance(source, dict) or source.keys() != {"newRoot"}:
        invalid(here, "takes an object with newRoot")
    return _replaced("$replaceRoot", source["newRoot"], f"{here}.newRoot", context)


def _replace_with(source: Any, here: str, context: Context) -> Step:
    return _replaced("$replaceWith", source, here, context)


def _replaced(name: str, source: Any, here: str, context: Context) -> Step:
    holes: set[str] = set()
    parts: dict[str, Part] = {}
    if isinstance(source, dict) and source and not next(iter(source)).startswith("$"):
        # The fields of an object that is written out are as those of a `$set`: their places are kept.
        for field_, inner in source.items():
            if "." in field_ or "\0" in field_ or field_.startswith("$"):
                invalid(f"{here}.{field_}", "a field that is made has a name without dots, which no $ begins")
            parts[field_] = context.expression(inner, f"{here}.{field_}")
        run = _written(parts, holes)
        part = None
    else:
        part = context.expression(source, here)
        if part.constant and not isinstance(part.value, dict):
            invalid(here, "takes an expression that gives an object")
        run = _root(name, part)
    each = [*parts.values()] if part is None else [part]
    return Step(
        "$replaceRoot",
        {"$replaceRoot": {"newRoot": source}},
        run,
        here,
        paths=_read(each),
        takes=frozenset(field_ for field_, one in parts.items() if one.misses),
        made=_made(each),
        closes=True,
        remakes=True,
        keeps=keeps_key(source),
        grows=True,
        holes=holes,
    )


def _written(parts: dict[str, Part], holes: set[str]) -> Run:
    each = tuple((name, part.evaluate) for name, part in parts.items())

    def run(_: Document, scope: Scope) -> Sequence[Document]:
        values = [(name, evaluate(scope)) for name, evaluate in each]
        return ({name: value for name, value in values if value is not MISSING or name in holes},)

    return run


def _root(name: str, part: Part) -> Run:
    evaluate = part.evaluate

    def run(_: Document, scope: Scope) -> Sequence[Document]:
        value = evaluate(scope)
        if not isinstance(value, dict):
            fail(name, f"takes an object, not {type_name(value)}")
        return (plain(name, value),)

    return run


_OWN = frozenset({"$_id", "$$ROOT._id", "$$CURRENT._id"})


def keeps_key(source: Any) -> bool:
    """Whether what replaces a document has its `_id`, as far as it is written so that it can be seen."""
    if source in ("$$ROOT", "$$CURRENT"):
        return True
    if not isinstance(source, dict):
        return False
    merged = source.get("$mergeObjects")
    if type(merged) is list and merged:
        return keeps_key(merged[-1])
    own = source.get(KEY)
    return type(own) is str and own in _OWN


def _unwind(source: Any, here: str, context: Context) -> Step:
    given = source if isinstance(source, dict) else {"path": source}
    for option in given:
        if option not in {"path", "includeArrayIndex", "preserveNullAndEmptyArrays"}:
            invalid(f"{here}.{option}", "$unwind takes path, includeArrayIndex and preserveNullAndEmptyArrays")
    path, index = given.get("path"), given.get("includeArrayIndex")
    preserves = given.get("preserveNullAndEmptyArrays", False)
    if type(path) is not str or not path.startswith("$"):
        invalid(here, "takes a path that begins with $")
    parts = check_path(path[1:], here)
    if type(preserves) is not bool:
        invalid(f"{here}.preserveNullAndEmptyArrays", "true or false")
    counted: list[str] = []
    if "includeArrayIndex" in given:
        counted = check_path(index, f"{here}.includeArrayIndex")
        if counted[: len(parts)] == parts or parts[: len(counted)] == counted:
            invalid(f"{here}.includeArrayIndex", "a path that is not the one of the array, around it or inside of it")
    context.count(here, 2)
    holes: set[str] = set()
    sets = (".".join(counted),) if counted else ()
    return Step(
        "$unwind",
        {"$unwind": given},
        _rows(parts, counted, holes, preserves=preserves),
        here,
        paths=frozenset({stem(path[1:])}),
        sets=sets,
        takes=frozenset({path[1:]}) if preserves else frozenset(),
        keeps=not of_id(path[1:]) and not any(map(of_id, sets)),
        holes=holes,
    )


def _rows(parts: list[str], counted: list[str], holes: set[str], *, preserves: bool) -> Run:
    def run(document: Document, _: Scope) -> Sequence[Document]:
        value: Any = document
        for name in parts:
            value = value.get(name, MISSING) if isinstance(value, dict) else MISSING
        if type(value) is list and value:
            places = enumerate(value)
            return [numbered(put(document, parts, 0, one), Int64(place)) for place, one in places]
        if type(value) is not list and not nullish(value):
            return (numbered(document, None),)
        if not preserves:
            return ()
        # An empty array leaves nothing behind but its place.
        return (numbered(put(document, parts, 0, MISSING) if type(value) is list else document, None),)

    def numbered(document: Document, place: Any) -> Document:
        return put(document, counted, 0, place) if counted else document

    def put(node: Any, path: list[str], index: int, value: Any) -> Document:
        shown = dict(plain("$unwind", node)) if isinstance(node, dict) else {}
        name = path[index]
        if index + 1 < len(path):
            shown[name] = put(shown.get(name), path, index + 1, value)
        elif value is not MISSING or ".".join(path) in holes:
            shown[name] = value
        else:
            del shown[name]
        return shown

    return run


def _one(make: Make) -> Run:
    return lambda document, scope: (make(document, scope),)


def _read(parts: Any) -> frozenset[str]:
    return frozenset().union(*(part.paths for part in parts))


def _made(parts: Any) -> frozenset[str]:
    return frozenset().union(*(part.made for part in parts))


_PARSERS: dict[str, Callable[[Any, str, Context], Step]] = {
    "$match": _match,
    "$set": _set,
    "$addFields": _set,
    "$project": _project,
    "$unset": _unset,
    "$replaceRoot": _replace_root,
    "$replaceWith": _replace_with,
    "$unwind": _unwind,
}
