"""A relay of the tests' own beside each service: `REALTIME_TEST_FEED=nats` has every service follow one.

One nats-server for the process that runs the tests, one relay for each database that is served, in the loop of its
service. What the tests hold over the service alone they hold over all three then.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

from realtime.mongo import preflight
from realtime.mongo.ways import reach_of
from realtime.relay.making import APP, relay_of
from realtime.relay.relay import Relay
from realtime.settings import Settings
from tests.nats_server import NatsServer

STREAM_BYTES, STORE_BYTES = 256 * 1024 * 1024, 1 << 44
"""NATS reserves what each of many streams may hold, and takes it only when it is filled."""
AWAIT_MS = 100
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


@contextlib.asynccontextmanager
async def relaying(settings: Settings) -> AsyncIterator[Relay]:
    """A relay under way for the database of these settings, which name NATS."""
    assert settings.mongodb_uri is not None
    uri = settings.mongodb_uri.get_secret_value()
    settings = settings.model_copy(update={"nats_bytes": STREAM_BYTES, "feed_await_ms": AWAIT_MS})
    async with contextlib.AsyncExitStack() as stack:
        reach = reach_of(stack, uri, settings.database, app=APP)
        deployment = await preflight.inspect(reach.client, reach.database, epoch=settings.epoch, allow_sharded=False)
        # The service in this process says of its own feed whether it is up.
        relay = relay_of(settings, reach, deployment, lambda _: None)
        task = asyncio.create_task(relay.run())
        try:
            yield relay
        finally:
            relay.stop()
            await asyncio.wait({task}, timeout=END_SECONDS)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
