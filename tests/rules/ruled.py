"""Who may see what, decided a second time and in another way: nothing of `realtime` is imported here.

It knows the few filters that these tests' rules and clients use, over JSON values. `realtime` turns rules into one
MongoDB filter and a projection; here every grant is asked about every document, and every field about every grant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.truth import Document

Rules = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Grants by collection and role, as the file has them."""

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a token names."""

    sub: str
    roles: tuple[str, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def value(self, name: str) -> Any:
        """What `$user.…` stands for; `_MISSING` where the token does not have it."""
        found: Any = {"sub": self.sub, "roles": list(self.roles), "claims": self.claims}
        for part in name.removeprefix("$user.").split("."):
            found = found.get(part, _MISSING) if isinstance(found, Mapping) else _MISSING
        return found


# --------------------------------------------------------------------------------------------------------- filters


def at(document: Any, path: str) -> Iterator[Any]:
    """Every value at a path, through arrays as MongoDB goes; an array itself and then its elements."""
    head, _, rest = path.partition(".")
    if isinstance(document, list):
        for one in document:
            if isinstance(one, dict):
                yield from at(one, path)
        return
    if not isinstance(document, dict) or head not in document:
        yield _MISSING
        return
    value = document[head]
    if rest:
        yield from at(value, rest)
        return
    yield value
    if isinstance(value, list):
        yield from value


def _compares(value: Any, other: Any, wanted: Callable[[Any, Any], bool]) -> bool:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (value, other))
    return (numbers or (isinstance(value, str) and isinstance(other, str))) and wanted(value, other)


def _equals(value: Any, other: Any) -> bool:
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    return bool(value == other) or (other is None and value is _MISSING)


_OPERATORS: dict[str, Callable[[list[Any], Any], bool]] = {
    "$eq": lambda values, other: any(_equals(value, other) for value in values),
    "$ne": lambda values, other: not any(_equals(value, other) for value in values),
    "$in": lambda values, other: any(_equals(value, one) for value in values for one in other),
    "$nin": lambda values, other: not any(_equals(value, one) for value in values for one in other),
    "$gt": lambda values, other: any(_compares(value, other, lambda a, b: a > b) for value in values),
    "$gte": lambda values, other: any(_compares(value, other, lambda a, b: a >= b) for value in values),
    "$lt": lambda values, other: any(_compares(value, other, lambda a, b: a < b) for value in values),
    "$exists": lambda values, other: any(value is not _MISSING for value in values) is other,
}


def matches(document: Document, selection: Any) -> bool:
    """Whether a document matches a filter of these tests; `True` and `False` match all and nothing."""
    if isinstance(selection, bool):
        return selection
    return all(_holds(document, name, wanted) for name, wanted in selection.items())


def _holds(document: Document, name: str, wanted: Any) -> bool:
    if name == "$and":
        return all(matches(document, one) for one in wanted)
    if name == "$or":
        return any(matches(document, one) for one in wanted)
    if name.startswith("$"):
        raise NotImplementedError(name)
    values = list(at(document, name)) or [_MISSING]
    if isinstance(wanted, dict) and any(one.startswith("$") for one in wanted):
        return all(_OPERATORS[operator](values, other) for operator, other in wanted.items())
    return _OPERATORS["$eq"](values, wanted)


# ----------------------------------------------------------------------------------------------------------- rules

_NEGATIVE = frozenset({"$ne", "$nin"})


class _FalseRuleError(Exception):
    """A claim that is missing where its absence would widen the rule."""


def placed(rule: Any, person: Person) -> Any:
    """A rule with somebody's values in place of `$user.…`."""
    try:
        return _placed(rule, person)
    except _FalseRuleError:
        return False


def _placed(rule: Any, person: Person) -> Any:
    if isinstance(rule, bool):
        return rule
    made: dict[str, Any] = {}
    for name, wanted in rule.items():
        if name in {"$and", "$or"}:
            made[name] = [_placed(one, person) for one in wanted]
            continue
        operators = wanted if isinstance(wanted, dict) else {"$eq": wanted}
        values = {operator: _value(operator, other, person) for operator, other in operators.items()}
        if any(value is _MISSING or isinstance(value, dict) for value in values.values()):
            if any(operator in _NEGATIVE for operator in values):
                raise _FalseRuleError
            return False
        made[name] = values
    return made


def _value(operator: str, wanted: Any, person: Person) -> Any:
    if isinstance(wanted, str) and wanted.startswith("$user."):
        value = person.value(wanted)
        if operator in {"$in", "$nin"}:
            return value if isinstance(value, list) and value else _MISSING
        return _MISSING if isinstance(value, list) else value
    return wanted


@dataclass(frozen=True, slots=True)
class Share:
    """One grant's part: its rows, and which paths it shows of them."""

    rows: Any
    hide: frozenset[str] = frozenset()
    show: frozenset[str] | None = None

    def lets(self, path: str) -> bool:
        """Whether it shows this path, or something below it."""
        if path in self.hide:
            return False
        if self.show is None or path == "_id":
            return True
        return any(f"{path}.".startswith(f"{one}.") or one.startswith(f"{path}.") for one in self.show)

    def lets_all(self, path: str) -> bool:
        """Whether it shows this path whole, with everything above and below it that matters to a condition on it."""
        parts = path.split(".")
        above = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
        if any(one in self.hide for one in above) or any(one.startswith(f"{path}.") for one in self.hide):
            return False
        return self.show is None or path == "_id" or any(one in self.show for one in above)


@dataclass(frozen=True, slots=True)
class Sight:
    """What somebody sees of one collection, at one time."""

    shares: tuple[Share, ...] = ()

    def sees(self, document: Document) -> bool:
        return any(matches(document, share.rows) for share in self.shares)

    def shown(self, document: Document | None) -> Document | None:
        """The document with what no grant of its row shows cut out; None: it is not seen."""
        if document is None:
            return None
        here = [share for share in self.shares if matches(document, share.rows)]
        return _cut(document, "", here) if here else None

    def shows(self, path: str) -> bool:
        """Whether it may be filtered, sorted and grouped by."""
        return bool(self.shares) and all(share.lets_all(path) for share in self.shares)


def _cut(value: Any, prefix: str, shares: Sequence[Share]) -> Any:
    if isinstance(value, list):
        return [_cut(one, prefix, shares) if isinstance(one, dict) else one for one in value]
    kept = {}
    for name, one in value.items():
        path = f"{prefix}{name}"
        letting = [share for share in shares if share.lets(path)]
        if letting:
            kept[name] = _cut(one, f"{path}.", letting) if isinstance(one, dict | list) else one
    return kept


def sight(rules: Rules, person: Person, collection: str) -> Sight:
    """What somebody sees of a collection."""
    grants = rules.get(collection, {})
    shares = []
    for role in person.roles:
        grant = grants.get(role)
        if not grant or not grant.get("read"):
            continue
        rows = placed(grant["read"], person)
        if rows is False:
            continue
        fields = grant.get("fields", {})
        show = frozenset(fields["show"]) if "show" in fields else None
        shares.append(Share(rows, frozenset(fields.get("hide", ())), show))
    return Sight(tuple(shares))
