"""19: steady load and a random fault every now and then: nothing missed, and nothing that the service holds grows."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo.errors import PyMongoError

from tests.adversity.members import ELECTION_MS, Members, three_members
from tests.adversity.record import COLLECTION
from tests.adversity.scale import Scale
from tests.adversity.scene import Scene, scene
from tests.exact.conftest import Say
from tests.exact.flock import Bird

pytestmark = [
    pytest.mark.timeout(1500),
    pytest.mark.long("a minute of random faults"),
    pytest.mark.alone("memory, tasks and descriptors are counted"),
]
FROZEN_SECONDS, DOWN_SECONDS = 5.0, 3.0
PASSERS_BY = 20
SPARE = {"memory": 24.0, "descriptors": 6.0, "tasks": 6.0, "cursors": 3.0}
"""By how much the middle of the last third may be over that of the first: MiB, numbers."""
Sample = dict[str, float]


class Faults:
    """Each returns when what it did is undone, and the set has a primary."""

    def __init__(self, members: Members, running: Scene) -> None:
        self.members, self.running = members, running

    def all(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "primary killed": self.primary_killed,
            "step-down": self.members.step_down,
            "primary frozen": self.primary_frozen,
            "secondary killed": self.secondary_killed,
            "all down": self.all_down,
            "clients vanish": self.clients_vanish,
        }

    async def primary_killed(self) -> None:
        await (await self.members.primary()).kill()

    async def primary_frozen(self) -> None:
        primary = await self.members.primary()
        primary.freeze()
        await asyncio.sleep(FROZEN_SECONDS)
        primary.thaw()

    async def secondary_killed(self) -> None:
        await (await self.members.secondaries())[0].kill()

    async def all_down(self) -> None:
        await asyncio.gather(*(member.kill() for member in self.members.members))
        await asyncio.sleep(DOWN_SECONDS)

    async def clients_vanish(self) -> None:
        request = {"type": "subscribe", "id": "s", "collection": COLLECTION}
        birds = [Bird(self.running.service.url, request) for _ in range(PASSERS_BY)]
        await asyncio.gather(*(bird.fly() for bird in birds))
        for bird in birds:
            bird.close()


async def watch(running: Scene, members: Members, samples: list[Sample]) -> None:
    """What the service holds, every second, and its cursors at the primary where there is one."""
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=running.service.url, timeout=10) as http:
        while True:
            sample: Sample = (await http.get("/counts")).json()
            sample["at"] = time.monotonic() - began
            cursors = await asyncio.to_thread(open_cursors, members)
            if cursors is not None:
                sample["cursors"] = cursors
            samples.append(sample)
            await asyncio.sleep(1)


def open_cursors(members: Members) -> float | None:
    """Of the member that takes writes; the members' own, by which they follow it, are the same at all times."""
    for member in members.members:
        if member.up:
            try:
                if member.ask("hello")["isWritablePrimary"]:
                    return float(member.ask("serverStatus")["metrics"]["cursor"]["open"]["total"])
            except PyMongoError:
                continue
    return None


def growth(samples: list[Sample], name: str) -> tuple[float, float]:
    """The middle of the first third after the start, and that of the last third."""
    values = [sample[name] for sample in samples if name in sample]
    values = values[len(values) // 10 :]
    third = len(values) // 3
    assert third >= 5
    return statistics.median(values[:third]), statistics.median(values[-third:])


async def test_under_random_faults_nothing_is_missed_and_nothing_grows(
    tmp_path: Path, scale: Scale, say: Say, record_property: Callable[[str, Any], None]
) -> None:
    dice = random.Random(scale["seed"])
    samples: list[Sample] = []
    chosen: list[tuple[float, str]] = []
    pauses: list[float] = []
    async with three_members() as members:
        await members.election_timeout(ELECTION_MS)
        with members.client() as client:
            async with scene(
                client,
                members.uri,
                tmp_path,
                clients=scale["clients"],
                module="tests.adversity.counting",
                REALTIME_JOURNAL_SECONDS="10",
            ) as running:
                faults, watching = Faults(members, running).all(), asyncio.create_task(watch(running, members, samples))
                began = time.monotonic()
                try:
                    deck: list[str] = []
                    while time.monotonic() - began < scale.seconds("lasts"):
                        due = began + len(chosen) * scale.seconds("every") + scale.seconds("every") / 2
                        await asyncio.sleep(max(0.0, due - time.monotonic()))
                        # A deck, so that a long run has each of them.
                        deck = deck or dice.sample(sorted(faults), len(faults))
                        name, at = deck.pop(), time.monotonic()
                        chosen.append((at - began, name))
                        await faults[name]()
                        await running.flows() if all(member.up for member in members.members) else None
                        await members.settle()
                        await running.flows()
                        pauses.append(running.pause(at))
                        await asyncio.sleep(max(0.0, due + scale.seconds("every") / 2 - time.monotonic()))
                finally:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)
                figures = await running.judge()
    record_property("samples", json.dumps({"samples": samples, "faults": chosen}))
    grown = {name: growth(samples, name) for name in SPARE}
    shown = ", ".join(f"{name} {first:.0f} → {last:.0f}" for name, (first, last) in grown.items())
    say(
        f"{samples[-1]['at']:.0f} s, faults {[name for _, name in chosen]}, longest pauses "
        f"{[round(pause, 1) for pause in pauses]} s; {shown}; {running.summary()}"
    )
    assert len(chosen) >= scale.seconds("lasts") // scale.seconds("every")
    assert len(samples) >= scale.seconds("lasts") / 3
    assert figures["resync"] == 0
    assert [name for name, (first, last) in grown.items() if last > first + SPARE[name]] == []
