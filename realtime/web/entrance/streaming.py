"""A response that is written as it is made, and that ends at once when its client is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Write = Callable[[bytes], Awaitable[None]]
"""Send a part of the body; waits while the client takes nothing."""


async def gone(receive: Receive) -> None:
    """Until the client is."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Streaming(Response):
    """A body without a length. `produce` writes it; `close` is called in the end, whatever happened."""

    def __init__(self, media_type: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(None, 200, headers, media_type)
        del self.headers["content-length"]

    async def produce(self, write: Write) -> None:
        """Write the body, to its end."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of what the body was made from."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: the body until its end or until the client is gone, whichever comes first."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                await self._race(receive, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self.close()

    async def _race(self, receive: Receive, send: Send) -> None:
        async def write(part: bytes) -> None:
            await send({"type": "http.response.body", "body": part, "more_body": True})

        work, watch = asyncio.ensure_future(self.produce(write)), asyncio.ensure_future(gone(receive))
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            ended = work.done()
            work.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)
        if ended:
            await work
