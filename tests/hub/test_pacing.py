"""When a throttled group may be told."""

from __future__ import annotations

import asyncio

from realtime.core.live.query import QueryGroup
from realtime.hub.pacing import Pacer
from tests.core.examples import live_group


async def test_it_may_be_told_once_in_its_time_and_is_rung_when_it_may_be_again() -> None:
    rung: list[QueryGroup] = []
    again = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ring(group: QueryGroup) -> None:
        rung.append(group)
        again.set()

    pacer, group, other = Pacer(ring), live_group(), live_group()
    assert pacer.may(group, 50)
    assert pacer.may(group, 50), "nothing was told yet"
    pacer.told(group)
    since = loop.time()
    assert [pacer.may(group, 50) for _ in range(3)] == [False] * 3
    assert pacer.may(other, 50)
    async with asyncio.timeout(10):
        await again.wait()
    assert rung == [group]
    assert loop.time() - since >= 0.049
    assert pacer.may(group, 40)


async def test_who_is_forgotten_is_not_rung() -> None:
    rung: list[QueryGroup] = []
    pacer, one, two = Pacer(rung.append), live_group(), live_group()
    for group in (one, two):
        pacer.told(group)
        assert not pacer.may(group, 20)
    pacer.forget(one)
    pacer.forget(one)
    assert pacer.may(one, 20)
    pacer.close()
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0.03, done.set)  # after both would have rung
    await done.wait()
    assert rung == []
