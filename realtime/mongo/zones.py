"""The offsets of a time zone, asked of the server in one read that needs no collection."""

from __future__ import annotations

from typing import Any

from bson.int64 import Int64
from pymongo.errors import OperationFailure

from realtime.core.mql.expressions.timezones import FIRST, LAST, Zone, zone_of
from realtime.errors import InvalidFilterError
from realtime.mongo.client import Database

_DAY, _MINUTE = 86_400_000, 60_000
_UNKNOWN = 40485
"""How MongoDB refuses the name of a zone."""


def question(name: str) -> list[dict[str, Any]]:
    """For `aggregate` on the database: each day from 1970 to 2037 on which the offset changes, minute by minute.

    The first row is the first day's, whatever happens on it.
    """
    days: dict[str, Any] = {"$range": [0, (LAST - FIRST) // _DAY]}
    minutes = {"$range": [0, 24 * 60 + 1]}
    day = {"$multiply": ["$day", Int64(_DAY)]}
    minute = {"$add": ["$start", {"$multiply": ["$$minute", Int64(_MINUTE)]}]}
    return [
        {"$documents": [{"day": days}]},
        {"$unwind": "$day"},
        {"$project": {"start": day}},
        {"$set": {"now": _offset("$start", name), "then": _offset({"$add": ["$start", Int64(_DAY)]}, name)}},
        {"$match": {"$expr": {"$or": [{"$eq": ["$start", 0]}, {"$ne": ["$now", "$then"]}]}}},
        {
            "$project": {
                "start": 1,
                "offsets": {"$map": {"input": minutes, "as": "minute", "in": _offset(minute, name)}},
            }
        },
    ]


def _offset(millis: Any, name: str) -> dict[str, Any]:
    """Milliseconds east of Greenwich: what the clock on the wall shows, taken for Greenwich's, less the time."""
    shown = {"date": {"$toDate": millis}, "timezone": name, "format": "%Y-%m-%dT%H:%M:%S.%LZ"}
    return {"$subtract": [{"$toLong": {"$toDate": {"$dateToString": shown}}}, millis]}


async def asked_zone(database: Database, name: str, milliseconds: int) -> Zone:
    """A zone as this server has it."""
    samples: list[tuple[int, int]] = []
    try:
        async for row in database.aggregate(question(name), maxTimeMS=milliseconds):
            for minute, offset in enumerate(row["offsets"]):
                samples.append((int(row["start"]) + minute * _MINUTE, int(offset) // 1000))
    except OperationFailure as error:
        if error.code != _UNKNOWN:
            raise
        raise InvalidFilterError(f"MongoDB knows no timezone {name!r}", details={"path": "timezone"}) from None
    return zone_of(samples)
