"""What others hear while rules change for 500 groups: `python -m tests.bench.exchanged`.

500 sockets of 500 users under `{owner: $user.sub}`, 20 that read something else, whose rules stay. How long a write is
on its way to those 20, at 100 a second, with nothing else going on and with one exchange of rules in the same time; and
how long the longest turn of the exchange was, in CPU of this process.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from websockets.asyncio.client import ClientConnection, connect

from realtime.core.access.rules.text import parse
from realtime.core.connection.session import Session
from realtime.web.entrance import changes
from tests import replica_set as lanes
from tests.access.issuer import SECRET, signer
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving

USERS, OTHERS = 500, 20
SECONDS, EVERY = 4.0, 0.01
SIGNER = signer("HS256")
RULES = "orders: {user: {read: {owner: $user.sub}}}\nnews: {other: {read: true}}\n"
CHANGED = RULES.replace("{owner: $user.sub}", "{owner: $user.sub, hidden: {$ne: true}}")


@dataclass(slots=True)
class Turns:
    """What was judged in the turn in which rules changed, and how much of the processor turns took."""

    judged: list[int] = field(default_factory=list)
    slices: list[float] = field(default_factory=list)
    switches: list[float] = field(default_factory=list)


@contextmanager
def watched() -> Iterator[Turns]:
    """Note what exchanges do, until the block ends."""
    found, asked = Turns(), 0
    query, exchange, sleep = Session._query, changes.exchange, asyncio.sleep
    began = 0.0

    def judge(*args: Any) -> Any:
        nonlocal asked, began
        if not asked:
            began = time.thread_time()
        asked += 1
        return query(*args)

    async def turn(seconds: float, *args: Any) -> Any:
        nonlocal asked
        if seconds == 0 and asked:
            found.slices.append(time.thread_time() - began)
            asked = 0
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
    ):
        yield found


async def opened(stack: AsyncExitStack, service: Service, sub: str, role: str, collection: str) -> ClientConnection:
    """A socket that is subscribed and live."""
    bearer = {"Authorization": f"Bearer {SIGNER.token(sub=sub, roles=[role])}"}
    url = service.url.replace("http", "ws") + "/v1/ws"
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


async def figures(replica_set: ReplicaSet, rounds: int = 3) -> tuple[float, float, Turns]:
    """p99 of others without and with an exchange, medians of rounds in turn; and what the exchanges were."""
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.yaml"
        rules.write_text(RULES)
        asks = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop", "rules": rules, "feed_await_ms": 100}
        async with serving(replica_set, **asks) as service, AsyncExitStack() as stack:
            service.database.orders.insert_many({"owner": f"user {n}"} for n in range(USERS))
            service.database.create_collection("news")
            users: list[ClientConnection] = []
            for begin in range(0, USERS, 50):
                wanted = (opened(stack, service, f"user {n}", "user", "orders") for n in range(begin, begin + 50))
                users += await asyncio.gather(*wanted)
            others = [await opened(stack, service, f"other {n}", "other", "news") for n in range(OTHERS)]
            took: list[float] = []
            listening = [asyncio.create_task(heard(socket, took)) for socket in others]
            quiet, loud = [], []
            with watched() as turns:
                for turn in range(rounds):
                    quiet.append(await p99(service, took))
                    loud.append(await p99(service, took, exchange=RULES if turn % 2 else CHANGED))
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
            return statistics.median(quiet), statistics.median(loud), turns


def main() -> None:
    with lanes.running(lanes.choose(os.environ), os.environ) as replica_set:
        quiet, loud, turns = asyncio.run(figures(replica_set))
    slices, switches = (statistics.median(found) * 1000 for found in (turns.slices, turns.switches))
    sys.stdout.write(
        f"p99 of others: {quiet * 1000:.1f} ms, with an exchange {loud * 1000:.1f} ms: {loud / quiet:.2f}\n"
        f"{len(turns.slices)} slices of {slices:.1f} ms (median), {len(turns.switches)} switches of {switches:.1f} ms, "
        f"in which {turns.judged} of {USERS} were judged\n"
    )


if __name__ == "__main__":
    main()
