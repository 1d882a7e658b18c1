"""The judge of PROTOCOL's promises P1 to P4. It imports nothing of `realtime`.

It knows the acknowledged writes with their cluster times, the frames that one connection received, and may read
MongoDB. It folds the frames as PROTOCOL section 4 tells a client to, and names everything that does not hold.

    lost                    an acknowledged change that was never told
    repeated                a change, an event or a moment told twice
    swapped                 events in another order than they happened
    half_moment             a part of what one transaction did
    uncommitted             a change that nobody was acknowledged
    view_differs            a whole view, other than `find` at its position
    document_differs        a document, other than at its position
    partial_without_cause   an event without its document, which could be had
    resync_for_nothing      a `resync` although nothing happened since
    resync_not_followed     a `resync` without a snapshot and `live` after it
    position_back           a position before one that was told already
    enter_of_held           `enter` of a key that the view holds
    change_of_unheld        `update` or `leave` of a key that the view does not hold
    changes_without_live    a frame of a channel before `live`
    unfinished_more         a moment whose last frame never came
    dead_subscription       a frame for a subscription that has ended or never was
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.truth import Document, Truth, View, Write, name_of, time_of

Frame = dict[str, Any]
Read = Callable[[str, int], View]
"""The documents of a collection at a cluster time, by key text, as JSON values."""


_TEMPORARY = re.compile(r"tmp(\.agg_out|.{5}\.(convertToCapped|renameCollection))\b")
"""What MongoDB writes on the way to another name: nobody's collection, though what becomes of it is."""


@dataclass(frozen=True, slots=True)
class Violation:
    """What does not hold, and where it shows."""

    name: str
    subscription: str
    position: str
    detail: str


@dataclass(slots=True)
class Verdict:
    """Everything found, and how much was looked at."""

    violations: list[Violation] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)

    @property
    def names(self) -> set[str]:
        """The violations' names."""
        return {violation.name for violation in self.violations}

    def accept(self) -> Counter[str]:
        """The figures; `AssertionError` with the first violations where there are any."""
        shown = "\n".join(str(violation) for violation in self.violations[:8])
        assert not self.violations, f"{len(self.violations)} violations:\n{shown}"
        return self.figures


def everything(_: Document) -> bool:
    """The empty filter."""
    return True


def whole(document: Document) -> Document:
    """The empty projection."""
    return document


@dataclass(slots=True)
class Asked:
    """A subscription as its client asked for it. `collections` empty: all of them.

    `after` and `held`: the position it resumed from and the view it had there. `sample`: positions whose view is
    compared with a read of MongoDB.
    """

    id: str
    collections: tuple[str, ...] = ()
    mode: str = "query"
    matches: Callable[[Document], bool] = everything
    shows: Callable[[Document], Document] = whole
    after: str | None = None
    held: View | None = None
    sample: frozenset[str] = frozenset()


def judge(
    frames: Sequence[Frame],
    asked: Sequence[Asked],
    truth: Truth,
    *,
    read: Read | None = None,
) -> Verdict:
    """Everything that is wrong with what one connection received."""
    verdict = Verdict()
    followers = {one.id: (_Query if one.mode == "query" else _Events)(one, truth, verdict, read) for one in asked}
    channels: set[int] = set()
    for frame in frames:
        kind = frame["type"]
        if kind in {"heartbeat", "pong"}:
            for follower in followers.values():
                if follower.live and "position" in frame and follower.id not in frame.get("behind", ()):
                    if kind == "heartbeat":
                        follower.told(frame["position"])
                    follower.reach(frame["position"])
        elif kind in {"changes", "events"} and "channel" in frame:
            _by_channel(frame, followers.values(), channels, verdict)
        elif frame.get("id") in followers:
            follower = followers[frame["id"]]
            follower.take(frame)
            if follower.channel is not None:
                channels.add(follower.channel)
        elif kind in {"snapshot", "changes", "events", "live", "resync"}:
            verdict.violations.append(Violation("dead_subscription", str(frame.get("id")), "", kind))
    for follower in followers.values():
        follower.end()
    return verdict


def _by_channel(frame: Frame, followers: Iterable[_Follower], channels: set[int], verdict: Verdict) -> None:
    """After `live` a channel's frames concern every subscription to it, but for those at or before its `live`."""
    mine = [one for one in followers if one.channel == frame["channel"] and not one.ended]
    live = [one for one in mine if one.live]
    if not live:
        name = "changes_without_live" if mine else "dead_subscription"
        verdict.violations.append(Violation(name, f"channel {frame['channel']}", frame.get("position", ""), ""))
    for follower in live:
        alone = len(live) == 1
        if alone or "position" not in frame or frame["position"] > follower.live_at:
            follower.take(frame)


class _Follower:
    """One subscription, followed frame by frame."""

    def __init__(self, asked: Asked, truth: Truth, verdict: Verdict, read: Read | None) -> None:
        self.asked, self.truth, self.verdict, self.read = asked, truth, verdict, read
        self.id = asked.id
        self.position = ""
        self.channel: int | None = None
        self.live = False
        self.live_at = ""
        self.ended = False
        self.pending: list[Any] = []
        self.moments: set[str] = set()

    def say(self, name: str, detail: str = "", position: str | None = None) -> None:
        self.verdict.violations.append(
            Violation(name, self.id, self.position if position is None else position, detail[:300])
        )

    def take(self, frame: Frame) -> None:
        kind = frame["type"]
        if self.ended:
            self.say("dead_subscription", kind)
            return
        if self.pending and kind not in {"changes", "events"}:
            self.say("unfinished_more", f"{len(self.pending)} parts, then {kind}")
            self.pending = []
        self.verdict.figures[kind] += 1
        if kind in {"changes", "events"}:
            self.pending += frame[kind]
            if not frame.get("more"):
                whole_moment, self.pending = self.pending, []
                self.moment(whole_moment, frame["position"], by_id="id" in frame)
            return
        if kind in {"unsubscribed", "error"}:
            self.ended, self.live = True, False
        getattr(self, f"on_{kind}", lambda _: None)(frame)

    def on_subscribed(self, frame: Frame) -> None:
        self.channel = frame["channel"]
        if frame["recovered"]:
            self.verdict.figures["recovered"] += 1

    def told(self, position: str) -> bool:
        """Whether this position goes on from the last one; names what is wrong when not."""
        if position >= self.position:
            return True
        self.say("position_back", f"from {self.position}", position)
        return False

    def moment(self, entries: list[Any], position: str, *, by_id: bool) -> None:
        raise NotImplementedError

    def reach(self, position: str) -> None:
        raise NotImplementedError

    def end(self) -> None:
        if self.pending:
            self.say("unfinished_more", f"{len(self.pending)} parts")


class _Query(_Follower):
    """Query mode: the view is compared wherever a write or a change touched it, and whole at every `live`."""

    def __init__(self, asked: Asked, truth: Truth, verdict: Verdict, read: Read | None) -> None:
        super().__init__(asked, truth, verdict, read)
        self.collection = asked.collections[0]
        self.view: View = {}
        self.resync_from: str | None = None
        self.snapshot_since_resync = False

    def seen(self, document: Document | None) -> Document | None:
        """A document as this subscription shows it; None where it does not."""
        if document is None or not self.asked.matches(document):
            return None
        return self.asked.shows(document)

    def on_subscribed(self, frame: Frame) -> None:
        super().on_subscribed(frame)
        if frame["recovered"]:
            self.view = dict(self.asked.held or {})
            self.position = self.asked.after or ""

    def on_snapshot(self, frame: Frame) -> None:
        if frame["first"]:
            self.view = {}
            self.snapshot_since_resync = True
        self.view.update((name_of(document["_id"]), document) for document in frame["documents"])
        if frame["last"] and self.told(frame["position"]):
            self.position = frame["position"]
            self.compare_all()

    def on_resync(self, _: Frame) -> None:
        self.live, self.resync_from, self.snapshot_since_resync = False, self.position, False

    def on_live(self, frame: Frame) -> None:
        if self.told(frame["position"]):
            self.position = frame["position"]
        self.live, self.live_at = True, self.position
        if self.resync_from is not None:
            if not self.snapshot_since_resync:
                self.say("resync_not_followed")
            elif not self._happened(time_of(self.resync_from), time_of(self.position)):
                self.say("resync_for_nothing", f"since {self.resync_from}")
            self.resync_from = None
        self.compare_all()

    def _happened(self, after: int, until: int) -> bool:
        return bool(self.truth.touches(self.collection, after, until)) or self.truth.replaced(
            self.collection, after, until
        )

    def moment(self, entries: list[Any], position: str, *, by_id: bool) -> None:
        self.verdict.figures["moments"] += 1
        if not by_id and position <= self.position:
            self.say("repeated" if position in self.moments else "position_back", "a moment", position)
            return
        self.moments.add(position)
        before = dict(self.view) if len(self.view) < 64 else None
        named: set[str] = set()
        for change in entries:
            name = name_of(change["key"])
            if name in named:
                self.say("repeated", f"{name} twice in a moment", position)
            named.add(name)
            self._change(change, name, position, by_id=by_id)
        since, self.position = self.position, position
        if not by_id:
            self._compare(since, named, before)
        if position in self.asked.sample:
            self._compare_read()

    def _change(self, change: Any, name: str, position: str, *, by_id: bool) -> None:
        op, held = change["op"], name in self.view
        self.verdict.figures[op] += 1
        if op == "leave":
            if not held and not by_id:
                self.say("change_of_unheld", f"leave of {name}", position)
            self.view.pop(name, None)
            return
        if not by_id and held and op == "enter":
            self.say("enter_of_held", name, position)
        if not by_id and not held and op == "update":
            self.say("change_of_unheld", f"update of {name}", position)
        self.view[name] = change["document"]

    def reach(self, position: str) -> None:
        """A position without a frame of its own: nothing that was left out may have happened before it."""
        if position > self.position:
            since, self.position = self.position, position
            self._compare(since, set(), None)

    def _compare(self, since: str, named: set[str], before: View | None) -> None:
        """The keys that a write or a change touched since, against their state now."""
        now, start = time_of(self.position), time_of(since)
        touches = self.truth.touches(self.collection, start, now)
        touched = {name for _, name, _ in touches}
        wrong = {
            name
            for name in touched | named
            if self.view.get(name) != self.seen(self.truth.state(self.collection, name, now))
        }
        self.verdict.figures["compared"] += len(touched | named)
        for transaction in {transaction for _, _, transaction in touches if transaction is not None}:
            parts = {name for _, name, one in touches if one == transaction and self._changes_here(name, start, now)}
            if parts & wrong and parts - wrong:
                self.say("half_moment", f"{transaction}: without {sorted(parts & wrong)}")
                wrong -= parts
        for name in wrong:
            self._name(name, touched, named, now)
        if before is not None:
            for name in named - wrong - touched:
                if before.get(name) == self.view.get(name):
                    self.say("repeated", f"{name}, as it was")

    def _changes_here(self, name: str, start: int, now: int) -> bool:
        states = (self.truth.state(self.collection, name, time) for time in (start, now))
        return len({json.dumps(self.seen(state), sort_keys=True) for state in states}) == 2

    def _name(self, name: str, touched: set[str], named: set[str], now: int) -> None:
        got = self.view.get(name)
        later = self.truth.touches(self.collection, now, 1 << 64)
        ahead = next((touch for touch in later if touch[1] == name), None)
        if name not in named:
            self.say("lost", f"{name} is {got}, not {self.seen(self.truth.state(self.collection, name, now))}")
        elif ahead and ahead[2] and got == self.seen(self.truth.state(self.collection, name, ahead[0])):
            self.say("half_moment", f"{name} before the rest of {ahead[2]}")
        elif name in touched and self.seen(self.truth.state(self.collection, name, now)) is not None:
            self.say("document_differs", f"{name} is {got}")
        else:
            self.say("uncommitted", f"{name} is {got}")

    def compare_all(self) -> None:
        """The whole view against the acknowledged writes, and against MongoDB where this position is sampled."""
        expected = self._shown(self.truth.at(self.collection, time_of(self.position)))
        self.verdict.figures["views"] += 1
        if expected != self.view:
            self.say("view_differs", _difference(self.view, expected))
        if self.position in self.asked.sample:
            self._compare_read()

    def _compare_read(self) -> None:
        if self.read is None:
            return
        self.verdict.figures["sampled"] += 1
        expected = self._shown(self.read(self.collection, time_of(self.position)))
        if expected != self.view:
            self.say("view_differs", _difference(self.view, expected))

    def _shown(self, view: View) -> View:
        shown = {name: self.seen(document) for name, document in view.items()}
        return {name: document for name, document in shown.items() if document is not None}

    def end(self) -> None:
        super().end()
        if self.resync_from is not None and not self.ended:
            self.say("resync_not_followed")


class _Events(_Follower):
    """Events mode: collected, and compared at the end with what was acknowledged between start and end."""

    def __init__(self, asked: Asked, truth: Truth, verdict: Verdict, read: Read | None) -> None:
        super().__init__(asked, truth, verdict, read)
        self.start: str | None = asked.after
        self.position = asked.after or ""
        self.got: list[tuple[str, Any]] = []

    def on_live(self, frame: Frame) -> None:
        if self.told(frame["position"]):
            self.position = frame["position"]
        self.live, self.live_at = True, self.position
        if self.start is None:
            self.start = self.position

    def moment(self, entries: list[Any], position: str, *, by_id: bool) -> None:
        if position <= self.position and not (by_id and position == self.position):
            self.say("repeated" if position in self.moments else "position_back", "a moment", position)
        self.moments.add(position)
        self.verdict.figures["moments"] += 1
        self.verdict.figures["told"] += len(entries)
        self.got += [(position, event) for event in entries]
        self.position = max(self.position, position)

    def reach(self, position: str) -> None:
        self.position = max(self.position, position)

    def end(self) -> None:
        super().end()
        if self.start is None:
            return
        first, last = time_of(self.start), time_of(self.position)
        wanted = [write for write in self.truth.writes if first < write.time <= last and self._wants(write)]
        expected = [(write.time, write.op, write.collection, name_of(write.key)) for write in wanted]
        got = [
            (time_of(event["position"]), event["op"], event["collection"], name_of(event.get("key")))
            for _, event in self.got
        ]
        self.verdict.figures["expected"] += len(expected)
        counts = Counter(got) - Counter(set(got))
        for event in counts:
            self.say("repeated", str(event))
        missing, extra = set(expected) - set(got), set(got) - set(expected)
        if sorted(one[1:] for one in missing) == sorted(one[1:] for one in extra) and missing:
            self.say("swapped", str(sorted(missing)[:2]))
        else:
            self._name(wanted, missing, extra)
            order = [event for event in got if event in set(expected)] if counts or extra else got
            if not counts and not missing and order != expected:
                self.say("swapped", next(str(one) for one, other in zip(order, expected, strict=False) if one != other))
        self._whole()
        self._documents()

    def _wants(self, write: Write) -> bool:
        if write.op == "dropDatabase":
            return True
        wanted = self.asked.collections
        if not wanted and write.to is None and _TEMPORARY.match(write.collection):
            return False
        if wanted and write.collection not in wanted and write.to not in wanted:
            return False
        return write.document is None or self.asked.matches(write.document)

    def _name(self, wanted: list[Write], missing: set[Any], extra: set[Any]) -> None:
        seen = {event["position"] for _, event in self.got}
        transactions = {write.time for write in wanted if write.transaction is not None}
        for one in sorted(missing):
            partly = one[0] in transactions and any(time_of(position) == one[0] for position in seen)
            self.say("half_moment" if partly else "lost", str(one))
        for one in sorted(extra):
            self.say("uncommitted", str(one))

    def _whole(self) -> None:
        frames: dict[str, set[str]] = {}
        for position, event in self.got:
            frames.setdefault(event["position"], set()).add(position)
        for position, told in frames.items():
            if len(told) > 1:
                self.say("half_moment", f"in frames of {sorted(told)}", position)

    def _documents(self) -> None:
        for _, event in self.got:
            if event["op"] not in {"insert", "update", "replace"}:
                continue
            collection, name, time = event["collection"], name_of(event["key"]), time_of(event["position"])
            if "document" not in event:
                if not self.truth.gone_after(collection, name, time):
                    self.say("partial_without_cause", name, event["position"])
                continue
            if "as_of" in event:
                states = [self.truth.state(collection, name, time_of(event["as_of"]))]
            else:
                states = self.truth.states(collection, name, time)
            if event["document"] not in [self.asked.shows(state) for state in states if state is not None]:
                self.say("document_differs", f"{event['document']}, not {states}", event["position"])
            self.verdict.figures["documents"] += 1


def _difference(got: View, expected: View) -> str:
    other = [name for name in got.keys() & expected.keys() if got[name] != expected[name]]
    return (
        f"missing {sorted(expected.keys() - got.keys())[:3]}, too many {sorted(got.keys() - expected.keys())[:3]}, "
        f"other {[(name, got[name], expected[name]) for name in other[:2]]}"
    )
