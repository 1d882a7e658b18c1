"""The rules that hold now, asked for principals: the one place where they can be exchanged."""

from __future__ import annotations

from collections.abc import Iterable

from realtime.core.access.principal import Principal
from realtime.core.access.rules.hearing import hearing
from realtime.core.access.rules.model import Grant, Operation, Rules
from realtime.core.access.rules.reading import reading
from realtime.core.mql.membership import MOST
from realtime.core.mql.sight import Sight
from realtime.core.mql.vision import NOTHING, Vision


class Policy:
    """`rules` may be exchanged at any time; nothing that was answered before changes by that.

    What rules ask of other collections is not known here: visions come with what they ask, and have to be filled with
    it. `most`: values that such a set may have.
    """

    __slots__ = ("most", "rules")

    def __init__(self, rules: Rules, most: int = MOST) -> None:
        self.rules = rules
        self.most = most

    def reading(self, principal: Principal | None, collection: str) -> Vision:
        """What somebody sees of a collection; of nobody: nothing."""
        return NOTHING if principal is None else reading(self.rules, principal, collection, most=self.most)

    def hearing(self, principal: Principal | None, collections: Iterable[str] | None) -> Sight:
        """What somebody sees of several collections; None: of all there are and will be."""
        if principal is None:
            return Sight({}, NOTHING, {}, others_readable=False)
        return hearing(self.rules, principal, collections, self.most)

    def granted(self, principal: Principal | None, collection: str, operation: Operation) -> tuple[Grant, ...]:
        """The grants that let somebody do that to some documents of a collection."""
        grants = () if principal is None else self.rules.grants(principal, collection)
        return tuple(grant for grant in grants if grant.rule(operation) is not False)
