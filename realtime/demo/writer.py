"""The writer of `realtime demo`: this machine's own figures, twice a second, into `machine` and `processes`, and the
`orders` of a small shop (`realtime.demo.shop`).

A process of its own (`python -m realtime.demo.writer`). It reads one line of JSON from stdin,
`{"uri": …, "database": …}` (an address carries a password, which a command line would show to everyone), and writes
until stdin ends, which the
kernel sees to however the parent ended, or until SIGTERM or SIGINT. It prints nothing but errors. Exit codes: 0 told
to stop, 2 cannot start. `running` is how a parent holds it.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
import sys
import threading
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from realtime.demo.shop import Till
from realtime.errors import ConfigurationError, RealtimeError
from realtime.mongo.client import open_database

try:
    import psutil
except ImportError:  # the optional extra `demo`; `check_requirements` says so
    psutil = None

INTERVAL_SECONDS = 0.5
SHOP_SECONDS = 0.4
KEEP = timedelta(minutes=3)
"""Age at which a sample is deleted: the page draws two minutes."""
BUSIEST = 12
COMPLAINT_SECONDS = 5.0
"""Least time between two lines on stderr while MongoDB is away."""
STOP_SECONDS = 3.0
"""Longest wait of a parent for its writer to go by itself."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """Where to write, as the parent said it on stdin."""

    uri: str
    database: str

    @classmethod
    def parse(cls, line: bytes) -> Target:
        """The one line of stdin. `ConfigurationError` without the line itself, which may hold a password."""
        try:
            given = json.loads(line)
            uri, database = given["uri"], given["database"]
        except (ValueError, KeyError, TypeError):
            uri = database = None
        if not isinstance(uri, str) or not isinstance(database, str):
            raise ConfigurationError('stdin must begin with one line {"uri": …, "database": …}')
        return cls(uri=uri, database=database)


@dataclass(frozen=True, slots=True)
class Counters:
    """Bytes since boot, and the monotonic time (s) at which they were read."""

    time: float
    disk_read: int
    disk_written: int
    sent: int
    received: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What one tick writes: a sample, and the busiest processes by pid."""

    sample: Document
    processes: dict[int, Document]


def read_counters() -> Counters:
    """Disks and network of this machine. Disks count as 0 where the kernel does not say (some containers)."""
    now = time.monotonic()
    disk = psutil.disk_io_counters()
    links = psutil.net_io_counters(pernic=True)
    # Loopback would show the demo's own talk with MongoDB.
    outside = [link for name, link in links.items() if name not in {"lo", "lo0"}]
    return Counters(
        time=now,
        disk_read=disk.read_bytes if disk else 0,
        disk_written=disk.write_bytes if disk else 0,
        sent=sum(link.bytes_sent for link in outside),
        received=sum(link.bytes_recv for link in outside),
    )


def per_second(latest: int, before: int, elapsed: float) -> int:
    """Bytes a second over `elapsed` seconds; 0 when a counter was reset or no time has passed."""
    return max(0, round((latest - before) / elapsed)) if elapsed > 0 else 0


def rates(latest: Counters, before: Counters) -> Document:
    """The `disk` and `network` fields of a sample."""
    elapsed = latest.time - before.time
    return {
        "disk": {
            "read_bytes_per_second": per_second(latest.disk_read, before.disk_read, elapsed),
            "write_bytes_per_second": per_second(latest.disk_written, before.disk_written, elapsed),
        },
        "network": {
            "sent_bytes_per_second": per_second(latest.sent, before.sent, elapsed),
            "received_bytes_per_second": per_second(latest.received, before.received, elapsed),
        },
    }


def whole_milliseconds(moment: datetime) -> datetime:
    """As MongoDB keeps dates."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def now() -> datetime:
    """The machine's clock, as MongoDB keeps it."""
    return whole_milliseconds(datetime.now(UTC))


def process_document(info: Document) -> Document:
    """One process; `cpu_percent` counts 100 for each core that it keeps busy."""
    # A name is bytes to the kernel; psutil hands over what is not UTF-8 as surrogates, which BSON refuses.
    name = str(info["name"] or "?").encode("utf-8", "replace").decode("utf-8")
    memory = info["memory_info"]
    return {
        "_id": int(info["pid"]),
        "name": name,
        "cpu_percent": float(info["cpu_percent"] or 0.0),
        "memory_bytes": int(memory.rss) if memory else 0,
        "threads": int(info["num_threads"] or 0),
    }


def busiest(processes: Iterable[Document], count: int) -> dict[int, Document]:
    """The `count` that use the most CPU, then the most memory, by pid."""
    ranked = sorted(processes, key=lambda each: (-each["cpu_percent"], -each["memory_bytes"], each["_id"]))
    return {each["_id"]: each for each in ranked[:count]}


class Meter:
    """Reads this machine without waiting: every figure is the one since the reading before. Blocks for some 10 ms."""

    def __init__(self) -> None:
        self._counters = read_counters()
        psutil.cpu_percent()
        psutil.cpu_percent(percpu=True)
        self._processes()

    def read(self) -> Reading:
        before, self._counters = self._counters, read_counters()
        memory = psutil.virtual_memory()
        sample: Document = {
            "at": now(),
            "cpu": {
                "percent": float(psutil.cpu_percent()),
                "per_core": [float(core) for core in psutil.cpu_percent(percpu=True)],
            },
            "memory": {
                "percent": float(memory.percent),
                # What cannot be given to a process without swapping: `percent` is this part of the total.
                "used_bytes": int(memory.total - memory.available),
                "total_bytes": int(memory.total),
            },
            **rates(self._counters, before),
        }
        return Reading(sample=sample, processes=busiest(self._processes(), BUSIEST))

    def _processes(self) -> list[Document]:
        wanted = ["pid", "name", "cpu_percent", "memory_info", "num_threads"]
        return [process_document(process.info) for process in psutil.process_iter(wanted)]


class Writer:
    """Brings the two collections to a reading. Any failure leaves it fit to be called again."""

    def __init__(self, client: Any, database: Any) -> None:
        self._client = client
        self._machine = database["machine"]
        self._collection = database["processes"]
        self._held: dict[int, Document] | None = None

    async def write(self, reading: Reading) -> None:
        await self._write_sample(reading.sample)
        await self._write_processes(reading.processes)

    async def _write_sample(self, sample: Document) -> None:
        at = sample["at"]
        await self._machine.insert_one(sample)
        # Later than now: the machine's clock was set back, and they would stay the newest until it is there again.
        await self._machine.delete_many({"$or": [{"at": {"$lt": at - KEEP}}, {"at": {"$gt": at}}]})

    async def _write_processes(self, processes: dict[int, Document]) -> None:
        held = await self._load() if self._held is None else self._held
        changed = [document for pid, document in processes.items() if held.get(pid) != document]
        left = [pid for pid in held if pid not in processes]
        if changed or left:
            self._held = None  # unknown until the commit is
            await self._commit(changed, left)
        self._held = processes

    async def _load(self) -> dict[int, Document]:
        return {document["_id"]: document for document in await self._collection.find({}).to_list(None)}

    async def _commit(self, changed: list[Document], left: list[int]) -> None:
        """One transaction: whoever watches sees the list change in one moment."""

        async def body(session: Any) -> None:
            if left:
                await self._collection.delete_many({"_id": {"$in": left}}, session=session)
            for document in changed:
                await self._collection.replace_one({"_id": document["_id"]}, document, upsert=True, session=session)

        async with await self._client.start_session() as session:
            await session.with_transaction(body)


class Complaints:
    """Errors on stderr, one line each, never more often than `COMPLAINT_SECONDS`."""

    def __init__(self) -> None:
        self._last = -math.inf

    def failed(self, error: Exception) -> None:
        now = time.monotonic()
        if now - self._last >= COMPLAINT_SECONDS:
            self._last = now
            text = " ".join(f"{type(error).__name__}: {error}".split())
            sys.stderr.write(f"realtime demo: cannot write, trying again: {text[:300]}\n")
            sys.stderr.flush()


async def ticks(interval: float) -> AsyncIterator[None]:
    """One item every `interval` seconds of a fixed schedule; those missed while the caller worked are left out."""
    loop = asyncio.get_running_loop()
    start, number = loop.time(), 0
    while True:
        number = max(number + 1, math.ceil((loop.time() - start) / interval))
        await asyncio.sleep(start + number * interval - loop.time())
        yield


async def again_and_again(interval: float, write: Callable[[], Awaitable[None]], complaints: Complaints) -> None:
    """Write every `interval` seconds until cancelled."""
    async for _ in ticks(interval):
        try:
            await write()
        except Exception as error:  # noqa: BLE001 - only realtime.mongo may name the driver's errors; none ends a demo
            complaints.failed(error)


async def write_for_ever(target: Target) -> None:
    """Writes until cancelled."""
    client, database = open_database(target.uri, target.database)
    complaints = Complaints()
    try:
        meter = await asyncio.to_thread(Meter)
        writer = Writer(client, database)
        till = Till(client, database, random.Random())  # noqa: S311 - a shop is no secret

        async def measure() -> None:
            await writer.write(await asyncio.to_thread(meter.read))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(again_and_again(INTERVAL_SECONDS, measure, complaints))
            tasks.create_task(again_and_again(SHOP_SECONDS, lambda: till.write(now()), complaints))
    finally:
        client.close()


def watch_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Sets `stop` when stdin ends; for a thread of its own."""
    # Not sys.stdin: a thread that holds its lock at exit is a fatal error of the interpreter.
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(stop.set)


async def run(target: Target) -> None:
    """Writes until stdin ends or a signal comes; raises what keeps it from starting."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    threading.Thread(target=watch_input, args=(loop, stop), daemon=True).start()
    writing = asyncio.create_task(write_for_ever(target))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({writing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        writing.cancel()
        results = await asyncio.gather(writing, stopping, return_exceptions=True)
    if isinstance(results[0], Exception):
        raise results[0]


def check_requirements() -> None:
    """Raises `ConfigurationError` with the line that mends it when psutil is missing."""
    if psutil is None:
        raise ConfigurationError("the demo needs psutil: pip install '/path/to/clone[demo]'")


@asynccontextmanager
async def running(uri: str, database: str) -> AsyncIterator[Process]:
    """The writer as a child process, for as long as the block lasts and never longer than this process lives."""
    # A session of its own: Ctrl-C is the parent's to handle, and the end of stdin tells the writer.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "realtime.demo.writer", stdin=PIPE, stdout=DEVNULL, start_new_session=True
    )
    try:
        await _tell(process, json.dumps({"uri": uri, "database": database}))
        yield process
    finally:
        await _end(process)


async def _tell(process: Process, line: str) -> None:
    if process.stdin is None:
        raise RuntimeError("the writer was started without a pipe")
    with suppress(ConnectionError):  # gone already: it has said why on stderr
        process.stdin.write(line.encode() + b"\n")
        await process.stdin.drain()


async def _end(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def main() -> int:
    """Exit code of the process."""
    try:
        check_requirements()
        target = Target.parse(sys.stdin.buffer.readline())
        asyncio.run(run(target))
    except RealtimeError as error:
        sys.stderr.write(f"realtime demo: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # A thread of the driver may still wait for a server that is away, up to its own timeout; nothing is left to save.
    os._exit(code)
