"""A fleet over NATS, and each of its parts killed, frozen, emptied, filled: nobody is sent away, nothing is missed.

Pauses are what a subscriber waited for an event, at whichever node that was longest. A machine with more to do than
this makes them longer: where a second counts, the longest wait just before the fault is taken off.

Sabotage: `make sabotage`, rows "fleet".
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pymongo
import pytest

from tests.adversity.fleet import NODES, PARTS, Fleet, fleet
from tests.adversity.members import ELECTION_MS, three_members
from tests.adversity.scale import Scale
from tests.adversity.visiting import Visitor, everybody
from tests.checker import judge
from tests.exact.conftest import Say
from tests.nats.small_disk import NoDiskError, SmallDisk, small_disk
from tests.relay.processes import RelayProcess
from tests.replica_set import ReplicaSet

MongoClient = pymongo.MongoClient[dict[str, Any]]
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.long("ten processes for each fault"),
    pytest.mark.alone("pauses in seconds are measured"),
]
KILLED_PAUSE, ENDED_PAUSE, LEADER_PAUSE, RECOVERED = 6.0, 1.0, 12.0, 12.0
STEP_DOWN_PAUSE, OTHERS_PAUSE, AWAY_SECONDS = 2.0, 1.0, 5.0
DISK_PAUSE = 20.0
"""A server whose disk is full first fails to store, then hands over what it leads, which may take two elections."""
DISK_MEBIBYTES = 48


async def lasting(running: Fleet, began: float) -> float:
    """The longest pause since `began`, once every node tells again what is written now."""
    await running.flows()
    await asyncio.sleep(0.5)
    return max(running.pauses(began))


def killed(relay: RelayProcess) -> None:
    assert relay.end(signal.SIGKILL) == -signal.SIGKILL


def ended(relay: RelayProcess) -> None:
    assert relay.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(("end", "most"), [(killed, KILLED_PAUSE), (ended, ENDED_PAUSE)], ids=["killed", "ended"])
async def test_the_relay_that_publishes_ends_and_another_goes_on(
    end: Callable[[RelayProcess], None],
    most: float,
    replica_set: ReplicaSet,
    tmp_path: Path,
    scale: Scale,
    say: Say,
) -> None:
    pauses, calm = [], 0.0
    with MongoClient(replica_set.uri) as client:
        async with fleet(client, replica_set.uri, tmp_path, each=scale["each"]) as running:
            for _ in range(scale["rounds"]):
                publisher = await running.publisher()
                other = await running.other(publisher)
                calm = max(calm, await running.calm())
                began = time.monotonic()
                await asyncio.to_thread(end, publisher)
                assert await running.publisher() is other
                pauses.append(await lasting(running, began))
            figures = await running.judge()
            say(f"pauses {_shown(pauses)}, {calm:.2f} s without a fault; {running.summary()}")
    assert max(pauses) - calm <= most
    assert figures["resync"] == figures["unsubscribed"] == 0


async def test_the_relay_that_publishes_is_frozen_and_repeats_nothing_when_it_wakes(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    with MongoClient(replica_set.uri) as client:
        async with fleet(client, replica_set.uri, tmp_path, each=scale["each"]) as running:
            publisher = await running.publisher()
            other = await running.other(publisher)
            calm, began = await running.calm(), time.monotonic()
            publisher.freeze()
            try:
                await asyncio.sleep(scale.seconds("frozen"))
            finally:
                publisher.thaw()
            await publisher.says("it reads where that one is")
            pause = await lasting(running, began)
            assert await running.publisher() is other
            figures = await running.judge()
            say(
                f"frozen {scale.seconds('frozen'):g} s, refused when it woke: pause {pause:.2f} s, {calm:.2f} s "
                f"without a fault; {running.summary()}"
            )
    assert pause - calm <= KILLED_PAUSE
    assert figures["resync"] == figures["unsubscribed"] == 0


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_the_server_of_nats_that_leads_the_stream_is_killed_or_frozen(
    fault: str, replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    with MongoClient(replica_set.uri) as client:
        async with fleet(client, replica_set.uri, tmp_path, each=scale["each"]) as running:
            leader = await running.leader()
            calm, began = await running.calm(), time.monotonic()
            if fault == "killed":
                await asyncio.to_thread(leader.kill)
                await running.flows()
                await asyncio.to_thread(leader.start)
            else:
                leader.freeze()
                try:
                    await asyncio.sleep(scale.seconds("frozen"))
                finally:
                    leader.thaw()
            await running.abreast()
            pause = await lasting(running, began)
            figures = await running.judge()
            say(f"pause {pause:.2f} s, {calm:.2f} s without a fault; {running.summary()}")
    assert pause <= LEADER_PAUSE
    assert figures["resync"] == figures["unsubscribed"] == 0


@pytest.mark.parametrize("count", [2, 3])
async def test_most_or_all_servers_of_nats_are_down_for_a_while(
    count: int, replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    with MongoClient(replica_set.uri) as client:
        async with fleet(client, replica_set.uri, tmp_path, each=scale["each"]) as running:
            leader = await running.leader()
            down = [leader, *(server for server in running.servers if server is not leader)][:count]
            began = time.monotonic()
            await asyncio.gather(*(asyncio.to_thread(server.kill) for server in down))
            await asyncio.sleep(scale.seconds("down"))
            await asyncio.gather(*(asyncio.to_thread(server.start) for server in down))
            back = time.monotonic() - began
            pause = await lasting(running, began)
            told = await running.statuses()
            await running.abreast()
            figures = await running.judge()
            say(
                f"{count} of three down for {back:.1f} s: pause {pause:.1f} s, {pause - back:.1f} s of it after they "
                f"were up; {running.summary()}"
            )
    assert pause - back <= RECOVERED
    assert [one[0] for one in told] == ["degraded"] * NODES
    assert figures["resync"] == figures["unsubscribed"] == 0


async def test_the_stream_is_deleted(replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say) -> None:
    with MongoClient(replica_set.uri) as client:
        async with fleet(client, replica_set.uri, tmp_path, each=scale["each"]) as running:
            before = (await running.ask("STREAM.INFO"))["created"]
            calm, began = await running.calm(), time.monotonic()
            await running.ask("STREAM.DELETE")
            pause = await lasting(running, began)
            after = await running.ask("STREAM.INFO")
            figures = await running.judge()
            say(f"pause {pause:.2f} s, {calm:.2f} s without a fault; {running.summary()}")
    assert after["created"] != before
    assert pause <= LEADER_PAUSE
    assert figures["resync"] == figures["unsubscribed"] == 0


async def test_the_stream_is_trimmed_below_a_node_that_sleeps(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    with MongoClient(replica_set.uri) as client:
        async with fleet(client, replica_set.uri, tmp_path, each=scale["each"]) as running:
            calm, began = await running.calm(), time.monotonic()
            sleeper = running.nodes[0]
            held = (await running.ask("STREAM.INFO"))["state"]["last_seq"]
            sleeper.process.send_signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(scale.seconds("asleep"))
                last = (await running.ask("STREAM.INFO"))["state"]["last_seq"]
                trimmed = await running.ask("STREAM.PURGE", {"seq": last})
            finally:
                sleeper.process.send_signal(signal.SIGCONT)
            await lasting(running, began)
            own, *others = running.pauses(began)
            figures = await running.judge()
            say(
                f"asleep {scale.seconds('asleep'):g} s, {trimmed['purged']} messages trimmed, {last - held} of them "
                f"after it fell asleep: told nothing for {own:.1f} s, the others for {max(others):.2f} s, {calm:.2f} s "
                f"without a fault; {running.summary()}"
            )
    assert last > held
    assert own >= scale.seconds("asleep")
    assert max(others) - calm <= OTHERS_PAUSE
    assert "what is missing is read from the oplog" in "".join(sleeper.output)
    assert figures["resync"] == figures["unsubscribed"] == 0


@contextmanager
def small_disks(home: Path) -> Iterator[list[SmallDisk]]:
    """For each of three servers."""
    with ExitStack() as stack:
        try:
            yield [
                stack.enter_context(small_disk(home / f"n{number}" / "store", DISK_MEBIBYTES)) for number in (1, 2, 3)
            ]
        except NoDiskError as reason:
            if "CI" in os.environ:
                raise
            pytest.skip(f"no namespace of its own to mount a small disk in: {reason}")


async def test_the_disks_of_nats_are_full_and_have_room_again(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    """First that of the stream's leader, then a second one too, when nothing can be stored any more.

    A nats-server that met a full disk stores nothing until it is started again, whatever room there is by then.
    """
    with small_disks(tmp_path) as disks, MongoClient(replica_set.uri) as client:
        prefixes: Sequence[Sequence[str]] = [disk.prefix for disk in disks]
        async with fleet(client, replica_set.uri, tmp_path, each=scale["each"], prefixes=prefixes) as running:
            leader = await running.leader()
            full = [leader, *(server for server in running.servers if server is not leader)][:2]
            disk_of = dict(zip(running.servers, disks, strict=True))
            one_full = time.monotonic()
            filled = [disk_of[full[0]].fill()]
            one = await lasting(running, one_full)
            two_full = time.monotonic()
            filled.append(disk_of[full[1]].fill())
            await asyncio.sleep(scale.seconds("full"))
            for server in full:
                disk_of[server].free()
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(server.start)
            back = time.monotonic() - two_full
            two = await lasting(running, two_full)
            await running.abreast()
            figures = await running.judge()
            logs = [server.log for server in full]
            say(
                f"the leader's disk full: pause {one:.1f} s; a second one too, both freed and the servers started "
                f"again after {back:.1f} s: pause {two:.1f} s, {two - back:.1f} s of it after that; {running.summary()}"
            )
    assert min(filled) > 0
    assert all("no space left on device" in log for log in logs)
    assert one <= DISK_PAUSE
    assert two - back <= RECOVERED
    assert two >= scale.seconds("full") / 2
    assert figures["resync"] == figures["unsubscribed"] == 0


async def test_mongodb_steps_down_while_a_relay_is_killed(tmp_path: Path, scale: Scale, say: Say) -> None:
    async with three_members() as members:
        await members.election_timeout(ELECTION_MS)
        with members.client() as client:
            async with fleet(client, members.uri, tmp_path, each=scale["each"]) as running:
                publisher = await running.publisher()
                calm, began, at = await running.calm(), time.monotonic(), time.time()
                await asyncio.gather(members.step_down(), asyncio.to_thread(killed, publisher))
                pause = await lasting(running, began)
                without = members.elected(at) - at
                await members.settle()
                figures = await running.judge()
                say(
                    f"pause {pause:.2f} s, MongoDB had no primary for {without:.1f} s, {calm:.2f} s without a fault; "
                    f"{running.summary()}"
                )
    assert pause - calm - without <= KILLED_PAUSE + STEP_DOWN_PAUSE
    assert figures["resync"] == figures["unsubscribed"] == 0


async def test_everything_is_restarted_in_turn(replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say) -> None:
    every = Counter[str]()
    with MongoClient(replica_set.uri) as client:
        async with AsyncExitStack() as stack, fleet(client, replica_set.uri, tmp_path, each=0) as running:
            urls = [node.url for node in running.nodes]
            visitors = [
                Visitor(urls, number % PARTS, events=number % 5 == 0, first=number % len(urls))
                for number in range(scale["each"] * len(urls))
            ]
            staying = [asyncio.create_task(visitor.stay()) for visitor in visitors]
            try:
                await everybody(visitors)
                for _ in range(2):
                    publisher = await running.publisher()
                    await running.other(publisher)
                    await asyncio.to_thread(ended, publisher)
                    await running.publisher()
                for server in running.servers:
                    await asyncio.to_thread(server.stop)
                    await asyncio.to_thread(server.start)
                    await running.abreast()
                for number in range(len(running.nodes)):
                    await running.restart(stack, number)
                    await everybody(visitors)
                    await asyncio.sleep(scale.seconds("pause"))
                truth = await running.stopped()
                ears = await everybody(visitors)
                await asyncio.gather(*(ear.settle(truth.writes[-1].time) for ear in ears))
            finally:
                for task in staying:
                    task.cancel()
                await asyncio.gather(*staying, return_exceptions=True)
            rate = running.rate
    for visitor in visitors:
        for frames, position in visitor.visits:
            every += judge(frames, [visitor.asked(truth, position)], truth).accept()
    away = [seconds for visitor in visitors for seconds in visitor.away]
    refused = sum((visitor.refused for visitor in visitors), Counter[str]())
    say(
        f"{len(visitors)} clients, {rate:.0f} writes/s, 2 relays, 3 servers of NATS and {len(urls)} nodes restarted: "
        f"{len(away)} moves, away {max(away):.2f} s at most, {sorted(away)[len(away) // 2]:.2f} s in the middle; in "
        f"vain {dict(refused)}; {dict(every)}; missing 0, repeated 0"
    )
    assert len(away) >= len(visitors)
    assert max(away) <= AWAY_SECONDS
    assert every["recovered"] == len(away)
    assert every["told"] > 0
    assert every["resync"] == every["unsubscribed"] == 0


def _shown(pauses: list[float]) -> str:
    return f"{', '.join(f'{pause:.2f}' for pause in pauses)} s"
