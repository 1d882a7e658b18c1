"""Tasks of the hub's own: what one raises is logged and counted, and all of them end with the hub."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from realtime.bugs import bug


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
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
