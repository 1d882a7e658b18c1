"""Live aggregates: rows instead of documents, as MongoDB's `$group` makes them, kept as documents come and go.

Paths have the meaning that they have in an expression (`"$a.b"`): through an array they give the array of what its
objects have there, and numbers in them are names. Values are grouped by BSON's equality, so 1 and 1.0 are one row,
named by the one that came first. Null and missing are one row where there is one path to group by, and two otherwise.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from realtime.core.bson import ejson, keys
from realtime.core.bson.keys import identity
from realtime.core.bson.stored import UNDEFINED_VALUE
from realtime.core.bson.values import MISSING, Order, order
from realtime.core.live.result import Encode, Watch
from realtime.core.live.totals import Total, is_number
from realtime.core.mql.paths import overlaps, stem
from realtime.core.wire import protocol
from realtime.errors import InvalidRequestError

MAX_PATHS = 16
SUMS = ("sum", "avg")
EXTREMES = ("min", "max")
_VALUE_BYTES = 100
"""What a value costs in memory beside its own text."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """A compiled `group`. `values` are the paths that are summed or compared."""

    source: dict[str, Any]
    by: tuple[str, ...]
    totals: tuple[str, ...]
    extremes: tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path it reads."""
        return tuple(dict.fromkeys((*self.by, *self.totals, *self.extremes)))

    def reads(self, touched: frozenset[str]) -> bool:
        """Whether an update of these paths may change a row, by prefix both ways."""
        stems = {stem(path) for path in touched}
        return any(overlaps(stem(path), other) for path in self.paths for other in stems)


def projected(paths: Collection[str]) -> dict[str, int]:
    """The projection that shows what is at these paths."""
    above = {*paths, "_id"}
    return {"_id": 1} | {path: 1 for path in sorted(paths) if not any(path.startswith(f"{one}.") for one in above)}


def compile_grouping(source: Any) -> Grouping:
    """Compile `{"by": [path …], "count": true, "sum": [path …], "avg": …, "min": …, "max": …}`.

    Raises `InvalidRequestError`; `details` names the field.
    """
    if not isinstance(source, dict):
        _invalid("group", "an object with by, and count, sum, avg, min or max")
    known = {"by", "count", *SUMS, *EXTREMES}
    for name in source:
        if name not in known:
            _invalid(f"group.{name}", f"is not known here; there are: {', '.join(sorted(known))}")
    if "by" not in source:
        _invalid("group.by", "the paths to group by; an empty list makes one row of everything")
    if not isinstance(source.get("count", True), bool):
        _invalid("group.count", "true or false")
    paths = {name: _paths(name, source[name]) for name in ("by", *SUMS, *EXTREMES) if name in source}
    canonical: dict[str, Any] = {name: list(chosen) for name, chosen in paths.items() if chosen or name == "by"}
    if source.get("count"):
        canonical["count"] = True
    return Grouping(
        {name: canonical[name] for name in ("by", "count", *SUMS, *EXTREMES) if name in canonical},
        paths["by"],
        tuple(dict.fromkeys(path for name in SUMS for path in paths.get(name, ()))),
        tuple(dict.fromkeys(path for name in EXTREMES for path in paths.get(name, ()))),
    )


def _paths(name: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or len(given) > MAX_PATHS:
        _invalid(f"group.{name}", f"a list of at most {MAX_PATHS} paths")
    for index, path in enumerate(given):
        here = f"group.{name}.{index}"
        if not isinstance(path, str) or not path or "$" in path or "\0" in path or ".." in f".{path}.":
            _invalid(here, "a path")
        if path in given[:index]:
            _invalid(here, "stands twice")
    return tuple(given)


def _invalid(field: str, reason: str) -> NoReturn:
    raise InvalidRequestError(f"{field}: {reason}", details={"field": field})


def value_at(document: Mapping[str, Any], path: str) -> Any:
    """What the expression `"$path"` gives; `MISSING` where it gives nothing."""
    return _walk(document, path.split("."), 0)


def _walk(node: Mapping[str, Any], parts: list[str], index: int) -> Any:
    value = node.get(parts[index], MISSING)
    if index + 1 == len(parts):
        return value
    if isinstance(value, dict):
        return _walk(value, parts, index + 1)
    if not isinstance(value, list):
        return MISSING
    found = (_walk(one, parts, index + 1) for one in value if isinstance(one, dict))
    return [one for one in found if one is not MISSING]


class Row:
    """One group: how many documents, their totals, and their values in order where the least or greatest is asked."""

    __slots__ = ("count", "extremes", "key", "name", "shown", "totals")

    def __init__(self, key: tuple[Order | None, ...], shown: dict[str, Any], grouping: Grouping) -> None:
        self.key = key
        self.shown = shown
        self.name = identity(shown)
        self.count = 0
        self.totals = {path: Total() for path in grouping.totals}
        self.extremes: dict[str, list[tuple[Order, str, Any]]] = {path: [] for path in grouping.extremes}


@dataclass(slots=True)
class _Part:
    """What one document is to its row: values by path, and its weight in bytes."""

    row: Row
    totals: list[Any]
    extremes: list[Any]
    size: int


class Aggregate:
    """The rows of a grouping."""

    short = False

    def __init__(self, grouping: Grouping) -> None:
        self.grouping = grouping
        self.documents: dict[str, bytes] = {}
        self.size = 0
        self.watch: Watch | None = None
        self._parts: dict[str, _Part] = {}
        self._rows: dict[tuple[Order | None, ...], Row] = {}
        self._named: dict[str, Row] = {}
        self._touched: dict[str, None] = {}

    @property
    def count(self) -> int:
        """Documents counted in."""
        return len(self._parts)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    @property
    def pending(self) -> bool:
        """Whether a change has not been told."""
        return bool(self._touched)

    def names(self) -> Collection[str]:
        """Those counted in."""
        return self._parts

    def put(self, name: str, document: dict[str, Any], encode: Encode) -> None:
        """Count the document as it is now."""
        part = self._part(document)
        held = self._parts.get(name)
        if held is not None:
            if held.row is part.row and _same(held, part):
                return
            self._take_out(name)
        elif self.watch is not None:
            self.watch.hold(name)
        self._count(name, part, 1)
        self._parts[name] = part

    def drop(self, name: str) -> None:
        """Count it no longer."""
        if name not in self._parts:
            return
        self._take_out(name)
        if self.watch is not None:
            self.watch.let_go(name)

    def _take_out(self, name: str) -> None:
        part = self._parts.pop(name)
        self._count(name, part, -1)
        if not part.row.count:
            del self._rows[part.row.key], self._named[part.row.name]

    def _part(self, document: dict[str, Any]) -> _Part:
        grouping = self.grouping
        found = [(path, value_at(document, path)) for path in grouping.by]
        if len(found) == 1 and found[0][1] is MISSING:
            found = [(grouping.by[0], None)]  # as `$group` has it: a single key that is missing is null
        key = tuple(None if value is MISSING else order(value) for _, value in found)
        row = self._rows.get(key)
        if row is None:
            row = Row(key, {path: value for path, value in found if value is not MISSING}, grouping)
        totals = [value_at(document, path) for path in grouping.totals]
        extremes = [value_at(document, path) for path in grouping.extremes]
        size = sum(_weight(value) for value in (*totals, *extremes)) + _VALUE_BYTES
        return _Part(row, [value if is_number(value) else MISSING for value in totals], extremes, size)

    def _count(self, name: str, part: _Part, times: int) -> None:
        row = part.row
        self._rows[row.key] = self._named[row.name] = row
        row.count += times
        self.size += times * part.size
        self._touched[row.name] = None
        for path, value in zip(self.grouping.totals, part.totals, strict=True):
            row.totals[path].add(value, times)
        for path, value in zip(self.grouping.extremes, part.extremes, strict=True):
            if value is None or value is MISSING or value is UNDEFINED_VALUE:
                continue
            entry = (order(value), name)
            held = row.extremes[path]
            if times > 0:
                insort(held, (*entry, value), key=_ordered)
            else:
                del held[bisect_left(held, entry, key=_ordered)]

    def reads(self, name: str, touched: frozenset[str]) -> bool:
        """What counts of a document that is counted in."""
        return name in self._parts and self.grouping.reads(touched)

    def loaded(self, count: int) -> None:
        """Everything that matches has been put."""

    # ----------------------------------------------------------------------------------------------------- telling

    def changes(self) -> list[bytes]:
        """Rows that are gone, then rows that are new or other than they were."""
        leaves, rest = [], []
        for name in self._touched:
            was, row = self.documents.get(name), self._named.get(name)
            if row is None:
                if was is not None:
                    leaves.append(protocol.change_entry("leave", name))
                    del self.documents[name]
                continue
            now = keys.shown(self._shown(row))
            if now != was:
                rest.append(protocol.change_entry("enter" if was is None else "update", name, now))
                self.documents[name] = now
        self._touched.clear()
        return leaves + rest

    def _shown(self, row: Row) -> dict[str, Any]:
        source = self.grouping.source
        shown: dict[str, Any] = {"_id": row.shown}
        if "count" in source:
            shown["count"] = row.count
        if "sum" in source:
            shown["sum"] = {path: row.totals[path].sum() for path in source["sum"]}
        if "avg" in source:
            shown["avg"] = {path: row.totals[path].average() for path in source["avg"]}
        for name, at in (("min", 0), ("max", -1)):
            if name in source:
                held = row.extremes
                shown[name] = {path: held[path][at][2] if held[path] else None for path in source[name]}
        return shown

    def told(self) -> list[bytes]:
        """The rows as they were told."""
        return list(self.documents.values())

    def settle(self) -> None:
        """What is held is what was told."""
        self.changes()

    def reload(self) -> None:
        """Count nothing."""
        for name in list(self._parts):
            self.drop(name)


def _ordered(entry: tuple[Any, ...]) -> tuple[Any, ...]:
    return entry[:2]


def _same(one: _Part, other: _Part) -> bool:
    """Whether nothing that counts has changed; 1 and 1.0 are not the same."""
    pairs = zip([*one.totals, *one.extremes], [*other.totals, *other.extremes], strict=True)
    return all(type(a) is type(b) and (a is b or ejson.encode(a) == ejson.encode(b)) for a, b in pairs)


def _weight(value: Any) -> int:
    """About what a value takes in memory."""
    if value is MISSING or value is None or is_number(value):
        return _VALUE_BYTES
    return _VALUE_BYTES + len(ejson.encode(value))
