"""The Python client against the real service: what a program does with it, in the words of docs/clients.md."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest
from bson import ObjectId
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from realtime import errors
from realtime.client import connect
from tests.exact.ledger import Ledger, insert, update
from tests.serving import Service, service

__all__ = ["service"]

PATIENCE = 15.0


async def test_writes_say_position_and_counts_and_a_view_shows_them_once_settled(service: Service) -> None:
    async with connect(service.url) as rt, rt.query("orders", filter={"status": "open"}) as view:
        assert (view.documents, view.state) == ([], "live")
        made = await rt.insert("orders", {"status": "open", "total": Decimal128("12.50"), "n": Int64(2**60)})
        assert isinstance(made.key, ObjectId)
        await rt.settled(made.position)
        assert view.position is not None
        assert view.position >= made.position
        shown = {"_id": made.key, "status": "open", "total": Decimal128("12.50"), "n": 2**60}
        assert view.documents == [shown]
        assert view.get(made.key) == shown
        changed = await rt.update("orders", made.key, {"$set": {"status": "paid"}}, where={"status": "open"})
        assert (changed.key, changed.matched, changed.modified, changed.upserted) == (made.key, 1, 1, None)
        put = await rt.replace("orders", "x", {"status": "open"}, upsert=True)
        assert (put.key, put.matched, put.upserted) == ("x", 0, True)
        await rt.settled(put.position)
        assert view.documents == [{"_id": "x", "status": "open"}]
        gone = await rt.delete("orders", "x", where={"status": "open"})
        await rt.settled(gone.position)
        assert (view.documents, gone.matched) == ([], 1)
    assert view.state == "closed"


async def test_errors_are_raised_by_their_code(service: Service) -> None:
    async with connect(service.url) as rt:
        await rt.insert("orders", {"_id": 1})
        with pytest.raises(errors.DuplicateKeyError) as duplicate:
            await rt.insert("orders", {"_id": 1})
        assert duplicate.value.details == {"fields": ["_id"]}
        with pytest.raises(errors.NotFoundError):
            await rt.delete("orders", 2)
        with pytest.raises(errors.PreconditionFailedError):
            await rt.update("orders", 1, {"$set": {"n": 1}}, where={"n": 7})
        with pytest.raises(errors.InvalidUpdateError):
            await rt.update("orders", 1, {"n": 1})
        with pytest.raises(errors.UnsupportedOperatorError):
            async with rt.query("orders", filter={"$where": "1"}):
                pass
        with pytest.raises(errors.InvalidPositionError):
            await rt.settled("yesterday")
        with pytest.raises(errors.InvalidPositionError):
            await anext(rt.events("orders", position="yesterday"))


async def test_moments_tell_each_change_since_entering_whole(service: Service) -> None:
    ledger = Ledger(service.database)
    await asyncio.to_thread(ledger.one, insert("orders", 1, n=1))
    async with connect(service.url) as rt, rt.query("orders") as view:
        assert view.documents == [{"_id": 1, "n": 1}]
        await asyncio.to_thread(ledger.together, [update("orders", 1, n=2), insert("orders", 2, n=2)])
        async with asyncio.timeout(PATIENCE):
            moment = await anext(view)
        told = {(change.op, change.key): change.document for change in moment.changes}
        assert told == {("update", 1): {"_id": 1, "n": 2}, ("enter", 2): {"_id": 2, "n": 2}}
        assert int(moment.position[9:], 16) == ledger.last
        assert not moment.snapshot


async def test_events_go_on_after_a_position_and_begin_at_a_date(service: Service) -> None:
    began = dt.datetime.now(dt.UTC)
    async with connect(service.url) as rt:
        async with rt.events(["orders", "customers"], operations=["insert"]) as events:
            for number in range(3):
                await rt.insert("orders", {"_id": number})
            await rt.insert("customers", {"_id": 3})
            await rt.insert("others", {"_id": 4})
            async with asyncio.timeout(PATIENCE):
                first = [await anext(events) for _ in range(2)]
                position = events.position
                rest = [await anext(events) for _ in range(2)]
        assert [(event.collection, event.key) for event in [*first, *rest]] == [
            *(("orders", number) for number in range(3)),
            ("customers", 3),
        ]
        assert first[0].document == {"_id": 0}
        assert first[0].wall_time is not None
        assert abs(first[0].wall_time - began) < dt.timedelta(seconds=60)
        async with asyncio.timeout(PATIENCE):
            again = rt.events("*", position=position)
            assert [(await anext(again)).key for _ in range(3)] == [2, 3, 4]
            since = rt.events("customers", since=began)
            assert (await anext(since)).key == 3


async def test_a_hundred_subscriptions_share_one_connection(service: Service) -> None:
    async with connect(service.url) as rt:
        views = [rt.query("orders", filter={"n": {"$gte": number % 10}}) for number in range(100)]
        for view in views:
            await view.__aenter__()
        written = await rt.insert("orders", {"_id": 1, "n": 4})
        await rt.settled(written.position)
        assert [len(view.documents) for view in views] == [int(number % 10 <= 4) for number in range(100)]
        for view in views[::2]:
            view.close()
        written = await rt.insert("orders", {"_id": 2, "n": 4})
        await rt.settled(written.position)
        assert [len(view.documents) for view in views[1::2]] == [
            2 * int(number % 10 <= 4) for number in range(1, 100, 2)
        ]
        assert {view.state for view in views[::2]} == {"closed"}
