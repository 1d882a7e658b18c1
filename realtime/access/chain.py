"""All that may know a token, in the order of REALTIME_AUTH, and what holds for whoever they know."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from realtime.core.access.keys import looks_like
from realtime.core.access.principal import Principal
from realtime.core.access.tokens import check_size, refused
from realtime.ports import Authenticator, Revocations


class Closable(Authenticator, Protocol):
    """One that has something to end."""

    async def close(self) -> None: ...


class Chain:
    """The `Authenticator` of a service. A key is told from a token by its prefix, so each has one that decides it."""

    def __init__(
        self,
        authenticators: Mapping[str, Closable],
        revocations: Revocations,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`authenticators` by their names in REALTIME_AUTH."""
        self._authenticators = authenticators
        self._revocations = revocations
        self._clock = clock

    async def authenticate(self, token: str) -> Principal:
        """Who asks, who is neither expired nor revoked."""
        principal = await self._known(token)
        check(principal, self._revocations, self._clock())
        return principal

    async def close(self) -> None:
        """Nobody comes any more."""
        for one in self._authenticators.values():
            await one.close()

    async def _known(self, token: str) -> Principal:
        check_size(token)
        name = "keys" if looks_like(token) else "jwt"
        chosen = self._authenticators.get(name)
        if chosen is None:
            what = "a key, and keys are" if name == "keys" else "no key, and tokens are"
            raise refused("not_taken", f"this is {what} not taken here (REALTIME_AUTH)")
        return await chosen.authenticate(token)


def check(principal: Principal, revocations: Revocations, now: float) -> None:
    """`UnauthenticatedError` for a principal that has ended, `UnavailableError` where that cannot be known."""
    if principal.expired(now):
        raise refused("expired", "the token has expired")
    reason = revocations.refused(principal)
    if reason is not None:
        raise refused(reason, "the token, the key or all of this user's were revoked")
