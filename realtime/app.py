"""The composition root: `Realtime(settings)` with `.lifespan` and `.router`; `create_app()` is just that."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Security
from fastapi.requests import HTTPConnection
from fastapi.security import HTTPBearer

from realtime import __version__, feeding
from realtime.access import ruling
from realtime.access.access import Access
from realtime.access.audit import Entry
from realtime.access.rules_file import REFUSED, RulesFile
from realtime.bugs import bug
from realtime.core.access.principal import ANONYMOUS, Principal
from realtime.core.access.revoked import revocation_of
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.policy import Policy
from realtime.core.connection.session import Limits
from realtime.core.live.query import GroupBounds
from realtime.core.mql.filters import Bounds
from realtime.core.upstream.health import FeedStatus
from realtime.core.wire.closing import CLOSE_DRAINING
from realtime.core.wire.collections import Collection, Collections
from realtime.errors import ConfigurationError, ServiceError, UnauthenticatedError, UnavailableError
from realtime.feeding import Feeding
from realtime.hub.hub import Hub
from realtime.hub.pipe import Pipe
from realtime.hub.tasks import end
from realtime.mongo import embedded, preflight
from realtime.mongo.access import MongoKeys, MongoRevocations
from realtime.mongo.checked import CheckedWriter
from realtime.mongo.clock import ClusterClock
from realtime.mongo.faults import Gate
from realtime.mongo.ruled_writes import RuledWriter
from realtime.mongo.snapshot import MongoReader
from realtime.mongo.tickets import MongoTickets
from realtime.mongo.ways import reach_of
from realtime.operations.health import Health
from realtime.ports import WatchedFeed
from realtime.settings import Settings, load, stray_variables
from realtime.web import pages as page_routes
from realtime.web.descriptions import descriptions
from realtime.web.entrance import changes, shared, slashes
from realtime.web.entrance.application import Application
from realtime.web.entrance.doorkeeper import Doorkeeper, address_of
from realtime.web.entrance.live import Entrance, Live
from realtime.web.entrance.own import Dependency
from realtime.web.entrance.problems import answer_unknown_paths, answer_unknown_sockets
from realtime.web.http import aggregate, grants, listing, rest, sse, tickets
from realtime.web.http.typed import typed_routes
from realtime.web.socket import asked, socket

log = logging.getLogger("realtime")

CLOSE_SECONDS = 0.5
FRESH_SECONDS = 3.0
"""Without a reply of the change stream for so long nobody is let in: a revocation might have been missed."""
READ_SECONDS, READ_LOOK_SECONDS = 5.0, 0.01
"""How long a start waits for revocations to be read."""
BACKFILL_SECONDS = 60
"""How much of the oplog is read back after a start, so that a crowd that returns finds its history in memory."""
BEARER = HTTPBearer(
    scheme_name="token",
    description="A token or a key, where the service asks who its clients are (REALTIME_AUTH).",
    auto_error=False,
)
"""Describes alone: who asks is found out by the entrance, so that all ways of carrying a token are one."""
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
    own, run inside of this one. `authenticate` gets a connection and returns who asks. `collections` (and those of the
    settings) are the only ones served, unless `others` says otherwise; a model says what their documents are. `rules`
    say what each may see and write, in place of a file (`REALTIME_RULES`).
    docs/embedding.md has it all.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        collections: Iterable[Collection] = (),
        others: bool = False,
        lifespan: Lifespan | None = None,
        admin_apart: bool = False,
        authenticate: Callable[..., Any] | None = None,
        rules: Rules | None = None,
    ) -> None:
        self.settings = settings if settings is not None else load()
        self.own = None if authenticate is None else Dependency(authenticate)
        self.collections = Collections.of(
            collections, self.settings.collections, others=others, database=self.settings.database
        )
        self.policy = ruling.policy_of(self.settings, rules, self.collections.names)
        self.rules_file = None if self.settings.rules is None else RulesFile(self.settings.rules)
        self.uri = ""
        self._inner = lifespan
        self._started = False
        self._said_not_started = False
        self._live: Live | None = None
        self._feed: WatchedFeed | None = None
        self._health: Health | None = None
        self._revoker: MongoRevocations | None = None
        self.admin_apart = admin_apart or self.settings.admin_port is not None
        typed = typed_routes(self.collections)
        self.router, self.admin_router = (
            self._served(typed, pages=not self.admin_apart),
            self._served(typed, pages=True),
        )

    def _served(self, typed: APIRouter, *, pages: bool) -> APIRouter:
        """What clients need, and with `pages` what people and machines of the operator's do."""
        router = APIRouter(redirect_slashes=False)
        asks = [Depends(Entrance(self.live, asks=True)), Security(BEARER)]
        of_clients = (listing.router, aggregate.router, rest.router, sse.router, tickets.router, grants.router)
        # First the sockets: routes are tried one after the other, and most who come together come there.
        for part in (socket.router, typed, *of_clients):
            router.include_router(part, dependencies=asks)
        of_pages = [page_routes.router, page_routes.probes_router, descriptions.router]
        for part in [asked.router, *(of_pages if pages else [page_routes.bare_probes_router])]:
            router.include_router(part, dependencies=[Depends(Entrance(self.live))])
        open_to_all = Depends(Entrance(self.live, any_origin=True))
        router.include_router(page_routes.client_router, dependencies=[open_to_all])
        for part in (shared.router, slashes.router):
            router.include_router(part, dependencies=[Depends(Entrance(self.live))])
        return router

    def live(self) -> Live:
        """The running service; `ConfigurationError` where its lifespan does not run."""
        if self._live is None:
            if not self._said_not_started:
                # Once: whoever asks again and again must not fill the log.
                self._said_not_started = True
                log.error(NOT_STARTED)
            raise ConfigurationError(NOT_STARTED)
        return self._live

    @property
    def running(self) -> Live | None:
        """The running service; None where it is not started."""
        return self._live

    async def principal(self, connection: HTTPConnection) -> Principal:
        """For `Depends`, in routes of the application's own: who asks; `HTTPException` where that is nobody."""
        doorkeeper = self.live().doorkeeper
        try:
            found = await doorkeeper.who(connection)
            if found is None:
                raise UnauthenticatedError("who asks? Send Authorization: Bearer and a token")
        except ServiceError as error:
            doorkeeper.refused(error, address_of(connection))
            headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, UnauthenticatedError) else None
            raise HTTPException(error.status, error.message, headers) from None
        return found

    async def database(self) -> Any:
        """For `Depends`: Motor's database on the process's one client."""
        return self.live().database

    async def revoke(
        self, *, sub: str | None = None, jti: str | None = None, key: str | None = None, until: float | None = None
    ) -> None:
        """End a user's connections, a token or a key, on every node: of `sub` what was issued before now.

        Exactly one of them. It is stored when this returns, and acts here at once. `until`: when it may be forgotten,
        in unix seconds. Raises `ServiceError` where MongoDB is away.
        """
        revocation = revocation_of(time.time(), sub=sub, jti=jti, key=key)
        if revocation is None:
            raise ConfigurationError("revoke(sub=…), revoke(jti=…) or revoke(key=…): name one of them")
        access, revoker = self.live().access, self._revoker
        if revoker is None or access.revocations is None:
            raise ConfigurationError("nobody is asked who they are here: set REALTIME_AUTH, or give authenticate=…")
        await revoker.write(revocation, until)
        access.revocations.act_now(revocation)
        access.audit.record(Entry("revoke", operation=revocation.kind, key=revocation.value))

    async def reload_rules(self, rules: Rules | None = None) -> None:
        """Let other rules hold from now on: these, where the application gave them, else what the file has by now.

        What is open goes on under them, and hears nothing more by the old ones when this returns. They are refused
        whole by `ConfigurationError`, which says what is wrong and where; then those before go on to hold.
        """
        self.live()
        if (self.rules_file is None) is (rules is None):
            raise ConfigurationError("reload_rules(): of a file without rules, of rules that were given with others")
        async with self.live().exchanging:
            if rules is not None:
                await self._exchange(ruling.checked(rules, self.collections.names))
            elif self.rules_file is not None:
                await self._exchange(await asyncio.to_thread(ruling.read, self.rules_file, self.collections.names))

    async def _exchange(self, rules: Rules) -> None:
        await self.foresee_rules(rules)
        self.take_rules(rules)

    async def foresee_rules(self, rules: Rules) -> None:
        """These rules, which were checked, are about to hold."""
        await changes.foresee(self.live(), rules)

    def take_rules(self, rules: Rules) -> None:
        """These rules, which were checked, hold from now on."""
        changes.exchange(self.live(), ruling.heeded(rules))

    def drain(self) -> None:
        """Tell every client that this is a farewell and no fault. Event streams would keep a server from ending."""
        for connection in list(self._live.connections) if self._live is not None else ():
            try:
                connection.sink.close(CLOSE_DRAINING, "draining")
            except Exception as error:
                bug("connection", error)

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
        if (stray := stray_variables()) is not None:
            log.warning(stray)
        feeding.check(settings)
        async with AsyncExitStack() as stack:
            self._started = True
            stack.callback(self._ended)
            self.uri = uri = await self._uri(stack)
            reach = reach_of(stack, uri, settings.database, follower=settings.nats is not None)
            client, database = reach.client, reach.database
            deployment = await preflight.inspect(
                client, database, epoch=settings.epoch, allow_sharded=settings.allow_sharded
            )
            _say(settings, deployment)
            gate = Gate(settings.request_timeout_seconds, spread=feeding.spread(settings))
            reader = MongoReader(client, database, gate)
            source = await feeding.begun(stack, settings, self.collections.names, deployment, reach)
            hub = Hub(
                reader,
                source.history(),
                epoch=deployment.epoch,
                time=source.start,
                bounds=_bounds(settings),
                dialect=deployment.dialect,
            )
            access = Access(settings, own=self.own is not None)
            self._feed = source.feed(hub, self._report)
            self._live = Live(
                settings=settings,
                limits=_limits(settings, self.collections, self.policy),
                epoch=deployment.epoch,
                hub=hub,
                reader=reader,
                writer=(writer := CheckedWriter(client, database, gate, self.collections)),
                database=database,
                access=access,
                ruled=lambda ruling: RuledWriter(writer, ruling, reader.zones),
                tickets=MongoTickets(database, gate),
            )
            clock = source.clock(ClusterClock(client, database, gate).read)
            self._health = Health(self._live, self._feed, clock, most_behind=source.most_behind)
            pipe = Pipe(hub, reader, on_stuck=self._health.stuck)
            async with (
                self._running(self._feed, hub, pipe, self._health, source),
                access.running(hub, MongoKeys(database, gate), self._feed_is_fresh),
            ):
                self._revoker = MongoRevocations(database, gate)
                self._live.doorkeeper = await self._doorkeeper(stack, access)
                try:
                    yield self._live
                finally:
                    self._live.ready = False
                    self.drain()

    async def _doorkeeper(self, stack: AsyncExitStack, access: Access) -> Doorkeeper:
        doorkeeper = Doorkeeper(
            access.authenticator,
            own=None if self.own is None else Application(self.own),
            recheck_seconds=self.settings.recheck_seconds,
            revocations=access.revocations,
            limiter=access.limiter,
            audit=access.audit,
        )
        stack.callback(doorkeeper.close)
        await self._revocations_read(access)
        return doorkeeper

    async def _revocations_read(self, access: Access) -> None:
        """So that nobody who comes with the first breath is `unavailable`; where MongoDB is away they are."""
        for _ in range(round(READ_SECONDS / READ_LOOK_SECONDS)):
            try:
                if access.revocations is not None:
                    access.revocations.refused(ANONYMOUS)
            except UnavailableError:
                await asyncio.sleep(READ_LOOK_SECONDS)
            else:
                return

    def _feed_is_fresh(self) -> bool:
        """Whether the change stream has said something just now, so that a revocation would have come by it."""
        heard = None if self._feed is None else self._feed.replied_at
        return heard is not None and asyncio.get_running_loop().time() - heard < FRESH_SECONDS

    def _ended(self) -> None:
        self._live, self._feed, self._health, self._revoker = None, None, None, None
        self._started = self._said_not_started = False

    @asynccontextmanager
    async def _running(
        self, feed: WatchedFeed, hub: Hub, pipe: Pipe, health: Health, source: Feeding
    ) -> AsyncIterator[None]:
        """The feed into the hub, until the block ends; the feed's step is waited for and never cancelled."""
        flow = asyncio.create_task(pipe.run(feed), name="feed")
        backfill = hub.history.backfill(max(hub.time - (BACKFILL_SECONDS << 32), 0))
        watchers = [asyncio.create_task(work) for work in (*self._watching(health, backfill), *source.beside(hub))]
        try:
            yield
        finally:
            feed.close()
            pipe.close()
            await end(watchers)
            await hub.close()
            # The step under way ends by itself, but for a frozen MongoDB; by now nobody is left to miss its events.
            await asyncio.wait({flow}, timeout=self.settings.feed_await_ms / 1000 + CLOSE_SECONDS)
            await end((flow,))

    async def _uri(self, stack: AsyncExitStack) -> str:
        if self.settings.mongodb_uri is not None:
            return self.settings.mongodb_uri.get_secret_value()
        mongo = await stack.enter_async_context(embedded.running(self.settings.data_dir, self.settings.mongod))
        return mongo.uri

    # ------------------------------------------------------------------------------------------------------ watching

    def _watching(self, health: Health, backfill: Coroutine[Any, Any, None]) -> tuple[Coroutine[Any, Any, None], ...]:
        """What goes on beside the feed."""
        held = self.live().tickets
        holding = () if held is None else (held.hold(),)
        rules = () if self.rules_file is None else (self.rules_file.watch(self._reread),)
        return (self._beat(), health.watch(), health.look(), backfill, *holding, *rules)

    async def _reread(self) -> None:
        """The file with the rules is another one."""
        try:
            await self.reload_rules()
        except ConfigurationError as error:
            log.error(REFUSED, error)  # noqa: TRY400 - the operator's own
        except Exception as error:
            bug("rules", error)

    async def _beat(self) -> None:
        live = self.live()
        while True:
            await asyncio.sleep(self.settings.heartbeat_seconds)
            try:
                live.hub.heartbeat(list(live.admitted))
            except Exception as error:
                bug("heartbeat", error)

    def _report(self, status: FeedStatus) -> None:
        """The feed went down or came back, by its own account."""
        if self._health is not None:
            self._health.report(status)


def _say(settings: Settings, deployment: preflight.Deployment) -> None:
    log.info(
        "serving database %s of replica set %s (MongoDB %s, epoch %s)",
        settings.database,
        deployment.replica_set,
        deployment.version,
        deployment.epoch,
    )


def _limits(settings: Settings, collections: Collections, policy: Policy | None) -> Limits:
    return Limits(
        frame_bytes=settings.frame_bytes,
        subscriptions=settings.subscriptions,
        documents=settings.documents,
        pending_writes=settings.pending_writes,
        filter=Bounds(settings.filter_depth, settings.filter_nodes),
        read_only=settings.read_only,
        collections=collections,
        policy=policy,
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
    app = _application(realtime, realtime.router, described=not realtime.admin_apart)
    app.state.realtime = realtime
    if realtime.admin_apart:
        # Of the service that the other one runs.
        app.state.admin = _application(realtime, realtime.admin_router, described=True)
    return app


def _application(realtime: Realtime, router: APIRouter, *, described: bool) -> FastAPI:
    app = FastAPI(
        title="realtime",
        version=__version__,
        summary="Live MongoDB queries",
        lifespan=realtime.lifespan,
        # FastAPI's own pages load their scripts from elsewhere, and know nothing of hosts and origins.
        openapi_url=None,
        # A redirect is the framework's own answer, to whatever host was named, before anybody has looked at it.
        redirect_slashes=False,
    )
    app.include_router(router)
    if described:
        app.include_router(descriptions.descriptions(app), dependencies=[Depends(Entrance(realtime.live))])
    answer_unknown_paths(app)
    answer_unknown_sockets(app)
    return app
