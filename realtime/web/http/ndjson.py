"""`Accept: application/x-ndjson`: every document that matches, one a line, as the client takes them."""

from __future__ import annotations

import logging
from typing import Any

from realtime import metrics
from realtime.core.bson import ejson
from realtime.errors import InternalError, ServiceError
from realtime.web.entrance.streaming import Streaming, Write

log = logging.getLogger("realtime.http")

MEDIA_TYPE = "application/x-ndjson"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Lines(Streaming):
    """The documents of a stream (`realtime.mongo.stream.DocumentStream`), then `{"end": true}` or `{"error": …}`."""

    def __init__(self, stream: Any) -> None:
        super().__init__(MEDIA_TYPE, HEADERS)
        self._stream = stream

    async def produce(self, write: Write) -> None:
        """Every line; what goes wrong on the way is the last one."""
        try:
            async for documents in self._stream.slices():
                await write(b"".join(ejson.encode(document) + b"\n" for document in documents))
            last: dict[str, Any] = {"end": True}
        except ServiceError as error:
            last = {"error": error.payload()}
        except Exception:
            reference = metrics.reference()
            log.exception("a stream of documents failed, reference %s", reference)
            last = {"error": InternalError(f"a bug; it is logged under {reference}").payload()}
        await write(ejson.encode(last) + b"\n")

    async def close(self) -> None:
        """Kill the cursor where it is still open."""
        await self._stream.close()
