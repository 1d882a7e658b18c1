"""How each of those that are measured is spoken to by a client: what is sent, and what of what comes is a document.

The same client for all (`realtime.bench.sockets`), the same parser of JSON, the same count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

Told = Iterable[tuple[int, dict[str, Any]]]
"""By the place of the subscription, the documents that a message told."""
AT_ONCE = 10
"""Subscriptions that a client of ours waits for. Each is a question to MongoDB, and of thousands that are asked at once
the service answers some with `unavailable`, to be asked again when it says."""
Send = Callable[[bytes], None]


class Plain:
    """`{"type": "live"}`, then `{"op", "document"}` for each event: what one writes by oneself. No filters."""

    door = "/ws"

    def __init__(self, send: Send, filters: Sequence[int | None]) -> None:
        self.send, self.filters = send, filters
        self.live = False
        self.snapshots: list[tuple[int, dict[str, Any]]] = []
        """What was shown again rather than told; who hears it takes it away."""

    def opened(self) -> None:
        """After the handshake."""

    def hear(self, text: bytes) -> Told:
        """What a message told."""
        told = orjson.loads(text)
        if "document" in told:
            return ((0, told["document"]),)
        self.live = True
        return ()


class Realtime(Plain):
    """A live query for each filter; `{}` for None. Comes back by position."""

    door = "/v1/ws"

    def __init__(self, send: Send, filters: Sequence[int | None]) -> None:
        super().__init__(send, filters)
        self._channels: dict[int, int] = {}
        self._waiting = 0
        self._asking = iter(range(0))
        self._held: list[dict[str, str]] = [{} for _ in filters]
        """Of each subscription its position and what it is of, once they are known."""

    def opened(self) -> None:
        self._channels.clear()
        self.live, self._waiting = False, len(self.filters)
        self._asking = iter(range(len(self.filters)))
        for _ in range(AT_ONCE):
            self._next()

    def _next(self) -> None:
        """Ask for the next filter, if there is one."""
        if (place := next(self._asking, None)) is not None:
            self._ask(place)

    def _ask(self, place: int) -> None:
        of = self.filters[place]
        filtered = {} if of is None else {"f": of}
        asked = {"type": "subscribe", "id": str(place), "collection": "orders", "filter": filtered}
        self.send(orjson.dumps({**asked, **self._held[place]}))

    def hear(self, text: bytes) -> Told:
        told = orjson.loads(text)
        kind = told["type"]
        if kind == "changes":
            place = self._channels[told["channel"]] if "channel" in told else int(told["id"])
            if "position" in told:
                self._held[place]["position"] = told["position"]
            # Nothing here is written twice: what is an update was missed, and is told on coming back.
            return [(place, one["document"]) for one in told["changes"] if one["op"] != "leave"]
        if kind == "subscribed":
            place = int(told["id"])
            self._channels[told["channel"]] = place
            self._held[place]["query"] = told["query"]
        elif kind == "snapshot":
            self.snapshots += [(int(told["id"]), document) for document in told["documents"]]
        elif kind == "live":
            self._held[int(told["id"])]["position"] = told["position"]
            self._waiting -= 1
            self.live = self._waiting <= 0
            self._next()
        elif kind == "error" and told.get("retry") and "id" in told:
            asyncio.get_running_loop().call_later(told["retry_after"], self._ask, int(told["id"]))
        elif kind in {"error", "unsubscribed"}:
            raise RuntimeError(text.decode())
        return ()


class SocketIo(Plain):
    """Engine.IO 4 by WebSocket alone: its open, ours, and events of the name `change`."""

    door = "/socket.io/?EIO=4&transport=websocket"

    def hear(self, text: bytes) -> Told:
        if text.startswith(b"42"):
            return ((0, orjson.loads(text[2:])[1]["document"]),)
        if text.startswith(b"0"):
            self.send(b"40")
        elif text == b"2":
            self.send(b"3")
        elif text.startswith(b"40"):
            self.live = True
        return ()


class Parse(Plain):
    """LiveQuery: connect, one `subscribe` a filter, and `create` for each object."""

    door = "/"

    def opened(self) -> None:
        self._waiting = len(self.filters)
        self.send(orjson.dumps({"op": "connect", "applicationId": "bench"}))

    def hear(self, text: bytes) -> Told:
        told = orjson.loads(text)
        if told["op"] == "create":
            return ((told["requestId"] - 1, told["object"]),)
        if told["op"] == "connected":
            for place, of in enumerate(self.filters):
                query = {"className": "Orders", "where": {} if of is None else {"f": of}}
                self.send(orjson.dumps({"op": "subscribe", "requestId": place + 1, "query": query}))
        elif told["op"] == "subscribed":
            self._waiting -= 1
            self.live = self._waiting == 0
        elif told["op"] == "error":
            raise RuntimeError(text.decode())
        return ()


class Centrifugo(Plain):
    """Its JSON protocol: several replies a message, one a line; an empty one is a ping."""

    door = "/connection/websocket"

    def opened(self) -> None:
        self.send(b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"orders"}}')

    def hear(self, text: bytes) -> Told:
        found = []
        for line in text.split(b"\n"):
            told = orjson.loads(line)
            if not told:
                self.send(b"{}")
            elif "push" in told:
                found.append((0, told["push"]["pub"]["data"]["document"]))
            elif "error" in told:
                raise RuntimeError(text.decode())
            elif told["id"] == 2:
                self.live = True
        return found


DIALECTS: dict[str, type[Plain]] = {
    "plain": Plain,
    "realtime": Realtime,
    "socketio": SocketIo,
    "parse": Parse,
    "centrifugo": Centrifugo,
}
