"""The offsets of a time zone, asked of the server in three reads that need no collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson.int64 import Int64
from pymongo.errors import OperationFailure

from realtime.core.mql.expressions.timezones import Zone, search
from realtime.mongo.client import Database

_UNKNOWN = 40485
"""How MongoDB refuses the name of a zone."""


class UnknownZoneError(Exception):
    """MongoDB knows no zone of this name."""


def question(name: str, times: Sequence[int]) -> list[dict[str, Any]]:
    """For `aggregate` on the database: one document, whose `offsets` are milliseconds east of Greenwich at each time.

    That is what the clock on the wall shows, taken for Greenwich's, less the time.
    """
    shown = {"date": {"$toDate": "$$time"}, "timezone": name, "format": "%Y-%m-%dT%H:%M:%S.%LZ"}
    offset = {"$subtract": [{"$toLong": {"$toDate": {"$dateToString": shown}}}, "$$time"]}
    given = {"$literal": [Int64(time) for time in times]}
    return [{"$documents": [{}]}, {"$project": {"offsets": {"$map": {"input": given, "as": "time", "in": offset}}}}]


def seconds(row: dict[str, Any]) -> list[int]:
    """The offsets of an answer."""
    return [int(offset) // 1000 for offset in row["offsets"]]


async def asked_zone(database: Database, name: str, milliseconds: int) -> Zone:
    """A zone as this server has it; each read may take so long. `UnknownZoneError` where it has none of this name."""
    looking = search()
    times = next(looking)
    try:
        while True:
            [row] = await database.aggregate(question(name, times), maxTimeMS=milliseconds).to_list(None)
            times = looking.send(seconds(row))
    except StopIteration as found:
        zone: Zone = found.value
        return zone
    except OperationFailure as error:
        if error.code != _UNKNOWN:
            raise
        raise UnknownZoneError(name) from None
