"""The dialect that the hub's queries are decided by, and what is done when the server at hand speaks another one.

A dialect holds from the moment at which a server of it became the primary. Until then everything that was told was
told by the one before, so a view of then, brought up to now by what changed since, could still hold what only the
other dialect lets in: of a query that depends on the dialect no position from before is taken up.
"""

from __future__ import annotations

from collections.abc import Callable

from realtime.core.live import meaning
from realtime.core.live.query import Query, QueryGroup
from realtime.core.live.router import Router
from realtime.core.mql.dialect import Dialect
from realtime.hub.progress import Progress

REASON = "server_changed"


class Dialects:
    """`now` holds since the cluster time `since`, or longer."""

    def __init__(
        self, dialect: Dialect, *, progress: Progress, router: Router, resync: Callable[[QueryGroup, str], None]
    ) -> None:
        self._progress = progress
        self._router = router
        self._resync = resync
        self.now = dialect
        self.since = progress.time

    def spoken(self, query: Query) -> Query:
        """The query as the server at hand means it, under the same key; itself where that is no other meaning."""
        return meaning.spoken(query, self.now)

    def switch(self, dialect: Dialect, time: int) -> None:
        """The server at hand speaks this dialect, and did at `time`: who depends on what is different starts again."""
        differs = self.now.differs(dialect)
        if not differs:
            return
        self.now, self.since = dialect, max(time, self._progress.time)
        router = self._router
        for events in router.event_groups():
            events.query = self.spoken(events.query)
        groups = [group for name in router.collections() for group in router.query_groups(name)]
        concerned = [group for group in groups if meaning.asks(group.query) & differs]
        for group in concerned:
            group.query = self.spoken(group.query)
        for group in concerned:
            self._resync(group, REASON)

    def holds(self, query: Query, after: int) -> bool:
        """Whether what was told of a query at a position was told by the dialect of now."""
        return not meaning.asks(query) or after > self.since
