"""What the tests of the walls share: who listens, what is raised where, and that everybody else is exact."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from realtime.core.connection.outbox import Claim, Part
from realtime.core.live.query import Query, QueryGroup
from tests.core.examples import query
from tests.hub.fakes import Peer, Service, Store
from tests.hub.scenes import RED, exact, types, watch
from tests.hub.view import View

POISON = "poison"
BLUE = {"team": "blue"}
EVENTS = query(mode="events")
OTHER_EVENTS = query(mode="events", collections="others")
ALL_EVENTS = query(mode="events", collections=None)


class OurBugError(Exception):
    """What the tests raise in our own code; nobody catches it by name."""


class Broken(Peer):
    """A connection that cannot be handed frames from some time on."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.closed: list[int] = []

    def send(self, frame: bytes, part: Part | Claim | None = None) -> None:
        if self.broken:
            raise OurBugError("this frame cannot be sent")
        super().send(frame, part)

    def close(self, code: int, reason: str) -> None:
        self.closed.append(code)


@dataclass
class Scene:
    """Everybody who listens, each by a connection of its own, and what was written."""

    service: Service
    peers: dict[str, Peer] = field(default_factory=dict)
    asked: dict[str, Query] = field(default_factory=dict)
    written: dict[str, list[Any]] = field(default_factory=lambda: {"items": [], "others": []})

    @property
    def store(self) -> Store:
        return self.service.store

    async def listen(self, name: str, what: Query) -> Peer:
        self.peers[name], self.asked[name] = Peer(), what
        await self.service.subscribed(watch(self.peers[name], what))
        return self.peers[name]

    def insert(self, collection: str, key: Any, team: str = "red") -> None:
        self.store.insert(collection, {"_id": key, "team": team, "n": 0})
        self.written[collection].append(key)

    def told(self, name: str) -> list[Any]:
        """The keys of the events that it was told of."""
        return [event["key"] for event in View(self.peers[name].frames)["s"].events]

    def untouched(self, *names: str) -> None:
        """These saw nothing but what was written, all of it, once and in order."""
        for name in names:
            what, peer = self.asked[name], self.peers[name]
            if what.mode == "query":
                assert exact(peer, self.store, what).resyncs == [], name
            else:
                assert self.told(name) == self.written[what.collection], name
                assert types(peer)[0:2] == ["subscribed", "live"]
                assert set(types(peer)[2:]) <= {"events"}

    def resynced(self, name: str, times: int = 1, reason: str = "internal") -> None:
        held = exact(self.peers[name], self.store, self.asked[name])
        assert held.resyncs == [reason] * times, name

    def ended(self, name: str, code: str) -> dict[str, Any]:
        """This one was ended, with this code; the frame that says so is its last."""
        ended = View(self.peers[name].frames)["s"].ended
        assert ended is not None, name
        assert ended["code"] == code
        assert types(self.peers[name])[-1] == "unsubscribed"
        return ended

    async def goes_on(self) -> None:
        """New ones go live, and are told of what is written next."""
        query_peer = await self.listen("new query", query(RED))
        events_peer = await self.listen("new events", EVENTS)
        self.insert("items", "after")
        self.insert("others", "after")
        await self.service.flow()
        assert "after" in str(exact(query_peer, self.store, query(RED)).documents)
        assert [event["key"] for event in View(events_peer.frames)["s"].events] == ["after"]


def raising(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: Callable[..., bool], times: int = 10**6
) -> list[int]:
    """Our own `name` raises the first `times` that it is called for what `when` says; how often it has, as `[n]`."""
    original, raised = getattr(owner, name), [0]

    def replaced(*given: Any, **named: Any) -> Any:
        if raised[0] < times and when(*given, **named):
            raised[0] += 1
            raise OurBugError(f"raised in {name}")
        return original(*given, **named)

    monkeypatch.setattr(owner, name, replaced)
    return raised


def of_red(group: Any, *_: Any, **__: Any) -> bool:
    """The group whose filter is the whole of `RED`, in query mode."""
    return isinstance(group, QueryGroup) and group.query.key == query(RED).key


def poisoned(events: Any) -> bool:
    return any(event.key == POISON for event in events)


def counter_of(wall: str) -> float:
    from prometheus_client import REGISTRY

    return REGISTRY.get_sample_value("realtime_bugs_total", {"wall": wall}) or 0.0


async def a_scene(service: Service) -> Scene:
    made = Scene(service)
    for number in range(1, 6):
        made.insert("items", number, "red" if number % 2 else "blue")
        made.insert("others", number)
    await service.flow()
    for name, what in {
        "red": query(RED),
        "blue": query(BLUE),
        "window": query(sort=[["_id", 1]], limit=3),
        "others": query(RED, collections="others"),
    }.items():
        await made.listen(name, what)
    made.written = {"items": [], "others": []}
    for name, what in {
        "events": EVENTS,
        "other events": OTHER_EVENTS,
        "some events": query(RED, mode="events"),
    }.items():
        await made.listen(name, what)
    return made


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever ended a task or a callback of the loop was taken by somebody."""
    yield
    gc.collect()
    unheard = [one.getMessage() for one in caplog.records if one.name == "asyncio"]
    assert unheard == []


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr("realtime.hub.loading.RETRY_SECONDS", (0.0, 0.0))
    async with Service() as running:
        yield running


@pytest.fixture
async def scene(service: Service) -> Scene:
    return await a_scene(service)
