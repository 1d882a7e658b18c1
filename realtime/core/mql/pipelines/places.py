"""The place of a field that a stage takes out, and a later one sets again: MongoDB keeps it, as long as it can.

So `{$unset: "a"}, {$set: {"a": 1}}` puts `a` where it was, and `$set` of what is missing leaves a place behind. Within
one run of stages the places are kept here too (`keep`). A value that is copied takes the places in it along, and an
object that an expression makes has one for each field without a value: what would be put into those is refused
(`Ghosts`), for nothing says here where it would stand.

MongoDB also reads no more of a document than the stages up to the first inclusion ask for. Of a field of which only
parts are asked it does not read what has no parts, a number for instance; one that is set whole stands at the end then.
So an inclusion of parts of what was set is refused, unless an expression surely reads the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from realtime.core.mql.language import unsupported
from realtime.core.mql.paths import WHOLE, overlaps, stem
from realtime.core.mql.pipelines.context import Context
from realtime.core.mql.pipelines.steps import Stages, Step


def keep(steps: Sequence[Step], context: Context, *, named: bool) -> Stages:
    """The steps as one run, in which the places of what comes back are kept."""
    holes = {
        path
        for index, step in enumerate(steps)
        for path in step.takes
        if any(_inside(other, path) for later in steps[index + 1 :] for other in later.sets)
    }
    if not holes:
        return Stages(tuple(steps), context.bounds, context.variables, named=named)
    for step in steps:
        step.holes.update(holes & step.takes)
    cleaned = tuple(replace(step, clean=_reads_around(step.paths, holes)) for step in steps)
    return Stages(cleaned, context.bounds, context.variables, kept=True, named=named)


def check_apart(before: Sequence[Step], behind: Sequence[Step]) -> None:
    """Refuse a place that would have to be kept through a `$sort`."""
    for step in behind:
        for path in step.sets:
            for other in before:
                if any(_inside(path, taken) for taken in other.takes):
                    unsupported(
                        step.name,
                        f"{step.at}.{path}",
                        "sets what may be missing before the $sort, where MongoDB keeps its place: give it a value in "
                        f'{other.at}, for instance by {{"$ifNull": […, null]}}, or set another name here',
                    )
        if step.remakes:
            return


def _inside(path: str, around: str) -> bool:
    return path == around or path.startswith(f"{around}.")


def _reads_around(paths: Iterable[str], holes: Iterable[str]) -> bool:
    """Whether a value is read as a whole that one of these is, or lies in."""
    stems = {stem(hole) for hole in holes}
    return any(path == WHOLE or any(_inside(hole, path) for hole in stems) for path in paths)


def _put(value: Any) -> Iterator[str]:
    """The names that `$setField` sets, anywhere in there."""
    if isinstance(value, list):
        for inner in value:
            yield from _put(inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name == "$setField" and isinstance(inner, dict):
                yield from _texts(inner.get("field"))
            yield from _put(inner)


def _texts(value: Any) -> Iterator[str]:
    """A constant name, however it is written."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


_FIRST_ALONE = {"$cond": "if", "$ifNull": ""}
"""Operators of which only the first argument is read whatever is constant in them, with its name where it has one."""
_PERHAPS = frozenset({"$and", "$let", "$literal", "$or", "$switch"})
"""Operators of which MongoDB may leave out any argument before it looks what is read."""


def _surely_read(value: Any) -> Iterator[str]:
    """The paths that an expression reads, however MongoDB simplifies it; perhaps not all of them."""
    if isinstance(value, str):
        if value in ("$$ROOT", "$$CURRENT"):
            yield WHOLE
        elif value.startswith("$") and not value.startswith("$$"):
            yield value[1:]
    elif isinstance(value, list):
        for inner in value:
            yield from _surely_read(inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in _FIRST_ALONE:
                first = inner.get(_FIRST_ALONE[name]) if isinstance(inner, dict) else inner[0]
                yield from _surely_read(first)
            elif name not in _PERHAPS:
                yield from _surely_read(inner)


def _whole(step: Step) -> Iterator[str]:
    """The fields of a document that MongoDB reads whole for a stage, or `WHOLE`; perhaps not all of them."""
    if step.name in {"$match", "$unwind"}:
        # A condition may be asked before anything else, and is no reason to read then.
        paths: Iterable[str] = step.paths if step.name == "$unwind" else ()
    else:
        paths = _surely_read(step.source[step.name])
        # What is put into a field is put into all that it has.
        yield from (path.split(".")[0] for path in step.sets if "." in path)
    yield from (path for path in paths if path == WHOLE or "." not in path)


class Ghosts:
    """Names of fields that values may have a place for, without having them, as far as the stages were looked at."""

    __slots__ = ("_changed", "_copies", "_names", "_parts", "_put", "_remade", "_set", "_taken", "_unclear", "_whole")

    def __init__(self) -> None:
        """Of a pipeline's beginning."""
        self._taken: set[str] = set()
        self._names: set[str] = set()
        self._copies: set[str] = set()
        self._parts: list[Step] = []
        self._set: set[str] = set()
        self._unclear: set[str] = set()
        self._remade = self._changed = False
        self._put: set[str] | None = set()
        self._whole: set[str] = set()

    def look(self, step: Step) -> None:
        """At one more stage; refuses it where it puts something into such a place."""
        self.check_put(step.source, step.name, step.at)
        for path in step.sets:
            if any(_inside(path, part) for part in self._unclear):
                unsupported(
                    step.name,
                    f"{step.at}.{path}",
                    "sets a part of what an earlier $project shows parts of, whose place hangs on what else MongoDB "
                    "reads of a document: compute it in that $project",
                )
            names = path.split(".")
            # Its own place is kept, unless something else was put around it since.
            own = path in self._taken and not any(path.startswith(f"{other}.") for other in self._set)
            for name in names if self._remade else names[1:]:
                if name in self._names and not own:
                    unsupported(
                        step.name,
                        f"{step.at}.{path}",
                        f"puts {name} into what may have been made without it, where MongoDB keeps its place: make all "
                        "of it in one stage, or by $mergeObjects here",
                    )
        if step.name == "$match":
            self.check_match(step)
        self.check_parts(step)
        self.carry(step.paths, step.made)
        self._copies |= step.copies
        self._set |= {*step.sets}
        self._taken |= step.takes
        if step.parts:
            self._parts.append(step)
            self._unclear |= step.parts if self._changed else set()
        self._changed = self._changed or step.name != "$match"
        if step.remakes:
            self._remade, self._taken = True, set(step.takes)

    def check_put(self, source: Any, name: str, at: str) -> None:
        """Refuse a `$setField` of what may have been taken out of the object that it is given."""
        places = self._names | {path.split(".")[-1] for path in self._taken}
        for put in _put(source):
            if put in places:
                unsupported(
                    name,
                    at,
                    f"puts {put} by $setField where a stage may have taken it out, and MongoDB keeps its place: use "
                    "$mergeObjects here",
                )

    def check_match(self, step: Step) -> None:
        """Refuse a condition that MongoDB asks of another field, where that is not the same."""
        for path in step.paths:
            for copy in self._copies:
                if overlaps(path, stem(copy)):
                    unsupported(
                        step.name,
                        step.at,
                        f"asks of {copy}, a copy of another field, where MongoDB asks that one whatever the copy went "
                        'into: copy by {"$ifNull": […, null]}, or ask that one',
                    )

    def check_parts(self, step: Step) -> None:
        """Refuse an inclusion of parts of what was set, where MongoDB may not have read that; none behind the first."""
        if self._put is None:
            return
        self._whole.update(_whole(step))
        for path in sorted(step.parts & self._put):
            if not self._whole & {path, WHOLE}:
                unsupported(
                    step.name,
                    f"{step.at}.{path}",
                    f"shows parts of {path}, which an earlier stage sets, and the place of which hangs on what MongoDB "
                    f'reads of a document: show all of it in a $project before this one ({{"{path}": 1, …}})',
                )
        # An array's index goes into a field without that being read.
        names = {path.split(".")[0] if step.name == "$unwind" else path for path in step.sets}
        self._put = None if step.closes else self._put | names

    def regroup(self, paths: frozenset[str], made: frozenset[str]) -> None:
        """Rows are made of what is at these paths; their own fields are all there."""
        self.carry(paths, made)
        self._taken, self._copies, self._set, self._unclear = set(), set(), set(), set()
        self._remade, self._changed = False, True
        self._put = None

    def carry(self, paths: frozenset[str], made: frozenset[str]) -> None:
        """Values at these paths go on by other names, with what is in them; and objects with these names are made."""
        for step in self._parts:
            step.watched.update(path for path in step.parts if _reads_around(paths, [path]))
        self._names |= made
        self._names |= {path.split(".")[-1] for path in self._taken if _reads_around(paths, [path])}
