"""What others hear while rules change for 500 groups: `python -m tests.bench.exchanged`.

500 sockets of 500 users under `{owner: $user.sub}`, 20 that read something else, whose rules stay. How long a write is
on its way to those 20, at 100 a second, with nothing else going on, with one exchange of rules in the same time, and
with one that takes all of the 500 in again in the turn in which rules change; and how long the turns of the exchanges
were, in CPU of this process. The 500 are another process, so that what they read is nobody's turn here.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from websockets.asyncio.client import ClientConnection, connect

from realtime.core.access.rules.text import parse
from realtime.core.connection.session import Session
from realtime.hub.successions import Successions
from realtime.web.entrance import changes
from tests import replica_set as lanes
from tests.access.issuer import SECRET, signer
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

USERS, OTHERS = 500, 20
SECONDS, EVERY = 4.0, 0.01
SIGNER = signer("HS256")
RULES = "orders: {user: {read: {owner: $user.sub}}}\nnews: {other: {read: true}}\n"
CHANGED = "{owner: $user.sub, hidden: {$ne: NUMBER}}"


@dataclass(slots=True)
class Turns:
    """What was judged in the turn in which rules changed, and how much of the processor turns took, in seconds.

    `slices`: those before it, `switches`: itself, `taken`: those after it, in which subscriptions were taken in again.
    """

    judged: list[int] = field(default_factory=list)
    slices: list[float] = field(default_factory=list)
    switches: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Figures:
    """p99 of others: with nothing beside, with an exchange, with one in one turn; medians of rounds. And the turns."""

    quiet: float
    sliced: float
    whole: float
    turns: Turns
    at_once: Turns


@contextmanager
def watched(found: Turns) -> Iterator[None]:
    """Note what exchanges do, until the block ends."""
    asked = took = 0
    query, exchange, sleep, after = Session._query, changes.exchange, asyncio.sleep, Successions._next
    began = 0.0

    def take(*args: Any) -> None:
        nonlocal took, began
        if not took:
            began = time.thread_time()
        took += 1
        after(*args)

    def judge(*args: Any) -> Any:
        nonlocal asked, began
        if not asked:
            began = time.thread_time()
        asked += 1
        return query(*args)

    async def turn(seconds: float, *args: Any) -> Any:
        nonlocal asked, took
        if seconds < EVERY and (asked or took):
            (found.slices if asked else found.taken).append(time.thread_time() - began)
            asked = took = 0
        return await sleep(seconds, *args)

    def switch(*args: Any) -> Any:
        nonlocal asked
        asked, before = 0, time.thread_time()
        exchange(*args)
        found.judged.append(asked)
        found.switches.append(time.thread_time() - before)
        asked = 0

    with (
        mock.patch.object(Session, "_query", judge),
        mock.patch.object(changes, "exchange", switch),
        mock.patch.object(asyncio, "sleep", turn),
        mock.patch.object(Successions, "_next", take),
    ):
        yield


async def opened(stack: AsyncExitStack, service_url: str, sub: str, role: str, collection: str) -> ClientConnection:
    """A socket that is subscribed and live."""
    bearer = {"Authorization": f"Bearer {SIGNER.token(sub=sub, roles=[role], exp=time.time() + 3600)}"}
    url = service_url.replace("http", "ws") + "/v1/ws"
    socket = await stack.enter_async_context(
        connect(url, additional_headers=bearer, open_timeout=60, max_queue=None, compression=None)
    )
    await socket.send(json.dumps({"type": "subscribe", "id": "s", "collection": collection}))
    while json.loads(await socket.recv())["type"] != "live":
        pass
    return socket


async def heard(socket: ClientConnection, took: list[float]) -> None:
    """How long each write was on its way."""
    async for text in socket:
        frame = json.loads(text)
        for change in frame.get("changes", ()):
            took.append(time.time() - change["document"]["at"])


def changed(number: int) -> str:
    """Rules by which each of the users has another query: no two exchanges have the same, whose groups still are."""
    return RULES.replace("{owner: $user.sub}", CHANGED.replace("NUMBER", str(number)))


async def crowd(url: str) -> None:
    """What the other process does: the users' sockets, open until its input ends. Says when they are live."""
    async with AsyncExitStack() as stack:
        for begin in range(0, USERS, 50):
            names = [f"user {number}" for number in range(begin, begin + 50)]
            users = await asyncio.gather(*(opened(stack, url, name, "user", "orders") for name in names))
            for one in users:
                stack.callback(asyncio.create_task(silent(one)).cancel)
        sys.stdout.write("live\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


async def silent(socket: ClientConnection) -> None:
    """Whatever comes is taken."""
    async for _ in socket:
        pass


@asynccontextmanager
async def crowded(url: str) -> AsyncIterator[None]:
    """The other process, for the length of a block."""
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.exchanged", "--crowd", url, stdin=PIPE, stdout=PIPE
    )
    try:
        assert made.stdout is not None
        assert made.stdin is not None
        assert await made.stdout.readline() == b"live\n"
        yield
        made.stdin.close()
        await made.wait()
    finally:
        if made.returncode is None:
            made.kill()
            await made.wait()


async def p99(service: Service, took: list[float], *, exchange: str | None = None) -> float:
    """Of the writes of some seconds; in the middle of which these rules are taken."""
    took.clear()
    began, number, exchanging = time.monotonic(), 0, None
    while time.monotonic() - began < SECONDS:
        await asyncio.to_thread(service.database.news.insert_one, {"at": time.time()})
        number += 1
        if exchange is not None and exchanging is None and time.monotonic() - began > SECONDS / 4:
            exchanging = asyncio.create_task(service.realtime._exchange(parse(exchange, "rules")))
        await asyncio.sleep(EVERY)
    if exchanging is not None:
        await exchanging
    while len(took) < number * OTHERS:
        await asyncio.sleep(0.05)
    return statistics.quantiles(took, n=100)[98]


async def figures(replica_set: ReplicaSet, rounds: int = 3) -> Figures:
    """Of rounds in turn."""
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.yaml"
        rules.write_text(RULES)
        asks = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop", "rules": rules, "feed_await_ms": 100}
        async with serving(replica_set, **asks) as service, AsyncExitStack() as stack:
            service.database.orders.insert_many({"owner": f"user {n}"} for n in range(USERS))
            service.database.create_collection("news")
            await stack.enter_async_context(crowded(service.url))
            others = [await opened(stack, service.url, f"other {n}", "other", "news") for n in range(OTHERS)]
            took: list[float] = []
            listening = [asyncio.create_task(heard(socket, took)) for socket in others]
            quiet, sliced, whole = [], [], []
            found = Figures(0.0, 0.0, 0.0, Turns(), Turns())
            gc.collect()
            gc.freeze()  # as the service does with connections
            for turn in range(rounds):
                quiet.append(await p99(service, took))
                with watched(found.turns):
                    sliced.append(await p99(service, took, exchange=changed(2 * turn)))
                await asyncio.sleep(SECONDS)
                with watched(found.at_once), mock.patch.object(Successions, "together", return_value=nullcontext()):
                    whole.append(await p99(service, took, exchange=changed(2 * turn + 1)))
                await asyncio.sleep(SECONDS)
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
            found.quiet, found.sliced, found.whole = map(statistics.median, (quiet, sliced, whole))
            return found


def main() -> None:
    if sys.argv[1:2] == ["--crowd"]:
        asyncio.run(crowd(sys.argv[2]))
        return
    rounds = int(sys.argv[1]) if sys.argv[1:] else 3
    with lanes.running(lanes.choose(os.environ), os.environ) as replica_set:
        found = asyncio.run(figures(replica_set, rounds))
    sys.stdout.write(told(found))


def told(found: Figures) -> str:
    """In words."""
    lines = [f"p99 of others: {found.quiet * 1000:.1f} ms"]
    for name, took, turns in [
        ("an exchange", found.sliced, found.turns),
        ("one in one turn", found.whole, found.at_once),
    ]:
        parts = [
            f"{len(turns.slices)} slices before {most(turns.slices)}",
            f"{len(turns.switches)} switches {most(turns.switches)}, {turns.judged} of {USERS} judged in them",
            f"{len(turns.taken)} slices after {most(turns.taken)}",
        ]
        lines.append(f"with {name} {took * 1000:.1f} ms, {took / found.quiet:.2f} x: {'; '.join(parts)}")
    return "\n".join(lines) + "\n"


def most(turns: list[float]) -> str:
    """The median and the largest."""
    return f"of {statistics.median(turns) * 1000:.1f} ms (up to {max(turns) * 1000:.1f})" if turns else ""


if __name__ == "__main__":
    main()
