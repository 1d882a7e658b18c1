"""What a principal hears of: what they see of each collection of a list, or of all, by the rules."""

from __future__ import annotations

from collections.abc import Iterable

from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import EVERY, Rules
from realtime.core.access.rules.placing import NO_SETS, Sets
from realtime.core.access.rules.reading import reading
from realtime.core.mql.sight import Sight
from realtime.core.mql.vision import NOTHING


def hearing(rules: Rules, principal: Principal, collections: Iterable[str] | None, sets: Sets = NO_SETS) -> Sight:
    """The visions of these collections; None: of all, those among them that nobody has made yet."""
    ruled = [name for name in rules.collections if name != EVERY]
    others = reading(rules, principal, EVERY, sets)
    names = ruled if collections is None else collections
    return Sight(
        {name: reading(rules, principal, name, sets) for name in names},
        others if collections is None else NOTHING,
        {name: reading(rules, principal, name, sets).granted for name in ruled},
        others_readable=others.granted,
    )
