"""`realtime bench` as a process against real services: exact counts, nothing left behind, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pymongo
import pytest

from tests.access.issuer import SECRET
from tests.parts import first
from tests.replica_set import ReplicaSet
from tests.serving import Service, process, service, serving

__all__ = ["service"]

PATIENCE = 90.0
pytestmark = pytest.mark.timeout(150)
LOAD = pytest.mark.long("a load of its own, by several processes")
BRIEF = ("--connections", "6", "--rate", "50", "--seconds", "1")
EVERY_KIND = (
    "--filters",
    "2",
    "--windows",
    "2",
    "--groups",
    "1",
    "--pipelines",
    "1",
    "--events",
    "2",
    "--subscriptions",
    "4",
)
RULES = """
"*":
  reader: {read: true}
  tester: {read: true, insert: true, delete: true}
"""


@dataclass(slots=True)
class Ended:
    """A run that is over."""

    code: int
    out: str
    said: str

    @property
    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


@asynccontextmanager
async def running(url: str, *arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "realtime", "bench", "--url", url, "--processes", "2", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def end_of(child: asyncio.subprocess.Process) -> Ended:
    async with asyncio.timeout(PATIENCE):
        out, said = await child.communicate()
    assert child.returncode is not None
    return Ended(child.returncode, out.decode(), said.decode())


async def ran(url: str, *arguments: str, **environment: str) -> Ended:
    async with running(url, *arguments, **environment) as child:
        return await end_of(child)


def documents_of(service: Service) -> dict[str, int]:
    """What each collection has, by its name."""
    names = service.database.list_collection_names()
    return {name: service.database[name].count_documents({}) for name in names if not name.startswith("realtime_")}


async def test_every_kind_of_query_is_told_exactly_what_is_right_and_all_of_it_is_removed(service: Service) -> None:
    ended = await ran(service.url, "--connections", "16", *EVERY_KIND, "--rate", "60", "--seconds", "2", "--json")
    assert ended.code == 0, ended.said
    told = ended.told["deliveries"]
    assert (told["exact"], told["lost"], told["repeated"], told["wrong_views"]) == (True, 0, 0, 0)
    # Of 64 subscriptions an eighth is each query's: of filters and events each hears half of 120 documents.
    assert told["expected"] == 4 * 8 * 60
    assert told["count"] > told["expected"]
    assert ended.told["writes"] | {"seconds": 0, "rate": 0} == {
        "documents": 120,
        "seconds": 0,
        "rate": 0,
        "direct": False,
    }
    assert ended.told["latency_us"]["p50"] > 0
    (left,) = documents_of(service).items()
    assert (left[0].startswith("bench_"), left[1]) == (True, 0)
    assert left[0] in ended.told["left"]


@LOAD
async def test_straight_to_mongodb_in_batches_and_nothing_is_left_at_all(
    service: Service, replica_set: ReplicaSet
) -> None:
    where = ("--direct", "--mongodb-uri", replica_set.uri, "--database", service.database.name)
    ended = await ran(service.url, "--connections", "20", "--rate", "600", "--batch", "100", "--seconds", "1", *where)
    assert ended.code == 0, ended.said
    assert "deliveries   12,000 (" in ended.out
    assert "exactly what was expected" in ended.out
    assert "straight to MongoDB" in ended.out
    assert documents_of(service) == {}


@LOAD
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("direct", [False, True])
async def test_interrupted_in_the_middle_it_leaves_no_document_and_no_process(
    service: Service, replica_set: ReplicaSet, number: signal.Signals, direct: bool
) -> None:
    where = ("--direct", "--mongodb-uri", replica_set.uri, "--database", service.database.name) if direct else ()
    async with running(service.url, "--connections", "5", "--rate", "100", "--seconds", "60", *where) as child:
        assert child.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while " of 6,000 written" not in (line := (await child.stderr.readline()).decode()):
                assert line
        written = await asyncio.to_thread(documents_of, service)
        assert max(written.values()) > 0
        generators = psutil.Process(child.pid).children()
        assert len(generators) == 2
        child.send_signal(number)
        ended = await end_of(child)
    assert (ended.code, ended.out) == (128 + number, "")
    assert "is being removed" in ended.said
    assert sum(documents_of(service).values()) == 0
    assert bool(documents_of(service)) != direct
    assert psutil.wait_procs(generators, timeout=10)[1] == []


@LOAD
async def test_a_generator_that_is_slowed_is_told_to_be_the_limit(service: Service) -> None:
    load = ("--connections", "10", "--rate", "60", "--seconds", "3", "--json")
    slowed = await ran(service.url, *load, "--handicap", "5000")
    assert slowed.told["generator"]["was_the_limit"] is True
    assert "the load generator was the limit" in slowed.told["limits"][0]
    assert slowed.told["deliveries"]["exact"] is True


@LOAD
async def test_other_data_is_not_loaded_unless_that_is_meant(service: Service) -> None:
    service.database.orders.insert_one({"_id": 1})
    refused = await ran(service.url, *BRIEF)
    assert (refused.code, refused.out) == (2, "")
    assert "this database has other data: orders (1)" in refused.said
    assert "--yes" in refused.said
    assert documents_of(service) == {"orders": 1}
    meant = await ran(service.url, *BRIEF, "--yes")
    assert meant.code == 0, meant.said
    assert documents_of(service)["orders"] == 1


@LOAD
async def test_who_may_not_write_is_told_what_is_needed(replica_set: ReplicaSet, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    signed = {"REALTIME_JWT_SECRET": SECRET}
    async with serving(replica_set, auth="jwt", jwt_secret=SECRET, rules=rules, feed_await_ms=100) as service:
        nobody = await ran(service.url, *BRIEF)
        assert nobody.code == 1
        assert "unauthenticated" in nobody.said
        reader = await ran(service.url, *BRIEF, "--mint", "2", "--role", "reader", **signed)
        assert reader.code == 1
        assert "has to insert into bench_" in reader.said
        assert documents_of(service) == {}
        tester = await ran(service.url, *BRIEF, "--mint", "3", "--role", "tester", "--json", **signed)
        assert tester.code == 0, tester.said
        assert tester.told["deliveries"]["count"] == tester.told["deliveries"]["expected"] == 300


@LOAD
async def test_a_service_that_only_reads_is_told_of(replica_set: ReplicaSet) -> None:
    async with serving(replica_set, read_only=True, feed_await_ms=100) as service:
        ended = await ran(service.url, *BRIEF)
    assert ended.code == 1
    assert "has to insert into bench_" in ended.said


@LOAD
async def test_a_service_on_its_own_mongodb_is_measured_and_left_as_it_was(tmp_path: Path) -> None:
    async with process("serve", "--port", "0", home=tmp_path) as served:
        first = await ran(served.url, *BRIEF, *EVERY_KIND, "--json")
        # A second run finds nothing in the way that the first has left.
        again = await ran(served.url, *BRIEF, "--json")
    for ended in (first, again):
        assert ended.code == 0, ended.said
        told = ended.told["deliveries"]
        assert told["count"] >= 300
        assert told["lost"] == told["repeated"] == 0


@LOAD
async def test_all_of_two_workers_are_counted(replica_set: ReplicaSet, tmp_path: Path) -> None:
    name = f"t_{uuid.uuid4().hex[:12]}"
    where = ("--mongodb-uri", replica_set.uri, "--database", name)
    try:
        async with process("serve", "--port", "0", "--workers", "2", *where, home=tmp_path) as served:
            ended = await ran(served.url, *BRIEF, *EVERY_KIND, "--direct", *where, "--json")
            pids = {served.process.pid, *(one.pid for one in psutil.Process(served.process.pid).children())}
    finally:
        with pymongo.MongoClient[dict[str, Any]](replica_set.uri) as client:
            client.drop_database(name)
    assert ended.code == 0, ended.said
    found = {int(pid) for pid in ended.told["server"]["processes"]}
    assert len(found) >= 3
    assert found <= pids
    assert ended.told["server"]["cpu_seconds"] > 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    first(
        2,
        "a process each",
        [
            (("--subscriptions", "2"), "subscribes to each query once"),
            (("--filters", "0"), "nothing is subscribed to"),
            (("--filters", "50", "--connections", "5"), "fewer subscriptions"),
            (("--collection", "orders"), "begins with bench_"),
            (("--role", "staff"), "add --mint"),
            (("--database", "shop"), "add --direct"),
            (("--direct",), "which MongoDB?"),
            (("--document", '{"n": 1}'), "n is a field of the run's own"),
            (("--document", "[1]"), "not a JSON object"),
            (("--rate", "1000000", "--seconds", "80000"), "documents, at most"),
            (("--rate", "0"), "--rate"),
            (("--mint", "1"), "REALTIME_JWT_SECRET"),
            (("--plot", "/no/such/folder/p.svg"), "--plot"),
            (("--url", "localhost:8000"), "no address of a service"),
        ],
    ),
)
async def test_what_cannot_be_is_refused_before_anything_is_asked(arguments: tuple[str, ...], why: str) -> None:
    ended = await ran("http://127.0.0.1:1", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert why in ended.said
    assert "Traceback" not in ended.said


async def test_nobody_there_is_one_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        ended = await ran(f"http://127.0.0.1:{free.getsockname()[1]}", *BRIEF)
    assert ended.code == 1
    assert "nobody answers at http://127.0.0.1:" in ended.said
    assert "Traceback" not in ended.said


@LOAD
async def test_more_than_a_live_query_may_hold_is_refused_before_it_is_written(service: Service) -> None:
    ended = await ran(service.url, "--connections", "2", "--rate", "5000", "--seconds", "10")
    assert ended.code == 2
    assert "--filters, or --events" in ended.said
    assert sum(documents_of(service).values()) == 0


@LOAD
async def test_a_mongodb_that_the_service_does_not_serve_is_not_written_to_for_long(
    service: Service, replica_set: ReplicaSet
) -> None:
    other = f"t_{uuid.uuid4().hex[:12]}"
    where = ("--direct", "--mongodb-uri", replica_set.uri, "--database", other)
    ended = await ran(service.url, *BRIEF, *where)
    assert ended.code == 2
    assert "is not what this service serves" in ended.said
    with pymongo.MongoClient[dict[str, Any]](replica_set.uri) as client:
        assert client[other].list_collection_names() == []


@LOAD
async def test_a_run_is_drawn(service: Service, tmp_path: Path) -> None:
    picture = tmp_path / "run.svg"
    ended = await ran(service.url, *BRIEF, "--plot", str(picture), "--theme", "dark")
    assert ended.code == 0, ended.said
    text = picture.read_text()
    assert text.startswith("<svg ")
    assert "Deliveries a second" in text
