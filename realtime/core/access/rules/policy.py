"""The rules that hold now, asked for principals: the one place where they can be exchanged."""

from __future__ import annotations

from collections.abc import Iterable

from realtime.core.access.principal import Principal
from realtime.core.access.rules.hearing import hearing
from realtime.core.access.rules.model import Grant, Operation, Rules
from realtime.core.access.rules.placing import NO_SETS, Sets
from realtime.core.access.rules.reading import reading
from realtime.core.mql.sight import Sight
from realtime.core.mql.vision import NOTHING, Vision


class Policy:
    """`rules` may be exchanged at any time; nothing that was answered before changes by that."""

    __slots__ = ("rules", "sets")

    def __init__(self, rules: Rules, sets: Sets = NO_SETS) -> None:
        self.rules = rules
        self.sets = sets

    def reading(self, principal: Principal | None, collection: str) -> Vision:
        """What somebody sees of a collection; of nobody: nothing."""
        return NOTHING if principal is None else reading(self.rules, principal, collection, self.sets)

    def hearing(self, principal: Principal | None, collections: Iterable[str] | None) -> Sight:
        """What somebody sees of several collections; None: of all there are and will be."""
        if principal is None:
            return Sight({}, NOTHING, {}, others_readable=False)
        return hearing(self.rules, principal, collections, self.sets)

    def granted(self, principal: Principal | None, collection: str, operation: Operation) -> tuple[Grant, ...]:
        """The grants that let somebody do that to some documents of a collection."""
        grants = () if principal is None else self.rules.grants(principal, collection)
        return tuple(grant for grant in grants if grant.rule(operation) is not False)
