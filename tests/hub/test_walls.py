"""An exception of ours, wherever it is raised: what it takes along, that everybody else is exact, and nothing is told
twice. Afterwards a new query and a new events subscription go live, and no task ends with an exception unheard."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from realtime.core.live.event_group import EventGroup
from realtime.core.live.query import QueryGroup
from realtime.core.live.router import Router
from realtime.hub.roster import Subscription
from realtime.hub.teller import Teller
from tests.core.examples import query
from tests.hub.fakes import Peer, Service, rest, until
from tests.hub.scenes import RED, exact, teams, types, watch
from tests.hub.view import View
from tests.hub.walls import (
    EVENTS,
    Broken,
    OurBugError,
    Scene,
    heard,
    of_red,
    raising,
    scene,
    service,
)

__all__ = ["heard", "scene", "service"]

# -------------------------------------------------------------------------------------------------------- query groups


def in_apply(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    return raising(monkeypatch, QueryGroup, "apply", of_red, times)


def in_encode(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """Half of the batch is in the group by then, and the router knows it."""
    monkeypatch.setattr(QueryGroup, "_show_touched", lambda group, _, document: group._show(document))

    def poison(group: QueryGroup, document: dict[str, Any]) -> bool:
        return of_red(group) and str(document["_id"]).startswith("second") and group.live

    return raising(monkeypatch, QueryGroup, "_show", poison, times)


def in_publish(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    return raising(monkeypatch, Teller, "_publish", lambda _teller, group, *_, **__: of_red(group), times)


GROUP_PLACES = {"decide": in_apply, "encode": in_encode, "publish": in_publish}


@pytest.mark.parametrize("place", GROUP_PLACES)
async def test_what_fails_for_one_query_is_that_querys_resync_and_nobody_elses(
    scene: Scene, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = GROUP_PLACES[place](monkeypatch, 1)
    for key in ("first", "second"):
        scene.insert("items", key)
    scene.insert("others", "third")
    await scene.service.flow()
    await until(lambda: types(scene.peers["red"])[-1] == "live")
    assert raised == [1]
    scene.resynced("red")
    scene.untouched("blue", "window", "others", "events", "other events")
    await scene.goes_on()
    scene.resynced("red")


@pytest.mark.parametrize("place", GROUP_PLACES)
async def test_twice_in_a_row_ends_that_query_under_the_reference_that_is_logged(
    scene: Scene, place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    raised = GROUP_PLACES[place](monkeypatch, 2)
    for number in range(2):
        scene.insert("items", f"second {number}")
        scene.insert("others", f"third {number}")
        await scene.service.flow()
        await rest()
    assert raised == [2]
    scene.untouched("blue", "window", "others", "events", "other events")
    ended = scene.ended("red", "internal")
    assert ended["retry"] is True
    bugs = [one for one in caplog.records if one.name == "realtime.bugs"]
    references = [one.reference for one in bugs]  # type: ignore[attr-defined]  # reason: `extra` puts it there
    assert len(references) == 2
    assert references[-1] in ended["message"]
    assert types(scene.peers["red"]).count("resync") == 1
    assert scene.peers["red"].ended == ["s"]


async def test_a_failure_a_success_and_a_failure_are_not_twice_in_a_row(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("one", "two", "three"):
        raised = in_apply(monkeypatch, 1)
        scene.insert("items", key)
        await scene.service.flow()
        await until(lambda: types(scene.peers["red"])[-1] == "live")
        assert raised == [1]
        scene.insert("items", f"{key} again")
        await scene.service.flow()
    scene.resynced("red", times=3)
    scene.untouched("blue", "others", "events")


async def test_a_bug_while_it_is_read_after_a_resync_has_one_more_try_and_then_ends_it(scene: Scene) -> None:
    red = scene.peers["red"]
    for faults, outcome in ((1, "live"), (2, "unsubscribed")):
        scene.store.faults["find"] = [OurBugError("a bug") for _ in range(faults)]
        scene.store.drop("items")
        await scene.service.flow()
        await until(lambda outcome=outcome: types(red)[-1] == outcome)  # type: ignore[misc]  # reason: binds it now
        scene.store.faults["find"].clear()
        for name in ("blue", "window"):
            scene.peers.pop(name, None)
    scene.ended("red", "internal")
    assert View(scene.peers["red"].frames)["s"].resyncs == ["collection_replaced"] * 2


async def test_a_bug_while_it_catches_up_is_the_querys_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    store, peer, what = scene.store, Peer(), query({"n": 0})
    store.lead = 0
    store.hold("find")
    scene.service.attach(watch(peer, what))
    await until(lambda: store.waits("find"))
    scene.insert("items", "touched")
    await scene.service.flow()
    store.faults["catch up"] = [OurBugError("a bug")]
    store.let_go("find")
    await until(lambda: peer.frames)
    # It has seen nothing yet, so the error is the answer; it may ask again.
    (error,) = View(peer.frames).errors
    assert (error["id"], error["code"], error["retry"]) == ("s", "internal", True)
    await scene.service.subscribed(watch(peer, what))
    scene.untouched("red", "blue", "window", "others", "events")


async def test_a_bug_while_it_is_read_and_told_of_batches_is_answered(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer, what = Peer(), query({"n": 0})
    raised = raising(monkeypatch, QueryGroup, "collect", lambda *_: True, 1)
    scene.store.hold("find")
    scene.service.attach(watch(peer, what))
    await until(lambda: scene.store.waits("find"))
    scene.insert("items", "touched")
    scene.insert("others", "y")
    await scene.service.flow()
    assert raised == [1]
    assert [error["code"] for error in View(peer.frames).errors] == ["internal"]
    scene.store.let_go("find")
    await scene.service.subscribed(watch(peer, what))
    scene.untouched("red", "blue", "window", "others", "events", "other events")
    await scene.goes_on()


async def test_a_query_that_can_neither_be_read_again_nor_ended_sends_its_own_connections_away(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen when a group could not be taken out of the index of filters: a drop of its collection stopped the pipe."""
    broken = Broken()
    await scene.service.subscribed(watch(broken, query({"n": 7})))
    group = scene.service.hub.router.find(query({"n": 7}))
    for name in ("unsettle", "remove"):
        raising(monkeypatch, Router, name, lambda _router, one: one is group)
    scene.store.drop("items")
    scene.written["items"].clear()
    await scene.service.flow()
    assert broken.closed == [1011]
    assert types(scene.peers["red"])[-1] == "live"
    assert "resync" not in types(scene.peers["others"])
    scene.untouched("others", "other events")


async def test_a_query_that_is_throttled_fails_by_itself_when_its_time_has_come(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = query(RED, throttle=1)
    peer = await scene.listen("throttled", what)
    scene.insert("items", "first")
    await scene.service.flow()
    raised = raising(monkeypatch, QueryGroup, "changes", lambda group: group.query.key == what.key, 1)
    scene.insert("items", "second")
    await scene.service.flow()
    async with asyncio.timeout(5):
        while types(peer)[-1] != "live" or types(peer).count("live") < 2:
            await asyncio.sleep(0.001)
    assert raised == [1]
    scene.resynced("throttled")
    scene.untouched("red", "events")


@pytest.mark.parametrize("name", ["routes", "needs"])
async def test_without_its_index_the_router_asks_everybody(
    scene: Scene, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for listener in ("events", "some events"):
        # For whoever hears updates everything is read anyhow.
        scene.service.hub.drop(scene.peers.pop(listener))
    raised = raising(monkeypatch, Router, name, lambda *_: True)
    scene.insert("items", "x")
    scene.store.update("items", 1, team="blue")
    scene.written["items"].append(1)
    scene.insert("others", "y")
    await scene.service.flow()
    assert raised[0] > 0
    scene.untouched("red", "blue", "window", "others", "other events")
    await scene.goes_on()


# ------------------------------------------------------------------------------------------------------- events groups


def tells_events(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    return raising(monkeypatch, EventGroup, "matching", lambda group, *_, **__: group.query.key == EVENTS.key, times)


def publishes_events(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    def is_it(_teller: Teller, group: Any, *_: Any, **__: Any) -> bool:
        return bool(group.query.key == EVENTS.key)

    return raising(monkeypatch, Teller, "_publish", is_it, times)


EVENT_PLACES = {"encode": tells_events, "publish": publishes_events}


@pytest.mark.parametrize("place", EVENT_PLACES)
async def test_events_that_could_not_be_told_are_tried_once_more_and_told_once(
    scene: Scene, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = EVENT_PLACES[place](monkeypatch, 1)
    scene.insert("items", "x")
    scene.insert("others", "y")
    await scene.service.flow()
    assert raised == [1]
    scene.untouched("red", "others", "events", "other events")
    await scene.goes_on()


@pytest.mark.parametrize("place", EVENT_PLACES)
async def test_events_that_cannot_be_told_end_the_subscription_where_it_can_be_resumed(
    scene: Scene, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.insert("items", "told")
    await scene.service.flow()
    position = scene.service.hub.position
    raised = EVENT_PLACES[place](monkeypatch, 2)
    scene.insert("items", "x")
    scene.insert("others", "y")
    await scene.service.flow()
    assert raised == [2]
    ended = scene.ended("events", "internal")
    assert (ended["position"], ended["retry"]) == (position, True)
    assert scene.told("events") == ["told"]
    scene.untouched("red", "others", "other events")
    again = Peer()
    scene.service.attach(Subscription("s", again, EVENTS, after=int(position[9:], 16)))
    await until(lambda: "live" in types(again))
    frames = [orjson.loads(frame) for frame in again.frames]
    assert [event["key"] for frame in frames if frame["type"] == "events" for event in frame["events"]] == ["x"]
    await scene.goes_on()


async def test_an_idle_query_that_cannot_go_is_in_no_other_ones_way(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, now = scene.service.hub, asyncio.get_running_loop().time()
    groups = [hub.router.find(query(one)) for one in (RED, {"team": "blue"})]
    raised = raising(monkeypatch, hub.groups.lingering, "_close_group", lambda group: group is groups[0], 1)
    hub.groups.lingering._idle.update(dict.fromkeys(groups, now))  # type: ignore[arg-type]  # reason: they are there
    hub.groups.lingering._rang()
    assert raised == [1]
    assert hub.router.find(query({"team": "blue"})) is None
    scene.untouched("red", "events")


# --------------------------------------------------------------------------------------------------------- connections


async def test_a_connection_that_cannot_be_handed_a_frame_is_closed_and_nobody_else_notices(scene: Scene) -> None:
    broken = Broken()
    await scene.service.subscribed(watch(broken, query(RED)))
    await scene.service.subscribed(watch(broken, EVENTS, "e"))
    neighbour = await scene.listen("neighbour", query(RED))
    broken.broken = True
    scene.insert("items", "x")
    await scene.service.flow()
    assert set(broken.closed) == {1011}
    scene.service.hub.heartbeat([broken, neighbour])
    assert View(neighbour.frames).heartbeats
    scene.untouched("red", "events", "others")
    assert exact(neighbour, scene.store, query(RED)).resyncs == []
    scene.service.hub.drop(broken)
    await scene.goes_on()


@pytest.mark.parametrize("kind", ["changes", "events"])
async def test_a_moment_of_many_frames_is_made_before_the_first_is_sent(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is raised in the middle leaves nobody with half of it."""
    import realtime.core.wire.protocol

    monkeypatch.setattr("realtime.hub.loading.RETRY_SECONDS", (0.0, 0.0))
    original, fails = realtime.core.wire.protocol.moment_frames, [True]

    def half(*given: Any) -> Iterator[bytes]:
        for number, frame in enumerate(original(*given)):
            if number == 1 and fails[0] and given[0] == kind:
                fails[0] = False
                raise OurBugError("in the middle")
            yield frame

    async with Service(frame_bytes=200) as service:
        told, viewer, store = Peer(), Peer(), service.store
        await service.subscribed(watch(told, EVENTS))
        await service.subscribed(watch(viewer, query(RED)))
        monkeypatch.setattr(realtime.core.wire.protocol, "moment_frames", half)
        with store.transaction():
            teams(store, count=20)
        await service.flow()
        await until(lambda: types(viewer)[-1] == "live" or kind == "events")
        assert not fails[0]
        assert [event["key"] for event in View(told.frames)["s"].events] == list(range(1, 21))
        assert len(told.moments()) > 2
        assert (types(viewer).count("changes") == 0) is (kind == "changes")
        exact(viewer, store, query(RED))


async def test_a_fence_whose_connection_is_broken_keeps_nobody_elses(scene: Scene) -> None:
    passed: list[str] = []
    broken, well = Broken(), Peer()
    for peer in (broken, well):
        await scene.service.subscribed(watch(peer, query(RED)))

    def breaks() -> None:
        raise OurBugError("its pong cannot be sent")

    scene.service.hub.fence(broken, scene.store.now + 1, breaks)
    scene.service.hub.fence(well, scene.store.now + 1, lambda: passed.append("well"))
    scene.insert("items", "x")
    await scene.service.flow()
    assert passed == ["well"]
    assert broken.closed == [1011]
    scene.untouched("red", "events")
