"""`realtime serve`, `demo`, `doctor`, `images` and `tail`. Every option of a service is a field of `Settings`."""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any

import click
import uvloop
from pydantic import SecretStr

from realtime import __version__, logs, metrics
from realtime.app import Realtime, create_app
from realtime.commands import workers
from realtime.commands.tail import tail
from realtime.core.upstream.diagnosis import EXIT, diagnose, worst
from realtime.demo import writer
from realtime.errors import ConfigurationError
from realtime.mongo import client as clients
from realtime.mongo import embedded, examination
from realtime.settings import ENV_PREFIX, OPTIONS, Settings, load
from realtime.web.server import bind, make_server

CONFIGURATION_EXIT = 2
GC_ALLOCATIONS = 20_000
"""Objects made, and not freed, between two looks of the garbage collector at the young ones."""
EXIT_SECONDS = 1.0
Start = Callable[[AsyncExitStack, Settings, str, str], Awaitable[None]]
"""Called once it listens, with settings, MongoDB's URI and the address."""


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

    Everything that can be set for the service is also an environment variable, REALTIME_ and the option's name in
    capitals; docs/settings.md lists those that have no option.
    """


main.add_command(tail)


@main.command()
@_settings_options
@_guarded
def serve(**options: Any) -> None:
    """Serve a MongoDB replica set; without a URI an embedded one, for development."""
    _run_any(_settings(options), _announce)


@main.command()
@_settings_options
@_guarded
def demo(**options: Any) -> None:
    """Serve, and write this machine's own figures and a small shop's orders, to watch them live."""
    writer.check_requirements()

    async def start(stack: AsyncExitStack, settings: Settings, uri: str, address: str) -> None:
        process = await stack.enter_async_context(writer.running(uri, settings.database))
        click.echo(f"demo writer: process {process.pid} (to see the page miss it: kill {process.pid})")
        await _announce(stack, settings, uri, address)

    _run_any(_settings(options), start)


def _mongodb_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which MongoDB, for what only asks or changes it."""
    database = f"database [{ENV_PREFIX}DATABASE]"
    uri = f"MongoDB replica set [{ENV_PREFIX}MONGODB_URI]"
    option = click.option("--uri", "--mongodb-uri", "mongodb_uri", default=None, metavar="URI", help=uri)
    return option(click.option("--database", default=None, metavar="DATABASE", help=database)(command))


@main.command("worker", hidden=True)
@_guarded
def work() -> None:
    """One of several; `serve --workers N` starts it and tells it all on stdin."""
    channel = workers.channel()
    orders = workers.receive(channel)
    metrics.share(orders.figures)
    logs.configure(orders.settings.log_level, orders.settings.log_format)

    async def start(_stack: AsyncExitStack, _settings: Settings, _uri: str, _address: str) -> None:
        workers.tell_serving(channel)

    _run(_serve(orders.settings, start, socket.socket(fileno=orders.descriptor)))


@main.command("doctor")
@_mongodb_options
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line")
@_guarded
def examine(as_json: bool, **options: Any) -> None:
    """Examine a MongoDB: is it fit to be served, and what should be mended?

    A line for each finding: ok, warning or error, with its mend. Exit code 0, 1 or 2 for the worst of them.
    """
    settings, uri = _named(options)
    findings = diagnose(asyncio.run(examination.examine(uri, settings.database, settings.epoch)))
    for finding in findings:
        if as_json:
            click.echo(json.dumps(asdict(finding)))
        else:
            mend = f"; {finding.mend}" if finding.mend else ""
            click.echo(f"{finding.level:8}{finding.check:15}{finding.text}{mend}")
    sys.exit(EXIT[worst(findings)])


@main.group("images")
def images() -> None:
    """Pre- and post-images of a collection: what a document was before a change, and after it."""


def _images_command(word: str, *, enabled: bool, cost: str) -> None:
    @images.command(word, help=f"Let COLLECTION {'keep' if enabled else 'keep no'} images. {cost}")
    @click.argument("collection")
    @_mongodb_options
    @_guarded
    def switch(collection: str, **options: Any) -> None:
        settings, uri = _named(options)
        changed = asyncio.run(examination.switch_images(uri, settings.database, collection, enabled=enabled))
        click.echo(f"{settings.database}.{collection}: images {word}d{'' if changed else ' already'}. {cost}")


_images_command(
    "enable",
    enabled=True,
    cost="From now on MongoDB writes every document that is updated, replaced or deleted a second time, as it was "
    "before, to config.system.preimages, and keeps it as long as its oplog entry (changeStreamOptions can make that "
    "shorter): about twice the writes and their disk. Events then carry `before`, deletes go through filters, and the "
    "service reads nothing for updates.",
)
_images_command(
    "disable",
    enabled=False,
    cost="Events of changes from now on carry no `before`, deletes are told by key alone, and the service reads the "
    "documents of updates. Events before that which somebody still resumes from keep theirs.",
)


def _named(options: dict[str, Any]) -> tuple[Settings, str]:
    settings = _settings(options)
    if settings.mongodb_uri is None:
        raise ConfigurationError("which MongoDB? Name it with --uri URI or REALTIME_MONGODB_URI")
    return settings, settings.mongodb_uri.get_secret_value()


def _settings(options: dict[str, Any]) -> Settings:
    settings = load(**options)
    uri = settings.mongodb_uri
    named = clients.database_in(uri.get_secret_value()) if uri is not None else None
    if named and "database" not in settings.model_fields_set:
        # The URI names its database; the option, where given, wins.
        settings = load(**{**options, "database": named})
    return settings


def _run_any(settings: Settings, start: Start) -> None:
    """One process, or several under this one."""
    logs.configure(settings.log_level, settings.log_format)
    _run(_serve(settings, start) if settings.workers == 1 else _supervise(settings, start))


def _run(work: Coroutine[Any, Any, None]) -> None:
    code = 0
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except asyncio.CancelledError:
        code = 128 + signal.SIGTERM
    except workers.WorkerRefusedError as refused:
        code = refused.code if refused.code > 0 else 1
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


def _cancel_on_sigterm() -> None:
    """Until the server takes the signals over. A first process of a container has no default action for SIGTERM."""
    this = asyncio.current_task()
    if this is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)


async def _serve(settings: Settings, start: Start, inherited: socket.socket | None = None) -> None:
    _cancel_on_sigterm()
    app = create_app(settings)
    realtime: Realtime = app.state.realtime
    listening = bind(settings) if inherited is None else inherited
    try:
        async with realtime.started(), AsyncExitStack() as stack:

            async def started() -> None:
                await start(stack, settings, realtime.uri, _address(settings, listening))

            _spare_the_collector()
            await make_server(app, settings, started, _end_at_once).serve(sockets=[listening])
    finally:
        listening.close()


def _spare_the_collector() -> None:
    """What is there now stays to the end: looking through it again and again stalls a crowd that connects.

    Of 2,000 connections that came at once the collector took 40 % of the time. This process is ours; an application
    that embeds the service decides for itself.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 50)


async def _supervise(settings: Settings, start: Start) -> None:
    """The parent of workers, whose embedded MongoDB is its own."""
    _cancel_on_sigterm()
    listening = bind(settings)
    try:
        async with AsyncExitStack() as stack:
            if settings.mongodb_uri is None:
                mongo = await stack.enter_async_context(embedded.running(settings.data_dir, settings.mongod))
                settings = settings.model_copy(update={"mongodb_uri": SecretStr(mongo.uri)})
            uri = settings.mongodb_uri.get_secret_value() if settings.mongodb_uri is not None else ""
            address = _address(settings, listening)
            await workers.Supervisor(settings, listening, _end_at_once).run(
                functools.partial(start, stack, settings, uri, address)
            )
    finally:
        listening.close()


def _address(settings: Settings, listening: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listening.getsockname()[1]}/"


async def _announce(_stack: AsyncExitStack, settings: Settings, _uri: str, address: str) -> None:
    click.echo(f"realtime {__version__}: database {settings.database} live at {address} (Ctrl-C ends it)")
