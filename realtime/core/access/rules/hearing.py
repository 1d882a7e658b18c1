"""What a principal hears of: what they see of each collection of a list, or of all, by the rules."""

from __future__ import annotations

from collections.abc import Iterable

from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import EVERY, Rules
from realtime.core.access.rules.reading import reading
from realtime.core.mql.membership import MOST
from realtime.core.mql.sight import Sight
from realtime.core.mql.vision import NOTHING, Vision


def hearing(rules: Rules, principal: Principal, collections: Iterable[str] | None, most: int = MOST) -> Sight:
    """The visions of these collections; None: of all, those among them that nobody has made yet.

    `most`: values that a set may have.
    """

    def seen(name: str) -> Vision:
        return reading(rules, principal, name, most=most)

    ruled = [name for name in rules.collections if name != EVERY]
    others = seen(EVERY)
    names = ruled if collections is None else collections
    return Sight(
        {name: seen(name) for name in names},
        others if collections is None else NOTHING,
        {name: seen(name).granted for name in ruled},
        others_readable=others.granted,
    )
