"""`$user.…` in a rule, placed: a rule as it is written, and a principal, to a filter that MongoDB takes.

A claim is placed as a value and never as a part of the language: text, a number, a boolean, an id; a list only where
an operator takes one. Where it is missing, or is anything else, the condition is false; and below `$nor`, `$not`,
`$ne` and `$nin`, where a false condition would let more, the whole rule is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from bson.objectid import ObjectId

from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import Rule
from realtime.core.bson.values import MISSING
from realtime.core.mql.language import COMMENT, COMPARISONS, EXPRESSION, FIELD_OPERATORS, LOGICAL, SCHEMA, is_operators
from realtime.core.mql.membership import is_scalar

MAX_VALUES = 1000
"""Elements of a list that is placed."""
FROM = "$from"
_OID = "$oid"
_USER = re.compile(r"\$user(?:\.|$)")
_LOOKS = re.compile(r"\s*\$+\{?\s*user\b", re.IGNORECASE)
"""What is meant for a claim, and would be text that no document has, or below a negation that each lacks."""
_KNOWN = re.compile(r"\$user\.(sub|roles|claims\..+)")


class RuleError(ValueError):
    """A rule that is none: `path` leads to what is wrong with it, `reason` says what."""

    def __init__(self, path: Sequence[str | int], reason: str) -> None:
        super().__init__(f"{reason} (at {'.'.join(map(str, path)) or 'the top'})")
        self.path = tuple(path)
        self.reason = reason


class Sets(Protocol):
    """Where the values of a `$from` come from."""

    def values(self, spec: Mapping[str, Any], principal: Principal) -> Sequence[Any] | None:
        """The values for a principal, `spec` being what stands below `$from`; None where they are not to be had."""


class _NoSets:
    def values(self, spec: Mapping[str, Any], principal: Principal) -> Sequence[Any] | None:
        """None."""


NO_SETS: Sets = _NoSets()


class _False(Exception):  # noqa: N818 - it is no error
    """The whole rule is false."""


def place(rule: Rule, principal: Principal, sets: Sets = NO_SETS) -> dict[str, Any] | None:
    """The filter that a rule is for a principal; None: one that no document matches. `RuleError` where it is none."""
    if isinstance(rule, bool):
        return {} if rule else None
    return _Placing(lambda name: claim(name, principal), lambda spec: sets.values(spec, principal)).placed(rule)


def try_out(rule: Rule) -> dict[str, Any] | None:
    """The filter that a rule is for some principal who has whatever it asks for."""
    if isinstance(rule, bool):
        return {} if rule else None
    return _Placing(lambda _: _ANYTHING, lambda _: ["a"]).placed(rule)


_ANYTHING = object()


def claim(name: str, principal: Principal) -> Any:
    """What `$user.…` stands for; `MISSING` where the principal has no such thing."""
    if name == "$user.sub":
        return principal.sub
    if name == "$user.roles":
        return sorted(principal.roles)
    path = name.removeprefix("$user.claims.")
    if path in principal.claims:
        return principal.claims[path]  # claims that are named by an address have dots in their names
    found: Any = principal.claims
    for part in path.split("."):
        found = found.get(part, MISSING) if isinstance(found, Mapping) else MISSING
    return found


class _Placing:
    """One rule while it is placed; `path` leads to where it is."""

    def __init__(self, claims: Callable[[str], Any], sets: Callable[[Mapping[str, Any]], Sequence[Any] | None]) -> None:
        self._claims = claims
        self._sets = sets
        self._path: list[str | int] = []

    def placed(self, rule: dict[str, Any]) -> dict[str, Any] | None:
        try:
            found = self._document(rule, negative=False)
        except _False:
            return None
        return None if found is MISSING else dict(found)

    # Each gives what is placed, or `MISSING` for a condition that is false; below a negation that is raised.

    def _document(self, source: Any, *, negative: bool) -> Any:
        if not isinstance(source, dict):
            self._wrong("a filter is an object")
        placed: dict[str, Any] = {}
        for name, value in self._inside(source.items()):
            if name in LOGICAL:
                found = self._logical(name, value, negative=negative)
            elif name in {EXPRESSION, SCHEMA, COMMENT} or name.startswith("$"):
                found = self._constant(value)
            else:
                found = self._condition(value, negative=negative)
            if found is MISSING:
                return MISSING
            placed[name] = found
        return placed

    def _inside(self, entries: Any) -> Iterator[tuple[Any, Any]]:
        for name, value in entries:
            self._path.append(name)
            yield name, value
            self._path.pop()

    def _logical(self, name: str, value: Any, *, negative: bool) -> Any:
        if not isinstance(value, list):
            self._wrong(f"{name} takes a list of filters")
        parts = [
            self._document(part, negative=negative or name == "$nor") for _, part in self._inside(enumerate(value))
        ]
        kept = [part for part in parts if part is not MISSING]
        if len(kept) < len(parts) and name == "$and":
            return MISSING
        return kept if kept or not parts else MISSING

    def _condition(self, value: Any, *, negative: bool) -> Any:
        if self._is_claim(value):
            found = self._scalar(value, negative=negative)
            return MISSING if found is MISSING else {"$eq": found}
        return self._operators(value, negative=negative) if is_operators(value) else self._constant(value)

    def _operators(self, value: dict[str, Any], *, negative: bool) -> Any:
        placed: dict[str, Any] = {}
        for name, operand in self._inside(value.items()):
            found = self._operator(name, operand, negative=negative)
            if found is MISSING:
                return MISSING
            placed[name] = found
        return placed

    def _operator(self, name: str, operand: Any, *, negative: bool) -> Any:
        """An operator's operand; `MISSING` where its condition is false."""
        if name == FROM:
            self._wrong(f"{FROM} stands below $in")
        if name in {"$eq", "$ne", *COMPARISONS} and self._is_claim(operand):
            return self._scalar(operand, negative=negative or name == "$ne")
        if name in {"$in", "$nin", "$all"}:
            return self._list(name, operand, negative=negative or name == "$nin")
        if name == "$not" and is_operators(operand):
            return self._operators(operand, negative=True)
        if name == "$elemMatch" and isinstance(operand, dict):
            by_value = is_operators(operand) and next(iter(operand)) in FIELD_OPERATORS
            return (self._operators if by_value else self._document)(operand, negative=negative)
        return self._constant(operand)

    # ---------------------------------------------------------------------------------------------------- values

    @staticmethod
    def _is_claim(value: Any) -> bool:
        if isinstance(value, dict) and len(value) == 1:
            value = value.get(_OID)
        return isinstance(value, str) and _USER.match(value) is not None

    def _scalar(self, said: Any, *, negative: bool) -> Any:
        """A claim as one value."""
        name = said[_OID] if isinstance(said, dict) else said
        found = self._asked(name)
        if isinstance(said, dict):
            found = ObjectId("0" * 24) if found is _ANYTHING else ObjectId(found) if _is_id(found) else MISSING
        elif found is _ANYTHING:
            found = "a"
        return self._or_false(found if is_scalar(found) else MISSING, negative=negative)

    def _list(self, name: str, operand: Any, *, negative: bool) -> Any:
        if self._is_claim(operand) and isinstance(operand, str):
            found = self._asked(operand)
            found = ["a"] if found is _ANYTHING else found
        elif isinstance(operand, dict) and FROM in operand:
            if name == "$all" or negative or len(operand) > 1:
                self._wrong(f"{FROM} stands alone, below $in, and below no negation")
            values = self._sets(operand[FROM])
            return list(values) if values else MISSING
        elif not isinstance(operand, list):
            return operand  # the compiler says what is wrong with it
        else:
            return self._elements(name, operand, negative=negative)
        sound = isinstance(found, list | tuple) and 0 < len(found) <= MAX_VALUES and all(map(is_scalar, found))
        return self._or_false(list(found) if sound else MISSING, negative=negative)

    def _elements(self, name: str, operand: list[Any], *, negative: bool) -> Any:
        placed = []
        for _, element in self._inside(enumerate(operand)):
            if self._is_claim(element):
                found = self._scalar(element, negative=negative)
            elif name == "$all" and is_operators(element):
                found = self._operators(element, negative=negative)
            else:
                found = self._constant(element)
            if found is not MISSING:
                placed.append(found)
            elif name == "$all":
                return MISSING
        return placed if placed or not operand else MISSING

    def _asked(self, name: str) -> Any:
        if _KNOWN.fullmatch(name) is None:
            self._wrong(f"there is no {name}: $user.sub, $user.roles and $user.claims.… are known")
        return self._claims(name)

    @staticmethod
    def _or_false(found: Any, *, negative: bool) -> Any:
        if found is MISSING and negative:
            raise _False
        return found

    def _constant(self, value: Any) -> Any:
        if isinstance(value, str) and _USER.match(value):
            self._wrong(f"{value} stands where no claim is placed: below a path, or a comparison's operator")
        if isinstance(value, str) and _LOOKS.match(value):
            self._wrong(f"{value!r} is no claim: $user.sub, $user.roles and $user.claims.… are known")
        if isinstance(value, dict):
            if FROM in value:
                self._wrong(f"{FROM} stands below $in")
            for _, inner in self._inside(value.items()):
                self._constant(inner)
        elif isinstance(value, list):
            for _, inner in self._inside(enumerate(value)):
                self._constant(inner)
        return value

    def _wrong(self, reason: str) -> NoReturn:
        raise RuleError(self._path, reason)


def _is_id(value: Any) -> bool:
    return isinstance(value, ObjectId) or (isinstance(value, str) and ObjectId.is_valid(value))
