"""What the tests of this layer share: commands seen, commands made to fail, a mongod that a test may break."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo import monitoring
from pymongo.synchronous.database import Database

from realtime import settings
from realtime.core.live.events import to_time
from realtime.mongo import embedded
from tests.replica_set import TEST_COMMANDS

SECONDS = 60.0
"""Longest wait for anything; only a failing test takes it."""

Client = pymongo.MongoClient[dict[str, Any]]
Documents = Database[dict[str, Any]]


@contextlib.contextmanager
def plain(uri: str) -> Iterator[Documents]:
    """A database of this test's own by another program's hands, dropped afterwards."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    with pymongo.MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=10_000) as client:
        yield client[name]
        client.drop_database(name)


def now(database: Documents) -> int:
    """The deployment's cluster time."""
    with database.client.start_session(causal_consistency=False) as session:
        database.command("ping", session=session)
        assert session.operation_time is not None
        return to_time(session.operation_time)


async def until(true: Callable[[], Any], *, seconds: float = SECONDS) -> None:
    """Look until it holds; for what another process does, which has no event to await."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


class Commands(monitoring.CommandListener):
    """The commands that the process's clients sent, in order."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.sent.append({"name": event.command_name, **event.command})

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing is kept of it."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing is kept of it."""

    def of(self, *names: str) -> list[dict[str, Any]]:
        """Those of these names, but for what the watch over the lag reads of the oplog's beginning now and then."""
        return [command for command in self.sent if command["name"] in names and command["$db"] != "local"]


def watch_commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Listen to every client that is made from now on, until the test ends."""
    commands = Commands()
    # The driver's own registry of listeners has no way to leave it again.
    monkeypatch.setattr(monitoring, "_LISTENERS", monitoring._LISTENERS._replace(command_listeners=[commands]))
    return commands


class Failing:
    """A fail point that is on; `hits` is how often it has struck, known when it is off again."""

    def __init__(self, client: Client, before: int) -> None:
        self._client = client
        self._before = before
        self.hits = 0

    def struck(self, times: int = 1) -> None:
        """Wait until it has struck so often."""
        self._client.admin.command(
            {"waitForFailPoint": "failCommand", "timesEntered": self._before + times, "maxTimeMS": int(SECONDS * 1000)}
        )

    def off(self) -> None:
        """Let commands pass again."""
        reply = self._client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        self.hits = reply["count"] - self._before


@contextlib.contextmanager
def failing(database: Documents, *commands: str, times: int = 0, skip: int = 0, **data: Any) -> Iterator[Failing]:
    """Make commands of one client fail (`appName`), `times` times or all, the first `skip` excepted.

    It is global to the server: only for one of the test's own.
    """
    mode: Any = {"times": times} if times else {"skip": skip} if skip else "alwaysOn"
    client = database.client
    point = {"configureFailPoint": "failCommand", "mode": mode, "data": {"failCommands": list(commands), **data}}
    fault = Failing(client, client.admin.command(point)["count"])
    try:
        yield fault
    finally:
        fault.off()


@contextlib.asynccontextmanager
async def breakable(directory: Path, binary: Path | None = None) -> AsyncIterator[str]:
    """The URI of a replica set of the tests' own, whose commands may be made to fail; of `binary`, or of any mongod."""
    async with embedded.running(directory, binary or settings.load().mongod, extra_args=TEST_COMMANDS) as mongo:
        yield mongo.uri


@contextlib.asynccontextmanager
async def mongod(directory: Path, *arguments: str, binary: Path | None = None, port: int = 0) -> AsyncIterator[str]:
    """HOST:PORT of a mongod with these arguments and no more, a standalone one unless they say otherwise.

    Killed at the end; another one, of another `binary`, may go on with its directory and `port`.
    """
    binary = binary or embedded.find_mongod(settings.load().mongod, directory)
    data = directory / "data"
    data.mkdir(exist_ok=True)
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(binary, "--dbpath", data, "--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket", "--quiet"),
        *("--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false", *arguments),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(lambda: process.returncode is not None or _listens(port))
        assert process.returncode is None, "mongod ended"
        yield f"127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
