"""`realtime bench`: what a deployment does, measured from outside; and the processes of its load generator."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import uvloop

from realtime.access.minting import new_token
from realtime.bench import generator, plot, wording
from realtime.bench.calling import Caller, RefusedError
from realtime.bench.crew import COMMAND, GeneratorError
from realtime.bench.plan import KINDS, PREFIX, Plan
from realtime.bench.result import Result
from realtime.bench.run import Run, Wanted
from realtime.bench.sockets import address_of
from realtime.bench.writing import MOST_BATCH, Direct, Store, ThroughService
from realtime.client.client import DEFAULT_URL
from realtime.commands import files
from realtime.commands.options import Seconds, guarded, settings_of
from realtime.commands.tail import JsonObject
from realtime.core.wire.reserved_names import MAX_NAME
from realtime.errors import ConfigurationError, ServiceError
from realtime.mongo.benching import BenchCollection

FAILED_EXIT, INEXACT_EXIT = 1, 3
TOKEN_SECONDS = 3600.0
"""A minted token is good for this long, and for the run."""
MOST_CONNECTIONS, MOST_QUERIES, MOST_SECONDS = 1_000_000, 1_000_000, 86_400.0
MOST_DOCUMENTS = 100_000_000
COUNT = click.IntRange(0, MOST_QUERIES)


@click.command("bench")
@click.option("--url", default=DEFAULT_URL, metavar="URL", show_default=True, help="address of the service")
@click.option("--connections", type=click.IntRange(1, MOST_CONNECTIONS), default=100, show_default=True, metavar="N")
@click.option(
    "--subscriptions", type=click.IntRange(1, 10_000), default=1, show_default=True, metavar="N", help="of a connection"
)
@click.option("--filters", type=COUNT, default=None, metavar="N", help="distinct live queries (default 1)")
@click.option("--windows", type=COUNT, default=0, metavar="N", help="distinct windows: sorted, the newest ten")
@click.option("--groups", type=COUNT, default=0, metavar="N", help="distinct queries for rows of groups")
@click.option("--pipelines", type=COUNT, default=0, metavar="N", help="distinct pipelines: $match and $group")
@click.option("--events", type=COUNT, default=0, metavar="N", help="distinct events subscriptions")
@click.option(
    "--rate", type=click.FloatRange(0.01, 1e6), default=100.0, show_default=True, metavar="N", help="documents a second"
)
@click.option(
    "--batch", type=click.IntRange(1, MOST_BATCH), default=1, show_default=True, help="documents written at a time"
)
@click.option("--seconds", type=click.FloatRange(0.1, MOST_SECONDS), default=10.0, show_default=True, help="of writing")
@click.option(
    "--payload", type=click.IntRange(0, 1_000_000), default=200, show_default=True, help="bytes of text in a document"
)
@click.option("--document", type=JsonObject(), default=None, help="more fields of each document, for rules to go by")
@click.option("--token", envvar="REALTIME_TOKEN", help="for a service that asks for one [REALTIME_TOKEN]")
@click.option(
    "--mint",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="subscribe as N people, by tokens of REALTIME_JWT_SECRET",
)
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="with --mint: a role; may be given again")
@click.option("--claims", type=JsonObject(), default=None, help="with --mint: more claims")
@click.option("--direct", is_flag=True, help="write straight to MongoDB, and drop the collection at the end")
@click.option("--mongodb-uri", default=None, metavar="URI", help="with --direct: where [REALTIME_MONGODB_URI]")
@click.option("--database", default=None, metavar="DATABASE", help="with --direct: which [REALTIME_DATABASE]")
@click.option(
    "--collection",
    default=None,
    metavar="NAME",
    help=f"the collection, which begins with {PREFIX} (default: by chance)",
)
@click.option("--processes", type=click.IntRange(1, 256), default=None, metavar="N", help="of the load generator")
@click.option(
    "--patience", type=Seconds(), default="60s", show_default=True, help="for all connections to come: 90s, 5m"
)
@click.option("--yes", is_flag=True, help="also where the database has other data")
@click.option("--json", "as_json", is_flag=True, help="the figures as one JSON object")
@click.option(
    "--plot", "picture", type=click.Path(dir_okay=False, writable=True), metavar="FILE", help="draw the run, as SVG"
)
@click.option("--theme", type=click.Choice(plot.THEMES), default="auto", show_default=True, help="of the plot")
@click.option("--handicap", type=click.IntRange(0, 1_000_000), default=0, hidden=True)
@guarded
def bench(**options: Any) -> None:
    """Measure a deployment: connections, writes, deliveries; from write to delivery, exactly counted.

    It writes documents into a collection of its own and removes them at the end, also after Ctrl-C, and needs leave
    to insert, read and delete there. A service cannot drop a collection: its empty one stays, unless --direct is given.

    \b
    Exit codes:
      0    everything was delivered exactly once
      1    the service is not there, or refused
      2    the command line is wrong, or the database has other data
      3    a delivery was lost or repeated, or a view is wrong at the end
      130  interrupted by Ctrl-C; 143 by SIGTERM
    """
    plan = _plan(options)
    try:
        address = address_of(options["url"])
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    if options["picture"] and not Path(options["picture"]).resolve().parent.is_dir():
        raise ConfigurationError(f"--plot: there is no folder for {options['picture']}")
    tokens = _minted(options, plan)
    writer = options["token"] or (tokens[0] if tokens else None)
    wanted = Wanted(
        plan=plan,
        url=options["url"],
        token=writer,
        tokens=tokens or ([writer] if writer else []),
        processes=options["processes"] or max((os.cpu_count() or 2) // 2, 1),
        patience=options["patience"],
        yes=options["yes"],
        handicap=options["handicap"],
    )
    store = _direct(options, plan.collection)
    files.raise_limit(0)
    _say(f"realtime bench: {wording.planned(plan)}")
    sys.exit(asyncio.run(_run(wanted, store, Caller(address, writer), options)))


@click.command(COMMAND, hidden=True)
def load() -> None:
    """One process of the load generator; `bench` starts it and tells it all on stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    files.raise_limit(0)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(generator.generate())


# ------------------------------------------------------------------------------------------------------------- inside


def _plan(options: dict[str, Any]) -> Plan:
    """What is asked for, as far as it can be."""
    queries = {kind: options[kind] for kind in KINDS if options[kind]}
    if options["filters"] is None and not queries:
        queries = {"filters": 1}
    distinct = sum(queries.values())
    if not distinct:
        raise click.UsageError("nothing is subscribed to: give --filters, --windows, --groups, --pipelines or --events")
    if options["subscriptions"] > distinct:
        raise click.UsageError(
            f"--subscriptions {options['subscriptions']}: a connection subscribes to each query once, and there are "
            f"{distinct}: give more of --filters, --windows, --groups, --pipelines or --events"
        )
    if distinct > options["connections"] * options["subscriptions"]:
        raise click.UsageError(f"{distinct} distinct queries, and fewer subscriptions: nobody would hear of some")
    if not options["mint"] and (options["roles"] or options["claims"] is not None):
        raise click.UsageError("--role and --claims are of tokens that are made here: add --mint")
    if not options["direct"] and (options["mongodb_uri"] or options["database"]):
        raise click.UsageError("--mongodb-uri and --database are for writing past the service: add --direct")
    name = options["collection"] or f"{PREFIX}{secrets.token_hex(4)}"
    if not name.startswith(PREFIX) or len(name) > MAX_NAME or "$" in name or "\0" in name:
        raise click.UsageError(f"--collection: a name that begins with {PREFIX}, so that nothing else is written to")
    plan = Plan(
        collection=name,
        connections=options["connections"],
        subscriptions=options["subscriptions"],
        queries=queries,
        rate=options["rate"],
        batch=options["batch"],
        seconds=options["seconds"],
        payload=options["payload"],
        fields=options["document"] or {},
    )
    if clash := sorted({"_id", "n", "at", "text", *KINDS} & plan.fields.keys()):
        raise click.UsageError(f"--document: {clash[0]} is a field of the run's own")
    if plan.total > MOST_DOCUMENTS:
        raise click.UsageError(f"{plan.total:,} documents, at most {MOST_DOCUMENTS:,}: give less --rate or --seconds")
    return plan


def _minted(options: dict[str, Any], plan: Plan) -> list[str]:
    """Tokens of so many people."""
    if not options["mint"]:
        return []
    settings = settings_of({"auth": "jwt"})
    seconds, now = TOKEN_SECONDS + plan.seconds + options["patience"], time.time()
    return [
        new_token(
            settings, sub=f"bench-{number}", roles=options["roles"], claims=options["claims"] or {}, now=now,
            seconds=seconds,
        )
        for number in range(options["mint"])
    ]  # fmt: skip


def _direct(options: dict[str, Any], name: str) -> Callable[[], BenchCollection] | None:
    """How to reach MongoDB, where that is asked for; inside a loop, to which the driver is bound."""
    if not options["direct"]:
        return None
    given = {name: options[name] for name in ("mongodb_uri", "database") if options[name]}
    settings = settings_of(given)
    if settings.mongodb_uri is None:
        raise ConfigurationError(
            "--direct: which MongoDB? Name it with --mongodb-uri URI or REALTIME_MONGODB_URI "
            "(`realtime serve` says the address of an embedded one in its log)"
        )
    uri = settings.mongodb_uri.get_secret_value()
    return lambda: BenchCollection(uri, settings.database, name)


async def _run(
    wanted: Wanted, direct: Callable[[], BenchCollection] | None, caller: Caller, options: dict[str, Any]
) -> int:
    """The exit code."""
    name = wanted.plan.collection
    store: Store = Direct(direct()) if direct is not None else ThroughService(caller, name)
    run = Run(wanted, store, caller, _say)
    came = _take_signals(name)
    try:
        _tell(await run.run(), options)
    except asyncio.CancelledError:
        if not came:
            raise
        _say(f"interrupted; left: {run.left or 'nothing'}")
        return 128 + came[0]
    except (RefusedError, GeneratorError) as error:
        _say(str(error) if not _nobody(error) else f"nobody answers at {wanted.url}: {error.args[0]}")
    except ServiceError as error:
        _say(error.message)
    else:
        return 0 if run.exact else INEXACT_EXIT
    finally:
        store.close()
        caller.close()
    if run.left:
        _say(f"left: {run.left}")
    return FAILED_EXIT


def _nobody(error: Exception) -> bool:
    return isinstance(error, RefusedError) and error.status == 0


def _take_signals(name: str) -> list[int]:
    """The first one ends the run, which removes what it wrote; a second one does not wait for that."""
    this, came = asyncio.current_task(), list[int]()

    def stop(number: int) -> None:
        if came or this is None:
            _say(f"ended at once by a second signal: drop {name}")
            os._exit(128 + number)
        came.append(number)
        _say(f"interrupted: {name} is being removed")
        this.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    return came


def _tell(result: Result, options: dict[str, Any]) -> None:
    if options["as_json"]:
        click.echo(json.dumps(result.as_json()))
    else:
        for line in wording.lines(result):
            click.echo(line)
    if options["picture"]:
        Path(options["picture"]).write_text(plot.plotted(result, options["theme"]))


def _say(line: str) -> None:
    click.echo(line if line.startswith("realtime") else f"realtime: {line}", err=True)
