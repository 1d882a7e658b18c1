"""Put together from the settings: a configuration that cannot work ends the start, with its mend."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from realtime.access.access import Access, allowed
from realtime.access.minting import new_key, new_token
from realtime.core.access.keys import well_formed
from realtime.errors import ConfigurationError, UnauthenticatedError
from realtime.settings import Settings, load
from tests.access.issuer import SECRET, pem_file, signer
from tests.access.test_keyring import Stored
from tests.hub.fakes import Service, until


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"jwt_secret": "short"}, "openssl rand"),
        ({"jwt_secret": signer("ES256").pem.decode()}, "REALTIME_JWT_PUBLIC_KEY"),
        ({"jwt_secret_file": "/nowhere/secret"}, "REALTIME_JWT_SECRET_FILE"),
        ({"jwt_public_key": "/nowhere/key.pem"}, "REALTIME_JWT_PUBLIC_KEY"),
    ],
)
def test_a_key_that_is_none_ends_the_start(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        Access(load(auth="jwt", **settings))
    assert "short" not in str(refused.value)


async def test_an_audit_log_that_cannot_be_opened_ends_the_start(tmp_path: Path) -> None:
    access = Access(load(audit_log=str(tmp_path / "none" / "audit.log")))
    async with Service() as service:
        with pytest.raises(ConfigurationError, match="REALTIME_AUDIT_LOG"):
            async with access.running(service.hub, Stored(), lambda: True):
                raise AssertionError("it runs")


async def test_where_nobody_is_asked_nothing_is_followed() -> None:
    access = Access(load())
    async with Service() as service, access.running(service.hub, Stored(), lambda: True):
        assert (access.authenticator, access.revocations) == (None, None)
        assert service.hub.roster.count == 0


async def test_an_application_of_its_own_has_revocations_and_no_tokens() -> None:
    access = Access(load(), own=True)
    async with Service() as service:
        async with access.running(service.hub, Stored(), lambda: True):
            assert access.authenticator is None
            assert access.revocations is not None
            assert service.hub.roster.count == 1
        assert service.hub.roster.count == 0


async def test_tokens_and_keys_are_taken_as_the_settings_say(tmp_path: Path) -> None:
    one = signer("ES256")
    settings = load(auth="jwt,keys", jwt_public_key=str(pem_file(tmp_path, one)), jwt_audience="shop")
    access, stored = Access(settings), Stored()
    async with Service() as service, access.running(service.hub, stored, lambda: True):
        assert access.authenticator is not None
        assert access.revocations is not None
        await until(lambda: service.hub.roster.count == 1)
        async with Waiting(access):
            assert (await access.authenticator.authenticate(one.token())).sub == "ann"
            with pytest.raises(UnauthenticatedError, match="not known"):
                await access.authenticator.authenticate(new_key())
        assert len(stored.finds) == 1


class Waiting:
    """Until revocations are read."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def __aenter__(self) -> None:
        revocations = self._access.revocations
        assert revocations is not None
        await until(lambda: revocations._known)

    async def __aexit__(self, *_: object) -> None:
        """Nothing was opened."""


def test_the_limits_are_those_of_the_settings() -> None:
    found = allowed(load(frames_per_second=7, in_flight_bytes=4096))
    assert (found.frames_per_second, found.in_flight_bytes) == (7, 4096)
    assert found.connects_per_second == Settings.model_fields["connects_per_second"].default


# ------------------------------------------------------------------------------------------------------------- minting


def minted(settings: Settings, **claims: Any) -> str:
    now = time.time()
    return new_token(settings, sub="ann", roles=["staff"], claims=claims, now=now, seconds=60)


@pytest.mark.parametrize("roles_claim", ["roles", "realm_access.roles"])
async def test_a_token_that_is_made_here_is_taken_here(roles_claim: str) -> None:
    settings = load(auth="jwt", jwt_secret=SECRET, jwt_issuer="us", jwt_audience="shop", roles_claim=roles_claim)
    access = Access(settings)
    async with Service() as service, access.running(service.hub, Stored(), lambda: True), Waiting(access):
        assert access.authenticator is not None
        one = await access.authenticator.authenticate(minted(settings, team="a"))
    assert (one.sub, one.roles, one.claims["team"]) == ("ann", frozenset({"staff"}), "a")
    assert one.jti
    assert one.issued


def test_a_token_that_would_not_be_taken_is_not_made() -> None:
    settings = load(auth="jwt", jwt_secret=SECRET, roles_claim="a.b")
    with pytest.raises(ConfigurationError, match="sub is set"):
        minted(settings, sub="bob")
    with pytest.raises(ConfigurationError, match="a is no object"):
        minted(settings, a=7)
    with pytest.raises(ConfigurationError, match="longer than"):
        minted(settings, text="x" * 10_000)
    with pytest.raises(ConfigurationError, match="identity provider"):
        minted(load(auth="jwt", jwks_url="https://login.example/jwks.json"))


def test_keys_are_never_the_same() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert all(map(well_formed, made))
