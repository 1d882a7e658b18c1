"""A whole service on a real mongod: revocations reach every node, and where they cannot be known nobody gets in."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from realtime.access.access import Access
from realtime.access.minting import new_key, new_token
from realtime.core.access.keys import KeyRecord, hashed
from realtime.core.access.principal import Ended, Principal
from realtime.errors import ConfigurationError, UnauthenticatedError, UnavailableError
from realtime.mongo import embedded
from realtime.settings import load
from tests.access.issuer import SECRET
from tests.replica_set import ReplicaSet
from tests.serving import Service, serving
from tests.wire import wired

KEYED = {"auth": "jwt,keys", "jwt_secret": SECRET, "feed_await_ms": 100}
SETTINGS = load(auth="jwt", jwt_secret=SECRET)
PATIENCE = 20.0


def token(sub: str = "ann") -> str:
    return new_token(SETTINGS, sub=sub, roles=(), claims={}, now=time.time(), seconds=600)


def access_of(service: Service) -> Access:
    return service.realtime.live().access


async def who(service: Service, text: str) -> Principal:
    """Who asks, once revocations are read."""
    authenticator = access_of(service).authenticator
    assert authenticator is not None
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await authenticator.authenticate(text)
            except UnavailableError:
                await asyncio.sleep(0.02)


async def told_of(service: Service) -> asyncio.Queue[Ended]:
    """What is said of those who end, from now on."""
    said: asyncio.Queue[Ended] = asyncio.Queue()
    revocations = access_of(service).revocations
    assert revocations is not None
    await who(service, token("somebody"))
    revocations.on_revoked(said.put_nowait)
    return said


async def ended(said: asyncio.Queue[Ended], principal: Principal) -> None:
    async with asyncio.timeout(PATIENCE):
        while not (await said.get())(principal):
            pass


@pytest.fixture
async def nodes(replica_set: ReplicaSet) -> AsyncIterator[tuple[Service, Service]]:
    """Two nodes of one database, one of which serves named collections alone."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(serving(replica_set, **KEYED))
        two = await stack.enter_async_context(
            serving(replica_set, database=one.realtime.settings.database, collections="orders", **KEYED)
        )
        yield one, two


async def test_a_user_revoked_on_one_node_ends_on_both_and_may_come_again(
    nodes: tuple[Service, Service],
) -> None:
    one, two = nodes
    old = token()
    principal, other = await who(one, old), await who(two, token("bob"))
    said = [await told_of(node) for node in nodes]
    await one.realtime.revoke(sub="ann")
    began = time.monotonic()
    for queue in said:
        await ended(queue, principal)
        assert queue.empty() or not queue.get_nowait()(other)
    assert time.monotonic() - began < PATIENCE
    for node in nodes:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await who(node, old)
                except UnauthenticatedError as refused:
                    assert refused.reason == "revoked"  # noqa: PT017 - the loop waits for it
                    break
                await asyncio.sleep(0.02)
        assert (await who(node, token("bob"))).sub == "bob"
    await asyncio.sleep(1.1)  # a token says in whole seconds when it was issued
    assert (await who(two, token())).sub == "ann"


async def test_whoever_writes_a_revocation_ends_a_token(nodes: tuple[Service, Service]) -> None:
    one, two = nodes
    principal = await who(two, token())
    said = await told_of(two)
    await asyncio.to_thread(one.database.realtime_revocations.insert_one, {"jti": principal.jti})
    await ended(said, principal)


async def test_a_key_is_known_until_it_is_revoked(nodes: tuple[Service, Service]) -> None:
    one, two = nodes
    key = new_key()
    record = KeyRecord(hashed(key), "importer", "key:importer", time.time(), frozenset({"staff"}))
    from realtime.mongo.access import document_of

    await asyncio.to_thread(one.database.realtime_keys.insert_one, document_of(record))
    principal = await who(two, key)
    assert (principal.sub, principal.roles, principal.key) == ("key:importer", record.roles, record.id)
    async with asyncio.timeout(PATIENCE):
        while (await asyncio.to_thread(one.database.realtime_keys.find_one) or {}).get("used") is None:
            await asyncio.sleep(0.02)
    said = await told_of(two)
    await one.realtime.revoke(key=record.id)
    await ended(said, principal)


async def test_the_services_own_collections_are_shown_to_nobody(nodes: tuple[Service, Service]) -> None:
    one, two = nodes
    said = await told_of(two)
    bearer = {"Authorization": f"Bearer {token()}"}
    await who(one, token())
    async with wired(one.url, additional_headers=bearer) as wire:
        await wire.subscribe("*", mode="events")
        refused = await wire.ask(type="subscribe", id="own", collection="realtime_revocations")
        await one.realtime.revoke(sub="carol")
        await ended(said, Principal("carol"))
        await asyncio.to_thread(one.database.orders.insert_one, {"_id": "last"})
        await wire.until(lambda got: got["type"] == "events")
        events = [event for frame in wire.of("events") for event in frame["events"]]
    assert refused["code"] == "unsupported_collection"
    assert [event["collection"] for event in events] == ["orders"]
    listed = (await one.http.get("/v1/collections", headers=bearer)).text
    assert "realtime_" not in listed
    assert "orders" in listed


async def test_without_anybody_to_ask_there_is_nobody_to_revoke(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, feed_await_ms=100) as service:
        with pytest.raises(ConfigurationError, match="REALTIME_AUTH"):
            await service.realtime.revoke(sub="ann")
        with pytest.raises(ConfigurationError, match="name one"):
            await service.realtime.revoke(sub="ann", jti="t1")
        assert service.realtime.live().hub.roster.count == 0


async def test_while_mongodb_is_away_nobody_gets_in_and_afterwards_everybody_does() -> None:
    with tempfile.TemporaryDirectory(prefix="realtime-access-") as directory:
        mongo = await embedded.start(Path(directory), None)
        try:
            own = ReplicaSet(uri=mongo.uri, lane="embedded", can_fail_commands=False)
            async with serving(own, **KEYED) as service:
                good = token()
                assert (await who(service, good)).sub == "ann"
                authenticator = access_of(service).authenticator
                assert authenticator is not None
                import os
                import signal

                os.kill(mongo.pid, signal.SIGSTOP)
                try:
                    async with asyncio.timeout(PATIENCE):
                        while True:
                            try:
                                await authenticator.authenticate(good)
                            except UnavailableError as later:
                                assert later.retry  # noqa: PT017 - the loop waits for it
                                break
                            await asyncio.sleep(0.05)
                    refused = 0
                    for _ in range(20):
                        with pytest.raises(UnavailableError):
                            await authenticator.authenticate(token())
                        refused += 1
                    assert refused == 20
                finally:
                    os.kill(mongo.pid, signal.SIGCONT)
                assert (await who(service, good)).sub == "ann"
        finally:
            await mongo.stop()
