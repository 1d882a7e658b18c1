"""Tickets of event streams in `realtime_tickets`: given out, opened once, held by one stream at a time.

One document a ticket, which goes by itself when its time is over, and one with the key that signs them all: whichever
process comes first makes it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

from bson.binary import Binary
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern

from realtime.core.access import tickets
from realtime.core.access.principal import Principal
from realtime.core.access.tickets import Ticket
from realtime.core.wire.reserved_names import TICKETS
from realtime.errors import ServiceError, UnauthenticatedError, UnavailableError
from realtime.mongo.client import Database
from realtime.mongo.faults import Gate

log = logging.getLogger("realtime.tickets")

KEY_NAME = "key"
HOLD_SECONDS = 60.0
"""A stream whose process has not said for so long that it still has it is taken for ended."""
SAY_SECONDS = 20.0


class MongoTickets:
    """The tickets of one deployment; `now` in unix seconds."""

    def __init__(self, database: Database, gate: Gate, now: Callable[[], float] = time.time) -> None:
        self._tickets = database.get_collection(TICKETS, write_concern=WriteConcern("majority"))
        self._gate = gate
        self._now = now
        self._key: bytes | None = None
        self._making = asyncio.Lock()
        self._held: dict[str, str] = {}

    async def issue(self, principal: Principal) -> Ticket:
        """A new ticket of the principal's. `ServiceError` where MongoDB does not take it."""
        key = await self._signing_key()
        identifier = secrets.token_bytes(tickets.IDENTIFIER_BYTES)
        now = self._now()
        last = tickets.last_second(principal, now)
        until = min(now + tickets.OPEN_SECONDS, last)
        document = {
            "_id": identifier.hex(),
            "who": tickets.told_of(principal),
            "expires": _date(until),
            "last": _date(last),
            "stream": None,
            "holder": None,
            "held": None,
        }
        async with self._gate.request("write"):
            await self._tickets.insert_one(document)
        return Ticket(tickets.signed(identifier, key), until)

    async def open(self, text: str, stream: str, *, again: bool) -> tuple[Principal, str]:
        """Whose ticket it is, for this stream alone from now on, and what `release` takes when the stream has ended.

        `again`: the stream was open before and goes on. `UnauthenticatedError` where the ticket does not serve,
        `UnavailableError` while the stream before it seems to be open.
        """
        name = tickets.identifier_of(text, await self._signing_key()).hex()
        now = self._now()
        holder = secrets.token_hex(12)
        free = [{"holder": None}, {"held": {"$lt": _date(now - HOLD_SECONDS)}}]
        served = {"_id": name, "expires": {"$gt": _date(now)}}
        wanted = {**served, "stream": stream if again else None, "$or": free}
        took = [{"$set": {"stream": stream, "holder": holder, "held": _date(now), "expires": "$last"}}]
        async with self._gate.request("write"):
            found = await self._tickets.find_one_and_update(wanted, took, return_document=ReturnDocument.AFTER)
            there = None if found is not None else await self._tickets.find_one(served)
        if found is None:
            raise _refusal(there, stream, again=again)
        self._held[name] = holder
        return tickets.principal_of(found["who"]), name

    async def release(self, name: str) -> None:
        """The stream that was opened has ended; the next one of the same address may begin."""
        holder = self._held.pop(name, None)
        if holder is None:
            return
        try:
            async with self._gate.request("write"):
                await self._tickets.update_one({"_id": name, "holder": holder}, {"$set": {"holder": None}})
        except ServiceError as error:
            log.info("a ticket is held for %g s longer than its stream: %s", HOLD_SECONDS, error.message)

    async def hold(self) -> None:
        """Say again and again which streams are open here; without an end."""
        while True:
            await asyncio.sleep(SAY_SECONDS)
            held = [{"_id": name, "holder": holder} for name, holder in self._held.items()]
            if held:
                try:
                    async with self._gate.request("write"):
                        await self._tickets.update_many({"$or": held}, {"$set": {"held": _date(self._now())}})
                except ServiceError as error:
                    log.warning("which tickets are in use cannot be written: %s", error.message)

    async def _signing_key(self) -> bytes:
        """The key that signs all tickets of the deployment."""
        async with self._making:
            if self._key is None:
                async with self._gate.request("write"):
                    await self._tickets.create_index("expires", expireAfterSeconds=0)
                    self._key = await self._made()
        return self._key

    async def _made(self) -> bytes:
        mine = {"$setOnInsert": {"key": Binary(secrets.token_bytes(tickets.KEY_BYTES))}}
        try:
            found: Any = await self._tickets.find_one_and_update(
                {"_id": KEY_NAME}, mine, upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:
            found = await self._tickets.find_one({"_id": KEY_NAME})
        return bytes(found["key"])


def _refusal(there: dict[str, Any] | None, stream: str, *, again: bool) -> ServiceError:
    if there is None:
        return UnauthenticatedError(
            f"the ticket's time is over: it opens a stream within {tickets.OPEN_SECONDS:g} s, and serves as long as "
            "who asked for it is let in",
            reason="ticket_expired",
        )
    if there["stream"] == stream and again:
        return UnavailableError("the stream of this ticket is still open", retry_after=5)
    return UnauthenticatedError(
        "the ticket has opened a stream: it opens the same one again, with Last-Event-ID, and no other",
        reason="ticket_used",
    )


def _date(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
