"""Frames that a client cannot read end whom they concern, and a connection that proves nothing is not hurried."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from realtime import errors
from realtime.client import Backoff, View, connect
from realtime.client.options import LEAST_FRAME
from realtime.client.reading import named_by
from tests.client.scripted import PATIENCE, Line, idle, quick, service, until

DEEP = '{"a":' * 600 + "1" + "}" * 600
UNREADABLE = {
    "a document of 600 levels": f'"documents":[{{"_id":1,"a":{DEEP}}}]',
    "a lone surrogate": r'"documents":[{"_id":1,"a":"\ud800"}]',
    "a literal of JavaScript": '"documents":[{"_id":1,"a":NaN}]',
    "a name that stands twice": '"documents":[{"_id":1,"a":1,"a":2}]',
    "no documents": '"rows":[]',
    "documents that are none": '"documents":[1,2]',
    "a number in place of a list": '"documents":7',
    "an end in the middle": '"documents":[{"_id":1,',
}
ENTRIES = {
    "a document of 600 levels": f'"changes":[{{"op":"enter","key":1,"document":{{"_id":1,"a":{DEEP}}}}}]',
    "a lone surrogate": r'"changes":[{"op":"enter","key":"\ud800","document":{"_id":1}}]',
    "no changes": '"rows":[]',
    "a change without a key": '"changes":[{"op":"enter"}]',
    "changes that are none": '"changes":[1]',
    "an end in the middle": '"changes":[',
}


def frame(kind: str, target: str, body: str) -> str:
    return f'{{"type":"{kind}",{target},{body},"first":true,"last":true,"position":"P2"}}'


async def ended(view: View, why: str = "malformed_frame") -> errors.ServiceError:
    """The error that ends it."""
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(errors.ServiceError) as raised:
            async for _ in view:
                pass
    assert raised.value.code == why
    return raised.value


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_a_snapshot_that_cannot_be_read_ends_its_subscription_and_nothing_else(body: str) -> None:
    """One document of 104 levels was 47 connections in 10 s, the other views stale and the writes unanswered."""
    lines: list[int] = []

    async def script(line: Line) -> None:
        lines.append(line.number)
        await line.take_up()
        asked = await line.hear("subscribe")
        await line.say(type="subscribed", id=asked["id"], channel=7, recovered=False, query="q")
        await line.socket.send(frame("snapshot", f'"id":"{asked["id"]}"', body))
        gone = await line.hear("unsubscribe")
        assert gone["id"] == asked["id"]
        await line.socket.send(frame("snapshot", f'"id":"{asked["id"]}"', body))  # that was on its way
        insert = await line.hear("insert")
        await line.say(type="result", id=insert["id"], position="P3", key=9)
        await line.say(type="changes", channel=1, position="P3", changes=[_enter(9)])
        await idle(line)

    async with service(script) as url, quick(url) as rt, rt.query("orders") as other:
        with pytest.raises(errors.MalformedFrameError, match="cannot be read here"):
            async with rt.query("deep"):
                pass
        await rt.insert("orders", {"_id": 9})
        async with asyncio.timeout(PATIENCE):
            moment = await anext(aiter(other))
        assert [change.key for change in moment.changes] == [9]
        assert other.state == "live"
    assert lines == [1]


def _enter(key: Any) -> dict[str, Any]:
    return {"op": "enter", "key": key, "document": {"_id": key}}


@pytest.mark.parametrize("body", ENTRIES.values(), ids=ENTRIES.keys())
async def test_changes_that_cannot_be_read_end_who_is_on_their_channel_and_nobody_else(body: str) -> None:
    lines: list[int] = []
    entered = asyncio.Event()

    async def script(line: Line) -> None:
        lines.append(line.number)
        await line.take_up()
        asked = await line.hear("subscribe")
        await line.say(type="subscribed", id=asked["id"], channel=7, recovered=False, query="q")
        await line.say(type="snapshot", id=asked["id"], documents=[], first=True, last=True, position="P1")
        await line.say(type="live", id=asked["id"], position="P1")
        await entered.wait()
        await line.socket.send(frame("changes", '"channel":7', body))
        await line.hear("unsubscribe")
        await line.socket.send(frame("changes", '"channel":7', body))
        await line.say(type="changes", channel=1, position="P3", changes=[_enter(9)])
        await idle(line)

    async with service(script) as url, quick(url) as rt, rt.query("orders") as other, rt.query("deep") as mine:
        entered.set()
        await ended(mine)
        async with asyncio.timeout(PATIENCE):
            moment = await anext(aiter(other))
        assert [change.key for change in moment.changes] == [9]
    assert lines == [1]


@pytest.mark.parametrize("rest", ['"key":"\\ud800"', f'"key":{DEEP}', '"key":'], ids=["surrogate", "deep", "cut"])
async def test_an_answer_that_cannot_be_read_settles_its_write_alone(rest: str) -> None:
    async def script(line: Line) -> None:
        assert line.number == 1
        asked = await line.hear("delete")
        await line.socket.send(f'{{"type":"result","id":"{asked["id"]}",{rest}}}')
        asked = await line.hear("delete")
        await line.say(type="result", id=asked["id"], position="P3", key=2, matched=1)
        await idle(line)

    async with service(script) as url, quick(url) as rt:
        with pytest.raises(errors.MalformedFrameError) as raised:
            await rt.delete("orders", 1)
        assert raised.value.details == {"maybe_written": True}
        await rt.delete("orders", 2)


NOBODYS = {
    "no JSON": "what?",
    "no object": "[1]",
    "a heartbeat without a position": '{"type":"heartbeat"}',
    "a status of 600 levels": f'{{"type":"status","feed":"up","reason":{DEEP}}}',
}


@pytest.mark.parametrize("text", NOBODYS.values(), ids=NOBODYS.keys())
async def test_a_frame_of_nobodys_that_cannot_be_read_ends_the_connection_and_the_delay_grows(text: str) -> None:
    times: list[float] = []
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def script(line: Line) -> None:
        times.append(loop.time())
        if line.number == 7:
            enough.set()
            await idle(line)
            return
        await line.take_up(position=f"P{line.number}")
        await line.socket.send(text)
        await idle(line)

    async with service(script) as url, connect(url, backoff=Backoff(first=0.05, limit=5.0)) as rt, rt.query("orders"):
        async with asyncio.timeout(PATIENCE):
            await enough.wait()
    # 0.05 s doubled six times, each halved at most by chance.
    assert times[6] - times[0] >= (0.05 * (2**6 - 1)) / 2
    assert times[6] - times[5] >= 0.05 * 2**5 / 2


async def test_a_connection_that_is_cut_right_after_its_snapshot_again_and_again_is_not_hurried() -> None:
    times: list[float] = []
    enough = asyncio.Event()

    async def script(line: Line) -> None:
        times.append(asyncio.get_running_loop().time())
        await line.take_up(position=f"P{line.number}")
        if line.number == 6:
            enough.set()
            await idle(line)
        line.socket.transport.abort()

    async with service(script) as url, connect(url, backoff=Backoff(first=0.05, limit=5.0)) as rt, rt.query("orders"):
        async with asyncio.timeout(PATIENCE):
            await enough.wait()
    assert times[5] - times[0] >= (0.05 * (2**5 - 1)) / 2


async def test_a_connection_that_has_proved_itself_begins_the_delays_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.client.link.SETTLED_SECONDS", 0.3)
    times: list[float] = []
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def script(line: Line) -> None:
        times.append(loop.time())
        if line.number == 5:
            await asyncio.sleep(0.4)  # to live for a while is what is tested
        if line.number == 6:
            times.append(loop.time())
            enough.set()
            await idle(line)
        ends.append(loop.time())
        line.socket.transport.abort()

    ends: list[float] = []
    async with service(script) as url, connect(url, backoff=Backoff(first=0.2, limit=60.0)) as rt:
        async with asyncio.timeout(PATIENCE):
            await enough.wait()
        await until(rt, lambda status: status.link == "connected")
    assert times[4] - ends[3] >= 0.2 * 2**3 / 2
    assert times[5] - ends[4] < 0.2 * 2**3 / 2


# ---------------------------------------------------------------------------------------------------- the largest frame


async def test_it_says_how_large_a_frame_it_takes() -> None:
    paths: list[str] = []

    def note(_: Any, request: Any) -> None:
        paths.append(request.path)

    async with service(idle, process_request=note) as url:
        async with quick(url):
            pass
        async with quick(url, max_frame=5000):
            pass
        with pytest.raises(errors.InvalidRequestError, match="at least 4096"):
            async with quick(url, max_frame=LEAST_FRAME - 1):
                pass
    assert paths == ["/v1/ws?max_frame=134217728", "/v1/ws?max_frame=5000"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"type":"snapshot","id":"s1","documents":[', {"id": "s1"}),
        ('{"type":"snapshot","id":"a\\"b\\u00e4","documents":[', {"id": 'a"bä'}),
        (b'{"type":"changes","channel":17,"changes":[\xff', {"channel": 17}),
        (' { "type" : "live" , "id" : "x"', {"id": "x"}),
        ('{"type":"heartbeat","position":"P","id":"x"', {}),
        ('{"type":"live","id":"\\x"', {}),
        ('[{"type":"live","id":"x"}', {}),
        ("", {}),
    ],
)
def test_whom_a_broken_frame_names_is_read_off_its_head(text: str | bytes, named: dict[str, Any]) -> None:
    assert named_by(text) == named
