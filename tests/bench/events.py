"""What an event costs, end to end: `python -m tests.bench.events [isolated burst latency] [--old DIRECTORY] [--runs N]`

Real processes on a mongod of their own: the service of this directory ("new") and that of another one ("old", a
worktree of main), in turn, beside what `tests.bench.rivals` has. The median of all runs, and from least to most.

    isolated   CPU milliseconds of the serving process for each of 100 inserts a second, told to one socket
    burst      events a second: a process is stopped, 50,000 documents are inserted, and it goes on until the last
               one came, at the service's socket and in a reader of its own
    latency    milliseconds from before an insert until it came, 100 a second, at 100 sockets and at a bare reader
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import re
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymongo

from tests.adversity.raw_socket import TEXT, framed
from tests.mongo.commands import breakable

HERE = Path(__file__).resolve().parents[2]
RATE, SECONDS = 100, 10.0
WARM_SECONDS = 2.0
BURST = 50_000
SOCKETS = 100
PATIENCE = 120.0
SUBSCRIBE = b'{"type":"subscribe","id":"s","mode":"events","collection":"orders"}'
_NUMBER = re.compile(rb'"n":\s?(\d+)')


@dataclass(slots=True)
class Program:
    """A process that serves or reads; `lines` are what it says."""

    process: subprocess.Popen[str]
    database: str
    url: str | None = None

    @property
    def cpu(self) -> float:
        """Seconds of processor that its threads have taken, as the kernel counts them."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        return sum(int((one / "schedstat").read_text().split()[0]) for one in tasks.iterdir()) / 1e9

    def line(self, wanted: str) -> str:
        """The next line with these words in it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if wanted in line:
                return line
        raise AssertionError(f"ended before it said {wanted!r}")


@contextmanager
def running(name: str, uri: str, directory: Path) -> Iterator[Program]:
    """The service of a directory (`new`, `old`), or a rival, on a database of its own."""
    database = f"bench_{uuid.uuid4().hex[:8]}"
    pymongo.MongoClient[Any](uri)[database].create_collection("orders")
    served = name in {"new", "old"}
    serve = ["realtime", "serve", "--port", "0", "--mongodb-uri", uri, "--database", database]
    command = [sys.executable, "-m", *(serve if served else ["tests.bench.rivals", name, uri, database])]
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=directory, env=environment) as process:
        program = Program(process, database)
        try:
            if served or name == "fastapi":
                found = re.search(r"live at http://(\S+)", program.line("live at"))
                assert found is not None
                program.url = f"ws://{found[1].rstrip('/')}/{'v1/ws' if served else 'ws'}"
            else:
                program.line("ready")
            yield program
        finally:
            process.send_signal(signal.SIGTERM)
            process.kill() if not served else process.wait(20)


@contextmanager
def subscribed(program: Program, count: int) -> Iterator[list[socket.socket]]:
    """Sockets that hear of everything, read without a library: what a client costs is no part of it."""
    with ExitStack() as stack:
        yield [stack.enter_context(_hearing(program)) for _ in range(count)]


def _hearing(program: Program) -> socket.socket:
    assert program.url is not None
    address = urlsplit(program.url)
    one = socket.create_connection((address.hostname, address.port), timeout=PATIENCE)
    key = base64.b64encode(os.urandom(16)).decode()
    one.sendall(
        f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    _read_until(one, b"\r\n\r\n")
    if "/v1/" in address.path:
        one.sendall(framed(TEXT, SUBSCRIBE))
        _read_until(one, b'"type":"live"')
    return one


def _read_until(one: socket.socket, mark: bytes) -> None:
    kept = b""
    while mark not in kept:
        data = one.recv(1 << 20)
        assert data, f"ended before it said {mark!r}"
        kept = kept[-len(mark) :] + data


WRITER = """
import sys, time, pymongo
orders = pymongo.MongoClient(sys.argv[1])[sys.argv[2]].orders
rate, count = float(sys.argv[3]), int(sys.argv[4])
due = time.monotonic()
for number in range(count):
    due += 1 / rate
    time.sleep(max(0, due - time.monotonic()))
    began = time.monotonic()
    orders.insert_one({"n": number, "status": "open", "customer": "c" * 20, "total": 12.5, "items": [1, 2, 3]})
    print(number, began, flush=True)
"""


def writing(uri: str, database: str, count: int) -> subprocess.Popen[str]:
    """A process that inserts so many documents, `RATE` a second, and says when it began with each."""
    command = [sys.executable, "-c", WRITER, uri, database, str(RATE), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def isolated(name: str, uri: str, directory: Path) -> dict[str, float]:
    """CPU milliseconds of an event."""
    count = int(RATE * SECONDS)
    with running(name, uri, directory) as program, subscribed(program, 1) as (one,):
        warm, seen, began = int(RATE * WARM_SECONDS), 0, 0.0
        with writing(uri, program.database, warm + count):
            while seen < warm + count:
                if seen >= warm and not began:
                    began = program.cpu
                seen += len(_NUMBER.findall(one.recv(1 << 16)))
            spent = program.cpu - began
    return {name: spent / count * 1000}


def burst(name: str, uri: str, directory: Path) -> dict[str, float]:
    """Events a second."""
    documents: list[dict[str, Any]] = [
        {"n": n, "status": "open", "customer": "c" * 20, "total": 12.5, "items": [1, 2, 3]} for n in range(BURST)
    ]
    with running(name, uri, directory) as program:
        orders = pymongo.MongoClient[Any](uri)[program.database].orders

        def stopped() -> float:
            os.kill(program.process.pid, signal.SIGSTOP)
            orders.insert_many(documents)
            began = time.monotonic()
            os.kill(program.process.pid, signal.SIGCONT)
            return began

        if program.url is None:
            began = stopped()
            program.line(f"{BURST - 1} ")
            return {name: BURST / (time.monotonic() - began)}
        with subscribed(program, 1) as (one,):
            began = stopped()
            _read_until(one, f'"n":{BURST - 1},'.encode())
            return {name: BURST / (time.monotonic() - began)}


def latency(name: str, uri: str, directory: Path) -> dict[str, float]:
    """Median and 99th percentile, of the sockets and of a bare reader of the same events."""
    count = int(RATE * SECONDS)
    with running(name, uri, directory) as program, subscribed(program, SOCKETS) as sockets:
        arguments = [sys.executable, "-m", "tests.bench.rivals", "bare", uri, program.database]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=HERE) as reader:
            bare = Program(reader, program.database)
            bare.line("ready")
            with writing(uri, program.database, count) as writer:
                came = _arrivals(sockets, count)
                assert writer.stdout is not None
                wrote = dict(_pair(line) for line in writer.stdout)
            assert reader.stdout is not None
            seen = dict(_pair(reader.stdout.readline()) for _ in range(count))
            reader.kill()
    warm = int(RATE * WARM_SECONDS)
    at_sockets = [(at - wrote[n]) * 1000 for n, at in came if n >= warm]
    at_reader = [(at - wrote[n]) * 1000 for n, at in seen.items() if n >= warm]
    assert len(at_sockets) == (count - warm) * SOCKETS
    return {
        f"{name} median": statistics.median(at_sockets),
        f"{name} p99": statistics.quantiles(at_sockets, n=100)[98],
        f"bare beside {name} median": statistics.median(at_reader),
        f"bare beside {name} p99": statistics.quantiles(at_reader, n=100)[98],
        f"{name} adds, medians": statistics.median(at_sockets) - statistics.median(at_reader),
        f"{name} adds, p99s": statistics.quantiles(at_sockets, n=100)[98] - statistics.quantiles(at_reader, n=100)[98],
    }


def _pair(line: str) -> tuple[int, float]:
    number, at = line.split()
    return int(number), float(at)


def _arrivals(sockets: list[socket.socket], count: int) -> list[tuple[int, float]]:
    """Which number came when, at each socket, until all have all."""
    came: list[tuple[int, float]] = []
    with selectors.DefaultSelector() as chosen:
        for one in sockets:
            chosen.register(one, selectors.EVENT_READ)
        ended = time.monotonic() + PATIENCE
        while len(came) < count * len(sockets) and time.monotonic() < ended:
            for key, _ in chosen.select(1):
                data, at = key.fileobj.recv(1 << 16), time.monotonic()  # type: ignore[union-attr]  # reason: all are sockets
                came += [(int(number), at) for number in _NUMBER.findall(data)]
    return came


@dataclass(slots=True)
class Table:
    """Figures by name, of every run."""

    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, found: dict[str, float]) -> None:
        for name, value in found.items():
            self.figures.setdefault(name, []).append(value)
            sys.stderr.write(f"  {name}: {value:.2f}\n")

    def lines(self) -> Iterator[str]:
        for name, values in self.figures.items():
            yield f"{name:28} {statistics.median(values):10.2f}   {min(values):.2f} … {max(values):.2f}"

    def ratios(self, over: str) -> Iterator[str]:
        """Of the runs one by one: each was beside the other."""
        for name, values in self.figures.items():
            if name != over and over in self.figures:
                each = [one / other for one, other in zip(values, self.figures[over], strict=False)]
                yield f"{name} / {over:20} {statistics.median(each):10.2f}   {min(each):.2f} … {max(each):.2f}"


MEASURES: dict[str, tuple[Callable[[str, str, Path], dict[str, float]], list[str], list[str]]] = {
    "isolated": (isolated, ["fastapi"], ["fastapi", "old"]),
    "burst": (burst, ["raw", "watch"], ["raw", "watch", "old"]),
    "latency": (latency, [], []),
}


async def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.events")
    parser.add_argument("measures", nargs="*", default=list(MEASURES), metavar="MEASURE")
    parser.add_argument("--old", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    builds = {"new": HERE} | ({"old": given.old.resolve()} if given.old else {})
    with tempfile.TemporaryDirectory(prefix="realtime-bench-") as home:
        async with breakable(Path(home)) as uri:
            for measure in given.measures:
                await asyncio.to_thread(_measured, measure, uri, builds, given.runs)


def _measured(measure: str, uri: str, builds: dict[str, Path], runs: int) -> None:
    take, rivals, over = MEASURES[measure]
    table = Table()
    for run in range(runs):
        names = [*builds, *rivals]
        # In turn: what grows with time meets each of them alike.
        for name in names if run % 2 else reversed(names):
            table.add(take(name, uri, builds.get(name, HERE)))
    sys.stdout.write(f"{measure}, {runs} runs\n")
    for line in (*table.lines(), *(line for name in over for line in table.ratios(name))):
        sys.stdout.write(f"  {line}\n")


if __name__ == "__main__":
    asyncio.run(main())
