"""Who a connection is of: nobody yet, somebody, or that is being decided while its next frames wait.

Pure: tokens go by unread, and what they say is somebody else's to find out (`realtime.ports.Authenticator`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from realtime.core.access.principal import Principal
from realtime.core.wire.closing import CLOSE_UNAUTHENTICATED, CLOSE_UNAVAILABLE
from realtime.errors import ForbiddenError, InvalidRequestError, ServiceError, UnauthenticatedError

WAITING_FRAMES, WAITING_BYTES = 16, 64 * 1024
"""Frames that wait for an `auth` before them to be decided; over either nothing more is read from the connection."""
NOBODY_BYTES = WAITING_BYTES
"""The largest frame of a connection of nobody: a token has 8 KiB at most, and nothing else is taken of it."""
PATIENCE_SECONDS = 10.0
"""How long a connection that has to show a token may go without."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ends that was not let in: its close code, and the code word that goes with it."""

    code: int
    reason: str


class Admission:
    """`principal` None: nobody yet. `asked`: tokens are asked for at all; where they are not, everybody is somebody."""

    __slots__ = ("_size", "_waiting", "asked", "deciding", "principal")

    def __init__(self, principal: Principal | None, *, asked: bool) -> None:
        self.principal = principal
        self.asked = asked
        self.deciding = False
        self._waiting: deque[str | bytes] | None = None
        self._size = 0

    @property
    def crowded(self) -> bool:
        """Whether nothing more is to be read until the `auth` that all wait for is decided."""
        return self._size >= WAITING_BYTES or (self._waiting is not None and len(self._waiting) >= WAITING_FRAMES)

    def largest(self, limit: int) -> int:
        """Bytes of the largest frame that is taken, `limit` being that of somebody's connection."""
        return min(limit, NOBODY_BYTES) if self.principal is None and not self.deciding else limit

    def hold(self, frame: str | bytes) -> None:
        """A frame that came while an `auth` before it is decided."""
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(frame)
        self._size += len(frame)

    def release(self) -> str | bytes | None:
        """The next frame that waited, which its sender meant to be the new principal's; None: none, or not yet."""
        if self.deciding or not self._waiting:
            return None
        frame = self._waiting.popleft()
        self._size -= len(frame)
        if not self._waiting:
            self._waiting = None
        return frame

    def clear(self) -> None:
        """The connection ends: what waits is of no interest."""
        self._waiting = None
        self._size = 0

    def ask(self) -> None:
        """An `auth` came: what it says is to be found out. `InvalidRequestError` where nobody is asked for one."""
        if not self.asked:
            raise InvalidRequestError(
                "auth: this service asks nobody who they are (REALTIME_AUTH=none); everyone is anonymous"
            )
        self.deciding = True

    def check(self) -> None:
        """`UnauthenticatedError` while it is of nobody."""
        if self.principal is None:
            raise UnauthenticatedError("who asks? Send an auth frame with a token first")

    def admit(self, principal: Principal, now: float) -> None:
        """An `auth` told who they are, `now` being unix seconds. Raises where it does not change who that is.

        A connection stays with who it began as: what one was sent is not to be taken up as another.
        """
        self.deciding = False
        if principal.expired(now):
            raise UnauthenticatedError("the token has expired: get a new one", reason="expired")
        if self.principal is not None and principal.sub != self.principal.sub:
            raise ForbiddenError("auth: the token is of somebody else than this connection: open another one for them")
        self.principal = principal

    def refuse(self, error: ServiceError) -> Ending | None:
        """An `auth` failed. None: the connection goes on as who it was; else how it ends."""
        self.deciding = False
        return None if self.principal is not None else ending(error)


def ending(error: ServiceError) -> Ending:
    """How a connection of nobody ends by this error."""
    if error.retry:
        return Ending(CLOSE_UNAVAILABLE, "unavailable")
    return Ending(CLOSE_UNAUTHENTICATED, "unauthenticated")
