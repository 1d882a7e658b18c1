"""What to do about an error of the change stream: one pure, total function (docs/faults.md, section 1)."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

HISTORY_LOST = frozenset({286, 280, 260, 136, 40585, 40615})
POISON = frozenset({10334})
CONFIGURATION = frozenset({40573, 123, 13, 18, 8000, 20, 72, 73, 166, 40324, 40415})
PASSING = frozenset({43, 50, 91, 189, 10107, 11600, 11602, 13435, 13436})
"""Elections and shutdowns (class A): as long as it takes."""
SPLIT_REFUSED = frozenset({7182500}) | CONFIGURATION
"""While large events are asked for in fragments: MongoDB has no such stage (40324), or cannot split the event, because
one of its fields has no room in a fragment. Other refusals come again without the stage."""
MOST_REFUSALS, WITHIN_SECONDS = 5, 60.0
"""What comes back so often without progress is not mended by trying again soon."""


class Action(Enum):
    """How the feed goes on."""

    REOPEN = "reopen"
    """The token is good: open again after it, with backoff."""
    HISTORY_LOST = "history lost"
    """The token leads nowhere: open at now and say that something is missing."""
    STEP_OVER = "step over"
    """One event is too large: read more carefully until it is behind."""
    CONFIGURATION = "configuration"
    """Retrying does not mend it: one clear line, slow retry."""


class Care(Enum):
    """How carefully the stream is read: at an event that is too large for a reply, more and more."""

    NONE = 0
    SPLIT = 1
    """Large events in fragments, where MongoDB can."""
    ONE_BY_ONE = 2
    """The events before the one that is too large."""
    WITHOUT_IMAGES = 3
    """That one event."""
    BARE = 4
    """Of that event only what names it: where it happened, and when."""
    WITHOUT_LONG_KEYS = 5
    """Past it: MongoDB leaves out what has a key longer than may be written from here."""

    def more(self, *, split: bool) -> Care:
        """The next step; `split`: whether MongoDB may be asked to split."""
        if self is Care.NONE:
            return Care.SPLIT if split else Care.ONE_BY_ONE
        return Care(min(self.value + 1, Care.WITHOUT_LONG_KEYS.value))

    @property
    def of_one(self) -> bool:
        """Whether it is for one event alone: what comes after that is read as ever."""
        return self.value >= Care.WITHOUT_IMAGES.value


def action_for(code: int | None, labels: Collection[str] = (), care: Care = Care.NONE) -> Action:
    """The action for a server error code and its labels; `code` None is an error of the network."""
    if code is None or "ResumableChangeStreamError" in labels:
        return Action.REOPEN
    if care is Care.SPLIT and code in SPLIT_REFUSED:
        return Action.STEP_OVER
    if code in HISTORY_LOST:
        return Action.HISTORY_LOST
    if code in POISON:
        # Past the last step there is only what comes from now on.
        return Action.HISTORY_LOST if care is Care.WITHOUT_LONG_KEYS else Action.STEP_OVER
    if code in CONFIGURATION:
        return Action.CONFIGURATION
    return Action.REOPEN


MOST_CLOSINGS = 6
"""At one place, before they are more than chance: a line that breaks now and then must cost nobody anything."""


class Closings:
    """Counts connections that a MongoDB in good health closed in place of an answer.

    6.0.5 does so where the answer would be too large. From the same place it would be the same again.
    """

    def __init__(self) -> None:
        self._at: tuple[int, Care] | None = None
        self._count = 0

    def action(self, time: int, care: Care) -> Action:
        """What to do about one more at this cluster time and with this care."""
        if self._at != (time, care):
            self._at, self._count = (time, care), 0
        self._count += 1
        # Once there is reason to go on one is enough, but not where it costs an event what it says.
        if self._count < (MOST_CLOSINGS if care is Care.NONE else 2 if care.value >= Care.BARE.value else 1):
            return Action.REOPEN
        self._count = 0
        return Action.HISTORY_LOST if care is Care.WITHOUT_LONG_KEYS else Action.STEP_OVER


class Patience:
    """Counts what is in no other class (B): five in a minute without progress are a matter of configuration (E)."""

    def __init__(self) -> None:
        self._refused: list[float] = []

    def action(self, code: int | None, labels: Collection[str], now: float, care: Care = Care.NONE) -> Action:
        """As `action_for`; `now` in seconds of any clock that does not go back."""
        action = action_for(code, labels, care)
        if action is not Action.REOPEN or code is None or code in PASSING or "ResumableChangeStreamError" in labels:
            return action
        self._refused = [time for time in self._refused if now - time < WITHIN_SECONDS] + [now]
        return Action.CONFIGURATION if len(self._refused) >= MOST_REFUSALS else action

    def went_on(self) -> None:
        """The stream brought something: whatever it was has passed."""
        self._refused.clear()
