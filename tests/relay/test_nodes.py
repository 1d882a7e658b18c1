"""Nodes that follow a relay, over real sockets: exact, whoever asks which, and whatever becomes of the stream."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymongo
import pytest

from realtime import metrics
from realtime.core.relay.identity import Identity
from realtime.errors import ConfigurationError
from realtime.hub import loading
from realtime.nats import node as nodes
from realtime.nats import stream
from realtime.nats.history import StreamHistory
from realtime.operations import health
from realtime.settings import Settings, load
from tests.checker import Asked, judge
from tests.exact.ear import Ear, listening
from tests.exact.ledger import Ledger, delete, insert, update
from tests.nats_server import NatsServer
from tests.relay.connecting import connection
from tests.relay.following import OplogOf
from tests.relays import relaying
from tests.replica_set import ReplicaSet
from tests.serving import Service, process, serving
from tests.truth import time_of
from tests.wire import wired

pytestmark = pytest.mark.timeout(180)

KEYS = 40


@dataclass
class Scene:
    """A database, its relay, and what is known of both."""

    uri: str
    database: str
    nats: NatsServer
    ledger: Ledger
    dice: random.Random = field(default_factory=lambda: random.Random(5))

    @property
    def settings(self) -> dict[str, Any]:
        """What a node is given."""
        return {"database": self.database, "keep": True, "nats": self.nats.url, "feed_await_ms": 100}

    def write(self, count: int) -> None:
        """Updates half of them, inserts, deletes, and transactions of up to five."""
        held = list(self.ledger.held("docs"))
        for number in range(count):
            made = uuid.uuid4().hex[:12]
            kind = self.dice.random()
            if kind < 0.5 and held:
                self.ledger.one(update("docs", self.dice.choice(held).strip('"'), n=number))
            elif kind < 0.8 or len(held) < KEYS:
                self.ledger.one(insert("docs", made, n=number, team="red" if number % 2 else "blue"))
                held.append(made)
            elif kind < 0.9:
                self.ledger.one(delete("docs", held.pop(self.dice.randrange(len(held))).strip('"')))
            else:
                some = self.dice.sample(held, 3)
                changes = [update("docs", key.strip('"'), n=-number) for key in some]
                self.ledger.together([*changes, insert("docs", made, n=number, team="red")])
                held.append(made)

    @asynccontextmanager
    async def writing(self, rate: float = 200.0) -> AsyncIterator[None]:
        """Writes go on as long as the block runs."""
        stop = asyncio.Event()

        async def go_on() -> None:
            while not stop.is_set():
                await asyncio.gather(asyncio.to_thread(self.write, 10), asyncio.sleep(10 / rate))

        task = asyncio.create_task(go_on())
        try:
            yield
        finally:
            stop.set()
            await task

    async def identity(self) -> Identity:
        async with connection(self.nats.url) as client:
            (name,) = (await stream.ask(client, "STREAM.NAMES", {"subject": "realtime.>"}))["streams"]
            metadata = (await stream.ask(client, f"STREAM.INFO.{name}"))["config"]["metadata"]
        return Identity(metadata["realtime-epoch"], self.database, "")

    async def ask(self, subject: str, body: dict[str, Any] | None = None) -> None:
        """Of JetStream, as an operator."""
        name = (await self.identity()).stream
        async with connection(self.nats.url) as client:
            await stream.ask(client, f"{subject}.{name}", body)


@pytest.fixture
async def scene(replica_set: ReplicaSet, nats: NatsServer) -> AsyncIterator[Scene]:
    name = f"t_{uuid.uuid4().hex[:12]}"
    settings = load(mongodb_uri=replica_set.uri, database=name, nats=nats.url)
    with pymongo.MongoClient[dict[str, Any]](replica_set.uri) as client:
        client[name].create_collection("docs")
        async with relaying(settings):
            yield Scene(replica_set.uri, name, nats, Ledger(client[name]))
        client.drop_database(name)


async def both_modes(ear: Ear) -> None:
    await ear.subscribe("query", "docs")
    await ear.subscribe("events", "docs", mode="events")


ASKED = [Asked("query", ("docs",)), Asked("events", ("docs",), mode="events")]


def judged(scene: Scene, *ears: Ear) -> Counter[str]:
    """What all of them were told, judged."""
    truth, every = scene.ledger.truth(), Counter[str]()
    for ear in ears:
        every += judge(ear.frames, ASKED, truth).accept()
    return every


async def test_every_node_tells_what_happened_and_reads_no_documents_of_updates(
    scene: Scene, replica_set: ReplicaSet
) -> None:
    async with AsyncExitStack() as stack:
        running = [await stack.enter_async_context(serving(replica_set, **scene.settings)) for _ in range(2)]
        ears = [await stack.enter_async_context(listening(node.url)) for node in running for _ in range(2)]
        await asyncio.to_thread(scene.write, 20)
        for ear in ears:
            await both_modes(ear)
        async with scene.writing():
            await asyncio.sleep(2)  # by now the relay knows what is needed
            before = metrics.IMAGE_READS._value.get()
            await asyncio.sleep(2)
            reads = metrics.IMAGE_READS._value.get() - before
        await asyncio.gather(*(ear.fence(scene.ledger.last) for ear in ears))
        found = judged(scene, *ears)
    assert found["told"] > 1000
    assert found["resync"] == 0
    assert reads == 0


OFTEN = [pytest.mark.long("500 times, the forty beside it"), pytest.mark.timeout(900)]


@pytest.mark.parametrize("times", [40, pytest.param(500, marks=OFTEN)], ids=str)
async def test_who_comes_back_to_another_node_each_time_gets_exactly_the_rest(
    scene: Scene, replica_set: ReplicaSet, times: int
) -> None:
    """Two follow the relay, the third has a change stream of its own."""
    own = {name: value for name, value in scene.settings.items() if name != "nats"}
    every = Counter[str]()
    async with AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(serving(replica_set, **settings))
            for settings in (scene.settings, own, scene.settings)
        ]
        await asyncio.to_thread(scene.write, 50)
        async with listening(running[0].url) as ear:
            position = str((await ear.fence(scene.ledger.last))["position"])
        async with scene.writing():
            for number in range(times):
                held = scene.ledger.truth().at("docs", time_of(position))
                async with listening(running[number % 3].url) as ear:
                    await ear.subscribe("query", "docs", position=position)
                    await ear.subscribe("events", "docs", mode="events", position=position)
                    pong = await ear.fence(scene.ledger.last)
                    asked = [
                        Asked("query", ("docs",), after=position, held=held),
                        Asked("events", ("docs",), mode="events", after=position),
                    ]
                    frames = ear.frames[: ear.frames.index(pong) + 1]
                    await until_known(scene, str(pong["position"]))
                    every += judge(frames, asked, scene.ledger.truth()).accept()
                    position = str(pong["position"])
    assert every["told"] > 2 * times


async def until_known(scene: Scene, position: str) -> None:
    """Until every write up to a position has been acknowledged to whoever wrote it."""
    async with asyncio.timeout(30):
        while scene.ledger.last <= time_of(position):
            await asyncio.sleep(0.01)


async def removed(scene: Scene) -> None:
    await scene.ask("STREAM.DELETE")


async def emptied(scene: Scene) -> None:
    await scene.ask("STREAM.PURGE")


async def killed(scene: Scene) -> None:
    await asyncio.to_thread(scene.nats.kill)
    await asyncio.sleep(1)
    await asyncio.to_thread(scene.nats.start)


async def frozen(scene: Scene) -> None:
    scene.nats.freeze()
    await asyncio.sleep(4)
    scene.nats.thaw()


@pytest.mark.parametrize("fault", [removed, emptied, killed, frozen], ids=lambda fault: str(fault.__name__))
async def test_whatever_becomes_of_the_stream_nothing_is_missing_and_nothing_repeated(
    scene: Scene, replica_set: ReplicaSet, fault: Callable[[Scene], Any]
) -> None:
    async with AsyncExitStack() as stack:
        running = [await stack.enter_async_context(serving(replica_set, **scene.settings)) for _ in range(2)]
        ears = [await stack.enter_async_context(listening(node.url)) for node in running for _ in range(2)]
        await asyncio.to_thread(scene.write, 20)
        for ear in ears:
            await both_modes(ear)
        async with scene.writing():
            await asyncio.sleep(1)
            await fault(scene)
            await asyncio.sleep(2)
        await asyncio.gather(*(settled(ear, scene.ledger.last) for ear in ears))
        found = judged(scene, *ears)
    assert found["told"] > 400


async def settled(ear: Ear, time: int) -> None:
    """Events that ended with `history_lost`, which is said once, are ended; the rest is at this time."""
    await ear.settle(time)
    assert len(ear.of("unsubscribed")) == 0, ear.of("unsubscribed")


async def test_a_node_that_stands_still_for_ten_seconds_costs_itself_alone(
    scene: Scene, replica_set: ReplicaSet, tmp_path: Path
) -> None:
    given = {
        "REALTIME_MONGODB_URI": scene.uri,
        "REALTIME_DATABASE": scene.database,
        "REALTIME_NATS": scene.nats.url,
        "REALTIME_PORT": "0",
    }
    async with AsyncExitStack() as stack:
        frozen_node = await stack.enter_async_context(process("serve", home=tmp_path, **given))
        other = await stack.enter_async_context(serving(replica_set, **scene.settings))
        ears = [await stack.enter_async_context(listening(url)) for url in (frozen_node.url, other.url)]
        await asyncio.to_thread(scene.write, 20)
        for ear in ears:
            await both_modes(ear)
        async with scene.writing():
            await asyncio.sleep(1)
            os.kill(frozen_node.process.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(5)
                last = scene.ledger.last
                await ears[1].fence(last)
                await asyncio.sleep(5)
            finally:
                os.kill(frozen_node.process.pid, signal.SIGCONT)
        await asyncio.gather(*(ear.fence(scene.ledger.last) for ear in ears))
        found = judged(scene, *ears)
    assert found["told"] > 1000
    assert found["resync"] == 0


async def test_what_clients_missed_before_a_start_is_the_streams(scene: Scene, replica_set: ReplicaSet) -> None:
    """Nothing is asked of the oplog, neither for a crowd that comes back nor for one that was away for longer."""
    await asyncio.to_thread(scene.write, 20)
    async with serving(replica_set, **scene.settings) as node, listening(node.url) as ear:
        position = str((await ear.fence(scene.ledger.last))["position"])
    await asyncio.to_thread(scene.write, 200)
    async with serving(replica_set, **scene.settings, journal_bytes=0) as node, listening(node.url) as ear:
        past = node.realtime.live().hub.history._oplog
        assert isinstance(past, StreamHistory)
        oplog = OplogOf()
        past._oplog = oplog
        await ear.subscribe("events", "docs", mode="events", position=position)
        await ear.fence(scene.ledger.last)
        asked = [Asked("events", ("docs",), mode="events", after=position)]
        found = judge(ear.frames, asked, scene.ledger.truth()).accept()
    assert found["told"] >= 200
    assert oplog.asked == []


@asynccontextmanager
async def left_by_its_relay(replica_set: ReplicaSet, nats: NatsServer) -> AsyncIterator[tuple[Service, Settings]]:
    """A node that followed a relay, which has ended; and what another one is started by."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    settings = load(mongodb_uri=replica_set.uri, database=name, nats=nats.url)
    async with AsyncExitStack() as stack:
        relay = AsyncExitStack()
        await relay.enter_async_context(relaying(settings))
        stack.push_async_callback(relay.aclose)
        service = await stack.enter_async_context(serving(replica_set, database=name, nats=nats.url))
        await relay.aclose()
        yield service, settings


async def test_when_the_relay_ends_a_node_says_so_and_is_still_ready(
    replica_set: ReplicaSet, nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than an election may take: all nodes would leave the balancer at once."""
    monkeypatch.setattr(health, "READY_GRACE_SECONDS", 0.2)
    async with left_by_its_relay(replica_set, nats) as (service, _):
        async with asyncio.timeout(30):
            while (answer := await service.http.get("/readyz")).json().get("feed") == "up":
                await asyncio.sleep(0.05)
        late = asyncio.get_running_loop().time() + 2
        while asyncio.get_running_loop().time() < late:
            answer = await service.http.get("/readyz")
            assert (answer.status_code, answer.json()["feed"]) == (200, "degraded")
            await asyncio.sleep(0.1)
        assert "the relay publishes nothing" in answer.json()["reason"]
        documents = service.path("/v1/collections/docs/documents")
        assert (await service.http.post(documents, json={"_id": "late"})).status_code == 201
        assert "late" in (await service.http.get(documents)).text
        async with wired(service.url) as wire:
            assert (await wire.ask(type="subscribe", collection="docs"))["type"] == "subscribed"


async def test_without_a_relay_who_asks_for_a_collection_that_is_not_there_is_told_to_come_again(
    replica_set: ReplicaSet, nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MongoDB names no time for what it does not have, so the answer is of the next position, and none comes."""
    monkeypatch.setattr(loading, "REACHED_SECONDS", 1.0)
    async with left_by_its_relay(replica_set, nats) as (service, settings), wired(service.url) as wire:
        await asyncio.to_thread(service.database.docs.insert_one, {"_id": "after the relay"})
        answer = await wire.ask(type="subscribe", id="s", collection="nowhere")
        assert (answer["type"], answer["code"], answer["retry"]) == ("error", "unavailable", True)
        assert answer["retry_after"] > 0
        assert "no relay publishes" in answer["message"]
        async with relaying(settings):
            view = await wire.subscribe("nowhere")
            await asyncio.to_thread(service.database.nowhere.insert_one, {"_id": 1})
            await wire.when(lambda: "1" in view.documents)


async def test_a_node_without_a_relay_says_what_to_start(
    replica_set: ReplicaSet, nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "START_SECONDS", 0.5)
    with pytest.raises(ConfigurationError, match="realtime relay --nats"):
        async with serving(replica_set, nats=nats.url):
            pass


async def test_a_node_that_serves_more_than_the_relay_publishes_is_refused(
    replica_set: ReplicaSet, nats: NatsServer
) -> None:
    name = f"t_{uuid.uuid4().hex[:12]}"
    settings = load(mongodb_uri=replica_set.uri, database=name, nats=nats.url, collections=("docs",))
    async with relaying(settings):
        more = {"database": name, "nats": nats.url, "feed_await_ms": 100}
        async with serving(replica_set, **more, collections=("docs",)):
            pass
        with pytest.raises(ConfigurationError, match="lacks others"):
            async with serving(replica_set, **more, collections=("docs", "others")):
                pass
