"""What to do about an error of the change stream: one pure, total function (docs/faults.md, section 1)."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

HISTORY_LOST = frozenset({286, 280, 260, 136, 40585, 40615})
POISON = frozenset({10334})
CONFIGURATION = frozenset({40573, 123, 13, 18, 8000, 20, 72, 73, 166, 40324, 40415})


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
