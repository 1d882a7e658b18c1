"""Keys for programs: looked up by their hash, and remembered for a while, those that are unknown too."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from realtime.bugs import bug
from realtime.core.access.keys import KeyRecord, hashed, well_formed
from realtime.core.access.principal import Principal
from realtime.core.access.tokens import check_size, refused
from realtime.errors import ServiceError

KNOWN_SECONDS = 10.0
"""What is changed in a stored key counts after this long at the latest; its revocation at once, by another way."""
UNKNOWN_SECONDS = 60.0
"""A key is not guessed before it is made: an unknown one may stay so for longer."""
MOST_REMEMBERED = 10_000
USED_SECONDS = 60.0


class KeyStore(Protocol):
    """Where keys are stored. Both raise `ServiceError` only."""

    async def find(self, key_hash: str) -> KeyRecord | None:
        """The key with this hash."""

    async def used(self, key_hash: str, at: float) -> None:
        """It was used at that unix second."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    record: KeyRecord | None
    until: float


class KeyAuthenticator:
    """An `Authenticator` of keys. `clock` gives unix seconds."""

    def __init__(self, store: KeyStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()
        self._used: OrderedDict[str, float] = OrderedDict()
        self._looking: dict[str, asyncio.Task[KeyRecord | None]] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._remembered)

    async def authenticate(self, token: str) -> Principal:
        """Who asks by this key. `UnauthenticatedError`, or `UnavailableError` where MongoDB cannot be asked."""
        check_size(token)
        if not well_formed(token):
            raise refused("malformed", "the key is not one: its checksum is wrong, or it was cut")
        key_hash, now = hashed(token), self._clock()
        record = await self._find(key_hash, now)
        if record is None:
            raise refused("unknown_key", "the key is not known")
        if record.revoked is not None:
            raise refused("revoked", "the key is revoked")
        principal = record.principal()
        if principal.expired(now):
            raise refused("expired", "the key has expired")
        self._note_use(record, now)
        return principal

    async def close(self) -> None:
        """No key comes any more."""
        under_way = [*self._writing, *self._looking.values()]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _find(self, key_hash: str, now: float) -> KeyRecord | None:
        remembered = self._remembered.get(key_hash)
        if remembered is not None and now < remembered.until:
            return remembered.record
        look = self._looking.get(key_hash)
        if look is None:
            look = self._looking[key_hash] = asyncio.create_task(self._look(key_hash, now))
            look.add_done_callback(lambda ended: self._looked(key_hash, ended))
        # Whoever waits no longer ends it for nobody else.
        return await asyncio.shield(look)

    def _looked(self, key_hash: str, ended: asyncio.Task[KeyRecord | None]) -> None:
        del self._looking[key_hash]
        if not ended.cancelled():
            ended.exception()  # it may be that nobody waits for it any more

    async def _look(self, key_hash: str, now: float) -> KeyRecord | None:
        """One look for all who come with the key meanwhile."""
        record = await self._store.find(key_hash)
        seconds = UNKNOWN_SECONDS if record is None else KNOWN_SECONDS
        self._remembered[key_hash] = _Remembered(record, now + seconds)
        self._remembered.move_to_end(key_hash)
        if len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return record

    def _note_use(self, record: KeyRecord, now: float) -> None:
        if now - max(self._used.get(record.hash, 0.0), record.used or 0.0) < USED_SECONDS:
            return
        self._used[record.hash] = now
        self._used.move_to_end(record.hash)
        if len(self._used) > MOST_REMEMBERED:
            self._used.popitem(last=False)
        # Nobody waits for it: who asks is let in without.
        task = asyncio.create_task(self._write_use(record.hash, now))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write_use(self, key_hash: str, now: float) -> None:
        try:
            await self._store.used(key_hash, now)
        except ServiceError:
            return  # MongoDB is away: the next use is written
        except Exception as error:
            bug("key", error)
