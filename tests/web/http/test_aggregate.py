"""Pipelines over HTTP, once: what MongoDB says of them, under rules, within bounds, and gone with whoever asked."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson import Timestamp, decode, encode

from realtime.core.bson import ejson
from realtime.core.live.events import parse_position
from tests.access.issuer import SECRET, signer
from tests.mongo.commands import until
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.streams import Stream, streaming

Stages = list[dict[str, Any]]
PATH = "/v1/collections/orders/aggregate"
NDJSON = "application/x-ndjson"
LINES = [{"p": "tea", "price": 2, "qty": 3}, {"p": "cup", "price": 5, "qty": 1}]
CITIES = ("Oslo", "Porto", "Riga")
ORDERS = [
    {"_id": n, "city": CITIES[n % 3], "status": "open" if n % 4 else "sent", "n": n % 50, "lines": LINES[: 1 + n % 2]}
    for n in range(300)
]
REVENUE: Stages = [
    {"$match": {"status": "open"}},
    {"$unwind": "$lines"},
    {"$group": {"_id": "$city", "revenue": {"$sum": {"$multiply": ["$lines.price", "$lines.qty"]}}}},
    {"$match": {"revenue": {"$gt": 0}}},
    {"$sort": {"revenue": -1}},
]
PIPELINES: dict[str, Stages] = {
    "nothing": [],
    "documents": [{"$match": {"n": {"$gte": 40}}}, {"$set": {"m": {"$add": ["$n", 1]}}}, {"$unset": "lines"}],
    "first": [{"$sort": {"n": -1}}, {"$skip": 3}, {"$limit": 7}, {"$project": {"n": 1}}],
    "revenue": REVENUE,
    "count": [{"$match": {"n": 3}}, {"$count": "threes"}],
    "none to count": [{"$match": {"n": -3}}, {"$count": "threes"}],
    "by count": [{"$sortByCount": "$city"}],
}


@pytest.fixture(scope="module")
async def shared(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    async with serving(replica_set, feed_await_ms=100, linger_seconds=0, documents=1000, read_only=True) as running:
        running.database.orders.insert_many(ORDERS)
        running.database.create_collection("a_view", viewOn="orders", pipeline=[])
        running.database.create_collection("capped", capped=True, size=4096)
        running.database.capped.insert_one({"_id": 1})
        yield running


@pytest.fixture
def service(shared: Service) -> Service:
    return shared


async def get(service: Service, stages: Any, accept: str = "*/*", path: str = PATH, **more: Any) -> httpx.Response:
    text = stages if isinstance(stages, str) else ejson.encode(stages).decode()
    return await service.http.get(path, params={"pipeline": text, **more}, headers={"Accept": accept})


async def post(service: Service, stages: Any, accept: str = "*/*", path: str = PATH, **more: Any) -> httpx.Response:
    body = stages if isinstance(stages, bytes) else ejson.encode(stages)
    return await service.http.post(path, content=body, params=more, headers={"Accept": accept})


def oracle(service: Service, stages: Stages) -> list[Any]:
    """What MongoDB says of the client's own pipeline, as it is shown."""
    found = service.database.orders.aggregate(list(whole(stages)))
    rows: list[Any] = json.loads(ejson.encode([decode(encode(row)) for row in found]))
    return rows if "$sort" in str(stages) or "$sortByCount" in str(stages) else by_key(rows)


def whole(stages: Stages) -> Iterator[dict[str, Any]]:
    """The stages with `_id` at the end of every sort, as they are meant here."""
    for stage in stages:
        yield {"$sort": {**stage["$sort"], "_id": 1}} if "$sort" in stage else stage
        if "$sortByCount" in stage:
            yield {"$sort": {"count": -1, "_id": 1}}


def by_key(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: json.dumps(row.get("_id")))


@pytest.mark.parametrize("name", PIPELINES)
async def test_by_every_way_the_rows_are_those_of_mongodb(service: Service, name: str) -> None:
    stages = PIPELINES[name]
    expected = oracle(service, stages)
    assert expected or name == "none to count"
    ordered = any("$sort" in str(stage) for stage in stages)
    got = [await get(service, stages), await post(service, stages)]
    lines = [await get(service, stages, NDJSON), await post(service, stages, NDJSON)]
    assert {answer.status_code for answer in got + lines} == {200}, got[0].text
    for answer in got:
        assert answer.headers["content-type"] == "application/json"
        assert (answer.json()["documents"] if ordered else by_key(answer.json()["documents"])) == expected
    for answer in lines:
        *rows, end = [json.loads(line) for line in answer.text.splitlines()]
        assert end == {"end": True}
        assert (rows if ordered else by_key(rows)) == expected


async def test_the_position_is_that_of_the_read(service: Service) -> None:
    """A write that was answered before is in it, and the position is no earlier than the write's."""
    epoch = service.realtime.live().epoch
    for number in range(5):
        service.database.others.insert_one({"_id": f"p{number}"})
        answer = await get(service, [{"$count": "n"}], path="/v1/collections/others/aggregate")
        assert answer.json()["documents"] == [{"n": number + 1}]
        later = await get(service, [{"$count": "n"}], path="/v1/collections/others/aggregate")
        assert parse_position(later.json()["position"], epoch) >= parse_position(answer.json()["position"], epoch) > 0


async def test_of_a_collection_that_is_not_there_there_are_no_rows(service: Service) -> None:
    answer = await get(service, [{"$sortByCount": "$a"}], path="/v1/collections/nowhere/aggregate")
    assert (answer.status_code, answer.json()["documents"]) == (200, [])
    lines = await get(service, [], NDJSON, path="/v1/collections/nowhere/aggregate")
    assert lines.text == '{"end":true}\n'


async def test_a_head_is_the_head_of_the_answer(service: Service) -> None:
    for accept in ("application/json", NDJSON, "text/event-stream"):
        answer = await service.http.head(PATH, params={"pipeline": "[]"}, headers={"Accept": accept})
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"].split(";")[0] == accept
        assert "Accept" in answer.headers["vary"]


REFUSED: dict[str, tuple[Any, dict[str, str], int, str]] = {
    "another collection": ([{"$lookup": {"from": "a", "as": "b"}}], {}, 422, "unsupported_operator"),
    "a write": ([{"$out": "orders"}], {}, 422, "unsupported_operator"),
    "another write": ([{"$merge": "orders"}], {}, 422, "unsupported_operator"),
    "code": ([{"$match": {"$where": "true"}}], {}, 422, "unsupported_operator"),
    "more code": ([{"$set": {"a": {"$function": {}}}}], {}, 422, "unsupported_operator"),
    "a stage that MongoDB refuses": ([{"$match": {"$and": []}}], {}, 422, "invalid_filter"),
    "a document that fails": ([{"$set": {"a": {"$divide": [1, "$n"]}}}], {}, 422, "invalid_document"),
    "a zone that is none": (
        [{"$set": {"a": {"$hour": {"date": "$at", "timezone": "Nowhere/At_All"}}}}],
        {},
        422,
        "invalid_filter",
    ),
    "a throttle": ([], {"throttle": "5"}, 422, "invalid_request"),
    "a position": ([], {"position": "x"}, 422, "invalid_request"),
    "what is not known": ([], {"filter": "{}"}, 422, "invalid_request"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_is_a_problem_by_both_methods(service: Service, name: str) -> None:
    stages, more, status, code = REFUSED[name]
    for accept in ("application/json", NDJSON):
        for answer in (await get(service, stages, accept, **more), await post(service, stages, accept, **more)):
            told = answer.text.splitlines()[-1]
            if accept == NDJSON and code == "invalid_document" and answer.status_code == 200:
                assert json.loads(told)["error"]["code"] == code
                continue
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "stages", ["", "{}", '{"$count":"n"}', "5", "[5]", "[[]]", "[{}]", "[", '[{"$count":"n","$match":{}}]']
)
async def test_what_is_no_pipeline_is_refused(service: Service, stages: str) -> None:
    answers = [await get(service, stages)]
    if stages:
        answers.append(await post(service, stages.encode()))
    for answer in answers:
        assert answer.status_code in {400, 422}, answer.text
        assert answer.json()["code"] in {"invalid_request", "invalid_filter", "malformed_frame", "unsupported_operator"}


async def test_a_body_is_bounded_before_it_is_read_and_not_compressed(service: Service) -> None:
    large = b"[" + b" " * 1_100_000 + b"]"
    assert (await post(service, large)).json()["code"] == "too_large"
    packed = await service.http.post(PATH, content=b"[]", headers={"Content-Encoding": "gzip"})
    assert packed.status_code == 415
    assert (await post(service, b"")).json()["code"] == "malformed_frame"


async def test_where_there_is_no_snapshot_there_are_lines_alone(service: Service) -> None:
    for name, lines in (("a_view", False), ("capped", True)):
        path = f"/v1/collections/{name}/aggregate"
        answer = await get(service, [], path=path)
        assert (answer.status_code, answer.json()["code"]) == (422, "unsupported_collection")
        answer = await get(service, [], NDJSON, path=path)
        assert answer.text == '{"_id":1}\n{"end":true}\n' if lines else answer.status_code == 422


async def test_more_rows_than_a_live_query_may_have_come_as_lines_alone(service: Service) -> None:
    many = [{"_id": n, "lines": []} for n in range(1001)]
    service.database.many.insert_many(many)
    path = "/v1/collections/many/aggregate"
    answer = await get(service, [{"$set": {"m": 1}}], path=path)
    assert (answer.status_code, answer.json()["code"], answer.json()["details"]) == (413, "too_large", {"limit": 1000})
    assert len((await get(service, [{"$set": {"m": 1}}], NDJSON, path=path)).text.splitlines()) == 1002


async def test_what_is_of_the_last_minutes_is_so_at_the_second_of_the_position(service: Service) -> None:
    """Compared with MongoDB's own `$$NOW`, pinned to that second."""
    moved = service.database.moved
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    moved.insert_many({"_id": n, "at": now - dt.timedelta(seconds=n)} for n in range(120))
    recent: Stages = [
        {"$match": {"$expr": {"$gte": ["$at", {"$subtract": ["$$NOW", 60_000]}]}}},
        {"$group": {"_id": None, "n": {"$sum": 1}, "oldest": {"$max": "$_id"}}},
    ]
    epoch, path = service.realtime.live().epoch, "/v1/collections/moved/aggregate"
    for answer in (await get(service, recent, path=path), await post(service, recent, path=path)):
        second = parse_position(answer.json()["position"], epoch) >> 32
        pinned = {"localNow": dt.datetime.fromtimestamp(second, dt.UTC), "clusterTime": Timestamp(second, 1)}
        reply = service.database.command("aggregate", "moved", pipeline=recent, cursor={}, runtimeConstants=pinned)
        assert answer.json()["documents"] == reply["cursor"]["firstBatch"] != []
    row, end = (await get(service, recent, NDJSON, path=path)).text.splitlines()
    assert (40 < json.loads(row)["n"] <= 61, end) == (True, '{"end":true}')
    refused = await get(service, [{"$set": {"a": "$$NOW"}}], path=path)
    assert (refused.status_code, refused.json()["code"]) == (422, "unsupported_operator")


# ---------------------------------------------------------------------------------------------------------------- live

LIVE = "/v1/collections/live/aggregate"
SUMS: Stages = [{"$unwind": "$lines"}, {"$group": {"_id": "$city", "qty": {"$sum": "$lines.qty"}}}]


@asynccontextmanager
async def streamed(service: Service, method: str, stages: Stages, **more: str) -> AsyncIterator[Stream]:
    """The live query, by its address or by a body."""
    text = ejson.encode(stages).decode()
    if method == "GET":
        async with streaming(service.url, LIVE, pipeline=text, **more) as stream:
            yield stream
        return
    headers = {"Accept": "text/event-stream"}
    async with (
        httpx.AsyncClient(base_url=service.url, timeout=None) as http,
        http.stream("POST", LIVE, headers=headers, params=more, content=text) as response,
    ):
        stream = Stream(response.status_code, response.headers)
        reading = asyncio.create_task(stream.read(response.aiter_lines()))
        try:
            yield stream
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_as_an_event_stream_it_is_the_live_query(service: Service, method: str) -> None:
    collection = service.database.live
    collection.delete_many({})
    collection.insert_many(ORDERS[:30])
    async with streamed(service, method, SUMS, throttle="0") as stream:
        await stream.when(lambda: stream.of("live"))
        assert (stream.status, stream.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
        assert [event.frame["type"] for event in stream.events] == ["subscribed", "snapshot", "live"]
        assert stream.events[0].id == ""
        rows = {row["_id"]: row for row in stream.frames[1]["documents"]}
        assert rows == {row["_id"]: row for row in collection.aggregate(SUMS)}
        collection.insert_one({"_id": "new", "city": "Cork", "lines": LINES})
        await stream.when(lambda: stream.of("changes"))
        (event,) = stream.of("changes")
        assert event.frame["changes"] == [{"op": "enter", "key": "Cork", "document": {"_id": "Cork", "qty": 4}}]
        assert event.id == event.frame["position"]


async def test_the_stream_of_a_count_names_its_key(service: Service) -> None:
    service.database.live.delete_many({})
    async with streamed(service, "GET", [{"$count": "n"}]) as stream:
        await stream.when(lambda: stream.of("live"))
        assert (stream.frames[1]["documents"], stream.frames[1]["keys"]) == ([], [])
        service.database.live.insert_one({"_id": 1})
        await stream.when(lambda: stream.of("changes"))
        (event,) = stream.of("changes")
        assert event.frame["changes"] == [{"op": "enter", "key": None, "document": {"n": 1}}]
        async with streamed(service, "POST", [{"$count": "n"}]) as other:
            await other.when(lambda: other.of("live"))
            assert (other.frames[1]["documents"], other.frames[1]["keys"]) == ([{"n": 1}], [None])


async def test_a_pipeline_that_keeps_documents_goes_on_after_a_position_and_one_of_rows_begins_afresh(
    service: Service,
) -> None:
    collection = service.database.live
    collection.delete_many({})
    collection.insert_many(ORDERS[:5])
    alone: Stages = [{"$set": {"m": {"$add": ["$n", 1]}}}, {"$unset": "lines"}]
    for stages, recovered in ((alone, True), (SUMS, False)):
        async with streamed(service, "GET", stages) as stream:
            await stream.when(partial(stream.of, "live"))
            last = stream.last_id
            assert last
        collection.update_one({"_id": 1}, {"$inc": {"n": 100}})
        text = ejson.encode(stages).decode()
        async with streaming(service.url, LIVE, pipeline=text, last_id=last) as again:
            await again.when(partial(again.of, "live"))
            assert again.frames[0]["recovered"] is recovered
            assert again.frames[1]["type"] == ("changes" if recovered else "snapshot")


# ------------------------------------------------------------------------------------------------------ who goes away


def running(service: Service) -> int:
    """Commands and cursors on the orders, whoever's, that MongoDB has not been told to end."""
    under_way: Stages = [
        {"$currentOp": {"idleCursors": True}},
        {"$match": {"ns": f"{service.database.name}.orders", "killPending": {"$ne": True}}},
        {"$match": {"$or": [{"type": "idleCursor"}, {"op": {"$ne": "none"}}]}},
    ]
    return len(list(service.database.client.admin.aggregate(under_way)))


THOUSANDS = {"$range": [0, 4000]}
COUNTED = {"$reduce": {"input": THOUSANDS, "initialValue": "$$value", "in": {"$add": ["$$value", 1]}}}
SLOW: Stages = [{"$set": {"m": {"$reduce": {"input": {"$range": [0, 40]}, "initialValue": "$n", "in": COUNTED}}}}]
"""Many seconds for all documents; MongoDB looks after every hundred or so whether it is to stop."""


@pytest.mark.parametrize("accept", ["application/json", NDJSON])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_who_goes_away_takes_the_work_along(service: Service, method: str, accept: str) -> None:
    await until(lambda: running(service) == 0)
    host, _, port = service.url.removeprefix("http://").rstrip("/").partition(":")
    text = ejson.encode(SLOW)
    query = f"?{httpx.QueryParams({'pipeline': text.decode()})}" if method == "GET" else ""
    head = f"{method} {PATH}{query} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n"
    body = b"" if method == "GET" else text
    taken = await asyncio.to_thread(socket.create_connection, (host, int(port)))
    taken.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await until(lambda: running(service) > 0)
    taken.close()
    await until(lambda: running(service) == 0, seconds=3)
    assert (await get(service, [{"$count": "n"}])).json()["documents"] == [{"n": 300}]


# --------------------------------------------------------------------------------------------------------- under rules

SIGNER = signer("HS256")
RULES = """
orders:
  customer: {read: {owner: $user.sub}, fields: {hide: [margin, notes.internal]}}
  clerk: {read: {status: open}, fields: {show: [status, margin]}}
  twin: {read: {owner: bob}, fields: {hide: [notes.internal, margin]}}
  author: {insert: true}
"*":
  admin: {read: true}
"""
OWNED = [
    {"_id": 1, "owner": "ann", "status": "open", "margin": 5, "notes": {"internal": "secret 1", "text": "a"}, "n": 1},
    {"_id": 2, "owner": "ann", "status": "done", "margin": 6, "notes": [{"internal": "secret 2"}], "n": 2},
    {"_id": 3, "owner": "bob", "status": "open", "margin": 7, "notes": "secret 3", "n": 0},
]


@pytest.fixture(scope="module")
async def ruled(replica_set: ReplicaSet, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    rules: Path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules.write_text(RULES)
    asks = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop", "feed_await_ms": 100, "rules": rules}
    async with serving(replica_set, **asks) as running:
        running.database.orders.insert_many(OWNED)
        yield running


async def rows(service: Service, stages: Stages, sub: str, *roles: str) -> Any:
    """The rows by all four ways, which are one; or the code of the problem."""
    token = {"Authorization": f"Bearer {SIGNER.token(sub=sub, roles=list(roles))}"}
    told = []
    for accept in ("application/json", NDJSON):
        text = ejson.encode(stages)
        headers = {**token, "Accept": accept}
        one = await service.http.get(PATH, params={"pipeline": text.decode()}, headers=headers)
        other = await service.http.post(PATH, content=text, headers=headers)
        for answer in (one, other):
            assert "secret" not in answer.text
            if answer.status_code != 200:
                told.append(answer.json()["code"])
            elif accept == NDJSON:
                *lines, end = [json.loads(line) for line in answer.text.splitlines()]
                told.append(lines if end == {"end": True} else end["error"]["code"])
            else:
                told.append(answer.json()["documents"])
    assert all(one == told[0] for one in told), told
    return told[0]


NAMES: Stages = [
    {"$project": {"names": {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": "$$this.k"}}, "notes": 1}},
    {"$sort": {"_id": 1}},
    {"$limit": 9},
]
CUT = [
    {"_id": 1, "notes": {"text": "a"}, "names": ["_id", "owner", "status", "notes", "n"]},
    {"_id": 2, "notes": [{}], "names": ["_id", "owner", "status", "notes", "n"]},
]


async def test_rows_are_made_of_what_may_be_seen(ruled: Service) -> None:
    assert await rows(ruled, NAMES, "ann", "customer") == CUT
    assert [row["names"] for row in await rows(ruled, NAMES, "x", "clerk")] == [["_id", "status", "margin"]] * 2
    assert await rows(ruled, [{"$count": "n"}], "ann", "customer") == [{"n": 2}]
    assert await rows(ruled, [{"$count": "n"}], "eve", "customer") == []
    assert await rows(ruled, [{"$count": "n"}], "eve", "admin") == [{"n": 3}]
    total: Stages = [{"$group": {"_id": None, "margin": {"$sum": "$margin"}, "n": {"$sum": "$n"}}}]
    assert await rows(ruled, total, "ann", "customer") == [{"_id": None, "margin": 0, "n": 3}]


async def test_a_document_that_may_not_be_seen_makes_nothing_fail(ruled: Service) -> None:
    failing = {"$gt": [{"$divide": [1, "$n"]}, 0]}
    asked: list[Stages] = [
        [{"$match": {"$expr": failing}}, {"$count": "n"}],
        [{"$set": {"m": 1}}, {"$match": {"$expr": failing}}, {"$count": "n"}],
        [{"$match": {"$or": [{"$expr": failing}, {"x": 1}]}}, {"$count": "n"}],
        [{"$set": {"m": {"$divide": [1, "$n"]}}}, {"$count": "n"}],
    ]
    for stages in asked:
        assert await rows(ruled, stages, "ann", "customer") == [{"n": 2}], stages


async def test_nobody_matches_by_what_is_hidden_and_what_comes_later_does_not_find_it(ruled: Service) -> None:
    assert await rows(ruled, [{"$match": {"margin": 5}}], "ann", "customer") == "forbidden"
    later: Stages = [{"$set": {"m": 1}}, {"$match": {"margin": 5}}, {"$count": "n"}]
    assert await rows(ruled, later, "ann", "customer") == []
    assert await rows(ruled, later, "ann", "admin") == [{"n": 1}]


async def test_the_place_of_a_field_tells_nothing_of_a_hidden_one(ruled: Service) -> None:
    named = {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": "$$this.k"}}
    stages: Stages = [{"$set": {"margin": 1}}, {"$project": {"names": named}}, {"$sort": {"_id": 1}}, {"$limit": 9}]
    told = await rows(ruled, stages, "ann", "customer")
    assert [row["names"][-1] for row in told] == ["margin"] * 2, told
    inside: list[Stages] = [
        [{"$set": {"notes.internal": 1}}],
        [{"$set": {"notes": {"internal": 1}}}],
        [{"$set": {"m": {"$setField": {"field": {"$literal": "internal"}, "input": "$$ROOT", "value": 1}}}}],
    ]
    for begin in inside:
        stages = [*begin, {"$sort": {"_id": 1}}, {"$limit": 9}, {"$project": {"_id": 1}}]
        assert await rows(ruled, stages, "ann", "customer") == "forbidden"
        assert len(await rows(ruled, stages, "ann", "admin")) == 3
    other: Stages = [{"$set": {"notes.seen": "$notes.internal"}}, {"$sort": {"_id": 1}}, {"$limit": 1}]
    assert (await rows(ruled, other, "ann", "customer"))[0]["notes"] == {"text": "a"}


async def test_several_grants_are_one_where_they_show_the_same(ruled: Service) -> None:
    two: Stages = [{"$project": {"margin": 1}}, {"$sort": {"_id": 1}}, {"$limit": 9}]
    both = await rows(ruled, two, "ann", "customer", "twin")
    assert both == [{"_id": 1}, {"_id": 2}, {"_id": 3}]
    assert await rows(ruled, [{"$count": "n"}], "ann", "customer", "clerk") == "forbidden"


async def test_without_a_grant_there_is_one_answer(ruled: Service) -> None:
    assert await rows(ruled, [{"$count": "n"}], "ann", "author") == "forbidden"
    assert (await ruled.http.get(PATH, params={"pipeline": "[]"})).status_code == 401
    assert (await ruled.http.post(PATH, content=b"[]")).status_code == 401
