"""Who is under a rule and comes back is told to let go of what they may have held, and of nobody else's documents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from realtime.core.live.query import Query
from realtime.core.mql.filters import compile_filter
from realtime.core.mql.projection import compile_projection
from realtime.core.mql.vision import Share, Vision
from realtime.hub.roster import Subscription
from tests.core.examples import query
from tests.hub.fakes import Peer, Service, rest, until
from tests.hub.scenes import types


def ruled(rule: dict[str, Any], filter: dict[str, Any] | None = None) -> Query:  # noqa: A002 - the protocol's own word
    return Query.of(
        mode="query",
        collections=frozenset({"items"}),
        filter=compile_filter(filter),
        projection=compile_projection(None),
        operations=None,
        vision=Vision.of([Share(compile_filter(rule))]),
    )


MINE = ruled({"owner": "me"})


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service(linger_seconds=60.0) as running:
        for number in range(6):
            running.store.insert("items", {"_id": number, "owner": "you" if number % 2 else "me", "n": 0})
        await running.flow()
        yield running


async def back(service: Service, after: int, what: Query = MINE) -> tuple[str, list[Any]]:
    """Who comes back from there: what kind of answer it is, and its changes or documents."""
    peer = Peer()
    subscription = Subscription("s", peer, what, after)
    service.attach(subscription)
    await until(lambda: subscription.live)
    kind = types(peer)[1]
    told = [orjson.loads(frame) for frame in peer.frames]
    assert told[0]["recovered"] is (kind != "snapshot")
    parts = [one.get("changes") or one.get("documents") or [] for one in told]
    return kind, [one for part in parts for one in part]


async def happens(service: Service) -> None:
    store = service.store
    store.update("items", 0, n=1)
    store.update("items", 2, owner="you")
    store.delete("items", 4)
    store.update("items", 1, n=1)
    store.delete("items", 3)
    store.update("items", 5, owner="them")
    store.insert("items", {"_id": 7, "owner": "you"})
    store.insert("items", {"_id": 8, "owner": "me"})
    await service.flow()


async def test_only_what_they_held_is_named_and_no_document_that_was_never_theirs(service: Service) -> None:
    first = Peer()
    await service.subscribed(Subscription("s", first, MINE))
    left = service.hub.time
    await happens(service)
    kind, changes = await back(service, left)
    assert kind == "changes"
    assert {(one["op"], one["key"]) for one in changes} == {("leave", 2), ("leave", 4), ("update", 0), ("update", 8)}


async def test_they_share_the_group_of_who_asks_the_same_without_a_rule_and_are_told_no_more(service: Service) -> None:
    plain = query({"owner": "me"})
    assert plain.key == MINE.key, "else this tests nothing"
    await service.subscribed(Subscription("s", Peer(), plain))
    left = service.hub.time
    await service.subscribed(Subscription("s", Peer(), MINE))
    await happens(service)
    kind, changes = await back(service, left, plain)
    assert {one["key"] for one in changes} == {0, 1, 2, 3, 4, 5, 7, 8}, "whoever sees everything is told as ever"
    kind, changes = await back(service, left)
    assert (kind, {one["key"] for one in changes}) == ("changes", {0, 2, 4, 8})


async def test_where_nobody_watched_it_is_a_snapshot_unless_what_happened_says_it(service: Service) -> None:
    left = service.hub.time
    store = service.store
    store.update("items", 0, n=1)
    store.update("items", 1, n=1)
    store.insert("items", {"_id": 7, "owner": "you"})
    await service.flow()
    kind, changes = await back(service, left)
    assert (kind, [(one["op"], one["key"]) for one in changes]) == ("changes", [("update", 0)])
    store.delete("items", 3)
    await service.flow()
    service.hub.groups.close(service.hub.groups.wanted(MINE))
    kind, documents = await back(service, left)
    assert (kind, {one["_id"] for one in documents}) == ("snapshot", {0, 2, 4})
    await rest()
