"""New rules for all workers or for none: what the parent and its workers say to each other, a line of JSON each.

The parent offers a text, each worker reads it and says whether it takes it. When all do, they are told to; a worker
that does not say that it did is ended, and starts again with what holds by then. Whoever is refused by one is dropped
by all.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Generic, Protocol, TypeVar

from realtime.bugs import act
from realtime.errors import ConfigurationError

log = logging.getLogger("realtime.workers")

ANSWER_SECONDS = 10.0
"""How long a worker has to read what it is offered, and to take it."""

Line = dict[str, Any]


class Taker(Protocol):
    """A worker as the parent sees it."""

    number: int

    async def ask(self, line: Line) -> Line | None:
        """Say this, and wait for the answer of the same number; None: the worker is gone. `TimeoutError`."""

    def say(self, line: Line) -> None:
        """Say this."""

    def end(self) -> None:
        """End it at once; it is started again."""


class Exchange:
    """In the parent. `text` is what holds: every worker that starts is given it."""

    def __init__(self, text: str, workers: Callable[[], Collection[Taker]]) -> None:
        self.text = text
        self._workers = workers
        self._last = 0
        self._one = asyncio.Lock()

    async def offer(self, text: str) -> int:
        """To all of them; how many took it. `ConfigurationError` where one did not, and none did."""
        async with self._one:
            self._last += 1
            ready = await self._offered(self._last, text)
            # From here on it holds: whoever starts now starts with it.
            self.text = text
            taken = await asyncio.gather(*(self._took(one, self._last) for one in ready))
            return sum(taken)

    async def _offered(self, number: int, text: str) -> list[Taker]:
        """Who will take it, which is everybody that there is."""
        ready: dict[Taker, None] = {}
        while asked := [one for one in self._workers() if one not in ready]:
            answers = await asyncio.gather(*(self._would_take(one, number, text) for one in asked))
            ready.update(dict.fromkeys(asked))
            refused = next((answer for answer in answers if answer is not None), None)
            if refused is not None:
                for one in ready:
                    one.say({"drop": number})
                raise ConfigurationError(refused)
        return list(ready)

    async def _would_take(self, worker: Taker, number: int, text: str) -> str | None:
        """Why not, or None; one that is gone starts again with what holds then."""
        try:
            answer = await worker.ask({"offer": number, "rules": text})
        except TimeoutError:
            return f"worker {worker.number} did not say whether it takes the rules"
        refused: str | None = None if answer is None else answer.get("refused")
        return refused

    async def _took(self, worker: Taker, number: int) -> bool:
        try:
            return await worker.ask({"take": number}) is not None
        except TimeoutError:
            log.warning("worker %d did not take the rules that hold now: it is started again", worker.number)
            worker.end()
            return False


class Answers:
    """In the parent: what was asked of one worker, and is answered by lines that come from it."""

    def __init__(self) -> None:
        self._asked: dict[int, asyncio.Future[Line | None]] = {}
        self._gone = False

    async def to(self, number: int, say: Callable[[], None]) -> Line | None:
        """What is answered to this number once `say` has said it; None where the worker is gone."""
        if self._gone:
            return None
        future: asyncio.Future[Line | None] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        try:
            say()
            async with asyncio.timeout(ANSWER_SECONDS):
                return await future
        finally:
            self._asked.pop(number, None)

    def take(self, line: Line) -> None:
        """A line came."""
        future = self._asked.get(line.get("answer", 0))
        if future is not None and not future.done():
            future.set_result(line)

    def end(self) -> None:
        """The worker is gone."""
        self._gone = True
        for future in self._asked.values():
            if not future.done():
                future.set_result(None)


def lines(receive: Callable[[], bytes], rest: bytes = b"") -> Iterable[Line]:
    """What comes by a socket until its end, line by line."""
    while True:
        head, end, tail = rest.partition(b"\n")
        if end:
            rest = tail
            yield json.loads(head)
            continue
        data = receive()
        if not data:
            return
        rest += data


def encoded(line: Line) -> bytes:
    """A line of bytes."""
    return json.dumps(line).encode() + b"\n"


# -------------------------------------------------------------------------------------------------------- in a worker


Rules = TypeVar("Rules")


class Offers(Generic[Rules]):
    """What a worker hears from its parent, in a thread of its own, until the parent is gone: then it ends as well."""

    def __init__(self, channel: socket.socket, rest: bytes, read: Callable[[str], Rules]) -> None:
        """`rest` was received already. `read` makes rules of a text, and raises `ConfigurationError`."""
        self._channel = channel
        self._rest = rest
        self._read = read
        self._offered: tuple[int, Rules] | None = None
        self._lock = threading.Lock()
        self._taken: Rules | None = None
        self._apply: Callable[[Rules], None] | None = None
        self._foresee: Callable[[Rules], Awaitable[None]] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """Hear from now on."""
        threading.Thread(target=self._hear, daemon=True).start()

    def serve(self, apply: Callable[[Rules], None], foresee: Callable[[Rules], Awaitable[None]] | None = None) -> None:
        """Rules that are taken are applied by this, in the running loop; those that came before it at once.

        `foresee` is given them first, and is waited for.
        """
        with self._lock:
            self._loop, self._apply, self._foresee = asyncio.get_running_loop(), apply, foresee
            taken, self._taken = self._taken, None
        if taken is not None:
            apply(taken)

    def _hear(self) -> None:
        try:
            for line in lines(lambda: self._channel.recv(65536), self._rest):
                self._one(line)
        except OSError:
            pass
        os._exit(1)

    def _one(self, line: Line) -> None:
        if "offer" in line:
            refused = None
            try:
                self._offered = line["offer"], self._read(line["rules"])
            except ConfigurationError as error:
                refused = str(error)
            self._say({"answer": line["offer"], "refused": refused})
        elif "take" in line and self._offered is not None and self._offered[0] == line["take"]:
            number, rules = self._offered
            self._take(number, rules)
        else:
            self._offered = None

    def _take(self, number: int, rules: Rules) -> None:
        with self._lock:
            loop, apply = self._loop, self._apply
            if loop is None or apply is None:
                self._taken = rules
        if loop is None or apply is None:
            self._say({"answer": number})
            return

        async def applied() -> None:
            if self._foresee is not None:
                await self._foresee(rules)
            act(lambda: apply(rules))
            self._say({"answer": number})

        asyncio.run_coroutine_threadsafe(applied(), loop)

    def _say(self, line: Line) -> None:
        self._channel.sendall(encoded(line))
