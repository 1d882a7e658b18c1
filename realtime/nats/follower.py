"""One consumer on one connection: the stream's messages in order, pulled, each one's number checked.

A consumer of JetStream is silent where it should speak: about what was trimmed before it began, about a stream that was
removed and made anew, about a server that is frozen. So every message's sequence is the one before and one more, and
where neither a message nor a heartbeat comes for a while the server counts as gone. What is pulled is bounded, so what
waits here is, however long this process stood still.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import deque
from typing import Any, Final

from nats import errors
from nats.aio.client import Client

from realtime.core.relay.identity import Identity
from realtime.errors import RealtimeError
from realtime.nats import stream
from realtime.nats.staggered import first
from realtime.nats.stream import Stored, UnansweredError

PULL_MESSAGES: Final = 256
PULL_BYTES: Final = 8 * 1024 * 1024
"""Of one pull. Another is sent while less than that waits, so at most twice as much ever does."""
PULL_SECONDS: Final = 30
BEAT_SECONDS: Final = 0.5
SILENT_SECONDS: Final = 1.5
"""Three heartbeats."""
LATE_SECONDS: Final = 0.1
"""For what came while this process itself stood still."""
TRIES: Final = 4
NEXT_SECONDS: Final = 0.5
"""A consumer is there within a few milliseconds; after so long without a word another one is asked for."""
KEPT_SECONDS: Final = 60
"""A consumer that nobody pulls from is gone after so long."""
_NANO: Final = 1_000_000_000
_ACK_TOKENS: Final = 9
_PULL_IS_OVER: Final = ("MaxBytes", "Batch Completed")
"""What the server says with 409 of one pull and not of the consumer: the next message has no room in it; it is done."""


class GoneError(RealtimeError):
    """The consumer, its stream or the server is there no longer, or says nothing."""


class GapError(RealtimeError):
    """A message is not the next one: what was between is trimmed."""


class Follower:
    """The messages from one sequence on. `heard_at`: the loop's time of the last one."""

    def __init__(self, client: Client, identity: Identity, start: int) -> None:
        self._client = client
        self._identity = identity
        self._next = start
        self._name = ""
        self._inbox = client.new_inbox()
        self._waiting: deque[Stored] = deque()
        self._bytes = 0
        self._left = 0
        self._news = asyncio.Event()
        self._woken = False
        self._over: str | None = None
        self._newest = 0
        self.heard_at: float | None = None

    @property
    def waiting_bytes(self) -> int:
        """What was pulled and not taken yet."""
        return self._bytes

    @property
    def at_end(self) -> bool:
        """Whether the message that was taken last was the stream's last when it came here."""
        return self._next - 1 == self._newest

    async def open(self) -> None:
        """Make the consumer; `UnansweredError`, `ApiError`.

        JetStream has one server of the cluster keep it, by chance, and for half a minute or longer that may be one
        which is frozen and answers nothing: then another is made beside it. Nobody pulls from the first.
        """
        try:
            await self._client.subscribe(self._inbox, cb=self._receive)
        except (errors.Error, OSError) as error:
            raise UnansweredError(str(error) or type(error).__name__) from None
        try:
            self._name = await first([self._made] * TRIES, NEXT_SECONDS, (UnansweredError,))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _made(self) -> str:
        """A consumer's name, once it is there."""
        name = f"node-{uuid.uuid4().hex[:16]}"
        config = {
            "name": name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._next,
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": KEPT_SECONDS * _NANO,
        }
        body = {"stream_name": self._identity.stream, "config": config, "action": "create"}
        await stream.ask(self._client, f"CONSUMER.CREATE.{self._identity.stream}.{name}", body)
        return name

    def end(self, reason: str) -> None:
        """Nothing more comes: `next` raises `GoneError`. What waits is given first."""
        self._over = self._over or reason
        self._news.set()

    def wake(self) -> None:
        """Let `next` return None where it waits."""
        self._woken = True
        self._news.set()

    async def next(self) -> Stored | None:
        """The next message; None where it was woken without one. `GapError`, `GoneError`."""
        await self._pull()
        if not self._waiting:
            await self._wait()
        if not self._waiting:
            if self._over is not None:
                raise GoneError(self._over)
            return None
        stored = self._waiting.popleft()
        self._bytes -= len(stored.payload)
        if stored.sequence != self._next:
            raise GapError(f"message {stored.sequence} of {self._identity.stream} came where {self._next} is the next")
        self._next += 1
        return stored

    async def _wait(self) -> None:
        """Until a message comes, or somebody wakes it; heartbeats alone are waited through."""
        while not (self._waiting or self._woken or self._over is not None):
            self._news.clear()
            try:
                async with asyncio.timeout(SILENT_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                await asyncio.sleep(LATE_SECONDS)
                if not self._news.is_set():
                    raise GoneError(f"NATS says nothing for {SILENT_SECONDS:g} s") from None
            await self._pull()
        self._woken = False

    async def _pull(self) -> None:
        """Ask for more, where nothing is asked for and there is room."""
        if self._left or self._bytes >= PULL_BYTES or self._over is not None:
            return
        asked = {
            "batch": PULL_MESSAGES,
            "max_bytes": PULL_BYTES,
            "expires": PULL_SECONDS * _NANO,
            "idle_heartbeat": int(BEAT_SECONDS * _NANO),
        }
        self._left = PULL_MESSAGES
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._identity.stream}.{self._name}"
        try:
            await self._client.publish(subject, json.dumps(asked).encode(), reply=self._inbox)
        except (errors.Error, OSError) as error:
            raise UnansweredError(str(error) or type(error).__name__) from None

    async def _receive(self, message: Any) -> None:
        """A message of the stream, or what the server says of a pull."""
        if (place := place_of(message.reply)) is not None:
            sequence, behind = place
            if not behind:
                self._newest = sequence
            self._left = max(0, self._left - 1)
            self._bytes += len(message.data)
            self._waiting.append(Stored(sequence, message.headers or {}, message.data))
            self.heard_at = asyncio.get_running_loop().time()
        else:
            self._status(message.headers or {})
        self._news.set()

    def _status(self, headers: Any) -> None:
        code, text = headers.get("Status", ""), headers.get("Description", "")
        if code in {"404", "408"} or (code == "409" and any(word in text for word in _PULL_IS_OVER)):
            self._left = 0
        elif code != "100":
            self.end(f"the consumer is over ({code} {text})")


def place_of(reply: str) -> tuple[int, int] | None:
    """A message's sequence and how many follow it by now, by what it is acknowledged to; None where it is none.

    `$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>`; since 2.10 perhaps
    with domain and account in front, and a token behind.
    """
    tokens = reply.split(".")
    if len(tokens) < _ACK_TOKENS or tokens[:2] != ["$JS", "ACK"]:
        return None
    try:
        at = 5 if len(tokens) == _ACK_TOKENS else 7
        return int(tokens[at]), int(tokens[at + 3])
    except ValueError:
        return None
