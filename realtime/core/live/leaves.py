"""Which documents somebody who was away may have held and is to let go, where rules let nobody be told of others.

What a group told its subscribers to let go it remembers for a while. Where it was not there yet, what happened to a
document may still say that it was not held before: it was inserted since, or nothing that decides about it was touched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum

from realtime.core.live.events import ChangeEvent
from realtime.core.live.journal import Entry
from realtime.core.mql.filters import Filter

MOST = 10_000
"""Of the leaves that a group remembers."""


class Leaves:
    """The last of a group, all of those after `since`."""

    __slots__ = ("_told", "since")

    def __init__(self) -> None:
        self.since = 0
        self._told: deque[tuple[int, str]] = deque()

    def begin(self, time: int) -> None:
        """From this time on it is known what is told, and before it nothing."""
        self.since = time
        self._told.clear()

    def note(self, names: Iterable[str], time: int) -> None:
        """The moment at this time lets these go."""
        for name in names:
            self._told.append((time, name))
        while len(self._told) > MOST:
            self.since = self._told.popleft()[0]

    def after(self, time: int) -> set[str] | None:
        """Those that were told to go after this time; None: that is not known."""
        return {name for told, name in self._told if told > time} if time >= self.since else None


def unheld(selection: Filter, entries: Iterable[Entry], collection: str, after: int) -> set[str]:
    """Of the documents that changed after a time and do not match now: those that did not match then either."""
    found: dict[str, _Was] = {}
    for entry in entries:
        for event in entry.whole(lambda name: name == collection).settled.events.get(collection, ()):
            if event.time <= after or event.identity is None:
                continue
            known = found.get(event.identity)
            if known is None:
                found[event.identity] = _before(event, selection)
            elif known is _Was.AS_NOW and _decides(event, selection):
                found[event.identity] = _Was.UNKNOWN
    return {name for name, was in found.items() if was in {_Was.OUT, _Was.AS_NOW}}


class _Was(Enum):
    """What is known of a document before the first event of it: whether it matched."""

    OUT = "out"
    IN = "in"
    AS_NOW = "as now"
    UNKNOWN = "unknown"


def _before(event: ChangeEvent, selection: Filter) -> _Was:
    if event.op == "insert":
        return _Was.OUT
    if event.before is not None:
        return _Was.IN if selection.matches(event.before) else _Was.OUT
    return _Was.UNKNOWN if _decides(event, selection) else _Was.AS_NOW


def _decides(event: ChangeEvent, selection: Filter) -> bool:
    """Whether the event may have changed whether the document matches."""
    return event.op != "update" or selection.reads(frozenset((*event.updated, *event.removed)))
