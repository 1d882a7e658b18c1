"""How a change stream stands against its cluster's own clock and its oplog. Times are cluster times, figures seconds.

That no exception came says nothing: with the majority of the members gone a stream stays open and silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

LOOK_SECONDS, AGAIN_SECONDS = 1.5, 1.3
"""Between two looks; and after one that found the stream standing, which is longer than a stream's await."""
SILENT_SECONDS = 5
"""Behind the cluster's clock and not moving: something holds the stream up that raises no error."""
WARN_AT, ERROR_AT = 0.25, 0.5
"""Shares of the oplog's window that the service is behind."""


class Grade(Enum):
    """How far behind, measured by what is left until history is lost."""

    FINE = "fine"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Instant:
    """Cluster times: now, and the oldest entry of the oplog (None where the account may not read it)."""

    time: int
    oldest: int | None


@dataclass(slots=True)
class Standing:
    """What the last look showed. `window` and `left` are None where the account may not read the oplog.

    An oplog whose beginning has never moved is not full: nothing is lost however far behind the service is.
    """

    stream: int = 0
    lag: int = 0
    window: int | None = None
    left: int | None = None
    silent: bool = False
    suspect: bool = False
    """The clock has gone on and the stream has not, at this look: worth another one soon, and no verdict.

    MongoDB's own entry of every 10 s is in the oplog for up to an await of the stream before the stream tells of it.
    """
    grade: Grade = Grade.FINE
    began: int | None = None
    """Where the oplog began at the first look."""

    @property
    def next_look(self) -> float:
        """In so many seconds."""
        return AGAIN_SECONDS if self.suspect else LOOK_SECONDS

    def look(self, *, cluster: int, stream: int, oldest: int | None) -> None:
        """The cluster's clock, what has been dispatched, and where the oplog begins, all at about the same moment."""
        self.lag = max(0, (cluster >> 32) - (stream >> 32))
        stands = self.lag >= SILENT_SECONDS and stream == self.stream
        self.silent, self.suspect = stands and self.suspect, stands
        self.stream = stream
        if oldest is None:
            self.window, self.left = None, None
            self.grade = Grade.FINE
            return
        self.window = max(0, (cluster >> 32) - (oldest >> 32))
        self.began = oldest if self.began is None else self.began
        rolls = oldest != self.began
        self.left = max(0, self.window - self.lag) if rolls else self.window
        self.grade = _grade(self.lag, self.window) if rolls else Grade.FINE


def _grade(lag: int, window: int) -> Grade:
    """A lag of seconds is none, however young the oplog is."""
    if lag < SILENT_SECONDS or lag < window * WARN_AT:
        return Grade.FINE
    return Grade.WARNING if lag < window * ERROR_AT else Grade.ERROR


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """`up`, or not and why."""

    up: bool
    reason: str | None = None
    seconds: float = 0
    """How long ago it began."""
