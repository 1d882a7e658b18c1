"""Keys at an address: fetched once for all who wait, not too often, kept while it is away; keys that change."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from realtime.access import jwks
from realtime.access.jwks import APART_SECONDS, AT_ONCE, MAX_BYTES, MOST_FETCHES, WINDOW_SECONDS, KeySet, Pacer
from realtime.access.jwts import JwtAuthenticator
from realtime.core.access.tokens import Demands
from realtime.errors import UnauthenticatedError, UnavailableError
from tests.access.issuer import AUDIENCE, ISSUER, KeyAddress, Signer, key_address, signer


@asynccontextmanager
async def asking(address: KeyAddress) -> AsyncIterator[tuple[JwtAuthenticator, KeySet]]:
    keys = KeySet(address.url)
    authenticator = JwtAuthenticator(keys, Demands(ISSUER, AUDIENCE))
    try:
        yield authenticator, keys
    finally:
        await authenticator.close()


async def outcome(authenticator: JwtAuthenticator, token: str) -> str:
    try:
        return (await authenticator.authenticate(token)).sub
    except UnauthenticatedError as refused:
        return refused.reason
    except UnavailableError as later:
        return "unavailable" if later.retry_after else "unavailable, and nobody says until when"


def invented(one: Signer, number: int) -> str:
    return one.token(header={"kid": f"invented-{number}"})


async def test_all_who_wait_for_a_key_share_one_fetch() -> None:
    one = signer("RS256")
    with key_address() as address:
        address.shows(one)
        async with asking(address) as (authenticator, _):
            told = await asyncio.gather(*(outcome(authenticator, one.token()) for _ in range(50)))
        assert told == ["ann"] * 50
        assert len(address.times) == 1


async def test_a_key_that_is_fetched_ahead_is_there_for_the_first_token() -> None:
    one = signer("ES256")
    with key_address() as address:
        address.shows(one)
        async with asking(address) as (authenticator, keys):
            keys.begin()
            assert await outcome(authenticator, one.token()) == "ann"
        assert len(address.times) == 1


async def test_a_new_key_is_found_by_the_first_token_that_names_it_and_an_old_one_is_let_in_no_longer() -> None:
    old, new = signer("ES256", "old"), signer("ES256", "new")
    with key_address() as address:
        address.shows(old)
        async with asking(address) as (authenticator, _):
            assert await outcome(authenticator, old.token()) == "ann"
            address.shows(new)
            assert await outcome(authenticator, new.token()) == "ann"
            assert await outcome(authenticator, old.token()) in {"unknown_key", "unavailable"}
        assert len(address.times) <= 3


async def test_an_unknown_key_is_refused_once_a_set_without_it_was_fetched() -> None:
    one = signer("ES256")
    with key_address() as address:
        address.shows(one)
        async with asking(address) as (authenticator, _):
            assert await outcome(authenticator, invented(one, 1)) == "unknown_key"
            assert await outcome(authenticator, signer("ES256", one.kid).token()) == "bad_signature"


async def test_a_secrets_algorithm_is_refused_without_a_look_for_no_set_has_it() -> None:
    one = signer("ES256")
    with key_address() as address:
        address.shows(one)
        async with asking(address) as (authenticator, keys):
            for _ in range(20):
                assert await outcome(authenticator, signer("HS256").token()) == "unknown_key"
            assert keys.fetches == 0
            assert await outcome(authenticator, one.token()) == "ann"


async def test_keys_that_change_beside_a_flood_of_invented_names_refuse_no_good_token() -> None:
    """The provider shows a key before it signs with it, as providers do; every good token is let in or told to wait."""
    old, new = signer("ES256", "old"), signer("ES256", "new")
    with key_address() as address:
        address.shows(old)
        async with asking(address) as (authenticator, keys):
            assert await outcome(authenticator, old.token()) == "ann"
            stop = asyncio.Event()
            flooded: dict[str, int] = {}

            async def flood(start: int) -> None:
                number = start
                while not stop.is_set():
                    told = await outcome(authenticator, invented(old, number))
                    flooded[told] = flooded.get(told, 0) + 1
                    number += 1
                    await asyncio.sleep(0)

            floods = [asyncio.create_task(flood(start * 1_000_000)) for start in range(4)]
            try:
                address.shows(old, new)
                told = []
                until = time.monotonic() + APART_SECONDS + 3
                while time.monotonic() < until:
                    told.append(await outcome(authenticator, old.token()))
                    told.append(await outcome(authenticator, new.token()))
                    await asyncio.sleep(0.05)
            finally:
                stop.set()
                await asyncio.gather(*floods)
        assert set(told[0::2]) == {"ann"}
        assert set(told[1::2]) <= {"ann", "unavailable"}
        assert told[-1] == "ann"
        assert "ann" not in flooded
        assert sum(flooded.values()) > 100
        assert keys.fetches == len(address.times) <= MOST_FETCHES


async def test_the_last_good_set_is_used_while_the_address_is_away(caplog: pytest.LogCaptureFixture) -> None:
    one, two = signer("ES256", "one"), signer("ES256", "two")
    with key_address() as address:
        address.shows(one)
        async with asking(address) as (authenticator, _):
            assert await outcome(authenticator, one.token()) == "ann"
            address.answer = lambda: (503, b"")
            assert await outcome(authenticator, two.token()) == "unavailable"
            assert await outcome(authenticator, one.token()) == "ann"
    assert "the last one is used on" in caplog.text


async def test_the_last_good_set_is_not_used_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """A key that was taken back, and an address that was kept away, let its thief in for ever."""
    one, now = signer("ES256"), [1000.0]
    with key_address() as address:
        address.shows(one)
        keys = KeySet(address.url, keep_seconds=3600.0, clock=lambda: now[0])
        authenticator = JwtAuthenticator(keys, Demands(ISSUER, AUDIENCE))
        assert keys.age is None
        try:
            assert await outcome(authenticator, one.token()) == "ann"
            shows, address.answer = address.answer, lambda: (503, b"")
            for age, told in ((3600.0, "ann"), (3601.0, "unavailable"), (3700.0, "unavailable")):
                now[0] = 1000.0 + age
                assert keys.age == age
                assert await outcome(authenticator, one.token()) == told
            assert caplog.text.count("REALTIME_JWKS_KEEP_SECONDS") == 1
            address.answer, now[0] = shows, 5000.0
            assert await outcome(authenticator, one.token()) == "ann"
            assert keys.age == 0.0
        finally:
            await authenticator.close()


def _slow(address: KeyAddress) -> Callable[[], tuple[int, bytes]]:
    free = threading.Event()
    answer = address.answer

    def wait() -> tuple[int, bytes]:
        free.wait(4)
        return answer()

    return wait


@pytest.mark.parametrize(
    "body",
    [b"", b"no json", b"{}", b'{"keys":7}', b"[" * 100_000, b'{"keys":[' + b" " * MAX_BYTES + b"]}"],
    ids=["empty", "text", "no keys", "a number", "deep", "large"],
)
async def test_what_is_no_set_changes_nothing(body: bytes) -> None:
    one, two = signer("ES256", "one"), signer("ES256", "two")
    with key_address() as address:
        address.shows(one)
        async with asking(address) as (authenticator, _):
            assert await outcome(authenticator, one.token()) == "ann"
            address.answer = lambda: (200, body)
            assert await outcome(authenticator, two.token()) == "unavailable"
            assert await outcome(authenticator, one.token()) == "ann"
        assert len(address.times) == 2


async def test_a_redirect_is_not_followed() -> None:
    one = signer("ES256")
    with key_address() as address:
        address.answer = lambda: (302, b"")
        async with asking(address) as (authenticator, _):
            assert await outcome(authenticator, one.token()) == "unavailable"
        assert len(address.times) == 1


async def test_nobody_waits_longer_than_the_patience_for_an_address_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jwks, "WAIT_SECONDS", 0.3)
    one = signer("ES256")
    with key_address() as address:
        address.shows(one)
        address.answer = _slow(address)
        async with asking(address) as (authenticator, _):
            began = time.monotonic()
            assert await outcome(authenticator, one.token()) == "unavailable"
            assert time.monotonic() - began >= 0.25


async def test_a_set_that_is_old_is_fetched_again_beside_its_use(monkeypatch: pytest.MonkeyPatch) -> None:
    one = signer("ES256")
    with key_address() as address:
        address.shows(one)
        async with asking(address) as (authenticator, keys):
            assert await outcome(authenticator, one.token()) == "ann"
            monkeypatch.setattr(jwks, "STALE_SECONDS", 0.0)
            assert await outcome(authenticator, one.token()) == "ann"
            assert keys.fetches == 2


def test_fetches_follow_each_other_at_once_then_apart_and_only_so_many_in_a_window() -> None:
    pacer = Pacer()
    now, begun = 1000.0, []
    while now < 1200.0:
        if not pacer.wait(now):
            pacer.began(now)
            begun.append(now)
        now += 0.25
    assert begun[:AT_ONCE] == [1000.0, 1000.25]
    assert begun[AT_ONCE] - begun[AT_ONCE - 1] == APART_SECONDS
    within = [len([one for one in begun if start <= one < start + WINDOW_SECONDS]) for start in begun]
    assert max(within) == MOST_FETCHES
    assert len(begun) >= 25


def test_a_wait_is_as_long_as_it_says() -> None:
    pacer = Pacer()
    for at in (0.0, 0.0):
        pacer.began(at)
    wait = pacer.wait(1.0)
    assert wait == APART_SECONDS - 1.0
    assert pacer.wait(1.0 + wait) == 0.0
