"""`realtime relay` as processes of the tests' own, and a writer whose every write is known."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realtime.core.bson import stored as bson
from realtime.core.relay.identity import Identity
from realtime.core.relay.message import Message
from realtime.nats import stream
from tests.relay.connecting import connection, stored

SECONDS = 30.0
ROOT = Path(__file__).parents[2]


class RelayProcess:
    """One relay; what it logged is in `log`."""

    def __init__(self, path: Path, uri: str, database: str, nats: str, *more: str, **environment: str) -> None:
        self._path = path
        command = [sys.executable, "-m", "realtime", "relay", "--mongodb-uri", uri, "--database", database]
        with path.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--nats", nats, *more], stdout=log, stderr=log, cwd=ROOT, env={**os.environ, **environment}
            )

    @property
    def log(self) -> str:
        return self._path.read_text()

    async def says(self, pattern: str, seconds: float = SECONDS, count: int = 1) -> None:
        """Wait until it has logged this so often."""
        deadline = time.monotonic() + seconds
        while len(re.findall(pattern, self.log)) < count:
            assert time.monotonic() < deadline, f"it does not say {pattern!r}: {self.log[-3000:]}"
            assert self.process.poll() is None, f"it has ended: {self.log[-3000:]}"
            await asyncio.sleep(0.01)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        while Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def end(self, number: int = signal.SIGKILL) -> int:
        """Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            if number == signal.SIGKILL:
                self.process.send_signal(signal.SIGCONT)
        return self.process.wait(SECONDS)


@dataclass
class Place:
    """A database, a nats-server, and the relays between them."""

    uri: str
    database: str
    nats: str
    directory: Path
    relays: list[RelayProcess] = field(default_factory=list)

    def relay(self, *more: str, **environment: str) -> RelayProcess:
        path = self.directory / f"relay{len(self.relays)}.log"
        self.relays.append(RelayProcess(path, self.uri, self.database, self.nats, *more, **environment))
        return self.relays[-1]

    async def identity(self) -> Identity:
        """Of the one stream there is."""
        async with connection(self.nats) as client:
            names = (await stream.ask(client, "STREAM.NAMES"))["streams"]
            (name,) = [each for each in names if each.startswith("realtime-1-")]
            metadata = (await stream.ask(client, f"STREAM.INFO.{name}"))["config"]["metadata"]
        return Identity(metadata["realtime-epoch"], self.database, "")

    async def messages(self) -> list[Message]:
        """All that the stream holds, its parts and numbers looked at."""
        identity = await self.identity()
        async with connection(self.nats) as client:
            return await stored(client, identity)

    async def until(self, seen: Callable[[list[Message]], bool], seconds: float = SECONDS) -> list[Message]:
        """Wait until the stream holds what is looked for."""
        deadline = time.monotonic() + seconds
        while not seen(messages := await self.messages()):
            assert time.monotonic() < deadline, (
                f"{len(messages)} messages, keys {keys_of(messages)[:3]} to {keys_of(messages)[-3:]}; "
                f"{self.relays[-1].log[-2000:]}"
            )
            await asyncio.sleep(0.05)
        return messages


@contextmanager
def place(uri: str, database: str, nats: str, directory: Path) -> Iterator[Place]:
    found = Place(uri, database, nats, directory)
    try:
        yield found
    finally:
        for each in found.relays:
            each.end()


def keys_of(messages: list[Message], collection: str = "items") -> list[Any]:
    """The keys of the events in one collection, in the order in which they were told."""
    return [
        event["documentKey"]["_id"]
        for message in messages
        for event in map(bson.decode, message.events)
        if event["ns"].get("coll") == collection and "documentKey" in event
    ]


def check(messages: list[Message]) -> None:
    """What holds of every stream: times that do not go back, events at or before the time of their message."""
    times = [message.time for message in messages]
    assert times == sorted(times)
    told = 0
    for message in messages:
        for event in map(bson.decode, message.events):
            at = event["clusterTime"].time << 32 | event["clusterTime"].inc
            assert told < at or not told or at == told
            assert at <= message.time
        told = message.time


class Writer:
    """Inserts 0, 1, 2, … one after the other, each acknowledged by a majority before the next."""

    def __init__(self, collection: Any, pause: float = 0.002, size: int = 100) -> None:
        self._collection, self._pause, self._text = collection, pause, "x" * size
        self.written = 0
        self.failed: Exception | None = None
        self._stop = False

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Writer]:
        """Writes in a thread of its own as long as the block lasts."""
        work = asyncio.create_task(asyncio.to_thread(self._write))
        try:
            yield self
        finally:
            self._stop = True
            await work

    def _write(self) -> None:
        while not self._stop:
            self._collection.insert_one({"_id": self.written, "text": self._text})
            self.written += 1
            time.sleep(self._pause)
