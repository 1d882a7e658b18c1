"""Tokens, whole: good ones are let in under each kind of key, all others are refused by one word."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from realtime.access.jwts import JwtAuthenticator, OneKey
from realtime.access.verifying import VerifyingKey, of_pem_file, of_secret
from realtime.core.access.tokens import Demands
from realtime.errors import UnauthenticatedError
from tests.access.issuer import AUDIENCE, ISSUER, SECRET, Signer, pem_file, signer

DEMANDS = Demands(ISSUER, AUDIENCE)


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def of(one: Signer, directory: Path) -> JwtAuthenticator:
    key = of_secret(SECRET) if one.algorithm == "HS256" else of_pem_file(pem_file(directory, one))
    return JwtAuthenticator(OneKey(key), DEMANDS)


def signed_with(secret: bytes, **claims: Any) -> str:
    """HS256 with whatever bytes, which libraries refuse to do."""
    now = time.time()
    fields = {"sub": "ann", "exp": now + 60, "aud": AUDIENCE, "iss": ISSUER, **claims}
    head = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(fields)}"
    signature = base64.urlsafe_b64encode(hmac.digest(secret, head.encode(), hashlib.sha256)).decode().rstrip("=")
    return f"{head}.{signature}"


def unsigned(one: Signer) -> str:
    payload = one.token().split(".")[1]
    return f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{payload}."


def changed(token: str) -> str:
    """Another `sub`, under the old signature."""
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return f"{head}.{encoded({**claims, 'sub': 'bob'})}.{signature}"


def cells(one: Signer) -> dict[str, tuple[str, str | None]]:
    """Tokens by what they are, with the word that each is refused by; None: it is good."""
    now = time.time()
    return {
        "good": (one.token(), None),
        "good within the leeway": (one.token(exp=now - 2), None),
        "expired": (one.token(exp=now - 60), "expired"),
        "not yet valid": (one.token(nbf=now + 60), "not_yet_valid"),
        "issued in the future": (one.token(iat=now + 60), "not_yet_valid"),
        "wrong aud": (one.token(aud="other"), "wrong_audience"),
        "no aud": (one.token(aud=...), "wrong_audience"),
        "wrong iss": (one.token(iss="https://other.example"), "wrong_issuer"),
        "no exp": (one.token(exp=...), "bad_claims"),
        "no sub": (one.token(sub=...), "bad_claims"),
        "alg none": (unsigned(one), "algorithm"),
        "changed": (changed(one.token()), "bad_signature"),
        "100 KB": (one.token(text="x" * 100_000), "too_large"),
        "empty": ("", "malformed"),
        "rubbish": ("rubbish", "malformed"),
    }


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256", "EdDSA"])
async def test_each_token_is_let_in_or_refused_by_its_word(tmp_path: Path, algorithm: str) -> None:
    one = signer(algorithm)
    authenticator = of(one, tmp_path)
    table = cells(one)
    others = [signer(other) for other in ("RS256", "ES256", "EdDSA") if other != algorithm]
    if algorithm != "HS256":
        table["wrong key"] = signer(algorithm).token(), "bad_signature"
        table["HS256 signed with the public key"] = signed_with(one.pem), "unknown_key"
        others.append(signer("HS256"))
    else:
        table["wrong key"] = signed_with(b"another secret, of 32 bytes or more"), "bad_signature"
    table |= {f"of {other.algorithm}": (other.token(), "unknown_key") for other in others}
    assert len(table) >= 19
    for name, (token, reason) in table.items():
        if reason is None:
            principal = await authenticator.authenticate(token)
            assert (principal.sub, principal.expired(time.time())) == ("ann", False), name
            continue
        with pytest.raises(UnauthenticatedError) as refused:
            await authenticator.authenticate(token)
        assert refused.value.reason == reason, name
        assert not token or token not in refused.value.message, name


class Counting(VerifyingKey):
    """Counts how often a signature is computed."""

    asked = 0

    def payload(self, token: str) -> bytes:
        type(self).asked += 1
        return VerifyingKey.payload(self, token)


@dataclass
class Known:
    """Keys that a test takes away."""

    keys: list[VerifyingKey]

    async def find(self, _algorithm: str, _kid: str | None) -> Sequence[VerifyingKey]:
        return self.keys

    def begin(self) -> None:
        """They are there."""

    async def close(self) -> None:
        """Nothing was opened."""


async def test_a_signature_is_computed_once_and_all_else_is_asked_each_time() -> None:
    one, now = signer("ES256"), [time.time()]
    Counting.asked = 0
    key = Counting("ES256", one.private.public_key())
    keys = Known([key])
    authenticator = JwtAuthenticator(keys, DEMANDS, lambda: now[0])
    token = one.token(exp=now[0] + 60)
    principals = [await authenticator.authenticate(token) for _ in range(3)]
    assert Counting.asked == 1
    assert [(one.sub, one.expires) for one in principals] == [("ann", now[0] + 60)] * 3
    # Another signature under the same words, and other words under the same signature.
    for wrong in (changed(token), token[:-8] + "AAAAAAAA"):
        with pytest.raises(UnauthenticatedError) as refused:
            await authenticator.authenticate(wrong)
        assert refused.value.reason == "bad_signature"
    now[0] += 100
    with pytest.raises(UnauthenticatedError) as refused:
        await authenticator.authenticate(token)
    assert refused.value.reason == "expired"
    now[0] -= 100
    asked = Counting.asked
    # The same key, fetched anew: it is asked again. Withdrawn: it is not.
    keys.keys = [Counting("ES256", one.private.public_key())]
    assert (await authenticator.authenticate(token)).sub == "ann"
    assert Counting.asked == asked + 1
    keys.keys = []
    with pytest.raises(UnauthenticatedError) as refused:
        await authenticator.authenticate(token)
    assert refused.value.reason == "unknown_key"


def mutated(token: str, chance: random.Random) -> str:
    """A token with a few bytes of it changed, moved, repeated or left out."""
    text = list(token)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text) or 1)
        what = chance.randrange(5)
        if what == 0:
            text[at : at + 1] = [chance.choice('ABCabc019-_.=+/ \n\0é{}[]"')]
        elif what == 1:
            del text[at : at + chance.randint(1, 20)]
        elif what == 2:
            text[at:at] = text[at : at + chance.randint(1, 40)]
        elif what == 3:
            text[at:at] = ["."]
        else:
            text = list(f"{encoded(anything(chance))}.{encoded(anything(chance))}.{''.join(text[-8:])}")
    return "".join(text)


def anything(chance: random.Random, depth: int = 0) -> Any:
    """A JSON value as a header or claims might be, and mostly are not."""
    kind = chance.randrange(8 if depth < 4 else 5)
    if kind == 0:
        return chance.choice([None, True, False, 0, -1, 1e300, 2**70, 1.5])
    if kind in {1, 2}:
        return chance.choice(["", "HS256", "none", "ES256", "x" * 300, "é", "\0", "ann"])
    if kind in {3, 4}:
        return chance.randint(-(2**40), 2**40)
    if kind == 5:
        return [anything(chance, depth + 1) for _ in range(chance.randrange(4))]
    names = ["alg", "kid", "typ", "crit", "b64", "sub", "exp", "nbf", "iat", "aud", "iss", "roles", "jti"]
    return {chance.choice(names): anything(chance, depth + 1) for _ in range(chance.randrange(6))}


@pytest.mark.parametrize("algorithm", ["HS256", "ES256"])
async def test_whatever_comes_as_a_token_is_refused_and_nothing_else_happens(tmp_path: Path, algorithm: str) -> None:
    """`REALTIME_TEST_TOKENS=100000` is the long run."""
    one = signer(algorithm)
    authenticator = of(one, tmp_path)
    good = one.token()
    chance = random.Random(os.environ.get("REALTIME_TEST_SEED", "tokens"))
    reasons: dict[str, int] = {}
    for _ in range(int(os.environ.get("REALTIME_TEST_TOKENS", "20000")) // 2):
        token = mutated(good, chance)
        try:
            await authenticator.authenticate(token)
        except UnauthenticatedError as refused:
            reasons[refused.reason] = reasons.get(refused.reason, 0) + 1
        else:
            # The last characters of base64url may differ in bits that stand for nothing.
            assert token.split(".")[:2] == good.split(".")[:2]
    assert {"malformed", "bad_signature", "algorithm"} <= reasons.keys(), reasons
    assert sum(reasons.values()) > 9000


async def test_payloads_that_are_signed_and_make_no_sense_are_refused_too(tmp_path: Path) -> None:
    authenticator = of(signer("HS256"), tmp_path)
    chance = random.Random(os.environ.get("REALTIME_TEST_SEED", "claims"))
    refused = 0
    for _ in range(int(os.environ.get("REALTIME_TEST_TOKENS", "20000")) // 10):
        head = f"{encoded({'alg': 'HS256'})}.{encoded(anything(chance))}"
        digest = hmac.digest(SECRET.encode(), head.encode(), hashlib.sha256)
        signature = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        with pytest.raises(UnauthenticatedError):
            await authenticator.authenticate(f"{head}.{signature}")
        refused += 1
    assert refused >= 2000
