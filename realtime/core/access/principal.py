"""Who asks. A principal is no part of a query's key: all who ask the same share one query group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

MAX_TOKEN_BYTES = 8192
"""Of a token or a key, before anything looks into it."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, from when they are known to be who they are, and until when. Times are in unix seconds.

    `expires` None: until it is revoked. `issued` None: not known, and then a revocation of `sub` ends it whenever it
    came. `jti` and `key` name the token or the key it came by, where that has a name, and so what may be revoked.
    """

    sub: str
    roles: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    expires: float | None = None
    issued: float | None = None
    jti: str | None = None
    key: str | None = None

    def expired(self, now: float) -> bool:
        """Whether its time is over, `now` being unix seconds."""
        return self.expires is not None and now >= self.expires

    def may_as(self, other: Principal) -> bool:
        """Whether roles and claims are the same; by their text too, since to Python `True` is 1."""
        alike = (self.roles, self.claims) == (other.roles, other.claims)
        return alike and repr(dict(self.claims)) == repr(dict(other.claims))


Ended = Callable[[Principal], bool]
"""Of a principal that was let in: whether it no longer is one."""

ANONYMOUS = Principal("anonymous")
"""Everybody, where nobody is asked who they are."""
