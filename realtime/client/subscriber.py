"""Who waits on a connection: subscriptions for news, requests for their answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from realtime.client.folds import Fold, Frame
from realtime.errors import ServiceError


class Subscriber:
    """A fold on the link, and its consumer, who waits for `news`."""

    def __init__(self, fold: Fold) -> None:
        self.fold = fold
        self.id: str | None = None
        self.paused = False
        self.ended = False
        self.error: ServiceError | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    def wake(self) -> None:
        """Something is different."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def news(self) -> None:
        """Until something is different."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def end(self, error: ServiceError | None) -> None:
        """No frame will come any more."""
        if not self.ended:
            self.ended, self.error = True, error
            self.fold.lost()
            self.wake()

    @property
    def settled(self) -> bool:
        """Whether a fence may go past it: live, or not to be waited for."""
        return self.ended or self.paused or self.fold.live_from is not None


@dataclass(eq=False, slots=True)
class Request:
    """A frame that waits for its answer. `repeat`: it may be sent again when the connection was lost meanwhile."""

    kind: str
    text: str
    answer: asyncio.Future[Frame]
    repeat: bool
    sent: int = 0
