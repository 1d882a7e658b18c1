"""The processes of a service on this machine: found by the port that they listen on; what they use.

Linux alone: elsewhere, and where this user may not look, nothing is found.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LISTEN = "0A"
_TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
_FORWARDERS = frozenset({"docker-proxy", "rootlessport", "slirp4netns", "pasta", "gvproxy"})
"""By their names: what publishes a container's port. The service is behind them, and what they use is not its own."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of processors used so far by all threads of all of them, and bytes that they hold by themselves."""

    seconds: float
    memory: int


class Processes:
    """Those that listen on a port of this machine."""

    def __init__(self, found: dict[int, str]) -> None:
        self.found = found
        """The name of each by its number."""

    @classmethod
    def listening(cls, host: str, port: int) -> Processes:
        """None of them where the host is another machine, or the port that of a container."""
        if not _is_here(host):
            return cls({})
        inodes = {f"socket:[{inode}]" for inode in _inodes(port)}
        found = {pid: _name(pid) for pid in _pids() if inodes and inodes & set(_files(pid))}
        return cls({pid: name for pid, name in found.items() if name not in _FORWARDERS})

    def usage(self) -> Usage | None:
        """Now; None where there are none, or one has ended."""
        seconds, memory = 0.0, 0
        for pid in self.found:
            try:
                fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
                status = (PROC / str(pid) / "status").read_text()
            except OSError:
                return None
            seconds += (int(fields[11]) + int(fields[12])) / _TICKS
            memory += int((re.findall(r"RssAnon:\s+(\d+)", status) or [0])[0]) * 1024
        return Usage(seconds, memory) if self.found else None


def _is_here(host: str) -> bool:
    """Whether an address of the host is one of this machine: a socket can be bound to it."""
    with contextlib.suppress(OSError):
        for family, kind, number, _, address in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, number) as one:
                one.bind(address)
                return True
    return False


def _inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _pids() -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(one.name) for one in PROC.iterdir() if one.name.isdecimal())


def _files(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for one in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(one.readlink())


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "comm").read_text().strip()
    return "?"
