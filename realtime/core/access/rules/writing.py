"""What a principal may write to a collection, by the rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson

from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import Grant, Operation, Rules
from realtime.core.access.rules.placing import MAX_VALUES, NO_SETS, Sets, place
from realtime.core.access.rules.policy import Policy
from realtime.core.access.rules.reading import reading
from realtime.core.bson.stored import CODEC
from realtime.core.bson.values import MISSING
from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.mql.fieldsets import FieldSet
from realtime.core.mql.filters import UNBOUNDED, compile_filter
from realtime.core.mql.paths import leaves
from realtime.core.mql.vision import NEVER
from realtime.core.mql.writing import Permit, WriteRule, shown_by

MOST_KEPT = 1000
"""Principals, and collections of each."""
_KINDS: tuple[Operation, ...] = ("insert", "update", "delete")


def writing(rules: Rules, principal: Principal, collection: str, sets: Sets = NO_SETS) -> WriteRule:
    """The rule of the principal's grants. The rules have been checked: nothing is raised."""
    grants = rules.grants(principal, collection)
    vision = reading(rules, principal, collection, sets)
    return WriteRule(vision, *(tuple(_permits(grants, kind, principal, sets)) for kind in _KINDS))


def _permits(grants: Sequence[Grant], kind: Operation, principal: Principal, sets: Sets) -> Iterator[Permit]:
    for grant in grants:
        rule = grant.rule(kind)
        if rule is False:
            continue
        placed = place(rule, principal, sets)
        # One that no document matches is no less a grant: what is refused is a document then, and not the request.
        rows = NEVER if placed is None else placed
        yield Permit(compile_filter(rows, UNBOUNDED), writable(grant), keys=grant.keys == "client")


def writable(grant: Grant) -> FieldSet:
    """The fields that a grant lets be written, hidden or not."""
    named = grant.fields.write
    return shown_by(grant.cut) if named is None else FieldSet(frozenset(named), but=False)


@dataclass(frozen=True, slots=True)
class Members:
    """A set that a rule takes from another collection, as a question to MongoDB."""

    collection: str
    selection: Mapping[str, Any]
    path: str
    most: int

    def values(self, documents: Sequence[Mapping[str, Any]]) -> Sequence[Any] | None:
        """The values that the documents have; None for more than there may be."""
        parts = tuple(self.path.split("."))
        found = [value for one in documents for value in leaves(one, parts, 0, enter=True)]
        # Those of a list, and the list itself, which is no value of a set.
        kept = [value for value in found if value is not MISSING and not isinstance(value, list)]
        return kept if len(kept) <= self.most else None


class Ruling:
    """What one principal may write, by these rules, as a server of this dialect means them."""

    __slots__ = ("_dialect", "_known", "_principal", "_rules")

    def __init__(self, rules: Rules, principal: Principal, dialect: Dialect = NEWEST) -> None:
        self._rules = rules
        self._principal = principal
        self._dialect = dialect
        self._known: dict[str, tuple[WriteRule, _Asked]] = {}

    def asks(self, collection: str) -> tuple[Members, ...]:
        """What the rule of a collection has to know first."""
        return tuple(self._looked_at(collection)[1].asked.values())

    def rule(self, collection: str) -> WriteRule:
        """The rule where it asks nothing; else one that shows no more than that."""
        return self._looked_at(collection)[0]

    def placed(self, collection: str, found: Sequence[Sequence[Any] | None]) -> WriteRule:
        """The rule, with what was found of what it asks, in the same order."""
        asked = self._looked_at(collection)[1].asked
        return self._meant(collection, _Found(dict(zip(asked, found, strict=True))))

    def _looked_at(self, collection: str) -> tuple[WriteRule, _Asked]:
        found = self._known.get(collection)
        if found is None:
            asked = _Asked()
            found = self._meant(collection, asked), asked
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            self._known[collection] = found
        return found

    def _meant(self, collection: str, sets: Sets) -> WriteRule:
        return writing(self._rules, self._principal, collection, sets).spoken(self._dialect)


class Rulings:
    """Those of the principals who wrote last: what is placed and compiled for one write serves the next."""

    __slots__ = ("_kept", "_of")

    def __init__(self) -> None:
        self._kept: dict[tuple[Principal, str], Ruling] = {}
        self._of: tuple[Rules, Dialect] | None = None

    def of(self, policy: Policy, principal: Principal, dialect: Dialect) -> Ruling:
        """What the principal may write by the rules of now."""
        if self._of is None or self._of[0] is not policy.rules or self._of[1] != dialect:
            self._kept, self._of = {}, (policy.rules, dialect)
        # To Python `True` is 1, so claims that are equal may say something else.
        who = principal, repr(principal.claims)
        found = self._kept.pop(who, None) or Ruling(policy.rules, principal, dialect)
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]  # who has not written for the longest
        self._kept[who] = found
        return found


class _Asked:
    """Sets that take down what they are asked for."""

    def __init__(self) -> None:
        self.asked: dict[bytes, Members] = {}

    def values(self, spec: Mapping[str, Any], principal: Principal) -> Sequence[Any]:
        """A value, so that nothing behind it goes unasked."""
        where = place(dict(spec.get("where") or {}), principal)
        selection = NEVER if where is None else where
        self.asked[_named(spec)] = Members(spec["collection"], selection, spec["values"], MAX_VALUES)
        return [""]


class _Found:
    """Sets that were read."""

    def __init__(self, found: Mapping[bytes, Sequence[Any] | None]) -> None:
        self._found = found

    def values(self, spec: Mapping[str, Any], principal: Principal) -> Sequence[Any] | None:
        """What was found for it."""
        return self._found[_named(spec)]


def _named(spec: Mapping[str, Any]) -> bytes:
    return bson.encode(dict(spec), codec_options=CODEC)
