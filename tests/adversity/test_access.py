"""Who asks, under load: tokens that end, revocations that three workers hear of, a MongoDB that is away.

Sabotage: `make sabotage`, rows "access under load".
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pymongo
import pytest
from pymongo import WriteConcern
from websockets.asyncio.client import connect as plainly

from realtime.client import Events, Status, View, connect
from realtime.mongo import embedded
from tests.access.issuer import AUDIENCE, SECRET, signer
from tests.adversity.scale import Scale
from tests.checker import Asked, judge
from tests.exact.conftest import Say
from tests.exact.flock import Bird
from tests.exact.ledger import Ledger, delete, insert, update
from tests.exact.test_client import QUICK, Listener, Witness
from tests.replica_set import ReplicaSet
from tests.serving import Process, process

Client = pymongo.MongoClient[dict[str, Any]]
SIGNER = signer("HS256")
WORKERS = 3
ENVIRONMENT = {"REALTIME_AUTH": "jwt", "REALTIME_JWT_SECRET": SECRET, "REALTIME_JWT_AUDIENCE": AUDIENCE}
MOST_LATE = 10
"""One in so many."""
VIEWS = 10
"""One client in so many follows a view, the others events."""
LATE_SECONDS = 0.25
"""What a timer may be late by where others want the processor too."""
GONE_SECONDS = 1.0
READ_SECONDS = 5.0
"""By then the test, which is all of the clients, has read that a connection is closed."""
EVENTS_A_SECOND, LEAST_A_SECOND = 1000, 500
"""What is written; and at least, where the machine is somebody else's as well."""
PARTS = 50
"""Each socket hears one event in so many: the service has to do with all, and the test with few."""
PATIENCE = 60.0


LOAD = pytest.mark.long("several whole services, under load")


def minted(sub: str, life: float = 600.0) -> str:
    now = time.time()
    return SIGNER.token(sub=sub, iat=now - 5, exp=now + life)


@asynccontextmanager
async def served(uri: str, home: Path, *more: str, **environment: str) -> AsyncIterator[tuple[Process, str]]:
    """A service that asks for tokens, and the name of its database."""
    name = f"t_access_{random.randrange(1 << 40):x}"
    options = ("--port", "0", "--mongodb-uri", uri, "--database", name, *more)
    async with process("serve", *options, home=home, **ENVIRONMENT, **environment) as service:
        yield service, name


class Told(Bird):
    """Notes when each frame came; it renews nothing, and goes on to listen when it is told of its end."""

    def __init__(self, url: str, request: dict[str, Any], sub: str, life: float) -> None:
        self.ends = time.time() + life
        super().__init__(url, request, minted(sub, life))
        self.at: list[float] = []
        self.over: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        now = time.time()
        self.at += [now] * (len(self.frames) - len(self.at))
        if not self.over.done() and self.frames and self.frames[-1]["type"] == "closing":
            self.over.set_result(now)

    @property
    def local_port(self) -> int:
        assert self._transport is not None
        return int(self._transport.get_extra_info("sockname")[1])


# ---------------------------------------------------------------------------------------------------- tokens that end


@dataclass(slots=True)
class Renewing:
    """A client whose tokens live for a while, other than everybody else's, and what became of its connection."""

    number: int
    longest: float
    asked: int = 0
    ends: set[str] = field(default_factory=set)

    def token(self) -> str:
        self.asked += 1
        return minted(f"u{self.number}", self.longest * random.uniform(0.5, 1.0))

    def note(self, status: Status) -> None:
        if status.reason:
            self.ends.add(status.reason)

    async def follow(self, url: str, ready: asyncio.Semaphore, ends: asyncio.Future[int]) -> tuple[Witness, Listener]:
        """A view or events, until everything is there."""
        asked = Asked("q", ("docs",))
        witness, listener = Witness([asked]), Listener(Asked("e", ("docs",), mode="events"))
        async with AsyncExitStack() as stack:
            following: View | Events
            async with ready:
                rt = await stack.enter_async_context(
                    connect(url, token=self.token, backoff=QUICK, connect_timeout=PATIENCE)
                )
                rt.on_status(self.note)
                if self.number % VIEWS == 0:
                    following = view = await stack.enter_async_context(rt.query("docs"))
                    witness.entered(view)
                    task = asyncio.create_task(witness.follow(view))
                else:
                    following = events = await stack.enter_async_context(rt.events("docs"))
                    task = asyncio.create_task(listener.follow(events))
            epoch = str(following.position)[:8]
            await rt.settled(f"{epoch}-{await asyncio.shield(ends):016X}")
            following.close()
            await task
        return witness, listener


def writing(ledger: Ledger, pause: float, stop: threading.Event) -> None:
    """Documents that come, change and go; each says when it was written."""
    number = 0
    while not stop.wait(pause):
        number += 1
        ledger.one(insert("docs", number, at=time.time()))
        ledger.one(update("docs", number, at=time.time()))
        if number > VIEWS:
            ledger.one(delete("docs", number - VIEWS))


@LOAD
@pytest.mark.timeout(400)
@pytest.mark.alone("tokens that end in seconds, and how late somebody hears of something")
async def test_of_many_tokens_that_end_those_renewed_cost_nothing_and_the_others_end_all(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    """The clients renew by themselves; the checker has every frame. Of those that do not, no document after the end."""
    longest, stop = scale.seconds("longest"), threading.Event()
    client: Client
    async with served(replica_set.uri, tmp_path) as (service, name):
        with pymongo.MongoClient(replica_set.uri) as client:
            ledger, ends = Ledger(client[name]), asyncio.get_running_loop().create_future()
            ready = asyncio.Semaphore(20)
            passes = [Renewing(number, longest) for number in range(scale["renewing"])]
            following = [asyncio.create_task(one.follow(service.url, ready, ends)) for one in passes]
            writer = asyncio.create_task(asyncio.to_thread(writing, ledger, scale.seconds("pause"), stop))
            request = {"type": "subscribe", "id": "e", "collection": "docs", "mode": "events"}
            others = [
                Told(service.url, request, f"o{number}", longest * random.uniform(0.5, 1.0))
                for number in range(scale["others"])
            ]
            try:
                await asyncio.gather(*(other.fly() for other in others))
                async with asyncio.timeout(longest + PATIENCE):
                    await asyncio.gather(*(other.over for other in others))
                await asyncio.sleep(scale.seconds("more"))
                assert not any(task.done() for task in following), [task for task in following if task.done()]
            finally:
                stop.set()
                await writer
            ends.set_result(ledger.last)
            ran = await asyncio.gather(*following)
            for other in others:
                other.close()
            client.drop_database(name)
    truth, figures = ledger.truth(), Counter[str]()
    for one, (witness, listener) in zip(passes, ran, strict=True):
        asked, frames = (
            (witness.asked, witness.frames) if one.number % VIEWS == 0 else ([listener.asked], listener.frames())
        )
        figures += judge(frames, asked, truth).accept()
        # On a machine that others want as well one may renew too late; then it comes back by position.
        assert one.ends <= {"closed with 4002 expired"}
        assert one.asked >= 2
        figures["renewed"] += one.asked - 1
        figures["late"] += bool(one.ends)
    late = [other.over.result() - other.ends for other in others]
    beyond = [event["document"]["at"] - other.ends for other in others for event in documents(other)]
    say(
        f"{len(passes)} clients renewed {figures['renewed']} times, {figures['late']} of them too late once, told "
        f"{figures['told']} of {figures['expected']} events and {figures['compared']} documents; {len(others)} did "
        f"not: the last document was written {-max(beyond):.3f} s before its reader's end, the close came at most "
        f"{max(late):.3f} s after it"
    )
    assert figures["told"] == figures["expected"] > len(passes)
    assert figures["compared"] > 0
    assert figures["late"] <= len(passes) / MOST_LATE
    assert [other.frames[-1] for other in others] == [others[0].frames[-1]] * len(others)
    assert (others[0].frames[-1]["code"], others[0].frames[-1]["message"]) == (4002, "expired")
    assert all(documents(other) for other in others)
    assert max(beyond) <= LATE_SECONDS
    assert min(late) >= 0
    assert max(late) <= READ_SECONDS


def documents(other: Told) -> list[dict[str, Any]]:
    """The events that it was told with their documents."""
    events = [event for frame in other.frames if frame["type"] == "events" for event in frame["events"]]
    return [event for event in events if "document" in event]


# ---------------------------------------------------------------------------------------------------------- revocation


def load(client: Client, name: str, stop: threading.Event) -> int:
    """About `EVENTS_A_SECOND` documents a second, by tens; how many."""
    number, due = 0, time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        due = max(due + 10 / EVENTS_A_SECOND, time.monotonic() - 1)
        client[name].docs.insert_many([{"part": (number + place) % PARTS} for place in range(10)])
        number += 10
    return number


async def of_each_worker(service: Process, sub: str, each: int) -> list[Told]:
    """Sockets of a user, so many of each worker at least."""
    by: Counter[int] = Counter()
    found: list[Told] = []
    async with asyncio.timeout(PATIENCE):
        while len(by) < WORKERS or min(by.values()) < each:
            request = {"type": "subscribe", "id": "q", "collection": "docs", "mode": "events"}
            one = Told(service.url, {**request, "filter": {"part": random.randrange(PARTS)}}, sub, 600)
            await one.fly()
            by[holder(service, one.local_port)] += 1
            found.append(one)
    return found


def holder(service: Process, port: int) -> int:
    """Which worker holds the other end of a connection."""
    for child in psutil.Process(service.process.pid).children():
        if any(one.raddr and one.raddr.port == port for one in child.net_connections("tcp")):
            return int(child.pid)
    raise AssertionError(f"no worker has a connection to port {port}")


@LOAD
@pytest.mark.timeout(300)
@pytest.mark.alone("an upper bound in seconds, under load")
async def test_a_revocation_reaches_every_worker_within_a_second_beside_a_thousand_events_a_second(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    client: Client
    async with served(replica_set.uri, tmp_path, "--workers", str(WORKERS)) as (service, name):
        with pymongo.MongoClient(replica_set.uri) as client:
            stop, took = threading.Event(), list[float]()
            users = {f"u{n}": await of_each_worker(service, f"u{n}", scale["each"]) for n in range(scale["rounds"])}
            everybody = [one for mine in users.values() for one in mine]
            concern = WriteConcern("majority", wtimeout=20_000)
            revocations: Any = client[name].get_collection("realtime_revocations", write_concern=concern)
            began, loading = time.monotonic(), asyncio.create_task(asyncio.to_thread(load, client, name, stop))
            try:
                await asyncio.sleep(2.0)
                for sub, mine in users.items():
                    await asyncio.to_thread(revocations.insert_one, {"sub": sub})
                    acknowledged = time.time()
                    async with asyncio.timeout(PATIENCE):
                        took += [await one.over - acknowledged for one in mine]
                    assert [one.frames[-1]["code"] for one in mine] == [4504] * len(mine)
                    # And nobody else.
                    assert sum(one.over.done() for one in everybody) == len(took)
            finally:
                stop.set()
            rate = await loading / (time.monotonic() - began)
            heard = sum(len(documents(one)) for one in everybody)
            for one in everybody:
                one.close()
            client.drop_database(name)
    say(
        f"{len(took)} sockets of {len(users)} users on {WORKERS} workers: gone {max(took):.3f} s after the "
        f"acknowledgement at most, beside {rate:.0f} events a second, of which they heard {heard}"
    )
    assert rate >= LEAST_A_SECOND
    assert heard > len(took)
    assert len(took) >= WORKERS * scale["each"] * scale["rounds"]
    assert max(took) < GONE_SECONDS


# -------------------------------------------------------------------------------------------------- MongoDB is away


async def tried(url: str) -> str:
    """What becomes of somebody with a good token, by a door that is drawn by lot."""
    bearer, door = {"Authorization": f"Bearer {minted('ann')}"}, random.choice(["socket", "frame", "list", "stream"])
    if door in {"list", "stream"}:
        path = "documents" if door == "list" else "events"
        async with (
            httpx.AsyncClient(base_url=url, timeout=30) as http,
            http.stream("GET", f"/v1/collections/docs/{path}", headers=bearer) as answer,
        ):
            return f"{door} {answer.status_code}"
    shown = {"additional_headers": bearer} if door == "socket" else {}
    async with plainly(url.replace("http", "ws").rstrip("/") + "/v1/ws", open_timeout=30, **shown) as socket:  # type: ignore[arg-type]  # reason: a header or nothing
        if door == "frame":
            await socket.recv()
            await socket.send(f'{{"type":"auth","id":"a","token":"{minted("ann")}"}}')
        async with asyncio.timeout(30):
            told = str(await socket.recv())
        return f"{door} in" if '"principal":"ann"' in told else f"{door} out"


@LOAD
@pytest.mark.timeout(300)
async def test_while_mongodb_is_away_nobody_gets_in_by_any_door_of_any_worker(
    tmp_path: Path, scale: Scale, say: Say
) -> None:
    with tempfile.TemporaryDirectory(prefix="realtime-access-") as directory:
        async with (
            embedded.running(Path(directory)) as mongo,
            served(mongo.uri, tmp_path, "--workers", str(WORKERS)) as (service, _),
        ):
            before = await until(service.url, IN, scale["tries"])
            os.kill(mongo.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                # It is noticed by the silence of the change stream.
                await until(service.url, OUT, scale["tries"])
                noticed = time.monotonic() - began
                away = Counter([await tried(service.url) for _ in range(scale["tries"])])
            finally:
                os.kill(mongo.pid, signal.SIGCONT)
            after = await until(service.url, IN, scale["tries"])
    say(f"before {dict(before)}; away, noticed within {noticed:.1f} s: {dict(away)}; after {dict(after)}")
    assert set(away) <= OUT
    assert len(away) == len(OUT)


IN = {"socket in", "frame in", "list 200", "stream 200"}
OUT = {"socket out", "frame out", "list 503", "stream 503"}


async def until(url: str, wanted: set[str], times: int) -> Counter[str]:
    """Until so many in a row were as they are wanted."""
    found = Counter[str]()
    async with asyncio.timeout(120):
        while found.total() < times:
            outcome = await tried(url)
            found = found + Counter([outcome]) if outcome in wanted else Counter[str]()
    return found
