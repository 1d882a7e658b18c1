"""A relay of the settings: what it reads, what it publishes to, and who it is among several."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from typing import Final

from realtime.core.relay.identity import Identity
from realtime.core.upstream.health import FeedStatus
from realtime.core.wire.collections import Collections
from realtime.mongo.clock import ClusterClock
from realtime.mongo.faults import Gate
from realtime.mongo.feed import ChangeFeed
from realtime.mongo.images import ImageReader
from realtime.mongo.preflight import Deployment
from realtime.mongo.ways import Reach
from realtime.nats.access import access_of
from realtime.nats.stream import Limits
from realtime.relay.relay import Relay, Source
from realtime.settings import Settings

APP: Final = "realtime-relay"
"""How MongoDB knows a relay's clients."""
AWAIT_MS: Final = 200
"""Of the change stream: time that goes on is told at most five times a second."""


def relay_of(
    settings: Settings, reach: Reach, deployment: Deployment, on_status: Callable[[FeedStatus], None]
) -> Relay:
    """A relay of the database that the settings name, by a name that no other has; `on_status`: of its change stream.

    Raises `ConfigurationError` for a NATS that cannot be used.
    """
    names = Collections.of((), settings.collections, database=settings.database).names
    return Relay(
        _source(settings, reach, names, on_status),
        access_of(settings),
        Identity(deployment.epoch, settings.database, deployment.replica_set, names),
        Limits(settings.nats_bytes, settings.nats_age_seconds, settings.nats_replicas),
        f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
    )


def _source(
    settings: Settings, reach: Reach, names: frozenset[str] | None, on_status: Callable[[FeedStatus], None]
) -> Source:
    clock = ClusterClock(reach.client, reach.database, Gate(settings.request_timeout_seconds))

    def feed(start: int) -> ChangeFeed:
        return ChangeFeed(
            reach.feed_client,
            reach.feed_database,
            start=start,
            batch_size=settings.feed_batch_size,
            await_ms=min(settings.feed_await_ms, AWAIT_MS),
            held_bytes=settings.transaction_bytes,
            on_status=on_status,
            far=reach.far_database,
            collections=names,
            interest=None,
        )

    return Source(settings.database, feed, ImageReader(reach.client, reach.database), clock.read)
