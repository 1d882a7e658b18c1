"""What the oplog still holds: read back for those who resume further back than the journal reaches."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from realtime.core.events import Batch, to_date, to_time
from realtime.core.upstream import Action, action_for
from realtime.errors import HistoryLostError, UnavailableError
from realtime.mongo.client import Client, Database
from realtime.mongo.faults import RETRY_AFTER_SECONDS, short
from realtime.mongo.feed import HELD_BYTES, ChangeFeed


class OplogReader:
    """A second change stream, opened for as long as it takes to come from one time to another."""

    def __init__(
        self,
        client: Client,
        database: Database,
        *,
        batch_size: int,
        max_bytes: int,
        held_bytes: int = HELD_BYTES,
        collections: Collection[str] | None = None,
    ) -> None:
        self._client = client
        self._database = database
        self._batch_size = batch_size
        self._max_bytes = max_bytes
        self._held_bytes = held_bytes
        self._collections = collections

    async def read(self, after: int, until: int) -> list[Batch]:
        """Every event after `after`, up to `until` at least. `HistoryLostError` says how far back it would reach."""
        feed = ChangeFeed(
            self._client,
            self._database,
            start=after,
            batch_size=self._batch_size,
            await_ms=100,
            held_bytes=self._held_bytes,
            patient=False,
            collections=self._collections,
        )
        batches: list[Batch] = []
        size = 0
        try:
            async for batch in feed.batches():
                if batch.lost:
                    feed.close()
                    raise HistoryLostError(
                        f"a transaction since then has over {self._held_bytes} bytes: subscribe without a position",
                        details={"oldest": to_date(batch.time)},
                    )
                batches.append(batch)
                size += sum(event.size for event in batch.events)
                if batch.time >= until:
                    feed.close()
                elif size > self._max_bytes:
                    feed.close()
                    raise HistoryLostError(
                        f"more than {self._max_bytes} bytes of changes since then: subscribe without a position",
                        details={"oldest": to_date(batches[-1].time)},
                    )
        except OperationFailure as error:
            if action_for(error.code) is Action.HISTORY_LOST or error.code in _TOO_OLD:
                raise await self._lost() from error
            raise UnavailableError(short(error), retry_after=RETRY_AFTER_SECONDS) from error
        except PyMongoError as error:
            raise UnavailableError("MongoDB does not answer", retry_after=RETRY_AFTER_SECONDS) from error
        return batches

    async def oldest(self) -> int | None:
        """The cluster time at which the oplog begins; None where the account may not read it."""
        try:
            first: dict[str, Any] | None = await self._client["local"]["oplog.rs"].find_one(
                {}, {"ts": 1}, sort=[("$natural", 1)]
            )
        except PyMongoError:
            return None
        return None if first is None else to_time(first["ts"])

    async def _lost(self) -> HistoryLostError:
        oldest = await self.oldest()
        details = None if oldest is None else {"oldest": to_date(oldest)}
        return HistoryLostError("the oplog no longer reaches back to that position", details=details)


async def oldest_of(client: Client) -> int | None:
    """The cluster time at which the oplog begins; None where the account may not read it."""
    try:
        first: dict[str, Any] | None = await client["local"]["oplog.rs"].find_one({}, {"ts": 1}, sort=[("$natural", 1)])
    except PyMongoError:
        return None
    return None if first is None else to_time(first["ts"])


_TOO_OLD = frozenset({72, 2})
"""InvalidOptions and BadValue: a starting time that is no time of this oplog."""
