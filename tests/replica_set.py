"""The replica set that the tests run on: which lane gives it, decided without starting anything, and the lane itself.

`REALTIME_TEST_REPLICA_SET=uri|testcontainers|embedded` forces a lane. Unset: the first that works.

    uri              REALTIME_TEST_MONGODB_URI
    testcontainers   REALTIME_TEST_MONGO_IMAGE, an image whose entrypoint runs mongod, and a Docker engine
    embedded         `realtime.mongo.embedded` in a directory of its own, on the mongod that REALTIME_TEST_MONGOD names

Nothing is imported before it is needed: the pure tests load this file too, and have neither driver nor engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import second_mongod
from tests.ports import free_port

if TYPE_CHECKING:
    from pymongo import MongoClient

FORCE, URI, IMAGE = "REALTIME_TEST_REPLICA_SET", "REALTIME_TEST_MONGODB_URI", "REALTIME_TEST_MONGO_IMAGE"
TEST_COMMANDS = ("--setParameter", "enableTestCommands=1")
CLASSIC = ("--setParameter", "internalQueryForceClassicEngine=true")
READY_SECONDS = 60.0


class LaneError(Exception):
    """Why a lane cannot give a replica set."""


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    """One with a primary. `pid` is mongod's where it is our own child (the embedded lane), else None."""

    uri: str
    lane: str
    can_fail_commands: bool
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The lane to take (None: there is none), what it runs, and for the lanes before it, why not."""

    lane: str | None
    refused: tuple[str, ...]
    forced: bool = False
    runs: str = ""

    def header(self) -> str:
        """The line of pytest's header."""
        lane = self.lane or "none"
        how = f" (forced by {FORCE})" if self.forced else ""
        runs = (self.runs,) if self.runs else ()
        return "; ".join((f"replica set: {lane}{how}", *runs, *self.refused))


def choose(environment: Mapping[str, str]) -> Choice:
    """Look what can be had, without starting it."""
    forced = environment.get(FORCE, "")
    if forced and forced not in CHECKS:
        return Choice(None, (f"{FORCE}={forced} is none of {', '.join(CHECKS)}",), forced=True)
    refused = []
    for lane in [forced] if forced else CHECKS:
        try:
            runs = CHECKS[lane](environment)
        except LaneError as reason:
            refused.append(f"not {lane}: {reason}")
        else:
            return Choice(lane, tuple(refused), forced=bool(forced), runs=runs)
    return Choice(None, tuple(refused), forced=bool(forced))


def running(choice: Choice, environment: Mapping[str, str]) -> contextlib.AbstractContextManager[ReplicaSet]:
    """The replica set of that lane for the length of a `with` block; `LaneError` when it cannot be had after all."""
    if choice.lane == "uri":
        return contextlib.nullcontext(_of_uri(environment[URI]))
    if choice.lane == "testcontainers":
        return _of_container(environment[IMAGE])
    if choice.lane == "embedded":
        return _of_our_own()
    raise LaneError("; ".join(choice.refused))


def _check_uri(environment: Mapping[str, str]) -> str:
    from pymongo.errors import PyMongoError

    if not environment.get(URI):
        raise LaneError(f"{URI} is not set")
    try:
        with _client(environment[URI]) as client:
            if not client.admin.command("hello").get("setName"):
                raise LaneError(f"{URI} is not a replica set")
            return f"mongod {client.admin.command('buildInfo')['version']}"
    except PyMongoError as error:
        raise LaneError(f"{URI} does not answer: {_line(error)}") from error


def _check_testcontainers(environment: Mapping[str, str]) -> str:
    if not environment.get(IMAGE):
        raise LaneError(f"{IMAGE} is not set")
    if problem := _engine_problem():
        raise LaneError(f"no Docker engine answers: {problem}")
    return f"image {environment[IMAGE]}"


def _engine_problem() -> str:
    """Why no engine answers: not installed, no socket, no right to it, no answer; empty when one does."""
    problem = ""
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        try:
            # By way of testcontainers: to linters `import docker` is this repository's own directory of that name.
            from testcontainers.core.docker_client import DockerClient

            with contextlib.closing(DockerClient(timeout=5).client) as engine:
                engine.ping()
        except Exception as error:  # noqa: BLE001 - docker's, requests', the system's: each is a reason
            problem = _line(error)
        gc.collect()  # a client that found no engine leaves its socket open, which would fail a test later
    return problem


def _check_embedded(environment: Mapping[str, str]) -> str:
    from realtime.errors import ConfigurationError
    from realtime.mongo import embedded

    with tempfile.TemporaryDirectory() as unused:
        try:
            version = second_mongod.version_of(embedded.find_mongod(named_mongod(), Path(unused)))
        except (ConfigurationError, second_mongod.NoMongodError) as error:
            raise LaneError(str(error)) from error
    selected = environment.get(second_mongod.VARIABLE)
    return f"mongod {version}" + (f" ({second_mongod.VARIABLE}={selected})" if selected else "")


CHECKS: dict[str, Callable[[Mapping[str, str]], str]] = {
    "uri": _check_uri,
    "testcontainers": _check_testcontainers,
    "embedded": _check_embedded,
}


def _of_uri(uri: str) -> ReplicaSet:
    with _client(uri) as client:
        return ReplicaSet(uri, "uri", _can_fail_commands(client))


@contextlib.contextmanager
def _of_container(image: str) -> Iterator[ReplicaSet]:
    """One mongod that has the same address inside and outside, so that every client may follow the member's name."""
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")  # its image may be out of reach; `with` removes ours
    from testcontainers.core.container import DockerContainer

    port = free_port()
    uri = f"mongodb://127.0.0.1:{port}/?replicaSet=rs0"
    container = DockerContainer(image)
    container.with_command(["--replSet", "rs0", "--bind_ip_all", "--port", str(port), *TEST_COMMANDS, *CLASSIC])
    container.ports[f"{port}/tcp"] = ("127.0.0.1", port)  # type: ignore[assignment] # reason: docker-py's way to say loopback
    with contextlib.ExitStack() as started:
        try:
            started.enter_context(container)
            _initiate(container, port)
            with _client(uri, seconds=READY_SECONDS) as client:
                can_fail_commands = _can_fail_commands(client)
        except Exception as error:  # the engine's, the registry's, HTTP's and the driver's: all end this lane
            raise LaneError(f"{image}: {_line(error)}") from error
        yield ReplicaSet(uri, "testcontainers", can_fail_commands)


def _initiate(container: Any, port: int) -> None:
    from pymongo.errors import ConnectionFailure

    config = {"_id": "rs0", "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]}
    deadline = time.monotonic() + READY_SECONDS
    while True:
        container.reload()
        if container.status == "exited":
            raise LaneError(f"mongod ended: {container.get_logs()[0].decode(errors='replace')[-500:]}")
        try:
            with _client(f"mongodb://127.0.0.1:{port}/?directConnection=true") as client:
                client.admin.command("replSetInitiate", config)
                return
        except ConnectionFailure:  # Docker's proxy listens before mongod does, and hangs up
            if time.monotonic() > deadline:
                raise


@contextlib.contextmanager
def _of_our_own() -> Iterator[ReplicaSet]:
    from realtime.errors import ConfigurationError
    from realtime.mongo import embedded

    # A loop of its own that is nobody's current one: the tests' loop belongs to pytest-asyncio.
    with (
        tempfile.TemporaryDirectory(prefix="realtime-tests-") as directory,  # 300 MB; pytest would keep three of them
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
    ):
        try:
            mongo = runner.run(embedded.start(Path(directory), named_mongod(), extra_args=TEST_COMMANDS))
        except ConfigurationError as error:
            raise LaneError(str(error)) from error
        try:
            yield ReplicaSet(mongo.uri, "embedded", can_fail_commands=True, pid=mongo.pid)
        finally:
            runner.run(mongo.stop())


def named_mongod() -> Path | None:
    """The mongod that the environment names, for those that start one of their own."""
    from realtime import settings

    return settings.load().mongod


def _client(uri: str, seconds: float = 3) -> MongoClient[dict[str, Any]]:
    from pymongo import MongoClient

    return MongoClient(uri, serverSelectionTimeoutMS=int(seconds * 1000), connectTimeoutMS=3000)


def _can_fail_commands(client: MongoClient[dict[str, Any]]) -> bool:
    from pymongo.errors import OperationFailure

    try:
        client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
    except OperationFailure:
        return False
    return True


def _line(error: Exception) -> str:
    """The beginning; a driver's text goes on with its timeouts and its view of the topology."""
    return " ".join(str(error).partition(" (configured timeouts")[0].split())[:200]
