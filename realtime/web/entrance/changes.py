"""Changes of access: what is open goes on under what holds now, all of it in one turn, or not at all."""

from __future__ import annotations

import logging
import time

from realtime.bugs import break_off
from realtime.core.access.rules.model import Rules
from realtime.core.connection.session import Revoke, Succeed
from realtime.errors import ConfigurationError
from realtime.hub.hub import Hub
from realtime.hub.roster import Owner
from realtime.web.entrance.live import Live

log = logging.getLogger("realtime.access")


def change(hub: Hub, owner: Owner, effect: Succeed | Revoke) -> None:
    """Carry out what a change means to one subscription of a connection."""
    subscription = hub.roster.find(owner, effect.id)
    if subscription is None:
        return  # its end is on the way
    if isinstance(effect, Succeed):
        hub.succeed(subscription, effect.query)
    else:
        hub.revoke(subscription, effect.error)


def exchange(live: Live, rules: Rules) -> None:
    """These rules hold from now on, for everybody who is here: nothing more is told by the old ones.

    No await: between two events there is no moment at which one hears by the old rules and another by the new.
    """
    policy = live.policy
    if policy is None:
        raise ConfigurationError("this service was started without rules: start it with --rules, or Realtime(rules=…)")
    began = time.monotonic()
    about = policy.rules.differs(rules)
    policy.rules = rules
    for connection in list(live.connections):
        try:
            connection.reconsider(about)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the connection and is logged
            # Nobody is left with what may not be theirs any more.
            break_off(connection.sink, error)
    log.info("new rules hold; %d connections asked again in %.3f s", len(live.connections), time.monotonic() - began)
