"""A response that is written as it is made, and that ends at once when its client is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Write = Callable[[bytes], Awaitable[None]]
"""Send a part of the body; waits while the client takes nothing."""


EVENT_STREAM = "text/event-stream"
ABORT = "realtime.abort"
"""Key in the ASGI scope's extensions under which our server offers to cut the connection."""
STREAM_PATHS = "/events"
"""How the path of what is an event stream and nothing else ends."""
ROWS_PATH = "/aggregate"
"""How the path ends of what may be one by `POST` too."""


def accepted(connection: HTTPConnection) -> set[str]:
    """The media types of `Accept`, without their parameters."""
    given = ",".join(connection.headers.getlist("accept"))
    return {kind.split(";")[0].strip().lower() for kind in given.split(",")}


def asks_for_stream(connection: HTTPConnection) -> bool:
    """Whether a request is answered with an event stream, if it is answered with anything but a problem."""
    route = getattr(connection.scope.get("route"), "path", "")
    listed = route.endswith("/documents") and connection.scope["method"] != "POST"
    streams = route.endswith(STREAM_PATHS) or (
        (listed or route.endswith(ROWS_PATH)) and EVENT_STREAM in accepted(connection)
    )
    return connection.scope["type"] == "http" and streams


async def gone(receive: Receive) -> None:
    """Until the client is."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Head(Response):
    """The head of a body that is made as it is sent: how long it would be nobody knows, so no length is said."""

    def __init__(self, media_type: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(None, 200, headers, media_type)
        del self.headers["content-length"]


class Streaming(Head):
    """A body without a length. `produce` writes it; `close` is called in the end, whatever happened."""

    async def produce(self, write: Write) -> None:
        """Write the body, to its end."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of what the body was made from."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: the body until its end or until the client is gone, whichever comes first."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] != "HEAD" and not await self._race(receive, send):
                await _abort(scope)
                return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self.close()

    async def _race(self, receive: Receive, send: Send) -> bool:
        """False where the body was cut: nothing that is on its way is to be waited for."""

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
        if work.cancelled():
            return not ended
        if ended:
            await work
        return True


async def _abort(scope: Scope) -> None:
    """End the connection where the server lets us, without what it has not sent yet."""
    abort = scope.get("extensions", {}).get(ABORT)
    if abort is not None:
        abort()
        # The server hears of it in the next turn of the loop, and finds nothing to say about it then.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
