"""What the rules let somebody do with a collection, grant by grant: for `realtime rules explain`, and for who asks.

Whoever asks about themselves is told the rules that are about them, and of those no condition on a field that they may
not read: it has paths, and values that documents have there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from realtime.core.access.principal import Principal
from realtime.core.access.rules.membership import members
from realtime.core.access.rules.model import OPERATIONS, Grant, Operation, Rules
from realtime.core.access.rules.placing import FROM, place
from realtime.core.access.rules.writing import writable
from realtime.core.bson import ejson
from realtime.core.mql.fieldsets import FieldSet
from realtime.core.mql.filters import UNBOUNDED, compile_filter
from realtime.core.mql.membership import MOST, Members
from realtime.core.mql.vision import NEVER

MOST_GRANTS = 20
"""Of one operation that are told."""
MOST_BYTES = 4096
"""Of one filter that is told, as Extended JSON."""


@dataclass(frozen=True, slots=True)
class Let:
    """That one grant lets somebody do something. `rows`: the filter; {}: every document; None: none, for no claim.

    In place of the values of a set, which MongoDB knows alone, `rows` has a name, by which `asked` has what is asked.
    """

    operation: Operation
    grant: Grant
    rows: dict[str, Any] | None
    asked: Mapping[str, Members] = field(default_factory=dict)

    @property
    def shown(self) -> Any:
        """The filter with `$from` for each set, the principal's claims in it."""
        return self._shown(self.rows)

    def _shown(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._shown(inner) for name, inner in value.items()}
        if not isinstance(value, list):
            return value
        one = self.asked.get(value[0]) if len(value) == 1 and isinstance(value[0], str) else None
        if one is None:
            return list(map(self._shown, value))
        return {FROM: {"collection": one.collection, "where": dict(one.selection), "values": one.path}}

    @property
    def fields(self) -> FieldSet:
        """Which fields it lets be written; of no meaning for others than `insert` and `update`."""
        return writable(self.grant)


class _Names:
    """In place of the values of each set a name that no document has."""

    def __init__(self) -> None:
        self.asked: dict[str, Members] = {}

    def values(self, spec: Mapping[str, Any], principal: Principal) -> Sequence[Any] | None:
        """One name; None where the set has no values whatever there is, for a claim that it asks for is missing."""
        asked = members(spec, principal, MOST)
        if asked.selection == NEVER:
            return None
        name = f"\0set {len(self.asked)}"
        self.asked[name] = asked
        return [name]


def explained(rules: Rules, principal: Principal, collection: str) -> Iterator[Let]:
    """What the principal's grants let, by operation. The rules have been checked: nothing is raised."""
    grants = rules.grants(principal, collection)
    for operation in OPERATIONS:
        for grant in grants:
            rule = grant.rule(operation)
            if rule is not False:
                names = _Names()
                yield Let(operation, grant, place(rule, principal, names), names.asked)


def told(rules: Rules, principal: Principal, collection: str) -> dict[str, Any]:
    """The same for the principal, bounded: for each operation a list, empty where it is forbidden.

    Each entry has `documents`: true for every one, false for none, the filter, or null where that is on hidden fields,
    of another collection's too that a set is taken from, or is long (`why`: `hidden` or `long`); of a read `hidden` or
    `shown` and `most`; of an insert or update `writable` or `unwritable`, and `keys: server`. `more`: there are grants
    that are not told.
    """
    found = list(explained(rules, principal, collection))
    readers = [let.grant for let in found if let.operation == "read"]
    said: dict[str, Any] = {operation: [] for operation in OPERATIONS}
    for let in found:
        if len(said[let.operation]) < MOST_GRANTS:
            named = all(_reads(rules, principal, one) for one in let.asked.values())
            rows = _rows(let, readers or [let.grant]) if named else {"documents": None, "why": "hidden"}
            said[let.operation].append({**rows, **_fields(let)})
        else:
            said["more"] = True
    return said


def _rows(let: Let, readers: list[Grant]) -> dict[str, Any]:
    if not let.rows:
        return {"documents": let.rows is not None}
    named = compile_filter(let.rows, UNBOUNDED).named
    if not all(reader.cut.shows(path) for reader in readers for path in named):
        return {"documents": None, "why": "hidden"}
    if len(ejson.encode(let.shown)) > MOST_BYTES:
        return {"documents": None, "why": "long"}
    return {"documents": let.shown}


def _reads(rules: Rules, principal: Principal, asked: Members) -> bool:
    """Whether they may read what a set is asked by, and taken from."""
    readers = [grant.cut for grant in rules.grants(principal, asked.collection) if grant.read is not False]
    paths = {asked.path, *compile_filter(dict(asked.selection), UNBOUNDED).named}
    return bool(readers) and all(cut.shows(path) for cut in readers for path in paths)


def _fields(let: Let) -> dict[str, Any]:
    grant = let.grant
    if let.operation == "delete":
        return {}
    if let.operation == "read":
        cut, most = grant.cut, grant.limits.documents
        cuts = {"shown": ["_id", *cut.show]} if cut.show is not None else {"hidden": list(cut.hide)} if cut.hide else {}
        return cuts if most is None else {**cuts, "most": most}
    fields = let.fields
    paths = {} if fields.everything else {"unwritable" if fields.but else "writable": sorted(fields.paths)}
    return {**paths, "keys": "server"} if let.operation == "insert" and grant.keys == "server" else paths
