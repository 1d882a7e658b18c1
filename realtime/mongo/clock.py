"""The cluster's own clock and the beginning of its oplog: what the lag of the service is measured against."""

from __future__ import annotations

import asyncio

from realtime.core.live.events import to_time
from realtime.core.upstream.health import Instant
from realtime.errors import ServiceError
from realtime.mongo.client import Client, Database
from realtime.mongo.faults import Gate
from realtime.mongo.reach import oldest_of

OLDEST_SECONDS = 10.0
"""The oplog's beginning moves slowly, and asking for it is a read."""


class ClusterClock:
    """Reads the clock over the client of the requests: a stream that hangs must not hold it up."""

    def __init__(self, client: Client, database: Database, gate: Gate) -> None:
        self._client = client
        self._database = database
        self._gate = gate
        self._oldest: int | None = None
        self._asked_at: float | None = None

    async def read(self) -> Instant | None:
        """Now; None while MongoDB does not answer."""
        try:
            async with (
                self._gate.read(),
                await self._client.start_session(causal_consistency=False) as session,
            ):
                # What it has applied, committed by a majority or not: only that goes on while the majority is gone.
                await self._database.command("ping", session=session)
                now = asyncio.get_running_loop().time()
                if self._asked_at is None or now - self._asked_at >= OLDEST_SECONDS:
                    self._oldest, self._asked_at = await oldest_of(self._client), now
                return Instant(to_time(session.operation_time), self._oldest)
        except ServiceError:
            return None
