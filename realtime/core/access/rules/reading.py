"""What a principal sees of a collection, by the rules."""

from __future__ import annotations

from realtime.core.access.principal import Principal
from realtime.core.access.rules.membership import slots
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.placing import NO_SETS, Sets, place
from realtime.core.mql.filters import UNBOUNDED, compile_filter
from realtime.core.mql.membership import MOST
from realtime.core.mql.vision import NEVER, Share, Vision


def reading(rules: Rules, principal: Principal, collection: str, sets: Sets = NO_SETS, most: int = MOST) -> Vision:
    """The shares of the grants that let the principal read. The rules have been checked: nothing is raised.

    A share of a rule that asks other collections is there whatever they have, and is `filled` with it later; until
    then it has what `sets` give. `most`: values that a set may have.
    """
    grants = [grant for grant in rules.grants(principal, collection) if grant.read is not False]
    shares = []
    for grant in grants:
        rows, asked = place(grant.read, principal, sets), slots(grant.read, principal, most)
        if rows is None and asked is None:
            continue
        rows_then = compile_filter(NEVER if rows is None else rows, UNBOUNDED)
        found, key = (None, None) if asked is None else asked
        shares.append(Share(rows_then, grant.cut, key, most=grant.limits.documents, slots=found))
    return Vision.of(shares, granted=bool(grants))
