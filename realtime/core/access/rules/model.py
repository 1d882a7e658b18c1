"""Rules: for each collection and role a grant. Frozen models, for YAML and for applications that embed the service."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from realtime.core.access.principal import Principal
from realtime.core.mql.cut import Cut
from realtime.core.wire.reserved_names import reserved

EVERY = "*"
"""In place of a collection's name: all; in place of a role's: whoever is let in."""

Rule = StrictBool | dict[str, Any]
"""True, False, or a filter in MongoDB's language with `$user.…` in place of values (`…rules.placing`)."""
Operation = Literal["read", "insert", "update", "delete"]
OPERATIONS: tuple[Operation, ...] = ("read", "insert", "update", "delete")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fields(_Frozen):
    """Dotted paths. `hide` and `show` exclude each other; `write` None: whatever may be read."""

    hide: tuple[str, ...] = ()
    show: tuple[str, ...] | None = None
    write: tuple[str, ...] | None = None


class Limits(_Frozen):
    """`documents`: how many a live query of this grant's may hold."""

    documents: int | None = Field(None, ge=1, strict=True)  # to Python True is 1


@lru_cache(maxsize=1024)
def _cut(hide: tuple[str, ...], show: tuple[str, ...] | None) -> Cut:
    """One for all principals of a grant."""
    return Cut(hide, show)


class Grant(_Frozen):
    """What one role may do with one collection."""

    read: Rule = False
    insert: Rule = False
    update: Rule = False
    delete: Rule = False
    fields: Fields = Fields()
    limits: Limits = Limits()
    keys: Literal["client", "server"] = "client"

    @property
    def cut(self) -> Cut:
        """Which fields it shows. `InvalidRequestError` for paths that are none."""
        return _cut(self.fields.hide, self.fields.show)

    def rule(self, operation: Operation) -> Rule:
        """Of which documents it lets one do that."""
        found: Rule = getattr(self, operation)
        return found

    @property
    def idle(self) -> bool:
        """Whether it lets nothing."""
        return not any(self.rule(one) is not False for one in OPERATIONS)


class Rules(_Frozen):
    """Grants by collection and role. What has none is nobody's."""

    collections: Mapping[str, Mapping[str, Grant]] = Field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether nobody may do anything by them."""
        return all(grant.idle for grants in self.collections.values() for grant in grants.values())

    def differs(self, other: Rules) -> frozenset[str] | None:
        """The collections whose grants are others there; None: it may be any."""
        mine, theirs = self.collections, other.collections
        found = frozenset(name for name in (*mine, *theirs) if not _same(mine.get(name), theirs.get(name)))
        return None if EVERY in found else found

    def grants(self, principal: Principal, collection: str) -> tuple[Grant, ...]:
        """Those of the principal's roles, in the order of their names; those that let nothing are left out.

        A role's grant under the name of the collection stands in place of its grant under `*`.
        """
        if reserved(collection):
            return ()
        by_role = {**self.collections.get(EVERY, {}), **self.collections.get(collection, {})}
        found = (by_role[role] for role in sorted({EVERY, *principal.roles}) if role in by_role)
        return tuple(grant for grant in found if not grant.idle)


def _same(one: Mapping[str, Grant] | None, other: Mapping[str, Grant] | None) -> bool:
    """Whether both say the same. To Python `True` is 1, to MongoDB it is not."""
    return one == other and repr(one) == repr(other)
