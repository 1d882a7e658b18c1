"""Recent history, bounded: what was dispatched, with the images it was completed with; replay after a position.

The journal knows everything after `start`. It is bounded in bytes and in seconds since an entry came into memory; while
somebody waits for what follows a time (`hold`), nothing after that time is trimmed, so that what was read back for them
is still there when they look. The clock is the caller's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from realtime.core.live.events import Batch, ChangeEvent
from realtime.core.live.judging import After
from realtime.core.live.moments import Settled, Touch, opened, settle, touched_by

Images = Mapping[str, Mapping[str, dict[str, Any] | None]]
"""Documents by collection and identity, at the entry's time; None: gone."""
Late = dict[tuple[str, str | None], tuple[int, dict[str, Any] | None]]
"""Collection and identity to the time of the read and the document; None: gone."""
Since = dict[tuple[str, str | None], frozenset[str] | None]
"""Collection and identity to the paths that were touched between the entry and the read of `Late`; None: the whole
document may be another one. What is not in here is not known."""
ENTRY_BYTES = 200
"""What an entry costs beside its events."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A dispatched batch. `late` are documents read when somebody resumed, each with the later time of its read."""

    settled: Settled
    images: Images = field(default_factory=dict)
    late: Late = field(default_factory=dict)
    since: Since = field(default_factory=dict)

    @property
    def time(self) -> int:
        """Everything at or before is in here, or in an entry before it."""
        return self.settled.time

    @property
    def size(self) -> int:
        """Bytes of BSON, roughly: an image counts as the event that asked for it."""
        return ENTRY_BYTES + sum(event.size for event in self.settled.order)

    def whole(self, wanted: Callable[[str], bool]) -> Entry:
        """The entry with its events of these collections whole; itself where they are. `late` is the same."""
        settled = self.settled
        batch = Batch(settled.order, settled.time, settled.lost)
        found = opened(batch, wanted)
        return self if found is batch else Entry(settle(found), self.images, self.late, self.since)

    def image(self, event: ChangeEvent) -> tuple[int, dict[str, Any] | None]:
        """The document of an update that carries none, and the time at which it was that."""
        touch = self._exact(event)
        if touch is not None:
            return self.time, touch.document
        images = self.images.get(event.collection, {})
        if event.identity is not None and event.identity in images:
            return self.time, images[event.identity]
        return self.late.get((event.collection, event.identity), (self.time, None))

    def after(self, event: ChangeEvent) -> After:
        """The document of an event as it is known best, and what may have happened to it since."""
        if event.document is not None:
            return After(event.time, event.document)
        time, document = self.image(event)
        since = self.settled.since(event)
        if document is not None and (event.collection, event.identity) in self.late and time > self.time:
            later = self.since.get((event.collection, event.identity))
            since = None if since is None or later is None else since | later
        return After(time, document, since)

    def lacks(self, event: ChangeEvent) -> bool:
        """Whether this event's document is neither in the batch nor in the images."""
        if event.op != "update" or event.document is not None or self._exact(event) is not None:
            return False
        if event.identity in self.images.get(event.collection, {}):
            return False
        return (event.collection, event.identity) not in self.late

    def _exact(self, event: ChangeEvent) -> Touch | None:
        """The document's state at the end of the batch, where a later event of the batch tells it."""
        touch = self.settled.touches.get(event.collection, {}).get(event.identity or "")
        known = touch is not None and touch.exact and not self.settled.was_replaced(event.collection)
        return touch if known else None


def follow(entries: Sequence[Entry]) -> None:
    """Note in each entry what was touched of its late documents until they were read.

    `entries` are in order, and reach to the last of these reads.
    """
    names = {name for entry in entries for name, _ in entry.late}
    later: dict[tuple[str, str | None], list[tuple[int, frozenset[str] | None]]] = {}
    anew: dict[str, list[int]] = {}
    for entry in reversed(entries):
        for place, (read, _) in entry.late.items():
            if place not in entry.since:
                found = [paths for time, paths in later.get(place, ()) if time <= read]
                found += [None for time in anew.get(place[0], ()) if time <= read]
                entry.since[place] = _together(found)
        settled = entry.whole(names.__contains__).settled
        for name in names:
            for event in settled.events.get(name, ()):
                later.setdefault((name, event.identity), []).append((event.time, touched_by(event)))
            if settled.order and (settled.was_replaced(name) or settled.was_stepped_over(name)):
                # When in the entry is not looked for: whatever was read at or after its first event is another's.
                anew.setdefault(name, []).append(settled.order[0].time)


def _together(found: Sequence[frozenset[str] | None]) -> frozenset[str] | None:
    known = [paths for paths in found if paths is not None]
    return frozenset().union(*known) if len(known) == len(found) else None


class Journal:
    """Entries in order, everything after `start`."""

    def __init__(self, start: int, *, max_bytes: int, max_seconds: float) -> None:
        self.start = start
        self.max_bytes = max_bytes
        self.max_seconds = max_seconds
        self.size = 0
        self._held: list[int] = []
        self._entries: deque[tuple[float, Entry]] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Entry, now: float) -> None:
        """Take what was just dispatched."""
        if entry.settled.lost:
            # What came before cannot be told any more, and must not be taken for whole.
            self.begin(entry.time)
            return
        if entry.settled.order:
            self._entries.append((now, entry))
            self.size += entry.size
        self.trim(now)

    def prepend(self, entries: Iterable[Entry], start: int, until: int, now: float) -> bool:
        """Take what was read back: everything after `start` up to `until`; False where that leaves a gap."""
        if until < self.start:
            return False
        older = [(now, entry) for entry in entries if entry.time <= self.start]
        self._entries.extendleft(reversed(older))
        self.size += sum(entry.size for _, entry in older)
        self.start = min(self.start, start)
        return True

    def begin(self, time: int) -> None:
        """Forget everything; from `time` on it will be whole."""
        self._entries.clear()
        self.size, self.start = 0, time

    def after(self, time: int) -> list[Entry] | None:
        """The entries with events after `time`, oldest first; None where the journal does not reach back that far."""
        if time < self.start:
            return None
        return [entry for _, entry in self._entries if entry.time > time]

    def hold(self, time: int) -> None:
        """Somebody waits for what follows `time`: trim nothing of it until `release`."""
        self._held.append(time)

    def release(self, time: int, now: float) -> None:
        """One fewer waits for that."""
        self._held.remove(time)
        self.trim(now)

    def trim(self, now: float) -> None:
        """Keep within the bounds."""
        needed: int | None = None
        while self._entries:
            since, entry = self._entries[0]
            if self.size <= self.max_bytes and now - since <= self.max_seconds:
                return
            if self._held and needed is None:
                needed = min(self._held)
            if needed is not None and entry.time > needed:
                return
            self._entries.popleft()
            self.size -= entry.size
            self.start = entry.time
