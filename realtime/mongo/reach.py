"""How far back the oplog of a replica set reaches."""

from __future__ import annotations

from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from realtime.core.live.events import to_time
from realtime.mongo.client import Client

_FIRST = "initiating set"
"""What the first entry of a replica set's first oplog says: nothing was there before."""
_HISTORY_LOST = 286


async def oldest_of(client: Client) -> int | None:
    """The cluster time at which the oplog begins; None where the account may not read it."""
    try:
        first = await _first(client)
    except PyMongoError:
        return None
    return None if first is None else to_time(first["ts"])


async def initiated_at(client: Client) -> int | None:
    """The cluster time of the replica set's own beginning; None where the oplog begins later, or cannot be read."""
    try:
        first = await _first(client)
    except PyMongoError:
        return None
    return to_time(first["ts"]) if first is not None and first.get("o", {}).get("msg") == _FIRST else None


async def check_reach(client: Client, time: int) -> None:
    """Raise what MongoDB raises for a time that its oplog does not reach back to.

    It does not where the oplog begins with the set: to MongoDB nothing was before that, although the time may be that
    of a set whose data is gone.
    """
    try:
        first = await _first(client)
    except OperationFailure:
        return  # the account may not read it
    if first is not None and time < to_time(first["ts"]):
        raise OperationFailure("the time lies before the beginning of the oplog", _HISTORY_LOST)


async def _first(client: Client) -> dict[str, Any] | None:
    found: dict[str, Any] | None = await client["local"]["oplog.rs"].find_one(
        {}, {"ts": 1, "o.msg": 1}, sort=[("$natural", 1)]
    )
    return found
