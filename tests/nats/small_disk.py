"""A disk that a test can fill: a tmpfs in a mount namespace of its own, which nobody else sees.

It needs no rights where the kernel gives user namespaces to everybody. A process holds the namespace until its input
ends, with this process if not before; a server is run in it, and what it has stored outlives the server.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BALLAST = "ballast"
_HOLD = 'mount -t tmpfs -o size="$1"m tmpfs "$2" && echo held && exec cat'


class NoDiskError(Exception):
    """No such namespace is to be had here: why."""


class SmallDisk:
    """Seen at `path` by what is run with `prefix` in front, and at `here` by everybody of this user."""

    def __init__(self, path: Path, holder: int) -> None:
        spaces = f"--user=/proc/{holder}/ns/user", f"--mount=/proc/{holder}/ns/mnt"
        self.prefix = ("nsenter", *spaces, "--preserve-credentials")
        self.here = Path(f"/proc/{holder}/root{path.resolve()}")

    def fill(self) -> int:
        """Until nothing has room any more; the bytes that it took."""
        with (self.here / BALLAST).open("ab", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError:
                    continue
        return (self.here / BALLAST).stat().st_size

    def free(self) -> None:
        """Take the ballast away."""
        (self.here / BALLAST).unlink()


@contextmanager
def small_disk(path: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """At `path`, which is made. Raises `NoDiskError`."""
    path.mkdir(parents=True, exist_ok=True)
    command = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _HOLD, "sh", str(mebibytes), str(path))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stderr is not None
        try:
            if holder.stdout.readline() != "held\n":
                raise NoDiskError(holder.stderr.read().strip())
            yield SmallDisk(path, holder.pid)
        finally:
            holder.stdin.close()
