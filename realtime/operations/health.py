"""Watches a running service: is the stream alive, how far is it behind, is the service fit to be sent clients.

What it finds goes to those who are connected (`status`), to `/readyz`, to the instruments, and into one line of the
log for each change.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable

from realtime import metrics
from realtime.bugs import bug, tell
from realtime.core.upstream.health import SILENT_SECONDS, FeedStatus, Grade, Instant, Standing
from realtime.core.wire.protocol import Status
from realtime.ports import WatchedFeed
from realtime.web.entrance.live import Live

log = logging.getLogger("realtime.health")

WATCH_SECONDS = 0.5
READY_GRACE_SECONDS = 30.0
"""An election must not take every replica out of a balancer: degraded this long is still ready."""

FAR_BEHIND = "this node is {} s behind MongoDB: look whether NATS and the relay keep up, and who writes so much"

Clock = Callable[[], Awaitable[Instant | None]]


class Health:
    """Of one running service. `clock` reads the cluster's own time; None where MongoDB does not answer.

    `most_behind`: seconds behind that clock after which nothing can be read at the times that the feed tells of; None
    where it reads MongoDB by itself, and has what is next as soon as MongoDB does.
    """

    def __init__(self, live: Live, feed: WatchedFeed, clock: Clock, *, most_behind: int | None = None) -> None:
        self._live = live
        self._feed = feed
        self._clock = clock
        self._from_feed = FeedStatus(up=True)
        self._stuck: str | None = None
        self._silent = False
        self._most_behind = most_behind
        self._degraded_at: float | None = None
        self._unanswered: float | None = None
        """Since when MongoDB does not say its time."""
        metrics.FEED_UP.set(1)
        metrics.LAST_STEP.set(time.time())

    def report(self, status: FeedStatus) -> None:
        """The feed went down or came back."""
        self._from_feed = status
        self._settle()

    def stuck(self, reason: str | None) -> None:
        """The stream is read and nothing comes of it, by a bug; None: it does again."""
        if self._stuck != reason:
            self._stuck = reason
            self._settle()

    async def watch(self) -> None:
        """A step that hangs is no exception: look at the clock now and then."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                self.tick(asyncio.get_running_loop().time())
            except Exception as error:
                bug("health", error)

    async def look(self) -> None:
        """Measure the lag, for ever."""
        while True:
            await asyncio.sleep(self._live.standing.next_look)
            try:
                await self.measure()
            except Exception:
                log.exception("the lag was not measured")

    def tick(self, now: float) -> None:
        """What can be said without asking MongoDB; `now` is the loop's time."""
        live, feed = self._live, self._feed
        feed.check(now)
        live.ready = not live.draining and self._graced(now) and live.hub.progress.behind is None
        if live.draining:
            feed.hasten()
        if feed.replied_at is not None:
            metrics.LAST_STEP.set(time.time() - (now - feed.replied_at))
        metrics.OUTBOX_BYTES.set(sum(getattr(one.sink, "waiting", 0) for one in list(live.connections)))
        metrics.JOURNAL_SECONDS.set((live.hub.time >> 32) - (live.hub.history.journal.start >> 32))

    async def measure(self) -> None:
        """Against the cluster's clock. While that cannot be read the feed's own report says enough."""
        instant = await self._clock()
        if instant is None:
            self._unanswered = self._unanswered or asyncio.get_running_loop().time()
            return
        self._unanswered = None
        standing = self._live.standing
        before = standing.grade
        standing.look(cluster=instant.time, stream=self._live.hub.time, oldest=instant.oldest)
        metrics.LAG.set(standing.lag)
        metrics.OPLOG_WINDOW.set(standing.window or 0)
        metrics.OPLOG_LEFT.set(standing.left or 0)
        if standing.grade is not before:
            _tell(standing)
        # Once silent it stays so until it has caught up: single steps of a stream that limps are no recovery.
        self._silent = standing.silent or (self._silent and standing.lag >= SILENT_SECONDS)
        if self._most_behind is not None:
            far = standing.lag > self._most_behind
            self._live.hub.progress.stands(instant.time, FAR_BEHIND.format(standing.lag) if far else None)
        self._settle()

    def _graced(self, now: float) -> bool:
        """Whether it is fit to be sent clients for all that it is degraded.

        Where relay or NATS alone are away all nodes are late together: reads and writes are as ever, and a balancer
        without any node would be worse than what says that it is late. So until nothing could be read there.
        """
        if self._degraded_at is None:
            return True
        relays = self._most_behind is not None and not self._from_feed.up and self._stuck is None
        if not relays or self._most_behind is None:
            return now - self._degraded_at < READY_GRACE_SECONDS
        if self._unanswered is not None and now - max(self._unanswered, self._degraded_at) >= READY_GRACE_SECONDS:
            return False
        return now - self._degraded_at < self._most_behind

    def _settle(self) -> None:
        """What the feed says of itself, and what the clock says of it, as one state."""
        status = self._from_feed
        if status.up and self._stuck is not None:
            status = FeedStatus(up=False, reason=self._stuck)
        if status.up and (behind := self._live.hub.progress.behind) is not None:
            status = FeedStatus(up=False, reason=behind, seconds=self._live.standing.lag)
        if status.up and self._silent:
            lag = self._live.standing.lag
            reason = f"the change stream is silent, {lag} s behind the cluster's clock: is a majority of members up?"
            status = FeedStatus(up=False, reason=reason, seconds=lag)
        if status.up == (self._live.degraded is None):
            return
        since = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=status.seconds)
        frame = Status(feed="up" if status.up else "degraded", since=since, reason=status.reason)
        self._note(frame, asyncio.get_running_loop().time())
        encoded = frame.encode()
        for connection in self._live.admitted:
            tell(connection.sink, encoded)

    def _note(self, frame: Status, now: float) -> None:
        if frame.feed == "up":
            log.info("up again after %.0f s", now - self._degraded_at if self._degraded_at is not None else 0)
            self._live.degraded, self._degraded_at = None, None
        else:
            log.warning("degraded: %s", frame.reason)
            self._live.degraded, self._degraded_at = frame, now
        metrics.FEED_UP.set(1 if frame.feed == "up" else 0)


def _tell(standing: Standing) -> None:
    words = "the service is %d s behind, of the %s s that the oplog reaches back"
    if standing.grade is Grade.ERROR:
        log.error(
            f"{words}: history will be lost; give it a larger oplog, or fewer writers", standing.lag, standing.window
        )
    elif standing.grade is Grade.WARNING:
        log.warning(words, standing.lag, standing.window)
    else:
        log.info(f"{words}: fine again", standing.lag, standing.window)
