"""Server-sent events: the WebSocket's frames, one subscription per request, resumed by `Last-Event-ID`."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from realtime import metrics
from realtime.core.live.events import to_time
from realtime.core.wire import protocol
from realtime.core.wire.protocol import ErrorFrame
from realtime.errors import TooLargeError, UnavailableError
from realtime.web.entrance.asgi_sink import NOBODY
from realtime.web.http.sse import EventSink
from tests.exact.ear import passed
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.streams import Stream, streaming
from tests.wire import wired

DOCUMENTS = "/v1/collections/orders/documents"
EVENTS = "/v1/collections/orders/events"
P = "5FF2E727-6B03446900000002"


@pytest.fixture(scope="module")
async def shared(replica_set: ReplicaSet) -> AsyncIterator[Service]:
    """One service for the tests here that need no other; no query outlives the test that asked it."""
    few = {"heartbeat_seconds": 0.3, "frame_bytes": 8192, "linger_seconds": 0}
    async with serving(replica_set, feed_await_ms=100, **few) as running:
        running.database.create_collection("a_view", viewOn="orders", pipeline=[])
        yield running


@pytest.fixture
def service(shared: Service) -> Service:
    """The service, its orders gone."""
    shared.database.orders.delete_many({})
    return shared


async def live(stream: Stream) -> None:
    await stream.when(lambda: stream.of("live"))


# ------------------------------------------------------------------------------------------------------- which id goes


async def test_the_id_of_every_kind_of_frame() -> None:
    """Told in order: what a heartbeat may promise depends on whether the view is live."""
    heartbeat = protocol.Heartbeat(position=P)
    entry = {"op": "leave", "key": "a", "document": {"position": P}}
    told: list[tuple[protocol.ServerFrame, str | None]] = [
        (heartbeat, None),
        (protocol.Subscribed(id="s", channel=1, recovered=False, query="q"), ""),
        (heartbeat, None),
        (protocol.SnapshotFrame(id="s", documents=[{"_id": P}], first=True, last=False), None),
        (protocol.SnapshotFrame(id="s", documents=[], first=False, last=True, position=P), P),
        (heartbeat, None),
        (protocol.Live(id="s", position=P), P),
        (heartbeat, P),
        (protocol.Heartbeat(position=P, behind=["s"]), None),
        (protocol.Changes(channel=1, changes=[entry], more=True), None),
        (protocol.Changes(channel=1, changes=[entry], position=P), P),
        (protocol.Events(channel=1, events=[], position=P), P),
        (protocol.Status(feed="up", since=dt.datetime(2026, 11, 22, tzinfo=dt.UTC)), None),
        (protocol.Resync(id="s", reason="history_lost"), ""),
        (heartbeat, None),
        (protocol.Subscribed(id="s", channel=1, recovered=True, query="q"), None),
        (protocol.Closing(code=4000, message="draining", retry_after=1), None),
        (protocol.Unsubscribed(id="s", code="too_large", message="x", retry=False, position=P), ""),
        (protocol.ErrorFrame.of(TooLargeError("x"), "s"), ""),
        (protocol.ErrorFrame.of(UnavailableError("x"), "s"), None),
    ]
    sink = EventSink(1000, Unheard())
    got: list[tuple[str | None, Any]] = []
    for frame, _ in told:
        lines = sink.event(frame.encode()).decode().split("\n")
        assert lines[-2:] == ["", ""]
        ids = [line.removeprefix("id:").strip() for line in lines if line.startswith("id:")]
        got.append((ids[0] if ids else None, json.loads(lines[-3].removeprefix("data: "))["type"]))
        assert ("retry: 30000" in lines) == (frame.type in {"unsubscribed", "error"})
    assert got == [(wanted, frame.type) for frame, wanted in told]


class Unheard:
    """A listener for a sink that never fills."""

    def lapsed(self, channel: int) -> None:
        raise AssertionError(channel)

    def drained(self, lapsed: Mapping[int, int]) -> None:
        raise AssertionError(lapsed)


# --------------------------------------------------------------------------------------------------------- both modes


async def test_the_live_query_is_the_websockets_frames_with_positions_as_ids(service: Service) -> None:
    service.database.orders.insert_many([{"_id": "a", "n": 1}, {"_id": "b", "n": 9}])
    given = {"filter": '{"n": {"$lt": 5}}', "projection": '{"n": 1}'}
    async with (
        streaming(service.url, service.documents, **given) as stream,
        wired(service.url) as wire,
    ):
        await live(stream)
        view = await wire.subscribe("orders", id="s", filter={"n": {"$lt": 5}}, projection={"n": 1})
        for n in range(20):
            service.database.orders.insert_one({"_id": n, "n": n % 10, "text": "\r\n\u2028 x"})
        service.database.orders.delete_one({"_id": "a"})
        await stream.when(lambda: any('"leave"' in json.dumps(frame) for frame in stream.frames))
        await wire.when(lambda: '"a"' not in view.documents)
    assert stream.status == 200
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert (stream.headers["cache-control"], stream.headers["x-accel-buffering"]) == ("no-cache", "no")
    assert len(stream.retries) == 1
    assert 1000 <= stream.retries[0] <= 4000
    kinds = [frame["type"] for frame in stream.frames if frame["type"] != "heartbeat"]
    assert kinds[:3] == ["subscribed", "snapshot", "live"]
    over_socket = wire.of("changes")
    assert [event.frame for event in stream.of("changes")] == over_socket
    assert sum(len(frame["changes"]) for frame in over_socket) == 11
    assert all(event.id == event.frame["position"] for event in stream.of("changes"))
    assert stream.of("subscribed")[0].id == ""


async def test_last_event_id_brings_the_live_query_what_changed_since_and_no_more(service: Service) -> None:
    service.database.orders.insert_many({"_id": n} for n in range(50))
    async with streaming(service.url, service.documents) as first:
        await live(first)
        last = first.last_id
    service.database.orders.insert_one({"_id": "new"})
    service.database.orders.delete_one({"_id": 7})
    async with streaming(service.url, service.documents, last_id=last) as again:
        await live(again)
    assert [frame["recovered"] for frame in again.frames if frame["type"] == "subscribed"] == [True]
    assert again.of("snapshot") == []
    changes = [(change["op"], change["key"]) for frame in again.of("changes") for change in frame.frame["changes"]]
    assert changes == [("leave", 7), ("update", "new")]
    async with streaming(service.url, service.documents, position=last) as by_address:
        await live(by_address)
    assert by_address.frames[0]["recovered"]


async def test_a_position_of_another_address_or_no_position_begins_afresh(service: Service) -> None:
    service.database.orders.insert_one({"_id": "a"})
    for last in ("rubbish", "00000000-6B03359500000001", "5"):
        async with streaming(service.url, service.documents, last_id=last) as stream:
            await live(stream)
        assert [event.frame["recovered"] for event in stream.of("subscribed")] == [False]
        assert stream.of("subscribed")[0].id == ""
        assert stream.of("snapshot")[0].frame["documents"] == [{"_id": "a"}]


async def test_events_are_filtered_resumed_and_begin_at_a_date(service: Service) -> None:
    given = {"operations": "insert,delete", "filter": '{"n": {"$gte": 10}}', "projection": '{"n": 1}'}
    # Or the stream begins before what the test before this one left was deleted, and rightly tells of it.
    await passed(service.url, to_time(service.database.client.admin.command("ping")["operationTime"]))
    async with streaming(service.url, EVENTS, **given) as first:
        await live(first)
        service.database.orders.insert_many({"_id": n, "n": n, "x": 1} for n in range(15))
        await first.when(
            lambda: any(event["key"] == 14 for frame in first.of("events") for event in frame.frame["events"])
        )
        last = first.of("events")[0].id or ""
    service.database.orders.update_one({"_id": 14}, {"$set": {"x": 2}})
    service.database.orders.insert_one({"_id": 20, "n": 20})
    async with streaming(service.url, EVENTS, last_id=last, since="2026-01-01T00:00:00Z", **given) as again:
        await again.when(
            lambda: any(event["key"] == 20 for frame in again.of("events") for event in frame.frame["events"])
        )
    told = [
        [event["document"] for frame in stream.of("events") for event in frame.frame["events"]]
        for stream in (first, again)
    ]
    assert told[0] == [{"_id": n, "n": n} for n in range(10, 15)]
    seen = [
        one["_id"] for frame in first.of("events")[:1] for one in [event["document"] for event in frame.frame["events"]]
    ]
    assert told[1] == [{"_id": n, "n": n} for n in (*range(seen[-1] + 1, 15), 20)]
    assert again.frames[0]["recovered"]


async def test_events_of_all_collections(service: Service) -> None:
    async with streaming(service.url, "/v1/collections/*/events", operations='["insert"]') as stream:
        await live(stream)
        service.database.others.insert_one({"_id": 1})
        service.database.orders.insert_one({"_id": 2})
        await stream.when(lambda: len([0 for frame in stream.of("events") for _ in frame.frame["events"]]) == 2)
    told = [(event["collection"], event["key"]) for frame in stream.of("events") for event in frame.frame["events"]]
    assert told == [("others", 1), ("orders", 2)]


async def test_a_stream_that_matches_nothing_gets_newer_ids_with_every_heartbeat(service: Service) -> None:
    async with streaming(service.url, EVENTS, filter='{"never": 1}') as stream:
        await live(stream)
        start = stream.last_id
        service.database.others.insert_one({})
        await stream.when(lambda: stream.last_id > start)
        assert stream.of("events") == []
        assert stream.of("heartbeat")


async def test_a_moment_larger_than_a_frame_has_its_id_on_the_last_alone(service: Service) -> None:
    async with streaming(service.url, service.documents) as stream:
        await live(stream)
        made = await service.http.post(service.documents, json=[{"_id": n, "x": "y" * 100} for n in range(300)])
        await stream.when(lambda: stream.last_id >= made.json()["position"])
    parts = stream.of("changes")
    assert len(parts) > 3
    assert [part.id for part in parts] == [None] * (len(parts) - 1) + [made.json()["position"]]
    assert sum(len(part.frame["changes"]) for part in parts) == 300


# ------------------------------------------------------------------------------------------------- windows and groups


async def test_a_window_comes_with_its_order_and_begins_afresh_after_a_reconnect(service: Service) -> None:
    orders = service.database.orders
    orders.insert_many([{"_id": n, "total": n} for n in range(6)])
    asked = {"sort": '[["total", -1]]', "limit": "3", "throttle": "10", "projection": '{"total": 1}'}
    async with streaming(service.url, DOCUMENTS, **asked) as stream:
        await stream.when(lambda: stream.of("live"))
        (snapshot,) = stream.of("snapshot")
        assert [one["_id"] for one in snapshot.frame["documents"]] == [5, 4, 3]
        orders.update_one({"_id": 1}, {"$set": {"total": 4.5}})
        await stream.when(lambda: stream.of("changes"))
        (event,) = stream.of("changes")
        assert event.frame["changes"] == [
            {"op": "leave", "key": 3},
            {"op": "enter", "key": 1, "document": {"_id": 1, "total": 4.5}, "index": 1},
        ]
        assert event.id == stream.last_id == event.frame["position"]
    orders.delete_one({"_id": 5})
    async with streaming(service.url, DOCUMENTS, last_id=stream.last_id, **asked) as again:
        await again.when(lambda: again.of("live"))
    assert (again.frames[0]["recovered"], again.events[0].id) == (False, "")
    assert [one["_id"] for one in again.of("snapshot")[0].frame["documents"]] == [1, 4, 3]


OF_THE_LAST_MINUTE = '{"$expr": {"$gte": ["$at", {"$subtract": ["$$NOW", 60000]}]}}'


@pytest.mark.parametrize("asked", [{"last": '{"path": "at", "seconds": 60}'}, {"filter": OF_THE_LAST_MINUTE}], ids=str)
async def test_what_is_of_the_last_minute_comes_by_either_form(service: Service, asked: dict[str, str]) -> None:
    now = dt.datetime.now(dt.UTC)
    hours = {1: 0, 2: -1, 3: 1}
    service.database.orders.insert_many([{"_id": n, "at": now + dt.timedelta(hours=ago)} for n, ago in hours.items()])
    async with streaming(service.url, DOCUMENTS, **asked) as stream:
        await stream.when(lambda: stream.of("live"))
        assert sorted(one["_id"] for one in stream.of("snapshot")[0].frame["documents"]) == [1, 3]


async def test_a_page_of_the_last_minute_is_refused_by_name(service: Service) -> None:
    page = await service.http.get(service.documents, params={"filter": OF_THE_LAST_MINUTE})
    assert (page.status_code, page.json()["code"]) == (422, "unsupported_operator")
    assert page.json()["details"] == {"operator": "$$NOW", "path": "$expr.$gte.1.$subtract.0"}
    page = await service.http.get(service.documents, params={"last": '{"path": "at", "seconds": 60}'})
    assert (page.status_code, page.json()["details"]) == (422, {"field": "last"})


async def test_rows_of_groups_come_and_go(service: Service) -> None:
    orders = service.database.orders
    orders.insert_many([{"_id": n, "status": ["open", "paid"][n % 2], "total": n} for n in range(4)])
    group = '{"by": ["status"], "count": true, "sum": ["total"]}'
    async with streaming(service.url, DOCUMENTS, group=group, filter='{"total": {"$lt": 3}}') as stream:
        await stream.when(lambda: stream.of("live"))
        (snapshot,) = stream.of("snapshot")
        rows = {one["_id"]["status"]: (one["count"], one["sum"]["total"]) for one in snapshot.frame["documents"]}
        assert rows == {"open": (2, 2), "paid": (1, 1)}
        orders.delete_one({"_id": 1})
        await stream.when(lambda: stream.of("changes"))
    assert stream.of("changes")[0].frame["changes"] == [{"op": "leave", "key": {"status": "paid"}}]


# -------------------------------------------------------------------------------------------------------------- errors

REFUSED: list[tuple[str, int, str, dict[str, str]]] = [
    ("invalid_filter", 422, "/orders/documents", {"filter": '{"$or": []}'}),
    ("unsupported_operator", 422, "/orders/events", {"filter": '{"a": {"$where": "1"}}'}),
    ("invalid_request", 422, "/orders/documents", {"skip": "1"}),
    ("invalid_request", 422, "/orders/documents", {"after": "x"}),
    ("invalid_request", 422, "/orders/documents", {"group": '{"count": true}'}),
    ("invalid_request", 422, "/orders/documents", {"group": '{"by": []}', "limit": "3"}),
    ("invalid_request", 422, "/orders/documents", {"sort": '[["a", 2]]'}),
    ("invalid_request", 422, "/orders/documents", {"limit": "10001"}),
    ("invalid_request", 422, "/orders/documents", {"throttle": "60001"}),
    ("invalid_request", 422, "/orders/documents", {"projection": '{"_id": 0}'}),
    ("invalid_request", 422, "/orders/events", {"operations": "insert,publish"}),
    ("invalid_request", 422, "/orders/events", {"since": "yesterday"}),
    ("invalid_request", 422, "/orders/events", {"limit": "5"}),
    ("unsupported_collection", 422, "/a_view/documents", {}),
    ("unsupported_collection", 422, "/a_view/events", {}),
    ("unsupported_collection", 422, "/realtime_own/events", {}),
    ("invalid_position", 410, "/orders/events", {"position": "rubbish"}),
]


@pytest.mark.parametrize(("code", "status", "path", "given"), REFUSED, ids=range(len(REFUSED)))
async def test_an_error_before_the_stream_is_a_problem_document(
    service: Service, code: str, status: int, path: str, given: dict[str, str]
) -> None:
    answer = await service.http.get(f"/v1/collections{path}", params=given, headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert answer.json()["code"] == code
    assert service.realtime.live().hub.roster.count == 0


async def test_history_that_is_gone_is_410_but_a_browser_that_comes_back_is_told_in_the_stream(
    replica_set: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any status but 200 a browser would never come back again; it begins afresh after 30 s."""
    async with serving(replica_set, feed_await_ms=100) as service:
        # An oplog that no longer reaches back takes a set of its own: tests/web/test_errors.py has one.
        monkeypatch.setattr(service.realtime.live().hub.history, "_oplog", None)
        old = f"{service.realtime.live().epoch}-0000000100000001"
        answer = await service.http.get(EVENTS, params={"position": old})
        assert (answer.status_code, answer.json()["code"]) == (410, "history_lost")
        for last, code in (("rubbish", "invalid_position"), (old, "history_lost")):
            async with streaming(service.url, EVENTS, last_id=last) as stream:
                await stream.when(lambda ending=stream: ending.ended)  # type: ignore[misc]  # reason: its default binds it now
            assert stream.status == 200
            (event,) = stream.events
            assert (event.id, event.frame["type"], event.frame["code"]) == ("", "error", code)
            assert (stream.retries[-1], stream.last_id) == (30_000, "")


WRONG = ("filter={", "filter=[]", "unknown=1", "filter={}&filter={}", "operations=[", "since=x", "limit=0", "sort={")


@pytest.mark.parametrize("kind", ["events", "documents"])
async def test_whatever_is_wrong_a_browser_that_comes_back_is_told_in_the_stream(service: Service, kind: str) -> None:
    """At any other status than 200 it would never come back."""
    path = service.path(f"/v1/collections/orders/{kind}")
    back = {"Accept": "text/event-stream", "Last-Event-ID": "5FF2E727-6B0343B000000001"}
    for wrong in WRONG:
        first = await service.http.get(f"{path}?{wrong}", headers={"Accept": "text/event-stream"})
        told = await service.http.get(f"{path}?{wrong}", headers=back)
        assert first.status_code == 422, wrong
        assert (told.status_code, told.headers["content-type"].partition(";")[0]) == (200, "text/event-stream"), wrong
        frames = [json.loads(line[6:]) for line in told.text.splitlines() if line.startswith("data: ")]
        assert [(one["type"], one["code"]) for one in frames] == [("error", first.json()["code"])], wrong
        assert "retry: 30000" in told.text.splitlines(), wrong
    foreign = await service.http.get(path, headers={**back, "Host": "rebound.example"})
    assert foreign.status_code == 403


async def test_the_pause_of_a_stream_that_ended_is_the_errors_own() -> None:
    pauses = {None: 30_000, 5: 5000, 0.01: 1000, 1.5: 1500}
    for seconds, milliseconds in pauses.items():
        told = ErrorFrame.of(UnavailableError("later", retry_after=seconds), "s").encode()
        lines = EventSink(1000, NOBODY).event(told).decode().splitlines()
        assert lines[0] == f"retry: {milliseconds}"


async def test_a_result_that_outgrows_its_limit_ends_the_stream_for_a_fresh_beginning(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, documents=10, feed_await_ms=100) as service:
        async with streaming(service.url, service.documents) as stream:
            await live(stream)
            assert stream.last_id
            service.database.orders.insert_many({"_id": n} for n in range(11))
            await stream.when(lambda: stream.ended)
        assert (stream.frames[-1]["type"], stream.frames[-1]["code"]) == ("unsubscribed", "too_large")
        assert (stream.last_id, stream.retries[-1]) == ("", 30_000)


# ------------------------------------------------------------------------------------------------------------- endings


async def test_a_client_that_is_gone_leaves_nothing(service: Service) -> None:
    hub = service.realtime.live().hub
    before = metrics.CONNECTIONS._value.get()
    async with streaming(service.url, service.documents) as stream, streaming(service.url, EVENTS) as other:
        await live(stream)
        await live(other)
        assert (hub.roster.count, len(service.realtime.live().connections)) == (2, 2)
        assert metrics.CONNECTIONS._value.get() == before + 2
    async with asyncio.timeout(5):
        while hub.roster.count or service.realtime.live().connections:
            await asyncio.sleep(0.01)
    assert metrics.CONNECTIONS._value.get() == before


async def test_a_slow_consumer_gets_one_resync_and_nobody_else_notices(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, outbox_bytes=65536, feed_await_ms=100) as service:
        service.database.orders.insert_many([{"_id": n} for n in range(10)])
        before = metrics.LAPSES._value.get()
        host, _, port = service.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(
            f"GET {service.documents} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        await reader.readuntil(b'"live"')
        async with streaming(service.url, service.documents) as good:
            await live(good)
            written = 0
            async with asyncio.timeout(60):
                while metrics.LAPSES._value.get() == before:
                    # The same ten again: a view that grows would end by its own bound of 64 MiB.
                    change = {"$set": {"text": f"{written:06}" * 8_000}}
                    await asyncio.to_thread(service.database.orders.update_many, {}, change)
                    written += 10
                    await good.when(
                        lambda count=written: sum(len(one.frame["changes"]) for one in good.of("changes")) == count  # type: ignore[misc]  # reason: its default binds it now
                    )
                rest = b""
                while b'"type":"live"' not in rest.partition(b'"type":"resync"')[2]:
                    more = await reader.read(1_000_000)
                    assert more, rest[-300:]
                    rest += more
        writer.close()
        await writer.wait_closed()
    assert rest.count(b'"reason":"slow_consumer"') == 1
    assert f"{written - 10:06}".encode() in rest.partition(b'"type":"resync"')[2]
    assert written >= 10


async def test_the_services_end_ends_the_streams_at_once_and_they_may_resume(replica_set: ReplicaSet) -> None:
    loop = asyncio.get_running_loop()
    async with serving(replica_set, feed_await_ms=100, drain_seconds=20) as service:
        opened = streaming(service.url, service.documents)
        stream = await opened.__aenter__()
        await live(stream)
        began = loop.time()
    await stream.when(lambda: stream.ended)
    assert loop.time() - began < 5
    assert stream.frames[-1] == {"type": "closing", "code": 4000, "message": "draining", "retry_after": 1.0}
    assert stream.last_id
    assert 30_000 not in stream.retries
    await opened.__aexit__(None, None, None)


async def test_head_and_other_methods(service: Service) -> None:
    service.database.orders.insert_one({"_id": "a"})
    headers = {"Accept": "text/event-stream"}
    for path, given in (
        (service.documents, headers),
        (EVENTS, headers),
        (service.documents, {}),
        ("/v1/collections", {}),
    ):
        head = await service.http.head(path, headers=given)
        assert (head.status_code, head.content) == (200, b""), path
    one = await service.http.head(f"{service.documents}/a")
    assert one.headers["etag"] == (await service.http.get(f"{service.documents}/a")).headers["etag"]
    for method in ("OPTIONS", "PUT"):
        refused: httpx.Response = await service.http.request(method, service.documents)
        assert (refused.status_code, refused.headers["content-type"]) == (405, "application/problem+json")
        assert refused.headers["allow"]
    assert service.realtime.live().hub.roster.count == 0
