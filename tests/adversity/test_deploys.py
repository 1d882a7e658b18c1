"""14: a service that is told to stop sends everybody away, finishes what it took, and is gone in time.

Sabotage: `make sabotage`, rows "deploy".
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import threading
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pymongo
import pytest
from websockets.exceptions import ConnectionClosed

from tests.adversity.scale import Scale
from tests.checker import Asked, judge
from tests.e2e.test_process import gone
from tests.exact.conftest import Say
from tests.exact.ear import Ear, listening
from tests.exact.flock import Bird
from tests.exact.ledger import Ledger, insert
from tests.replica_set import ReplicaSet
from tests.serving import Process, process

Client = pymongo.MongoClient[dict[str, Any]]
pytestmark = [pytest.mark.timeout(120), pytest.mark.alone("bounds in seconds under load of its own")]
GRACE, DRAIN, BEYOND = 1.0, 3.0, 2.0
WRITES_A_SECOND = 200
LARGE = 40
"""Documents of 256 KiB: a peer that reads nothing fills its outbox with them."""


class Load:
    """Inserts straight into MongoDB until told to stop, remembered for the checker."""

    def __init__(self, ledger: Ledger, rate: float = WRITES_A_SECOND) -> None:
        self.ledger = ledger
        self._rate = rate
        self._stopping = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._stopping.wait(1 / self._rate):
            number += 1
            self.ledger.one(insert("docs", f"load-{number}", n=number))

    def stop(self) -> None:
        self._stopping.set()


async def write_until_closed(ear: Ear, name: int, acknowledged: list[str]) -> int:
    """Inserts over the socket, one after the other; how many went unanswered (the last one, or none)."""
    number = 0
    while ear.closed is None:
        number += 1
        key = f"own-{name}-{number}"
        try:
            answer = await ear.ask(type="insert", collection="others", document={"_id": key})
        except (AssertionError, ConnectionClosed):
            return 1
        assert answer["type"] == "result", answer
        acknowledged.append(key)
    return 0


class Deaf(Bird):
    """Asks for more than fits and never reads."""

    def data_received(self, data: bytes) -> None:
        was = self._open
        super().data_received(data)
        if self._open and not was:
            assert isinstance(self._transport, asyncio.Transport)
            self._transport.pause_reading()


async def unfinished_request(url: str) -> asyncio.StreamWriter:
    """A request whose body never comes to its end."""
    address = urlsplit(url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST /v1/collections/docs/documents HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 1000\r\n\r\n"
    writer.write(head.encode() + b'{"half": ')
    await writer.drain()
    return writer


async def streamed(url: str, began: asyncio.Future[None]) -> list[dict[str, Any]]:
    """The frames of an event stream, to its end. `began` is done when it is live."""
    frames: list[dict[str, Any]] = []
    address = f"{url.rstrip('/')}/v1/collections/docs/events"
    headers = {"Accept": "text/event-stream"}
    async with httpx.AsyncClient(timeout=60) as http, http.stream("GET", address, headers=headers) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                frames.append(json.loads(line.removeprefix("data: ")))
                if frames[-1]["type"] == "live" and not began.done():
                    began.set_result(None)
    return frames


async def unready(url: str) -> tuple[int, int]:
    """The answers of /readyz and /healthz."""
    async with httpx.AsyncClient(base_url=url) as http:
        return (await http.get("/readyz")).status_code, (await http.get("/healthz")).status_code


class Crowd:
    """Everybody who is there when the service is told to stop.

    Clients that hear of events, of which some write; an event stream; a peer that reads nothing; a request without an
    end; and one client that comes after the signal.
    """

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.ears: list[Ear] = []
        self.told: list[float] = []
        """When each client was sent `closing`, by the loop's clock."""
        self.acknowledged: list[str] = []
        self.unanswered = 0
        self.streamed: list[dict[str, Any]] = []
        self._url, self._stack = url, stack
        self._deaf = Deaf(url, {"type": "subscribe", "id": "s", "collection": "large"})

    async def come(self, scale: Scale) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(scale["clients"]):
            await self._hear()
        await asyncio.gather(*(ear.subscribe("s", "docs", mode="events") for ear in self.ears))
        self._closing = [ear.coming(is_closing) for ear in self.ears]
        for future in self._closing:
            future.add_done_callback(lambda _: self.told.append(loop.time()))
        self._flight = asyncio.create_task(self._deaf.fly())
        self._request = await unfinished_request(self._url)
        streaming: asyncio.Future[None] = loop.create_future()
        self._stream = asyncio.create_task(streamed(self._url, streaming))
        await streaming
        self._writing = [
            asyncio.create_task(write_until_closed(ear, n, self.acknowledged))
            for n, ear in enumerate(self.ears[: scale["writers"]])
        ]

    async def come_late(self) -> None:
        late = await self._hear()
        self._closing.append(late.coming(is_closing))
        await late.subscribe("s", "docs", mode="events")

    async def hear_the_end(self) -> None:
        await asyncio.gather(*self._closing)
        self.unanswered = sum(await asyncio.gather(*self._writing))
        self.streamed = await self._stream

    async def leave(self) -> None:
        self._flight.cancel()
        self._deaf.close()
        await asyncio.gather(self._flight, return_exceptions=True)
        self._request.close()
        with contextlib.suppress(OSError):
            await self._request.wait_closed()

    async def _hear(self) -> Ear:
        self.ears.append(await self._stack.enter_async_context(listening(self._url)))
        return self.ears[-1]


def is_closing(frame: dict[str, Any]) -> bool:
    return bool(frame["type"] == "closing")


@dataclass(frozen=True, slots=True)
class Stop:
    """What was seen of it; times in seconds after the signal."""

    crowd: Crowd
    output: list[str]
    code: int
    took: float
    answers: tuple[int, int]
    answered: float
    first: float
    last: float


async def stopped_under_load(service: Process, load: Load, scale: Scale, stack: AsyncExitStack) -> Stop:
    loop, crowd = asyncio.get_running_loop(), Crowd(service.url, stack)
    await crowd.come(scale)
    working = asyncio.create_task(asyncio.to_thread(load.run))
    await asyncio.sleep(scale.seconds("load"))
    began = loop.time()
    service.process.send_signal(signal.SIGTERM)
    answers = await unready(service.url)
    answered = loop.time() - began
    await crowd.come_late()
    async with asyncio.timeout(GRACE + DRAIN + BEYOND):
        code = await service.process.wait()
        took = loop.time() - began
        await crowd.hear_the_end()
    load.stop()
    await working
    await crowd.leave()
    first, last = min(crowd.told) - began, max(crowd.told) - began
    return Stop(crowd, service.output, code, took, answers, answered, first, last)


@pytest.mark.long("a whole service under load is ended")
async def test_sigterm_under_load_sends_everybody_away_in_time(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    name = f"t_deploy_{random.randrange(1 << 40):x}"
    options = ("--port", "0", "--mongodb-uri", replica_set.uri, "--database", name)
    variables = {"REALTIME_GRACE_SECONDS": str(GRACE), "REALTIME_DRAIN_SECONDS": str(DRAIN)}
    with Client(replica_set.uri) as client:
        ledger = Ledger(client[name])
        client[name]["large"].insert_many([{"_id": n, "text": "x" * 262_144} for n in range(LARGE)])
        load = Load(ledger)
        ledger.one(insert("docs", "first", n=0))
        try:
            async with AsyncExitStack() as stack:
                service = await stack.enter_async_context(process("serve", *options, home=tmp_path, **variables))
                stop = await stopped_under_load(service, load, scale, stack)
            kept = {one["_id"] for one in client[name]["others"].find()}
        finally:
            load.stop()
            client.drop_database(name)
    crowd, truth = stop.crowd, ledger.truth()
    everybody = [*(ear.frames for ear in crowd.ears[:-1]), crowd.streamed]
    told = [judge(frames, [Asked("s", ("docs",), "events")], truth).accept()["told"] for frames in everybody]
    say(
        f"{len(crowd.ears) - 1} clients and an event stream told 4000 after {stop.first:.2f} to {stop.last:.2f} s, "
        f"ended after {stop.took:.2f} s (grace {GRACE:g}, drain {DRAIN:g}); unready after "
        f"{stop.answered * 1000:.0f} ms; {len(crowd.acknowledged)} writes acknowledged and kept, {crowd.unanswered} "
        f"unanswered; {sum(told)} events judged"
    )
    assert_in_time(stop)
    assert told[-1] >= 20
    assert len(crowd.acknowledged) >= scale["writers"]
    # What was taken was answered, and what was not answered was not taken.
    assert set(crowd.acknowledged) == kept
    assert sum(told) >= len(crowd.ears[:-1]) * 20


def assert_in_time(stop: Stop) -> None:
    ears, events = stop.crowd.ears, stop.crowd.streamed
    assert stop.code == 0, "".join(stop.output)
    # The unfinished request hears that its connection is cut off and ends by itself; nothing has to be cancelled.
    assert [line for line in stop.output if "had not ended in time" in line] == []
    assert stop.answers == (503, 200)
    assert stop.answered < GRACE
    assert [ear.closed for ear in ears] == [(4000, "draining")] * len(ears)
    assert [ear.frames[-1]["type"] for ear in ears] == ["closing"] * len(ears)
    assert (events[-1]["type"], events[-1]["code"]) == ("closing", 4000)
    assert stop.first >= GRACE
    assert stop.last <= GRACE + DRAIN
    assert stop.last - stop.first >= 0.2
    assert stop.took <= GRACE + DRAIN + BEYOND


@pytest.mark.long("a whole service under load is ended")
async def test_a_second_signal_ends_it_at_once(tmp_path: Path, scale: Scale, say: Say) -> None:
    loop = asyncio.get_running_loop()
    slow = {"REALTIME_GRACE_SECONDS": "60", "REALTIME_DRAIN_SECONDS": "60"}
    times = []
    for turn in range(scale["rounds"]):
        data = tmp_path / f"data-{turn}"
        options = ("--port", "0", "--data-dir", str(data))
        async with process("serve", *options, home=tmp_path, **slow) as service, listening(service.url) as ear:
            await ear.subscribe("s", "docs")
            service.process.send_signal(signal.SIGTERM)
            assert (await unready(service.url))[0] == 503
            assert service.process.returncode is None
            began = loop.time()
            service.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(5):
                assert await service.process.wait() == 128 + signal.SIGTERM
            times.append(loop.time() - began)
        await gone(data)
    say(f"ended {max(times) * 1000:.0f} ms after the second signal, its MongoDB too")
    assert max(times) < 1
