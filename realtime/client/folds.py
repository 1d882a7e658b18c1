"""Frames of one subscription folded into what a program sees: a view with its moments, or a list of events. Pure.

PROTOCOL 4.3 is the rule. A fold outlives connections: `lost` keeps what was shown, `request` says how to go on.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Literal

from realtime.client.records import Change, Document, Event, Moment, State
from realtime.client.rows import Rows, is_ordered, text_of

Frame = dict[str, Any]
Need = Literal["again", "pause"]
"""What a fold asks of the connection: subscribe afresh; or stop until its consumer has caught up."""
OPS = frozenset({"enter", "update", "leave"})
MOMENT_CHANGES = 10_000
"""Changes kept for a consumer of moments; what is over it comes as one merged moment."""


class Fold:
    """What both modes share: which frames concern the subscription, and moments of several frames put together."""

    entries: str

    def __init__(self, asked: Frame) -> None:
        self.asked = asked
        self.channel: int | None = None
        self.live_from: str | None = None
        self._parts: dict[bool, list[Any]] = {True: [], False: []}
        self._sizes = {True: 0, False: 0}

    def request(self) -> Frame:
        """The fields of the `subscribe` frame that goes on from here."""
        raise NotImplementedError

    def take(self, frame: Frame, size: int = 0) -> Need | None:
        """A frame that names this subscription, by its id or by its channel. `size`: its characters."""
        kind = frame["type"]
        if kind == "subscribed":
            self.lost()
            self.channel = frame["channel"]
            self._subscribed(frame)
        elif kind == "live":
            self.live_from = frame["position"]
            self._live(frame["position"])
        elif kind == self.entries:
            return self._part(frame, size)
        else:
            self._other(kind, frame)
        return None

    def _part(self, frame: Frame, size: int) -> Need | None:
        own = "id" in frame
        parts = self._parts[own]
        parts += frame[self.entries]
        self._sizes[own] += size
        if frame.get("more"):
            return None
        size, self._parts[own], self._sizes[own] = self._sizes[own], [], 0
        if not own and (self.live_from is None or frame["position"] <= self.live_from):
            return None
        return self._moment(parts, frame["position"], size)

    def lost(self) -> None:
        """The connection, or this subscription of it, is gone; so is a moment that was not finished."""
        self.channel = self.live_from = None
        self._parts, self._sizes = {True: [], False: []}, {True: 0, False: 0}

    def reach(self, position: str) -> None:
        """A newer position at which nothing is different."""
        raise NotImplementedError

    def _subscribed(self, frame: Frame) -> None:
        raise NotImplementedError

    def _live(self, position: str) -> None:
        raise NotImplementedError

    def _other(self, kind: str, frame: Frame) -> None:
        """Frames of one mode alone; unknown ones are ignored."""

    def _moment(self, entries: list[Any], position: str, size: int) -> Need | None:
        raise NotImplementedError


class ViewFold(Fold):
    """Query mode."""

    entries = "changes"

    def __init__(self, asked: Frame) -> None:
        super().__init__(asked)
        self.state: State = "connecting"
        self.position: str | None = None
        self.rows = self._empty()
        self._query: str | None = None
        self._resumable = False
        self._arriving: Rows | None = None
        self._moments: deque[Moment] = deque()
        self._waiting = 0
        self._seen: Rows | None = None
        self._behind = False

    def _empty(self) -> Rows:
        return Rows(ordered=is_ordered(self.asked))

    def request(self) -> Frame:
        if self.state == "connecting":
            self.state = "syncing"
        if self._resumable and self._query is not None:
            return {**self.asked, "position": self.position, "query": self._query}
        return self.asked

    def lost(self) -> None:
        super().lost()
        self._arriving = None
        self.state = "connecting" if self._seen is None else "stale"

    def reach(self, position: str) -> None:
        if self.live_from is not None and self.position is not None and position > self.position:
            self.position = position

    def _subscribed(self, frame: Frame) -> None:
        self.state = "syncing" if self._seen is None else "stale"
        self._query = frame.get("query")
        if not frame["recovered"]:
            self._resumable = False

    def _other(self, kind: str, frame: Frame) -> None:
        if kind == "snapshot":
            if frame["first"] or self._arriving is None:
                self._arriving = self._empty()
            self._arriving.put(frame["documents"], frame.get("keys"))
        elif kind == "resync":
            channel = self.channel
            self.lost()
            self.channel = channel
            # What was lost before a resync is not in a journal either: no going on from the old position.
            self._resumable = False

    def _live(self, position: str) -> None:
        arrived, self._arriving = self._arriving, None
        if arrived is not None:
            changes = () if self._seen is None else self.rows.changes_to(arrived)
            self.rows = arrived
            self._tell(Moment(position, changes, snapshot=True))
        if self._seen is None:
            self._seen = self.rows.copy()
        self.position, self.state, self._resumable = position, "live", True

    def _moment(self, entries: list[Any], position: str, _: int) -> Need | None:
        if any(entry["op"] not in OPS for entry in entries):
            self._resumable = False
            return "again"
        changes = [Change(one["op"], one["key"], one.get("document"), one.get("index")) for one in entries]
        if self._arriving is not None:
            self._arriving.apply(changes)
            return None
        told = self.rows.apply(changes)
        self.position = position
        self._tell(Moment(position, told))
        return None

    # ------------------------------------------------------------------------------------------------- the consumer

    def begin(self) -> None:
        """Moments are told from here on: what `documents` shows now is what they change."""
        self._moments.clear()
        self._behind, self._waiting = False, 0
        if self._seen is not None:
            self._seen = self.rows.copy()

    def documents(self) -> list[Document]:
        """The documents of the view, in order."""
        return self.rows.shown()

    def get(self, key: Any) -> Document | None:
        """The document with this key."""
        return self.rows.documents.get(text_of(key))

    def _tell(self, moment: Moment) -> None:
        if self._behind or self._seen is None or not moment.changes:
            return
        self._moments.append(moment)
        self._waiting += len(moment.changes)
        if self._waiting > MOMENT_CHANGES:
            self._moments.clear()
            self._behind = True

    def next_moment(self) -> Moment | None:
        """The next thing that happened to the view since it was first live; None while there is nothing."""
        assert self._seen is not None or not self._moments
        if self._moments:
            moment = self._moments.popleft()
            self._waiting -= len(moment.changes)
            if self._seen is not None:
                self._seen.apply(moment.changes)
            return moment
        if not self._behind or self._seen is None or self.position is None:
            return None
        changes = self._seen.changes_to(self.rows)
        self._seen, self._behind, self._waiting = self.rows.copy(), False, 0
        return Moment(self.position, changes) if changes else None


class EventFold(Fold):
    """Events mode. `position` is safe to go on from: everything up to it was handed out, and nothing after it."""

    entries = "events"

    def __init__(self, asked: Frame, *, bound: int) -> None:
        super().__init__(asked)
        self.position: str | None = asked.get("position")
        self.received = self.position
        self.bound = bound
        self.bytes = 0
        self._waiting: deque[tuple[Event, str | None, int]] = deque()

    def request(self) -> Frame:
        if self.received is None:
            return self.asked
        fields = {name: value for name, value in self.asked.items() if name != "since"}
        return {**fields, "position": self.received}

    def reach(self, position: str) -> None:
        if self.live_from is not None:
            self._reached(position)

    def _subscribed(self, frame: Frame) -> None:
        pass

    def _live(self, position: str) -> None:
        self._reached(position)

    def _reached(self, position: str) -> None:
        if self.received is not None and position <= self.received:
            return
        self.received = position
        if self._waiting:
            event, _, size = self._waiting[-1]
            self._waiting[-1] = (event, position, size)
        else:
            self.position = position

    def _moment(self, entries: list[Any], position: str, size: int) -> Need | None:
        events = [Event.of(entry) for entry in entries]
        share = size // max(1, len(events))
        for event, following in zip(events, [*events[1:], None], strict=True):
            # Only the last event of a moment completes its position.
            safe = position if following is None else event.position if following.position != event.position else None
            self._waiting.append((event, safe, share))
            self.bytes += share
        self.received = position
        return "pause" if self.bytes > self.bound else None

    # ------------------------------------------------------------------------------------------------- the consumer

    @property
    def drained(self) -> bool:
        """Whether a consumer that was too slow has caught up with half of what is kept for it."""
        return self.bytes <= self.bound // 2

    def next_event(self) -> Event | None:
        """The next event; None while there is none."""
        if not self._waiting:
            return None
        event, safe, size = self._waiting.popleft()
        self.bytes -= size
        if safe is not None:
            self.position = safe
        return event
