"""What endpoints are given by `Depends`: the parts of a running service, behind the check of host and origin."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, WebSocketException
from starlette.requests import HTTPConnection

from realtime.core.health import Standing
from realtime.core.protocol import Status
from realtime.core.session import Limits
from realtime.errors import ForbiddenError
from realtime.hub import Hub
from realtime.ports import Writer
from realtime.settings import Settings

if TYPE_CHECKING:
    from realtime.web.socket import Connection

_POLICY_VIOLATION = 1008
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


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
    connections: set[Connection] = field(default_factory=set)
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

    def __init__(self, provide: Provide) -> None:
        self._provide = provide

    async def __call__(self, connection: HTTPConnection) -> None:
        live = self._provide()
        reason = refusal(connection, live.settings)
        if reason is None:
            connection.state.realtime = live
        elif connection.scope["type"] == "websocket":
            # Before the accept, so that the browser sees a 403.
            raise WebSocketException(_POLICY_VIOLATION, reason)
        else:
            raise ForbiddenError(reason)


def _current(connection: HTTPConnection) -> Live:
    live: Live = connection.state.realtime
    return live


Current = Annotated[Live, Depends(_current)]


def refusal(connection: HTTPConnection, settings: Settings) -> str | None:
    """Why this request is not let in, or None.

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
    if origin is None or origin in settings.allowed_origins or _same_origin(origin, host, connection.url.scheme):
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
