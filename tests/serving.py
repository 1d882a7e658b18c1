"""The service under test: in this process on a real socket, or as a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
from fastapi import FastAPI
from pymongo.synchronous.database import Database

from realtime.app import Realtime, create_app
from realtime.settings import Settings, load
from realtime.web.server import bind, make_server
from tests.replica_set import ReplicaSet

START_SECONDS = 60.0
BY_NATS = os.environ.get("REALTIME_TEST_FEED") == "nats"
"""Every service of the tests follows a relay (tests/relays.py)."""
ROOMY = dict.fromkeys(
    (
        "connections_per_principal",
        "connections_per_address",
        "connects_per_second",
        "unauthenticated_sockets",
        "unauthenticated_per_address",
        "frames_per_second",
        "writes_per_second",
        "requests_per_second",
        "in_flight_bytes",
    ),
    1_000_000_000,
)
"""Tests are many clients at one address, and ask more than any: those that are about limits say which."""
AWAIT_MS = 100
"""A feed that nothing comes to, and so the end of its service, waits so long; a second by default. Those that are about
this wait say which.
"""


@dataclass(slots=True)
class Service:
    """A running service: its address, its parts, and MongoDB by another program's hands.

    `url` ends with the prefix under which another application embeds it; `http` begins at that application's root.
    """

    url: str
    realtime: Realtime
    app: FastAPI
    database: Database[dict[str, Any]]
    http: httpx.AsyncClient
    prefix: str = ""

    def path(self, path: str) -> str:
        """A path of the service as `http` has it."""
        return f"{self.prefix}{path}"

    @property
    def documents(self) -> str:
        """Where orders are listed and inserted."""
        return self.path("/v1/collections/orders/documents")


@asynccontextmanager
async def serving(replica_set: ReplicaSet, **settings: Any) -> AsyncIterator[Service]:
    """The service on a free port, on a database of its own."""
    name = settings.pop("database", f"t_{uuid.uuid4().hex[:12]}")
    plain = settings.pop("plain_uvicorn", False)
    keep = settings.pop("keep", False)
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(replica_set.uri, connect=False)
    if BY_NATS:
        from tests.relays import shared_server

        settings = {"nats": shared_server().url, **settings}
    chosen = load(
        mongodb_uri=replica_set.uri, database=name, port=0, **{**ROOMY, "feed_await_ms": AWAIT_MS, **settings}
    )
    app = create_app(chosen)
    listening = bind(chosen)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        described = {"response": [told_in(app)]}
        # Nothing here is asked over TLS; to read the machine's certificates takes longer than the service to start.
        async with (
            _relayed(chosen),
            app.state.realtime.started(),
            httpx.AsyncClient(base_url=url, timeout=30, verify=False, event_hooks=described) as http,
        ):
            started = asyncio.Event()
            server = make_server(app, chosen, _setter(started))
            if plain:
                server.config.ws = "websockets-sansio"  # as `uvicorn app:app` would: no sink on the transport
            serve = asyncio.create_task(server.serve(sockets=[listening]))
            await started.wait()
            try:
                yield Service(url, app.state.realtime, app, client[name], http)
            finally:
                server.should_exit = True
                await serve
    finally:
        listening.close()
        if not keep:
            client.drop_database(name)
        client.close()


@asynccontextmanager
async def _relayed(settings: Settings) -> AsyncIterator[None]:
    """A relay beside the service, where all follow one."""
    if not BY_NATS:
        yield
        return
    from tests.relays import relaying

    async with relaying(settings):
        yield


def told_in(app: FastAPI) -> Callable[[httpx.Response], Awaitable[None]]:
    """A check of every answer in every test: a problem that the application's description does not have fails it."""

    @cache
    def described() -> tuple[dict[str, Any], dict[str, re.Pattern[str]]]:
        """Made for the first problem: most tests see none, and it takes longer than to start the service."""
        paths = app.openapi()["paths"]
        return paths, {path: re.compile(re.sub(r"\\{(\w+)\\}", _component, re.escape(path))) for path in paths}

    async def check(response: httpx.Response) -> None:
        told_nothing = response.request.method == "HEAD"
        if told_nothing or not response.headers.get("content-type", "").startswith("application/problem+json"):
            return
        await response.aread()
        told, method = response.json(), response.request.method.lower()
        paths, patterns = described()
        # The plain path first: one with a name in it would match it as well.
        for path in sorted(patterns, key=lambda path: "{collection}" in path):
            if method in paths[path] and patterns[path].fullmatch(response.request.url.path):
                answers = paths[path][method]["responses"].get(str(told["status"]), {})
                codes = answers.get("content", {}).get("application/problem+json", {}).get("examples", {})
                assert told["code"] in codes, f"{method} {path} answered {told}, and its description has {list(codes)}"
                return

    return check


def _component(found: re.Match[str]) -> str:
    return ".+" if found[1] == "key" else "[^/]+"


def _setter(event: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def done() -> None:
        event.set()

    return done


@pytest.fixture
async def service(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    """The service with its defaults, but for `ROOMY` and `AWAIT_MS`."""
    async with serving(replica_set) as running:
        yield running


@dataclass(slots=True)
class Process:
    """`realtime serve` or `demo` as a process of its own."""

    process: asyncio.subprocess.Process
    url: str
    output: list[str]


def roomy_environment() -> dict[str, str]:
    """`ROOMY` for a process, and its feed's wait."""
    return {f"REALTIME_{name.upper()}": str(value) for name, value in {**ROOMY, "feed_await_ms": AWAIT_MS}.items()}


@asynccontextmanager
async def process(
    command: str, *arguments: str, home: Path, module: str = "realtime", **environment: str
) -> AsyncIterator[Process]:
    """Start it, wait for the line with its address; at the end SIGTERM and wait."""
    given = {**os.environ, **roomy_environment(), "HOME": str(home), **environment}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        command,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=given,
    )
    output: list[str] = []
    try:
        async with asyncio.timeout(START_SECONDS):
            url = await _address(child, output)
        yield Process(child, url, output)
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
        await _drain(child, output)
        await child.wait()


async def _address(child: asyncio.subprocess.Process, output: list[str]) -> str:
    assert child.stdout is not None
    async for line in child.stdout:
        output.append(line.decode())
        found = re.search(r"live at (http://\S+)", output[-1])
        if found:
            return found[1]
    raise AssertionError(f"ended with {await child.wait()} before it served:\n{''.join(output)}")


async def _drain(child: asyncio.subprocess.Process, output: list[str]) -> None:
    assert child.stdout is not None
    async for line in child.stdout:
        output.append(line.decode())
