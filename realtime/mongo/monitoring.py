"""Commands and connections to MongoDB, counted by the driver's own monitoring. Called in the driver's threads.

The steps of a change stream come with every event. They are counted where they are taken: for each command the driver
makes three objects for whoever listens.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from pymongo import monitoring
from pymongo.errors import PyMongoError

from realtime import metrics

KNOWN = frozenset({
    "abortTransaction", "aggregate", "collMod", "commitTransaction", "count", "delete", "endSessions", "find",
    "getMore", "insert", "killCursors", "listCollections", "ping", "update",
})  # fmt: skip
"""Names that are labels; anything else is `other`, so that their number stays what it is."""
MICROSECOND = 1e-6


Listener = monitoring.CommandListener | monitoring.ConnectionPoolListener
Reply = TypeVar("Reply")


def listeners(client: str, *, commands: bool = True) -> list[Listener]:
    """Listeners for a client; without `commands` to its connections alone."""
    return [*([Commands()] if commands else []), Pool(client)]


def counted(command: str, send: Callable[[], Reply]) -> Reply:
    """What `send` returns, which nobody listens to. A `getMore` waits for news, and its duration would say nothing."""
    began = time.monotonic()
    try:
        reply = send()
    except PyMongoError:
        metrics.COMMAND_FAILURES.labels(_label(command)).inc()
        raise
    if command != "getMore":
        metrics.COMMAND_SECONDS.labels(_label(command)).observe(time.monotonic() - began)
    return reply


def _label(command: str) -> str:
    return command if command in KNOWN else "other"


class Commands(monitoring.CommandListener):
    """How long commands took, and which failed."""

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """The end says how long it was."""

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        metrics.COMMAND_SECONDS.labels(_label(event.command_name)).observe(event.duration_micros * MICROSECOND)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        metrics.COMMAND_FAILURES.labels(_label(event.command_name)).inc()


class Pool(monitoring.ConnectionPoolListener):
    """How many connections there are, and how many of them carry a command."""

    def __init__(self, client: str) -> None:
        self._open = metrics.POOL_CONNECTIONS.labels(client)
        self._busy = metrics.POOL_BUSY.labels(client)

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:
        self._open.inc()

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:
        self._open.dec()

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        self._busy.inc()

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        self._busy.dec()

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        """Its connections are counted."""

    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None:
        """Its connections are counted."""

    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None:
        """Its connections are counted."""

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        """Its connections are counted."""

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        """It was counted when it was made."""

    def connection_check_out_started(self, event: monitoring.ConnectionCheckOutStartedEvent) -> None:
        """Only what was had is counted."""

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        """The command fails, and is counted there."""
