"""What the oplog still holds: read back for those who resume further back than the journal reaches."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import KW_ONLY, dataclass

from pymongo.errors import OperationFailure, PyMongoError

from realtime.core.live.events import Batch, to_date
from realtime.core.live.gathered import Gathered, Past
from realtime.core.upstream.stream_errors import Action, action_for
from realtime.errors import HistoryLostError, UnavailableError
from realtime.mongo.client import Database
from realtime.mongo.faults import RETRY_AFTER_SECONDS, short
from realtime.mongo.feed import HELD_BYTES, ChangeFeed
from realtime.mongo.reach import initiated_at, oldest_of


@dataclass(frozen=True, slots=True)
class OplogReader:
    """A second change stream, opened for as long as it takes to come from one time to another.

    `database` by a client that waits long: MongoDB gives no reply before it has found something or is through. More
    than `max_bytes` are not read back, nor a transaction of more than `held_bytes`. `opened`: opens another database
    for each read, of one who reads so seldom that no client is to wait for it; `database` may be anyone's then.
    """

    database: Database
    _: KW_ONLY
    batch_size: int
    max_bytes: int
    held_bytes: int = HELD_BYTES
    collections: Collection[str] | None = None
    opened: Callable[[], AbstractAsyncContextManager[Database]] | None = None

    async def read(
        self, after: int, until: int, *, wanted: Callable[[], bool] = lambda: True, newest_bytes: int | None = None
    ) -> Past:
        """Every event after `after`, up to `until` at least. `HistoryLostError` says how far back it would reach.

        With `newest_bytes`, more than that is no error: what is older is let go. It ends early where it is no longer
        `wanted`, asked after each reply.
        """
        async with nullcontext(self.database) if self.opened is None else self.opened() as database:
            return await self._read(database, after, until, wanted, newest_bytes)

    async def _read(
        self, database: Database, after: int, until: int, wanted: Callable[[], bool], newest_bytes: int | None
    ) -> Past:
        feed = ChangeFeed(
            database.client,
            database,
            start=after,
            batch_size=self.batch_size,
            await_ms=100,
            held_bytes=self.held_bytes,
            patient=False,
            collections=self.collections,
        )
        gathered = Gathered(after, until, self.max_bytes if newest_bytes is None else newest_bytes)
        whole = True
        try:
            async for batch in feed.batches():
                whole = gathered.take(batch) or newest_bytes is not None
                if batch.time >= until or not whole or not wanted():
                    feed.close()
            if not whole:
                raise self._too_much(batch)
        except OperationFailure as error:
            if action_for(error.code) is Action.HISTORY_LOST or error.code in _TOO_OLD:
                raise await self._lost() from error
            raise UnavailableError(short(error), retry_after=RETRY_AFTER_SECONDS) from error
        except PyMongoError as error:
            raise UnavailableError("MongoDB does not answer", retry_after=RETRY_AFTER_SECONDS) from error
        return gathered.past

    def _too_much(self, batch: Batch) -> HistoryLostError:
        what = (
            f"a change since then could not be sent, or a transaction has over {self.held_bytes} bytes"
            if batch.lost
            else f"more than {self.max_bytes} bytes of changes since then"
        )
        return HistoryLostError(f"{what}: subscribe without a position", details={"oldest": to_date(batch.time)})

    async def oldest(self) -> int | None:
        """The cluster time at which the oplog begins; None where the account may not read it."""
        return await oldest_of(self.database.client)

    async def initiated(self) -> int | None:
        """The cluster time at which the replica set began, where its oplog still begins there."""
        return await initiated_at(self.database.client)

    async def _lost(self) -> HistoryLostError:
        oldest = await self.oldest()
        details = None if oldest is None else {"oldest": to_date(oldest)}
        return HistoryLostError("the oplog no longer reaches back to that position", details=details)


_TOO_OLD = frozenset({72, 2})
"""InvalidOptions and BadValue: a starting time that is no time of this oplog."""
