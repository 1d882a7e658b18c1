"""`realtime relay`: publishes the changes of one database to NATS, for any number of nodes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from typing import Any

import click
import uvloop

from realtime import logs
from realtime.commands.options import guarded, named_mongodb, relay_options
from realtime.core.upstream.health import FeedStatus
from realtime.mongo import preflight
from realtime.mongo.ways import reach_of
from realtime.nats.access import access_of
from realtime.relay import door, figures
from realtime.relay.making import APP, relay_of
from realtime.settings import RelaySettings, Settings


@click.command("relay")
@relay_options
@guarded
def relay(**options: Any) -> None:
    """Publish the changes of a database to NATS, once, for any number of nodes.

    Needs --nats and a MongoDB (REALTIME_MONGODB_URI). Several may run: one publishes, the others wait for their turn.
    Nodes are `realtime serve --nats`. With --admin-port it answers /healthz, /readyz and /metrics there, on
    REALTIME_ADMIN_HOST. What the stream may hold: REALTIME_NATS_REPLICAS, REALTIME_NATS_BYTES,
    REALTIME_NATS_AGE_SECONDS (docs/settings.md). NATS is waited for; where MongoDB is away at the start, it ends.
    SIGTERM and Ctrl-C hand over at once.
    """
    settings, uri = named_mongodb(options, RelaySettings)
    logs.configure(settings.log_level, settings.log_format)
    access_of(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_relay(settings, uri))
    # Threads that wait for a frozen MongoDB would keep the interpreter from ending; nothing is left to be done.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def _relay(settings: Settings, uri: str) -> None:
    async with AsyncExitStack() as stack:
        reach = reach_of(stack, uri, settings.database, app=APP)
        deployment = await preflight.inspect(
            reach.client, reach.database, epoch=settings.epoch, allow_sharded=settings.allow_sharded
        )
        publishing = relay_of(settings, reach, deployment, _report)
        if settings.admin_port is not None:
            port = await stack.enter_async_context(
                door.opened(
                    settings.admin_host, settings.admin_port, lambda: publishing.away, lambda: publishing.publishes
                )
            )
            click.echo(f"health and metrics: http://{settings.admin_host}:{port}/healthz, /readyz and /metrics")
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, publishing.stop)
        await publishing.run()


def _report(status: FeedStatus) -> None:
    """The feed says in the log what is wrong; here is its figure."""
    figures.FEED_UP.set(status.up)
