"""The connection against a service that says exactly what a test has it say: lost, silent, closing, refusing."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import ssl
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from realtime import errors
from realtime.client import Status
from tests.client.scripted import PATIENCE, WELCOME, Line, idle, quick, service, until
from tests.web.test_server import certificate


async def test_nobody_there_is_unavailable_and_says_what_to_start() -> None:
    with pytest.raises(errors.UnavailableError, match="realtime serve"):
        async with quick("http://127.0.0.1:1", connect_timeout=0.2):
            pass


@pytest.mark.parametrize(
    ("status", "kind"), [(401, errors.UnauthenticatedError), (403, errors.ForbiddenError), (404, errors.NotFoundError)]
)
async def test_a_handshake_that_is_refused_for_good_is_raised_at_once(
    status: int, kind: type[errors.ServiceError]
) -> None:
    def refuse(socket: ServerConnection, _: Request) -> Response:
        return socket.respond(HTTPStatus(status), "no")

    async with service(idle, process_request=refuse) as url:
        with pytest.raises(kind):
            async with quick(url):
                pass


async def test_a_service_that_is_not_started_is_raised_with_its_own_words() -> None:
    """An application whose lifespan nobody ran answers 503 and says what to write."""
    words = "say app = FastAPI(lifespan=rt.lifespan)"

    def refuse(socket: ServerConnection, _: Request) -> Response:
        return socket.respond(HTTPStatus(503), json.dumps({"title": "unavailable", "detail": words}))

    async with service(idle, process_request=refuse) as url:
        with pytest.raises(errors.UnavailableError) as raised:
            async with quick(url, connect_timeout=0.5):
                pass
    assert f"HTTP status 503: {words}" in raised.value.message
    assert "is `realtime serve` running there?" not in raised.value.message


async def test_a_certificate_that_is_not_trusted_is_raised_at_once_with_what_to_set(tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate(tmp_path))
    async with service(idle, ssl=context) as url, asyncio.timeout(PATIENCE):
        with pytest.raises(errors.UnavailableError) as raised:
            async with quick(url.replace("http:", "https:"), connect_timeout=None):
                pass
    assert "SSL_CERT_FILE" in raised.value.message
    assert "self-signed certificate" in raised.value.message.replace("self signed", "self-signed")


async def test_a_token_is_asked_for_at_each_connection() -> None:
    seen: list[str | None] = []

    def note(_: ServerConnection, request: Request) -> None:
        seen.append(request.headers.get("Authorization"))

    async def once(line: Line) -> None:
        if line.number == 2:
            await idle(line)

    numbers = iter(range(9))

    async def token() -> str:
        return f"t{next(numbers)}"

    async with service(once, process_request=note) as url, quick(url, token=token) as rt:
        async with asyncio.timeout(PATIENCE):
            while len(seen) < 2:
                await until(rt, lambda status: status.link == "connecting")
                await until(rt, lambda status: status.link == "connected")
    assert seen[:2] == ["Bearer t0", "Bearer t1"]


async def test_it_comes_back_with_position_and_query_under_a_new_id() -> None:
    asked: list[dict[str, Any]] = []
    done = asyncio.Event()

    async def script(line: Line) -> None:
        asked.append(await line.take_up(recovered=line.number > 1, position=f"P{line.number}"))
        if line.number == 3:
            done.set()
            await idle(line)
        else:
            line.socket.transport.abort()

    async with service(script) as url, quick(url) as rt, rt.query("orders", filter={"a": 1}):
        async with asyncio.timeout(PATIENCE):
            await done.wait()
    assert [(one.get("position"), one.get("query")) for one in asked] == [(None, None), ("P1", "hash"), ("P2", "hash")]
    assert len({one["id"] for one in asked}) == 3
    assert all(one["filter"] == {"a": 1} for one in asked)


async def test_a_silent_connection_is_dropped_after_two_heartbeats_and_five_seconds() -> None:
    async def script(line: Line) -> None:
        await line.say(**{**WELCOME, "heartbeat": 0.05})
        await idle(line)

    loop = asyncio.get_running_loop()
    async with service(script) as url, quick(url) as rt:
        start = loop.time()
        status = await until(rt, lambda status: status.link == "connecting")
        assert loop.time() - start >= 5.0
        assert status.reason == "the service was silent for 5.1 s"
        await until(rt, lambda status: status.link == "connected")


async def test_closing_says_how_long_to_wait_at_least() -> None:
    times: list[float] = []
    loop = asyncio.get_running_loop()

    async def script(line: Line) -> None:
        times.append(loop.time())
        if line.number == 1:
            await line.say(type="closing", code=4000, message="draining", retry_after=0.6)
            await line.socket.close(4000, "draining")
        else:
            await idle(line)

    async with service(script) as url, quick(url) as rt:
        status = await until(rt, lambda status: status.link == "connecting")
        await until(rt, lambda status: status.link == "connected")
        assert status.reason == "closed with 4000 draining"
    assert times[1] - times[0] >= 0.6


@pytest.mark.parametrize(
    ("code", "kind"), [(4501, errors.UnauthenticatedError), (4503, errors.ForbiddenError), (1009, errors.TooLargeError)]
)
async def test_a_final_close_ends_everything_with_its_error(code: int, kind: type[errors.ServiceError]) -> None:
    async def script(line: Line) -> None:
        assert line.number == 1
        await line.take_up()
        await line.hear("ping")
        await line.socket.close(code, "why")

    async with service(script) as url, quick(url) as rt, rt.query("orders") as view:
        with pytest.raises(kind):
            await rt.settled("P9")
        with pytest.raises(kind):
            await anext(view)
        with pytest.raises(kind):
            await rt.insert("orders", {})
        assert (view.state, rt.status.link) == ("closed", "closed")


@pytest.mark.parametrize(("token", "words"), [(None, "wants a token"), ("t", "does not accept this token")])
async def test_who_is_not_known_is_told_of_the_token_that_was_sent_or_wanted(token: str | None, words: str) -> None:
    async def script(line: Line) -> None:
        await line.socket.close(4501, "unauthenticated")

    async with service(script) as url, quick(url, token=token) as rt:
        with pytest.raises(errors.UnauthenticatedError, match=words):
            await rt.settled("P9")


async def test_a_subscription_that_is_refused_raises_and_one_that_may_work_later_is_tried_again() -> None:
    async def script(line: Line) -> None:
        for retry in (True, False):
            asked = await line.hear("subscribe")
            code = "unavailable" if retry else "invalid_filter"
            await line.say(type="error", id=asked["id"], code=code, message="no", retry=retry)
        await idle(line)

    async with service(script) as url, quick(url) as rt:
        with pytest.raises(errors.InvalidFilterError):
            async with rt.query("orders"):
                pass


async def test_lost_history_is_raised_by_the_iterator_after_what_had_come() -> None:
    async def script(line: Line) -> None:
        asked = await line.take_up()
        event = {"op": "insert", "collection": "c", "key": 1, "position": "P2"}
        await line.say(type="events", channel=1, events=[event], position="P2")
        details = {"oldest": {"$date": "2026-05-04T03:02:01Z"}}
        lost = {"code": "history_lost", "message": "gone", "retry": False, "details": details}
        await line.say(type="unsubscribed", id=asked["id"], position="P2", **lost)
        await idle(line)

    async with service(script) as url, quick(url) as rt:
        events = rt.events("c")
        assert (await anext(events)).key == 1
        with pytest.raises(errors.HistoryLostError) as raised:
            await anext(events)
        assert events.position == "P2"
    assert raised.value.details is not None
    assert raised.value.details["oldest"].year == 2026


ENDED = {"code": "internal", "message": "a bug; it is logged under 1a2b3c4d", "retry": True}


async def test_events_that_end_by_a_bug_go_on_after_the_last_whole_moment() -> None:
    async def script(line: Line) -> None:
        asked = await line.take_up()
        event = {"op": "insert", "collection": "c", "key": 1, "position": "P2"}
        await line.say(type="events", channel=1, events=[event], position="P2")
        await line.say(type="events", channel=1, events=[event], more=True)
        await line.say(type="unsubscribed", id=asked["id"], position="P2", **ENDED)
        again = await line.hear("subscribe")
        assert (again["id"] != asked["id"], again["position"]) == (True, "P2")
        await line.say(type="subscribed", id=again["id"], channel=1, recovered=True, query="q", deletes="all")
        event = {"op": "insert", "collection": "c", "key": 2, "position": "P3"}
        await line.say(type="events", id=again["id"], events=[event], position="P3")
        await line.say(type="live", id=again["id"], position="P3")
        await idle(line)

    async with service(script) as url, quick(url) as rt:
        events = rt.events("c")
        assert [(await anext(events)).key for _ in range(2)] == [1, 2]
        assert events.position == "P3"


async def test_a_view_that_ends_by_a_bug_is_subscribed_to_afresh() -> None:
    done = asyncio.Event()

    async def script(line: Line) -> None:
        asked = await line.take_up()
        await line.say(type="resync", id=asked["id"], reason="internal")
        await line.say(type="unsubscribed", id=asked["id"], position="P2", **ENDED)
        again = await line.take_up(position="P3")
        assert again["id"] != asked["id"]
        assert "position" not in again
        done.set()
        await idle(line)

    async with service(script) as url, quick(url) as rt, rt.query("orders") as view:
        async with asyncio.timeout(5):
            await done.wait()
            while view.state != "live":
                await asyncio.sleep(0.001)  # the frame is on its way
        assert view.position == "P3"


async def test_an_unknown_op_ends_the_subscription_and_begins_it_afresh() -> None:
    done = asyncio.Event()

    async def script(line: Line) -> None:
        first = await line.take_up()
        await line.say(type="changes", channel=1, changes=[{"op": "swap", "key": 1}], position="P2")
        ended = await line.hear("unsubscribe")
        again = await line.take_up(position="P3")
        assert ended["id"] == first["id"] != again["id"]
        assert "position" not in again
        done.set()
        await idle(line)

    async with service(script) as url, quick(url) as rt, rt.query("orders") as view:
        async with asyncio.timeout(PATIENCE):
            await done.wait()
            await until(rt, lambda status: status.link == "connected")
        assert view.state in {"stale", "live"}


async def test_frames_that_nobody_knows_are_ignored_and_status_is_told() -> None:
    async def script(line: Line) -> None:
        await line.say(type="weather", id="s1", mood="good")
        await line.say(type="snapshot", id="gone", documents=[], first=True, last=True, position="P1")
        await line.say(type="changes", channel=77, changes=[], position="P1")
        since = {"$date": "2026-05-04T03:02:01Z"}
        await line.say(type="status", feed="degraded", since=since, reason="MongoDB does not answer")
        await idle(line)

    async with service(script) as url, quick(url) as rt:
        status = await until(rt, lambda status: status.feed == "degraded")
        assert (status.link, status.reason) == ("connected", "MongoDB does not answer")


async def test_an_insert_is_sent_again_under_the_same_key_and_its_own_duplicate_is_success() -> None:
    keys: list[Any] = []

    async def script(line: Line) -> None:
        asked = await line.hear("insert")
        keys.append(asked["document"]["_id"])
        if line.number == 1:
            line.socket.transport.abort()
            return
        details = {"fields": ["_id"]}
        await line.say(type="error", id=asked["id"], code="duplicate_key", message="", retry=False, details=details)
        empty = await line.hear("update")
        assert empty["key"] == keys[0]
        await line.say(type="result", id=empty["id"], position="P9", key=empty["key"], matched=1, modified=0)
        await idle(line)

    async with service(script) as url, quick(url) as rt:
        written = await rt.insert("orders", {"n": 1})
    assert len(keys) == 2
    assert keys[0] == keys[1] == {"$oid": str(written.key)}
    assert (written.position, written.matched) == ("P9", None)


@pytest.mark.parametrize(
    ("document", "fields", "lost", "details"),
    [
        ({}, ["_id"], False, {"fields": ["_id"]}),
        ({}, ["email"], True, {"fields": ["email"]}),
        ({"_id": 7}, ["_id"], True, {"fields": ["_id"], "maybe_written": True}),
    ],
    ids=["at the first try", "another index", "a key of one's own"],
)
async def test_other_duplicates_are_raised(
    document: dict[str, Any], fields: list[str], lost: bool, details: dict[str, Any]
) -> None:
    async def script(line: Line) -> None:
        asked = await line.hear("insert")
        if lost and line.number == 1:
            line.socket.transport.abort()
            return
        told = {"code": "duplicate_key", "message": "", "retry": False, "details": {"fields": fields}}
        await line.say(type="error", id=asked["id"], **told)
        await idle(line)

    async with service(script) as url, quick(url) as rt:
        with pytest.raises(errors.DuplicateKeyError) as raised:
            await rt.insert("orders", document)
    assert raised.value.details == details


async def test_an_update_in_flight_when_the_connection_is_lost_may_have_been_written_and_is_not_repeated() -> None:
    heard: list[str] = []

    async def script(line: Line) -> None:
        async for text in line.socket:
            frame = json.loads(text)
            heard.append(frame["type"])
            if frame["type"] == "ping":
                await line.say(type="pong", id=frame["id"], position="P9")
            else:
                line.socket.transport.abort()

    async with service(script) as url, quick(url) as rt:
        for write in (rt.update("c", 1, {}), rt.replace("c", 1, {}), rt.delete("c", 1)):
            with pytest.raises(errors.UnavailableError) as raised:
                await write
            assert raised.value.details == {"maybe_written": True}
            await until(rt, lambda status: status.link == "connected")
        await rt.settled("P9")
    assert heard == ["update", "replace", "delete", "ping"]


async def test_a_write_waits_for_the_connection_in_order_and_says_when_nothing_was_sent() -> None:
    async def script(line: Line) -> None:
        for number in range(3):
            asked = await line.hear("update")
            assert asked["key"] == number
            await line.say(type="result", id=asked["id"], position="P", key=number)
        await line.socket.close(1011)

    async with service(script) as url, quick(url, request_timeout=0.3) as rt, asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(rt.update("c", number, {}))
    async with service(idle) as url, quick(url, request_timeout=0.3) as rt:
        with pytest.raises(errors.TimedOutError) as raised:
            await rt.update("c", 1, {})
        assert raised.value.details == {"maybe_written": True}


async def test_a_slow_consumer_is_unsubscribed_and_goes_on_from_where_it_was() -> None:
    asked: list[dict[str, Any]] = []

    async def script(line: Line) -> None:
        asked.append(await line.take_up())
        for number in range(2, 8):
            event = {"op": "insert", "collection": "c", "key": number, "position": f"P{number}", "document": "x" * 300}
            await line.say(type="events", channel=1, events=[event], position=f"P{number}")
        ended = await line.hear("unsubscribe")
        assert ended["id"] == asked[0]["id"]
        again = await line.hear("subscribe")
        asked.append(again)
        await line.say(type="subscribed", id=again["id"], channel=9, recovered=True)
        for number in range(int(again["position"][1:]) + 1, 10):
            event = {"op": "insert", "collection": "c", "key": number, "position": f"P{number}"}
            await line.say(type="events", id=again["id"], events=[event], position=f"P{number}")
        await line.say(type="live", id=again["id"], position="P9")
        await idle(line)

    async with (
        service(script) as url,
        quick(url, buffer_bytes=1000) as rt,
        rt.events("c") as events,
        asyncio.timeout(PATIENCE),
    ):
        keys = [(await anext(events)).key for _ in range(8)]
    assert keys == list(range(2, 10))
    assert asked[1]["position"] < "P7"


async def test_leaving_ends_iterations_and_a_closed_client_says_so() -> None:
    async def script(line: Line) -> None:
        await line.take_up()
        await idle(line)

    async with service(script) as url:
        async with quick(url) as rt, rt.query("orders") as view:
            moments = asyncio.ensure_future(_all(view))
            await asyncio.sleep(0)
        assert await moments == []
        with pytest.raises(errors.UnavailableError, match="closed"):
            await rt.insert("orders", {})
        with pytest.raises(errors.UnavailableError, match="closed"):
            await anext(rt.events("orders"))


async def _all(view: Any) -> list[Any]:
    return [moment async for moment in view]


async def test_a_fence_is_asked_again_when_a_view_was_brought_up_anew_meanwhile() -> None:
    pings: list[int] = []

    async def script(line: Line) -> None:
        await line.take_up(recovered=line.number > 1, position=f"P{line.number}")
        while True:
            asked = await line.hear("ping")
            pings.append(line.number)
            if len(pings) == 1:
                line.socket.transport.abort()
                return
            await line.say(type="pong", id=asked["id"], position="P9")
            if len(pings) == 3:
                await idle(line)
                return

    async with service(script) as url, quick(url) as rt, rt.query("orders") as view:
        async with asyncio.timeout(PATIENCE):
            await rt.settled("P5")
        assert (view.state, view.position) == ("live", "P5")
    assert pings[0] == 1
    assert pings[1:] == [2, 2]


async def test_what_cannot_be_sent_is_refused_alone_and_the_connection_lives_on() -> None:
    async def script(line: Line) -> None:
        await line.say(**{**WELCOME, "limits": {"frame_bytes": 1000}})
        await line.say(type="status", feed="degraded", since={"$date": "2026-05-04T03:02:01Z"})
        asked = await line.hear("insert")
        await line.say(type="result", id=asked["id"], position="P", key=1)
        await idle(line)

    async with service(script) as url, quick(url) as rt:
        await until(rt, lambda status: status.feed == "degraded")
        with pytest.raises(errors.TooLargeError, match="over HTTP"):
            await rt.insert("orders", {"text": "x" * 1000})
        with pytest.raises(TypeError, match="no BSON type"):
            await rt.insert("orders", {"when": dt.date(2026, 5, 4)})
        with pytest.raises(TypeError, match="no BSON type"):
            async with rt.query("orders", filter={"when": dt.date(2026, 5, 4)}):
                pass
        assert (await rt.insert("orders", {"n": 1})).position == "P"


async def test_a_listener_that_fails_is_logged_and_costs_nobody_anything(caplog: pytest.LogCaptureFixture) -> None:
    async def script(line: Line) -> None:
        if line.number == 2:
            await idle(line)

    def fail(_: Status) -> None:
        raise RuntimeError("mine")

    async with service(script) as url, quick(url) as rt:
        rt.on_status(fail)
        await until(rt, lambda status: status.link == "connecting")
        await until(rt, lambda status: status.link == "connected")
    assert "a listener of on_status failed" in caplog.text


async def test_events_that_were_closed_before_they_began_stay_closed() -> None:
    async with service(idle) as url, quick(url) as rt:
        events = rt.events("orders")
        events.close()
        assert [event async for event in events] == []
