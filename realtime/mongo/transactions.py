"""A transaction, run again as MongoDB asks for it. Motor's own `with_transaction` commits as its block ends, where its
handling of commits is not reached: a commit that failed for a moment, or whose answer was lost, was never retried."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

MAJORITY = WriteConcern("majority")
SHARE = 0.8
"""Of the request's time: what is left is for the last try to end."""
_PAUSE_SECONDS = (0.002, 0.1)

Work = Callable[[Any], Awaitable[Any]]
"""Something to do in the session that it is given; it may be run several times."""


async def transact(session: Any, work: Work, seconds: float) -> Any:
    """What `work` gives, majority-committed. Raises what it raises, or the driver's error once `seconds` are nearly up.

    A transaction that MongoDB aborted is run again from its start, so that `work` decides anew; a commit whose result
    is not known is asked for again, which does it once at most.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds * SHARE
    tries = 0
    while True:
        session.start_transaction(write_concern=MAJORITY)
        try:
            result = await work(session)
            await _commit(session, deadline)
        except PyMongoError as error:
            if not error.has_error_label("TransientTransactionError") or loop.time() > deadline:
                raise
            if session.in_transaction:
                await session.abort_transaction()
            tries += 1
            await _pause(tries)
        else:
            return result


async def _commit(session: Any, deadline: float) -> None:
    tries = 0
    while True:
        try:
            await session.commit_transaction()
        except PyMongoError as error:
            late = asyncio.get_running_loop().time() > deadline
            if late or not error.has_error_label("UnknownTransactionCommitResult"):
                raise
            tries += 1
            await _pause(tries)
        else:
            return


async def _pause(tries: int) -> None:
    """Those who collided must not do it again at the same moment."""
    least, most = _PAUSE_SECONDS
    await asyncio.sleep(random.uniform(0, min(most, least * 2 ** min(tries, 10))))  # noqa: S311 - a pause is no secret
