"""A service as a process under steady writes, and subscribers that never leave; judged when all is over."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pymongo

from tests.adversity.record import COLLECTION, Writers, truth_of, writing
from tests.checker import Asked, Frame, judge
from tests.exact.ear import Ear, listening
from tests.serving import Process, process

Client = pymongo.MongoClient[dict[str, Any]]
PARTS, RATE = 5, 200.0
HEARTBEAT_SECONDS = 1.0


class Stamped(list[Frame]):
    """Frames, and when each came."""

    def __init__(self, frames: list[Frame]) -> None:
        super().__init__(frames)
        self.at = [time.monotonic()] * len(frames)

    def append(self, frame: Frame) -> None:
        super().append(frame)
        self.at.append(time.monotonic())


def longest(ear: Ear, since: float) -> float:
    """The longest time between two frames with events, and from `since` (monotonic) to the first one after it."""
    assert isinstance(ear.frames, Stamped)
    stamped = zip(ear.frames, ear.frames.at, strict=True)
    times = [at for frame, at in stamped if frame["type"] == "events" and at > since]
    assert times, "no event came any more"
    return max(after - before for before, after in pairwise([since, *times]))


class Scene:
    """What a test of a fault has at hand."""

    def __init__(self, service: Process, ears: list[Ear], writers: Writers, client: Client, name: str) -> None:
        self.service, self.ears, self.writers = service, ears, writers
        self.client, self.name = client, name
        self.figures: Counter[str] = Counter()

    @property
    def witness(self) -> Ear:
        """One that is told every event."""
        return self.ears[0]

    async def flows(self, since: float | None = None) -> None:
        """Until an insert that was begun after `since` (Unix time; now) was told."""
        began = time.time() if since is None else since

        def fresh(frame: Frame) -> bool:
            return frame["type"] == "events" and any(
                event["op"] == "insert" and event["document"]["at"] > began for event in frame["events"]
            )

        async with asyncio.timeout(60):
            await self.witness.coming(fresh)

    def pause(self, since: float, ear: Ear | None = None) -> float:
        """The longest time without an event for the witness, from `since` (monotonic) on."""
        return longest(ear or self.witness, since)

    def first(self, since: float) -> float:
        """When the witness was told an event first after `since`; both monotonic."""
        frames = self.witness.frames
        assert isinstance(frames, Stamped)
        return min(at for frame, at in zip(frames, frames.at, strict=True) if frame["type"] == "events" and at > since)

    async def rate(self, seconds: float = 1.5) -> float:
        """Writes acknowledged in a second, just now."""
        before = len(self.writers.acknowledged)
        await asyncio.sleep(seconds)
        return (len(self.writers.acknowledged) - before) / seconds

    async def metric(self, name: str) -> float:
        """A figure of the service's own."""
        async with httpx.AsyncClient(base_url=self.service.url, timeout=10) as http:
            text = (await http.get("/metrics")).text
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found, f"no {name}"
        return float(found[1])

    def asked(self, number: int) -> Asked:
        if number % PARTS == 0:
            return Asked("s", (COLLECTION,), "events")
        return Asked("s", (COLLECTION,), matches=lambda one: bool(one["part"] == number % PARTS))

    async def judge(self) -> Counter[str]:
        """Everybody is still there, at the last write and exact all the way; what was looked at."""
        await self.writers.stop()
        truth = await asyncio.to_thread(truth_of, self.client[self.name], self.writers.acknowledged)
        last = truth.writes[-1].time
        await asyncio.gather(*(ear.settle(last) for ear in self.ears))
        assert [ear.closed for ear in self.ears] == [None] * len(self.ears)
        for number, ear in enumerate(self.ears):
            self.figures += judge(ear.frames, [self.asked(number)], truth).accept()
        assert self.figures["told"] == self.figures["expected"] > 0
        assert self.figures["update"] > 0
        return self.figures

    def summary(self) -> str:
        """For the line of figures."""
        looked = {name: self.figures[name] for name in ("told", "compared", "resync", "status", "error")}
        doubt = dict(self.writers.in_doubt)
        return f"{len(self.writers.acknowledged)} writes acknowledged, in doubt {doubt}; judged {looked}"


@asynccontextmanager
async def scene(
    client: Client,
    uri: str,
    home: Path,
    *,
    clients: int,
    rate: float = RATE,
    module: str = "realtime",
    **environment: str,
) -> AsyncIterator[Scene]:
    """Writes through `client`, a service at `uri`, subscribers: one in five follows all events, the others a part."""
    name = f"t_adversity_{random.randrange(1 << 40):x}"
    given = {"REALTIME_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS), **environment}
    options = ("--port", "0", "--mongodb-uri", uri, "--database", name)
    writers = Writers(client, name, rate=rate, parts=PARTS)
    try:
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(process("serve", *options, home=home, module=module, **given))
            ears = [await stack.enter_async_context(listening(service.url)) for _ in range(clients)]
            for number, ear in enumerate(ears):
                ear.frames = Stamped(ear.frames)
                if number % PARTS == 0:
                    await ear.subscribe("s", COLLECTION, mode="events")
                else:
                    await ear.subscribe("s", COLLECTION, filter={"part": number % PARTS})
            async with writing(writers):
                running = Scene(service, ears, writers, client, name)
                await running.flows()
                yield running
    finally:
        client.drop_database(name)


def log_times(output: list[str]) -> list[dt.datetime]:
    """When each line of the service's log was written."""
    found = (re.match(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) ", line) for line in output)
    return [dt.datetime.strptime(f"{one[1]}.{one[2]}", "%Y-%m-%d %H:%M:%S.%f").astimezone() for one in found if one]
