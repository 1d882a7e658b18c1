"""Walls: where an exception of ours stops, and what it takes along.

A query group is read again, the second time in a row it ends. A moment that an events group cannot tell is tried once
more, then the group ends where it is. What fails for one subscription or one connection ends that one. Everybody else
goes on in the same turn. What none of these holds is the pipe's (`realtime/hub/pipe.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from realtime.bugs import break_off, bug, tell
from realtime.core.live.event_group import EventGroup, Group
from realtime.core.live.events import format_position
from realtime.core.live.query import QueryGroup
from realtime.core.live.trials import Trials
from realtime.core.wire import protocol
from realtime.errors import HistoryLostError, ServiceError
from realtime.hub.progress import Progress
from realtime.hub.roster import Roster, Subscription

REASON = "internal"
GROUP_TRIALS = 2


class Walls:
    """Around groups, subscriptions, and what is called on behalf of them."""

    def __init__(
        self,
        *,
        progress: Progress,
        roster: Roster,
        resync: Callable[[QueryGroup, str], None],
        end_all: Callable[[Group, ServiceError], None],
        end: Callable[[Subscription, ServiceError, str], None],
    ) -> None:
        self._progress = progress
        self._roster = roster
        self._resync = resync
        self._end_all = end_all
        self._end = end
        self.trials = Trials(GROUP_TRIALS)

    def group_failed(self, group: Group, error: Exception) -> None:
        """What it holds can no longer be trusted: read it again; events, or twice in a row, end it."""
        told = bug("query group", error)
        members = self._roster.members(group)
        again = members is None or not members.subscriptions or any(one.accepted for one in members.subscriptions)
        spent = self.trials.failed(group)
        try:
            if isinstance(group, QueryGroup) and again and not spent:
                self._resync(group, REASON)
            else:
                self.trials.passed(group)
                self._end_all(group, told)
        except Exception as worse:
            self._give_up(group, worse)

    def _give_up(self, group: Group, error: Exception) -> None:
        """It can neither be read again nor ended: whoever is in it is sent away, and comes again."""
        members = self._roster.members(group)
        for subscription in list(members.subscriptions) if members is not None else ():
            break_off(subscription.owner.sink, error)

    def subscription_failed(self, subscription: Subscription, error: Exception, after: int | None = None) -> None:
        """End it, in a way from which its client cannot go on as if it had been told everything.

        `after`: the time at or before which it was, where that is not its group's.
        """
        told: ServiceError = bug("subscription", error)
        group = subscription.group
        if subscription.live and isinstance(group, EventGroup):
            # What came after it is on its way.
            told = HistoryLostError(f"events could not be told: {told.message}")
        elif subscription.live:
            tell(subscription.owner.sink, protocol.Resync(id=subscription.id, reason=REASON).encode())
        position = self._progress.position if group is None else group.position
        if after is not None:
            position = format_position(self._progress.epoch, after)
        self._end(subscription, told, position)

    def run(self, subscription: Subscription, frames: Iterator[bytes], after: int | None = None) -> Iterator[bytes]:
        """Frames for one subscription, made as its connection takes them; `after` as in `subscription_failed`."""
        try:
            for frame in frames:
                if subscription.superseded:
                    return
                yield frame
        except ServiceError as error:
            # An expression has no value of a document in them: nothing of ours, and it would be so again.
            group = subscription.group
            if group is not None:
                self._end(subscription, error, _position(self._progress.epoch, group, after))
        except Exception as error:
            if subscription.group is not None:
                self.subscription_failed(subscription, error, after)


def _position(epoch: str, group: Group, after: int | None) -> str:
    return group.position if after is None else format_position(epoch, after)
