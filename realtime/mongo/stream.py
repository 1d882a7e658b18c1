"""All documents of a `find` or `aggregate`, batch by batch: bounded memory, no snapshot held for a slow reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure, PyMongoError

from realtime.core.bson import stored
from realtime.errors import TimedOutError, TooLargeError
from realtime.mongo import ruled
from realtime.mongo.client import RAW, Client, Database
from realtime.mongo.faults import RETRY_AFTER_SECONDS, Gate

FIRST_BATCH, MAX_BATCH = 100, 2000
REPLY_BYTES = 1024 * 1024
"""What one reply is to hold, by the average size of the documents so far."""
SLICE_BYTES, SLICE_DOCUMENTS = 64 * 1024, 250
"""Decoded at once; the loop gets its turn in between."""
KILL_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Most:
    """How much one answer may hold: rows, and bytes of their BSON."""

    rows: int
    bytes: int

    def check(self, rows: int, size: int) -> None:
        """`TooLargeError` for more than that."""
        if rows > self.rows or size > self.bytes:
            raise TooLargeError(
                f"the result has more than {self.rows} rows or {self.bytes} bytes: put a $limit behind a $sort, or "
                "take it as NDJSON",
                details={"limit": self.rows if rows > self.rows else self.bytes},
            )


async def ended(client: Client, session: Any, *, whole: bool) -> None:
    """End a session at once; what was not read `whole` is killed, a command under way included.

    By session and not by cursor: a command under way has no cursor yet that could be named. Safe where whoever asked is
    cancelled: it goes on without them.
    """
    # In a task of its own, so that a client that is gone, or a service that stops, does not cut it short.
    await asyncio.shield(asyncio.ensure_future(_ended(client, session, whole=whole)))


async def _ended(client: Client, session: Any, *, whole: bool) -> None:
    try:
        if not whole:
            async with asyncio.timeout(KILL_SECONDS):
                await client.admin.command({"killSessions": [session.session_id]})
    except (PyMongoError, TimeoutError):
        return  # MongoDB is away; it closes idle cursors by itself
    finally:
        await session.end_session()


class DocumentStream:
    """A cursor of its own session. `close` kills whatever of it is still there, a command under way included."""

    def __init__(
        self,
        client: Client,
        database: Database,
        gate: Gate,
        session: Any,
        collection: str,
        rule: Mapping[str, Any] | None,
    ) -> None:
        self._rule = rule
        self._client = client
        self._database = database
        self._gate = gate
        self._session = session
        self._collection = collection
        self._cursor = 0
        self._read: Sequence[RawBSONDocument] = ()
        self._bytes = self._count = 0
        self._whole = False

    @classmethod
    async def open(
        cls,
        client: Client,
        database: Database,
        gate: Gate,
        command: dict[str, Any],
        rule: Mapping[str, Any] | None = None,
    ) -> DocumentStream:
        """Run the `find` or `aggregate` and take its first batch. Raises `ServiceError` only.

        `rule`: the one that `command` has in it.
        """
        session = await client.start_session(causal_consistency=False)
        stream = cls(client, database, gate, session, command.get("find") or command["aggregate"], rule)
        size = {"cursor": {"batchSize": FIRST_BATCH}} if "aggregate" in command else {"batchSize": FIRST_BATCH}
        # Without maxTimeMS, which counts all of a cursor's commands together: each has the gate's time.
        concern = {"level": "majority"}
        try:
            await stream._run({**command, **size, "readConcern": concern})
        except BaseException:
            await stream.close()
            raise
        return stream

    async def slices(self) -> AsyncIterator[list[dict[str, Any]]]:
        """The documents, in order, a few at a time. Raises `ServiceError` only."""
        while True:
            for part in _sliced(self._read):
                yield part
                await asyncio.sleep(0)
            self._read = ()
            if self._whole:
                return
            size = max(1, min(MAX_BATCH, REPLY_BYTES * self._count // max(self._bytes, 1)))
            await self._run({"getMore": self._cursor, "collection": self._collection, "batchSize": size})

    async def close(self) -> None:
        """End the cursor at once. Safe to call twice, and where nothing was opened."""
        session, self._session = self._session, None
        if session is not None:
            await ended(self._client, session, whole=self._whole)

    async def _run(self, command: dict[str, Any]) -> None:
        with ruled.withheld(self._rule):
            reply = await self._reply(command)
        if reply is None:
            self._whole = True
            return
        cursor = reply["cursor"]
        self._cursor = cursor["id"]
        self._whole = not self._cursor
        self._read = cursor["firstBatch"] if "firstBatch" in cursor else cursor["nextBatch"]
        self._count += len(self._read)
        self._bytes += sum(len(document.raw) for document in self._read)

    async def _reply(self, command: dict[str, Any]) -> Any:
        """What MongoDB answers; None where there is no such collection."""
        async with self._gate.page():
            try:
                async with asyncio.timeout(self._gate.seconds):
                    return await self._database.command(command, session=self._session, codec_options=RAW)
            except TimeoutError:
                raise TimedOutError("MongoDB took too long", retry_after=RETRY_AFTER_SECONDS) from None
            except OperationFailure as error:
                if error.code == 26:  # NamespaceNotFound
                    return None
                raise


def _sliced(read: Sequence[RawBSONDocument]) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    size = 0
    for document in read:
        part.append(stored.decode(document.raw))
        size += len(document.raw)
        if size > SLICE_BYTES or len(part) == SLICE_DOCUMENTS:
            yield part
            part, size = [], 0
    if part:
        yield part
