"""Rules before they are used: whether each is one, and whether it can ever decide anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from realtime.core.access.rules.membership import wrong
from realtime.core.access.rules.model import EVERY, OPERATIONS, Grant, Operation, Rules
from realtime.core.access.rules.placing import RuleError, try_out
from realtime.core.access.tokens import MAX_NAME
from realtime.core.mql.filters import UNBOUNDED, compile_filter
from realtime.core.wire.reserved_names import refusal
from realtime.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong. `path` leads from the collection to what it is wrong with; `inside` goes on, with dots."""

    path: tuple[str | int, ...]
    message: str
    inside: str = ""

    def __str__(self) -> str:
        where = ".".join(map(str, self.path))
        return f"{where}{'.' if self.inside else ''}{self.inside}: {self.message}"


def check(rules: Rules, served: frozenset[str] | None = None) -> list[Problem]:
    """Everything that is wrong with the rules, in their order. `served`: the collections that are; None: all."""
    return list(_problems(rules, served))


def _problems(rules: Rules, served: frozenset[str] | None) -> Iterator[Problem]:
    of_all = rules.collections.get(EVERY, {})
    for collection, grants in rules.collections.items():
        yield from _collection(collection, served)
        everybody = grants.get(EVERY, of_all.get(EVERY))
        for role, grant in grants.items():
            here = (collection, role)
            if not 1 <= len(role) <= MAX_NAME:
                yield Problem(here, f"a role has 1 to {MAX_NAME} characters")
            yield from _grant(here, grant, served)
            if grant.idle and (collection == EVERY or role not in of_all):
                yield Problem(here, "lets nothing, as if it were not there: say what it lets, or leave it out")
            if role != EVERY and grant.read is not False and everybody is not None and _reads_all(everybody):
                yield Problem(
                    (*here, "read"),
                    f"never decides anything: the role {EVERY} reads all of {_named(collection)} already",
                )


def _collection(name: str, served: frozenset[str] | None) -> Iterator[Problem]:
    if name == EVERY:
        return
    reason = refusal(name)
    if reason is not None:
        yield Problem((name,), f"no collection to have rules about: {reason}")
    elif served is not None and name not in served:
        yield Problem((name,), "is not served here: add it to REALTIME_COLLECTIONS, or take its rules out")


def _named(collection: str) -> str:
    return "every collection" if collection == EVERY else collection


def _reads_all(grant: Grant) -> bool:
    return grant.read is True and not grant.fields.hide and grant.fields.show is None


def _grant(here: tuple[str, ...], grant: Grant, served: frozenset[str] | None) -> Iterator[Problem]:
    for operation in OPERATIONS:
        yield from _rule((*here, operation), grant, operation, served)
    fields, reads = grant.fields, grant.read is not False
    if fields.hide and fields.show is not None:
        yield Problem((*here, "fields"), "hide says all but these, show these alone: choose one")
    for name, paths in (("hide", fields.hide), ("show", fields.show or ()), ("write", fields.write or ())):
        for index, path in enumerate(paths):
            reason = _wrong_path(path, name)
            if reason is not None:
                yield Problem((*here, "fields", name, index), reason)
        if crossing := _crossing(paths):
            yield Problem((*here, "fields", name), f"{crossing[1]} lies inside of {crossing[0]}: name one of them")
    unreachable = {
        ("fields", "hide"): bool(fields.hide) and not reads,
        ("fields", "show"): fields.show is not None and not reads,
        ("fields", "write"): fields.write is not None and grant.insert is False and grant.update is False,
        ("limits",): grant.limits.documents is not None and not reads,
        ("keys",): grant.keys == "server" and grant.insert is False,
    }
    for where, never in unreachable.items():
        if never:
            yield Problem((*here, *where), "never decides anything: the grant lets nothing that it is about")


def _wrong_path(path: str, name: str) -> str | None:
    first, *rest = path.split(".")
    if not all([first, *rest]) or "\0" in path or "$" in path:
        return "is no path of a field: names with dots between them"
    if any(part.isdigit() for part in rest):
        return "a number in a path may be an element or a name: name all of the field"
    if first == "_id" and (name != "show" or rest):
        return "_id names the document: it is always shown, and never written"
    return None


def _crossing(paths: tuple[str, ...]) -> tuple[str, str] | None:
    for one in paths:
        for other in paths:
            if other.startswith(f"{one}."):
                return one, other
    return None


def _rule(
    here: tuple[str, ...], grant: Grant, operation: Operation, served: frozenset[str] | None
) -> Iterator[Problem]:
    rule = grant.rule(operation)
    if isinstance(rule, bool):
        return
    try:
        placed = try_out(rule)
        compile_filter(placed, UNBOUNDED)
        found = [Problem((*here, *path), reason, inside) for path, reason, inside in wrong(rule, served)]
    except RuleError as error:
        yield Problem((*here, *error.path), error.reason)
    except ServiceError as error:
        yield Problem(here, error.message, str((error.details or {}).get("path", "")))
    else:
        yield from found
        if not placed:
            yield Problem(here, "is true of every document: say true")
        elif _never(placed):
            yield Problem(here, "is true of no document: say false")


def _never(placed: Mapping[str, Any]) -> bool:
    return any(value == {"$in": []} for value in placed.values())
