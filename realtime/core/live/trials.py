"""How often something failed in a row: a group may fail once and be read again, a position twice and be read again."""

from __future__ import annotations

from collections.abc import Hashable


class Trials:
    """Failures in a row of whatever is named, `most` of which it may have."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.failing: dict[Hashable, int] = {}
        """What has failed and has not passed since, and how often. Empty nearly always, which costs nothing to see."""

    def failed(self, what: Hashable) -> bool:
        """Count one more; whether there are as many as it may have."""
        self.failing[what] = count = self.failing.get(what, 0) + 1
        return count >= self.most

    def count(self, what: Hashable) -> int:
        """How often it has failed in a row."""
        return self.failing.get(what, 0)

    def passed(self, what: Hashable) -> None:
        """It went well, or is gone: whatever comes is the first failure again."""
        self.failing.pop(what, None)
