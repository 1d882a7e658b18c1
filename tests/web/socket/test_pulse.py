"""Pings to many by one timer: whom, when, and what becomes of who does not answer."""

from __future__ import annotations

import asyncio
from collections import Counter

from realtime.web.socket.pulse import AT_ONCE, Pulse

SOON = 0.02


class Peer:
    """Is asked, and may be let go."""

    def __init__(self, *, stays: bool = False) -> None:
        self.told: Counter[str] = Counter()
        self._stays = stays

    def ping(self) -> None:
        self.told["ping"] += 1

    def unanswered(self) -> bool:
        self.told["unanswered"] += 1
        return self._stays


async def until(peers: list[Peer], what: str, times: int = 1) -> None:
    async with asyncio.timeout(10):
        while any(peer.told[what] < times for peer in peers):
            await asyncio.sleep(0.005)


async def test_everybody_is_pinged_again_after_each_answer_however_many_there_are() -> None:
    pulse, peers = Pulse(asyncio.get_running_loop(), SOON, 60), [Peer() for _ in range(AT_ONCE * 3)]
    for peer in peers:
        pulse.add(peer)
    for round_ in range(1, 4):
        await until(peers, "ping", round_)
        assert {peer.told["ping"] for peer in peers} == {round_}
        for peer in peers:
            pulse.answered(peer)
    assert len(pulse) == len(peers)
    for peer in peers:
        pulse.remove(peer)
    assert len(pulse) == 0


async def test_who_does_not_answer_is_told_so_once_and_pinged_again_only_where_it_goes_on() -> None:
    pulse, gone, stays = Pulse(asyncio.get_running_loop(), SOON, SOON), Peer(), Peer(stays=True)
    pulse.add(gone)
    pulse.add(stays)
    await until([stays], "unanswered", 3)
    assert gone.told == {"ping": 1, "unanswered": 1}
    assert stays.told["ping"] >= 3
    pulse.remove(stays)
    assert len(pulse) == 0


async def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    pulse, peer = Pulse(asyncio.get_running_loop(), 60, 60), Peer()
    pulse.answered(peer)
    assert len(pulse) == 0


async def test_without_an_interval_nobody_is_pinged_and_without_a_timeout_nobody_is_waited_for() -> None:
    loop = asyncio.get_running_loop()
    silent, patient, peers = Pulse(loop, None, 1), Pulse(loop, SOON, None), [Peer(), Peer()]
    silent.add(peers[0])
    patient.add(peers[1])
    await until(peers[1:], "ping", 3)
    assert peers[0].told == {}
    assert peers[1].told["unanswered"] == 0
    patient.remove(peers[1])
