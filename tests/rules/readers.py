"""Clients of the tests of rules: each keeps every byte that came, in order, over all of its connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket as sockets
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.rules.judge import CONNECTED, Frame

PATIENCE = 30.0
NAME = "s"
"""The id of the one subscription of each reader."""


def _begun(got: Frame) -> bool:
    return got.get("id") == NAME and got["type"] in {"live", "error", "unsubscribed"}


BUSY = ("revocations", "does not answer", "cannot be read just now")
"""Why nothing can be had yet on a busy machine: who asks is not certain, or MongoDB takes longer than it may."""


async def patiently(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Once more where the machine is too busy for an answer."""
    for _ in range(100):
        answer = await ask()
        if '"code":"unavailable"' not in answer.text or not any(one in answer.text for one in BUSY):
            break
        await asyncio.sleep(0.1)
    return answer


def unknown(frame: Frame) -> bool:
    """Whether a connection was refused for that reason."""
    why = frame.get("message", "")
    return frame["type"] == "error" and frame.get("code") == "unavailable" and any(one in why for one in BUSY)


class Reader:
    """What both have in common: frames, and waits that the frame resolves which ends them."""

    def __init__(self, url: str, request: Frame) -> None:
        self.url, self.request = url, request
        self.frames: list[Frame] = []
        self.raw: list[bytes] = []
        self.ended = False
        self.news = asyncio.Condition()
        self.begun = 0
        """How many frames there were when this connection began."""

    async def heard(self, text: bytes) -> None:
        self.raw.append(text)
        self.frames.append(json.loads(text))
        async with self.news:
            self.news.notify_all()

    async def over(self) -> None:
        self.ended = True
        async with self.news:
            self.news.notify_all()

    async def until(self, wanted: Callable[[Frame], bool], *, after: int | None = None) -> Frame:
        """The first frame of this connection (or from there on) that is wanted."""
        first = self.begun if after is None else after
        place = first

        def found() -> bool:
            nonlocal place
            while place < len(self.frames):
                if wanted(self.frames[place]):
                    return True
                place += 1
            return self.ended

        async with asyncio.timeout(PATIENCE), self.news:
            await self.news.wait_for(found)
        assert place < len(self.frames), f"ended before the frame came: {self.frames[-2:]}"
        return self.frames[place]

    def connected(self, phase: int) -> None:
        self.begun = len(self.frames)
        self.ended = False
        self.frames.append({"type": CONNECTED, "phase": phase})

    async def live(self, *, after: int | None = None) -> Frame:
        """Until this connection's subscription is live, or was refused."""
        return await self.until(_begun, after=after)

    @property
    def position(self) -> str:
        """The last position that this reader was told."""
        return max((str(one.get("position", "")) for one in self.frames if one["type"] != "unsubscribed"), default="")

    @property
    def query(self) -> str:
        """The last key of its effective query."""
        return next(str(one["query"]) for one in reversed(self.frames) if one["type"] == "subscribed")


class Socket(Reader):
    """A WebSocket. `deaf`: with a small receive buffer, so that it is soon full where nobody reads."""

    def __init__(self, url: str, request: Frame, *, deaf: bool = False) -> None:
        super().__init__(url, request)
        self.deaf = deaf
        self.socket: ClientConnection
        self._listening: asyncio.Task[None]
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._asked = 0
        self._resumes = False
        """Whether it has subscribed again by itself."""

    async def open(self, bearer: str, *, phase: int = 0, resume: bool = False) -> Frame:
        """Connect, subscribe and wait until it is live."""
        held: Frame = {"position": self.position} if resume else {}
        if resume and self.request.get("mode") != "events":
            held["query"] = self.query
        self.connected(phase)
        options: dict[str, Any] = {}
        address = urlsplit(self.url)
        if self.deaf:
            plain = sockets.socket()
            plain.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 8192)
            plain.setblocking(False)
            await asyncio.get_running_loop().sock_connect(plain, (address.hostname, address.port))
            options = {"sock": plain, "max_queue": 1}
        self.socket = await connect(
            f"ws://{address.netloc}/v1/ws",
            additional_headers={"Authorization": f"Bearer {bearer}"},
            max_size=None,
            compression=None,
            ping_interval=None,
            **({"max_queue": None} | options),
        )
        self._listening = asyncio.create_task(self._listen())
        with contextlib.suppress(ConnectionClosed):  # refused before it was asked anything
            await self.send({"type": "subscribe", "id": NAME, **self.request, **held})
        answer = await self.until(lambda got: unknown(got) or _begun(got))
        if not unknown(answer):
            return answer
        await self.close()
        del self.frames[self.begun :]
        await asyncio.sleep(0.1)
        return await self.open(bearer, phase=phase, resume=resume)

    async def _listen(self) -> None:
        try:
            while True:
                await self._may_read.wait()
                await self.heard(await self.socket.recv(decode=False))
                await self._resume(self.frames[-1])
        except ConnectionClosed:
            await self.over()

    async def _resume(self, told: Frame) -> None:
        """What took too little until the service's memory no longer had it subscribes again, as the protocol has it."""
        if told.get("id") != NAME or self.request.get("mode") != "events":
            return
        if told["type"] == "unsubscribed" and told.get("code") == "unavailable":
            self._resumes = True
            await self.send({"type": "subscribe", "id": NAME, **self.request, "position": told["position"]})
        elif self._resumes and told["type"] == "error" and told.get("code") == "history_lost":
            await self.send({"type": "subscribe", "id": NAME, **self.request})

    async def send(self, frame: Frame) -> None:
        await self.socket.send(json.dumps(frame))

    async def ask(self, frame: Frame) -> Frame:
        """Send a request under an id of its own; its answer."""
        self._asked += 1
        name, after = frame.get("id", f"r{self._asked}"), len(self.frames)
        await self.send({**frame, "id": name})
        kinds = {"result", "error", "pong", "authenticated", "subscribed", "unsubscribed"}
        return await self.until(lambda got: got.get("id") == name and got["type"] in kinds, after=after)

    async def reach(self, position: str) -> None:
        """Until everything up to a position was told."""
        answer = await self.ask({"type": "ping", "position": position})
        assert answer["type"] == "pong", answer

    def deafen(self) -> None:
        self._may_read.clear()

    def hear(self) -> None:
        self._may_read.set()

    async def close(self) -> None:
        self.hear()
        await self.socket.close()
        await self._listening


class Stream(Reader):
    """An event stream."""

    def __init__(self, url: str, path: str, parameters: dict[str, str], request: Frame) -> None:
        super().__init__(url, request)
        self.path, self.parameters = path, parameters
        self.last_id = ""
        self._listening: asyncio.Task[None]

    async def open(self, bearer: str, *, phase: int = 0, resume: bool = False) -> Frame:
        headers = {"Authorization": f"Bearer {bearer}", "Accept": "text/event-stream"}
        if resume and self.last_id:
            headers["Last-Event-ID"] = self.last_id
        self.connected(phase)
        self._listening = asyncio.create_task(self._listen(headers))
        answer = await self.live()
        if not unknown(answer):
            return answer
        await self.close()
        del self.frames[self.begun :]
        await asyncio.sleep(0.1)
        return await self.open(bearer, phase=phase, resume=resume)

    async def _listen(self, headers: dict[str, str]) -> None:
        timeout = httpx.Timeout(PATIENCE, read=None)
        given = None
        try:
            async with (
                httpx.AsyncClient(base_url=self.url, timeout=timeout) as http,
                http.stream("GET", self.path, headers=headers, params=self.parameters) as response,
            ):
                if response.status_code != 200:
                    await response.aread()
                    self.raw.append(response.content)
                    told = json.loads(response.content)
                    self.frames.append({"type": "error", "id": NAME, "message": told["detail"], "code": told["code"]})
                    return
                async for line in response.aiter_lines():
                    name, _, value = line.partition(":")
                    value = value.removeprefix(" ")
                    if name == "id":
                        given = value
                        self.raw.append(line.encode())
                    elif name == "data":
                        if given is not None:
                            self.last_id, given = given, None
                        await self.heard(value.encode())
        except httpx.TransportError:
            pass  # the service went away
        finally:
            await asyncio.shield(self.over())

    async def reach(self, position: str) -> None:
        """Until a heartbeat, or what else has one, says that position."""
        kinds = {"heartbeat", "changes", "events", "live"}
        await self.until(
            lambda got: (
                got["type"] in kinds and NAME not in got.get("behind", ()) and got.get("position", "") >= position
            )
        )

    async def close(self) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
