"""What is raised in the pipe itself: it starts again after the last whole position, and nothing is told twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import realtime.hub.plan
from realtime.core.live.events import ChangeEvent
from realtime.hub.hub import Hub
from realtime.hub.teller import Teller
from tests.core.examples import query
from tests.hub.fakes import PIPE, Peer, Store, rest, until
from tests.hub.scenes import counter, exact, types, watch
from tests.hub.view import View
from tests.hub.walls import (
    POISON,
    Scene,
    counter_of,
    heard,
    poisoned,
    raising,
    scene,
    service,
)

__all__ = ["heard", "scene", "service"]

# ------------------------------------------------------------------------------------------------------------ the pipe


def in_decode(monkeypatch: pytest.MonkeyPatch, scene: Scene, times: int) -> list[int]:
    raised = [0]

    def undecodable(event: ChangeEvent) -> bool:
        if event.key != POISON or raised[0] >= times:
            return False
        raised[0] += 1
        return True

    scene.service.stream.undecodable = undecodable
    return raised


def in_settle(monkeypatch: pytest.MonkeyPatch, scene: Scene, times: int) -> list[int]:
    return raising(monkeypatch, realtime.hub.plan, "settle", lambda batch: poisoned(batch.events), times)


def in_plan(monkeypatch: pytest.MonkeyPatch, scene: Scene, times: int) -> list[int]:
    return raising(
        monkeypatch, realtime.hub.plan, "wanted", lambda _router, _name, touches: f'"{POISON}"' in touches, times
    )


def in_images(monkeypatch: pytest.MonkeyPatch, scene: Scene, times: int) -> list[int]:
    def reads_it(_store: Store, _collection: str, keys: list[Any], _time: int, **_: Any) -> bool:
        task = asyncio.current_task()
        return POISON in keys and task is not None and task.get_name() == PIPE

    return raising(monkeypatch, Store, "read_at", reads_it, times)


def in_dispatch(monkeypatch: pytest.MonkeyPatch, scene: Scene, times: int) -> list[int]:
    """After the queries of `items` have been told, before anybody else has."""
    return raising(monkeypatch, Teller, "_tell_events", lambda _teller, settled, _: poisoned(settled.order), times)


PIPE_PLACES = {
    "decode": in_decode,
    "settle": in_settle,
    "plan": in_plan,
    "image read": in_images,
    "dispatch": in_dispatch,
}


async def a_batch_with_poison_in_it(scene: Scene) -> None:
    """Moments before and after it, of its own collection and of another one."""
    scene.insert("items", POISON)
    await scene.service.flow()
    scene.insert("others", "before")
    scene.insert("items", "before")
    scene.store.update("items", POISON, n=1)
    scene.written["items"].append(POISON)
    scene.insert("items", "behind")
    scene.insert("others", "behind")


@pytest.mark.parametrize("place", PIPE_PLACES)
@pytest.mark.parametrize("often", ["once", "as often as it may"])
async def test_what_fails_in_the_pipe_less_than_three_times_is_noticed_by_nobody(
    scene: Scene, place: str, often: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a batch, and then twice by itself; what cannot be decoded is not told from what stands around it.
    times = 1 if often == "once" else 2 if place == "decode" else 3
    await a_batch_with_poison_in_it(scene)
    raised, steps = PIPE_PLACES[place](monkeypatch, scene, times), counter("realtime_moments_stepped_over_total")
    bugs = counter_of("pipe")
    position = scene.service.hub.time
    await scene.service.flow()
    assert raised == [times]
    assert counter_of("pipe") - bugs == times
    assert counter("realtime_moments_stepped_over_total") == steps
    assert len(scene.service.stream.rewound) == times
    assert scene.service.stream.rewound[0] == (position, False)
    scene.untouched("red", "blue", "window", "others", "events", "other events")
    await scene.goes_on()


@pytest.mark.parametrize("place", PIPE_PLACES)
async def test_the_third_failure_at_a_position_steps_over_that_moment_and_its_collection_alone_is_told(
    scene: Scene, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_batch_with_poison_in_it(scene)
    PIPE_PLACES[place](monkeypatch, scene, 10**6)
    steps, before = counter("realtime_moments_stepped_over_total"), scene.service.hub.time
    scene.service.put()
    await until(lambda: scene.service.hub.time == scene.store.now)
    await rest()
    assert counter("realtime_moments_stepped_over_total") - steps == 1
    scene.untouched("others", "other events")
    for name in ("red", "blue", "window"):
        # Where it fails after some were told, those are exact: nothing is missing to them, or told again.
        scene.resynced(name, times=0 if place == "dispatch" and name != "blue" else 1)
    # Everything before it was told, and it was said that something is missing.
    ended = scene.ended("events", "history_lost")
    assert scene.told("events") == [POISON, "before"]
    assert before < int(ended["position"][9:], 16) < scene.service.hub.time
    await scene.goes_on()


async def test_what_mongodb_could_not_send_for_its_size_is_lost_history_of_its_collection_and_no_bug(
    scene: Scene,
) -> None:
    bugs, steps = counter_of("pipe"), counter("realtime_moments_stepped_over_total")
    scene.service.stream.unsent = lambda event: event.key == POISON
    scene.insert("items", "before")
    await scene.service.flow()
    scene.insert("items", POISON)
    scene.insert("others", "behind")
    await scene.service.flow()
    await until(lambda: types(scene.peers["red"])[-1] == types(scene.peers["blue"])[-1] == "live")
    await rest()
    for name in ("red", "blue", "window"):
        scene.resynced(name, reason="history_lost")
    scene.ended("events", "history_lost")
    assert scene.told("events") == ["before"]
    scene.untouched("others", "other events")
    assert (counter_of("pipe"), counter("realtime_moments_stepped_over_total")) == (bugs, steps + 1)
    await scene.goes_on()


async def test_a_transaction_is_stepped_over_as_a_whole_and_both_of_its_collections_are_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_settle(monkeypatch, scene, 10**6)
    with scene.store.transaction():
        scene.store.insert("others", {"_id": "with it", "team": "red"})
        scene.store.insert("items", {"_id": POISON, "team": "red"})
    scene.insert("items", "behind")
    scene.service.put()
    await until(lambda: scene.service.hub.time == scene.store.now)
    await until(lambda: types(scene.peers["red"])[-1] == types(scene.peers["others"])[-1] == "live")
    await rest()
    for name in ("red", "others"):
        scene.resynced(name)
    for name in ("events", "other events"):
        scene.ended(name, "history_lost")
    await scene.goes_on()


async def test_a_drop_that_is_stepped_over_is_followed_all_the_same(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(monkeypatch, realtime.hub.plan, "settle", lambda batch: any(event.op == "rename" for event in batch.events))
    scene.store.rename("items", "others")
    scene.service.put()
    await until(lambda: scene.service.hub.time == scene.store.now)
    await until(lambda: types(scene.peers["red"])[-1] == types(scene.peers["others"])[-1] == "live")
    for name in ("red", "others"):
        scene.resynced(name)
    await scene.goes_on()


async def test_a_pipe_that_cannot_go_on_says_so_and_goes_on_as_soon_as_it_can(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str | None] = []
    monkeypatch.setattr(scene.service.pipe, "_on_stuck", said.append)
    raised = raising(monkeypatch, Hub, "plan", lambda _hub, _batch: True, times=6)
    scene.insert("items", "x")
    scene.insert("others", "y")
    scene.service.put()
    await until(lambda: scene.service.hub.time == scene.store.now)
    await until(lambda: types(scene.peers["others"])[-1] == "live")
    assert raised == [6]
    reasons = [reason for reason in said if reason is not None]
    assert len(reasons) == 3
    assert all("reference" not in reason and "logged under" in reason for reason in reasons)
    assert said[-1] is None
    # By then it might have been any collection.
    scene.resynced("others")
    await scene.goes_on()


async def test_who_waits_for_the_batch_in_the_pipe_is_let_go_when_that_starts_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new events subscription and a new query wait for the end of a batch whose images are read."""
    store, late, later = scene.store, Peer(), Peer()
    raised = in_images(monkeypatch, scene, 1)
    scene.insert("items", POISON)
    await scene.service.flow()
    gate = asyncio.Event()
    original = Hub.abandon

    def abandon(hub: Hub) -> None:
        original(hub)
        assert late_one.live, "it waited for the end of a batch that is not in the pipe any more"
        gate.set()

    monkeypatch.setattr(Hub, "abandon", abandon)
    monkeypatch.setattr("realtime.hub.pipe.backoff", lambda _: 0.01)
    store.hold("describe")
    late_one, later_one = (
        watch(late, query(mode="events", operations={"delete", "update"})),
        watch(later, query({"n": 1})),
    )
    scene.service.attach(late_one)
    scene.service.attach(later_one)
    await until(lambda: store.waits("describe"))
    store.update("items", POISON, n=1)
    scene.written["items"].append(POISON)
    batch = scene.service.put()
    await until(lambda: scene.service.hub.progress.in_pipe)
    store.let_go("describe")
    await gate.wait()
    assert raised == [1]
    await until(lambda: scene.service.hub.time == batch.time)
    await until(lambda: later_one.live)
    await rest()
    assert [event["key"] for event in View(late.frames)["s"].events] == [POISON]
    exact(later, store, query({"n": 1}))
    scene.untouched("red", "others", "events", "other events")
    await scene.goes_on()
