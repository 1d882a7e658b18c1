"""uvicorn, as the service runs it: shared bytes on the sockets, and an end that leaves the clean-up to the caller."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Protocol

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from realtime.core.access.limits import Limiter
from realtime.core.wire.closing import CLOSE_DRAINING
from realtime.errors import ConfigurationError
from realtime.ports import Sink
from realtime.settings import Settings
from realtime.web.entrance.live import Live
from realtime.web.socket.accepting import Accepting
from realtime.web.socket.direct import Direct
from realtime.web.socket.doors import TwoDoors
from realtime.web.socket.gate import Gate
from realtime.web.socket.handshake import HEAD_SECONDS, FrameProtocol, HttpProtocol
from realtime.web.socket.line import Line

log = logging.getLogger("realtime.server")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
POLL_SECONDS = 0.02
LEAST_PACE_SECONDS = 0.01
"""A hundred sessions a second come back somewhere else without anybody noticing, so no drain is slower than it must."""
FINISH_SECONDS = 2.0
"""Of the drain time, what is left to those who were told last: to take it, and for their writes to be answered."""
HEAR_SECONDS = 0.3
"""Time for a task to hear that its peer is gone, and then that it is cancelled; for a peer to hear of the end."""


class Session(Protocol):
    """What is told to go: whoever has a sink."""

    @property
    def sink(self) -> Sink | None: ...

    def leave(self, code: int, reason: str) -> None:
        """End it once what was taken from it is answered."""


class Server(uvicorn.Server):
    """A uvicorn server that leaves in order: unready, a grace for balancers, sessions sent away bit by bit, the end.

    uvicorn by itself sends 1012 to every socket at once, waits for all that is in flight without a limit, and raises
    the signal again, which would end the process before its clean-up. `live` gives the running service, where there
    is one; `at_once` is called with the second signal and ends the process.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        settings: Settings,
        on_started: Callable[[], Awaitable[None]] | None = None,
        live: Callable[[], Live] | None = None,
        at_once: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(config)
        self._settings = settings
        self._on_started = on_started
        self._live = live
        self._at_once = at_once
        self._leave_at = 0.0
        self._doors: list[Accepting] = []
        self.on_count: Callable[[int], None] = lambda _: None
        """Called ten times a second with the number of open connections."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and only then say so."""
        context, kind = self.config.ssl, self.config.http_protocol_class
        if context is None or sockets is None or not issubclass(kind, HttpProtocol) or kind.gate is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            make = functools.partial(self._knocked, kind)
            for listening in sockets:
                door = Accepting(listening, kind.gate, make, context=context, handshake_seconds=HEAD_SECONDS)
                door.begin(self.config.backlog)
                self._doors.append(door)
        if self.started and self._on_started is not None:
            await self._on_started()

    def _knocked(self, kind: type[HttpProtocol], connection: socket.socket) -> HttpProtocol:
        protocol = kind(self.config, self.server_state, self.lifespan.state)
        protocol.knocked = connection
        return protocol

    # ------------------------------------------------------------------------------------------------------- signals

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in SIGNALS:
                if self._at_once is None:
                    loop.remove_signal_handler(number)
                else:
                    # The clean-up after the server is not to be waited for either.
                    loop.add_signal_handler(number, self._at_once, number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: an orderly end, unready from now on. Second: at once."""
        if self.should_exit:
            self.force_exit = True
            if self._at_once is not None:
                self._at_once(sig)
            return
        self.should_exit = True
        self._leave_at = asyncio.get_running_loop().time() + self._settings.grace_seconds
        if self._live is not None:
            live = self._live()
            live.drain()
            log.info(
                "stopping: unready now, listening for %g s more, then %d connections are sent away within %g s",
                self._settings.grace_seconds,
                len(live.connections),
                self._settings.drain_seconds,
            )

    async def on_tick(self, counter: int) -> bool:
        """Whether to leave: during the grace everything goes on, new connections included."""
        self.on_count(len(self.server_state.connections))
        leave = await super().on_tick(counter)
        return leave and (self.force_exit or asyncio.get_running_loop().time() >= self._leave_at)

    # ------------------------------------------------------------------------------------------------------- the end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, send every session away within the drain time, finish what is in flight, abort the rest."""
        for server in self.servers:
            server.close()
        for door in self._doors:
            door.close()
        for listening in sockets or []:
            listening.close()
        for connection in list(self.server_state.connections):
            if not isinstance(connection, Line | FrameProtocol):
                # Closed where it is idle, else after its answer.
                connection.shutdown()
        await self._drain()
        await self._abort()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        began, seconds = loop.time(), self._settings.drain_seconds
        total = len(self._sessions())
        # Few are told at once; many over all of the time but what the last of them need to finish.
        spread = min(total * LEAST_PACE_SECONDS, seconds - min(FINISH_SECONDS, seconds / 2))
        told: set[Session] = set()
        while not self.force_exit:
            passed = loop.time() - began
            share = 1.0 if passed >= spread else passed / spread
            self._tell(told, int(total * share) + 1 if share < 1 else None)
            if passed >= seconds - HEAR_SECONDS:
                # Whose writes are not answered by now is told all the same.
                for session in self._sessions():
                    if session.sink is not None:
                        session.sink.close(CLOSE_DRAINING, "draining")
            if passed >= seconds or not (self.server_state.connections or self.server_state.tasks):
                return
            await asyncio.sleep(POLL_SECONDS)

    def _sessions(self) -> list[Session]:
        """Sockets and streams. An application of somebody else's has its sinks on uvicorn's connections."""
        if self._live is not None:
            return list(self._live().connections)
        connections: set[object] = {*self.server_state.connections}
        return [one for one in connections if isinstance(one, Line) and one.sink is not None]

    def _tell(self, told: set[Session], due: int | None) -> None:
        """Tell this farewell, which is no fault, until `due` sessions know (None: all)."""
        for session in self._sessions():
            if due is not None and len(told) >= due:
                return
            if session not in told and session.sink is not None:
                told.add(session)
                session.leave(CLOSE_DRAINING, "draining")

    async def _abort(self) -> None:
        """What has not ended in time: peers that read nothing, requests that wait for MongoDB."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        tasks = set(self.server_state.tasks)
        if tasks:
            _, tasks = await asyncio.wait(tasks, timeout=0 if self.force_exit else HEAR_SECONDS)
        if not tasks:
            return
        log.warning("%d requests had not ended in time and were aborted", len(tasks))
        # uvicorn would write a traceback for each.
        uvicorns = logging.getLogger("uvicorn.error")
        before, uvicorns.disabled = uvicorns.disabled, True
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=HEAR_SECONDS)
        uvicorns.disabled = before


def make_server(
    app: FastAPI,
    settings: Settings,
    on_started: Callable[[], Awaitable[None]] | None = None,
    at_once: Callable[[int], None] | None = None,
    admin: socket.socket | None = None,
) -> Server:
    """A server for `app`, whose lifespan the caller runs. `on_started` is awaited once it listens.

    What comes in by the listening socket `admin` is for the application that `app` keeps for operators.
    """
    realtime = getattr(app.state, "realtime", None)

    def limiter() -> Limiter | None:
        live = None if realtime is None else realtime.running
        return None if live is None else live.access.limiter

    http = type("Gated", (HttpProtocol,), {"gate": Gate(limiter, settings.trusted_proxies)})
    public: ASGIApp = app if realtime is None else Direct(app, realtime.live)
    served = public if admin is None else TwoDoors(public, app.state.admin, admin.getsockname()[1])
    config = uvicorn.Config(
        served,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=http,
        ws=FrameProtocol,
        ws_max_size=settings.frame_bytes,
        # Deflate is state per connection: it forbids shared bytes and costs tens of KiB each.
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Nobody's word for where somebody comes from, unless it was said whose.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        # A half-open peer is gone within 30 s: a ping, and its time to answer.
        ws_ping_interval=8,
        ws_ping_timeout=20,
        timeout_keep_alive=75,
    )
    if settings.tls_cert is not None:
        _check_certificate(settings)
    return Server(config, settings, on_started, None if realtime is None else realtime.live, at_once)


def _check_certificate(settings: Settings) -> None:
    """`ConfigurationError` where certificate and key cannot be used."""
    named = f"--tls-cert {settings.tls_cert} and --tls-key {settings.tls_key}"

    def no_password() -> str:
        raise ConfigurationError(f"{named}: the key is encrypted, and there is nobody to ask: decrypt it")

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(settings.tls_cert), str(settings.tls_key), no_password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"{named} cannot be used: {error.strerror or error}") from None


def bind_doors(settings: Settings) -> list[socket.socket]:
    """The listening sockets: of the port, and where there is one of the operators' port, which has its own host.

    Which one a request is for is told by the port that took it, so they are never the same.
    """
    first = bind(settings)
    if settings.admin_port is None:
        return [first]
    try:
        second = bind(settings.model_copy(update={"host": settings.admin_host}), settings.admin_port, "--admin-port")
    except ConfigurationError:
        first.close()
        raise
    if (port := second.getsockname()[1]) == first.getsockname()[1]:
        for one in (first, second):
            one.close()
        raise ConfigurationError(f"both ports are {port}: choose another --admin-port (REALTIME_ADMIN_PORT)")
    return [first, second]


def bind(settings: Settings, port: int | None = None, option: str = "--port") -> socket.socket:
    """A listening socket. `ConfigurationError` where the address cannot be had."""
    port = settings.port if port is None else port
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # A peer that takes nothing for this long is gone, whatever its keepalive says.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)
    # asyncio does not see that what a socket of ours accepts is TCP, and leaves it to hold back every second small
    # frame until the peer has acknowledged the first: 40 ms. uvloop sets it by itself.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listening.bind((settings.host, port))
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"cannot listen on {settings.host}:{port} ({error.strerror}): choose another {option}, or {option} 0 "
            "for a free one"
        ) from None
    return listening
