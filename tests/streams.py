"""A client of server-sent events that knows the HTML standard's rules for them and nothing of `realtime`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

Frame = dict[str, Any]
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its `id:` line (None: it has none, "": an empty one), and what `data:` holds."""

    id: str | None
    frame: Frame


@dataclass(slots=True)
class Stream:
    """One response, read to its end: what came, in order."""

    status: int
    headers: httpx.Headers
    events: list[Event] = field(default_factory=list)
    retries: list[int] = field(default_factory=list)
    last_id: str = ""
    ended: bool = False
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def frames(self) -> list[Frame]:
        """What the events carry."""
        return [event.frame for event in self.events]

    def of(self, kind: str) -> list[Event]:
        """The events of one frame type."""
        return [event for event in self.events if event.frame["type"] == kind]

    def complete(self) -> list[Frame]:
        """The frames up to the last `id:`: what a client that resumes from there has."""
        marked = [place for place, event in enumerate(self.events) if event.id]
        return self.frames[: marked[-1] + 1] if marked else []

    async def when(self, true: Callable[[], Any]) -> None:
        """Until it holds; looked at with every event and at the end."""
        async with asyncio.timeout(PATIENCE), self.news:
            await self.news.wait_for(lambda: true() or self.ended)
        assert true(), f"ended before it held: {self.frames[-3:]}"

    async def read(self, lines: AsyncIterator[str]) -> None:
        """Take lines as the HTML standard says, until there are no more."""
        given: str | None = None
        data: list[str] = []
        try:
            async for line in lines:
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "id":
                    given = self.last_id = value
                elif name == "data":
                    data.append(value)
                elif name == "retry":
                    self.retries.append(int(value))
                if not line and data:
                    async with self.news:
                        self.events.append(Event(given, json.loads("\n".join(data))))
                        self.news.notify_all()
                if not line:
                    given, data = None, []
        except httpx.TransportError:
            pass  # the service was killed: a browser reconnects
        async with self.news:
            self.ended = True
            self.news.notify_all()


@asynccontextmanager
async def streaming(
    url: str, path: str, *, last_id: str = "", token: str = "", **parameters: str
) -> AsyncIterator[Stream]:
    """`GET path` as a browser's EventSource asks for it, but that it may have a token."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    timeout = httpx.Timeout(PATIENCE, read=None)
    async with (
        httpx.AsyncClient(base_url=url, timeout=timeout) as http,
        http.stream("GET", path, headers=headers, params=parameters) as response,
    ):
        stream = Stream(response.status_code, response.headers, last_id=last_id)
        reading = asyncio.create_task(stream.read(response.aiter_lines()))
        try:
            yield stream
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
