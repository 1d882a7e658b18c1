"""A node that follows a relay stands still under a heavy load: it catches up, misses nothing, and needs little for it.

Sabotage: `make sabotage`, rows "a node frozen".
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bson
import httpx
import psutil
import pymongo
import pytest

from realtime.settings import load as load_settings
from tests.adversity.scale import Scale
from tests.checker import Asked, judge
from tests.exact.conftest import Say
from tests.exact.ear import Ear, listening
from tests.exact.ledger import Ledger, Op, insert
from tests.nats_server import nats_server
from tests.relay.processes import place
from tests.relay.test_relay import PUBLISHES
from tests.replica_set import ReplicaSet
from tests.serving import Process, process

KEYS, BLOB_BYTES = 32, 200_000
"""The documents of the collection, each written again and again."""
THREADS = 4
MOST_MIB = 32.0
"""More than before, at any time from when it goes on to when it has caught up: twice what may wait of the stream."""
LEAST_SHARE = 0.5
"""Of the rate that is asked for, where the machine is somebody else's as well."""
LOOK_SECONDS = 0.02
MIB = 1 << 20
PATIENCE = 120.0
FULL = 0.95
"""Of what the journal may hold: it never has a part of an entry."""
TIMED = frozenset({"events", "changes", "heartbeat"})


def light(document: dict[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in ("_id", "n") if name in document}


ASKED = [
    Asked("query", ("docs",), shows=light),
    Asked("events", ("docs",), mode="events", shows=light),
]


class Load:
    """Documents that are replaced at so many bytes a second, by several threads, until told to stop."""

    def __init__(self, ledger: Ledger, bytes_a_second: float) -> None:
        self.ledger = ledger
        self.stopping = threading.Event()
        self.written = 0
        self._pause = BLOB_BYTES * THREADS / bytes_a_second
        self._lock = threading.Lock()

    def begin(self) -> None:
        """All documents, as they are first."""
        for key in range(KEYS):
            self.ledger.one(insert("docs", key, n=0, blob=bson.Binary(random.randbytes(BLOB_BYTES))))

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(THREADS) as pool:
            await asyncio.gather(*(loop.run_in_executor(pool, self._write, thread) for thread in range(THREADS)))

    def _write(self, thread: int) -> None:
        number, due = 0, time.monotonic()
        blob = bson.Binary(random.Random(thread).randbytes(BLOB_BYTES))
        while not self.stopping.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._pause, time.monotonic() - 1)
            number += 1
            key = (number * THREADS + thread) % KEYS
            self.ledger.one(Op("replace", "docs", key, {"_id": key, "n": number, "blob": blob}))
            with self._lock:
                self.written += 1


class Memory:
    """What a process has resident, looked at again and again: the most since it was asked to begin anew."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.most = 0

    @property
    def now(self) -> int:
        return int(self._process.memory_info().rss)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        async def look() -> None:
            while True:
                self.most = max(self.most, self.now)
                await asyncio.sleep(LOOK_SECONDS)

        task = asyncio.create_task(look())
        try:
            yield
        finally:
            task.cancel()


async def both_modes(ear: Ear) -> None:
    await ear.subscribe("query", "docs", projection={"n": 1})
    await ear.subscribe("events", "docs", mode="events", projection={"n": 1})


async def full(node: Process) -> None:
    """Until the node's journal holds as much as it may: from then on it grows no more."""
    most = load_settings().journal_bytes
    async with httpx.AsyncClient(base_url=node.url, timeout=30) as http, asyncio.timeout(PATIENCE):
        while True:
            found = re.search(r"^realtime_journal_bytes (\S+)$", (await http.get("/metrics")).text, re.MULTILINE)
            assert found is not None
            if float(found[1]) >= FULL * most:
                return
            await asyncio.sleep(0.2)


async def caught_up(ear: Ear, time: int) -> None:
    """Until something was said of a time at or after this one."""
    wanted = f"{ear.frames[0]['position'][:8]}-{time:016X}"
    async with asyncio.timeout(PATIENCE):
        await ear.coming(lambda frame: frame["type"] in TIMED and frame["position"] >= wanted)


@pytest.mark.timeout(400)
@pytest.mark.long("a node that is frozen for a while under a heavy load")
@pytest.mark.alone("measures memory")
async def test_a_node_frozen_under_a_heavy_load_catches_up_and_needs_little_for_it(
    replica_set: ReplicaSet, tmp_path: Path, scale: Scale, say: Say
) -> None:
    name, every = f"t_{uuid.uuid4().hex[:12]}", Counter[str]()
    with (
        pymongo.MongoClient[dict[str, Any]](replica_set.uri) as client,
        nats_server(tmp_path / "nats") as nats,
        place(replica_set.uri, name, nats.url, tmp_path) as here,
    ):
        ledger = Ledger(client[name], light={"blob"})
        load = Load(ledger, scale["megabytes"] * 1e6)
        await asyncio.to_thread(load.begin)
        await here.relay().says(PUBLISHES)
        given = {"REALTIME_NATS": nats.url, "REALTIME_HEARTBEAT_SECONDS": "1"}
        where = ("--mongodb-uri", replica_set.uri, "--database", name)
        async with (
            process("serve", "--port", "0", *where, home=tmp_path, **given) as node,
            listening(node.url, ping_interval=None) as first,
            listening(node.url, ping_interval=None) as second,
        ):
            ears = [first, second]
            for ear in ears:
                await both_modes(ear)
            memory = Memory(node.process.pid)
            writing = asyncio.create_task(load.run())
            try:
                await full(node)
                await asyncio.sleep(scale.seconds("warm"))
                began, written = time.monotonic(), load.written
                async with memory.watched():
                    await asyncio.sleep(scale.seconds("before"))
                before, memory.most = memory.most, 0
                os.kill(node.process.pid, signal.SIGSTOP)
                try:
                    await asyncio.sleep(scale.seconds("frozen"))
                finally:
                    os.kill(node.process.pid, signal.SIGCONT)
                woken, behind = time.monotonic(), ledger.last
                rate = (load.written - written) * BLOB_BYTES / (woken - began)
                async with memory.watched():
                    await asyncio.gather(*(caught_up(ear, behind) for ear in ears))
                    took = time.monotonic() - woken
                    await asyncio.sleep(scale.seconds("after"))
            finally:
                load.stopping.set()
                await writing
            await asyncio.gather(*(caught_up(ear, ledger.last) for ear in ears))
            await asyncio.gather(*(ear.fence(ledger.last) for ear in ears))
            assert [ear.closed for ear in ears] == [None] * len(ears)
            for ear in ears:
                every += judge(ear.frames, ASKED, ledger.truth()).accept()
        client.drop_database(name)
    more = (memory.most - before) / MIB
    say(
        f"frozen for {scale.seconds('frozen'):g} s under {rate / 1e6:.1f} MB/s: {before / MIB:.0f} MiB before, "
        f"{memory.most / MIB:.0f} at most from then on ({more:+.1f} MiB); caught up after {took:.1f} s; {dict(every)}"
    )
    assert rate >= LEAST_SHARE * scale["megabytes"] * 1e6
    assert every["told"] == every["expected"] > load.written
    assert every["resync"] == 0
    assert more <= MOST_MIB
