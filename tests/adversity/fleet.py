"""A whole fleet as processes: three NATS servers, two relays, four nodes, and subscribers at each, under steady writes.

Judged when all is over, as a scene is: one in ten at each node follows all events, the others a part of twenty, so that
one Python process can hear them all.
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from realtime import settings
from realtime.core.relay.identity import Identity
from realtime.nats import stream
from realtime.nats.access import Access, access_of
from realtime.nats.connection import AwayError
from realtime.nats.stream import ApiError, UnansweredError
from tests.adversity.record import COLLECTION, Client, Writers, truth_of, writing
from tests.adversity.scene import HEARTBEAT_SECONDS, RATE, Stamped, longest
from tests.checker import Asked, Frame, judge
from tests.exact.ear import Ear, listening
from tests.nats.servers import leader_of, three
from tests.nats_server import NatsServer
from tests.ports import free_ports
from tests.relay.connecting import connection
from tests.relay.processes import Place, RelayProcess, place
from tests.serving import Process, process, roomy_environment
from tests.truth import Truth

NODES, PARTS, OF_EVENTS = 4, 20, 10
FLOW_SECONDS = READY_SECONDS = 60.0
STREAM_BYTES = 256 << 20
_TURNS = re.compile(r"(publishing) \S+ to the stream|(waits) for its turn|it reads where that one is")


def publishes(relay: RelayProcess) -> bool:
    """Whether it is its turn, by the last that it has logged of that."""
    return bool([*_TURNS.finditer(relay.log)][-1:]) and [*_TURNS.finditer(relay.log)][-1][1] is not None


class Fleet:
    """What a test of a fault has at hand."""

    def __init__(self, client: Client, here: Place, servers: Sequence[NatsServer], writers: Writers) -> None:
        self.client, self.here, self.servers, self.writers = client, here, servers, writers
        self.access: Access = access_of(settings.load(nats=here.nats))
        self.identity: Identity
        self.nodes: list[Process] = []
        self.ears: list[list[Ear]] = []
        """By node."""
        self.figures: Counter[str] = Counter()
        self.began = time.monotonic()
        self.rate = 0.0
        """Writes acknowledged in a second, from when they began to when they were stopped."""

    @property
    def environment(self) -> dict[str, str]:
        """Of relays and nodes."""
        return {
            "REALTIME_NATS_REPLICAS": "3",
            "REALTIME_NATS_BYTES": str(STREAM_BYTES),
            "REALTIME_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        }

    def options(self, port: int) -> tuple[str, ...]:
        """Of a node."""
        here = self.here
        places = ("--mongodb-uri", here.uri, "--database", here.database, "--nats", here.nats)
        return ("--port", str(port), *places)

    async def node(self, stack: AsyncExitStack, port: int) -> Process:
        """One more."""
        home = self.here.directory
        return await stack.enter_async_context(process("serve", *self.options(port), home=home, **self.environment))

    async def restart(self, stack: AsyncExitStack, number: int) -> None:
        """SIGTERM to a node, its end, and another at its port."""
        node = self.nodes[number]
        node.process.send_signal(signal.SIGTERM)
        assert await node.process.wait() == 0
        self.nodes[number] = await self.node(stack, int(node.url.rstrip("/").rpartition(":")[2]))

    # ----------------------------------------------------------------------------------------------- relays and NATS

    def relay(self) -> RelayProcess:
        """One more."""
        return self.here.relay(**roomy_environment(), **self.environment)

    async def publisher(self) -> RelayProcess:
        """The relay whose turn it is, waited for."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                for relay in self.here.relays:
                    if relay.process.poll() is None and publishes(relay):
                        return relay
                await asyncio.sleep(0.01)

    async def other(self, than: RelayProcess) -> RelayProcess:
        """A second relay that waits for its turn: the one that is there, or a new one."""
        found = [one for one in self.here.relays if one is not than and one.process.poll() is None]
        relay = found[0] if found else self.relay()
        await relay.says("waits for its turn")
        return relay

    async def leader(self) -> NatsServer:
        """The server that leads the stream."""
        return await leader_of(self.access, self.servers, self.identity.stream)

    async def ask(self, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Of JetStream, about the stream, as an operator."""
        async with connection(self.here.nats) as client:
            return await stream.ask(client, f"{subject}.{self.identity.stream}", body)

    async def abreast(self) -> None:
        """Every server up, and every stream has a leader and all of its copies."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                with suppress(AwayError, UnansweredError, ApiError):
                    async with connection(self.here.nats) as client:
                        names = (await stream.ask(client, "STREAM.NAMES"))["streams"]
                        found = [(await stream.ask(client, f"STREAM.INFO.{name}"))["cluster"] for name in names]
                    if found and all(_whole(cluster) for cluster in found):
                        return
                await asyncio.sleep(0.1)

    # --------------------------------------------------------------------------------------------------- subscribers

    @property
    def witnesses(self) -> list[Ear]:
        """One at each node that is told every event."""
        return [ears[0] for ears in self.ears]

    async def subscribe(self, stack: AsyncExitStack, each: int) -> None:
        """So many at each node."""
        for node in self.nodes:
            self.ears.append([await stack.enter_async_context(listening(node.url)) for _ in range(each)])
            for number, ear in enumerate(self.ears[-1]):
                ear.frames = Stamped(ear.frames)
                if number % OF_EVENTS == 0:
                    await ear.subscribe("s", COLLECTION, mode="events")
                else:
                    await ear.subscribe("s", COLLECTION, filter={"part": number % PARTS})

    async def flows(self) -> None:
        """Until every node has told an insert that was begun after this."""
        began = time.time()

        def fresh(frame: Frame) -> bool:
            return frame["type"] == "events" and any(
                event["op"] == "insert" and event["document"]["at"] > began for event in frame["events"]
            )

        async with asyncio.timeout(FLOW_SECONDS):
            await asyncio.gather(*(ear.coming(fresh) for ear in self.witnesses))

    async def statuses(self) -> list[list[str]]:
        """What each node has said of its feed, once it is up again."""
        async with asyncio.timeout(FLOW_SECONDS):
            while any(told[-1:] == ["degraded"] for told in map(_said, self.witnesses)):
                await asyncio.sleep(0.05)
        return [_said(ear) for ear in self.witnesses]

    def pauses(self, since: float) -> list[float]:
        """For each node, the longest time without an event from `since` (monotonic) to the last one."""
        return [longest(ear, since) for ear in self.witnesses]

    async def calm(self, seconds: float = 2.0) -> float:
        """The longest time without an event at any node while nothing is done to it: the machine's own share."""
        began = time.monotonic()
        await asyncio.sleep(seconds)
        await self.flows()
        return max(self.pauses(began))

    def asked(self, number: int) -> Asked:
        if number % OF_EVENTS == 0:
            return Asked("s", (COLLECTION,), "events")
        return Asked("s", (COLLECTION,), matches=lambda one: bool(one["part"] == number % PARTS))

    async def stopped(self) -> Truth:
        """The writers stop; what they did."""
        await self.writers.stop()
        self.rate = len(self.writers.acknowledged) / (time.monotonic() - self.began)
        return await asyncio.to_thread(truth_of, self.client[self.here.database], self.writers.acknowledged)

    async def judge(self) -> Counter[str]:
        """Everybody is still there, at the last write and exact all the way; what was looked at."""
        truth = await self.stopped()
        everybody = [ear for ears in self.ears for ear in ears]
        await asyncio.gather(*(ear.settle(truth.writes[-1].time) for ear in everybody))
        assert [ear.closed for ear in everybody] == [None] * len(everybody)
        for ears in self.ears:
            for number, ear in enumerate(ears):
                self.figures += judge(ear.frames, [self.asked(number)], truth).accept()
        assert self.figures["told"] == self.figures["expected"] > 0
        assert self.figures["update"] > 0
        return self.figures

    def summary(self) -> str:
        """For the line of figures."""
        looked = {name: self.figures[name] for name in ("told", "compared", "resync", "unsubscribed")}
        degraded = sum(told.count("degraded") for told in map(_said, self.witnesses))
        doubt = dict(self.writers.in_doubt)
        return (
            f"{sum(map(len, self.ears))} subscribers, {self.rate:.0f} writes/s, {len(self.writers.acknowledged)} "
            f"acknowledged, in doubt {doubt}; `degraded` told by the nodes {degraded} times; judged {looked}, missing "
            "0, repeated 0"
        )


def _said(ear: Ear) -> list[str]:
    return [str(frame["feed"]) for frame in ear.of("status")]


def _whole(cluster: dict[str, Any]) -> bool:
    replicas = cluster.get("replicas") or []
    here = all(one.get("current") and not one.get("offline") for one in replicas)
    return bool(cluster.get("leader")) and len(replicas) == 2 and here


async def _ready(nats: str) -> None:
    """Until JetStream makes streams of three copies: a cluster that has just started refuses to for a while."""
    async with asyncio.timeout(READY_SECONDS):
        while True:
            with suppress(AwayError, UnansweredError, ApiError):
                async with connection(nats) as client:
                    await stream.ask(client, "STREAM.CREATE.try", {"name": "try", "num_replicas": 3})
                    await stream.ask(client, "STREAM.DELETE.try")
                    return
            await asyncio.sleep(0.1)


@asynccontextmanager
async def fleet(
    client: Client, uri: str, home: Path, *, each: int, prefixes: Sequence[Sequence[str]] = ((), (), ())
) -> AsyncIterator[Fleet]:
    """Writes through `client`, `each` subscribers at each node; the witnesses are told what is written."""
    name = f"t_fleet_{random.randrange(1 << 40):x}"
    writers = Writers(client, name, rate=RATE, parts=PARTS)
    async with AsyncExitStack() as stack:
        stack.callback(client.drop_database, name)
        servers = await stack.enter_async_context(three(home, prefixes=prefixes))
        nats = ",".join(server.url for server in servers)
        await _ready(nats)
        here = stack.enter_context(place(uri, name, nats, home))
        running = Fleet(client, here, servers, writers)
        for _ in range(2):
            running.relay()
        await running.other(await running.publisher())
        running.identity = await here.identity()
        running.nodes += await asyncio.gather(*(running.node(stack, port) for port in free_ports(NODES)))
        stack.callback(_end, running.nodes)
        await running.subscribe(stack, each)
        running.began = time.monotonic()
        await stack.enter_async_context(writing(writers))
        if each:
            await running.flows()
        yield running


def _end(nodes: list[Process]) -> None:
    """All of them at once: each takes a while."""
    for node in nodes:
        if node.process.returncode is None:
            node.process.send_signal(signal.SIGCONT)
            node.process.send_signal(signal.SIGTERM)
