"""What endpoints are given by `Depends`: the parts of a running service, behind the check of host and origin."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypeVar
from urllib.parse import urlsplit

from fastapi import Depends, WebSocketException
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from realtime.access.access import Access
from realtime.access.audit import What
from realtime.core.access.principal import Principal
from realtime.core.access.rules.policy import Policy
from realtime.core.access.rules.writing import Ruling, Rulings
from realtime.core.connection.session import Limits
from realtime.core.mql.vision import EVERYTHING
from realtime.core.upstream.health import Standing
from realtime.core.wire.protocol import Status
from realtime.errors import (
    ConfigurationError,
    ForbiddenError,
    ServiceError,
    UnauthenticatedError,
    UnavailableError,
)
from realtime.hub.hub import Hub
from realtime.hub.roster import Owner
from realtime.ports import Tickets, Writer
from realtime.settings import Settings, is_loopback
from realtime.web.entrance import paths
from realtime.web.entrance.doorkeeper import Doorkeeper, Starting, address_of
from realtime.web.entrance.problems import ProblemRoute, no_path, problem
from realtime.web.entrance.sets import Seen, filled
from realtime.web.entrance.streaming import asks_for_stream

log = logging.getLogger("realtime")

_POLICY_VIOLATION = 1008
_TRY_LATER = 1013
EVERY = "*"
"""In place of a collection's name: all that are served."""
_OTHER_SITES = frozenset({"cross-site", "same-site"})
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
NAMES = 256
"""Hosts and origins whose parts are remembered: all who come by one page name the same two."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Connected(Owner, Protocol):
    """A connection as the server sees it: one that can be sent away. `admitted`: it is known whose it is."""

    @property
    def admitted(self) -> bool: ...

    def leave(self, code: int, reason: str) -> None:
        """End it once what was taken from it is answered."""

    def reconsider(self, about: frozenset[str] | None = None) -> None:
        """The rules are others now, of these collections or of any: what it is subscribed to may be, too."""

    def foresee(self, policy: Policy, about: frozenset[str] | None = None) -> Iterator[None]:
        """Judge by rules that are about to hold, a subscription a step, so that `reconsider` need not."""


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
    access: Access
    ruled: Callable[[Ruling], Writer] | None = None
    """Makes a writer under rules."""
    rulings: Rulings = field(default_factory=Rulings)
    doorkeeper: Doorkeeper = field(default_factory=lambda: Doorkeeper(Starting()))
    tickets: Tickets | None = None
    connections: set[Connected] = field(default_factory=set)
    degraded: Status | None = None
    ready: bool = True
    draining: bool = False

    @property
    def policy(self) -> Policy | None:
        """The rules; None: everybody may do everything."""
        return self.limits.policy

    def writer_of(self, principal: Principal) -> Writer:
        """What a principal writes by."""
        if self.policy is None or self.ruled is None:
            return self.writer
        return self.ruled(self.rulings.of(self.policy, principal, self.hub.groups.dialects.now))

    exchanging: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Rules are exchanged one after the other, in the order in which that was asked."""
    said_open: bool = False
    """Whether the log has it that everybody may come who reaches the service."""
    standing: Standing = field(default_factory=Standing)
    """The last look at the cluster's clock."""

    @property
    def admitted(self) -> list[Connected]:
        """The connections that may hear how the database and its reading are."""
        return [one for one in self.connections if one.admitted]

    def details(self) -> dict[str, Any]:
        """What /readyz says beside its status. Times in seconds; None: not to be known."""
        down, age = self.degraded, self.access.keys_age
        keys = {"keys_age_seconds": None if age is None else round(age)} if self.access.follows_keys else {}
        return {
            **keys,
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


Asking = Principal | ServiceError | None
"""Who asks, why that is not to be known, or nobody so far."""
Provide = Callable[[], Live]
"""Gives the running service, or raises what says how to start it."""


class Entrance:
    """The dependency of every route: checks who calls, then hands the running service on.

    `asks`: who they are, of what is somebody's. A socket is refused after it is accepted, so that a browser learns
    why, and an event stream by an event: both find in `connection.state.asking` who asks, or the error.
    """

    def __init__(self, provide: Provide, *, any_origin: bool = False, asks: bool = False) -> None:
        self._provide = provide
        self._any_origin = any_origin
        self._asks = asks

    async def __call__(self, connection: HTTPConnection) -> None:
        try:
            live = self._provide()
        except ConfigurationError as error:
            await _refuse(connection, UnavailableError(str(error)))
            return
        if paths.goes_on(connection.scope):
            await _refuse(connection, no_path(connection))
            return
        reason = refusal(connection, live.settings, any_origin=self._any_origin)
        if reason is None and self._asks and live.doorkeeper.asks_the_application:
            reason = of_another_site(connection)
        if reason is None:
            connection.state.realtime = live
            if isinstance(route := connection.scope.get("route"), ProblemRoute):
                route.check(connection)
            if self._asks and not live.said_open:
                _say_open(connection, live)
            asking = connection.state.asking = await self._asked(connection, live)
            if self._asks and live.policy is not None:
                _check_ruled(connection)
            if isinstance(asking, Principal) or not self._asks:
                _check_collection(connection, live)  # which there are is nothing for nobody
        elif connection.scope["type"] == "websocket":
            # Before the accept, so that the browser sees a 403.
            raise WebSocketException(_POLICY_VIOLATION, reason)
        else:
            raise ForbiddenError(reason)

    async def _asked(self, connection: HTTPConnection, live: Live) -> Asking:
        if not self._asks:
            return None
        stream = asks_for_stream(connection)
        told = stream or isinstance(connection, WebSocket)
        try:
            principal = await live.doorkeeper.who(connection, by_ticket=stream and "ticket" in connection.query_params)
            if principal is None and not told:
                raise UnauthenticatedError("who asks? Send Authorization: Bearer and a token")
            if principal is not None and not isinstance(connection, WebSocket):
                live.doorkeeper.requested(principal, address_of(connection))
            if principal is not None and not told:
                _hold(connection, live, principal)
        except ServiceError as error:
            live.doorkeeper.refused(error, address_of(connection))
            if told:
                return error
            raise
        return principal


Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_RULED: set[Callable[..., Any]] = set()


def ruled(endpoint: Endpoint) -> Endpoint:
    """Says that an endpoint obeys the rules. Where there are rules, those that do not say so are nobody's."""
    _RULED.add(endpoint)
    return endpoint


def same_rules(endpoint: Callable[..., Any], other: Callable[..., Any]) -> None:
    """Says of another one, which calls an endpoint, what that one says of itself."""
    if endpoint in _RULED:
        _RULED.add(other)


def _check_ruled(connection: HTTPConnection) -> None:
    if connection.scope.get("endpoint") not in _RULED:
        raise ForbiddenError("no rule lets you do this")


def _say_open(connection: HTTPConnection, live: Live) -> None:
    """Once, where nobody is asked who they are and somebody came who is not known to be on this machine.

    Where an embedding application listens only its server knows, so that is seen by what comes.
    """
    if live.doorkeeper.asks or live.settings.insecure:
        return
    ends = [connection.scope.get("server"), connection.scope.get("client")]
    far = [end[0] for end in ends if end is not None and not is_loopback(str(end[0]))]
    if not far and None not in ends:
        return
    live.said_open = True
    log.warning(
        "nobody is asked who they are, and this is reached from other machines, as far as can be told (%s): whoever "
        "comes reads and writes everything that is served. Say who asks, by Realtime(authenticate=…) or REALTIME_AUTH; "
        "or REALTIME_INSECURE=true where the network protects it",
        ", ".join(map(str, far)) or "no address is known",
    )


def _hold(connection: HTTPConnection, live: Live, principal: Principal) -> None:
    """The body is under way until its `SharedRoute` has answered; of unknown length it counts as the largest."""
    said = connection.headers.get("content-length", "")
    chunked = "transfer-encoding" in connection.headers
    size = int(said) if said.isdecimal() and len(said) < 20 else live.settings.document_bytes if chunked else 0
    if size:
        address = address_of(connection)
        live.doorkeeper.hold(principal, address, size)
        connection.state.release = lambda: live.doorkeeper.let_go(principal, address, size)


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


def note(request: HTTPConnection, what: What, collection: str | None = None, **said: Any) -> None:
    """Write into the audit log what who asks has done."""
    live: Live = request.state.realtime
    asking: Asking = request.state.asking
    who = asking if isinstance(asking, Principal) else None
    live.doorkeeper.note(what, who, address_of(request), collection=collection, **said)


async def principal_of(connection: HTTPConnection) -> Principal:
    """Who asks, as the entrance found out. Raises `ServiceError` where it did not."""
    asking: Asking = connection.state.asking
    if isinstance(asking, Principal):
        return asking
    raise UnauthenticatedError("who asks?") if asking is None else asking


async def vision_of(connection: HTTPConnection, collection: str) -> Seen:
    """What whoever asks sees of a collection. `ForbiddenError` as of `seen_by`."""
    live: Live = connection.state.realtime
    return Seen(EVERYTHING) if live.policy is None else await seen_by(live, await principal_of(connection), collection)


async def seen_by(live: Live, principal: Principal, collection: str) -> Seen:
    """What a principal sees of a collection, as the server at hand means it. `ForbiddenError` where that is nothing.

    Without a grant that is the answer whatever there is by that name: MongoDB is not asked. `UnavailableError` where
    what a rule takes from another collection cannot be read.
    """
    if live.policy is None:
        return Seen(EVERYTHING)
    vision = live.policy.reading(principal, collection)
    vision.check_granted()
    vision = vision.spoken(live.hub.groups.dialects.now)
    if vision.zones:
        vision = vision.told(await live.reader.zones(vision.zones))
    return await filled(vision, live.reader)


Who = Annotated[Principal, Depends(principal_of)]
"""Who asks."""
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
    return None if any_origin or not origins else refused_origin(origins[0], connection, settings)


def refused_origin(origin: str, connection: HTTPConnection, settings: Settings) -> str | None:
    """Why pages of this origin may not use this service, or None. For a request with one Host header.

    The scheme is part of an origin: what came by http anybody on the way may have written.
    """
    if origin in settings.allowed_origins:
        return None
    theirs, ours = _origin(origin), _origin(f"{connection.url.scheme}://{connection.headers['host']}")
    if theirs is not None and theirs == ours:
        return None
    shown = f"origin {origin[:100]!r} is not allowed: "
    if theirs is not None and ours is not None and (theirs[:2], ours[0]) == (("https", ours[1]), "http"):
        # The server has believed whom it was told to, so the scheme is as far as anybody knows.
        shown += "this request came by http; where a proxy ends TLS name it in REALTIME_TRUSTED_PROXIES, or "
    return f"{shown}add it to REALTIME_ALLOWED_ORIGINS"


def of_another_site(connection: HTTPConnection) -> str | None:
    """Why a request is not let in that a page of another origin made a browser send, as it says by itself; or None.

    A link, a script or an image of any page goes with the visitor's cookies, and without an Origin to go by.
    """
    if "origin" in connection.headers or connection.headers.get("sec-fetch-site") not in _OTHER_SITES:
        return None
    return "this request is of another site's page, and without its Origin (Sec-Fetch-Site): ask by fetch"


def _known_host(host: str, settings: Settings) -> bool:
    name, is_address = _host(host)
    here = {"localhost", settings.host.lower(), settings.admin_host.lower()}
    return bool(name) and (is_address or name in here or name in {known.lower() for known in settings.allowed_hosts})


@functools.lru_cache(NAMES)
def _host(host: str) -> tuple[str | None, bool]:
    """The name in a Host header, None where there is none, and whether it is an address."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return None, False
    try:
        ipaddress.ip_address(name or "")
    except ValueError:
        return name, False
    return name, True


@functools.lru_cache(NAMES)
def _origin(text: str) -> tuple[str, str, int] | None:
    """Scheme, name and port of an origin, of a page or of a socket alike; None for what is none."""
    try:
        parts = urlsplit(text)
        scheme = _SCHEMES.get(parts.scheme)
        if scheme is None or not parts.hostname:
            return None
        return scheme, parts.hostname, parts.port or _DEFAULT_PORTS[scheme]
    except ValueError:
        return None
