"""`$from` in a rule: which sets of values it asks other collections for, and whether they can be asked for at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bson.binary import Binary

from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import Rule
from realtime.core.access.rules.placing import FROM, RuleError, Sets, place, try_out
from realtime.core.mql.demands import canonical
from realtime.core.mql.filters import UNBOUNDED, compile_filter
from realtime.core.mql.membership import Found, Members, Slots
from realtime.core.mql.vision import NEVER
from realtime.core.wire.reserved_names import refusal
from realtime.errors import ServiceError

NAMES = ("collection", "where", "values")
Path = tuple[str | int, ...]


def specs(rule: Any, here: Path = ()) -> Iterator[tuple[Path, Any]]:
    """What stands below each `$from` of a rule, and the path to it."""
    if isinstance(rule, dict):
        for name, inner in rule.items():
            if name == FROM:
                yield (*here, name), inner
            else:
                yield from specs(inner, (*here, name))
    elif isinstance(rule, list):
        for at, inner in enumerate(rule):
            yield from specs(inner, (*here, at))


def members(spec: Mapping[str, Any], principal: Principal, most: int) -> Members:
    """The set that a `$from` asks for, for a principal."""
    where = place(spec["where"], principal)
    return Members(spec["collection"], NEVER if where is None else where, spec["values"], most)


def slots(rule: Rule, principal: Principal, most: int) -> tuple[Slots, bytes] | None:
    """What a rule asks of other collections for a principal, and what names it whatever is found; None: nothing."""
    found = list(specs(rule))
    if not found:
        return None
    asked = {id(spec): members(spec, principal, most) for _, spec in found}

    def placed(values: Found) -> dict[str, Any] | None:
        return place(rule, principal, _Of({name: values.get(one.key) for name, one in asked.items()}))

    # In the name each set stands for itself, as what no claim can be.
    named = place(rule, principal, _Of({name: [_name(one)] for name, one in asked.items()}))
    key = b"" if named is None else canonical(named)
    return Slots(tuple({one.key: one for one in asked.values()}.values()), placed), key


def _name(asked: Members) -> Binary:
    return Binary(hashlib.sha256(asked.key).digest(), 0x80)


class _Of(Sets):
    """Sets that are known, by what stands in the rule."""

    def __init__(self, found: Mapping[int, Sequence[Any] | None]) -> None:
        self._found = found

    def values(self, spec: Mapping[str, Any], _principal: Principal) -> Sequence[Any] | None:
        """What was found for it."""
        return self._found[id(spec)]


# ------------------------------------------------------------------------------------------------------------- checked


def wrong(rule: Rule, served: frozenset[str] | None) -> Iterator[tuple[Path, str, str]]:
    """What is wrong with the sets of a rule: the path, the reason, and where inside, with dots.

    `served`: the collections that are followed; None: all.
    """
    found = list(specs(rule))
    for path, spec in found:
        try:
            yield from ((path, reason, inside) for reason, inside in _wrong(spec, served))
        except RuleError as error:
            yield (*path, "where", *error.path), error.reason, ""
        except ServiceError as error:
            yield (*path, "where"), error.message, str((error.details or {}).get("path", ""))
    if found and isinstance(rule, dict) and (filled := try_out(rule)) and compile_filter(filled, UNBOUNDED).zones:
        yield found[0][0], "does not go with a time zone in the same rule", ""


def _wrong(spec: Any, served: frozenset[str] | None) -> Iterator[tuple[str, str]]:
    if not isinstance(spec, dict) or set(spec) != set(NAMES):
        yield f"takes {', '.join(NAMES)}, and nothing else", ""
        return
    collection, where, values = (spec[name] for name in NAMES)
    if not isinstance(collection, str):
        yield "a collection is a name", "collection"
    elif (reason := refusal(collection)) is not None:
        yield f"no collection to take values from: {reason}", "collection"
    elif served is not None and collection not in served:
        yield "is not served here, and so not followed: add it to REALTIME_COLLECTIONS", "collection"
    if not _is_path(values):
        yield "is no path of a field: names with dots between them", "values"
    if not isinstance(where, dict):
        yield "a filter is an object", "where"
    elif any(specs(where)):
        yield f"{FROM} takes from documents alone: a set is not asked for by another one", "where"
    elif compile_filter(try_out(where) or {}, UNBOUNDED).computes:
        yield "asks by fields alone: no expression, and no schema", "where"


def _is_path(path: Any) -> bool:
    if not isinstance(path, str) or "$" in path or "\0" in path:
        return False
    return all(part and not part.isdigit() for part in path.split("."))
