"""Keys for programs: looked up, remembered, ended; and how often MongoDB is asked or told."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from realtime.access import keyring
from realtime.access.keyring import KNOWN_SECONDS, UNKNOWN_SECONDS, USED_SECONDS, KeyAuthenticator
from realtime.access.minting import new_key
from realtime.core.access.keys import KeyRecord, hashed
from realtime.errors import UnauthenticatedError, UnavailableError

NOW = 1_000_000.0


class Stored:
    """A store in memory that counts what it is asked."""

    def __init__(self) -> None:
        self.records: dict[str, KeyRecord] = {}
        self.finds: list[str] = []
        self.uses: list[float] = []
        self.away = False

    async def find(self, key_hash: str) -> KeyRecord | None:
        self.finds.append(key_hash)
        if self.away:
            raise UnavailableError("MongoDB does not answer")
        return self.records.get(key_hash)

    async def used(self, key_hash: str, at: float) -> None:
        if self.away:
            raise UnavailableError("MongoDB does not answer")
        self.uses.append(at)


class Scene:
    def __init__(self) -> None:
        self.now = NOW
        self.store = Stored()
        self.authenticator = KeyAuthenticator(self.store, lambda: self.now)

    def add(self, **fields: float) -> str:
        key = new_key()
        record = KeyRecord(hashed(key), "importer", "key:importer", NOW - 10, frozenset({"staff"}))
        self.store.records[hashed(key)] = dataclasses.replace(record, **fields)  # type: ignore[arg-type]  # reason: times
        return key

    async def told(self, key: str) -> str:
        try:
            return (await self.authenticator.authenticate(key)).sub
        except UnauthenticatedError as refused:
            return refused.reason


async def test_a_key_lets_in_who_it_is_of() -> None:
    scene = Scene()
    key = scene.add(expires=NOW + 60)
    one = await scene.authenticator.authenticate(key)
    assert (one.sub, one.roles, one.expires, one.issued) == ("key:importer", frozenset({"staff"}), NOW + 60, NOW - 10)
    assert one.key == hashed(key)[:12]
    scene.now += 60
    assert await scene.told(key) == "expired"


async def test_what_is_no_key_is_refused_without_a_look_into_the_database() -> None:
    scene = Scene()
    key = scene.add()
    for bad in (key[:-1], key + "x", key[:10] + ("a" if key[10] != "a" else "b") + key[11:], "rtk_", "é"):
        assert await scene.told(bad) == "malformed"
    assert await scene.told("x" * 10_000) == "too_large"
    assert scene.store.finds == []


async def test_known_keys_are_remembered_for_a_moment_and_unknown_ones_longer() -> None:
    scene = Scene()
    key, unknown = scene.add(), new_key()
    assert [await scene.told(key) for _ in range(5)] == ["key:importer"] * 5
    assert [await scene.told(unknown) for _ in range(5)] == ["unknown_key"] * 5
    assert len(scene.store.finds) == 2
    scene.store.records[hashed(key)] = dataclasses.replace(scene.store.records[hashed(key)], revoked=NOW)
    scene.now += KNOWN_SECONDS
    assert await scene.told(key) == "revoked"
    assert await scene.told(unknown) == "unknown_key"
    assert len(scene.store.finds) == 3
    scene.now += UNKNOWN_SECONDS
    assert await scene.told(unknown) == "unknown_key"
    assert len(scene.store.finds) == 4


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "MOST_REMEMBERED", 10)
    scene = Scene()
    for _ in range(30):
        assert await scene.told(new_key()) == "unknown_key"
        assert await scene.told(scene.add()) == "key:importer"
    assert len(scene.authenticator) == 10


async def test_the_last_use_is_written_once_a_minute() -> None:
    scene = Scene()
    key, used_already = scene.add(), scene.add(used=NOW - 10)
    for _ in range(10):
        await scene.told(key)
        await scene.told(used_already)
    await asyncio.sleep(0)
    assert scene.store.uses == [NOW]
    scene.now += USED_SECONDS
    for _ in range(10):
        await scene.told(key)
    await asyncio.sleep(0)
    assert scene.store.uses == [NOW, NOW + USED_SECONDS]
    await scene.authenticator.close()


async def test_where_mongodb_is_away_a_key_that_is_not_remembered_cannot_be_decided() -> None:
    scene = Scene()
    key, other = scene.add(), scene.add()
    assert await scene.told(key) == "key:importer"
    scene.store.away = True
    assert await scene.told(key) == "key:importer"
    with pytest.raises(UnavailableError):
        await scene.told(other)
    scene.store.away = False
    assert await scene.told(other) == "key:importer"
    await scene.authenticator.close()


async def test_all_who_come_with_a_key_at_once_share_one_look() -> None:
    scene = Scene()
    key, free = scene.add(), asyncio.Event()
    find, looked = scene.store.find, 0

    async def slowly(key_hash: str) -> KeyRecord | None:
        nonlocal looked
        looked += 1
        await free.wait()
        return await find(key_hash)

    scene.store.find = slowly  # type: ignore[method-assign]
    asking = [asyncio.create_task(scene.told(key)) for _ in range(50)]
    unknown = asyncio.create_task(scene.told(new_key()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking[0].cancel()  # it began the look; the others wait for it
    free.set()
    assert await asyncio.gather(*asking[1:]) == ["key:importer"] * 49
    assert await unknown == "unknown_key"
    assert looked == 2
    await scene.authenticator.close()


async def test_a_look_that_fails_is_told_to_all_and_the_next_one_looks_again() -> None:
    scene = Scene()
    key, find = scene.add(), scene.store.find

    async def away(key_hash: str) -> KeyRecord | None:
        await asyncio.sleep(0)
        raise UnavailableError("MongoDB is away", retry_after=1)

    scene.store.find = away  # type: ignore[method-assign]
    told = await asyncio.gather(*(scene.authenticator.authenticate(key) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in told] == [UnavailableError] * 3
    scene.store.find = find  # type: ignore[method-assign]
    assert await scene.told(key) == "key:importer"
    await scene.authenticator.close()
