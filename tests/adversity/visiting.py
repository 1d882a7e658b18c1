"""Clients that outlive whoever serves them: sent away, they come back, and go on from their position."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from websockets.exceptions import WebSocketException

from tests.adversity.record import COLLECTION
from tests.checker import Asked, Frame
from tests.exact.ear import Ear, listening
from tests.truth import Truth

TOLD = frozenset({"live", "changes", "events", "heartbeat"})


class Visitor:
    """A client that comes back wherever it is sent away, and goes on from its last position; by turns at each place."""

    def __init__(self, urls: Sequence[str], part: int, *, events: bool, first: int = 0) -> None:
        """`urls`: where it may come, at first to `first`."""
        self.urls, self.part, self.events = urls, part, events
        self._turn = first
        self.visits: list[tuple[list[Frame], str | None]] = []
        self.away: list[float] = []
        self.refused = Counter[str]()
        self.position: str | None = None
        self.query = ""
        self.ear: Ear | None = None
        self._left_at: float | None = None

    def request(self) -> dict[str, Any]:
        asked: dict[str, Any] = {"filter": {"part": self.part}}
        if self.events:
            asked["mode"] = "events"
        if self.position is not None:
            asked["position"] = self.position
            if not self.events:
                asked["query"] = self.query
        return asked

    async def stay(self) -> None:
        """Until cancelled."""
        while True:
            try:
                self._turn += 1
                async with listening(self.urls[(self._turn - 1) % len(self.urls)]) as ear:
                    await self._visit(ear)
            except (AssertionError, OSError, TimeoutError, WebSocketException) as error:
                self.refused[f"{type(error).__name__}: {error}"[:80]] += 1
            # As a client has it: not all of them in one moment.
            await asyncio.sleep(random.uniform(0.05, 0.5))

    async def _visit(self, ear: Ear) -> None:
        loop = asyncio.get_running_loop()
        closing = ear.coming(lambda frame: frame["type"] == "closing")
        # Sent away without a word: the wait below ends all the same.
        closing.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.visits.append((ear.frames, self.position))
        try:
            await ear.subscribe("s", COLLECTION, **self.request())
            self.query = ear.of("subscribed")[0]["query"]
            if self._left_at is not None:
                self.away.append(loop.time() - self._left_at)
            self.ear = ear
            await asyncio.wait({closing})
        finally:
            self.ear = None
            self._left_at = loop.time()
            told = [str(frame["position"]) for frame in ear.frames if frame["type"] in TOLD and "position" in frame]
            self.position = max([*told, *([self.position] if self.position else [])], default=None)

    def asked(self, truth: Truth, after: str | None) -> Asked:
        part = self.part
        held = None
        if after is not None and not self.events:
            view = truth.at(COLLECTION, int(after[9:], 16))
            held = {key: one for key, one in view.items() if one["part"] == part}
        mode = "events" if self.events else "query"
        return Asked("s", (COLLECTION,), mode, lambda one: bool(one["part"] == part), after=after, held=held)


async def everybody(visitors: list[Visitor]) -> list[Ear]:
    """All of them live at once; their connections."""
    async with asyncio.timeout(60):
        while True:
            ears = [visitor.ear for visitor in visitors if visitor.ear is not None and visitor.ear.closed is None]
            if len(ears) == len(visitors):
                return ears
            await asyncio.sleep(0.05)
