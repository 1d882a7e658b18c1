"""JSON Web Tokens: verified by keys that are known here, and for this service."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from realtime.access.verifying import ALGORITHMS, VerifyingKey
from realtime.core.access.principal import Principal
from realtime.core.access.seen import Seen
from realtime.core.access.tokens import Demands, Header, check_size, header_of, principal_of, refused
from realtime.errors import UnauthenticatedError


class Keys(Protocol):
    """Where the keys are."""

    async def find(self, algorithm: str, kid: str | None) -> Sequence[VerifyingKey]:
        """Those that a token with this header may be signed by. `UnavailableError` where that cannot be told."""

    def begin(self) -> None:
        """They will be asked for."""

    async def close(self) -> None:
        """They are asked for no longer."""


class OneKey:
    """A key that is configured. It is the one whatever `kid` a token names."""

    def __init__(self, key: VerifyingKey) -> None:
        self._key = key

    async def find(self, algorithm: str, _kid: str | None) -> Sequence[VerifyingKey]:
        """The key, where it is for this algorithm."""
        return (self._key,) if algorithm == self._key.algorithm else ()

    def begin(self) -> None:
        """It is there."""

    async def close(self) -> None:
        """Nothing was opened."""


class JwtAuthenticator:
    """An `Authenticator` of tokens. `clock` gives unix seconds."""

    def __init__(self, keys: Keys, demands: Demands, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._demands = demands
        self._clock = clock
        self._seen = Seen()

    async def authenticate(self, token: str) -> Principal:
        """Who the token says that its bearer is. `UnauthenticatedError`, or `UnavailableError` for now."""
        check_size(token)
        header = header_of(token)
        payload = await self._verified(token, header)
        return principal_of(payload, self._demands, self._clock())

    def begin(self) -> None:
        """Tokens will come: what keys have to be fetched is fetched ahead."""
        self._keys.begin()

    async def close(self) -> None:
        """No token comes any more."""
        await self._keys.close()

    async def _verified(self, token: str, header: Header) -> bytes:
        if header.algorithm not in ALGORITHMS:
            raise refused("algorithm", f"tokens are signed by {', '.join(ALGORITHMS)} here")
        error: UnauthenticatedError | None = None
        for key in await self._keys.find(header.algorithm, header.kid):
            if (known := self._seen.payload(token, key)) is not None:
                return known
            try:
                payload = key.payload(token)
            except UnauthenticatedError as bad:
                error = bad
            else:
                self._seen.add(token, key, payload)
                return payload
        raise error or refused("unknown_key", "the token names a key, or an algorithm, that is not known here")
