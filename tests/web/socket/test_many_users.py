"""Who asks is no part of what is asked: a thousand users with one query are one group and one read."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from realtime import metrics
from tests.access.issuer import AUDIENCE, SECRET, signer
from tests.replica_set import ReplicaSet
from tests.serving import serving

USERS = 1000
SIGNER = signer("HS256")


def value(instrument: Any) -> float:
    return float(instrument._value.get())


@pytest.mark.long("a thousand users")
@pytest.mark.timeout(300)
async def test_a_thousand_users_with_one_query_are_one_group_and_one_read(replica_set: ReplicaSet) -> None:
    asks: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": AUDIENCE}
    async with serving(replica_set, feed_await_ms=100, **asks) as service, AsyncExitStack() as stack:
        service.database.orders.insert_many({"_id": number} for number in range(10))
        url = service.url.replace("http", "ws") + "/v1/ws"

        async def user(number: int) -> tuple[ClientConnection, str]:
            bearer = {"Authorization": f"Bearer {SIGNER.token(sub=f'user {number}')}"}
            socket = await stack.enter_async_context(connect(url, additional_headers=bearer, open_timeout=60))
            return socket, json.loads(await socket.recv())["principal"]

        users: list[tuple[ClientConnection, str]] = []
        for begin in range(0, USERS, 50):
            users += await asyncio.gather(*(user(number) for number in range(begin, begin + 50)))
        assert len({name for _, name in users}) == USERS
        groups, reads = value(metrics.GROUPS), value(metrics.SNAPSHOT_READS)
        frame = json.dumps({"type": "subscribe", "id": "s", "collection": "orders", "filter": {"_id": {"$gte": 5}}})
        channels: set[int] = set()
        for socket, _ in users:
            await socket.send(frame)
        for socket, _ in users:
            async with asyncio.timeout(60):
                while (answer := json.loads(await socket.recv()))["type"] != "live":
                    if answer["type"] == "subscribed":
                        channels.add(answer["channel"])
        assert len(channels) == 1
        assert value(metrics.GROUPS) - groups == 1
        assert value(metrics.SNAPSHOT_READS) - reads == 1
        service.database.orders.insert_one({"_id": 20})
        for socket, _ in users:
            async with asyncio.timeout(60):
                while (answer := json.loads(await socket.recv()))["type"] != "changes":
                    pass
            assert answer["changes"][0]["key"] == 20
