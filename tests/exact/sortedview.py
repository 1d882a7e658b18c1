"""A subscription's view in its order, folded as PROTOCOL 4.1 says. It imports nothing of `realtime`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.checker import Frame
from tests.truth import name_of


@dataclass(slots=True)
class Folding:
    """One subscription. `seen`: its view at the positions that were chosen, in order; `told`: all of them."""

    id: str
    ordered: bool
    chosen: Any
    live: bool = False
    position: str = ""
    live_at: str = ""
    channel: int | None = None
    keys: list[str] = field(default_factory=list)
    documents: dict[str, Any] = field(default_factory=dict)
    pending: list[Any] = field(default_factory=list)
    seen: list[tuple[str, str, list[Any]]] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    moments: list[str] = field(default_factory=list)

    def take(self, frame: Frame) -> None:
        """A frame of the connection, whether it concerns this one or not."""
        kind = frame["type"]
        if kind == "heartbeat":
            if self.live and self.id not in frame.get("behind", ()) and frame["position"] > self.position:
                self._reach(frame["position"], kind)
            elif self.live and self.id in frame.get("behind", ()):
                self.figures["behind"] += 1
            return
        mine = frame.get("id") == self.id
        if kind == "changes" and self.live and frame.get("channel") == self.channel:
            self._changes(frame)
        elif mine:
            self.figures[kind] += 1
            getattr(self, f"_{kind}", lambda _: None)(frame)

    def _subscribed(self, frame: Frame) -> None:
        self.channel = frame["channel"]

    def _error(self, frame: Frame) -> None:
        raise AssertionError(frame)

    _unsubscribed = _error

    def _snapshot(self, frame: Frame) -> None:
        if frame["first"]:
            self.keys, self.documents = [], {}
        for document in frame["documents"]:
            self._put(name_of(document["_id"]), document, len(self.keys))
        if frame["last"]:
            self._reach(frame["position"], "snapshot")

    def _live(self, frame: Frame) -> None:
        self.live, self.live_at = True, frame["position"]

    def _resync(self, _: Frame) -> None:
        self.live = False

    def _changes(self, frame: Frame) -> None:
        self.pending += frame["changes"]
        if frame.get("more"):
            return
        moment, self.pending = self.pending, []
        if frame["position"] <= self.live_at:
            return
        ops = [change["op"] for change in moment]
        assert ops == sorted(ops, key=lambda op: op != "leave"), f"{self.id}: leaves come first"
        names = {name_of(change["key"]) for change in moment}
        assert len(names) == len(moment), f"{self.id}: a key twice in a moment"
        for change in moment:
            held = name_of(change["key"]) in self.documents
            assert held is (change["op"] != "enter"), f"{self.id}: {change} held: {held} at {frame['position']}"
        self.keys = [name for name in self.keys if name not in names]
        for name in names:
            self.documents.pop(name, None)
        last = -1
        for change in moment:
            self.figures[change["op"]] += 1
            if change["op"] == "leave":
                continue
            index = len(self.keys)
            if self.ordered:
                index = change["index"]
                assert last < index <= len(self.keys), f"{self.id}: index {index} after {last}"
                last = index
            else:
                assert "index" not in change
            self._put(name_of(change["key"]), change["document"], index)
        self.moments.append(frame["position"])
        self._reach(frame["position"], "moment")

    def _put(self, name: str, document: Any, index: int) -> None:
        self.keys.insert(index, name)
        self.documents[name] = document

    def _reach(self, position: str, why: str) -> None:
        assert position >= self.position, f"{self.id}: back from {self.position} to {position}"
        self.position = position
        self.figures[f"at a {why}"] += 1
        if self.chosen(why):
            view = [self.documents[name] for name in self.keys]
            if not self.ordered:
                view.sort(key=lambda document: json.dumps(document["_id"], sort_keys=True))
            self.seen.append((position, why, view))
