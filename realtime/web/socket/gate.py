"""Connections that are closed before a byte of them is read: of addresses over their limits."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Sequence

from realtime import metrics
from realtime.core.access.limits import Limiter, network_of

_counted: dict[asyncio.BaseTransport, tuple[Limiter, str]] = {}


def left(transport: asyncio.BaseTransport) -> None:
    """A connection is gone, whichever protocol it had in the end."""
    counted = _counted.pop(transport, None)
    if counted is not None:
        limiter, network = counted
        limiter.disconnected(network)


class Gate:
    """Counts the connections of each address. `limiter` gives the running service's, or None where there is none.

    Proxies that are trusted are not counted: behind them come many.
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
        network = network_of(peer[0])
        over = limiter.connect(network, asyncio.get_running_loop().time())
        if over is not None:
            metrics.LIMITED.labels(over.limit).inc()
            transport.close()
            return False
        _counted[transport] = limiter, network
        return True

    def _trusts(self, address: str) -> bool:
        if not self._trusted:
            return False
        try:
            known = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(known in network for network in self._trusted)
