"""Sockets whose principal ends, under load: renewed ones miss nothing, others are told nothing after the end.

Sabotage: `make sabotage`, rows "doors".
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.access.issuer import AUDIENCE, SECRET, signer
from tests.checker import Asked, judge
from tests.exact.conftest import Say
from tests.exact.ear import Ear
from tests.exact.ledger import Ledger, insert, reader, update
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.truth import time_of

SIGNER = signer("HS256")
ASKS: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": AUDIENCE, "feed_await_ms": 100}
SOCKETS = int(os.environ.get("REALTIME_TEST_OVER_SOCKETS", "40"))
"""Of those that renew, and as many that do not."""
LASTS, RENEWS = 6.0, 2.5
SECONDS = 10.0
LATE_SECONDS = 0.25
"""A frame may be on its way, and read late by a busy test, for so long."""
KINDS = {"changes", "events", "snapshot", "heartbeat", "live", "subscribed"}


class Timed(Ear):
    """Notes when the last data frame came."""

    last_data = 0.0
    ended_at = 0.0

    async def listen(self) -> None:
        """Receive until the connection ends."""
        data = asyncio.create_task(self._note())
        await super().listen()
        self.ended_at = time.time()
        data.cancel()

    async def _note(self) -> None:
        while True:
            await self.coming(lambda frame: frame["type"] in KINDS)
            self.last_data = time.time()


@asynccontextmanager
async def heard(service: Service, **claims: Any) -> AsyncIterator[Timed]:
    """A connection by a token with these claims."""
    bearer = {"Authorization": f"Bearer {SIGNER.token(**claims)}"}
    address = service.url.replace("http", "ws") + "/v1/ws"
    async with connect(address, additional_headers=bearer, max_size=None, compression=None, max_queue=None) as socket:
        ear = Timed(socket)
        welcome = ear.coming(lambda frame: frame["type"] == "welcome")
        task = asyncio.create_task(ear.listen())
        try:
            async with asyncio.timeout(30):
                await welcome
            yield ear
        finally:
            await socket.close()
            await task


async def renewing(ear: Ear, until: float) -> int:
    """Go on with a new token again and again; how often."""
    renewed = 0
    while time.time() < until:
        await asyncio.sleep(RENEWS)
        await ear.send(type="auth", id=f"a{renewed}", token=SIGNER.token(exp=time.time() + LASTS))
        renewed += 1
    return renewed


def writing(ledger: Ledger, until: float) -> int:
    """Documents and updates, in a thread; how many."""
    number = 0
    while time.time() < until:
        ledger.one(insert("orders", number, n=number))
        ledger.one(update("orders", number, n=number + 1))
        number += 1
        time.sleep(0.01)
    return number


@pytest.mark.long("tokens end in seconds, under load")
@pytest.mark.alone("tokens that end in seconds, and an upper bound in seconds after that")
@pytest.mark.timeout(180)
async def test_renewed_sockets_miss_nothing_and_others_are_told_nothing_after_their_end(
    replica_set: ReplicaSet, say: Say
) -> None:
    async with serving(replica_set, heartbeat_seconds=0.5, **ASKS) as service, AsyncExitStack() as stack:
        ledger = Ledger(service.database)
        end = time.time() + LASTS
        renewed = [await stack.enter_async_context(heard(service, exp=end)) for _ in range(SOCKETS)]
        others = [await stack.enter_async_context(heard(service, exp=end)) for _ in range(SOCKETS)]
        for ear in [*renewed, *others]:
            await ear.subscribe("q", "orders")
            await ear.subscribe("e", "orders", mode="events")
        assert time.time() < end, "the machine was too slow to subscribe before the tokens ended"
        until = time.time() + SECONDS
        wrote = asyncio.create_task(asyncio.to_thread(writing, ledger, until))
        times = await asyncio.gather(*(renewing(ear, until) for ear in renewed))
        number = await wrote
        for ear in renewed:
            await ear.fence(ledger.last)
        truth, read = ledger.truth(), reader(service.database)
        asked = [Asked("q", ("orders",)), Asked("e", ("orders",), mode="events")]
        for ear in renewed:
            judge(ear.frames, asked, truth, read=read).accept()
            assert ear.closed is None
        late = []
        for ear in others:
            assert ear.closed == (4002, "expired")
            assert ear.frames[-1]["type"] == "closing"
            assert len(ear.of("changes")) > 10
            late.append(ear.last_data - end)
        assert max(late) < LATE_SECONDS
        say(f"{sum(times)} renewals, {number} writes; the last data of the others {max(late):.3f} s after their end")

        # And who comes back by position goes on without a gap.
        back = others[0]
        positions = [frame["position"] for frame in back.frames if frame["type"] == "changes" and "position" in frame]
        query = back.of("subscribed", "q")[0]["query"]
        async with heard(service) as again:
            await again.subscribe("q", "orders", position=positions[-1], query=query)
            await again.fence(ledger.last)
            assert again.of("subscribed", "q")[0]["recovered"] is True
            held = truth.at("orders", time_of(positions[-1]))
            judge(again.frames, [Asked("q", ("orders",), after=positions[-1], held=held)], truth, read=read).accept()


@pytest.mark.long("tokens end in seconds, under load")
@pytest.mark.alone("an upper bound in seconds, under load")
@pytest.mark.timeout(180)
async def test_a_revocation_ends_every_socket_of_a_user_within_a_second_under_load(
    replica_set: ReplicaSet, say: Say
) -> None:
    async with serving(replica_set, **ASKS) as service, AsyncExitStack() as stack:
        ears = {
            name: [await stack.enter_async_context(heard(service, sub=name, iat=time.time() - 5)) for _ in range(25)]
            for name in ("ann", "bob")
        }
        for ear in [*ears["ann"], *ears["bob"]]:
            await ear.subscribe("q", "orders")
        stopping = asyncio.Event()
        load = asyncio.create_task(loaded(service, stopping))
        await asyncio.sleep(1.0)
        document = {"sub": "ann", "at": dt.datetime.now(dt.UTC)}
        await asyncio.to_thread(service.database.realtime_revocations.insert_one, document)
        acknowledged = time.time()
        async with asyncio.timeout(20):
            while any(ear.closed is None for ear in ears["ann"]):
                await asyncio.sleep(0.01)
        stopping.set()
        events = await load
        slowest = max(ear.ended_at for ear in ears["ann"]) - acknowledged
        say(f"gone {slowest:.3f} s after the acknowledgement, beside {events} events")
        assert slowest < 1.0
        for ear in ears["ann"]:
            assert ear.closed == (4504, "revoked")
            assert ear.frames[-1] == {"type": "closing", "code": 4504, "message": "revoked"}
        assert all(ear.closed is None for ear in ears["bob"])
        assert min(len(ear.of("changes")) for ear in ears["bob"]) > 50


async def loaded(service: Service, stopping: asyncio.Event) -> int:
    """Inserts in lists of ten, about a thousand documents a second; how many."""
    number = 0
    while not stopping.is_set():
        documents = [{"_id": f"load {number + place}"} for place in range(10)]
        await asyncio.to_thread(service.database.orders.insert_many, documents)
        number += 10
        await asyncio.sleep(0.005)
    return number
