"""1 to 5: the primary killed, stood down, frozen, everybody down, no majority; nobody is sent away, nothing is missed.

Sabotage: `make sabotage`, rows "election".
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pymongo import WriteConcern

from tests.adversity.members import DEFAULT_ELECTION_MS, ELECTION_MS, Members, three_members
from tests.adversity.record import COLLECTION
from tests.adversity.scale import Scale
from tests.adversity.scene import RATE, Stamped, log_times, scene
from tests.exact.conftest import Say

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.long("three members killed, frozen and elected"),
    pytest.mark.alone("pauses in seconds are measured"),
]
KILL_PAUSE, STEP_DOWN_PAUSE, FROZEN_PAUSE, RECOVERED = 5.0, 2.0, 20.0, 5.0
NO_ELECTION_MS = 120_000
QUIET_SECONDS = 5.0


@pytest.fixture(scope="module")
async def members() -> AsyncIterator[Members]:
    """One set for all of these tests: each leaves it with everybody up."""
    async with three_members() as found:
        yield found


async def test_the_primary_is_killed_and_nobody_misses_anything(
    members: Members, tmp_path: Path, scale: Scale, say: Say
) -> None:
    await members.election_timeout(ELECTION_MS)
    pauses = []
    with members.client() as client:
        async with scene(client, members.uri, tmp_path, clients=scale["clients"]) as running:
            rate = await running.rate()
            for _ in range(scale["rounds"]):
                primary = await members.primary()
                began = time.monotonic()
                await primary.kill()
                await running.flows()
                await asyncio.sleep(0.5)
                pauses.append(running.pause(began))
                await members.settle()
            figures = await running.judge()
            say(f"{len(pauses)} kills at {rate:.0f} writes/s, pauses {_shown(pauses)}; {running.summary()}")
    assert rate >= RATE * 0.8
    assert max(pauses) <= KILL_PAUSE
    assert figures["resync"] == 0
    assert "".join(running.service.output).count("ERROR") == 0


async def test_the_primary_stands_down_and_nobody_misses_anything(
    members: Members, tmp_path: Path, scale: Scale, say: Say
) -> None:
    await members.election_timeout(ELECTION_MS)
    pauses, elections = [], []
    with members.client() as client:
        async with scene(client, members.uri, tmp_path, clients=scale["clients"]) as running:
            for _ in range(scale["rounds"]):
                before = await members.primary()
                began, stood_down = time.monotonic(), time.time()
                await members.step_down()
                after = await members.primary()
                assert after is not before
                elections.append(members.elected(stood_down) - stood_down)
                await running.flows()
                await asyncio.sleep(0.5)
                pauses.append(running.pause(began))
                await members.settle()
            figures = await running.judge()
            say(
                f"{len(pauses)} step-downs, pauses {_shown(pauses)}, of which MongoDB had no primary for "
                f"{_shown(elections)}; {running.summary()}"
            )
    # Of an election that takes two rounds MongoDB itself has no primary for over 3 s, and nobody can write meanwhile.
    ours = [pause - without for pause, without in zip(pauses, elections, strict=True)]
    assert max(ours) <= STEP_DOWN_PAUSE
    assert statistics.median(pauses) <= STEP_DOWN_PAUSE
    assert figures["resync"] == 0


async def test_a_frozen_primary_is_left_for_another_and_nobody_misses_anything(
    members: Members, tmp_path: Path, scale: Scale, say: Say
) -> None:
    await members.election_timeout(DEFAULT_ELECTION_MS)
    with members.client() as client:
        async with scene(client, members.uri, tmp_path, clients=scale["clients"]) as running:
            primary = await members.primary()
            began, frozen = time.monotonic(), time.time()
            primary.freeze()
            try:
                await asyncio.sleep(scale.seconds("frozen"))
            finally:
                primary.thaw()
            await running.flows()
            pause = running.pause(began)
            degraded = _told(running.witness.frames, "degraded", began)
            await members.settle()
            without = members.elected(frozen) - frozen
            figures = await running.judge()
            say(
                f"frozen {scale.seconds('frozen'):g} s: pause {pause:.1f} s, of which MongoDB had no primary for "
                f"{without:.1f} s, told `degraded` after {degraded:.1f} s; "
                f"{running.summary()}"
            )
    # The election itself may need a second round, and then ends with the thaw or after it.
    assert 5 <= pause <= max(FROZEN_PAUSE, without + RECOVERED)
    assert degraded <= 8
    assert figures["resync"] == 0


async def test_all_members_go_down_and_come_up_again(members: Members, tmp_path: Path, scale: Scale, say: Say) -> None:
    await members.election_timeout(ELECTION_MS)
    with members.client() as client:
        async with scene(client, members.uri, tmp_path, clients=scale["clients"]) as running:
            began, killed = time.monotonic(), time.time()
            await asyncio.gather(*(member.kill() for member in members.members))
            await asyncio.sleep(scale.seconds("down"))
            restarted = time.monotonic()
            for member in members.members:
                await member.start()
            await running.flows()
            await members.settle()
            there = members.elected(killed) - time.time() + time.monotonic()
            took = running.first(restarted) - there
            degraded = _told(running.witness.frames, "degraded", began)
            up = _told(running.witness.frames, "up", began)
            figures = await running.judge()
            summary = running.summary()
    outage = there - began
    lines = [at.timestamp() - killed for at in log_times(running.service.output)]
    meanwhile = [at for at in lines if 0 <= at <= outage]
    say(
        f"down {scale.seconds('down'):g} s, a primary after {outage:.1f} s, told `degraded` after {degraded:.1f} s, "
        f"first event {took:.1f} s after that primary, `up` after {up:.1f} s; {len(meanwhile)} lines in the log until "
        f"then; {summary}"
    )
    assert outage >= scale.seconds("down")
    assert 0 <= took <= RECOVERED
    assert up - outage <= RECOVERED
    assert degraded <= 5
    assert figures["resync"] == 0
    assert 1 <= len(meanwhile) <= outage / QUIET_SECONDS


async def test_without_a_majority_nothing_uncommitted_is_told_and_all_arrives_after(
    members: Members, tmp_path: Path, scale: Scale, say: Say
) -> None:
    # The primary stays in office, so that it goes on taking writes that nobody has committed.
    await members.election_timeout(NO_ELECTION_MS)
    with members.client() as client:
        async with scene(client, members.uri, tmp_path, clients=scale["clients"]) as running:
            hasty = client[running.name].get_collection(COLLECTION, write_concern=WriteConcern(1))
            lag_before = await running.metric("realtime_lag_seconds")
            seconds = await members.secondaries()
            for member in seconds:
                member.freeze()
            try:
                await asyncio.sleep(1)  # what was under way to them has come back by now
                began, count = time.monotonic(), len(running.witness.frames)
                written, lag = 0, lag_before
                while time.monotonic() - began < scale.seconds("frozen"):
                    written += 1
                    document = {"_id": f"w1-{written}", "part": written % 5, "n": written, "at": time.time()}
                    await asyncio.to_thread(hasty.insert_one, document)
                    lag = max(lag, await running.metric("realtime_lag_seconds"))
                    await asyncio.sleep(0.1)
                told = [frame for frame in running.witness.frames[count:] if frame["type"] in {"events", "changes"}]
                degraded = _told(running.witness.frames, "degraded", began)
            finally:
                for member in seconds:
                    member.thaw()
            await running.flows()
            await members.settle()
            figures = await running.judge()
            # Every one of them: the primary was the primary all the time.
            keys = [event["key"] for frame in running.witness.of("events") for event in frame["events"]]
            late = [key for key in keys if str(key).startswith("w1-")]
            say(
                f"{written} uncommitted writes in {scale.seconds('frozen'):g} s: {len(told)} frames of them meanwhile, "
                f"{len(late)} events after; lag {lag_before:g} to {lag:g} s, `degraded` after {degraded:.1f} s; "
                f"{running.summary()}"
            )
    assert written >= 20
    assert told == []
    assert late == [f"w1-{number}" for number in range(1, written + 1)]
    assert lag >= lag_before + scale.seconds("frozen") / 2
    assert degraded <= scale.seconds("frozen")
    assert figures["resync"] == 0


def _told(frames: list[dict[str, object]], feed: str, since: float) -> float:
    """How long after `since` this status was told first."""
    assert isinstance(frames, Stamped)
    for frame, at in zip(frames, frames.at, strict=True):
        if at > since and frame["type"] == "status" and frame["feed"] == feed:
            return at - since
    raise AssertionError(f"never told {feed}")


def _shown(pauses: list[float]) -> str:
    return f"{', '.join(f'{pause:.1f}' for pause in pauses)} s"
