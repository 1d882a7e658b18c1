"""`realtime serve` and `realtime demo`. Every option is a field of `Settings`."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import click
import uvloop

from realtime import __version__, logs
from realtime import demo as writer
from realtime.app import Realtime, create_app
from realtime.errors import ConfigurationError
from realtime.mongo import client as clients
from realtime.settings import ENV_PREFIX, OPTIONS, Settings, load
from realtime.web.server import bind, make_server

CONFIGURATION_EXIT = 2
EXIT_SECONDS = 1.0
Start = Callable[[AsyncExitStack, Realtime, str], Awaitable[None]]


def _settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of `Settings`, with their descriptions, bounds and environment variables as help."""
    for name in reversed(OPTIONS):
        field = Settings.model_fields[name]
        flag = f"--{name.replace('_', '-')}"
        text = f"{field.description} [{ENV_PREFIX}{name.upper()}]"
        if field.annotation is bool:
            option = click.option(flag, is_flag=True, default=None, help=text)
        else:
            default = "" if field.is_required() or field.default is None else f" (default {field.get_default()})"
            shown = default if field.default_factory is None else ""
            option = click.option(flag, default=None, metavar=name.split("_")[-1].upper(), help=text + shown)
        command = option(command)
    return command


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """A configuration that cannot work: one clear line, exit 2."""

    @functools.wraps(command)
    def guarded(**options: Any) -> None:
        try:
            command(**options)
        except ConfigurationError as error:
            click.echo(f"realtime: {error}", err=True)
            sys.exit(CONFIGURATION_EXIT)
        except KeyboardInterrupt:
            # Before the server took the signal over: nothing was served yet.
            sys.exit(130)

    return guarded


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="realtime")
def main() -> None:
    """Live MongoDB queries for browsers and programs.

    Everything that can be set is also an environment variable, REALTIME_ and the option's name in capitals;
    docs/settings.md lists those that have no option.
    """


@main.command()
@_settings_options
@_guarded
def serve(**options: Any) -> None:
    """Serve a MongoDB replica set; without a URI an embedded one, for development."""
    _run(_settings(options), _announce)


@main.command()
@_settings_options
@_guarded
def demo(**options: Any) -> None:
    """Serve, and write this machine's own figures twice a second, to watch them live."""
    writer.check_requirements()

    async def start(stack: AsyncExitStack, realtime: Realtime, address: str) -> None:
        process = await stack.enter_async_context(writer.running(realtime.uri, realtime.settings.database))
        click.echo(f"demo writer: process {process.pid} (to see the page miss it: kill {process.pid})")
        await _announce(stack, realtime, address)

    _run(_settings(options), start)


def _settings(options: dict[str, Any]) -> Settings:
    settings = load(**options)
    uri = settings.mongodb_uri
    named = clients.database_in(uri.get_secret_value()) if uri is not None else None
    if named and "database" not in settings.model_fields_set:
        # The URI names its database; the option, where given, wins.
        settings = load(**{**options, "database": named})
    return settings


def _run(settings: Settings, start: Start) -> None:
    logs.configure(settings.log_level, settings.log_format)
    code = 0
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, start))
    except asyncio.CancelledError:
        code = 128 + signal.SIGTERM
    # Threads that wait for a frozen MongoDB would keep the interpreter from ending; nothing is left to be done.
    threading.Thread(target=_end_anyway, args=(code,), daemon=True).start()
    sys.exit(code)


def _end_anyway(code: int) -> None:
    time.sleep(EXIT_SECONDS)
    os._exit(code)


def _end_at_once(number: int) -> None:
    """The second signal: nothing is lost that a client was told is there, and the guard ends an embedded mongod."""
    click.echo("realtime: ended at once by a second signal", err=True)
    os._exit(128 + number)


async def _serve(settings: Settings, start: Start) -> None:
    # Until the server takes the signals over. A first process of a container has no default action for SIGTERM.
    this = asyncio.current_task()
    if this is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    app = create_app(settings)
    realtime: Realtime = app.state.realtime
    listening = bind(settings)
    try:
        async with realtime.started(), AsyncExitStack() as stack:
            address = f"http://{_shown(settings.host)}:{listening.getsockname()[1]}/"
            server = make_server(app, settings, functools.partial(start, stack, realtime, address), _end_at_once)
            await server.serve(sockets=[listening])
    finally:
        listening.close()


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _announce(_stack: AsyncExitStack, realtime: Realtime, address: str) -> None:
    click.echo(f"realtime {__version__}: database {realtime.settings.database} live at {address} (Ctrl-C ends it)")
