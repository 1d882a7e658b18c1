"""How a node reaches NATS: connections are made here, and one is kept for what it asks beside following the stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.client import Client

Connect = Callable[[Callable[[], None], Callable[[Exception], None]], Awaitable[Client]]
"""Makes a connection that never connects again by itself: called when it is over; told what the server says."""
Close = Callable[[Any], Awaitable[None]]


class Line:
    """Connections of one node. Whatever fails on the one that is shared, the next who asks gets a new one."""

    def __init__(self, connect: Connect, close: Close) -> None:
        self._connect, self._close = connect, close
        self._shared: Client | None = None
        self._making = asyncio.Lock()

    @asynccontextmanager
    async def own(self, on_closed: Callable[[], None], on_error: Callable[[Exception], None]) -> AsyncIterator[Client]:
        """A connection of one's own, for as long as the block runs."""
        client = await self._connect(on_closed, on_error)
        try:
            yield client
        finally:
            await self._close(client)

    async def shared(self) -> Client:
        """The one for questions; what `connect` raises where there is none to be had."""
        async with self._making:
            if self._shared is None or self._shared.is_closed:
                self._shared = await self._connect(lambda: None, lambda _: None)
            return self._shared

    async def close(self) -> None:
        """The shared one is needed no longer."""
        async with self._making:
            client, self._shared = self._shared, None
            if client is not None:
                await self._close(client)
