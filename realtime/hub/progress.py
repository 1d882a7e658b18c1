"""How far the process is: the time that has been dispatched, the batch in the pipe, and who waits for either."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from realtime.bugs import act
from realtime.core.live.events import format_position


class Progress:
    """Times of the cluster. Synchronous but for `reached` and `idle`, which wait for the feed."""

    def __init__(self, epoch: str, time: int) -> None:
        self.epoch = epoch
        self.time = time
        """Everything at or before has been dispatched."""
        self.planned = time
        """Where the batch in the pipe ends; `time` where there is none."""
        self.in_pipe = False
        self.cluster = 0
        """The cluster's own time as it was last seen; 0 where what is dispatched is never known to be behind it."""
        self.behind: str | None = None
        """Why nothing can be read that fits to what is dispatched: it is too far behind."""
        self._between: list[Callable[[], None]] = []
        self._after: list[Callable[[], None]] = []

    @property
    def position(self) -> str:
        """`time` as clients keep it."""
        return format_position(self.epoch, self.time)

    def stands(self, cluster: int, behind: str | None) -> None:
        """Where the cluster's clock is, and why what is dispatched is too far behind it, if it is."""
        self.cluster, self.behind = cluster, behind

    def began(self, time: int) -> None:
        """A batch that ends at `time` is in the pipe."""
        self.in_pipe, self.planned = True, time

    def abandoned(self) -> None:
        """The batch in the pipe comes again, whole or in parts: who waits for its end need not."""
        self.in_pipe, self.planned = False, self.time
        waiting, self._between = self._between, []
        for action in waiting:
            act(action)

    def ended(self) -> None:
        """The batch has left the pipe, `time` being where it ended: call who waited for that."""
        self.in_pipe = False
        waiting = [*self._between, *self._after]
        self._between, self._after = [], []
        for action in waiting:
            act(action)

    def between_batches(self, action: Callable[[], None]) -> None:
        """Now, or right after the batch that is in the pipe: it was planned without knowing of this."""
        if self.in_pipe:
            self._between.append(action)
        else:
            action()

    async def reached(self, time: int) -> None:
        """Until everything at or before `time` has been dispatched."""
        while self.time < time:
            dispatched = asyncio.Event()
            self._after.append(dispatched.set)
            await dispatched.wait()

    async def idle(self) -> None:
        """Until no batch is in the pipe; the caller goes on before the next one is planned."""
        while self.in_pipe:
            free = asyncio.Event()
            self._between.append(free.set)
            await free.wait()
