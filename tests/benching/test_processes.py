"""Which processes are the service's: those that listen on its port, but for what only forwards it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from realtime.bench.processes import Processes

LISTENS = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"


@contextmanager
def listener(named: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process of that name, and the port that it listens on."""
    named.symlink_to(sys.executable)
    with subprocess.Popen([named, "-c", LISTENS], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["docker-proxy", "rootlessport"])
def test_what_forwards_to_a_container_is_not_taken_for_the_service(tmp_path: Path, name: str) -> None:
    with listener(tmp_path / "service") as (process, port):
        found = Processes.listening("127.0.0.1", port)
        assert found.found == {process.pid: "service"}
        assert found.usage() is not None
    with listener(tmp_path / name) as (_, port):
        found = Processes.listening("127.0.0.1", port)
        assert found.found == {}
        assert found.usage() is None
