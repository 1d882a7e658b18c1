"""What is raised while somebody resumes, is taken in or is read: that one is answered, whatever it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

import realtime.hub.plan
from realtime.core.live.event_group import EventGroup
from realtime.core.live.journal import Entry, Journal
from realtime.core.live.query import QueryGroup
from realtime.core.live.router import Router
from realtime.hub.history import History
from realtime.hub.resume import Resumer
from realtime.hub.roster import Subscription
from tests.core.examples import query
from tests.hub.fakes import Peer, until
from tests.hub.scenes import RED, exact, types, watch
from tests.hub.view import View
from tests.hub.walls import (
    ALL_EVENTS,
    EVENTS,
    OTHER_EVENTS,
    POISON,
    OurBugError,
    Scene,
    counter_of,
    heard,
    of_red,
    poisoned,
    raising,
    scene,
    service,
)

__all__ = ["heard", "scene", "service"]


async def test_a_journal_that_fails_is_empty_rather_than_without_a_moment(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.insert("items", "before")
    await scene.service.flow()
    after = scene.service.hub.time
    raised = raising(monkeypatch, Journal, "append", lambda *_: True, 1)
    scene.insert("items", "missing")
    await scene.service.flow()
    assert raised == [1]
    again, since = Peer(), scene.service.hub.time
    scene.insert("items", "behind")
    await scene.service.flow()
    scene.untouched("red", "others", "events")
    scene.service.attach(Subscription("old", again, EVENTS, after=after))
    scene.service.attach(Subscription("new", again, EVENTS, after=since))
    await until(lambda: len(types(again)) >= 4)
    assert [error["code"] for error in View([f for f in again.frames if b'"error"' in f]).errors] == ["history_lost"]
    told = [orjson.loads(frame) for frame in again.frames if b'"events"' in frame and b'"id":"new"' in frame]
    assert [event["key"] for frame in told for event in frame["events"]] == ["behind"]
    await scene.goes_on()


def reaching(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return raising(monkeypatch, History, "reaching", lambda *_, **__: True, 1)


def completing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return raising(monkeypatch, Resumer, "_complete", lambda *_: True, 1)


def replaying(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return raising(monkeypatch, Resumer, "_replay", lambda *_: True, 1)


def working_out(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return raising(monkeypatch, QueryGroup, "since", lambda *_: True, 1)


@pytest.mark.parametrize("place", [reaching, completing, replaying])
async def test_events_that_resume_are_answered_whatever_is_raised(
    scene: Scene, place: Callable[[pytest.MonkeyPatch], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    after, peer = scene.service.hub.time, Peer()
    scene.insert("items", "x")
    await scene.service.flow()
    raised = place(monkeypatch)
    scene.service.attach(Subscription("s", peer, EVENTS, after=after))
    await until(lambda: peer.frames)
    (error,) = View(peer.frames).errors
    assert (error["id"], error["code"], error["retry"]) == ("s", "internal", True)
    assert raised == [1]
    assert peer.ended == ["s"]
    scene.service.attach(Subscription("s", peer, EVENTS, after=after))
    await until(lambda: types(peer)[-1] == "live")
    assert [event["key"] for frame in map(orjson.loads, peer.frames) for event in frame.get("events", ())] == ["x"]
    scene.untouched("red", "events")
    await scene.goes_on()


@pytest.mark.parametrize("place", [reaching, working_out])
async def test_a_query_that_cannot_resume_gets_a_snapshot(
    scene: Scene, place: Callable[[pytest.MonkeyPatch], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    after, peer = scene.service.hub.time, Peer()
    scene.insert("items", "x")
    await scene.service.flow()
    raised = place(monkeypatch)
    scene.service.attach(Subscription("s", peer, query(RED), after=after))
    await until(lambda: types(peer)[-1:] == ["live"])
    assert raised == [1]
    assert types(peer) == ["subscribed", "snapshot", "live"]
    exact(peer, scene.store, query(RED))
    scene.untouched("red", "events")
    await scene.goes_on()


async def test_a_replay_that_fails_on_its_way_says_that_events_are_missing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames are made as the connection takes them, and what came later is queued behind them."""
    after, peer = scene.service.hub.time, Peer()
    for key in ("one", "two", "three"):
        scene.insert("items", key)
        await scene.service.flow()
    poison = after + 2

    def is_it(_group: EventGroup, entry: Entry, **_: Any) -> bool:
        return entry.time == poison

    scene.service.attach(Subscription("s", peer, EVENTS, after=after))
    await until(lambda: len(peer._sent) >= 2)
    raised = raising(monkeypatch, EventGroup, "matching", is_it)
    assert types(peer) == ["subscribed", "events", "unsubscribed"]
    assert raised == [1]
    frames = [orjson.loads(frame) for frame in peer.frames]
    assert [event["key"] for frame in frames for event in frame.get("events", ())] == ["one"]
    assert (frames[-1]["code"], frames[-1]["retry"]) == ("history_lost", False)
    scene.untouched("red", "events")
    await scene.goes_on()


async def test_who_resumes_across_a_moment_that_was_stepped_over_is_told_so(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = scene.service.hub.time
    raising(monkeypatch, realtime.hub.plan, "settle", lambda batch: poisoned(batch.events))
    scene.insert("items", POISON)
    scene.insert("others", "y")
    scene.service.put()
    await until(lambda: scene.service.hub.time == scene.store.now)
    await until(lambda: types(scene.peers["red"])[-1] == "live")
    peer = Peer()
    for name, what in (("items", EVENTS), ("all", ALL_EVENTS), ("others", OTHER_EVENTS), ("red", query(RED))):
        scene.service.attach(Subscription(name, peer, what, after=before))
    await until(lambda: len(types(peer)) == 8)
    frames = [orjson.loads(frame) for frame in peer.frames]
    errors = {frame["id"]: frame["code"] for frame in frames if frame["type"] == "error"}
    assert errors == {"items": "history_lost", "all": "history_lost"}
    assert {frame["id"]: frame["recovered"] for frame in frames if frame["type"] == "subscribed"} == {
        "others": True,
        "red": False,
    }
    assert [event["key"] for frame in frames for event in frame.get("events", ())] == ["y"]


async def test_a_journal_that_is_lost_while_somebody_resumes_from_it_is_not_taken_for_an_empty_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    after, peer, journal = scene.service.hub.time, Peer(), scene.service.hub.history.journal
    scene.insert("items", "x")
    await scene.service.flow()
    original = Resumer._complete

    async def complete(resumer: Resumer, group: EventGroup, time: int) -> None:
        await original(resumer, group, time)
        journal.begin(scene.service.hub.time)

    monkeypatch.setattr(Resumer, "_complete", complete)
    scene.service.attach(Subscription("s", peer, EVENTS, after=after))
    await until(lambda: peer.frames)
    assert [error["code"] for error in View(peer.frames).errors] == ["history_lost"]


async def test_a_snapshot_that_cannot_be_made_is_answered_and_the_query_lives_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = raising(monkeypatch, QueryGroup, "runs", of_red, 1)
    peer = Peer()
    scene.service.attach(watch(peer, query(RED)))
    await until(lambda: peer.frames)
    assert raised == [1]
    assert (types(peer)[-1], peer.ended) == ("error", ["s"])
    await scene.service.subscribed(watch(peer, query(RED)))
    exact(peer, scene.store, query(RED))
    scene.untouched("red", "events")
    await scene.goes_on()


async def test_a_subscription_that_cannot_be_taken_in_is_answered_under_its_id(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("find", "next_channel"):
        raised, peer = raising(monkeypatch, Router, name, lambda *_: True, 1), Peer()
        scene.service.attach(watch(peer, query({"n": name})))
        (error,) = View(peer.frames).errors
        assert (raised, error["id"], error["code"], peer.ended) == ([1], "s", "internal", ["s"])
        await scene.service.subscribed(watch(peer, query({"n": name})))
    await scene.goes_on()


async def test_whatever_else_is_raised_in_a_task_of_the_hub_is_logged_and_counted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    bugs = counter_of("task")
    raising(monkeypatch, scene.service.hub.groups.walls, "group_failed", lambda *_: True, 1)
    scene.store.faults["find"] = [OurBugError("a bug")]
    scene.service.attach(watch(Peer(), query({"n": 7})))
    await until(lambda: counter_of("task") > bugs)
    await scene.goes_on()
