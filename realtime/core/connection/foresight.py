"""What the subscriptions of one connection come to by rules that are about to hold, found out before they do."""

from __future__ import annotations

from realtime.core.access.principal import Principal
from realtime.core.access.rules.model import Rules
from realtime.core.live.query import Query
from realtime.core.wire.protocol import Subscribe
from realtime.errors import ServiceError

Outcome = Query | ServiceError
"""The query of a subscription, or why it may be had no more."""


class Foresight:
    """Of these rules and this principal, and of nothing else."""

    __slots__ = ("_found", "_principal", "_rules")

    def __init__(self, rules: Rules, principal: Principal | None) -> None:
        self._rules = rules
        self._principal = principal
        self._found: dict[int, tuple[Subscribe, Outcome]] = {}

    def add(self, request: Subscribe, outcome: Outcome) -> None:
        """This is what a request comes to."""
        self._found[id(request)] = request, outcome

    def of(self, rules: Rules, principal: Principal | None, request: Subscribe) -> Outcome | None:
        """What the request comes to; None where that is not known, as by other rules, or for somebody else."""
        if rules is not self._rules or principal is not self._principal:
            return None
        _, outcome = self._found.get(id(request), (None, None))
        return outcome
