"""`realtime demo --nodes N`: an embedded NATS, a relay and nodes beside this one, each a process that ends with it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from pydantic import SecretStr

from realtime import logs
from realtime.errors import ConfigurationError
from realtime.keeping import guard
from realtime.mongo import embedded
from realtime.settings import ENV_PREFIX, Settings, process_environment

START_SECONDS = 60.0
STOP_SECONDS = 20.0
_CHUNK = 1 << 16
_ADDRESS = re.compile(rb"live at (\S+)")

log = logging.getLogger("realtime")


async def started(stack: AsyncExitStack, settings: Settings, count: int) -> tuple[Settings, list[str]]:
    """Everything beside this node: its own settings, and the addresses of the other `count - 1`.

    Raises `ConfigurationError` where one of them does not come up; it has said why.
    """
    from realtime.nats import embedded as embedded_nats  # noqa: PLC0415 - nats-py, where it is used

    found: dict[str, Any] = {"workers": 1}
    if settings.mongodb_uri is None:
        mongo = await stack.enter_async_context(embedded.running(settings.data_dir, settings.mongod))
        found["mongodb_uri"] = SecretStr(mongo.uri)
    if settings.nats is None:
        nats = await stack.enter_async_context(embedded_nats.running(settings.data_dir))
        found["nats"] = SecretStr(nats.url)
    here = settings.model_copy(update=found)
    await stack.enter_async_context(_child("relay", "relay", {**_environment(here), "ADMIN_PORT": ""}))
    away = {**_environment(here), "PORT": "0", "ADMIN_PORT": ""}
    names = [named(number) for number in range(2, count + 1)]
    nodes = [await stack.enter_async_context(_child("serve", name, away)) for name in names]
    return here, list(await asyncio.gather(*(_address(node) for node in nodes)))


def named(number: int) -> str:
    """How a node is called in the log and on the terminal; the first one is this process."""
    return f"node {number}"


def _environment(settings: Settings) -> dict[str, str]:
    """What was set, without the prefix, as variables have it."""
    found = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if value is None or value == ():
            continue
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        found[name.upper()] = text.lower() if isinstance(value, bool) else text
    return found


@asynccontextmanager
async def _child(command: str, whose: str, given: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """`realtime COMMAND`; it is told to end with the block, and the kernel ends it where this process is killed.

    What it logs is passed on, each line with `whose` it is.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "realtime", command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=process_environment(**{f"{ENV_PREFIX}{name}": value for name, value in given.items()}),
        start_new_session=True,  # the terminal's Ctrl-C comes to this process, which passes it on
        preexec_fn=guard.die_with(os.getpid()),
    )
    passing = asyncio.create_task(_pass_on(child.stderr, whose))
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                if child.stdout is not None:
                    await child.stdout.read()
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()
        await passing


async def _pass_on(said: asyncio.StreamReader | None, whose: str) -> None:
    """What a process writes, until it has ended; a line may be of any length."""
    rest = b""
    while said is not None and (data := await said.read(_CHUNK)):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            _say(line, whose)
    if rest:
        _say(rest, whose)


def _say(line: bytes, whose: str) -> None:
    sys.stderr.write(f"{logs.of_another(line.decode(errors='replace'), whose)}\n")
    sys.stderr.flush()


async def _address(node: asyncio.subprocess.Process) -> str:
    """Where it serves, by what it says when it does."""
    if node.stdout is not None:
        try:
            async with asyncio.timeout(START_SECONDS):
                async for line in node.stdout:
                    if found := _ADDRESS.search(line):
                        return found[1].decode()
        except TimeoutError:
            pass
    raise ConfigurationError("a further node of the demo does not serve: see the log above, or leave --nodes out")
