"""Whose turn it is, and what nodes need: both are gone when they are not said again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from realtime.nats import bucket, needs, stream
from realtime.nats import lease as leases
from realtime.nats.lease import LEASE_SECONDS, Lease
from realtime.nats.needs import MOST_NODES, NEEDED_SECONDS, VALUE_BYTES, Needs, decode, encode
from realtime.nats.stream import StreamError, UnansweredError
from tests.nats_server import NatsServer, nats_server
from tests.relay.connecting import IDENTITY, LIMITS, connection


async def test_one_holds_it_and_another_after_it_was_given_up_or_not_said_again(nats: NatsServer) -> None:
    first, second = Lease(IDENTITY, "first", 1), Lease(IDENTITY, "second", 1)
    async with connection(nats.url) as client, connection(nats.url) as other:
        await first.prepare(client)
        await second.prepare(other)
        assert await first.take(client)
        assert await first.take(client)
        assert not await second.take(other)
        assert (first.held, second.held) == (True, False)
        await first.release(client)
        assert await second.take(other)
        assert not await first.take(client)
        began = time.monotonic()
        async with asyncio.timeout(20):
            while not await first.take(client):
                await asyncio.sleep(leases.LOOK_SECONDS)
        assert time.monotonic() - began >= LEASE_SECONDS - 1
        # The one that was frozen meanwhile.
        assert not await second.take(other)
        assert not second.held


async def test_who_lost_the_answer_to_what_was_stored_holds_it_all_the_same(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while NATS is frozen: it is stored when it thaws, and whoever said it does not wait any more."""
    monkeypatch.setattr(bucket, "ANSWER_SECONDS", 0.5)
    lease, other = Lease(IDENTITY, "one", 1), Lease(IDENTITY, "other", 1)
    async with connection(nats.url) as broken, connection(nats.url) as client:
        await lease.prepare(broken)
        assert await lease.take(broken)
        before = await bucket.look(client, IDENTITY.lease, "relay")
        assert before is not None
        nats.freeze()
        with pytest.raises(UnansweredError):
            await lease.take(broken)
        nats.thaw()
        monkeypatch.undo()
        async with asyncio.timeout(20):
            while (stored := await bucket.look(client, IDENTITY.lease, "relay")) == before:
                await asyncio.sleep(0.01)
        assert stored is not None, "its time was over before it was stored"
        assert (stored.value, stored.revision > before.revision) == (b"one", True)
        assert await lease.take(client)
        assert lease.held
        assert not await other.take(client)
        assert await lease.take(client)
        await lease.release(client)
        assert await other.take(client)


async def test_what_is_stored_after_it_was_given_up_is_taken_up_again(nats: NatsServer) -> None:
    lease = Lease(IDENTITY, "one", 1)
    async with connection(nats.url) as client:
        await lease.prepare(client)
        assert await lease.take(client)
        await lease.release(client)
        await bucket.put(client, IDENTITY.lease, "relay", b"one")
        assert await lease.take(client)


async def test_who_gives_up_what_another_holds_by_now_leaves_it_there(nats: NatsServer) -> None:
    late, next_one, third = (Lease(IDENTITY, name, 1) for name in ("late", "next", "third"))
    async with connection(nats.url) as client:
        await late.prepare(client)
        assert await late.take(client)
        # Its time is over, and it has not noticed.
        await bucket.remove(client, IDENTITY.lease, "relay", revision=1)
        assert await next_one.take(client)
        assert late.held
        await late.release(client)
        assert not late.held
        assert not await third.take(client)
        assert await next_one.take(client)


def test_what_is_needed_counts_until_it_is_not_said_again() -> None:
    now = 0.0
    found = Needs(IDENTITY, lambda: now)
    assert not found.needed("orders")
    found.hear("a", encode({"orders", "a b"}))
    found.hear("b", encode({"carts"}))
    assert [found.needed(name) for name in ("orders", "a b", "carts", "users")] == [True, True, True, False]
    found.hear("b", encode(()))
    assert not found.needed("carts")
    now = NEEDED_SECONDS - 1
    found.hear("b", encode(None))
    now = NEEDED_SECONDS + 1
    assert found.needed("users")
    now = 3 * NEEDED_SECONDS
    assert not found.needed("orders")


def test_there_are_so_many_nodes_and_a_value_of_so_many_bytes() -> None:
    now = 0.0
    found = Needs(IDENTITY, lambda: now)
    for number in range(MOST_NODES):
        found.hear(f"n{number}", encode(()))
    found.hear("one more", encode({"orders"}))
    assert not found.needed("orders")
    now = NEEDED_SECONDS + 1
    found.hear("one more", encode({"orders"}))
    assert found.needed("orders")
    assert decode(encode([f"collection{number}" for number in range(VALUE_BYTES)])) is None
    assert encode(None) == b"null"


@pytest.mark.parametrize("value", [b"", b"{", b"7", b'{"a": 1}', b"[7, null]", b"[" * VALUE_BYTES * 2])
def test_what_is_nothing_of_the_kind_needs_nothing(value: bytes) -> None:
    assert decode(value) == frozenset()


async def test_a_relay_hears_what_a_node_says(nats: NatsServer) -> None:
    found = Needs(IDENTITY, time.monotonic)
    async with connection(nats.url) as client, connection(nats.url) as node:
        await found.prepare(client, 1)
        await found.listen(client)
        await needs.say(node, IDENTITY, "node-1", {"orders"})
        async with asyncio.timeout(20):
            while not found.needed("orders"):
                await asyncio.sleep(0.01)
        assert not found.needed("carts")


async def test_without_room_for_its_bucket_it_says_what_a_relay_needs(tmp_path: Path) -> None:
    """The stream has taken what there was; then JetStream said a number alone, and a relay for ever the same."""
    with nats_server(tmp_path / "nats", max_file_store=LIMITS.max_bytes + bucket.BUCKET_BYTES // 2) as nats:
        async with connection(nats.url) as client:
            await stream.ensure(client, IDENTITY, LIMITS)
            with pytest.raises(StreamError, match=r"lease cannot be made .*two buckets of 16 MiB .*max_file_store"):
                await Lease(IDENTITY, "any", 1).prepare(client)
