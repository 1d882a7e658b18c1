"""`Accept: application/x-ndjson`: every document that matches, one a line, as the client takes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from realtime.bugs import bug
from realtime.core.bson import ejson, keys
from realtime.errors import ServiceError
from realtime.web.entrance.streaming import Streaming, Write

MEDIA_TYPE = "application/x-ndjson"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


Let = Callable[[list[dict[str, Any]]], Awaitable[list[dict[str, Any]]]]
"""Of documents that were read, what is to be sent."""


class Lines(Streaming):
    """The documents of a stream (`realtime.mongo.stream.DocumentStream`), then `{"end": true}` or `{"error": …}`.

    `let` gives what who asked may have of each part, and raises `ServiceError` when that is no more at all.
    """

    def __init__(self, stream: Any, let: Let) -> None:
        super().__init__(MEDIA_TYPE, HEADERS)
        self._stream = stream
        self._let = let

    async def produce(self, write: Write) -> None:
        """Every line; what goes wrong on the way is the last one."""
        try:
            async for documents in self._stream.slices():
                let = await self._let(documents)
                await write(b"".join(keys.shown(document) + b"\n" for document in let))
            last: dict[str, Any] = {"end": True}
        except ServiceError as error:
            last = {"error": error.payload()}
        except Exception as error:
            last = {"error": bug("request", error).payload()}
        await write(ejson.encode(last) + b"\n")

    async def close(self) -> None:
        """Kill the cursor where it is still open."""
        await self._stream.close()
