"""Connections that are closed before a byte of them is read: of addresses over their limits. Behind a proxy that is
trusted it is the requests of such addresses that are refused, once their heads were read.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence

from realtime import metrics
from realtime.core.access.forwarded import client_of
from realtime.core.access.limits import Limiter, Over, network_of

Held = asyncio.BaseTransport | socket.socket
"""By what a connection is counted: its transport, or before a handshake of TLS its socket."""
_counted: dict[Held, tuple[Limiter, str]] = {}


def moved(connection: socket.socket, transport: asyncio.BaseTransport) -> None:
    """A connection that was counted by its socket has a transport now, and counts by that."""
    counted = _counted.pop(connection, None)
    if counted is not None:
        _counted[transport] = counted


def left(connection: Held) -> None:
    """A connection is gone, whichever protocol it had in the end."""
    counted = _counted.pop(connection, None)
    if counted is not None:
        limiter, network = counted
        limiter.disconnected(network)


def _enter(connection: Held, limiter: Limiter, network: str) -> Over | None:
    over = limiter.connect(network, asyncio.get_running_loop().time())
    if over is None:
        _counted[connection] = limiter, network
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
        admitted = self.enters(transport, transport.get_extra_info("peername"))
        if not admitted:
            transport.close()
        return admitted

    def enters(self, connection: Held, peer: object) -> bool:
        """Whether a connection of this peer may stay, which then counts until it has `left`."""
        limiter = self._limiter()
        if limiter is None or not isinstance(peer, tuple) or self._trusts(peer[0]):
            return True
        return _enter(connection, limiter, network_of(peer[0])) is None

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
