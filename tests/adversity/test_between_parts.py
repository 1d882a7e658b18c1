"""A relay is killed between the messages of what it publishes as one, and another goes on; nobody notices but by time.

Sabotage: `make sabotage`, rows "killed between parts".
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import uuid
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
import pymongo
import pytest

from realtime.core.relay.message import Message
from realtime.nats import stream
from tests.adversity.batch_line import KINDS, BatchLine, Cut, batch_line
from tests.adversity.scale import Scale
from tests.checker import Asked, judge
from tests.exact.conftest import Say
from tests.exact.ear import Ear, listening
from tests.exact.ledger import Ledger, delete, insert, update
from tests.nats_server import nats_server
from tests.relay.connecting import connection
from tests.relay.processes import Place, RelayProcess, check, place
from tests.replica_set import ReplicaSet
from tests.serving import serving

SEED = 21
PUBLISHES, WAITS = "publishing .* to the stream", "waits for its turn"
SECONDS = 60.0
NODES, EARS = 2, 2
KEYS = 40
BLOB_BYTES, BLOBS = 450_000, (2, 6)
"""Of one transaction: over 768 KiB, which is one part of a message."""


def light(document: dict[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in ("_id", "n") if name in document}


ASKED = [
    Asked("query", ("docs",), shows=light),
    Asked("events", ("docs",), mode="events", shows=light),
]


async def both_modes(ear: Ear) -> None:
    await ear.subscribe("query", "docs", projection={"n": 1})
    await ear.subscribe("events", "docs", mode="events", projection={"n": 1})


class Load:
    """Small writes of every kind without end, and transactions of large documents while they are asked for."""

    def __init__(self, ledger: Ledger, chance: random.Random) -> None:
        self.ledger, self.chance = ledger, chance
        self.stopping = asyncio.Event()
        self.large = False

    async def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            await asyncio.gather(asyncio.to_thread(self._write, number), asyncio.sleep(0.05))
            number += 10

    def _write(self, number: int) -> None:
        """Ten documents one after the other; large ones together, and gone again."""
        held = [name.strip('"') for name in self.ledger.held("docs")]
        for one in range(number, number + 10):
            kind = self.chance.random()
            if kind < 0.4 and held:
                self.ledger.one(update("docs", self.chance.choice(held), n=one))
            elif kind < 0.8 or len(held) < KEYS:
                self.ledger.one(insert("docs", key := f"{one}", n=one))
                held.append(key)
            else:
                self.ledger.one(delete("docs", held.pop(self.chance.randrange(len(held)))))
        if self.large:
            keys = [f"large {number} {one}" for one in range(self.chance.randint(*BLOBS))]
            blob = bson.Binary(b"x" * BLOB_BYTES)
            self.ledger.together([insert("docs", key, n=number, blob=blob) for key in keys])
            self.ledger.together([delete("docs", key) for key in keys])


@dataclass(eq=False)
class One:
    """A relay on a line of its own, and where the stream ended when it was killed."""

    relay: RelayProcess
    line: BatchLine
    last: int = -1


class Pair:
    """Two relays: one publishes, the other waits. Which is which may change where the machine is busy."""

    def __init__(self, here: Place, target: int, chance: random.Random, stack: AsyncExitStack) -> None:
        self.here, self._target, self._chance, self._stack = here, target, chance, stack
        self.running: list[One] = []

    async def start(self) -> RelayProcess:
        """One more."""

        async def kill() -> None:
            # It is alive, and the server has what was let through of its batch: nobody sees any of that.
            one.last = await self._last()
            await asyncio.to_thread(one.relay.end)

        line = await self._stack.enter_async_context(batch_line(self._target, self._chance, kill))
        direct, self.here.nats = self.here.nats, line.url
        one = One(self.here.relay(), line)
        self.here.nats = direct
        self.running.append(one)
        return one.relay

    async def kill(self, number: int, load: Load) -> Cut:
        """The one that publishes, amid a batch; the other takes over, and a new one is there."""
        kind = KINDS[number % len(KINDS)]
        load.large = kind == "amid a message"
        begun = {one: times(one.relay, PUBLISHES) for one in self.running}
        cuts = {one.line.arm(kind): one for one in self.running}
        done, _ = await asyncio.wait(cuts, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
        load.large = False
        for one in self.running:
            one.line.disarm()
        assert len(done) == 1, f"in {SECONDS:g} s {len(done)} batches were cut {kind}"
        (future,) = done
        cut, killed = future.result(), cuts[future]
        assert killed.relay.process.poll() == -signal.SIGKILL
        assert killed.last == cut.after
        self.running.remove(killed)
        (other,) = self.running
        await other.relay.says(PUBLISHES, SECONDS, begun[other] + 1)
        # Not before: it might be the one that takes over.
        await (await self.start()).says(f"{PUBLISHES}|{WAITS}", SECONDS)
        return cut

    async def _last(self) -> int:
        identity = await self.here.identity()
        async with connection(self.here.nats) as client:
            state = await stream.look(client, identity)
        assert state is not None
        return state.last


def times(relay: RelayProcess, pattern: str) -> int:
    """How often it has said this."""
    return len(re.findall(pattern, relay.log))


def told_once(messages: list[Message]) -> int:
    """That the stream has no event twice; how many there are."""
    times = [
        (event["clusterTime"], str(event["documentKey"]), event["operationType"])
        for message in messages
        for event in (bson.decode(one) for one in message.events)
        if "documentKey" in event
    ]
    assert len(times) == len(set(times)) > 0
    return len(times)


@pytest.mark.timeout(1500)
@pytest.mark.long("relays take over from each other")
async def test_a_relay_killed_between_the_parts_of_a_batch_leaves_nothing_out_and_repeats_nothing(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    chance = random.Random(SEED)
    name = f"t_{uuid.uuid4().hex[:12]}"
    every, cuts = Counter[str](), list[Cut]()
    with (
        pymongo.MongoClient[dict[str, Any]](replica_set.uri) as client,
        nats_server(tmp_path / "nats") as nats,
        place(replica_set.uri, name, nats.url, tmp_path) as here,
    ):
        client[name].create_collection("docs")
        ledger = Ledger(client[name], light={"blob"})
        load = Load(ledger, random.Random(SEED + 1))
        async with AsyncExitStack() as stack:
            pair = Pair(here, nats.port, chance, stack)
            await (await pair.start()).says(PUBLISHES, SECONDS)
            await (await pair.start()).says(WAITS, SECONDS)
            given = {"database": name, "keep": True, "nats": nats.url, "feed_await_ms": 100}
            nodes = [await stack.enter_async_context(serving(replica_set, **given)) for _ in range(NODES)]
            ears = [await stack.enter_async_context(listening(node.url)) for node in nodes for _ in range(EARS)]
            ledger.one(insert("docs", "first", n=0))
            for ear in ears:
                await both_modes(ear)
            writing = asyncio.create_task(load.run())
            try:
                for number in range(scale["kills"]):
                    cuts.append(await pair.kill(number, load))
            finally:
                load.stopping.set()
                await writing
            await asyncio.gather(*(ear.fence(ledger.last) for ear in ears))
            messages = await here.messages()
            for ear in ears:
                every += judge(ear.frames, ASKED, ledger.truth()).accept()
        client.drop_database(name)
    check(messages)
    stored = told_once(messages)
    assert stored == len([write for write in ledger.writes if write.key is not None])
    kinds = Counter(cut.kind for cut in cuts)
    say(
        f"{len(cuts)} kills {dict(kinds)} (seed {SEED}), {min(cut.let for cut in cuts)} to "
        f"{max(cut.let for cut in cuts)} of {min(cut.of for cut in cuts)} to {max(cut.of for cut in cuts)} parts let "
        f"through, of up to {max(cut.messages for cut in cuts)} messages; {stored} events stored once; {dict(every)}"
    )
    assert len(cuts) == scale["kills"]
    assert set(kinds) == set(KINDS)
    assert all(0 < cut.let < cut.of for cut in cuts)
    assert every["told"] == every["expected"] >= (stored - 1) * NODES * EARS > 0
    assert every["resync"] == 0
