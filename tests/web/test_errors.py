"""Every row of the protocol's error table that applies so far, provoked; the connection and its neighbours live on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from realtime import errors
from realtime.mongo import embedded
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import Wire, wired

EPOCH_OF_ANOTHER = "00000000-6B03359500000001"

Case = tuple[str, dict[str, Any] | str]
OVER_THE_SOCKET: list[Case] = [
    ("malformed_frame", "{"),
    ("malformed_frame", "[1, 2]"),
    ("malformed_frame", '{"type": "ping", "id": "1", "id": "2"}'),
    ("malformed_frame", '{"type": "ping", "id": NaN}'),
    ("malformed_frame", '{"type": "ping", "id": "\\ud800"}'),
    ("malformed_frame", "[" * 100_000),
    ("unknown_type", {"type": "publish"}),
    ("unknown_type", {"type": 7}),
    ("invalid_request", {"type": "subscribe"}),
    ("invalid_request", {"type": "subscribe", "collection": "orders", "filter": {"_id": {"$oid": "xyz"}}}),
    ("invalid_request", {"type": "subscribe", "collection": "orders", "filters": {}}),
    ("invalid_request", {"type": "subscribe", "collection": "orders", "mode": "all"}),
    ("invalid_request", {"type": "subscribe", "collection": "orders", "since": {"$date": "2026-01-01T00:00:00Z"}}),
    ("invalid_request", {"type": "subscribe", "collection": ["orders"]}),
    ("invalid_request", {"type": "subscribe", "mode": "events", "collection": ["orders", "*"]}),
    ("invalid_request", {"type": "subscribe", "collection": "orders", "projection": {"_id": 0}}),
    ("invalid_request", {"type": "subscribe", "collection": "orders", "projection": {"a": 1, "b": 0}}),
    ("invalid_request", {"type": "insert", "collection": "orders", "document": {"$set": 1}}),
    ("invalid_request", {"type": "insert", "collection": "orders", "document": {"a": [{"$b": 1}]}}),
    ("invalid_request", {"type": "insert", "collection": "orders", "document": [{}]}),
    ("invalid_request", {"type": "replace", "collection": "orders", "key": 1, "document": {"_id": 2}}),
    ("invalid_request", {"type": "auth", "token": "x"}),
    ("invalid_filter", {"type": "subscribe", "collection": "orders", "filter": {"$and": []}}),
    ("invalid_filter", {"type": "subscribe", "collection": "orders", "filter": {"a": {"$in": 1}}}),
    ("invalid_filter", {"type": "delete", "collection": "orders", "key": 1, "where": {"a": {"$gt": 1, "b": 2}}}),
    ("invalid_update", {"type": "update", "collection": "orders", "key": 1, "update": {"a": 1}}),
    ("invalid_update", {"type": "update", "collection": "orders", "key": 1, "update": {}}),
    ("invalid_update", {"type": "update", "collection": "orders", "key": 1, "update": {"$inc": {"text": 1}}}),
    ("unsupported_operator", {"type": "subscribe", "collection": "orders", "filter": {"$where": "true"}}),
    ("unsupported_operator", {"type": "subscribe", "collection": "orders", "filter": {"$expr": {"$rand": {}}}}),
    ("unsupported_operator", {"type": "subscribe", "collection": "orders", "filter": {"a": {"$regex": "(?=x)"}}}),
    ("unsupported_operator", {"type": "subscribe", "collection": "orders", "projection": {"a": {"$slice": 1}}}),
    ("unsupported_operator", {"type": "subscribe", "collection": "orders", "skip": 5}),
    ("invalid_request", {"type": "subscribe", "collection": "orders", "sort": [["a", 0]]}),
    ("invalid_request", {"type": "subscribe", "collection": "orders", "limit": 10_001}),
    ("invalid_request", {"type": "subscribe", "collection": "orders", "group": {"by": "status"}}),
    ("unsupported_operator", {"type": "update", "collection": "orders", "key": 1, "update": {"$where": {"a": 1}}}),
    ("unsupported_operator", {"type": "update", "collection": "orders", "key": 1, "update": {"$set": {"a.$[]": 1}}}),
    ("unsupported_collection", {"type": "subscribe", "collection": "realtime_own"}),
    ("unsupported_collection", {"type": "subscribe", "collection": "system.users"}),
    ("unsupported_collection", {"type": "subscribe", "collection": "a_view"}),
    ("unsupported_collection", {"type": "subscribe", "collection": "a_series", "mode": "events"}),
    ("unsupported_collection", {"type": "subscribe", "collection": "collated"}),
    ("unsupported_collection", {"type": "insert", "collection": "a_view", "document": {}}),
    ("invalid_position", {"type": "subscribe", "collection": "orders", "mode": "events", "position": "yesterday"}),
    ("invalid_position", {"type": "subscribe", "collection": "orders", "mode": "events", "position": EPOCH_OF_ANOTHER}),
    ("invalid_position", {"type": "ping", "position": EPOCH_OF_ANOTHER}),
    ("not_found", {"type": "unsubscribe", "id": "never"}),
    ("not_found", {"type": "delete", "collection": "orders", "key": "nobody"}),
    ("not_found", {"type": "update", "collection": "orders", "key": "nobody", "update": {"$set": {"a": 1}}}),
    ("duplicate_key", {"type": "insert", "collection": "orders", "document": {"_id": 1}}),
    ("precondition_failed", {"type": "delete", "collection": "orders", "key": 1, "where": {"text": "other"}}),
    ("validation_failed", {"type": "insert", "collection": "strict", "document": {"a": "not a number"}}),
    ("too_large", {"type": "subscribe", "collection": "many"}),
]


@pytest.fixture(scope="module")
async def small(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    """A service with small limits and collections of every kind."""
    limits = {"documents": 10, "subscriptions": 3, "frame_bytes": 262_144, "feed_await_ms": 100}
    async with serving(replica_set, **limits) as service:
        database = service.database
        database.orders.insert_one({"_id": 1, "text": "x"})
        database.many.insert_many({"_id": n} for n in range(11))
        database.create_collection("a_view", viewOn="orders", pipeline=[])
        database.create_collection("a_series", timeseries={"timeField": "at"})
        database.create_collection("collated", collation={"locale": "en", "strength": 2})
        database.create_collection("strict", validator={"a": {"$type": "number"}})
        yield service


async def refused(wire: Wire, frame: dict[str, Any] | str) -> dict[str, Any]:
    """The error that answers a frame."""
    after = len(wire.frames)
    if isinstance(frame, str):
        await wire.socket.send(frame)
    else:
        await wire.send(**{"id": "bad", **frame})
    return await wire.until(lambda got: got["type"] in {"error", "result", "subscribed", "pong"}, after=after)


async def lives_on(wire: Wire, service: Service, mark: str) -> None:
    """The other subscription of the connection still gets what happens."""
    service.database.orders.insert_one({"_id": mark})
    await wire.when(lambda: f'"{mark}"' in wire.views["good"].documents)
    service.database.orders.delete_one({"_id": mark})
    await wire.when(lambda: f'"{mark}"' not in wire.views["good"].documents)


@pytest.mark.parametrize(("code", "frame"), OVER_THE_SOCKET, ids=range(len(OVER_THE_SOCKET)))
async def test_a_bad_frame_gets_its_error_and_ends_nothing(
    small: Service, code: str, frame: dict[str, Any] | str
) -> None:
    async with wired(small.url) as wire:
        await wire.subscribe("orders", id="good")
        answer = await refused(wire, frame)
        assert (answer["type"], answer.get("code")) == ("error", code), answer
        assert answer["message"]
        if isinstance(frame, dict):
            assert answer["id"] == frame.get("id", "bad")
        await lives_on(wire, small, "still")
    assert small.database.orders.count_documents({}) == 1


def test_every_code_of_the_table_is_provoked_here_or_named_with_where() -> None:
    elsewhere = {
        "history_lost": "test_history_that_is_gone",
        "too_many_subscriptions": "test_the_subscription_over_the_limit",
        "rate_limited": "test_writes_over_the_limit",
        "forbidden": "tests/web/entrance/test_entrance.py",
        "unavailable": "tests/e2e/test_outage.py",
        "invalid_document": "tests/exact/test_expressions.py",
        "unsupported_value": "tests/exact/test_expressions.py",
        "timeout": "test_a_fence_that_is_never_passed",
        "internal": "tests/web/entrance/test_bugs.py",
        "unauthenticated": "there is no authentication yet: everyone is anonymous",
    }
    provoked = {code for code, _ in OVER_THE_SOCKET} | elsewhere.keys()
    table = {kind.code for kind in errors.ServiceError.__subclasses__()} | {"internal"}
    assert provoked == table
    assert len(table) == 23


async def test_history_that_is_gone_says_how_far_back_it_reaches(tmp_path: Path) -> None:
    """A set whose oplog holds 1 MB: what was at the start is gone for good."""
    small_oplog = ("--oplogSize", "1", "--syncdelay", "1")
    async with embedded.running(tmp_path, extra_args=small_oplog) as mongo:
        own = ReplicaSet(uri=mongo.uri, lane="embedded", can_fail_commands=False)
        async with serving(own, feed_await_ms=100, journal_bytes=0) as service, wired(service.url) as wire:
            await wire.subscribe("orders", id="good")
            start = wire.frames[0]["position"]
            oplog: Any = service.database.client["local"]["oplog.rs"]
            first = await asyncio.to_thread(oplog.find_one, sort=[("$natural", 1)])
            async with asyncio.timeout(60):
                while (await asyncio.to_thread(oplog.find_one, sort=[("$natural", 1)])) == first:
                    many = [{"text": "x" * 2000} for _ in range(500)]
                    await asyncio.to_thread(service.database.other.insert_many, many)
            old = await refused(
                wire, {"type": "subscribe", "mode": "events", "collection": "orders", "position": start}
            )
            await lives_on(wire, service, "still")
    assert old["code"] == "history_lost"
    assert old["details"]["oldest"]["$date"] > "2026"


async def test_a_position_far_ahead_is_no_position(small: Service) -> None:
    async with wired(small.url) as wire:
        await wire.subscribe("orders", id="good")
        ahead = wire.frames[0]["position"][:9] + "FFFFFFFF00000001"
        future = await refused(wire, {"type": "subscribe", "mode": "events", "collection": "orders", "position": ahead})
        await lives_on(wire, small, "still")
    assert future["code"] == "invalid_position"


async def test_a_position_in_query_mode_is_never_an_error(small: Service) -> None:
    async with wired(small.url) as wire:
        for number, position in enumerate(("rubbish", EPOCH_OF_ANOTHER, wire.frames[0]["position"])):
            view = await wire.subscribe("orders", id=f"q{number}", position=position, query="0" * 32)
            assert list(view.documents) == ["1"]
    assert [frame["recovered"] for frame in wire.of("subscribed")] == [False] * 3


async def test_the_subscription_over_the_limit_is_refused(small: Service) -> None:
    async with wired(small.url) as wire:
        await wire.subscribe("orders", id="good")
        for name in ("two", "three"):
            await wire.subscribe("orders", id=name)
        answer = await refused(wire, {"type": "subscribe", "collection": "orders"})
        taken = await refused(wire, {"type": "subscribe", "id": "good", "collection": "orders"})
        await wire.ask(type="unsubscribe", id="two")
        await wire.subscribe("orders", id="four")
        await lives_on(wire, small, "still")
    assert answer["code"] == "too_many_subscriptions"
    assert taken["code"] == "invalid_request"


async def test_too_large_names_the_count(small: Service) -> None:
    async with wired(small.url) as wire:
        answer = await refused(wire, {"type": "subscribe", "collection": "many"})
    assert answer["details"] == {"count": 11, "limit": 10}


async def test_a_live_result_that_outgrows_the_limit_ends_with_too_large(small: Service) -> None:
    async with wired(small.url) as wire:
        await wire.subscribe("orders", id="good")
        await wire.subscribe("growing", id="grows")
        small.database.growing.insert_many({"_id": n} for n in range(11))
        ended = await wire.until(lambda frame: frame["type"] == "unsubscribed")
        await lives_on(wire, small, "still")
    assert (ended["id"], ended["code"], ended["retry"]) == ("grows", "too_large", False)


async def test_a_result_over_its_bytes_is_too_large_where_the_service_has_to_keep_it(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, group_bytes=4096, feed_await_ms=100) as service, wired(service.url) as wire:
        service.database.orders.insert_one({"_id": 1, "text": "x" * 5000})
        answer = await refused(wire, {"type": "subscribe", "collection": "orders", "sort": [["_id", 1]], "limit": 1})
        plain = await wire.subscribe("orders", id="plain")
        assert [len(document["text"]) for document in plain.documents.values()] == [5000]
    assert answer["code"] == "too_large"


async def test_writes_over_the_limit_are_rate_limited_and_the_rest_is_carried_out(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, pending_writes=4, feed_await_ms=100) as service, wired(service.url) as wire:
        count = 40
        frames = [
            json.dumps({"type": "insert", "id": str(n), "collection": "orders", "document": {"_id": n}})
            for n in range(count)
        ]
        for frame in frames:
            await wire.socket.send(frame)
        await wire.when(lambda: len(wire.of("result")) + len(wire.of("error")) == count)
        limited = wire.of("error")
        assert {error["code"] for error in limited} == {"rate_limited"}
        assert all(error["retry"] and error["retry_after"] > 0 for error in limited)
        done = {int(answer["id"]) for answer in wire.of("result")}
        assert {document["_id"] for document in service.database.orders.find()} == done
    assert len(done) >= 4
    assert limited


async def test_a_fence_that_is_never_passed_times_out(small: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.web.socket.fence.FENCE_SECONDS", 0.3)
    async with wired(small.url) as wire:
        await wire.subscribe("orders", id="good")
        never = wire.frames[0]["position"][:9] + "FFFFFFFF00000001"
        answer = await wire.ask(type="ping", position=never)
        await lives_on(wire, small, "still")
    assert (answer["code"], answer["retry"]) == ("timeout", True)


async def test_a_frame_over_the_limit_closes_with_1009(small: Service) -> None:
    async with wired(small.url) as wire:
        await wire.socket.send(json.dumps({"type": "ping", "id": "1", "pad": "x" * 300_000}))
        await wire.when(lambda: wire.closed is not None)
    assert wire.closed is not None
    assert wire.closed[0] == 1009


async def test_a_binary_frame_is_malformed(small: Service) -> None:
    async with wired(small.url) as wire:
        await wire.socket.send(b'{"type": "ping", "id": "1"}')
        answer = await wire.until(lambda frame: frame["type"] == "error")
        assert (await wire.ask(type="ping"))["type"] == "pong"
    assert answer["code"] == "malformed_frame"


OVER_HTTP: list[tuple[str, int, str, str, dict[str, Any]]] = [
    ("malformed_frame", 400, "POST", "/orders/documents", {"content": "{"}),
    ("invalid_request", 422, "POST", "/orders/documents", {"json": []}),
    ("invalid_request", 422, "POST", "/orders/documents", {"json": [{}] * 1001}),
    ("invalid_request", 422, "POST", "/orders/documents", {"json": [{}, 7]}),
    ("invalid_request", 422, "POST", "/orders/documents", {"json": {"$a": 1}}),
    ("invalid_request", 422, "GET", "/orders/documents?limit=1001", {}),
    ("invalid_request", 422, "GET", "/orders/documents?filter={", {}),
    ("invalid_request", 422, "GET", '/orders/documents?sort=[["a",2]]', {}),
    ("invalid_request", 422, "GET", "/orders/documents?after=rubbish", {}),
    ("invalid_request", 422, "PUT", "/orders/documents/1", {"json": {}, "headers": {"If-Match": "unquoted"}}),
    ("precondition_failed", 412, "PUT", "/orders/documents/1", {"json": {}, "headers": {"If-Match": '"x"'}}),
    ("invalid_filter", 422, "GET", '/orders/documents?filter={"$or":[]}', {}),
    ("invalid_update", 422, "PATCH", "/orders/documents/1", {"json": {"a": 1}}),
    ("unsupported_operator", 422, "GET", '/orders/documents?filter={"$where":"1"}', {}),
    ("unsupported_operator", 422, "GET", '/orders/documents?filter={"a":{"$function":1}}', {}),
    ("unsupported_collection", 422, "GET", "/realtime_own/documents", {}),
    ("not_found", 404, "GET", "/orders/documents/nobody", {}),
    ("duplicate_key", 409, "POST", "/orders/documents", {"json": {"_id": 1}}),
    ("validation_failed", 422, "POST", "/strict/documents", {"json": {"a": "x"}}),
    ("too_large", 413, "POST", "/orders/documents", {"content": b'{"a":"' + b"x" * (17 << 20) + b'"}'}),
]


@pytest.mark.parametrize(
    ("code", "status", "method", "path", "options"),
    OVER_HTTP,
    ids=[f"{case[0]}-{n}" for n, case in enumerate(OVER_HTTP)],
)
async def test_over_http_an_error_is_a_problem_document(
    small: Service, code: str, status: int, method: str, path: str, options: dict[str, Any]
) -> None:
    answer = await small.http.request(method, f"/v1/collections{path}", **options)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body = answer.json()
    assert body["code"] == code
    assert body["status"] == status
    assert body["detail"]
    assert small.database.orders.count_documents({}) == 1


async def test_a_patch_without_operators_says_how_to_write_it(small: Service) -> None:
    answer = await small.http.patch("/v1/collections/orders/documents/1", json={"status": "paid"})
    assert '{"$set": {"status": …}}' in answer.json()["detail"]
