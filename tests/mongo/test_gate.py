"""Snapshots that many services would take at once after a deploy: those that find no place are spread by chance."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from realtime.mongo.faults import Gate


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds up to which chance was asked."""
    asked: list[float] = []

    def uniform(least: float, most: float) -> float:
        asked.append(most)
        return least

    monkeypatch.setattr("realtime.mongo.faults.random.uniform", uniform)
    return asked


async def crowd(gate: Gate, count: int) -> None:
    """So many at once, each for a turn of the loop."""

    async def one() -> None:
        async with gate.snapshot():
            await asyncio.sleep(0)

    await asyncio.gather(*(one() for _ in range(count)))


async def test_who_finds_a_place_waits_for_nothing(waits: list[float]) -> None:
    gate = Gate(10, spread=2.0)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(gate.snapshot())
    assert waits == []


async def test_of_a_crowd_those_without_a_place_are_spread(waits: list[float]) -> None:
    await crowd(Gate(10, spread=2.0), 50)
    assert 20 < len(waits) < 50
    assert set(waits) == {2.0}


async def test_a_crowd_of_later_is_not_and_without_a_relay_none_is(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    await crowd(Gate(10), 50)
    gate = Gate(10, spread=2.0)
    await crowd(gate, 1)
    monkeypatch.setattr(gate, "_first_until", 0.0)
    await crowd(gate, 50)
    assert waits == []
