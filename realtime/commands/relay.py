"""`realtime relay`: publishes the changes of one database to NATS, for any number of nodes."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
from contextlib import AsyncExitStack
from typing import Any

import click
import uvloop

from realtime import logs, metrics
from realtime.commands.options import guarded, named_mongodb, settings_options
from realtime.core.relay.identity import Identity
from realtime.core.upstream.health import FeedStatus
from realtime.core.wire.collections import Collections
from realtime.mongo import client as clients
from realtime.mongo import preflight
from realtime.mongo.clock import ClusterClock
from realtime.mongo.faults import Gate
from realtime.mongo.feed import ChangeFeed
from realtime.mongo.images import ImageReader
from realtime.nats.access import access_of
from realtime.nats.stream import Limits
from realtime.relay import door
from realtime.relay.relay import Relay, Source
from realtime.settings import Settings

AWAIT_MS = 200
"""Of the change stream: time that goes on is told at most five times a second."""
END_SECONDS = 5.0


@click.command("relay")
@settings_options
@guarded
def relay(**options: Any) -> None:
    """Publish the changes of a database to NATS, once, for any number of nodes.

    Needs --nats and a MongoDB (REALTIME_MONGODB_URI). Several may run: one publishes, the others wait for their turn.
    Nodes are `realtime serve --nats`. With --admin-port it answers /healthz and /metrics there. SIGTERM and Ctrl-C hand
    over at once.
    """
    settings, uri = named_mongodb(options)
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
        client, feed_client = clients.open_client(uri, app="realtime-relay"), clients.open_feed_client(uri)
        far_client = clients.open_feed_client(uri, far=True)
        for each in (client, feed_client, far_client):
            stack.callback(clients.close, each)
        database = clients.database_of(client, settings.database)
        deployment = await preflight.inspect(
            client, database, epoch=settings.epoch, allow_sharded=settings.allow_sharded
        )
        names = Collections.of((), settings.collections, database=settings.database).names
        clock = ClusterClock(client, database, Gate(settings.request_timeout_seconds))

        def feed(start: int) -> ChangeFeed:
            return ChangeFeed(
                feed_client,
                clients.database_of(feed_client, settings.database),
                start=start,
                batch_size=settings.feed_batch_size,
                await_ms=min(settings.feed_await_ms, AWAIT_MS),
                held_bytes=settings.transaction_bytes,
                on_status=_report,
                far=clients.database_of(far_client, settings.database),
                collections=names,
                interest=None,
            )

        async def now() -> int | None:
            instant = await clock.read()
            return None if instant is None else instant.time

        publishing = Relay(
            Source(settings.database, feed, ImageReader(client, database), now),
            access_of(settings),
            Identity(deployment.epoch, settings.database, deployment.replica_set, _frozen(names)),
            Limits(settings.nats_bytes, settings.nats_age_seconds, settings.nats_replicas),
            f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}",
        )
        if settings.admin_port is not None:
            port = await stack.enter_async_context(
                door.opened(
                    settings.admin_host, settings.admin_port, lambda: publishing.away, lambda: publishing.publishes
                )
            )
            click.echo(f"health and metrics: http://{settings.admin_host}:{port}/healthz and /metrics")
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, publishing.stop)
        await publishing.run()


def _frozen(names: Any) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _report(status: FeedStatus) -> None:
    """The feed says in the log what is wrong; here is its figure."""
    metrics.FEED_UP.set(status.up)
