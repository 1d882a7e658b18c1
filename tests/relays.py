"""A relay of the tests' own beside each service: `REALTIME_TEST_FEED=nats` has every service follow one.

One nats-server for the process that runs the tests, one relay for each database that is served, in the loop of its
service. What the tests hold over the service alone they hold over all three then.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

from realtime.core.relay.identity import Identity
from realtime.core.wire.collections import Collections
from realtime.mongo import client as clients
from realtime.mongo import preflight
from realtime.mongo.clock import ClusterClock
from realtime.mongo.faults import Gate
from realtime.mongo.feed import ChangeFeed
from realtime.mongo.images import ImageReader
from realtime.nats.access import access_of
from realtime.nats.stream import Limits
from realtime.relay.relay import Relay, Source
from realtime.settings import Settings
from tests.nats_server import NatsServer

STREAM_BYTES, STORE_BYTES = 256 * 1024 * 1024, 1 << 44
"""NATS reserves what each of many streams may hold, and takes it only when it is filled."""
END_SECONDS = 10.0


@cache
def shared_server() -> NatsServer:
    """The server of this process; it ends with it."""
    server = NatsServer(Path(tempfile.mkdtemp(prefix="realtime-nats-")), max_file_store=STORE_BYTES).start()

    def end() -> None:
        server.kill()
        shutil.rmtree(server.directory, ignore_errors=True)

    atexit.register(end)
    return server


def relay_of(settings: Settings, stack: contextlib.AsyncExitStack, deployment: preflight.Deployment) -> Relay:
    """A relay of the database that these settings name; its clients close with the stack."""
    assert settings.mongodb_uri is not None
    uri = settings.mongodb_uri.get_secret_value()
    client, feed_client = clients.open_client(uri, app="realtime-relay"), clients.open_feed_client(uri)
    far_client = clients.open_feed_client(uri, far=True)
    for each in (client, feed_client, far_client):
        stack.callback(clients.close, each)
    database = clients.database_of(client, settings.database)
    names = Collections.of((), settings.collections, database=settings.database).names
    clock = ClusterClock(client, database, Gate(settings.request_timeout_seconds))

    def feed(start: int) -> ChangeFeed:
        return ChangeFeed(
            feed_client,
            clients.database_of(feed_client, settings.database),
            start=start,
            batch_size=settings.feed_batch_size,
            await_ms=100,
            held_bytes=settings.transaction_bytes,
            far=clients.database_of(far_client, settings.database),
            collections=names,
            interest=None,
        )

    async def now() -> int | None:
        instant = await clock.read()
        return None if instant is None else instant.time

    return Relay(
        Source(settings.database, feed, ImageReader(client, database), now),
        access_of(settings),
        Identity(deployment.epoch, settings.database, deployment.replica_set, names),
        Limits(STREAM_BYTES, 3600),
        f"tests-{secrets.token_hex(4)}",
    )


@contextlib.asynccontextmanager
async def relaying(settings: Settings) -> AsyncIterator[Relay]:
    """A relay under way for the database of these settings, which name NATS."""
    assert settings.mongodb_uri is not None
    async with contextlib.AsyncExitStack() as stack:
        client = clients.open_client(settings.mongodb_uri.get_secret_value())
        stack.callback(clients.close, client)
        database = clients.database_of(client, settings.database)
        deployment = await preflight.inspect(client, database, epoch=settings.epoch, allow_sharded=False)
        relay = relay_of(settings, stack, deployment)
        task = asyncio.create_task(relay.run())
        try:
            yield relay
        finally:
            relay.stop()
            await asyncio.wait({task}, timeout=END_SECONDS)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
