"""A connection with many subscriptions, folded as they go on: frames are taken and forgotten, however long a run is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.checker import Frame
from tests.exact.ear import Ear
from tests.exact.sortedview import Folding

Query = dict[str, Any]


@dataclass(slots=True)
class Told:
    """One events subscription."""

    id: str
    channel: int | None = None
    live_at: str = ""
    position: str = ""
    events: list[Any] = field(default_factory=list)

    def take(self, frame: Frame) -> None:
        mine = frame.get("id") == self.id
        assert not (mine and frame["type"] in {"error", "unsubscribed"}), frame
        if mine and frame["type"] == "subscribed":
            self.channel = frame["channel"]
        elif mine and frame["type"] == "live":
            self.live_at = frame["position"]
        elif frame["type"] == "heartbeat" and self.id not in frame.get("behind", ()):
            self.position = max(self.position, frame["position"])
        elif frame["type"] == "events" and (mine or (self.live_at and frame.get("channel") == self.channel)):
            self.events += frame["events"]
            self.position = max(self.position, frame.get("position", ""))


class Followers:
    """A connection, its subscriptions, and what they were told so far."""

    def __init__(self, ear: Ear) -> None:
        self.ear = ear
        self.views: dict[str, Folding] = {}
        self.told: dict[str, Told] = {}
        self.asked: dict[str, tuple[str, Query]] = {}
        self.answers: dict[str, tuple[str, str]] = {}
        """By subscription: the query's name and the position of its `live`."""

    async def view(self, name: str, collection: str, query: Query, chosen: Any = lambda _: False, **more: Any) -> None:
        self.asked[name] = collection, query
        self.views[name] = Folding(name, "sort" in query or "limit" in query, chosen)
        live = await self.ear.subscribe(name, collection, **query, **more)
        self.answers[name] = self.ear.of("subscribed", name)[-1]["query"], live["position"]

    async def hear(self, name: str, query: Query, **more: Any) -> str:
        """The position of its `live`."""
        self.told[name] = Told(name)
        return str((await self.ear.subscribe(name, mode="events", **query, **more))["position"])

    async def reach(self, time: int) -> None:
        """Everybody is at that time or later, and what they were told is taken."""
        await self.ear.settle(time)
        self.take()

    def take(self) -> None:
        frames = self.ear.frames[1:]
        del self.ear.frames[1:]
        for frame in frames:
            assert frame["type"] not in {"status", "resync", "closing"}, frame
            assert frame.get("code") != "internal", frame
            for view in self.views.values():
                view.take(frame)
            for told in self.told.values():
                told.take(frame)
