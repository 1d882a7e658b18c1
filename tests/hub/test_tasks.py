"""Tasks that are to end, among them such as do not hear it at once."""

from __future__ import annotations

import asyncio

from realtime.hub.tasks import end


async def test_who_missed_that_it_is_to_end_is_told_again() -> None:
    """As `asyncio.wait_for` misses it where it comes together with what is waited for."""
    told = 0
    goes_on = asyncio.Event()

    async def work() -> None:
        nonlocal told
        while True:
            goes_on.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told += 1
                if told == 2:
                    raise

    async def fail() -> None:
        raise OSError("away")

    tasks = [asyncio.create_task(work()), asyncio.create_task(fail())]
    await goes_on.wait()
    async with asyncio.timeout(10):
        await end(tasks)
    assert told == 2
    assert [task.cancelled() for task in tasks] == [True, False]
