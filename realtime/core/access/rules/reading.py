"""What a principal sees of a collection, by the rules."""

from __future__ import annotations

from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.placing import NO_SETS, Sets, place
from realtime.core.mql.filters import UNBOUNDED, compile_filter
from realtime.core.mql.vision import Share, Vision


def reading(rules: Rules, principal: Principal, collection: str, sets: Sets = NO_SETS) -> Vision:
    """The shares of the grants that let the principal read. The rules have been checked: nothing is raised."""
    grants = [grant for grant in rules.grants(principal, collection) if grant.read is not False]
    shares = []
    for grant in grants:
        rows = place(grant.read, principal, sets)
        if rows is not None:
            shares.append(Share(compile_filter(rows, UNBOUNDED), grant.cut, most=grant.limits.documents))
    return Vision.of(shares, granted=bool(grants))
