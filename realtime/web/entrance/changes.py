"""Changes of access: what is open goes on under what holds now, all of it from one turn on, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import copy
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

SLICE_SECONDS = 0.005
"""Of a turn of the loop."""
PAUSE_SECONDS = 0.005
"""Between two slices: what others' frames need takes several turns."""
FORESIGHT_SECONDS = 0.5
"""Whoever takes somebody's access away does not wait for longer."""


def change(hub: Hub, owner: Owner, effect: Succeed | Revoke) -> None:
    """Carry out what a change means to one subscription of a connection."""
    subscription = hub.roster.find(owner, effect.id)
    if subscription is None:
        return  # its end is on the way
    if isinstance(effect, Succeed):
        hub.succeed(subscription, effect.query)
    else:
        hub.revoke(subscription, effect.error)


async def foresee(live: Live, rules: Rules) -> None:
    """Judge what is open by rules that are about to hold, in slices: so that `exchange` has little to do in its turn.

    The rules before go on to hold meanwhile, for `FORESIGHT_SECONDS` at most: what is left by then `exchange` judges.
    """
    policy = live.policy
    if policy is None:
        return
    ahead = copy.copy(policy)
    ahead.rules = rules
    about, began = policy.rules.differs(rules), time.monotonic()
    until = began + SLICE_SECONDS
    for connection in list(live.connections):
        with contextlib.suppress(Exception):  # `exchange` meets whatever it is, and ends the connection by it
            for _ in connection.foresee(ahead, about):
                if time.monotonic() >= until:
                    await asyncio.sleep(PAUSE_SECONDS)
                    until = time.monotonic() + SLICE_SECONDS
        if until > began + FORESIGHT_SECONDS:
            return


def exchange(live: Live, rules: Rules) -> None:
    """These rules hold from now on, for everybody who is here: nothing more is told by the old ones.

    No await: between two events there is no moment at which one hears by the old rules and another by the new. What
    goes on under another query is silent from now on, and is taken in again in slices of the turns that follow.
    """
    policy = live.policy
    if policy is None:
        raise ConfigurationError("this service was started without rules: start it with --rules, or Realtime(rules=…)")
    began = time.monotonic()
    about = policy.rules.differs(rules)
    policy.rules = rules
    with live.hub.changing():
        for connection in list(live.connections):
            try:
                connection.reconsider(about)
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends the connection and is logged
                # Nobody is left with what may not be theirs any more.
                break_off(connection.sink, error)
    log.info("new rules hold; %d connections asked again in %.3f s", len(live.connections), time.monotonic() - began)
