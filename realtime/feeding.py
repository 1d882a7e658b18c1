"""By which way MongoDB's changes come to a service: a change stream of its own, or a relay's stream."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from realtime.core.live.journal import Journal
from realtime.core.relay.identity import Identity
from realtime.core.upstream.health import FeedStatus, Instant
from realtime.hub.history import History
from realtime.hub.hub import Hub
from realtime.mongo import client as clients
from realtime.mongo.dialect import Attentive, Interpreter
from realtime.mongo.feed import ChangeFeed
from realtime.mongo.oplog import OplogReader
from realtime.mongo.preflight import Deployment
from realtime.mongo.ways import Reach
from realtime.ports import WatchedFeed
from realtime.settings import Settings

if TYPE_CHECKING:
    from realtime.nats.node import Node


SPREAD_SECONDS = 2.0


class Feeding:
    """Of one service. `names`: the collections that are served; None: all."""

    def __init__(
        self, settings: Settings, names: Collection[str] | None, deployment: Deployment, reach: Reach, node: Node | None
    ) -> None:
        self._settings = settings
        self._names = names
        self._deployment = deployment
        self._reach = reach
        self._node = node

    @property
    def start(self) -> int:
        """The cluster time after which everything is told."""
        return self._deployment.time if self._node is None else self._node.start

    @property
    def most_behind(self) -> int | None:
        """Seconds behind MongoDB after which nothing fits any more that is read there; None: that cannot be."""
        return None if self._node is None else self._node.most_behind

    def history(self) -> History:
        """What happened before, from `start` on in memory."""
        settings, oplog = self._settings, self._oplog()
        journal = Journal(self.start, max_bytes=settings.journal_bytes, max_seconds=settings.journal_seconds)
        if self._node is None:
            return History(journal, oplog)
        return History(journal, self._node.history(oplog, max_bytes=settings.catch_up_bytes))

    def feed(self, hub: Hub, on_status: Callable[[FeedStatus], None]) -> WatchedFeed:
        """The hub's batches, after `start`."""
        settings, reach = self._settings, self._reach
        interpreter = Interpreter(self._deployment.dialect, hub.speak)
        if self._node is not None:
            return self._node.feed(
                self._oplog(),
                on_status=on_status,
                before=Attentive(reach.client, reach.database, interpreter.ask).look,
                interest=hub.router.asked,
            )
        return ChangeFeed(
            reach.feed_client,
            reach.feed_database,
            start=self.start,
            batch_size=settings.feed_batch_size,
            await_ms=settings.feed_await_ms,
            held_bytes=settings.transaction_bytes,
            on_status=on_status,
            on_open=interpreter.ask,
            far=reach.far_database,
            collections=self._names,
            interest=hub.router.asked,
        )

    def clock(self, ask: Callable[[], Awaitable[Instant | None]]) -> Callable[[], Awaitable[Instant | None]]:
        """MongoDB's clock: as a relay says it, and where none does by asking."""
        return ask if self._node is None else functools.partial(self._node.clock.read, ask)

    def beside(self, hub: Hub) -> tuple[Coroutine[Any, Any, None], ...]:
        """What goes on beside the feed, without an end."""
        return () if self._node is None else (self._node.say_needs(hub.router.completed),)

    def _oplog(self) -> OplogReader:
        settings, reach = self._settings, self._reach
        opened = None
        if self._node is not None:
            opened = functools.partial(clients.far_database, reach.uri, settings.database)
        return OplogReader(
            reach.far_database if opened is None else reach.database,
            opened=opened,
            batch_size=settings.feed_batch_size,
            max_bytes=settings.catch_up_bytes,
            collections=self._names,
            held_bytes=settings.transaction_bytes,
        )


def check(settings: Settings) -> None:
    """`ConfigurationError` for a NATS that cannot be used, which needs no MongoDB to be known."""
    if settings.nats is not None:
        from realtime.nats import access  # noqa: PLC0415 - who uses no NATS does not load it

        access.access_of(settings)


def spread(settings: Settings) -> float:
    """Seconds over which the first reads of one of many that may be started at once are spread."""
    return 0.0 if settings.nats is None else SPREAD_SECONDS


async def begun(
    stack: AsyncExitStack, settings: Settings, names: frozenset[str] | None, deployment: Deployment, reach: Reach
) -> Feeding:
    """The way that the settings name; what is opened for it closes with the stack. `ConfigurationError`."""
    node: Node | None = None
    if settings.nats is not None:
        # Here: who uses no NATS does not load it.
        from realtime.nats import access  # noqa: PLC0415 - see above
        from realtime.nats import node as nodes  # noqa: PLC0415 - see above

        identity = Identity(deployment.epoch, settings.database, deployment.replica_set, names)
        node = await stack.enter_async_context(nodes.joined(access.access_of(settings), identity, deployment.time))
    return Feeding(settings, names, deployment, reach, node)
