"""Ports for servers that are told theirs before they start, or have to have the same one again.

Below the range from which the kernel gives a port to whoever connects: one of those is free when it is looked at, and
taken a moment later by the connection of another test, or of a sibling to the very server that is to have it.
"""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

LEAST, USUAL = 12_000, 32_768
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_dice = random.SystemRandom()
"""Of its own: several processes choose at once, and none of them may choose what a seed says."""


def free_ports(count: int) -> list[int]:
    """So many of loopback, all different, that nobody has just now."""
    most = USUAL
    with contextlib.suppress(OSError, ValueError):
        most = int(_RANGE.read_text().split()[0])
    low, high = (LEAST, most) if most > 2 * LEAST else (LEAST, 65_536)
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            probe = socket.socket()
            try:
                probe.bind(("127.0.0.1", _dice.randrange(low, high)))
            except OSError:
                probe.close()
            else:
                held.append(probe)
        return [int(probe.getsockname()[1]) for probe in held]
    finally:
        for probe in held:
            probe.close()


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
