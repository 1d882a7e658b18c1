"""A hub that is behind MongoDB and knows it: what is read would be far ahead of what is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from realtime.hub import resume as resuming
from realtime.hub.roster import Subscription
from tests.core.examples import query
from tests.hub.fakes import START, Peer, Service, rest, until
from tests.hub.scenes import RED, exact, teams, types, watch

MINUTE = 60 << 32


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr("realtime.hub.loading.RETRY_SECONDS", (0.0, 0.01))
    async with Service() as running:
        yield running


def last(peer: Peer) -> dict[str, object]:
    return dict(orjson.loads(peer.frames[-1]))


@pytest.mark.parametrize("mode", ["query", "events"])
async def test_new_groups_are_unavailable_while_it_is_too_far_behind(service: Service, mode: str) -> None:
    teams(service.store)
    await service.flow()
    watching, asks = Peer(), query(RED) if mode == "query" else query(mode="events")
    await service.subscribed(watch(watching, query(RED, collections="others")))
    service.hub.progress.stands(START + 10 * MINUTE, "600 s behind")
    peer = Peer()
    service.attach(watch(peer, asks))
    await until(lambda: peer.frames)
    assert {name: last(peer)[name] for name in ("type", "code", "message", "retry")} == {
        "type": "error",
        "code": "unavailable",
        "message": "600 s behind",
        "retry": True,
    }
    assert types(watching) == ["subscribed", "snapshot", "live"]
    service.hub.progress.stands(START + 10 * MINUTE, None)
    peer = Peer()
    await service.subscribed(watch(peer, asks))
    assert types(peer)[0] == "subscribed"


async def test_what_is_live_is_told_on_and_who_joins_it_is_served(service: Service) -> None:
    teams(service.store)
    await service.flow()
    first, second = Peer(), Peer()
    await service.subscribed(watch(first, query(RED)))
    service.hub.progress.stands(START + 10 * MINUTE, "600 s behind")
    service.store.insert("items", {"_id": 9, "team": "red"})
    await service.flow()
    await service.subscribed(watch(second, query(RED)))
    for peer in (first, second):
        assert "9" in exact(peer, service.store, query(RED)).documents


async def test_a_group_that_must_be_read_again_waits_until_it_is_near(service: Service) -> None:
    teams(service.store)
    await service.flow()
    peer = Peer()
    await service.subscribed(watch(peer, query(RED)))
    service.hub.progress.stands(START + 10 * MINUTE, "600 s behind")
    service.store.pass_time()
    await service.flow(lost=True)
    await rest()
    assert types(peer)[-1] == "resync"
    service.hub.progress.stands(START + 10 * MINUTE, None)
    await until(lambda: types(peer)[-1] == "live")
    exact(peer, service.store, query(RED))


def resumed(peer: Peer, after: int) -> Subscription:
    return Subscription("s", peer, query(mode="events"), after)


async def test_a_position_of_another_node_is_waited_for_by_one_that_knows_that_it_is_behind(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resuming, "AHEAD_SECONDS", 0.05)
    service.hub.progress.stands(START + 10, None)
    peer = Peer()
    service.attach(resumed(peer, START + 5))
    await asyncio.sleep(0.3)
    assert peer.frames == []
    for number in range(6):
        service.store.insert("items", {"_id": number})
    await service.flow()
    await until(lambda: types(peer)[-1:] == ["live"])
    (event,) = [one for frame in peer.moments() for one in orjson.loads(frame)["events"]]
    assert (event["key"], types(peer)) == (5, ["subscribed", "events", "live"])


@pytest.mark.parametrize("beyond", [0, MINUTE])
async def test_one_that_lies_ahead_of_the_clock_too_is_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch, beyond: int
) -> None:
    monkeypatch.setattr(resuming, "AHEAD_SECONDS", 0.05)
    service.hub.progress.stands(START + 10, None)
    peer = Peer()
    service.attach(resumed(peer, START + 11 + beyond))
    async with asyncio.timeout(10):
        while not peer.frames:
            await asyncio.sleep(0.01)
    assert (last(peer)["type"], last(peer)["code"]) == ("error", "invalid_position")
