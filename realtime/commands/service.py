"""`realtime serve`, `demo`, `doctor` and `images`. Every option of a service is a field of `Settings`."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import click
import uvloop
from pydantic import SecretStr

from realtime import __version__, logs, metrics
from realtime.access.rules_file import RulesFile
from realtime.app import Realtime, create_app
from realtime.commands import demo_nodes, demo_users, files, workers
from realtime.commands.collector import Collector
from realtime.commands.exchange import Offers
from realtime.commands.options import (
    guarded,
    mongodb_options,
    named_mongodb,
    nats_options,
    settings_of,
    settings_options,
)
from realtime.core.access.rules.model import Rules
from realtime.core.access.rules.text import parse
from realtime.core.relay import diagnosis as relayed
from realtime.core.relay.identity import Identity
from realtime.core.upstream.diagnosis import EXIT, Facts, Finding, diagnose, worst
from realtime.core.wire.collections import Collections
from realtime.demo import writer
from realtime.errors import ConfigurationError
from realtime.mongo import embedded, examination
from realtime.settings import Settings, stray_variables
from realtime.web.server import bind_doors, make_server

log = logging.getLogger("realtime")

EXIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where it listens. `page` None: the page, documents and metrics are at the one address."""

    clients: str
    page: str | None


Start = Callable[[AsyncExitStack, Settings, str, Addresses], Awaitable[None]]
"""Called once it listens, with settings, MongoDB's URI and the addresses."""


@click.command()
@settings_options
@guarded
def serve(**options: Any) -> None:
    """Serve a MongoDB replica set; without a URI an embedded one, for development."""
    _run_any(settings_of(options), _announce)


@click.command()
@settings_options
@click.option("--with-users", is_flag=True, help="ask who it is, and print a link for each of two users")
@click.option("--nodes", type=click.IntRange(1, 9), default=1, help="nodes that follow one relay over an embedded NATS")
@guarded
def demo(with_users: bool, nodes: int, **options: Any) -> None:
    """Serve, and write this machine's own figures and a small shop's orders, to watch them live."""
    writer.check_requirements()
    chosen = demo_users.settings_with_users(options) if with_users else settings_of(options)

    async def start(stack: AsyncExitStack, settings: Settings, uri: str, addresses: Addresses) -> None:
        process = await stack.enter_async_context(writer.running(uri, settings.database))
        click.echo(f"demo writer: process {process.pid} (to see the page miss it: kill {process.pid})")
        await _announce(stack, settings, uri, addresses)
        for line in demo_users.links(settings, addresses.page or addresses.clients) if with_users else ():
            click.echo(line)
        if with_users:
            click.echo(demo_users.ROLES_DO_NOTHING)

    if nodes > 1:
        logs.configure(chosen.log_level, chosen.log_format, demo_nodes.named(1))
        files.raise_limit(chosen.connections_per_address)
        _run(_serve_nodes(chosen, start, nodes))
    _run_any(chosen, start)


async def _serve_nodes(settings: Settings, start: Start, count: int) -> None:
    """This node, and what it takes for the others to follow the same stream."""
    with _until_it_serves():
        async with AsyncExitStack() as stack:
            here, others = await demo_nodes.started(stack, settings, count)

            async def started(inner: AsyncExitStack, chosen: Settings, uri: str, addresses: Addresses) -> None:
                await start(inner, chosen, uri, addresses)
                for number, address in enumerate(others, 2):
                    click.echo(f"{demo_nodes.named(number)}, the same orders by the same relay: {address}")

            await _serve(here, started)


@click.command("worker", hidden=True)
@guarded
def work() -> None:
    """One of several; `serve --workers N` starts it and tells it all on stdin."""
    channel = workers.channel()
    orders, rest = workers.receive(channel)
    metrics.share(orders.figures)
    logs.configure(orders.settings.log_level, orders.settings.log_format)

    async def start(_stack: AsyncExitStack, _settings: Settings, _uri: str, _addresses: Addresses) -> None:
        workers.tell_serving(channel)

    served = Collections.of((), orders.settings.collections, database=orders.settings.database).names
    offers = Offers(channel, rest, lambda text: parse(text, orders.rules_name, served))
    offers.begin()
    rules = None if orders.rules is None else parse(orders.rules, orders.rules_name, served)
    inherited = [socket.socket(fileno=descriptor) for descriptor in orders.descriptors]
    _run(_serve(orders.settings, start, inherited, rules, offers))


@click.command("doctor")
@mongodb_options
@nats_options
@click.option("--relay", is_flag=True, help="the user of NATS is the relay's, not the nodes'")
@click.option("--json", "as_json", is_flag=True, help="one JSON object a line")
@guarded
def examine(as_json: bool, relay: bool, **options: Any) -> None:
    """Examine a MongoDB: is it fit to be served, and what should be mended? With --nats, the NATS beside it too.

    A line for each finding: ok, warning or error, with its mend. Exit code 0, 1 or 2 for the worst of them.
    """
    settings, uri = named_mongodb(options)
    facts = asyncio.run(examination.examine(uri, settings.database, settings.epoch))
    findings = diagnose(facts)
    if settings.nats is not None:
        findings += asyncio.run(_nats(settings, facts, node=not relay))
    for finding in findings:
        if as_json:
            click.echo(json.dumps(asdict(finding)))
        else:
            mend = f"; {finding.mend}" if finding.mend else ""
            click.echo(f"{finding.level:8}{finding.check:15}{finding.text}{mend}")
    sys.exit(EXIT[worst(findings)])


async def _nats(settings: Settings, facts: Facts, *, node: bool) -> list[Finding]:
    """What there is to say of NATS, which is asked for the stream that MongoDB's epoch names."""
    from realtime.nats import access, examination  # noqa: PLC0415 - nats-py, where it is used

    identity = None
    if facts.epoch is not None:
        names = Collections.of((), settings.collections, database=settings.database).names
        served = None if names is None else frozenset(names)
        identity = Identity(facts.epoch, settings.database, str((facts.hello or {}).get("setName", "")), served)
    try:
        return relayed.diagnose(await examination.examine(access.access_of(settings), identity, node=node))
    except ConfigurationError as error:
        return [Finding("error", "nats", str(error))]


@click.group("images")
def images() -> None:
    """Pre- and post-images of a collection: what a document was before a change, and after it."""


def _images_command(word: str, *, enabled: bool, cost: str) -> None:
    @images.command(word, help=f"Let COLLECTION {'keep' if enabled else 'keep no'} images. {cost}")
    @click.argument("collection")
    @mongodb_options
    @guarded
    def switch(collection: str, **options: Any) -> None:
        settings, uri = named_mongodb(options)
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


def _run_any(settings: Settings, start: Start) -> None:
    """One process, or several under this one."""
    logs.configure(settings.log_level, settings.log_format)
    files.raise_limit(settings.connections_per_address)
    _run(_serve(settings, start) if settings.workers == 1 else _supervise(settings, start))


def _run(work: Coroutine[Any, Any, None]) -> None:
    code = 0
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except _Interrupted as interrupted:
        code = 128 + interrupted.number
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


class _Interrupted(Exception):  # noqa: N818 - an end that was asked for, and no error
    """A signal came before the server took the signals over: nothing was served yet."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def _until_it_serves() -> Iterator[None]:
    """Signals until the server takes them over: the first one cancels the start, the second ends at once.

    A first process of a container has no default action for SIGTERM, and asyncio's own for SIGINT is a traceback at
    the second Ctrl-C.
    """
    this = asyncio.current_task()
    came: list[int] = []

    def stop(number: int) -> None:
        if came or this is None:
            _end_at_once(number)
        else:
            came.append(number)
            this.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        yield
    except asyncio.CancelledError:
        if not came:
            raise
        raise _Interrupted(came[0]) from None


async def _serve(
    settings: Settings,
    start: Start,
    inherited: list[socket.socket] | None = None,
    rules: Rules | None = None,
    offers: Offers[Rules] | None = None,
) -> None:
    """`rules`: of a worker, whose parent reads the file and `offers` others."""
    with _until_it_serves():
        app = create_app(settings, rules=rules)
        realtime: Realtime = app.state.realtime
        _hear_hangups(realtime.rules_file, ignored=rules is not None)
        listening = bind_doors(settings) if inherited is None else inherited
        try:
            async with realtime.started(), AsyncExitStack() as stack:
                if offers is not None and rules is not None:
                    offers.serve(realtime.take_rules, realtime.foresee_rules)

                async def started() -> None:
                    await start(stack, settings, realtime.uri, addresses_of(settings, listening))

                collector = Collector()
                collector.begin()
                admin = listening[1] if len(listening) > 1 else None
                server = make_server(app, settings, started, _end_at_once, admin)
                server.on_count = collector.look
                await server.serve(sockets=listening)
        finally:
            for one in listening:
                one.close()


def _hear_hangups(rules: RulesFile | None, *, ignored: bool = False) -> None:
    """SIGHUP has rules read again, where there are any; a worker leaves that to its parent."""
    if rules is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, rules.ask)
    elif ignored:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def _supervise(settings: Settings, start: Start) -> None:
    """The parent of workers, whose embedded MongoDB is its own."""
    with _until_it_serves():
        if (stray := stray_variables()) is not None:
            log.warning(stray)
        listening = bind_doors(settings)
        try:
            async with AsyncExitStack() as stack:
                if settings.mongodb_uri is None:
                    mongo = await stack.enter_async_context(embedded.running(settings.data_dir, settings.mongod))
                    settings = settings.model_copy(update={"mongodb_uri": SecretStr(mongo.uri)})
                uri = settings.mongodb_uri.get_secret_value() if settings.mongodb_uri is not None else ""
                rules = None if settings.rules is None else RulesFile(settings.rules)
                _hear_hangups(rules)
                await workers.Supervisor(settings, listening, _end_at_once, rules).run(
                    functools.partial(start, stack, settings, uri, addresses_of(settings, listening))
                )
        finally:
            for one in listening:
                one.close()


def addresses_of(settings: Settings, listening: Sequence[socket.socket]) -> Addresses:
    """As people type them."""
    scheme = "http" if settings.tls_cert is None else "https"
    hosts = (settings.host, settings.admin_host)
    found = [
        f"{scheme}://{f'[{host}]' if ':' in host else host}:{one.getsockname()[1]}/"
        for host, one in zip(hosts, listening, strict=False)
    ]
    return Addresses(found[0], found[1] if len(found) > 1 else None)


async def _announce(_stack: AsyncExitStack, settings: Settings, _uri: str, addresses: Addresses) -> None:
    if addresses.page is not None:
        click.echo(f"page, documents and metrics: {addresses.page}")
    click.echo(f"realtime {__version__}: database {settings.database} live at {addresses.clients} (Ctrl-C ends it)")
