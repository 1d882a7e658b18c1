"""The judge of what one person was told under rules. It imports nothing of `realtime`.

Frames are folded as section 4.3 of the protocol tells a client to. Wherever a view has a position it is compared with
what `find` under the person's rule would return there, and every event with both images of its document.

    view_differs        a view, other than `find` under the rule at its position
    document_differs    an event's document, other than the rule shows it
    event_of_unseen     an event of a document that the rule shows neither before nor after it
    before_of_unseen    an image of before that the rule does not show
    path_of_hidden      `updated` or `removed` names a path that the rule hides
    told_of_hidden      an `update`, or an event, that changes nothing of what is shown
    leave_of_unseen     `leave` of a document that was never theirs
    lost                an event, or the end of a view, that was never told
    repeated            an event told twice
    position_back       a position before one that was told already
    channel_of_before   a frame of a channel that another one has replaced
    secret              bytes that no rule of any time showed to this person
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.rules.ruled import Sight
from tests.truth import CATALOGUE, Document, Truth, Write, name_of, time_of

Frame = dict[str, Any]
Expected = Callable[[int], Sequence[Document]]
"""What a query's view is at a cluster time, in order where it has one."""
MARK = re.compile(rb"zq[0-9a-f]{8}z")
CONNECTED = "#connected"
"""The type of an entry that the reader itself puts between frames: a new connection, with `phase` and `resumed`."""


@dataclass(slots=True)
class Verdict:
    """Everything found, and how much was looked at."""

    violations: list[tuple[str, str, str]] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)

    def say(self, name: str, where: str, detail: object = "") -> None:
        self.violations.append((name, where, str(detail)[:400]))

    @property
    def names(self) -> set[str]:
        return {name for name, _, _ in self.violations}


def marks_in(value: Any) -> set[bytes]:
    """Every mark in a JSON value, those in names too."""
    return set(MARK.findall(str(value).encode()))


def secrets(raw: Iterable[bytes], allowed: set[bytes], verdict: Verdict) -> None:
    """Every marked value in what came, whatever it came in, must be one that this person ever saw or sent."""
    for text in raw:
        found = MARK.findall(text)
        verdict.figures["marks"] += len(found)
        for mark in set(found) - allowed:
            verdict.say("secret", mark.decode(), text[:400])


class Query:
    """One query subscription over all of its connections."""

    def __init__(
        self,
        verdict: Verdict,
        phases: Sequence[Expected],
        *,
        ordered: bool = False,
        ever: Callable[[str, int, int], bool] | None = None,
    ) -> None:
        self.verdict, self.phases, self.ordered, self.ever = verdict, phases, ordered, ever
        self.view: list[Document] = []
        self.phase = 0
        self.position = ""
        self.channel: int | None = None
        self.old_channels: set[int] = set()
        self.live = False
        self.pending: list[Any] = []
        self.subscribed = 0
        self.ended: Frame | None = None

    def take(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind == CONNECTED:
            self.phase, self.live, self.pending, self.subscribed = frame["phase"], False, [], 0
            self.old_channels = set()
            self.channel = None
        elif kind in {"heartbeat", "pong"}:
            if self.live and "s" not in frame.get("behind", ()) and frame.get("position", "") > self.position:
                self._reach(frame["position"], kind)
        elif frame.get("id") == "s" or ("channel" in frame and frame["channel"] == self.channel and self.live):
            getattr(self, f"_{kind}", lambda _: None)(frame)
        elif "channel" in frame and frame["channel"] in self.old_channels:
            self.verdict.say("channel_of_before", kind, frame)

    def _subscribed(self, frame: Frame) -> None:
        self.subscribed += 1
        if self.subscribed > 1:
            self.phase = len(self.phases) - 1
        if self.channel is not None:
            self.old_channels.add(self.channel)
        self.channel, self.live, self.pending = frame["channel"], False, []
        self.verdict.figures["recovered" if frame["recovered"] else "subscribed"] += 1
        if not frame["recovered"]:
            self.view = []

    def _snapshot(self, frame: Frame) -> None:
        if frame["first"]:
            self.view = []
        self.view += frame["documents"]
        self.verdict.figures["shown"] += sum(map(_weight, frame["documents"]))
        if frame["last"]:
            self._reach(frame["position"], "snapshot")

    def _resync(self, _: Frame) -> None:
        self.verdict.figures["resync"] += 1
        self.live, self.view, self.pending = False, [], []

    def _live(self, frame: Frame) -> None:
        self.live = True
        self._reach(frame["position"], "live")

    def _unsubscribed(self, frame: Frame) -> None:
        self.ended, self.live = frame, False

    def _error(self, frame: Frame) -> None:
        self.ended = frame

    def _changes(self, frame: Frame) -> None:
        self.pending += frame["changes"]
        if frame.get("more"):
            return
        entries, self.pending = self.pending, []
        self.verdict.figures["shown"] += sum(_weight(entry.get("document", {})) for entry in entries)
        self.verdict.figures["moments"] += 1
        by_id = "id" in frame
        held = {name_of(one["_id"]): one for one in self.view}
        for entry in entries:
            name = name_of(entry["key"])
            if entry["op"] == "leave" and name not in held:
                self._leave_of_unheld(name, frame, by_id=by_id)
            same = entry["op"] == "update" and held.get(name) == entry["document"]
            if same and not self.ordered and not by_id:
                self.verdict.say("told_of_hidden", name, frame)
        named = {name_of(entry["key"]) for entry in entries}
        self.view = [one for one in self.view if name_of(one["_id"]) not in named]
        for entry in entries:
            if entry["op"] != "leave":
                place = entry.get("index", len(self.view))
                self.view.insert(place, entry["document"])
        self._reach(frame["position"], "changes")

    def _leave_of_unheld(self, name: str, frame: Frame, *, by_id: bool) -> None:
        since, until = time_of(self.position), time_of(frame["position"])
        if not by_id or self.ever is None or not self.ever(name, since, until):
            self.verdict.say("leave_of_unseen", name, frame)

    def _reach(self, position: str, kind: str) -> None:
        if position < self.position and self.subscribed < 2:
            self.verdict.say("position_back", kind, f"{position} after {self.position}")
        self.position = position
        expected = list(self.phases[self.phase](time_of(position)))
        self.verdict.figures["compared"] += 1
        got = self.view
        if not self.ordered:
            got, expected = _by_name(got), _by_name(expected)
        if got != expected:
            self.verdict.say("view_differs", f"{kind} {position} phase {self.phase}", _difference(got, expected))


def _weight(document: Document) -> int:
    """How many documents this shows something of: a row counts its own."""
    return int(document.get("count", 1))


def _by_name(documents: Sequence[Document]) -> list[Document]:
    return sorted(documents, key=lambda one: name_of(one["_id"]))


def _difference(got: Sequence[Document], expected: Sequence[Document]) -> str:
    mine, theirs = ({name_of(one["_id"]): one for one in side} for side in (got, expected))
    missing, surplus = [*(theirs.keys() - mine.keys())][:2], [*(mine.keys() - theirs.keys())][:2]
    other = [(mine[name], theirs[name]) for name in mine.keys() & theirs.keys() if mine[name] != theirs[name]][:1]
    order = "" if missing or surplus or other else f"order {list(mine)[:6]} not {list(theirs)[:6]}"
    return f"missing {missing} too many {surplus} got/expected {other} {order} ({len(got)}/{len(expected)})"


SightAt = Callable[[str, int], Sight]
"""A collection's sight at a cluster time."""


class Events:
    """One events subscription over all of its connections: collected, and compared at the end."""

    def __init__(self, verdict: Verdict, truth: Truth, phases: Sequence[SightAt], collections: Sequence[str]) -> None:
        self.verdict, self.truth, self.phases, self.collections = verdict, truth, phases, collections
        self.phase = 0
        self.position = ""
        self.start: int | None = None
        self.channel: int | None = None
        self.old_channels: set[int] = set()
        self.subscribed = 0
        self.got: list[tuple[int, Frame]] = []
        self.flips: list[int] = []
        self.gaps: list[tuple[int, int]] = []
        """Between these cluster times it was told that history is lost: nothing of then is missed."""
        self._lost_from: int | None = None
        self._resumed_from = ""
        self.ended: Frame | None = None

    def take(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind == CONNECTED:
            self._turn(frame["phase"])
            self._resumed_from = self.position
            self.subscribed, self.channel, self.old_channels = 0, None, set()
        elif kind in {"heartbeat", "pong"}:
            self.position = max(self.position, frame.get("position", "")) if self.start else self.position
        elif kind == "subscribed" and frame["id"] == "s":
            self.subscribed += 1
            if self.subscribed > 1:
                self._turn(len(self.phases) - 1)
            if self.channel is not None:
                self.old_channels.add(self.channel)
            self.channel, self.ended = frame["channel"], None
            self.verdict.figures["recovered" if frame["recovered"] else "subscribed"] += 1
        elif kind == "live" and frame["id"] == "s":
            self.start = time_of(frame["position"]) if self.start is None else self.start
            if self._lost_from is not None:
                self.gaps.append((self._lost_from, time_of(frame["position"])))
                self._lost_from = None
            self.position = max(self.position, frame["position"])
        elif kind == "events":
            if "channel" in frame and frame["channel"] in self.old_channels:
                self.verdict.say("channel_of_before", kind, frame)
            self.got += [(self.phase, event) for event in frame["events"]]
            self.position = max(self.position, frame.get("position", ""))
        elif kind in {"unsubscribed", "error"} and frame.get("id") == "s":
            self._end_of_it(frame)

    def _end_of_it(self, frame: Frame) -> None:
        self.ended = frame
        if frame.get("code") == "unavailable":
            self._resumed_from = frame.get("position", self._resumed_from)
        if frame.get("code") == "history_lost":
            # A heartbeat of a connection that was subscribed to nothing is no word of events.
            self._lost_from = time_of(frame.get("position", self._resumed_from))

    def _turn(self, phase: int) -> None:
        if phase > self.phase and self.position:
            self.flips.append(time_of(self.position))
        self.phase = phase

    def end(self, images: Mapping[str, bool]) -> None:
        """Everything that was told, against every write between start and end. `images`: who keeps pre-images."""
        if self.start is None:
            return
        last = time_of(self.position)
        writes = [write for write in self.truth.writes if self.start < write.time <= last]
        by_name: dict[tuple[int, str, str, str], list[Write]] = {}
        for write in writes:
            by_name.setdefault((write.time, write.op, write.collection, name_of(write.key)), []).append(write)
        told: Counter[tuple[int, str, str, str]] = Counter()
        before = self.start
        for phase, event in self.got:
            time = time_of(event["position"])
            name = (time, event["op"], str(event["collection"]), name_of(event.get("key")))
            if time < before:
                self.verdict.say("position_back", str(name), event)
            before = time
            told[name] += 1
            kept = [write for write in by_name.get(name, ()) if marks_in(write.document) > marks_in(event)]
            self.verdict.figures["withheld"] += bool(kept)
            self.verdict.figures["shown"] += 1
            if name not in by_name:
                self.verdict.say("event_of_unseen", str(name), event)
            else:
                self._one(phase, event, by_name[name][min(told[name], len(by_name[name])) - 1], images)
        for name, those in by_name.items():
            wanted = [write for write in those if self._wanted(write, images) and not self._in_gap(write)]
            if told[name] > len(those):
                self.verdict.say("repeated", str(name), told[name])
            if told[name] < len(wanted):
                self.verdict.say("lost", str(name), f"{told[name]} of {len(wanted)}")
            self.verdict.figures["withheld"] += len(those) - min(told[name], len(those))

    def _in_gap(self, write: Write) -> bool:
        return any(first < write.time <= last for first, last in self.gaps)

    def sight(self, write: Write, phase: int | None = None) -> Sight:
        if phase is None:
            phase = len(self.phases) - 1 if self.flips and write.time > self.flips[0] else 0
        return self.phases[phase](write.collection, write.time)

    def images_of(self, write: Write) -> tuple[Document | None, Document | None]:
        """The document before and after a write."""
        return self.truth.state(write.collection, name_of(write.key), write.time - 1), write.document

    def _wanted(self, write: Write, images: Mapping[str, bool]) -> bool:
        """Whether it must be told: the image that decides is known and readable."""
        if write.collection not in self.collections and "*" not in self.collections:
            return False
        if write.op in CATALOGUE:
            return False
        before, after = self.images_of(write)
        seen = self.sight(write)
        if after is None:
            # Who sees documents of its kind from then on alone was never told of this one.
            earlier = self._earlier(write)
            mine = before is not None and seen.sees(before) and earlier.sees(before)
            return images.get(write.collection, False) and mine
        if write.op == "insert":
            return seen.sees(after)
        # Without images it is not certain that a rule's document was theirs, or that what they see has changed.
        return images.get(write.collection, False) and seen.sees(after) and seen.shown(before) != seen.shown(after)

    def _earlier(self, write: Write, phase: int | None = None) -> Sight:
        """What was seen right before it."""
        if phase is None:
            phase = len(self.phases) - 1 if self.flips and write.time > self.flips[0] else 0
        return self.phases[phase](write.collection, write.time - 1)

    def _one(self, phase: int, event: Frame, write: Write, images: Mapping[str, bool]) -> None:
        if write.op in CATALOGUE:
            return
        seen = self.sight(write, phase)
        before, after = self.images_of(write)
        later = self._states(event, write) if "as_of" in event else []
        readable = [one for one in (before, after, *later) if one is not None and seen.sees(one)]
        if not readable:
            self.verdict.say("event_of_unseen", event["op"], event)
            return
        if write.op != "delete" and before is not None and seen.shown(before) == seen.shown(after):
            self.verdict.say("told_of_hidden", event["op"], event)
        if "document" in event:
            states = self._states(event, write)
            if event["document"] not in [self._at(state, event, phase) for state in states if state is not None]:
                self.verdict.say("document_differs", event["op"], (event, [seen.shown(one) for one in states]))
        earlier = self._earlier(write, phase)
        shown_then = [one.shown(before) for one in (seen, earlier)]
        if "before" in event and (event["before"] not in shown_then or None in shown_then):
            self.verdict.say("before_of_unseen", event["op"], (event, shown_then))
        if write.op == "delete" and before is not None and not earlier.sees(before):
            self.verdict.say("event_of_unseen", event["op"], event)
        shares = [share for share in seen.shares for one in readable if Sight((share,)).sees(one)]
        for path in [*event.get("updated", ()), *event.get("removed", ())]:
            parts = [part for part in path.split(".") if not part.isdigit()]
            lets = any(
                all(share.lets(".".join(parts[:length])) for length in range(1, len(parts) + 1)) for share in shares
            )
            if not lets:
                self.verdict.say("path_of_hidden", path, event)

    def _states(self, event: Frame, write: Write) -> list[Document | None]:
        name = name_of(write.key)
        if "as_of" in event:
            return [self.truth.state(write.collection, name, time_of(event["as_of"]))]
        return self.truth.states(write.collection, name, write.time)

    def _at(self, state: Document, event: Frame, phase: int) -> Document | None:
        time = time_of(str(event.get("as_of", event["position"])))
        return self.phases[phase](event["collection"], time).shown(state)
