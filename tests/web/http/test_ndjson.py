"""NDJSON: everything that matches, in bounded memory, and a cursor that dies with its reader."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
from pymongo.synchronous.database import Database

from tests.mongo.commands import breakable, failing, until
from tests.replica_set import ReplicaSet
from tests.serving import Service, process, serving

NDJSON = {"Accept": "application/x-ndjson"}
PATH = "/v1/collections/orders/documents"
MILLION = 1_000_000
GROWTH_BYTES = 30 * 1000 * 1000


def fill(database: Database[dict[str, Any]], count: int, text: str = "") -> None:
    """So many documents, made inside MongoDB."""
    stages: list[dict[str, Any]] = [
        {"$documents": [{"thousand": n} for n in range(-(-count // 1000))]},
        {"$set": {"n": {"$range": [0, 1000]}}},
        {"$unwind": "$n"},
        {"$project": {"_id": {"$add": [{"$multiply": ["$thousand", 1000]}, "$n"]}, "text": {"$literal": text}}},
        {"$match": {"_id": {"$lt": count}}},
        {"$out": "orders"},
    ]
    database.aggregate(stages)
    assert database.orders.estimated_document_count() == count


def cursors(database: Database[dict[str, Any]]) -> int:
    """Open cursors on orders, whoever's."""
    stages: list[dict[str, Any]] = [
        {"$currentOp": {"idleCursors": True}},
        {"$match": {"ns": f"{database.name}.orders", "$or": [{"type": "idleCursor"}, {"cursor": {"$exists": True}}]}},
    ]
    return len(list(database.client.admin.aggregate(stages)))


async def lines(service: Service, **parameters: str) -> list[Any]:
    answer = await service.http.get(service.documents, params=parameters, headers=NDJSON)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_every_match_is_a_line_in_order_and_the_end_is_said(service: Service) -> None:
    service.database.orders.insert_many({"_id": n, "n": n % 7, "text": "\u2028\n"} for n in range(5000))
    given = {"filter": '{"n": {"$gte": 2}}', "projection": '{"n": 1}', "sort": '[["n",-1]]'}
    found = await lines(service, **given)
    expected = list(service.database.orders.find({"n": {"$gte": 2}}, {"n": 1}).sort([("n", -1), ("_id", 1)]))
    assert found == [*expected, {"end": True}]
    assert len(expected) > 3000
    assert await lines(service, **given, limit="2500", skip="10") == [*expected[10:2510], {"end": True}]
    assert cursors(service.database) == 0


async def test_of_a_collection_that_is_not_there_the_end_is_all(service: Service) -> None:
    assert await lines(service) == [{"end": True}]


async def test_large_documents_come_whole(service: Service) -> None:
    service.database.orders.insert_many({"_id": n, "text": "x" * 2_000_000} for n in range(20))
    found = await lines(service)
    assert [len(one.get("text", "")) for one in found] == [2_000_000] * 20 + [0]


@pytest.mark.parametrize(
    ("given", "code", "status"),
    [
        ({"after": "x"}, "invalid_request", 422),
        ({"position": "x"}, "invalid_request", 422),
        ({"filter": '{"$or": []}'}, "invalid_filter", 422),
        ({"filter": '{"a": {"$where": "1"}}'}, "unsupported_operator", 422),
    ],
    ids=["after", "position", "filter", "operator"],
)
async def test_an_error_before_the_first_line_is_a_problem_document(
    service: Service, given: dict[str, str], code: str, status: int
) -> None:
    answer = await service.http.get(service.documents, params=given, headers=NDJSON)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.fixture(scope="module")
async def own_service() -> AsyncIterator[Service]:
    """A service on a replica set whose commands may be made to fail, its requests bounded to 1 s."""
    with tempfile.TemporaryDirectory(prefix="realtime-ndjson-") as directory:
        async with breakable(Path(directory)) as uri:
            own = ReplicaSet(uri=uri, lane="embedded", can_fail_commands=True)
            async with serving(own, feed_await_ms=100, request_timeout_seconds=1) as running:
                fill(running.database, 20_000)
                yield running


async def test_an_error_on_the_way_is_the_last_line(own_service: Service) -> None:
    with failing(own_service.database, "getMore", skip=3, appName="realtime", errorCode=43) as point:
        found = await lines(own_service)
    assert point.hits
    assert found[-1]["error"]["code"] == "unavailable"
    assert found[-1]["error"]["retry"] is True
    assert 100 < len(found) < 20_000
    assert found[:-1] == [{"_id": n, "text": ""} for n in range(len(found) - 1)]


async def test_each_command_has_the_requests_time_and_what_takes_longer_is_killed(own_service: Service) -> None:
    began = asyncio.get_running_loop().time()
    blocked = {"blockConnection": True, "blockTimeMS": 10_000}
    with failing(own_service.database, "find", appName="realtime", **blocked):
        answer = await own_service.http.get(own_service.documents, headers=NDJSON)
        took = asyncio.get_running_loop().time() - began
    assert (answer.status_code, answer.json()["code"]) == (504, "timeout")
    assert 0.9 < took < 4
    await until(lambda: cursors(own_service.database) == 0)


# --------------------------------------------------------------------------------------------------------- its readers


def memory(pid: int, name: str = "VmRSS") -> int:
    """A process's memory in bytes; `VmHWM`: at its highest."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)


def reset_peak(pid: int) -> None:
    """From now on `VmHWM` is counted anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


async def count_lines(url: str) -> tuple[int, bytes]:
    """How many lines came, and the last one."""
    count, rest = 0, b""
    async with (
        httpx.AsyncClient(base_url=url, timeout=60) as http,
        http.stream("GET", PATH, headers=NDJSON) as response,
    ):
        async for part in response.aiter_bytes(1 << 20):
            count += part.count(b"\n")
            rest = (rest + part)[-200:]
    return count, rest.splitlines()[-1]


@pytest.fixture
async def own_set() -> AsyncIterator[ReplicaSet]:
    """One of its own: a million inserts fill an oplog that other tests' services would read back as they start."""
    with tempfile.TemporaryDirectory(prefix="realtime-million-") as directory:
        async with breakable(Path(directory)) as uri:
            yield ReplicaSet(uri=uri, lane="embedded", can_fail_commands=True)


@pytest.mark.alone("measures memory")
@pytest.mark.long("a million documents, read twice")
async def test_a_million_documents_leave_the_process_below_30_mb_more(own_set: ReplicaSet, tmp_path: Path) -> None:
    """Read twice: at once, and by somebody who takes nothing for a while. The process grows by less than 30 MB."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(own_set.uri)
    options = ("--port", "0", "--mongodb-uri", own_set.uri, "--database", name)
    # What the service reads back of the oplog as it starts would be these very documents.
    no_history = {"REALTIME_JOURNAL_BYTES": "0", "REALTIME_CATCH_UP_BYTES": "0"}
    try:
        await asyncio.to_thread(fill, client[name], MILLION, "small")
        async with process("serve", *options, home=tmp_path, **no_history) as service:
            pid = service.process.pid
            async with httpx.AsyncClient(base_url=service.url) as http:
                # What a first request of any size takes once: threads, connections.
                assert (await http.get(PATH, params={"limit": "1000"}, headers=NDJSON)).status_code == 200
            before = memory(pid)
            reset_peak(pid)
            count, last = await count_lines(service.url)
            slow = await stalled(service.url)
            await asyncio.sleep(0.5)  # it would read on meanwhile, if it did
            peak, after = memory(pid, "VmHWM"), memory(pid)
            slow.close()
            await until(lambda: cursors(client[name]) == 0)
    finally:
        client.drop_database(name)
        client.close()
    assert (count, last) == (MILLION + 1, b'{"end":true}')
    assert peak >= after > 0
    assert peak - before < GROWTH_BYTES, f"{before / 1e6:.1f} MB, at most {peak / 1e6:.1f}, then {after / 1e6:.1f}"


async def stalled(url: str) -> socket.socket:
    """A client that asks for everything and reads the first bytes alone."""
    host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
    taken = socket.create_connection((host, int(port)))
    request = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n"
    taken.sendall(request.encode())
    assert (await asyncio.to_thread(taken.recv, 1000)).startswith(b"HTTP/1.1 200")
    return taken


async def test_a_reader_that_is_gone_takes_its_cursor_along_at_once(service: Service) -> None:
    fill(service.database, 200_000, "x" * 100)
    readers = [await stalled(service.url) for _ in range(5)]
    await until(lambda: cursors(service.database) == 5)
    for reader in readers:
        reader.close()
    await until(lambda: cursors(service.database) == 0, seconds=2)
    assert (await service.http.get(service.documents, params={"limit": "1"})).status_code == 200


@pytest.mark.long("two dozen readers of 200,000 documents")
@pytest.mark.alone("compares waits, which a busy machine makes longer")
async def test_slow_readers_take_no_turn_of_other_requests(service: Service) -> None:
    fill(service.database, 200_000, "x" * 100)
    readers = [await stalled(service.url) for _ in range(2 * (os.cpu_count() or 1) + 20)]
    answers = await asyncio.gather(*(service.http.get(f"{service.documents}/nobody") for _ in range(20)))
    assert [answer.status_code for answer in answers] == [404] * 20
    for reader in readers:
        reader.close()
    await until(lambda: cursors(service.database) == 0)
    assert len(readers) > 20
