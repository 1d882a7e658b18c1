"""`realtime relay` between a real mongod and a real nats-server: every event once, in order, whatever is ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import signal
import time
from urllib.request import urlopen

import pytest

from realtime.core.bson import stored as bson
from realtime.core.relay.message import PART_BYTES, Message, pack
from realtime.nats import bucket, needs, stream
from realtime.nats.stream import ApiError
from tests.mongo.commands import Documents
from tests.nats_server import NatsServer
from tests.relay.connecting import connection
from tests.relay.processes import SECONDS, Place, RelayProcess, Writer, check, keys_of

PUBLISHES = "publishing .* to the stream"
SLACK = 20.0
"""Starting beside other tests; what the times really are is asserted where nothing runs beside (`test_pauses.py`)."""


async def written(here: Place, writer: Writer) -> None:
    """Everything that was written is told once, in order, and only that."""
    messages = await here.until(lambda messages: len(keys_of(messages)) >= writer.written)
    assert keys_of(messages) == list(range(writer.written))
    assert writer.written > 0
    check(messages)
    assert not [message for message in messages if message.lost]


async def passed(writer: Writer, more: int) -> None:
    """Wait until so much more is written."""
    goal = writer.written + more
    async with asyncio.timeout(SECONDS):
        while writer.written < goal:
            await asyncio.sleep(0.005)


async def test_every_write_is_told_once_in_order_with_its_document(here: Place, documents: Documents) -> None:
    await here.relay().says(PUBLISHES)
    async with Writer(documents.items).writing() as writer:
        await passed(writer, 300)
    await written(here, writer)
    messages = await here.messages()
    inserted = [bson.decode(event) for message in messages for event in message.events]
    assert [event["fullDocument"] for event in inserted if event["operationType"] == "insert"] == [
        {"_id": number, "text": "x" * 100} for number in range(writer.written)
    ]
    # Gathered: at 2 ms from write to write not each is a message of its own.
    assert len([message for message in messages if message.events]) < writer.written
    assert all(message.images.get("items") == () for message in messages if "items" in message.collections)


async def test_a_stream_that_is_new_begins_with_a_position_and_goes_on_without_events(here: Place) -> None:
    await here.relay().says(PUBLISHES)
    began = time.monotonic()
    messages = await here.until(lambda messages: len(messages) >= 6)
    took = time.monotonic() - began
    assert not any(message.events or message.lost for message in messages)
    check(messages)
    assert took < 5 * 1.5 + 1, "less than one a second"
    assert len(messages) <= 2 + took * 6, "more than five a second"


async def test_images_of_what_nodes_need_are_those_of_the_messages_time(here: Place, documents: Documents) -> None:
    documents.items.insert_many([{"_id": number, "n": 0} for number in range(50)])
    documents.others.insert_one({"_id": 1, "n": 0})
    await here.relay().says(PUBLISHES)
    identity = await here.identity()
    async with connection(here.nats) as client:
        await needs.say(client, identity, "node1", {"items"})

        def update() -> None:
            for number in range(400):
                documents.items.update_one({"_id": number % 50}, {"$inc": {"n": 1}})
                documents.others.update_one({"_id": 1}, {"$inc": {"n": 1}})

        await asyncio.to_thread(update)
    documents.items.insert_one({"_id": "last"})
    messages = await here.until(lambda messages: "last" in keys_of(messages))
    state, complete, void = dict.fromkeys(range(50), 0), 0, 0
    for message in messages:
        touched = set()
        for event in map(bson.decode, message.events):
            if event["operationType"] == "update" and event["ns"]["coll"] == "items":
                key = event["documentKey"]["_id"]
                state[key] += 1
                touched.add(key)
                assert event["fullDocument"] is None
        if "others" in message.collections:
            assert "others" in message.void
        if touched and "items" in message.void:
            void += 1
        elif touched:
            complete += 1
            images = {image["_id"]: image["n"] for image in map(bson.decode, message.images["items"])}
            assert images == {key: state[key] for key in touched}
    assert state == dict.fromkeys(range(50), 8)
    assert complete > 3
    assert void == 0


async def test_of_what_nobody_needs_no_document_is_read(here: Place, documents: Documents) -> None:
    documents.large.insert_one({"_id": 1, "data": "x" * 100_000})
    documents.items.insert_one({"_id": 0})
    await here.relay("--admin-port", "0").says("health and metrics")
    await here.relays[0].says(PUBLISHES)
    url = re.search(r"http://\S+:\d+", here.relays[0].log)
    assert url is not None
    for number in range(50):
        documents.large.update_one({"_id": 1}, {"$set": {"n": number}})
    documents.items.insert_one({"_id": "last"})
    await here.until(lambda messages: "last" in keys_of(messages))
    metrics = await asyncio.to_thread(lambda: urlopen(f"{url[0]}/metrics").read().decode())
    figures = dict(
        line.split() for line in metrics.splitlines() if line.startswith("realtime_relay_") and "{" not in line
    )
    assert float(figures["realtime_relay_images_total"]) == 0
    assert float(figures["realtime_relay_events_total"]) >= 51
    assert float(figures["realtime_relay_publishes"]) == 1
    ready = await asyncio.to_thread(lambda: urlopen(f"{url[0]}/readyz").read())
    assert json.loads(ready) == {"status": "ready", "publishes": True}


async def test_a_relay_shows_a_relays_figures_and_whoever_waits_is_up(here: Place, nats: NatsServer) -> None:
    """A service's would say 0 for ever, and its alerts hold of every relay."""
    for number in range(2):
        await here.relay("--admin-port", "0").says(PUBLISHES if number == 0 else "waits for its turn")
    first, second = [await figures_of(relay) for relay in here.relays]
    assert {name: first[f"realtime_relay_{name}"] for name in ("publishes", "up", "feed_up")} == {
        "publishes": 1,
        "up": 1,
        "feed_up": 1,
    }
    assert {name: second[f"realtime_relay_{name}"] for name in ("publishes", "up", "feed_up")} == {
        "publishes": 0,
        "up": 1,
        "feed_up": 0,
    }
    assert first["process_resident_memory_bytes"] > 0
    assert first["realtime_mongodb_command_seconds_count"] > 0
    shown = ("realtime_relay_", "realtime_mongodb_", "realtime_bugs", "process_", "python_")
    assert [name for name in first if not name.startswith(shown)] == []
    nats.kill()
    async with asyncio.timeout(SECONDS):
        while (await figures_of(here.relays[1]))["realtime_relay_up"] == 1:
            await asyncio.sleep(0.1)


async def figures_of(relay: RelayProcess) -> dict[str, float]:
    """The sum of each name's samples, over their labels."""
    url = re.search(r"http://\S+:\d+", relay.log)
    assert url is not None
    text = await asyncio.to_thread(lambda: urlopen(f"{url[0]}/metrics").read().decode())
    figures: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0]
            figures[name] = figures.get(name, 0.0) + float(value)
    return figures


async def test_a_transaction_larger_than_a_message_is_told_whole(here: Place, documents: Documents) -> None:
    await here.relay().says(PUBLISHES)
    documents.create_collection("items")
    keys = [f"t{number}" for number in range(400)]

    def transaction() -> None:
        with documents.client.start_session() as session, session.start_transaction():
            for key in keys:
                documents.items.insert_one({"_id": key, "data": "y" * 10_000}, session=session)

    await asyncio.to_thread(transaction)
    messages = await here.until(lambda messages: keys_of(messages) == keys)
    (whole,) = [message for message in messages if "t0" in keys_of([message])]
    assert keys_of([whole]) == keys
    assert sum(map(len, whole.events)) > 5 * PART_BYTES


@pytest.mark.parametrize("size", [100, 60_000])
async def test_a_relay_that_is_killed_and_started_again_leaves_nothing_out_and_repeats_nothing(
    here: Place, documents: Documents, size: int
) -> None:
    """Of large documents each message is several parts, so that some of the kills are between parts."""
    chance = random.Random(21)
    await here.relay().says(PUBLISHES)
    # No faster than two cores shared with others read it.
    async with Writer(documents.items, size=size, pause=size / 2_000_000).writing() as writer:
        for _ in range(4):
            await passed(writer, chance.randrange(20, 120))
            here.relays[-1].end()
            await here.relay().says(PUBLISHES)
        await passed(writer, 20)
    await written(here, writer)


async def test_a_second_relay_waits_and_takes_over_from_one_that_is_killed_and_one_that_is_ended(
    here: Place, documents: Documents
) -> None:
    await here.relay().says(PUBLISHES)
    await here.relay().says("waits for its turn")
    async with Writer(documents.items).writing() as writer:
        await passed(writer, 50)
        here.relays[0].end()
        began = time.monotonic()
        await here.relays[1].says(PUBLISHES)
        assert time.monotonic() - began < 6 + SLACK
        await here.relay().says("waits for its turn")
        await passed(writer, 50)
        began = time.monotonic()
        assert here.relays[1].end(signal.SIGTERM) == 0
        await here.relays[2].says(PUBLISHES)
        assert time.monotonic() - began < 1 + SLACK
        await passed(writer, 50)
    await written(here, writer)


async def test_a_relay_that_was_frozen_is_refused_when_it_wakes(here: Place, documents: Documents) -> None:
    first = here.relay()
    await first.says(PUBLISHES)
    second = here.relay()
    await second.says("waits for its turn")
    async with Writer(documents.items).writing() as writer:
        for turn in range(1, 4):
            await passed(writer, 50)
            first.freeze()
            await second.says(PUBLISHES, count=(turn + 1) // 2 + (second is here.relays[0]))
            await passed(writer, 50)
            first.thaw()
            await first.says("another relay has taken|is another relay's", count=(turn + 1) // 2)
            await passed(writer, 50)
            first, second = second, first
    await written(here, writer)


async def test_a_relay_that_lost_an_answer_about_its_lease_goes_on(here: Place, documents: Documents) -> None:
    """Its lease has a revision that it has not heard of: it is not another's for that."""
    relay = here.relay()
    await relay.says(PUBLISHES)
    identity = await here.identity()
    async with connection(here.nats) as client, Writer(documents.items).writing() as writer:
        for _ in range(3):
            held = await bucket.look(client, identity.lease, "relay")
            assert held is not None
            with contextlib.suppress(ApiError):  # it said it again just then: the next time counts
                unheard = await bucket.put(client, identity.lease, "relay", held.value, revision=held.revision)
                async with asyncio.timeout(SECONDS):
                    while (held := await bucket.look(client, identity.lease, "relay")) is None or (
                        held.revision == unheard
                    ):
                        await asyncio.sleep(0.05)
        await passed(writer, 20)
    await written(here, writer)
    assert "another relay" not in relay.log
    assert len(re.findall(PUBLISHES, relay.log)) == 1


async def test_a_nats_server_that_is_killed_is_waited_for_and_said(
    here: Place, documents: Documents, nats: NatsServer
) -> None:
    relay = here.relay()
    await relay.says(PUBLISHES)
    async with Writer(documents.items).writing() as writer:
        await passed(writer, 50)
        await asyncio.to_thread(nats.kill)
        await relay.says("nothing can be published, and nothing more is read until it can")
        await passed(writer, 50)
        await asyncio.to_thread(nats.start)
        await passed(writer, 50)
        await here.until(lambda messages: len(keys_of(messages)) >= 100)
    await written(here, writer)
    assert relay.log.count("nothing can be published") < 5


async def test_a_stream_that_is_deleted_is_made_anew_without_a_word_twice(here: Place, documents: Documents) -> None:
    relay = here.relay()
    await relay.says(PUBLISHES)
    async with Writer(documents.items).writing() as writer:
        await passed(writer, 50)
        identity = await here.identity()
        before = await here.messages()
        async with connection(here.nats) as client:
            await stream.ask(client, f"STREAM.DELETE.{identity.stream}")
        await passed(writer, 50)
    async with asyncio.timeout(SECONDS):
        while True:
            with contextlib.suppress(ValueError, AssertionError):
                messages = await here.messages()
                if writer.written - 1 in keys_of(messages):
                    break
            await asyncio.sleep(0.05)
    after = keys_of(messages)
    assert after == list(range(after[0], writer.written))
    assert after[0] > 0
    assert len(keys_of(before)) <= after[0] or before


async def test_a_stream_that_was_emptied_while_no_relay_ran_begins_with_lost(here: Place, documents: Documents) -> None:
    await here.relay().says(PUBLISHES)
    documents.items.insert_one({"_id": 0})
    await here.until(lambda messages: keys_of(messages) == [0])
    here.relays[0].end()
    identity = await here.identity()
    async with connection(here.nats) as client:
        await stream.ask(client, f"STREAM.PURGE.{identity.stream}")
    documents.items.insert_one({"_id": 1})
    await here.relay().says(PUBLISHES)
    documents.items.insert_one({"_id": 2})
    messages = await here.until(lambda messages: keys_of(messages) == [2])
    assert [message.lost for message in messages][:2] == [True, False]


async def test_a_mongodb_whose_time_is_behind_the_stream_is_refused_and_the_mend_named(here: Place) -> None:
    await here.relay().says(PUBLISHES)
    await here.until(lambda messages: len(messages) > 1)
    here.relays[0].end()
    identity = await here.identity()
    ahead = Message(int(time.time() + 3600) << 32)
    async with connection(here.nats) as client:
        for part in pack(ahead, identity.epoch):
            await client.request(identity.subject, part.payload, headers=part.headers, timeout=5)
    relay = here.relay()
    assert await asyncio.to_thread(relay.process.wait, SECONDS) == 2
    assert "give relays and nodes a new epoch (REALTIME_EPOCH" in relay.log


async def test_a_relay_without_a_nats_or_with_one_that_refuses_says_the_mend_in_one_line(
    here: Place, nats: NatsServer
) -> None:
    relay = here.relay()
    await relay.says(PUBLISHES)
    relay.end()
    other = here.relay(REALTIME_NATS_BYTES=str(128 << 20))
    assert await asyncio.to_thread(other.process.wait, SECONDS) == 2
    (line,) = [line for line in other.log.splitlines() if line.startswith("realtime: ")]
    assert "set REALTIME_NATS_BYTES" in line
