"""Work in slices of time: a turn has one slice, however many have work; and how many events a turn may have."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest

from realtime.hub.slicing import SLICE_EVENTS, SLICE_SECONDS, Pace, Slices


class Clock:
    """One that goes on by what work takes."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


async def test_twelve_that_have_costly_work_take_one_slice_a_turn() -> None:
    clock = Clock()
    slices, turns, done = Slices(clock), list[float](), list[int]()

    async def watch() -> None:
        while len(done) < 12:
            turns.append(clock.now)
            await asyncio.sleep(0)

    async def costly(number: int) -> None:
        await slices.each([0.005] * 40, clock.work)
        done.append(number)

    async with asyncio.timeout(10):
        await asyncio.gather(watch(), *(costly(number) for number in range(12)))
    gaps = [after - before for before, after in pairwise(turns)]
    assert clock.now >= 12 * 40 * 0.005 - 1e-9
    assert max(gaps) <= SLICE_SECONDS + 0.005 + 1e-9
    assert len([gap for gap in gaps if gap]) >= 12 * 40 * 0.005 / (SLICE_SECONDS + 0.005)
    assert sorted(done) == list(range(12))


async def test_little_work_is_done_at_once_and_one_that_raises_leaves_the_turn_to_others() -> None:
    slices, taken = Slices(Clock()), list[int]()
    work = slices.each(range(3), taken.append)
    with suppress(StopIteration):
        work.send(None)
    assert taken == [0, 1, 2]

    def fails(_: int) -> None:
        raise ValueError("9")

    for _ in range(2):
        with pytest.raises(ValueError, match="9"):
            await slices.each([1], fails)
    await slices.each([5], taken.append)
    assert taken == [0, 1, 2, 5]


def test_a_pace_falls_at_once_to_what_the_time_allows_and_comes_back_by_doubling() -> None:
    pace = Pace()
    pace.took(1000, 100 * SLICE_SECONDS)
    assert pace.events == 10
    pace.took(10, 100 * SLICE_SECONDS)
    assert pace.events == 1
    pace.took(1, 3.0)
    assert pace.events == 1
    grown = []
    for _ in range(12):
        pace.took(pace.events, SLICE_SECONDS / 3)
        grown.append(pace.events)
    assert grown[:4] == [2, 4, 8, 16]
    assert grown[-1] == SLICE_EVENTS
    pace.took(1, 0.0)
    assert pace.events == SLICE_EVENTS


def test_few_events_say_nothing_of_many() -> None:
    pace = Pace()
    pace.took(1000, 10 * SLICE_SECONDS)
    pace.took(3, 0.0)
    assert pace.events == 100
    pace.took(500, 2 * SLICE_SECONDS)
    assert pace.events == 100
