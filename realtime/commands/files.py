"""Open files: as many as this process may have, and whether they are enough for the connections that are allowed."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger("realtime")

SPARE_FILES = 256
"""What is open beside connections of clients: those to MongoDB, logs, listening sockets, an embedded server's pipes."""
MOST_PORTS = 65_535
"""Connections that one address can hold to one port, whatever it may."""


def raise_limit(connections_per_address: int) -> None:
    """Raise the soft limit to the hard one, which is kept low for programs that use `select`; workers inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            log.warning("open files: the limit stays at %d and cannot be raised to %d: %s", soft, hard, error)
            hard = soft
        else:
            log.info("open files: the limit was raised from %d to %s", soft, _shown(hard))
    if (advice := shortage(hard, connections_per_address)) is not None:
        log.warning(advice)


def shortage(files: int, connections_per_address: int) -> str | None:
    """What to do where so many open files are not even enough for what one address may hold; None: they are."""
    wanted = min(connections_per_address, MOST_PORTS)
    if files == resource.RLIM_INFINITY or files >= wanted + SPARE_FILES:
        return None
    return (
        f"open files: at most {files} in a process, and one address may hold {wanted} connections: raise the hard "
        "limit (LimitNOFILE= of systemd, --ulimit nofile= of Docker, ulimit -Hn), or set "
        f"REALTIME_CONNECTIONS_PER_ADDRESS to {max(files - SPARE_FILES, 1)} or less"
    )


def _shown(limit: int) -> str:
    return "none" if limit == resource.RLIM_INFINITY else str(limit)
