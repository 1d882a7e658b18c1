"""Keys for programs, as text: a prefix that scanners of leaked secrets can look for, 256 bits, and a checksum.

The checksum tells a key that was cut or mistyped, and every made-up text, from one that has to be looked up. What is
stored is a hash. A plain one will do: nobody guesses 256 random bits.
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from realtime.core.access.principal import Principal

PREFIX = "rtk_"
SECRET_BYTES = 32
MAX_KEY_NAME = 100
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_DIGITS = math.ceil(SECRET_BYTES * 8 / math.log2(len(_ALPHABET)))
_CHECK_DIGITS = 6
_SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_SECRET_DIGITS + _CHECK_DIGITS}}}")
_ID_DIGITS = 12


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is stored of a key. Times in unix seconds; `used`: the last time, to about a minute; None: never."""

    hash: str
    name: str
    sub: str
    created: float
    roles: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    expires: float | None = None
    revoked: float | None = None
    used: float | None = None

    @property
    def id(self) -> str:
        """By which it is listed, revoked and logged. Nothing can be done with it."""
        return id_of(self.hash)

    def principal(self) -> Principal:
        """Who asks by it."""
        return Principal(self.sub, self.roles, self.claims, self.expires, self.created, key=self.id)


def made(secret: bytes) -> str:
    """The key of `SECRET_BYTES` random bytes."""
    digits = _digits(int.from_bytes(secret, "big"), _SECRET_DIGITS)
    return f"{PREFIX}{digits}{_check(digits)}"


def looks_like(token: str) -> bool:
    """Whether it means to be a key, well formed or not."""
    return token.startswith(PREFIX)


def well_formed(token: str) -> bool:
    """Whether it can be a key that was made here."""
    if _SHAPE.fullmatch(token) is None:
        return False
    digits = token[len(PREFIX) :]
    return _check(digits[:_SECRET_DIGITS]) == digits[_SECRET_DIGITS:]


def hashed(token: str) -> str:
    """What is stored in its place, 64 hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def id_of(key_hash: str) -> str:
    """The id of the key with this hash."""
    return key_hash[:_ID_DIGITS]


def _check(digits: str) -> str:
    return _digits(zlib.crc32(digits.encode()), _CHECK_DIGITS)


def _digits(number: int, count: int) -> str:
    found = ""
    for _ in range(count):
        number, digit = divmod(number, len(_ALPHABET))
        found = _ALPHABET[digit] + found
    return found
