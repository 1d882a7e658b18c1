"""What a key is for is fixed by the key, and a configuration that is none is refused with the mend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from realtime.access.verifying import LEAST_SECRET_BYTES, MAX_SET_KEYS, of_pem_file, of_secret, of_secret_file, of_set
from realtime.errors import ConfigurationError, UnauthenticatedError
from tests.access.issuer import SECRET, Signer, pem_file, signer

ASYMMETRIC = ("RS256", "ES256", "EdDSA")


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_public_key_in_a_file_is_for_the_algorithm_that_it_is_of(tmp_path: Path, algorithm: str) -> None:
    one = signer(algorithm)
    key = of_pem_file(pem_file(tmp_path, one))
    assert key.algorithm == algorithm
    assert json.loads(key.payload(one.token()))["sub"] == "ann"
    with pytest.raises(UnauthenticatedError):
        key.payload(signer(algorithm).token())


def test_a_secret_is_for_hs256_from_the_environment_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    for key in (of_secret(SECRET), of_secret_file(path)):
        assert key.algorithm == "HS256"
        assert json.loads(key.payload(signer("HS256").token()))["sub"] == "ann"


def test_a_secret_that_is_no_secret_is_refused_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="REALTIME_JWT_PUBLIC_KEY"):
        of_secret(signer("RS256").pem.decode())
    with pytest.raises(ConfigurationError, match="openssl rand"):
        of_secret("x" * (LEAST_SECRET_BYTES - 1))
    path = tmp_path / "secret"
    path.write_bytes(b"\xff" * 64)
    for bad in (path, tmp_path / "none", tmp_path):
        with pytest.raises(ConfigurationError, match="REALTIME_JWT_SECRET_FILE"):
            of_secret_file(bad)


def private_pem(key: Any) -> bytes:
    found: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (private_pem(signer("ES256").private), "private key"),
        (b"hello", "no public key as PEM"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key as PEM"),
        (Signer("RS256", rsa.generate_private_key(65537, 1024), "k").pem, "none of RS256"),
        (Signer("ES384", ec.generate_private_key(ec.SECP384R1()), "k").pem, "none of RS256"),
        (b"x" * 70_000, "over 65536 bytes"),
    ],
    ids=["private", "text", "broken", "short", "another curve", "large"],
)
def test_a_file_that_holds_no_key_for_us_is_refused_with_the_mend(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=words) as refused:
        of_pem_file(path)
    assert "REALTIME_JWT_PUBLIC_KEY" in str(refused.value)


def test_of_a_set_those_that_verify_are_taken_and_the_others_left() -> None:
    signers = [signer(algorithm, kid=algorithm) for algorithm in ASYMMETRIC]
    kinds: list[Any] = [["x"], {}, None, 1, "EC", "OKP"]
    values: list[Any] = [["x"], {}, 1, ""]
    short = Signer("RS256", rsa.generate_private_key(65537, 1024), "short")
    other: list[Any] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "symmetric"},
        {**signers[0].jwk, "use": "enc", "kid": "enc"},
        {**signers[0].jwk, "alg": "RS512", "kid": "rs512"},
        {**signers[0].jwk, "d": "AQAB", "kid": "private"},
        {"kty": "RSA", "kid": "empty"},
        {"kty": "EC", "crv": "P-256", "x": "!", "y": "!", "kid": "broken"},
        *({"kty": kind, "kid": "odd"} for kind in kinds),
        *({**signers[0].jwk, name: value} for name in ("n", "e", "alg", "use", "kty") for value in values),
        short.jwk,
        "text",
        None,
    ]
    found = of_set({"keys": [*other, *(one.jwk for one in signers)]})
    assert [(one.kid, one.algorithm) for one in found] == [(name, name) for name in ASYMMETRIC]
    unnamed = of_set({"keys": [{name: value for name, value in signers[1].jwk.items() if name not in {"kid", "alg"}}]})
    assert [(one.kid, one.algorithm) for one in unnamed] == [(None, "ES256")]


@pytest.mark.parametrize("document", [None, [], {}, {"keys": {}}, {"keys": [{}] * (MAX_SET_KEYS + 1)}])
def test_what_is_no_set_is_none(document: Any) -> None:
    with pytest.raises(ValueError, match=r"no JWK Set|over 64 keys"):
        of_set(document)
