"""A line between one relay and its nats-server that kills the relay between two messages of one atomic batch.

It reads what the client sends, command by command, and holds the messages of a batch (`Nats-Batch-Id`) back until the
last of them is there (`Nats-Batch-Commit`). So it knows of how many messages of the relay's the batch is made, and
where each of those has its parts (`Realtime-Part`). The first batch that can be cut as it is asked for is: some of it
is passed on and answered for by the server (PING, PONG), the process is killed, and the line is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["amid a message", "between messages", "before the commit"]
KINDS: Final[tuple[Kind, ...]] = ("amid a message", "between messages", "before the commit")
LINE_SECONDS: Final = 0.05
"""What is published takes so long to the server: meanwhile more messages come, which go together."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One HPUB of a batch as it was sent."""

    data: bytes
    headers: dict[str, str]

    @property
    def ends(self) -> bool:
        """Whether it is the last part of a message."""
        part, _, parts = self.headers["Realtime-Part"].partition("/")
        return part == parts


@dataclass(frozen=True, slots=True)
class Cut:
    """A batch of which `let` messages of `of` were passed on; the stream ended at `after` when it was begun."""

    kind: Kind
    let: int
    of: int
    messages: int
    after: int


def places(kind: Kind, batch: list[Sent]) -> list[int]:
    """After how many of its messages this batch can be cut that way."""
    within = range(1, len(batch))
    if kind == "before the commit":
        return [len(batch) - 1] if len(batch) > 1 else []
    return [let for let in within if batch[let - 1].ends is (kind == "between messages")]


@dataclass
class BatchLine:
    """`kill` ends the relay's process and returns when it has ended.

    `over`: it is closed, and so is whatever comes after that.
    """

    target: int
    chance: random.Random
    kill: Callable[[], Awaitable[object]]
    port: int = 0
    wanted: Kind | None = None
    cut: asyncio.Future[Cut] | None = None
    batches: int = 0
    over: bool = False
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _pong: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def arm(self, kind: Kind) -> asyncio.Future[Cut]:
        """The next batch that can be cut that way is; resolved when the relay is dead and its lines are closed."""
        self.wanted, self.cut = kind, asyncio.get_running_loop().create_future()
        return self.cut

    def disarm(self) -> None:
        """Whatever comes is passed on."""
        self.wanted = None

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the relay's."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        answers, server = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers |= {writer, server}
        if self.over:
            self._close()
        back = asyncio.create_task(self._back(answers, writer))
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._forth(reader, server)
        finally:
            for one in (writer, server):
                one.close()
                self._writers.discard(one)
            await asyncio.gather(back, return_exceptions=True)
            self._tasks.discard(task)

    async def _back(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await answers.read(65_536):
                if b"PONG\r\n" in data:
                    self._pong.set()
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _forth(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        batch: list[Sent] = []
        while True:
            line = await reader.readuntil(b"\r\n")
            verb, *words = line.split()
            if verb.upper() not in {b"PUB", b"HPUB"}:
                server.write(line)
                continue
            body = await reader.readexactly(int(words[-1]) + 2)
            headers = _headers(body[: int(words[-2])]) if verb.upper() == b"HPUB" else {}
            if "Realtime-Part" in headers and self.wanted is not None and not batch:
                await asyncio.sleep(LINE_SECONDS)
            if "Nats-Batch-Id" not in headers:
                server.write(line + body)
                continue
            batch.append(Sent(line + body, headers))
            if "Nats-Batch-Commit" in headers:
                self.batches += 1
                if self.wanted is not None and (places_ := places(self.wanted, batch)):
                    await self._kill(server, batch, self.chance.choice(places_))
                    return
                server.writelines(sent.data for sent in batch)
                batch = []

    async def _kill(self, server: asyncio.StreamWriter, batch: list[Sent], let: int) -> None:
        """What was let through has been read by the server when the relay dies."""
        assert self.wanted is not None
        assert self.cut is not None
        kind, self.wanted = self.wanted, None
        self._pong.clear()
        server.writelines(sent.data for sent in batch[:let])
        server.write(b"PING\r\n")
        await asyncio.wait_for(self._pong.wait(), 30)
        await self.kill()
        self._close()
        after = int(batch[0].headers["Nats-Expected-Last-Sequence"])
        self.cut.set_result(Cut(kind, let, len(batch), sum(sent.ends for sent in batch), after))

    async def ended(self) -> None:
        """Close what is left: whoever reads or writes there has its end."""
        self.over = True
        self._close()
        await asyncio.gather(*self._tasks)

    def _close(self) -> None:
        for writer in [*self._writers]:
            writer.close()


def _headers(block: bytes) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z-]+): ?(.*?)\r$", block.decode(), re.MULTILINE))


@asynccontextmanager
async def batch_line(
    target: int, chance: random.Random, kill: Callable[[], Awaitable[object]]
) -> AsyncIterator[BatchLine]:
    """Listening on a free port of the loopback for as long as the block runs."""
    line = BatchLine(target, chance, kill)
    server = await asyncio.start_server(line.accepted, "127.0.0.1", 0, limit=1 << 20)
    line.port = int(server.sockets[0].getsockname()[1])
    try:
        yield line
    finally:
        server.close()
        await line.ended()
