"""Tasks of the hub's own: what one raises is logged and counted, and all of them end with the hub."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable
from typing import Any

from realtime.bugs import bug

AGAIN_SECONDS = 0.5


class Tasks:
    """Those that have not ended."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it from now on; `close` ends and awaits it."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            bug("task", error)

    async def close(self) -> None:
        """Cancel what has not ended, and wait for it."""
        await end(self._running)


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and return when all have ended; what one raises is not told.

    Again and again: a library may lose a cancellation, as `asyncio.wait_for` does until Python 3.12 where it comes
    together with what is waited for, and who waits for an end that was asked for once would wait for good.
    """
    tasks = list(tasks)
    left: Collection[asyncio.Task[Any]] = tasks
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
