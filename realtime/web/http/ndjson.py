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


class Lines(Streaming):
    """The documents of a stream (`realtime.mongo.stream.DocumentStream`), then `{"end": true}` or `{"error": …}`.

    `check` raises `ServiceError` when who asked may have no more; it is called before each part of them.
    """

    def __init__(self, stream: Any, check: Callable[[], Awaitable[None]]) -> None:
        super().__init__(MEDIA_TYPE, HEADERS)
        self._stream = stream
        self._check = check

    async def produce(self, write: Write) -> None:
        """Every line; what goes wrong on the way is the last one."""
        try:
            async for documents in self._stream.slices():
                await self._check()
                await write(b"".join(keys.shown(document) + b"\n" for document in documents))
            last: dict[str, Any] = {"end": True}
        except ServiceError as error:
            last = {"error": error.payload()}
        except Exception as error:
            last = {"error": bug("request", error).payload()}
        await write(ejson.encode(last) + b"\n")

    async def close(self) -> None:
        """Kill the cursor where it is still open."""
        await self._stream.close()
