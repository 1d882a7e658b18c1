"""`realtime tail` as a process: what it prints, where it says to go on, and that a killed service costs it nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import pty
import re
import shlex
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.synchronous.database import Database
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request

from realtime.client import connect
from tests.client.scripted import Line
from tests.client.scripted import service as scripted
from tests.exact.conftest import own_replica_set
from tests.exact.ledger import Ledger, insert, update
from tests.exact.test_lost import roll
from tests.parts import first
from tests.replica_set import ReplicaSet
from tests.serving import Service, process, service, serving

__all__ = ["own_replica_set", "service"]

PATIENCE = 30.0
pytestmark = pytest.mark.timeout(120)
WAY = pytest.mark.long("one more way to run it, a process each")


@dataclass(slots=True)
class Tail:
    """A running `realtime tail`, and the lines it printed."""

    child: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    async def until(self, count: int) -> list[str]:
        """So many lines."""
        assert self.child.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while len(self.lines) < count:
                line = await self.child.stdout.readline()
                assert line, f"ended after {self.lines} with {(await self.child.communicate())[1].decode()}"
                self.lines.append(line.decode().rstrip("\n"))
        return self.lines

    async def said(self, pattern: str) -> str:
        """A line of its standard error."""
        assert self.child.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while not any(re.search(pattern, line) for line in self.errors):
                line = await self.child.stderr.readline()
                assert line, f"ended after {self.errors}"
                self.errors.append(line.decode().rstrip("\n"))
        return next(line for line in self.errors if re.search(pattern, line))

    async def interrupt(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Exit code, and the rest of what it said."""
        self.child.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            rest, said = await self.child.communicate()
        self.lines += rest.decode().splitlines()
        assert self.child.returncode is not None
        return self.child.returncode, said.decode()


@asynccontextmanager
async def tailing(*arguments: str, **environment: str) -> AsyncIterator[Tail]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "realtime", "tail", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        yield Tail(child)
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def begin(service: Service) -> str:
    """A position before everything that a test does."""
    async with connect(service.url) as rt, rt.query("orders") as view:
        return str(view.position)


async def test_events_are_lines_of_time_operation_key_and_document(service: Service) -> None:
    at = await begin(service)
    service.database.orders.insert_one({"_id": 1, "status": "open"})
    service.database.orders.update_one({"_id": 1}, {"$set": {"status": "paid"}})
    service.database.orders.delete_one({"_id": 1})
    async with tailing("orders", "--url", service.url, "--position", at) as tail:
        inserted, updated, deleted = await tail.until(3)
        clock = r"^\d\d:\d\d:\d\d\.\d{3}  "
        assert re.search(clock + r'insert    1  {"_id":1,"status":"open"}$', inserted)
        assert re.search(clock + r"update    1  status  ", updated)
        assert re.search(clock + r"delete    1$", deleted)
        assert "\x1b" not in "".join(tail.lines)


async def test_a_terminal_gets_colours_and_no_line_longer_than_it_is_wide(service: Service) -> None:
    at = await begin(service)
    service.database.orders.insert_one({"_id": 1, "text": "x" * 500})
    outer, inner = pty.openpty()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "realtime", "tail", "orders", "--url", service.url, "--position", at),
        stdout=inner,
        stdin=asyncio.subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "60"},
    )
    os.close(inner)
    try:
        line = (await asyncio.to_thread(os.read, outer, 4096)).decode()
        assert "\x1b[32m" in line
        assert len(re.sub(r"\x1b\[\d+m", "", line).rstrip()) == 60
    finally:
        child.kill()
        await child.wait()
        os.close(outer)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_interrupted_it_prints_the_command_that_goes_on_exactly_there(
    service: Service, number: signal.Signals, code: int
) -> None:
    at = await begin(service)
    await asyncio.to_thread(service.database.orders.insert_many, [{"_id": n, "n": n} for n in range(5)])
    asked = ["--filter", '{"n": {"$gte": 0}}', "--json"]
    async with tailing("orders", "--url", service.url, "--position", at, *asked) as tail:
        await tail.until(5)
        ended, said = await tail.interrupt(number)
    assert ended == code
    await asyncio.to_thread(service.database.orders.insert_many, [{"_id": n, "n": n} for n in range(5, 9)])
    (command,) = re.findall(r"realtime tail .*", said)
    words = shlex.split(command)
    assert words[:3] == ["realtime", "tail", "orders"]
    async with tailing(*words[2:]) as tail:
        again = await tail.until(4)
        await tail.interrupt()
    assert [json.loads(line)["key"] for line in again] == [5, 6, 7, 8]
    assert len(tail.lines) == 4


@WAY
async def test_interrupted_a_query_prints_the_command_that_shows_the_same_query(service: Service) -> None:
    """It lacked all that makes a query: `--query`, `--sort`, `--limit`, `--group`, `--last`."""
    orders = service.database.orders
    now = dt.datetime.now(dt.UTC)
    orders.insert_many([{"_id": n, "status": ["open", "paid"][n % 2], "total": n, "at": now} for n in range(5)])
    orders.insert_one({"_id": 9, "total": -1, "status": "paid", "at": now - dt.timedelta(hours=1)})
    base = ("orders", "--url", service.url, "--query", "--json")
    for asked, rows in (
        (("--sort", "-total,status", "--limit", "2", "--projection", '{"total": 1}'), 2),
        (("--group", '{"by": ["status"], "sum": ["total"]}'), 2),
        (("--pipeline", '[{"$sortByCount": "$status"}, {"$set": {"more": true}}]'), 2),
        (("--pipeline", '[{"$match": {"status": "open"}}, {"$count": "n"}]'), 1),
        (("--last", "at=15m"), 4),
        ((), 4),
    ):
        filtered = () if "--pipeline" in asked else ("--filter", '{"total": {"$gte": 1}}')
        async with tailing(*base, *filtered, *asked) as tail:
            first = [json.loads(line) for line in await tail.until(rows)]
            code, said = await tail.interrupt()
        (command,) = re.findall(r"realtime tail .*", said)
        words = shlex.split(command)
        assert (code, words[:3]) == (130, ["realtime", "tail", "orders"])
        async with tailing(*words[2:]) as again:
            second = [json.loads(line) for line in await again.until(rows)]
            await again.interrupt()
        shown = [
            [(one["op"], one["key"], one.get("index"), one["document"]) for one in told] for told in (first, second)
        ]
        assert shown[0] == shown[1]
        assert len(shown[0]) == rows


@WAY
async def test_that_nobody_answers_is_said_while_it_still_tries() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    async with tailing("orders", "--url", f"http://127.0.0.1:{port}") as tail:
        line = await tail.said("nobody answers")
        assert f"http://127.0.0.1:{port} yet" in line
        assert tail.child.returncode is None
        code, said = await tail.interrupt()
    assert (code, said) == (130, "")


async def test_since_goes_back_and_operations_choose(service: Service) -> None:
    await begin(service)
    service.database.orders.insert_one({"_id": 1})
    service.database.orders.delete_one({"_id": 1})
    async with tailing("orders", "--url", service.url, "--since", "5m", "--operations", "delete", "--json") as tail:
        (line,) = await tail.until(1)
    shown = json.loads(line)
    assert (shown["op"], shown["key"], shown["collection"]) == ("delete", 1, "orders")
    assert shown["resume"] == shown["position"]


async def test_query_shows_rows_then_what_enters_changes_and_leaves(service: Service) -> None:
    orders = service.database.orders
    orders.insert_one({"_id": 1, "status": "open"})
    async with tailing("orders", "--url", service.url, "--query", "--filter", '{"status": "open"}', "--json") as tail:
        await tail.until(1)
        orders.insert_one({"_id": 2, "status": "open"})
        await tail.until(2)
        orders.update_one({"_id": 2}, {"$set": {"n": 1}})
        await tail.until(3)
        orders.update_one({"_id": 1}, {"$set": {"status": "paid"}})
        shown = [json.loads(line) for line in await tail.until(4)]
    assert [(one["op"], one["key"]) for one in shown] == [("row", 1), ("enter", 2), ("update", 2), ("leave", 1)]
    assert shown[2]["document"] == {"_id": 2, "status": "open", "n": 1}
    assert [one["position"] for one in shown] == sorted(one["position"] for one in shown)


@WAY
async def test_a_window_is_printed_in_its_order_with_places_and_groups_as_rows(service: Service) -> None:
    orders = service.database.orders
    orders.insert_many([{"_id": n, "status": ["open", "paid"][n % 2], "total": n} for n in range(5)])
    query = ("orders", "--url", service.url, "--query")
    async with tailing(*query, "--sort", "-total", "--limit", "2", "--json") as tail:
        await tail.until(2)
        orders.update_one({"_id": 0}, {"$set": {"total": 3.5}})
        shown = [json.loads(line) for line in await tail.until(4)]
    said = [(one["op"], one["key"], one.get("index")) for one in shown]
    assert said == [("row", 4, 0), ("row", 3, 1), ("leave", 3, None), ("enter", 0, 1)]
    async with tailing(*query, "--sort", '{"total": -1}', "--limit", "1") as tail:
        assert "row         1.  4  {" in (await tail.until(1))[0]
    async with tailing(*query, "--group", "status", "--json") as tail:
        await tail.until(2)
        orders.delete_one({"_id": 4})
        rows = [json.loads(line) for line in await tail.until(3)]
    assert sorted((one["key"]["status"], one["document"]["count"]) for one in rows[:2]) == [("open", 3), ("paid", 2)]
    assert (rows[2]["op"], rows[2]["document"]) == ("update", {"_id": {"status": "open"}, "count": 2})


@WAY
async def test_history_that_is_lost_ends_with_3_and_says_what_to_do(own_replica_set: ReplicaSet) -> None:
    with pymongo.MongoClient[dict[str, Any]](own_replica_set.uri) as client:
        async with serving(own_replica_set, feed_await_ms=100, journal_bytes=0) as service:
            ledger = Ledger(service.database)
            past = ledger.one(insert("orders", 1))
            at = f"{(await begin(service))[:8]}-{past:016X}"
            # What was missed is neither in memory nor, soon, in the oplog. Had nothing happened, nothing would be lost.
            await service.realtime.live().hub.progress.reached(ledger.one(insert("orders", 2)))
            await asyncio.to_thread(roll, client, past)
            async with tailing("orders", "--url", service.url, "--position", at) as tail:
                async with asyncio.timeout(PATIENCE):
                    _, said = await tail.child.communicate()
    assert tail.child.returncode == 3
    (since,) = re.findall(r"begin with --since (\S+),", said.decode())
    assert dt.datetime.fromisoformat(since).timestamp() >= past >> 32
    assert len(said.decode().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    first(
        2,
        "a process each",
        [
            (("--filter", "{"), 2, "not JSON"),
            (("--filter", "[]"), 2, "not a JSON object"),
            (("--since", "yesterday"), 2, "90s, 5m, 2h, 1d"),
            (("--operations", "upsert"), 2, "choose of insert"),
            (("--query", "--since", "5m"), 2, "leave out --since"),
            (("--sort", "total"), 2, "add --query"),
            (("--last", "at=15m"), 2, "add --query"),
            (("--query", "--last", "15m"), 2, "write it as created_at=15m"),
            (("--query", "--last", "a..b=15m"), 1, "last.path"),
            (("--query", "--sort", "[7]"), 2, "write it as -total,name"),
            (("--pipeline", "[]"), 2, "add --query"),
            (("--query", "--pipeline", "{}"), 2, "list of stages"),
            (("--query", "--pipeline", "[5]"), 2, "list of stages"),
            (("--query", "--pipeline", "["), 2, "write it as"),
            (("--query", "--pipeline", '[{"$out": "a"}]'), 1, "it writes"),
            (("--query", "--group", '{"by": ["a"]}', "--limit", "5"), 1, "group"),
            (("--since", "5m", "--position", "x"), 2, "give one of them"),
            (("--filter", '{"a": {"$where": 1}}'), 1, "$where"),
            (("--position", "yesterday"), 1, "position"),
            (("--url", "http://127.0.0.1:1"), 1, "is `realtime serve` running there"),
            (("--url", "ftp://x"), 1, "http://host:port"),
        ],
    ),
)
async def test_what_cannot_work_is_said_in_one_line(
    service: Service, arguments: tuple[str, ...], code: int, line: str
) -> None:
    async with tailing("orders", "--url", service.url, *arguments) as tail:
        async with asyncio.timeout(PATIENCE):
            _, said = await tail.child.communicate()
    text = said.decode()
    assert (tail.child.returncode, line in text) == (code, True), text
    assert "Traceback" not in text


@WAY
async def test_a_reader_that_leaves_is_no_error(service: Service) -> None:
    at = await begin(service)
    await asyncio.to_thread(service.database.orders.insert_many, [{"_id": n, "t": "x" * 100} for n in range(2000)])
    command = shlex.join([sys.executable, *("-m", "realtime", "tail", "orders", "--url", service.url)])
    child = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"{command} --position {at} | head -n 3; echo ${{PIPESTATUS[0]}}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        out, said = await child.communicate()
    lines = out.decode().splitlines()
    assert (len(lines), lines[-1], said.decode()) == (4, "0", "")


KILLS = 3
WRITES = 40
"""Between two kills; some of them while no service runs."""


@pytest.fixture
def database(replica_set: ReplicaSet) -> Iterator[Database[dict[str, Any]]]:
    """A database of its own."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    with pymongo.MongoClient[dict[str, Any]](replica_set.uri) as client:
        yield client[name]
        client.drop_database(name)


@WAY
async def test_a_service_that_is_killed_and_started_again_costs_tail_nothing(
    replica_set: ReplicaSet, database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    name = database.name
    ledger = Ledger(database)
    serve = ("serve", "--mongodb-uri", replica_set.uri, "--database", name)
    number = 0

    def write() -> None:
        nonlocal number
        for _ in range(WRITES // 4):
            ledger.one(insert("orders", number, n=number))
            ledger.together(
                [insert("orders", f"{number}-{part}", n=part) for part in range(2)]
                + [update("orders", number, n=-1 - number)]
            )
            number += 1

    async with AsyncExitStack() as stack:
        async with process(*serve, "--port", "0", home=tmp_path) as first:
            port = first.url.rstrip("/").rpartition(":")[2]
            began = dt.datetime.now(dt.UTC).isoformat()
            running = await stack.enter_async_context(tailing("orders", "--url", first.url, "--since", began, "--json"))
            await asyncio.to_thread(write)
            await running.until(WRITES)
            first.process.kill()
            await first.process.wait()
        for kill in range(KILLS):
            await asyncio.to_thread(write)
            async with process(*serve, "--port", port, home=tmp_path) as another:
                await asyncio.to_thread(write)
                await running.until(WRITES * (2 * kill + 3))
                another.process.kill()
                await another.process.wait()
        await running.said("connection lost")
        code, said = await running.interrupt()
    events = [json.loads(line) for line in running.lines]
    expected = [(f"{one.time:016X}", one.op, one.key) for one in ledger.truth().writes]
    assert [(one["position"][9:], one["op"], one["key"]) for one in events] == expected
    assert len(events) == WRITES * (2 * KILLS + 1)
    assert code == 130
    assert events[-1]["resume"] <= re.findall(r"--position (\S+)", said)[0]


async def test_the_token_comes_from_the_environment_and_is_printed_nowhere() -> None:
    seen: list[str | None] = []

    def note(_: ServerConnection, request: Request) -> None:
        seen.append(request.headers.get("Authorization"))

    async def refuse(line: Line) -> None:
        await line.socket.close(4501, "unauthenticated")

    async with (
        scripted(refuse, process_request=note) as url,
        tailing("orders", "--url", url, REALTIME_TOKEN="secret") as tail,
        asyncio.timeout(PATIENCE),
    ):
        out, said = await tail.child.communicate()
    assert seen == ["Bearer secret"]
    assert tail.child.returncode == 1
    assert b"does not accept this token" in said
    assert b"as REALTIME_TOKEN" in said
    assert b"secret" not in out + said
