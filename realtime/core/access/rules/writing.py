"""What a principal may write to a collection, by the rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import bson

from realtime.core.access.principal import Principal
from realtime.core.access.rules.membership import members
from realtime.core.access.rules.model import Grant, Operation, Rules
from realtime.core.access.rules.placing import NO_SETS, Sets, place
from realtime.core.access.rules.policy import Policy
from realtime.core.access.rules.reading import reading
from realtime.core.bson.stored import CODEC
from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.mql.fieldsets import FieldSet
from realtime.core.mql.filters import UNBOUNDED, compile_filter
from realtime.core.mql.membership import MOST, Members
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


class Ruling:
    """What one principal may write, by these rules, as a server of this dialect means them."""

    __slots__ = ("_dialect", "_known", "_most", "_principal", "_rules")

    def __init__(self, rules: Rules, principal: Principal, dialect: Dialect = NEWEST, most: int = MOST) -> None:
        self._rules = rules
        self._principal = principal
        self._dialect = dialect
        self._most = most
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
            asked = _Asked(self._most)
            found = self._meant(collection, asked), asked
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            self._known[collection] = found
        return found

    def _meant(self, collection: str, sets: Sets) -> WriteRule:
        return writing(self._rules, self._principal, collection, sets).spoken(self._dialect)


class Rulings:
    """Those of the principals who wrote last: what is placed and compiled for one write serves the next."""

    __slots__ = ("_kept", "_of", "_texts")

    def __init__(self) -> None:
        self._kept: dict[tuple[Principal, str], Ruling] = {}
        self._of: tuple[Rules, Dialect] | None = None
        self._texts: dict[int, tuple[Principal, str]] = {}

    def of(self, policy: Policy, principal: Principal, dialect: Dialect) -> Ruling:
        """What the principal may write by the rules of now."""
        if self._of is None or self._of[0] is not policy.rules or self._of[1] != dialect:
            self._kept, self._of = {}, (policy.rules, dialect)
        who = principal, self._said(principal)
        found = self._kept.pop(who, None) or Ruling(policy.rules, principal, dialect, policy.most)
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]  # who has not written for the longest
        self._kept[who] = found
        return found

    def _said(self, principal: Principal) -> str:
        """The claims as text: to Python `True` is 1, so claims that are equal may say something else.

        Of whoever writes again it is remembered, for it takes longer than all else here; not where an application keeps
        claims that it may change.
        """
        known = self._texts.get(id(principal))
        if known is not None and known[0] is principal:
            return known[1]
        said = repr(principal.claims)
        if type(principal.claims) is MappingProxyType:
            if len(self._texts) >= MOST_KEPT:
                self._texts.clear()
            self._texts[id(principal)] = principal, said
        return said


class _Asked:
    """Sets that take down what they are asked for."""

    def __init__(self, most: int) -> None:
        self.asked: dict[bytes, Members] = {}
        self._most = most

    def values(self, spec: Mapping[str, Any], principal: Principal) -> Sequence[Any]:
        """A value, so that nothing behind it goes unasked."""
        self.asked[_named(spec)] = members(spec, principal, self._most)
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
