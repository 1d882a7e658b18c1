"""Documents as they were at one cluster time, as BSON: what a relay completes its messages with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from realtime.core.live.events import to_timestamp
from realtime.mongo import ruled
from realtime.mongo.client import RAW, Client, Database
from realtime.mongo.faults import short
from realtime.mongo.stream import ended

_CHUNK = 1000


class NoImagesError(Exception):
    """They cannot be had at that time, or are too many or too slow; the text says why."""


class ImageReader:
    """Of one database."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._database = database

    async def read(
        self, collection: str, keys: Sequence[Any], time: int, *, uuid: Any, room: int, seconds: float
    ) -> tuple[bytes, ...]:
        """The documents with these keys exactly at `time`, of at most `room` bytes. Raises `NoImagesError`.

        Those that are not among them were not there. What is not read to its end is killed in MongoDB.
        """
        command = ruled.reading(collection, {"filter": {"_id": {"$in": list(keys)}}})
        command |= {
            "batchSize": _CHUNK,
            "readConcern": {"level": "snapshot", "atClusterTime": to_timestamp(time)},
            "maxTimeMS": int(seconds * 1000),
        }
        if uuid is not None:
            command["collectionUUID"] = uuid
        session = await self._client.start_session(causal_consistency=False)
        done = False
        try:
            found = await self._read(session, command, collection, room)
            done = True
        except (PyMongoError, OperationFailure) as error:
            raise NoImagesError(short(error)) from error
        finally:
            await ended(self._client, session, whole=done)
        return found

    async def _read(self, session: Any, command: dict[str, Any], collection: str, room: int) -> tuple[bytes, ...]:
        reply = await self._database.command(command, session=session, codec_options=RAW)
        cursor, batch = reply["cursor"], "firstBatch"
        if "atClusterTime" not in cursor:
            raise NoImagesError("there is no such collection any more")
        found: list[bytes] = []
        while True:
            found += [bytes(document.raw) for document in cursor[batch]]
            if sum(map(len, found)) > room:
                raise NoImagesError(f"more than {room} bytes")
            if not cursor["id"]:
                return tuple(found)
            more = {"getMore": cursor["id"], "collection": collection, "batchSize": _CHUNK}
            cursor, batch = (
                (await self._database.command(more, session=session, codec_options=RAW))["cursor"],
                "nextBatch",
            )
