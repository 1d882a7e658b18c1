"""A client that knows the protocol and nothing of `realtime`: plain `websockets`, frames kept, views folded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

Frame = dict[str, Any]
PATIENCE = 15.0


class View:
    """One query subscription, folded as PROTOCOL section 4 says. Keys are the JSON text of `_id`."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.position = ""
        self.channel: int | None = None
        self.live = False
        self.moments = 0
        self.resyncs = 0
        self.ended: Frame | None = None
        self._pending: list[Any] = []

    def take(self, frame: Frame) -> None:
        """Apply a frame that concerns this subscription."""
        kind = frame["type"]
        if kind == "subscribed":
            self.channel, self.live = frame["channel"], False
        elif kind == "resync":
            self.live = False
            self.resyncs += 1
        elif kind == "snapshot":
            if frame["first"]:
                self.documents.clear()
            keys = frame.get("keys") or [document["_id"] for document in frame["documents"]]
            self.documents.update(zip(map(key_text, keys), frame["documents"], strict=True))
        elif kind == "changes":
            self._changes(frame)
        elif kind in {"live", "unsubscribed"}:
            self.live = kind == "live"
            self.ended = frame if kind == "unsubscribed" else None
        if "position" in frame and kind != "unsubscribed":
            assert frame["position"] >= self.position, f"{kind} goes back to {frame['position']} from {self.position}"
            self.position = frame["position"]

    def _changes(self, frame: Frame) -> None:
        self._pending += frame["changes"]
        if frame.get("more"):
            return
        for change in self._pending:
            key = key_text(change["key"])
            held = key in self.documents
            if change["op"] == "leave":
                assert held or not self.live, f"leave of {key}, which is not held"
                self.documents.pop(key, None)
            else:
                assert not self.live or held == (change["op"] == "update"), f"{change['op']} of {key}, held: {held}"
                self.documents[key] = change["document"]
        self._pending = []
        self.moments += 1


class Wire:
    """A connection: what was received, in order, and a view for each query subscription."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        self.raw: list[str] = []
        self.views: dict[str, View] = {}
        self.closed: tuple[int, str] | None = None
        self._news = asyncio.Condition()
        self._ids = 0

    async def listen(self) -> None:
        """Receive until the connection ends."""
        try:
            async for text in self.socket:
                assert isinstance(text, str)
                self._take(text)
                async with self._news:
                    self._news.notify_all()
        except ConnectionClosed:
            pass
        self.closed = (self.socket.close_code or 1006, self.socket.close_reason or "")
        async with self._news:
            self._news.notify_all()

    def _take(self, text: str) -> None:
        frame = json.loads(text)
        self.raw.append(text)
        self.frames.append(frame)
        if "id" in frame and frame["id"] in self.views:
            self.views[frame["id"]].take(frame)
        elif "channel" in frame:
            for view in self.views.values():
                if view.live and view.channel == frame["channel"] and frame.get("position", "~") > view.position:
                    view.take(frame)

    async def send(self, **frame: Any) -> None:
        """Send one frame."""
        await self.socket.send(json.dumps(frame))

    async def until(self, wanted: Callable[[Frame], bool], *, after: int = 0, seconds: float = PATIENCE) -> Frame:
        """The first frame from index `after` on that is wanted."""

        def found() -> bool:
            return self.closed is not None or any(wanted(frame) for frame in self.frames[after:])

        async with self._news, asyncio.timeout(seconds):
            await self._news.wait_for(found)
        match = next((frame for frame in self.frames[after:] if wanted(frame)), None)
        assert match is not None, f"closed with {self.closed} before the frame came"
        return match

    async def when(self, true: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
        """Until a condition on what was received holds."""
        async with self._news, asyncio.timeout(seconds):
            await self._news.wait_for(lambda: true() or self.closed is not None)
        assert true(), f"closed with {self.closed} before it held"

    async def ask(self, **frame: Any) -> Frame:
        """Send a request under a new id and return its answer."""
        self._ids += 1
        request_id = frame.setdefault("id", f"r{self._ids}")
        after = len(self.frames)
        await self.send(**frame)
        answers = {"subscribed", "unsubscribed", "result", "error", "pong", "authenticated"}
        return await self.until(lambda got: got.get("id") == request_id and got["type"] in answers, after=after)

    async def subscribe(self, collection: Any, *, id: str = "s", **fields: Any) -> View:  # noqa: A002 - the wire's word
        """Subscribe and wait for `live`."""
        view = self.views[id] = View()
        after = len(self.frames)
        answer = await self.ask(type="subscribe", id=id, collection=collection, **fields)
        assert answer["type"] == "subscribed", answer
        await self.until(lambda got: got["type"] == "live" and got["id"] == id, after=after)
        return view

    def of(self, kind: str) -> list[Frame]:
        """The frames of one type."""
        return [frame for frame in self.frames if frame["type"] == kind]

    async def __aenter__(self) -> Self:
        self._listening = asyncio.create_task(self.listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()
        await self._listening


@asynccontextmanager
async def wired(url: str, **options: Any) -> AsyncIterator[Wire]:
    """A connection to the service at `url` (http://…/), its welcome received."""
    address = url.replace("http://", "ws://", 1).rstrip("/") + "/v1/ws"
    async with connect(address, max_size=None, compression=None, **options) as socket, Wire(socket) as wire:
        await wire.until(lambda frame: frame["type"] == "welcome")
        yield wire


def key_text(key: Any) -> str:
    """A key's identity."""
    return json.dumps(key, sort_keys=False)
