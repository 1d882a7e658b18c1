"""Tokens whose signature was found good, so that who shows one again is not waited for a second time.

A browser shows the same token with every request and every page, and a public key takes a tenth of what a connection
costs. Only the signature is remembered: whether a token has expired, is meant for here or was revoked is asked each
time. Pure.
"""

from __future__ import annotations

import hashlib
from typing import Final

SEEN_BYTES: Final = 4 * 1024 * 1024
"""Of what is remembered, an entry's own room among it: some 6,000 tokens of half a kilobyte."""
ENTRY_BYTES: Final = 256


class Seen:
    """By a digest of the token, so that nothing that is kept lets anybody in. Who was not seen for longest goes first.

    A payload is good under the key that found it so and no other: one that was withdrawn is never asked about, and one
    that was fetched again is another.
    """

    def __init__(self, most_bytes: int = SEEN_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._payloads: dict[bytes, tuple[object, bytes]] = {}

    def payload(self, token: str, key: object) -> bytes | None:
        """What a token says that this very key has signed; None where that is not known here."""
        name = _digest(token)
        found = self._payloads.get(name)
        if found is None or found[0] is not key:
            return None
        # The last one in the order is the last one to go.
        self._payloads[name] = self._payloads.pop(name)
        return found[1]

    def add(self, token: str, key: object, payload: bytes) -> None:
        """A signature was found good."""
        name = _digest(token)
        before = self._payloads.pop(name, None)
        if before is not None:
            self._bytes -= len(before[1]) + ENTRY_BYTES
        self._payloads[name] = key, payload
        self._bytes += len(payload) + ENTRY_BYTES
        while self._bytes > self._most_bytes:
            _, oldest = self._payloads.pop(next(iter(self._payloads)))
            self._bytes -= len(oldest) + ENTRY_BYTES


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
