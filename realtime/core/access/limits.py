"""How much one may ask for: rates as token buckets, and counts of what is held. Decided here, counted by who asks.

Times are seconds of any clock that never goes back. Everything is of one process. Whoever is over a limit has taken
nothing, and is told which limit it was and when to come again.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable
from dataclasses import dataclass

from realtime.core.access.principal import ANONYMOUS, Principal
from realtime.errors import RateLimitedError

LEAST_WAIT = 0.01
"""Seconds that whoever is refused is told to wait at least: 0.0 would be no wait."""
BURST_SECONDS = 10.0
"""So many seconds' worth of a rate may be taken at once by who took nothing before."""
MOST_KEYS = 20_000
"""So many callers have a bucket of their own; those beyond share one."""
SWEEP_SECONDS = 1.0
_NETWORK_BITS = 64
_ROUNDING = 1e-6
"""Seconds: what adding up many small times may be wrong by."""


@dataclass(frozen=True, slots=True)
class Over:
    """A limit that was reached: its setting, in words, and the seconds until the same may go through."""

    limit: str
    words: str
    retry_after: float

    def error(self) -> RateLimitedError:
        """As whoever asked is answered."""
        return RateLimitedError(
            self.words, details={"limit": self.limit}, retry_after=max(LEAST_WAIT, round(self.retry_after, 2))
        )


class Rate:
    """One token bucket, as the time at which it will be full again. `per_second` is above 0."""

    __slots__ = ("_cost", "_full_at")

    def __init__(self, per_second: float) -> None:
        self._cost = 1.0 / per_second
        self._full_at = 0.0

    def take(self, now: float) -> float:
        """Take one: 0.0, or the seconds until one is there again, nothing taken."""
        full_at = (max(self._full_at, now)) + self._cost
        over = full_at - now - BURST_SECONDS
        if over > _ROUNDING:
            return over
        self._full_at = full_at
        return 0.0

    def charge(self, now: float) -> None:
        """Take one that came already, whether it is there or not."""
        self._full_at = max(self._full_at, now) + self._cost

    def wait(self, now: float) -> float:
        """Seconds until one is there; nothing is taken."""
        over = max(self._full_at, now) + self._cost - now - BURST_SECONDS
        return over if over > _ROUNDING else 0.0


class Rates:
    """A bucket for each caller. One that is full again is forgotten when room is needed, which changes nothing."""

    def __init__(self, per_second: float, most: int = MOST_KEYS) -> None:
        self._per_second = per_second
        self._most = most
        self._full_at: dict[Hashable, float] = {}
        self._rest = 0.0
        self._swept_at = float("-inf")

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, caller: Hashable, now: float, cost: float = 1.0) -> float:
        """Take `cost` of a caller's: 0.0, or the seconds until as much is there; a bucket's whole worth at most."""
        own = caller in self._full_at or self._room(now)
        # A whole bucket is to be had, if only by who has waited for it: no request is refused for good.
        seconds = min(cost / self._per_second, BURST_SECONDS)
        full_at = max(now, self._full_at.get(caller, now) if own else self._rest) + seconds
        if full_at - now - BURST_SECONDS > _ROUNDING:
            return full_at - now - BURST_SECONDS
        if own:
            self._full_at[caller] = full_at
        else:
            self._rest = full_at
        return 0.0

    def wait(self, caller: Hashable, now: float) -> float:
        """Seconds until one would be there for a caller; nothing is taken."""
        full_at = self._full_at.get(caller, now if len(self._full_at) < self._most else self._rest)
        over = max(now, full_at) + 1.0 / self._per_second - now - BURST_SECONDS
        return over if over > _ROUNDING else 0.0

    def _room(self, now: float) -> bool:
        if len(self._full_at) >= self._most and now - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = now
            self._full_at = {caller: full_at for caller, full_at in self._full_at.items() if full_at > now}
        return len(self._full_at) < self._most


class Held:
    """How much each caller holds, `most` each; what nobody holds takes no memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._held)

    def enter(self, caller: Hashable, size: int = 1) -> bool:
        """Whether there was room. A caller who holds nothing may hold one thing of any size."""
        held = self._held.get(caller, 0)
        if held and held + size > self._most:
            return False
        self._held[caller] = held + size
        return True

    def leave(self, caller: Hashable, size: int = 1) -> None:
        """As much is let go as was entered."""
        left = self._held.get(caller, 0) - size
        if left > 0:
            self._held[caller] = left
        else:
            self._held.pop(caller, None)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The limits, each named as its setting is."""

    connections_per_principal: int
    connections_per_address: int
    connects_per_second: int
    unauthenticated_sockets: int
    unauthenticated_per_address: int
    frames_per_second: int
    writes_per_second: int
    requests_per_second: int
    in_flight_bytes: int


def network_of(address: str) -> str:
    """What stands for an address: itself, or of IPv6 the network of 64 bits, which one machine has all of."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv4Address):
        return str(known)
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.ip_network((known, _NETWORK_BITS), strict=False))


def caller_of(principal: Principal, network: str) -> Hashable:
    """Whose limits count: the principal's, by name, or where nobody is known the network's."""
    return network if principal is ANONYMOUS else (principal.sub,)


class Limiter:
    """All limits of a process. What is entered is left again exactly once, by the one who entered it."""

    def __init__(self, allowed: Allowed) -> None:
        self.allowed = allowed
        self._connects = Rates(allowed.connects_per_second)
        self._writes = Rates(allowed.writes_per_second)
        self._requests = Rates(allowed.requests_per_second)
        self._refused = Rates(allowed.requests_per_second)
        self._by_network = Held(allowed.connections_per_address)
        self._by_caller = Held(allowed.connections_per_principal)
        self._unauthenticated = Held(allowed.unauthenticated_sockets)
        self._unauthenticated_of = Held(allowed.unauthenticated_per_address)
        self._in_flight = Held(allowed.in_flight_bytes)

    def connect(self, network: str, now: float) -> Over | None:
        """A connection was opened from there; unless it is over a limit it counts until `disconnected`."""
        if wait := self._connects.take(network, now):
            return Over("connects_per_second", "this address connects too often", wait)
        if not self._by_network.enter(network):
            return Over("connections_per_address", "this address holds as many connections as it may", 1.0)
        return None

    def disconnected(self, network: str) -> None:
        """A connection that was let in is gone."""
        self._by_network.leave(network)

    def await_token(self, network: str) -> Over | None:
        """A socket from there says later who it is; it counts until `token_came`, also where it goes before."""
        if not self._unauthenticated_of.enter(network):
            words = "too many sockets of this address have not yet said who they are"
            return Over("unauthenticated_per_address", words, 1.0)
        if not self._unauthenticated.enter(None):
            self._unauthenticated_of.leave(network)
            return Over("unauthenticated_sockets", "too many sockets have not yet said who they are", 1.0)
        return None

    def token_came(self, network: str) -> None:
        """One of those has said so, or is gone."""
        self._unauthenticated.leave(None)
        self._unauthenticated_of.leave(network)

    def enter(self, principal: Principal) -> Over | None:
        """A connection is known to be the principal's, until `left`. Nobody in particular has no such limit."""
        if principal is ANONYMOUS or self._by_caller.enter(principal.sub):
            return None
        return Over("connections_per_principal", f"{principal.sub} holds as many connections as one may", 1.0)

    def left(self, principal: Principal) -> None:
        """A connection of the principal's is gone."""
        if principal is not ANONYMOUS:
            self._by_caller.leave(principal.sub)

    def frames(self) -> Rate:
        """The bucket of one connection's frames; `over_frames` puts a wait in words."""
        return Rate(self.allowed.frames_per_second)

    def write(self, caller: Hashable, now: float, documents: int = 1) -> Over | None:
        """So many documents are to be written."""
        if wait := self._writes.take(caller, now, documents):
            return Over("writes_per_second", "too many writes in too little time", wait)
        return None

    def request(self, caller: Hashable, now: float) -> Over | None:
        """A request over HTTP."""
        if wait := self._requests.take(caller, now):
            return Over("requests_per_second", "too many requests in too little time", wait)
        return None

    def ask(self, network: str, now: float) -> Over | None:
        """Whether it is to be found out who asks from there: not where too many were `refused` of late."""
        if wait := self._refused.wait(network, now):
            return Over("requests_per_second", "too many requests of this address were refused", wait)
        return None

    def refused(self, network: str, now: float) -> None:
        """Somebody from there was not let in."""
        self._refused.take(network, now)

    def hold(self, caller: Hashable, size: int) -> Over | None:
        """So many bytes are taken in and not yet dealt with, until `release`."""
        if self._in_flight.enter(caller, size):
            return None
        return Over("in_flight_bytes", "too much is under way: wait for answers", 1.0)

    def release(self, caller: Hashable, size: int) -> None:
        """They have been dealt with."""
        self._in_flight.leave(caller, size)


def over_frames(wait: float) -> Over:
    """What a connection over its rate of frames is told."""
    return Over("frames_per_second", "too many frames in too little time", wait)
