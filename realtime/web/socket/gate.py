"""Connections that are closed before a byte of them is read: of addresses over their limits. Behind a proxy that is
trusted it is the requests of such addresses that are refused, once their heads were read.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Iterable, Sequence

from realtime import metrics
from realtime.core.access.forwarded import client_of
from realtime.core.access.limits import Limiter, Over, network_of

_counted: dict[asyncio.BaseTransport, tuple[Limiter, str]] = {}


def left(transport: asyncio.BaseTransport) -> None:
    """A connection is gone, whichever protocol it had in the end."""
    counted = _counted.pop(transport, None)
    if counted is not None:
        limiter, network = counted
        limiter.disconnected(network)


def _enter(transport: asyncio.BaseTransport, limiter: Limiter, network: str) -> Over | None:
    over = limiter.connect(network, asyncio.get_running_loop().time())
    if over is None:
        _counted[transport] = limiter, network
    else:
        metrics.LIMITED.labels(over.limit).inc()
    return over


class Gate:
    """Counts the connections of each address. `limiter` gives the running service's, or None where there is none.

    Proxies that are trusted are not counted: behind them come many, each of whom is.
    """

    def __init__(self, limiter: Callable[[], Limiter | None], trusted: Sequence[str] = ()) -> None:
        self._limiter = limiter
        self._trusted = [ipaddress.ip_network(one) for one in trusted]

    def admits(self, transport: asyncio.BaseTransport) -> bool:
        """Whether a connection may stay, which then counts until `left` is told of it; else it is closed by this."""
        peer = transport.get_extra_info("peername")
        limiter = self._limiter()
        if limiter is None or not isinstance(peer, tuple) or self._trusts(peer[0]):
            return True
        if _enter(transport, limiter, network_of(peer[0])) is None:
            return True
        transport.close()
        return False

    def forwards(self, transport: asyncio.BaseTransport, headers: Iterable[tuple[bytes, bytes]]) -> Over | None:
        """A request's head was read, with these names in lower case. Through a proxy that is trusted its connection
        counts as the client's from now on, until it carries another one's or is gone; or the limit that is reached.
        """
        peer = transport.get_extra_info("peername")
        limiter = self._limiter()
        if limiter is None or not isinstance(peer, tuple) or not self._trusts(peer[0]):
            return None
        said = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        client = client_of(said.decode("latin1"), self._trusts)
        if client is None or _counted.get(transport) == (limiter, network_of(client)):
            return None
        left(transport)
        return _enter(transport, limiter, network_of(client))

    def _trusts(self, address: str) -> bool:
        if not self._trusted:
            return False
        try:
            known = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(known in network for network in self._trusted)
