"""What to do about an error of the change stream: one pure, total function (docs/faults.md, section 1)."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

HISTORY_LOST = frozenset({286, 280, 260, 136, 40585, 40615})
POISON = frozenset({10334})
CONFIGURATION = frozenset({40573, 123, 13, 18, 8000, 20, 72, 73, 166, 40324, 40415})
PASSING = frozenset({43, 50, 91, 189, 10107, 11600, 11602, 13435, 13436})
"""Elections and shutdowns (class A): as long as it takes."""
MOST_REFUSALS, WITHIN_SECONDS = 5, 60.0
"""What comes back so often without progress is not mended by trying again soon."""


class Action(Enum):
    """How the feed goes on."""

    REOPEN = "reopen"
    """The token is good: open again after it, with backoff."""
    HISTORY_LOST = "history lost"
    """The token leads nowhere: open at now and say that something is missing."""
    STEP_OVER = "step over"
    """One event is too large: read it without images, then go on as before."""
    CONFIGURATION = "configuration"
    """Retrying does not mend it: one clear line, slow retry."""


def action_for(code: int | None, labels: Collection[str] = ()) -> Action:
    """The action for a server error code and its labels; `code` None is an error of the network."""
    if code is None or "ResumableChangeStreamError" in labels:
        return Action.REOPEN
    if code in HISTORY_LOST:
        return Action.HISTORY_LOST
    if code in POISON:
        return Action.STEP_OVER
    if code in CONFIGURATION:
        return Action.CONFIGURATION
    return Action.REOPEN


class Patience:
    """Counts what is in no other class (B): five in a minute without progress are a matter of configuration (E)."""

    def __init__(self) -> None:
        self._refused: list[float] = []

    def action(self, code: int | None, labels: Collection[str], now: float) -> Action:
        """As `action_for`; `now` in seconds of any clock that does not go back."""
        action = action_for(code, labels)
        if action is not Action.REOPEN or code is None or code in PASSING or "ResumableChangeStreamError" in labels:
            return action
        self._refused = [time for time in self._refused if now - time < WITHIN_SECONDS] + [now]
        return Action.CONFIGURATION if len(self._refused) >= MOST_REFUSALS else action

    def went_on(self) -> None:
        """The stream brought something: whatever it was has passed."""
        self._refused.clear()
