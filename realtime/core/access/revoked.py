"""Revocations: which principals have ended before their time, by the documents of `realtime_revocations`."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from realtime.core.access.principal import Principal

Kind = Literal["sub", "jti", "key"]
KINDS: tuple[Kind, ...] = ("sub", "jti", "key")


@dataclass(frozen=True, slots=True)
class Revocation:
    """One that says who has ended. Of `sub` what was issued up to `at` (unix seconds); of the others everything."""

    kind: Kind
    value: str
    at: float = math.inf

    def ends(self, principal: Principal) -> bool:
        """Whether it is about this principal."""
        if self.kind != "sub":
            return bool(self.value == getattr(principal, self.kind))
        return self.value == principal.sub and (principal.issued is None or principal.issued <= self.at)


def revocation_of(at: float, *, sub: str | None, jti: str | None, key: str | None) -> Revocation | None:
    """The one that is named, as of unix second `at`; None unless it is exactly one."""
    named = [
        *([Revocation("sub", sub, at)] if sub else []),
        *([Revocation("jti", jti, at)] if jti else []),
        *([Revocation("key", key, at)] if key else []),
    ]
    return named[0] if len(named) == 1 else None


def read(document: Mapping[str, Any]) -> tuple[Revocation, ...]:
    """What a stored document revokes: one field or several of `sub`, `jti` and `key`, and `at`, a date.

    Without a readable `at` it ends everything of a `sub`, whenever that was issued. Empty for a document that names
    nobody.
    """
    said = document.get("at")
    at = said.timestamp() if isinstance(said, dt.datetime) else math.inf
    return tuple(Revocation(kind, document[kind], at) for kind in KINDS if isinstance(document.get(kind), str))


class Revoked:
    """All revocations, by document, and found by what they name. The newest of several of one `sub` counts."""

    def __init__(self) -> None:
        self._by_document: dict[str, tuple[Revocation, ...]] = {}
        self._named: dict[tuple[Kind, str], dict[str, float]] = {}

    def __len__(self) -> int:
        return len(self._by_document)

    def put(self, identity: str, document: Mapping[str, Any]) -> tuple[Revocation, ...]:
        """Take in a document, as it is from now on; what it revokes."""
        self.remove(identity)
        found = read(document)
        self._by_document[identity] = found
        for one in found:
            self._named.setdefault((one.kind, one.value), {})[identity] = one.at
        return found

    def remove(self, identity: str) -> None:
        """The document is gone, and with it what it revoked."""
        for one in self._by_document.pop(identity, ()):
            named = self._named[one.kind, one.value]
            del named[identity]
            if not named:
                del self._named[one.kind, one.value]

    def reason(self, principal: Principal) -> str | None:
        """`revoked` where one of them ends this principal, else None."""
        if principal.jti is not None and ("jti", principal.jti) in self._named:
            return "revoked"
        if principal.key is not None and ("key", principal.key) in self._named:
            return "revoked"
        named = self._named.get(("sub", principal.sub))
        if named is None:
            return None
        return "revoked" if principal.issued is None or principal.issued <= max(named.values()) else None
