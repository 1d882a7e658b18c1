"""Keys that verify tokens: what each is for is fixed by the key itself and never by the token (RFC 8725, 3.1)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from realtime.core.access.tokens import refused
from realtime.errors import ConfigurationError

PUBLIC = ("RS256", "ES256", "EdDSA")
"""Verified by a key that is no secret."""
ALGORITHMS = ("HS256", *PUBLIC)
LEAST_SECRET_BYTES = 32
"""RFC 7518, 3.2: a key of the same size as the hash output or larger."""
LEAST_RSA_BITS = 2048
MAX_KEY_FILE_BYTES = 65536
MAX_SET_KEYS = 64
_PEM = "-----BEGIN"
_PRIVATE_FIELD = "d"
_ALGORITHMS: dict[str, Any] = {name: jwt.get_algorithm_by_name(name) for name in ALGORITHMS}
"""PyJWT's own. Its `decode` reads the token a second time, letter by letter, which takes as long as HS256 itself."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key and the one algorithm that it is for. `kid` is its name in a set."""

    algorithm: str
    material: Any
    kid: str | None = None

    def payload(self, token: str) -> bytes:
        """What a token of the right shape says, which is signed by this key; `UnauthenticatedError` else.

        Its header has been read, and is believed in nothing: the algorithm is the key's.
        """
        signed, _, signature = token.rpartition(".")
        try:
            good = _ALGORITHMS[self.algorithm].verify(signed.encode(), self.material, _decoded(signature))
        except (jwt.PyJWTError, ValueError, TypeError):
            good = False
        if not good:
            raise refused("bad_signature", "the token is not signed by a key that is known here")
        return _decoded(signed.partition(".")[2])


def _decoded(part: str) -> bytes:
    """`ValueError` for what is no base64url."""
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def of_secret(secret: str) -> VerifyingKey:
    """HS256. A public key as the secret would let everybody who has it sign, and a short one can be guessed."""
    if _PEM in secret:
        raise ConfigurationError(
            "REALTIME_JWT_SECRET is a PEM file's text, which others have too: name a public key's file as "
            "REALTIME_JWT_PUBLIC_KEY, and give a secret of random bytes for HS256"
        )
    size = len(secret.encode())
    if size < LEAST_SECRET_BYTES:
        raise ConfigurationError(
            f"REALTIME_JWT_SECRET has {size} bytes, and one of less than {LEAST_SECRET_BYTES} can be guessed: make one "
            "with `openssl rand -base64 48`, and have whoever signs the tokens use the same"
        )
    return VerifyingKey("HS256", secret.encode())


def of_secret_file(path: Path) -> VerifyingKey:
    """The same, from a file; the end of its last line is not part of it."""
    return of_secret(_text(path, "REALTIME_JWT_SECRET_FILE").rstrip("\r\n"))


def of_pem_file(path: Path) -> VerifyingKey:
    """A public key, or a certificate with one, as PEM."""
    name = "REALTIME_JWT_PUBLIC_KEY"
    text = _text(path, name)
    if "PRIVATE KEY" in text:
        raise ConfigurationError(
            f"{name}: {path} holds a private key, which stays with whoever signs: write the public one to a file of "
            "its own (openssl pkey -in FILE -pubout)"
        )
    try:
        if "CERTIFICATE" in text:
            found: Any = load_pem_x509_certificate(text.encode()).public_key()
        else:
            found = load_pem_public_key(text.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError(
            f"{name}: {path} is no public key as PEM: it begins with -----BEGIN PUBLIC KEY-----"
        ) from None
    algorithm = algorithm_of(found)
    if algorithm is None:
        raise ConfigurationError(
            f"{name}: the key in {path} is for none of RS256 (RSA, {LEAST_RSA_BITS} bits at least), ES256 (P-256) and "
            "EdDSA (Ed25519): give one of those"
        )
    return VerifyingKey(algorithm, found)


def algorithm_of(key: Any) -> str | None:
    """What a public key is for; None where that is nothing here."""
    if isinstance(key, RSAPublicKey):
        return "RS256" if key.key_size >= LEAST_RSA_BITS else None
    if isinstance(key, EllipticCurvePublicKey):
        return "ES256" if isinstance(key.curve, SECP256R1) else None
    return "EdDSA" if isinstance(key, Ed25519PublicKey) else None


def of_set(document: Any) -> tuple[VerifyingKey, ...]:
    """The keys of a JWK Set (RFC 7517) that tokens can be verified by here; the others are left out.

    So are symmetric ones, which are no secret where they stand, and those for encryption. `ValueError` where it is no
    set, or has over `MAX_SET_KEYS`.
    """
    listed = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("no JWK Set: an object with a list `keys`")  # noqa: TRY004 - it is the value of a document
    if len(listed) > MAX_SET_KEYS:
        raise ValueError(f"over {MAX_SET_KEYS} keys")
    return tuple(found for one in listed if (found := _of_jwk(one)) is not None)


def _of_jwk(fields: Any) -> VerifyingKey | None:
    try:
        return _read_jwk(fields)
    except Exception:
        # It is a stranger's, and may be anything: of one that is broken the others know nothing.
        return None


def _read_jwk(fields: Any) -> VerifyingKey | None:
    if not isinstance(fields, dict) or fields.get("use", "sig") != "sig" or _PRIVATE_FIELD in fields:
        return None
    if fields.get("kty") not in {"RSA", "EC", "OKP"}:
        return None
    material = jwt.PyJWK(fields).key
    algorithm, kid = algorithm_of(material), fields.get("kid")
    if algorithm is None or fields.get("alg", algorithm) != algorithm:
        return None
    return VerifyingKey(algorithm, material, kid if isinstance(kid, str) else None)


def _text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{name}: {path} cannot be read ({error.strerror}): name a file that can") from None
    if len(raw) > MAX_KEY_FILE_BYTES:
        raise ConfigurationError(f"{name}: {path} has over {MAX_KEY_FILE_BYTES} bytes: name the file of one key")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name}: {path} is no text (UTF-8): write it as base64, or as PEM") from None
