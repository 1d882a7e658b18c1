"""Revocations as they stand: the documents of `realtime_revocations`, followed over the hub as any live query is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from realtime import metrics
from realtime.core.access.principal import Ended, Principal
from realtime.core.access.revoked import Revocation, Revoked
from realtime.core.wire.reserved_names import REVOCATIONS
from realtime.errors import UnavailableError
from realtime.hub.hub import Hub
from realtime.hub.own import OwnQuery

log = logging.getLogger("realtime.access")

RETRY_AFTER_SECONDS = 1.0


class FollowedRevocations:
    """The `Revocations` of a service. `fresh`: whether the change stream is being read, as far as can be told now."""

    def __init__(self, hub: Hub, fresh: Callable[[], bool]) -> None:
        self._fresh = fresh
        self._revoked = Revoked()
        self._known = False
        self._tell: Callable[[Ended], None] | None = None
        self._query = OwnQuery(hub, REVOCATIONS, self)

    def begin(self) -> None:
        """Read them. Until that is done nobody is let in."""
        self._query.begin()

    def close(self) -> None:
        """Follow them no longer."""
        self._query.close()

    # ---------------------------------------------------------------------------------------- the port `Revocations`

    def refused(self, principal: Principal) -> str | None:
        """Why this principal is not to be let in, or None. `UnavailableError` where that is not known."""
        if not (self._known and self._fresh()):
            raise UnavailableError("revocations cannot be read just now", retry_after=RETRY_AFTER_SECONDS)
        return self._revoked.reason(principal)

    def on_revoked(self, tell: Callable[[Ended], None]) -> None:
        """`tell` is called with a predicate whenever principals may have ended."""
        self._tell = tell

    def act_now(self, revocation: Revocation) -> None:
        """One that was just written by this process: it need not come by the change stream first."""
        self._say(revocation.ends)

    # ------------------------------------------------------------------------------------ as the query's `Follower`

    def whole(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """All of them were read."""
        self._revoked = Revoked()
        for name, document in documents.items():
            self._put(name, document)
        self._known = True
        metrics.REVOCATIONS.set(len(self._revoked))
        # Whoever was let in before may have ended meanwhile.
        self._say(self._has_ended)

    def changed(self, changes: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Those of one moment."""
        ending: list[Revocation] = []
        for name, document in changes.items():
            if document is None:
                self._revoked.remove(name)
            else:
                ending += self._put(name, document)
        metrics.REVOCATIONS.set(len(self._revoked))
        if ending:
            self._say(lambda principal: any(one.ends(principal) for one in ending))

    def unknown(self) -> None:
        """They cannot be known until they are read again."""
        self._known = False

    def _put(self, name: str, document: Mapping[str, Any]) -> tuple[Revocation, ...]:
        found = self._revoked.put(name, document)
        if not found:
            log.warning(
                "a document of %s revokes nothing: it has none of sub, jti and key as text (_id %s)", REVOCATIONS, name
            )
        return found

    def _has_ended(self, principal: Principal) -> bool:
        return self._revoked.reason(principal) is not None

    def _say(self, ended: Ended) -> None:
        if self._tell is not None:
            self._tell(ended)
