"""Several tries at something of which one that is silent must not hold up the others: one begins after the other.

A server of a cluster that is frozen takes connections, is given consumers to keep, and is asked for messages by chance,
for as long as the others take it for one of theirs; it answers nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

T = TypeVar("T")
AGAIN_SECONDS: Final = 0.5


async def first(
    tries: Sequence[Callable[[], Coroutine[Any, Any, T]]],
    seconds: float,
    failures: tuple[type[Exception], ...],
    drop: Callable[[T], None] = lambda _: None,
) -> T:
    """What the first of them returns that succeeds. Each begins when one fails, or when none has ended for `seconds`.

    `failures`: what is a try that failed; anything else is raised at once. Where all fail, an `ExceptionGroup` of
    that, in the order of their ends. `drop` gets what comes too late, which must not be waited for.
    """
    left, running = list(tries), set[asyncio.Task[T]]()
    ended: list[asyncio.Task[T]] = []
    failed: list[Exception] = []
    try:
        while left or running:
            if left:
                running.add(asyncio.create_task(left.pop(0)()))
            done, running = await asyncio.wait(
                running, timeout=seconds if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            ended += done
            # What is raised here must not hold itself, and with it all that is under way above this.
            done.clear()
            while ended:
                try:
                    return ended.pop(0).result()
                except failures as error:
                    failed.append(error)
        raise ExceptionGroup("every try failed", tuple(failed))
    finally:
        await _ended(running)
        for task in [*ended, *running]:
            if not task.cancelled() and task.exception() is None:
                drop(task.result())
        failed.clear()


async def _ended(tasks: set[asyncio.Task[T]]) -> None:
    """Cancelled, and over: again and again, since a library may lose a cancellation."""
    left = tasks
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
