"""The server at hand decides otherwise from now on: who depends on that starts again, nobody else notices.

The store decides by a dialect as well (`Store.dialect`), as a MongoDB of another version would.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from bson.decimal128 import Decimal128
from prometheus_client import REGISTRY

from realtime.core.live.query import Query
from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.hub.roster import Subscription
from tests.core.examples import query
from tests.hub.fakes import Peer, Service, rest, until
from tests.hub.view import Held, View

OLD = Dialect(any_decimal_has_bits=True)
BITS: dict[str, Any] = {"c": {"$bitsAllSet": [63]}}
NAN = Decimal128("NaN")
KEY_OF_NAN, KEY_OF_INTEGER = "1", "2"


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as running:
        running.store.insert("items", {"_id": 1, "c": NAN})
        running.store.insert("items", {"_id": 2, "c": -1})
        await running.flow()
        yield running


def seen(peer: Peer) -> Held:
    return View(peer.frames)["s"]


def types(peer: Peer) -> list[str]:
    return [orjson.loads(frame)["type"] for frame in peer.frames]


async def speaks(service: Service, dialect: Dialect) -> None:
    """Another primary, at a later time, of this dialect; and all that follows from it."""
    service.store.dialect = dialect
    service.store.pass_time()
    service.hub.speak(dialect, service.store.now)
    await service.flow()


async def live(service: Service, what: Query, after: int | None = None) -> Peer:
    peer = Peer()
    await service.subscribed(Subscription("s", peer, what, after))
    return peer


async def test_a_query_that_depends_on_it_is_read_again_by_the_new_meaning(service: Service) -> None:
    peer = await live(service, query(BITS))
    assert list(seen(peer).documents) == [KEY_OF_INTEGER]
    for dialect, shown in ((OLD, [KEY_OF_NAN, KEY_OF_INTEGER]), (NEWEST, [KEY_OF_INTEGER])):
        await speaks(service, dialect)
        await until(lambda: seen(peer).live)
        assert list(seen(peer).documents) == shown
        # And what happens next is decided so as well.
        service.store.insert("items", {"_id": 3, "c": NAN})
        await service.flow()
        assert list(seen(peer).documents) == (["1", "2", "3"] if dialect is OLD else shown)
        service.store.delete("items", 3)
        await service.flow()
    assert seen(peer).resyncs == ["server_changed", "server_changed"]


async def test_a_query_that_does_not_depend_on_it_is_left_alone(service: Service) -> None:
    peer = await live(service, query({"_id": {"$gt": 0}}))
    reads = len(service.store.reads)
    before = REGISTRY.get_sample_value("realtime_resyncs_total", {"reason": "server_changed"}) or 0
    await speaks(service, OLD)
    assert types(peer) == ["subscribed", "snapshot", "live"]
    assert len(service.store.reads) == reads
    assert (REGISTRY.get_sample_value("realtime_resyncs_total", {"reason": "server_changed"}) or 0) == before


async def test_the_same_answer_again_starts_nothing_again(service: Service) -> None:
    peer = await live(service, query(BITS))
    await speaks(service, NEWEST)
    assert types(peer) == ["subscribed", "snapshot", "live"]


async def test_who_subscribes_later_is_answered_by_the_dialect_of_now(service: Service) -> None:
    await speaks(service, OLD)
    peer = await live(service, query(BITS))
    service.store.insert("items", {"_id": 3, "c": NAN})
    await service.flow()
    assert list(seen(peer).documents) == [KEY_OF_NAN, KEY_OF_INTEGER, "3"]
    # Under the same name, in the group that is there.
    assert len(service.hub.router) == 1
    assert list(seen(await live(service, query(BITS))).documents) == [KEY_OF_NAN, KEY_OF_INTEGER, "3"]
    assert len(service.hub.router) == 1


async def test_a_query_that_is_still_being_read_is_read_again(service: Service) -> None:
    store = service.store
    store.hold("find")
    peer = Peer()
    subscription = Subscription("s", peer, query(BITS))
    service.attach(subscription)
    await until(lambda: store.waits("find"))
    await speaks(service, OLD)
    store.let_go("find")
    await until(lambda: subscription.live)
    assert list(seen(peer).documents) == [KEY_OF_NAN, KEY_OF_INTEGER]
    assert store.cancelled == ["find"]


async def test_events_go_on_and_are_chosen_by_the_new_meaning(service: Service) -> None:
    peer = await live(service, query(BITS, mode="events"))
    for key, dialect in ((11, NEWEST), (12, OLD), (13, NEWEST)):
        if dialect is not service.store.dialect:
            await speaks(service, dialect)
        service.store.insert("items", {"_id": key, "c": NAN})
        await service.flow()
    assert [event["key"] for event in seen(peer).events] == [12]
    assert "resync" not in types(peer)


async def test_events_from_a_position_are_chosen_by_the_meaning_of_now_whoever_asked_before(service: Service) -> None:
    after = service.hub.time
    service.store.insert("items", {"_id": 11, "c": NAN})
    await service.flow()
    what = query(BITS, mode="events")
    first = await recovered(service, what, after)
    assert [event["key"] for event in first] == []
    await speaks(service, OLD)
    assert [event["key"] for event in await recovered(service, what, after)] == [11]


async def recovered(service: Service, what: Query, after: int) -> list[Any]:
    """The events that one who resumes is told at once. Somebody else keeps the group there."""
    await live(service, what)
    peer = Peer()
    await service.subscribed(Subscription("s", peer, what, after))
    told = [orjson.loads(frame) for frame in peer.frames]
    assert told[0]["recovered"] is True
    return [event for frame in told if frame["type"] == "events" for event in frame["events"]]


@pytest.mark.parametrize("source", [BITS, {"_id": {"$gt": 0}}])
async def test_a_position_of_the_other_dialect_is_answered_with_a_snapshot(
    service: Service, source: dict[str, Any]
) -> None:
    what = query(source)
    keeper = await live(service, what)
    before = service.hub.time
    await speaks(service, OLD)
    await until(lambda: seen(keeper).live)
    service.store.insert("items", {"_id": 3, "c": NAN})
    await service.flow()
    after = service.hub.time
    service.store.insert("items", {"_id": 4, "c": NAN})
    await service.flow()
    answers = [orjson.loads((await live(service, what, position)).frames[0]) for position in (before, after)]
    depends = source is BITS
    assert [answer["recovered"] for answer in answers] == [not depends, True]


async def test_a_switch_while_a_batch_is_in_the_pipe_waits_for_its_end(service: Service) -> None:
    peer = await live(service, query(BITS))
    store = service.store
    store.hold("images")
    store.update("items", 2, c=-2)
    batch = service.put()
    await until(lambda: store.waits("images"))
    store.dialect = OLD
    service.hub.speak(OLD, store.now)
    await rest()
    meanwhile = service.hub.groups.dialects.now
    store.let_go("images")
    assert meanwhile == NEWEST
    await until(lambda: service.hub.time == batch.time and seen(peer).live)
    assert service.hub.groups.dialects.now == OLD
    assert list(seen(peer).documents) == [KEY_OF_NAN, KEY_OF_INTEGER]
    assert types(peer)[3:5] == ["changes", "resync"]


async def test_readers_of_a_group_that_keeps_nothing_are_answered_by_the_dialect_of_now() -> None:
    async with Service(kept=1) as service:
        for key in range(1, 5):
            service.store.insert("items", {"_id": key, "c": NAN if key % 2 else -key})
        await service.flow()
        peer = await live(service, query(BITS))
        (group,) = service.hub.router.query_groups("items")
        assert not group.keeps
        service.store.hold("find")
        late = Peer()
        subscription = Subscription("s", late, query(BITS))
        service.attach(subscription)
        await until(lambda: service.store.waits("find"))
        await speaks(service, OLD)
        service.store.let_go("find")
        await until(lambda: seen(peer).live and subscription.live)
        assert list(seen(peer).documents) == list(seen(late).documents) == ["1", "2", "3", "4"]
