"""Where the feed, the query groups and the subscriptions meet.

`plan`, `dispatch`, `attach` and `detach` have no await in them: nothing is read from shared state and changed after a
wait. A batch goes down by `plan` and `dispatch` to the teller, and its outcomes come up once, to the groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from realtime import metrics
from realtime.bugs import tell
from realtime.core.connection.outbox import Claim
from realtime.core.live.events import Batch
from realtime.core.live.journal import Entry
from realtime.core.live.query import GroupBounds, Query
from realtime.core.live.router import Router
from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.wire import protocol
from realtime.errors import ServiceError
from realtime.hub import plan as planning
from realtime.hub.history import History
from realtime.hub.plan import Plan
from realtime.hub.progress import Progress
from realtime.hub.roster import Fence, Owner, Roster, Subscription
from realtime.hub.subscriptions import Subscriptions
from realtime.hub.teller import Images
from realtime.ports import SnapshotReader


class Hub:
    """Groups, subscriptions and the time up to which everything has been dispatched."""

    def __init__(
        self,
        reader: SnapshotReader,
        history: History,
        *,
        epoch: str,
        time: int,
        bounds: GroupBounds,
        dialect: Dialect = NEWEST,
    ) -> None:
        self.history = history
        self.progress = Progress(epoch, time)
        self.router = Router()
        self.roster = Roster(bounds.frame_bytes)
        self._subscriptions = Subscriptions(
            reader,
            history,
            dialect,
            progress=self.progress,
            router=self.router,
            roster=self.roster,
            bounds=bounds,
        )
        self.groups = self._subscriptions.groups
        self.slow = self._subscriptions.slow

    @property
    def time(self) -> int:
        """Everything at or before has been dispatched."""
        return self.progress.time

    @property
    def position(self) -> str:
        """`time` as clients keep it."""
        return self.progress.position

    # ------------------------------------------------------------------------------------------------------ the pipe

    def plan(self, batch: Batch) -> Plan:
        """What a batch did, and which documents have to be read at its time."""
        self.progress.began(batch.time)
        return planning.plan(batch, self.router)

    def together(self, batch: Batch, most: int) -> int:
        """How many of the first events of a batch may be told as one, of `most`."""
        return self.groups.memberships.together(batch, most)

    def abandon(self) -> None:
        """The batch in the pipe comes again, whole or in parts: who waits for its end need not."""
        self.progress.abandoned()

    def dispatch(self, plan: Plan, images: dict[str, Images | None]) -> None:
        """Tell every group, encode once for each, and hand the same bytes to every sink."""
        settled = plan.settled
        for outcome in self.groups.teller.everybody(settled, images):
            self.groups.act_on(outcome)
        entry = Entry(settled, {name: found for name, found in images.items() if found is not None})
        metrics.EVENTS.inc(len(settled.order))
        # From here on the batch is told, and nothing may send it through the pipe again: nothing raises.
        self.progress.time = settled.time
        self.history.append(entry)
        self.groups.teller.passing.trim(self.history.journal.start)
        self.roster.release(settled.time)
        self.progress.ended()

    def speak(self, dialect: Dialect, time: int) -> None:
        """The server at hand spoke this dialect at `time`."""
        self.progress.between_batches(lambda: self.groups.dialects.switch(dialect, time))

    # ------------------------------------------------------------------------------------------------- subscriptions

    def attach(self, subscription: Subscription) -> None:
        """Take a subscription in. `subscribed` or `error` follows, at once where the group is live."""
        self._subscriptions.attach(subscription)

    def succeed(self, subscription: Subscription, query: Query) -> None:
        """Its effective query is another one from now on: nothing more of the old, and `subscribed` again."""
        self._subscriptions.succeed(subscription, query)

    def changing(self) -> AbstractContextManager[None]:
        """Of many that `succeed` in this block each is silent at once, and is taken in by a slice of a later turn."""
        return self._subscriptions.successions.together()

    def revoke(self, subscription: Subscription, error: ServiceError) -> None:
        """It may not be had any more: nothing more of what was, then why."""
        self._subscriptions.revoke(subscription, error)

    def detach(self, owner: Owner, subscription_id: str) -> None:
        """Let a subscription go; its group goes some time after the last one."""
        self._subscriptions.detach(owner, subscription_id)

    def drop(self, owner: Owner) -> None:
        """The connection is gone, and everything of it."""
        self._subscriptions.drop(owner)

    def heartbeat(self, owners: Iterable[Owner]) -> None:
        """One position for every live subscription; those that it does not hold for are named."""
        plain = protocol.Heartbeat(position=self.position).encode()
        for owner in owners:
            if owner.sink.crowded:
                continue  # it has enough to read
            mine = self.roster.of(owner)
            other = [one.id for one in mine if one.lapsed or not one.at(self.time)]
            frame = protocol.Heartbeat(position=self.position, behind=other).encode() if other else plain
            if owner.sink.max_frame is None or len(frame) <= owner.sink.max_frame:
                tell(owner.sink, frame, Claim())

    def fence(self, owner: Owner, time: int, done: Callable[[], None]) -> Callable[[], None]:
        """Call `done` once the owner's live subscriptions are at or after `time`; returns how to give up."""
        fence = Fence(owner, time, done)
        if self.roster.passed(fence, self.time):
            done()
            return lambda: None
        return self.roster.wait(fence)

    async def close(self) -> None:
        """Cancel what is being read and wait for it to end."""
        await self.groups.shut()
        await self.history.close()
