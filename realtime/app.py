"""The composition root: `Realtime(settings)` with `.lifespan` and `.router`; `create_app()` is just that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI

from realtime import __version__
from realtime.core.connection.session import Limits
from realtime.core.live.journal import Journal
from realtime.core.live.query import GroupBounds
from realtime.core.mql.filters import Bounds
from realtime.core.wire.collections import Collection, Collections
from realtime.core.wire.protocol import CLOSE_DRAINING
from realtime.errors import ConfigurationError
from realtime.hub.history import History
from realtime.hub.hub import Hub
from realtime.hub.pipe import Pipe
from realtime.mongo import client as clients
from realtime.mongo import embedded, preflight
from realtime.mongo.checked import CheckedWriter
from realtime.mongo.clock import ClusterClock
from realtime.mongo.faults import Gate
from realtime.mongo.feed import ChangeFeed, FeedStatus
from realtime.mongo.oplog import OplogReader
from realtime.mongo.snapshot import MongoReader
from realtime.operations.health import Health
from realtime.settings import Settings, load
from realtime.web import pages
from realtime.web.descriptions import descriptions
from realtime.web.entrance.live import Entrance, Live
from realtime.web.entrance.problems import answer_unknown_paths
from realtime.web.http import listing, rest, sse
from realtime.web.http.typed import typed_routes
from realtime.web.socket import socket

log = logging.getLogger("realtime")

CLOSE_SECONDS = 0.5
BACKFILL_SECONDS = 60
"""How much of the oplog is read back after a start, so that a crowd that returns finds its history in memory."""
NOT_STARTED = (
    "the realtime service is not started, because nobody ran its lifespan: say app = FastAPI(lifespan=rt.lifespan), or "
    "`async with rt.started():` in your own lifespan. Starlette does not run the lifespan of a mounted application: "
    "for live = create_app(), rt is live.state.realtime"
)

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]
"""What FastAPI takes as `lifespan`: a function of the application that gives an asynchronous context manager."""


class Realtime:
    """The service, for any FastAPI application.

    `app = FastAPI(lifespan=rt.lifespan)`, `app.include_router(rt.router, prefix="/live")`. Whoever runs `started()`
    owns it: it opens the one Motor client, starts the feed, and closes both again. `lifespan` is the application's
    own, run inside of this one. `collections` (and those of the settings) are the only ones served, unless `others`
    says otherwise; a model says what their documents are. docs/embedding.md has it all.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        collections: Iterable[Collection] = (),
        others: bool = False,
        lifespan: Lifespan | None = None,
    ) -> None:
        self.settings = settings if settings is not None else load()
        self.collections = Collections.of(collections, self.settings.collections, others=others)
        self.uri = ""
        self._inner = lifespan
        self._started = False
        self._said_not_started = False
        self._live: Live | None = None
        self._feed: ChangeFeed | None = None
        self._health: Health | None = None
        self.router = APIRouter()
        for part in (
            typed_routes(self.collections),
            listing.router,
            rest.router,
            sse.router,
            socket.router,
            pages.router,
            descriptions.router,
        ):
            self.router.include_router(part, dependencies=[Depends(Entrance(self.live))])
        open_to_all = Depends(Entrance(self.live, any_origin=True))
        self.router.include_router(pages.client_router, dependencies=[open_to_all])

    def live(self) -> Live:
        """The running service; `ConfigurationError` where its lifespan does not run."""
        if self._live is None:
            if not self._said_not_started:
                # Once: whoever asks again and again must not fill the log.
                self._said_not_started = True
                log.error(NOT_STARTED)
            raise ConfigurationError(NOT_STARTED)
        return self._live

    async def database(self) -> Any:
        """For `Depends`: Motor's database on the process's one client."""
        return self.live().database

    def drain(self) -> None:
        """Tell every client that this is a farewell and no fault. Event streams would keep a server from ending."""
        for connection in list(self._live.connections) if self._live is not None else ():
            connection.sink.close(CLOSE_DRAINING, "draining")

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[Mapping[str, Any]]:
        """FastAPI's lifespan; inside of it the application's own, with what that one yields."""
        async with self.started():
            if self._inner is None:
                yield {}
            else:
                async with self._inner(app) as state:
                    yield state or {}

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Live]:
        """Run the service. `ConfigurationError` says what keeps it from starting and how to mend that."""
        if self._started:
            raise ConfigurationError("the realtime service runs already: run its lifespan, or started(), once")
        settings = self.settings
        async with AsyncExitStack() as stack:
            self._started = True
            stack.callback(self._ended)
            self.uri = uri = await self._uri(stack)
            client = clients.open_client(uri)
            stack.callback(clients.close, client)
            feed_client = clients.open_feed_client(uri)
            stack.callback(clients.close, feed_client)
            database = clients.database_of(client, settings.database)
            deployment = await preflight.inspect(
                client, database, epoch=settings.epoch, allow_sharded=settings.allow_sharded
            )
            log.info(
                "serving database %s of replica set %s (MongoDB %s, epoch %s)",
                settings.database,
                deployment.replica_set,
                deployment.version,
                deployment.epoch,
            )
            gate = Gate(settings.request_timeout_seconds)
            reader = MongoReader(client, database, gate)
            bounds = _bounds(settings)
            far_client = clients.open_feed_client(uri, far=True)
            stack.callback(clients.close, far_client)
            feed_database = clients.database_of(feed_client, settings.database)
            far_database = clients.database_of(far_client, settings.database)
            journal = Journal(deployment.time, max_bytes=settings.journal_bytes, max_seconds=settings.journal_seconds)
            oplog = OplogReader(
                far_database,
                batch_size=settings.feed_batch_size,
                max_bytes=settings.catch_up_bytes,
                collections=self.collections.names,
                held_bytes=settings.transaction_bytes,
            )
            history = History(journal, oplog)
            hub = Hub(reader, history, epoch=deployment.epoch, time=deployment.time, bounds=bounds)
            self._feed = self._change_feed(feed_client, feed_database, deployment.time, far=far_database)
            self._live = Live(
                settings=settings,
                limits=_limits(settings, self.collections),
                epoch=deployment.epoch,
                hub=hub,
                reader=reader,
                writer=CheckedWriter(client, database, gate, self.collections),
                database=database,
            )
            self._health = Health(self._live, self._feed, ClusterClock(client, database, gate).read)
            async with self._running(self._feed, hub, Pipe(hub, reader), self._health):
                try:
                    yield self._live
                finally:
                    self._live.ready = False
                    self.drain()

    def _change_feed(self, client: Any, database: Any, start: int, *, far: Any) -> ChangeFeed:
        return ChangeFeed(
            client,
            database,
            start=start,
            batch_size=self.settings.feed_batch_size,
            await_ms=self.settings.feed_await_ms,
            held_bytes=self.settings.transaction_bytes,
            on_status=self._report,
            far=far,
            collections=self.collections.names,
        )

    def _ended(self) -> None:
        self._live, self._feed, self._health = None, None, None
        self._started = self._said_not_started = False

    @asynccontextmanager
    async def _running(self, feed: ChangeFeed, hub: Hub, pipe: Pipe, health: Health) -> AsyncIterator[None]:
        """The feed into the hub, until the block ends; the feed's step is waited for and never cancelled."""
        flow = asyncio.create_task(pipe.run(feed), name="feed")
        flow.add_done_callback(self._pipe_ended)
        backfill = hub.history.backfill(max(hub.time - (BACKFILL_SECONDS << 32), 0))
        watchers = [asyncio.create_task(work) for work in (self._beat(), health.watch(), health.look(), backfill)]
        try:
            yield
        finally:
            feed.close()
            pipe.close()
            for task in watchers:
                task.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
            await hub.close()
            # The step under way ends by itself, but for a frozen MongoDB; by now nobody is left to miss its events.
            await asyncio.wait({flow}, timeout=self.settings.feed_await_ms / 1000 + CLOSE_SECONDS)
            flow.cancel()
            await asyncio.gather(flow, return_exceptions=True)

    def _pipe_ended(self, pipe: asyncio.Task[None]) -> None:
        error = None if pipe.cancelled() else pipe.exception()
        if error is not None:
            log.critical("the feed ended, which is a bug: nothing is delivered any more", exc_info=error)
            self._report(FeedStatus(up=False, reason="the feed ended by a bug; restart the service"))

    async def _uri(self, stack: AsyncExitStack) -> str:
        if self.settings.mongodb_uri is not None:
            return self.settings.mongodb_uri.get_secret_value()
        mongo = await stack.enter_async_context(embedded.running(self.settings.data_dir, self.settings.mongod))
        return mongo.uri

    # ------------------------------------------------------------------------------------------------------ watching

    async def _beat(self) -> None:
        live = self.live()
        while True:
            await asyncio.sleep(self.settings.heartbeat_seconds)
            live.hub.heartbeat(list(live.connections))

    def _report(self, status: FeedStatus) -> None:
        """The feed went down or came back, by its own account."""
        if self._health is not None:
            self._health.report(status)


def _limits(settings: Settings, collections: Collections) -> Limits:
    return Limits(
        frame_bytes=settings.frame_bytes,
        subscriptions=settings.subscriptions,
        documents=settings.documents,
        pending_writes=settings.pending_writes,
        filter=Bounds(settings.filter_depth, settings.filter_nodes),
        read_only=settings.read_only,
        collections=collections,
    )


def _bounds(settings: Settings) -> GroupBounds:
    return GroupBounds(
        documents=settings.documents,
        bytes=settings.group_bytes,
        frame_bytes=settings.frame_bytes,
        kept=settings.group_documents,
        all_bytes=settings.all_groups_bytes,
        linger_seconds=settings.linger_seconds,
    )


def create_app(settings: Settings | None = None, **options: Any) -> FastAPI:
    """An application that is the service and nothing else; `options` are those of `Realtime`."""
    realtime = Realtime(settings, **options)
    app = FastAPI(
        title="realtime",
        version=__version__,
        summary="Live MongoDB queries",
        lifespan=realtime.lifespan,
        # FastAPI's own pages load their scripts from elsewhere, and know nothing of hosts and origins.
        openapi_url=None,
    )
    app.include_router(realtime.router)
    app.include_router(descriptions.descriptions(app), dependencies=[Depends(Entrance(realtime.live))])
    answer_unknown_paths(app)
    app.state.realtime = realtime
    return app
