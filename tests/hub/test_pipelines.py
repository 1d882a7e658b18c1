"""Pipelines in the hub: told, judged late, resumed and ended as other queries are.

MongoDB and the sockets are the fakes of `fakes.py`; what a client sees is folded by `view.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from realtime.core.live.query import Query
from realtime.hub import late
from tests.core.examples import piped, query
from tests.evaluated import evaluated
from tests.hub.fakes import Peer, Service, rest, until
from tests.hub.scenes import types, watch
from tests.hub.view import View

BY_TEAM: dict[str, Any] = {"$group": {"_id": "$team", "n": {"$sum": 1}, "sum": {"$sum": "$n"}}}
RATIO: dict[str, Any] = {"$set": {"ratio": {"$divide": [60, "$sum"]}}}
TOP: list[dict[str, Any]] = [{"$sort": {"n": -1}}, {"$limit": 2}]


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service(linger_seconds=0.0) as running:
        yield running


async def filled(service: Service, *numbers: int) -> None:
    for key, number in enumerate(numbers, 1):
        service.store.insert("items", {"_id": key, "team": "red" if key % 2 else "blue", "n": number})
    await service.flow()


def rows(peer: Peer) -> dict[str, Any]:
    return View(peer.frames)["s"].documents


def made(service: Service, what: Query) -> dict[str, Any]:
    """By scratch, of the documents that are stored now."""
    stored = [dict(one) for one in service.store.at("items", service.store.now).values()]
    assert what.pipeline is not None
    return {orjson.dumps(row["_id"]).decode(): row for row in evaluated(what.pipeline, stored)}


def ended(peer: Peer) -> list[Any]:
    return [frame for frame in map(orjson.loads, peer.frames) if frame["type"] in {"unsubscribed", "error"}]


@pytest.mark.parametrize("stages", [[BY_TEAM], [BY_TEAM, {"$sort": {"sum": 1}}], TOP, [{"$set": {"n": 7}}]])
async def test_what_is_written_comes_to_who_asked_for_what_is_made_of_it(service: Service, stages: list[Any]) -> None:
    await filled(service, 1, 2, 3)
    peer, what = Peer(), piped(*stages)
    await service.subscribed(watch(peer, what))
    assert rows(peer) == made(service, what) != {}
    service.store.update("items", 3, n=9)
    service.store.update("items", 2, team="red")
    service.store.delete("items", 1)
    service.store.insert("items", {"_id": 8, "team": "green", "n": 4})
    await service.flow()
    await until(lambda: rows(peer) == made(service, what))
    assert "resync" not in types(peer)


@pytest.mark.parametrize("throttle", [0, 60_000])
async def test_a_row_of_which_an_expression_has_no_value_ends_its_query_alone(service: Service, throttle: int) -> None:
    await filled(service, 1, 2)
    failing, plain = Peer(), Peer()
    group: Any = (await service.subscribed(watch(failing, piped(BY_TEAM, RATIO, throttle=throttle)))).group
    await service.subscribed(watch(plain, piped(BY_TEAM)))
    service.store.update("items", 1, n=7)
    await service.flow()  # told at once, and where it is throttled nothing more for a while
    service.store.update("items", 1, n=0)
    await service.flow()
    if throttle:  # its time has come
        groups = service.hub.groups
        groups.pacer.forget(group)
        for outcome in groups.teller.tell(group):
            groups.act_on(outcome)
    await until(lambda: ended(failing))
    (told,) = ended(failing)
    assert (told["type"], told["code"], told["details"]) == (
        "unsubscribed",
        "invalid_document",
        {"operator": "$divide"},
    )
    assert "resync" not in types(failing)
    assert ended(plain) == []
    assert rows(plain)['"red"']["sum"] == 0
    await rest()
    assert [group.query.pipeline is not None for group in service.hub.router.query_groups("items")] == [True]


async def test_one_that_fails_as_it_is_loaded_is_an_error(service: Service) -> None:
    await filled(service, 0)
    peer = Peer()
    service.attach(watch(peer, piped(BY_TEAM, RATIO)))
    await until(lambda: ended(peer))
    assert [(one["type"], one["code"]) for one in ended(peer)] == [("error", "invalid_document")]


async def test_one_that_fails_as_it_is_read_again_ends(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(service, 1)
    peer, what = Peer(), piped(BY_TEAM, RATIO)
    subscription = await service.subscribed(watch(peer, what))
    monkeypatch.setattr(late, "MOST", 2)
    monkeypatch.setattr(late, "SLICE_SECONDS", 0.0)
    for key in range(10, 16):
        service.store.insert("items", {"_id": key, "team": "blue", "n": 0})
    await service.flow()  # more than waits: it is read again
    await until(lambda: ended(peer))
    assert [(one["type"], one["code"]) for one in ended(peer)] == [("unsubscribed", "invalid_document")]
    assert subscription.group is None or not service.hub.router.query_groups("items")


async def test_one_that_computes_is_judged_after_everybody_else(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(service, 1, 2)
    monkeypatch.setattr(late, "SLICE_SECONDS", 0.0)
    what = piped({"$set": {"twice": {"$multiply": ["$n", 2]}}}, {"$group": {"_id": "$team", "t": {"$sum": "$twice"}}})
    assert what.computes
    computing, plain = Peer(), Peer()
    await service.subscribed(watch(computing, what))
    await service.subscribed(watch(plain, query()))
    for key in range(10, 14):
        service.store.insert("items", {"_id": key, "team": "red", "n": key})
    batch = service.put()
    await until(lambda: service.hub.time == batch.time)
    assert (len(plain.moments()), computing.moments()) == (1, [])
    await until(computing.moments)
    assert len(computing.moments()) == 1
    assert rows(computing) == made(service, what)


@pytest.mark.parametrize(
    ("stages", "recovered"),
    [([{"$set": {"x": "$n"}}, {"$match": {"x": {"$gt": 1}}}], True), ([BY_TEAM], False), (TOP, False)],
)
async def test_who_was_away_goes_on_where_each_document_is_shown_by_itself(
    service: Service, stages: list[Any], recovered: bool
) -> None:
    await filled(service, 1, 2, 3)
    what = piped(*stages)
    await service.subscribed(watch(Peer(), what))
    after = service.hub.time
    service.store.update("items", 2, n=0)
    service.store.update("items", 1, n=5)
    await service.flow()
    peer = Peer()
    subscription = watch(peer, what)
    subscription.after = after
    service.attach(subscription)
    await until(lambda: b'"live"' in b"".join(peer.frames))
    (answer,) = [frame for frame in map(orjson.loads, peer.frames) if frame["type"] == "subscribed"]
    assert answer["recovered"] is recovered
    told = [frame for frame in map(orjson.loads, peer.frames) if frame["type"] in {"changes", "snapshot"}]
    if recovered:
        assert [(one["op"], one["key"]) for one in told[0]["changes"]] == [("leave", 2), ("update", 1)]
    else:
        assert rows(peer) == made(service, what)


async def test_one_that_outgrows_its_bounds_ends_with_the_count(service: Service) -> None:
    await filled(service, 1)
    peer = Peer()
    subscription = await service.subscribed(watch(peer, piped({"$unwind": "$n"}, {"$group": {"_id": "$n"}})))
    group: Any = subscription.group
    service.store.insert("items", {"_id": 5, "n": list(range(group.bounds.documents + 1))})
    await service.flow()
    await until(lambda: ended(peer))
    (told,) = ended(peer)
    assert told["code"] == "too_large"
    assert told["details"] == {"count": group.bounds.documents + 1, "limit": group.bounds.documents}
