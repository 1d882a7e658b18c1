"""The judge of "exactly the rest": what whoever resumes after a finished run still has to be told. Not `realtime`'s.

The checker compares states; for every position of a run that is quadratic and slow. Here everything that does not
depend on the position is worked out once, and each frame is compared as it comes, event by event, in order. It tells
that something is wrong and where; the checker, given the same frames, tells what.

Nothing may be written while clients resume, so that everybody's end is the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable

from tests.checker import Frame, whole
from tests.truth import Document, Truth, Write, name_of, time_of


class NotTheRestError(AssertionError):
    """What came is not exactly what was still to come."""


class Run:
    """A finished run on one collection: its events in order, and what became of each document."""

    def __init__(self, truth: Truth, collection: str, shows: Callable[[Document], Document] = whole) -> None:
        self.truth, self.collection, self.shows = truth, collection, shows
        self.writes = [write for write in truth.writes if write.collection == collection]
        self.times = [write.time for write in self.writes]
        self.shown = [None if write.document is None else shows(write.document) for write in self.writes]
        self.names = [name_of(write.key) for write in self.writes]
        self.last = self.times[-1]
        self.touched = dict(zip(self.names, self.times, strict=True))
        self.final = {name: shows(document) for name, document in truth.at(collection, self.last).items()}
        self._touches = sorted(self.touched.values())
        self.figures: Counter[str] = Counter()

    def touched_after(self, time: int) -> int:
        """How many documents changed after a time."""
        return len(self._touches) - bisect_right(self._touches, time)


class Resumed:
    """One subscription that resumed after a position; `whole` once it is live and everything was right."""

    def __init__(self, run: Run, after: str) -> None:
        self.run, self.after = run, after
        self.start = time_of(after)
        self.position = after
        self.recovered = self.whole = False

    def take(self, frame: Frame) -> None:
        """The next frame of this subscription; `NotTheRestError` where it is not what must come."""
        kind = frame["type"]
        if self.whole or (kind != "subscribed" and not self.recovered):
            self.refuse(f"{kind} at a wrong time", frame)
        if kind == "subscribed":
            self.recovered = frame["recovered"]
        elif kind == "live":
            self._reach(frame)
            if time_of(self.position) < self.run.last:
                self.refuse("live before the end", frame)
            self.ends(frame)
            self.whole = True
            self.run.figures["resumed"] += 1
        elif kind == self.entries:
            self.entered(frame)
        else:
            self.refuse(f"a {kind}", frame)

    entries = ""

    def entered(self, frame: Frame) -> None:
        """Take events or changes."""
        raise NotImplementedError

    def ends(self, frame: Frame) -> None:
        """Everything must have come."""
        raise NotImplementedError

    def _reach(self, frame: Frame) -> None:
        if frame["position"] < self.position:
            self.refuse(f"a position before {self.position}", frame)
        self.position = frame["position"]

    def refuse(self, reason: str, frame: Frame) -> None:
        raise NotTheRestError(f"after {self.after}: {reason}: {str(frame)[:300]}")


class ResumedEvents(Resumed):
    """Events mode: the events after the position, each once, in order, by whole moments."""

    entries = "events"

    def __init__(self, run: Run, after: str) -> None:
        super().__init__(run, after)
        self.next = bisect_right(run.times, self.start)

    def entered(self, frame: Frame) -> None:
        writes, index, epoch = self.run.writes, self.next, self.after[:9]
        for event in frame["events"]:
            if index == len(writes):
                self.refuse("one event too many", event)
            write = writes[index]
            if event["key"] != write.key or event["op"] != write.op:
                self.refuse(f"not {write}", event)
            if event["position"] != f"{epoch}{write.time:016X}":
                self.refuse(f"not at {write.time:016X}", event)
            if write.document is not None:
                self._compare(event, write, index)
            index += 1
        self.run.figures["told"] += index - self.next
        self.next = index
        if "position" in frame:
            self._reach(frame)
            now = time_of(self.position)
            if self.run.times[index - 1] > now or (index < len(writes) and writes[index].time <= now):
                self.refuse("half of a moment", frame)

    def _compare(self, event: Frame, write: Write, index: int) -> None:
        run = self.run
        if "document" not in event:
            if write.op != "update" or not run.truth.gone_after(run.collection, run.names[index], write.time):
                self.refuse("partial without cause", event)
            return
        expected = run.shown[index]
        if "as_of" in event:
            as_of = time_of(event["as_of"])
            if write.op != "update" or as_of < write.time:
                self.refuse("a document of another time", event)
            expected = run.final.get(run.names[index]) if as_of >= run.last else self._state(index, as_of)
        if event["document"] != expected:
            self.refuse(f"not {expected}", event)

    def _state(self, index: int, time: int) -> Document | None:
        state = self.run.truth.state(self.run.collection, self.run.names[index], time)
        return None if state is None else self.run.shows(state)

    def ends(self, frame: Frame) -> None:
        if self.next != len(self.run.writes):
            self.refuse(f"{len(self.run.writes) - self.next} events were never told", frame)


class ResumedQuery(Resumed):
    """Query mode: the documents that changed after the position, each once, as they are now; and no other."""

    entries = "changes"

    def __init__(self, run: Run, after: str) -> None:
        super().__init__(run, after)
        self.named: set[str] = set()

    def entered(self, frame: Frame) -> None:
        touched, final, start, named = self.run.touched, self.run.final, self.start, self.named
        before = len(named)
        for change in frame["changes"]:
            name = name_of(change["key"])
            if touched.get(name, 0) <= start:
                self.refuse("not changed since", change)
            if change.get("document") != final.get(name) or change["op"] != ("update" if name in final else "leave"):
                self.refuse(f"not {final.get(name)}", change)
            named.add(name)
        if len(named) != before + len(frame["changes"]):
            self.refuse("a document twice", frame)
        self.run.figures["changes"] += len(frame["changes"])
        if "position" in frame:
            self._reach(frame)

    def ends(self, frame: Frame) -> None:
        if len(self.named) != self.run.touched_after(self.start):
            self.refuse(f"{self.run.touched_after(self.start) - len(self.named)} documents were never told", frame)
