"""The feed of a node on a real nats-server: everything once and in order, whatever becomes of stream and server."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import bson
import pytest

from realtime.core.live.events import Batch
from realtime.core.relay.message import PART_BYTES, Message
from realtime.nats import connection as connections
from realtime.nats import feed as feeds
from realtime.nats import follower as followers
from realtime.nats.feed import JetStreamFeed
from tests.nats_server import NatsServer
from tests.relay.connecting import IDENTITY
from tests.relay.following import OplogOf, event, following, message, relaying, unread


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "DEGRADED_AFTER_SECONDS", 0.5)
    monkeypatch.setattr(feeds, "SLOW_RETRY_SECONDS", 0.2)


async def test_it_begins_after_its_time_and_hands_over_every_batch_once(nats: NatsServer) -> None:
    oplog = OplogOf()
    async with relaying(nats.url) as relay:
        await relay.publish(message(5, "a"), message(10, "b"))
        async with following(nats.url, start=10, oplog=oplog) as node:
            await relay.publish(message(11, "c", "d"), message(12), message(13, "e"))
            await node.at(13)
            assert node.keys == ["c", "d", "e"]
            assert [batch.time for batch in node.batches] == [11, 12, 13]
            assert node.events[0].document == {"_id": "c", "at": 11}
    assert oplog.asked == []


async def test_of_a_batch_that_began_before_its_time_it_hands_over_the_rest(nats: NatsServer) -> None:
    async with relaying(nats.url) as relay:
        both = Message(14, events=(event(11, "before"), event(13, "after")), collections=frozenset({"items"}))
        await relay.publish(message(10, "a"), both)
        async with following(nats.url, start=11) as node:
            await node.at(14)
            assert node.keys == ["after"]


async def test_images_come_with_their_batch_by_identity(nats: NatsServer) -> None:
    document = {"_id": 1, "n": {"b": [1, 2.5]}}
    update = event(11, 1, op="update", updateDescription={"updatedFields": {"n": 1}, "removedFields": []})
    images = {"items": (bson.encode(document),), "others": (bson.encode({"_id": 2}),)}
    asked = {"items"}
    async with relaying(nats.url) as relay:
        await relay.publish(message(10), Message(11, events=(update,), images=images, void=frozenset({"third"})))
        async with following(nats.url, start=10, interest=lambda: asked) as node:
            await node.at(11)
            (batch,) = node.batches
            assert batch.images == {"items": {"1": document}}


async def test_what_nobody_asks_for_is_not_decoded(nats: NatsServer) -> None:
    async with relaying(nats.url) as relay:
        both = (event(11, "mine"), event(11, "theirs", "others"))
        await relay.publish(message(10), Message(11, events=both, collections=frozenset({"items", "others"})))
        async with following(nats.url, start=10, interest=lambda: {"items"}) as node:
            await node.at(11)
            mine, theirs = node.events
            assert (mine.raw, mine.document) == (None, {"_id": "mine", "at": 11})
            assert (theirs.raw, theirs.document) == (both[1], None)


async def test_a_batch_of_several_parts_is_one(nats: NatsServer) -> None:
    async with relaying(nats.url) as relay:
        events = tuple(event(11, number, more="x" * (PART_BYTES // 2)) for number in range(5))
        await relay.publish(message(10), Message(11, events=events, collections=frozenset({"items"})))
        async with following(nats.url, start=10) as node:
            await node.at(11)
            assert node.keys == list(range(5))
            assert len(node.batches) == 1


async def test_that_a_relay_lost_something_is_told_once(nats: NatsServer) -> None:
    async with relaying(nats.url) as relay:
        await relay.publish(message(10))
        async with following(nats.url, start=10) as node:
            await relay.publish(message(11, "a"), message(12, lost=True), message(13, "b"))
            await node.at(13)
            assert (node.keys, node.lost) == (["a", "b"], [12])


# --------------------------------------------------------------------------------------------------------- what is gone


async def test_what_was_trimmed_before_it_came_is_read_from_the_oplog(nats: NatsServer) -> None:
    oplog = OplogOf()
    async with relaying(nats.url) as relay:
        await relay.publish(*(message(moment, moment) for moment in range(10, 20)))
        await relay.trim(before=6)
        async with following(nats.url, start=10, oplog=oplog) as node:
            await node.at(19)
            assert oplog.asked == [(10, 15)]
            assert node.keys == [*(f"oplog {moment}" for moment in range(11, 16)), 16, 17, 18, 19]
            assert node.lost == []


async def test_what_is_in_neither_is_lost_and_said_once(nats: NatsServer) -> None:
    oplog = OplogOf(gone=True)
    async with relaying(nats.url) as relay:
        await relay.publish(*(message(moment, moment) for moment in range(10, 20)))
        await relay.trim(before=6)
        async with following(nats.url, start=10, oplog=oplog) as node:
            await node.at(19)
            assert (node.keys, node.lost) == ([16, 17, 18, 19], [15])


async def test_what_is_trimmed_while_it_stands_still_is_read_from_the_oplog(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server says nothing of it: the next message is simply another one."""
    monkeypatch.setattr(followers, "PULL_MESSAGES", 4)
    oplog = OplogOf()
    async with relaying(nats.url) as relay:
        await relay.publish(message(10))
        async with following(nats.url, start=10, oplog=oplog) as node:
            node.pause.clear()
            await relay.publish(*(message(moment, moment) for moment in range(11, 41)))
            await node.at(11)
            await relay.trim(before=21)
            node.pause.set()
            await node.at(40)
            (asked,) = oplog.asked
            assert asked[1] == 30  # the first of those that are left
            told = [key if isinstance(key, int) else int(key.split()[1]) for key in node.keys]
            assert told == list(range(11, 41))
            assert node.lost == []


async def test_a_stream_that_is_removed_and_made_anew_is_followed_and_the_rest_is_the_oplogs(nats: NatsServer) -> None:
    oplog = OplogOf()
    async with relaying(nats.url) as relay:
        await relay.publish(message(10))
        async with following(nats.url, start=10, oplog=oplog) as node:
            await relay.publish(message(11, "a"))
            await node.at(11)
            await relay.remove()
            status = await node.says(up=False)
            assert "no stream" in (status.reason or "")
            await relay.make()
            await relay.publish(message(15), message(16, "b"))
            await node.at(16)
            await node.says(up=True)
            assert oplog.asked == [(11, 15)]
            assert node.keys == ["a", "oplog 12", "oplog 13", "oplog 14", "oplog 15", "b"]


async def test_where_the_first_part_of_a_batch_was_trimmed_the_batch_is_the_oplogs(nats: NatsServer) -> None:
    oplog = OplogOf()
    async with relaying(nats.url) as relay:
        events = tuple(event(11, number, more="x" * (PART_BYTES // 2)) for number in range(5))
        await relay.publish(message(10), Message(11, events=events, collections=frozenset({"items"})), message(12))
        await relay.trim(before=3)
        async with following(nats.url, start=10, oplog=oplog) as node:
            await node.at(12)
            assert node.keys == ["oplog 11", "oplog 12"]
    assert oplog.asked == [(10, 12)]


# --------------------------------------------------------------------------------------------------------------- faults


async def test_a_server_that_is_killed_comes_back_and_nothing_is_missing(nats: NatsServer) -> None:
    oplog = OplogOf()
    async with relaying(nats.url) as relay:
        await relay.publish(message(10))
        async with following(nats.url, start=10, oplog=oplog) as node:
            await relay.publish(message(11, "a"))
            await node.at(11)
            await asyncio.to_thread(nats.kill)
            await node.says(up=False)
            await asyncio.to_thread(nats.start)
            async with relaying(nats.url) as again:
                await again.publish(message(12, "b"))
                await node.at(12)
                await node.says(up=True)
            assert node.keys == ["a", "b"]
    assert oplog.asked == []


async def test_a_server_that_is_frozen_is_noticed_within_seconds(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By the heartbeats that do not come; the connection itself would be given up later."""
    monkeypatch.setattr(connections, "PING_SECONDS", 60)
    async with relaying(nats.url) as relay:
        await relay.publish(message(10))
        async with following(nats.url, start=10) as node:
            await relay.publish(message(11, "a"))
            await node.at(11)
            nats.freeze()
            try:
                await node.says(up=False)
                async with asyncio.timeout(10):
                    while "NATS says nothing" not in caplog.text:
                        await asyncio.sleep(0.05)
            finally:
                nats.thaw()
            await relay.publish(message(12, "b"))
            await node.at(12)
            assert node.keys == ["a", "b"]


async def test_a_relay_that_publishes_nothing_is_said(nats: NatsServer) -> None:
    async with relaying(nats.url) as relay:
        await relay.publish(message(10))
        async with following(nats.url, start=10) as node:
            status = await node.says(up=False)
            assert "the relay publishes nothing" in (status.reason or "")
            await relay.publish(message(11))
            await node.at(11)
            assert node.statuses[-1].up


async def test_what_waits_is_bounded_and_the_rest_comes_when_there_is_room(nats: NatsServer) -> None:
    """Whoever takes it is slow, and never stands still."""
    count, most, keys = 60, 0, []
    async with relaying(nats.url) as relay, unread(nats.url, start=10) as feed:
        await relay.publish(message(10))
        for moment in range(11, 11 + count):
            large = event(moment, moment, more="x" * 700_000)
            await relay.publish(Message(moment, events=(large,), collections=frozenset({"items"})))
        async with aclosing(feed.batches()) as batches:
            async for batch in batches:
                await asyncio.sleep(0.03)
                most = max(most, waiting(feed))
                keys += [one.key for one in batch.events]
                if batch.time == 10 + count:
                    break
    assert keys == list(range(11, 11 + count))
    assert followers.PULL_BYTES / 2 < most <= 2 * followers.PULL_BYTES


@pytest.mark.parametrize("mine", [replace(IDENTITY, replica_set="rs1"), replace(IDENTITY, epoch="FFFFFFFF")])
async def test_another_ones_stream_is_not_followed(nats: NatsServer, mine: object) -> None:
    async with relaying(nats.url) as relay:
        await relay.publish(message(10), message(11, "a"))
        async with following(nats.url, start=10, identity=mine) as node:
            status = await node.says(up=False)
            assert node.batches == []
            assert "realtime relay" in (status.reason or "") or "is another one's" in (status.reason or "")


async def test_after_a_bug_it_goes_on_after_the_time_it_is_told(nats: NatsServer) -> None:
    async with relaying(nats.url) as relay:
        await relay.publish(*(message(moment, moment) for moment in range(10, 14)))
        async with unread(nats.url, start=10) as feed:
            assert [one.events[0].key for one in await up_to(feed, 13)] == [11, 12, 13]
            await feed.rewind(11, step_over=False)
            assert [one.events[0].key for one in await up_to(feed, 13)] == [12, 13]


async def test_what_cannot_be_decoded_is_raised_and_when_it_is_stepped_over_marked(nats: NatsServer) -> None:
    broken = event(11, "bad", documentKey=None)
    async with relaying(nats.url) as relay:
        bad = Message(11, events=(broken,), collections=frozenset({"items"}))
        await relay.publish(message(10), bad, message(12, 1))
        async with unread(nats.url, start=10) as feed:
            for _ in range(2):
                with pytest.raises(TypeError):
                    await up_to(feed, 12)
                await feed.rewind(10, step_over=False)
            await feed.rewind(10, step_over=True)
            first, second = await up_to(feed, 12)
            assert [(one.op, one.collection, one.time) for one in first.events] == [("stepped over", "items", 11)]
            assert second.events[0].key == 1


async def up_to(feed: JetStreamFeed, moment: int) -> list[Batch]:
    """What it hands over up to this time; then it is let go, as the pipe does when it failed."""
    found: list[Batch] = []
    async with aclosing(feed.batches()) as batches:
        async for batch in batches:
            found.append(batch)
            if batch.time >= moment:
                break
    return found


def waiting(feed: JetStreamFeed) -> int:
    """Bytes that were pulled and not taken yet."""
    assert feed._follower is not None
    return feed._follower.waiting_bytes
