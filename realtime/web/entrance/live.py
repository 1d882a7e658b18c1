"""What endpoints are given by `Depends`: the parts of a running service, behind the check of host and origin."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol
from urllib.parse import urlsplit

from fastapi import Depends, WebSocketException
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from realtime.core.connection.session import Limits
from realtime.core.upstream.health import Standing
from realtime.core.wire.protocol import Status
from realtime.errors import ConfigurationError, ForbiddenError, ServiceError, UnavailableError
from realtime.hub.hub import Hub
from realtime.hub.roster import Owner
from realtime.ports import Writer
from realtime.settings import Settings
from realtime.web.entrance.problems import problem

_POLICY_VIOLATION = 1008
_TRY_LATER = 1013
EVERY = "*"
"""In place of a collection's name: all that are served."""
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Connected(Owner, Protocol):
    """A connection as the server sees it: one that can be sent away."""

    def leave(self, code: int, reason: str) -> None:
        """End it once what was taken from it is answered."""


@dataclass(slots=True)
class Live:
    """A running service. `reader` is MongoDB's (`realtime.mongo.snapshot.MongoReader`), `database` Motor's."""

    settings: Settings
    limits: Limits
    epoch: str
    hub: Hub
    reader: Any
    writer: Writer
    database: Any
    connections: set[Connected] = field(default_factory=set)
    degraded: Status | None = None
    ready: bool = True
    draining: bool = False

    standing: Standing = field(default_factory=Standing)
    """The last look at the cluster's clock."""

    def details(self) -> dict[str, Any]:
        """What /readyz says beside its status. Times in seconds; None: not to be known."""
        down = self.degraded
        return {
            "feed": "up" if down is None else "degraded",
            "since": None if down is None else down.since,
            "reason": None if down is None else down.reason,
            "draining": self.draining,
            "lag_seconds": self.standing.lag,
            "oplog_left_seconds": self.standing.left,
            "oplog_window_seconds": self.standing.window,
            "connections": len(self.connections),
        }

    def drain(self) -> None:
        """The service stops: no balancer may send anybody here from now on."""
        self.ready, self.draining = False, True


Provide = Callable[[], Live]
"""Gives the running service, or raises what says how to start it."""


class Entrance:
    """The dependency of every route: checks who calls, then hands the running service on."""

    def __init__(self, provide: Provide, *, any_origin: bool = False) -> None:
        self._provide = provide
        self._any_origin = any_origin

    async def __call__(self, connection: HTTPConnection) -> None:
        try:
            live = self._provide()
        except ConfigurationError as error:
            await _refuse(connection, UnavailableError(str(error)))
            return
        reason = refusal(connection, live.settings, any_origin=self._any_origin)
        if reason is None:
            connection.state.realtime = live
            _check_collection(connection, live)
        elif connection.scope["type"] == "websocket":
            # Before the accept, so that the browser sees a 403.
            raise WebSocketException(_POLICY_VIOLATION, reason)
        else:
            raise ForbiddenError(reason)


def _check_collection(connection: HTTPConnection, live: Live) -> None:
    """A path that names a collection is refused here, whatever its route, where that one is not served."""
    name = connection.path_params.get("collection", EVERY)
    if name != EVERY:
        live.limits.collections.check(name)


async def _refuse(connection: HTTPConnection, error: ServiceError) -> None:
    """Answer with a problem document; a socket gets it in place of its handshake, where the server can do that."""
    if not isinstance(connection, WebSocket):
        raise error
    connection.state.realtime = None
    if "websocket.http.response" in connection.scope.get("extensions", {}):
        await connection.send_denial_response(problem(error))
    else:
        await connection.close(_TRY_LATER, error.code)


async def _current(connection: HTTPConnection) -> Live | None:
    live: Live | None = connection.state.realtime
    return live


Current = Annotated[Live, Depends(_current)]
Perhaps = Annotated[Live | None, Depends(_current)]
"""None where a socket has been refused: its endpoint ends without a word."""


def refusal(connection: HTTPConnection, settings: Settings, *, any_origin: bool = False) -> str | None:
    """Why this request is not let in, or None. `any_origin`: for what holds nothing of the visitor's.

    A page of another origin must not use this service with the visitor's network (Origin), and a foreign name that
    resolves to this machine must not make it same-origin (Host: DNS rebinding). Addresses cannot be rebound.
    """
    hosts, origins = connection.headers.getlist("host"), connection.headers.getlist("origin")
    if len(hosts) != 1 or len(origins) > 1:
        return "one Host header, and at most one Origin"
    host = hosts[0]
    if not _known_host(host, settings):
        return f"host {host[:100]!r} is not allowed: add it to REALTIME_ALLOWED_HOSTS"
    origin = origins[0] if origins else None
    if any_origin or origin is None or origin in settings.allowed_origins:
        return None
    if _same_origin(origin, host, connection.url.scheme):
        return None
    return f"origin {origin[:100]!r} is not allowed: add it to REALTIME_ALLOWED_ORIGINS"


def _known_host(host: str, settings: Settings) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if not name:
        return False
    if name in {"localhost", settings.host.lower()} or name in {known.lower() for known in settings.allowed_hosts}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(origin: str, host: str, scheme: str) -> bool:
    try:
        theirs, ours = urlsplit(origin), urlsplit(f"{scheme}://{host}")
        their_port = theirs.port or _DEFAULT_PORTS.get(theirs.scheme)
        # Behind a proxy that ends TLS the page is https and we see http: the port is then the proxy's default one.
        our_port = ours.port or (their_port if their_port in {80, 443} else _DEFAULT_PORTS.get(ours.scheme))
        return theirs.scheme in {"http", "https"} and theirs.hostname == ours.hostname and their_port == our_port
    except ValueError:
        return False
