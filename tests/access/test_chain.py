"""Tokens and keys side by side, and what holds for whoever they know."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from realtime.access.chain import Chain, check
from realtime.access.minting import new_key
from realtime.core.access.principal import MAX_TOKEN_BYTES, Ended, Principal
from realtime.errors import UnauthenticatedError, UnavailableError

NOW = 1000.0


class One:
    """An authenticator of anything."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.asked = 0
        self.closed = False

    async def authenticate(self, token: str) -> Principal:
        self.asked += 1
        return self.principal

    async def close(self) -> None:
        self.closed = True


class Known:
    """Revocations by hand."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.read = True

    def refused(self, principal: Principal) -> str | None:
        if not self.read:
            raise UnavailableError("not read yet", retry_after=1)
        return "revoked" if principal.sub in self.revoked else None

    def on_revoked(self, tell: Callable[[Ended], None]) -> None:
        raise NotImplementedError


def chain(*names: str) -> tuple[Chain, One, One, Known]:
    token, key, known = One(Principal("ann")), One(Principal("job")), Known()
    ways = {name: one for name, one in (("jwt", token), ("keys", key)) if name in names}
    return Chain(ways, known, lambda: NOW), token, key, known


async def reason_of(one: Chain, token: str) -> str:
    with pytest.raises(UnauthenticatedError) as refused:
        await one.authenticate(token)
    assert token not in refused.value.message
    return refused.value.reason


async def test_each_is_asked_about_its_own_alone() -> None:
    both, token, key, _ = chain("jwt", "keys")
    assert (await both.authenticate("a.b.c")).sub == "ann"
    assert (await both.authenticate(new_key())).sub == "job"
    assert (token.asked, key.asked) == (1, 1)
    await both.close()
    assert token.closed
    assert key.closed


async def test_what_nobody_here_takes_is_refused_by_name() -> None:
    tokens, _, _, _ = chain("jwt")
    keys, _, _, _ = chain("keys")
    assert await reason_of(tokens, new_key()) == "not_taken"
    assert await reason_of(keys, "a.b.c") == "not_taken"


async def test_what_is_too_large_reaches_nobody() -> None:
    both, token, key, _ = chain("jwt", "keys")
    assert await reason_of(both, "x" * (MAX_TOKEN_BYTES + 1)) == "too_large"
    assert (token.asked, key.asked) == (0, 0)


async def test_whoever_is_revoked_or_over_is_refused_whatever_way_they_came() -> None:
    both, token, _, known = chain("jwt", "keys")
    known.revoked = {"ann", "job"}
    assert await reason_of(both, "a.b.c") == "revoked"
    assert await reason_of(both, new_key()) == "revoked"
    known.revoked = set()
    token.principal = dataclasses.replace(token.principal, expires=NOW)
    assert await reason_of(both, "a.b.c") == "expired"


async def test_until_revocations_are_known_it_cannot_be_decided() -> None:
    both, _, _, known = chain("jwt", "keys")
    known.read = False
    with pytest.raises(UnavailableError) as later:
        await both.authenticate("a.b.c")
    assert later.value.retry


def test_a_principal_that_is_good_passes() -> None:
    check(Principal("ann", expires=NOW + 1), Known(), NOW)
